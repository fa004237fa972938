"""Criteria of regional consistency on observed effects, each beside how often a uniform effect would meet it.

Effects here have benefit positive. The overall estimate weights the regions by their inverse variances, so that a
region's information fraction is V / v_s, with V the overall variance.

Source: MHLW (2007), Basic Principles on Global Clinical Trials (Methods 1 and 2); ICH E17 (2017); Quan, Li, Chen et al.
(2010), Drug Inf. J. 44, 617-632 (all regions keep a share, exceed a bound, have lower limits above a bound, no
significant interaction).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from isthmus_methods.contract import Answer, Array
from isthmus_methods.parts.countries.random_effects import generalised_q
from isthmus_methods.parts.inference import Z95, chi_square, number
from isthmus_methods.planning.consistency import every_region, method_1, no_interaction
from isthmus_methods.planning.endpoints import Trial
from isthmus_methods.planning.hazard_ratio import method_1_hazard_ratio


@dataclass(frozen=True, slots=True)
class Asked:
    """Settings of the criteria."""

    pi: float  # share of the overall effect to keep
    bound: float  # that every region's effect should reach, benefit positive
    lower_bound: float  # that every region's lower limit should exceed
    lower_level: float  # one-sided level of these limits
    interaction_level: float
    ratio: bool  # effects are minus the log of a ratio: Method 1 on 1 - ratio as well


def overall(y: Array, v: Array) -> dict[str, Answer]:
    """The inverse-variance mean of `y` (S,), its standard error, z, two-sided p and 95 % limits."""
    estimate, variance = _pooled(y, v)
    se = math.sqrt(variance)
    return {
        "estimate": estimate,
        "se": se,
        "z": estimate / se,
        "p": 2.0 * float(special.ndtr(-abs(estimate / se))),
        "ci95_lower": estimate - Z95 * se,
        "ci95_upper": estimate + Z95 * se,
    }


def criteria(names: Sequence[str], y: Array, v: Array, asked: Asked) -> dict[str, Answer]:
    """Every criterion over the regions `names` with effects `y` (S,), benefit positive, and variances `v` (S,)."""
    estimate, variance = _pooled(y, v)
    fractions = (variance / v).tolist()
    # what the overall estimate would be true everywhere of: a uniform effect of its size
    uniform = Trial(estimate, variance)
    q, df = generalised_q(y, v, 0.0), len(y) - 1
    kept, lower = y >= asked.pi * estimate, y + special.ndtri(asked.lower_level) * np.sqrt(v)
    answer: dict[str, Answer] = {
        "method_1": {
            "pi": asked.pi,
            "regions": {
                name: _method_1(float(a), f, uniform, asked) for name, a, f in zip(names, y, fractions, strict=True)
            },
        },
        "method_2": {
            "holds": bool(np.all(y > 0.0)),
            "regions_in_favour": int((y > 0.0).sum()),
            "regions": len(y),
            "probability_if_uniform": every_region(fractions, uniform).unconditional,
        },
        "every_region_keeps_pi": {
            "pi": asked.pi,
            "holds": bool(kept.all()),
            "probability_if_uniform": every_region(fractions, uniform, pi=asked.pi).unconditional,
        },
        "every_region_at_least": {
            "bound": asked.bound,
            "holds": bool(np.all(y >= asked.bound)),
            "probability_if_uniform": every_region(fractions, uniform, at_least=asked.bound).unconditional,
        },
        "every_lower_limit_above": {
            "bound": asked.lower_bound,
            "level_one_sided": asked.lower_level,
            "holds": bool(np.all(lower > asked.lower_bound)),
            "probability_if_uniform": every_region(
                fractions, uniform, at_least=asked.lower_bound, lower_limit_level=asked.lower_level
            ).unconditional,
        },
    }
    test = chi_square(q, df)
    p = test["p"]
    answer["no_interaction"] = {
        **test,
        "level": asked.interaction_level,
        "holds": None if not isinstance(p, float) else p > asked.interaction_level,
        "probability_if_uniform": no_interaction(fractions, uniform, level=asked.interaction_level).unconditional
        if df
        else None,
    }
    return answer


def _method_1(effect: float, fraction: float, uniform: Trial, asked: Asked) -> dict[str, Answer]:
    """Method 1 for one region: does it hold, and how far from the threshold pi * overall the effect lies."""
    threshold = asked.pi * uniform.effect
    se = math.sqrt(uniform.variance * max(1.0 / fraction - asked.pi * (2.0 - asked.pi), (1.0 - asked.pi) ** 2))
    fraction = min(fraction, 1.0)
    answer: dict[str, Answer] = {
        "share_of_overall": number(effect / uniform.effect) if uniform.effect else None,
        "holds": effect >= threshold,
        "difference_from_threshold": effect - threshold,
        "se_of_difference": se,
        "z": (effect - threshold) / se,
        "probability_if_uniform": method_1(fraction, uniform, pi=asked.pi).unconditional,
    }
    if asked.ratio:
        reduction, whole = -math.expm1(-effect), -math.expm1(-uniform.effect)
        answer |= {
            "one_minus_ratio": reduction,
            "share_of_overall_one_minus_ratio": number(reduction / whole) if whole else None,
            "holds_one_minus_ratio": reduction >= asked.pi * whole,
            "probability_if_uniform_one_minus_ratio": _on_ratio(fraction, uniform, asked.pi),
        }
    return answer


def _on_ratio(fraction: float, uniform: Trial, pi: float) -> float | None:
    """Of 1 - ratio keeping its share; variance 4/E is what E events give, so any variance is some number of events."""
    if not (0.0 < fraction < 1.0 and 0.0 < pi < 1.0):
        return None
    return method_1_hazard_ratio(fraction, math.exp(-uniform.effect), 4.0 / uniform.variance, pi=pi).unconditional


def _pooled(y: Array, v: Array) -> tuple[float, float]:
    total = float((1.0 / v).sum())
    return float((y / v).sum()) / total, 1.0 / total
