"""The proportional odds likelihood of rows: log-likelihood, score, observed information.

With K ordered categories, thresholds t_1 < ... < t_{K-1} and eta = x beta,
P(Y <= j) = F(t_j - eta), F the logistic distribution. A row in category j has a = t_j - eta, b = t_{j-1} - eta and
probability F(a) - F(b); t_0 and t_K are minus and plus infinity.

Source: McCullagh (1980), JRSS B 42, 109-142; second derivatives as in McCullagh & Nelder (1989), section 5.5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from isthmus_methods.contract import Array, Integers

# The log-likelihood of thresholds out of order: lower than any other, and a number that may travel.
IMPOSSIBLE = -1e290


@dataclass(frozen=True, slots=True)
class OddsSums:
    """Sums over rows at one psi = (thresholds, beta), q = K - 1 + p. Adds."""

    loglik: float
    score: Array  # (q,)
    information: Array  # (q, q)

    def __add__(self, other: OddsSums, /) -> OddsSums:
        return OddsSums(
            max(self.loglik + other.loglik, IMPOSSIBLE),
            self.score + other.score,
            self.information + other.information,
        )


def odds_sums(x: Array, category: Integers, psi: Array) -> tuple[OddsSums, Array]:
    """The sums, and each row's weight in the information of eta.

    Parameters
    ----------
    x : (n, p), the model's columns.
    category : (n,), 0 .. K - 1.
    psi : (K - 1 + p,), thresholds then coefficients.

    Returns
    -------
    OddsSums, and weights F(a)(1 - F(a)) + F(b)(1 - F(b)), (n,).
    """
    q, p = len(psi), x.shape[1]
    cuts = q - p
    thresholds, beta = psi[:cuts], psi[cuts:]
    if np.any(np.diff(thresholds) <= 0.0):
        return OddsSums(IMPOSSIBLE, np.zeros(q), np.zeros((q, q))), np.zeros(len(x))
    edges = np.concatenate([[-np.inf], thresholds, [np.inf]])
    eta = x @ beta
    a, b = edges[category + 1] - eta, edges[category] - eta
    above, below = special.expit(a), special.expit(b)
    above_rest, below_rest = special.expit(-a), special.expit(-b)
    # F(a) - F(b) without cancellation in the tails
    with np.errstate(invalid="ignore"):
        gap = -np.expm1(edges[category] - edges[category + 1])
    # log F(a) + log(1 - F(b)) + log(1 - e^(b-a))
    loglik = float((special.log_expit(a) + special.log_expit(-b) + np.log(gap)).sum())
    # f(a) / p and f(b) / p
    up = above_rest / (below_rest * gap)
    down = below / (above * gap)
    slope_up, slope_down = up * (1.0 - 2.0 * above), down * (1.0 - 2.0 * below)
    w_up, w_down, w_both = up**2 - slope_up, down**2 + slope_down, -up * down
    weights = above * above_rest + below * below_rest

    def by_cut(values: Array, shift: int) -> Array:
        """Sum over the rows whose upper (0) or lower (1) threshold is each cut."""
        sums: Array = np.bincount(category, weights=values, minlength=cuts + 1).astype(np.float64)
        return sums[:cuts] if shift == 0 else sums[1:]

    score = np.concatenate([by_cut(up, 0) - by_cut(down, 1), x.T @ (above - below_rest)])
    information = np.zeros((q, q))
    information[:cuts, :cuts][np.diag_indices(cuts)] = by_cut(w_up, 0) + by_cut(w_down, 1)
    between = np.bincount(category, weights=w_both, minlength=cuts + 1).astype(np.float64)[1:cuts]
    lower = np.arange(1, cuts)
    information[lower, lower - 1] = between
    information[lower - 1, lower] = between
    own, other = w_up + w_both, w_down + w_both
    for j in range(cuts):
        mixed = x[category == j].T @ own[category == j] + x[category == j + 1].T @ other[category == j + 1]
        information[j, cuts:] = information[cuts:, j] = -mixed
    information[cuts:, cuts:] = x.T @ (x * weights[:, None])
    return OddsSums(max(loglik, IMPOSSIBLE), score, information), weights


def marginal_thresholds(counts: Array) -> Array:
    """Thresholds of the model without terms, (K - 1,), from the rows in each category, all of them positive."""
    share = np.cumsum(counts)[:-1] / counts.sum()
    thresholds: Array = np.log(share) - np.log1p(-share)
    return thresholds
