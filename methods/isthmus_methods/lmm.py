"""Linear mixed model with a random intercept of groups, countries for the most part, and of subjects inside them.

Each group's cross-products are all that the likelihood of a random intercept needs. Subjects inside groups need, too,
the cross-products of their sums, by number of records. Where a country has too few subjects of some number to give
these, it answers with its sums at one ratio of variances a round, over all its subjects, and the answer is the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from isthmus.errors import MethodError, UsageError
from isthmus_methods.contract import (
    Again,
    Array,
    Block,
    Booleans,
    Cleared,
    Contributions,
    Done,
    Field,
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
)
from isthmus_methods.parts.first_round import NO_ROWS, NO_ROWS_SAYS
from isthmus_methods.parts.kept import kept_by_request
from isthmus_methods.parts.mixed import mixed_exchange as exchange
from isthmus_methods.parts.mixed.lmm_answer import lmm_answer
from isthmus_methods.parts.mixed.mixed_columns import Basis, basis_of
from isthmus_methods.parts.mixed.mixed_coordinates import columns_present, level_rows
from isthmus_methods.parts.mixed.mixed_rows import (
    Records,
    check_nested,
    clustered,
    least_support,
    whole_support,
)
from isthmus_methods.parts.mixed.random_intercepts import Fit, Group, RhoSearch, Sizes, fit
from isthmus_methods.parts.newton import solve


@dataclass(frozen=True, slots=True)
class Plan:
    """What a request asks for."""

    basis: Basis
    groups: tuple[str, ...]
    nested: bool
    by_country: bool


class Lmm:
    """Random intercepts of groups (REML and ML), or of groups and of subjects inside them (REML).

    Source: Laird & Ware (1982), Biometrics 38, 963-974; for what it is computed from,
    `parts/mixed/random_intercepts.py`. Answers are those of R's `lme4::lmer(y ~ terms + (1 | group))` and
    `(1 | group/subject)` at the exact optimum.
    """

    name: ClassVar[str] = "lmm"
    version: ClassVar[int] = 1
    title: ClassVar[str] = "Linear mixed model with random intercepts"
    leaves: ClassVar[Mapping[str, Field]] = {
        "excluded": Field(Kind.COUNT, "rows left out for a missing value", "rows", "1", required=False),
        "sums": Field(Kind.CROSS_PRODUCT, "subjects, records, sums of the numbers and of the outcome", size="3 + c"),
        "products": Field(Kind.CROSS_PRODUCT, "cross-products of a group's columns and outcome", size="(k + 1)^2"),
        "clusters": Field(
            Kind.CROSS_PRODUCT,
            "cross-products of the sums by subject, of the subjects of a group with the same number of records",
            size="(k + 1)^2 for each number of records",
            required=False,
        ),
        "whole": Field(Kind.CROSS_PRODUCT, "a group's cross-products at the round's ratio", size="(k + 1)^2"),
        "slopes": Field(Kind.INFORMATION, "their derivative by the ratio", size="(k + 1)^2"),
        "determinant": Field(Kind.SCORE, "log determinant at the ratio, and its derivative", size="2"),
    }
    roles: ClassVar[Mapping[str, Role]] = {
        "outcome": Role("what is measured", holds="number"),
        "group": Role("whose records share a random intercept, e.g. the country", holds="factor"),
        "subject": Role(
            "subjects inside groups that share a random intercept of their own", required=False, holds="unit"
        ),
    }
    options: ClassVar[Mapping[str, OptionRule]] = {}
    uses_terms: ClassVar[bool] = True
    missingness: ClassVar[Missingness] = Missingness.COMPLETE
    notes: ClassVar[Mapping[str, str]] = {
        NO_ROWS: NO_ROWS_SAYS,
    }
    rounds: ClassVar[tuple[int, int]] = (2, 120)

    def scope(self, spec: Spec) -> Scope:
        plan = plan_of(spec)
        return Scope.BY_COUNTRY if plan.by_country or plan.basis.country else Scope.TOTAL

    # ----------------------------------------------------------------- inside a country

    def fold(self, block: Block, spec: Spec, state: State, local: Any) -> Records:
        return exchange.records_kept(block, plan_of(spec).basis, state, "group")

    def release(self, partial: Records | None, spec: Spec, state: State, local: Any) -> Summary | Again:
        plan = plan_of(spec)
        if not state:
            return _first(partial, plan)
        if partial is None or ("rho" in state and not exchange.is_asked(state, spec, partial.country)):
            return Summary(())
        if plan.nested:
            check_nested(partial)
        items: list[Item] = []
        for code, level in enumerate(plan.groups):
            mine = partial.only(partial.at == code)
            if not len(mine.person):
                continue
            whole = whole_support(mine, plan.basis, 1)
            if "rho" in state:
                here = _sizes(mine, level).at(float(state["rho"][0]))
                items += [
                    Item("whole", here.cross, whole, level),
                    Item("slopes", here.slope, whole, level),
                    Item("determinant", np.array([here.logdet, here.logdet_slope]), whole, level),
                ]
                continue
            items.append(Item("products", mine.z.T @ mine.z, whole, level))
            if plan.nested:
                items += _cluster_items(mine, level, plan)
        return Summary(tuple(items))

    # ----------------------------------------------------------------- at the coordinator

    def pool(self, contributions: Contributions, spec: Spec, state: State, memory: State) -> Next | Done:
        plan = plan_of(spec)
        if not state:
            return _begin(contributions)
        if "rho" not in state:
            return _second(contributions, plan, spec, state, memory)
        return _go_on(
            RhoSearch.unpacked(memory["search"]),
            _answered(contributions, plan),
            plan,
            {k: v for k, v in state.items() if k != "rho"},
            memory,
        )


# --------------------------------------------------------------------------- the request


@kept_by_request
def plan_of(spec: Spec) -> Plan:
    """What a request asks for. Raises `UsageError` where it cannot be carried out."""
    [group] = spec.role("group")
    by_country = spec.is_country(column_name(group))
    basis, name = basis_of(spec), column_name(group)
    if any(name in parts for parts in basis.terms.parts):
        raise UsageError(
            "GROUP_IS_A_TERM",
            f"{name} has a random intercept and is a term as well; rule: one or the other",
            f"leave {name} out of the formula's fixed part",
        )
    return Plan(basis, spec.levels(group), bool(spec.role("subject")), by_country)


# --------------------------------------------------------------------------- rounds


def _first(records: Records | None, plan: Plan) -> Summary:
    basis = plan.basis
    if records is None or not len(records.person):
        nobody = Item("sums", np.zeros(3 + len(basis.centred)), exchange.support_of_nobody(basis, 1))
        return Summary((nobody,), frozenset({NO_ROWS}))
    units = len(np.unique(records.unit)) if plan.nested else records.persons
    support = whole_support(records, basis, 1)
    sums = exchange.sums_to_centre(records, basis, units)
    return Summary((records.excluded(), Item("sums", sums, support)))


def _sizes(records: Records, level: str) -> Sizes:
    """A group's subjects by number of records."""
    clusters = []
    for n, rows in clustered(records).items():
        sums = records.z[rows].sum(axis=1)
        clusters.append((n, sums.T @ sums))
    return Sizes(level, records.z.T @ records.z, tuple(clusters))


def _cluster_items(records: Records, level: str, plan: Plan) -> list[Item]:
    rows = clustered(records)
    support = least_support(records, list(rows.values()), [plan.basis.k] * len(rows), plan.basis)
    sizes = _sizes(records, level)
    return [Item("clusters", squares, support, f"{n}: {level}") for n, squares in sizes.clusters]


def _begin(contributions: Contributions) -> Next | Done:
    sums = contributions.total("sums")
    if sums is None or sums[1] == 0:
        raise MethodError("NO_ROWS", "no country has a complete row", "widen the filter, or take fewer variables")
    memory = {
        "subjects": sums[:1],
        **exchange.remember_counts(contributions),
    }
    return Next({"centre": sums[2:-1] / sums[1], "middle": sums[-1:] / sums[1]}, memory)


def _second(contributions: Contributions, plan: Plan, spec: Spec, state: State, memory: State) -> Next | Done:
    known: list[Sizes] = []
    asked: list[str] = []
    size = plan.basis.terms.p + 1
    plain = np.zeros((size, size))
    for summary in contributions.summaries:
        mine = _given(summary, plan)
        plain += sum((sizes.total for sizes in mine), np.zeros_like(plain))
        if any(field == "clusters" for field, _ in summary.withheld):
            asked.append(summary.country)
        else:
            known += mine
    flags = np.array([float(country in asked) for country in spec.countries])
    kept = {**memory, "plain": plain, **_remembered(known)}
    return _go_on(RhoSearch.start(), None, plan, {**state, "asked": flags}, kept)


def _given(summary: Cleared, plan: Plan) -> list[Sizes]:
    """A country's groups over the model's own columns."""
    outer = exchange.beside_outcome(plan.basis.expand(summary.country))
    lifted = {
        key: outer @ np.asarray(value, dtype=np.float64) @ outer.T
        for key, value in summary.values.items()
        if key[0] in ("products", "clusters")
    }
    clusters: dict[str, list[tuple[int, Array]]] = {}
    for (field, label), value in lifted.items():
        if field == "clusters":
            number, level = label.split(": ", 1)
            clusters.setdefault(level, []).append((int(number), value))
    return [
        Sizes(label, value, tuple(clusters.get(label, ())))
        for (field, label), value in lifted.items()
        if field == "products"
    ]


def _answered(contributions: Contributions, plan: Plan) -> list[Group]:
    """The groups of the countries that were asked for their sums at a ratio."""
    found = []
    for summary in contributions.summaries:
        outer = exchange.beside_outcome(plan.basis.expand(summary.country))
        given = {key: np.asarray(value, dtype=np.float64) for key, value in summary.values.items()}
        for field, label in given:
            if field == "whole":
                determinant = given["determinant", label]
                cross, slope = given["whole", label], given["slopes", label]
                found.append(
                    Group(label, outer @ cross @ outer.T, outer @ slope @ outer.T, determinant[0], determinant[1])
                )
    return found


def _go_on(search: RhoSearch, answered: list[Group] | None, plan: Plan, state: State, memory: State) -> Next | Done:
    """On with the ratio of the subjects' variance, as long as no country has to be asked.

    `answered`: what the countries that are asked gave at the search's ratio; None: it is still to be asked.
    """
    known, plain = _recalled(memory), memory["plain"]
    present = columns_present(plan.basis, level_rows(plan.basis, plain))
    kept, records = solve(plain[:-1, :-1], present).kept, float(plain[0, 0])
    squares = float(plain[-1, -1] - plain[:-1, -1] @ solve(plain[:-1, :-1], kept).inverse @ plain[:-1, -1])
    if records <= int(kept.sum()) or not squares > 1e-12 * float(plain[-1, -1]):
        raise MethodError(
            "NOTHING_LEFT",
            "the terms fit the outcome exactly, or there are no more records than coefficients",
            "take fewer terms",
        )
    while True:
        if answered is None and state["asked"].any():
            texts = {key: value for key, value in memory.items() if key != "search"}
            return Next({**state, "rho": np.array([search.rho])}, {**texts, "search": search.packed()})
        groups = _merged([sizes.at(search.rho) for sizes in known] + (answered or []), plan)
        if len(groups) < 2:
            raise MethodError("ONE_GROUP", "all records are of one group", "take a linear model, or other groups")
        found = fit(groups, kept, records, restricted=True)
        then = search.told(found.rho_slope) if plan.nested else None
        if then is None:
            return _done(groups, found, search.rho, kept, plan, state, memory)
        search, answered = then, None


def _merged(groups: list[Group], plan: Plan) -> list[Group]:
    """One for each level, in their order."""
    by_name: dict[str, Group] = {}
    for group in groups:
        by_name[group.name] = by_name[group.name] + group if group.name in by_name else group
    return [by_name[name] for name in plan.groups if name in by_name]


def _done(groups: list[Group], found: Fit, rho: float, kept: Booleans, plan: Plan, state: State, memory: State) -> Done:
    answer, caveats = lmm_answer(
        groups,
        found,
        rho if plan.nested else None,
        plan.basis,
        (state["centre"], float(state["middle"][0]), memory["plain"], kept),
        int(memory["subjects"][0]),
    )
    answer["excluded"] = exchange.recall_counts(memory)[0]
    return Done(answer, caveats, frozenset({"clusters"}))


def _remembered(known: list[Sizes]) -> dict[str, Array]:
    kept: dict[str, Array] = {}
    for k, sizes in enumerate(known):
        kept[f"sizes/{k}/0/{sizes.name}"] = sizes.total
        kept |= {f"sizes/{k}/{n}/{sizes.name}": squares for n, squares in sizes.clusters}
    return kept


def _recalled(memory: State) -> list[Sizes]:
    found: dict[int, Sizes] = {}
    for key, value in memory.items():
        if key.startswith("sizes/"):
            # a group's total stands before its clusters
            _, k, n, name = key.split("/", 3)
            array = np.asarray(value, dtype=np.float64)
            if n == "0":
                found[int(k)] = Sizes(name, array, ())
            else:
                before = found[int(k)]
                found[int(k)] = replace(before, clusters=(*before.clusters, (int(n), array)))
    return [found[k] for k in sorted(found)]
