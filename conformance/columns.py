"""What a step writes as columns and predicates, in the grammar of formulas and filters.

A step may `derive` indicator columns. Nobody in a country makes a new column: wherever a derived name stands, the
condition that it means is written instead.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from conformance.case import Case, Step
from isthmus_client.formula import Dictionary, parse_filter
from isthmus_methods.request import Indicator, column_name, written_name, written_number, written_text

Predicate = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of one step."""

    case: Case
    step: Step

    def column(self, name: str) -> str:
        """A column as a formula names it; a derived one as ``I(condition)``."""
        derived = self._derived(name)
        return f"I({self._condition(derived)})" if derived is not None else written_name(name)

    def factor(self, name: str) -> str:
        """A column as one with levels."""
        if self._derived(name) is not None or self.case.is_number(name):
            return f"factor({self.column(name)})"
        return self.column(name)

    def cluster(self, name: str) -> str:
        """A column that says which rows belong together; with levels where a cluster has rows in several countries."""
        return self.factor(name) if self.case.crosses_borders(name) else self.column(name)

    def term(self, text: str, factors: Sequence[str] = ()) -> str:
        """A term of a plan, ``a`` or ``a:b``; those named in `factors` as factors."""
        return ":".join(self.factor(part) if part in factors else self.column(part) for part in split_term(self, text))

    def known(self, name: str) -> bool:
        return name in self.case.variables or name == self.case.country or self._derived(name) is not None

    def is_event(self, name: str, value: object) -> str:
        """The condition that a column has a value."""
        return self.filter([{"var": name, "op": "==", "value": value}]) or ""

    def where(self) -> str | None:
        """The step's choice of rows as a filter; None: all."""
        return self.filter(self.step.get("where") or ())

    def filter(self, chosen: Sequence[Predicate]) -> str | None:
        """Predicates joined by AND, as a filter; None where there are none."""
        return " & ".join(f"({self._predicate(p)})" for p in chosen) or None

    def names(self, dictionary: Dictionary) -> dict[str, str]:
        """The name that an answer gives each derived column -> the plan's own name of it."""
        return {
            column_name(Indicator(parse_filter(self._condition(derived), dictionary))): derived["name"]
            for derived in self.step.get("derive") or ()
        }

    # ------------------------------------------------------------------ conditions

    def _derived(self, name: str) -> Mapping[str, Any] | None:
        return next((d for d in self.step.get("derive") or () if d["name"] == name), None)

    def _condition(self, derived: Mapping[str, Any]) -> str:
        return " & ".join(f"({self._predicate(p)})" for p in derived["where"])

    def _used(self, name: str) -> list[str]:
        """The variables that a column is made of."""
        derived = self._derived(name)
        if derived is None:
            return [name]
        return list(dict.fromkeys(v for p in derived["where"] for v in self._used(p["var"])))

    def _predicate(self, predicate: Predicate) -> str:
        name, op, value = predicate["var"], predicate["op"], predicate.get("value")
        if op in ("is_missing", "not_missing"):
            absent = [f"is.na({written_name(variable)})" for variable in self._used(name)]
            return " | ".join(absent) if op == "is_missing" else " & ".join(f"!{one}" for one in absent)
        values = value if isinstance(value, list) else [value]
        derived = self._derived(name)
        if derived is not None:
            return self._of_derived(name, derived, op, values)
        if self.case.is_number(name):
            numbers = [written_number(float(str(v))) for v in values]
            if op in ("in", "not_in"):
                inside = f"{written_name(name)} %in% c({', '.join(numbers)})"
                return inside if op == "in" else f"!({inside})"
            return f"{written_name(name)} {op} {numbers[0]}"
        # text compares as text: the levels for which it is true are written out
        return self._among(name, [level for level in self.case.levels(name) if holds(level, op, values)])

    def _among(self, name: str, levels: Sequence[str]) -> str:
        if not levels:
            return f"is.na({written_name(name)}) & !is.na({written_name(name)})"
        return f"{written_name(name)} %in% c({', '.join(written_text(level) for level in levels)})"

    def _of_derived(self, name: str, derived: Mapping[str, Any], op: str, values: Sequence[Any]) -> str:
        """A predicate on a column of 0 and 1, which is missing where a variable that it is made of is."""
        given = " & ".join(f"!is.na({written_name(variable)})" for variable in self._used(name))
        failing, holding = (_compares(truth, op, [float(v) for v in values]) for truth in (0.0, 1.0))
        condition = self._condition(derived)
        if failing and holding:
            return f"(({condition}) | !({condition})) & {given}"
        if not failing and not holding:
            return f"({condition}) & !({condition})"
        return f"({condition}) & {given}" if holding else f"!({condition}) & {given}"


def split_term(columns: Columns, text: str) -> list[str]:
    """The variables of a term; a name that has a colon of its own stays whole."""
    if columns.known(text) or ":" not in text:
        return [text]
    for at in range(len(text)):
        if text[at] == ":" and columns.known(text[:at]):
            rest = split_term(columns, text[at + 1 :])
            if all(columns.known(part) for part in rest):
                return [text[:at], *rest]
    return text.split(":")


def holds(level: str, op: str, values: Sequence[Any]) -> bool:
    """Whether a predicate is true of a level."""
    return _compares(level, op, [as_text(v) for v in values])


def as_text(value: Any) -> str:
    """A value of a plan as the text of a level: 1 and 1.0 are "1"."""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    return f"{value:.15g}" if isinstance(value, int | float) and math.isfinite(value) else str(value)


def _compares(mine: Any, op: str, theirs: Sequence[Any]) -> bool:
    if op == "in":
        return mine in theirs
    if op == "not_in":
        return mine not in theirs
    other = theirs[0]
    return bool(
        {
            "==": mine == other,
            "!=": mine != other,
            "<": mine < other,
            "<=": mine <= other,
            ">": mine > other,
            ">=": mine >= other,
        }[op]
    )
