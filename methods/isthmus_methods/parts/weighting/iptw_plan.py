"""What a request to inverse probability weighting asks for, and the requests of the analyses that it is made of."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from isthmus.errors import UsageError
from isthmus_methods.contract import (
    Column,
    Comparison,
    Function,
    Indicator,
    Not,
    Operator,
    Setting,
    Spec,
    Term,
    Transform,
    VariableType,
    column_name,
)
from isthmus_methods.parts.kept import kept_by_request
from isthmus_methods.parts.regression import glm_plan
from isthmus_methods.parts.time_table import Grid, grid_of
from isthmus_methods.request import CONDITION_LEVELS

ARMS = ("control", "treated")
TIES = ("efron", "breslow")
PROPENSITY, BALANCE, CURVES, UNWEIGHTED = "propensity", "balance", "curves", "unweighted"


@dataclass(frozen=True, slots=True)
class Plan:
    treated: str
    weightings: tuple[str, ...]  # "ate", "stabilised" or "att"
    trim: tuple[float, float]
    truncate: float
    times: tuple[float, ...]
    tau: float
    grid: Grid
    propensity: Spec
    glm: glm_plan.Plan
    cox: tuple[tuple[str, str, str, Spec], ...]  # name, weighting, ties, request
    stratified: bool  # each country its own baseline hazard

    @property
    def last(self) -> str:
        """The weighting that balance and curves are shown with."""
        return self.weightings[-1]


@kept_by_request
def plan_of(spec: Spec) -> Plan:
    """The plan of a request. Raises `UsageError` where it cannot be carried out."""
    treatment, options = spec.role("treatment")[0], spec.options
    levels = spec.levels(treatment)
    treated = str(options.get("treated", "")) or (levels[-1] if len(levels) == 2 else "")
    if treated not in levels or len(levels) < 2:
        raise UsageError(
            "UNKNOWN_LEVEL",
            f"{column_name(treatment)} has no level {treated!r} to be the treated; it has: {', '.join(levels)}",
            "name one of these as `treated`",
        )
    if not spec.terms:
        raise UsageError("NO_TERMS", "a propensity model needs at least one term", "add a term to the formula")
    is_treated = _is_level(spec, treatment, treated)
    estimand = str(options.get("estimand", "ate"))
    weightings = ("ate", "stabilised") if estimand == "ate" else ("att",)
    own = replace(spec, options={})
    propensity = replace(own, method="glm", roles={"outcome": (is_treated,)})
    arm: Column = Transform(Function.FACTOR, is_treated)
    stratified = options.get("stratify_by_country", True) is not False
    cox = []
    for weighting in (UNWEIGHTED, *weightings):
        for ties in TIES:
            roles = {"time": spec.role("time"), "event": spec.role("event")}
            if weighting != UNWEIGHTED:
                roles["weights"] = (is_treated,)
            settings: dict[str, Setting] = {
                "ties": ties,
                "robust_each_row": True,
                "robust_country": True,
                "stratify_by_country": stratified,
            }
            request = replace(own, method="cox", roles=roles, terms=(Term((arm,)),), options=settings)
            cox.append((f"cox {weighting} {ties}", weighting, ties, request))
    return Plan(
        treated=treated,
        weightings=weightings,
        trim=_trim(options.get("trim", ())),
        truncate=_truncate(options.get("truncate", 0.0)),
        times=tuple(float(t) for t in _listed(options.get("times", ()))),
        tau=float(str(options.get("tau", 0.0) or 0.0)),
        grid=grid_of(spec, spec.role("time")[0]),
        propensity=propensity,
        glm=glm_plan.plan_of(propensity),
        cox=tuple(cox),
        stratified=stratified,
    )


def _is_level(spec: Spec, column: Column, level: str) -> Indicator:
    """The condition that a factor has a level."""
    while isinstance(column, Transform):
        column = column.argument
    if isinstance(column, Indicator):
        return column if level == CONDITION_LEVELS[1] else Indicator(Not(column.predicate))
    named = spec.variables[column.variable].type is VariableType.FACTOR
    return Indicator(Comparison(column.variable, Operator.EQUAL, level if named else float(level)))


def _listed(value: object) -> tuple[float, ...]:
    return tuple(float(str(x)) for x in value) if isinstance(value, tuple) else ()


def _trim(value: object) -> tuple[float, float]:
    bounds = _listed(value) or (0.0, 1.0)
    if len(bounds) != 2 or not 0.0 <= bounds[0] < bounds[1] <= 1.0:
        raise UsageError("WRONG_OPTION", "trim takes two probabilities, the smaller first", "write trim = (0.05, 0.95)")
    return bounds[0], bounds[1]


def _truncate(value: object) -> float:
    largest = float(str(value))
    if not largest >= 0.0 or math.isinf(largest):
        raise UsageError("WRONG_OPTION", "truncate is the largest weight, above 0", "leave it at its default: none")
    return largest
