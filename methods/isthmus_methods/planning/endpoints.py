"""What a trial is planned for: the effect, how precise its estimate is for a given size, and the size for a power.

Effects are on the scale on which the estimate is normal, with benefit positive: a difference of means or of
proportions, minus the log hazard ratio. Size is persons, or events for times to an event, over both arms together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import special

from isthmus.errors import UsageError


@dataclass(frozen=True, slots=True)
class Trial:
    """A trial as its overall estimate sees it."""

    effect: float  # true effect, benefit positive
    variance: float  # of the overall estimate

    def __post_init__(self) -> None:
        if not self.variance > 0.0 or not math.isfinite(self.effect):
            raise bad_plan("a trial needs a finite effect and a positive variance", "check effect and variance")

    @classmethod
    def powered(cls, *, power: float, alpha: float = 0.025) -> Trial:
        """A trial with just this power at one-sided `alpha`, in units of its standard error: the effect is D."""
        return cls(upper_quantile(alpha) + upper_quantile(1.0 - power), 1.0)

    @property
    def drift(self) -> float:
        """Expected Z of the overall test; D = z_{1-alpha} + z_{1-beta} where the power is 1 - beta."""
        return self.effect / math.sqrt(self.variance)

    def power(self, alpha: float = 0.025) -> float:
        """Probability that the overall test is significant at one-sided `alpha`."""
        return float(special.ndtr(self.drift - upper_quantile(alpha)))


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An effect to find, and the variance of its estimate times the trial's size."""

    effect: float
    unit_variance: float
    unit: str  # what size counts: persons or events

    def trial(self, size: float) -> Trial:
        """A trial of that many persons or events."""
        if not size > 0:
            raise bad_plan(f"a size of {size:g} is no trial", "give a positive size")
        return Trial(self.effect, self.unit_variance / size)

    def size(self, *, power: float, alpha: float = 0.025) -> int:
        """Smallest number of persons or events with that power at one-sided `alpha`.

        Raises
        ------
        UsageError
            ``BAD_PLAN`` where the effect is no benefit.
        """
        if not self.effect > 0.0:
            raise bad_plan(
                "the effect is no benefit, so no size gives a power", "give an effect in favour of treatment"
            )
        drift = upper_quantile(alpha) + upper_quantile(1.0 - power)
        return math.ceil(self.unit_variance * (drift / self.effect) ** 2 - 1e-9)


def continuous(difference: float, sd: float, *, allocation: float = 0.5) -> Endpoint:
    """A difference of means (treated - control, larger is better), a common `sd`, and the share treated.

    With n persons an arm the variance is 2 sd^2 / n.
    """
    return _endpoint(difference, sd**2 / _both(allocation), "persons")


def risk_difference(treated: float, control: float, *, allocation: float = 0.5) -> Endpoint:
    """A difference of two probabilities of a good outcome (for a bad one give `control`, `treated` swapped).

    With n persons an arm the variance is (p1 q1 + p0 q0) / n.
    """
    for p in (treated, control):
        if not 0.0 < p < 1.0:
            raise bad_plan(f"{p:g} is no probability between 0 and 1", "give both probabilities")
    _both(allocation)
    variance = treated * (1.0 - treated) / allocation + control * (1.0 - control) / (1.0 - allocation)
    return _endpoint(treated - control, variance, "persons")


def log_hazard_ratio(hazard_ratio: float, *, allocation: float = 0.5) -> Endpoint:
    """Minus the log of a hazard ratio (treated : control, below 1 is better); the size is the number of events.

    With E events the variance is 4 / E at equal allocation, 1 / (E a (1 - a)) at a share a treated.

    Source: Schoenfeld (1981), Biometrika 68, 316-319.
    """
    if not hazard_ratio > 0.0:
        raise bad_plan(f"a hazard ratio of {hazard_ratio:g} is not positive", "give a positive hazard ratio")
    return _endpoint(-math.log(hazard_ratio), 1.0 / _both(allocation), "events")


def upper_quantile(alpha: float) -> float:
    """z_{1-alpha}: what a standard normal exceeds with probability `alpha`."""
    if not 0.0 < alpha < 1.0:
        raise bad_plan(f"{alpha:g} is no probability between 0 and 1", "give error rates and powers such as 0.025, 0.9")
    return -float(special.ndtri(alpha))


def bad_plan(what: str, remedy: str) -> UsageError:
    """The error of every argument that no trial can be planned with."""
    return UsageError("BAD_PLAN", what, remedy)


def _endpoint(effect: float, unit_variance: float, unit: str) -> Endpoint:
    if not (math.isfinite(effect) and unit_variance > 0.0):
        raise bad_plan("the endpoint needs a finite effect and a positive variance", "check effect and spread")
    return Endpoint(effect, unit_variance, unit)


def _both(allocation: float) -> float:
    if not 0.0 < allocation < 1.0:
        raise bad_plan(f"a share treated of {allocation:g} is not between 0 and 1", "give 0.5 for equal arms")
    return allocation * (1.0 - allocation)
