"""Between a cleared summary and the one row of numbers that is added up over countries in a sealed study."""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from isthmus.errors import Refused, UsageError
from isthmus.v1 import sealed_pb2, summary_pb2
from isthmus_methods.adding import TOGETHER
from isthmus_methods.codec import MAX_ARRAY, MAX_AXES, array_from_message
from isthmus_methods.contract import Array, Cleared, Integers, Procedure


def layout_of(summary: summary_pb2.Summary, notes: Collection[str]) -> sealed_pb2.SealedLayout:
    """What the numbers of a summary are, in its order, and then one number for each note of the method.

    Parameters
    ----------
    notes
        All that the method declares: which of them hold is part of what is added.
    """
    fields = [
        sealed_pb2.SealedField(
            field=item.field,
            label=item.label,
            shape=item.value.shape,
            whole=item.value.HasField("counts"),
            withheld_by=item.withheld_by,
        )
        for item in summary.items
    ]
    fields += [sealed_pb2.SealedField(label=code, whole=True) for code in sorted(notes)]
    return sealed_pb2.SealedLayout(
        fields=fields, counts_rounded_to=summary.counts_rounded_to, ages_up_to=summary.ages_up_to
    )


def numbers_of(summary: summary_pb2.Summary, notes: Collection[str]) -> NDArray[np.float64]:
    """The numbers of a summary in the order of its layout, (n,)."""
    parts = [
        np.asarray(array_from_message(i.value), dtype=np.float64).ravel() for i in summary.items if not i.withheld_by
    ]
    held = set(summary.notes)
    return np.concatenate([*parts, np.array([float(code in held) for code in sorted(notes)])])


def size_of(layout: sealed_pb2.SealedLayout) -> int:
    """How many numbers a layout has.

    Raises
    ------
    UsageError
        ``SEALED_LAYOUT`` where it has more than are taken.
    """
    sizes = [math.prod(field.shape) for field in layout.fields if not field.withheld_by]
    if any(len(field.shape) > MAX_AXES for field in layout.fields) or sum(sizes) > MAX_ARRAY:
        raise _odd(f"an array of more than {MAX_AXES} axes, or more than {MAX_ARRAY} numbers")
    return sum(sizes)


def cleared_of(
    layout: sealed_pb2.SealedLayout, numbers: NDArray[np.float64], method: Procedure, countries: int
) -> Cleared:
    """The sum over so many countries as a summary of all of them together, held against what the method declares.

    Raises
    ------
    Refused
        ``UNDECLARED_FIELD``.
    UsageError
        ``SEALED_LAYOUT`` where layout and numbers do not fit, or counts are not whole.
    """
    if size_of(layout) != len(numbers):
        raise _odd("it has another number of numbers than its shares")
    values: dict[tuple[str, str], Array | Integers] = {}
    withheld: dict[tuple[str, str], str] = {}
    notes: set[str] = set()
    start = 0
    for field in layout.fields:
        key = (field.field, field.label)
        if key in values or key in withheld:
            raise _odd("a field stands in it twice")
        if field.field and field.field not in method.leaves:
            raise Refused(
                "UNDECLARED_FIELD",
                f"a share holds a field {field.field[:80]!r} that method {method.name} does not declare",
                "run the same release of isthmus at the coordinator and at the site",
            )
        if field.withheld_by:
            if not field.field or method.leaves[field.field].required:
                raise _odd("a field that the method needs is not in it")
            withheld[key] = field.withheld_by
            continue
        end = start + math.prod(field.shape)
        value = numbers[start:end].reshape(tuple(field.shape))
        start = end
        if field.whole:
            if np.any(np.rint(value) != value):
                raise _odd("a count is not whole")
            value = value.astype(np.int64)
        if field.field:
            values[key] = value
        elif field.label not in method.notes:
            raise _odd("it has a note that the method does not declare")
        elif value.any():
            notes.add(field.label)
    if not 0.0 <= layout.ages_up_to < math.inf:
        raise _odd("ages are read up to what is no age")
    rounded_to = max(layout.counts_rounded_to, 1)
    return Cleared(TOGETHER, values, withheld, frozenset(notes), rounded_to, layout.ages_up_to, countries)


def _odd(what: str) -> UsageError:
    return UsageError(
        "SEALED_LAYOUT",
        f"what the numbers of a sealed round are said to be cannot be so: {what}",
        "run the same release of isthmus at the coordinator and at the sites",
    )
