"""Runs a node and writes down all it hands to the network: exact bytes, and what of the journal was on disk.

    python recording.py RECORD_FILE FAULT isthmus-node's arguments ...

A FAULT other than ``none`` spoils what leaves, so that tests can show that they would see it; it is put in from here,
the product has no switch for it.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from types import SimpleNamespace
from typing import Any

from attacks.wiretap import Record, tap

# A field the contract does not have: number 100, three bytes.
STOWAWAY = b"\xa2\x06\x03row"
FAULTS = ("none", "undeclared field", "unknown number", "other bytes", "not synced", "another way")


class Synced:
    """How many bytes of the journal are on the disk."""

    def __init__(self, journal: str) -> None:
        self._journal = journal
        self._bytes = 0
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
            self._bytes = max(self._bytes, before.st_size)

    def __call__(self) -> dict[str, int]:
        return {"synced": self._bytes}


def spoil(fault: str) -> None:
    """Put in what must never be there."""
    from isthmus.v1 import summary_pb2
    from isthmus_node.egress import journal_file, wire
    from isthmus_node.link import submit
    from isthmus_trust.documents import SUMMARY, canonical
    from isthmus_trust.identity import IdentityKey

    outbound = wire._outbound
    chunks = submit._chunks
    append = journal_file.Appender.append
    sign_parts = IdentityKey.sign_parts

    def with_another_field(self: IdentityKey, context: str, parts: list[Any]) -> bytes:
        if context == SUMMARY:
            message = summary_pb2.Summary.FromString(b"".join(parts))
            # two rows' own values, as if the gate had been passed by
            value = {"shape": [2], "doubles": struct.pack("<2d", 5004.0, 2380.0)}
            message.items.add(field="rows", value=value)
            parts = [canonical(message)]
        return sign_parts(self, context, parts)

    def with_unknown_number(payload: bytes, *more: Any, **named: Any) -> Any:
        return outbound(payload + STOWAWAY, *more, **named)

    def other_bytes(journaled: Any) -> Any:
        return chunks(SimpleNamespace(task=journaled.task, payload=journaled.payload + b"\0"))

    def not_synced(self: Any, content: bytes, payload: bytes = b"", durable: bool = True) -> None:
        append(self, content, payload, durable=False)

    def with_a_socket_of_its_own(*arguments: Any, **named: Any) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as beside:
            beside.sendto(b"5004", ("127.0.0.1", 9))
        append(*arguments, **named)

    if fault == "undeclared field":
        IdentityKey.sign_parts = with_another_field
    elif fault == "unknown number":
        wire._outbound = with_unknown_number
    elif fault == "other bytes":
        submit._chunks = other_bytes
    elif fault == "not synced":
        journal_file.Appender.append = not_synced
    elif fault == "another way":
        journal_file.Appender.append = with_a_socket_of_its_own


if __name__ == "__main__":
    record_file, chosen, *command = sys.argv[1:]
    home = command[command.index("--home") + 1]
    tap(Record(record_file, Synced(os.path.join(home, "state", "journal", "journal"))))
    spoil(chosen)
    from isthmus_node.cli import main

    sys.argv = ["isthmus-node", *command]
    sys.exit(main())
