"""A log odds ratio within one country: log(ad/bc) of its two-by-two table, variance the sum of 1/cell, no 0.5 added.

Source: Woolf (1955), Ann. Hum. Genet. 19, 251-253.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from isthmus.errors import UsageError
from isthmus_methods.contract import Again, Array, Block, Booleans, Integers, ModelSupport, Partial, Spec, column_name
from isthmus_methods.parts.countries.estimated import Fitted
from isthmus_methods.parts.model_support import Used, used_rows
from isthmus_methods.parts.persons import widened


@dataclass(frozen=True, slots=True)
class Cells:
    """Rows and persons by arm (treated, control) and event (yes, no). Adds."""

    rows: Integers  # (2, 2)
    seen: Booleans  # (2, 2, persons)
    used: Used

    def __add__(self, other: Cells, /) -> Cells:
        width = max(self.seen.shape[-1], other.seen.shape[-1])
        seen = widened(self.seen, width) | widened(other.seen, width)
        return Cells(self.rows + other.rows, seen, self.used + other.used)


class OddsRatioEstimate:
    """The crude log odds ratio of the country's two-by-two table."""

    name: ClassVar[str] = "log_odds_ratio"
    needs: ClassVar[tuple[str, ...]] = ("row", "column")
    takes: ClassVar[tuple[str, ...]] = ()
    settings: ClassVar[tuple[str, ...]] = ("treated", "control", "event_value")
    uses_terms: ClassVar[bool] = False

    def coefficients(self, spec: Spec) -> tuple[str, ...]:
        return (f"{column_name(spec.role('row')[0])}={_wanted(spec, 'treated')}",)

    def has_events(self, spec: Spec) -> bool:
        return True

    def fold(self, block: Block, spec: Spec, local: Any) -> Partial:
        event = _is(block, spec, "column", _wanted(spec, "event_value"))
        arms = [_is(block, spec, "row", _wanted(spec, name)) for name in ("treated", "control")]
        persons = int(block.subject.max(initial=-1)) + 1
        rows, seen = np.zeros((2, 2), dtype=np.int64), np.zeros((2, 2, persons), dtype=np.bool_)
        for i, arm in enumerate(arms):
            for j, outcome in enumerate((event, ~event)):
                rows[i, j] = np.count_nonzero(arm & outcome)
                seen[i, j, block.subject[arm & outcome]] = True
        order: Integers = np.flatnonzero(arms[0] | arms[1])
        return Cells(rows, seen, used_rows(block, spec, event[order], order, block.subject[order]))

    def release(self, partial: Any, spec: Spec, local: Any) -> Again | Fitted:
        persons = np.count_nonzero(partial.seen, axis=2)
        everyone = int(np.count_nonzero(partial.seen.any(axis=(0, 1))))
        cells_of = ("treated with", "treated without", "control with", "control without")
        support = ModelSupport(
            persons=everyone,
            parameters=2,
            # estimate, variance and outcomes together give the four cells: each must be one that could be shown
            level_persons=dict(zip(cells_of, (int(n) for n in persons.ravel()), strict=True)),
            effective_persons=float(everyone),
            leverage=float(1.0 / max(1, partial.rows.sum(axis=1).min())),
        )
        names, none = self.coefficients(spec), np.zeros(1, dtype=np.bool_)
        cells: Array = partial.rows.astype(np.float64)
        if not np.all(cells > 0):
            return Fitted.nothing(names, partial.used, support)
        logs = np.log(cells)
        value = np.array([logs[0, 0] - logs[0, 1] - logs[1, 0] + logs[1, 1]])
        return Fitted(names, value, np.array([[(1.0 / cells).sum()]]), ~none, none, None, partial.used, support)


def _wanted(spec: Spec, name: str) -> str:
    wanted = str(spec.options.get(name, "1" if name == "event_value" else ""))
    if not wanted:
        raise UsageError("MISSING_OPTION", f"a log odds ratio needs option {name!r}", "name a level of the variable")
    return wanted


def _is(block: Block, spec: Spec, role: str, wanted: str) -> Booleans:
    """Rows whose value is the one wanted: a level, or a number."""
    column = spec.role(role)[0]
    levels = block.levels[role][0] or spec.levels(column)
    if levels:
        if wanted not in levels:
            raise _unknown(column_name(column), wanted, ", ".join(map(repr, levels)))
        same: Booleans = block.codes(role) == levels.index(wanted)
        return same
    try:
        number = float(wanted)
    except ValueError:
        raise _unknown(column_name(column), wanted, "numbers") from None
    equal: Booleans = block.numbers(role) == number
    return equal


def _unknown(column: str, wanted: str, known: str) -> UsageError:
    return UsageError("UNKNOWN_LEVEL", f"{column!r} has no value {wanted!r}", f"use one of its values: {known}")
