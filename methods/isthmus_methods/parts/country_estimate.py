"""An effect estimated within one country: the model is fitted to the end there, one coefficient is all that leaves.

Each kind of estimate has the two halves of a method that run inside a country; `KINDS` lists them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol

import numpy as np

from isthmus.errors import MethodError
from isthmus_methods.contract import (
    Again,
    Array,
    Block,
    Booleans,
    ModelSupport,
    Partial,
    Spec,
    column_name,
    term_columns,
)
from isthmus_methods.parts.country_fit import (
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
from isthmus_methods.parts.model_support import Used, level_slices
from isthmus_methods.parts.newton import Accepted, Decision, Move, decide, solve

# Newton steps at most: a separated model has stopped long before.
STEPS = 60


@dataclass(frozen=True, slots=True)
class Estimated:
    """One coefficient and its variance, None where the country's rows do not say; and the counts behind it."""

    value: float | None
    variance: float | None
    others_infinite: bool
    used: Used
    support: ModelSupport


class CountryEstimate(Protocol):
    """How a coefficient is estimated from one country's rows alone."""

    name: ClassVar[str]

    def fold(self, block: Block, spec: Spec, local: Any) -> Partial: ...

    def release(self, partial: Any, spec: Spec, coefficient: str, local: Any) -> Again | Estimated: ...


@dataclass(frozen=True, slots=True)
class Fitting:
    """How far a country's fit is. Never leaves it."""

    beta: Array
    known: Gathered | Weighed | None = None
    before: Accepted | None = None
    kept: Booleans | None = None
    steps: int = 1
    over: Decision | None = None


class CoxEstimate:
    """Cox regression within the country, as `coxph` on its rows alone."""

    name: ClassVar[str] = "cox"

    def fold(self, block: Block, spec: Spec, local: Fitting | None) -> Partial:
        wanted = _wanted(spec)
        if local is None or local.known is None:
            beta = np.zeros(_size(spec)) if local is None else local.beta
            return first_pass(block, spec, beta, wanted)
        if isinstance(local.known, Gathered):
            return second_pass(block, spec, local.known, wanted)
        return third_pass(block, spec, local.known, wanted)

    def release(self, partial: Any, spec: Spec, coefficient: str, local: Fitting | None) -> Again | Estimated:
        here = Fitting(np.zeros(_size(spec))) if local is None else local
        if isinstance(partial, First):
            return Again(replace(here, known=gathered(partial, _wanted(spec))))
        if isinstance(partial, Second) and isinstance(here.known, Gathered):
            return Again(_next(here, weighed(here.known, partial)))
        if not isinstance(here.known, Weighed) or here.over is None:
            raise MethodError("WRONG_PASS", "a pass over the rows does not follow the one before it", "report this")
        return _estimated(here, here.known, here.over, support_of(here.known, partial, spec), spec, coefficient)


def _wanted(spec: Spec) -> Wanted:
    return Wanted(efron=spec.options.get("ties", "efron") == "efron")


def _size(spec: Spec) -> int:
    return sum(1 for term in spec.terms for _ in term_columns(spec, term))


def _next(here: Fitting, known: Weighed) -> Fitting:
    """After both passes at one beta: the next beta, or the end."""
    info, sets = known.information(), known.known.sets
    kept = solve(info).kept if here.kept is None else here.kept
    decision = decide(here.beta, sets.loglik, sets.score, solve(info, kept), here.before)
    if decision.move in (Move.STEP, Move.HALVE) and here.steps < STEPS:
        return Fitting(decision.beta, None, decision.accepted, kept, here.steps + 1)
    return replace(here, known=known, kept=kept, over=decision)


def _estimated(
    here: Fitting, known: Weighed, over: Decision, support: ModelSupport, spec: Spec, coefficient: str
) -> Estimated:
    names = [name for term in spec.terms for name, _ in term_columns(spec, term)]
    j = names.index(coefficient)
    solved = solve(known.information(), here.kept)
    used = known.known.used
    infinite = over.infinite
    able = (
        bool(solved.kept[j])
        and not bool(infinite[j])
        and over.move in (Move.CONVERGED, Move.INFINITE)
        and _has_reference(used, spec, coefficient)
    )
    if not able:
        return Estimated(None, None, False, used, support)
    return Estimated(float(here.beta[j]), float(solved.inverse[j, j]), bool(infinite.any()), used, support)


def _has_reference(used: Used, spec: Spec, coefficient: str) -> bool:
    """Whether the level that the coefficient compares with has rows here: otherwise it would be another comparison."""
    own = next(t for t in spec.terms if any(name == coefficient for name, _ in term_columns(spec, t)))
    compared = {column_name(column) for column in own.columns if spec.levels(column)}
    return all(used.rows[where][0] > 0 for name, _, where in level_slices(spec) if name in compared)


KINDS: Mapping[str, CountryEstimate] = {kind.name: kind for kind in (CoxEstimate(),)}
