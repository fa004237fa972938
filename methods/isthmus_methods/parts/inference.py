"""From an estimate and its covariance to the numbers people read: Wald intervals, tests, labelled matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import special

from isthmus_methods.contract import Answer, Array

# Phi^-1(0.975): two-sided 95 %
Z95 = 1.959963984540054


def number(x: float) -> float | None:
    """None for what is not estimable."""
    return None if math.isnan(x) else float(x)


def coefficient(estimate: float, se: float, hazard_ratio: bool = True) -> dict[str, Answer]:
    """Estimate, standard error, Wald z, two-sided p, 95 % limits; and the same limits as a hazard ratio."""
    z = estimate / se if se > 0 else math.nan
    lower, upper = estimate - Z95 * se, estimate + Z95 * se
    answer: dict[str, Answer] = {
        "estimate": number(estimate),
        "se": number(se),
        "z": number(z),
        "p": number(2.0 * float(special.ndtr(-abs(z)))),
        "ci95_lower": number(lower),
        "ci95_upper": number(upper),
    }
    if hazard_ratio:
        answer |= {
            "hr": number(_exp(estimate)),
            "hr_ci95_lower": number(_exp(lower)),
            "hr_ci95_upper": number(_exp(upper)),
        }
    return answer


def coefficients(
    names: Sequence[str], estimates: Array, covariance: Array, hazard_ratio: bool = True
) -> dict[str, Answer]:
    """A block of coefficients; NaN in `estimates` (p,) and `covariance` (p, p) for those that are not estimable."""
    se = np.sqrt(np.diag(covariance))
    return {
        name: coefficient(float(b), float(s), hazard_ratio) for name, b, s in zip(names, estimates, se, strict=True)
    }


def t_test(estimate: float, se: float, df: float, statistic: str = "t") -> dict[str, Answer]:
    """Estimate, standard error, t with `df` degrees of freedom, two-sided p, 95 % limits; `statistic` names the t."""
    t = estimate / se if se > 0 else math.nan
    lower, upper = t_limits(estimate, se, df)
    return {
        "estimate": number(estimate),
        "se": number(se),
        statistic: number(t),
        "p": t_p(t, df),
        "ci95_lower": lower,
        "ci95_upper": upper,
    }


def t_tests(names: Sequence[str], estimates: Array, covariance: Array, df: float) -> dict[str, Answer]:
    """A block of coefficients with t tests; NaN in `estimates` (p,) and `covariance` (p, p) where not estimable."""
    se = np.sqrt(np.diag(covariance))
    return {name: t_test(float(b), float(s), df) for name, b, s in zip(names, estimates, se, strict=True)}


def t_limits(estimate: float, se: float, df: float) -> tuple[float | None, float | None]:
    """Two-sided 95 % limits from Student's t; None without degrees of freedom."""
    if not df > 0:
        return None, None
    reach = float(special.stdtrit(df, 0.975)) * se
    return number(estimate - reach), number(estimate + reach)


def t_p(t: float, df: float) -> float | None:
    """Two-sided p of Student's t, by the incomplete beta function, so that small ones keep their digits."""
    if not df > 0 or math.isnan(t):
        return None
    return number(float(special.betainc(df / 2.0, 0.5, df / (df + t * t))))


def f_p(f: float, df1: float, df2: float) -> float | None:
    """Upper tail of F; None where there is nothing to test."""
    return number(float(special.fdtrc(df1, df2, f))) if df1 > 0 and df2 > 0 else None


def matrix(names: Sequence[str], values: Array) -> dict[str, Answer]:
    """A labelled square matrix, row by row."""
    return {
        "rows": list(names),
        "cols": list(names),
        "values": [[number(float(x)) for x in row] for row in values],
    }


def chi_square(statistic: float, df: int) -> dict[str, Answer]:
    """A chi-square test."""
    return {"statistic": number(statistic), "df": df, "p": chi_square_p(statistic, df)}


def chi_square_p(statistic: float, df: int) -> float | None:
    """Upper tail; None where there is nothing to test."""
    return number(float(special.chdtrc(df, statistic))) if df > 0 else None


def _exp(x: float) -> float:
    return math.exp(x) if x < 700.0 else math.inf
