"""Least-squares means: the linear combinations of coefficients that give the mean of each arm of a balanced population.

Covariates stand at their mean, the arm (and, say, the visit) at a level, every other factor is averaged over its
levels: with equal weights, or by the levels' shares of the rows. A product of columns takes the product of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from isthmus_methods.contract import Array, Booleans
from isthmus_methods.parts.model_terms import ModelTerms

# Weights of the levels of each factor.
Weights = Mapping[str, Mapping[str, float]]
# How far, relative to its own size, a combination may be from the rows' span and still be estimable.
OUTSIDE = 1e-8


def equal_weights(levels: Mapping[str, tuple[str, ...]]) -> dict[str, dict[str, float]]:
    """The same weight for every level that is present; `levels` as `ModelTerms.levels_present` gives them."""
    return {name: {level: 1.0 / len(present) for level in present} for name, present in levels.items()}


def proportional_weights(rows: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Each level's share of the model's rows, from ``{factor: {level: rows}}``."""
    shares: dict[str, dict[str, float]] = {}
    for name, by_level in rows.items():
        total = sum(by_level.values())
        shares[name] = {level: number / total for level, number in by_level.items() if number > 0}
    return shares


def numbers_in(terms: ModelTerms) -> tuple[frozenset[str], ...]:
    """For each of the p columns, the numeric columns in its product."""
    named = {name for name, _ in terms.factors}
    found: list[frozenset[str]] = [frozenset()] * terms.p
    for (_, columns), parts in zip(terms.terms, terms.parts, strict=True):
        for j in columns:
            found[j] = parts - named
    return tuple(found)


def combination(terms: ModelTerms, weights: Weights, means: Mapping[str, float], at: Mapping[str, str]) -> Array:
    """The combination (p,) of the coefficients for factors `at` a level, all else averaged.

    Parameters
    ----------
    weights : of the levels of every factor of the terms that is not in `at`.
    means : of the numeric columns, in the units that the coefficients are in.
    at : factor -> level.

    Columns of levels without rows are zero; where a later level took the place of an empty reference level, its
    own column is not in the fit, and its place here means nothing.

    Source: Searle, Speed & Milliken (1980), The American Statistician 34, 216-221.
    """
    numbers = numbers_in(terms)
    result = np.ones(terms.p)
    for j in range(terms.p):
        for factor, level in terms.levels[j]:
            result[j] *= float(at[factor] == level) if factor in at else weights[factor].get(level, 0.0)
        for name in sorted(numbers[j]):
            result[j] *= means[name]
    return result


@dataclass(frozen=True, slots=True)
class ArmMeans:
    """Combinations (p,) for the mean of each arm, and for its difference to the control's mean."""

    means: Mapping[str, Array]
    differences: Mapping[str, Array]


def arm_means(
    terms: ModelTerms,
    arm: str,
    levels: tuple[str, ...],
    control: str,
    weights: Weights,
    means: Mapping[str, float],
    at: Mapping[str, str] | None = None,
) -> ArmMeans:
    """The combinations of `combination` for each of the arm's `levels`; no difference where `control` is not one."""
    by_arm = {level: combination(terms, weights, means, {**(at or {}), arm: level}) for level in levels}
    if control not in by_arm:
        return ArmMeans(by_arm, {})
    return ArmMeans(by_arm, {level: one - by_arm[control] for level, one in by_arm.items() if level != control})


def estimable(combined: Array, kept: Booleans, aliases: Array) -> bool:
    """Whether a combination of coefficients does not depend on which aliased column was left out of the fit.

    Parameters
    ----------
    combined : (p,)
    kept : (p,), columns that are estimated.
    aliases : (kept, dropped): each dropped column as a combination of those kept, ``X_dropped = X_kept aliases``.
    """
    if kept.all():
        return True
    off = combined[~kept] - combined[kept] @ aliases
    return bool(np.abs(off).max() <= OUTSIDE * max(1.0, float(np.abs(combined).max())))
