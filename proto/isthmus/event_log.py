"""A log of events from a closed list, each with its own keys. What is not on the list cannot be written."""

from __future__ import annotations

import contextlib
import re
import sys
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from traceback import walk_tb
from typing import TextIO

from isthmus.errors import DataError, IsthmusError
from isthmus.untrusted import json_text, shown

LEVELS = ("debug", "info", "warning", "error")
# event -> (level, keys)
Events = Mapping[str, tuple[str, tuple[str, ...]]]
Plain = str | int | float | bool

# Keys under which an error is written.
ERROR = ("code", "message", "remedy")
# What every process that logs may say besides its own events: an unforeseen fault, and that a library spoke.
SHARED: Events = {
    "fault": ("error", ("where", "kind", "place")),
    "library-spoke": ("warning", ("library", "kind", "place")),
    "undeclared-event": ("error", ()),
}
_IS_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_LONGEST = 600
# Of the calls under which a fault came up, so many are named.
_CALLS_NAMED = 4


class EventLog:
    """Writes events: one line of JSON each, or a short line for people on a terminal.

    Parameters
    ----------
    events
        The closed list; `SHARED` belongs to every list.
    level
        Events below it are not written.
    stream
        Where to; standard error by default.
    now
        The time, UTC.
    """

    def __init__(
        self,
        events: Events,
        level: str = "info",
        stream: TextIO | None = None,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        self._events = {**SHARED, **events}
        self._least = LEVELS.index(level)
        self._stream = stream if stream is not None else sys.stderr
        self._now = now or (lambda: datetime.now(UTC))
        self._lock = threading.Lock()
        self._for_people = self._stream.isatty()

    def event(self, name: str, **keys: Plain) -> None:
        """Write an event. A key that the list does not allow for it is left out; of an unknown event, the name too."""
        name = name if name in self._events else "undeclared-event"
        level, allowed = self._events[name]
        if LEVELS.index(level) < self._least:
            return
        kept = {key: _short(keys[key]) for key in allowed if key in keys}
        at = self._now().astimezone(UTC)
        if self._for_people:
            words = "  ".join(f"{key}={value}" for key, value in kept.items())
            line = shown(f"{at:%H:%M:%S} {level:7} {name}  {words}".rstrip())
        else:
            moment = at.isoformat(timespec="milliseconds")
            line = json_text({"at": moment, "level": level, "event": name, **kept})
        # a log that cannot be written must not stop what is logged, nor say so in another way
        with self._lock, contextlib.suppress(OSError, ValueError):
            self._stream.write(line + "\n")
            self._stream.flush()

    def failure(self, name: str, error: BaseException, **keys: Plain) -> None:
        """Write an event about an error.

        Errors about requests, settings and the link are written with their words. Those about data are written by
        their code: what stands in the rows is said by commands, on the screen of whoever calls them. Of everything
        unforeseen stand its kind and its place in the code: the text of an exception may quote a row.
        """
        if not isinstance(error, IsthmusError) or not _IS_CODE.fullmatch(error.code):
            self.event("fault", where=name, kind=type(error).__name__, place=place_of(error))
        elif isinstance(error, DataError) or type(error) is IsthmusError:
            self.event(name, code=error.code, **keys)
        else:
            self.event(name, code=error.code, message=error.message, remedy=error.remedy, **keys)


def place_of(error: BaseException) -> str:
    """Where in the code an error came up, innermost call first: ``summary.py:31 < service.py:170``. No text of it."""
    calls = [f"{Path(frame.f_code.co_filename).name}:{line}" for frame, line in walk_tb(error.__traceback__)]
    return " < ".join(reversed(calls[-_CALLS_NAMED:]))


def _short(value: Plain) -> Plain:
    return value if not isinstance(value, str) or len(value) <= _LONGEST else value[:_LONGEST] + "…"
