"""Events and leavers at each distinct time inside a country, which needs no grid: nothing of it leaves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isthmus_methods.contract import (
    Array,
    Booleans,
    Integers,
)
from isthmus_methods.parts import persons
from isthmus_methods.parts.persons import Persons
from isthmus_methods.parts.time_table import (
    MAX_STEPS,
    TIE,
)


@dataclass(frozen=True, slots=True)
class ByPerson:
    """For thresholds where a person has several rows."""

    arms: Booleans  # (arms, persons): has a row in the arm
    last: Integers | None  # (tables x arms, persons): 1 + last step of the grid, if a time table leaves

    def __add__(self, other: ByPerson, /) -> ByPerson:
        width = max(self.arms.shape[1], other.arms.shape[1])
        last = None
        if self.last is not None and other.last is not None:
            last = np.maximum(persons.widened(self.last, width), persons.widened(other.last, width))
        return ByPerson(persons.widened(self.arms, width) | persons.widened(other.arms, width), last)


@dataclass(frozen=True, slots=True)
class Table:
    """Events and leavers at each distinct time, by stratum and arm; the times need no grid. Adds."""

    times: Array  # (U,), ascending
    counts: Integers  # (strata x arms, 2, U)
    persons: Persons
    by_person: ByPerson | None = None

    def __add__(self, other: Table, /) -> Table:
        times = np.union1d(self.times, other.times)
        counts = np.zeros((*self.counts.shape[:2], len(times)), dtype=np.int64)
        counts[..., np.searchsorted(times, self.times)] += self.counts
        counts[..., np.searchsorted(times, other.times)] += other.counts
        both = self.by_person + other.by_person if self.by_person and other.by_person else None
        return Table(times, counts, self.persons + other.persons, both)

    def joined(self) -> tuple[Array, Integers]:
        """Times and counts, those times made one that are equal but for rounding."""
        if not len(self.times):
            return self.times, self.counts
        gap = np.diff(self.times) > TIE * np.maximum(1.0, np.abs(self.times[1:]))
        first = np.flatnonzero(np.append(True, gap))
        return self.times[first], np.add.reduceat(self.counts, first, axis=-1)


def distinct(times: Array, step: float | None) -> tuple[Array, Integers]:
    """Distinct times, ascending, and the place of each row's time among them; no sort where all lie on a step."""
    if step is not None and len(times):
        nearest = np.rint(times / step)
        low, high = float(nearest.min()), float(nearest.max())
        if high - low < MAX_STEPS and bool(np.all(np.abs(times - nearest * step) <= TIE * np.maximum(1.0, times))):
            codes = (nearest - low).astype(np.int64)
            present = np.bincount(codes) > 0
            found: Array = (np.flatnonzero(present) + low).astype(np.float64) * step
            return found, (np.cumsum(present) - 1).astype(np.int64)[codes]
    unique, codes = np.unique(times, return_inverse=True)
    return unique, codes.astype(np.int64)
