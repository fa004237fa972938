"""How probable it is that the regions of a multi-regional trial look consistent (ICH E17), before there are any data.

The overall estimate weights the regions' estimates d_s by their information fractions f_s, so that in units of its
standard error the overall Z is the sum of X_s = sqrt(f_s) Z_s, independent N(f_s D_s, f_s). A criterion on all regions
is then: every Y_s > 0, with Y_s = X_s - l_s - pi f_s Z. Given Z their sums from region to region are a Brownian bridge,
which is integrated one region at a time (`_all_positive`): no sampling, the same number on every machine.

Source: MHLW (2007), Basic Principles on Global Clinical Trials (Methods 1 and 2); ICH E17 (2017); Quan, Zhao, Zhang,
Roessner & Aizawa (2010), Pharm. Stat. 9, 100-112; Quan, Li, Chen et al. (2010), Drug Inf. J. 44, 617-632; Ikeda & Bretz
(2010), Pharm. Stat. 9, 207-216.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import optimize, special

from isthmus_methods.contract import Array
from isthmus_methods.planning.endpoints import Trial, bad_plan, upper_quantile
from isthmus_methods.planning.tables import REACH, Table

Criterion = Literal["unconditional", "joint", "conditional"]


@dataclass(frozen=True, slots=True)
class Probability:
    """Of a criterion being met."""

    unconditional: float
    joint: float  # and the overall test being significant
    power: float  # of the overall test

    @property
    def conditional(self) -> float:
        """Given that the overall test is significant."""
        return self.joint / self.power

    def by(self, criterion: Criterion) -> float:
        """The one of that name."""
        return float(getattr(self, criterion))


def method_1(
    fraction: float, trial: Trial, *, pi: float = 0.5, alpha: float = 0.025, relative_effect: float = 1.0
) -> Probability:
    """One region keeps at least the share `pi` of the overall effect.

    With a uniform effect, Phi((1 - pi) D / sqrt(1/f - pi (2 - pi))); jointly with significance a bivariate normal with
    correlation (1 - pi) / sqrt(1/f - pi (2 - pi)).

    Parameters
    ----------
    fraction
        The region's share of the information: of persons, or of events.
    alpha
        One-sided level of the overall test.
    relative_effect
        True effect in the region as a multiple of that elsewhere (`trial.effect`): 1 where it is uniform, 0 for none.

    Raises
    ------
    UsageError
        ``BAD_PLAN``.
    """
    _checked_share(pi)
    if not 0.0 < fraction <= 1.0:
        raise bad_plan(f"a fraction of {fraction:g} is not between 0 and 1", "give the region's share of the trial")
    here, overall = relative_effect * trial.drift, _mean(fraction, relative_effect) * trial.drift
    sd = math.sqrt(max(1.0 / fraction - pi * (2.0 - pi), (1.0 - pi) ** 2))
    reached = (here - pi * overall) / sd
    return _with_significance(reached, overall, (1.0 - pi) / sd, alpha)


def method_2(
    fractions: Sequence[float],
    trial: Trial,
    *,
    alpha: float = 0.025,
    relative_effects: Sequence[float] | None = None,
) -> Probability:
    """Every region's effect points the right way; unconditionally prod Phi(sqrt(f_s) D).

    Parameters
    ----------
    fractions
        Shares of the information of all regions; they add up to 1.
    relative_effects
        True effect of each region as a multiple of `trial.effect`; None: 1 everywhere.
    """
    return every_region(fractions, trial, alpha=alpha, relative_effects=relative_effects)


def every_region(
    fractions: Sequence[float],
    trial: Trial,
    *,
    pi: float = 0.0,
    at_least: float = 0.0,
    lower_limit_level: float | None = None,
    alpha: float = 0.025,
    relative_effects: Sequence[float] | None = None,
) -> Probability:
    """Every region's effect, or its lower limit, is at least `at_least` plus the share `pi` of the overall effect.

    Parameters
    ----------
    fractions
        Shares of the information of all regions; they add up to 1.
    pi
        0.5: every region keeps half of the overall effect. 0: the overall effect plays no part.
    at_least
        A bound in units of the effect; negative for a margin of non-inferiority.
    lower_limit_level
        One-sided level of each region's own lower limit, such as 0.025; None: the estimates themselves.
    relative_effects
        True effect of each region as a multiple of `trial.effect`; None: 1 everywhere.

    Raises
    ------
    UsageError
        ``BAD_PLAN``.
    """
    _checked_share(pi)
    f, relative = _regions(fractions, relative_effects)
    z = 0.0 if lower_limit_level is None else upper_quantile(lower_limit_level)
    order = np.argsort(-f, kind="stable")
    f, drifts = f[order], (relative * trial.drift)[order]
    limits = f * at_least / math.sqrt(trial.variance) + np.sqrt(f) * z
    overall, shift = float(f @ drifts), float(limits.sum())
    # Y given their sum s has mean f s + centre
    centre = f * (drifts - overall) + f * shift - limits
    mean, sd = (1.0 - pi) * overall - shift, 1.0 - pi
    positive = _all_positive(f, centre, max(mean, (1.0 - pi) * upper_quantile(alpha) - shift, 0.0) + REACH * sd)
    joint = positive.integral(mean, sd, max(0.0, (1.0 - pi) * upper_quantile(alpha) - shift), np.inf)[0]
    unconditional = float(
        special.ndtr((f * drifts - limits) / np.sqrt(f)).prod()
        if pi == 0.0
        else positive.integral(mean, sd, 0.0, np.inf)[0]
    )
    return Probability(unconditional, float(joint), float(special.ndtr(overall - upper_quantile(alpha))))


def no_interaction(
    fractions: Sequence[float],
    trial: Trial,
    *,
    level: float = 0.1,
    alpha: float = 0.025,
    relative_effects: Sequence[float] | None = None,
) -> Probability:
    """The test of treatment by region, chi-square with S - 1 df, is not significant at `level`.

    It is independent of the overall estimate; with effects that differ it is a noncentral chi-square.

    Raises
    ------
    UsageError
        ``BAD_PLAN``, also where there is only one region.
    """
    f, relative = _regions(fractions, relative_effects)
    if len(f) < 2:
        raise bad_plan("one region has no interaction with itself", "give two regions or more")
    upper_quantile(level)  # says what a level is
    overall = float(f @ relative)
    noncentrality = trial.drift**2 * float(f @ (relative - overall) ** 2)
    df = len(f) - 1
    critical = float(special.chdtri(df, level))
    quiet = float(special.chndtr(critical, df, noncentrality)) if noncentrality > 0.0 else 1.0 - level
    power = float(special.ndtr(overall * trial.drift - upper_quantile(alpha)))
    return Probability(quiet, quiet * power, power)


def ikeda_bretz(
    fraction: float, trial: Trial, *, phi: float = 0.25, alpha: float = 0.025, relative_effect: float = 1.0
) -> Probability:
    """The region's own one-sided p-value is at most `phi`: Phi(sqrt(f) D - z_{1-phi})."""
    if not 0.0 < fraction <= 1.0:
        raise bad_plan(f"a fraction of {fraction:g} is not between 0 and 1", "give the region's share of the trial")
    root = math.sqrt(fraction)
    overall = _mean(fraction, relative_effect) * trial.drift
    return _with_significance(root * relative_effect * trial.drift - upper_quantile(phi), overall, root, alpha)


def fraction_for_method_1(
    target: float, trial: Trial, *, pi: float = 0.5, alpha: float = 0.025, criterion: Criterion = "unconditional"
) -> float:
    """Smallest fraction of a region for which Method 1 holds with probability `target`.

    Unconditionally f = z^2 / ((1 - pi)^2 D^2 + z^2 pi (2 - pi)), z = Phi^-1(target); otherwise by root-finding.

    Raises
    ------
    UsageError
        ``BAD_PLAN`` where no fraction reaches the target, or every one does.
    """
    _checked_share(pi)
    if criterion == "unconditional" and 0.5 < target < 1.0:
        z = -upper_quantile(target)
        fraction = z**2 / ((1.0 - pi) ** 2 * trial.drift**2 + z**2 * pi * (2.0 - pi))
        if trial.drift > 0.0 and fraction <= 1.0:
            return fraction
    return _fraction(lambda f: method_1(f, trial, pi=pi, alpha=alpha).by(criterion), target)


def fraction_for_method_2(
    target: float, trial: Trial, *, regions: int, alpha: float = 0.025, criterion: Criterion = "unconditional"
) -> float:
    """Smallest fraction of one region for which Method 2 holds with probability `target`, the others being equal.

    Raises
    ------
    UsageError
        ``BAD_PLAN`` where not even equal regions reach the target.
    """
    if regions < 2:
        raise bad_plan("Method 2 compares regions", "give two regions or more")

    def reached(fraction: float) -> float:
        rest = [(1.0 - fraction) / (regions - 1)] * (regions - 1)
        return method_2([fraction, *rest], trial, alpha=alpha).by(criterion)

    return _fraction(reached, target, high=1.0 / regions)


def fraction_for_ikeda_bretz(target: float, trial: Trial, *, phi: float = 0.25) -> float:
    """Fraction for which the region's p-value is at most `phi` with probability `target`: (z_{1-phi} + z)^2 / D^2.

    Raises
    ------
    UsageError
        ``BAD_PLAN`` where no fraction reaches the target.
    """
    return _fraction(lambda f: ikeda_bretz(f, trial, phi=phi).unconditional, target)


def bivariate_normal(h: float, k: float, rho: float) -> float:
    """P(X <= h, Y <= k) of standard normals with correlation `rho` in [-1, 1].

    Source: Owen (1956), Ann. Math. Statist. 27, 1075-1090, equation 2.1.
    """
    if rho >= 1.0 - 1e-15:
        return float(special.ndtr(min(h, k)))
    if rho <= -1.0 + 1e-15:
        return max(0.0, float(special.ndtr(h) - special.ndtr(-k)))
    if h == 0.0 and k == 0.0:
        return 0.25 + math.asin(rho) / (2.0 * math.pi)
    if h == 0.0:
        return bivariate_normal(k, h, rho)
    root = math.sqrt((1.0 - rho) * (1.0 + rho))
    slope_h = (k / h - rho) / root
    slope_k = (h / k - rho) / root if k != 0.0 else math.copysign(math.inf, h)
    opposite = 0.5 if h * k < 0.0 or (k == 0.0 and h < 0.0) else 0.0
    value = (special.ndtr(h) + special.ndtr(k)) / 2.0 - opposite
    value -= special.owens_t(h, slope_h) + special.owens_t(k, slope_k)
    return min(max(float(value), 0.0), 1.0)


def _with_significance(reached: float, overall: float, rho: float, alpha: float) -> Probability:
    """Both a criterion with argument `reached` and the overall test, their statistics correlated by `rho`."""
    margin = overall - upper_quantile(alpha)
    return Probability(
        float(special.ndtr(reached)), bivariate_normal(margin, reached, rho), float(special.ndtr(margin))
    )


def _all_positive(f: Array, centre: Array, high: float) -> Table:
    """P(all Y_s > 0 | sum Y = s) on 0 <= s <= high, where Y given its sum is N(f s + centre, diag f - f f')."""
    positive = Table.constant()
    share, middle = float(f[0]), float(centre[0])
    for own, shift in zip(f[1:], centre[1:], strict=True):
        # over the sum of the regions so far, given the sum that includes this one
        so_far, together = share, share + float(own)
        sd = math.sqrt(so_far * float(own) / together)

        def step(s: Array, before: Table = positive, at: tuple[float, ...] = (middle, float(shift), so_far / together),
                 sd: float = sd) -> Array:  # fmt: skip
            mean = at[0] + (s - at[0] - at[1]) * at[2]
            return before.integral(mean, sd, 0.0, s)

        positive = Table.of(step, 0.0, high, sd)
        share, middle = together, middle + float(shift)
    return positive


def _fraction(reached: Callable[[float], float], target: float, high: float = 1.0) -> float:
    low = 1e-6  # of a trial: below one person
    at_low, at_high = reached(low), reached(high)
    if not at_low < target <= at_high + 1e-15:
        raise bad_plan(
            f"a probability of {target:g} cannot be planned for: it goes from {at_low:.4g} to {at_high:.4g}",
            "choose another target, or a trial with more power",
        )
    return float(optimize.brentq(lambda f: reached(f) - target, low, high, xtol=1e-13, rtol=1e-13))


def _mean(fraction: float, relative_effect: float) -> float:
    return fraction * relative_effect + 1.0 - fraction


def _checked_share(pi: float) -> None:
    if not 0.0 <= pi < 1.0:
        raise bad_plan(f"a share of the effect of {pi:g} is not from 0 to below 1", "give pi such as 0.5")


def _regions(fractions: Sequence[float], relative_effects: Sequence[float] | None) -> tuple[Array, Array]:
    f = np.asarray(fractions, dtype=np.float64)
    if f.ndim != 1 or not len(f) or not np.all(f > 0.0) or abs(float(f.sum()) - 1.0) > 1e-9:
        raise bad_plan("the regions' fractions must be positive and add up to 1", "give them as 0.2, 0.3, 0.5")
    relative = np.ones(len(f)) if relative_effects is None else np.asarray(relative_effects, dtype=np.float64)
    if relative.shape != f.shape:
        raise bad_plan("there must be one relative effect a region", "give as many as fractions")
    return f / f.sum(), relative
