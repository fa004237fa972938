"""Canonical bytes put together from parts, and taken apart again, where a message would copy large arrays too often.

Source: the protobuf encoding, developers.google.com/protocol-buffers/docs/encoding.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

Part = bytes | memoryview

# Kinds of a field on the wire, and the bytes of those of fixed length.
_VARINT, _LEN = 0, 2
_FIXED = {1: 8, 5: 4}
# Bytes of the longest varint.
_LONGEST = 10


def before(number: int, length: int) -> bytes:
    """What stands before the content of a field of bytes, text or a message: its number, and its length in bytes."""
    return _varint(number << 3 | _LEN) + _varint(length)


def length_of(parts: Iterable[Part]) -> int:
    """Bytes of all parts together."""
    return sum(map(len, parts))


def sliced(parts: Iterable[Part], most: int) -> Iterator[bytes]:
    """The bytes of all parts, in order, so many at a time; the last time what is left."""
    slices: list[Part] = []
    room = most
    for part in parts:
        rest = memoryview(part)
        while rest:
            slices.append(rest[:room])
            rest = rest[room:]
            room = most - length_of(slices)
            if not room:
                yield b"".join(slices)
                slices, room = [], most
    if slices:
        yield b"".join(slices)


def take_out(body: memoryview, path: Sequence[Collection[int]]) -> tuple[bytes, list[memoryview]]:
    """A message without the content of its large fields, and that content: nothing large is copied.

    What is left has these fields still, empty. It is in canonical bytes if, and only if, the whole was.

    Parameters
    ----------
    body
        The message.
    path
        Numbers of fields, one set a level: of the messages that lead to the large fields, the last set of these
        themselves.

    Returns
    -------
    tuple
        What is left, and the contents in the order in which they stand there.

    Raises
    ------
    ValueError
        Where the bytes are no message, or the length of what is taken out is not in its shortest form.
    """
    out: list[memoryview] = []
    return _left(body, path, out), out


def _left(body: memoryview, path: Sequence[Collection[int]], out: list[memoryview]) -> bytes:
    left: list[Part] = []
    start = 0
    while start < len(body):
        key, place = _read_varint(body, start)
        number, kind = key >> 3, key & 7
        if kind == _LEN:
            length, place = _read_varint(body, place)
            end = place + length
        elif kind == _VARINT:
            end = _read_varint(body, place)[1]
        elif kind in _FIXED:
            end = place + _FIXED[kind]
        else:
            raise ValueError("a field of a kind that is not used")
        if end > len(body):
            raise ValueError("a field is longer than what it stands in")
        if kind == _LEN and number in path[0]:
            head = before(number, end - place)
            if body[start:place] != head:
                raise ValueError("a length that is not in its shortest form")
            if len(path) == 1:
                out.append(body[place:end])
                left.append(before(number, 0))
            else:
                inner = _left(body[place:end], path[1:], out)
                left += [before(number, len(inner)), inner]
        else:
            left.append(body[start:end])
        start = end
    return b"".join(left)


def _read_varint(body: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for k in range(_LONGEST):
        if place + k >= len(body):
            raise ValueError("a number is cut off")
        value |= (body[place + k] & 0x7F) << 7 * k
        if body[place + k] < 0x80:
            return value, place + k + 1
    raise ValueError("a number is too long")


def _varint(value: int) -> bytes:
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)
