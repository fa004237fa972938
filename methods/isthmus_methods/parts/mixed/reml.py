"""Restricted likelihood of repeated records with an unstructured covariance, from sums by pattern of visits.

Persons with records at the same visits S share V, the rows and columns S of Sigma. With z = (x, y) everything that
the likelihood, its derivatives, Satterthwaite's degrees of freedom and the Kenward-Roger covariance need is

    sum over S and v, w in S of B[v, w] * D_S[v, w],    D_S[v, w] = sum over these persons of z_v z_w',

for matrices B made of V alone. Each function below takes such sums and gives one that adds over patterns and
countries; none looks at a row. Sigma is linear in theta, its upper triangle row by row, so V has no second derivative.

Source: Harville (1977), JASA 72, 320-338; Kenward & Roger (1997), Biometrics 53, 983-997; Satterthwaite (1946);
Gilmour, Thompson & Cullis (1995), Biometrics 51, 1440-1450 (average information).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from isthmus_methods.contract import Array


@dataclass(frozen=True, slots=True)
class Pattern:
    """Persons with records at the same visits."""

    visits: tuple[int, ...]  # (s,) of the m visits, ascending
    persons: int
    products: Array  # (s, s, P, P), P = columns of x, and y last

    def lifted(self, maps: Sequence[Array]) -> Pattern:
        """The same of other columns: ``maps[visit]`` (P', P) makes them at each of the m visits."""
        s = len(self.visits)
        mine = [maps[v] for v in self.visits]
        made = [[mine[v] @ self.products[v, w] @ mine[w].T for w in range(s)] for v in range(s)]
        return Pattern(self.visits, self.persons, np.array(made))

    def __add__(self, other: Pattern, /) -> Pattern:
        return Pattern(self.visits, self.persons + other.persons, self.products + other.products)


# --------------------------------------------------------------------------- theta


def pairs(m: int) -> tuple[tuple[int, int], ...]:
    """The elements of theta: (row, column) of the upper triangle, row by row, m (m + 1) / 2."""
    return tuple(itertools.combinations_with_replacement(range(m), 2))


def covariance(theta: Array, m: int) -> Array:
    """Sigma (m, m)."""
    sigma = np.zeros((m, m))
    for value, (i, j) in zip(theta, pairs(m), strict=True):
        sigma[i, j] = sigma[j, i] = value
    return sigma


@lru_cache(maxsize=1024)
def _slopes_of(visits: tuple[int, ...], m: int) -> Array:
    """dV/dtheta as columns, (s s, q): zero for elements that V does not have."""
    s = len(visits)
    made = np.zeros((s, s, m * (m + 1) // 2))
    where = {visit: k for k, visit in enumerate(visits)}
    for a, (i, j) in enumerate(pairs(m)):
        if i in where and j in where:
            made[where[i], where[j], a] = made[where[j], where[i], a] = 1.0
    return made.reshape(s * s, -1)


def _inverse(pattern: Pattern, sigma: Array) -> tuple[Array, float]:
    """V^-1 and log |V|."""
    v = sigma[np.ix_(pattern.visits, pattern.visits)]
    inverse = np.linalg.inv(v)
    return (inverse + inverse.T) / 2, float(np.linalg.slogdet(v)[1])


def _summed(weights: Array, pattern: Pattern) -> Array:
    """Sum of B[v, w] D[v, w], symmetric; `weights` (..., s s) gives (..., P, P)."""
    size = pattern.products.shape[-1]
    flat = pattern.products.reshape(-1, size * size)
    total = (weights @ flat).reshape(*weights.shape[:-1], size, size)
    symmetric: Array = (total + np.swapaxes(total, -1, -2)) / 2
    return symmetric


# --------------------------------------------------------------------------- sums that add


def whole(patterns: Sequence[Pattern], sigma: Array, size: int) -> tuple[Array, float]:
    """``z' V^-1 z`` summed, (P, P), and log |V| summed."""
    total, logdet = np.zeros((size, size)), 0.0
    for pattern in patterns:
        inverse, own = _inverse(pattern, sigma)
        total += _summed(inverse.ravel(), pattern)
        logdet += pattern.persons * own
    return total, logdet


def scores(patterns: Sequence[Pattern], sigma: Array, beta: Array, spread: Array) -> Array:
    """Score of theta and two matrices of its information, at coefficients `beta` (p,) with covariance `spread` (p, p).

    Returns (q, 1 + 2 q): the score; ``e' V_a V^-1 V_b e`` with e = V^-1 (y - X beta); and
    ``tr(V^-1 V_a V^-1 V_b) / 2 - tr(spread X' V^-1 V_a V^-1 V_b V^-1 X)``.
    """
    m = len(sigma)
    q = m * (m + 1) // 2
    residual = np.append(-beta, 1.0)
    beside = np.zeros((len(residual), len(residual)))
    beside[:-1, :-1] = spread
    # residuals' products, and their fitted part's variance, at every pair of visits in one product of matrices
    both = np.column_stack([np.outer(residual, residual).ravel(), beside.ravel()])
    score, observed, expected = np.zeros(q), np.zeros((q, q)), np.zeros((q, q))
    for pattern in patterns:
        a = _inverse(pattern, sigma)[0]
        slopes = _slopes_of(pattern.visits, m)
        s = len(pattern.visits)
        found = (pattern.products.reshape(s * s, -1) @ both).T.reshape(2, s, s)
        squares, fitted = (found + found.transpose(0, 2, 1)) / 2
        outer, inner = a @ squares @ a, a @ fitted @ a
        score += 0.5 * slopes.T @ (outer + inner - pattern.persons * a).ravel()
        observed += slopes.T @ _both(a, outer) @ slopes
        expected += slopes.T @ (0.5 * pattern.persons * np.kron(a, a) - _both(a, inner)) @ slopes
    return np.column_stack([score, observed, expected])


def first_slopes(patterns: Sequence[Pattern], sigma: Array, size: int) -> Array:
    """``z' V^-1 V_a V^-1 z`` summed for each element of theta, (q, P, P)."""
    m = len(sigma)
    total = np.zeros((m * (m + 1) // 2, size, size))
    for pattern in patterns:
        a = _inverse(pattern, sigma)[0]
        total += _summed((np.kron(a, a) @ _slopes_of(pattern.visits, m)).T, pattern)
    return total


def second_slopes(patterns: Sequence[Pattern], sigma: Array, weights: Array, size: int) -> Array:
    """Sum over a, b of `weights` (q, q) times ``z' V^-1 V_a V^-1 V_b V^-1 z``, (P, P)."""
    m = len(sigma)
    total = np.zeros((size, size))
    for pattern in patterns:
        s = len(pattern.visits)
        a = _inverse(pattern, sigma)[0]
        slopes = _slopes_of(pattern.visits, m)
        spread = (slopes @ weights @ slopes.T).reshape(s, s, s, s)
        middle = np.einsum("ijkl,jk->il", spread, a)
        total += _summed((a @ middle @ a).ravel(), pattern)
    return total


def _both(a: Array, b: Array) -> Array:
    """(a x b + b x a) / 2, (s s, s s)."""
    product: Array = (np.kron(a, b) + np.kron(b, a)) / 2
    return product
