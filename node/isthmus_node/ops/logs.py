"""The node's log: events from a closed list, each with its own keys. No sentence, and no value from the data."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TextIO

from isthmus.event_log import ERROR, EventLog, Events

# event -> (level, keys). What is not here is not written.
EVENTS: Events = {
    "starting": ("info", ("node", "software", "home")),
    "attached": ("info", ("coordinator", "address", "software")),
    "detached": ("warning", ("seconds", "tries", *ERROR)),
    "still-away": ("warning", ("seconds", "tries", *ERROR)),
    "stopping": ("info", ("reason",)),
    "study-arrived": ("info", ("study", "version", "digest")),
    "study-not-taken": ("warning", ("digest", *ERROR)),
    "task-waiting": ("info", ("task", "run", "round", "study", "request", "code")),
    "task-not-taken": ("warning", ("task", *ERROR)),
    "task-withdrawn": ("info", ("task", "reason")),
    "released": ("info", ("task", "run", "round", "bytes", "milliseconds")),
    "refused": ("warning", ("task", "run", "round", "bytes", "milliseconds")),
    "sealed-round-lost": ("warning", ("task",)),
    "sealed-round-ended": ("warning", ("task", *ERROR)),
    "sent-again": ("info", ("task", "bytes")),
    "acknowledged": ("debug", ("task",)),
    "state-not-fetched": ("warning", ERROR),
    "not-sent": ("warning", ("task", *ERROR)),
    "not-counted": ("warning", ERROR),
    "not-wanted": ("warning", ("task", *ERROR)),
    "decision-sent": ("info", ("study", "digest", "approved")),
    "decision-not-sent": ("warning", ("digest", *ERROR)),
    "decision-not-taken": ("warning", ("file", *ERROR)),
    "datasets-changed": ("info", ("datasets",)),
    "data-ready": ("info", ("dataset",)),
    "data-unfit": ("warning", ("dataset", *ERROR)),
    "policy-changed": ("info", ("digest",)),
    "journal-fault": ("error", ERROR),
    "checkpoint": ("info", ("records", "said")),
    "co-signed": ("debug", ("witness",)),
    "cosignature-not-taken": ("warning", ("witness",)),
    "journal-refused": ("error", ("witness", "code", "seen")),
    "journal-not-followed": ("error", ("node", "code", "records")),
    "not-witnessed": ("warning", ERROR),
    "certificate-renewed": ("info", ("expires",)),
    "certificate-not-renewed": ("warning", ERROR),
    "health-listens": ("info", ("port",)),
}


class Log(EventLog):
    """The log of a node; see `EventLog`."""

    def __init__(
        self, level: str = "info", stream: TextIO | None = None, now: Callable[[], datetime] | None = None
    ) -> None:
        super().__init__(EVENTS, level, stream, now)
