"""Mutates real messages: their bytes as they stand, and their fields one by one with what nobody expects."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

M = TypeVar("M", bound=Message)

TEXTS = ("", "\0", "\x1b[2J", "\u202e", "../../x", "a" * 300, "NaN", "=1+1", "' OR 1=1 --", "é" * 50, "ADTTE", "AGE")
NUMBERS = (0, 1, -1, 2**31 - 1, -(2**31), 2**32 - 1, 2**63 - 1, -(2**63), 255, 65536)
DOUBLES = (0.0, -0.0, 1e308, -1e308, 5e-324, float("inf"), float("-inf"), float("nan"), 0.1)
BYTES = (b"", b"\0", b"\xff" * 32, bytes(32), bytes(64), b"\x0a\x80\x80\x80\x80\x10", b"x" * 5000)
_F = FieldDescriptor
_WHOLE = {
    _F.TYPE_INT32: (-(2**31), 2**31 - 1),
    _F.TYPE_SINT32: (-(2**31), 2**31 - 1),
    _F.TYPE_ENUM: (-(2**31), 2**31 - 1),
    _F.TYPE_UINT32: (0, 2**32 - 1),
    _F.TYPE_INT64: (-(2**63), 2**63 - 1),
    _F.TYPE_SINT64: (-(2**63), 2**63 - 1),
    _F.TYPE_UINT64: (0, 2**64 - 1),
}


def mutated_bytes(body: bytes, chance: random.Random) -> bytes:
    """The bytes with a few of them turned, taken away, doubled or put in."""
    changed = bytearray(body)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(changed) + 1)
        match chance.randrange(5):
            case 0 if changed:
                changed[min(place, len(changed) - 1)] ^= 1 << chance.randrange(8)
            case 1:
                del changed[place : place + chance.randint(1, 20)]
            case 2:
                changed[place:place] = changed[place : place + chance.randint(1, 40)]
            case 3:
                changed[place:place] = chance.choice(BYTES)
            case _:
                changed[place:] = chance.randbytes(chance.randint(0, 30))
    return bytes(changed)


def mutated(message: M, chance: random.Random) -> M:
    """A copy of the message with one or two of its fields changed, at any depth."""
    copy = type(message)()
    copy.CopyFrom(message)
    for _ in range(chance.randint(1, 2)):
        holders = list(_messages(copy))
        _change(chance.choice(holders), chance)
    return copy


def _messages(message: Message) -> Iterator[Message]:
    yield message
    for field, value in message.ListFields():
        if field.type == _F.TYPE_MESSAGE:
            for one in value if field.is_repeated else [value]:
                yield from _messages(one)


def _change(message: Message, chance: random.Random) -> None:
    fields = message.DESCRIPTOR.fields
    if not fields:
        return
    field = chance.choice(fields)
    if field.is_repeated:
        _change_repeated(message, field, chance)
    elif field.type == _F.TYPE_MESSAGE:
        if chance.random() < 0.4:
            message.ClearField(field.name)
        else:
            getattr(message, field.name).SetInParent()
    elif chance.random() < 0.15:
        message.ClearField(field.name)
    else:
        setattr(message, field.name, _value(field, chance))


def _change_repeated(message: Message, field: FieldDescriptor, chance: random.Random) -> None:
    values = getattr(message, field.name)
    roll = chance.random()
    if roll < 0.25:
        message.ClearField(field.name)
    elif roll < 0.45 and len(values):
        del values[chance.randrange(len(values))]
    elif field.type == _F.TYPE_MESSAGE:
        if len(values) and roll < 0.8:
            # the same once more, or very often
            one = type(values[0])()
            one.CopyFrom(chance.choice(values))
            values.extend([one] * chance.choice((1, 1, 2, 300)))
        else:
            values.add()
    else:
        values.extend([_value(field, chance)] * chance.choice((1, 1, 3, 3000)))


def _value(field: FieldDescriptor, chance: random.Random) -> Any:
    if field.type == _F.TYPE_STRING:
        return chance.choice(TEXTS)
    if field.type == _F.TYPE_BYTES:
        return chance.choice(BYTES)
    if field.type == _F.TYPE_BOOL:
        return chance.random() < 0.5
    if field.type in (_F.TYPE_DOUBLE, _F.TYPE_FLOAT):
        return chance.choice(DOUBLES)
    low, high = _WHOLE[field.type]
    return min(max(chance.choice(NUMBERS), low), high)
