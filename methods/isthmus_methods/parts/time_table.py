"""Time tables on the study's grid: how many have the event and how many leave at each step."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from isthmus.errors import DataError, UsageError
from isthmus_methods.contract import Array, Booleans, Column, Integers, Ref, Setting, Spec, TimeSupport, column_name

# Times closer than this, relative, count as equal.
TIE = 1e-8
# Steps of a grid: a thousand years of days.
MAX_STEPS = 400_000
# Numbers in one table that leaves.
MAX_CELLS = 20_000_000

ROUNDED = "TIMES_ROUNDED"
ROUNDED_SAYS = "in {countries} some times lie off the study's time grid and were rounded to its nearest step"


@dataclass(frozen=True, slots=True)
class Grid:
    """Times ``start + k step`` for k = 0 .. size - 1, in the unit of the time variable."""

    start: float
    step: float
    size: int

    def times(self, steps: Integers) -> Array:
        times: Array = np.asarray(self.start + steps * self.step, dtype=np.float64)
        return times

    def steps(self, times: Array) -> tuple[Integers, Booleans]:
        """The nearest step of each time, and whether the time lies off the grid."""
        position = (times - self.start) / self.step
        nearest = np.rint(position)
        off = np.abs(position - nearest) * self.step > TIE * np.maximum(1.0, np.abs(times))
        steps: Integers = nearest.astype(np.int64)
        return steps, off


def grid_of(spec: Spec, column: Column) -> Grid:
    """The grid that the study's dictionary fixes for a time variable: its step, from its minimum to its maximum.

    Raises
    ------
    UsageError
        Where the column is no plain variable, or the dictionary gives it no grid or no range.
    """
    name = column_name(column)
    variable = spec.variables.get(name) if isinstance(column, Ref) else None
    step = variable.grid_step if variable is not None else None
    if variable is None or step is None or not (math.isfinite(step) and step > 0):
        raise UsageError(
            "NO_TIME_GRID",
            f"the study's dictionary gives {name!r} no time grid, and a time table leaves a country only on one",
            f"give {name!r} a grid in the study's dictionary, for example 1 for whole days",
        )
    start = variable.minimum if variable.minimum is not None else 0.0
    if variable.maximum is None or not (math.isfinite(variable.maximum) and variable.maximum >= start):
        raise UsageError(
            "NO_TIME_RANGE",
            f"the study's dictionary gives {name!r} no greatest value, so its time grid has no end",
            f"give {name!r} a minimum and a maximum in the study's dictionary",
        )
    size = math.floor((variable.maximum - start) / step + 0.5) + 1
    if size > MAX_STEPS:
        raise UsageError(
            "TIME_GRID_TOO_FINE",
            f"the time grid of {name!r} has {size} steps; at most {MAX_STEPS} are allowed",
            f"give {name!r} a coarser grid or a narrower range in the study's dictionary",
        )
    return Grid(start, step, size)


def on_grid(grid: Grid, times: Array, name: str) -> tuple[Integers, bool]:
    """Steps of the times, and whether any was rounded. Raises `DataError` where one is outside the grid's range."""
    steps, off = grid.steps(times)
    if len(steps) and (int(steps.min()) < 0 or int(steps.max()) >= grid.size):
        raise DataError(
            "TIME_OUT_OF_RANGE",
            f"{name!r} has values outside the range that the study's dictionary gives",
            "correct the values, or propose a wider range in the study's dictionary",
        )
    return steps, bool(off.any())


def tabulate(steps: Integers, events: Booleans, groups: Integers, number: int, size: int) -> Integers:
    """Events and all leavers at each step by group, (number, 2, size)."""
    cells = groups * size + steps
    table = np.empty((number, 2, size), dtype=np.int64)
    table[:, 0] = np.bincount(cells[events], minlength=number * size).reshape(number, size)
    table[:, 1] = np.bincount(cells, minlength=number * size).reshape(number, size)
    return table


def at_risk(leavers: Integers) -> Integers:
    """Persons at risk just before each step, along the last axis: those who leave at it or later."""
    risk: Integers = np.cumsum(leavers[..., ::-1], axis=-1)[..., ::-1]
    return risk


def time_support(leavers: Integers) -> TimeSupport:
    """Support of tables that stand or fall together, (groups, T) leavers in persons, as if all were of one group.

    The groups add up to a table that is known as well, so each is as safe as the smallest: persons are those of the
    smallest group with anyone in it, and no step counts for more.
    """
    sizes = leavers.sum(axis=-1)
    persons = int(sizes[sizes > 0].min()) if sizes.any() else 0
    used = leavers > 0
    return TimeSupport(persons, np.minimum(leavers[used], persons), np.minimum(at_risk(leavers)[used], persons))


def last_steps(steps: Integers, groups: Integers, subject: Integers, number: int) -> Integers:
    """For repeated persons: 1 + the last step of each person in each group, 0 where none, (number, persons)."""
    width = int(subject.max()) + 1 if len(subject) else 0
    last = np.zeros((number, width), dtype=np.int64)
    np.maximum.at(last, (groups, subject), steps + 1)
    return last


def leavers_of(last: Integers, size: int) -> Integers:
    """Persons who leave at each step, (number, size), from `last_steps`."""
    return np.stack([np.bincount(row[row > 0] - 1, minlength=size) for row in last]).astype(np.int64)


def times_in(setting: Setting) -> tuple[float, ...]:
    """A setting's numbers, one or several. Raises `UsageError` where it holds texts."""
    values = setting if isinstance(setting, tuple) else (setting,)
    if any(isinstance(x, str) for x in values):
        raise UsageError("WRONG_OPTION", "times are numbers, and texts were given", "give numbers in the unit of time")
    return tuple(float(x) for x in values)
