"""Turns a filter such as ``AGE >= 18 & SEX == 'F'`` into the declared tree that nodes compare rows with.

One rule for missing values: a row whose value is missing is kept only by ``is.na()``. A negation is moved inwards to
the comparisons, so that the rule holds under ``!`` too.
"""

from __future__ import annotations

from isthmus_client.formula.dictionary import NUMBERS, Dictionary
from isthmus_client.formula.reader import Call, Infix, Name, Node, Number, Prefix, Text, bare, complaint, read
from isthmus_methods.contract import All, AnyOf, Comparison, Membership, Missing, Operator, Predicate, Variable

_FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
_OPPOSITE = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}
FUNCTIONS = ("is.na", "c")


def parse_filter(text: str, dictionary: Dictionary) -> Predicate:
    """The predicate of a filter in R's grammar.

    Parameters
    ----------
    text
        Comparisons (``== != < <= > >=``) of a variable with a number or a level, ``%in% c(...)``, ``is.na(x)``,
        joined by ``&``, ``|``, ``!`` and parentheses.

    Raises
    ------
    UsageError
        ``FORMULA_SYNTAX``, ``UNKNOWN_VARIABLE``, ``FORBIDDEN_VARIABLE``, ``UNKNOWN_LEVEL``, ``UNKNOWN_FUNCTION``,
        ``WRONG_TYPE``; the place is marked.
    """
    return predicate(read(text), dictionary)


def predicate(node: Node, dictionary: Dictionary, negated: bool = False) -> Predicate:
    """The predicate of a tree, or of its negation."""
    node = bare(node)
    if isinstance(node, Prefix) and node.operator == "!":
        return predicate(node.operand, dictionary, not negated)
    if isinstance(node, Infix) and node.operator in ("&", "&&", "|", "||"):
        joined = All if (node.operator[0] == "&") is not negated else AnyOf
        parts: list[Predicate] = []
        for side in (node.left, node.right):
            part = predicate(side, dictionary, negated)
            parts.extend(part.predicates if isinstance(part, joined) else (part,))
        return joined(tuple(parts))
    if isinstance(node, Infix) and node.operator in _FLIPPED:
        return _comparison(node, dictionary, negated)
    if isinstance(node, Infix) and node.operator == "%in%":
        return _membership(node, dictionary, negated)
    if isinstance(node, Call):
        return _missing(node, dictionary, negated)
    raise complaint(
        "FORMULA_SYNTAX",
        "this is not a condition",
        node.place,
        "compare a variable with a value, as in AGE >= 18, SEX == 'F', ARM %in% c('A', 'B'), !is.na(ECOG)",
    )


def _literal(node: Node, variable: Variable, dictionary: Dictionary) -> float | str:
    node = bare(node)
    sign = 1.0
    if isinstance(node, Prefix) and node.operator in "+-":
        sign = -1.0 if node.operator == "-" else 1.0
        node = bare(node.operand)
    if isinstance(node, Number):
        value: float | str = sign * node.value
    elif isinstance(node, Text):
        value = node.value
    elif isinstance(node, Name):
        raise complaint(
            "FORMULA_SYNTAX",
            "a variable is compared with a number or a level, not with another name",
            node.place,
            f"put a level in quotes: '{node.name}'",
        )
    else:
        raise complaint("FORMULA_SYNTAX", "this is not a value", node.place, "write a number or a 'level'")
    if variable.type in NUMBERS and isinstance(value, str):
        raise complaint(
            "WRONG_TYPE", f"{variable.name} is a number and is compared with text", node.place, "write a number"
        )
    return value if variable.type in NUMBERS else dictionary.level(variable, value, node.place)


def _variable(node: Node, dictionary: Dictionary) -> Variable:
    node = bare(node)
    if not isinstance(node, Name):
        raise complaint(
            "FORMULA_SYNTAX", "a variable is expected here", node.place, "compare one variable with one value"
        )
    return dictionary.usable(node.name, node.place)


def _comparison(node: Infix, dictionary: Dictionary, negated: bool) -> Comparison:
    left, right, operator = bare(node.left), bare(node.right), node.operator
    if not isinstance(left, Name) and isinstance(right, Name):
        left, right, operator = right, left, _FLIPPED[operator]
    if negated:
        operator = _OPPOSITE[operator]
    variable = _variable(left, dictionary)
    value = _literal(right, variable, dictionary)
    if variable.type not in NUMBERS and operator not in ("==", "!="):
        raise complaint(
            "WRONG_TYPE",
            f"{variable.name} is a factor; its levels have no order to compare by",
            node.place,
            f"use == or !=, or {variable.name} %in% c(...)",
        )
    return Comparison(variable.name, Operator(operator), value)


def _membership(node: Infix, dictionary: Dictionary, negated: bool) -> Membership:
    variable = _variable(node.left, dictionary)
    right = bare(node.right)
    if isinstance(right, Call) and right.function == "c" and right.arguments:
        values = tuple(_literal(argument, variable, dictionary) for _, argument in right.arguments)
    elif isinstance(right, Number | Text):
        values = (_literal(right, variable, dictionary),)
    else:
        raise complaint("FORMULA_SYNTAX", "%in% is followed by a set", right.place, "write %in% c('A', 'B')")
    return Membership(variable.name, values, negated)


def _missing(node: Call, dictionary: Dictionary, negated: bool) -> Missing:
    if node.function != "is.na":
        raise complaint(
            "UNKNOWN_FUNCTION",
            f"a filter has no function {node.function}()",
            node.place,
            f"the functions of a filter are: {', '.join(f'{name}()' for name in FUNCTIONS)}",
        )
    names = [bare(argument) for _, argument in node.arguments]
    if len(names) != 1 or not isinstance(names[0], Name):
        raise complaint("FORMULA_SYNTAX", "is.na() takes one variable", node.place, "write is.na(ECOG)")
    # Whether an identifier is missing says nothing about a person, but no analysis needs it either.
    return Missing(dictionary.usable(names[0].name, names[0].place).name, negated)
