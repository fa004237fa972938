"""Inverse probability of treatment weighting: a pooled propensity model, then weighted curves and hazard ratios.

First the logistic model of treatment, over all countries. With its coefficients each country knows its rows' weights:
then sums say how well they balance the covariates, and weighted Cox models of treatment and weighted survival curves
follow, side by side in the same rounds. No weight leaves a country.
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
    column_name,
)
from isthmus_methods.cox import Cox
from isthmus_methods.glm import Glm
from isthmus_methods.parts import several
from isthmus_methods.parts.several import Half, Part
from isthmus_methods.parts.weighting import iptw_answer
from isthmus_methods.parts.weighting.iptw_curves import CurvesHalf
from isthmus_methods.parts.weighting.iptw_plan import BALANCE, CURVES, PROPENSITY, Plan, plan_of
from isthmus_methods.parts.weighting.iptw_rows import BalanceHalf, cox_rows, propensity_block

_OF_GLM = ("columns", "saturated", "deviance", "score", "information", "expected", "pearson")
_OF_COX = ("loglik", "meat", "time_table", "whole", "at_risk", "dying", "event_weight", "events", "cross_product")


class Iptw:
    """Effect of a treatment on survival, weighted by the inverse probability of the treatment that was given.

    Source: Robins, Hernan & Brumback (2000), Epidemiology 11, 550-560; Cole & Hernan (2004), Computer Methods and
    Programs in Biomedicine 75, 45-49; Austin & Stuart (2015), Statistics in Medicine 34, 3661-3679.
    """

    name: ClassVar[str] = "iptw"
    version: ClassVar[int] = 1
    title: ClassVar[str] = "Inverse probability of treatment weighting"
    leaves: ClassVar[Mapping[str, Field]] = {
        "outcomes": Field(
            Kind.COUNT, "rows treated and not; rows with and without an event", "rows", "2", divides=True
        ),
        "excluded": Field(Kind.COUNT, "rows left out for a missing value", "rows", "1", required=False),
        "levels": Field(Kind.COUNT, "rows at each level of a factor", "rows", "levels", required=False),
        **{name: Glm.leaves[name] for name in _OF_GLM},
        **{name: Cox.leaves[name] for name in _OF_COX},
        "balance": Field(
            Kind.CROSS_PRODUCT,
            "rows, propensities, covariates and their squares summed, by arm",
            size="2 + 2 q",
            required=False,
        ),
        "weighted_balance": Field(
            Kind.CROSS_PRODUCT,
            "weights, their squares and weighted covariates summed, by arm",
            size="2 + q",
            required=False,
        ),
        "propensity": Field(
            Kind.HISTOGRAM, "rows at each propensity, by arm, for its range", "rows", "cells", required=False
        ),
        "weighted_table": Field(
            Kind.RISK_SETS, "weights at risk and of the events at each event time, by arm", size="2 J", required=False
        ),
    }
    roles: ClassVar[Mapping[str, Role]] = {
        "time": Role("time of the event or of censoring", holds="number"),
        "event": Role("1 = event, any other value = censored", holds="event"),
        "treatment": Role("the treatment that was given", holds="factor"),
    }
    options: ClassVar[Mapping[str, OptionRule]] = {
        "stratify_by_country": OptionRule(
            "hazard ratios are of Cox models in which each country keeps its own baseline hazard; False: all share one",
            True,
        ),
        "treated": OptionRule("level of the treatment that is weighted as treated; none: the second of two", ""),
        "estimand": OptionRule("effect in everybody, or in the treated", "ate", ("ate", "att")),
        "trim": OptionRule("rows with a propensity outside these two bounds are left out; none: all stay", ()),
        "truncate": OptionRule("larger weights are set to this; 0: none is", 0.0),
        "times": OptionRule("times at which the weighted curves are given", ()),
        "tau": OptionRule("end of the restricted mean survival time; 0: none", 0.0),
    }
    uses_terms: ClassVar[bool] = True
    missingness: ClassVar[Missingness] = Missingness.COMPLETE
    notes: ClassVar[Mapping[str, str]] = {**Cox.notes, **Glm.notes}
    rounds: ClassVar[tuple[int, int]] = (6, Glm.rounds[1] + Cox.rounds[1])

    def leaving(self, options: Mapping[str, object]) -> Collection[str]:
        shared = {"stratify_by_country": options.get("stratify_by_country", True)}
        of_cox = Cox().leaving({**shared, "robust_each_row": True, "robust_country": True})
        return [name for name in self.leaves if name not in _OF_COX or name in of_cox or name == "time_table"]

    def scope(self, spec: Spec) -> Scope:
        return Scope.TOTAL

    # ----------------------------------------------------------------- inside a country

    def fold(self, block: Block, spec: Spec, state: State, local: Any) -> Partial:
        return several.fold(_parts(plan_of(spec), spec, state), block, state, local)

    def release(self, partial: Any, spec: Spec, state: State, local: Any) -> Summary | Again:
        return several.release(_parts(plan_of(spec), spec, state), partial, state, local)

    # ----------------------------------------------------------------- at the coordinator

    def pool(self, contributions: Contributions, spec: Spec, state: State, memory: State) -> Next | Done:
        return iptw_answer.pool(contributions, plan_of(spec), state, memory)


def _parts(plan: Plan, spec: Spec, state: State) -> list[Part[Half]]:
    """The analyses that the state asks for; the propensity model until its coefficients are there."""
    if "beta" not in state:
        return [Part(PROPENSITY, Glm(), plan.propensity, lambda block: propensity_block(block, plan, spec))]
    parts: list[Part[Half]] = []
    if "ask balance" in state:
        parts.append(Part(BALANCE, BalanceHalf(plan, spec, state), spec))
    if "ask curves" in state:
        name = column_name(spec.role("time")[0])
        parts.append(Part(CURVES, CurvesHalf(plan, spec, state, name), spec))
    for name, weighting, _, request in plan.cox:
        if f"ask {name}" in state:
            rows = cox_rows(plan, spec, state, weighting, request)
            parts.append(Part(name, Cox(), request, rows, frozenset({"excluded"})))
    return parts
