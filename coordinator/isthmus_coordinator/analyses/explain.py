"""What would leave each country, round by round, before anything is asked."""

from __future__ import annotations

import re

from isthmus.v1 import analyst_pb2
from isthmus_methods.adding import ADDING
from isthmus_methods.contract import Procedure, Scope, Spec, coefficient_names, leaving

_TOKENS = re.compile(r"\s*(\d+|p\b|[-+*/()])")


def explanation(
    spec: Spec, method: Procedure, *, in_plan: bool, outstanding: list[str], numbers: int = 0, sealed: bool = False
) -> analyst_pb2.Explanation:
    """The fields a country would release, and who has still to approve.

    Parameters
    ----------
    spec, method
        As `check_analysis` gave them.
    in_plan
        The request is in the study's plan.
    outstanding
        Countries whose approval is outstanding, or who refused.
    numbers
        Of the model that a training makes.
    sealed
        The study is sealed: fields that are no sums do not leave.
    """
    parameters = len(coefficient_names(spec))
    least, most = method.rounds
    if spec.training is not None:
        # a strategy has each round of training followed by one of evaluation, or not
        least, most = spec.training.rounds, 2 * spec.training.rounds
    return analyst_pb2.Explanation(
        rounds_least=least,
        rounds_most=most,
        fields=[
            analyst_pb2.ExplainedField(
                field=name,
                kind=field.kind.value,
                unit=field.unit,
                about=field.about,
                size=f"{numbers} = {field.size}"
                if numbers and field.size == "w"
                else size_words(field.size, parameters),
            )
            for name, field in leaving(method, spec.options).items()
            if not sealed or field.kind in ADDING
        ],
        in_plan=in_plan,
        outstanding=outstanding,
        by_country=method.scope(spec) is Scope.BY_COUNTRY,
        sealed=sealed,
    )


def size_words(size: str, parameters: int) -> str:
    """A field's size with the number of parameters put in: ``p (p + 1) / 2`` for 4 is ``10 = p (p + 1) / 2``."""
    if not re.search(r"\bp\b", size):
        return size
    value = _Sum(size, parameters).value()
    return f"{size}, p = {parameters}" if value is None else f"{value} = {size}"


class _Sum:
    """Evaluates sums and products of whole numbers and p; a size with any other word in it has no value."""

    def __init__(self, text: str, parameters: int) -> None:
        self._parameters = parameters
        self._tokens: list[str] = []
        position, text = 0, text.strip()
        while position < len(text):
            found = _TOKENS.match(text, position)
            if found is None:
                self._tokens = []
                return
            self._tokens.append(found.group(1))
            position = found.end()

    def value(self) -> int | None:
        try:
            value = self._sum()
        except (IndexError, ValueError, ZeroDivisionError):
            return None
        return None if self._tokens else value

    def _sum(self) -> int:
        value = self._product()
        while self._tokens[:1] in (["+"], ["-"]):
            sign = 1 if self._tokens.pop(0) == "+" else -1
            value += sign * self._product()
        return value

    def _product(self) -> int:
        value = self._factor()
        while self._tokens and self._tokens[0] not in ("+", "-", ")"):
            divides = self._tokens[0] == "/"
            # two factors side by side are a product
            if self._tokens[0] in ("*", "/"):
                self._tokens.pop(0)
            factor = self._factor()
            value = value // factor if divides else value * factor
        return value

    def _factor(self) -> int:
        token = self._tokens.pop(0)
        if token == "(":  # noqa: S105 - a bracket, no password
            value = self._sum()
            if self._tokens.pop(0) != ")":
                raise ValueError("brackets")
            return value
        return self._parameters if token == "p" else int(token)  # noqa: S105 - a letter, no password
