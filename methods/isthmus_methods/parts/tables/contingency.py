"""Tests of an r x c table: chi-square, likelihood ratio, Cramer's V."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from isthmus_methods.contract import Answer, Array
from isthmus_methods.parts.inference import chi_square, number
from isthmus_methods.parts.tables.two_arms import expected, pearson


def labelled(rows: Sequence[str], cols: Sequence[str], values: Array, whole: bool = False) -> dict[str, Answer]:
    """A table of counts (or of numbers) with the names of its rows and columns, row by row."""
    return {
        "rows": list(rows),
        "cols": list(cols),
        "values": [[round(float(x)) if whole else number(float(x)) for x in row] for row in values],
    }


def association(table: Array) -> dict[str, Answer]:
    """Pearson's chi-square without correction, the likelihood ratio G2, Cramer's V.

    Parameters
    ----------
    table
        Counts (R, C) without empty rows or columns.

    Source: Agresti, Categorical Data Analysis, 2nd ed., section 3.2; Cramer (1946), Mathematical Methods of Statistics.
    """
    n, least = float(table.sum()), min(table.shape, default=0)
    if least < 2:
        return {
            "chisq_pearson": chi_square(math.nan, 0),
            "likelihood_ratio": chi_square(math.nan, 0),
            "cramers_v": None,
        }
    tested = pearson(table)
    fitted = expected(table)
    seen = table > 0
    # about the deviation, so that a statistic near zero keeps its digits
    ratio = 2 * float((table[seen] * np.log1p((table[seen] - fitted[seen]) / fitted[seen])).sum())
    chi2 = float(((table - fitted) ** 2 / fitted).sum())
    return {
        "chisq_pearson": tested,
        "likelihood_ratio": chi_square(max(ratio, 0.0), (table.shape[0] - 1) * (table.shape[1] - 1)),
        "cramers_v": math.sqrt(chi2 / (n * (least - 1))),
    }
