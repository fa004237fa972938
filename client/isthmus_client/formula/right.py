"""The right side of a formula: terms as R's ``terms()`` orders them, and strata(), cluster(), offset()."""

from __future__ import annotations

from collections.abc import Mapping

from isthmus_client.formula.columns import SPECIALS, Columns, variable_of
from isthmus_client.formula.reader import Call, Infix, Name, Node, Number, Prefix, bare, complaint
from isthmus_methods.contract import Column, Function, Ref, Term, Transform, VariableType, column_name

MAX_TERMS = 200

# A product: the positions of its columns in the formula's list of columns.
Product = frozenset[int]


class RightSide:
    """Expands the right side into products of columns.

    `stratified`: each country is a stratum of the fit; `intercept`: the model has one.
    """

    def __init__(self, columns: Columns, *, stratified: bool, intercept: bool) -> None:
        self.columns = columns
        self.stratified = stratified
        self.intercept = intercept
        self.known: list[Column] = []
        self.strata: list[Column] = []
        self.cluster: Column | None = None
        self.offset: Column | None = None

    def expand(self, node: Node) -> dict[Product, None]:
        """The products of a part of the right side, in order of appearance."""
        node = bare(node)
        if isinstance(node, Infix) and node.operator in ("+", "-", ":", "*", "/", "^"):
            return self._joined(node)
        if isinstance(node, Number) and node.value == 1:
            return {}
        if isinstance(node, Number | Prefix):
            raise complaint(
                "FORMULA_SYNTAX",
                self._no_intercept() if isinstance(node, Number) else "a sign cannot stand here",
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

    def _no_intercept(self) -> str:
        if self.intercept:
            return "models keep their intercept; rule: factors have treatment coding against their reference"
        return "a survival model has no intercept to take away"

    def _position(self, column: Column) -> int:
        if column not in self.known:
            self.known.append(column)
        return self.known.index(column)

    def _joined(self, node: Infix) -> dict[Product, None]:
        if node.operator == "^":
            return self._power(node)
        if node.operator == "-":
            left = self.expand(node.left)
            if isinstance(bare(node.right), Number):
                self.expand(node.right)
                if self.intercept:
                    raise complaint("FORMULA_SYNTAX", self._no_intercept(), node.place, "leave it out")
                return left  # "- 1" takes an intercept away, which there is not
            away = self.expand(node.right)
            return {product: None for product in left if product not in away}
        left, right = self.expand(node.left), self.expand(node.right)
        if node.operator == "+":
            return {**left, **right}
        if not left or not right:
            raise complaint(
                "FORMULA_SYNTAX",
                "strata(), cluster() and offset() are no factors of a product",
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

    def _power(self, node: Infix) -> dict[Product, None]:
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

    def _check_size(self, products: Mapping[Product, None], node: Node) -> None:
        if len(products) > MAX_TERMS:
            raise complaint("FORMULA_SYNTAX", f"more than {MAX_TERMS} terms", node.place, "write a simpler model")

    def _special(self, call: Call) -> None:
        remedy = SPECIALS[call.function]
        if not call.arguments or any(label for label, _ in call.arguments):
            raise complaint("FORMULA_SYNTAX", f"{call.function}() names variables", call.place, remedy)
        if call.function == "strata":
            for _, argument in call.arguments:
                column = self.columns.factor(argument)
                # Where countries are strata of the fit, naming them again changes nothing.
                if column not in self.strata and not (self.stratified and self._is_country(column)):
                    self.strata.append(column)
            return
        if call.function == "offset":
            if len(call.arguments) != 1 or self.offset is not None:
                raise complaint("FORMULA_SYNTAX", "offset() names one number, once", call.place, remedy)
            self.offset = self.columns.number(call.arguments[0][1])
            return
        if len(call.arguments) != 1 or self.cluster is not None or not _is_unit(call.arguments[0][1]):
            raise complaint("FORMULA_SYNTAX", "cluster() names one variable, once", call.place, remedy)
        self.cluster = self.columns.unit(call.arguments[0][1])

    def _is_country(self, column: Column) -> bool:
        variable = self.columns.dictionary.variables.get(variable_of(column))
        return variable is not None and "COUNTRY" in variable.roles

    def ordered(self, products: Mapping[Product, None], node: Node) -> tuple[Term, ...]:
        """The terms in R's order; checks what would mean another model in R than here."""
        found = sorted(products, key=len)
        for product in found:
            self._check_country(product, node)
            self._check_margins(product, products, node)
        return tuple(Term(tuple(self.known[k] for k in sorted(product))) for product in found)

    def groups(self, products: Mapping[Product, None], node: Node) -> tuple[Column, ...]:
        """Each factor of the right side as a grouping of its own."""
        found = []
        for product in products:
            column = self.known[next(iter(product))]
            grouping = self.columns.grouping(column)
            if len(product) != 1 or grouping is None:
                raise complaint(
                    "WRONG_TYPE",
                    "groups are made by factors, one at a time",
                    node.place,
                    "write ~ ARM, ~ ARM + SEX or ~ 1",
                )
            found.append(grouping)
        return tuple(found)

    def columns_of(self, products: Mapping[Product, None], node: Node) -> tuple[Column, ...]:
        """The columns of the right side as they stand, one by one."""
        if any(len(product) != 1 for product in products):
            raise complaint("WRONG_TYPE", "variables stand here one at a time", node.place, "join them by +")
        return tuple(self.known[next(iter(product))] for product in products)

    def _check_country(self, product: Product, node: Node) -> None:
        if self.stratified and len(product) == 1 and self._is_country(self.known[next(iter(product))]):
            raise complaint(
                "COUNTRY_TERM",
                "the country is constant inside a country; rule: this fit is stratified by country",
                node.place,
                "leave it out: its differences are in the strata; a product such as ARM:COUNTRY may stay",
            )

    def _check_margins(self, product: Product, products: Mapping[Product, None], node: Node) -> None:
        """R gives a factor in a product all its levels where the product's margin is not in the model."""
        absorbed = {variable_of(column) for column in self.strata if variable_of(column)}
        for k in product:
            margin = product - {k}
            column = self.known[k]
            if not margin or margin in products or not self._has_levels(column):
                continue
            if all(self._absorbs(self.known[j], absorbed) for j in margin):
                continue  # the strata hold the margin
            names = " + ".join(self._written(self.known[j]) for j in sorted(margin))
            raise complaint(
                "MARGINAL_TERM",
                f"a product with {self._written(column)} stands without its main effect {names}",
                node.place,
                "write a * b instead of a:b, or add the main effect",
            )

    def _absorbs(self, column: Column, strata: set[str]) -> bool:
        return (self.stratified and self._is_country(column)) or variable_of(column) in strata

    def _has_levels(self, column: Column) -> bool:
        if isinstance(column, Transform):
            return column.function is Function.FACTOR
        if isinstance(column, Ref):
            return self.columns.dictionary.variables[column.variable].type is VariableType.FACTOR
        return False

    def _written(self, column: Column) -> str:
        return column_name(column)


def _is_unit(node: Node) -> bool:
    """Whether a node names a variable, or is ``factor()`` of one."""
    node = bare(node)
    return isinstance(node, Name) or (isinstance(node, Call) and node.function == "factor")
