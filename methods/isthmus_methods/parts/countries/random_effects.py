"""Fixed- and random-effects meta-analysis of K estimates y with known variances v.

Source: DerSimonian & Laird (1986), Control. Clin. Trials 7, 177-188; Viechtbauer (2005), J. Educ. Behav. Stat. 30,
261-293 (REML, ML); Paule & Mandel (1982), J. Res. NBS 87, 377-385; Knapp & Hartung (2003), Statist. Med. 22,
2693-2710; Viechtbauer (2007), Statist. Med. 26, 37-52 (Q profile); Higgins, Thompson & Spiegelhalter (2009), JRSS A
172, 137-159 (prediction). Names of the statistics as in `metafor`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy import special

from isthmus_methods.contract import Answer, Array
from isthmus_methods.parts.inference import Z95, chi_square, number

# A between-study variance below this share of the mean variance is zero.
NO_VARIANCE = 1e-12
MODELS = ("fixed", "DL", "REML", "ML", "PM", "DL_knapp_hartung", "REML_knapp_hartung")


def meta_analysis(names: Sequence[str], y: Array, v: Array) -> dict[str, Answer]:
    """Every model over the studies `names` with estimates `y` (K,) and variances `v` (K,), K >= 1."""
    k = len(y)
    q = generalised_q(y, v, 0.0)
    answer: dict[str, Answer] = {
        "studies": {
            name: {"yi": float(a), "vi": float(b), "sei": math.sqrt(float(b))}
            for name, a, b in zip(names, y, v, strict=True)
        },
        "Q": chi_square(q, k - 1),
        "I2_percent_from_Q": max(0.0, 100.0 * (q - (k - 1)) / q) if q > 0 else 0.0,
    }
    for model in MODELS:
        answer[model] = _model(model, names, y, v, q)
    answer["tau2_q_profile_ci95"] = _q_profile(y, v)
    answer["leave_one_out_DL"] = _leave_one_out(names, y, v)
    return answer


def between_variance(method: str, y: Array, v: Array) -> float:
    """tau^2 by `fixed` (0), `DL`, `REML`, `ML` or `PM`."""
    k = len(y)
    if method == "fixed" or k == 1:
        return 0.0
    if method == "DL":
        tau2 = max(0.0, (generalised_q(y, v, 0.0) - (k - 1)) / _trace(1.0 / v))
    elif method == "PM":
        tau2 = _falls_to(lambda t: generalised_q(y, v, t), float(k - 1), v)
    else:
        tau2 = _most_likely(y, v, restricted=method == "REML")
    return tau2 if tau2 >= NO_VARIANCE * float(v.mean()) else 0.0


def generalised_q(y: Array, v: Array, tau2: float) -> float:
    """Weighted sum of squares about the weighted mean."""
    w = 1.0 / (v + tau2)
    return float(w @ (y - (w @ y) / w.sum()) ** 2)


def _model(model: str, names: Sequence[str], y: Array, v: Array, q: float) -> dict[str, Answer]:
    method, knapp_hartung = model.removesuffix("_knapp_hartung"), model.endswith("_knapp_hartung")
    k, tau2 = len(y), between_variance(method, y, v)
    w = 1.0 / (v + tau2)
    mu, total = float(w @ y / w.sum()), float(w.sum())
    if knapp_hartung and k > 1:
        se, quantile = math.sqrt(generalised_q(y, v, tau2) / ((k - 1) * total)), _t(k - 1)
        stat = mu / se if se > 0 else math.nan
        p = 2.0 * float(special.stdtr(k - 1, -abs(stat)))
    else:
        se, quantile = 1.0 / math.sqrt(total), Z95
        stat = mu / se
        p = 2.0 * float(special.ndtr(-abs(stat)))
        if knapp_hartung:  # one study: no degree of freedom is left
            se = stat = p = quantile = math.nan
    spread = math.sqrt(se**2 + tau2)
    half, half_t = quantile * spread, _t(k - 2) * spread
    if method == "fixed":
        half = math.nan
        i2 = max(0.0, 100.0 * (q - (k - 1)) / q) if q > 0 else 0.0
        h2 = q / (k - 1) if k > 1 else math.nan
    else:
        typical = _typical(v)
        i2, h2 = (100.0 * tau2 / (tau2 + typical), 1.0 + tau2 / typical) if k > 1 else (0.0, 1.0)
    return {
        "estimate": mu,
        "se": number(se),
        "stat": number(stat),
        "p": number(p),
        "ci95_lower": number(mu - quantile * se),
        "ci95_upper": number(mu + quantile * se),
        "tau2": tau2,
        "se_tau2": number(_se_of_variance(method, v, tau2)),
        "I2_percent": i2,
        "H2": number(h2),
        "prediction_interval95": {"lower": number(mu - half), "upper": number(mu + half)},
        "prediction_interval95_t_km2": {"lower": number(mu - half_t), "upper": number(mu + half_t)},
        "weights_percent": {name: 100.0 * float(x) / total for name, x in zip(names, w, strict=True)},
        "loglik": _loglik(y, v, tau2, restricted=method == "REML"),
    }


def _t(df: int) -> float:
    return float(special.stdtrit(df, 0.975)) if df > 0 else math.nan


def _trace(w: Array) -> float:
    """tr P."""
    return float(w.sum() - (w @ w) / w.sum())


def _trace_of_square(w: Array) -> float:
    """tr P^2."""
    total, square = float(w.sum()), float(w @ w)
    return float(square - 2.0 * float((w**3).sum()) / total + (square / total) ** 2)


def _typical(v: Array) -> float:
    """Typical variance within a study."""
    w = 1.0 / v
    return float((len(v) - 1) * w.sum() / (w.sum() ** 2 - w @ w)) if len(v) > 1 else math.nan


def _se_of_variance(method: str, v: Array, tau2: float) -> float:
    k = len(v)
    if method == "fixed" or k == 1:
        return math.nan
    w = 1.0 / (v + tau2)
    if method == "DL":
        first = 1.0 / v
        trace = _trace(first)
        variance = 2.0 * (k - 1) + 4.0 * tau2 * trace + 2.0 * tau2**2 * _trace_of_square(first)
        return math.sqrt(variance) / trace
    if method == "ML":
        return math.sqrt(2.0 / float(w @ w))
    if method == "REML":
        return math.sqrt(2.0 / _trace_of_square(w))
    return math.sqrt(2.0 * k**2 / (k - 1)) / float(w.sum())


def _loglik(y: Array, v: Array, tau2: float, restricted: bool) -> float:
    w, k = 1.0 / (v + tau2), len(y)
    quadratic = generalised_q(y, v, tau2)
    if restricted:
        constant = -(k - 1) / 2.0 * math.log(2.0 * math.pi) + math.log(k) / 2.0 - math.log(float(w.sum())) / 2.0
    else:
        constant = -k / 2.0 * math.log(2.0 * math.pi)
    return constant + float(np.log(w).sum()) / 2.0 - quadratic / 2.0


def _slope(y: Array, v: Array, tau2: float, restricted: bool) -> float:
    """Derivative of the (restricted) log-likelihood in tau^2, times two."""
    w = 1.0 / (v + tau2)
    residual = y - (w @ y) / w.sum()
    return float((w**2) @ residual**2) - (_trace(w) if restricted else float(w.sum()))


def _most_likely(y: Array, v: Array, restricted: bool) -> float:
    """The highest of the maxima of the likelihood over tau^2 >= 0."""
    top = 10.0 * (float(np.var(y)) * len(y) + float(v.max()))
    grid = np.concatenate([[0.0], np.geomspace(1e-9 * float(v.mean()), top, 400)])
    slopes = [_slope(y, v, float(t), restricted) for t in grid]
    best = 0.0
    for low, high, before, after in zip(grid[:-1], grid[1:], slopes[:-1], slopes[1:], strict=True):
        if before > 0 >= after:
            peak = _bisect(lambda t: _slope(y, v, t, restricted), float(low), float(high))
            if _loglik(y, v, peak, restricted) > _loglik(y, v, best, restricted):
                best = peak
    return best


def _falls_to(f: Callable[[float], float], target: float, v: Array) -> float:
    """Where a falling function of tau^2 reaches the target; 0 where it starts below."""
    if f(0.0) <= target:
        return 0.0
    high = float(v.mean())
    while f(high) > target:
        high *= 2.0
    return _bisect(lambda t: f(t) - target, 0.0, high)


def _bisect(f: Callable[[float], float], low: float, high: float) -> float:
    """Where `f`, positive at `low`, becomes zero: to the last bit."""
    while True:
        middle = (low + high) / 2.0
        if not low < middle < high:
            return middle
        if f(middle) > 0:
            low = middle
        else:
            high = middle


def _q_profile(y: Array, v: Array) -> dict[str, Answer]:
    k = len(y)
    if k == 1:
        return {"lower": None, "upper": None}
    limits = [2.0 * float(special.gammaincinv((k - 1) / 2.0, share)) for share in (0.975, 0.025)]
    lower, upper = (_falls_to(lambda t: generalised_q(y, v, t), limit, v) for limit in limits)
    return {"lower": lower, "upper": upper}


def _leave_one_out(names: Sequence[str], y: Array, v: Array) -> dict[str, Answer]:
    out: dict[str, Answer] = {}
    for k, name in enumerate(names):
        rest = np.arange(len(y)) != k
        if not rest.any():
            continue
        tau2 = between_variance("DL", y[rest], v[rest])
        w = 1.0 / (v[rest] + tau2)
        out[name] = {
            "estimate": float(w @ y[rest] / w.sum()),
            "se": 1.0 / math.sqrt(float(w.sum())),
            "tau2": tau2,
        }
    return out
