"""Cumulative incidence with competing causes: curves, and Gray's test between groups, from tables of leavers by cause.

Every country gives, for every step of the time grid, how many leave by each cause or censored. These tables add; what
follows from the sum is what follows from the pooled rows.
"""

from __future__ import annotations

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
    Integers,
    Item,
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
from isthmus_methods.parts.persons import Persons, widened
from isthmus_methods.parts.survival.gray import gray_test
from isthmus_methods.parts.survival.incidence import CauseTable, cuminc, described
from isthmus_methods.parts.time_table import (
    MAX_CELLS,
    ROUNDED,
    ROUNDED_SAYS,
    Grid,
    grid_of,
    last_steps,
    leavers_of,
    on_grid,
    time_support,
    times_in,
)

OVERALL = "overall"


@dataclass(frozen=True, slots=True)
class Grouping:
    """Rows dealt to groups, each with a table of its own."""

    field: str
    name: str  # of the variable, or empty
    roles: tuple[str, ...]  # roles whose columns make the groups, crossed
    place: int  # of the column in its role, where there is one role
    axes: tuple[tuple[str, tuple[str, ...]], ...]
    country: bool  # the first axis is the country: only a country's own level leaves, under its label

    @property
    def number(self) -> int:
        return int(np.prod([len(levels) for _, levels in self.axes], dtype=np.int64)) if self.axes else 1


@dataclass(frozen=True, slots=True)
class Plan:
    """The request, read and checked."""

    time: str
    grid: Grid
    cause: str
    levels: tuple[str, ...]  # of the cause
    censored: int
    groupings: tuple[Grouping, ...]
    times: tuple[float, ...]
    curves: bool

    @property
    def causes(self) -> tuple[str, ...]:
        return tuple(level for k, level in enumerate(self.levels) if k != self.censored)


def plan_of(spec: Spec) -> Plan:
    """Raises `UsageError` where the request cannot be carried out."""
    options = {name: spec.options.get(name, rule.default) for name, rule in CumulativeIncidence.options.items()}
    time, cause = spec.role("time")[0], spec.role("cause")[0]
    levels = spec.levels(cause)
    censored = str(options["censored"]) or (levels[0] if levels else "")
    if censored not in levels or len(levels) < 2:
        raise UsageError(
            "NO_CENSORED_LEVEL",
            f"{column_name(cause)!r} has no level {censored!r}; rule: one level means that no event was seen",
            f"name it as `censored`, one of: {', '.join(levels)}",
        )
    groupings = [Grouping("table", "", (), 0, (), country=False)]
    for k, column in enumerate(spec.role("by")):
        axes = ((column_name(column), spec.levels(column)),)
        groupings.append(Grouping("subgroup_table", axes[0][0], ("by",), k, axes, spec.is_country(column_name(column))))
    if spec.role("arm"):
        arm = spec.role("arm")[0]
        axes_ = ((column_name(arm), spec.levels(arm)),)
        groupings.append(Grouping("arm_table", axes_[0][0], ("arm",), 0, axes_, country=False))
        for column in spec.role("strata"):
            within = (column_name(column), spec.levels(column))
            groupings.append(
                Grouping(
                    "stratum_table",
                    within[0],
                    ("strata", "arm"),
                    0,
                    (within, *axes_),
                    spec.is_country(column_name(column)),
                )
            )
    elif spec.role("strata"):
        raise UsageError(
            "ARM_NEEDED", "strata are those of Gray's test, which compares arms", "name an arm, or leave strata out"
        )
    grid = grid_of(spec, time)
    cells = sum(g.number for g in groupings) * len(levels) * grid.size
    if cells > MAX_CELLS:
        raise UsageError(
            "TABLE_TOO_LARGE",
            f"groups times causes times grid steps make more than {MAX_CELLS} numbers",
            "ask for fewer groups, or fix a coarser time grid in the study's dictionary",
        )
    return Plan(
        column_name(time),
        grid,
        column_name(cause),
        levels,
        levels.index(censored),
        tuple(groupings),
        tuple(sorted(times_in(options["times"]))),
        bool(options["curves"]),
    )


# --------------------------------------------------------------------------- inside a country


@dataclass(frozen=True, slots=True)
class Tables:
    """Leavers of every grouping by group, level of the cause and step. Adds."""

    counts: tuple[Integers, ...]  # (groups, levels, T) each
    own: int  # the country's place among the levels of the country, where that makes groups; -1: none
    persons: Persons
    rounded: bool
    last: tuple[Integers, ...] = ()  # (groups, persons) each, only where a person has several rows

    def __add__(self, other: Tables, /) -> Tables:
        last = []
        for one, two in zip(self.last, other.last, strict=True):
            width = max(one.shape[1], two.shape[1])
            last.append(np.maximum(widened(one, width), widened(two, width)))
        return Tables(
            tuple(a + b for a, b in zip(self.counts, other.counts, strict=True)),
            max(self.own, other.own),
            self.persons + other.persons,
            self.rounded or other.rounded,
            tuple(last),
        )


def fold_tables(block: Block, plan: Plan, by_person: bool) -> Tables:
    """The tables of one block."""
    steps, rounded = block.memo(
        f"incidence steps {plan.grid.step!r}", lambda: on_grid(plan.grid, block.numbers("time"), plan.time)
    )
    cause, size, own = block.codes("cause"), plan.grid.size, -1
    counts, lasts = [], []
    for grouping in plan.groupings:
        codes, number = np.zeros(block.rows, dtype=np.int64), 1
        for k, role in enumerate(grouping.roles):
            column = block.codes(role, grouping.place if role == "by" else 0)
            if k == 0 and grouping.country:
                own = int(column[0]) if block.rows else own
                continue
            codes, number = codes * len(grouping.axes[k][1]) + column, number * len(grouping.axes[k][1])
        cells = (codes * len(plan.levels) + cause) * size + steps
        table = np.bincount(cells, minlength=number * len(plan.levels) * size)
        counts.append(table.reshape(number, len(plan.levels), size).astype(np.int64))
        if by_person:
            lasts.append(last_steps(steps, codes, block.subject, number))
    return Tables(tuple(counts), own, Persons.of(block.subject), rounded, tuple(lasts))


def items_of(tables: Tables, plan: Plan) -> tuple[Item, ...]:
    """One item a grouping, all its groups together; of the country's own level where the country makes groups."""
    items = []
    for k, grouping in enumerate(plan.groupings):
        counts = tables.counts[k]
        axes = grouping.axes[1:] if grouping.country else grouping.axes
        label = grouping.name
        if grouping.country:
            if tables.own < 0:
                continue
            label = f"{grouping.name}={grouping.axes[0][1][tables.own]}"
        leavers = counts.sum(axis=1) if not tables.last else leavers_of(tables.last[k], plan.grid.size)
        shape = (*(len(levels) for _, levels in axes), *counts.shape[1:])
        items.append(
            Item(
                grouping.field,
                counts.reshape(shape),
                time_support(leavers),
                label,
                (*axes, (plan.cause, plan.levels), ("time", ())),
            )
        )
    return tuple(items)


def _nobody(plan: Plan) -> Tables:
    shapes = [
        (g.number if not g.country else g.number // len(g.axes[0][1]), len(plan.levels), plan.grid.size)
        for g in plan.groupings
    ]
    none = Persons.of(np.zeros(0, dtype=np.int64))
    return Tables(tuple(np.zeros(shape, dtype=np.int64) for shape in shapes), -1, none, rounded=False)


# --------------------------------------------------------------------------- the method


class CumulativeIncidence:
    """Aalen-Johansen curves by cause, overall and by one-way subgroups; Gray's test between arms, within strata too.

    Source: Aalen & Johansen (1978), Scand. J. Statist. 5, 141-150; Gray (1988), Ann. Statist. 16, 1141-1154. Answers
    are those of R's `survfit` for several states and of cmprsk's `cuminc`.
    """

    name: ClassVar[str] = "cumulative_incidence"
    version: ClassVar[int] = 1
    title: ClassVar[str] = "Cumulative incidence with competing causes"
    leaves: ClassVar[Mapping[str, Field]] = {
        "table": Field(Kind.EVENTS, "leavers by cause at each step of the time grid", "persons", "causes x T"),
        "subgroup_table": Field(
            Kind.EVENTS, "the same for each level of a `by` variable", "persons", "levels x causes x T", required=False
        ),
        "arm_table": Field(Kind.EVENTS, "the same for each arm", "persons", "arms x causes x T", required=False),
        "stratum_table": Field(
            Kind.EVENTS,
            "the same for each arm within each stratum",
            "persons",
            "strata x arms x causes x T",
            required=False,
        ),
    }
    roles: ClassVar[Mapping[str, Role]] = {
        "time": Role("time from 0 to the first event or censoring", holds="number"),
        "cause": Role("what ended the time: one level for each cause, one for censored", holds="factor"),
        "by": Role("factors whose levels get curves of their own", required=False, many=True, holds="factor"),
        "arm": Role("groups that Gray's test compares", required=False, holds="factor"),
        "strata": Role("a factor within whose levels they are compared, too", required=False, holds="factor"),
    }
    options: ClassVar[Mapping[str, OptionRule]] = {
        "censored": OptionRule("the level of `cause` that means censored; none: its first", ""),
        "times": OptionRule("times at which incidence is given, in the unit of time", ()),
        "curves": OptionRule("give the whole curves at their event times", True),
    }
    uses_terms: ClassVar[bool] = False
    missingness: ClassVar[Missingness] = Missingness.COMPLETE
    notes: ClassVar[Mapping[str, str]] = {ROUNDED: ROUNDED_SAYS, persons.REPEATED: persons.REPEATED_SAYS}
    rounds: ClassVar[tuple[int, int]] = (1, 1)

    def scope(self, spec: Spec) -> Scope:
        return Scope.BY_COUNTRY if any(g.country for g in plan_of(spec).groupings) else Scope.TOTAL

    def fold(self, block: Block, spec: Spec, state: State, local: Any) -> Tables:
        return fold_tables(block, plan_of(spec), by_person=local is not None)

    def release(self, partial: Tables | None, spec: Spec, state: State, local: Any) -> Summary | Again:
        plan = plan_of(spec)
        if partial is None:
            return Summary(items_of(_nobody(plan), plan))
        if partial.persons.repeated and not partial.last:
            return Again("by person")  # thresholds count persons, and rows are more than persons here
        notes = {ROUNDED: partial.rounded, persons.REPEATED: partial.persons.repeated}
        return Summary(items_of(partial, plan), frozenset(code for code, raised in notes.items() if raised))

    def pool(self, contributions: Contributions, spec: Spec, state: State, memory: State) -> Done:
        plan = plan_of(spec)
        said = list(caveats.of_notes(contributions, self.notes))
        curves: dict[str, Answer] = {}
        answer: dict[str, Answer] = {"aalen_johansen": curves, "causes": list(plan.causes)}
        for grouping in plan.groupings:
            tables = _tables(contributions, grouping, plan, said)
            if grouping.field == "table":
                curves[OVERALL] = _described(tables[0], plan)
            elif grouping.field == "subgroup_table":
                for level, table in zip(grouping.axes[0][1], tables, strict=True):
                    curves[f"{grouping.name}={level}"] = _described(table, plan)
            elif grouping.field == "arm_table":
                answer["cuminc"] = _cuminc(tables, grouping, plan)
                answer["gray_test"] = _gray([np.stack(tables)], plan)
            else:
                strata = np.stack(tables).reshape(len(grouping.axes[0][1]), -1, len(plan.levels), plan.grid.size)
                answer["gray_test_stratified"] = _gray(list(strata), plan)
                answer["strata"] = grouping.name
        return Done(answer, tuple(said))


def _tables(contributions: Contributions, grouping: Grouping, plan: Plan, said: list[str]) -> list[Array]:
    """The pooled table of each group, (levels, T), zeros where nobody is."""
    shape = (-1, len(plan.levels), plan.grid.size)
    names = [grouping.name]
    if grouping.country:
        names = [f"{grouping.name}={level}" for level in grouping.axes[0][1]]
    found: list[Array] = []
    each = grouping.number // len(names)
    for name in names:
        said += caveats.of_field(contributions, grouping.field, name, name or OVERALL)
        total = contributions.total(grouping.field, name)
        found += list(np.zeros((each, *shape[1:])) if total is None else total.reshape(shape))
    return found


def _described(table: Array, plan: Plan) -> Answer:
    return described(CauseTable.of(table, plan.grid, plan.censored), plan.causes, plan.times, plan.curves)


def _cuminc(tables: list[Array], grouping: Grouping, plan: Plan) -> Answer:
    """By arm and cause; arms without rows are left out."""
    found: dict[str, Answer] = {}
    for level, counts in zip(grouping.axes[0][1], tables, strict=True):
        if counts.any():
            table = CauseTable.of(counts, plan.grid, plan.censored)
            found[level] = {cause: cuminc(table, j, plan.times) for j, cause in enumerate(plan.causes)}
    return found


def _gray(strata: list[Array], plan: Plan) -> Answer:
    places = [k for k in range(len(plan.levels)) if k != plan.censored]
    return {cause: gray_test(strata, plan.censored, k) for cause, k in zip(plan.causes, places, strict=True)}
