"""Families of generalised linear models: mean, score, deviance and log-likelihood of each row.

Interface, the same for every family: ``eta`` (n,) is the linear predictor with its offset, ``y`` (n,) the outcome.

- ``mean``, ``weights`` (expected information per row: (dmu/deta)^2/V), ``curvature`` (observed
  information per row; equal to ``weights`` for a canonical link), ``score`` (derivative in eta: (y - mu) (dmu/deta)/V),
  ``pearson`` ((y - mu)^2/V), ``deviance`` (a row's share).
- ``start(y)``: a linear predictor to begin Fisher scoring at, row by row, as R's ``glm`` does. The first step from it
  is the weighted least-squares fit of ``start + score/weights - offset``; no earlier pass is needed.
- ``saturated(y)`` and ``loglik(deviance, saturated, rows)``: the log-likelihood is a function of the deviance and of a
  sum over rows that does not depend on the coefficients, so both add over rows and countries.
- ``parameters``: how many the log-likelihood counts beside the coefficients (1 where the dispersion is estimated).

All of it is dispersion-free; information and score are to be divided by the dispersion where it is not 1.

Source: McCullagh & Nelder (1989), Generalized Linear Models, 2nd ed., sections 2.2 to 2.5 and table 2.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import special

from isthmus.errors import UsageError
from isthmus_methods.contract import Array

Rowwise = Callable[[Array], Array]
Paired = Callable[[Array, Array], Array]


def _half_deviance(deviance: float, saturated: float, _: float) -> float:
    return saturated - deviance / 2.0


@dataclass(frozen=True, slots=True)
class Family:
    """One family with its link; functions of (n,) arrays that overflow to infinity without a warning."""

    name: str
    link: str
    outcome: str  # what the outcome may be, in words
    allows: Callable[[Array], bool]
    start: Rowwise  # of y
    mean: Rowwise  # of eta
    weights: Rowwise  # of eta
    curvature: Paired  # of y and eta
    score: Paired
    deviance: Paired
    saturated: Rowwise  # of y: log density where the mean is y, as far as it depends on y alone
    # (deviance, sum of `saturated`, rows) -> log-likelihood; None where there is none (quasi-likelihood)
    likelihood: Callable[[float, float, float], float] | None
    dispersion: bool  # estimated, Pearson's; otherwise 1
    parameters: int
    # score, curvature and the rows' deviance of y and eta at once, where that is cheaper than one after another
    at_once: Callable[[Array, Array], tuple[Array, Array, Array]] | None = None

    def all_of(self, y: Array, eta: Array) -> tuple[Array, Array, Array]:
        """Score, curvature and deviance of each row, (n,) each."""
        if self.at_once is not None:
            return self.at_once(y, eta)
        return self.score(y, eta), self.curvature(y, eta), self.deviance(y, eta)

    def score_and_weights(self, y: Array, eta: Array) -> tuple[Array, Array]:
        """Score and expected information of each row, (n,) each."""
        if self.at_once is not None and self.canonical:
            score, weights, _ = self.at_once(y, eta)
            return score, weights
        return self.score(y, eta), self.weights(eta)

    @property
    def canonical(self) -> bool:
        """Whether the link is the family's own, so that observed and expected information are the same."""
        return self.name not in ("gamma", "negative binomial")

    def predictor_of(self, mean: float) -> float:
        """The linear predictor of a mean."""
        if self.link == "identity":
            return mean
        return math.log(mean) if self.link == "log" else math.log(mean) - math.log1p(-mean)

    def loglik(self, deviance: float, saturated: float, rows: float) -> float | None:
        """Maximised log-likelihood from sums over `rows`; None for a quasi-likelihood."""
        return None if self.likelihood is None else self.likelihood(deviance, saturated, rows)

    def pearson(self, y: Array, eta: Array) -> Array:
        """Squared Pearson residuals, dispersion 1, (n,)."""
        return squared_pearson(*self.score_and_weights(y, eta))


def squared_pearson(score: Array, weights: Array) -> Array:
    """Squared Pearson residuals from score and expected information, dispersion 1, (n,).

    So a fitted 0 or 1 does not cancel; 0 where both are too small to be told from 0.
    """
    with np.errstate(all="ignore"):
        squared: Array = np.where(score == 0.0, 0.0, score**2 / weights)
    return squared


# --------------------------------------------------------------------------- binomial, logit


def _logistic_score(y: Array, eta: Array) -> Array:
    # 1 - mu as the other tail, so that a fitted 1 does not cancel
    score: Array = y * special.expit(-eta) - (1.0 - y) * special.expit(eta)
    return score


def _logistic_weights(eta: Array) -> Array:
    weights: Array = special.expit(eta) * special.expit(-eta)
    return weights


def _logistic_deviance(y: Array, eta: Array) -> Array:
    deviance: Array = 2.0 * (y * np.logaddexp(0.0, -eta) + (1.0 - y) * np.logaddexp(0.0, eta))
    return deviance


def _logistic_at_once(y: Array, eta: Array) -> tuple[Array, Array, Array]:
    # 1 and 0 as signs: the predictor towards the outcome. Both tails from one exponential, so that nothing cancels
    sign = y + y - 1.0
    towards = sign * eta
    odds = np.exp(-np.abs(eta))
    larger = 1.0 / (1.0 + odds)
    smaller = odds * larger
    likely = towards >= 0.0
    score: Array = sign * np.where(likely, smaller, larger)
    weights: Array = larger * smaller
    deviance: Array = -2.0 * np.log(np.where(likely, larger, smaller))
    return score, weights, deviance


def _binary(y: Array) -> bool:
    return bool(np.all((y == 0) | (y == 1)))


BINOMIAL = Family(
    name="binomial",
    link="logit",
    outcome="0 or 1",
    allows=_binary,
    start=lambda y: special.logit((y + 0.5) / 2.0),
    mean=lambda eta: special.expit(eta),
    weights=_logistic_weights,
    curvature=lambda _, eta: _logistic_weights(eta),
    score=_logistic_score,
    deviance=_logistic_deviance,
    saturated=np.zeros_like,
    likelihood=_half_deviance,
    dispersion=False,
    parameters=0,
    at_once=_logistic_at_once,
)


# --------------------------------------------------------------------------- poisson, log


def _exp(eta: Array) -> Array:
    with np.errstate(over="ignore", under="ignore"):
        mean: Array = np.exp(eta)
    return mean


def _poisson_deviance(y: Array, eta: Array) -> Array:
    mean = _exp(eta)
    deviance: Array = 2.0 * (special.xlogy(y, y) - y * eta - (y - mean))
    return deviance


def _poisson_saturated(y: Array) -> Array:
    saturated: Array = special.xlogy(y, y) - y - special.gammaln(y + 1.0)
    return saturated


def _counts(y: Array) -> bool:
    return bool(np.all((y >= 0) & (y == np.floor(y)) & np.isfinite(y)))


POISSON = Family(
    name="poisson",
    link="log",
    outcome="a whole number from 0",
    allows=_counts,
    start=lambda y: np.log(y + 0.1),
    mean=_exp,
    weights=_exp,
    curvature=lambda _, eta: _exp(eta),
    score=lambda y, eta: y - _exp(eta),
    deviance=_poisson_deviance,
    saturated=_poisson_saturated,
    likelihood=_half_deviance,
    dispersion=False,
    parameters=0,
)

QUASIPOISSON = Family(
    name="quasipoisson",
    link="log",
    outcome="a number from 0",
    allows=lambda y: bool(np.all((y >= 0) & np.isfinite(y))),
    start=POISSON.start,
    mean=POISSON.mean,
    weights=POISSON.weights,
    curvature=POISSON.curvature,
    score=POISSON.score,
    deviance=POISSON.deviance,
    saturated=np.zeros_like,
    likelihood=None,
    dispersion=True,
    parameters=0,
)


# --------------------------------------------------------------------------- gamma, log


def _gamma_ratio(y: Array, eta: Array) -> Array:
    """y over its mean."""
    ratio: Array = y * _exp(-eta)
    return ratio


def _gamma_deviance(y: Array, eta: Array) -> Array:
    with np.errstate(over="ignore"):
        deviance: Array = 2.0 * (eta - np.log(y) + (_gamma_ratio(y, eta) - 1.0))
    return deviance


def _gamma_likelihood(deviance: float, saturated: float, rows: float) -> float:
    """Gamma densities with shape rows/deviance, summed; `saturated` is minus the sum of log y."""
    if not deviance > 0:
        return math.inf
    shape = rows / deviance
    own = shape * math.log(shape) - float(special.gammaln(shape)) - shape
    return rows * own - rows / 2.0 + saturated


GAMMA = Family(
    name="gamma",
    link="log",
    outcome="a number above 0",
    allows=lambda y: bool(np.all((y > 0) & np.isfinite(y))),
    start=lambda y: np.log(y),
    mean=_exp,
    weights=np.ones_like,
    curvature=_gamma_ratio,
    score=lambda y, eta: _gamma_ratio(y, eta) - 1.0,
    deviance=_gamma_deviance,
    saturated=lambda y: -np.log(y),
    likelihood=_gamma_likelihood,
    dispersion=True,
    parameters=1,
)


# --------------------------------------------------------------------------- gaussian, identity


def _gaussian_likelihood(deviance: float, _: float, rows: float) -> float:
    if not deviance > 0:
        return math.inf
    return -rows / 2.0 * (math.log(2.0 * math.pi * deviance / rows) + 1.0)


GAUSSIAN = Family(
    name="gaussian",
    link="identity",
    outcome="a number",
    allows=lambda y: bool(np.all(np.isfinite(y))),
    start=lambda y: y,
    mean=lambda eta: eta,
    weights=np.ones_like,
    curvature=lambda _, eta: np.ones_like(eta),
    score=lambda y, eta: y - eta,
    deviance=lambda y, eta: (y - eta) ** 2,
    saturated=np.zeros_like,
    likelihood=_gaussian_likelihood,
    dispersion=True,
    parameters=1,
)

FAMILIES: Mapping[tuple[str, str], Family] = {
    (family.name, family.link): family for family in (BINOMIAL, POISSON, QUASIPOISSON, GAMMA, GAUSSIAN)
}


def family_of(name: str, link: str = "") -> Family:
    """The family of that name, with its only link where none is named; `UsageError` where there is none."""
    own = [family for family in FAMILIES.values() if family.name == name and link in ("", family.link)]
    if not own:
        known = ", ".join(f"{family}/{its_link}" for family, its_link in FAMILIES)
        raise UsageError(
            "WRONG_OPTION", f"there is no family {name}/{link}; the families are: {known}", "choose one of these"
        )
    return own[0]


# --------------------------------------------------------------------------- negative binomial, log


def negative_binomial(alpha: float) -> Family:
    """Variance mu + alpha mu^2 with `alpha` >= 0 known (NB2, theta = 1/alpha); at 0 the Poisson family.

    Source: Lawless (1987), Canadian J. Statistics 15, 209-225.
    """
    if alpha == 0.0:
        return POISSON

    def deviance(y: Array, eta: Array) -> Array:
        mean = _exp(eta)
        spread = (y + 1.0 / alpha) * (np.log1p(alpha * y) - np.log1p(alpha * mean))
        return np.asarray(2.0 * (special.xlogy(y, y) - y * eta - spread))

    def curvature(y: Array, eta: Array) -> Array:
        mean = _exp(eta)
        return np.asarray(mean * (1.0 + alpha * y) / (1.0 + alpha * mean) ** 2)

    def weights(eta: Array) -> Array:
        mean = _exp(eta)
        return np.asarray(mean / (1.0 + alpha * mean))

    def score(y: Array, eta: Array) -> Array:
        mean = _exp(eta)
        return np.asarray((y - mean) / (1.0 + alpha * mean))

    return Family(
        name="negative binomial",
        link="log",
        outcome=POISSON.outcome,
        allows=POISSON.allows,
        start=POISSON.start,
        mean=_exp,
        weights=weights,
        curvature=curvature,
        score=score,
        deviance=deviance,
        saturated=np.zeros_like,
        likelihood=None,
        dispersion=False,
        parameters=1,
    )
