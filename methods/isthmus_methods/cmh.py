"""Association over strata: Cochran-Mantel-Haenszel tests, Mantel-Haenszel effects, homogeneity over strata."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from isthmus.errors import UsageError
from isthmus_methods.contract import (
    Again,
    Answer,
    Array,
    Block,
    Contributions,
    Done,
    Field,
    Kind,
    Missingness,
    OptionRule,
    Role,
    Scope,
    Spec,
    State,
    Summary,
    column_name,
)
from isthmus_methods.parts import caveats, persons
from isthmus_methods.parts.tables.cross_table import (
    COUNTRY,
    Axis,
    Crossed,
    axis_of,
    check_arms,
    check_size,
    event_axis,
)
from isthmus_methods.parts.tables.mantel_haenszel import Strata, effect, general_association

SINGULAR_SAYS = "the general association cannot be tested: some level occurs only where nothing else varies"


@dataclass(frozen=True, slots=True)
class Plan:
    """The request, read and checked."""

    strata: tuple[Axis, ...]  # without the country
    order: tuple[str | int, ...]  # of the strata as asked: "country", or the place in `strata`
    arm: Axis
    outcome: Axis
    two_arms: bool

    @property
    def by_country(self) -> bool:
        return COUNTRY in self.order

    @property
    def axes(self) -> tuple[Axis, ...]:
        return (*self.strata, self.arm, self.outcome)


def plan_of(spec: Spec) -> Plan:
    """Raises `UsageError` where the request cannot be answered."""
    treated, control, event = (str(spec.options.get(name, "")) for name in ("treated", "control", "event"))
    strata: list[Axis] = []
    order: list[str | int] = []
    for k, column in enumerate(spec.role("strata")):
        if spec.is_country(column_name(column)):
            order.append(COUNTRY)
        else:
            order.append(len(strata))
            strata.append(axis_of(spec, "strata", k))
    if not order or (spec.options.get("stratify_by_country") is True and COUNTRY not in order):
        order.insert(0, COUNTRY)
    if treated or control:
        check_arms(treated, control)
        arm, outcome = axis_of(spec, "arm", 0, (treated, control)), event_axis(spec, "outcome", event)
    else:
        if event:
            raise UsageError("NO_ARMS", "an event is named, and no arms", "name `treated` and `control` too")
        arm, outcome = axis_of(spec, "arm"), axis_of(spec, "outcome")
    plan = Plan(tuple(strata), tuple(order), arm, outcome, bool(treated))
    check_size(plan.axes)
    return plan


class Cmh:
    """Two factors within strata: of two arms and an event tests, common effects and homogeneity; otherwise one test.

    Source: Cochran (1954), Biometrics 10; Mantel & Haenszel (1959), JNCI 22; Landis, Heyman & Koch (1978),
    International Statistical Review 46.
    """

    name: ClassVar[str] = "cmh"
    version: ClassVar[int] = 1
    title: ClassVar[str] = "Cochran-Mantel-Haenszel"
    leaves: ClassVar[Mapping[str, Field]] = {
        "table": Field(Kind.COUNT, "rows by stratum, arm and outcome", "persons", "strata x R x C"),
    }
    roles: ClassVar[Mapping[str, Role]] = {
        "arm": Role("what is compared: arms, or any factor"),
        "outcome": Role("a factor, or with two arms the outcome"),
        "strata": Role("factors within whose levels is compared; none: the countries", required=False, many=True),
    }
    options: ClassVar[Mapping[str, OptionRule]] = {
        "treated": OptionRule("the arm that is compared, a level of `arm`", ""),
        "control": OptionRule("the arm it is compared with, a level of `arm`", ""),
        "event": OptionRule("which value of `outcome` is the event; without one, 1 or the condition holding", ""),
        "stratify_by_country": OptionRule("the country is a stratum too, beside those named", False),
    }
    uses_terms: ClassVar[bool] = False
    missingness: ClassVar[Missingness] = Missingness.PER_VARIABLE
    notes: ClassVar[Mapping[str, str]] = {persons.REPEATED: persons.REPEATED_SAYS}
    rounds: ClassVar[tuple[int, int]] = (1, 1)

    def scope(self, spec: Spec) -> Scope:
        return Scope.BY_COUNTRY if plan_of(spec).by_country else Scope.TOTAL

    def fold(self, block: Block, spec: Spec, state: State, local: Any) -> Crossed:
        return Crossed.of(block, plan_of(spec).axes, by_person=local is not None)

    def release(self, partial: Crossed | None, spec: Spec, state: State, local: Any) -> Summary | Again:
        axes = plan_of(spec).axes
        if partial is None:
            partial = Crossed.nothing(axes)
        if partial.must_see_persons:
            return Again("by person")  # thresholds count persons, and rows are more than persons here
        repeated = partial.complete.persons.repeated
        return Summary((partial.table_item(axes),), frozenset({persons.REPEATED} if repeated else ()))

    def pool(self, contributions: Contributions, spec: Spec, state: State, memory: State) -> Done:
        plan = plan_of(spec)
        names, tables = stratified(contributions, spec, plan)
        answer: dict[str, Answer] = {"arm": plan.arm.name, "outcome": plan.outcome.name}
        answer["strata_of"] = ["country" if k == COUNTRY else plan.strata[int(k)].name for k in plan.order]
        said = list(caveats.of_notes(contributions, self.notes))
        if plan.two_arms:
            return Done({**answer, **of_two_arms(names, tables)}, tuple(said))
        tested = general_association(tables)
        if tested["df"] and tested["statistic"] is None:
            said.append(SINGULAR_SAYS)
        return Done({**answer, "n": round(float(tables.sum())), "general_association": tested}, tuple(said))


def stratified(contributions: Contributions, spec: Spec, plan: Plan) -> tuple[list[str], Array]:
    """Names and tables (K, R, C) of the strata that have any row, in the order of their levels."""
    axes: list[tuple[str, ...]] = [axis.levels for axis in plan.strata]
    if plan.by_country:
        given = contributions.by_country("table")
        countries = tuple(dict.fromkeys([*spec.countries, *given]))
        shape = [len(axis.levels) for axis in plan.axes]
        table = np.stack([given.get(country, np.zeros(shape)) for country in countries])
        order = [0 if k == COUNTRY else int(k) + 1 for k in plan.order]
        axes = [countries, *axes]
    else:
        total = contributions.total("table")
        table = np.zeros([len(axis.levels) for axis in plan.axes]) if total is None else total
        order = [int(k) for k in plan.order]
    table = np.transpose(table, (*order, table.ndim - 2, table.ndim - 1))
    names = [", ".join(levels) for levels in itertools.product(*(axes[k] for k in order))]
    tables = table.reshape(len(names), *table.shape[-2:])
    used = tables.sum(axis=(1, 2)) > 0
    return [name for name, kept in zip(names, used, strict=True) if kept], tables[used]


CELLS = ("treated_event", "treated_noevent", "control_event", "control_noevent")


def of_two_arms(names: list[str], tables: Array) -> dict[str, Answer]:
    """Tests, common effects and homogeneity of 2 x 2 tables."""
    strata = Strata(tables)
    odds = effect(*strata.odds(), ratio=True)
    odds |= {"mantelhaen_test_estimate": odds["estimate"], "mantelhaen_test_ci95": odds["ci95"]}
    return {
        "strata": {
            name: dict(zip(CELLS, (round(float(x)) for x in table.ravel()), strict=True))
            for name, table in zip(names, tables, strict=True)
        },
        **strata.tests(),
        "mh_odds_ratio": odds,
        "mh_risk_ratio": effect(*strata.risks(), ratio=True),
        "mh_risk_difference": effect(*strata.difference(), ratio=False),
        **strata.breslow_day(),
        "woolf_homogeneity": strata.woolf(),
    }
