"""A Cox model within one country, fitted to its end there: one log hazard ratio is all that leaves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from isthmus_methods.contract import (
    Again,
    Array,
    Block,
    Booleans,
    ModelSupport,
    Partial,
    Spec,
    coefficient_names,
)
from isthmus_methods.parts.countries.estimated import STEPS, Fitted
from isthmus_methods.parts.newton import Accepted, Decision, Move, decide, solve
from isthmus_methods.parts.out_of_turn import wrong_pass
from isthmus_methods.parts.survival.country_fit import (
    First,
    Gathered,
    Second,
    Wanted,
    Weighed,
    first_pass,
    gathered,
    second_pass,
    support_of,
    third_pass,
    weighed,
)


@dataclass(frozen=True, slots=True)
class Fitting:
    """How far a country's fit is. Never leaves it."""

    beta: Array
    known: Gathered | Weighed | None = None
    before: Accepted | None = None
    kept: Booleans | None = None
    steps: int = 1
    infinite: Booleans | None = None  # coefficients that ran away; the others go on to their limits
    over: Decision | None = None


class CoxEstimate:
    """Cox regression within the country, as `coxph` on its rows alone."""

    name: ClassVar[str] = "cox"
    needs: ClassVar[tuple[str, ...]] = ("time", "event")
    takes: ClassVar[tuple[str, ...]] = ("start", "strata")
    settings: ClassVar[tuple[str, ...]] = ("ties",)
    uses_terms: ClassVar[bool] = True

    def coefficients(self, spec: Spec) -> tuple[str, ...]:
        return coefficient_names(spec)

    def has_events(self, spec: Spec) -> bool:
        return True

    def fold(self, block: Block, spec: Spec, local: Fitting | None) -> Partial:
        wanted = _wanted(spec)
        if local is None or local.known is None:
            beta = np.zeros(_size(spec)) if local is None else local.beta
            return first_pass(block, spec, beta, wanted)
        if isinstance(local.known, Gathered):
            return second_pass(block, spec, local.known, wanted)
        return third_pass(block, spec, local.known, wanted)

    def release(self, partial: Any, spec: Spec, local: Fitting | None) -> Again | Fitted:
        here = Fitting(np.zeros(_size(spec))) if local is None else local
        if isinstance(partial, First):
            return Again(replace(here, known=gathered(partial, _wanted(spec))))
        if isinstance(partial, Second) and isinstance(here.known, Gathered):
            return Again(_next(here, weighed(here.known, partial)))
        if not isinstance(here.known, Weighed) or here.over is None:
            raise wrong_pass()
        return _fitted(here, here.known, here.over, support_of(here.known, partial, spec), spec)


def _wanted(spec: Spec) -> Wanted:
    return Wanted(efron=spec.options.get("ties", "efron") == "efron")


def _size(spec: Spec) -> int:
    return len(coefficient_names(spec))


def _next(here: Fitting, known: Weighed) -> Fitting:
    """After both passes at one beta: the next beta, or the end."""
    info, sets = known.information(), known.known.sets
    kept = solve(info).kept if here.kept is None else here.kept
    solved = solve(info, kept)
    decision = decide(here.beta, sets.loglik, sets.score, solved, here.before)
    infinite = decision.infinite if here.infinite is None else here.infinite | decision.infinite
    if decision.move in (Move.STEP, Move.HALVE, Move.INFINITE) and here.steps < STEPS:
        beta = here.beta + solved.inverse @ sets.score if decision.move is Move.INFINITE else decision.beta
        return Fitting(beta, None, decision.accepted, kept, here.steps + 1, infinite)
    return replace(here, known=known, kept=kept, infinite=infinite, over=decision)


def _fitted(here: Fitting, known: Weighed, over: Decision, support: ModelSupport, spec: Spec) -> Fitted:
    solved = solve(known.information(), here.kept)
    infinite = over.infinite if here.infinite is None else here.infinite
    converged = over.move in (Move.CONVERGED, Move.INFINITE) or bool(infinite.any())
    return Fitted(
        coefficient_names(spec),
        here.beta,
        solved.inverse,
        solved.kept & ~infinite & converged,
        infinite,
        known.known.sets.loglik if converged else None,
        known.known.used,
        support,
    )
