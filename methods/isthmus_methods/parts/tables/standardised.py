"""Standardised differences between two arms: how far they are apart in units that do not depend on n.

Source: Yang & Dalton (2012), SAS Global Forum 335-2012; Austin (2009), Statistics in Medicine 28, 3083-3107.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from isthmus_methods.contract import Answer


def of_number(one: Answer, other: Answer) -> float | None:
    """Of two means, over the root of the mean of the variances; from the cells of a Table 1."""
    if not isinstance(one, Mapping) or not isinstance(other, Mapping):
        return None
    means, spreads = [cell["mean"] for cell in (one, other)], [cell["sd"] for cell in (one, other)]
    if not all(isinstance(x, float) for x in (*means, *spreads)):
        return None
    (a, b), (s, t) = ([float(str(x)) for x in pair] for pair in (means, spreads))
    spread = math.sqrt((s * s + t * t) / 2.0)
    return (a - b) / spread if spread > 0 else None


def of_factor(one: Answer, other: Answer) -> float | None:
    """Of two distributions over levels: Mahalanobis's distance of their shares, never below 0."""
    if not isinstance(one, Mapping) or not isinstance(other, Mapping):
        return None
    shares = []
    for cell in (one, other):
        counts, n = cell["count"], cell["n"]
        if not isinstance(counts, Mapping) or not isinstance(n, int) or not n:
            return None
        shares.append(np.array([float(str(x)) for x in counts.values()]) / n)
    # one level follows from the others, and one that nobody has says nothing
    present = np.flatnonzero(shares[0] + shares[1] > 0)[1:]
    p, q = (share[present] for share in shares)
    spread = (np.diag(p + q) - np.outer(p, p) - np.outer(q, q)) / 2.0
    apart = p - q
    if not len(present):
        return 0.0
    solved, _, rank, _ = np.linalg.lstsq(spread, apart, rcond=1e-12)
    if rank < len(present) and not np.allclose(spread @ solved, apart, rtol=0, atol=1e-9):
        return None
    return math.sqrt(max(float(apart @ solved), 0.0))
