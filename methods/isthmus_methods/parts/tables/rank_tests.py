"""Tests by ranks, from how many rows of each group have each value."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import special

from isthmus_methods.contract import Answer, Array
from isthmus_methods.parts.inference import chi_square, number
from isthmus_methods.parts.value_grid import Distribution


def by_value(groups: Sequence[Distribution]) -> Array:
    """Rows at each value that anybody has, by group, (values, groups)."""
    values = np.unique(np.concatenate([group.values for group in groups]))
    table = np.zeros((len(values), len(groups)))
    for g, group in enumerate(groups):
        table[np.searchsorted(values, group.values), g] = group.counts
    return table


def midranks(table: Array) -> Array:
    """The rank that rows with each value share, (values,)."""
    ties = table.sum(axis=1)
    ranks: Array = np.cumsum(ties) - (ties - 1.0) / 2.0
    return ranks


def tie_sum(table: Array) -> float:
    """Sum over values of t^3 - t."""
    ties = table.sum(axis=1)
    return float((ties**3 - ties).sum())


def wilcoxon(table: Array) -> dict[str, Answer]:
    """Mann-Whitney U of the first of two groups, (values, 2), with its normal approximation.

    Source: Wilcoxon (1945), Biometrics Bulletin 1, 80-83; Lehmann (1975), Nonparametrics, section 1.4 for ties.
    """
    n, m = (float(x) for x in table.sum(axis=0))
    total = n + m
    if not (n and m):
        return {"W": None, "p_continuity": None, "p_no_continuity": None}
    w = float(table[:, 0] @ midranks(table)) - n * (n + 1.0) / 2.0
    variance = n * m / 12.0 * (total + 1.0 - tie_sum(table) / (total * (total - 1.0)))
    away = w - n * m / 2.0

    def p(correction: float) -> float | None:
        if not variance > 0:
            return None
        z = (away - math.copysign(correction, away) * (away != 0)) / math.sqrt(variance)
        return number(2.0 * min(float(special.ndtr(z)), float(special.ndtr(-z))))

    return {"W": w, "p_continuity": p(0.5), "p_no_continuity": p(0.0)}


def kruskal_wallis(table: Array) -> dict[str, Answer]:
    """Kruskal-Wallis test with the correction for ties, (values, groups).

    Source: Kruskal & Wallis (1952), JASA 47, 583-621.
    """
    table = table[:, table.sum(axis=0) > 0]
    sizes, df = table.sum(axis=0), table.shape[1] - 1
    total = float(sizes.sum())
    corrected = 1.0 - tie_sum(table) / (total**3 - total) if total > 1 else 0.0
    if df < 1 or not corrected > 0:
        return {"statistic": None, "df": df, "p": None}
    mean = midranks(table) @ table / sizes
    statistic = 12.0 / (total * (total + 1.0)) * float(sizes @ (mean - (total + 1.0) / 2.0) ** 2) / corrected
    return chi_square(statistic, df)
