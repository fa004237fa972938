"""Mixed model for repeated measures: records of a person share an unstructured covariance over visits, by REML.

Persons with the same visits enter the likelihood through the cross-products of what they are and of their outcomes.
Where every country may give these, two rounds are enough. Where one has a pattern of too few persons to give, that
country answers the search's questions instead, each a sum over all its persons, and the answer is the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
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
    Integers,
    Item,
    Kind,
    Missingness,
    Next,
    OptionRule,
    Role,
    Scope,
    Spec,
    State,
    Summary,
    column_name,
    option,
)
from isthmus_methods.parts.first_round import NO_ROWS, NO_ROWS_SAYS
from isthmus_methods.parts.kept import kept_by_request
from isthmus_methods.parts.mixed import mixed_exchange as exchange
from isthmus_methods.parts.mixed.mixed_columns import Basis, basis_of
from isthmus_methods.parts.mixed.mixed_coordinates import columns_present, level_rows
from isthmus_methods.parts.mixed.mixed_rows import Records, grouped, least_support, whole_support
from isthmus_methods.parts.mixed.mmrm_answer import Asked, mmrm_answer
from isthmus_methods.parts.mixed.reml import Pattern
from isthmus_methods.parts.mixed.reml_search import Found, Search, advance, answered


@dataclass(frozen=True, slots=True)
class Plan:
    """What a request asks for."""

    basis: Basis
    visit: str
    visits: tuple[str, ...]
    arm: str
    control: str

    def present(self, state: State) -> tuple[str, ...]:
        """Visits that have records."""
        return tuple(visit for visit, there in zip(self.visits, state["visits"], strict=True) if there > 0)

    def columns(self, plain: Array) -> Booleans:
        """Columns whose levels have rows, from the cross-products of all."""
        return columns_present(self.basis, level_rows(self.basis, plain))


class Mmrm:
    """MMRM with an unstructured covariance common to all, restricted maximum likelihood, Satterthwaite's df.

    Source: Mallinckrodt et al. (2008), Drug Information Journal 42, 303-319; for what it is computed from,
    `parts/mixed/reml.py`. Answers are those of R's `nlme::gls(corSymm, varIdent, method = "REML")` at the exact
    optimum, and of `mmrm::mmrm(us(visit | subject))` for the degrees of freedom.
    """

    name: ClassVar[str] = "mmrm"
    version: ClassVar[int] = 1
    title: ClassVar[str] = "Mixed model for repeated measures"
    leaves: ClassVar[Mapping[str, Field]] = {
        "records": Field(Kind.COUNT, "persons with a record at each visit", "persons", "visits", required=False),
        "excluded": Field(Kind.COUNT, "rows left out for a missing value", "rows", "1", required=False),
        "sums": Field(Kind.CROSS_PRODUCT, "persons, records, sums of the numbers and of the outcome", size="3 + c"),
        "products": Field(
            Kind.CROSS_PRODUCT,
            "sums over the persons with the same visits of products of their columns at one visit and at another",
            size="(k + 1)^2 for each pattern of visits and pair of visits in it",
            required=False,
        ),
        "whole": Field(
            Kind.CROSS_PRODUCT,
            "columns and outcome weighted by the covariance of the round, over all persons; its log determinant",
            size="(k + 1)^2 for each pair of visits",
        ),
        "scores": Field(
            Kind.SCORE, "gradient and information of the covariance's elements", size="1 + 2 q for each of q elements"
        ),
        "slopes": Field(
            Kind.INFORMATION, "derivatives of `whole` by the covariance's elements", size="as `whole`, q times"
        ),
        "second": Field(Kind.INFORMATION, "the sum of its weighted second derivatives", size="as `whole`"),
    }
    roles: ClassVar[Mapping[str, Role]] = {
        "outcome": Role("what is measured at each visit", holds="number"),
        "subject": Role(
            "whose records belong together; the study's subjects unless said otherwise", required=False, holds="unit"
        ),
        "visit": Role("which record of the person it is", holds="factor"),
        "arm": Role("arms to give least-squares means of, by visit", required=False, holds="factor"),
    }
    options: ClassVar[Mapping[str, OptionRule]] = {
        "control": OptionRule("arm that the others are compared with; the arm's reference level if empty", ""),
        "covariance": OptionRule("covariance of a person's records", "unstructured", ("unstructured",)),
        "estimation": OptionRule("restricted maximum likelihood", "REML", ("REML",)),
    }
    uses_terms: ClassVar[bool] = True
    missingness: ClassVar[Missingness] = Missingness.COMPLETE
    notes: ClassVar[Mapping[str, str]] = {
        NO_ROWS: NO_ROWS_SAYS,
    }
    rounds: ClassVar[tuple[int, int]] = (2, 200)

    def scope(self, spec: Spec) -> Scope:
        # a country in the terms: its columns are put in at the coordinator
        return Scope.BY_COUNTRY if plan_of(spec).basis.country else Scope.TOTAL

    # ----------------------------------------------------------------- inside a country

    def fold(self, block: Block, spec: Spec, state: State, local: Any) -> Records:
        return exchange.records_kept(block, plan_of(spec).basis, state, "visit")

    def release(self, partial: Records | None, spec: Spec, state: State, local: Any) -> Summary | Again:
        plan = plan_of(spec)
        if not state:
            return _first(partial, plan)
        if partial is None:
            return Summary(())
        if "ask" in state and not exchange.is_asked(state, spec, partial.country):
            return Summary(())
        visits: Integers = np.flatnonzero(state["visits"] > 0)
        groups = grouped(partial, len(plan.visits))
        if "ask" not in state:
            parameters = [plan.basis.k + len(group.pattern.visits) - 1 for group in groups]
            support = least_support(partial, [group.rows for group in groups], parameters, plan.basis)
            return Summary(exchange.product_items(groups, support))
        rank = {int(v): k for k, v in enumerate(visits)}
        lift = exchange.lifts(plan.basis, [plan.visits[int(v)] for v in visits])
        own = [
            Pattern(tuple(rank[v] for v in g.pattern.visits), g.pattern.persons, g.pattern.products).lifted(lift)
            for g in groups
        ]
        inside = exchange.inside(state, plan.basis, partial.country)
        sums = answered(inside, own, len(plan.basis.within) + 1)
        return Summary(exchange.answer_items(state, sums, plan.basis, whole_support(partial, plan.basis, len(visits))))

    # ----------------------------------------------------------------- at the coordinator

    def pool(self, contributions: Contributions, spec: Spec, state: State, memory: State) -> Next | Done:
        plan = plan_of(spec)
        if not state:
            return _begin(contributions, plan)
        if "ask" not in state:
            return _second(contributions, plan, spec, state, memory)
        patterns = exchange.recall_patterns(memory)
        size = plan.basis.terms.p + 1
        search = Search.recall(memory)
        total = answered(search.question(), patterns, size) + exchange.answer(contributions, state, plan.basis, size)
        return _go_on(advance(search, total, plan.columns, plan.present(state)), patterns, plan, state, memory)


# --------------------------------------------------------------------------- the request


@kept_by_request
def plan_of(spec: Spec) -> Plan:
    """What a request asks for. Raises `UsageError` where it cannot be carried out."""
    [visit] = spec.role("visit")
    name, visits = column_name(visit), spec.levels(visit)
    basis = basis_of(spec, name, visits)
    arm = column_name(spec.role("arm")[0]) if spec.role("arm") else ""
    control = str(option(spec, Mmrm(), "control"))
    if arm:
        levels = dict(basis.terms.factors).get(arm)
        if levels is None:
            raise UsageError("ARM_NOT_A_TERM", f"the arm {arm} is no term of the model", f"add {arm} to the formula")
        control = control or levels[0]
        if control not in levels:
            raise UsageError(
                "UNKNOWN_LEVEL", f"{arm} has no level {control!r}", f"choose the control from: {', '.join(levels)}"
            )
    return Plan(basis, name, visits, arm, control)


# --------------------------------------------------------------------------- rounds


def _first(records: Records | None, plan: Plan) -> Summary:
    """Counts, and sums to centre by."""
    basis, none = plan.basis, np.zeros(len(plan.visits), dtype=np.int64)
    axes = (("visit", plan.visits),)
    if records is None or not len(records.person):
        support = exchange.support_of_nobody(basis, len(plan.visits))
        sums = np.zeros(3 + len(basis.centred))
        nobody = Item("records", none, CellSupport(none, within=none), axes=axes)
        return Summary((nobody, Item("sums", sums, support)), frozenset({NO_ROWS}))
    units, persons = none.copy(), none.copy()
    for v in range(len(plan.visits)):
        units[v] = len(np.unique(records.unit[records.at == v]))
        persons[v] = len(np.unique(records.person[records.at == v]))
    sums = exchange.sums_to_centre(records, basis, len(np.unique(records.unit)))
    support = whole_support(records, basis, int(np.count_nonzero(units)))
    items = (
        Item("records", units, CellSupport(persons, within=np.full(len(units), records.persons)), axes=axes),
        records.excluded(),
        Item("sums", sums, support),
    )
    return Summary(items)


def _begin(contributions: Contributions, plan: Plan) -> Next | Done:
    sums = contributions.total("sums")
    if sums is None or sums[1] == 0:
        raise MethodError("NO_ROWS", "no country has a complete row", "widen the filter, or take fewer variables")
    records = contributions.whole("records")
    # a count that is withheld is of somebody
    there = np.ones(len(plan.visits)) if records is None else (records > 0).astype(np.float64)
    memory = {
        "subjects": sums[:1],
        "records": records if records is not None else np.zeros(0),
        **exchange.remember_counts(contributions),
    }
    state = {"visits": there, "centre": sums[2:-1] / sums[1], "middle": sums[-1:] / sums[1]}
    return Next(state, memory)


def _second(contributions: Contributions, plan: Plan, spec: Spec, state: State, memory: State) -> Next | Done:
    visits = [int(v) for v in np.flatnonzero(state["visits"] > 0)]
    patterns, asked = exchange.pooled_patterns(contributions, plan.basis, plan.visits, visits)
    memory = {**memory, **exchange.remember_patterns(patterns)}
    flags = np.array([float(country in asked) for country in spec.countries])
    state = {**state, "asked": flags}
    return _go_on(Search.start(len(visits)), patterns, plan, state, memory)


def _go_on(search: Search | Found, patterns: list[Pattern], plan: Plan, state: State, memory: State) -> Next | Done:
    """Answers the search's questions as long as no country has to be asked."""
    size = plan.basis.terms.p + 1
    while isinstance(search, Search):
        question = search.question()
        if state["asked"].any():
            kept = {key: value for key, value in state.items() if key in ("visits", "centre", "middle", "asked")}
            rest = {key: value for key, value in memory.items() if not key.startswith("search/")}
            near = math.isfinite(search.distance)
            measure = ("distance", search.distance) if near else ("", 0.0)
            return Next({**kept, **question}, {**rest, **search.remember()}, *measure)
        search = advance(search, answered(question, patterns, size), plan.columns, plan.present(state))
    return _done(search, plan, state, memory)


def _done(found: Found, plan: Plan, state: State, memory: State) -> Done:
    visits = plan.present(state)
    asked = Asked(plan.arm, plan.control, plan.visit, visits)
    counted = dict(zip(plan.visits, memory["records"].tolist(), strict=True)) if memory["records"].size else {}
    excluded, countries = exchange.recall_counts(memory)
    answer: dict[str, Answer] = {
        "n_subjects": int(memory["subjects"][0]),
        "records_per_visit": {visit: int(counted[visit]) if counted else None for visit in visits},
        **mmrm_answer(found, plan.basis, state["centre"], float(state["middle"][0]), asked),
        "excluded": excluded,
    }
    if plan.basis.country:
        answer["countries"] = countries
    made_up_for = frozenset({"products", "records"})
    if counted or plan.basis.visit:
        return Done(answer, made_up_for=made_up_for)
    said = "records_per_visit: a country withheld its counts, and they do not follow from the terms of the model"
    return Done(answer, (said,), made_up_for)
