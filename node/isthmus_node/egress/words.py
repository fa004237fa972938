"""What leaves, in plain words and as tables, for the custodian. Nothing here leaves the site.

Names and labels come from studies that others wrote: whatever a terminal would obey is shown as a code instead.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from isthmus.untrusted import shown
from isthmus.v1 import study_pb2, summary_pb2
from isthmus_methods.codec import array_from_message
from isthmus_methods.contract import Array, Integers
from isthmus_node.egress.gate import Cleared, ClearedItem, Refusal
from isthmus_trust.documents import REFUSAL, SUMMARY, read_canonical

# Rows of a table that are shown where not all of them are asked for, and numbers in a line that have no names.
MOST_ROWS = 40
MOST_COLUMNS = 12


def words_of_cleared(cleared: Cleared) -> str:
    """One line an item: what it is and how many numbers leave."""
    lines = [words_of_item(item) for item in cleared.items]
    if cleared.rounded_to > 1:
        lines.append(f"counts are rounded to multiples of {cleared.rounded_to}")
    if cleared.notes:
        lines.append(f"notes: {', '.join(cleared.notes)}")
    return "\n".join(lines) or "nothing but the word that there is nothing"


def words_of_item(item: ClearedItem) -> str:
    """E.g. ``persons [sex] by arm (A, B) x sex (F, M): 2 x 2 numbers``."""
    about = item.about + (f", {item.unit}" if item.unit else "") + (f" [{item.label}]" if item.label else "")
    if item.value is None:
        return shown(f"{about}: withheld, {item.withheld_by}")
    axes = " x ".join(name + (f" ({', '.join(labels)})" if labels else "") for name, labels in item.axes)
    size = " x ".join(str(n) for n in item.value.shape) or "1"
    return shown(f"{about}{' by ' if axes else ''}{axes}: {size} number{'' if item.value.size == 1 else 's'}")


def words_of_refusal(refusal: Refusal) -> str:
    """A refusal in a line."""
    where = f" at {refusal.field}" if refusal.field else ""
    return shown(f"refused: {refusal.code}{where}; rule: {refusal.rule}; remedy: {refusal.remedy}")


def tables_of_payload(payload: bytes, most_rows: int = MOST_ROWS) -> str:
    """The numbers in bytes that left, read back from the bytes themselves, of each table so many rows at most.

    Raises `AuthenticationError` where the bytes are no signed summary or refusal.
    """
    signed = read_canonical(payload, study_pb2.Signed)
    lines = [f"signed as {shown(signed.context)} by key {signed.public_key.hex()}"]
    if signed.context == SUMMARY:
        lines.extend(_summary(read_canonical(signed.body, summary_pb2.Summary), most_rows))
    elif signed.context == REFUSAL:
        refusal = read_canonical(signed.body, summary_pb2.Refusal)
        lines.extend(f"{name} {shown(getattr(refusal, name))}" for name in ("code", "rule", "field", "remedy"))
    return "\n".join(lines)


def _summary(summary: summary_pb2.Summary, most_rows: int) -> Iterator[str]:
    yield shown(f"node {summary.node}, country {summary.country}, isthmus {summary.software}")
    if summary.counts_rounded_to:
        yield f"counts are rounded to multiples of {summary.counts_rounded_to}"
    if summary.ages_up_to:
        yield f"ages above {summary.ages_up_to:g} years are read as {summary.ages_up_to:g}"
    for item in summary.items:
        place = shown(f"{item.field}[{item.label}]" if item.label else item.field)
        if item.withheld_by:
            yield f"{place}: withheld, {shown(item.withheld_by)}"
            continue
        value = array_from_message(item.value)
        yield f"{place}: {' x '.join(str(n) for n in value.shape) or '1'}"
        yield from _table(value, most_rows)
    if summary.notes:
        yield shown(f"notes: {', '.join(summary.notes)}")


def _table(value: Array | Integers, most_rows: int) -> Iterator[str]:
    """The array row by row: the last axis runs along the line, places on the others are at its end."""
    long = value.ndim > 0 and value.shape[-1] > MOST_COLUMNS
    if long and value.ndim == 1:
        yield from _run(value, most_rows)
        return
    # an axis longer than every other is one of time: it runs down the page, without the steps at which nothing happens
    grid = long and value.shape[-1] > max(value.shape[:-1])
    if grid:
        value = np.moveaxis(value, -1, 0)
    rows = value.reshape(-1, value.shape[-1]) if value.ndim else value.reshape(1, 1)
    filled = [k for k in range(len(rows)) if not grid or rows[k].any()]
    for k in filled[:most_rows]:
        place = np.unravel_index(k, value.shape[:-1]) if value.ndim > 1 else ()
        yield "    " + " ".join([*(repr(x.item()).rjust(12) for x in rows[k]), "", *map(str, place)]).rstrip()
    if len(filled) > most_rows:
        yield f"    ... {len(filled) - most_rows} more rows"


def _run(value: Array | Integers, most_rows: int) -> Iterator[str]:
    """Numbers one after the other, with the place of each line's first at its end."""
    starts = range(0, value.size, MOST_COLUMNS)
    for start in starts[:most_rows]:
        numbers = " ".join(repr(x.item()).rjust(12) for x in value[start : start + MOST_COLUMNS])
        yield f"    {numbers}  {start}"
    if len(starts) > most_rows:
        yield f"    ... {value.size - most_rows * MOST_COLUMNS} more numbers"
