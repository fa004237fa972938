"""Kaplan-Meier curves: each country gives a time table, the pooled half the curve, its limits, medians and means."""

from __future__ import annotations

import math
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
from isthmus_methods.parts.persons import Persons
from isthmus_methods.parts.survival.curve import (
    Curve,
    at_times,
    even_times,
    event_times,
    limits,
    quantile,
    restricted_mean,
    risk_table,
)
from isthmus_methods.parts.survival.restricted_means import rmst_difference
from isthmus_methods.parts.time_table import (
    MAX_CELLS,
    ROUNDED,
    ROUNDED_SAYS,
    Grid,
    grid_of,
    last_steps,
    leavers_of,
    on_grid,
    tabulate,
    time_support,
    times_in,
)
from isthmus_methods.plausible import Bound, events_among_leavers

OVERALL = "overall"
PROBABILITIES = {"q25": 0.25, "median": 0.5, "q75": 0.75}


# --------------------------------------------------------------------------- what is asked


@dataclass(frozen=True, slots=True)
class By:
    """A factor whose levels are the subgroups."""

    name: str
    levels: tuple[str, ...]
    country: bool  # each country is a level of it

    def subgroup(self, level: str) -> str:
        return f"{self.name}={level}"


@dataclass(frozen=True, slots=True)
class Plan:
    """The settings of one request, read and checked."""

    time: str
    grid: Grid  # from the landmark on
    skip: int  # steps up to the landmark
    landmark: float
    by: tuple[By, ...]
    times: tuple[float, ...]
    tau: float
    curves: bool
    compare: tuple[str, str] | None  # treated, control: levels of the first `by`

    @property
    def groups(self) -> int:
        return 1 + sum(len(by.levels) for by in self.by)


def plan_of(spec: Spec) -> Plan:
    """Raises `UsageError` where the request cannot be answered."""
    options = {name: spec.options.get(name, rule.default) for name, rule in KaplanMeier.options.items()}
    time = spec.role("time")[0]
    by = []
    for column in spec.role("by"):
        levels = spec.levels(column)
        by.append(By(column_name(column), levels, spec.is_country(column_name(column))))
    grid, landmark = grid_of(spec, time), times_in(options["landmark"])[0]
    skip = 0
    if landmark:
        steps, off = grid.steps(np.array([landmark]))
        skip = int(steps[0])
        if bool(off[0]) or not 0 < skip < grid.size - 1:
            raise UsageError(
                "LANDMARK_OFF_GRID",
                f"the landmark {landmark:g} is no step within the time grid of {column_name(time)!r}",
                f"choose a landmark on the grid of {grid.step:g}, before its end",
            )
        grid = Grid(0.0, grid.step, grid.size - skip)
    compare = options["compare"]
    pair: tuple[str, str] | None = None
    if isinstance(compare, tuple) and compare:
        known = by[0].levels if by else ()
        if len(compare) != 2 or any(level not in known for level in compare):
            raise UsageError(
                "COMPARE_LEVELS",
                "compare takes two levels of the first `by` variable, treated and control",
                f"choose two of: {', '.join(known)}" if known else "name a `by` variable",
            )
        pair = (str(compare[0]), str(compare[1]))
    tau = times_in(options["tau"])[0]
    if tau < 0 or not math.isfinite(tau) or (pair is not None and tau == 0):
        raise UsageError(
            "TAU_NEEDED", "a restricted mean needs a positive, finite time tau", "set tau, for example 365"
        )
    plan = Plan(
        column_name(time),
        grid,
        skip,
        landmark,
        tuple(by),
        tuple(sorted(times_in(options["times"]))),
        tau,
        bool(options["curves"]),
        pair,
    )
    if plan.groups * 2 * grid.size > MAX_CELLS:
        raise UsageError(
            "TABLE_TOO_LARGE",
            f"subgroups times grid steps make more than {MAX_CELLS} numbers",
            "ask for fewer subgroups, or fix a coarser time grid in the study's dictionary",
        )
    return plan


# --------------------------------------------------------------------------- inside a country


@dataclass(frozen=True, slots=True)
class Tables:
    """Events and leavers of every subgroup, (groups, 2, T): overall, then each level of each `by`. Adds."""

    counts: Integers
    persons: Persons
    rounded: bool
    last: Integers | None = None  # (groups, persons), only where a person has several rows

    def __add__(self, other: Tables, /) -> Tables:
        last = None
        if self.last is not None and other.last is not None:
            width = max(self.last.shape[1], other.last.shape[1])
            last = np.maximum(persons.widened(self.last, width), persons.widened(other.last, width))
        return Tables(self.counts + other.counts, self.persons + other.persons, self.rounded or other.rounded, last)


def fold_tables(block: Block, plan: Plan, by_person: bool) -> Tables:
    steps, rounded = block.memo(
        f"steps {plan.grid.step!r} {plan.landmark!r} {plan.time}", lambda: on_steps(block.numbers("time"), plan)
    )
    # after the landmark only; without one, everybody
    kept = steps > 0 if plan.skip else np.ones(len(steps), dtype=np.bool_)
    every = bool(kept.all())
    steps = steps if every else steps[kept]
    events = (block.numbers("event") == 1.0) if every else (block.numbers("event") == 1.0)[kept]
    subject = block.subject if every else block.subject[kept]
    size, parts, lasts = plan.grid.size, [], []
    for k in range(-1, len(plan.by)):
        if k < 0:
            groups, number = np.zeros(len(steps), dtype=np.int64), 1
        else:
            codes = block.codes("by", k)
            groups, number = codes if every else codes[kept], len(plan.by[k].levels)
        parts.append(tabulate(steps, events, groups, number, size))
        if by_person:
            lasts.append(last_steps(steps, groups, subject, number))
    last = np.concatenate(lasts) if by_person else None
    return Tables(np.concatenate(parts), Persons.of(subject), rounded, last)


def on_steps(times: Array, plan: Plan) -> tuple[Integers, bool]:
    """Steps counted from the landmark; those at or before it are not positive."""
    start = plan.landmark if plan.skip else plan.grid.start
    whole = Grid(start - plan.skip * plan.grid.step, plan.grid.step, plan.grid.size + plan.skip)
    steps, rounded = on_grid(whole, times, plan.time)
    return steps - plan.skip, rounded


def items_of(tables: Tables, plan: Plan) -> tuple[Item, ...]:
    """One table overall, one of all levels together for each `by`, and a country's own level only."""
    counts, size = tables.counts, plan.grid.size
    leavers = counts[:, 1] if tables.last is None else leavers_of(tables.last, size)
    rows = ("count", ("events", "leavers")), ("time", ())
    items = [Item("table", counts[0], time_support(leavers[:1]), OVERALL, rows)]
    first = 1
    for by in plan.by:
        last = first + len(by.levels)
        if by.country:
            items.extend(
                Item("subgroup_table", counts[j], time_support(leavers[first:last]), by.subgroup(level), rows)
                for j, level in enumerate(by.levels, start=first)
                if counts[j, 1].any()
            )
        else:
            support = time_support(leavers[first:last])
            items.append(Item("subgroup_table", counts[first:last], support, by.name, ((by.name, by.levels), *rows)))
        first = last
    return tuple(items)


# --------------------------------------------------------------------------- the pooled half


def describe(table: Array | Integers, plan: Plan) -> dict[str, Answer]:
    """All that is said about one subgroup."""
    curve = Curve.of(table, plan.grid)
    bands = limits(curve.survival, curve.greenwood)
    answer: dict[str, Answer] = {"n": curve.total, "events": curve.events}
    answer["quantiles"] = {
        name: {
            key: {
                "estimate": quantile(curve.time, 1.0 - curve.survival, p),
                "lower": quantile(curve.time, 1.0 - lower, p),
                "upper": quantile(curve.time, 1.0 - upper, p),
            }
            for key, p in PROBABILITIES.items()
        }
        for name, (lower, upper) in bands.items()
    }
    if plan.times:
        answer["at_times"] = at_times(curve, plan.times)
    if plan.tau:
        answer["rmst"] = restricted_mean(curve, plan.tau) if curve.total else None
    if plan.curves:
        answer["curve_event_times"] = event_times(curve, bands)
    answer["risk_table"] = risk_table(curve, plan.times or even_times(curve.last))
    answer["last_time"] = curve.last if curve.total else None
    return answer


def describes_mean(subgroup: Answer) -> bool:
    return isinstance(subgroup, Mapping) and isinstance(subgroup.get("rmst"), Mapping)


# --------------------------------------------------------------------------- the method


class KaplanMeier:
    """Survival curves overall and by one-way subgroups, exact on the study's time grid.

    Every country gives, for every step of the grid, how many have the event and how many leave (event or
    censoring). These tables add; the curve of the sum is the curve of the pooled rows.
    """

    name: ClassVar[str] = "kaplan_meier"
    version: ClassVar[int] = 1
    title: ClassVar[str] = "Kaplan-Meier curves"
    leaves: ClassVar[Mapping[str, Field]] = {
        "table": Field(Kind.EVENTS, "events and all leavers at each step of the time grid", "persons", "2 T"),
        "subgroup_table": Field(
            Kind.EVENTS,
            "the same for each level of a `by` variable, all levels together",
            "persons",
            "levels x 2 T",
            required=False,
        ),
    }
    bounds: ClassVar[tuple[Bound, ...]] = (events_among_leavers("table", "subgroup_table"),)
    roles: ClassVar[Mapping[str, Role]] = {
        "time": Role("time from 0 to event or censoring", holds="number"),
        "event": Role("1 = event, any other value = censored", holds="event"),
        "by": Role("factors whose levels get a curve each", required=False, many=True, holds="factor"),
    }
    options: ClassVar[Mapping[str, OptionRule]] = {
        "times": OptionRule("times at which survival is given, in the unit of time", ()),
        "tau": OptionRule("end of the restricted mean survival time; 0: none", 0.0),
        "curves": OptionRule("give the whole curve at its event times", True),
        "landmark": OptionRule("count only those still at risk after this time, and time from it; 0: none", 0.0),
        "compare": OptionRule(
            "two levels of the first `by`, treated and control, whose restricted means to compare", ()
        ),
    }
    uses_terms: ClassVar[bool] = False
    missingness: ClassVar[Missingness] = Missingness.COMPLETE
    notes: ClassVar[Mapping[str, str]] = {ROUNDED: ROUNDED_SAYS, persons.REPEATED: persons.REPEATED_SAYS}
    rounds: ClassVar[tuple[int, int]] = (1, 1)

    def scope(self, spec: Spec) -> Scope:
        return Scope.BY_COUNTRY if any(by.country for by in plan_of(spec).by) else Scope.TOTAL

    def fold(self, block: Block, spec: Spec, state: State, local: Any) -> Tables:
        return fold_tables(block, plan_of(spec), by_person=local is not None)

    def release(self, partial: Tables | None, spec: Spec, state: State, local: Any) -> Summary | Again:
        plan = plan_of(spec)
        if partial is None:
            empty = np.zeros((plan.groups, 2, plan.grid.size), dtype=np.int64)
            return Summary(items_of(Tables(empty, Persons.of(np.zeros(0, dtype=np.int64)), False), plan))
        if partial.persons.repeated and partial.last is None:
            return Again("by person")  # thresholds count persons, and rows are more than persons here
        notes = {ROUNDED: partial.rounded, persons.REPEATED: partial.persons.repeated}
        return Summary(items_of(partial, plan), frozenset(code for code, raised in notes.items() if raised))

    def pool(self, contributions: Contributions, spec: Spec, state: State, memory: State) -> Done:
        plan = plan_of(spec)
        said = list(caveats.of_notes(contributions, self.notes))
        nobody = np.zeros((2, plan.grid.size))
        overall = contributions.total("table", OVERALL)
        answer: dict[str, Answer] = {OVERALL: describe(nobody if overall is None else overall, plan)}
        for by in plan.by:
            labels = [by.subgroup(level) for level in by.levels] if by.country else [by.name]
            for label in labels:
                said += caveats.of_field(contributions, "subgroup_table", label, label)
            tables = [contributions.total("subgroup_table", label) for label in labels]
            for j, level in enumerate(by.levels):
                table = tables[j] if by.country else (None if tables[0] is None else tables[0][j])
                answer[by.subgroup(level)] = describe(nobody if table is None else table, plan)
        if plan.compare is not None:
            both = all(describes_mean(answer[plan.by[0].subgroup(level)]) for level in plan.compare)
            answer["rmst_difference"] = rmst_difference(answer, plan.by[0].name, *plan.compare) if both else None
        if plan.landmark:
            answer["landmark"] = plan.landmark
        return Done(answer, tuple(said))
