"""The rows of a second dataset, of events, joined to the persons of the first. The join stays inside the node."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from isthmus_methods.contract import EventRows, Integers, Procedure, Spec, event_roles
from isthmus_node.compute.rows import evaluate_role, holds
from isthmus_node.sources.table import Table

NOBODY = -1


def events_of_blocks(
    spec: Spec, table: Table, method: Procedure, persons: Table, subjects: Sequence[Integers], numbers: Integers
) -> list[EventRows]:
    """For each block the events of its persons; a person in several blocks has them in the first.

    Parameters
    ----------
    spec
        The request's part about events.
    table
        Of events.
    persons
        The table of persons that it is joined to.
    subjects
        Of each block, its persons by number.
    numbers : (persons.persons,), the number of each person of the first table among those used; -1: not used.
    """
    kept = np.ones(table.rows, dtype=np.bool_) if spec.where is None else holds(spec.where, table)
    rows = np.flatnonzero(kept)
    person = joined(table, persons, numbers)[rows]
    roles = event_roles(method)
    columns = {
        name: tuple(evaluate_role(column, roles[name], spec, table) for column in spec.role(name))
        for name in spec.roles
    }
    used = max((int(own.max()) for own in subjects if len(own)), default=-1) + 1
    block_of = np.full(used + 1, NOBODY, dtype=np.int64)  # the last entry is for nobody's events
    for place in range(len(subjects) - 1, -1, -1):
        block_of[subjects[place]] = place
    block_of[used] = NOBODY
    place_of = block_of[np.where(person >= 0, person, used)]
    strangers = place_of == NOBODY
    left_out = int(np.count_nonzero(strangers)), len(np.unique(table.subject[rows[strangers]]))
    found = []
    for place in range(len(subjects)):
        mine = place_of == place
        own = rows[mine]
        found.append(
            EventRows(
                len(own),
                {name: tuple(np.ascontiguousarray(e.values[own]) for e in given) for name, given in columns.items()},
                {name: tuple(e.levels for e in given) for name, given in columns.items()},
                person[mine],
                *(left_out if place == 0 else (0, 0)),
            )
        )
    return found


def joined(table: Table, persons: Table, numbers: Integers) -> Integers:
    """For each event the number of its person among those used, (n,); -1 where he is none of them."""
    place = dict(zip(persons.names(), numbers.tolist(), strict=True))
    of_person = np.array([place.get(name, NOBODY) for name in table.names()], dtype=np.int64)
    return of_person[table.subject] if len(of_person) else np.full(table.rows, NOBODY, dtype=np.int64)
