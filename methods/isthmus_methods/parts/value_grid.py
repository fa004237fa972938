"""A variable's values as cells of the grid that the dictionary gives it: how a distribution leaves, and is read.

Where the grid is the data's own resolution, ranks, quantiles and extremes that follow from the cells are exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from isthmus.errors import DataError
from isthmus_methods.contract import (
    Array,
    BinSupport,
    Column,
    Indicator,
    Integers,
    Item,
    Ref,
    Spec,
    Variable,
    column_name,
)

# Whole numbers up to here are exact as doubles.
EXACT = 2**53
# A value nearer to its place than this share of a step lies on the grid.
ON_GRID = 1e-6

ROUNDED = "VALUES_ROUNDED"
ROUNDED_SAYS = "in {countries} some values lie off the dictionary's grid and were taken at its nearest step"


@dataclass(frozen=True, slots=True)
class ValueGrid:
    """Values ``(start + place) numerator / denominator``, place a whole number: the decimals that a file can hold."""

    name: str
    start: int
    numerator: int
    denominator: int

    @classmethod
    def of(cls, column: Column, spec: Spec) -> ValueGrid | None:
        """The grid of a column; None where the dictionary gives none, or more steps than whole numbers are exact."""
        if isinstance(column, Indicator):
            return cls(column_name(column), 0, 1, 1)
        variable = spec.variables.get(column.variable) if isinstance(column, Ref) else None
        return None if variable is None else cls.of_variable(variable)

    @classmethod
    def of_variable(cls, variable: Variable) -> ValueGrid | None:
        step = variable.grid_step
        if step is None or not (math.isfinite(step) and step > 0):
            return None
        # the decimal that was written, not the double next to it
        written = Fraction(repr(float(step)))
        low, high = (
            None if bound is None else math.floor(Fraction(bound) / written)
            for bound in (variable.minimum, variable.maximum)
        )
        # places leave as whole numbers from 0 on, so they start no higher than the least value
        start = -EXACT // 2 if low is None else 0 if low >= 0 and (high or 0) < EXACT else low
        if high is not None and high - start >= EXACT:
            return None
        return cls(variable.name, start, written.numerator, written.denominator)

    @property
    def step(self) -> float:
        return self.numerator / self.denominator

    def values(self, places: Integers) -> Array:
        """The value at each place, to the last digit of the decimal."""
        whole = places + self.start
        largest = int(np.abs(whole).max(initial=0)) * self.numerator
        if largest < EXACT and self.denominator < EXACT:
            # one rounding only
            return np.asarray(whole * self.numerator / self.denominator, dtype=np.float64)
        return np.array([float(Fraction(int(k) * self.numerator, self.denominator)) for k in whole], dtype=np.float64)

    def places(self, values: Array) -> tuple[Integers, bool]:
        """The nearest place of each value, and whether any value lies off the grid.

        Raises `DataError` where one lies before the grid's start, or further from it than whole numbers are exact.
        """
        position = values * self.denominator / self.numerator - self.start
        if not ((position > -0.75) & (position < EXACT)).all():
            raise DataError(
                "VALUE_OUT_OF_RANGE",
                f"{self.name!r} has values outside the range that the study's dictionary gives",
                "correct the values, or propose a wider range in the study's dictionary",
            )
        places: Integers = np.maximum(np.rint(position).astype(np.int64), 0)
        away = np.abs(self.values(places) - values)
        off = away > np.maximum(ON_GRID * self.step, 4 * np.spacing(np.abs(values)))
        return places, bool(off.any())


@dataclass(frozen=True, slots=True)
class Cells:
    """Rows in each cell that anybody is in, and the persons in it. Adds."""

    places: Integers  # (m,), in order
    counts: Integers  # (m,)
    pairs: Integers  # (k, 2): place and person, each once, in order
    off: bool

    @classmethod
    def of(cls, grid: ValueGrid, values: Array, subject: Integers) -> Cells:
        places, off = grid.places(values)
        distinct, counts = np.unique(places, return_counts=True)
        return cls(distinct, counts.astype(np.int64), np.unique(np.column_stack([places, subject]), axis=0), off)

    def __add__(self, other: Cells, /) -> Cells:
        places, which = np.unique(np.concatenate([self.places, other.places]), return_inverse=True)
        counts = np.zeros(len(places), dtype=np.int64)
        np.add.at(counts, which, np.concatenate([self.counts, other.counts]))
        pairs = np.unique(np.concatenate([self.pairs, other.pairs]), axis=0)
        return Cells(places, counts, pairs, self.off or other.off)

    def item(self, field: str, label: str) -> Item:
        """As a HISTOGRAM field, (m, 2): place and rows."""
        persons = np.bincount(np.searchsorted(self.places, self.pairs[:, 0]), minlength=len(self.places))
        between = bool(len(self.places)) and int(self.places[-1] - self.places[0]) + 1 > len(self.places)
        return Item(
            field,
            np.column_stack([self.places, self.counts]),
            BinSupport(persons.astype(np.int64), len(np.unique(self.pairs[:, 1])), between),
            label,
            axes=(("value", ()), ("cell", ("place on the grid", "rows"))),
        )


@dataclass(frozen=True, slots=True)
class Distribution:
    """Values in order and the rows that have each: what the cells of all countries say."""

    values: Array  # (m,)
    counts: Integers  # (m,)

    @classmethod
    def of(cls, grid: ValueGrid, cells: Integers) -> Distribution:
        """`cells` (m, 2): place and rows, as `Contributions.cells` gives them."""
        there = cells[:, 1] > 0
        return cls(grid.values(cells[there, 0]), cells[there, 1])

    @property
    def n(self) -> int:
        return int(self.counts.sum())

    def ordered(self, k: int) -> float:
        """The k-th smallest, k from 1; beyond either end the end."""
        inside = min(max(k, 1), self.n)
        return float(self.values[int(np.searchsorted(np.cumsum(self.counts), inside))])

    def quantile_type7(self, p: float) -> float:
        """Linear between order statistics at (n - 1) p + 1: R's default.

        Source: Hyndman & Fan (1996), The American Statistician 50, 361-365, definition 7.
        """
        place = (self.n - 1) * p + 1.0
        low = math.floor(place)
        share = place - low
        below, above = self.ordered(low), self.ordered(low + 1)
        return below if share == 0.0 or above == below else (1.0 - share) * below + share * above

    def quantile_type2(self, p: float) -> float:
        """The order statistic beyond n p, the mean of both where n p is whole: SAS PCTLDEF=5.

        Source: Hyndman & Fan (1996), definition 2.
        """
        fuzz = 4.0 * float(np.finfo(np.float64).eps)
        place = self.n * p
        low = math.floor(place + fuzz)
        if abs(place - low) < fuzz:
            return (self.ordered(low) + self.ordered(low + 1)) / 2.0
        return self.ordered(low + 1)
