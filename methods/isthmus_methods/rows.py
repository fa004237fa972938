"""The rows of one country as a method gets them. A method reads this from `contract.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from isthmus_methods.request import Variable

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]
T = TypeVar("T")


# Rows written together: they stay in the processor's cache for all columns.
_CHUNK = 8192


class Design:
    """The model's columns over the rows used: treatment coding, no intercept.

    Columns are written where they are wanted: a method that takes them about a centre never has the others in memory.
    """

    __slots__ = ("_column", "_matrix", "level_codes", "names", "rows")

    def __init__(
        self,
        matrix: Array | Callable[[int, slice], Array],
        names: tuple[str, ...],
        level_codes: Mapping[str, Integers],
        rows: int = 0,
    ) -> None:
        """
        Parameters
        ----------
        matrix : (n, p), float64, C order; or what gives some rows of one column, by its place.
        names : (p,), as `coefficient_names`.
        level_codes : for each factor in the terms: code of its level, (n,).
        rows : n, where columns are given one by one.
        """
        self._matrix = None if callable(matrix) else matrix
        self._column = matrix if callable(matrix) else self._of_matrix
        self.names = names
        self.level_codes = level_codes
        self.rows = rows if callable(matrix) else len(matrix)

    @property
    def matrix(self) -> Array:
        """(n, p), float64, C order; written once."""
        if self._matrix is None:
            made = np.empty((self.rows, len(self.names)))
            self.write(made)
            self._matrix = made
        return self._matrix

    def means(self) -> Array:
        """Mean of each column, (p,); 0 where there is no row."""
        total = np.zeros(len(self.names))
        for some in self._some():
            total += [self._column(k, some).sum() for k in range(len(total))]
        return total / max(1, self.rows)

    def write(self, into: Array, centre: Array | None = None) -> None:
        """Write the columns into an array (n, p), less a centre (p,) where one is given."""
        for some in self._some():
            for k in range(len(self.names)):
                column = self._column(k, some)
                into[some, k] = column if centre is None else column - centre[k]

    def _some(self) -> Iterator[slice]:
        return (slice(low, low + _CHUNK) for low in range(0, self.rows, _CHUNK))

    def _of_matrix(self, k: int, some: slice) -> Array:
        column: Array = self.matrix[some, k]
        return column


@dataclass(frozen=True, slots=True)
class EventRows:
    """Rows of the request's second dataset: the events of the persons of one block, in the order of the source.

    Values may be missing (NaN, code -1). A person who has rows in several blocks has his events in the first.
    """

    rows: int
    columns: Mapping[str, tuple[NDArray[Any], ...]]  # as a block's, by the roles of events
    levels: Mapping[str, tuple[tuple[str, ...], ...]]
    subject: Integers  # (rows,), the block's numbers of persons
    # Events that the filter kept, of persons who are not on the rows used: told of once, with the first block.
    left_out: int = 0
    persons_left_out: int = 0


@dataclass(slots=True)
class Block:
    """Some rows of one country: complete cases of the method's variables, in the order of the source.

    `columns[role]` holds one array a column of that role: floats for numbers and indicators, integer codes into
    `levels[role][k]` for factors. `subject` numbers distinct persons within the country (0 .. persons - 1).
    `memo` keeps what is worth computing once for these rows (a sort order, distinct times) from round to round.
    """

    country: str
    rows: int
    columns: Mapping[str, tuple[NDArray[Any], ...]]
    levels: Mapping[str, tuple[tuple[str, ...], ...]]
    subject: Integers
    design: Design | None = None
    # Rows that the filter kept, and persons among them; `rows` counts the complete ones of these.
    rows_selected: int = 0
    persons_selected: int = 0
    # Where the request has a second dataset.
    events: EventRows | None = None
    _kept: dict[str, Any] = field(default_factory=dict, repr=False)

    def numbers(self, role: str, k: int = 0) -> Array:
        values: Array = self.columns[role][k]
        return values

    def codes(self, role: str, k: int = 0) -> Integers:
        values: Integers = self.columns[role][k]
        return values

    def memo(self, key: str, build: Callable[[], T]) -> T:
        """`build()`, computed once for this block."""
        if key not in self._kept:
            self._kept[key] = build()
        kept: T = self._kept[key]
        return kept


@dataclass(frozen=True, slots=True, eq=False)
class Condition:
    """Rows for which a condition written into a column holds, (rows,)."""

    holds: Booleans
    # As the levels of a factor, whose persons the gate counts; otherwise as a number in sums.
    is_factor: bool
    # It says which events of a second dataset are looked at, or who has one of them.
    is_of_events: bool = False
    # Two parts of one variable may have nobody in common, whoever is there.
    may_be_empty: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """A number that a request compares a variable with, and the rows that the comparison tells apart, (rows,)."""

    variable: Variable
    number: float  # the least one of the upper side, or the one that is looked for
    inside: Booleans  # those for which it holds, of the rows for which it matters
    outside: Booleans  # those for which it does not


@dataclass(frozen=True, slots=True, eq=False)
class Cohorts:
    """Whose rows are behind a summary: made beside it from the request and the rows, never by a method.

    Nothing of it leaves the node. Arrays named (rows,) are over all rows of the dataset.
    """

    dataset: str
    known_by: str  # the variable that names persons; empty where each row is one
    subject: Integers  # (rows,), persons of the dataset numbered from 0
    names: Callable[[], Sequence[str]]  # (persons,): by them persons are known again in a later snapshot
    dictionary: bytes  # digest: contents are compared under equal dictionaries only
    snapshot: bytes  # digest of rows and names
    contents: Callable[[], NDArray[np.uint64]]  # (persons,), a digest of what each person's rows hold
    selected: Booleans  # (rows,), kept by the filter
    used: Booleans  # (rows,), of these the ones with all values that the method needs
    conditions: tuple[Condition, ...] = ()
    levels: Mapping[str, Booleans] = field(default_factory=dict)  # "grade=3" -> (rows,)
    pairs: frozenset[frozenset[str]] = frozenset()  # of factors that the request may show together, by name
    codes: Callable[[str], Integers | None] = lambda _: None  # (rows,), of a factor by name, -1 missing; None: unknown
    cut_points: Mapping[str, frozenset[float]] = field(default_factory=dict)  # variable -> numbers it is compared with
    cuts: tuple[Cut, ...] = ()  # of filter and conditions; not those that an approved plan has
    depth: int = 0  # nested conjunctions and disjunctions; 1: one comparison
    quasi_identifiers: int = 0  # distinct ones in filters and conditions
    # The dataset of events: who is looked at is the other dataset's matter, which of his events is this one's.
    is_of_events: bool = False
