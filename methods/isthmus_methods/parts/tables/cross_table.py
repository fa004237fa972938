"""Counts of rows by several factors, and of the distinct persons behind every cell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from isthmus.errors import UsageError
from isthmus_methods.contract import (
    Array,
    Block,
    CellSupport,
    Column,
    Indicator,
    Integers,
    Item,
    Ref,
    Spec,
    VariableType,
    column_name,
)
from isthmus_methods.parts.persons import Persons
from isthmus_methods.request import CONDITION_LEVELS

COUNTRY = "COUNTRY"  # the role of the variable that says which country a row is of
EVENT = ("event", "no_event")
MISSING, OUTSIDE = -1, -2
# More cells than this are no table that anybody reads.
MOST_CELLS = 100_000
# A whole number is taken as a factor of the values in its range, if these are no more.
MOST_VALUES = 200


@dataclass(frozen=True, slots=True)
class Axis:
    """One factor of a table: which column of which role, and where its values go."""

    role: str
    k: int
    name: str
    levels: tuple[str, ...]
    # of each level of the column its place on the axis, or OUTSIDE; the last entry is for missing values
    places: tuple[int, ...] = ()
    numbers: tuple[float, ...] = ()  # of a numeric column, its levels as numbers
    event: float = math.nan  # of a numeric column, the value that is the event

    def codes(self, block: Block) -> Integers:
        """Place on the axis of every row, (n,); MISSING or OUTSIDE where it has none."""
        values = block.columns[self.role][self.k]
        if not math.isnan(self.event):
            found = np.where(values == self.event, 0, 1)
            return np.where(np.isnan(values), MISSING, found).astype(np.int64)
        if self.numbers:
            grid = np.array(self.numbers)
            near = np.searchsorted(grid, values).clip(0, len(grid) - 1)
            values = np.where(grid[near] == values, near, MISSING)
        places: Integers = np.array([*self.places, MISSING], dtype=np.int64)[values]
        return places


def whole_levels(spec: Spec, column: Column) -> tuple[float, ...]:
    """The values of a condition, or of a whole number between the bounds that the dictionary gives it."""
    if isinstance(column, Indicator):
        return (0.0, 1.0)
    variable = spec.variables.get(column.variable) if isinstance(column, Ref) else None
    if variable is None or variable.minimum is None or variable.maximum is None:
        return ()
    if variable.type is not VariableType.INTEGER or variable.maximum - variable.minimum >= MOST_VALUES:
        return ()
    return tuple(float(x) for x in range(math.ceil(variable.minimum), math.floor(variable.maximum) + 1))


def levels_of(spec: Spec, column: Column) -> tuple[str, ...]:
    """Levels of a column that is counted by, the dictionary's, or the values of a whole number; empty: it has none."""
    if isinstance(column, Indicator):
        return CONDITION_LEVELS
    return spec.levels(column) or tuple(str(int(x)) for x in whole_levels(spec, column))


def axis_of(spec: Spec, role: str, k: int = 0, chosen: Sequence[str] = ()) -> Axis:
    """A factor of the table: all its levels, or those chosen, in the order chosen.

    Raises
    ------
    UsageError
        ``NO_LEVELS`` where the column has none that are known; ``UNKNOWN_LEVEL`` for a level that it has not.
    """
    column = spec.role(role)[k]
    name, levels = column_name(column), levels_of(spec, column)
    if not levels:
        raise UsageError(
            "NO_LEVELS",
            f"{name!r} is to be counted by, and the dictionary has neither its levels nor the range of a whole number",
            "use a factor, a condition, or a variable with declared levels",
        )
    for level in chosen:
        if level not in levels:
            raise UsageError(
                "UNKNOWN_LEVEL",
                f"{level!r} is no level of {name!r}; it has {', '.join(map(repr, levels))}",
                "use one of its levels",
            )
    kept = tuple(chosen) or levels
    places = tuple(kept.index(level) if level in kept else OUTSIDE for level in levels)
    numbers = () if spec.levels(column) else whole_levels(spec, column)
    return Axis(role, k, name, kept, places, numbers)


def event_axis(spec: Spec, role: str, event: str) -> Axis:
    """Event and no event: of a factor the level that is the event, of a number or a condition the value (1).

    Raises
    ------
    UsageError
        ``NO_EVENT``, ``UNKNOWN_LEVEL``.
    """
    column = spec.role(role)[0]
    name, levels = column_name(column), spec.levels(column)
    if levels:
        if event not in levels:
            given = f"{event!r} is no level of it" if event else "none is named"
            raise UsageError(
                "UNKNOWN_LEVEL" if event else "NO_EVENT",
                f"which level of {name!r} is the event: {given}; it has {', '.join(map(repr, levels))}",
                "give `event` as one of its levels",
            )
        return Axis(role, 0, name, EVENT, tuple(0 if level == event else 1 for level in levels))
    try:
        value = float(event or "1")
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise UsageError("NO_EVENT", f"{name!r} holds numbers, and the event {event!r} is none", "give a number")
    return Axis(role, 0, name, EVENT, event=value)


def check_arms(treated: str, control: str) -> None:
    """Raises `UsageError` ``NO_ARMS`` unless two different arms are named."""
    if not treated or not control or treated == control:
        raise UsageError("NO_ARMS", "two different arms are compared", "name both `treated` and `control`")


def check_size(axes: Sequence[Axis]) -> None:
    """Raises `UsageError` ``TOO_MANY_CELLS``."""
    cells = math.prod(len(axis.levels) for axis in axes)
    if cells > MOST_CELLS:
        raise UsageError(
            "TOO_MANY_CELLS", f"the table would have {cells} cells, of at most {MOST_CELLS}", "count by fewer levels"
        )


# --------------------------------------------------------------------------- inside a country


@dataclass(frozen=True, slots=True)
class CellCounts:
    """Rows by cell, and persons behind every cell. Adds.

    `pairs`: distinct (person, cell) as one number each, kept where persons have several rows.
    """

    cells: Integers  # (m,)
    persons: Persons
    pairs: Integers | None

    @classmethod
    def of(cls, places: Integers, subject: Integers, cells: int, by_person: bool) -> CellCounts:
        """`places` (n,): the cell of each row, of 0 .. cells - 1."""
        pairs = np.unique(subject * cells + places) if by_person else None
        return cls(np.bincount(places, minlength=cells).astype(np.int64), Persons.of(subject), pairs)

    def __add__(self, other: CellCounts, /) -> CellCounts:
        pairs = None if self.pairs is None or other.pairs is None else np.union1d(self.pairs, other.pairs)
        return CellCounts(self.cells + other.cells, self.persons + other.persons, pairs)

    @property
    def must_see_persons(self) -> bool:
        """Whether another pass must tell persons from rows."""
        return self.pairs is None and self.persons.repeated

    @property
    def behind(self) -> Integers:
        """Distinct persons behind each cell, (m,)."""
        if self.pairs is None:
            return self.cells
        return np.bincount(self.pairs % len(self.cells), minlength=len(self.cells)).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Crossed:
    """A table over several axes, and how many rows are missing on one of them. Adds."""

    table: CellCounts
    complete: CellCounts  # rows without and with a missing value

    @classmethod
    def of(cls, block: Block, axes: Sequence[Axis], by_person: bool) -> Crossed:
        codes = [axis.codes(block) for axis in axes]
        inside = np.ones(block.rows, dtype=np.bool_)
        missing = np.zeros(block.rows, dtype=np.bool_)
        for code in codes:
            inside &= code != OUTSIDE
            missing |= code == MISSING
        whole = inside & ~missing
        shape = tuple(len(axis.levels) for axis in axes)
        places = np.ravel_multi_index([code[whole] for code in codes], shape).astype(np.int64)
        return cls(
            CellCounts.of(places, block.subject[whole], math.prod(shape), by_person),
            CellCounts.of(missing[inside].astype(np.int64), block.subject[inside], 2, by_person),
        )

    @classmethod
    def nothing(cls, axes: Sequence[Axis]) -> Crossed:
        none = np.zeros(0, dtype=np.int64)
        cells = math.prod(len(axis.levels) for axis in axes)
        return cls(CellCounts.of(none, none, cells, False), CellCounts.of(none, none, 2, False))

    def __add__(self, other: Crossed, /) -> Crossed:
        return Crossed(self.table + other.table, self.complete + other.complete)

    @property
    def must_see_persons(self) -> bool:
        return self.complete.must_see_persons

    @property
    def missing(self) -> bool:
        return bool(self.complete.cells[1])

    def table_item(self, axes: Sequence[Axis], field: str = "table") -> Item:
        """The table as a COUNT; cell and complement are judged within the last axis."""
        shape = tuple(len(axis.levels) for axis in axes)
        support = CellSupport(self.table.behind.reshape(shape), axis=len(shape) - 1)
        named = tuple((axis.name, axis.levels) for axis in axes)
        return Item(field, self.table.cells.reshape(shape), support, axes=named)

    def missing_item(self, field: str = "missing") -> Item:
        """Rows without and with a missing value, as a COUNT."""
        axes = (("rows", ("complete", "missing")),)
        return Item(field, self.complete.cells, CellSupport(self.complete.behind, axis=0), axes=axes)


def whole_numbers(table: Array) -> Integers:
    """A sum of counts as whole numbers."""
    return np.rint(table).astype(np.int64)
