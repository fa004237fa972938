"""A summary's canonical bytes in parts: the numbers of a model are not copied into a message and out of it again.

Parts in a row are the bytes that the message as a whole would have; `tests/egress/test_wire.py` holds that.
"""

from __future__ import annotations

from google.protobuf.message import Message

from isthmus.delimited import Part, before, length_of
from isthmus.v1 import summary_pb2, values_pb2
from isthmus_methods.codec import array_parts, array_to_message
from isthmus_methods.contract import Array, Integers

# Numbers of fields in the contract.
_ITEMS, _VALUE = summary_pb2.Summary.ITEMS_FIELD_NUMBER, summary_pb2.Item.VALUE_FIELD_NUMBER


def without_numbers(value: Array | Integers) -> values_pb2.Array:
    """The message of an array: whole if it has whole numbers, which are few, else its shape only."""
    return array_to_message(value) if value.dtype.kind in "iu" else values_pb2.Array(shape=value.shape)


def item_parts(item: summary_pb2.Item, value: Array | Integers | None) -> list[Part]:
    """An item of a summary, with what stands before it there.

    Parameters
    ----------
    item
        As `without_numbers` made its value.
    value
        Its numbers; None where they are withheld.
    """
    if value is None or value.dtype.kind in "iu":
        whole = _bytes(item)
        return [before(_ITEMS, len(whole)), whole]
    array = array_parts(value)
    names = _bytes(summary_pb2.Item(field=item.field, label=item.label))
    inner: list[Part] = [names, before(_VALUE, length_of(array)), *array]
    return [before(_ITEMS, length_of(inner)), *inner]


def around(summary: summary_pb2.Summary) -> tuple[bytes, summary_pb2.Summary]:
    """What stands before a summary's items, in bytes, and behind them, as a message."""
    head = summary_pb2.Summary(task=summary.task, node=summary.node, country=summary.country)
    tail = summary_pb2.Summary()
    tail.CopyFrom(summary)
    for name in ("task", "node", "country", "items"):
        tail.ClearField(name)
    return _bytes(head), tail


def _bytes(message: Message) -> bytes:
    """Canonical bytes of a message that was made here: there is nothing unknown in it."""
    made: bytes = message.SerializeToString(deterministic=True)
    return made
