"""Group-sequential designs: bounds from a spending function, power, expected information, interim probabilities.

B(t) is the score process on the scale of information fractions: B(t) ~ N(drift t, t), Z(t) = B(t)/sqrt(t), so `drift`
is the expected Z at the end. Q_k(b) = P(no bound crossed before look k | B(t_k) = b) does not depend on the drift: it
comes from Q_{k-1} by one step of a Brownian bridge. All probabilities are integrals of Q_k against normal densities.

Source: Armitage, McPherson & Rowe (1969), JRSS A 132, 235-244; Jennison & Turnbull (2000), Group Sequential Methods
with Applications to Clinical Trials, chapters 7, 10 and 19.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

from isthmus.errors import UsageError
from isthmus_methods.contract import Array
from isthmus_methods.planning.spending import OBRIEN_FLEMING, Spending
from isthmus_methods.planning.tables import REACH, Table


@dataclass(frozen=True, slots=True)
class Look:
    """One analysis of a design."""

    information_fraction: float
    cumulative_alpha_spent_one_sided: float
    incremental_alpha: float
    z_upper: float  # one-sided test without a lower bound
    nominal_p_one_sided: float
    nominal_p_two_sided: float
    # |Z| first crosses here with twice the increment; None for one-sided designs
    z_symmetric_two_sided_joint: float | None

    def row(self) -> dict[str, float]:
        """The look as one row of a table."""
        row = {
            "information_fraction": self.information_fraction,
            "cumulative_alpha_spent_one_sided": self.cumulative_alpha_spent_one_sided,
            "incremental_alpha": self.incremental_alpha,
            "z_upper": self.z_upper,
            "nominal_p_one_sided": self.nominal_p_one_sided,
            "nominal_p_two_sided": self.nominal_p_two_sided,
        }
        if self.z_symmetric_two_sided_joint is not None:
            row["z_symmetric_two_sided_joint"] = self.z_symmetric_two_sided_joint
        return row


@dataclass(frozen=True, slots=True)
class Design:
    """A group-sequential design as `design` gives it."""

    spending: str
    alpha: float
    sides: int
    looks: tuple[Look, ...]

    @property
    def fractions(self) -> Array:
        """Information fractions (looks,)."""
        return np.array([look.information_fraction for look in self.looks])

    @property
    def upper(self) -> Array:
        """Upper bounds of Z (looks,): the symmetric ones of a two-sided design."""
        return np.array(
            [
                look.z_upper if look.z_symmetric_two_sided_joint is None else look.z_symmetric_two_sided_joint
                for look in self.looks
            ]
        )

    @property
    def lower(self) -> Array:
        """Lower bounds of Z (looks,): -upper of a two-sided design, otherwise none (-inf)."""
        return -self.upper if self.sides == 2 else np.full(len(self.looks), -np.inf)


@dataclass(frozen=True, slots=True)
class Crossing:
    """Probabilities under one drift."""

    drift: float
    upper: tuple[float, ...]  # of first crossing the upper bound at each look
    lower: tuple[float, ...]
    power: float  # of crossing the upper bound at any look
    expected_information: float  # when the trial stops, as a fraction of the full information


def design(
    fractions: Sequence[float], *, alpha: float = 0.025, sides: int = 1, spending: Spending = OBRIEN_FLEMING
) -> Design:
    """Bounds at the looks `fractions` (increasing, the last at most 1) that spend alpha as `spending` says.

    Parameters
    ----------
    alpha
        The whole error of the test: one-sided with `sides` 1, two-sided (half of it on each side) with `sides` 2.

    Raises
    ------
    UsageError
        ``BAD_DESIGN``.
    """
    t = _checked(fractions)
    if sides not in (1, 2):
        raise UsageError("BAD_DESIGN", f"a test has 1 or 2 sides, not {sides}", "give sides=1 or sides=2")
    one_sided = alpha / sides
    if not 0.0 < one_sided < 0.5:
        raise UsageError("BAD_DESIGN", f"alpha {alpha:g} is not an error rate", "give alpha such as 0.025")
    spent = spending.spent(t, one_sided)
    increments = np.diff(spent, prepend=0.0)
    if not np.all(increments > 0.0):
        raise UsageError(
            "BAD_DESIGN",
            "the spending function spends nothing at one of the looks",
            "leave out the earliest look, or choose another spending function",
        )
    upper = _bounds(t, increments, symmetric=False)
    both = _bounds(t, increments, symmetric=True) if sides == 2 else None
    return Design(
        spending.name,
        alpha,
        sides,
        tuple(
            Look(
                float(t[k]),
                float(spent[k]),
                float(increments[k]),
                float(upper[k]),
                float(special.ndtr(-upper[k])),
                2.0 * float(special.ndtr(-upper[k])),
                None if both is None else float(both[k]),
            )
            for k in range(len(t))
        ),
    )


def crossing(
    fractions: Sequence[float] | Array,
    upper: Sequence[float] | Array,
    lower: Sequence[float] | Array | None = None,
    *,
    drift: float = 0.0,
) -> Crossing:
    """Probabilities of first crossing bounds of Z, (looks,) each; `lower` None: no lower bound.

    Bounds may be infinite. A trial that crosses stops; a lower bound that is meant as non-binding is left out here.

    Raises
    ------
    UsageError
        ``BAD_DESIGN``.
    """
    t = _checked(fractions)
    top = np.asarray(upper, dtype=np.float64)
    bottom = np.full(len(t), -np.inf) if lower is None else np.asarray(lower, dtype=np.float64)
    if len(top) != len(t) or len(bottom) != len(t) or np.any(bottom > top):
        raise UsageError(
            "BAD_DESIGN",
            "there must be one upper and one lower bound a look, the lower not above the upper",
            "give as many bounds as information fractions",
        )
    above, below, stays, width = [], [], Table.constant(), _width(top, bottom, drift)
    for k in range(len(t)):
        if k > 0:
            stays = _step(stays, t[k - 1], t[k], bottom[k - 1], top[k - 1], width)
        root = math.sqrt(t[k])
        above.append(float(stays.integral(drift * t[k], root, top[k] * root, np.inf)[0]))
        below.append(float(stays.integral(drift * t[k], root, -np.inf, bottom[k] * root)[0]))
    stop = np.array(above) + np.array(below)
    expected = float(stop @ t + (1.0 - stop.sum()) * t[-1])
    return Crossing(drift, tuple(above), tuple(below), math.fsum(above), expected)


def power(plan: Design, drift: float) -> Crossing:
    """What happens to a trial of this design under a drift."""
    return crossing(plan.fractions, plan.upper, plan.lower, drift=drift)


def drift_for_power(plan: Design, target: float) -> float:
    """The Z expected at full information that gives the design a power of `target`.

    The last look need not be at information 1: drift sqrt(t) is the Z expected at information fraction t.

    Raises
    ------
    UsageError
        ``BAD_DESIGN`` where the target is not between alpha and 1.
    """
    if not plan.alpha / plan.sides < target < 1.0:
        raise UsageError("BAD_DESIGN", f"a power of {target:g} cannot be planned for", "give a power such as 0.9")

    def excess(drift: float) -> float:
        return power(plan, drift).power - target

    # the last Z alone exceeds its bound with more than that probability
    high = (float(plan.upper[-1]) + max(float(special.ndtri(target)), 0.0) + 2.0) / math.sqrt(plan.fractions[-1])
    return float(optimize.brentq(excess, 0.0, high, xtol=1e-12, rtol=1e-14))


def inflation_factor(plan: Design, target: float) -> float:
    """How much more information than a trial with one analysis the design needs for a power of `target`.

    t_K (drift / (z_{1-alpha} + z_{1-beta}))^2 with alpha one-sided and t_K the fraction at the last look.
    """
    fixed = float(special.ndtri(1.0 - plan.alpha / plan.sides) + special.ndtri(target))
    return float(plan.fractions[-1]) * (drift_for_power(plan, target) / fixed) ** 2


def conditional_power(plan: Design, look: int, z: float, *, drift: float | None = None) -> float:
    """Probability of crossing an upper bound later, given Z = z at look `look` (1 is the first).

    Parameters
    ----------
    drift
        Expected final Z under the effect assumed from here on; the design's drift for the design's effect, 0 for none.
        None: the current trend, z / sqrt(t).

    Source: Lan, Simon & Halperin (1982), Commun. Statist. C 1, 207-219; Lan & Wittes (1988), Biometrics 44, 579-585;
    Jennison & Turnbull (2000), section 10.2.

    Raises
    ------
    UsageError
        ``BAD_DESIGN`` where there is no later look.
    """
    t, rest = _rest(plan, look)
    assumed = z / math.sqrt(t) if drift is None else drift
    return _later(plan, look, t, rest, z, np.array([assumed]))[0]


def predictive_power(
    plan: Design, look: int, z: float, *, prior_drift: float = 0.0, prior_information: float = 0.0
) -> float:
    """Conditional power averaged over what is believed about the drift at look `look`.

    Parameters
    ----------
    prior_drift, prior_information
        Mean of the drift before the trial, and how much that is worth as a fraction of the full information: its
        variance is 1 / prior_information. 0: a flat prior, the interim data alone.

    Source: Spiegelhalter, Freedman & Blackburn (1986), Control. Clin. Trials 7, 8-17; Jennison & Turnbull (2000),
    section 10.4.

    Raises
    ------
    UsageError
        ``BAD_DESIGN``.
    """
    t, rest = _rest(plan, look)
    if prior_information < 0.0:
        raise UsageError("BAD_DESIGN", "the prior's information is negative", "give 0 for a flat prior")
    information = t + prior_information
    centre = (z * math.sqrt(t) + prior_information * prior_drift) / information
    x, w = np.polynomial.legendre.leggauss(96)
    drifts = centre + REACH * x / math.sqrt(information)
    weights = w * REACH * np.exp(-((REACH * x) ** 2) / 2.0) / math.sqrt(2.0 * math.pi)
    return float(weights @ np.array(_later(plan, look, t, rest, z, drifts)))


def _rest(plan: Design, look: int) -> tuple[float, Array]:
    if not 1 <= look < len(plan.looks):
        raise UsageError(
            "BAD_DESIGN",
            f"look {look} is not an interim look of a design with {len(plan.looks)}",
            "give the number of a look before the last, 1 for the first",
        )
    fractions = plan.fractions
    return float(fractions[look - 1]), fractions[look:]


def _later(plan: Design, look: int, t: float, rest: Array, z: float, drifts: Array) -> list[float]:
    """Probabilities of crossing the upper bound after `look` from Z = z, one a drift (n,)."""
    start = z * math.sqrt(t)
    left = rest - t  # the process from here on, as one that starts anew
    upper = (plan.upper[look:] * np.sqrt(rest) - start) / np.sqrt(left)
    lower = (plan.lower[look:] * np.sqrt(rest) - start) / np.sqrt(left)
    if len(rest) == 1:
        return [float(p) for p in special.ndtr(drifts * math.sqrt(left[0]) - upper[0])]
    return [crossing(left, upper, lower, drift=float(drift)).power for drift in drifts]


def _checked(fractions: Sequence[float] | Array) -> Array:
    t = np.asarray(fractions, dtype=np.float64)
    if t.ndim != 1 or not len(t) or not np.all(np.diff(t, prepend=0.0) > 0.0) or t[-1] > 1.0 + 1e-12:
        raise UsageError(
            "BAD_DESIGN",
            "information fractions must increase from above 0 to at most 1",
            "give them as 0.5, 0.75, 1",
        )
    return t


def _bounds(t: Array, increments: Array, symmetric: bool) -> Array:
    """Bounds of Z (looks,) whose first crossings have the probabilities `increments`, on each side if symmetric."""
    bounds: list[float] = []
    stays = Table.constant()
    width = REACH - float(special.ndtri(increments.min()))
    for k, increment in enumerate(increments):
        if k == 0:
            bounds.append(-float(special.ndtri(increment)))
            continue
        low = -bounds[-1] if symmetric else -np.inf
        stays = _step(stays, t[k - 1], t[k], low, bounds[-1], width)
        bounds.append(_bound(stays, math.sqrt(t[k]), float(increment)))
    return np.array(bounds)


def _bound(stays: Table, root: float, increment: float) -> float:
    """Where the probability of a first crossing is `increment`; on the probit scale it is nearly a straight line."""
    target = float(special.ndtri(increment))

    def excess(z: float) -> float:
        p = float(stays.integral(0.0, root, z * root, np.inf)[0])
        # far below the bound the integral may round to above 1, far above it to 0
        return float(np.clip(special.ndtri(min(max(p, 0.0), 1.0)), -60.0, 60.0)) - target

    # a first crossing is no more likely than a crossing
    return float(optimize.brentq(excess, -REACH, -target + 1e-6, xtol=1e-13, rtol=1e-14))


def _width(top: Array, bottom: Array, drift: float) -> float:
    """How far from 0 Z is followed."""
    finite = [float(abs(x)) for x in (*top, *bottom) if math.isfinite(x)]
    return REACH + max([abs(drift), *finite])


def _step(stays: Table, before: float, now: float, low: float, high: float, width: float) -> Table:
    """Q of the next look: over B at the look before, given B now (a Brownian bridge), between its bounds of Z."""
    root = math.sqrt(before)
    share, sd = before / now, math.sqrt(before * (now - before) / now)

    def next_stays(b: Array) -> Array:
        return stays.integral(b * share, sd, low * root, high * root)

    reach = width * math.sqrt(now)
    return Table.of(next_stays, -reach, reach, sd)
