"""The rules over everything released from a dataset: may this cohort leave, after all that has left before?

Each looks at the cohorts of one request and at what is `Released`. Persons are counted, rows never.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from isthmus_methods.contract import Booleans, Integers
from isthmus_node.egress.form import Violation
from isthmus_node.egress.linear import collapsed, is_combination, tells_apart
from isthmus_node.egress.released import Released, packed, place_of
from isthmus_node.egress.request_rules import SAME_COHORT, Question, differencing
from isthmus_node.egress.thresholds import Limits

# A small country has a handful of subgroups too; what they tell apart is judged exactly all the same.
FEWEST_COHORTS = 12
# No dataset is asked about so many different cohorts; the bound keeps the cost of a look at them flat.
MOST_COHORTS = 512


def cohorts_are_apart(question: Question, released: Released, limits: Limits) -> Violation | Released:
    """Attacks 6 to 8, 11, 20: what sums over this cohort and the earlier ones tell apart is nobody, or enough persons.

    Gives what is released once this is.
    """
    for cohort in _cohorts(question, limits.difference_persons):
        bits = packed(cohort)
        if not cohort.any() or place_of(bits, released.cohorts) is not None:
            continue
        if not question.covered and _near(cohort, released, limits.difference_persons):
            return differencing(limits)
        earlier = released.rows(released.cohorts[released.independent])
        columns = collapsed(earlier, cohort, released.column_person, released.one_row_each)
        is_new = not is_combination(columns.earlier, columns.new, question.field_size)
        if is_new and tells_apart(columns, limits.difference_persons, question.field_size):
            return differencing(limits)
        most = max(FEWEST_COHORTS, len(question.person) // limits.persons_per_cohort)
        if len(released.cohorts) >= MOST_COHORTS or (is_new and not question.in_plan and len(earlier) >= most):
            return _too_many(limits)
        released = replace(
            released,
            cohorts=np.concatenate([released.cohorts, bits]),
            independent=np.append(released.independent, is_new),
        )
    if question.covered and not question.cohorts.is_of_events:
        return _with_left_out(question, released, limits)
    return released


def _with_left_out(question: Question, released: Released, limits: Limits) -> Violation | Released:
    used = packed(question.columns(question.cohorts.used))
    if place_of(used, released.cohorts) is not None or place_of(used, released.left_out) is not None:
        return released
    if len(released.left_out) >= MOST_COHORTS:
        return _too_many(limits)
    return replace(released, left_out=np.concatenate([released.left_out, used]))


def levels_are_apart(question: Question, released: Released, limits: Limits) -> Violation | Released:
    """Attack 3 over several releases: a cell of one cohort less the same cell of another is a small cell.

    `released` : with the cohort of the question. Cells that the gate withholds in either cohort are not compared.
    """
    cohort = question.columns(question.rows)
    place = place_of(packed(cohort), released.cohorts)
    if place is None:
        return released  # nobody
    labels = dict(released.labels)
    every = released.rows(released.cohorts)
    for label, rows in question.cohorts.levels.items():
        earlier = labels.get(label, ())
        if place in earlier:
            continue
        columns = np.flatnonzero(question.columns(rows))
        person = None if released.one_row_each else released.column_person[columns]
        if any(
            _is_small_part(cohort[columns], other, person, limits.difference_persons)
            for other in every[list(earlier)][:, columns]
        ):
            return differencing(limits)
        labels[label] = (*earlier, place)
    return replace(released, labels=labels)


def _cohorts(question: Question, fewest: int) -> Iterator[Booleans]:
    """Columns of each cohort that the request reveals."""
    rows = question.rows
    if not question.cohorts.is_of_events:
        yield question.columns(rows)
    for condition in question.cohorts.conditions:
        if condition.is_of_events and question.covered:
            continue  # which events are looked at was approved with the plan, as missing values were
        inside, outside = question.columns(rows & condition.holds), question.columns(rows & ~condition.holds)
        fewer = min(question.released.persons_in(inside), question.released.persons_in(outside))
        # the gate withholds a small cell of a factor; a number in sums has no cell that it could withhold
        if not condition.is_factor or fewer >= fewest:
            yield inside


def _is_small_part(own: Booleans, other: Booleans, person: Integers | None, fewest: int) -> bool:
    """Whether one of two cells lies in the other, both are shown, and what lies between is few persons."""
    if min(_persons(own, person), _persons(other, person)) < fewest:
        return False
    more, less = _persons(own & ~other, person), _persons(other & ~own, person)
    return min(more, less) == 0 and 0 < max(more, less) < fewest


def _persons(rows: Booleans, person: Integers | None) -> int:
    """Distinct persons of these rows; `person` None: each row is one."""
    return int(np.count_nonzero(rows)) if person is None else len(np.unique(person[rows]))


def _near(cohort: Booleans, released: Released, fewest: int) -> bool:
    """Whether it differs by a few persons from what a planned analysis left of its cohort."""
    return any(0 < released.persons_in(row ^ cohort) < fewest for row in released.rows(released.left_out))


def _too_many(limits: Limits) -> Violation:
    return Violation("TOO_MANY_COHORTS", limits.rule("persons_per_cohort"), SAME_COHORT)
