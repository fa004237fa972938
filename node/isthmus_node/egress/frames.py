"""How long an answer is: as long as its shapes are, whatever the numbers in them, and whether it is one or a refusal.

Whole numbers take more bytes the larger they are, a withheld field takes none, a refusal is short. Whoever sees the
length of an answer, on the network or behind it, would learn of each. So an answer is filled up with zeros to a length
that follows from the fields, labels and shapes of what the method gave.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np

from isthmus.v1 import summary_pb2
from isthmus_methods.contract import Item

# Answers are whole multiples of this long, in bytes: nearly every answer of a few numbers and every refusal is one.
FRAME = 4096
# Longest texts of a refusal, in characters.
RULE, REMEDY, PLACE = 800, 400, 200
# Bytes of a whole number below 2^20, as it is written (zig-zag varint); and of any.
_BELOW, _WIDTH, _WIDEST = 1 << 20, 3, 10
# Bytes around: tags, lengths, the code of a rule that withholds; and of a summary as a whole: digests, names, what
# noise spent.
_AROUND, _AXIS, _WHOLE = 96, 6, 384


def room_of(items: Iterable[Item], notes: Collection[str]) -> int:
    """Bytes that a summary of these items takes at most, whatever their values and whichever are withheld.

    Parameters
    ----------
    items
        What the method gave. Only shapes, types, names and labels count.
    notes
        All notes that the method declares: which of them hold here depends on the rows.
    """
    return _WHOLE + sum(len(note.encode()) + 2 for note in notes) + sum(map(_room, items))


def pad(message: summary_pb2.Summary | summary_pb2.Refusal, room: int, beside: int = 0) -> None:
    """Fill a message up with zeros to the frames that `room` bytes take, and no byte less or more.

    `beside` : bytes of the answer that are not in the message.
    """
    bare = message.ByteSize() + beside
    # two bytes are the least that a padding adds
    target = -(-max(room, bare + 2) // FRAME) * FRAME
    missing = target - bare
    first = _fitting(missing)
    if first is None:
        # a length that one padding cannot have, because its own length takes a byte more: an empty one before it
        message.padding.append(b"")
        first = _fitting(missing - 2) or 0
    message.padding.append(bytes(first))


def _fitting(size: int) -> int | None:
    """Zeros that take `size` bytes together with tag and length; None where no number of them does."""
    for digits in range(1, 6):
        zeros = size - 1 - digits
        if zeros >= 0 and max(1, -(-zeros.bit_length() // 7)) == digits:
            return zeros
    return None


def _room(item: Item) -> int:
    texts = len(item.field.encode()) + len(item.label.encode())
    if type(item.value) is not np.ndarray:
        return texts + _AROUND
    value = item.value
    each = value.itemsize
    if value.dtype.kind in "iu":
        each = _WIDTH if not value.size or int(np.abs(value).max()) < _BELOW else _WIDEST
    return texts + _AROUND + _AXIS * value.ndim + each * value.size
