"""Does the effect change its direction between regions: the likelihood ratio test of Gail and Simon.

Source: Gail & Simon (1985), Biometrics 41, 361-372, equations 2-4.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import optimize, special

from isthmus_methods.contract import Answer, Array
from isthmus_methods.parts.inference import number

LEVEL = 0.05


def gail_simon(y: Array, v: Array) -> dict[str, Answer]:
    """Test that the effects `y` (S,) with variances `v` (S,) all point one way, S >= 1.

    Q_plus and Q_minus sum (y/s)^2 over effects above and below zero; Q is the smaller. With one region there is no
    test. Where all effects point one way Q is 0 and p is 1 - 2^(1 - S), the largest that the formula gives.
    """
    squares, regions = y**2 / v, len(y)
    above, below = float(squares[y > 0].sum()), float(squares[y < 0].sum())
    q = min(above, below)
    return {
        "Q_plus": above,
        "Q_minus": below,
        "Q": q,
        "regions": regions,
        "p": number(upper_tail(q, regions)),
        "critical_value_5_percent": number(critical_value(LEVEL, regions)),
    }


def upper_tail(q: float, regions: int) -> float:
    """The largest P(Q > q) without qualitative interaction: sum over h of Bin(h; S - 1, 1/2) P(chi2_h > q).

    It is reached where one effect is far from zero and the others are zero. NaN for S < 2.
    """
    if regions < 2:
        return math.nan
    h = np.arange(1, regions)
    share = special.binom(regions - 1, h) * 0.5 ** (regions - 1)
    return float(share @ special.chdtrc(h, q))


def critical_value(level: float, regions: int) -> float:
    """What Q exceeds with probability `level`; NaN for S < 2, 0 where no more than that lies above 0."""
    if regions < 2:
        return math.nan
    if upper_tail(0.0, regions) <= level:
        return 0.0
    high = 2.0 * float(special.chdtri(regions - 1, level))
    return float(optimize.brentq(lambda q: upper_tail(q, regions) - level, 0.0, high, xtol=1e-13, rtol=1e-14))
