"""Named arrays and a few words between a process and its child, over a pipe: no pickle, bounded, one array at a time.

A frame is the length of its head (4 bytes, little-endian), the head (JSON: the words, and name, type and shape of each
array), then the arrays' bytes, little-endian, in the head's order.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from isthmus_methods.contract import Array

_LENGTH = struct.Struct("<I")
# Longest head, bytes: two thousand arrays and their names are a tenth of it.
MOST_HEAD = 4 << 20
# Types an array may have.
_TYPES: dict[str, np.dtype[Any]] = {
    "<f8": np.dtype("<f8"),
    "<f4": np.dtype("<f4"),
    "<i8": np.dtype("<i8"),
    "|b1": np.dtype("|b1"),
}

Words = dict[str, Any]


class Broken(Exception):
    """The other side has gone, or what it sends is no frame."""


class TooLarge(Broken):
    """The other side sends more than is taken."""


def write_frame(pipe: BinaryIO, words: Mapping[str, Any], arrays: Mapping[str, Array] | None = None) -> None:
    """Send a frame and flush it.

    Parameters
    ----------
    words
        What JSON can say; "arrays" is taken.
    arrays
        By name: float64, float32, int64 or bool.
    """
    sent = {name: np.asarray(array, order="C") for name, array in (arrays or {}).items()}
    shapes = [[name, type_of(array), array.shape] for name, array in sent.items()]
    head = json.dumps({**words, "arrays": shapes}).encode()
    try:
        pipe.write(_LENGTH.pack(len(head)))
        pipe.write(head)
        for array in sent.values():
            pipe.write(array.reshape(-1).view(np.uint8).data)
        pipe.flush()
    except (OSError, ValueError) as error:
        raise Broken("the other side does not read any more") from error


def read_frame(pipe: BinaryIO, most_bytes: int) -> tuple[Words, dict[str, Array]]:
    """The next frame; the arrays are the reader's own.

    Parameters
    ----------
    most_bytes
        Of all arrays of a frame together.

    Raises
    ------
    Broken
        Where the other side has gone, or sends what is no frame or a larger one.
    """
    (length,) = _LENGTH.unpack(_exactly(pipe, _LENGTH.size))
    if length > MOST_HEAD:
        raise Broken("a head that is too long")
    try:
        words = json.loads(bytes(_exactly(pipe, length)))
        shapes = [(str(n), _TYPES[t], tuple(int(k) for k in shape)) for n, t, shape in words.pop("arrays")]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Broken("a head that cannot be read") from error
    if any(k < 0 for _, _, shape in shapes for k in shape):
        raise Broken("an axis of negative length")
    if sum(math.prod(shape) * kind.itemsize for _, kind, shape in shapes) > most_bytes:
        raise TooLarge("more bytes than are taken")
    arrays: dict[str, Array] = {}
    for name, kind, shape in shapes:
        body = _exactly(pipe, math.prod(shape) * kind.itemsize)
        arrays[name] = np.frombuffer(body, dtype=kind).reshape(shape)
    return words, arrays


def typed(name: str) -> np.dtype[Any]:
    """The type of a name that `type_of` gave; `Broken` of another."""
    if name not in _TYPES:
        raise Broken("an array of a type that is not carried")
    return _TYPES[name]


def type_of(array: Array) -> str:
    """The name under which an array's type is carried; `ValueError` where it is not."""
    name = array.dtype.newbyteorder("<").str
    if name not in _TYPES or array.dtype.str != name:
        raise ValueError(f"arrays of type {array.dtype} are not carried")
    return name


def _exactly(pipe: BinaryIO, length: int) -> bytearray:
    body = bytearray(length)
    view, done = memoryview(body), 0
    while done < length:
        try:
            got = pipe.readinto(view[done:])  # type: ignore[attr-defined]
        except (OSError, ValueError) as error:
            raise Broken("the other side cannot be read") from error
        if not got:
            raise Broken("the other side has gone")
        done += got
    return body
