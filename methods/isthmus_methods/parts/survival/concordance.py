"""Harrell's concordance within strata: pairs of rows counted, and sums from which its standard error follows.

Pairs within a country are counted there. Pairs across countries need the rows' linear predictors side by side: cells
(predictor, stratum, times, event) with their number of rows leave as a histogram, where the site's policy allows that.

A pair is an event i and a row j at risk at its time that outlives it: a later time, or the same time and censored.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from isthmus_methods.contract import Answer, Array, BinSupport, Block, Booleans, Integers
from isthmus_methods.parts.inference import number
from isthmus_methods.parts.survival.risk_sets import SortedRows

# Linear predictors on one step of this width are equal. The same covariates give the same one in every country: they
# are multiplied and added one column after another.
PREDICTOR_STEP = 2.0**-43
# The predictor's step that is called 2^52, so that all are positive; those further than 512 are not told apart.
MIDDLE = 2**52
# Rows compared one with another directly; longer runs are halved first.
LEAF = 64


@dataclass(frozen=True, slots=True)
class Predictors:
    """What pairs are made of, row by row. Stays inside the country. Adds."""

    stratum: Integers
    stops: Array
    starts: Array | None
    event: Booleans
    eta: Array
    subject: Integers

    def __add__(self, other: Predictors) -> Predictors:
        starts = None
        if self.starts is not None and other.starts is not None:
            starts = np.concatenate([self.starts, other.starts])
        return Predictors(
            np.concatenate([self.stratum, other.stratum]),
            np.concatenate([self.stops, other.stops]),
            starts,
            np.concatenate([self.event, other.event]),
            np.concatenate([self.eta, other.eta]),
            np.concatenate([self.subject, other.subject]),
        )

    @property
    def place(self) -> Integers:
        """The step of each predictor, from 0 to 2^53."""
        place: Integers = np.clip(np.rint(self.eta / PREDICTOR_STEP), 1 - MIDDLE, MIDDLE).astype(np.int64) + MIDDLE
        return place


def predictors(block: Block, rows: SortedRows, beta: Array, centre: Array) -> Predictors:
    """Linear predictors of one block, about `centre` (p,)."""
    event = np.zeros(rows.size, dtype=np.bool_)
    event[rows.death_rows] = True
    eta = np.zeros(rows.size)
    if block.design is not None:
        for j, slope in enumerate(beta):
            eta += (block.design.matrix[rows.order, j] - centre[j]) * slope
    return Predictors(rows.row_stratum, rows.stops, rows.starts, event, eta, rows.subject)


def predictor_cells(rows: Predictors | None) -> tuple[Integers, BinSupport]:
    """The histogram of a country's rows, (m, 6): predictor, stratum, stop, 1 + start, event, number of rows.

    Times are steps of the grid; None: no rows.
    """
    if rows is None or not len(rows.eta):
        return np.zeros((0, 6), dtype=np.int64), BinSupport(np.zeros(0, dtype=np.int64), 0)
    start = np.full(len(rows.eta), -1.0) if rows.starts is None else rows.starts
    places = np.column_stack(
        [rows.place, rows.stratum, rows.stops.astype(np.int64), start.astype(np.int64) + 1, rows.event]
    ).astype(np.int64)
    cells, which, number = np.unique(places, axis=0, return_inverse=True, return_counts=True)
    pairs = np.unique(np.column_stack([which.reshape(-1), rows.subject]), axis=0)
    persons = np.bincount(pairs[:, 0], minlength=len(cells)).astype(np.int64)
    total = len(np.unique(rows.subject))
    return np.column_stack([cells, number]).astype(np.int64), BinSupport(persons, total)


def predictors_of(cells: Integers) -> Predictors:
    """The rows of all countries, of the cells of their histograms."""
    place, stratum, stop, start, event = np.repeat(cells[:, :5], cells[:, 5], axis=0).T
    starts = (start - 1).astype(np.float64) if np.any(start > 0) else None
    eta = (place - MIDDLE) * PREDICTOR_STEP
    return Predictors(stratum, stop.astype(np.float64), starts, event == 1, eta, np.arange(len(place)))


def pair_counts(rows: Predictors) -> tuple[Array, Array]:
    """Concordant, discordant and tied pairs, (3,), and the sums for the standard error, (3,).

    With a = C_i - D_i and b = C_i + D_i + T_i over the pairs row i is in, the sums are of a^2, a b and b^2.
    """
    n = len(rows.eta)
    mine = np.zeros((n, 3), dtype=np.int64)  # concordant, discordant, tied pairs of each row
    rank = np.unique(rows.place, return_inverse=True)[1].reshape(-1).astype(np.int64)
    for code in np.unique(rows.stratum):
        here = np.flatnonzero(rows.stratum == code)
        times = np.unique(rows.stops[here])
        when = 2 * np.searchsorted(times, rows.stops[here])
        events = np.flatnonzero(rows.event[here])
        # an event comes before the rows censored at its time, and is no pair with the other events of it
        _count(mine, here, rank[here], when[events], events, when + ~rows.event[here], +1)
        if rows.starts is not None:
            # not at risk: those that start at the event's time or later
            entered = 2 * np.searchsorted(times, rows.starts[here], side="right") - 1
            _count(mine, here, rank[here], when[events], events, entered, -1)
    a = (mine[:, 0] - mine[:, 1]).astype(np.float64)
    b = mine.sum(axis=1).astype(np.float64)
    return mine.sum(axis=0) / 2.0, np.array([a @ a, a @ b, b @ b])


def _count(
    mine: Integers, here: Integers, rank: Integers, when: Integers, events: Integers, point: Integers, sign: int
) -> None:
    """Add to `mine` the pairs of each event with the points that come strictly later than it."""
    number_of_events = len(events)
    key = np.concatenate([when, point])
    # at equal keys points first, so that "later in the list" is "strictly later in time"
    is_point = np.concatenate([np.zeros(number_of_events, dtype=np.bool_), np.ones(len(point), dtype=np.bool_)])
    order = np.lexsort((~is_point, key))
    ranks = np.concatenate([rank[events], rank])[order]
    owner = np.concatenate([here[events], here])[order]
    point_at = is_point[order]
    size = len(order)
    width = LEAF
    for low in range(0, size, LEAF):
        span = slice(low, low + LEAF)
        queries, points = np.flatnonzero(~point_at[span]) + low, np.flatnonzero(point_at[span]) + low
        later = points[None, :] > queries[:, None]
        # a longer life with a smaller predictor agrees with the model
        relation = np.sign(ranks[queries][:, None] - ranks[points][None, :])
        for k, wanted in enumerate((1, -1, 0)):
            pairs = later & (relation == wanted)
            np.add.at(mine[:, k], owner[queries], sign * pairs.sum(axis=1))
            np.add.at(mine[:, k], owner[points], sign * pairs.sum(axis=0))
    top = int(ranks.max(initial=0)) + 1
    while width < size:
        block = np.arange(size) // width
        pair_of = block // 2
        queries = np.flatnonzero(~point_at & (block % 2 == 0))
        points = np.flatnonzero(point_at & (block % 2 == 1))
        query_keys, point_keys = pair_of[queries] * top + ranks[queries], pair_of[points] * top + ranks[points]
        _add_pairs(mine, owner, queries, query_keys, np.sort(point_keys), pair_of[queries] * top, top, sign, (0, 1))
        _add_pairs(mine, owner, points, point_keys, np.sort(query_keys), pair_of[points] * top, top, sign, (1, 0))
        width *= 2


def _add_pairs(
    mine: Integers,
    owner: Integers,
    ones: Integers,
    keys: Integers,
    others: Integers,
    floor: Integers,
    top: int,
    sign: int,
    below_above: tuple[int, int],
) -> None:
    """For each of `ones`, how many of the other kind in its pair of runs rank below, above and equal."""
    low, high = np.searchsorted(others, floor, side="left"), np.searchsorted(others, floor + top, side="left")
    left, right = np.searchsorted(others, keys, side="left"), np.searchsorted(others, keys, side="right")
    np.add.at(mine[:, below_above[0]], owner[ones], sign * (left - low))
    np.add.at(mine[:, below_above[1]], owner[ones], sign * (high - right))
    np.add.at(mine[:, 2], owner[ones], sign * (right - left))


def concordance(pairs: Array, sums: Array) -> dict[str, Answer]:
    """Concordance and its standard error from the countries' totals.

    Source: Harrell, Lee & Mark (1996), Statist. Med. 15, 361-387; the standard error is the infinitesimal jackknife
    over rows (Therneau & Watson 2017, The concordance statistic and the Cox model, section 4).
    """
    c, d, t = (float(x) for x in pairs)
    total = c + d + t
    if total <= 0:
        return {"c": None, "se": None, "concordant": 0, "discordant": 0, "tied_x": 0}
    tilt = (c - d) / total
    variance = (float(sums[0]) - 2.0 * tilt * float(sums[1]) + tilt**2 * float(sums[2])) / total**2
    return {
        "c": number((c + t / 2.0) / total),
        "se": number(math.sqrt(max(variance, 0.0)) / 2.0),
        "concordant": round(c),
        "discordant": round(d),
        "tied_x": round(t),
    }
