"""Who stands behind a model's rows: the counts that the gate judges it by. None of them leaves by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from isthmus_methods.contract import Block, Booleans, CellSupport, Integers, Item, Spec
from isthmus_methods.parts.model_terms import factors
from isthmus_methods.parts.persons import widened
from isthmus_methods.parts.survival.risk_sets import SortedRows

# The first labels of every `Used`; then come the levels of the factors.
ROWS, EVENTS, CENSORED = range(3)


@dataclass(frozen=True, slots=True)
class Used:
    """Persons and rows: all, with an event, without, and at each level of each factor. Adds."""

    seen: Booleans  # (3 + levels, largest subject number + 1)
    rows: Integers  # (3 + levels,)
    selected_rows: int
    selected_persons: int
    empty_intervals: int

    def __add__(self, other: Used) -> Used:
        width = max(self.seen.shape[1], other.seen.shape[1])
        return Used(
            widened(self.seen, width) | widened(other.seen, width),
            self.rows + other.rows,
            self.selected_rows + other.selected_rows,
            self.selected_persons + other.selected_persons,
            self.empty_intervals + other.empty_intervals,
        )

    def persons(self) -> Integers:
        """Distinct persons, (3 + levels,)."""
        return np.array([np.count_nonzero(row) for row in self.seen], dtype=np.int64)


def used(block: Block, rows: SortedRows, spec: Spec) -> Used:
    """The counts of one block of a survival model; to be kept in its memo."""
    died = np.zeros(rows.size, dtype=np.bool_)
    died[rows.death_rows] = True
    return used_rows(block, spec, died, rows.order, rows.subject, rows.dropped)


def used_rows(
    block: Block,
    spec: Spec,
    event: Booleans | None = None,
    order: Integers | None = None,
    subject: Integers | None = None,
    dropped: int = 0,
) -> Used:
    """The counts of one block.

    Parameters
    ----------
    event : (n,), rows with an event; None where the model's outcome is none.
    order, subject : which rows of the block are used and their persons, (n,); None: all.
    dropped : rows left out because their interval is empty.
    """
    subject = block.subject if subject is None else subject
    names = factors(spec)
    total = 3 + sum(len(levels) for _, levels in names)
    seen = np.zeros((total, int(subject.max(initial=-1)) + 1), dtype=np.bool_)
    counts = np.zeros(total, dtype=np.int64)
    seen[ROWS, subject] = True
    counts[ROWS] = len(subject)
    if event is not None:
        seen[EVENTS, subject[event]] = True
        seen[CENSORED, subject[~event]] = True
        counts[EVENTS:3] = int(event.sum()), len(subject) - int(event.sum())
    codes_of = {} if block.design is None else block.design.level_codes
    place = 3
    for name, levels in names:
        codes = codes_of[name] if order is None else codes_of[name][order]
        seen[place + codes, subject] = True
        counts[place : place + len(levels)] = np.bincount(codes, minlength=len(levels))
        place += len(levels)
    return Used(seen, counts, block.rows_selected, block.persons_selected, dropped)


def nobody(spec: Spec) -> Used:
    """A country without rows."""
    total = 3 + sum(len(levels) for _, levels in factors(spec))
    return Used(np.zeros((total, 0), dtype=np.bool_), np.zeros(total, dtype=np.int64), 0, 0, 0)


def level_slices(spec: Spec) -> list[tuple[str, tuple[str, ...], slice]]:
    """Each factor, its levels, and where they stand in `Used`."""
    place, slices = 3, []
    for name, levels in factors(spec):
        slices.append((name, levels, slice(place, place + len(levels))))
        place += len(levels)
    return slices


def level_persons(persons: Integers, spec: Spec) -> dict[str, int]:
    """``{"grade=3": distinct persons}`` from `Used.persons`."""
    return {
        f"{name}={level}": int(number)
        for name, levels, where in level_slices(spec)
        for level, number in zip(levels, persons[where], strict=True)
    }


def count_items(total: Used, persons: Integers, spec: Spec, *, outcomes: bool = True) -> list[Item]:
    """The counts that do leave: rows left out, rows at each level, and events and censored, or all rows used.

    `outcomes`: False for a model whose outcome is no event, which gives `rows` (1,) instead of `outcomes` (2,).
    """
    if outcomes:
        first = Item(
            "outcomes",
            total.rows[[EVENTS, CENSORED]],
            CellSupport(persons[[EVENTS, CENSORED]], axis=0),
            axes=(("outcome", ("event", "censored")),),
        )
    else:
        first = Item("rows", total.rows[[ROWS]], CellSupport(persons[[ROWS]]))
    items = [
        first,
        excluded_item(total.selected_rows, int(total.rows[ROWS]), total.selected_persons, int(persons[ROWS])),
    ]
    for name, levels, where in level_slices(spec):
        items.append(
            Item("levels", total.rows[where], CellSupport(persons[where], axis=0), name, axes=(("level", levels),))
        )
    return items


def excluded_item(selected_rows: int, rows: int, selected_persons: int, persons: int) -> Item:
    """Rows left out for a missing value: of those that the filter selected, all but the complete ones."""
    excluded = max(selected_rows - rows, 0)
    # a person with an excluded row may have complete ones too: no fewer than one stands behind it
    behind = min(max(selected_persons - persons, 1), excluded) if excluded else 0
    return Item(
        "excluded",
        np.array([excluded], dtype=np.int64),
        CellSupport(_whole([behind]), within=_whole([max(selected_persons, behind)])),
    )


def _whole(values: Sequence[int]) -> Integers:
    return np.array(values, dtype=np.int64)
