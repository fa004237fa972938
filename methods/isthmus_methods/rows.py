"""The rows of one country as a method gets them. A method reads this from `contract.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Design:
    """The model's columns over the rows used: treatment coding, no intercept."""

    matrix: Array  # (n, p), float64, C order
    names: tuple[str, ...]  # (p,), as `coefficient_names`
    level_codes: Mapping[str, Integers]  # for each factor in the terms: code of its level, (n,)


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
