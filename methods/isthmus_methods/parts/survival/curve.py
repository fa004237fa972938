"""The product-limit curve from a time table: its limits, quantiles and restricted mean, as R's survival gives them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from isthmus_methods.contract import Answer, Array, Integers
from isthmus_methods.parts.time_table import TIE, Grid, at_risk

Z95 = 1.959963984540054
# A probability reached within this counts as reached exactly: R's sqrt(.Machine$double.eps).
REACHED = math.sqrt(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True)
class Curve:
    """The product-limit estimate at the steps at which anyone leaves.

    S = prod (1 - d/n); Greenwood's sum G = sum d / (n (n - d)), so that se(S) = S sqrt(G).

    Source: Kaplan and Meier (1958); Greenwood (1926).
    """

    time: Array
    n_risk: Integers
    n_event: Integers
    survival: Array
    greenwood: Array  # infinite from the step on at which the last person at risk has the event
    total: int

    @classmethod
    def of(cls, table: Array | Integers, grid: Grid) -> Curve:
        """From events and leavers by step, (2, T)."""
        whole = np.rint(table).astype(np.int64)
        used = np.flatnonzero(whole[1])
        n, d = at_risk(whole[1])[used], whole[0, used]
        with np.errstate(divide="ignore"):
            greenwood = np.cumsum(np.where(d > 0, d / (n.astype(np.float64) * (n - d)), 0.0))
        return cls(grid.times(used), n, d, np.cumprod(1.0 - d / n), greenwood, int(whole[1].sum()))

    @property
    def last(self) -> float:
        """The last observed time; 0 without anybody."""
        return float(self.time[-1]) if len(self.time) else 0.0

    @property
    def events(self) -> int:
        return int(self.n_event.sum())

    def at(self, times: Array) -> tuple[Integers, Array, Array]:
        """At risk at t (time >= t), S(t) and G(t) at any times; the last value is carried beyond the last time."""
        slack = TIE * np.maximum(1.0, np.abs(times))
        before = np.searchsorted(self.time, times - slack)
        risk = np.append(self.n_risk, 0)[before]
        upto = np.searchsorted(self.time, times + slack)
        return risk, np.append(1.0, self.survival)[upto], np.append(0.0, self.greenwood)[upto]


def nullable(values: Array) -> list[Answer]:
    """Numbers as a list, None where not estimable."""
    return [float(x) if math.isfinite(x) else None for x in values]


def limits(survival: Array, greenwood: Array) -> dict[str, tuple[Array, Array]]:
    """Pointwise 95 % limits of S by type. NaN where not estimable: at S = 0, and for log-log at S = 1 too."""
    s = np.where(survival > 0, survival, np.nan)
    spread = Z95 * np.sqrt(np.where(survival > 0, greenwood, np.nan))
    inner = np.where(s < 1, s, np.nan)
    with np.errstate(over="ignore"):  # a limit of log S beyond the largest double is a limit of 0
        loglog = (
            np.exp(-np.exp(np.log(-np.log(inner)) - spread / np.log(inner))),
            np.exp(-np.exp(np.log(-np.log(inner)) + spread / np.log(inner))),
        )
        return {
            "loglog": loglog,
            "plain": (np.clip(s - spread * s, 0.0, 1.0), np.clip(s + spread * s, 0.0, 1.0)),
            "log": (s * np.exp(-spread), np.minimum(s * np.exp(spread), 1.0)),
        }


def standard_error(survival: Array, greenwood: Array) -> Array:
    """Of S(t), not of its logarithm; NaN where S = 0."""
    return survival * np.sqrt(np.where(survival > 0, greenwood, np.nan))


def quantile(time: Array, failed: Array, p: float) -> Answer:
    """The first time at which `failed` (1 - S, or 1 - a limit of S) is at least p; None if it never is.

    Where `failed` equals p on a whole step, the middle of that step: from its time to the next at which `failed`
    changes, or to the last observed time. A limit need not be monotone near its end; like R this takes the smallest
    value that is at least p.

    Source: R survival, quantile.survfit.
    """
    if not len(time):
        return None
    x, y = np.append(0.0, time), np.append(0.0, failed)
    known = np.flatnonzero(~np.isnan(y))
    # the first time of each distinct value, values ascending
    values, first = np.unique(y[known], return_index=True)
    where = known[first]
    low = int(np.searchsorted(values + REACHED, p))
    high = int(np.searchsorted(values - REACHED, p))
    if low == len(values):
        return None
    final = y[-1]
    if not math.isnan(final) and abs(p - final) < REACHED:
        return float(x[where[low]] + x[-1]) / 2.0
    if high == len(values):
        return None
    return float(x[where[low]] + x[where[high]]) / 2.0


def restricted_mean(curve: Curve, tau: float) -> dict[str, Answer]:
    """The area under S from 0 to tau, the last S carried on, and its standard error.

    Source: Klein and Moeschberger (2003), section 4.5; no small-sample factor.
    """
    before = curve.time < tau * (1.0 - TIE)
    time, survival = curve.time[before], curve.survival[before]
    pieces = survival * np.diff(np.append(time, tau))
    after = np.cumsum(pieces[::-1])[::-1]  # area from each step to tau
    estimate = float(after[0] + time[0]) if len(time) else tau
    steps = np.diff(np.append(0.0, curve.greenwood[before]))
    with np.errstate(invalid="ignore"):
        variance = np.where(after > 0, after**2 * steps, 0.0)
    return {"tau": tau, "estimate": estimate, "se": math.sqrt(float(variance.sum()))}


def at_times(curve: Curve, times: Sequence[float]) -> dict[str, Answer]:
    asked = np.array(times)
    risk, survival, greenwood = curve.at(asked)
    if not curve.total:
        survival = greenwood = np.full(len(asked), np.nan)
    answer: dict[str, Answer] = {
        "time": nullable(asked),
        "n_risk": [int(x) for x in risk],
        "surv": nullable(survival),
        "se": nullable(standard_error(survival, greenwood)),
    }
    for name, (lower, upper) in limits(survival, greenwood).items():
        answer[f"{name}_lower"], answer[f"{name}_upper"] = nullable(lower), nullable(upper)
    return answer


def event_times(curve: Curve, bands: Mapping[str, tuple[Array, Array]]) -> dict[str, Answer]:
    at = curve.n_event > 0
    d, n = curve.n_event[at], curve.n_risk[at].astype(np.float64)
    survival = curve.survival[at]
    answer: dict[str, Answer] = {
        "time": nullable(curve.time[at]),
        "n_risk": [int(x) for x in n],
        "n_event": [int(x) for x in d],
        "surv": nullable(survival),
        "se": nullable(standard_error(survival, curve.greenwood[at])),
        "cumhaz": nullable(np.cumsum(d / n)),
        "se_cumhaz": nullable(np.sqrt(np.cumsum(d / n**2))),
    }
    for name in ("loglog", "plain"):
        lower, upper = bands[name]
        answer[f"{name}_lower"], answer[f"{name}_upper"] = nullable(lower[at]), nullable(upper[at])
    return answer


def even_times(last: float) -> tuple[float, ...]:
    """Up to nine round times from 0 to the last one, for a table of numbers at risk."""
    if not last > 0:
        return (0.0,)
    power = 10.0 ** math.floor(math.log10(last / 4))
    step = next((m * power for m in (1, 2, 2.5, 5, 10) if last / (m * power) <= 8), 10 * power)
    return tuple(step * k for k in range(math.floor(last / step * (1 + TIE)) + 1))


def risk_table(curve: Curve, times: Sequence[float]) -> dict[str, Answer]:
    """Numbers at risk, and events up to and at each time, for the table below a figure."""
    shown = np.array(times)
    slack = TIE * np.maximum(1.0, np.abs(shown))
    return {
        "time": nullable(shown),
        "n_risk": [int(x) for x in curve.at(shown)[0]],
        "events": [int(curve.n_event[curve.time <= t].sum()) for t in shown + slack],
    }


def compared(estimate: float, se: float, name: str, ratio: bool) -> dict[str, Answer]:
    """A difference, or a log ratio shown as a ratio, with its standard error, z, p and normal 95 % limits."""

    def shown(x: float) -> float:
        return math.exp(x) if ratio else x

    z = estimate / se if se > 0 else math.nan
    return {
        "estimate": shown(estimate),
        name: se,
        "z": z if se > 0 else None,
        "p": 2.0 * float(ndtr(-abs(z))) if se > 0 else None,
        "ci95_lower": shown(estimate - Z95 * se),
        "ci95_upper": shown(estimate + Z95 * se),
    }
