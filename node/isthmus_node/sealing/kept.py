"""The signed summaries that were in shares, one file each: the custodian's, and in no export of the journal."""

from __future__ import annotations

from pathlib import Path

from isthmus.v1 import journal_pb2
from isthmus_node.egress.wire import Outbound
from isthmus_trust.documents import digest
from isthmus_trust.key_files import replace


def keep(folder: Path, clear: Outbound) -> None:
    """On the disk when this returns. Raises `ConfigError` ``FILE_NOT_WRITTEN``."""
    replace(_path(folder, clear.header.task), clear.payload)


def read_kept(folder: Path, record: journal_pb2.Record) -> bytes:
    """The signed summary that the share of a record has in it; empty where it is not there as it was written."""
    path = _path(folder, record.task)
    kept = path.read_bytes() if path.exists() else b""
    return kept if digest(kept) == record.clear_digest else b""


def _path(folder: Path, task: bytes) -> Path:
    return folder / f"{task.hex()}.signed"
