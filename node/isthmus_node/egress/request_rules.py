"""The rules over how a dataset is asked, and over its snapshots: filters, cut points, corrected values."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from isthmus_methods.contract import Booleans, Integers
from isthmus_methods.rows import Cohorts
from isthmus_node.egress.form import Violation
from isthmus_node.egress.released import DICTIONARIES, SNAPSHOTS, Contents, Marks, Released
from isthmus_node.egress.thresholds import Limits

SAME_COHORT = "use the cohort of an earlier analysis (same filter, same variables), or ask the site's custodian"
PLAN_CUTS = "use cut points of earlier analyses, or a factor with levels fixed in the study's dictionary"
SIMPLER = "use fewer conditions, or a subgroup that the study's dictionary has as a level"

OTHER_PERSONS = Violation(
    "SUBJECT_CHANGED",
    "persons of a dataset are known by one variable, in all studies",
    "name the variable in the study's dictionary that the dataset's first study named",
)


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """One dataset's part of a request, in the columns of what was released."""

    cohorts: Cohorts
    released: Released  # with the persons and rows of this snapshot
    person: Integers  # (persons of the snapshot,), their place in `released`
    place: Integers  # (rows of the snapshot,), their column
    marks: Marks  # (persons of the snapshot,), of what their rows hold now
    contents: Contents  # of the last snapshot that something was released from, for the persons of `released`
    changed: Booleans  # (persons of `released`,), changed since
    in_plan: bool  # an analysis of a plan that the custodian approved
    covered: bool  # what missing values tell apart between such analyses was approved with the plan
    field_size: int

    @property
    def rows(self) -> Booleans:
        """The rows that count as the request's cohort."""
        return self.cohorts.selected if self.covered else self.cohorts.used

    def columns(self, rows: Booleans) -> Booleans:
        found: Booleans = np.zeros(len(self.released.column_person), dtype=np.bool_)
        found[self.place[rows]] = True
        return found


def persons_are_known(question: Question, limits: Limits) -> Violation | None:
    """Another variable for the persons, and everybody would be a stranger to the auditor."""
    del limits
    before = question.released.known_by
    return None if before is None or before == question.cohorts.known_by else OTHER_PERSONS


def filter_is_simple(question: Question, limits: Limits) -> Violation | None:
    """Attack 33: a conjunction of conditions that describes one person."""
    if question.cohorts.depth > limits.filter_depth:
        return Violation("FILTER_TOO_DEEP", limits.rule("filter_depth"), SIMPLER)
    if question.cohorts.quasi_identifiers > limits.quasi_identifiers:
        return Violation("QUASI_IDENTIFIERS", limits.rule("quasi_identifiers"), SIMPLER)
    return None


def cut_points_are_few(question: Question, limits: Limits) -> Violation | None:
    """Attack 18: bisection of a cut point reads an order statistic."""
    earlier = question.released.cut_points
    for name, numbers in question.cohorts.cut_points.items():
        known = set(earlier.get(name, ()))
        if not numbers <= known and len(numbers | known) > limits.cut_points:
            return Violation("CUT_POINTS", limits.rule("cut_points"), PLAN_CUTS)
    return None


def changes_are_many(question: Question, limits: Limits) -> Violation | None:
    """Attack 9: the same cohort before and after a few persons' values were corrected."""
    used = np.zeros(len(question.released.persons), dtype=np.bool_)
    used[question.person[question.cohorts.subject[question.rows]]] = True
    for changed in (*question.contents.changed, question.changed):
        if 0 < np.count_nonzero(changed & used) < limits.difference_persons:
            return differencing(limits)
    return None


def remembered(question: Question, released: Released) -> Released:
    """`released` with this snapshot's contents and the request's cut points."""
    name = question.cohorts.dictionary.hex()
    past = question.contents
    marks = past.marks.copy()
    marks[question.person] = question.marks
    changed = np.concatenate([past.changed, question.changed[None]]) if question.changed.any() else past.changed
    if len(changed) > SNAPSHOTS:
        changed = np.concatenate([(changed[0] | changed[1])[None], changed[2:]])
    contents = {**{k: v for k, v in released.contents.items() if k != name}, name: Contents(marks, changed)}
    return replace(
        with_cut_points(released, question.cohorts),
        known_by=question.cohorts.known_by,
        contents=dict(list(contents.items())[-DICTIONARIES:]),
    )


def with_cut_points(released: Released, cohorts: Cohorts) -> Released:
    """`released` with the cut points of a request."""
    cut_points = dict(released.cut_points)
    for variable, numbers in cohorts.cut_points.items():
        cut_points[variable] = tuple(sorted({*numbers, *cut_points.get(variable, ())}))
    return replace(released, cut_points=cut_points)


def differencing(limits: Limits) -> Violation:
    """The refusal of all rules about what releases tell apart."""
    # one code and one rule for all of them: which persons, and how they differ, is not said
    return Violation("DIFFERENCING", limits.rule("difference_persons"), SAME_COHORT)
