"""The journal's file: whole entries, one after the other, never changed. Knows bytes and hashes, not their meaning.

An entry is a head (length of the record, length of the payload, SHA-256 of the record, a checksum of these), the
record, the payload. Record and payload are in one file so that one fsync makes both durable.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from isthmus.errors import ConfigError

MAGIC = b"isthmus journal 1\n"
_HEAD = struct.Struct("<IQ32s")
_CHECK = struct.Struct("<I")
HEAD_BYTES = _HEAD.size + _CHECK.size


@dataclass(frozen=True, slots=True)
class Frame:
    """One entry as it stands in the file. `number` counts from 1."""

    number: int
    record: bytes
    payload: bytes
    start: int  # offset in the file
    end: int  # offset behind it


@dataclass(frozen=True, slots=True)
class Unfinished:
    """Bytes at the end that are the beginning of an entry: a crash in the middle of an append, or one under way."""

    start: int
    size: int


class Damaged(Exception):
    """An entry that is not as it was written. `number` counts from 1; 0 is the first line of the file."""

    def __init__(self, number: int, what: str) -> None:
        super().__init__(number, what)
        self.number = number
        self.what = what


def pack(record: bytes, payload: bytes) -> bytes:
    """The bytes of an entry."""
    return head_of(record, payload) + record + payload


def head_of(record: bytes, payload: bytes) -> bytes:
    """The bytes that stand before record and payload."""
    head = _HEAD.pack(len(record), len(payload), hashlib.sha256(record).digest())
    return head + _CHECK.pack(zlib.crc32(head))


def read_frames(path: Path) -> Iterator[Frame | Unfinished]:
    """Every entry in order, each checked; `Unfinished` as the last where the file ends within one.

    Raises
    ------
    Damaged
        At the first entry whose bytes are not those that were written.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        first = file.read(len(MAGIC))
        if not MAGIC.startswith(first):
            raise Damaged(0, "the first line is not that of a journal")
        start, number = len(MAGIC), 1
        if len(first) < len(MAGIC):
            yield Unfinished(0, size)
            return
        while start < size:
            frame = _frame(file, start, size, number)
            yield frame
            if isinstance(frame, Unfinished):
                return
            start, number = frame.end, number + 1


def read_frame(path: Path, start: int, number: int) -> Frame:
    """The one entry that begins at an offset. Raises `Damaged`."""
    with path.open("rb") as file:
        frame = _frame(file, start, os.fstat(file.fileno()).st_size, number)
    if isinstance(frame, Unfinished):
        raise Damaged(number, "it was cut off")
    return frame


def _frame(file: BinaryIO, start: int, size: int, number: int) -> Frame | Unfinished:
    file.seek(start)
    head = file.read(min(HEAD_BYTES, size - start))
    if len(head) < HEAD_BYTES:
        return Unfinished(start, size - start)
    if _CHECK.unpack_from(head, _HEAD.size)[0] != zlib.crc32(head[: _HEAD.size]):
        raise Damaged(number, "its head was changed")
    record_bytes, payload_bytes, digest = _HEAD.unpack_from(head)
    end = start + HEAD_BYTES + record_bytes + payload_bytes
    if end > size:
        return Unfinished(start, size - start)
    record = file.read(record_bytes)
    if hashlib.sha256(record).digest() != digest:
        raise Damaged(number, "its record was changed")
    return Frame(number, record, file.read(payload_bytes), start, end)


class Appender:
    """The one writer of a journal file. An append is on the disk when it returns, or it has not happened."""

    __slots__ = ("_descriptor", "_end", "_path")

    def __init__(self, path: Path, descriptor: int, end: int) -> None:
        """Use `open`."""
        self._path = path
        self._descriptor = descriptor
        self._end = end

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the file, made where it is not there, and lock it against every other writer.

        Raises
        ------
        ConfigError
            ``JOURNAL_NOT_WRITABLE``, ``JOURNAL_IN_USE``.
        """
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _not_writable(path, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _sync_folder(path.parent)
            return cls(path, descriptor, os.fstat(descriptor).st_size)
        except BlockingIOError as error:
            os.close(descriptor)
            raise ConfigError(
                "JOURNAL_IN_USE",
                f"another process writes the journal {path}; rule: one node, one journal, one writer",
                "stop the other node, or use another home",
            ) from error
        except OSError as error:
            os.close(descriptor)
            raise _not_writable(path, error) from error

    def close(self) -> None:
        """Give the file up; the lock goes with it."""
        os.close(self._descriptor)

    def cut(self, end: int) -> None:
        """Forget what lies behind an offset; it goes with the next append."""
        self._end = end

    @property
    def end(self) -> int:
        """Offset behind the last whole entry, in bytes."""
        return self._end

    def append(self, content: bytes, payload: bytes = b"", durable: bool = True) -> None:
        """Write content and payload behind the last whole entry, and wait for the disk where `durable`.

        Raises
        ------
        ConfigError
            ``JOURNAL_NOT_WRITABLE``: disk full, read-only, broken. The journal is as it was before.
        """
        try:
            # whatever an earlier failure left behind the last whole entry goes first
            if os.fstat(self._descriptor).st_size != self._end:
                os.ftruncate(self._descriptor, self._end)
            _write_all(self._descriptor, content, self._end)
            # a model's payload is large: it is not copied to stand in one piece with what comes before
            _write_all(self._descriptor, payload, self._end + len(content))
            if durable:
                os.fsync(self._descriptor)
        except OSError as error:
            self._cut_back()
            raise _not_writable(self._path, error) from error
        self._end += len(content) + len(payload)

    def sync(self) -> None:
        """Wait until everything appended is on the disk. Raises `ConfigError` ``JOURNAL_NOT_WRITABLE``."""
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise _not_writable(self._path, error) from error

    def _cut_back(self) -> None:
        """Readers see whole entries at once again; where even this fails, the next append begins with it."""
        try:
            os.ftruncate(self._descriptor, self._end)
        except OSError:
            return


def _write_all(descriptor: int, content: bytes, offset: int) -> None:
    rest = memoryview(content)
    while rest:
        written = os.pwrite(descriptor, rest, offset)
        rest, offset = rest[written:], offset + written


def _sync_folder(folder: Path) -> None:
    """A new file is on the disk only when its folder is."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _not_writable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        "JOURNAL_NOT_WRITABLE",
        f"the journal {path} cannot be written: {error.strerror or 'input/output error'}; "
        "rule: nothing leaves that is not in the journal",
        "make room on the disk, or let this user write there; a running node then goes on by itself",
    )
