"""The negative binomial likelihood in its dispersion alpha = 1/theta, jointly with the coefficients.

Written in alpha, which is 0 for Poisson counts: nothing cancels on the way there. A count y enters through the sum of
log(1 + alpha k) over k < y, so that how many rows have more than k events is all that is needed of the counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from isthmus.errors import MethodError
from isthmus_methods.contract import Array, Block
from isthmus_methods.parts.cross_product import recentring
from isthmus_methods.parts.regression.glm_family import negative_binomial
from isthmus_methods.parts.regression.glm_sums import BEYOND
from isthmus_methods.parts.regression_support import CentredRows, RestsOn

# Counts beyond this would need another way to add up their terms.
LARGEST_COUNT = 10_000_000
# Below this alpha mu, series are more exact than their closed forms.
SMALL = 0.05
_TERMS = np.arange(20)


@dataclass(frozen=True, slots=True)
class Counts:
    """Of a block, once: how many rows have more than k events, k = 1, 2, ..., and the sum of log y!."""

    above: Array
    factorials: float

    @classmethod
    def of(cls, block: Block) -> Counts:
        def build() -> Counts:
            y = block.numbers("outcome")
            if y.max(initial=0.0) > LARGEST_COUNT:
                raise MethodError(
                    "LARGE_COUNT",
                    f"a count is beyond {LARGEST_COUNT}",
                    "count in larger units, or use a gamma or quasi-Poisson model",
                )
            tail = np.cumsum(np.bincount(y.astype(np.int64))[::-1])[::-1] if len(y) else np.zeros(0)
            return cls(tail[2:].astype(np.float64), float(special.gammaln(y + 1.0).sum()))

        return block.memo("counts", build)


@dataclass(frozen=True, slots=True)
class Overdispersed:
    """A negative binomial model of some rows at one predictor and alpha: of each row and of all together."""

    score: Array  # (n,) in the predictor
    weights: Array  # (n,) observed information
    border: Array  # (n,) minus the derivative of the score in log alpha
    slope: float  # derivative of the log-likelihood in log alpha
    bend: float  # minus its second derivative
    loglik: float


def overdispersed(counts: Counts, y: Array, eta: Array, alpha: float) -> Overdispersed:
    """The log-likelihood of counts y (n,) and its derivatives.

    Source: Lawless (1987), equations 2.2 to 2.6, in alpha.
    """
    family = negative_binomial(alpha)
    with np.errstate(all="ignore"):
        mean = np.exp(eta)
        x = alpha * mean
        k = np.arange(1.0, len(counts.above) + 1.0)
        share = k / (1.0 + alpha * k)
        first, second = _bends(x)
        loglik = (
            float(counts.above @ np.log1p(alpha * k))
            - counts.factorials
            + float((y * eta - y * np.log1p(x) - mean * _log_ratio(x)).sum())
        )
        slope = float(counts.above @ share) + float((mean**2 * first - y * mean / (1.0 + x)).sum())
        bend = -float(counts.above @ share**2) + float((mean**3 * second + y * (mean / (1.0 + x)) ** 2).sum())
        score, weights = family.score(y, eta), family.curvature(y, eta)
        border = alpha * (y - mean) * mean / (1.0 + x) ** 2
        if not np.isfinite(loglik + slope + bend + float(score @ score) + float(weights @ weights)):
            none = np.zeros_like(eta)
            return Overdispersed(none, np.ones_like(eta), none, 0.0, 0.0, -BEYOND)
    return Overdispersed(score, weights, border, alpha * slope, -(alpha**2 * bend + alpha * slope), loglik)


def _log_ratio(x: Array) -> Array:
    """log(1 + x) / x."""
    safe = np.where(x > 0, x, 1.0)
    return np.where(x > 0, np.log1p(x) / safe, 1.0)


def _bends(x: Array) -> tuple[Array, Array]:
    """(log(1 + x) - x/(1 + x)) / x^2, and its derivative."""
    small = x < SMALL
    safe = np.where(small, 1.0, x)
    first = (np.log1p(safe) - safe / (1.0 + safe)) / safe**2
    second = 1.0 / (safe * (1.0 + safe) ** 2) - 2.0 * first / safe
    if small.any():
        signs = (-1.0) ** _TERMS * (_TERMS + 1.0) / (_TERMS + 2.0)
        near = np.where(small, x, 0.0)
        first = np.where(small, np.polynomial.polynomial.polyval(near, signs), first)
        second = np.where(small, np.polynomial.polynomial.polyval(near, signs[1:] * _TERMS[1:]), second)
    return first, second


@dataclass(frozen=True, slots=True)
class JointSums:
    """A negative binomial model over some rows, about the pooled centre. Adds; the last parameter is log alpha."""

    rests: RestsOn  # its cross-product, about the block's own centre, is the coefficients' information
    score: Array  # (p + 1,)
    border: Array  # (p + 1,) last row of the information
    loglik: float

    def __add__(self, other: JointSums, /) -> JointSums:
        return JointSums(
            self.rests + other.rests, self.score + other.score, self.border + other.border, self.loglik + other.loglik
        )

    @classmethod
    def of(cls, rests: RestsOn, rows: CentredRows, centre: Array, values: Overdispersed) -> JointSums:
        """`rests` as `rest_on` gives it with the values' weights."""
        move = recentring(rows.centre, centre)
        return cls(
            rests,
            np.append(move.T @ (values.score @ rows.x), values.slope),
            np.append(move.T @ (values.border @ rows.x), values.bend),
            values.loglik,
        )


def poisson_sums(
    rests: RestsOn, rows: CentredRows, centre: Array, y: Array, eta: Array, factorials: float
) -> tuple[JointSums, Array]:
    """The Poisson model, alpha = 0, and the derivative of the log-likelihood in alpha there with its information."""
    with np.errstate(all="ignore"):
        mean = np.exp(eta)
        score, loglik = y - mean, float((y * eta - mean).sum()) - factorials
        direction = np.array([0.5 * float((score**2 - y).sum()), 0.5 * float((mean**2).sum())])
    move = recentring(rows.centre, centre)
    sums = JointSums(rests, np.append(move.T @ (score @ rows.x), 0.0), np.zeros(len(centre) + 2), loglik)
    if not np.isfinite(loglik) or not np.all(np.isfinite(sums.score)) or not np.all(np.isfinite(direction)):
        return JointSums(rests, np.zeros(len(centre) + 2), np.zeros(len(centre) + 2), -BEYOND), np.zeros(2)
    return sums, direction


def ascending(score: Array, information: Array) -> Array:
    """The information with a last row that leads uphill: where the likelihood is not concave in log alpha.

    There the last parameter moves on its own, by no more than 1.
    """
    rest, border, own = information[:-1, :-1], information[:-1, -1], float(information[-1, -1])
    scale = np.sqrt(np.where(np.diag(rest) > 0, np.diag(rest), 1.0))
    unit = rest / np.outer(scale, scale) + np.diag(np.where(np.diag(rest) > 0, 0.0, 1.0))
    left = own - float((border / scale) @ np.linalg.lstsq(unit, border / scale, rcond=1e-10)[0])
    if left > 1e-3 * abs(own) and abs(float(score[-1])) <= 3.0 * left:
        return information
    tamed = information.copy()
    tamed[:-1, -1] = tamed[-1, :-1] = 0.0
    tamed[-1, -1] = max(abs(own), abs(float(score[-1])), 1e-300)
    return tamed
