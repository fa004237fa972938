"""A linear model's fit: the coordinates it is looked at in, and what follows from it once it has settled."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from isthmus_methods.contract import Answer, Array, Booleans, State
from isthmus_methods.parts.inference import t_tests
from isthmus_methods.parts.model_terms import shown
from isthmus_methods.parts.newton import solve
from isthmus_methods.parts.regression.linear_plan import Plan
from isthmus_methods.parts.regression.term_tests import Projection


@dataclass(frozen=True, slots=True)
class Fit:
    """Where the fit is: all (q + 1) columns with the intercept first, the others about the pooled means."""

    centre: Array  # (q + 1,): of the columns, and last of the outcome
    kept: Booleans  # (q + 1,)
    white: Array  # (q + 1, r): coordinates in which the kept columns' cross-product is the identity
    estimates: Array  # (q + 1,), 0 for columns that are not kept
    product: Array  # (q + 1, q + 1): the cross-product about the pooled means, with which it began

    def state(self) -> dict[str, Array]:
        """What the nodes look from: the model's coordinates, and the residual."""
        map_ = np.zeros((len(self.kept) + 1, self.white.shape[1] + 1))
        map_[:-1, :-1] = self.white
        map_[:-1, -1] = -self.estimates
        map_[-1, -1] = 1.0
        return {"centre": self.centre, "map": map_, "last": np.ones(1)}

    def remember(self) -> dict[str, Array]:
        return {"kept": self.kept.astype(np.float64), "product": self.product}

    @classmethod
    def recall(cls, state: State, memory: State) -> Fit:
        map_ = state["map"]
        kept: Booleans = memory["kept"] > 0
        return cls(state["centre"], kept, map_[:-1, :-1], -map_[:-1, -1], memory["product"])

    def moved(self, cross: Array) -> Fit:
        """The fit once the cross-product (r + 1, r + 1) in its coordinates is known."""
        root = np.linalg.cholesky(cross[:-1, :-1])
        white = np.linalg.solve(root, self.white.T).T
        step = np.linalg.solve(root.T, np.linalg.solve(root, cross[:-1, -1]))
        return Fit(self.centre, self.kept, white, self.estimates + self.white @ step, self.product)


def start(centre: Array, cross: Array, present: Booleans) -> Fit:
    """The fit from the cross-product (q + 2, q + 2) about the pooled means."""
    product = cross[:-1, :-1]
    solved = solve(product, present)
    kept = solved.kept
    scale = 1.0 / np.sqrt(np.diag(product)[kept])
    root = np.linalg.cholesky(product[np.ix_(kept, kept)] * np.outer(scale, scale))
    white = np.zeros((len(product), len(scale)))
    white[kept] = scale[:, None] * np.linalg.inv(root).T
    return Fit(centre, kept, white, white @ (white.T @ cross[:-1, -1]), product)


@dataclass(frozen=True, slots=True)
class Solution:
    """The fit at its end, for columns about the pooled means."""

    plan: Plan
    kept: Booleans
    present: Booleans
    estimates: Array  # (q + 1,), the intercept's with the outcome's mean
    inverse: Array  # (q + 1, q + 1): of the cross-product, 0 outside `kept`
    back: Array  # (q + 1, q + 1): from these coordinates to the coefficients
    n: int
    rss: float

    @property
    def names(self) -> list[str]:
        return [name for name, there in zip(self.plan.model.names, self.present, strict=True) if there]

    @property
    def rank(self) -> int:
        return int(self.kept.sum())

    @property
    def df(self) -> int:
        return self.n - self.rank

    @property
    def variance(self) -> float:
        return self.rss / self.df if self.df > 0 else math.nan

    def coefficients(self, covariance: Array) -> tuple[Array, Array]:
        """Estimates and covariance of the columns present; NaN for those aliased. `covariance` about the means."""
        return shown(self.back @ self.estimates, self.back @ covariance @ self.back.T, self.kept, self.present)

    def block(self, covariance: Array) -> dict[str, Answer]:
        return t_tests(self.names, *self.coefficients(covariance), self.df)


def projection(end: Solution, moved: Fit) -> Projection:
    """Columns and outcome in coordinates in which the cross-product is the identity."""
    # aliased columns as combinations of the kept ones, and these in the coordinates
    columns = moved.white.T @ moved.product
    kept = end.kept
    columns[:, kept] = np.linalg.inv(moved.white[kept])
    about = end.estimates.copy()
    # about the pooled mean: a constant does not matter beyond the intercept
    about[0] = moved.estimates[0]
    return Projection(columns, columns[:, kept] @ about[kept], bool((kept == end.present).all()))


def sandwich(meat: Array, fit: Fit, moved: Fit) -> Array:
    """Covariance about the pooled means from a meat (r, r) in the coordinates of `fit`."""
    # coordinates of `fit` times `turn` are those of `moved`, in which the bread is the identity
    turn = np.linalg.lstsq(fit.white[fit.kept], moved.white[fit.kept], rcond=None)[0]
    return np.asarray(moved.white @ turn.T @ meat @ turn @ moved.white.T)
