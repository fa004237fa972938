"""Who leaves and who enters at each step of a time grid: for the Kaplan-Meier scale and for baseline hazards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isthmus_methods.contract import Array, Integers, TimeSupport
from isthmus_methods.partial_likelihood import RiskSets
from isthmus_methods.risk_sets import SortedRows
from isthmus_methods.time_table import Grid, on_grid


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
    """Events, leavers and late entries at each step, by stratum. Adds."""

    strata: Integers  # (S,), sorted
    rows: Integers  # (S, 3, T + 1), the last step for what is beyond the grid
    persons: Integers  # (S, 2, T + 1), persons with an event, persons who leave
    rounded: bool

    def __add__(self, other: TimeCounts) -> TimeCounts:
        strata = np.union1d(self.strata, other.strata)
        rows = np.zeros((len(strata), *self.rows.shape[1:]), dtype=np.int64)
        persons = np.zeros((len(strata), *self.persons.shape[1:]), dtype=np.int64)
        for part in (self, other):
            place = np.searchsorted(strata, part.strata)
            rows[place] += part.rows
            persons[place] += part.persons
        return TimeCounts(strata, rows, persons, self.rounded or other.rounded)

    def support(self, everybody: int, s: int | None = None) -> TimeSupport:
        """For a table of the steps anyone leaves at; `s`: for the hazard of one stratum, the steps with an event."""
        rows = self.rows.sum(axis=0) if s is None else self.rows[s]
        persons = self.persons.sum(axis=0) if s is None else self.persons[s]
        leavers = persons[1] if s is None else persons[0]
        at_risk = np.cumsum(rows[1][::-1])[::-1] - np.cumsum(rows[2][::-1])[::-1]
        total = min(int(persons[1].sum()), everybody)
        shown = np.flatnonzero(leavers[:-1] > 0)
        return TimeSupport(total, leavers[shown], np.clip(at_risk[shown], leavers[shown], total))


def time_counts(rows: SortedRows, steps: Steps) -> TimeCounts:
    """The counts of one block."""
    strata, stratum = np.unique(rows.row_stratum, return_inverse=True)
    if not steps.by_stratum:
        strata, stratum = np.zeros(1, dtype=np.int64), np.zeros(rows.size, dtype=np.int64)
    width = steps.size + 1
    leave, rounded = steps.of(rows.stops)
    cells = stratum * width + leave
    shape, number = (len(strata), width), len(strata) * width
    entries = np.zeros(shape, dtype=np.int64)
    if rows.starts is not None:
        # a start before the first step hides no step; one on a step hides that step and those before it
        hidden = np.searchsorted(steps.times, rows.starts * (1 + 1e-12), side="right") - 1
        late = hidden >= 0
        entries = np.bincount((stratum * width + hidden)[late], minlength=number).reshape(shape)
    counts = np.stack(
        [
            np.bincount(cells[rows.death_rows], minlength=number).reshape(shape),
            np.bincount(cells, minlength=number).reshape(shape),
            entries,
        ],
        axis=1,
    ).astype(np.int64)
    if rows.one_row_each:
        return TimeCounts(strata, counts, counts[:, :2], rounded)
    width_persons = int(rows.subject.max(initial=0)) + 1
    persons = np.stack(
        [
            np.bincount(np.unique(picked) // width_persons, minlength=number).reshape(shape)
            for each in [cells * width_persons + rows.subject]
            for picked in (each[rows.death_rows], each)
        ],
        axis=1,
    ).astype(np.int64)
    return TimeCounts(strata, counts, persons, rounded)


def cumulative_hazard(sets: RiskSets, steps: Steps, stratum: int) -> Array:
    """Baseline cumulative hazard at all covariates zero or reference, at each step, (T,).

    Source: Breslow (1974), Biometrics 30, 89-99; with Efron's ties the sum over the d steps of 1 / s0.
    """
    here = sets.stratum == stratum if steps.by_stratum else np.ones(len(sets.time), dtype=np.bool_)
    where, _ = steps.of(sets.time[here])
    jumps = np.bincount(where, weights=sets.hazard[here], minlength=steps.size + 1)[: steps.size]
    hazard: Array = np.cumsum(jumps) * np.exp(-sets.unit)
    return hazard
