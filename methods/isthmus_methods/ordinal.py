"""The proportional odds model of an ordered outcome, fitted over countries by sums of score and information.

First round: rows in each category and at each level, and the sums of the model's columns, from which the pooled
centre and the thresholds to start at follow. Then Newton's method, the model itself and those without one term in the
same rounds.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from isthmus.errors import MethodError, UsageError
from isthmus_methods.contract import (
    Again,
    Answer,
    Array,
    Block,
    Booleans,
    CellSupport,
    Contributions,
    Done,
    Field,
    Integers,
    Item,
    Kind,
    Missingness,
    ModelSupport,
    Next,
    OptionRule,
    Role,
    Scope,
    Spec,
    State,
    Summary,
    column_name,
)
from isthmus_methods.parts import caveats, persons
from isthmus_methods.parts.first_round import (
    LEVEL_ABSENT,
    LEVEL_ABSENT_SAYS,
    NO_ROWS,
    NO_ROWS_SAYS,
    no_news,
    remember_rows,
    told_notes,
    told_rows,
)
from isthmus_methods.parts.gathered import needed
from isthmus_methods.parts.inference import chi_square, coefficients, matrix
from isthmus_methods.parts.model_support import ROWS, Used, count_items
from isthmus_methods.parts.model_terms import ModelTerms, level_rows, model_terms
from isthmus_methods.parts.nested_fits import (
    ModelFit,
    furthest,
    looking_at,
    recall,
    remember,
    unpacked_each,
)
from isthmus_methods.parts.out_of_turn import wrong_pass, wrong_state
from isthmus_methods.parts.persons import widened
from isthmus_methods.parts.regression.proportional_odds import OddsSums, marginal_thresholds, odds_sums
from isthmus_methods.parts.regression_support import (
    HeaviestRow,
    RestsOn,
    heaviest_row,
    level_absent,
    model_support,
    rest_on,
    rests_on_nobody,
    support_of_nobody,
)

WHOLE = "the model"
MOST_ROUNDS = 60
CONVENTION = "logit P(Y<=j) = threshold_j - x'beta (MASS::polr, ordinal::clm)"


@dataclass(frozen=True, slots=True)
class Partial:
    """Of some rows: who is there, rows and persons in each category, and the sums the round asks for. Adds."""

    rests: RestsOn
    categories: Integers  # (C,) rows
    in_category: Booleans  # (C, persons)
    columns: Array  # (p,) sums of the model's columns; first round only
    sums: tuple[OddsSums, ...]  # one a model; later rounds

    def __add__(self, other: Partial, /) -> Partial:
        width = max(self.in_category.shape[1], other.in_category.shape[1])
        return Partial(
            self.rests + other.rests,
            self.categories + other.categories,
            widened(self.in_category, width) | widened(other.in_category, width),
            self.columns + other.columns,
            tuple(a + b for a, b in zip(self.sums, other.sums, strict=True)),
        )


@dataclass(frozen=True, slots=True)
class Looked:
    """What the first pass gave, with each row's weight; the second finds the heaviest person. Never leaves."""

    partial: Partial


class Ordinal:
    """Proportional odds regression: one log odds ratio for every cut of an ordered outcome.

    Source: McCullagh (1980), JRSS B 42, 109-142. Answers are those of R's `ordinal::clm` and `MASS::polr`.
    """

    name: ClassVar[str] = "ordinal"
    version: ClassVar[int] = 1
    title: ClassVar[str] = "Proportional odds model"
    leaves: ClassVar[Mapping[str, Field]] = {
        "rows": Field(Kind.COUNT, "rows used", "rows", "1", divides=True),
        "excluded": Field(Kind.COUNT, "rows left out for a missing value", "rows", "1", required=False),
        "levels": Field(Kind.COUNT, "rows at each level of a factor", "rows", "levels", required=False),
        "categories": Field(Kind.COUNT, "rows in each category of the outcome", "rows", "C", divides=True),
        "columns": Field(Kind.CROSS_PRODUCT, "sums of the model's columns", size="p"),
        "loglik": Field(Kind.SCORE, "log-likelihood of each model", size="1"),
        "score": Field(Kind.SCORE, "its gradient", size="q"),
        "information": Field(Kind.INFORMATION, "minus its second derivative", size="q (q + 1) / 2"),
    }
    roles: ClassVar[Mapping[str, Role]] = {
        "outcome": Role("an ordered factor: its levels in the dictionary's order", holds="factor"),
    }
    options: ClassVar[Mapping[str, OptionRule]] = {
        "drop1": OptionRule("also a likelihood-ratio test of each term that no other contains", True),
        "iterations": OptionRule(f"rounds of Newton's method at most, from 2 to {MOST_ROUNDS}", 40),
    }
    uses_terms: ClassVar[bool] = True
    missingness: ClassVar[Missingness] = Missingness.COMPLETE
    notes: ClassVar[Mapping[str, str]] = {
        NO_ROWS: NO_ROWS_SAYS,
        LEVEL_ABSENT: LEVEL_ABSENT_SAYS,
        persons.REPEATED: persons.REPEATED_SAYS,
    }
    rounds: ClassVar[tuple[int, int]] = (2, MOST_ROUNDS + 1)

    def scope(self, spec: Spec) -> Scope:
        return Scope.TOTAL

    # ----------------------------------------------------------------- inside a country

    def fold(self, block: Block, spec: Spec, state: State, local: Any) -> Partial | HeaviestRow:
        weights, partial = _look(block, spec, state)
        if local is None:
            return partial
        return heaviest_row(block, local.partial.rests, weights)

    def release(self, partial: Any, spec: Spec, state: State, local: Looked | None) -> Summary | Again:
        terms, categories = model_terms(spec, intercept=False), spec.levels(spec.role("outcome")[0])
        parameters = terms.p + len(categories) - 1
        if partial is None:
            return _summary(_empty(spec, state), support_of_nobody(spec, parameters), spec, state)
        if isinstance(partial, Partial):
            return Again(Looked(partial))
        if local is None:
            raise wrong_pass()
        support = model_support(local.partial.rests, partial, spec, parameters)
        return _summary(local.partial, support, spec, state)

    # ----------------------------------------------------------------- at the coordinator

    def pool(self, contributions: Contributions, spec: Spec, state: State, memory: State) -> Next | Done:
        terms = model_terms(spec, intercept=False)
        if not state:
            return _begin(contributions, spec, terms)
        most = int(str(spec.options.get("iterations", self.options["iterations"].default)))
        if not 2 <= most <= MOST_ROUNDS:
            raise UsageError("WRONG_OPTION", f"iterations must be from 2 to {MOST_ROUNDS}", "leave it at its default")
        fits = list(recall(memory))
        q = len(fits[0].beta)
        for place in looking_at(fits):
            fit = fits[place]
            loglik, score, upper = (
                needed(contributions, field, fit.name) for field in ("loglik", "score", "information")
            )
            fits[place] = fit.after(float(loglik[0]), score, unpacked_each(upper[None], q)[0], most)
        kept = {k: v for k, v in memory.items() if not k.startswith(("fit ", "kept ", "accepted ", "end "))}
        if looking_at(fits):
            return Next(_asked(fits, kept), {**kept, **remember(fits)}, "distance", furthest(fits))
        return _answer(spec, terms, fits, kept, self.notes)


# --------------------------------------------------------------------------- inside a country


def _look(block: Block, spec: Spec, state: State) -> tuple[Array | None, Partial]:
    """One block's share of the round, and the weights of its rows; nothing of it is computed twice in a round."""
    categories = spec.levels(spec.role("outcome")[0])
    matrix_ = block.design.matrix if block.design is not None else np.zeros((block.rows, 0))
    codes = block.codes("outcome")
    inside = np.zeros((len(categories), int(block.subject.max(initial=-1)) + 1), dtype=np.bool_)
    inside[codes, block.subject] = True
    counts = np.bincount(codes, minlength=len(categories))
    if not state:
        return None, Partial(rest_on(block, spec), counts, inside, matrix_.sum(axis=0), ())
    place = _places(state, categories, codes)
    x = matrix_ - state["centre"]
    looked = [odds_sums(x, place, psi) for psi in state["beta"]]
    weights = np.max([w for _, w in looked], axis=0) if looked else np.ones(block.rows)
    partial = Partial(
        rest_on(block, spec, weights), counts, inside, np.zeros(matrix_.shape[1]), tuple(sums for sums, _ in looked)
    )
    return weights, partial


def _places(state: State, categories: tuple[str, ...], codes: Integers) -> Integers:
    """Each row's place among the categories that are present over all countries."""
    present = state.get("present", np.zeros(0)) > 0
    if present.shape != (len(categories),) or "beta" not in state or "centre" not in state or "which" not in state:
        raise wrong_state()
    if not np.all(np.isfinite(state["beta"])) or not present[codes].all():
        raise MethodError("WRONG_STATE", "the coordinator's state does not fit the rows", "start the analysis anew")
    place: Integers = (np.cumsum(present) - 1).astype(np.int64)
    return place[codes]


def _empty(spec: Spec, state: State) -> Partial:
    """What no row gives."""
    terms, number = model_terms(spec, intercept=False), len(spec.levels(spec.role("outcome")[0]))
    q = state["beta"].shape[1] if state else 0
    nothing = OddsSums(0.0, np.zeros(q), np.zeros((q, q)))
    return Partial(
        rests_on_nobody(spec, terms.p),
        np.zeros(number, dtype=np.int64),
        np.zeros((number, 0), dtype=np.bool_),
        np.zeros(terms.p),
        tuple(nothing for _ in state["beta"]) if state else (),
    )


def _summary(partial: Partial, support: ModelSupport, spec: Spec, state: State) -> Summary:
    used: Used = partial.rests.used
    counted = used.persons()
    notes = {
        NO_ROWS: not used.rows[ROWS],
        LEVEL_ABSENT: level_absent(support, spec),
        persons.REPEATED: int(used.rows[ROWS]) > int(counted[ROWS]),
    }
    items: list[Item] = []
    if not state:
        outcome = spec.role("outcome")[0]
        behind = np.count_nonzero(partial.in_category, axis=1).astype(np.int64)
        axes = ((column_name(outcome), spec.levels(outcome)),)
        items += count_items(used, counted, spec, outcomes=False)
        items += [
            Item("categories", partial.categories, CellSupport(behind, axis=0), axes=axes),
            Item("columns", partial.columns, support),
        ]
    else:
        names = _names(spec)
        for which, sums in zip(state["which"], partial.sums, strict=True):
            label = names[int(which)]
            upper = sums.information[np.triu_indices(len(sums.score))]
            items += [
                Item("loglik", np.array([sums.loglik]), support, label),
                Item("score", sums.score, support, label),
                Item("information", upper, support, label),
            ]
    return Summary(tuple(items), frozenset(code for code, on in notes.items() if on))


def _names(spec: Spec) -> tuple[str, ...]:
    """Labels of the models: the whole one, then each without a term."""
    tested = bool(spec.options.get("drop1", Ordinal.options["drop1"].default))
    return (WHOLE, *(model_terms(spec, intercept=False).droppable() if tested else ()))


# --------------------------------------------------------------------------- at the coordinator


def _begin(contributions: Contributions, spec: Spec, terms: ModelTerms) -> Next:
    counts, columns = contributions.total("categories"), contributions.total("columns")
    if counts is None or columns is None or not counts.any():
        raise MethodError("NO_ROWS", "no country has a complete row for this model", "check the filter and the terms")
    present: Booleans = counts > 0
    if int(present.sum()) < 2:
        raise MethodError(
            "ONE_CATEGORY", "all rows are in one category of the outcome", "there is nothing to model: check the filter"
        )
    there = terms.columns_present(level_rows(contributions, terms))
    start = marginal_thresholds(counts[present])
    cuts = np.ones(len(start), dtype=np.bool_)
    beta = np.concatenate([start, np.zeros(terms.p)])
    fits = []
    for name in _names(spec):
        allowed = there if name == WHOLE else there & terms.columns_without(name)
        fits.append(ModelFit(name, np.concatenate([cuts, allowed]), beta))
    kept: dict[str, Array] = {
        "centre": columns / counts.sum(),
        "present": present.astype(np.float64),
        "counts": counts,
        "there": there.astype(np.float64),
        **remember_rows(contributions, spec, terms),
    }
    return Next(_asked(fits, kept), {**kept, **remember(fits)}, "distance", 1.0)


def _asked(fits: list[ModelFit], kept: State) -> dict[str, Array]:
    going = looking_at(fits)
    return {
        "which": np.array(going, dtype=np.float64),
        "beta": np.stack([fits[k].beta for k in going]),
        "centre": kept["centre"],
        "present": kept["present"],
    }


def _answer(
    spec: Spec,
    terms: ModelTerms,
    fits: list[ModelFit],
    kept: State,
    notes: Mapping[str, str],
) -> Done:
    whole = fits[0]
    there: Booleans = kept["there"] > 0
    present: Booleans = kept["present"] > 0
    levels = [x for x, on in zip(spec.levels(spec.role("outcome")[0]), present, strict=True) if on]
    cuts = len(levels) - 1
    # back to the columns as they are: a threshold moves by centre' beta
    back = np.eye(len(whole.beta))
    back[:cuts, cuts:] = kept["centre"]
    solved = whole.solved()
    stays: Booleans = whole.kept if whole.kept is not None else whole.allowed
    estimates = np.where(stays, back @ whole.beta, np.nan)
    covariance = np.where(np.outer(stays, stays), back @ solved.inverse @ back.T, np.nan)
    shown = np.concatenate([np.ones(cuts, dtype=np.bool_), there])
    estimates, covariance = estimates[shown], covariance[np.ix_(shown, shown)]
    between = [f"{a}|{b}" for a, b in itertools.pairwise(levels)]
    named = [name for name, on in zip(terms.names, there, strict=True) if on]
    tests: dict[str, Answer] = {
        fit.name: chi_square(2.0 * (whole.loglik - fit.loglik), whole.df - fit.df) for fit in fits[1:]
    }
    answer: dict[str, Answer] = {
        "n": round(float(kept["counts"].sum())),
        "category_counts": {level: round(float(n)) for level, n in zip(levels, kept["counts"][present], strict=True)},
        "sign_convention": CONVENTION,
        "coef": coefficients(named, estimates[cuts:], covariance[cuts:, cuts:], hazard_ratio=False),
        "thresholds": coefficients(between, estimates[:cuts], covariance[:cuts, :cuts], hazard_ratio=False),
        "vcov": matrix([*between, *named], covariance),
        "loglik": whole.loglik,
        "aic": -2.0 * whole.loglik + 2.0 * whole.df,
        "lrt_drop1": tests,
        "iterations": whole.rounds,
        "gradient_norm": whole.distance,
        "condition_number": solved.condition,
        "converged": whole.converged,
        "aliased": [name for name, on in zip(named, stays[cuts:][there], strict=True) if not on],
        **told_rows(kept, terms),
        "notes": list(told_notes(kept, spec, notes, (NO_ROWS, LEVEL_ABSENT))),
    }
    said = []
    for fit in fits:
        which = "" if fit.name == WHOLE else f" (the model without {fit.name})"
        said += caveats.of_fit(fit.over, [*between, *terms.names], fit.infinite, fit.rounds, which)
    return Done(answer, (*said, *told_notes(kept, spec, notes, (persons.REPEATED,))), no_news=no_news(kept))
