"""Rows in the order a partial likelihood reads them, and the sums by time that add over blocks of rows.

Everything is in homogeneous coordinates ``[1, x - centre]``, so that one pass gives the sums of the weights and of the
weighted covariates, and moving the centre is one small product. Weights are ``w exp((x - centre) beta - unit)``, w a
row's case weight or 1: centre and `unit` keep them in range and cancel in every quantity that leaves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.errors import DataError
from isthmus_methods.contract import Array, Block, Booleans, Integers
from isthmus_methods.parts.cross_product import CHUNK, KnownDistances, recentring

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
    death_x: Array  # (p,) sum over the events of w (x - centre)
    every: Integers  # (n,) 0 .. n - 1
    stops: Array  # (n,)
    row_stratum: Integers  # (n,)
    starts: Array | None  # (n,)
    entry: EntryOrder | None
    order: Integers  # (n,) the rows' places in the block
    subject: Integers  # (n,)
    cluster: NDArray[Any] | None  # (n,)
    one_row_each: bool  # every person has one row here
    dropped: int  # rows whose interval is empty
    case: Array | None = None  # (n,) case weights; None: 1 each
    # kept from pass to pass
    known_predictor: tuple[bytes, Array, Array, float] | None = None  # beta, predictor, weights, shift
    known_slots: tuple[Array, Integers, Integers, Integers | None] | None = None
    known_weights: tuple[Array, Array] | None = None
    known_distances: KnownDistances = field(default_factory=KnownDistances)

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
            weights = np.exp(eta - shift if shift else eta)
            if self.case is not None:
                weights *= self.case
            known = self.known_predictor = (stamp, eta, weights, shift)
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

    def times(self, matrix: Array) -> SumsByTime:
        """With every row of sums multiplied by a matrix."""
        return SumsByTime(self.stratum, self.time, self.sums @ matrix)

    def last_until(self, stratum: Integers, time: Array) -> Integers:
        """The entry of the same stratum that is the last at or before each time."""
        if len(self.stratum) and self.stratum[0] == self.stratum[-1]:
            return np.searchsorted(self.time, time, side="right") - 1
        place = np.empty(len(time), dtype=np.int64)
        low, high = np.searchsorted(stratum, self.strata), np.searchsorted(stratum, self.strata, side="right")
        first = np.searchsorted(self.stratum, self.strata)
        edges = np.append(first, len(self.time))
        for r in range(len(first)):
            here = slice(low[r], high[r])
            own = self.time[edges[r] : edges[r + 1]]
            place[here] = edges[r] + np.searchsorted(own, time[here], side="right") - 1
        return place

    @property
    def strata(self) -> Integers:
        """The strata there are, ascending."""
        strata: Integers = self.stratum[np.diff(self.stratum, prepend=-1) != 0]
        return strata


@dataclass(frozen=True, slots=True)
class RiskTable:
    """What some rows put into the risk sets at one beta. Adds."""

    centre: Array  # (p,)
    unit: float  # w exp(x beta) = weight * exp(unit + centre beta)
    beta: Array  # (p,)
    exits: SumsByTime  # over rows that leave: weight, weighted covariates (T, 1 + p)
    deaths: SumsByTime  # over events: the same, the sum of their case weights, and their number (D, 3 + p)
    entries: SumsByTime | None  # over rows that start, as `exits`
    death_x: Array  # (p,) sum over events of w (x - centre)
    death_eta: float  # sum over events of w ((x - centre) beta - unit)

    def __add__(self, other: RiskTable) -> RiskTable:
        if not len(other.exits.time):
            return self
        if not len(self.exits.time):
            return other
        unit = max(self.unit, other.unit + float((other.centre - self.centre) @ self.beta))
        left, right = self.seen_from(self.centre, unit), other.seen_from(self.centre, unit)
        entries = left.entries
        if entries is not None and right.entries is not None:
            entries = joined(entries, right.entries)
        return RiskTable(
            self.centre,
            unit,
            self.beta,
            joined(left.exits, right.exits),
            joined(left.deaths, right.deaths),
            entries,
            left.death_x + right.death_x,
            left.death_eta + right.death_eta,
        )

    def seen_from(self, centre: Array, unit: float) -> RiskTable:
        """The same sums about another centre and in another unit of weight."""
        if unit == self.unit and (centre is self.centre or np.array_equal(centre, self.centre)):
            return self
        shift = self.unit - unit + float((self.centre - centre) @ self.beta)
        scale, move = math.exp(shift), recentring(self.centre, centre)
        number = float(self.deaths.sums[:, -2].sum())
        counted = np.eye(len(centre) + 3)
        counted[:-2, :-2] = move * scale
        return RiskTable(
            centre,
            unit,
            self.beta,
            self.exits.times(move * scale),
            self.deaths.times(counted),
            None if self.entries is None else self.entries.times(move * scale),
            self.death_x + number * (self.centre - centre),
            self.death_eta + number * shift,
        )


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
    _, weights, shift = rows.predictor(beta)
    exits = SumsByTime(rows.stratum, rows.time, segment_sums(weights, rows.every, rows.first, rows.x))
    died = np.flatnonzero(rows.deaths)
    runs = bounds(rows.death_first[died], len(rows.death_rows))
    deaths = np.empty((len(died), len(beta) + 3))
    deaths[:, :-2] = segment_sums(weights[rows.death_rows], rows.death_rows, runs, rows.x)
    deaths[:, -2:] = rows.deaths[died, None]
    event_weight = float(len(rows.death_rows))
    if rows.case is not None and len(died):
        deaths[:, -2] = np.add.reduceat(rows.case[rows.death_rows], runs[:-1])
        event_weight = float(deaths[:, -2].sum())
    entries = None
    if rows.entry is not None:
        order = rows.entry.order
        sums = segment_sums(weights[order], order, rows.entry.first, rows.x)
        entries = SumsByTime(rows.entry.stratum, rows.entry.time, sums)
    return RiskTable(
        centre=rows.centre,
        unit=shift,
        beta=beta,
        exits=exits,
        deaths=SumsByTime(rows.stratum[died], rows.time[died], deaths),
        entries=entries,
        death_x=rows.death_x,
        death_eta=float(rows.death_x @ beta) - shift * event_weight,
    )


# --------------------------------------------------------------------------- putting the rows in order


def sorted_rows(block: Block, cluster: NDArray[Any] | None = None) -> SortedRows:
    """A block's rows in order; to be kept in the block's memo.

    `cluster` (rows,) names the cluster of each row where a robust variance is asked for. Rows (start, stop] with
    start >= stop are left out, as R does.
    """
    stops, starts = _without_near_ties(
        block.numbers("time"), block.numbers("start") if block.columns.get("start") else None
    )
    return in_order(
        block.design.matrix if block.design is not None else np.empty((block.rows, 0)),
        stops,
        starts,
        block.numbers("event") == 1.0,
        strata_of(block),
        block.subject,
        cluster,
        case_weights(block),
    )


def case_weights(block: Block) -> Array | None:
    """Role `weights`, (rows,). Raises `DataError` where one is not positive."""
    case = block.numbers("weights") if block.columns.get("weights") else None
    if case is not None and not np.all(case > 0):
        raise DataError(
            "WEIGHT_NOT_POSITIVE",
            "a case weight is zero or negative, and R's coxph takes none such",
            "leave rows without weight out with a filter",
        )
    return case


def in_order(
    matrix: Array,
    stops: Array,
    starts: Array | None,
    event: Booleans,
    stratum: Integers,
    subject: Integers,
    cluster: NDArray[Any] | None = None,
    case: Array | None = None,
) -> SortedRows:
    """Rows in the order a partial likelihood reads them.

    Parameters
    ----------
    matrix : (n, p), the model's columns.
    stops, starts : (n,), the rows are at risk in (start, stop]; `starts` None: from the beginning.
    event : (n,), whether the row ends with an event.
    stratum, subject : (n,), whole numbers.
    cluster : (n,), what a robust variance takes as one.
    case : (n,), case weights > 0; None: one each.
    """
    rows = len(stops)
    kept = np.arange(rows) if starts is None else np.flatnonzero(starts < stops)
    order = kept[sort_order(stratum[kept], 2 * _time_codes(stops[kept]) + ~event[kept])]
    stops, event, stratum = stops[order], event[order], stratum[order]
    first = bounds(np.flatnonzero(np.r_[True, (stratum[1:] != stratum[:-1]) | (stops[1:] != stops[:-1])]), len(order))
    heads = first[:-1]
    counted = np.concatenate([[0], np.cumsum(event)])
    centre = matrix[kept].mean(axis=0) if 0 < len(kept) < len(matrix) else matrix.sum(axis=0) / max(1, len(matrix))
    x = np.empty((len(order), matrix.shape[1] + 1))
    x[:, 0] = 1.0
    for low in range(0, len(order), CHUNK):
        x[low : low + CHUNK, 1:] = matrix[order[low : low + CHUNK]] - centre
    subject = subject[order]
    death_rows: Integers = np.flatnonzero(event).astype(np.int32)
    dying = x[death_rows, 1:]
    weights = None if case is None else case[order]
    return SortedRows(
        x=x,
        centre=centre,
        stratum=stratum[heads],
        time=stops[heads],
        first=first,
        deaths=np.diff(counted[first]),
        death_rows=death_rows,
        death_first=counted[first].astype(np.int32),
        death_x=dying.sum(axis=0) if weights is None else weights[death_rows] @ dying,
        every=np.arange(len(order), dtype=np.int32),
        stops=stops,
        row_stratum=stratum,
        starts=None if starts is None else starts[order],
        entry=None if starts is None else _entry_order(stratum, starts[order]),
        order=order,
        subject=subject,
        cluster=None if cluster is None else cluster[order],
        one_row_each=not len(subject) or int(np.bincount(subject).max()) <= 1,
        dropped=rows - len(order),
        case=weights,
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


def strata_of(block: Block) -> Integers:
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
