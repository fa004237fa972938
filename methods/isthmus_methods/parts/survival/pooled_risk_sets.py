"""Risk sets over all countries: sums at the pooled event times, asked for in one round and sent back in the next.

Where countries share a baseline hazard, a risk set holds persons of all of them. An iteration then takes two rounds:

1. each country gives its share of S0, S1 (and with Efron's ties of D0, D1) at the listed event times: `shares_at`, a
   field of kind RISK_SETS with the support of `supports_at`;
2. the coordinator adds them (`pooled_sets` gives it the log-likelihood and the score), sends the totals back, and each
   country runs the second pass of `partial_likelihood` over its own rows with the pooled risk sets, also from
   `pooled_sets`: the weighted cross-product, score residuals, whatever else.

Times are whole steps of the study's time grid throughout (`rows_on_grid`), so that ties are ties in every country.

Source: Lu et al. (2015), JAMIA 22, 1212-1219; Efron (1977), JASA 72, 557-565.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus_methods.contract import Array, Block, Booleans, Integers, State, TimeSupport
from isthmus_methods.parts.out_of_turn import wrong_state
from isthmus_methods.parts.survival.partial_likelihood import Place, RiskSets, at_risk_at, from_sums
from isthmus_methods.parts.survival.risk_sets import RiskTable, SortedRows, case_weights, in_order, strata_of
from isthmus_methods.parts.time_table import TIE, Grid, on_grid

# A linear predictor further than this from that of the pooled mean row overflows when it is exponentiated and squared.
FARTHEST = 150.0


# --------------------------------------------------------------------------- the listed times


@dataclass(frozen=True, slots=True)
class Listed:
    """The event times of all countries together, by stratum and time, J in all."""

    stratum: Integers  # (J,)
    step: Integers  # (J,), of the time grid
    number: Integers  # (J,), events

    @property
    def size(self) -> int:
        return len(self.step)

    def state(self) -> dict[str, Array]:
        """As the coordinator sends it."""
        return {
            "stratum": self.stratum.astype(np.float64),
            "step": self.step.astype(np.float64),
            "number": self.number.astype(np.float64),
        }

    @classmethod
    def of(cls, state: State) -> Listed:
        """From a state. Raises `MethodError` where it has none."""
        parts = [state.get(name) for name in ("stratum", "step", "number")]
        found = [np.rint(part).astype(np.int64) for part in parts if part is not None and np.all(np.isfinite(part))]
        if len(found) < 3 or len({part.shape for part in found}) != 1 or found[0].ndim != 1:
            raise wrong_state()
        order = np.lexsort((found[1], found[0]))
        if not np.array_equal(order, np.arange(len(order))):
            raise wrong_state()
        return cls(*found)

    @classmethod
    def from_tables(cls, events: Mapping[int, Array]) -> Listed:
        """From the events at each step of the grid, (T,), by stratum."""
        parts = []
        for code in sorted(events):
            steps = np.flatnonzero(events[code] > 0)
            parts.append((np.full(len(steps), code), steps, np.rint(events[code][steps]).astype(np.int64)))
        columns = zip(*parts, strict=True) if parts else ((), (), ())
        return cls(*(np.concatenate([*c, np.zeros(0, dtype=np.int64)]).astype(np.int64) for c in columns))

    def first_of(self, stratum: Integers) -> tuple[Integers, Integers]:
        """Where the listed times of each row's stratum begin and end."""
        return (
            np.searchsorted(self.stratum, stratum, side="left").astype(np.int64),
            np.searchsorted(self.stratum, stratum, side="right").astype(np.int64),
        )

    def place(self, stratum: Integers, step: Integers) -> Integers:
        """For each row the first listed time of its stratum that is later than a step, in 0 .. J."""
        if not self.size:
            return np.zeros(len(step), dtype=np.int64)
        top = int(max(self.step.max(), step.max(initial=0))) + 3
        mine = self.stratum * top + self.step + 1
        low, high = self.first_of(stratum)
        found = np.searchsorted(mine, stratum * top + step + 1, side="right")
        place: Integers = np.clip(found, low, high).astype(np.int64)
        return place


# --------------------------------------------------------------------------- rows on the time grid


def start_steps(grid: Grid, starts: Array) -> Integers:
    """The last step that a late entry hides, -1 for none: a row is at risk at the later ones, (n,)."""
    position = (starts - grid.start) / grid.step
    nearest = np.rint(position)
    on = np.abs(position - nearest) * grid.step <= TIE * np.maximum(1.0, np.abs(starts))
    steps: Integers = np.clip(np.where(on, nearest, np.floor(position)), -1, grid.size).astype(np.int64)
    return steps


def rows_on_grid(block: Block, grid: Grid, name: str, cluster: NDArray[Any] | None = None) -> tuple[SortedRows, bool]:
    """The block's rows in order, times as steps of the grid, and whether any time was rounded to its step.

    Parameters
    ----------
    block : with roles `time`, `event` and perhaps `start`, `strata`, `weights`.
    grid, name : of the time variable.
    cluster : (rows,), what a robust variance takes as one.

    Raises
    ------
    DataError
        Where a time lies outside the grid, or a case weight is not positive.
    """
    steps, rounded = on_grid(grid, block.numbers("time"), name)
    starts = start_steps(grid, block.numbers("start")) if block.columns.get("start") else None
    rows = in_order(
        block.design.matrix if block.design is not None else np.empty((block.rows, 0)),
        steps.astype(np.float64),
        None if starts is None else starts.astype(np.float64),
        block.numbers("event") == 1.0,
        strata_of(block),
        block.subject,
        cluster,
        case_weights(block),
    )
    return rows, rounded


# --------------------------------------------------------------------------- a country's share


def shares_at(table: RiskTable, listed: Listed, place: Place, tied: Booleans) -> tuple[Array, Array]:
    """A country's sums at the listed times.

    Parameters
    ----------
    table : the country's, at `place.beta`; times are steps of the grid.
    tied : (J,), where the sums over the events are wanted.

    Returns
    -------
    (J, 1 + p) S0, S1 of those at risk; (J, 2 + p) D0, D1 of the events where `tied`, and the events' case weight.
    """
    table = table.seen_from(place.centre, place.unit)
    time = listed.step.astype(np.float64)
    at_risk = at_risk_at(table, listed.stratum, time)
    dying = np.zeros((listed.size, table.deaths.sums.shape[1] - 1))
    here = listed.place(table.deaths.stratum, table.deaths.time.astype(np.int64) - 1)
    if np.any(here >= listed.size) or not np.array_equal(time[here], table.deaths.time):
        raise wrong_state()  # an event at a time that is not listed
    dying[here] = table.deaths.sums[:, :-1]
    dying[~tied, :-1] = 0.0
    return at_risk, dying


def pooled_sets(
    place: Place, listed: Listed, at_risk: Array, dying: Array, death_x: Array | None, efron: bool
) -> RiskSets:
    """Risk sets of all countries together, from the sum of their shares.

    Parameters
    ----------
    at_risk, dying : as `shares_at` gives them, added over countries.
    death_x : (p,), sum over all events of w (x - centre); None inside a country, where the log-likelihood and score
        of the result then mean nothing.
    """
    observed = np.zeros(len(place.beta)) if death_x is None else death_x
    deaths = np.column_stack([dying, listed.number.astype(np.float64)])
    eta = float(observed @ place.beta) - place.unit * float(dying[:, -1].sum())
    time = listed.step.astype(np.float64)
    return from_sums(place, listed.stratum, time, at_risk.copy(), deaths, observed, eta, efron)


# --------------------------------------------------------------------------- who stands behind it


@dataclass(frozen=True, slots=True)
class Stays:
    """Who is at risk when: the rows one by one. Stays inside the country. Adds."""

    stratum: Integers  # (n,)
    stop: Integers  # (n,), step
    start: Integers  # (n,), step, -1: from the beginning
    event: Booleans  # (n,)
    subject: Integers  # (n,)

    @classmethod
    def of(cls, rows: SortedRows) -> Stays:
        event = np.zeros(rows.size, dtype=np.bool_)
        event[rows.death_rows] = True
        start = np.full(rows.size, -1, dtype=np.int64) if rows.starts is None else rows.starts.astype(np.int64)
        return cls(rows.row_stratum, rows.stops.astype(np.int64), start, event, rows.subject)

    def __add__(self, other: Stays, /) -> Stays:
        return Stays(
            np.concatenate([self.stratum, other.stratum]),
            np.concatenate([self.stop, other.stop]),
            np.concatenate([self.start, other.start]),
            np.concatenate([self.event, other.event]),
            np.concatenate([self.subject, other.subject]),
        )


def apart_at(stays: Stays, listed: Listed, tied: Booleans) -> tuple[Integers, tuple[int, ...]]:
    """What sums at several times tell together: `RiskSetSupport.stays`, and `RiskSetSupport.beside`.

    A person who goes on with another row stays; one who goes and comes again has several stays. Beside the sums at the
    listed times those over everybody leave, and those over all events: so whoever is at risk at none of these times is
    told, and of those who leave at a time the ones with the event from the others, unless these have sums of their own.
    """
    size = listed.size
    low = listed.place(stays.stratum, stays.start)
    high = listed.place(stays.stratum, stays.stop) - 1
    kept = low <= high
    low, high, subject, stratum = low[kept], high[kept], stays.subject[kept], stays.stratum[kept]
    event = stays.event[kept] & (listed.step[high] == stays.stop[kept] if size else True)
    everybody, there = (int(np.count_nonzero(np.bincount(s))) if len(s) else 0 for s in (stays.subject, subject))
    come, go = low, high + 1
    if there < len(subject):
        # the rows of a person in a stratum one after another; those without a gap between them are one stay
        order = np.lexsort((high, low, stratum, subject))
        low, high, subject, stratum, event = low[order], high[order], subject[order], stratum[order], event[order]
        other = (subject[1:] != subject[:-1]) | (stratum[1:] != stratum[:-1])
        number = np.r_[0, np.cumsum(other)] * (size + 1)
        reached = np.maximum.accumulate(high + number) - number
        goes_on = np.r_[False, ~other & (reached[:-1] >= low[1:] - 1)]
        first = np.flatnonzero(~goes_on)
        last = np.append(first[1:], len(low)) - 1
        come, go, event = low[first], reached[last] + 1, event[last] & (reached[last] == high[last])
    apart = event & tied[go - 1] if size else event
    by_event, by_other = (np.bincount(go[which], minlength=size + 1) for which in (event & ~apart, ~event))
    mixed = int(np.minimum(by_event, by_other).sum())
    width = 2 * size + 1
    stay, persons = np.unique(come * width + go + size * apart, return_counts=True)
    return np.column_stack([stay // width, stay % width, persons]).astype(np.int64), (everybody - there, mixed)


def supports_at(stays: Stays, listed: Listed, tied: Booleans) -> tuple[TimeSupport, TimeSupport]:
    """What the gate judges the sums over those at risk and those over the events by, in persons.

    From one listed time to the next a sum changes by those who have the event, those who leave without, those who
    come and those who go on with another row; the smallest of these groups counts. Where the sums over the events are
    given too (`tied`), the events are a group of their own.
    """
    size = listed.size
    low = listed.place(stays.stratum, stays.start)
    high = listed.place(stays.stratum, stays.stop) - 1
    kept = low <= high
    low, high, subject, stratum = low[kept], high[kept], stays.subject[kept], stays.stratum[kept]
    died = stays.event[kept] & (listed.step[high] == stays.stop[kept]) if size else stays.event[kept]
    persons = int(np.count_nonzero(np.bincount(subject))) if len(subject) else 0
    same = np.zeros(len(low), dtype=np.bool_)
    single = persons == len(subject)
    if not single:
        # the rows of a person in a stratum one after another, overlaps taken off
        order = np.lexsort((high, low, stratum, subject))
        low, high, subject, stratum = low[order], high[order], subject[order], stratum[order]
        died = died[order]
        same[1:] = (subject[1:] == subject[:-1]) & (stratum[1:] == stratum[:-1])
    run = np.cumsum(~same)
    reached = np.maximum.accumulate(high + run * (size + 1)) - run * (size + 1) if len(high) else high
    before = np.full(len(low), -2, dtype=np.int64)
    before[same] = reached[:-1][same[1:]]
    goes_on = before >= low - 1  # no gap to the person's rows before
    last = np.ones(len(low), dtype=np.bool_)
    last[:-1] = ~goes_on[1:]

    def count(which: Integers, whose: Integers) -> Integers:
        if not single:
            width = int(subject.max(initial=0)) + 1
            which = np.unique(which * width + whose) // width
        return np.bincount(which, minlength=size)[:size].astype(np.int64)

    change = np.zeros(size + 1, dtype=np.int64)
    np.add.at(change, np.where(goes_on, np.minimum(before + 1, reached + 1), low), 1)
    np.add.at(change, reached + 1, -1)
    at_risk = np.cumsum(change)[:size]
    deaths = count(high[died], subject[died])
    begins = np.flatnonzero(~goes_on & (low > listed.first_of(stratum)[0])) if size else np.zeros(0, dtype=np.int64)
    leaves = last & ~(died & (reached == high) & (tied[high] if size else died))
    groups = [
        np.where(tied, deaths, 0),
        count(reached[leaves], subject[leaves]),
        count(low[begins] - 1, subject[begins]),
        count(np.maximum(low[goes_on] - 1, 0), subject[goes_on]),
    ]
    smallest = np.full(size, np.iinfo(np.int64).max)
    for group in groups:
        smallest = np.where(group > 0, np.minimum(smallest, group), smallest)
    leavers = np.minimum(np.where(smallest < np.iinfo(np.int64).max, smallest, 0), at_risk)
    shown = np.where(tied, deaths, 0)
    return TimeSupport(persons, leavers, at_risk), TimeSupport(persons, shown, shown)
