"""Rows in the order a partial likelihood reads them, and the sums by time that add over blocks of rows.

Everything is in homogeneous coordinates ``[1, x - centre]``, so that one pass gives the sums of the weights and of the
weighted covariates, and moving the centre is one small product. Weights are ``exp(x beta - unit)``: `unit` keeps them
in range and cancels in every quantity that leaves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus_methods.contract import Array, Block, Booleans, Integers

# Times closer than this are the same time, absolutely or relative to the mean time (R's `timefix`).
SAME_TIME = math.sqrt(np.finfo(np.float64).eps)
# Above this a linear predictor is shifted before it is exponentiated.
LARGE_PREDICTOR = 200.0


@dataclass(slots=True)
class SortedRows:
    """A block's rows by stratum, time and, within a time, events first."""

    x: Array  # (n, 1 + p), C order: 1, x - centre
    centre: Array  # (p,)
    stratum: Integers  # (T,) of each distinct stop time
    time: Array  # (T,)
    first: Integers  # (T + 1,) position of its first row
    deaths: Integers  # (T,)
    death_rows: Integers  # (E,) positions of the events
    death_first: Integers  # (T + 1,) into `death_rows`
    stops: Array  # (n,)
    row_stratum: Integers  # (n,)
    starts: Array | None  # (n,)
    entry: EntryOrder | None
    order: Integers  # (n,) the rows' places in the block
    subject: Integers  # (n,)
    cluster: NDArray[Any] | None  # (n,)
    one_row_each: bool  # every person has one row here
    dropped: int  # rows whose interval is empty
    # kept from pass to pass
    known_predictor: tuple[bytes, Array, Array, float] | None = None  # beta, x beta - centre beta, weights, shift
    known_slots: tuple[Array, Integers, Integers, Integers | None] | None = None
    known_weights: tuple[Array, Array] | None = None
    known_distance: tuple[Array, Array] | None = None

    @property
    def size(self) -> int:
        return len(self.x)

    def predictor(self, beta: Array) -> tuple[Array, Array, float]:
        """Centred linear predictor (n,), weights (n,) and the shift between them."""
        stamp = beta.tobytes()
        known = self.known_predictor
        if known is None or known[0] != stamp:
            eta = self.x @ np.concatenate([[0.0], beta])
            top = float(eta.max(initial=0.0))
            shift = top if top > LARGE_PREDICTOR else 0.0
            known = self.known_predictor = (stamp, eta, np.exp(eta - shift if shift else eta), shift)
        return known[1], known[2], known[3]


@dataclass(frozen=True, slots=True)
class EntryOrder:
    """Delayed entry: the rows by stratum and start time."""

    order: Integers  # (n,) positions
    stratum: Integers  # (S,)
    time: Array  # (S,)
    first: Integers  # (S + 1,)


@dataclass(frozen=True, slots=True)
class SumsByTime:
    """Sums over the rows that share a stratum and a time; sorted by both."""

    stratum: Integers  # (T,)
    time: Array  # (T,)
    sums: Array  # (T, k)

    def moved(self, move: Array, scale: float) -> SumsByTime:
        return SumsByTime(self.stratum, self.time, (self.sums @ move) * scale)


@dataclass(frozen=True, slots=True)
class RiskTable:
    """What some rows put into the risk sets at one beta. Adds.

    `exits` sums over rows that leave at a time: weight and weighted covariates (1 + p columns), the same over events
    (1 + p columns), and the number of events (one column).
    """

    centre: Array  # (p,)
    unit: float  # true weight = weight * exp(unit)
    beta: Array  # (p,)
    exits: SumsByTime
    entries: SumsByTime | None
    death_eta: float  # sum over events of x beta - unit
    death_x: Array  # (p,) sum over events of x - centre
    deaths: int

    def __add__(self, other: RiskTable) -> RiskTable:
        if not len(other.exits.time):
            return self
        if not len(self.exits.time):
            return other
        unit = max(self.unit, other.unit)
        left, right = self.seen_from(self.centre, unit), other.seen_from(self.centre, unit)
        entries = left.entries
        if entries is not None and right.entries is not None:
            entries = joined(entries, right.entries)
        return RiskTable(
            self.centre,
            unit,
            self.beta,
            joined(left.exits, right.exits),
            entries,
            left.death_eta + right.death_eta,
            left.death_x + right.death_x,
            self.deaths + other.deaths,
        )

    def seen_from(self, centre: Array, unit: float) -> RiskTable:
        """The same sums about another centre and in another unit of weight."""
        if unit == self.unit and (centre is self.centre or np.array_equal(centre, self.centre)):
            return self
        p, scale = len(centre), math.exp(self.unit - unit)
        move = recentring(self.centre, centre)
        both = np.zeros((2 * p + 3, 2 * p + 3))
        both[: p + 1, : p + 1] = both[p + 1 : 2 * p + 2, p + 1 : 2 * p + 2] = move
        both[-1, -1] = 1.0 / scale  # the number of events has no unit
        return RiskTable(
            centre,
            unit,
            self.beta,
            self.exits.moved(both, scale),
            None if self.entries is None else self.entries.moved(move, scale),
            self.death_eta + self.deaths * (self.unit - unit),
            self.death_x + self.deaths * (self.centre - centre),
            self.deaths,
        )


def recentring(old: Array, new: Array) -> Array:
    """`M` with ``[1, x - old] M = [1, x - new]``, (1 + p, 1 + p)."""
    move = np.eye(len(old) + 1)
    move[0, 1:] = old - new
    return move


def segment_sums(weights: Array, rows: Integers, first: Integers, x: Array) -> Array:
    """Sums of ``weights[k] x[rows[k]]`` over each run ``first[j] <= k < first[j + 1]``, (T, columns of x)."""
    from scipy.sparse import csr_array  # loaded with the first fit: a node that waits does without

    chooser = csr_array((weights, rows, first), shape=(len(first) - 1, len(x)))
    sums: Array = chooser @ x
    return sums


def joined(a: SumsByTime, b: SumsByTime) -> SumsByTime:
    """Both tables in one, times that are the same merged."""
    stratum, time = np.concatenate([a.stratum, b.stratum]), np.concatenate([a.time, b.time])
    if not len(time):
        return a
    order = np.lexsort((time, stratum))
    stratum, time = stratum[order], time[order]
    begins = np.r_[True, (stratum[1:] != stratum[:-1]) | ~same_times(time)]
    first = np.flatnonzero(begins)
    sums = segment_sums(
        np.ones(len(order)), order.astype(np.int32), bounds(first, len(order)), np.concatenate([a.sums, b.sums])
    )
    return SumsByTime(stratum[first], time[first], sums)


def same_times(ascending: Array) -> Booleans:
    """Whether each value is the same time as the one before it, (n - 1,)."""
    tolerance = SAME_TIME * max(1.0, float(np.abs(ascending).mean()) if len(ascending) else 0.0)
    same: Booleans = np.diff(ascending) <= tolerance
    return same


def risk_table(rows: SortedRows, beta: Array) -> RiskTable:
    """The sums of one block at `beta` (p,)."""
    eta, weights, shift = rows.predictor(beta)
    n, p = rows.size, len(beta)
    exits = np.empty((len(rows.time), 2 * p + 3))
    exits[:, : p + 1] = segment_sums(weights, np.arange(n, dtype=np.int32), rows.first, rows.x)
    exits[:, p + 1 : 2 * p + 2] = segment_sums(weights[rows.death_rows], rows.death_rows, rows.death_first, rows.x)
    exits[:, -1] = rows.deaths
    entries = None
    if rows.entry is not None:
        order = rows.entry.order
        sums = segment_sums(weights[order], order, rows.entry.first, rows.x)
        entries = SumsByTime(rows.entry.stratum, rows.entry.time, sums)
    return RiskTable(
        centre=rows.centre,
        unit=float(rows.centre @ beta) + shift,
        beta=beta,
        exits=SumsByTime(rows.stratum, rows.time, exits),
        entries=entries,
        death_eta=float(np.sum(eta[rows.death_rows] - shift)),
        death_x=rows.x[rows.death_rows, 1:].sum(axis=0),
        deaths=len(rows.death_rows),
    )


# --------------------------------------------------------------------------- putting the rows in order


def sorted_rows(block: Block, cluster: NDArray[Any] | None = None) -> SortedRows:
    """A block's rows in order; to be kept in the block's memo.

    `cluster` (rows,) names the cluster of each row where a robust variance is asked for. Rows (start, stop] with
    start >= stop are left out, as R does.
    """
    event: Booleans = block.numbers("event") == 1.0
    stops, starts = _without_near_ties(
        block.numbers("time"), block.numbers("start") if block.columns.get("start") else None
    )
    stratum = _strata(block)
    kept = np.arange(block.rows) if starts is None else np.flatnonzero(starts < stops)
    order = kept[sort_order(stratum[kept], 2 * _time_codes(stops[kept]) + ~event[kept])]
    stops, event, stratum = stops[order], event[order], stratum[order]
    first = bounds(np.flatnonzero(np.r_[True, (stratum[1:] != stratum[:-1]) | (stops[1:] != stops[:-1])]), len(order))
    heads = first[:-1]
    counted = np.concatenate([[0], np.cumsum(event)])
    matrix = block.design.matrix if block.design is not None else np.empty((block.rows, 0))
    x = np.empty((len(order), matrix.shape[1] + 1))
    x[:, 0] = 1.0
    x[:, 1:] = matrix[order]
    centre = x[:, 1:].mean(axis=0) if len(order) else np.zeros(matrix.shape[1])
    x[:, 1:] -= centre
    subject = block.subject[order]
    return SortedRows(
        x=x,
        centre=centre,
        stratum=stratum[heads],
        time=stops[heads],
        first=first,
        deaths=np.diff(counted[first]),
        death_rows=np.flatnonzero(event).astype(np.int32),
        death_first=counted[first].astype(np.int32),
        stops=stops,
        row_stratum=stratum,
        starts=None if starts is None else starts[order],
        entry=None if starts is None else _entry_order(stratum, starts[order]),
        order=order,
        subject=subject,
        cluster=None if cluster is None else cluster[order],
        one_row_each=not len(subject) or int(np.bincount(subject).max()) <= 1,
        dropped=block.rows - len(order),
    )


def bounds(begins: Integers, total: int) -> Integers:
    """Positions of the runs' first elements, and the end of the last, as the sparse sums want them."""
    if not total:
        return np.zeros(1, dtype=np.int32)
    return np.append(begins, total).astype(np.int32)


def sort_order(major: Integers, minor: Integers) -> Integers:
    """Stable order by `major`, then `minor` (both >= 0): a radix sort where the numbers are small."""
    span = int(minor.max(initial=0)) + 1
    top = (int(major.max(initial=0)) + 1) * span
    if top >= 2**62:
        whole: Integers = np.lexsort((minor, major))
        return whole
    combined = major * span + minor
    pieces = [(combined >> shift).astype(np.uint16) for shift in range(0, max(1, top.bit_length()), 16)]
    order: Integers = np.lexsort(pieces) if len(pieces) > 1 else np.argsort(pieces[0], kind="stable")
    return order


def _strata(block: Block) -> Integers:
    """One number for each combination of the strata's declared levels, (rows,)."""
    stratum = np.zeros(block.rows, dtype=np.int64)
    for k in range(len(block.columns.get("strata", ()))):
        stratum = stratum * len(block.levels["strata"][k]) + block.codes("strata", k)
    return stratum


def _without_near_ties(stops: Array, starts: Array | None) -> tuple[Array, Array | None]:
    """Times with those that are the same set to the first of them."""
    everything = stops if starts is None else np.concatenate([stops, starts])
    if not len(everything) or (np.all(everything == np.rint(everything)) and np.abs(everything).max() < 1e7):
        return stops, starts
    distinct, code = np.unique(everything, return_inverse=True)
    same = same_times(distinct)
    if same.any():
        representative = distinct[np.maximum.accumulate(np.where(np.r_[True, ~same], np.arange(len(distinct)), 0))]
        everything = representative[code]
    n = len(stops)
    return everything[:n], None if starts is None else everything[n:]


def _time_codes(times: Array) -> Integers:
    """Whole numbers in the order of the times, (n,)."""
    if not len(times):
        return np.zeros(0, dtype=np.int64)
    low = times.min()
    if times.max() - low < 2**40 and np.all(times == np.rint(times)):
        whole: Integers = (times - low).astype(np.int64)
        return whole
    codes: Integers = np.unique(times, return_inverse=True)[1].astype(np.int64)
    return codes


def _entry_order(stratum: Integers, starts: Array) -> EntryOrder:
    order = sort_order(stratum, _time_codes(starts))
    by_stratum, by_time = stratum[order], starts[order]
    begins = np.flatnonzero(np.r_[True, (by_stratum[1:] != by_stratum[:-1]) | (by_time[1:] != by_time[:-1])])
    first = bounds(begins, len(order))
    return EntryOrder(order.astype(np.int32), by_stratum[first[:-1]], by_time[first[:-1]], first)
