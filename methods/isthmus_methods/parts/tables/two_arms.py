"""Events in two arms: risks, their difference and ratios, chi-square and Fisher's exact test of the 2 x 2 table."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy import optimize, special

from isthmus_methods.contract import Answer, Array
from isthmus_methods.parts.inference import Z95, chi_square, number

# Tables at most this much more likely than the observed one count as equally likely, as R's fisher.test does for 2 x 2.
SLACK = 1e-7
TAIL = 0.025


def interval(lower: float, upper: float) -> dict[str, Answer]:
    """Two limits; what is not estimable is None."""
    return {"lower": number(lower), "upper": number(upper)}


# --------------------------------------------------------------------------- one proportion, one rate


def wilson(x: float, n: float) -> tuple[float, float]:
    """Score limits of a proportion, no continuity correction.

    Source: Wilson (1927), JASA 22; Newcombe (1998), Statistics in Medicine 17:857, method 3.
    """
    if n <= 0:
        return math.nan, math.nan
    p, z2 = x / n, Z95 * Z95
    half = Z95 * math.sqrt((p * (1 - p) + z2 / (4 * n)) / n)
    low, high = ((p + z2 / (2 * n) + sign * half) / (1 + z2 / n) for sign in (-1, 1))
    return low, high


def clopper_pearson(x: float, n: float) -> tuple[float, float]:
    """Exact limits of a proportion.

    Source: Clopper & Pearson (1934), Biometrika 26; as quantiles of beta distributions.
    """
    if n <= 0:
        return math.nan, math.nan
    lower = 0.0 if x <= 0 else float(special.betaincinv(x, n - x + 1, TAIL))
    upper = 1.0 if x >= n else float(special.betainccinv(x + 1, n - x, TAIL))
    return lower, upper


def garwood(x: float, exposure: float) -> tuple[float, float]:
    """Exact limits of a Poisson rate, x events over an exposure.

    Source: Garwood (1936), Biometrika 28; as quantiles of chi-square distributions.
    """
    if exposure <= 0:
        return math.nan, math.nan
    lower = 0.0 if x <= 0 else float(special.gammaincinv(x, TAIL))
    return lower / exposure, float(special.gammainccinv(x + 1, TAIL)) / exposure


def proportion(x: float, n: float) -> dict[str, Answer]:
    """Events, persons, risk, Wilson and Clopper-Pearson limits."""
    return {
        "events": round(x),
        "n": round(n),
        "p": x / n if n else None,
        "wilson95": interval(*wilson(x, n)),
        "clopper_pearson95": interval(*clopper_pearson(x, n)),
    }


# --------------------------------------------------------------------------- comparing two


def risk_difference(x1: float, n1: float, x0: float, n0: float) -> dict[str, Answer]:
    """Difference of risks with Wald and Newcombe limits.

    Source: Newcombe (1998), Statistics in Medicine 17:873, method 10 (Wilson limits combined).
    """
    if n1 <= 0 or n0 <= 0:
        return {"estimate": None, "se_wald": None, "wald95": interval(*_NAN), "newcombe95": interval(*_NAN)}
    p1, p0 = x1 / n1, x0 / n0
    difference = p1 - p0
    se = math.sqrt(p1 * (1 - p1) / n1 + p0 * (1 - p0) / n0)
    (l1, u1), (l0, u0) = wilson(x1, n1), wilson(x0, n0)
    lower = difference - math.hypot(p1 - l1, u0 - p0)
    upper = difference + math.hypot(u1 - p1, p0 - l0)
    return {
        "estimate": difference,
        "se_wald": se,
        "wald95": interval(difference - Z95 * se, difference + Z95 * se),
        "newcombe95": interval(lower, upper),
    }


_NAN = (math.nan, math.nan)


def _ratio(estimate: float, variance: float) -> dict[str, Answer]:
    with np.errstate(all="ignore"):
        log = float(np.log(estimate))
        se = float(np.sqrt(variance))
        low, high = (float(np.exp(log + sign * Z95 * se)) for sign in (-1, 1))
    return {
        "estimate": number(estimate),
        "log_estimate": number(log),
        "se_log": number(se),
        "ci95": interval(low, high),
    }


def risk_ratio(x1: float, n1: float, x0: float, n0: float) -> dict[str, Answer]:
    """Ratio of risks; limits on the log scale.

    Source: Katz et al. (1978), Biometrics 34.
    """
    x1, n1, x0, n0 = (np.float64(v) for v in (x1, n1, x0, n0))
    with np.errstate(all="ignore"):
        return _ratio(float((x1 / n1) / (x0 / n0)), float(1 / x1 - 1 / n1 + 1 / x0 - 1 / n0))


def odds_ratio(x1: float, n1: float, x0: float, n0: float) -> dict[str, Answer]:
    """Ratio of odds; limits on the log scale, nothing added to cells of zero.

    Source: Woolf (1955), Annals of Human Genetics 19.
    """
    a, b, c, d = (np.float64(v) for v in (x1, n1 - x1, x0, n0 - x0))
    with np.errstate(all="ignore"):
        return _ratio(float((a * d) / (b * c)), float(1 / a + 1 / b + 1 / c + 1 / d))


def expected(table: Array) -> Array:
    """Counts expected without association: row total times column total over n."""
    total = table.sum()
    return np.outer(table.sum(axis=1), table.sum(axis=0)) / total if total else np.full(table.shape, np.nan)


def pearson(table: Array, yates: bool = False) -> dict[str, Answer]:
    """Chi-square test of a table; with Yates' correction, which never exceeds the smallest deviation."""
    fitted = expected(table)
    deviation = np.abs(table - fitted)
    shift = min(0.5, float(deviation.min())) if yates and table.size else 0.0
    with np.errstate(all="ignore"):
        statistic = float(((deviation - shift) ** 2 / fitted).sum())
    return chi_square(statistic, (table.shape[0] - 1) * (table.shape[1] - 1))


# --------------------------------------------------------------------------- Fisher, 2 x 2


class Hypergeometric:
    """x1 given all margins of a 2 x 2 table, at any odds ratio.

    The log density is summed from ratios of neighbours, away from the mode, so that it keeps its digits for any n.

    Source: Fisher (1935), JRSS 98; McCullagh & Nelder, Generalized Linear Models, 2nd ed., section 7.3.2.
    """

    def __init__(self, n1: int, n0: int, events: int) -> None:
        self.low, self.high = max(0, events - n0), min(events, n1)
        self.x = np.arange(self.low, self.high + 1, dtype=np.float64)
        below = self.x[:-1]
        steps = np.log((n1 - below) * (events - below)) - np.log((below + 1) * (n0 - events + below + 1))
        mode = int(np.count_nonzero(steps > 0))
        up = np.concatenate([[0.0], np.cumsum(steps[mode:])])
        down = -np.cumsum(steps[:mode][::-1])[::-1]
        self.log = np.concatenate([down, up])

    def density(self, log_odds_ratio: float = 0.0) -> Array:
        """Probabilities over low..high."""
        weights = self.log + log_odds_ratio * self.x
        weights = np.exp(weights - weights.max())
        return np.asarray(weights / weights.sum())

    def mean(self, log_odds_ratio: float) -> float:
        return float((self.density(log_odds_ratio) * self.x).sum())

    def at_least(self, x: int, log_odds_ratio: float = 0.0) -> float:
        return float(self.density(log_odds_ratio)[x - self.low :].sum())

    def at_most(self, x: int, log_odds_ratio: float = 0.0) -> float:
        return float(self.density(log_odds_ratio)[: x - self.low + 1].sum())

    def two_sided(self, x: int) -> float:
        """Probability of all tables no more probable than the observed one, up to the slack."""
        observed = self.log[x - self.low]
        probable = self.density()
        return min(float(probable[self.log <= observed + math.log1p(SLACK)].sum()), 1.0)


def _root(rising: Callable[[float], float]) -> float:
    """exp of the root of a rising function of the log odds ratio, to the last digits."""
    reach = 1.0
    while rising(-reach) > 0 or rising(reach) < 0:
        reach *= 2
    return math.exp(
        float(optimize.brentq(rising, -reach, reach, xtol=1e-15, rtol=4 * np.finfo(float).eps, maxiter=300))
    )


def fisher_p_2x2(x1: int, n1: int, x0: int, n0: int) -> float | None:
    """Two-sided p of Fisher's exact test; None where an arm has nobody."""
    return Hypergeometric(n1, n0, x1 + x0).two_sided(x1) if n1 > 0 and n0 > 0 else None


def fisher_2x2(x1: int, n1: int, x0: int, n0: int) -> dict[str, Answer]:
    """Fisher's exact test, the conditional maximum likelihood odds ratio, and its exact limits.

    Source: Fisher (1935), JRSS 98; Cornfield (1956), Third Berkeley Symposium 4, for the limits.
    """
    if n1 <= 0 or n0 <= 0:
        return dict.fromkeys(("p_two_sided", "p_greater", "p_less", "or_conditional_mle")) | {
            "or_ci95_exact": interval(*_NAN)
        }
    law = Hypergeometric(n1, n0, x1 + x0)
    if x1 == law.low:
        estimate = 0.0
    else:
        estimate = math.inf if x1 == law.high else _root(lambda log: law.mean(log) - float(x1))
    lower = 0.0 if x1 == law.low else _root(lambda log: law.at_least(x1, log) - TAIL)
    upper = math.inf if x1 == law.high else _root(lambda log: TAIL - law.at_most(x1, log))
    return {
        "p_two_sided": law.two_sided(x1),
        "p_greater": min(law.at_least(x1), 1.0),
        "p_less": min(law.at_most(x1), 1.0),
        "or_conditional_mle": number(estimate),
        "or_ci95_exact": interval(lower, upper),
    }
