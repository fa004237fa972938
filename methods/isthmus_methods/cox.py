"""Cox's proportional hazards model, stratified by country or with one baseline hazard for all countries.

Where each country keeps its own baseline hazard, the pooled log partial likelihood is the sum of the countries' own,
and so are its score and its information: p + p (p + 1) / 2 numbers a country and round are enough for the exact fit.
With one for all, sums over those at risk at the pooled event times leave too, on the study's time grid. Newton's method
runs at the coordinator.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar

from isthmus_methods.contract import (
    Again,
    Block,
    Contributions,
    Done,
    Field,
    Kind,
    Missingness,
    Next,
    OptionRule,
    Partial,
    Role,
    Scope,
    Spec,
    State,
    Summary,
)
from isthmus_methods.parts.first_round import LEVEL_ABSENT, LEVEL_ABSENT_SAYS, NO_ROWS, NO_ROWS_SAYS
from isthmus_methods.parts.survival import cox_answer, cox_country, cox_plan, pooled_answer, pooled_passes
from isthmus_methods.parts.survival.cox_plan import EMPTY_INTERVAL, FAR_OFF, NO_EVENTS, plan_of
from isthmus_methods.parts.time_table import ROUNDED, ROUNDED_SAYS
from isthmus_methods.plausible import Bound, events_among_leavers, parts_within
from isthmus_methods.plausible_time import risk_sets_shrink, table_within, whole_in_range

# Fields of a fit in which each country has a baseline hazard of its own, and of one in which all share one.
BY_COUNTRY = frozenset(
    ("loglik", "score", "information", "hazard", "shape_events", "shape_information", "shape_information_squared")
) | {"pairs", "pair_squares"}
ONE_HAZARD = frozenset(
    ("whole", "at_risk", "dying", "event_weight", "events", "cross_product", "shape_cross_product", "ranks")
)


class Cox:
    """Cox regression with Efron or Breslow ties, delayed entry, strata and case weights.

    Source: Cox (1972), JRSS B 34, 187-220; Efron (1977), JASA 72, 557-565; for the sums over countries, Lu et al.
    (2015), JAMIA 22, 1212-1219. Answers are those of R's `coxph(Surv(start, time, event) ~ terms + strata(country))`,
    or of the same without `strata(country)`.
    """

    name: ClassVar[str] = "cox"
    version: ClassVar[int] = 1
    title: ClassVar[str] = "Cox model"
    leaves: ClassVar[Mapping[str, Field]] = {
        "outcomes": Field(Kind.COUNT, "rows with and without an event", "rows", "2", divides=True),
        "excluded": Field(Kind.COUNT, "rows left out for a missing value", "rows", "1", required=False),
        "levels": Field(Kind.COUNT, "rows at each level of a factor", "rows", "levels", required=False),
        "loglik": Field(Kind.SCORE, "log partial likelihood", size="1"),
        "score": Field(Kind.SCORE, "its gradient", size="p"),
        "information": Field(Kind.INFORMATION, "minus its second derivative", size="p (p + 1) / 2", gram=True),
        "meat": Field(
            Kind.CROSS_PRODUCT,
            "score residuals by cluster, squared and summed",
            size="p (p + 1) / 2",
            required=False,
            gram=True,
        ),
        "time_table": Field(
            Kind.EVENTS, "events, leavers and late entries at each step of the time grid", "rows", "3 T", required=False
        ),
        "whole": Field(Kind.RISK_SETS, "rows and covariates summed, as those at risk at the beginning", size="1 + p"),
        "at_risk": Field(
            Kind.RISK_SETS, "weights and weighted covariates of those at risk at each event time", size="J (1 + p)"
        ),
        "dying": Field(
            Kind.RISK_SETS, "the same of those with the event, where several have it at once", size="J (1 + p)"
        ),
        "event_weight": Field(Kind.RISK_SETS, "case weights of the events at each event time", size="J"),
        "events": Field(Kind.RISK_SETS, "case weight and covariates summed over the events", size="1 + p"),
        "cross_product": Field(
            Kind.CROSS_PRODUCT,
            "covariates squared, weighted by the hazard gathered at risk",
            size="p (p + 1) / 2",
            gram=True,
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
        "shape_cross_product": Field(
            Kind.CROSS_PRODUCT, "the cross-product with transformed time", size="p (p + 1) / 2", required=False
        ),
        "ranks": Field(
            Kind.HISTOGRAM,
            "rows at each linear predictor, time and outcome, for a concordance over countries",
            "rows",
            "cells",
            required=False,
        ),
        "pairs": Field(Kind.CROSS_PRODUCT, "concordant, discordant and tied pairs of rows", size="3", required=False),
        "pair_squares": Field(Kind.CROSS_PRODUCT, "their squares by row, summed", size="3", required=False),
    }
    bounds: ClassVar[tuple[Bound, ...]] = (
        parts_within("levels", "outcomes", summed=True),
        events_among_leavers("time_table"),
        table_within("time_table", "outcomes", "start"),
        whole_in_range("whole"),
        risk_sets_shrink("at_risk", "dying", "start", "strata"),
    )
    roles: ClassVar[Mapping[str, Role]] = {
        "time": Role("time of the event or of censoring", holds="number"),
        "event": Role("1 = event, any other value = censored", holds="event"),
        "start": Role("start of the row's interval (start, time]", required=False, holds="number"),
        "strata": Role(
            "factors with a baseline hazard for each combination", required=False, many=True, holds="factor"
        ),
        "weights": Role("case weights > 0; robust standard errors take them as known", required=False, holds="number"),
        "cluster": Role("rows that belong together, for a robust variance", required=False, holds="unit"),
    }
    options: ClassVar[Mapping[str, OptionRule]] = cox_plan.OPTIONS
    uses_terms: ClassVar[bool] = True
    missingness: ClassVar[Missingness] = Missingness.COMPLETE
    notes: ClassVar[Mapping[str, str]] = {
        NO_ROWS: NO_ROWS_SAYS,
        NO_EVENTS: "{countries}: no events, so nothing of it is in the model",
        LEVEL_ABSENT: LEVEL_ABSENT_SAYS,
        EMPTY_INTERVAL: "{countries}: rows whose interval (start, time] is empty were left out, as R does",
        FAR_OFF: "{countries}: a step of the fit went out of the range of numbers and was taken back",
        ROUNDED: ROUNDED_SAYS,
    }
    # two an iteration where countries share a baseline hazard
    rounds: ClassVar[tuple[int, int]] = (2, 2 * cox_plan.MOST_ITERATIONS + 4)

    def stratified_by_country(self, options: Mapping[str, object]) -> bool:
        return options.get("stratify_by_country", True) is not False

    def leaving(self, options: Mapping[str, object]) -> Collection[str]:
        return self.leaves.keys() - (ONE_HAZARD if self.stratified_by_country(options) else BY_COUNTRY)

    def scope(self, spec: Spec) -> Scope:
        plan = plan_of(spec)
        return Scope.BY_COUNTRY if plan.stratified and plan.baseline else Scope.TOTAL

    # ----------------------------------------------------------------- inside a country

    def fold(self, block: Block, spec: Spec, state: State, local: Any) -> Partial:
        plan = plan_of(spec)
        if plan.stratified:
            return cox_country.fold(block, spec, plan, state, local)
        return pooled_passes.fold(block, spec, plan, state, local)

    def release(self, partial: Any, spec: Spec, state: State, local: Any) -> Summary | Again:
        plan = plan_of(spec)
        if plan.stratified:
            return cox_country.release(partial, spec, plan, state, local)
        return pooled_passes.release(partial, spec, plan, state, local)

    # ----------------------------------------------------------------- at the coordinator

    def pool(self, contributions: Contributions, spec: Spec, state: State, memory: State) -> Next | Done:
        plan = plan_of(spec)
        if plan.stratified:
            return cox_answer.pool(contributions, spec, plan, state, memory, self.notes)
        return pooled_answer.pool(contributions, spec, plan, state, memory, self.notes)
