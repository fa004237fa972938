"""Tests and effects over strata: Cochran-Mantel-Haenszel, Mantel-Haenszel, homogeneity over strata."""

from __future__ import annotations

import math

import numpy as np
from scipy import special

from isthmus_methods.contract import Answer, Array
from isthmus_methods.parts.inference import Z95, chi_square, number
from isthmus_methods.parts.tables.two_arms import interval


class Strata:
    """2 x 2 tables, one a stratum: treated with and without the event (a, b), control (c, d).

    Arrays are (K,); strata of one row or fewer say nothing about association and are left out of the tests.
    """

    def __init__(self, tables: Array) -> None:
        """`tables` (K, 2, 2): treated and control, event and no event."""
        self.a, self.b = tables[:, 0, 0], tables[:, 0, 1]
        self.c, self.d = tables[:, 1, 0], tables[:, 1, 1]
        self.n1, self.n0 = self.a + self.b, self.c + self.d
        self.m = self.a + self.c
        self.n = self.n1 + self.n0

    def score(self) -> tuple[float, float]:
        """Sum of a minus its expectation, and its hypergeometric variance.

        Source: Mantel & Haenszel (1959), JNCI 22.
        """
        variance = self.n1 * self.n0 * self.m * (self.n - self.m) / (self.n**2 * np.maximum(self.n - 1, 1.0))
        return float((self.a - self.n1 * self.m / self.n).sum()), float(variance.sum())

    def tests(self) -> dict[str, Answer]:
        """Without and with the continuity correction, which is not made where the deviation is below 0.5."""
        deviation, variance = self.score()
        corrected = abs(deviation) - (0.5 if abs(deviation) >= 0.5 else 0.0)

        def over(square: float) -> dict[str, Answer]:
            return chi_square(square / variance if variance > 0 else math.nan, 1)

        return {"cmh_no_correction": over(deviation**2), "cmh_continuity_corrected": over(corrected**2)}

    # ---------------------------------------------------------------- effects

    def odds(self) -> tuple[float, float]:
        """Log of the common odds ratio, and its standard error.

        Source: Robins, Breslow & Greenland (1986), Biometrics 42.
        """
        r, s = self.a * self.d / self.n, self.b * self.c / self.n
        p, q = (self.a + self.d) / self.n, (self.b + self.c) / self.n
        sum_r, sum_s = np.float64(r.sum()), np.float64(s.sum())
        with np.errstate(all="ignore"):
            variance = (
                (p * r).sum() / (2 * sum_r**2)
                + (p * s + q * r).sum() / (2 * sum_r * sum_s)
                + (q * s).sum() / (2 * sum_s**2)
            )
            return float(np.log(sum_r / sum_s)), float(np.sqrt(variance))

    def risks(self) -> tuple[float, float]:
        """Log of the common risk ratio, and its standard error.

        Source: Greenland & Robins (1985), Biometrics 41.
        """
        sum_r, sum_s = np.float64((self.a * self.n0 / self.n).sum()), np.float64((self.c * self.n1 / self.n).sum())
        with np.errstate(all="ignore"):
            spread = (self.n1 * self.n0 * self.m / self.n**2 - self.a * self.c / self.n).sum()
            return float(np.log(sum_r / sum_s)), float(np.sqrt(spread / (sum_r * sum_s)))

    def difference(self) -> tuple[float, float]:
        """Common risk difference, and its standard error.

        Source: Greenland & Robins (1985), Biometrics 41; Sato (1989), Biometrics 45, for the variance.
        """
        a, c, n1, n0, n = self.a, self.c, self.n1, self.n0, self.n
        weight = np.float64((n1 * n0 / n).sum())
        with np.errstate(all="ignore"):
            estimate = (a * n0 / n - c * n1 / n).sum() / weight
            p = (c * n1**2 / n**2 - a * n0**2 / n**2 + n1 * n0 * (n0 - n1) / (2 * n**2)).sum()
            q = (a * (n0 - c) / n + c * (n1 - a) / n).sum() / 2
            return float(estimate), float(np.sqrt((estimate * p + q) / weight**2))

    # ---------------------------------------------------------------- homogeneity

    def breslow_day(self) -> dict[str, Answer]:
        """Do odds ratios differ between strata, without and with Tarone's correction.

        Source: Breslow & Day (1980), Statistical Methods in Cancer Research I, 4.30; Tarone (1985), Biometrika 72.
        """
        log, _ = self.odds()
        used = (self.n1 > 0) & (self.n0 > 0) & (self.m > 0) & (self.n - self.m > 0)
        if not math.isfinite(log):
            used[:] = False
        a, n1, n0, m = (x[used] for x in (self.a, self.n1, self.n0, self.m))
        df = int(used.sum()) - 1
        if df < 0:
            return {"breslow_day": chi_square(math.nan, 0), "breslow_day_tarone": chi_square(math.nan, 0)}
        expected = _fitted(math.exp(log), n1, n0, m)
        variance = 1 / (1 / expected + 1 / (n1 - expected) + 1 / (m - expected) + 1 / (n0 - m + expected))
        statistic = float(((a - expected) ** 2 / variance).sum())
        tarone = statistic - float((a - expected).sum()) ** 2 / float(variance.sum())
        return {"breslow_day": chi_square(statistic, df), "breslow_day_tarone": chi_square(tarone, df)}

    def woolf(self) -> dict[str, Answer]:
        """Do log odds ratios differ between strata, by inverse variance; 0.5 more in all cells where any is zero.

        Source: Woolf (1955), Annals of Human Genetics 19.
        """
        cells = np.stack([self.a, self.b, self.c, self.d])
        if (cells == 0).any():
            cells = cells + 0.5
        a, b, c, d = cells
        log = np.log(a * d / (b * c))
        weight = 1 / (1 / cells).sum(axis=0)
        mean = float((weight * log).sum() / weight.sum()) if log.size else math.nan
        return chi_square(float((weight * (log - mean) ** 2).sum()), len(log) - 1)


def _fitted(ratio: float, n1: Array, n0: Array, m: Array) -> Array:
    """a under a common odds ratio, given the margins: the root of a quadratic that lies within them."""
    square, linear, constant = 1 - ratio, n0 - m + ratio * (n1 + m), -ratio * n1 * m
    root = np.sqrt(np.maximum(linear**2 - 4 * square * constant, 0.0))
    with np.errstate(all="ignore"):
        # of the two ways to write the root the one without cancellation
        return np.asarray(np.where(linear >= 0, -2 * constant / (linear + root), (root - linear) / (2 * square)))


def effect(estimate: float, se: float, ratio: bool) -> dict[str, Answer]:
    """An effect as estimated (a log, or a difference), its Wald test, and its limits on the scale people read."""
    with np.errstate(all="ignore"):
        z = float(np.float64(estimate) / np.float64(se))
        lower, upper = estimate - Z95 * se, estimate + Z95 * se
        shown = [float(np.exp(x)) if ratio else x for x in (estimate, lower, upper)]
    return {
        "estimate": number(shown[0]),
        "log_or_raw_estimate": number(estimate),
        "se": number(se),
        "z": number(z),
        "p": number(2.0 * float(special.ndtr(-abs(z)))),
        "ci95": interval(shown[1], shown[2]),
    }


def general_association(tables: Array) -> dict[str, Answer]:
    """Generalised Cochran-Mantel-Haenszel test of two factors without order.

    Parameters
    ----------
    tables
        Counts (K, R, C); rows and columns without counts in any stratum are left out.

    Returns
    -------
    dict
        A chi-square test with (R - 1)(C - 1) degrees of freedom; not estimable where the covariance is singular. For
        2 x 2 tables the statistic with the continuity correction, as in R.

    Source: Landis, Heyman & Koch (1978), International Statistical Review 46; Agresti, Categorical Data
    Analysis, 2nd ed., section 7.5.3.
    """
    tables = tables[:, tables.sum(axis=(0, 2)) > 0][:, :, tables.sum(axis=(0, 1)) > 0]
    tables = tables[tables.sum(axis=(1, 2)) > 1]
    _, r, c = tables.shape
    df = max(r - 1, 0) * max(c - 1, 0)
    if not df or not len(tables):
        return chi_square(math.nan, 0)
    if (r, c) == (2, 2):
        corrected: dict[str, Answer] = dict(Strata(tables).tests()["cmh_continuity_corrected"])  # type: ignore[arg-type]
        return corrected
    deviation, covariance = np.zeros(df), np.zeros((df, df))
    for table in tables:
        n = table.sum()
        row, column = table.sum(axis=1) / n, table.sum(axis=0) / n
        deviation += (table - n * np.outer(row, column))[:-1, :-1].ravel()
        across = np.diag(row[:-1]) - np.outer(row[:-1], row[:-1])
        down = np.diag(column[:-1]) - np.outer(column[:-1], column[:-1])
        covariance += n * n / (n - 1) * np.kron(across, down)
    scale = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    if (scale == 0).any():
        return chi_square(math.nan, df)
    correlation = covariance / np.outer(scale, scale)
    if np.linalg.eigvalsh(correlation)[0] < 1e-10:
        return chi_square(math.nan, df)
    standard = deviation / scale
    return chi_square(float(standard @ np.linalg.solve(correlation, standard)), df)
