"""How large a multi-regional trial and each of its regions should be: the options side by side, and curves.

Source: ICH E17 (2017), section 2.2.5, for the ways of allocating the sample size to regions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from isthmus_methods.contract import Array
from isthmus_methods.planning.consistency import (
    Probability,
    every_region,
    fraction_for_method_1,
    ikeda_bretz,
    method_1,
    method_2,
)
from isthmus_methods.planning.endpoints import Endpoint, Trial, bad_plan

Way = Literal["proportional", "equal", "preservation of effect", "local significance", "fixed minimum"]


@dataclass(frozen=True, slots=True)
class Option:
    """One way of allocating a trial to its regions, and what it promises when the effect is uniform."""

    way: Way
    unit: str  # what sizes count: persons or events
    total: int
    sizes: Mapping[str, int]
    fractions: Mapping[str, float]
    power: float  # of the overall test
    region: str  # the one that the next three are about
    method_1: Probability
    local_power: float  # of the region's own test at the level of local significance
    local_p_at_most_phi: Probability
    method_2: Probability
    every_region_keeps_pi: Probability

    def row(self) -> dict[str, str | float | int]:
        """The option as one row of a table."""
        return {
            "way": self.way,
            "unit": self.unit,
            "total": self.total,
            **{f"n {name}": size for name, size in self.sizes.items()},
            f"fraction {self.region}": self.fractions[self.region],
            "power": self.power,
            **_named("method 1", self.method_1),
            "local power": self.local_power,
            **_named("method 2", self.method_2),
            "every region keeps pi": self.every_region_keeps_pi.unconditional,
        }


def options(
    endpoint: Endpoint,
    shares: Mapping[str, float],
    region: str,
    *,
    power: float = 0.9,
    alpha: float = 0.025,
    pi: float = 0.5,
    assurance: float = 0.8,
    local_power: float = 0.8,
    local_alpha: float | None = None,
    minimum: int = 0,
    phi: float = 0.25,
) -> tuple[Option, ...]:
    """Every way of allocating a trial to its regions.

    - proportional: by `shares`;
    - equal: the same size everywhere;
    - preservation of effect: `region` is as large as Method 1 with `pi` needs to hold with probability `assurance`, but
      not smaller than its share; the others share the rest;
    - local significance: `region` has a power of `local_power` of its own at `local_alpha`; the others share the rest;
    - fixed minimum: by `shares`, but nobody below `minimum`; only where a minimum is given.

    The total is what the overall test needs for `power`; it grows only where the regions do not fit into it: a region
    with local significance leaves every other one at least `minimum`, or 1. Sizes are rounded up region by region.

    Parameters
    ----------
    shares
        Of the regions, such as their shares of the patients who can be recruited; any positive numbers.
    region
        The one whose authority asks for evidence from its own patients.
    alpha, local_alpha
        One-sided levels; `local_alpha` None: as `alpha`.

    Raises
    ------
    UsageError
        ``BAD_PLAN``.
    """
    if region not in shares or len(shares) < 2 or not all(x > 0 for x in shares.values()):
        raise bad_plan(
            f"region {region!r} must be one of two or more with a positive share: {', '.join(shares)}",
            "give each region's share, and name one of them",
        )
    if minimum < 0:
        raise bad_plan("the minimum is negative", "give a number of persons or events, or leave it out")
    local = alpha if local_alpha is None else local_alpha
    names, share = tuple(shares), np.array(list(shares.values())) / sum(shares.values())
    total, own = endpoint.size(power=power, alpha=alpha), names.index(region)
    least = np.full(len(names), float(minimum))
    ways: dict[Way, Array] = {"proportional": total * share, "equal": np.full(len(names), total / len(names))}
    fraction = fraction_for_method_1(assurance, endpoint.trial(total), pi=pi)
    ways["preservation of effect"] = _with_region(max(fraction, float(share[own])) * total, own, share, total)
    needed = float(endpoint.size(power=local_power, alpha=local))
    others = max(minimum, 1) * (len(names) - 1)
    ways["local significance"] = _at_least(
        _with_region(needed, own, share, max(float(total), needed + others)),
        np.where(np.arange(len(names)) == own, needed, float(max(minimum, 1))),
    )
    if minimum:
        ways["fixed minimum"] = _at_least(max(total, minimum * len(names)) * share, least)
    return tuple(
        _option(endpoint, way, dict(zip(names, sizes, strict=True)), region, alpha, pi, local, phi)
        for way, sizes in ways.items()
    )


@dataclass(frozen=True, slots=True)
class Point:
    """A point of `fraction_curve`."""

    fraction: float
    method_1: Probability
    local_p_at_most_phi: Probability

    def row(self) -> dict[str, str | float | int]:
        """The point as one row of a table."""
        return {
            "fraction": self.fraction,
            **_named("method 1", self.method_1),
            **_named("local p at most phi", self.local_p_at_most_phi),
        }


def fraction_curve(
    trial: Trial,
    fractions: Sequence[float] | None = None,
    *,
    pi: float = 0.5,
    alpha: float = 0.025,
    phi: float = 0.25,
    relative_effect: float = 1.0,
) -> tuple[Point, ...]:
    """How the region's criteria depend on its share of the trial; `fractions` None: 0.01 to 0.99 by 0.01."""
    at = [k / 100.0 for k in range(1, 100)] if fractions is None else fractions
    return tuple(
        Point(
            f,
            method_1(f, trial, pi=pi, alpha=alpha, relative_effect=relative_effect),
            ikeda_bretz(f, trial, phi=phi, alpha=alpha, relative_effect=relative_effect),
        )
        for f in at
    )


@dataclass(frozen=True, slots=True)
class SizePoint:
    """A point of `size_curve`."""

    size: float
    power: float
    fractions: tuple[float, ...]
    method_1: tuple[Probability, ...]  # for each fraction

    def row(self) -> dict[str, str | float | int]:
        """The point as one row of a table."""
        row: dict[str, str | float | int] = {"size": self.size, "power": self.power}
        for fraction, probability in zip(self.fractions, self.method_1, strict=True):
            row |= _named(f"method 1 at {fraction:g}", probability)
        return row


def size_curve(
    endpoint: Endpoint,
    sizes: Sequence[float],
    fractions: Sequence[float] = (0.1, 0.2, 0.3),
    *,
    pi: float = 0.5,
    alpha: float = 0.025,
) -> tuple[SizePoint, ...]:
    """Power, and Method 1 for regions with these fractions, over sizes of the whole trial."""
    return tuple(
        SizePoint(
            size,
            endpoint.trial(size).power(alpha),
            tuple(fractions),
            tuple(method_1(f, endpoint.trial(size), pi=pi, alpha=alpha) for f in fractions),
        )
        for size in sizes
    )


def _option(
    endpoint: Endpoint,
    way: Way,
    wanted: Mapping[str, float],
    region: str,
    alpha: float,
    pi: float,
    local_alpha: float,
    phi: float,
) -> Option:
    sizes = {name: max(1, math.ceil(size - 1e-9)) for name, size in wanted.items()}
    total = sum(sizes.values())
    fractions = {name: size / total for name, size in sizes.items()}
    trial, shares, own = endpoint.trial(total), tuple(fractions.values()), fractions[region]
    return Option(
        way,
        endpoint.unit,
        total,
        sizes,
        fractions,
        trial.power(alpha),
        region,
        method_1(own, trial, pi=pi, alpha=alpha),
        endpoint.trial(sizes[region]).power(local_alpha),
        ikeda_bretz(own, trial, phi=phi, alpha=alpha),
        method_2(shares, trial, alpha=alpha),
        every_region(shares, trial, pi=pi, alpha=alpha),
    )


def _with_region(size: float, own: int, share: Array, total: float) -> Array:
    """`size` for one region, the rest of `total` for the others by their shares."""
    rest = np.delete(share, own)
    sizes = np.insert((total - size) * rest / rest.sum(), own, size)
    return np.asarray(sizes, dtype=np.float64)


def _at_least(sizes: Array, least: Array) -> Array:
    """The same total with nobody below `least`: those below are raised to it, the others share what is left."""
    raised = np.zeros(len(sizes), dtype=np.bool_)
    result = sizes
    while bool(np.any((result < least - 1e-9) & ~raised)):
        raised |= result < least - 1e-9
        left = sizes.sum() - least[raised].sum()
        free = sizes[~raised].sum()
        result = np.where(raised, least, sizes * (left / free if free > 0 else 0.0))
    return result


def _named(what: str, probability: Probability) -> dict[str, float]:
    return {
        f"{what} unconditional": probability.unconditional,
        f"{what} joint": probability.joint,
        f"{what} conditional": probability.conditional,
    }
