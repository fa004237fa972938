"""Turns ``Surv(AVAL, CNSR == 0) ~ TRT01P + AGE + strata(LINE) + cluster(USUBJID)`` into the parts of a request.

Terms stand as R's ``terms()`` orders them: main effects first, then products by degree, each in order of appearance,
the variables of a product in the order in which the formula first names them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from isthmus_client.formula.columns import SPECIALS, Columns, variable_of
from isthmus_client.formula.dictionary import NUMBERS, Dictionary
from isthmus_client.formula.filters import predicate
from isthmus_client.formula.reader import Call, Infix, Name, Node, Number, Place, Prefix, bare, complaint, read
from isthmus_methods.contract import Column, Function, Indicator, Ref, Term, Transform, VariableType

MAX_TERMS = 200

# A product: the positions of its columns in the formula's list of columns.
_Product = frozenset[int]


@dataclass(frozen=True, slots=True)
class Model:
    """A formula's parts."""

    text: str
    start: Column | None
    time: Column | None
    event: Column | None
    terms: tuple[Term, ...]
    strata: tuple[Column, ...]
    cluster: Column | None
    references: Mapping[str, str]


def parse_model(
    text: str, dictionary: Dictionary, references: Mapping[str, str] | None = None, *, regression: bool = True
) -> Model:
    """The parts of a model formula in R's grammar.

    Parameters
    ----------
    text
        ``Surv(time, event) ~ terms`` or ``Surv(start, stop, event) ~ terms``; ``event`` is a variable of 0 and 1 or a
        condition such as ``CNSR == 0``. Terms are joined by ``+``, ``:``, ``*``, ``^``, ``/`` and taken away by ``-``.
    references
        The reference level of a factor, where it is not the dictionary's first.
    regression
        False: the right side names groups of rows (curves, tests), not model terms; each is a factor on its own.

    Raises
    ------
    UsageError
        ``FORMULA_SYNTAX``, ``UNKNOWN_VARIABLE``, ``FORBIDDEN_VARIABLE``, ``UNKNOWN_LEVEL``, ``UNKNOWN_FUNCTION``,
        ``WRONG_TYPE``, ``MARGINAL_TERM``; each with the place marked.
    """
    tree = bare(read(text))
    if not (isinstance(tree, Infix) and tree.operator == "~"):
        raise complaint(
            "FORMULA_SYNTAX",
            "this is not a formula with an outcome",
            tree.place,
            "write Surv(TIME, EVENT) ~ ARM + AGE",
        )
    columns = Columns(dictionary)
    _set_references(columns, references or {}, text)
    start, time, event = _outcome(tree.left, columns)
    right = _RightSide(columns)
    products = right.expand(tree.right)
    terms = right.ordered(products, tree.right) if regression else right.groups(products, tree.right)
    return Model(text, start, time, event, terms, tuple(right.strata), right.cluster, dict(columns.references))


def _set_references(columns: Columns, references: Mapping[str, str], text: str) -> None:
    for name, level in references.items():
        # Marks the variable where the formula names it, and the formula's beginning where it does not.
        at = max(text.find(name), 0)
        place = Place(text, at, at + len(name))
        variable = columns.dictionary.usable(name, place)
        columns.references[name] = columns.dictionary.level(variable, level, place)


def _outcome(node: Node, columns: Columns) -> tuple[Column | None, Column, Column]:
    node = bare(node)
    remedy = "write Surv(TIME, EVENT) or Surv(START, STOP, EVENT), EVENT being 0/1 or a condition such as CNSR == 0"
    if not (isinstance(node, Call) and node.function == "Surv"):
        raise complaint("FORMULA_SYNTAX", "the outcome is not Surv(...)", node.place, remedy)
    arguments = [argument for label, argument in node.arguments if label in ("", "time", "time2", "event")]
    if len(arguments) != len(node.arguments) or len(arguments) not in (2, 3):
        raise complaint("FORMULA_SYNTAX", "Surv() takes two or three arguments", node.place, remedy)
    times = [_time(argument, columns) for argument in arguments[:-1]]
    event = _event(arguments[-1], columns)
    return (times[0] if len(times) == 2 else None), times[-1], event


def _time(node: Node, columns: Columns) -> Column:
    node = bare(node)
    if not isinstance(node, Name):
        raise complaint(
            "FORMULA_SYNTAX",
            "a time is a variable as it stands; rule: times lie on the grid of the dictionary",
            node.place,
            "name the variable; choose the unit of a figure when you draw it",
        )
    variable = columns.dictionary.usable(node.name, node.place)
    if variable.type not in NUMBERS:
        raise complaint("WRONG_TYPE", f"{variable.name} is not a number", node.place, "a time is a number")
    return Ref(variable.name)


def _event(node: Node, columns: Columns) -> Column:
    node = bare(node)
    if not isinstance(node, Name):
        return Indicator(predicate(node, columns.dictionary))
    variable = columns.dictionary.usable(node.name, node.place)
    outside = (variable.minimum is not None and variable.minimum < 0) or (
        variable.maximum is not None and variable.maximum > 1
    )
    if variable.type not in NUMBERS or outside or variable.name.upper() == "CNSR":
        example = f"'{variable.levels[-1]}'" if variable.levels else "0" if variable.name.upper() == "CNSR" else "1"
        raise complaint(
            "WRONG_TYPE",
            f"{variable.name} is not an event of 0 and 1"
            + ("; rule: in ADaM, CNSR = 0 is the event" if variable.name.upper() == "CNSR" else ""),
            node.place,
            f"say which value is the event: {variable.name} == {example}",
        )
    return Ref(variable.name)


class _RightSide:
    """Expands the right side into products of columns."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self.known: list[Column] = []
        self.strata: list[Column] = []
        self.cluster: Column | None = None

    def expand(self, node: Node) -> dict[_Product, None]:
        """The products of a part of the right side, in order of appearance."""
        node = bare(node)
        if isinstance(node, Infix) and node.operator in ("+", "-", ":", "*", "/", "^"):
            return self._joined(node)
        if isinstance(node, Number) and node.value == 1:
            return {}
        if isinstance(node, Number | Prefix):
            raise complaint(
                "FORMULA_SYNTAX",
                "a survival model has no intercept to take away"
                if isinstance(node, Number)
                else "a sign cannot stand here",
                node.place,
                "leave it out",
            )
        if isinstance(node, Infix):
            raise complaint(
                "FORMULA_SYNTAX",
                f"{node.operator!r} cannot join terms",
                node.place,
                "join terms by +, : or *; a condition as a term goes into I(), a choice of rows into where",
            )
        if isinstance(node, Call) and node.function in SPECIALS:
            self._special(node)
            return {}
        return {frozenset({self._position(self.columns.column(node))}): None}

    def _position(self, column: Column) -> int:
        if column not in self.known:
            self.known.append(column)
        return self.known.index(column)

    def _joined(self, node: Infix) -> dict[_Product, None]:
        if node.operator == "^":
            return self._power(node)
        if node.operator == "-":
            left = self.expand(node.left)
            if isinstance(bare(node.right), Number):
                self.expand(node.right)  # "- 1" takes an intercept away, which there is not
                return left
            away = self.expand(node.right)
            return {product: None for product in left if product not in away}
        left, right = self.expand(node.left), self.expand(node.right)
        if node.operator == "+":
            return {**left, **right}
        if not left or not right:
            raise complaint(
                "FORMULA_SYNTAX",
                "strata() and cluster() are no factors of a product",
                node.place,
                "add them by +, and name the variable itself in a product",
            )
        products = {a | b: None for a in left for b in right}
        self._check_size(products, node)
        if node.operator == ":":
            return products
        if node.operator == "*":
            return {**left, **right, **products}
        whole = frozenset().union(*left)
        return {**left, **{whole | b: None for b in right}}

    def _power(self, node: Infix) -> dict[_Product, None]:
        exponent = bare(node.right)
        if not isinstance(exponent, Number) or exponent.value not in (1, 2, 3, 4, 5):
            raise complaint(
                "FORMULA_SYNTAX", "an exponent is a whole number from 1 to 5", node.right.place, "write (a + b)^2"
            )
        base = self.expand(node.left)
        products = dict(base)
        for _ in range(int(exponent.value) - 1):
            products = {**products, **{a | b: None for a in products for b in base}}
            self._check_size(products, node)
        return products

    def _check_size(self, products: Mapping[_Product, None], node: Node) -> None:
        if len(products) > MAX_TERMS:
            raise complaint("FORMULA_SYNTAX", f"more than {MAX_TERMS} terms", node.place, "write a simpler model")

    def _special(self, call: Call) -> None:
        remedy = SPECIALS[call.function]
        if not call.arguments or any(label for label, _ in call.arguments):
            raise complaint("FORMULA_SYNTAX", f"{call.function}() names variables", call.place, remedy)
        if call.function == "strata":
            for _, argument in call.arguments:
                column = self.columns.factor(argument)
                # Countries are strata of every fit: naming them again changes nothing.
                if column not in self.strata and not self._is_country(column):
                    self.strata.append(column)
            return
        argument = bare(call.arguments[0][1])
        if len(call.arguments) != 1 or not isinstance(argument, Name) or self.cluster is not None:
            raise complaint("FORMULA_SYNTAX", "cluster() names one variable, once", call.place, remedy)
        dictionary = self.columns.dictionary
        variable = dictionary.find(argument.name, argument.place)
        if variable.name != dictionary.subject and "IDENTIFIER" not in variable.roles:
            dictionary.usable(argument.name, argument.place)
        self.cluster = Ref(variable.name)

    def _is_country(self, column: Column) -> bool:
        variable = self.columns.dictionary.variables.get(variable_of(column))
        return variable is not None and "COUNTRY" in variable.roles

    def ordered(self, products: Mapping[_Product, None], node: Node) -> tuple[Term, ...]:
        """The terms in R's order; checks what would mean another model in R than here."""
        found = sorted(products, key=len)
        for product in found:
            self._check_country(product, node)
            self._check_margins(product, products, node)
        return tuple(Term(tuple(self.known[k] for k in sorted(product))) for product in found)

    def groups(self, products: Mapping[_Product, None], node: Node) -> tuple[Term, ...]:
        """Each factor of the right side as a grouping of its own."""
        found = []
        for product in products:
            column = self.known[next(iter(product))]
            if len(product) != 1 or not (self._has_levels(column) or self._leveled(column)):
                raise complaint(
                    "WRONG_TYPE",
                    "groups are made by factors, one at a time",
                    node.place,
                    "write ~ ARM, ~ ARM + SEX or ~ 1",
                )
            found.append(Term((column if self._has_levels(column) else Transform(Function.FACTOR, column),)))
        return tuple(found)

    def _leveled(self, column: Column) -> bool:
        return isinstance(column, Ref) and bool(self.columns.dictionary.variables[column.variable].levels)

    def _check_country(self, product: _Product, node: Node) -> None:
        if len(product) == 1 and self._is_country(self.known[next(iter(product))]):
            raise complaint(
                "COUNTRY_TERM",
                "the country is constant inside a country; rule: every fit is stratified by country",
                node.place,
                "leave it out: its differences are in the strata; a product such as ARM:COUNTRY may stay",
            )

    def _check_margins(self, product: _Product, products: Mapping[_Product, None], node: Node) -> None:
        """R gives a factor in a product all its levels where the product's margin is not in the model."""
        absorbed = {variable_of(column) for column in self.strata}
        for k in product:
            margin = product - {k}
            column = self.known[k]
            if not margin or margin in products or not self._has_levels(column):
                continue
            if all(self._is_country(self.known[j]) or variable_of(self.known[j]) in absorbed for j in margin):
                continue  # the strata hold the margin
            names = " + ".join(self._written(self.known[j]) for j in sorted(margin))
            raise complaint(
                "MARGINAL_TERM",
                f"a product with {self._written(column)} stands without its main effect {names}",
                node.place,
                "write a * b instead of a:b, or add the main effect",
            )

    def _has_levels(self, column: Column) -> bool:
        if isinstance(column, Transform):
            return column.function is Function.FACTOR
        if isinstance(column, Ref):
            return self.columns.dictionary.variables[column.variable].type is VariableType.FACTOR
        return False

    def _written(self, column: Column) -> str:
        return variable_of(column) or "I(...)"
