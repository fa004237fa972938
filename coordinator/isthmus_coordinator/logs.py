"""The coordinator's log: events from a closed list, each with its own keys. No sentence, and no text of an exception.

Modules log through `logging`, with the event as message and its keys as `extra`; the one handler writes what is listed.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import TextIO

from isthmus.confined import libraries_heard
from isthmus.event_log import EventLog, Events, place_of

PACKAGE = "isthmus_coordinator"
# event -> (level, keys). What is not here is not written.
EVENTS: Events = {
    "attached": ("info", ("node", "software")),
    "detached": ("info", ("node",)),
    "caller_gone": ("info", ("call",)),
    "call_refused": ("info", ("call", "code")),
    "call_failed": ("error", ("call", "kind", "place")),
    "listening_failed": ("error", ("node", "kind", "place")),
    "run_not_resumed": ("warning", ("run", "code")),
    "answers_not_stored": ("error", ("run", "kind", "place")),
    "pool_failed": ("error", ("run", "method", "kind", "place")),
    "deadline_failed": ("error", ("kind", "place")),
    "journal_not_followed": ("error", ("node", "witness", "code")),
}


class EventHandler(logging.Handler):
    """Writes records of our own modules as events: those that are listed, with the keys that are listed.

    Of an exception stand its kind and its place: its text may quote what a country sent.
    """

    def __init__(self, log: EventLog) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        keys = {
            key: value if isinstance(value, bool | int | float) else str(value)
            for key, value in vars(record).items()
            if key in EVENTS.get(str(record.msg), ("", ()))[1]
        }
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            keys |= {"kind": type(error).__name__, "place": place_of(error)}
        self._log.event(str(record.msg), **keys)


@contextlib.contextmanager
def events_written(quiet: bool = False, stream: TextIO | None = None) -> Iterator[None]:
    """For as long as it lasts, our own events go to a stream, and of libraries that they said something."""
    log = EventLog(EVENTS, "warning" if quiet else "info", stream)
    ours = logging.getLogger(PACKAGE)
    before = ours.level, ours.propagate, ours.handlers[:]
    ours.setLevel(logging.INFO)
    ours.propagate = False
    ours.handlers[:] = [EventHandler(log)]
    try:
        with libraries_heard(log):
            yield
    finally:
        ours.setLevel(before[0])
        ours.propagate = before[1]
        ours.handlers[:] = before[2]
