"""Cox's proportional hazards model, stratified by country: each country keeps its own baseline hazard.

The pooled log partial likelihood is then the sum of the countries' own, and so are its score and its information:
p + p (p + 1) / 2 numbers a country and round are enough for the exact fit. Newton's method runs at the coordinator.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from isthmus.errors import MethodError
from isthmus_methods.contract import (
    Again,
    Array,
    Block,
    Contributions,
    Done,
    Field,
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
)
from isthmus_methods.parts import cox_answer, cox_plan
from isthmus_methods.parts.concordance import pair_counts
from isthmus_methods.parts.country_fit import (
    First,
    Gathered,
    Heaviest,
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
from isthmus_methods.parts.cox_plan import Plan, plan_of
from isthmus_methods.parts.model_support import count_items, level_persons, nobody
from isthmus_methods.parts.proportionality import pieces
from isthmus_methods.parts.risk_steps import Steps, cumulative_hazard
from isthmus_methods.parts.symmetric import packed
from isthmus_methods.parts.time_table import ROUNDED, ROUNDED_SAYS

NO_ROWS, NO_EVENTS, LEVEL_ABSENT, EMPTY_INTERVAL = "NO_ROWS", "NO_EVENTS", "LEVEL_ABSENT", "EMPTY_INTERVAL"


class Cox:
    """Stratified Cox regression with Efron or Breslow ties, delayed entry and further strata inside a country.

    Source: Cox (1972), JRSS B 34, 187-220; Efron (1977), JASA 72, 557-565; for the sums over countries, Lu et al.
    (2015), JAMIA 22, 1212-1219. Answers are those of R's `coxph(Surv(start, time, event) ~ terms + strata(country))`.
    """

    name: ClassVar[str] = "cox"
    version: ClassVar[int] = 1
    title: ClassVar[str] = "Cox model, stratified by country"
    leaves: ClassVar[Mapping[str, Field]] = {
        "outcomes": Field(Kind.COUNT, "rows with and without an event", "rows", "2"),
        "excluded": Field(Kind.COUNT, "rows left out for a missing value", "rows", "1", required=False),
        "levels": Field(Kind.COUNT, "rows at each level of a factor", "rows", "levels", required=False),
        "loglik": Field(Kind.SCORE, "log partial likelihood", size="1"),
        "score": Field(Kind.SCORE, "its gradient", size="p"),
        "information": Field(Kind.INFORMATION, "minus its second derivative", size="p (p + 1) / 2"),
        "meat": Field(
            Kind.CROSS_PRODUCT, "score residuals by cluster, squared and summed", size="p (p + 1) / 2", required=False
        ),
        "time_table": Field(
            Kind.EVENTS, "events, leavers and late entries at each step of the time grid", "rows", "3 T", required=False
        ),
        "hazard": Field(Kind.HAZARD, "baseline cumulative hazard", size="T", required=False),
        "shape_events": Field(Kind.SCORE, "transformed time summed over events", size="1", required=False),
        "shape_score": Field(Kind.SCORE, "score of the terms times transformed time", size="p", required=False),
        "shape_information": Field(
            Kind.INFORMATION, "information times transformed time", size="p (p + 1) / 2", required=False
        ),
        "shape_information_squared": Field(
            Kind.INFORMATION, "information times its square", size="p (p + 1) / 2", required=False
        ),
        "pairs": Field(Kind.CROSS_PRODUCT, "concordant, discordant and tied pairs of rows", size="3", required=False),
        "pair_squares": Field(Kind.CROSS_PRODUCT, "their squares by row, summed", size="3", required=False),
    }
    roles: ClassVar[Mapping[str, Role]] = {
        "time": Role("time of the event or of censoring", holds="number"),
        "event": Role("1 = event, any other value = censored", holds="event"),
        "start": Role("start of the row's interval (start, time]", required=False, holds="number"),
        "strata": Role(
            "factors with a baseline hazard for each combination", required=False, many=True, holds="factor"
        ),
        "cluster": Role("rows that belong together, for a robust variance", required=False, holds="unit"),
    }
    options: ClassVar[Mapping[str, OptionRule]] = cox_plan.OPTIONS
    uses_terms: ClassVar[bool] = True
    missingness: ClassVar[Missingness] = Missingness.COMPLETE
    notes: ClassVar[Mapping[str, str]] = {
        NO_ROWS: "{countries}: no complete rows, so nothing of it is in the model",
        NO_EVENTS: "{countries}: no events, so nothing of it is in the model",
        LEVEL_ABSENT: "{countries}: no row has one of the levels, so the others alone say what its effect is",
        EMPTY_INTERVAL: "{countries}: rows whose interval (start, time] is empty were left out, as R does",
        ROUNDED: ROUNDED_SAYS,
    }
    rounds: ClassVar[tuple[int, int]] = (2, cox_plan.MOST_ITERATIONS + 2)

    def stratified_by_country(self, options: Mapping[str, object]) -> bool:
        return options.get("stratify_by_country", True) is not False

    def scope(self, spec: Spec) -> Scope:
        return Scope.BY_COUNTRY if plan_of(spec).baseline else Scope.TOTAL

    # ----------------------------------------------------------------- inside a country

    def fold(self, block: Block, spec: Spec, state: State, local: Any) -> First | Second | Heaviest:
        plan = plan_of(spec)
        wanted = _wanted(plan, state)
        if local is None:
            return first_pass(block, spec, _beta(plan, state), wanted)
        if isinstance(local, Gathered):
            shapes = tuple(_shape(plan, name, local, state) for name in wanted.shapes)
            return second_pass(block, spec, local, wanted, shapes)
        return third_pass(block, spec, local, wanted)

    def release(self, partial: Any, spec: Spec, state: State, local: Any) -> Summary | Again:
        plan = plan_of(spec)
        wanted = _wanted(plan, state)
        if partial is None:
            return _summary_of_nobody(plan, spec, state, wanted)
        if isinstance(partial, First):
            return Again(gathered(partial, wanted))
        if isinstance(partial, Second):
            shapes = tuple(_shape(plan, name, local, state) for name in wanted.shapes)
            return Again(weighed(local, partial, shapes))
        return _summary(plan, spec, state, wanted, local, support_of(local, partial, spec))

    # ----------------------------------------------------------------- at the coordinator

    def pool(self, contributions: Contributions, spec: Spec, state: State, memory: State) -> Next | Done:
        return cox_answer.pool(contributions, spec, plan_of(spec), state, memory, self.notes)


def _beta(plan: Plan, state: State) -> Array:
    beta = state.get("beta")
    if beta is None:
        return np.zeros(plan.p)
    if beta.shape != (plan.p,) or not np.all(np.isfinite(beta)):
        raise MethodError(
            "WRONG_STATE", "the coordinator sent a state that is not this model's", "start the analysis anew"
        )
    return beta


def _wanted(plan: Plan, state: State) -> Wanted:
    first, last = not state, "last" in state
    steps = None
    if first and plan.grid is not None:
        steps = Steps("time", plan.grid, plan.grid.times(np.arange(plan.grid.size)), False)
    elif last and plan.steps is not None:
        steps = plan.steps
    return Wanted(
        efron=plan.efron,
        clusters=plan.robust,
        residuals=plan.robust and (first or last),
        shapes=tuple(name for name in plan.shapes if name != "km" or "km" in state) if last else (),
        pairs=plan.concordance and last,
        steps=steps,
    )


def _shape(plan: Plan, name: str, local: Gathered, state: State) -> Array:
    """The time transform at the country's event times, (J,)."""
    times = local.sets.time
    if name == "identity":
        return times
    scale = state.get("km")
    if plan.grid is None or scale is None or scale.shape != (plan.grid.size,):
        raise MethodError("WRONG_STATE", "the scale of time is missing from the state", "start the analysis anew")
    return scale[plan.grid.steps(times)[0]]


def _summary(plan: Plan, spec: Spec, state: State, wanted: Wanted, local: Weighed, support: ModelSupport) -> Summary:
    known, second = local.known, local.second
    sets, persons = known.sets, known.persons
    raised = {
        NO_EVENTS: not len(sets.time),
        LEVEL_ABSENT: 0 in support.level_persons.values(),
        EMPTY_INTERVAL: known.used.empty_intervals > 0,
        ROUNDED: known.times is not None and known.times.rounded,
    }
    items: list[Item] = []
    if not state:
        items.extend(count_items(known.used, persons, spec))
    items += _fit_items(sets.loglik, sets.score, local.information(), support)
    if wanted.residuals and second.by_cluster is not None:
        items.append(Item("meat", packed(second.by_cluster.meat()), support))
    if known.times is not None and not state:
        items.append(Item("time_table", known.times.rows.sum(axis=0)[:, :-1], known.times.support()))
    if known.times is not None and state and plan.steps is not None:
        for s, code in enumerate(known.times.strata):
            hazard = cumulative_hazard(sets, plan.steps, int(code))
            label = plan.stratum_label(int(code))
            items.append(Item("hazard", hazard, known.times.support(s), label))
    for name, shape, total in zip(wanted.shapes, local.shapes, second.shapes, strict=True):
        values = pieces(total, sets, shape)
        items += [
            Item("shape_events", values["events"], support, name),
            Item("shape_score", values["score"], support, name),
            Item("shape_information", packed(values["information"]), support, name),
            Item("shape_information_squared", packed(values["information_squared"]), support, name),
        ]
    if second.predictors is not None:
        pairs, squares = pair_counts(second.predictors)
        items += [Item("pairs", pairs, support), Item("pair_squares", squares, support)]
    return Summary(tuple(items), frozenset(code for code, on in raised.items() if on))


def _fit_items(loglik: float, score: Array, information: Array, support: ModelSupport) -> list[Item]:
    return [
        Item("loglik", np.array([loglik]), support),
        Item("score", score, support),
        Item("information", packed(information), support),
    ]


def _summary_of_nobody(plan: Plan, spec: Spec, state: State, wanted: Wanted) -> Summary:
    """Zeros, so that a country without rows adds nothing and is named."""
    total = nobody(spec)
    persons = total.persons()
    support = ModelSupport(0, plan.p, 0, level_persons(persons, spec))
    zeros = np.zeros((plan.p, plan.p))
    # how many rows are incomplete is not known here: without a complete one there is no block
    items = [] if state else [item for item in count_items(total, persons, spec) if item.field != "excluded"]
    items += _fit_items(0.0, np.zeros(plan.p), zeros, support)
    if wanted.residuals:
        items.append(Item("meat", packed(zeros), support))
    return Summary(tuple(items), frozenset({NO_ROWS}))
