"""Region effects drawn towards the overall one: empirical Bayes, James-Stein, and Bayes on a grid of tau.

Needs the estimates y (S,) and their variances v (S,) alone. Nothing is sampled, so the same input gives the same bits.

Source: Efron & Morris (1975), JASA 70, 311-319 (empirical Bayes, positive-part James-Stein about the mean); Quan, Li,
Shih et al. (2013), Statist. Med. 32, 1691-1706 (for regions of a trial); Gelman et al. (2013), Bayesian Data Analysis,
3rd ed., section 5.4 (normal hierarchical model); Gelman (2006), Bayesian Analysis 1, 515-534 (priors of tau).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

from isthmus_methods.contract import Answer, Array
from isthmus_methods.parts.countries.random_effects import between_variance, generalised_q
from isthmus_methods.parts.inference import Z95

# Nodes of a panel of the grid, and how far a half-normal prior is followed, in its scales.
PANEL_X, PANEL_W = np.polynomial.legendre.leggauss(20)
PRIOR_REACH = 9.0


def empirical_bayes(names: Sequence[str], y: Array, v: Array, method: str) -> dict[str, Answer]:
    """Best linear unbiased predictions given tau^2 by `method` (REML, DL, PM or ML), as `metafor::blup`.

    theta = B mu + (1 - B) y with B = s^2/(s^2 + tau^2); se^2 = (1 - B) s^2 + B^2 / sum(w), tau^2 taken as known.
    """
    tau2 = between_variance(method, y, v)
    w = 1.0 / (v + tau2)
    mu, share = float(w @ y / w.sum()), v * w
    theta, se = share * mu + (1.0 - share) * y, np.sqrt((1.0 - share) * v + share**2 / w.sum())
    return {
        "tau2_method": method,
        "tau2": tau2,
        "mu": mu,
        "regions": {
            name: {"estimate": a, "se": b, "ci95_lower": a - Z95 * b, "ci95_upper": a + Z95 * b, "shrinkage": c}
            for name, a, b, c in zip(names, theta.tolist(), se.tolist(), share.tolist(), strict=True)
        },
    }


def james_stein(names: Sequence[str], y: Array, v: Array) -> dict[str, Answer] | None:
    """Positive-part James-Stein about the precision-weighted mean: mu + (1 - (S - 3)/Q)+ (y - mu). None for S < 4."""
    if len(y) < 4:
        return None
    q, mu = generalised_q(y, v, 0.0), float((y / v).sum() / (1.0 / v).sum())
    share = min(1.0, (len(y) - 3) / q) if q > 0.0 else 1.0
    theta = mu + (1.0 - share) * (y - mu)
    return {"mu": mu, "shrinkage": share, "regions": dict(zip(names, theta.tolist(), strict=True))}


@dataclass(frozen=True, slots=True)
class Prior:
    """A prior of tau as weights on a grid."""

    name: str
    taus: Array  # (n,) above 0, increasing
    weights: Array  # (n,) of the prior's density times the width of the grid there; need not add up to 1


def half_normal(scale: float, v: Array) -> Prior:
    """tau = |N(0, scale^2)|, on panels that narrow towards zero as the variances `v` (S,) need it."""
    taus, widths = _graded(PRIOR_REACH * scale, float(np.sqrt(v.min())))
    return Prior(f"half-normal({scale:g})", taus, widths * np.exp(-((taus / scale) ** 2) / 2.0))


def flat(upper: float, v: Array) -> Prior:
    """tau uniform between 0 and `upper`."""
    taus, widths = _graded(upper, float(np.sqrt(v.min())))
    return Prior(f"uniform(0, {upper:g})", taus, widths)


def _graded(upper: float, smallest: float) -> tuple[Array, Array]:
    """Gauss-Legendre nodes and weights on [0, upper]: panels of half the smallest standard error, then doubling."""
    edges = [0.0, min(upper, smallest / 2.0)]
    while edges[-1] < upper:
        edges.append(min(upper, edges[-1] * 1.5))
    left, half = np.array(edges[:-1]), np.diff(edges) / 2.0
    taus = (left[:, None] + half[:, None] * (1.0 + PANEL_X)).ravel()
    return taus, (half[:, None] * PANEL_W).ravel()


@dataclass(frozen=True, slots=True)
class Posterior:
    """The normal hierarchical model y ~ N(theta, v), theta ~ N(mu, tau^2), mu flat, given the data."""

    prior: Prior
    y: Array  # (S,)
    v: Array  # (S,)
    weights: Array  # (n,) of the grid of tau, add up to 1
    mu: Array  # (n,) mean of mu given tau
    mu_variance: Array  # (n,)

    @classmethod
    def of(cls, y: Array, v: Array, prior: Prior) -> Posterior:
        """p(tau | y) ~ p(tau) V_mu^(1/2) prod (v + tau^2)^(-1/2) exp(-1/2 sum (y - mu_tau)^2 / (v + tau^2))."""
        w = 1.0 / (v + prior.taus[:, None] ** 2)
        precision = w.sum(axis=1)
        mu = w @ y / precision
        log_density = (np.log(w).sum(axis=1) - np.log(precision) - (w * (y - mu[:, None]) ** 2).sum(axis=1)) / 2.0
        weights = prior.weights * np.exp(log_density - log_density.max())
        return cls(prior, y, v, weights / weights.sum(), mu, 1.0 / precision)

    def shrinkages(self) -> Array:
        """B = v/(v + tau^2), (n, S)."""
        shares: Array = self.v / (self.v + self.prior.taus[:, None] ** 2)
        return shares

    def mixed(self, mean: Array, variance: Array) -> dict[str, float]:
        """Mean, standard deviation and central 95 % of the mixture of N(mean, variance), (n,) each, over tau."""
        centre = float(self.weights @ mean)
        sd = math.sqrt(float(self.weights @ (variance + (mean - centre) ** 2)))
        root = np.sqrt(variance)

        def below(x: float) -> float:
            return float(self.weights @ special.ndtr((x - mean) / root))

        return {
            "mean": centre,
            "sd": sd,
            "ci95_lower": _where(below, 0.025, centre, sd),
            "ci95_upper": _where(below, 0.975, centre, sd),
        }

    def answer(self, names: Sequence[str], pi: float, benefit: float = 1.0) -> dict[str, Answer]:
        """mu, tau, and of each region theta and the probabilities that it is a benefit, and one of at least pi mu.

        `benefit` is 1 where larger is better, -1 where smaller is.
        """
        share = self.shrinkages()
        regions: dict[str, Answer] = {}
        for s, name in enumerate(names):
            b = share[:, s]
            mean, own = b * self.mu + (1.0 - b) * self.y[s], (1.0 - b) * self.v[s]
            variance = own + b**2 * self.mu_variance
            kept, kept_variance = mean - pi * self.mu, own + (b - pi) ** 2 * self.mu_variance
            regions[name] = {
                **self.mixed(mean, variance),
                "p_benefit": float(self.weights @ special.ndtr(benefit * mean / np.sqrt(variance))),
                "p_keeps_pi": float(self.weights @ special.ndtr(benefit * kept / np.sqrt(kept_variance))),
            }
        taus = self.prior.taus
        mean_tau = float(self.weights @ taus)
        return {
            "prior": self.prior.name,
            "mu": dict(self.mixed(self.mu, self.mu_variance)),
            "tau": {
                "mean": mean_tau,
                "sd": math.sqrt(float(self.weights @ (taus - mean_tau) ** 2)),
            },
            "regions": regions,
        }


def _where(below: Callable[[float], float], p: float, centre: float, sd: float) -> float:
    """Quantile of a distribution with this mean and standard deviation; by Cantelli it lies within 7 of them."""
    return float(optimize.brentq(lambda x: below(x) - p, centre - 7.0 * sd, centre + 7.0 * sd, xtol=1e-14 * sd))
