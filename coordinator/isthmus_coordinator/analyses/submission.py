"""The bytes of an answer as they came: few are in memory, many in a file that has no name and goes with them."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from isthmus.errors import LinkError

# Bytes of a state, a model or a large answer that are handled, and stored, at a time.
PART = 1 << 20


class Given(Protocol):
    """What a node submitted, wherever it is now."""

    @property
    def size(self) -> int: ...

    @property
    def digest(self) -> bytes:
        """SHA-256, 32 bytes."""

    def whole(self) -> bytearray:
        """All its bytes, a copy."""


def is_large(given: Given) -> bool:
    """Whether it is too large to be in memory more than once."""
    return given.size > PART


class Submission:
    """What a node submitted.

    Parameters
    ----------
    folder
        Where there is room for large answers; None: where the system keeps what is temporary.
    """

    def __init__(self, folder: Path | None = None) -> None:
        # from all countries at once comes several times what one sends
        place = None if folder is None else str(folder)
        self._file = tempfile.SpooledTemporaryFile(max_size=PART, dir=place)  # noqa: SIM115 - closed by `close`
        self._digest = hashlib.sha256()
        self.size = 0

    def add(self, part: bytes) -> None:
        """More of it has come; `LinkError` ``NOT_STORED`` where there is no room: it is sent again."""
        try:
            self._file.write(part)
        except OSError as error:
            raise not_stored() from error
        self._digest.update(part)
        self.size += len(part)

    @property
    def digest(self) -> bytes:
        """SHA-256, 32 bytes."""
        return self._digest.digest()

    def parts(self) -> Iterator[bytes]:
        """Its bytes, `PART` at a time."""
        self._file.seek(0)
        while part := self._file.read(PART):
            yield part

    def whole(self) -> bytearray:
        """All its bytes, a copy."""
        body = bytearray(self.size)
        view, done = memoryview(body), 0
        self._file.seek(0)
        while done < self.size:
            done += self._file.readinto(view[done : done + PART])
        return body

    def close(self) -> None:
        """It is stored, or not wanted."""
        self._file.close()


def not_stored() -> LinkError:
    """What a node hears where its answer is not on disk."""
    return LinkError("NOT_STORED", "the answer could not be stored at the coordinator", "it is sent again by itself")
