"""A generalised linear model within one country, fitted to its end there: one coefficient is all that leaves.

Source: McCullagh & Nelder (1989), Generalized Linear Models, 2nd ed., section 2.5. Answers are those of R's `glm` and
`lm` on the country's rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from isthmus.errors import MethodError
from isthmus_methods.contract import Again, Array, Block, Booleans, Partial, Spec, coefficient_names
from isthmus_methods.parts.cross_product import CrossProduct, recentring
from isthmus_methods.parts.estimated import STEPS, Estimated, compared_with_reference
from isthmus_methods.parts.glm_family import GAUSSIAN, Family, family_of
from isthmus_methods.parts.model_support import ROWS
from isthmus_methods.parts.model_terms import INTERCEPT
from isthmus_methods.parts.newton import Accepted, Move, Solved, decide, solve
from isthmus_methods.parts.regression_support import (
    HeaviestRow,
    RestsOn,
    centred_rows,
    heaviest_row,
    model_support,
    rest_on,
)

# A column whose spread is below this share of its size is constant: what is left is rounding.
CONSTANT = 1e-13
# A deviance below this share of the squares it is left of: the model fits every row.
PERFECT = 1e-24


@dataclass(frozen=True, slots=True)
class Fitting:
    """How far a country's fit is; coefficients [intercept, slopes] are about `centre`. Never leaves it."""

    beta: Array  # (1 + q,)
    centre: Array  # (q,)
    kept: Booleans
    squares: float  # of the working outcome at the start
    scale: float | None = None  # the dispersion that steps are measured by
    before: Accepted | None = None
    steps: int = 1
    infinite: Booleans = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))
    over: Pass | None = None  # the sums at the end
    converged: bool = False


@dataclass(frozen=True, slots=True)
class Pass:
    """Sums of one pass at one predictor, about the first block's means. Adds."""

    rests: RestsOn  # with the expected information
    curvature: CrossProduct | None  # the observed one, where it is another
    pull: Array  # (1 + q,) sum of z u; in the first pass of z w (working outcome)
    deviance: float
    pearson: float
    squares: float
    allowed: bool

    def __add__(self, other: Pass, /) -> Pass:
        move = recentring(other.rests.cross.centre, self.rests.cross.centre)
        curvature = self.curvature
        if curvature is not None and other.curvature is not None:
            curvature = curvature + other.curvature
        return Pass(
            self.rests + other.rests,
            curvature,
            self.pull + move.T @ other.pull,
            self.deviance + other.deviance,
            self.pearson + other.pearson,
            self.squares + other.squares,
            self.allowed and other.allowed,
        )


class GlmEstimate:
    """Logistic, Poisson or gamma regression within the country, as `glm` on its rows alone."""

    name: ClassVar[str] = "glm"
    needs: ClassVar[tuple[str, ...]] = ("outcome",)
    takes: ClassVar[tuple[str, ...]] = ("offset",)
    settings: ClassVar[tuple[str, ...]] = ("family", "link")
    uses_terms: ClassVar[bool] = True

    def family(self, spec: Spec) -> Family:
        return family_of(str(spec.options.get("family", "binomial")), str(spec.options.get("link", "")))

    def coefficients(self, spec: Spec) -> tuple[str, ...]:
        return (INTERCEPT, *coefficient_names(spec))

    def has_events(self, spec: Spec) -> bool:
        return self.family(spec).name == "binomial"

    def fold(self, block: Block, spec: Spec, local: Fitting | None) -> Partial:
        family = self.family(spec)
        if local is not None and local.over is not None:
            weights = family.weights(_predictor(block, spec, local))
            return heaviest_row(block, local.over.rests, weights)
        return _pass(block, spec, family, local)

    def release(self, partial: Any, spec: Spec, coefficient: str, local: Fitting | None) -> Again | Estimated:
        family = self.family(spec)
        if isinstance(partial, Pass):
            if not partial.allowed:
                raise MethodError(
                    "WRONG_OUTCOME",
                    f"the outcome of a {family.name} model is {family.outcome}, and some row's is not",
                    "choose another family, or filter the rows",
                )
            return Again(_begun(partial) if local is None else _next(partial, family, local))
        if not isinstance(partial, HeaviestRow) or local is None or local.over is None:
            raise MethodError("WRONG_PASS", "a pass over the rows does not follow the one before it", "report this")
        return _estimated(local, local.over, partial, family, spec, self.coefficients(spec).index(coefficient))


class LinearEstimate(GlmEstimate):
    """Ordinary least squares within the country, as `lm` on its rows alone."""

    name: ClassVar[str] = "linear_model"
    takes: ClassVar[tuple[str, ...]] = ()
    settings: ClassVar[tuple[str, ...]] = ()

    def family(self, spec: Spec) -> Family:
        return GAUSSIAN


# --------------------------------------------------------------------------- one pass over a block


def _offset(block: Block, spec: Spec) -> Array:
    return block.numbers("offset") if spec.role("offset") else np.zeros(block.rows)


def _predictor(block: Block, spec: Spec, local: Fitting) -> Array:
    rows = centred_rows(block)
    predictor: Array = rows.x @ (recentring(rows.centre, local.centre) @ local.beta)
    return predictor + _offset(block, spec)


def _pass(block: Block, spec: Spec, family: Family, local: Fitting | None) -> Pass:
    y, x = block.numbers("outcome"), centred_rows(block).x
    event = y == 1.0 if family.name == "binomial" else None
    if not family.allows(y):
        none = np.zeros(block.rows)
        return Pass(rest_on(block, spec, none, event=event), None, np.zeros(x.shape[1]), 0.0, 0.0, 0.0, False)
    with np.errstate(all="ignore"):
        eta = family.start(y) if local is None else _predictor(block, spec, local)
        weights, score = family.weights(eta), family.score(y, eta)
        rests = rest_on(block, spec, weights, eta if family.link != "identity" else None, event)
        if local is None:
            working = weights * (eta - _offset(block, spec)) + score
            squares = float(working @ (eta + score / weights))
            return Pass(rests, None, x.T @ working, 0.0, 0.0, squares, True)
        curvature = None
        if not family.canonical:
            own = family.curvature(y, eta)
            curvature = CrossProduct(rests.cross.centre, x.T @ (x * own[:, None]), 0.0)
        deviance, pearson = float(family.deviance(y, eta).sum()), float(family.pearson(y, eta).sum())
        return Pass(rests, curvature, x.T @ score, deviance, pearson, 0.0, True)


# --------------------------------------------------------------------------- between passes


def _begun(first: Pass) -> Fitting:
    """After the first pass: least squares on the working outcome, and the columns that are estimable."""
    cross = first.rests.cross
    rows = max(int(first.rests.used.rows[ROWS]), 1)
    varied = np.diag(cross.product)[1:] > rows * (CONSTANT * cross.centre) ** 2
    solved = solve(cross.product, np.concatenate([[True], varied]))
    none = np.zeros(len(first.pull), dtype=np.bool_)
    return Fitting(solved.inverse @ first.pull, cross.centre, solved.kept, first.squares, infinite=none)


def _next(here: Pass, family: Family, local: Fitting) -> Fitting:
    """After a pass at one beta: the next beta, or the end. Coefficients that run away do not stop the others."""
    degrees = int(here.rests.used.rows[ROWS]) - int(local.kept.sum())
    perfect = family.dispersion and not here.deviance > PERFECT * local.squares
    if perfect or degrees < 0:
        return replace(local, over=here)
    scale = local.scale or (here.pearson / max(degrees, 1) if family.dispersion else 1.0)
    if not math.isfinite(scale) or scale <= 0:
        scale = 1.0
    information = (here.curvature or here.rests.cross).product / scale
    score = here.pull / scale
    solved = _solved(information, local.kept)
    decision = decide(local.beta, -here.deviance / (2.0 * scale), score, solved, local.before)
    infinite = local.infinite | decision.infinite
    local = replace(local, scale=scale, infinite=infinite)
    if decision.move in (Move.CONVERGED, Move.STUCK) or local.steps >= STEPS:
        return replace(local, over=here, converged=decision.move is not Move.STUCK or bool(infinite.any()))
    beta = local.beta + solved.inverse @ score if decision.move is Move.INFINITE else decision.beta
    return replace(local, beta=beta, before=decision.accepted, steps=local.steps + 1)


def _solved(information: Array, kept: Booleans) -> Solved:
    if not np.all(np.isfinite(information)):
        return Solved(kept, np.zeros_like(information), 1.0)
    return solve(information, kept)


def _estimated(local: Fitting, over: Pass, heaviest: HeaviestRow, family: Family, spec: Spec, j: int) -> Estimated:
    used, names = over.rests.used, (INTERCEPT, *coefficient_names(spec))
    support = model_support(over.rests, heaviest, spec, int(local.kept.sum()))
    degrees = int(used.rows[ROWS]) - int(local.kept.sum())
    dispersion = over.pearson / degrees if family.dispersion and degrees > 0 else 1.0
    solved = _solved(over.rests.cross.product, local.kept)
    # from slopes about the centre to an intercept at zero
    back = recentring(np.zeros(len(local.centre)), local.centre)
    beta, covariance = back @ local.beta, back @ solved.inverse @ back.T * dispersion
    # an intercept rests on every slope that is moved to zero
    infinite = bool(local.infinite[j]) if j else bool(local.infinite.any())
    able = (
        local.converged
        and degrees >= (1 if family.dispersion else 0)
        and bool(solved.kept[j])
        and not infinite
        and covariance[j, j] > 0
        and compared_with_reference(used, spec, names[j])
    )
    if not able:
        return Estimated(None, None, False, used, support)
    return Estimated(float(beta[j]), float(covariance[j, j]), bool(local.infinite.any()), used, support)
