"""A model's arrays in a file without a name, passed on by its descriptor: read when somebody wants their numbers.

A strategy is given the models of all countries at once, and looks at one after the other. In this way they are in
memory one at a time, however many countries there are.
"""

from __future__ import annotations

import os
import socket
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from isthmus_methods.contract import Array
from isthmus_training.frames import Broken, type_of, typed

# Name, type and shape of each array, in the order in which they stand in the file.
Layout = list[tuple[str, str, tuple[int, ...]]]


def store(arrays: Mapping[str, Array], folder: Path | None) -> tuple[BinaryIO, Layout]:
    """A file with these arrays, one behind the other, and what is where in it; `OSError` where there is no room.

    Parameters
    ----------
    arrays
        By name: float64 or float32.
    folder
        Where the file is made; None: where the system keeps what is temporary.
    """
    file = cast("BinaryIO", tempfile.TemporaryFile(dir=folder, buffering=0))  # noqa: SIM115 - the caller's
    layout: Layout = []
    try:
        for name, array in arrays.items():
            rest = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
            layout.append((name, type_of(array), array.shape))
            while rest:
                rest = rest[file.write(rest) :]
    except BaseException:
        file.close()
        raise
    return file, layout


def send(way: socket.socket, file: BinaryIO) -> None:
    """Pass a file on; `Broken` where nobody is there to take it."""
    try:
        socket.send_fds(way, [b"\0"], [file.fileno()])
    except OSError as error:
        raise Broken("the other side takes no file") from error


def receive(way: socket.socket) -> BinaryIO:
    """The next file that was passed on; `Broken` where none comes."""
    try:
        read, descriptors, _, _ = socket.recv_fds(way, 1, 1)
    except OSError as error:
        raise Broken("no file can be taken") from error
    if not read or len(descriptors) != 1:
        raise Broken("no file came")
    return os.fdopen(descriptors[0], "rb")


class _Open:
    """A file that is closed once no array of it is left."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        weakref.finalize(self, file.close)


@dataclass(frozen=True, slots=True)
class StoredArray:
    """One array of such a file, which nobody changes any more.

    Parameters
    ----------
    start
        Offset in the file, bytes.
    """

    open: _Open
    start: int
    type: np.dtype[Any]
    shape: tuple[int, ...]

    def read(self) -> Array:
        """Its numbers; what is written to them stays in this array."""
        if 0 in self.shape:
            return np.empty(self.shape, dtype=self.type)
        mapped = np.memmap(self.open.file, dtype=self.type, mode="c", offset=self.start, shape=self.shape)
        return cast("Array", mapped.view(np.ndarray))


class StoredArrays(Mapping[str, Array]):
    """The arrays of such a file by name; each is read anew when it is asked for."""

    def __init__(self, file: BinaryIO, layout: Layout) -> None:
        self.parts: dict[str, StoredArray] = {}
        opened, start = _Open(file), 0
        for name, kind, shape in layout:
            part = self.parts[name] = StoredArray(opened, start, typed(kind), tuple(shape))
            start += int(np.prod(part.shape, dtype=np.int64)) * part.type.itemsize

    def __getitem__(self, name: str) -> Array:
        return self.parts[name].read()

    def __iter__(self) -> Iterator[str]:
        return iter(self.parts)

    def __len__(self) -> int:
        return len(self.parts)
