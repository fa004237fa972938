"""Who leaves and who enters at each step of a time grid: for the Kaplan-Meier scale and for baseline hazards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isthmus_methods.contract import Array, Integers, TimeSupport
from isthmus_methods.parts.survival.partial_likelihood import RiskSets
from isthmus_methods.parts.survival.risk_sets import SortedRows
from isthmus_methods.parts.time_table import Grid, on_grid


@dataclass(frozen=True, slots=True)
class Steps:
    """The study's time grid, or a list of times at which a curve is asked for."""

    name: str  # of the time variable
    grid: Grid | None
    times: Array  # (T,), ascending
    by_stratum: bool

    @property
    def size(self) -> int:
        return len(self.times)

    def of(self, times: Array) -> tuple[Integers, bool]:
        """The first step at or after each time, `size` for those beyond the last; and whether any was rounded."""
        if self.grid is not None:
            return on_grid(self.grid, times, self.name)
        return np.searchsorted(self.times, times, side="left").astype(np.int64), False


@dataclass(frozen=True, slots=True)
class TimeCounts:
    """Rows with an event, rows that leave and late entries at each step, by stratum. Adds."""

    strata: Integers  # (S,), sorted
    rows: Integers  # (S, 3, T + 1), the last step for what is beyond the grid
    rounded: bool
    # the rows one by one, to count persons: stratum, step, last step hidden by a late entry (-1: none), subject, event
    each: Integers  # (5, n)
    one_row_each: bool

    def __add__(self, other: TimeCounts) -> TimeCounts:
        strata = np.union1d(self.strata, other.strata)
        rows = np.zeros((len(strata), *self.rows.shape[1:]), dtype=np.int64)
        for part in (self, other):
            rows[np.searchsorted(strata, part.strata)] += part.rows
        each = np.concatenate([self.each, other.each], axis=1)
        return TimeCounts(strata, rows, self.rounded or other.rounded, each, False)

    def support(self, s: int | None = None, hazard: bool = True) -> TimeSupport:
        """For a table, the steps that anyone leaves at; for the hazard of stratum `s`, the steps with an event.

        `s` None: of all strata, a table; `hazard` False: of one stratum, a table.
        """
        hazard = hazard and s is not None
        counts = self.rows.sum(axis=0) if s is None else self.rows[s]
        width = counts.shape[1]
        if self.one_row_each:
            leavers, at_risk, total = counts[0 if hazard else 1], _at_risk(counts[1], counts[2]), counts[1].sum()
        else:
            each = self.each if s is None else self.each[:, self.each[0] == self.strata[s]]
            _, step, hidden, subject, event = each
            number = int(subject.max(initial=-1)) + 1
            shown = event == 1 if hazard else step >= 0
            pairs = np.unique(step[shown] * number + subject[shown])
            leavers = np.bincount(pairs // max(1, number), minlength=width)
            last, first = np.full(number, -1), np.full(number, width)
            np.maximum.at(last, subject, step)
            np.minimum.at(first, subject, hidden)
            there = last >= 0
            late = first[there & (first >= 0)]
            at_risk = _at_risk(np.bincount(last[there], minlength=width), np.bincount(late, minlength=width))
            total = there.sum()
        shown = np.flatnonzero(leavers[:-1] > 0)
        return TimeSupport(
            int(total), leavers[shown].astype(np.int64), np.clip(at_risk[shown], leavers[shown], total).astype(np.int64)
        )


def _at_risk(leavers: Integers, entries: Integers) -> Integers:
    """At risk at each step: those who leave at it or later, less those who have not entered, (T,)."""
    at_risk: Integers = np.cumsum(leavers[::-1])[::-1] - np.cumsum(entries[::-1])[::-1]
    return at_risk


def time_counts(rows: SortedRows, steps: Steps) -> TimeCounts:
    """The counts of one block."""
    strata, stratum = np.unique(rows.row_stratum, return_inverse=True)
    if not steps.by_stratum:
        strata, stratum = np.zeros(1, dtype=np.int64), np.zeros(rows.size, dtype=np.int64)
    width = steps.size + 1
    leave, rounded = steps.of(rows.stops)
    shape, number = (len(strata), width), len(strata) * width
    hidden = np.full(rows.size, -1, dtype=np.int64)
    if rows.starts is not None:
        # a start before the first step hides no step; one on a step hides that step and those before it
        hidden = np.searchsorted(steps.times, rows.starts * (1 + 1e-12), side="right") - 1
    event = np.zeros(rows.size, dtype=np.int64)
    event[rows.death_rows] = 1
    cells, late = stratum * width + leave, hidden >= 0
    counts = [
        np.bincount(which, minlength=number).reshape(shape)
        for which in (cells[rows.death_rows], cells, (stratum * width + hidden)[late])
    ]
    each = np.stack([strata[stratum], leave, hidden, rows.subject, event])
    return TimeCounts(strata, np.stack(counts, axis=1).astype(np.int64), rounded, each, rows.one_row_each)


def cumulative_hazard(sets: RiskSets, steps: Steps, stratum: int) -> Array:
    """Baseline cumulative hazard at all covariates zero or reference, at each step, (T,).

    Source: Breslow (1974), Biometrics 30, 89-99; with Efron's ties the sum over the d steps of 1 / s0.
    """
    here = sets.stratum == stratum if steps.by_stratum else np.ones(len(sets.time), dtype=np.bool_)
    where, _ = steps.of(sets.time[here])
    jumps = np.bincount(where, weights=sets.hazard[here], minlength=steps.size + 1)[: steps.size]
    hazard: Array = np.cumsum(jumps) * np.exp(-sets.unit - float(sets.centre @ sets.beta))
    return hazard
