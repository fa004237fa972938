"""Cox's partial likelihood inside a country: from sums by time to log-likelihood, score, information and residuals.

With S0, S1 the weight and the weighted covariates at risk at an event time, D0, D1 those of its d events, and
c = k / d for k = 0 .. d - 1 (Efron) or c = 0 (Breslow), each of the d steps has denominator s0 = S0 - c D0 and mean
xbar = (S1 - c D1) / s0. The information is one weighted cross-product over rows, the weight of a row being
exp(x beta) times the hazard gathered while it was at risk, less the cross-product of the means. With case weights w
the sums are of w exp(x beta), and each of the d steps counts as the mean weight of the d events.

Source: Efron (1977), JASA 72, 557-565; Therneau & Grambsch (2000), Modeling Survival Data, sections 3.1-3.3, 4.2, 7.1.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from isthmus_methods.contract import Array, Integers
from isthmus_methods.parts.cross_product import CHUNK, CONSTANT, CrossProduct, distances, largest_distance, recentring
from isthmus_methods.parts.survival.risk_sets import RiskTable, SortedRows, SumsByTime

# A risk set that weighs less has underflowed; its inverse and the square of that are still finite.
LEAST_WEIGHT = 1e-130


@dataclass(frozen=True, slots=True)
class RiskSets:
    """What is known at one beta once rows are added, a country's or everybody's: one entry an event time, J in all."""

    beta: Array  # (p,)
    centre: Array  # (p,)
    unit: float
    stratum: Integers  # (J,)
    time: Array  # (J,)
    deaths: Array  # (J,) case weight of the events: their number without case weights
    at_risk: Array  # (J, 1 + p) S0, S1
    dying: Array  # (J, 1 + p) D0, D1
    # sums over the d steps, times the mean case weight of the events
    hazard: Array  # (J,) of 1 / s0
    death_hazard: Array  # (J,) of c / s0
    square: Array  # (J,) of 1 / s0^2
    cross: Array  # (J,) of c / s0^2
    death_square: Array  # (J,) of c^2 / s0^2
    loglik: float
    score: Array  # (p,)
    strata: Integers  # (R,) strata that have events
    stratum_first: Integers  # (R + 1,)

    def ladder(self, steps: Array) -> Array:
        """Sums of `steps` (J, ...) over time within each stratum, each stratum's own zero before it, (J + R, ...)."""
        ladder = np.zeros((len(self.time) + max(1, len(self.strata)), *steps.shape[1:]))
        for r in range(len(self.strata)):
            low, high = self.stratum_first[r], self.stratum_first[r + 1]
            np.cumsum(steps[low:high], axis=0, out=ladder[low + r + 1 : high + r + 1])
        return ladder

    def slots(self, stratum: Integers, time: Array) -> Integers:
        """Where in a ladder the sum up to and including a time stands; zero for a stratum without events."""
        if not len(self.time):
            return np.zeros(len(time), dtype=np.int64)
        if len(self.strata) == 1:
            upto = np.searchsorted(self.time, time, side="right")
            return np.where(stratum == self.strata[0], upto, 0)
        events, m = len(self.time), len(time)
        order = np.lexsort((np.r_[np.zeros(events), np.ones(m)], np.r_[self.time, time], np.r_[self.stratum, stratum]))
        before = np.empty(events + m, dtype=np.int64)
        before[order] = np.cumsum(order < events)
        r = np.searchsorted(self.strata, stratum)
        present = self.strata[np.minimum(r, len(self.strata) - 1)] == stratum
        return np.where(present, before[events:] + r, 0)

    def means(self) -> Array:
        """Mean covariates of an event, over the d steps of its time, about the centre, (J, p)."""
        summed = self.hazard[:, None] * self.at_risk[:, 1:] - self.death_hazard[:, None] * self.dying[:, 1:]
        mean: Array = summed / self.deaths[:, None]
        return mean

    def spread(self, factor: Array | None = None) -> Array:
        """Sum over events of `factor` (J,) times xbar xbar', about the centre, (p, p)."""
        s1, d1 = self.at_risk[:, 1:], self.dying[:, 1:]
        a, b, e = self.square, self.cross, self.death_square
        # a s1 s1' - b (s1 d1' + d1 s1') + e d1 d1', as two sums of squares
        root = np.sqrt(a)
        first = root[:, None] * s1
        tied = self.cross > 0
        first[tied] -= (b[tied] / root[tied])[:, None] * d1[tied]
        second = d1[tied]
        rest = e[tied] - b[tied] * (b[tied] / a[tied])
        if factor is None:
            spread: Array = first.T @ first + second.T @ (second * rest[:, None])
        else:
            spread = first.T @ (first * factor[:, None]) + second.T @ (second * (rest * factor[tied])[:, None])
        return spread

    def seen_from(self, centre: Array) -> tuple[Array, Array]:
        """`at_risk` and `dying` about another centre."""
        move = recentring(self.centre, centre)
        return self.at_risk @ move, self.dying @ move


def risk_sets(table: RiskTable, efron: bool) -> RiskSets:
    """The risk sets, log-likelihood and score at the table's beta."""
    stratum, time = table.deaths.stratum, table.deaths.time
    # an event's time is one that rows leave at, but for rounding
    at_risk = _from_the_end(table.exits)[table.exits.last_until(stratum, time)]
    if table.entries is not None:
        at_risk -= _sums_from(table.entries, stratum, time)
    return from_sums(
        Place(table.beta, table.centre, table.unit),
        stratum,
        time,
        at_risk,
        table.deaths.sums,
        table.death_x,
        table.death_eta,
        efron,
    )


@dataclass(frozen=True, slots=True)
class Place:
    """Where sums are taken: weights are ``w exp((x - centre) beta - unit)``."""

    beta: Array  # (p,)
    centre: Array  # (p,)
    unit: float = 0.0


def from_sums(
    place: Place,
    stratum: Integers,
    time: Array,
    at_risk: Array,
    deaths: Array,
    death_x: Array,
    death_eta: float,
    efron: bool,
) -> RiskSets:
    """Risk sets from sums at the J event times, whoever's they are.

    Parameters
    ----------
    stratum, time : (J,), sorted by both.
    at_risk : (J, 1 + p), S0, S1. Changed in place.
    deaths : (J, 3 + p), D0, D1, the case weight and the number of the events.
    death_x : (p,), sum over events of w (x - centre).
    death_eta : sum over events of w ((x - centre) beta - unit).
    efron : whether ties count as Efron's, else as Breslow's.
    """
    dying, weight, number = deaths[:, :-2], deaths[:, -2], deaths[:, -1]
    # those who die are at risk: rounding and underflow at a far-off beta must not leave less than them
    np.maximum(at_risk[:, 0], np.maximum(dying[:, 0], LEAST_WEIGHT), out=at_risk[:, 0])
    sums = _steps(at_risk[:, 0], dying[:, 0], number, efron)
    mean_weight = weight / number
    if np.any(mean_weight != 1.0):
        for values in sums:
            values *= mean_weight
    hazard, death_hazard = sums[0], sums[1]
    loglik = death_eta - sums[5].sum()
    score = death_x - hazard @ at_risk[:, 1:] + death_hazard @ dying[:, 1:]
    strata: Integers = stratum[np.diff(stratum, prepend=-1) != 0]
    return RiskSets(
        place.beta,
        place.centre,
        place.unit,
        stratum,
        time,
        weight,
        at_risk,
        dying,
        *sums[:5],
        loglik=float(loglik),
        score=score,
        strata=strata,
        stratum_first=np.append(np.searchsorted(stratum, strata), len(time)),
    )


def at_risk_at(table: RiskTable, stratum: Integers, time: Array) -> Array:
    """S0, S1 at listed times, (J, 1 + p): of the rows that stop at the time or later, less those not yet in.

    `stratum`, `time` (J,) : sorted by both; they need not be times of the table.
    """
    at_risk = _sums_from(table.exits, stratum, time)
    if table.entries is not None:
        at_risk -= _sums_from(table.entries, stratum, time)
    return at_risk


def _from_the_end(table: SumsByTime) -> Array:
    """Sums over each time and all later ones, within each stratum, (T, 1 + p)."""
    total = np.empty_like(table.sums)
    edges = [*np.searchsorted(table.stratum, table.strata).tolist(), len(table.time)]
    for low, high in itertools.pairwise(edges):
        np.cumsum(table.sums[low:high][::-1], axis=0, out=total[low:high][::-1])
    return total


def _sums_from(table: SumsByTime, stratum: Integers, time: Array) -> Array:
    """Sums over the entries of the same stratum at each listed time or later, (J, k)."""
    later = np.vstack([_from_the_end(table), np.zeros((1, table.sums.shape[1]))])
    sums = np.zeros((len(time), later.shape[1]))
    for code in np.unique(stratum):
        low, high = np.searchsorted(table.stratum, [code, code + 1])
        here = slice(*np.searchsorted(stratum, [code, code + 1]))
        place = low + np.searchsorted(table.time[low:high], time[here], side="left")
        # beyond the stratum's last time there is nobody
        sums[here] = later[np.where(place < high, place, len(later) - 1)]
    return sums


def _steps(s0: Array, d0: Array, deaths: Array, efron: bool) -> tuple[Array, Array, Array, Array, Array, Array]:
    """Sums over the d steps of each event time, as `RiskSets` names them, and of log s0."""
    hazard, square, logs = deaths / s0, deaths / s0**2, deaths * np.log(s0)
    death_hazard, cross, death_square = (np.zeros(len(s0)) for _ in range(3))
    tied = np.flatnonzero(deaths > 1) if efron else np.zeros(0, dtype=np.int64)
    if len(tied):
        counts = deaths[tied].astype(np.int64)
        begins = np.cumsum(counts) - counts
        share = (np.arange(counts.sum()) - np.repeat(begins, counts)) / np.repeat(deaths[tied], counts)
        denominator = np.repeat(s0[tied], counts) - share * np.repeat(d0[tied], counts)
        inverse = 1.0 / denominator
        weighted = share * inverse
        for target, values in (
            (hazard, inverse),
            (death_hazard, weighted),
            (square, inverse * inverse),
            (cross, weighted * inverse),
            (death_square, weighted * weighted),
            (logs, np.log(denominator)),
        ):
            target[tied] = np.add.reduceat(values, begins)
    return hazard, death_hazard, square, cross, death_square, logs


# --------------------------------------------------------------------------- the second pass


def row_slots(rows: SortedRows, sets: RiskSets) -> tuple[Integers, Integers, Integers | None]:
    """For the rows' distinct times, the events and the starts: their place in a ladder. Kept while the times stay."""
    known = rows.known_slots
    if known is not None and (known[0] is sets.time or np.array_equal(known[0], sets.time)):
        return known[1], known[2], known[3]
    stops = sets.slots(rows.stratum, rows.time)
    starts = None if rows.starts is None else sets.slots(rows.row_stratum, rows.starts)
    # the event time of each event: one step below its place, less the zeros of the strata up to its own
    died = np.repeat(stops, np.diff(rows.death_first))
    strata = np.repeat(rows.stratum, np.diff(rows.death_first))
    died = died - np.searchsorted(sets.strata, strata) - 1
    rows.known_slots = (sets.time, stops, died, starts)
    return stops, died, starts


def row_hazards(rows: SortedRows, sets: RiskSets, factor: Array | None = None) -> Array:
    """Hazard gathered by each row while at risk, Efron's correction for its own tied event taken off, (n,)."""
    stops, died, starts = row_slots(rows, sets)
    hazard = sets.hazard if factor is None else sets.hazard * factor
    correction = sets.death_hazard if factor is None else sets.death_hazard * factor
    ladder = sets.ladder(hazard)
    gathered = np.repeat(ladder[stops], np.diff(rows.first))
    if starts is not None:
        gathered -= ladder[starts]
    gathered[rows.death_rows] -= correction[died]
    return gathered


def cross_product(rows: SortedRows, sets: RiskSets, by_person: bool, factor: Array | None = None) -> CrossProduct:
    """The weighted cross-product of one block; `factor` (J,) weighs the event times."""
    v = row_weights(rows, sets, factor)
    product = np.zeros((rows.x.shape[1], rows.x.shape[1]))
    buffer = np.empty((min(CHUNK, max(1, rows.size)), rows.x.shape[1]))
    for low in range(0, rows.size, CHUNK):
        x = rows.x[low : low + CHUNK]
        weighted = np.multiply(x, v[low : low + CHUNK, None], out=buffer[: len(x)])
        product += x.T @ weighted
    persons = np.bincount(rows.subject, weights=v).astype(np.float64) if by_person else None
    return CrossProduct(rows.centre, product, float(v @ v), persons)


def row_weights(rows: SortedRows, sets: RiskSets, factor: Array | None = None) -> Array:
    """exp(x beta) times the hazard gathered, times the case weight, (n,)."""
    known = rows.known_weights
    if factor is None and known is not None and known[0] is sets.hazard:
        return known[1]
    _, weights, shift = rows.predictor(sets.beta)
    scale = math.exp(float((rows.centre - sets.centre) @ sets.beta) + shift - sets.unit)
    v = row_hazards(rows, sets, factor)
    v *= weights
    if scale != 1.0:
        v *= scale
    if factor is None:
        rows.known_weights = (sets.hazard, v)
    return v


def information(product: CrossProduct, sets: RiskSets, factor: Array | None = None) -> Array:
    """Minus the second derivative of the log partial likelihood, (p, p)."""
    return less_the_means(product.about(sets.centre), sets, factor)


def less_the_means(full: Array, sets: RiskSets, factor: Array | None = None) -> Array:
    """The information, of the weighted cross-product of the covariates (p, p) about the risk sets' centre.

    A column that does not vary within any risk set has exact zeros.
    """
    info: Array = full - sets.spread(factor)
    info = (info + info.T) / 2
    constant = np.abs(np.diag(info)) <= CONSTANT * np.abs(np.diag(full))
    info[constant] = 0.0
    info[:, constant] = 0.0
    return info


def leverage(rows: SortedRows, v: Array, map_: Array, by_person: bool) -> tuple[float, Array | None]:
    """Largest squared row norm of Q of sqrt(v) X, and by person where a person has several rows.

    `map_` (1 + p, r) takes ``[1, x - rows.centre]`` to the coordinates in which the weighted cross-product is the
    identity.
    """
    if not rows.size or not map_.size:
        return 0.0, None
    if by_person:
        return 0.0, np.bincount(rows.subject, weights=v * distances(rows.x, map_)).astype(np.float64)
    return largest_distance(rows.x, v, map_, rows.known_distances), None


# --------------------------------------------------------------------------- residuals


def score_residuals(rows: SortedRows, sets: RiskSets) -> Array:
    """Each row's own part of the score times its case weight, (n, p); their sum is the score.

    With Efron's ties an event counts 1 - k / d in step k of its time.
    """
    _, weights, shift = rows.predictor(sets.beta)
    weights = weights * math.exp(float((rows.centre - sets.centre) @ sets.beta) + shift - sets.unit)
    stops, died, starts = row_slots(rows, sets)
    at_risk, dying = sets.seen_from(rows.centre)
    s1, d1 = at_risk[:, 1:], dying[:, 1:]
    gathered = sets.ladder(sets.square[:, None] * s1 - sets.cross[:, None] * d1)
    means = np.repeat(gathered[stops], np.diff(rows.first), axis=0)
    if starts is not None:
        means -= gathered[starts]
    own = sets.cross[:, None] * s1 - sets.death_square[:, None] * d1
    means[rows.death_rows] -= own[died]
    x = rows.x[:, 1:]
    residuals = weights[:, None] * (means - x * row_hazards(rows, sets)[:, None])
    event_mean = (sets.hazard[:, None] * s1 - sets.death_hazard[:, None] * d1) / sets.deaths[:, None]
    observed = x[rows.death_rows] - event_mean[died]
    residuals[rows.death_rows] += observed if rows.case is None else rows.case[rows.death_rows, None] * observed
    return residuals
