"""Turns one factor of a model term (``AGE``, ``log(AVAL)``, ``relevel(ARM, ref = "B")``) into a declared column."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from isthmus_client.formula.dictionary import NUMBERS, Dictionary
from isthmus_client.formula.filters import predicate
from isthmus_client.formula.reader import Call, Infix, Name, Node, Number, Prefix, Text, bare, complaint
from isthmus_methods.contract import Column, Function, Indicator, Ref, Transform, VariableType

# What may stand in a term, as people write it.
FUNCTIONS: Mapping[str, str] = {
    "log": "log(x)",
    "sqrt": "sqrt(x)",
    "I": "I(x^2), I(x - c), I(x / c), I(x >= c)",
    "centre": "centre(x, c)",
    "center": "center(x, c)",
    "scale": "scale(x, c)",
    "factor": "factor(x)",
    "C": "C(x)",
    "relevel": 'relevel(x, ref = "level")',
}
SPECIALS: Mapping[str, str] = {"strata": "strata(x, ...)", "cluster": "cluster(id)", "offset": "offset(log(x))"}
_CONDITIONS = ("==", "!=", "<", "<=", ">", ">=", "%in%", "&", "&&", "|", "||")


@dataclass(slots=True)
class Columns:
    """Builds columns over one dictionary and collects the reference levels that the text sets."""

    dictionary: Dictionary
    references: dict[str, str] = field(default_factory=dict)

    def column(self, node: Node) -> Column:
        """The column a node declares.

        Raises
        ------
        UsageError
            Also ``UNKNOWN_FUNCTION`` and ``WRONG_TYPE``, with the place marked.
        """
        node = bare(node)
        if isinstance(node, Name):
            return Ref(self.dictionary.usable(node.name, node.place).name)
        if isinstance(node, Call):
            build = _BUILDERS.get(node.function)
            if build is None:
                known = ", ".join([*FUNCTIONS.values(), *SPECIALS.values()])
                raise complaint(
                    "UNKNOWN_FUNCTION",
                    f"there is no function {node.function}() in a formula",
                    node.place,
                    f"what may stand in a term: {known}",
                )
            return build(self, node)
        raise complaint(
            "FORMULA_SYNTAX",
            "this is not a variable",
            node.place,
            "terms are variables or functions of them; arithmetic goes into I(), as in I(AGE^2)",
        )

    def column_or_condition(self, node: Node) -> Column:
        """A column, or a condition such as ``DERM == 'Y'``, which is 1 where it holds and 0 where it does not."""
        node = bare(node)
        if is_condition(node):
            return Indicator(predicate(node, self.dictionary))
        return self.column(node)

    def unit(self, node: Node) -> Column:
        """What is counted as one: a variable, an identifier too, or ``factor()`` of a number with declared levels."""
        node = bare(node)
        if isinstance(node, Call) and node.function == "factor":
            return self.factor(node)
        if not isinstance(node, Name):
            raise complaint(
                "FORMULA_SYNTAX", "a unit is one variable", node.place, "name the variable, or factor() of it"
            )
        variable = self.dictionary.find(node.name, node.place)
        if variable.name != self.dictionary.subject and "IDENTIFIER" not in variable.roles:
            self.dictionary.usable(node.name, node.place)
        return Ref(variable.name)

    def grouping(self, column: Column) -> Column | None:
        """The column as one that makes groups; None where it has no levels."""
        if isinstance(column, Indicator):
            return Transform(Function.FACTOR, column)
        if isinstance(column, Transform):
            return column if column.function is Function.FACTOR else None
        variable = self.dictionary.variables[column.variable]
        if variable.type is VariableType.FACTOR:
            return column
        return Transform(Function.FACTOR, column) if variable.levels else None

    def number(self, node: Node) -> Column:
        """A column of numbers."""
        column = self.column(node)
        if isinstance(column, Ref):
            variable = self.dictionary.variables[column.variable]
            if variable.type not in NUMBERS:
                raise complaint(
                    "WRONG_TYPE", f"{variable.name} is a factor, a number is needed here", node.place, "use a number"
                )
        elif isinstance(column, Transform) and column.function is Function.FACTOR:
            raise complaint("WRONG_TYPE", "a factor cannot be transformed", node.place, "transform the number itself")
        return column

    def factor(self, node: Node) -> Column:
        """A column of declared levels."""
        column = self.column_or_condition(node)
        grouping = self.grouping(column)
        if grouping is not None:
            return grouping
        if not isinstance(column, Ref):
            raise complaint("WRONG_TYPE", "a variable with levels is needed here", node.place, "name a factor")
        raise complaint(
            "WRONG_TYPE",
            f"{column.variable} is a number without declared levels; rule: the levels of a factor stand in the"
            " dictionary",
            node.place,
            f"declare the levels of {column.variable} in the study, or use a factor",
        )


def is_condition(node: Node) -> bool:
    """Whether a node says what holds of a row, rather than naming a column."""
    node = bare(node)
    negation = isinstance(node, Prefix) and node.operator == "!"
    missing = isinstance(node, Call) and node.function == "is.na"
    return negation or missing or (isinstance(node, Infix) and node.operator in _CONDITIONS)


def _arguments(call: Call, *names: str) -> list[Node]:
    """The arguments of a call in the order of `names`, by place or by name."""
    given: dict[str, Node] = {}
    free = list(names)
    for label, node in call.arguments:
        name = label or (free[0] if free else "")
        if name not in free:
            raise complaint(
                "FORMULA_SYNTAX", f"{call.function}() takes {', '.join(names)}", call.place, FUNCTIONS[call.function]
            )
        free.remove(name)
        given[name] = node
    if free:
        raise complaint(
            "FORMULA_SYNTAX", f"{call.function}() needs {' and '.join(free)}", call.place, FUNCTIONS[call.function]
        )
    return [given[name] for name in names]


def _constant(node: Node) -> float:
    node = bare(node)
    sign = 1.0
    while isinstance(node, Prefix) and node.operator in "+-":
        sign = -sign if node.operator == "-" else sign
        node = bare(node.operand)
    if not isinstance(node, Number):
        raise complaint(
            "FORMULA_SYNTAX",
            "a constant is expected here; rule: constants are written in the request, never taken from the data",
            node.place,
            "write the number itself",
        )
    return sign * node.value


def _simple(function: Function) -> Callable[[Columns, Call], Column]:
    def build(columns: Columns, call: Call) -> Column:
        (argument,) = _arguments(call, "x")
        return Transform(function, columns.number(argument))

    return build


def _with_constant(function: Function) -> Callable[[Columns, Call], Column]:
    def build(columns: Columns, call: Call) -> Column:
        argument, constant = _arguments(call, "x", "c")
        return _shifted(function, columns, argument, constant)

    return build


def _shifted(function: Function, columns: Columns, argument: Node, constant: Node) -> Column:
    value = _constant(constant)
    if function is Function.SCALE and value == 0:
        raise complaint("FORMULA_SYNTAX", "division by zero", constant.place, "divide by another number")
    inner = bare(argument)
    if isinstance(inner, Infix):
        return Transform(function, _arithmetic(columns, inner), (value,))
    return Transform(function, columns.number(inner), (value,))


def _arithmetic(columns: Columns, node: Infix) -> Column:
    """``x^2``, ``x - c``, ``x / c``, nested."""
    if node.operator == "^" and _constant(node.right) == 2:
        inner = bare(node.left)
        of = _arithmetic(columns, inner) if isinstance(inner, Infix) else columns.number(inner)
        return Transform(Function.SQUARE, of)
    if node.operator in ("-", "/"):
        function = Function.CENTRE if node.operator == "-" else Function.SCALE
        return _shifted(function, columns, node.left, node.right)
    raise complaint(
        "UNKNOWN_FUNCTION", "I() does not take this expression", node.place, f"what it takes: {FUNCTIONS['I']}"
    )


def _as_is(columns: Columns, call: Call) -> Column:
    (argument,) = _arguments(call, "x")
    inner = bare(argument)
    if is_condition(inner):
        return Indicator(predicate(inner, columns.dictionary))
    return _arithmetic(columns, inner) if isinstance(inner, Infix) else columns.column(inner)


def _factor(columns: Columns, call: Call) -> Column:
    (argument,) = _arguments(call, "x")
    return columns.factor(argument)


def _relevel(columns: Columns, call: Call) -> Column:
    argument, ref = _arguments(call, "x", "ref")
    column = columns.factor(argument)
    level = bare(ref)
    if not isinstance(level, Text | Number):
        raise complaint("FORMULA_SYNTAX", "the reference is a level in quotes", ref.place, FUNCTIONS["relevel"])
    name = variable_of(column)
    if not name:
        raise complaint(
            "WRONG_TYPE", "the reference of a condition is that it fails", call.place, "leave relevel() out"
        )
    variable = columns.dictionary.variables[name]
    columns.references[name] = columns.dictionary.level(variable, level.value, level.place)
    return column


def variable_of(column: Column) -> str:
    """The variable a column of levels is made of."""
    while isinstance(column, Transform):
        column = column.argument
    return column.variable if isinstance(column, Ref) else ""


_BUILDERS: Mapping[str, Callable[[Columns, Call], Column]] = {
    "log": _simple(Function.LOG),
    "sqrt": _simple(Function.SQUARE_ROOT),
    "I": _as_is,
    "centre": _with_constant(Function.CENTRE),
    "center": _with_constant(Function.CENTRE),
    "scale": _with_constant(Function.SCALE),
    "factor": _factor,
    "C": _factor,
    "relevel": _relevel,
}
