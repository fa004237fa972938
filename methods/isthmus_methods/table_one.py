"""Table 1: counts, means and standard deviations by arm; each variable over its own non-missing values."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
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
    Indicator,
    Integers,
    Item,
    Kind,
    Missingness,
    Next,
    OptionRule,
    Ref,
    Role,
    Scope,
    Spec,
    State,
    Summary,
    column_name,
)
from isthmus_methods.parts import caveats, persons
from isthmus_methods.parts.gathered import Gathered
from isthmus_methods.parts.moments import Sums, describe_numeric, nearest_to_zero
from isthmus_methods.parts.persons import Persons

OVERALL = "overall"
NO_ARM = "NO_ARM"


# --------------------------------------------------------------------------- what is asked


@dataclass(frozen=True, slots=True)
class Row:
    """One variable of the table."""

    k: int  # its place in the role `variables`
    name: str
    label: str
    unit: str
    type: str
    levels: tuple[str, ...]  # empty: numeric
    zero: float  # numbers are summed from this public value on
    complete: bool  # the dictionary says that no value may be missing

    @property
    def needs(self) -> tuple[str, ...]:
        return ("count",) if self.levels else ("count", "sum", "squares")

    @property
    def cells(self) -> tuple[str, ...]:
        return (*(self.levels or ("present",)), "missing")


@dataclass(frozen=True, slots=True)
class Plan:
    """The request, read and checked."""

    rows: tuple[Row, ...]
    arm: str
    arms: tuple[str, ...]  # (OVERALL,) without an arm
    by_country: bool

    @property
    def numeric(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if not row.levels)


def plan_of(spec: Spec) -> Plan:
    """Raises `UsageError` where a variable is named twice."""
    rows: list[Row] = []
    for k, column in enumerate(spec.role("variables")):
        name, levels = column_name(column), spec.levels(column)
        plain = spec.variables.get(name) if isinstance(column, Ref) or levels else None
        if any(row.name == name for row in rows):
            raise UsageError("VARIABLE_TWICE", f"{name!r} is named twice", "name each variable once")
        low = plain.minimum if plain is not None else None
        high = plain.maximum if plain is not None else None
        rows.append(
            Row(
                k,
                name,
                plain.label if plain is not None else "",
                plain.unit if plain is not None else "",
                "indicator" if isinstance(column, Indicator) else plain.type.value if plain is not None else "numeric",
                levels,
                nearest_to_zero(low, high),
                isinstance(column, Ref) and plain is not None and not plain.may_be_missing,
            )
        )
    by_country = bool(spec.options.get("by_country", TableOne.options["by_country"].default))
    if not spec.role("arm"):
        return Plan(tuple(rows), "", (OVERALL,), by_country)
    arm = spec.role("arm")[0]
    return Plan(tuple(rows), column_name(arm), spec.levels(arm), by_country)


# --------------------------------------------------------------------------- inside a country


@dataclass(frozen=True, slots=True)
class Partial:
    """Counts by arm and cell, and sums by arm, of every variable. Adds.

    Where a person has several rows a second pass also keeps, by person, in which cells he is and what he adds.
    """

    arms: Integers  # (A,) rows
    counts: tuple[Integers, ...]  # (A, cells) for each variable; empty in the second round
    sums: tuple[Sums, ...]  # for each numeric variable
    persons: Persons
    no_arm: bool
    in_arm: Booleans | None = None  # (A, persons)
    in_cells: tuple[Booleans, ...] = field(default=())  # (A, cells, persons) for each variable

    def __add__(self, other: Partial, /) -> Partial:
        return Partial(
            self.arms + other.arms,
            tuple(a + b for a, b in zip(self.counts, other.counts, strict=True)),
            tuple(a + b for a, b in zip(self.sums, other.sums, strict=True)),
            self.persons + other.persons,
            self.no_arm or other.no_arm,
            None if self.in_arm is None or other.in_arm is None else either(self.in_arm, other.in_arm),
            tuple(either(a, b) for a, b in zip(self.in_cells, other.in_cells, strict=True)),
        )


def either(a: Booleans, b: Booleans) -> Booleans:
    width = max(a.shape[-1], b.shape[-1])
    return persons.widened(a, width) | persons.widened(b, width)


def empty(plan: Plan, state: State) -> Partial:
    """What no row gives."""
    a = len(plan.arms)
    counts = () if state else tuple(np.zeros((a, len(row.cells)), dtype=np.int64) for row in plan.rows)
    sums = tuple(Sums.nothing(a) for _ in plan.numeric)
    return Partial(np.zeros(a, dtype=np.int64), counts, sums, Persons.of(np.zeros(0, dtype=np.int64)), False)


def fold_rows(block: Block, plan: Plan, state: State, by_person: bool) -> Partial:
    if state and any(row.name not in state or not np.isfinite(state[row.name]).all() for row in plan.numeric):
        raise MethodError("WRONG_STATE", "the coordinator sent means that are not this table's", "start it anew")
    arms = block.codes("arm") if plan.arm else np.zeros(block.rows, dtype=np.int64)
    known = arms >= 0
    every = bool(known.all())
    arms = arms if every else arms[known]
    subject = block.subject if every else block.subject[known]
    number, people = len(plan.arms), Persons.of(subject)
    counts, in_cells, sums = [], [], []
    for row in plan.rows:
        values = block.columns["variables"][row.k]
        values = values if every else values[known]
        if not state:
            last = len(row.cells) - 1
            cells = np.where(values >= 0, values, last) if row.levels else np.isnan(values).astype(np.int64)
            counts.append(np.bincount(arms * (last + 1) + cells, minlength=number * (last + 1)).reshape(number, -1))
            if by_person:
                inside = np.zeros((number, last + 1, len(people.seen)), dtype=np.bool_)
                inside[arms, cells, subject] = True
                in_cells.append(inside)
        if not row.levels:
            present = ~np.isnan(values)
            given = values[present]
            given = (given - state[row.name][0]) ** 2 if state else given - row.zero
            who = subject[present] if by_person else None
            sums.append(Sums.of(given, arms[present], number, who, len(people.seen)))
    in_arm = None
    if by_person:
        in_arm = np.zeros((number, len(people.seen)), dtype=np.bool_)
        in_arm[arms, subject] = True
    rows = np.bincount(arms, minlength=number)
    return Partial(rows, tuple(counts), tuple(sums), people, not every, in_arm, tuple(in_cells))


def items_of(partial: Partial, plan: Plan, state: State) -> tuple[Item, ...]:
    arms = (plan.arm or "all", plan.arms)
    if state:
        return tuple(
            Item("squares", sums.value, sums.support(), row.name, (arms,))
            for row, sums in zip(plan.numeric, partial.sums, strict=True)
        )
    people = partial.arms if partial.in_arm is None else counted(partial.in_arm)
    items = [Item("arms", partial.arms, CellSupport(people), plan.arm, (arms,))]
    for k, row in enumerate(plan.rows):
        counts = partial.counts[k]
        inside = counted(partial.in_cells[k]) if partial.in_cells else counts
        # nobody missing where the dictionary says so is no news: the zero need not leave
        shown = len(row.cells) - (row.complete and not counts[:, -1].any())
        axes = (arms, (row.name, row.cells[:shown]))
        items.append(Item("count", counts[:, :shown].copy(), CellSupport(inside[:, :shown].copy(), 1), row.name, axes))
    items.extend(
        Item("sum", sums.value, sums.support(), row.name, (arms,))
        for row, sums in zip(plan.numeric, partial.sums, strict=True)
    )
    return tuple(items)


def counted(inside: Booleans) -> Integers:
    return np.asarray(np.count_nonzero(inside, axis=-1), dtype=np.int64)


# --------------------------------------------------------------------------- the pooled half


def describe_factor(counts: Array, levels: tuple[str, ...]) -> list[Answer]:
    """Counts and percentages of those not missing, overall and by arm; `counts` (A, levels and missing)."""

    def one(cells: Array) -> dict[str, Answer]:
        n = int(cells[:-1].sum())
        percent = {level: 100.0 * float(x) / n if n else None for level, x in zip(levels, cells[:-1], strict=True)}
        count = {level: int(x) for level, x in zip(levels, cells[:-1], strict=True)}
        return {"n": n, "missing": int(cells[-1]), "count": count, "percent": percent}

    return [one(counts.sum(axis=0)), *(one(cells) for cells in counts)]


def described(row: Row, plan: Plan, got: Gathered, countries: Collection[str], about: State) -> dict[str, Answer]:
    """One row of the table over some countries."""
    entry: dict[str, Answer] = {"type": row.type, "unit": row.unit, "label": row.label, OVERALL: None}
    if not countries:
        return {**entry, **dict.fromkeys(plan.arms)}
    cells = len(row.cells)
    counts = np.sum([persons.widened(got.values[c, "count", row.name], cells) for c in countries], axis=0)
    if row.levels:
        columns = describe_factor(counts, row.levels)
    else:
        sums, squares = (got.total(countries, name, row.name) for name in ("sum", "squares"))
        columns = describe_numeric(counts[:, 0], counts[:, 1], sums, squares, float(about[row.name][0]), row.zero)
    entry[OVERALL] = columns[0]
    if plan.arm:
        entry.update(zip(plan.arms, columns[1:], strict=True))
    return entry


def means(plan: Plan, got: Gathered, countries: Sequence[str]) -> dict[str, Array]:
    """The pooled mean of every numeric variable, about which the second round takes squares."""
    state = {}
    for row in plan.numeric:
        giving = got.giving(countries, ("count", "sum"), row.name)
        n = sum(float(got.values[c, "count", row.name][:, 0].sum()) for c in giving)
        total = sum(float(got.values[c, "sum", row.name].sum()) for c in giving)
        state[row.name] = np.array([row.zero + total / n if n else row.zero])
    return state


class TableOne:
    """Who is in the study: for each variable its n, missing and mean (sd), or counts and percentages, by arm.

    Two rounds: counts and sums, from which the pooled means follow, then squares about these means, so that the
    standard deviation is exact for values with a large offset too.
    """

    name: ClassVar[str] = "table_one"
    version: ClassVar[int] = 1
    title: ClassVar[str] = "Table 1"
    leaves: ClassVar[Mapping[str, Field]] = {
        "arms": Field(Kind.COUNT, "rows by arm", "persons", "A"),
        "count": Field(
            Kind.COUNT, "rows by arm and level, and those missing", "persons", "A x (levels + 1)", required=False
        ),
        "sum": Field(
            Kind.SUM, "sum by arm, from the value of the variable's range nearest to zero", "", "A", required=False
        ),
        "squares": Field(
            Kind.SUM, "sum of squared deviations from the pooled mean by arm", "squared", "A", required=False
        ),
    }
    roles: ClassVar[Mapping[str, Role]] = {
        "variables": Role("numeric variables and factors, one a row", many=True),
        "arm": Role("a factor whose levels are the columns", required=False, holds="factor"),
    }
    options: ClassVar[Mapping[str, OptionRule]] = {
        "by_country": OptionRule("the table of each country too", False),
    }
    uses_terms: ClassVar[bool] = False
    missingness: ClassVar[Missingness] = Missingness.PER_VARIABLE
    notes: ClassVar[Mapping[str, str]] = {
        NO_ARM: "in {countries} some rows have no arm and are left out of the table",
        persons.REPEATED: persons.REPEATED_SAYS,
    }
    rounds: ClassVar[tuple[int, int]] = (1, 2)

    def scope(self, spec: Spec) -> Scope:
        return Scope.BY_COUNTRY if plan_of(spec).by_country else Scope.TOTAL

    def fold(self, block: Block, spec: Spec, state: State, local: Any) -> Partial:
        return fold_rows(block, plan_of(spec), state, by_person=local is not None)

    def release(self, partial: Partial | None, spec: Spec, state: State, local: Any) -> Summary | Again:
        plan = plan_of(spec)
        if partial is None:
            return Summary(items_of(empty(plan, state), plan, state))
        if partial.persons.repeated and local is None:
            return Again("by person")  # thresholds count persons, and rows are more than persons here
        notes = {NO_ARM: partial.no_arm, persons.REPEATED: partial.persons.repeated}
        return Summary(items_of(partial, plan, state), frozenset(code for code, raised in notes.items() if raised))

    def pool(self, contributions: Contributions, spec: Spec, state: State, memory: State) -> Next | Done:
        plan = plan_of(spec)
        got = Gathered.of(contributions)
        if plan.numeric and not state:
            return Next(means(plan, got, contributions.countries), got.remember())
        got = got.after(Gathered.recall(memory))
        countries = got.countries(spec.countries)
        # all that a row needs, so that its n, mean and sd are of the same persons
        covered = {row.name: got.giving(countries, row.needs, row.name) for row in plan.rows}
        said = list(caveats.of_notes(contributions, self.notes))
        for row in plan.rows:
            missing = {c: got.withheld.get((c, row.name), "NOT_GIVEN") for c in countries if c not in covered[row.name]}
            if missing:
                said.append(caveats.of_withheld(row.name, missing, covered[row.name]))
        arms = got.total(countries, "arms", plan.arm) if countries else np.zeros(len(plan.arms))
        answer: dict[str, Answer] = {
            "arms": list(plan.arms) if plan.arm else [],
            "n": {OVERALL: int(arms.sum()), **{a: int(x) for a, x in zip(plan.arms, arms, strict=True)}},
            "rows": {row.name: described(row, plan, got, covered[row.name], state) for row in plan.rows},
        }
        if plan.by_country:
            answer["countries"] = {
                c: {
                    row.name: described(row, plan, got, [c] if c in covered[row.name] else [], state)
                    for row in plan.rows
                }
                for c in countries
            }
        return Done(answer, tuple(said))
