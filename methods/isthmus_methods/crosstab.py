"""Tables of two factors: chi-square and exact tests; for two arms and an event also risks and their effects."""

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
    Kind,
    Missingness,
    OptionRule,
    Role,
    Scope,
    Spec,
    State,
    Summary,
)
from isthmus_methods.parts import caveats, persons
from isthmus_methods.parts.tables import two_arms
from isthmus_methods.parts.tables.contingency import association, labelled
from isthmus_methods.parts.tables.cross_table import (
    Axis,
    Crossed,
    axis_of,
    check_arms,
    check_size,
    event_axis,
    whole_numbers,
)
from isthmus_methods.parts.tables.exact_tables import fisher_p


@dataclass(frozen=True, slots=True)
class Plan:
    """The request, read and checked."""

    axes: tuple[Axis, Axis]
    two_arms: bool
    fisher: bool


def plan_of(spec: Spec) -> Plan:
    """Raises `UsageError` where the request cannot be answered."""
    treated, control, event = (str(spec.options.get(name, "")) for name in ("treated", "control", "event"))
    fisher = bool(spec.options.get("fisher", Crosstab.options["fisher"].default))
    if not treated and not control:
        if event:
            raise UsageError("NO_ARMS", "an event is named, and no arms", "name `treated` and `control` too")
        axes = axis_of(spec, "row"), axis_of(spec, "column")
        check_size(axes)
        return Plan(axes, False, fisher)
    check_arms(treated, control)
    return Plan((axis_of(spec, "row", 0, (treated, control)), event_axis(spec, "column", event)), True, fisher)


class Crosstab:
    """A table of two factors, or of two arms and an event, with the tests and effects that are read from it.

    Source: Agresti, Categorical Data Analysis, 2nd ed., chapters 2 and 3; the parts name the source of each number.
    """

    name: ClassVar[str] = "crosstab"
    version: ClassVar[int] = 1
    title: ClassVar[str] = "Cross-table"
    leaves: ClassVar[Mapping[str, Field]] = {
        "table": Field(Kind.COUNT, "rows by row and column of the table", "persons", "R x C"),
        "missing": Field(Kind.COUNT, "rows without and with a missing value", "persons", "2", required=False),
    }
    roles: ClassVar[Mapping[str, Role]] = {
        "row": Role("the rows of the table: arms, or any factor"),
        "column": Role("the columns of the table: a factor, or with two arms the outcome"),
    }
    options: ClassVar[Mapping[str, OptionRule]] = {
        "treated": OptionRule("the arm that is compared, a level of `row`", ""),
        "control": OptionRule("the arm it is compared with, a level of `row`", ""),
        "event": OptionRule("which value of `column` is the event; without one, 1 or the condition holding", ""),
        "fisher": OptionRule("Fisher's exact test of a table that is not of two arms", False),
    }
    uses_terms: ClassVar[bool] = False
    missingness: ClassVar[Missingness] = Missingness.PER_VARIABLE
    notes: ClassVar[Mapping[str, str]] = {persons.REPEATED: persons.REPEATED_SAYS}
    rounds: ClassVar[tuple[int, int]] = (1, 1)

    def scope(self, spec: Spec) -> Scope:
        return Scope.BY_COUNTRY if any(spec.is_country(axis.name) for axis in plan_of(spec).axes) else Scope.TOTAL

    def fold(self, block: Block, spec: Spec, state: State, local: Any) -> Crossed:
        return Crossed.of(block, plan_of(spec).axes, by_person=local is not None)

    def release(self, partial: Crossed | None, spec: Spec, state: State, local: Any) -> Summary | Again:
        axes = plan_of(spec).axes
        if partial is None:
            partial = Crossed.nothing(axes)
        if partial.must_see_persons:
            return Again("by person")  # thresholds count persons, and rows are more than persons here
        items = (partial.table_item(axes), partial.missing_item())
        return Summary(items, frozenset({persons.REPEATED} if partial.complete.persons.repeated else ()))

    def pool(self, contributions: Contributions, spec: Spec, state: State, memory: State) -> Done:
        plan = plan_of(spec)
        table = contributions.total("table")
        table = np.zeros([len(axis.levels) for axis in plan.axes]) if table is None else table
        said = list(caveats.of_notes(contributions, self.notes))
        said += caveats.of_field(contributions, "missing", "", "n_missing")
        answer = two_by_two(table, plan) if plan.two_arms else rows_by_columns(table, plan)
        missing = contributions.total("missing")
        answer["n_missing"] = round(float(missing[1])) if missing is not None else None
        return Done({"row": plan.axes[0].name, "column": plan.axes[1].name, **answer}, tuple(said))


def two_by_two(table: Array, plan: Plan) -> dict[str, Answer]:
    """Everything of two arms and an event."""
    names, (first, second) = plan.axes[0].levels, whole_numbers(table)
    x1, n1, x0, n0 = int(first[0]), int(first.sum()), int(second[0]), int(second.sum())
    return {
        "table": labelled(names, plan.axes[1].levels, table, whole=True),
        "expected": labelled(names, plan.axes[1].levels, two_arms.expected(table)),
        "chisq_pearson": two_arms.pearson(table),
        "chisq_yates": two_arms.pearson(table, yates=True),
        "fisher": two_arms.fisher_2x2(x1, n1, x0, n0),
        "treated": two_arms.proportion(x1, n1),
        "control": two_arms.proportion(x0, n0),
        "risk_difference": two_arms.risk_difference(x1, n1, x0, n0),
        "risk_ratio": two_arms.risk_ratio(x1, n1, x0, n0),
        "odds_ratio": two_arms.odds_ratio(x1, n1, x0, n0),
    }


def rows_by_columns(table: Array, plan: Plan) -> dict[str, Answer]:
    """The table without levels that nobody has, and its tests."""
    kept = table.sum(axis=1) > 0, table.sum(axis=0) > 0
    rows, columns = (
        [level for level, used in zip(axis.levels, of, strict=True) if used]
        for axis, of in zip(plan.axes, kept, strict=True)
    )
    table = table[kept[0]][:, kept[1]]
    answer: dict[str, Answer] = {"table": labelled(rows, columns, table, whole=True), **association(table)}
    if plan.fisher:
        answer["fisher_p"] = exact_p(table)
    return answer


def exact_p(table: Array) -> float | None:
    """Fisher's two-sided p; of a 2 x 2 table from its one free cell."""
    counts = whole_numbers(table)
    if counts.shape == (2, 2):
        (a, b), (c, d) = counts.tolist()
        return two_arms.fisher_p_2x2(a, a + b, c, c + d)
    return fisher_p(counts)
