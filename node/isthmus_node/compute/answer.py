"""A country's answer to one round: filter, complete cases, blocks, then the method's own passes.

What was prepared is kept by dataset snapshot and request, so that the rounds after the first cost the passes alone.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.recent import RecentMap
from isthmus_methods.codec import spec_to_message
from isthmus_methods.contract import (
    Block,
    Booleans,
    Column,
    Integers,
    Method,
    Missingness,
    Procedure,
    Spec,
    State,
    Summary,
)
from isthmus_methods.in_process import summarise
from isthmus_node.compute.design import design_of, distinct_columns
from isthmus_node.compute.events import events_of_blocks
from isthmus_node.compute.request import check_request
from isthmus_node.compute.rows import Evaluated, evaluate, evaluate_role, holds
from isthmus_node.sources.table import Table

# Up to this many rows one block, which lets a method take its fast road; above it, blocks of BLOCK_ROWS.
ONE_BLOCK = 2_000_000
BLOCK_ROWS = 250_000


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """The rows of one request, ready for the method. Never leaves the node."""

    blocks: tuple[Block, ...]
    selected: Booleans  # (n,), rows of the table that the filter kept
    used: Booleans  # (n,), of these the complete ones
    complete: Booleans  # (n,), rows that have all values the method needs, whatever the filter says


class Cache:
    """The few requests prepared last, by dataset snapshot and request. Safe to share between threads."""

    def __init__(self, size: int = 4) -> None:
        self._kept: RecentMap[tuple[bytes, bytes, bytes], Prepared] = RecentMap(size)
        self._latest: tuple[Spec, tuple[bytes, bytes], Prepared] | None = None
        self._lock = threading.Lock()

    def prepared(self, spec: Spec, table: Table, method: Procedure, events: Table | None = None) -> Prepared:
        """As `prepare`, from the cache where it is there; the request is checked where it is not.

        Raises what `check_request` raises.
        """
        latest = self._latest
        digests = (table.digest, b"") if events is None else (table.named_digest(), events.named_digest())
        if latest is not None and latest[0] is spec and latest[1] == digests:
            return latest[2]
        made = self._made(spec, table, method, events, digests)
        self._latest = (spec, digests, made)
        return made

    def _made(
        self, spec: Spec, table: Table, method: Procedure, events: Table | None, digests: tuple[bytes, bytes]
    ) -> Prepared:
        check_request(spec, method)
        key = (*digests, spec_to_message(spec).SerializeToString(deterministic=True))
        with self._lock:
            found = self._kept.get(key)
        if found is not None:
            return found
        made = prepare(spec, table, method, events)
        with self._lock:
            return self._kept.put(key, made)

    def clear(self) -> None:
        """Forget everything: when a dataset is withdrawn, or memory is wanted back."""
        with self._lock:
            self._kept.clear()
            self._latest = None


def answer(
    spec: Spec,
    table: Table,
    state: State,
    cache: Cache | None = None,
    method: Method | None = None,
    events: Table | None = None,
) -> Summary:
    """What this country's rows say in one round, for the gate to judge.

    Parameters
    ----------
    state : what the coordinator sent with the round; empty in the first.
    cache : kept between rounds; None prepares the rows anew.
    method : None takes the registered one of the spec's name and version.
    events : the second dataset, where the request has one.

    Raises `UsageError` or `Refused` for a request that cannot be computed, `MethodError` where the method says so.
    """
    if method is None:
        # the index imports every method; a node that is asked nothing needs none
        from isthmus_methods.registry import find

        method = find(spec.method, spec.version)
    if cache is None:
        check_request(spec, method)
        prepared = prepare(spec, table, method, events)
    else:
        prepared = cache.prepared(spec, table, method, events)
    return summarise(method, prepared.blocks, spec, state)


def blocks(spec: Spec, table: Table, method: Method, events: Table | None = None) -> list[Block]:
    """The blocks of rows that the method would fold over; none where no row is left."""
    check_request(spec, method)
    return list(prepare(spec, table, method, events).blocks)


def prepare(
    spec: Spec,
    table: Table,
    method: Procedure,
    events: Table | None = None,
    *,
    one_block: int = ONE_BLOCK,
    block_rows: int = BLOCK_ROWS,
) -> Prepared:
    """Filter, columns, complete cases, design, blocks.

    Complete cases follow `method.missingness`: over all columns of roles and terms, or none left out and the missing
    ones as NaN and code -1 for the method to handle variable by variable. Events are those of the persons used.
    """
    selected = np.ones(table.rows, dtype=np.bool_) if spec.where is None else holds(spec.where, table)
    roles = {
        name: tuple(evaluate_role(c, method.roles[name], spec, table) for c in spec.role(name)) for name in spec.roles
    }
    terms = {column: evaluate(column, spec, table) for column in distinct_columns(spec)}
    complete: Booleans = np.ones(table.rows, dtype=np.bool_)
    if method.missingness is Missingness.COMPLETE:
        for column in (*(c for columns in roles.values() for c in columns), *terms.values()):
            complete &= ~column.missing
    used = selected & complete
    rows = np.flatnonzero(used)
    if not rows.size:
        return Prepared((), selected, used, complete)
    step = len(rows) if len(rows) <= one_block else block_rows
    starts = range(0, len(rows), step)
    # each block answers for the selected rows from its own first row up to the next block's
    edges = [0, *(int(rows[start]) for start in starts[1:]), table.rows]
    counted = _one_row_a_person(table.subject, selected, table.persons)
    numbers = _numbers(table.subject, rows, table.persons)
    subject = numbers[table.subject[rows]]
    found = [
        _block(
            spec,
            table,
            roles,
            terms,
            rows[start : start + step],
            subject[start : start + step],
            int(np.count_nonzero(selected[low:high])),
            int(np.count_nonzero(counted[low:high])),
        )
        for start, low, high in zip(starts, edges[:-1], edges[1:], strict=True)
    ]
    if spec.events is not None and events is not None:
        own = events_of_blocks(spec.events, events, method, table, [block.subject for block in found], numbers)
        for block, rows_of_events in zip(found, own, strict=True):
            block.events = rows_of_events
    return Prepared(tuple(found), selected, used, complete)


def _block(
    spec: Spec,
    table: Table,
    roles: Mapping[str, tuple[Evaluated, ...]],
    terms: Mapping[Column, Evaluated],
    rows: Integers,
    subject: Integers,
    rows_selected: int,
    persons_selected: int,
) -> Block:
    # no copy through an index where every row is used
    pick: slice | Integers = slice(None) if len(rows) == table.rows else rows
    columns: dict[str, tuple[NDArray[Any], ...]] = {
        name: tuple(np.ascontiguousarray(c.values[pick]) for c in evaluated) for name, evaluated in roles.items()
    }
    design = None
    if spec.terms:
        picked = {column: Evaluated(e.values[pick], e.levels) for column, e in terms.items()}
        design = design_of(spec, picked, len(rows))
    return Block(
        country=table.country,
        rows=len(rows),
        columns=columns,
        levels={name: tuple(c.levels for c in evaluated) for name, evaluated in roles.items()},
        subject=subject,
        design=design,
        rows_selected=rows_selected,
        persons_selected=persons_selected,
    )


def _one_row_a_person(subject: NDArray[np.int32], selected: Booleans, persons: int) -> Booleans:
    """True at one selected row of each person: over any blocks these add up to the persons."""
    kept = np.flatnonzero(selected)
    place = np.full(persons, -1, dtype=np.int64)
    # of several rows of a person one stays
    place[subject[kept]] = kept
    marked: Booleans = np.zeros(len(subject), dtype=np.bool_)
    marked[place[place >= 0]] = True
    return marked


def _numbers(subject: NDArray[np.int32], rows: Integers, persons: int) -> Integers:
    """Of each person of the table the number among those on the rows used, in the table's order; -1: on none."""
    present = np.zeros(persons, dtype=np.bool_)
    present[subject[rows]] = True
    return np.where(present, np.cumsum(present) - 1, -1).astype(np.int64, copy=False)
