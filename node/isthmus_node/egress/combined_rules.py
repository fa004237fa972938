"""Cells of three factors that follow from tables of two: together these can fix what none of them shows."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np

from isthmus_methods.contract import Integers
from isthmus_node.egress.form import Violation
from isthmus_node.egress.released import Released, packed, place_of
from isthmus_node.egress.request_rules import Question, differencing
from isthmus_node.egress.thresholds import Limits

Table = frozenset[str]


def triples_are_loose(question: Question, released: Released, limits: Limits) -> Violation | Released:
    """Attack 3 over tables of combined factors: all three pairs of three factors on one cohort fix a cell of all three.

    Of each three factors of which every two are known together for this cohort, no cell may be told to be of 1 to k - 1
    persons. What is known of a plan's tables counts; a plan's own are read by whoever approves it.

    Gives what is released once this is.
    """
    place = place_of(packed(question.columns(question.rows)), released.cohorts)
    new = {pair for pair in question.cohorts.pairs if place not in released.pairs.get(_key(pair), ())}
    if place is None or not new:
        return released
    if not question.in_plan:
        earlier = {frozenset(json.loads(key)) for key, places in released.pairs.items() if place in places}
        for triple in _closed(new, earlier | new):
            cells = _cells(question, sorted(triple))
            # a factor that this study does not have: nobody can say that the cells are loose
            if cells is None or is_fixed(cells, limits.difference_persons, limits.zeros_shown):
                return differencing(limits)
    pairs = {**released.pairs, **{_key(pair): (*released.pairs.get(_key(pair), ()), place) for pair in new}}
    return replace(released, pairs=pairs)


def is_fixed(cells: Integers, fewest: int, zeros_shown: bool) -> bool:
    """Whether the tables of every two factors tell that some cell of three has 1 to `fewest` - 1 persons.

    Tables of persons with the same sums in every two directions differ by exchanges: one person more in a cell and in
    three others of a cube, one fewer in the remaining four. A cell is not told where repeating one of them leads it to
    nobody, or to `fewest` persons, and no other cell below zero. Where it would take several different ones the answer
    is yes as well, so that no cell that is told passes. Where zeros are not shown nobody is too few, as elsewhere.

    Parameters
    ----------
    cells : (I, J, K), persons.

    Source: the basic moves between tables of given margins, Diaconis and Sturmfels, Annals of Statistics 26 (1998);
    bounds of cells from margins, Dobra and Fienberg, PNAS 97 (2000).
    """
    for place in np.argwhere((cells < fewest) & ((cells > 0) | (not zeros_shown))):
        own = int(cells[tuple(place)])
        up, down = _room(cells, tuple(int(k) for k in place))
        if up < fewest - own and (down < own or not zeros_shown):
            return True
    return False


def _room(cells: Integers, at: tuple[int, ...]) -> tuple[int, int]:
    """How many persons more, and how many fewer, one exchange can bring into a cell."""
    others = [[k for k in range(size) if k != own] for size, own in zip(cells.shape, at, strict=True)]
    up = down = 0
    for corner in itertools.product(*others):
        cube = cells[np.ix_(*zip(at, corner, strict=True))].ravel()
        # corners in the order of their bits: even ones go with the cell, odd ones against it
        down = max(down, int(cube[[0, 3, 5, 6]].min()))
        up = max(up, int(cube[[1, 2, 4, 7]].min()))
    return up, down


def _closed(new: set[Table], known: set[Table]) -> set[Table]:
    """Sets of three factors, every two of which are known together, two of them since now."""
    factors = sorted(set().union(*known))
    return {
        pair | {factor}
        for pair in new
        for factor in factors
        if factor not in pair and all(frozenset((one, factor)) in known for one in pair)
    }


def _cells(question: Question, factors: list[str]) -> Integers | None:
    """(I, J, K), distinct persons of the cohort by the levels of three factors; None: one of them is not known here."""
    found = [question.cohorts.codes(factor) for factor in factors]
    codes = np.array([one for one in found if one is not None])
    if len(codes) < len(factors):
        return None
    rows = question.rows & (codes >= 0).all(axis=0)
    cells: Integers = np.zeros((codes[:, rows].max(axis=1, initial=0) + 1), dtype=np.int64)
    seen = np.unique(np.vstack([codes[:, rows], question.cohorts.subject[rows]]), axis=1)
    np.add.at(cells, tuple(seen[:-1]), 1)
    return cells


def _key(pair: Table) -> str:
    return json.dumps(sorted(pair))
