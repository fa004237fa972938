"""Generalised estimating equations with an exchangeable correlation: what a country's clusters add to them.

With r the Pearson residuals and d = x sqrt(w) the scaled columns of a cluster of n rows, the inverse of the
exchangeable correlation R is (I - c 1 1') / (1 - alpha), c = alpha / (1 + (n - 1) alpha). So a cluster needs only its
sums of d, of r and of d r beside the cross-product of d over all rows.

Source: Liang & Zeger (1986), Biometrika 73, 13-22, equations 4 to 7.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.errors import MethodError
from isthmus_methods.contract import Array, Booleans, State
from isthmus_methods.parts.clusters import ByCluster, by_cluster
from isthmus_methods.parts.newton import solve
from isthmus_methods.parts.regression.glm_family import Family

# Scoring ends where the next step is below this many standard errors, and alpha moves less.
CLOSE = 1e-11


@dataclass(frozen=True, slots=True)
class Structure:
    """A working correlation and how its moments are taken."""

    exchangeable: bool
    less: bool  # moments divided by numbers less p, as the package gee does


STRUCTURES: Mapping[str, Structure] = {
    "geepack_exchangeable": Structure(exchangeable=True, less=False),
    "geepack_independence": Structure(exchangeable=False, less=False),
    "gee_package_exchangeable": Structure(exchangeable=True, less=True),
}


@dataclass(frozen=True, slots=True)
class ClusterRows:
    """Of some rows at one beta: sums by cluster, and over all rows. Adds."""

    clusters: ByCluster  # sums (G, 2 + 2 p): rows, r, d, d r
    cross: Array  # (p, p) sum of d d'
    squares: float  # sum of r^2

    def __add__(self, other: ClusterRows, /) -> ClusterRows:
        return ClusterRows(self.clusters + other.clusters, self.cross + other.cross, self.squares + other.squares)

    @classmethod
    def of_nobody(cls, p: int) -> ClusterRows:
        return cls(by_cluster(np.zeros(0, dtype=np.int64), np.zeros((0, 2 + 2 * p))), np.zeros((p, p)), 0.0)


def cluster_rows(x: Array, y: Array, clusters: NDArray[Any], beta: Array, family: Family) -> tuple[ClusterRows, Array]:
    """One block's sums, and each row's weight (n,).

    Parameters
    ----------
    x : (n, p), the model's columns, the intercept among them.
    y : (n,), the outcome.
    clusters : (n,), which rows belong together.
    beta : (p,)
    """
    eta = x @ beta
    weights = family.weights(eta)
    residual = np.sign(y - family.mean(eta)) * np.sqrt(family.pearson(y, eta))
    scaled = x * np.sqrt(weights)[:, None]
    sums = by_cluster(clusters, np.column_stack([np.ones(len(x)), residual, scaled, scaled * residual[:, None]]))
    return ClusterRows(sums, scaled.T @ scaled, float(residual @ residual)), weights


def no_correlation() -> MethodError:
    """That the residuals' correlation has left the range in which the exchangeable matrix is positive definite."""
    return MethodError(
        "NO_CORRELATION",
        "the correlation within clusters left the range in which an exchangeable one exists",
        "simplify the model, or look whether the outcomes of a cluster ever differ",
    )


@dataclass(frozen=True, slots=True)
class Equations:
    """The estimating equations at one (beta, alpha)."""

    bread: Array  # (p, p) sum of D'V^-1 D, phi aside
    score: Array  # (p,) sum of D'V^-1 (y - mu)
    meat: Array  # (p, p) sum over clusters of the squares of these
    squares: float  # sum of r^2
    products: float  # sum of r_j r_k over pairs within clusters


def equations(rows: ClusterRows, alpha: float) -> Equations:
    """From cluster sums to the equations; `MethodError` where `alpha` is no correlation of clusters of these sizes."""
    sums = rows.clusters.sums
    p = len(rows.cross)
    number, residual, scaled, scores = sums[:, 0], sums[:, 1], sums[:, 2 : 2 + p], sums[:, 2 + p :]
    definite = 1.0 + (number - 1.0) * alpha
    if not alpha < 1.0 or np.any(definite <= 0.0):
        raise no_correlation()
    share = alpha / definite
    own = (scores - scaled * (share * residual)[:, None]) / (1.0 - alpha)
    return Equations(
        bread=(rows.cross - scaled.T @ (scaled * share[:, None])) / (1.0 - alpha),
        score=own.sum(axis=0),
        meat=own.T @ own,
        squares=rows.squares,
        products=(float(residual @ residual) - rows.squares) / 2.0,
    )


# --------------------------------------------------------------------------- at the coordinator


@dataclass(frozen=True, slots=True)
class Fit:
    """One structure: where it is, or where it ended."""

    beta: Array  # (p,) about the pooled centre
    alpha: float
    phi: float
    kept: Booleans  # (p,)
    over: bool
    distance: float

    def packed(self) -> Array:
        numbers = [self.alpha, self.phi, float(self.over), self.distance]
        return np.concatenate([numbers, self.kept.astype(np.float64), self.beta])

    @classmethod
    def recall(cls, memory: State, k: int) -> Fit:
        array = memory[f"structure {k}"]
        p = (len(array) - 4) // 2
        return cls(
            np.array(array[4 + p :]),
            float(array[0]),
            float(array[1]),
            np.asarray(array[4 : 4 + p] > 0, dtype=np.bool_),
            bool(array[2]),
            float(array[3]),
        )

    def after(self, given: Equations, structure: Structure, memory: State) -> Fit:
        """One scoring step, and the correlation that the residuals at this beta have."""
        # which columns are combinations of earlier ones is found once, at the start
        kept = solve(given.bread, self.kept).kept if self.distance < 0 else self.kept
        rows, pairs = float(memory["rows"][0]), float(memory["pairs"][0])
        p = int(kept.sum()) if structure.less else 0
        phi = given.squares / (rows - p) if rows > p else np.nan
        alpha = self.alpha
        if structure.exchangeable and pairs > p and phi > 0:
            alpha = given.products / phi / (pairs - p)
        if not -1.0 < alpha < 1.0:
            raise no_correlation()
        step = solve(given.bread, kept).inverse @ given.score
        distance = float(np.sqrt(max(float(given.score @ step) / phi, 0.0))) if phi > 0 else 0.0
        if not np.isfinite(step).all():
            raise MethodError("DIVERGED", "the estimating equations have no finite solution", "fit fewer terms")
        still = distance <= CLOSE and abs(alpha - self.alpha) <= CLOSE
        return Fit(self.beta if still else self.beta + step, alpha, phi, kept, still, distance)
