"""Reading a journal: every entry checked, every change found and named. Needs no lock and writes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from isthmus.errors import AuthenticationError, ConfigError
from isthmus.v1 import journal_pb2, study_pb2
from isthmus_node.egress.journal_file import Damaged, Frame, Unfinished, read_frames
from isthmus_trust.documents import digest, read_canonical
from isthmus_trust.merkle import Tree

FILE = "journal"
# What stands as the previous record of the first.
NO_RECORD = bytes(32)


@dataclass(frozen=True, slots=True)
class Entry:
    """A record and the exact bytes it is about (empty where it is about none)."""

    record: journal_pb2.Record
    written: bytes = field(repr=False)  # the record's canonical bytes: a leaf of the journal's tree
    payload: bytes = field(repr=False)
    digest: bytes  # SHA-256 of the record, 32 bytes: what the next record names as the one before it
    start: int  # offset in the file


@dataclass(frozen=True, slots=True)
class Verified:
    """A journal in which every record and every payload is as it was written."""

    records: int
    head: bytes  # SHA-256 of the last record, 32 bytes
    unfinished: bool  # the file ends within an entry: one is being written, or a crash cut it
    tree: Tree = field(repr=False, compare=False)  # over the records: the root of every size it ever had


def read(directory: Path) -> Iterator[Entry]:
    """Every entry of a journal in order, each checked. An unfinished one at the end is left out.

    Raises
    ------
    ConfigError
        ``JOURNAL_DAMAGED`` naming the record, ``JOURNAL_MISSING``, ``JOURNAL_UNREADABLE``.
    """
    for entry in entries(directory / FILE):
        if isinstance(entry, Entry):
            yield entry


def verify(directory: Path) -> Verified:
    """Check every byte of a journal. Raises as `read` does."""
    head, unfinished, tree = NO_RECORD, False, Tree()
    for entry in entries(directory / FILE):
        if isinstance(entry, Entry):
            head = entry.digest
            tree.append(entry.written)
        else:
            unfinished = True
    return Verified(tree.size, head, unfinished, tree)


def entries(path: Path) -> Iterator[Entry | Unfinished]:
    """Every entry; an unfinished one comes last, without its content. Raises as `read` does."""
    previous = NO_RECORD
    try:
        for frame in read_frames(path):
            if isinstance(frame, Unfinished):
                yield frame
            else:
                entry = entry_of(frame, previous)
                yield entry
                previous = entry.digest
    except Damaged as damage:
        raise damaged(path, damage) from damage
    except FileNotFoundError as error:
        raise ConfigError(
            "JOURNAL_MISSING", f"there is no journal at {path}", "start the node once, or restore the backup"
        ) from error
    except OSError as error:
        raise ConfigError(
            "JOURNAL_UNREADABLE",
            f"the journal {path} cannot be read: {error.strerror or 'input/output error'}",
            "run the command as the user the journal belongs to; check the disk",
        ) from error


def entry_of(frame: Frame, previous: bytes | None) -> Entry:
    """The entry in a frame; raises `Damaged` unless it is the one that was written there.

    `previous` is the digest of the record before it; None where that is not at hand.
    """
    try:
        record = read_canonical(frame.record, journal_pb2.Record)
    except AuthenticationError as error:
        raise Damaged(frame.number, "its record cannot be read") from error
    if record.sequence != frame.number:
        raise Damaged(frame.number, "its number is not its place")
    if previous is not None and record.previous != previous:
        raise Damaged(frame.number, "it does not follow the record before it")
    if len(frame.payload) != record.payload_bytes or (frame.payload and digest(frame.payload) != record.payload_digest):
        raise Damaged(frame.number, "the bytes that left were changed")
    return Entry(record, frame.record, frame.payload, digest(frame.record), frame.start)


def number_in(record: journal_pb2.Record) -> tuple[int, bytes]:
    """The number and digest of the policy that a record puts in force; 0 where it does not."""
    if record.event != "POLICY" or not record.document:
        return (0, b"")
    document = study_pb2.AdoptedPolicy.FromString(study_pb2.Signed.FromString(record.document).body)
    return (document.serial, record.policy_digest)


def damaged(path: Path, damage: Damaged) -> ConfigError:
    """The error for people, with the record's number."""
    where = f"record {damage.number}" if damage.number else "its first line"
    return ConfigError(
        "JOURNAL_DAMAGED",
        f"the journal {path} was changed at {where}: {damage.what}; rule: nothing leaves without a whole journal",
        "keep this file as it is for the inquiry, and restore the journal from the backup",
    )
