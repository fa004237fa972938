"""Smooth functions of one variable held as tables, and their integrals against normal densities: to about 1e-14.

Source: Trefethen (2013), Approximation Theory and Approximation Practice, chapters 3, 8 and 19 (Chebyshev
interpolation, Gauss quadrature). Halving a panel until the last coefficients vanish keeps narrow steps exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import chebyshev
from scipy import special

from isthmus.errors import MethodError
from isthmus_methods.contract import Array

# Chebyshev nodes of a panel, and Gauss-Legendre nodes of an integral over a part of one.
NODES = 24
GAUSS_X, GAUSS_W = np.polynomial.legendre.leggauss(48)
# Beyond so many standard deviations a normal density counts as nothing: 1 - Phi(9) = 1e-19.
REACH = 9.0
# The last coefficients of a panel are at most this, for functions between 0 and 1.
TOLERANCE = 1e-14
EPSILON = float(np.finfo(np.float64).eps)
FIRST_PANELS, MAX_PANELS = 8, 4000

_CHEBYSHEV: Array = chebyshev.chebpts1(NODES)
_TO_COEFFICIENTS: Array = chebyshev.chebvander(_CHEBYSHEV, NODES - 1).T * 2.0 / NODES
_TO_COEFFICIENTS[0] /= 2.0


@dataclass(frozen=True, slots=True)
class Table:
    """A function between 0 and 1 on [edges[0], edges[-1]]; beyond, it stays what it is at the end."""

    edges: Array  # (panels + 1,)
    coefficients: Array  # (panels, NODES), of Chebyshev polynomials

    @classmethod
    def of(cls, f: Callable[[Array], Array], low: float, high: float, sd: float) -> Table:
        """Tabulate `f`, which takes and gives arrays (n,), on [low, high].

        `f` is an integral against a normal density with standard deviation `sd`, which says how smooth it is.

        Raises
        ------
        MethodError
            ``NOT_CONVERGED`` where `f` is not smooth.
        """
        at_first = np.linspace(low, high, FIRST_PANELS + 1)
        todo = np.stack([at_first[:-1], at_first[1:]], axis=1)
        left: list[Array] = []
        found: list[Array] = []
        # an argument is known to its last bit, and f no better than to that bit over sd
        tolerance = max(TOLERANCE, EPSILON * max(abs(low), abs(high)) / sd)
        panels = FIRST_PANELS
        while len(todo):
            half, centre = (todo[:, 1] - todo[:, 0]) / 2.0, todo.mean(axis=1)
            values = f((centre[:, None] + half[:, None] * _CHEBYSHEV).ravel()).reshape(len(todo), NODES)
            coefficients = values @ _TO_COEFFICIENTS.T
            done = np.abs(coefficients[:, -3:]).max(axis=1) <= tolerance
            left.append(todo[done, 0])
            found.append(coefficients[done])
            low_half = np.stack([todo[~done, 0], centre[~done]], axis=1)
            high_half = np.stack([centre[~done], todo[~done, 1]], axis=1)
            todo = np.concatenate([low_half, high_half])
            panels += len(low_half)
            if panels > MAX_PANELS:
                raise MethodError(
                    "NOT_CONVERGED",
                    "the numerical integration needs more panels than it may have",
                    "choose fractions that lie further apart",
                )
        edges, tables = np.concatenate(left), np.concatenate(found)
        order = np.argsort(edges)
        return cls(np.append(edges[order], high), tables[order])

    @classmethod
    def constant(cls, value: float = 1.0) -> Table:
        """The same value everywhere."""
        coefficients = np.zeros((1, NODES))
        coefficients[0, 0] = value
        return cls(np.array([-1.0, 1.0]), coefficients)

    def integral(self, mean: Array | float, sd: float, lower: Array | float, upper: Array | float) -> Array:
        """Integral of the function times the density of N(mean, sd^2) over (lower, upper).

        Parameters
        ----------
        mean, lower, upper
            (n,) or numbers; limits may be infinite, and give 0 where they are in the wrong order.
        sd
            Positive.

        Returns
        -------
        Array
            (n,)
        """
        mean, lower, upper = (np.atleast_1d(x).astype(np.float64) for x in np.broadcast_arrays(mean, lower, upper))
        upper = np.maximum(lower, upper)
        first, last = self.edges[0], self.edges[-1]
        at_first = float(chebyshev.chebval(-1.0, self.coefficients[0]))
        at_last = float(chebyshev.chebval(1.0, self.coefficients[-1]))
        total = at_first * _mass(mean, sd, np.minimum(lower, first), np.minimum(upper, first))
        total += at_last * _mass(mean, sd, np.maximum(lower, last), np.maximum(upper, last))
        # where the density is largest within the limits, and REACH about it
        peak = np.clip(mean, lower, upper)
        low, high = np.maximum(lower, peak - REACH * sd), np.minimum(upper, peak + REACH * sd)
        for start, end, coefficients in zip(self.edges[:-1], self.edges[1:], self.coefficients, strict=True):
            a, b = np.maximum(low, start), np.minimum(high, end)
            some = np.flatnonzero(b > a)
            if not len(some):
                continue
            half = (b[some] - a[some]) / 2.0
            x = a[some, None] + half[:, None] * (1.0 + GAUSS_X)
            inside = chebyshev.chebval((2.0 * x - start - end) / (end - start), coefficients)
            density = np.exp(-(((x - mean[some, None]) / sd) ** 2) / 2.0)
            total[some] += (inside * density) @ GAUSS_W * half / (sd * np.sqrt(2.0 * np.pi))
        return total


def _mass(mean: Array, sd: float, lower: Array, upper: Array) -> Array:
    """P(lower < X < upper) from the smaller tails; 0 where the limits meet."""
    a, b = (lower - mean) / sd, (upper - mean) / sd
    mirrored = a > 0
    a, b = np.where(mirrored, -b, a), np.where(mirrored, -a, b)
    mass: Array = special.ndtr(b) - special.ndtr(a)
    return mass
