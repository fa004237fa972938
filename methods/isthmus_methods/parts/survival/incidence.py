"""Cumulative incidence with competing causes, from a table of leavers by cause: estimates, errors, limits.

With n at risk at a time, d events of all causes and d_j of cause j, S the survival free of any event just before it,
the cumulative incidence of cause j grows by S d_j / n (Aalen & Johansen 1978, Scand. J. Statist. 5, 141-150).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from isthmus_methods.contract import Answer, Array, Integers
from isthmus_methods.parts.inference import Z95
from isthmus_methods.parts.survival.curve import nullable
from isthmus_methods.parts.time_table import TIE, Grid, at_risk


@dataclass(frozen=True, slots=True)
class CauseTable:
    """Who leaves when and why, at the steps at which anyone leaves."""

    time: Array  # (T,)
    n: Array  # (T,) at risk
    events: Array  # (J, T), by cause
    left: Array  # (T,), events and censored

    @classmethod
    def of(cls, counts: Array | Integers, grid: Grid, censored: int) -> CauseTable:
        """From leavers by level of the cause and step of the grid, (levels, T); `censored` is the level of no event."""
        whole = np.rint(counts).astype(np.int64)
        left = whole.sum(axis=0)
        used = np.flatnonzero(left)
        events = np.delete(whole, censored, axis=0)[:, used].astype(np.float64)
        risk = at_risk(left)[used].astype(np.float64)
        return cls(grid.times(used), risk, events, left[used].astype(np.float64))

    @property
    def total(self) -> int:
        return round(float(self.n[0])) if len(self.n) else 0

    @property
    def survival(self) -> Array:
        """Free of any event after each time, (T,)."""
        free: Array = np.cumprod(1.0 - self.events.sum(axis=0) / self.n)
        return free

    @property
    def before(self) -> Array:
        """The same just before each time, (T,)."""
        return np.concatenate([[1.0], self.survival[:-1]])

    def incidence(self, j: int) -> Array:
        """Cumulative incidence of cause `j` after each time, (T,)."""
        grown: Array = np.cumsum(self.before * self.events[j] / self.n)
        return grown


def jackknife_error(table: CauseTable, j: int) -> Array:
    """Standard error of the cumulative incidence of cause `j` after each time, (T,), infinitesimal jackknife.

    A person's influence on S and F is followed while at risk, where it is the same for all at risk, and jumps as the
    person leaves; afterwards that on F moves with F alone. So the sum of squares over persons needs one pass.

    Source: Therneau & Grambsch (2000), section 2.2; as R survival's `survfit` for several states.
    """
    n, d, own, before = table.n, table.events.sum(axis=0), table.events[j], table.before
    survival, incidence = table.survival, table.incidence(j)
    at_risk_s = at_risk_f = 0.0  # influence of each person at risk on S and F
    # of those who left: sums over persons of (A - B F)^2 as a polynomial in F
    constant = linear = square = 0.0
    error = np.empty(len(n))
    for k in range(len(n)):
        share, mine = d[k] / n[k], own[k] / n[k]
        stay_s = at_risk_s * (1.0 - share) + before[k] * share / n[k]
        stay_f = at_risk_f + at_risk_s * mine - before[k] * mine / n[k]
        leave_s = stay_s - before[k] / n[k]
        groups = (
            (table.left[k] - d[k], stay_s, stay_f),
            (d[k] - own[k], leave_s, stay_f),
            (own[k], leave_s, stay_f + before[k] / n[k]),
        )
        for number, on_s, on_f in groups:
            slope = on_s / survival[k] if survival[k] > 0 else 0.0
            fixed = on_f - slope * incidence[k]
            constant += number * fixed * fixed
            linear += number * 2.0 * fixed * slope
            square += number * slope * slope
        at_risk_s, at_risk_f = stay_s, stay_f
        remaining = n[k] - table.left[k]
        f = incidence[k]
        error[k] = np.sqrt(max(constant + linear * f + square * f * f + remaining * stay_f * stay_f, 0.0))
    return error


def aalen_variance(table: CauseTable, j: int) -> Array:
    """Variance of the cumulative incidence of cause `j` as it stands after each of its event times, (T,).

    Source: Aalen (1978), Ann. Statist. 6, 534-545; as R cmprsk's `cuminc` computes it.
    """
    n, before, after = table.n, table.before, table.survival
    own = table.events[j]
    other = table.events.sum(axis=0) - own
    incidence = table.incidence(j)
    v1 = v2 = v3 = now = 0.0
    variance = np.empty(len(n))
    for k in range(len(n)):
        f = incidence[k]
        if other[k] > 0 and after[k] > 0:
            q = before[k] ** 2 * other[k] * _tied(other[k], n[k]) / n[k] ** 2
            v1 += (f / after[k]) ** 2 * q
            v2 += f * q / after[k] ** 2
            v3 += q / after[k] ** 2
        if own[k] > 0:
            q = before[k] ** 2 * own[k] * _tied(own[k], n[k]) / n[k] ** 2
            h = 1.0 / after[k] if after[k] > 0 else 0.0
            v1 += (1.0 + h * f) ** 2 * q
            v2 += h * (1.0 + h * f) * q
            v3 += h * h * q
            now = v1 + f * f * v3 - 2.0 * f * v2
        variance[k] = now
    return variance


def _tied(events: float, n: float) -> float:
    """The share that ties leave of a binomial variance; 1 for a single event."""
    return 1.0 - (events - 1.0) / (n - 1.0) if events > 1 else 1.0


def limits(incidence: Array, error: Array) -> tuple[Array, Array]:
    """Pointwise 95 % limits on the log-log scale of F, the lower the smaller; NaN where F is 0."""
    f = np.where((incidence > 0) & (incidence < 1), incidence, np.nan)
    spread = Z95 * error / (f * np.log(f))
    one, other = (np.exp(-np.exp(np.log(-np.log(f)) + sign * spread)) for sign in (-1.0, 1.0))
    return np.minimum(one, other), np.maximum(one, other)


def described(table: CauseTable, causes: tuple[str, ...], times: tuple[float, ...], curves: bool) -> dict[str, Answer]:
    """All that is said about one group of rows."""
    answer: dict[str, Answer] = {
        "n": table.total,
        "events": {name: round(float(table.events[j].sum())) for j, name in enumerate(causes)},
    }
    for j, name in enumerate(causes):
        incidence, error = table.incidence(j), jackknife_error(table, j)
        block: dict[str, Answer] = {}
        if times:
            f, se = (at(table.time, values, times) for values in (incidence, error))
            lower, upper = limits(f, se)
            block["at_times"] = {
                "time": list(times),
                "cif": nullable(f),
                "se": nullable(se),
                "loglog_lower": nullable(lower),
                "loglog_upper": nullable(upper),
            }
        if curves:
            when = np.flatnonzero(table.events[j] > 0)
            block["curve_event_times"] = {
                "time": nullable(table.time[when]),
                "cif": nullable(incidence[when]),
                "se": nullable(error[when]),
            }
        answer[name] = block
    return answer


def at(time: Array, values: Array, times: tuple[float, ...]) -> Array:
    """A step function at any times, 0 before its first step; the last value is carried on."""
    asked = np.asarray(times, dtype=np.float64)
    upto = np.searchsorted(time, asked + TIE * np.maximum(1.0, np.abs(asked)))
    found: Array = np.append(0.0, values)[upto]
    return found


def cuminc(table: CauseTable, j: int, times: tuple[float, ...]) -> Mapping[str, Answer]:
    """Estimate and Aalen's variance at times; None beyond the last time anybody is observed."""
    asked = np.asarray(times, dtype=np.float64)
    last = table.time[-1] if len(table.time) else -np.inf
    beyond = asked > last + TIE * np.maximum(1.0, np.abs(last)) if len(table.time) else np.ones(len(asked), dtype=bool)
    estimate = np.where(beyond, np.nan, at(table.time, table.incidence(j), times))
    variance = np.where(beyond, np.nan, at(table.time, aalen_variance(table, j), times))
    return {"time": list(times), "est": nullable(estimate), "var": nullable(variance)}
