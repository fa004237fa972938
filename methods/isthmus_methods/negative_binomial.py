"""Negative binomial regression of counts: coefficients and dispersion together at the maximum of the pooled likelihood.

The Poisson model comes first; where its counts vary more than it says, the negative binomial model and those without
one term follow from there by Newton's method in the coefficients and log alpha, all in the same rounds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from isthmus_methods.contract import (
    Again,
    Array,
    Block,
    Booleans,
    Contributions,
    Done,
    Field,
    Item,
    Kind,
    Missingness,
    Next,
    OptionRule,
    Role,
    Scope,
    Spec,
    State,
    Summary,
)
from isthmus_methods.glm import START, Glm, first_summary
from isthmus_methods.parts.persons import REPEATED
from isthmus_methods.parts.regression import negative_binomial_answer
from isthmus_methods.parts.regression.glm_family import POISSON, negative_binomial
from isthmus_methods.parts.regression.glm_plan import MOST_ROUNDS
from isthmus_methods.parts.regression.glm_sums import (
    WHOLE,
    Asked,
    EndSums,
    FirstSums,
    Heaviest,
    ModelSums,
    about,
    end_sums,
    expected,
    first_sums,
    heaviest,
    model_sums,
    offset_of,
    predictor,
    refuse_outcome,
    starting,
)
from isthmus_methods.parts.regression.negative_binomial_answer import COUNTS, NegativePlan, alpha_of, plan_of
from isthmus_methods.parts.regression.overdispersion import Counts, JointSums, overdispersed, poisson_sums
from isthmus_methods.parts.regression_support import (
    CentredRows,
    RestsOn,
    centred_rows,
    model_support,
    rest_on,
    support_of_nobody,
)
from isthmus_methods.parts.symmetric import packed


@dataclass(frozen=True, slots=True)
class Looked:
    """One pass over some rows. Adds."""

    start: ModelSums | None
    models: tuple[JointSums, ...]
    direction: Array  # (2,) of the Poisson model
    end: EndSums | None
    deviance: float

    def __add__(self, other: Looked, /) -> Looked:
        start = self.start if self.start is None or other.start is None else self.start + other.start
        end = self.end if self.end is None or other.end is None else self.end + other.end
        return Looked(
            start,
            tuple(a + b for a, b in zip(self.models, other.models, strict=True)),
            self.direction + other.direction,
            end,
            self.deviance + other.deviance,
        )

    def rests(self) -> tuple[RestsOn, ...]:
        """What the start, each model and the end rest on."""
        start = () if self.start is None else (self.start.rests,)
        return (*start, *(m.rests for m in self.models), *(() if self.end is None else (self.end.rests,)))


class NegativeBinomial:
    """Negative binomial (NB2) regression with log link, theta re-estimated in every model that is compared.

    Source: Lawless (1987), Canadian J. Statistics 15, 209-225. Answers are those of R's `MASS::glm.nb`, iterated to
    the maximum, with standard errors at fixed theta.
    """

    name: ClassVar[str] = "negative_binomial"
    version: ClassVar[int] = 1
    title: ClassVar[str] = "Negative binomial model"
    leaves: ClassVar[Mapping[str, Field]] = {
        **{name: Glm.leaves[name] for name in ("rows", "excluded", "levels", "columns")},
        "saturated": Field(Kind.SCORE, "log-likelihood of a Poisson model where each mean is the outcome", size="1"),
        "loglik": Field(Kind.SCORE, "log-likelihood of each model", size="1"),
        "score": Field(Kind.SCORE, "its gradient in coefficients and log alpha", size="p + 1"),
        "information": Field(Kind.INFORMATION, "minus its second derivative", size="(p + 1) (p + 2) / 2"),
        "overdispersion": Field(
            Kind.SCORE, "derivative of the Poisson log-likelihood towards overdispersion, and its information", size="2"
        ),
        "expected": Field(Kind.INFORMATION, "expected information at the estimate", size="p (p + 1) / 2", gram=True),
        "pearson": Field(Kind.SCORE, "Pearson's chi-square at the estimate", size="1"),
        "deviance": Field(Kind.SCORE, "deviance at the estimate", size="1"),
    }
    roles: ClassVar[Mapping[str, Role]] = {
        "outcome": Role("a count", holds="number"),
        "offset": Role("added to the linear predictor, as log(time at risk)", required=False, holds="number"),
    }
    options: ClassVar[Mapping[str, OptionRule]] = {
        "drop1": OptionRule("also a likelihood-ratio test of each term that no other contains", False),
        "iterations": OptionRule(f"rounds of Newton's method for a model at most, from 2 to {MOST_ROUNDS}", 40),
    }
    uses_terms: ClassVar[bool] = True
    missingness: ClassVar[Missingness] = Missingness.COMPLETE
    notes: ClassVar[Mapping[str, str]] = {
        code: said for code, said in Glm.notes.items() if code in ("NO_ROWS", "LEVEL_ABSENT", REPEATED)
    }
    rounds: ClassVar[tuple[int, int]] = (4, 2 * MOST_ROUNDS + 4)

    def scope(self, spec: Spec) -> Scope:
        return Scope.TOTAL

    # ----------------------------------------------------------------- inside a country

    def fold(self, block: Block, spec: Spec, state: State, local: Any) -> FirstSums | Looked | Heaviest:
        plan = plan_of(spec)
        if not state:
            return first_sums(block, spec, POISSON) if local is None else heaviest(block, [(local.rests, None)])
        asked = Asked.of(state, plan.models, plan.terms.p + 1)
        if local is None:
            return _look(block, spec, plan, asked)
        return heaviest(block, _weights_again(block, spec, plan, asked, local))

    def release(self, partial: Any, spec: Spec, state: State, local: Any) -> Summary | Again:
        plan = plan_of(spec)
        if isinstance(partial, FirstSums):
            if not partial.allowed:
                raise refuse_outcome(POISSON)
            return Again(partial)
        if isinstance(partial, Looked):
            return Again(partial)
        if not state:
            return first_summary(spec, plan.terms.names, False, local, partial)
        return _summary(spec, plan, Asked.of(state, plan.models, plan.terms.p + 1), local, partial)

    # ----------------------------------------------------------------- at the coordinator

    def pool(self, contributions: Contributions, spec: Spec, state: State, memory: State) -> Next | Done:
        return negative_binomial_answer.pool(contributions, spec, plan_of(spec), state, memory, self.notes)


# --------------------------------------------------------------------------- the passes of a later round


def _look(block: Block, spec: Spec, plan: NegativePlan, asked: Asked) -> Looked:
    """The first pass over one block."""
    rows, y = centred_rows(block), block.numbers("outcome")
    if asked.start:
        values = starting(POISSON, y, rows, offset_of(block, spec))
        sums = model_sums(block, spec, rows, values, asked.centre, False)
        return Looked(sums, (), np.zeros(2), None, 0.0)
    direction = np.zeros(2)
    models = []
    for label, columns, beta in asked.models:
        eta = _predictor(block, spec, rows, columns, beta, asked.centre)
        if label == COUNTS:
            rests = rest_on(block, spec, _finite(POISSON.weights(eta)), eta)
            sums_, direction = poisson_sums(rests, rows, asked.centre, y, eta, Counts.of(block).factorials)
            models.append(sums_)
            continue
        at = overdispersed(Counts.of(block), y, eta, alpha_of(beta))
        models.append(JointSums.of(rest_on(block, spec, at.weights, eta), rows, asked.centre, at))
    end, deviance = None, 0.0
    if asked.end is not None:
        family = negative_binomial(alpha_of(asked.end))
        at_end = Asked(asked.centre, (), asked.end[:-1], None, start=False)
        eta = _predictor(block, spec, rows, plan.models[WHOLE], asked.end, asked.centre)
        end, _ = end_sums(block, spec, rows, expected(family, y, eta), at_end, False)
        deviance = float(family.deviance(y, eta).sum())
    return Looked(None, tuple(models), direction, end, deviance)


def _predictor(block: Block, spec: Spec, rows: CentredRows, columns: Booleans, beta: Array, centre: Array) -> Array:
    return predictor(block, spec, rows, columns, beta[:-1], centre)


def _finite(weights: Array) -> Array:
    return weights if np.isfinite(float(weights @ weights)) else np.ones_like(weights)


def _weights_again(
    block: Block, spec: Spec, plan: NegativePlan, asked: Asked, known: Looked
) -> list[tuple[RestsOn, Array | None]]:
    """For the second pass: what each model rests on, and the rows' weights in it (n,)."""
    rows, y = centred_rows(block), block.numbers("outcome")
    weights: list[Array | None] = []
    if asked.start:
        weights.append(POISSON.weights(POISSON.start(y)))
    for label, columns, beta in asked.models:
        eta = _predictor(block, spec, rows, columns, beta, asked.centre)
        family = negative_binomial(0.0 if label == COUNTS else alpha_of(beta))
        weights.append(_finite(family.curvature(y, eta)))
    if asked.end is not None:
        eta = _predictor(block, spec, rows, plan.models[WHOLE], asked.end, asked.centre)
        weights.append(negative_binomial(alpha_of(asked.end)).weights(eta))
    return list(zip(known.rests(), weights, strict=True))


# --------------------------------------------------------------------------- what leaves


def _summary(spec: Spec, plan: NegativePlan, asked: Asked, looked: Looked | None, heavy: Heaviest | None) -> Summary:
    """Log-likelihood, score and information of each model; zeros of a country without rows."""
    p = plan.terms.p
    supports = [support_of_nobody(spec, p + 1)] * (len(asked.models) + 2)
    if looked is not None and heavy is not None:
        supports = [
            model_support(rests, its, spec, p + 1) for rests, its in zip(looked.rests(), heavy.of_models, strict=True)
        ]
    items: list[Item] = []
    if asked.start:
        score, information = np.zeros(p), np.zeros((p, p))
        if looked is not None and looked.start is not None:
            score, information = looked.start.score, looked.start.information(asked.centre)
        items += [
            Item("score", score, supports[0], START),
            Item("information", packed(information), supports[0], START),
        ]
    for k, (label, columns, _) in enumerate(asked.models):
        score, information, loglik = np.zeros(p + 1), np.zeros((p + 1, p + 1)), 0.0
        if looked is not None:
            sums = looked.models[k]
            information[:p, :p] = about(sums.rests.cross, asked.centre)
            information[-1] = information[:, -1] = sums.border
            score, loglik = sums.score, sums.loglik
        its = np.append(columns, label != COUNTS)
        items += [
            Item("loglik", np.array([loglik]), supports[k], label),
            Item("score", score[its], supports[k], label),
            Item("information", packed(information[np.ix_(its, its)]), supports[k], label),
        ]
        if label == COUNTS:
            direction = np.zeros(2) if looked is None else looked.direction
            items.append(Item("overdispersion", direction, supports[k], label))
    if asked.end is not None:
        end = None if looked is None else looked.end
        expected = np.zeros((p, p)) if end is None else about(end.rests.cross, asked.centre)
        items += [
            Item("expected", packed(expected), supports[-1]),
            Item("pearson", np.array([0.0 if end is None else end.pearson]), supports[-1]),
            Item("deviance", np.array([0.0 if looked is None else looked.deviance]), supports[-1]),
        ]
    return Summary(tuple(items))
