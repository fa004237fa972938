"""The node's log: events from a closed list, each with its own keys. No sentence, and no value from the data."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TextIO

LEVELS = ("debug", "info", "warning", "error")
_ERROR = ("code", "message", "remedy")
# event -> (level, keys). What is not here is not written.
EVENTS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "starting": ("info", ("node", "software", "home")),
    "attached": ("info", ("coordinator", "address", "software")),
    "detached": ("warning", ("seconds", "tries", *_ERROR)),
    "still-away": ("warning", ("seconds", "tries", *_ERROR)),
    "stopping": ("info", ("reason",)),
    "study-arrived": ("info", ("study", "version", "digest")),
    "study-not-taken": ("warning", ("digest", *_ERROR)),
    "task-waiting": ("info", ("task", "run", "round", "study", "request", "code")),
    "task-not-taken": ("warning", ("task", *_ERROR)),
    "task-withdrawn": ("info", ("task", "reason")),
    "released": ("info", ("task", "run", "round", "bytes", "milliseconds")),
    "refused": ("warning", ("task", "run", "round", "bytes", "milliseconds")),
    "sent-again": ("info", ("task", "bytes")),
    "acknowledged": ("debug", ("task",)),
    "not-sent": ("warning", ("task", *_ERROR)),
    "not-wanted": ("warning", ("task", *_ERROR)),
    "decision-sent": ("info", ("study", "digest", "approved")),
    "decision-not-sent": ("warning", ("digest", *_ERROR)),
    "decision-not-taken": ("warning", ("file", *_ERROR)),
    "datasets-changed": ("info", ("datasets",)),
    "data-ready": ("info", ("dataset",)),
    "data-unfit": ("warning", ("dataset", *_ERROR)),
    "policy-changed": ("info", ("digest",)),
    "journal-fault": ("error", _ERROR),
    "certificate-renewed": ("info", ("expires",)),
    "certificate-not-renewed": ("warning", _ERROR),
    "health-listens": ("info", ("port",)),
    "fault": ("error", ("where", "kind")),
}
_LONGEST = 600

Plain = str | int | float | bool


class Log:
    """Writes events: one line of JSON each, or a short line for people on a terminal."""

    def __init__(
        self, level: str = "info", stream: TextIO | None = None, now: Callable[[], datetime] | None = None
    ) -> None:
        self._least = LEVELS.index(level)
        self._stream = stream if stream is not None else sys.stderr
        self._now = now or (lambda: datetime.now(UTC))
        self._lock = threading.Lock()
        self._for_people = self._stream.isatty()

    def event(self, name: str, **keys: Plain) -> None:
        """Write an event; a key that the list does not allow for it is left out, an unknown event has none."""
        level, allowed = EVENTS.get(name, ("error", ()))
        if LEVELS.index(level) < self._least:
            return
        kept = {key: _short(keys[key]) for key in allowed if key in keys}
        at = self._now().astimezone(UTC)
        if self._for_people:
            words = "  ".join(f"{key}={value}" for key, value in kept.items())
            line = f"{at:%H:%M:%S} {level:7} {name}  {words}".rstrip()
        else:
            moment = at.isoformat(timespec="milliseconds")
            line = json.dumps({"at": moment, "level": level, "event": name, **kept}, ensure_ascii=False)
        with self._lock:
            self._stream.write(line + "\n")
            self._stream.flush()


def _short(value: Plain) -> Plain:
    return value if not isinstance(value, str) or len(value) <= _LONGEST else value[:_LONGEST] + "…"
