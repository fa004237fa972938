"""Canonical bytes put together from parts, where a message would be copied too often: large arrays in signed documents.

Source: the protobuf encoding, developers.google.com/protocol-buffers/docs/encoding, fields of wire type LEN.
"""

from __future__ import annotations

from collections.abc import Iterable

Part = bytes | memoryview


def before(number: int, length: int) -> bytes:
    """What stands before the content of a field of bytes, text or a message: its number, and its length in bytes."""
    return _varint(number << 3 | 2) + _varint(length)


def length_of(parts: Iterable[Part]) -> int:
    """Bytes of all parts together."""
    return sum(map(len, parts))


def _varint(value: int) -> bytes:
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)
