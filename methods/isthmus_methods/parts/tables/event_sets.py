"""Sets of events by arm: persons with any of the set, events, and time at risk that ends with a person's first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isthmus_methods.contract import Array, CellSupport, Integers, Item, SumSupport


@dataclass(frozen=True, slots=True)
class EventSets:
    """Counts and sums of several sets by arm, flat: cell = set x arms + arm. Adds over distinct persons."""

    persons: Integers  # (m,) persons with an event of the set
    events: Integers  # (m,)
    lost: Array  # (m,) time from a person's first event of the set to the end of exposure, summed
    top: Array  # (m, 2) the two largest of these times
    span: Array  # (m, 2) least and greatest; infinite the other way round where there is none

    @classmethod
    def of(
        cls, sets: Integers, person: Integers, day: Array, arm: Integers, exposure: Array, number: int, arms: int
    ) -> EventSets:
        """Of events, each in one set; an event that is in several sets stands there several times.

        Parameters
        ----------
        sets, person, day : (n,), set, person and day of each event; NaN where the day is not known.
        arm, exposure : (persons,), of each person; exposure in the unit of `day`, NaN where it is not known.
        number, arms : of sets and of arms.
        """
        cells, people = number * arms, len(arm)
        events = np.bincount(sets * arms + arm[person], minlength=cells)
        pairs, where = np.unique(sets * people + person, return_inverse=True)
        first = np.full(len(pairs), np.inf)
        np.minimum.at(first, where, np.where(np.isnan(day), np.inf, day))
        who = pairs % people if people else pairs
        cell = (pairs // people if people else pairs) * arms + arm[who]
        end = exposure[who]
        known = np.isfinite(first) & ~np.isnan(end)
        # the first event cannot end the time before its first day, nor after exposure
        at_risk = np.minimum(np.maximum(first, 1.0), end)
        lost = np.where(known, end - at_risk, 0.0)
        order = np.lexsort((lost, cell))
        cell, lost = cell[order], lost[order]
        ends = np.searchsorted(cell, np.arange(cells), side="right")
        starts = np.searchsorted(cell, np.arange(cells))
        counted = ends - starts
        top, span = np.zeros((cells, 2)), np.tile([np.inf, -np.inf], (cells, 1))
        some, several = counted > 0, counted > 1
        top[some, 0], top[several, 1] = lost[ends[some] - 1], lost[ends[several] - 2]
        span[some, 0], span[some, 1] = lost[starts[some]], lost[ends[some] - 1]
        return cls(
            counted.astype(np.int64),
            events.astype(np.int64),
            np.bincount(cell, weights=lost, minlength=cells).astype(np.float64),
            top,
            span,
        )

    @classmethod
    def nothing(cls, number: int, arms: int) -> EventSets:
        none = np.zeros(0, dtype=np.int64)
        return cls.of(none, none, np.zeros(0), none, np.zeros(0), number, arms)

    def __add__(self, other: EventSets, /) -> EventSets:
        low = np.minimum(self.span[:, 0], other.span[:, 0])
        high = np.maximum(self.span[:, 1], other.span[:, 1])
        return EventSets(
            self.persons + other.persons,
            self.events + other.events,
            self.lost + other.lost,
            np.sort(np.concatenate([self.top, other.top], axis=1), axis=1)[:, :-3:-1],
            np.stack([low, high], axis=1),
        )

    def items(self, label: str, within: Integers, axes: tuple[tuple[str, tuple[str, ...]], ...]) -> tuple[Item, ...]:
        """Persons, events and lost time as declared fields; `within` (A,): persons of each arm."""
        shape = tuple(len(levels) for _, levels in axes)
        persons = self.persons.reshape(shape)
        all_of_arm = np.broadcast_to(within, shape).copy()
        varied = (self.span[:, 0] < self.span[:, 1]).reshape(shape)
        largest, second = (self.top[:, k].reshape(shape).copy() for k in (0, 1))
        lost = self.lost.reshape(shape)
        return (
            Item("persons", persons, CellSupport(persons, within=all_of_arm), label, axes),
            Item("events", self.events.reshape(shape), CellSupport(persons, within=all_of_arm), label, axes),
            Item("lost", lost, SumSupport(persons, largest, second, lost, varied), label, axes),
        )
