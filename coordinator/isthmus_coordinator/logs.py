"""Log events: one JSON object a line, or a short line where a person looks on."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

# What every record has; what a caller gives as `extra` is what remains.
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """Time, level, event and what belongs to it. A trace only for faults of the coordinator itself."""

    def format(self, record: logging.LogRecord) -> str:
        event: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **{key: str(value) for key, value in vars(record).items() if key not in _OWN},
        }
        if record.exc_info:
            event["trace"] = self.formatException(record.exc_info)
        return json.dumps(event, ensure_ascii=False)


class ShortLines(logging.Formatter):
    """The same for a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        extra = " ".join(f"{key}={value}" for key, value in vars(record).items() if key not in _OWN)
        line = f"{datetime.fromtimestamp(record.created, UTC):%H:%M:%S} {record.getMessage()} {extra}".rstrip()
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def set_up(quiet: bool = False) -> None:
    """Send our own events to stderr; of libraries, warnings only."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(ShortLines() if sys.stderr.isatty() else JsonLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("isthmus_coordinator").setLevel(logging.WARNING if quiet else logging.INFO)
