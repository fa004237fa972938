"""Linear mixed models with a random intercept of groups, and of subjects inside them, from cross-products by group.

Records of a group have V = sigma2 (D + lambda 1 1'), D the identity, or for subjects with n records each the blocks
``I + rho 1 1'``. With z = (x, y), the first column of x being 1, everything is in each group's ``z' D^-1 z``: its
first row is ``1' D^-1 z``. So lambda is profiled out in one dimension, and so is rho with lambda inside.

Source: Harville (1977), JASA 72, 320-338; Bates & DebRoy (2004), J. Multivariate Anal. 91, 1-17 (profiled likelihood);
Robinson (1991), Statist. Sci. 6, 15-51 (BLUP); Self & Liang (1987), JASA 82, 605-610 (test on the boundary).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize

from isthmus.errors import MethodError
from isthmus_methods.contract import Array, Booleans
from isthmus_methods.parts.newton import solve

LOG_2PI = math.log(2.0 * math.pi)
# lambda times the records of a group is looked for between these.
LEAST, MOST = 1e-9, 1e9
GRID = 73


@dataclass(frozen=True, slots=True)
class Group:
    """A group's sums at some rho."""

    name: str
    cross: Array  # (P, P), z' D^-1 z
    slope: Array  # (P, P), its derivative by rho
    logdet: float  # log |D|
    logdet_slope: float

    def __add__(self, other: Group, /) -> Group:
        return Group(
            self.name,
            self.cross + other.cross,
            self.slope + other.slope,
            self.logdet + other.logdet,
            self.logdet_slope + other.logdet_slope,
        )


@dataclass(frozen=True, slots=True)
class Sizes:
    """A group's subjects by number of records."""

    name: str
    total: Array  # (P, P), z' z over records
    clusters: tuple[tuple[int, Array], ...]  # records n, and (sum of a subject's z)(the same)' summed, (P, P)

    def at(self, rho: float) -> Group:
        """The group's sums: ``(I + rho 1 1')^-1 = I - rho / (1 + n rho) 1 1'`` for each subject."""
        cross, slope, logdet, logdet_slope = self.total.copy(), np.zeros_like(self.total), 0.0, 0.0
        for n, squares in self.clusters:
            subjects, grown = float(squares[0, 0]) / n**2, 1.0 + n * rho
            cross -= rho / grown * squares
            slope -= squares / grown**2
            logdet += subjects * math.log(grown)
            logdet_slope += subjects * n / grown
        return Group(self.name, cross, slope, logdet, logdet_slope)


@dataclass(frozen=True, slots=True)
class Fit:
    """The maximum over lambda at some rho. Variances relative to sigma2 but sigma2 itself."""

    restricted: bool
    ratio: float  # lambda
    sigma2: float
    beta: Array  # (p,), zero where not kept
    spread: Array  # (p, p), covariance of beta
    loglik: float
    effects: Array  # (G,), conditional mean of each group's intercept
    effect_sd: Array  # (G,), its conditional standard deviation, beta known
    rho_slope: float  # derivative of -2 log-likelihood by rho, lambda at its maximum

    @property
    def tau2(self) -> float:
        return self.ratio * self.sigma2


@dataclass(frozen=True, slots=True)
class _Profile:
    """-2 log-likelihood without constants, at one lambda."""

    value: float
    slope: float  # by lambda
    inverse: Array
    beta: Array
    squares: float
    residual: Array  # (P,), (-beta, 1)
    logdet_x: float


class _Sums:
    """The groups' sums as arrays, for many lambdas."""

    def __init__(self, groups: Sequence[Group], kept: Booleans, restricted: bool) -> None:
        self.cross = np.array([g.cross for g in groups])
        self.slope = np.array([g.slope for g in groups])
        self.logdet = sum(g.logdet for g in groups)
        self.logdet_slope = sum(g.logdet_slope for g in groups)
        self.ones = self.cross[:, 0, :]  # 1' D^-1 z
        self.weight = self.ones[:, 0]
        self.kept, self.restricted = kept, restricted
        self.total = self.cross.sum(axis=0)

    def at(self, ratio: float, records: float) -> _Profile:
        grown = 1.0 + ratio * self.weight
        whole = self.total - np.einsum("g,gi,gj->ij", ratio / grown, self.ones, self.ones)
        inverse = solve(whole[:-1, :-1], self.kept).inverse
        beta = inverse @ whole[:-1, -1]
        residual = np.append(-beta, 1.0)
        squares = float(residual @ whole @ residual)
        moved = -np.einsum("g,gi,gj->ij", 1.0 / grown**2, self.ones, self.ones)
        where = np.ix_(self.kept, self.kept)
        logdet_x = float(np.linalg.slogdet(whole[where])[1])
        free = records - (int(self.kept.sum()) if self.restricted else 0)
        value = free * math.log(squares) + self.logdet + float(np.log(grown).sum())
        slope = free * float(residual @ moved @ residual) / squares + float((self.weight / grown).sum())
        if self.restricted:
            value += logdet_x
            slope += float(np.sum(inverse * moved[:-1, :-1]))
        return _Profile(value, slope, inverse, beta, squares, residual, logdet_x)

    def rho_slope(self, ratio: float, here: _Profile, records: float) -> float:
        """Derivative of `value` by rho."""
        grown = 1.0 + ratio * self.weight
        ones_slope = self.slope[:, 0, :]
        weight_slope = ones_slope[:, 0]
        crossed = np.einsum("g,gi,gj->ij", ratio / grown, self.ones, ones_slope)
        moved = (
            self.slope.sum(axis=0)
            - crossed
            - crossed.T
            + np.einsum("g,gi,gj->ij", ratio**2 * weight_slope / grown**2, self.ones, self.ones)
        )
        free = records - (int(self.kept.sum()) if self.restricted else 0)
        slope = free * float(here.residual @ moved @ here.residual) / here.squares
        slope += self.logdet_slope + float((ratio * weight_slope / grown).sum())
        if self.restricted:
            slope += float(np.sum(here.inverse * moved[:-1, :-1]))
        return slope


def fit(
    groups: Sequence[Group], kept: Booleans, records: float, *, restricted: bool, fixed: float | None = None
) -> Fit:
    """The maximum over lambda >= 0.

    Parameters
    ----------
    kept : (p,), columns that are estimated.
    records : their number N.
    restricted : REML, or ML.
    fixed : a lambda to take instead of the maximum.
    """
    sums = _Sums(groups, kept, restricted)
    ratio = _most_likely(lambda x: sums.at(x, records), sums.weight) if fixed is None else fixed
    here = sums.at(ratio, records)
    p = int(kept.sum())
    free = records - p if restricted else records
    sigma2 = here.squares / free
    loglik = -0.5 * (free * (math.log(2.0 * math.pi * sigma2) + 1.0) + here.value - free * math.log(here.squares))
    grown = 1.0 + ratio * sums.weight
    return Fit(
        restricted,
        ratio,
        sigma2,
        here.beta,
        here.inverse * sigma2,
        loglik,
        ratio / grown * (sums.ones @ here.residual),
        np.sqrt(ratio * sigma2 / grown),
        sums.rho_slope(ratio, here, records),
    )


def _most_likely(at: Callable[[float], _Profile], weight: Array) -> float:
    """The lambda of the least -2 log-likelihood: every minimum between the points of a grid, and zero."""
    typical = float(weight.mean())
    grid = np.exp(np.linspace(math.log(LEAST / typical), math.log(MOST / typical), GRID))
    slopes = np.array([at(float(x)).slope for x in grid])
    found = [0.0]
    for k in np.flatnonzero((slopes[:-1] < 0) & (slopes[1:] >= 0)):
        low, high = math.log(grid[k]), math.log(grid[k + 1])
        found.append(math.exp(optimize.brentq(lambda t: at(math.exp(t)).slope, low, high, xtol=1e-15, rtol=1e-15)))
    if slopes[-1] < 0:
        raise MethodError(
            "NOT_CONVERGED",
            "records of a group do not differ from each other, so there is no variance within groups",
            "take fewer terms, or other groups",
        )
    return min(found, key=lambda x: at(x).value)


# --------------------------------------------------------------------------- subjects inside groups


@dataclass(frozen=True, slots=True)
class RhoSearch:
    """The root of the profiled score in u = rho / (1 + rho), inside a bracket: the Illinois method.

    Source: Dowell & Jarratt (1971), BIT 11, 168-174.
    """

    low: float
    high: float
    low_slope: float
    high_slope: float
    asked: float  # u
    step: int
    side: int  # which end was kept in the last step

    @classmethod
    def start(cls) -> RhoSearch:
        return cls(0.0, 1.0, math.nan, math.nan, 0.0, 0, 0)

    @property
    def rho(self) -> float:
        return self.asked / (1.0 - self.asked)

    def packed(self) -> Array:
        return np.array(
            [self.low, self.high, self.low_slope, self.high_slope, self.asked, float(self.step), float(self.side)]
        )

    @classmethod
    def unpacked(cls, array: Array) -> RhoSearch:
        low, high, low_slope, high_slope, asked, step, side = (float(x) for x in array)
        return cls(low, high, low_slope, high_slope, asked, int(step), int(side))

    def told(self, slope: float) -> RhoSearch | None:
        """The next rho to ask about, from d(-2 log-likelihood)/drho at the present one; None: it is the answer."""
        slope *= (1.0 + self.rho) ** 2  # by u
        if self.step == 0:
            if slope >= 0:
                return None  # on the boundary
            return RhoSearch(0.0, 1.0, slope, math.nan, 0.5, 1, 0)
        low, high, low_slope, high_slope, side = self.low, self.high, self.low_slope, self.high_slope, 0
        if slope < 0:
            low, low_slope, side = self.asked, slope, -1
            if self.side == -1 and not math.isnan(high_slope):
                high_slope /= 2
        else:
            high, high_slope, side = self.asked, slope, 1
            if self.side == 1:
                low_slope /= 2
        if math.isnan(high_slope):
            asked = (1.0 + self.asked) / 2
            if self.step > 40:
                raise MethodError(
                    "NOT_CONVERGED",
                    "records of a subject do not differ from each other, so there is no variance within subjects",
                    "take other subjects, or leave their intercept out",
                )
        else:
            asked = low - low_slope * (high - low) / (high_slope - low_slope)
            if not low < asked < high:
                asked = (low + high) / 2
        if slope == 0 or abs(asked - self.asked) <= 1e-13 * max(asked, 1e-3) or self.step > 90:
            return None
        return RhoSearch(low, high, low_slope, high_slope, asked, self.step + 1, side)
