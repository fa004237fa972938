"""Exact linear algebra over cohorts: what sums over a new cohort, together with earlier ones, would tell apart.

A cohort is a 0/1 row over the dataset's rows. Whoever holds sums over cohorts holds every linear combination of them.
A combination that is zero outside a few persons is a statement about these few, whatever was summed.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from isthmus_methods.contract import Booleans, Integers

# Steps of the search; a question that needs more is answered "yes, it tells apart": refused.
MOST_STEPS = 400
# Columns that are looked at first, for each cohort.
_MANY = 4
_LEAST, _MOST = 2**30, 2**31


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Cohorts collapsed to distinct columns, and the groups of persons that these belong to.

    Parameters
    ----------
    earlier : (r, m) 0/1, linearly independent cohorts that left before.
    new : (m,) 0/1, the cohort that is asked about.
    group : (m,), for each column the group of persons that have rows in it. A group's persons have the same columns.
    sizes : (groups,), distinct persons in each.
    """

    earlier: Integers
    new: Integers
    group: Integers
    sizes: Integers


def collapsed(earlier: Booleans, new: Booleans, person: Integers, one_row_each: bool = False) -> Columns:
    """Equal columns as one, and persons who have rows in the same columns as one group with a size."""
    label = _signatures(np.vstack([earlier, new]))
    first = np.empty(int(label.max(initial=-1)) + 1, dtype=np.int64)
    first[label[::-1]] = np.arange(len(label))[::-1]
    if one_row_each:
        sizes = np.bincount(label, minlength=len(first))
        own = earlier[:, first].astype(np.int64)
        return Columns(own, new[first].astype(np.int64), np.arange(len(first)), sizes)
    owner, column = np.divmod(np.unique(person * len(first) + label), max(len(first), 1))
    # a person's group is the set of his columns; a sum of drawn numbers, one a column, stands for the set
    drawn = np.random.default_rng(len(first)).integers(0, 2**63, len(first), dtype=np.uint64)
    name = np.zeros(int(owner.max(initial=-1)) + 1, dtype=np.uint64)
    np.add.at(name, owner, drawn[column])
    persons = np.unique(owner)
    _, example, sizes = np.unique(name[persons], return_index=True, return_counts=True)
    group_of = np.full(len(name), -1, dtype=np.int64)
    group_of[persons[example]] = np.arange(len(example))
    shown = group_of[owner] >= 0
    places = first[column[shown]]
    return Columns(earlier[:, places].astype(np.int64), new[places].astype(np.int64), group_of[owner[shown]], sizes)


def _signatures(rows: Booleans) -> Integers:
    """A number a column, from 0 without gaps, equal for equal columns."""
    label: Integers = np.zeros(rows.shape[1], dtype=np.int64)
    for row in rows:
        label = 2 * label + row
        present = np.zeros(int(label.max(initial=0)) + 1, dtype=np.bool_)
        present[label] = True
        label = (np.cumsum(present) - 1)[label]
    return label


def prime() -> int:
    """A prime of 31 bits, drawn: nobody outside can choose cohorts whose determinant it divides.

    A combination over the rationals that is zero somewhere is zero there over this field too, so nothing is missed.
    """
    while True:
        number = secrets.randbelow(_MOST - _LEAST) + _LEAST
        if number % 2 and all(number % d for d in range(3, 46341, 2)):
            return number


def is_combination(earlier: Integers, new: Integers, field_size: int) -> bool:
    """Whether a cohort says nothing new: sums over it follow from sums over the earlier ones."""
    return not _residual(earlier, new, field_size)[2].any()


def tells_apart(columns: Columns, fewest: int, field_size: int) -> bool:
    """Whether some combination in which the new cohort has a part lies on 1 to `fewest` - 1 persons.

    Equivalent: there is a set of so few persons without whom the new cohort is a combination of the earlier ones. Each
    `witness` is a set of columns that shows it is none, so persons must be taken away from every witness. Where
    witnesses without common persons add up to `fewest` there is no such set; else all sets are tried, cleverly.

    Source: the smallest cocircuit of the matroid of the columns (Oxley, Matroid Theory, 2011, 2.1); linear auditing
    after Chin and Ozsoyoglu, IEEE Trans. Software Eng. 8 (1982).
    """
    search = _Search(columns, fewest, field_size)
    return not search.has_witnesses_enough() and search.finds(np.ones(len(columns.new), dtype=np.bool_), fewest - 1)


@dataclass(slots=True)
class _Search:
    columns: Columns
    fewest: int
    field_size: int
    steps: int = 0
    # groups that stay, whatever is tried
    fixed: Booleans = field(init=False)

    def __post_init__(self) -> None:
        self.fixed = self.columns.sizes >= self.fewest

    def has_witnesses_enough(self) -> bool:
        """Disjoint witnesses, found greedily; each counts as its smallest group as often as that has persons left."""
        left = np.where(self.fixed, np.int64(self.fewest), self.columns.sizes)
        total = 0
        while total < self.fewest:
            there = left[self.columns.group] > 0
            # columns of many persons suffice nearly always, and few columns cost little
            witness = self.witness(self._largest(there, left))
            if witness is None:
                witness = self.witness(there)
            if witness is None:
                return False
            free = witness[~self.fixed[witness]]
            if not free.size:
                return True
            part = int(left[free].min())
            total += part
            left[free] -= part
        return True

    def _largest(self, there: Booleans, left: Integers) -> Booleans:
        """The columns of most persons among those that are there, a few for each cohort."""
        places = np.flatnonzero(there)
        order = np.argsort(-left[self.columns.group[places]], kind="stable")
        largest: Booleans = np.zeros(len(there), dtype=np.bool_)
        largest[places[order[: _MANY * (len(self.columns.earlier) + 1)]]] = True
        return largest

    def finds(self, there: Booleans, budget: int) -> bool:
        """Whether taking away groups of `budget` persons or fewer leaves a combination."""
        self.steps += 1
        if self.steps > MOST_STEPS:
            return True
        witness = self.witness(there)
        if witness is None:
            return True
        held: list[int] = []
        found = False
        for group in witness[~self.fixed[witness]]:
            size = int(self.columns.sizes[group])
            if size <= budget and self.finds(there & (self.columns.group != group), budget - size):
                found = True
                break
            self.fixed[group] = True
            held.append(int(group))
        self.fixed[held] = False
        return found

    def witness(self, there: Booleans) -> Integers | None:
        """Groups of a few columns on which the new cohort is no combination of the earlier; None: it is one."""
        group = self.columns.group
        # columns that stay come first, then those of many persons: they become pivots, and witnesses need few others
        order = np.flatnonzero(there)
        order = order[np.lexsort((-self.columns.sizes[group[order]], ~self.fixed[group[order]]))]
        reduced, pivots, residual = _residual(self.columns.earlier[:, order], self.columns.new[order], self.field_size)
        broken = np.flatnonzero(residual)
        if not broken.size:
            return None
        free = ~self.fixed[group[order]]
        needs = (reduced[:, broken] != 0) & free[pivots][:, None]
        best = int(broken[np.argmin(needs.sum(axis=0) + free[broken])])
        parts = [best, *pivots[np.flatnonzero(reduced[:, best])].tolist()]
        return np.unique(group[order[parts]])


def _residual(earlier: Integers, new: Integers, field_size: int) -> tuple[Integers, Integers, Integers]:
    """The earlier rows reduced to pivots (leftmost), the pivots' places, and what they leave of the new row."""
    matrix = np.array(earlier, dtype=np.int64)
    pivots: list[int] = []
    for place in _pivots(matrix, field_size):
        pivots.append(place)
    where: NDArray[np.int64] = np.array(pivots, dtype=np.int64)
    reduced = matrix[: len(pivots)]
    residual = np.array(new, dtype=np.int64)
    for row, place in enumerate(pivots):
        # pivots are 0 in the other rows, so each factor is the new row's own entry
        residual = (residual - int(new[place]) * reduced[row]) % field_size
    return reduced, where, residual


def _pivots(matrix: Integers, field_size: int) -> Iterator[int]:
    """Reduce in place, row by row, and give the column of each pivot."""
    done = 0
    start = 0
    while done < len(matrix):
        live = matrix[done:, start:].any(axis=0)
        if not live.any():
            return
        place = start + int(np.argmax(live))
        row = done + int(np.argmax(matrix[done:, place] != 0))
        if row != done:
            matrix[[done, row]] = matrix[[row, done]]
        matrix[done] = matrix[done] * pow(int(matrix[done, place]), -1, field_size) % field_size
        factors = matrix[:, place].copy()
        factors[done] = 0
        touched = np.flatnonzero(factors)
        # both factors are below 2^31: no overflow of 64 bits
        matrix[touched] = (matrix[touched] - factors[touched, None] * matrix[done]) % field_size
        yield place
        done, start = done + 1, place + 1
