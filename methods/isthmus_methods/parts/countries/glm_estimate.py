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
from isthmus_methods.parts.countries.estimated import STEPS, Fitted
from isthmus_methods.parts.cross_product import recentring
from isthmus_methods.parts.model_support import ROWS
from isthmus_methods.parts.model_terms import INTERCEPT
from isthmus_methods.parts.newton import solve
from isthmus_methods.parts.out_of_turn import wrong_pass
from isthmus_methods.parts.regression.glm_family import GAUSSIAN, Family, family_of
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
# A deviance below this share of the outcome's squares: the model fits every row.
PERFECT = 1e-24
# `glm.control(epsilon)`: the change of the deviance at which the fit is over, the one that rounding may
# leave, and the one at which columns may be lost.
EPSILON, ROUGH, LOST = 1e-15, 1e-12, 1e-8
# A step that moves the predictor by more, where the deviance no longer changes, goes on for ever.
RUNAWAY = 1e-4
# A variance on the scale of the predictor that says that nothing is known.
NOTHING_KNOWN = 1e6


@dataclass(frozen=True, slots=True)
class Fitting:
    """How far a country's fit is; coefficients [intercept, slopes] are about `centre`. Never leaves it."""

    beta: Array  # (1 + q,)
    centre: Array  # (q,)
    kept: Booleans
    spread: Array  # (1 + q,) of the columns
    squares: float  # of the working outcome at the start
    saturated: float
    before: Pass  # the sums that gave `beta`
    last: Array | None = None  # the beta before
    steps: int = 1
    over: Pass | None = None  # the sums at the end
    infinite: Booleans = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))
    converged: bool = False


@dataclass(frozen=True, slots=True)
class Pass:
    """Sums of one pass at one predictor, about the first block's means. Adds."""

    rests: RestsOn  # with the expected information
    pull: Array  # (1 + q,) sum of z u; in the first pass of z w (working outcome)
    # summed as R does, in extended precision: the end of the fit hangs on its last figure
    deviance: np.longdouble
    pearson: float  # with the weights that the step here was taken with
    squares: float
    saturated: float
    allowed: bool

    def __add__(self, other: Pass, /) -> Pass:
        move = recentring(other.rests.cross.centre, self.rests.cross.centre)
        return Pass(
            self.rests + other.rests,
            self.pull + move.T @ other.pull,
            self.deviance + other.deviance,
            self.pearson + other.pearson,
            self.squares + other.squares,
            self.saturated + other.saturated,
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

    def release(self, partial: Any, spec: Spec, local: Fitting | None) -> Again | Fitted:
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
            raise wrong_pass()
        return _fitted(local, local.over, partial, family, spec)


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
        return Pass(rest_on(block, spec, event=event), np.zeros(x.shape[1]), np.longdouble(0.0), 0.0, 0.0, 0.0, False)
    with np.errstate(all="ignore"):
        eta = family.start(y) if local is None else _predictor(block, spec, local)
        weights, pull = family.weights(eta), family.score(y, eta)
        rests = rest_on(block, spec, weights, eta if family.link != "identity" else None, event)
        deviance = np.sum(family.deviance(y, eta), dtype=np.longdouble)
        if local is None:
            working = weights * (eta - _offset(block, spec)) + pull
            squares, saturated = float((working**2 / weights).sum()), float(family.saturated(y).sum())
            return Pass(rests, x.T @ working, deviance, 0.0, squares, saturated, True)
        last = family.start(y) if local.last is None else _predictor(block, spec, replace(local, beta=local.last))
        pearson = float((family.weights(last) * (pull / weights) ** 2).sum()) if family.dispersion else 0.0
        return Pass(rests, x.T @ pull, deviance, pearson, 0.0, 0.0, True)


# --------------------------------------------------------------------------- between passes


def _begun(first: Pass) -> Fitting:
    """After the first pass: least squares on the working outcome, and the columns that are estimable."""
    cross = first.rests.cross
    diagonal, weight = np.diag(cross.product), max(float(cross.product[0, 0]), float(np.finfo(np.float64).tiny))
    spread = np.concatenate([[1.0], np.sqrt(diagonal[1:] / weight)])
    varied = spread[1:] > CONSTANT * np.abs(cross.centre)
    solved = solve(cross.product, np.concatenate([[True], varied]))
    return Fitting(
        solved.inverse @ first.pull, cross.centre, solved.kept, spread, first.squares, first.saturated, first
    )


def _next(here: Pass, family: Family, local: Fitting) -> Fitting:
    """After a pass at one beta: the next beta, or the end, by the rule of `glm`.

    The information at the end is that of the step that led there, as in `glm`: where R's standard errors are compared
    to the last figure, this is what they are.
    """
    degrees = int(here.rests.used.rows[ROWS]) - int(local.kept.sum())
    if degrees < 0 or (family.dispersion and not float(here.deviance) > PERFECT * local.squares):
        return replace(local, over=here)
    if not math.isfinite(float(here.deviance)):
        return _halfway(here, local)
    now, before = float(here.deviance), float(local.before.deviance)
    change = abs(now - before) / (abs(now) + 0.1)
    solved = solve(here.rests.cross.product, local.kept)
    step = solved.inverse @ here.pull
    # columns that only rows without weight tell apart: what they say ran away
    lost = bool(np.any(solved.kept != local.kept))
    if change < EPSILON or local.steps >= STEPS or (lost and change < LOST):
        moved = np.maximum(np.abs(step), 0.0 if local.last is None else np.abs(local.beta - local.last))
        infinite = (moved * local.spread > RUNAWAY) & (family.link != "identity")
        return replace(local, over=here, infinite=infinite, converged=change < ROUGH or lost)
    return replace(local, beta=local.beta + step, last=local.beta, before=here, steps=local.steps + 1)


def _halfway(here: Pass, local: Fitting) -> Fitting:
    """Back towards the last beta with a finite deviance; none is known before the first."""
    if local.last is None or local.steps >= STEPS:
        return replace(local, over=here)
    return replace(local, beta=(local.beta + local.last) / 2.0, steps=local.steps + 1)


def _fitted(local: Fitting, over: Pass, heaviest: HeaviestRow, family: Family, spec: Spec) -> Fitted:
    used, names = over.rests.used, (INTERCEPT, *coefficient_names(spec))
    support = model_support(over.rests, heaviest, spec, int(local.kept.sum()))
    rows = int(used.rows[ROWS])
    degrees = rows - int(local.kept.sum())
    if not local.converged or degrees < (1 if family.dispersion else 0):
        return Fitted.nothing(names, used, support)
    solved = solve(local.before.rests.cross.product, local.kept)
    dispersion = over.pearson / degrees if family.dispersion else 1.0
    infinite = local.infinite.copy()
    # an intercept at zero rests on every slope that is moved there
    infinite[0] = bool(infinite.any())
    lost = np.zeros(len(names), dtype=np.bool_)
    if family.link != "identity":
        # a coefficient may stay where it is while the rows that it rests on lose all weight
        lost = np.diag(solved.inverse) * local.spread**2 > NOTHING_KNOWN
    # from slopes about the centre to an intercept at zero
    back = recentring(np.zeros(len(local.centre)), local.centre)
    return Fitted(
        names,
        back @ local.beta,
        back @ solved.inverse @ back.T * dispersion,
        solved.kept & ~infinite & ~lost,
        infinite,
        family.loglik(float(over.deviance), local.saturated, rows),
        used,
        support,
    )
