"""Whose rows are behind a summary, from the request and the rows: what the auditor holds against earlier releases.

No method has a part in this: it cannot leave its own cohort out.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from isthmus_methods.contract import (
    All,
    Booleans,
    Column,
    Comparison,
    Function,
    Indicator,
    Membership,
    Operator,
    Predicate,
    Procedure,
    Role,
    Spec,
    Transform,
    VariableType,
    column_name,
    event_roles,
)
from isthmus_methods.rows import Cohorts, Condition, Cut
from isthmus_methods.variables import predicate_variables
from isthmus_node.compute.answer import Prepared
from isthmus_node.compute.cuts import cuts_of, landmark_of, landmark_place, places_of
from isthmus_node.compute.factors import codes_of, pairs_of
from isthmus_node.compute.normal import Normal, cut_points, depth, leaves, normal
from isthmus_node.compute.rows import evaluate, holds
from isthmus_node.sources.table import Table

# Odd numbers of 64 bits that mix well: Steele, Lea and Flood 2014 (splitmix64).
# A dataset, a variable of it, and a number at which it is cut.
Place = tuple[str, str, float]
_GAMMA, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def cohorts_of(
    spec: Spec,
    table: Table,
    method: Procedure,
    prepared: Prepared,
    events: Table | None = None,
    held_out: Booleans | None = None,
    listed: Collection[Place] | None = None,
) -> tuple[Cohorts, ...]:
    """The cohorts of a request: one value for its dataset, and one for that of events where it has one.

    Parameters
    ----------
    prepared : the same request's rows as the method folds over them.
    held_out : (rows,), rows that a training does not train on.
    listed : where the approved plan cuts, which are no cuts of a request outside it; None: the request is of the plan.
    """
    first = _cohorts(spec, table, method.roles, prepared.selected, prepared.used, prepared.complete, listed)
    if held_out is not None and held_out.any():
        # trained on are the others, so both are cohorts of their own; no cell withholds a few who are held out
        first = replace(first, conditions=(*first.conditions, Condition(held_out, is_factor=False)))
    if spec.events is None or events is None:
        return (first,)
    names, own = table.names(), events.names()
    used = {names[number] for number in np.unique(table.subject[prepared.used]).tolist()}
    of_used = _those(events, used)
    second = _cohorts(spec.events, events, event_roles(method), of_used, of_used, of_used, listed)
    conditions = [replace(condition, is_factor=True, is_of_events=True) for condition in second.conditions]
    if spec.events.where is not None:
        kept = holds(spec.events.where, events)
        conditions.append(Condition(kept, is_factor=True, is_of_events=True))
        # persons are told apart as well: who has such an event, and who has none
        having = {own[number] for number in np.unique(events.subject[kept & of_used]).tolist()}
        has_event = Condition(_those(table, having), is_factor=True, is_of_events=True)
        first = replace(first, conditions=(*first.conditions, has_event))
    return (first, replace(second, conditions=tuple(conditions), levels={}, pairs=frozenset(), is_of_events=True))


def _those(table: Table, names: Collection[str]) -> Booleans:
    """Rows of the persons of these names, (rows,)."""
    chosen: Booleans = np.array([name in names for name in table.names()], dtype=np.bool_)[table.subject]
    return chosen


def _factors(spec: Spec, roles: Mapping[str, Role]) -> tuple[Column, ...]:
    """Columns of the request that have levels; a unit's groups are counted and never shown one by one."""
    columns = [column for name, given in spec.roles.items() for column in given if roles[name].holds != "unit"]
    columns += [column for term in spec.terms for column in term.columns]
    return tuple(dict.fromkeys(column for column in columns if spec.levels(column)))


def listed_places(asked: Iterable[tuple[Spec, Procedure]]) -> frozenset[Place]:
    """Where the analyses of a plan cut variables that hold numbers."""
    found: set[Place] = set()
    for whole, method in asked:
        for spec, roles in ((whole, method.roles), (whole.events, event_roles(method))):
            if spec is None:
                continue
            predicates = [] if spec.where is None else [spec.where]
            predicates += [predicate for predicate, _ in _conditions(spec, roles)]
            for predicate in predicates:
                found.update((spec.dataset, *place) for place in places_of(predicate, spec.variables))
            found.update((spec.dataset, *place) for place in landmark_place(spec))
    return frozenset(found)


def _cohorts(
    spec: Spec,
    table: Table,
    roles: Mapping[str, Role],
    selected: Booleans,
    used: Booleans,
    complete: Booleans,
    listed: Collection[Place] | None,
) -> Cohorts:
    forms: list[Normal] = [] if spec.where is None else [normal(spec.where, spec.variables)]
    conditions: list[Condition] = []
    in_sums: list[Predicate] = []
    judged = [] if spec.where is None else [(spec.where, complete)]
    for predicate, is_factor in dict.fromkeys(_conditions(spec, roles)):
        forms.append(normal(predicate, spec.variables))
        conditions.append(Condition(holds(predicate, table), is_factor))
        judged.append((predicate, used))
        if not is_factor:
            in_sums.append(predicate)
    # a model's products of two columns are sums over those for whom both conditions hold
    for one, other in itertools.combinations(in_sums, 2):
        both = All((one, other))
        alike = not set(predicate_variables(one)).isdisjoint(predicate_variables(other))
        conditions.append(Condition(holds(both, table), is_factor=False, may_be_empty=alike))
        if not alike:
            judged.append((both, used))
    cuts: list[Cut] = []
    if listed is not None:
        cuts += (cut for predicate, among in judged for cut in cuts_of(predicate, spec.variables, table, among))
        cuts += landmark_of(spec, table, used)
        cuts = [cut for cut in cuts if (spec.dataset, cut.variable.name, cut.number) not in listed]
    levels = {
        f"{column_name(column)}={level}": codes == code
        for column in _factors(spec, roles)
        for codes in [evaluate(column, spec, table).values]
        for code, level in enumerate(spec.levels(column))
    }
    numbers: dict[str, set[float]] = {}
    for form in forms:
        for name, number in cut_points(form, spec.variables):
            numbers.setdefault(name, set()).add(number)
    looked_at = {str(leaf[1]) for form in forms for leaf in leaves(form)}
    quasi = {name for name in looked_at if "QUASI_IDENTIFIER" in spec.variables[name].roles}
    return Cohorts(
        dataset=spec.dataset,
        known_by=spec.subject,
        subject=table.subject.astype(np.int64),
        names=table.persons_by_name,
        dictionary=hashlib.sha256(repr(sorted(table.variables.items())).encode()).digest(),
        snapshot=table.named_digest(),
        contents=functools.cache(functools.partial(contents, table)),
        selected=selected,
        used=used,
        conditions=tuple(conditions),
        levels=levels,
        pairs=pairs_of(spec, roles),
        codes=functools.partial(codes_of, spec=spec, table=table),
        cut_points={name: frozenset(values) for name, values in numbers.items()},
        cuts=tuple(cuts),
        depth=max(map(depth, forms), default=0),
        quasi_identifiers=len(quasi),
    )


def _conditions(spec: Spec, roles: Mapping[str, Role]) -> Iterator[tuple[Predicate, bool]]:
    """Conditions that the request's columns are made of, and whether the gate counts the persons of each."""
    for column, holds_what in (
        *((c, roles[name].holds) for name, given in spec.roles.items() for c in given),
        *((c, "") for term in spec.terms for c in term.columns),
    ):
        is_factor = holds_what == "factor"
        while isinstance(column, Transform):
            is_factor = is_factor or column.function is Function.FACTOR
            column = column.argument
        if isinstance(column, Indicator):
            # a status is one of a few values and says whether there was an event; a cut through a measurement is none
            yield column.predicate, is_factor or (holds_what == "event" and _is_status(column.predicate, spec))


def _is_status(predicate: Predicate, spec: Spec) -> bool:
    return (
        isinstance(predicate, Comparison | Membership)
        and (isinstance(predicate, Membership) or predicate.operator in (Operator.EQUAL, Operator.NOT_EQUAL))
        and spec.variables[predicate.variable].type is not VariableType.NUMERIC
    )


def contents(table: Table) -> NDArray[np.uint64]:
    """A digest of what each person's rows hold, (persons,): equal where nothing of him has changed.

    The order of a person's rows does not matter.
    """
    row: NDArray[np.uint64] = np.full(table.rows, _GAMMA, dtype=np.uint64)
    columns: list[NDArray[np.uint64]] = [
        np.ascontiguousarray(table.numbers[name]).view(np.uint64) for name in sorted(table.numbers)
    ]
    columns += [table.codes[name].astype(np.int64).view(np.uint64) for name in sorted(table.codes)]
    for column in columns:
        row = _mixed(row + column)
    total: NDArray[np.uint64] = np.zeros(table.persons, dtype=np.uint64)
    np.add.at(total, table.subject, row)
    return total


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    values = values + np.uint64(_GAMMA)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(_FIRST)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(_SECOND)
    mixed: NDArray[np.uint64] = values ^ (values >> np.uint64(31))
    return mixed
