"""Method 1 for times to an event on the linear scale: 1 - HR of the region is at least pi (1 - HR overall).

With a the region's log hazard ratio, b that of the others, the overall one is o = f a + (1 - f) b. The criterion holds
surely where a <= log(1 - pi); otherwise it needs o >= log((e^a - 1 + pi) / pi): one integral over a, no delta method.

Source: MHLW (2007); Quan, Zhao, Zhang, Roessner & Aizawa (2010), Pharm. Stat. 9, 100-112, for the criterion.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import special

from isthmus_methods.contract import Array
from isthmus_methods.planning.consistency import Probability
from isthmus_methods.planning.endpoints import bad_plan, upper_quantile
from isthmus_methods.planning.tables import GAUSS_W, GAUSS_X, REACH

# Panels of the integral, of half a standard deviation at most.
PANELS = 40


def method_1_hazard_ratio(
    fraction: float,
    hazard_ratio: float,
    events: float,
    *,
    pi: float = 0.5,
    alpha: float = 0.025,
    allocation: float = 0.5,
    region_hazard_ratio: float | None = None,
) -> Probability:
    """Probability that 1 - HR in a region keeps the share `pi` of 1 - HR overall.

    Parameters
    ----------
    fraction
        The region's share of the events, below 1.
    hazard_ratio
        True hazard ratio outside the region (below 1 is benefit), and inside unless `region_hazard_ratio` is given.
    events
        Over all regions.
    allocation
        Share treated.

    Raises
    ------
    UsageError
        ``BAD_PLAN``.
    """
    region = hazard_ratio if region_hazard_ratio is None else region_hazard_ratio
    if not (0.0 < fraction < 1.0 and 0.0 < pi < 1.0 and 0.0 < allocation < 1.0):
        raise bad_plan("fraction, pi and allocation must be between 0 and 1", "give them as 0.3, 0.5, 0.5")
    if not (hazard_ratio > 0.0 and region > 0.0 and events > 0.0):
        raise bad_plan("hazard ratios and events must be positive", "give them as 0.6 and 154")
    variance = 1.0 / (events * allocation * (1.0 - allocation))
    here, elsewhere = math.log(region), math.log(hazard_ratio)
    sd, rest_sd = math.sqrt(variance / fraction), math.sqrt((1.0 - fraction) * variance)
    significant = -upper_quantile(alpha) * math.sqrt(variance)

    def overall_below(a: Array, bound: Array) -> Array:
        """P(o <= bound | a)."""
        below: Array = special.ndtr((bound - fraction * a - (1.0 - fraction) * elsewhere) / rest_sd)
        return below

    # the criterion holds surely to the left of `sure`; to the right it asks for o above a bound
    sure = math.log1p(-pi)
    a, weights = _normal_nodes(here, sd, -math.inf, sure)
    everywhere = np.full(len(a), significant)
    left_all, left_joint = float(weights.sum()), float(weights @ overall_below(a, everywhere))
    a, weights = _normal_nodes(here, sd, sure, math.inf)
    with np.errstate(divide="ignore"):  # at `sure` itself the bound is -inf
        bound = np.log(np.maximum(np.expm1(a) + pi, 0.0) / pi)
    below = overall_below(a, bound)
    right_all = float(weights @ (1.0 - below))
    right_joint = float(weights @ np.maximum(overall_below(a, np.full(len(a), significant)) - below, 0.0))
    mean = fraction * here + (1.0 - fraction) * elsewhere
    power = float(special.ndtr((significant - mean) / math.sqrt(variance)))
    return Probability(left_all + right_all, left_joint + right_joint, power)


def _normal_nodes(mean: float, sd: float, lower: float, upper: float) -> tuple[Array, Array]:
    """Nodes and weights (n,) of an integral against N(mean, sd^2) over (lower, upper)."""
    low, high = max(lower, mean - REACH * sd), min(upper, mean + REACH * sd)
    if high <= low:
        return np.zeros(0), np.zeros(0)
    edges = np.linspace(low, high, PANELS + 1)
    half = np.diff(edges) / 2.0
    x = (edges[:-1, None] + half[:, None] * (1.0 + GAUSS_X)).ravel()
    weights = (
        (half[:, None] * GAUSS_W).ravel() * np.exp(-(((x - mean) / sd) ** 2) / 2.0) / (sd * math.sqrt(2 * math.pi))
    )
    return x, weights
