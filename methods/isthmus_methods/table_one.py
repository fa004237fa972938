"""Table 1: counts, means and standard deviations by arm; each variable over its own non-missing values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from isthmus.errors import MethodError
from isthmus_methods.contract import (
    Again,
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
    Next,
    OptionRule,
    Ref,
    Role,
    Scope,
    Spec,
    State,
    Summary,
)
from isthmus_methods.parts import persons
from isthmus_methods.parts.moments import Sums
from isthmus_methods.parts.persons import Persons
from isthmus_methods.parts.tables import table_answer
from isthmus_methods.parts.tables.table_plan import Plan, plan_of
from isthmus_methods.parts.value_grid import ROUNDED, ROUNDED_SAYS, Cells
from isthmus_methods.plausible import Bound, parts_within, squares_cover, sums_within_range

NO_ARM = "NO_ARM"


# --------------------------------------------------------------------------- inside a country


@dataclass(frozen=True, slots=True)
class Partial:
    """Counts by arm and cell, and sums by arm, of every variable. Adds.

    Where a person has several rows a second pass also keeps, by person, in which cells he is and what he adds.
    """

    arms: Integers  # (A,) rows
    counts: tuple[Integers, ...]  # (A, cells) for each variable; empty in the second round
    sums: tuple[Sums, ...]  # for each numeric variable
    values: tuple[tuple[Cells, ...], ...]  # for each with a grid, by arm; empty in the second round
    persons: Persons
    no_arm: bool
    in_arm: Booleans | None = None  # (A, persons)
    in_cells: tuple[Booleans, ...] = field(default=())  # (A, cells, persons) for each variable

    def __add__(self, other: Partial, /) -> Partial:
        return Partial(
            self.arms + other.arms,
            tuple(a + b for a, b in zip(self.counts, other.counts, strict=True)),
            tuple(a + b for a, b in zip(self.sums, other.sums, strict=True)),
            tuple(
                tuple(a + b for a, b in zip(mine, theirs, strict=True))
                for mine, theirs in zip(self.values, other.values, strict=True)
            ),
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
    sums = tuple(Sums.nothing(a) for _ in (*plan.numeric, *(plan.numeric if state else ())))
    none = np.zeros(0, dtype=np.int64)
    values = tuple(
        tuple(Cells.of(row.grid, np.zeros(0), none) for _ in plan.arms)
        for row in plan.numeric
        if row.grid is not None and not state
    )
    return Partial(np.zeros(a, dtype=np.int64), counts, sums, values, Persons.of(none), False)


def fold_rows(block: Block, plan: Plan, state: State, by_person: bool) -> Partial:
    if state and any(row.name not in state or not np.isfinite(state[row.name]).all() for row in plan.numeric):
        raise MethodError("WRONG_STATE", "the coordinator sent means that are not this table's", "start it anew")
    arms = block.codes("arm") if plan.arm else np.zeros(block.rows, dtype=np.int64)
    known = arms >= 0
    every = bool(known.all())
    arms = arms if every else arms[known]
    subject = block.subject if every else block.subject[known]
    number, people = len(plan.arms), Persons.of(subject)
    counts, in_cells, sums, cells_of = [], [], [], []
    squares = []
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
            if row.grid is not None and not state:
                cells_of.append(
                    tuple(
                        Cells.of(row.grid, given[arms[present] == a], subject[present][arms[present] == a])
                        for a in range(number)
                    )
                )
            given = given - (state[row.name][0] if state else row.zero)
            who = subject[present] if by_person else None
            sums.append(Sums.of(given, arms[present], number, who, len(people.seen)))
            if state:
                squares.append(Sums.of(given**2, arms[present], number, who, len(people.seen)))
    in_arm = None
    if by_person:
        in_arm = np.zeros((number, len(people.seen)), dtype=np.bool_)
        in_arm[arms, subject] = True
    rows = np.bincount(arms, minlength=number)
    everything = (*sums, *squares)
    return Partial(rows, tuple(counts), everything, tuple(cells_of), people, not every, in_arm, tuple(in_cells))


def items_of(partial: Partial, plan: Plan, state: State) -> tuple[Item, ...]:
    arms = (plan.arm or "all", plan.arms)
    if state:
        half = len(plan.numeric)
        return tuple(
            Item(name, sums.value, sums.support(), row.name, (arms,))
            for name, of in (("deviations", partial.sums[:half]), ("squares", partial.sums[half:]))
            for row, sums in zip(plan.numeric, of, strict=True)
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
    gridded = [row for row in plan.numeric if row.grid is not None]
    for row, by_arm in zip(gridded, partial.values, strict=True):
        items += [cells.item("values", plan.values_label(row, a)) for a, cells in zip(plan.arms, by_arm, strict=True)]
    return tuple(items)


def counted(inside: Booleans) -> Integers:
    return np.asarray(np.count_nonzero(inside, axis=-1), dtype=np.int64)


# --------------------------------------------------------------------------- the method


class TableOne:
    """Who is in the study: for each variable its n, missing and mean (sd), or counts and percentages, by arm.

    Two rounds: counts and sums, from which the pooled means follow, then deviations from these means and their squares,
    so that means and standard deviations are exact for values with a large offset too. Quantiles and extremes, where
    asked for, come from how many rows have each value.
    """

    name: ClassVar[str] = "table_one"
    version: ClassVar[int] = 2
    title: ClassVar[str] = "Table 1"
    leaves: ClassVar[Mapping[str, Field]] = {
        "arms": Field(Kind.COUNT, "rows by arm", "persons", "A"),
        "count": Field(
            Kind.COUNT,
            "rows by arm and level, and those missing",
            "persons",
            "A x (levels + 1)",
            required=False,
            divides=True,
        ),
        "sum": Field(
            Kind.SUM, "sum by arm, from the value of the variable's range nearest to zero", "", "A", required=False
        ),
        "deviations": Field(Kind.SUM, "sum of deviations from the pooled mean by arm", "", "A", required=False),
        "squares": Field(
            Kind.SUM, "sum of squared deviations from the pooled mean by arm", "squared", "A", required=False
        ),
        "values": Field(
            Kind.HISTOGRAM, "rows at each value that anybody has, by arm", "rows", "2 x values", required=False
        ),
    }
    bounds: ClassVar[tuple[Bound, ...]] = (
        parts_within("count", "arms"),
        sums_within_range("sum", "arms", lambda _, label: Ref(label), own="count"),
        squares_cover("deviations", "squares", "count", lambda _, label: Ref(label)),
    )
    roles: ClassVar[Mapping[str, Role]] = {
        "variables": Role("numeric variables and factors, one a row", many=True, each=True),
        "arm": Role("a factor whose levels are the columns", required=False, holds="factor"),
    }
    options: ClassVar[Mapping[str, OptionRule]] = {
        "by_country": OptionRule("the table of each country too", False),
        "quantiles": OptionRule("quantiles, least and greatest value too, from the dictionary's grid of values", False),
    }
    uses_terms: ClassVar[bool] = False
    missingness: ClassVar[Missingness] = Missingness.PER_VARIABLE
    notes: ClassVar[Mapping[str, str]] = {
        NO_ARM: "in {countries} some rows have no arm and are left out of the table",
        persons.REPEATED: persons.REPEATED_SAYS,
        ROUNDED: ROUNDED_SAYS,
    }
    rounds: ClassVar[tuple[int, int]] = (1, 2)

    def scope(self, spec: Spec) -> Scope:
        return Scope.BY_COUNTRY if plan_of(spec, self).by_country else Scope.TOTAL

    def fold(self, block: Block, spec: Spec, state: State, local: Any) -> Partial:
        return fold_rows(block, plan_of(spec, self), state, by_person=local is not None)

    def release(self, partial: Partial | None, spec: Spec, state: State, local: Any) -> Summary | Again:
        plan = plan_of(spec, self)
        if partial is None:
            return Summary(items_of(empty(plan, state), plan, state))
        if partial.persons.repeated and local is None:
            return Again("by person")  # thresholds count persons, and rows are more than persons here
        notes = {
            NO_ARM: partial.no_arm,
            persons.REPEATED: partial.persons.repeated,
            ROUNDED: any(cells.off for by_arm in partial.values for cells in by_arm),
        }
        return Summary(items_of(partial, plan, state), frozenset(code for code, raised in notes.items() if raised))

    def pool(self, contributions: Contributions, spec: Spec, state: State, memory: State) -> Next | Done:
        return table_answer.pool(contributions, spec, plan_of(spec, self), state, memory, self.notes)
