"""Runs a node and writes down every message it hands to gRPC: exact bytes, and what of the journal was on disk.

    python recording.py RECORD_FILE FAULT isthmus-node's arguments ...

It stands between the node and gRPC, below everything of ours. A FAULT other than ``none`` spoils what leaves, so that
tests can show that they would see it; it is put in from here, the product has no switch for it.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import grpc

# A field the contract does not have: number 100, three bytes.
STOWAWAY = b"\xa2\x06\x03row"
FAULTS = ("none", "undeclared field", "unknown number", "other bytes", "not synced")


class Recorder:
    """Appends a line for each message; knows how much of the journal was synced when it left."""

    def __init__(self, path: str, journal: str) -> None:
        self._file = open(path, "a", encoding="ascii", buffering=1)  # noqa: SIM115 - open as long as the process lives
        self._journal = journal
        self._lock = threading.Lock()
        self._synced = 0
        self._fsync = os.fsync
        os.fsync = self._watched_fsync

    def _watched_fsync(self, descriptor: int) -> None:
        before = os.fstat(descriptor)
        self._fsync(descriptor)
        try:
            journal = os.stat(self._journal)
        except FileNotFoundError:
            return
        if (before.st_dev, before.st_ino) == (journal.st_dev, journal.st_ino):
            with self._lock:
                self._synced = max(self._synced, before.st_size)

    def note(self, call: str, body: bytes) -> None:
        with self._lock:
            line = {"call": call.rpartition("/")[2], "bytes": body.hex(), "synced": self._synced}
            self._file.write(json.dumps(line) + "\n")


class RecordedChannel:
    """A channel whose calls note the bytes that they are about to send."""

    def __init__(self, channel: grpc.Channel, recorder: Recorder) -> None:
        self._channel = channel
        self._recorder = recorder

    def __getattr__(self, name: str) -> Any:
        made = getattr(self._channel, name)
        if name not in ("unary_unary", "unary_stream", "stream_unary", "stream_stream"):
            return made

        def call(method: str, request_serializer: Callable[[Any], bytes], *rest: Any, **more: Any) -> Any:
            def serialise(message: Any) -> bytes:
                body = request_serializer(message)
                self._recorder.note(method, body)
                return body

            return made(method, serialise, *rest, **more)

        return call


def record(path: str, journal: str) -> None:
    recorder = Recorder(path, journal)
    original = grpc.secure_channel

    def secure_channel(*arguments: Any, **more: Any) -> RecordedChannel:
        return RecordedChannel(original(*arguments, **more), recorder)

    grpc.secure_channel = secure_channel


def spoil(fault: str) -> None:
    """Put in what must never be there."""
    from isthmus.v1 import study_pb2, summary_pb2
    from isthmus_node.egress import journal_file, wire
    from isthmus_node.link import submit

    canonical = wire.canonical
    chunks = submit._chunks
    append = journal_file.Appender.append

    def with_another_field(message: Any) -> bytes:
        if isinstance(message, summary_pb2.Summary):
            # two rows' own values, as if the gate had been passed by
            value = {"shape": [2], "doubles": struct.pack("<2d", 5004.0, 2380.0)}
            message.items.add(field="rows", value=value)
        return canonical(message)

    def with_unknown_number(message: Any) -> bytes:
        return canonical(message) + (STOWAWAY if isinstance(message, study_pb2.Signed) else b"")

    def other_bytes(journaled: Any) -> Any:
        return chunks(SimpleNamespace(task=journaled.task, payload=journaled.payload + b"\0"))

    if fault == "undeclared field":
        wire.canonical = with_another_field
    elif fault == "unknown number":
        wire.canonical = with_unknown_number
    elif fault == "other bytes":
        submit._chunks = other_bytes
    elif fault == "not synced":
        journal_file.Appender.append = lambda self, content, durable=True: append(self, content, False)


if __name__ == "__main__":
    record_file, chosen, *command = sys.argv[1:]
    home = command[command.index("--home") + 1]
    record(record_file, os.path.join(home, "state", "journal", "journal"))
    spoil(chosen)
    from isthmus_node.cli import main

    sys.argv = ["isthmus-node", *command]
    sys.exit(main())
