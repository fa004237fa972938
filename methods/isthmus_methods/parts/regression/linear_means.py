"""Least-squares means of a linear model's arm, and their differences to the control's."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from isthmus_methods.contract import Answer, Array
from isthmus_methods.parts import ls_means
from isthmus_methods.parts.inference import number, t_limits, t_test
from isthmus_methods.parts.regression.linear_fit import Fit, Solution


def put_means(
    answer: dict[str, Answer],
    end: Solution,
    fit: Fit,
    rows: Mapping[str, Array],
    levels: Mapping[str, tuple[str, ...]],
) -> list[str]:
    """Means of the arm's levels and their differences to the control's, put into `answer`; what is said of them."""
    model, plan = end.plan.model, end.plan
    means = {
        model.names[j]: float(fit.centre[j - 1])
        for j, numbers in enumerate(ls_means.numbers_in(model))
        if len(numbers) == 1 and not model.levels[j]
    }
    shares = {
        name: {level: float(x) for level, x in zip(known, rows[name], strict=True)}
        for name, known in model.factors
        if name in rows
    }
    weightings: dict[str, ls_means.Weights | None] = {
        "ls_means_equal_weights": ls_means.equal_weights(levels),
        "ls_means_proportional_weights": (
            ls_means.proportional_weights(shares) if len(shares) == len(model.factors) else None
        ),
    }
    wanted = {name for numbers in ls_means.numbers_in(model) for name in numbers}
    if not wanted <= set(means):
        answer |= dict.fromkeys(weightings)
        lacking = ", ".join(sorted(wanted - set(means)))
        return [f"least-squares means: {lacking} stands in a product only, so its mean is not known"]
    said = []
    for name, weights in weightings.items():
        if weights is None:
            answer[name] = None
            said.append("proportional weights: a country withheld the rows by level")
            continue
        found = ls_means.arm_means(model, plan.arm, levels[plan.arm], plan.control, weights, means)
        answer[name] = {
            "means": {level: _mean(end, fit, one) for level, one in found.means.items()},
            "difference_vs_control": {level: _difference(end, fit, one) for level, one in found.differences.items()},
        }
    return said


def _combined(end: Solution, fit: Fit, combined: Array) -> tuple[float, float]:
    """A combination of coefficients and its standard error; NaN where it is not estimable."""
    about = combined @ end.back
    kept, there = end.kept, end.present
    aliases = end.inverse[np.ix_(kept, kept)] @ fit.product[np.ix_(kept, there & ~kept)]
    if not ls_means.estimable(about[there], kept[there], aliases):
        return math.nan, math.nan
    mine = np.where(kept, about, 0.0)
    return float(mine @ end.estimates), math.sqrt(max(float(mine @ end.inverse @ mine), 0.0) * end.variance)


def _mean(end: Solution, fit: Fit, combined: Array) -> dict[str, Answer]:
    estimate, se = _combined(end, fit, combined)
    lower, upper = t_limits(estimate, se, end.df)
    return {
        "estimate": number(estimate),
        "se": number(se),
        "df": end.df,
        "ci95_lower": lower,
        "ci95_upper": upper,
    }


def _difference(end: Solution, fit: Fit, combined: Array) -> dict[str, Answer]:
    return {**t_test(*_combined(end, fit, combined), end.df, statistic="stat"), "df": end.df}
