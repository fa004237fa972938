"""Distinct persons behind rows: a threshold counts persons, so that a row repeated by a join does not count twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from isthmus_methods.contract import Booleans, Integers

Number = TypeVar("Number", np.float64, np.int64, np.bool_)

# Said by the methods that take one row a person and were given more.
REPEATED = "REPEATED_SUBJECTS"
REPEATED_SAYS = (
    "in {countries} some persons have more than one row; every row counts, as in R without a cluster, "
    "and standard errors take the rows as independent"
)


@dataclass(frozen=True, slots=True)
class Persons:
    """Which persons have a row, and how many rows there are. Adds."""

    seen: Booleans  # (largest subject number + 1,)
    rows: int

    @classmethod
    def of(cls, subject: Integers) -> Persons:
        seen = np.zeros(int(subject.max()) + 1 if len(subject) else 0, dtype=np.bool_)
        seen[subject] = True
        return cls(seen, len(subject))

    def __add__(self, other: Persons, /) -> Persons:
        longer, shorter = (self.seen, other.seen) if len(self.seen) >= len(other.seen) else (other.seen, self.seen)
        seen = longer.copy()
        seen[: len(shorter)] |= shorter
        return Persons(seen, self.rows + other.rows)

    @property
    def number(self) -> int:
        return int(np.count_nonzero(self.seen))

    @property
    def repeated(self) -> bool:
        """Whether any person has more than one row."""
        return self.rows > self.number


def widened(array: NDArray[Number], width: int) -> NDArray[Number]:
    """The array with zeros appended to its last axis, so that arrays over persons of two blocks can be added."""
    missing = width - array.shape[-1]
    if missing <= 0:
        return array
    return np.concatenate([array, np.zeros((*array.shape[:-1], missing), dtype=array.dtype)], axis=-1)
