"""Weighted cross-products of model columns, and how much of them the heaviest row or person makes up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isthmus_methods.contract import Array

# Rows taken together: what is made of them on the way stays in the processor's cache.
CHUNK = 2048
# A column that varies less than this does not vary: what is left is rounding.
CONSTANT = 1e-11
# Of correlations, below which a direction is none of its own.
SMALLEST_EIGENVALUE = 1e-10


def recentring(old: Array, new: Array) -> Array:
    """`M` with ``[1, x - old] M = [1, x - new]``, (1 + p, 1 + p)."""
    move = np.eye(len(old) + 1)
    move[0, 1:] = old - new
    return move


@dataclass(frozen=True, slots=True)
class CrossProduct:
    """Sum over rows of v z z', z = [1, x - centre], and what the rows' weights v say of concentration. Adds."""

    centre: Array  # (p,)
    product: Array  # (1 + p, 1 + p)
    squares: float  # sum of v^2
    # by person, where a person has several rows
    by_person: Array | None = None

    def __add__(self, other: CrossProduct) -> CrossProduct:
        move = recentring(other.centre, self.centre)
        by_person = self.by_person
        if by_person is not None and other.by_person is not None:
            by_person = padded_sum(by_person, other.by_person)
        return CrossProduct(
            self.centre, self.product + move.T @ other.product @ move, self.squares + other.squares, by_person
        )

    def about(self, centre: Array) -> Array:
        """Sum over rows of v (x - centre) (x - centre)', (p, p)."""
        moved = recentring(self.centre, centre)
        full: Array = (moved.T @ self.product @ moved)[1:, 1:]
        return full

    def effective_persons(self) -> float:
        """(sum w)^2 / sum w^2 over persons."""
        squares = self.squares if self.by_person is None else float(self.by_person @ self.by_person)
        return float(self.product[0, 0] ** 2 / squares) if squares > 0 else 0.0


def padded_sum(a: Array, b: Array) -> Array:
    """Elementwise sum of two vectors, the shorter taken as zero beyond its end."""
    longer, shorter = (a, b) if len(a) >= len(b) else (b, a)
    total = longer.copy()
    total[: len(shorter)] += shorter
    return total


def weighted_product(x: Array, weights: Array) -> Array:
    """X' W X, (p, p), some rows at a time; `weights` (n,)."""
    total = np.zeros((x.shape[1], x.shape[1]))
    for low in range(0, len(x), CHUNK):
        some = x[low : low + CHUNK]
        total += some.T @ (some * weights[low : low + CHUNK, None])
    return total


def distances(x: Array, map_: Array) -> Array:
    """Squared row norms of x @ map_, (n,)."""
    out = np.empty(len(x))
    for low in range(0, len(x), CHUNK):
        z = x[low : low + CHUNK] @ map_
        np.einsum("ij,ij->i", z, z, out=out[low : low + CHUNK])
    return out


@dataclass(slots=True)
class KnownDistances:
    """Squared row norms of some rows under one map, kept from pass to pass to bound those under others."""

    map_: Array | None = None
    squared: Array | None = None


def largest_distance(x: Array, weights: Array, map_: Array, known: KnownDistances) -> float:
    """Largest of weights (n,) times the squared row norms of x @ map_, exactly.

    Rows that cannot hold the largest are passed over: their distance under an earlier map bounds the present one.

    Parameters
    ----------
    x : (n, 1 + p), the first column is one.
    map_ : (1 + p, r).
    known : of these rows; filled where it is empty.
    """
    if len(x) <= CHUNK:
        # the bound would cost more than it saves
        return float(np.max(weights * distances(x, map_), initial=0.0))
    old, squared = known.map_, known.squared
    if old is None or squared is None or old.shape != map_.shape:
        squared = distances(x, map_)
        known.map_, known.squared = map_, squared
        return float(np.max(weights * squared, initial=0.0))
    # (x - m) G = (x - m0) G + (m0 - m) G, and (x - m0) G = (x - m0) G0 B
    link, *_ = np.linalg.lstsq(old[1:], map_[1:], rcond=None)
    stretch = float(np.linalg.norm(link, 2))
    offset = float(np.linalg.norm(map_[0] - old[0] @ link))
    if float(np.abs(old[1:] @ link - map_[1:]).max()) > 1e-8 * float(np.abs(map_[1:]).max()):
        return float(np.max(weights * distances(x, map_), initial=0.0))
    bound = np.sqrt(squared)
    bound *= stretch
    bound += offset
    bound *= bound
    bound *= weights
    top = int(np.argmax(bound))
    best = float(weights[top] * distances(x[top : top + 1], map_)[0])
    able = np.flatnonzero(bound >= best)
    return max(best, float(np.max(weights[able] * distances(x[able], map_), initial=0.0)))


def whitening(product: CrossProduct) -> Array:
    """The map to coordinates in which the centred weighted cross-product is the identity, (1 + p, rank)."""
    p = len(product.centre)
    total = product.product[0, 0]
    if total <= 0:
        return np.zeros((1 + p, 0))
    mean = product.product[0, 1:] / total
    centred = product.product[1:, 1:] - total * np.outer(mean, mean)
    scale = np.sqrt(np.maximum(np.diag(centred), 0.0))
    # re-centring may leave a diagonal of less than nothing
    varied = (scale > 0) & (scale**2 > CONSTANT * np.diag(product.product)[1:])
    unit = np.where(varied, 1.0 / np.where(varied, scale, 1.0), 0.0)
    correlations = centred * np.outer(unit, unit)
    turned = unit[:, None] * (_whitened_by_cholesky(correlations) if varied.all() else _whitened(correlations))
    return np.vstack([-mean @ turned, turned])


def _whitened(correlations: Array) -> Array:
    """R with ``R' C R`` the identity, (p, rank)."""
    values, vectors = np.linalg.eigh(correlations)
    good = values > SMALLEST_EIGENVALUE
    whitened: Array = vectors[:, good] / np.sqrt(values[good])
    return whitened


def _whitened_by_cholesky(correlations: Array) -> Array:
    """The same where every eigenvalue is clearly one, at a third of the cost: the inverse of Cholesky's factor."""
    try:
        inverse = np.linalg.inv(np.linalg.cholesky(correlations))
    except np.linalg.LinAlgError:
        return _whitened(correlations)
    # the sum of its squares is the trace of the inverse, which no eigenvalue's reciprocal exceeds
    if not float(np.sum(inverse**2)) * SMALLEST_EIGENVALUE < 0.1:
        return _whitened(correlations)
    whitened: Array = inverse.T
    return whitened
