"""A node's journal as a bundle for others: every record, the documents it refers to, and what it is checked with."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import os
import tempfile
import zipfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, TextIO

from isthmus.errors import ConfigError, UsageError
from isthmus.untrusted import csv_cell
from isthmus.v1 import journal_pb2, study_pb2
from isthmus.version import __version__
from isthmus_node.config import NodeConfig
from isthmus_node.egress.journal_file import MAGIC, pack
from isthmus_node.egress.journal_read import FILE, Entry, entries
from isthmus_node.homes import Home
from isthmus_node.public_keys import read_public
from isthmus_node.witness.known import RosterFile
from isthmus_node.witness.own import Checkpoints
from isthmus_trust import verifier
from isthmus_trust.checkpoints import to_line
from isthmus_trust.documents import BUNDLE, DECISION, canonical, digest
from isthmus_trust.identity import IdentityKey, fingerprint
from isthmus_trust.merkle import Tree

_ANSWERS = ("RELEASED", "REFUSED")


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written. `root` is that of the tree over all records, 32 bytes."""

    path: Path
    records: int
    chosen: int
    root: bytes
    checkpoints: int
    roster: str  # SHA-256 of the roster in hexadecimal; empty where the coordinator has sent none


@dataclass(slots=True)
class _Seen:
    """What the records refer to, found while they are written."""

    tree: Tree = field(default_factory=Tree)
    head: bytes = bytes(32)
    chosen: int = 0
    studies: set[bytes] = field(default_factory=set)
    policies: set[bytes] = field(default_factory=set)


def export(config: NodeConfig, target: Path, *, run: str = "", study: str = "") -> Exported:
    """Write a bundle; the node may be running.

    Parameters
    ----------
    config
        Of a node that has joined.
    target
        A folder, or a file that ends in .zip; neither may be there yet.
    run, study
        Only records of this run (beginning of its number), this study (its name), in what people read; the journal
        itself is always whole, because a tree proves wholes.

    Raises
    ------
    UsageError
        ``FILE_EXISTS``.
    ConfigError
        ``JOURNAL_DAMAGED`` and the other errors of the journal; ``BUNDLE_NOT_WRITTEN``.
    """
    if target.exists():
        raise UsageError("FILE_EXISTS", f"{target} is there already", "choose another name with -o, or remove it first")
    try:
        target.absolute().parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".bundle-", dir=target.absolute().parent) as pending:
            made = _write(config, Path(pending) / "bundle", run.lower(), study)
            if target.suffix == ".zip":
                _zip(Path(pending) / "bundle", Path(pending) / "zip")
                os.replace(Path(pending) / "zip", target)
            else:
                os.replace(Path(pending) / "bundle", target)
    except OSError as error:
        raise ConfigError(
            "BUNDLE_NOT_WRITTEN",
            f"{target} could not be written: {error.strerror or 'input/output error'}",
            "check that its folder belongs to this user and that the disk is not full",
        ) from error
    return Exported(target, made.records, made.chosen, made.root, made.checkpoints, made.roster)


def _write(config: NodeConfig, folder: Path, run: str, study: str) -> Exported:
    home = config.home
    identity = IdentityKey.load(home.identity_key)
    coordinator, custodian = read_public(home.coordinator_key), read_public(home.custodian_public)
    folder.mkdir(mode=0o700)
    # before the journal: what is signed later may be about records that are not copied any more
    checkpoints = [to_line(kept) for kept in Checkpoints(home.checkpoints, config.name, identity.public).everything()]
    seen = _write_records(home.journal / FILE, folder, run, study)
    _put(folder / "checkpoints.jsonl", "".join(f"{line}\n" for line in checkpoints).encode())
    roster = _write_roster(RosterFile(home.roster, coordinator), folder)
    _write_studies(home, seen.studies, folder)
    _write_meanings(home, seen.policies, folder)
    _put(folder / "verifier.py", Path(verifier.__file__).read_bytes())
    cover = {
        "format": verifier.FORMAT,
        "node": config.name,
        "country": config.country,
        "software": __version__,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "tree_size": seen.tree.size,
        "root": seen.tree.root().hex(),
        "head": seen.head.hex(),
        "identity_key": identity.public.hex(),
        "custodian_key": custodian.hex(),
        "coordinator_key": coordinator.hex(),
        "fingerprints": {
            "identity": fingerprint(identity.public),
            "custodian": fingerprint(custodian),
            "coordinator": fingerprint(coordinator),
            "roster": roster,
        },
        "selection": {"run": run, "study": study},
        "files": {path.relative_to(folder).as_posix(): _digest(path) for path in _files(folder)},
    }
    body = json.dumps(cover, indent=1, sort_keys=True).encode()
    _put(folder / "bundle.json", body)
    _put(folder / "bundle.sig", canonical(identity.sign(BUNDLE, body)))
    return Exported(folder, seen.tree.size, seen.chosen, seen.tree.root(), len(checkpoints), roster)


def _write_records(journal: Path, folder: Path, run: str, study: str) -> _Seen:
    seen = _Seen()
    with (
        _new(folder / "journal.bin") as whole,
        _new_text(folder / "records.jsonl") as lines,
        _new_text(folder / "records.csv") as table,
    ):
        whole.write(MAGIC)
        rows = csv.writer(table)
        rows.writerow(_TABLE)
        for entry in entries(journal):
            if not isinstance(entry, Entry):
                break
            whole.write(pack(entry.written, entry.payload))
            seen.tree.append(entry.written)
            seen.head = entry.digest
            record = entry.record
            if not (record.run.hex().startswith(run) and study in ("", record.study)):
                continue
            line = _line(entry)
            lines.write(json.dumps(line) + "\n")
            rows.writerow([csv_cell(str(line[name])) for name in _TABLE])
            seen.chosen += 1
            seen.studies.add(record.study_digest)
            _write_document(entry, folder)
            seen.policies.add(record.policy_digest if record.event == "POLICY" else b"")
    return seen


_FIELDS = [found.name for found in journal_pb2.Record.DESCRIPTOR.fields]
_TABLE = [name for name in (*_FIELDS, "record_digest") if name not in verifier.NOT_IN_TABLE]


def _line(entry: Entry) -> dict[str, object]:
    """A record with everything that is in it: digests in hexadecimal, documents and bytes that left in base64."""
    line: dict[str, object] = {}
    for name in _FIELDS:
        value = getattr(entry.record, name)
        line[name] = value.hex() if isinstance(value, bytes) else value
    line["document"] = _base64(entry.record.document)
    line["record_digest"] = entry.digest.hex()
    line["payload"] = _base64(entry.payload)
    return line


def _write_document(entry: Entry, folder: Path) -> None:
    """The decision or policy a record is about, or the task that was answered where no plan has its spec."""
    record = entry.record
    if not record.document:
        return
    if record.event in (*_ANSWERS, "HELD"):
        if not record.analysis:
            _put(folder / "tasks" / f"{record.task.hex()}.pb", record.document)
        return
    if record.event == "UNSEALED":
        return
    signed = study_pb2.Signed.FromString(record.document)
    if record.event == "POLICY":
        text = study_pb2.AdoptedPolicy.FromString(signed.body).text
        _put(folder / "policies" / f"{record.policy_digest.hex()}.toml", text)
        return
    about = study_pb2.Decision.FromString(signed.body).study_digest.hex()
    kind = "study" if signed.context == DECISION else signed.context.split("/")[1]
    # the newest decision about a thing takes the place of the one before it, as it does at the node
    _put(folder / "approvals" / f"{about}.{kind}.pb", record.document)


def _write_roster(file: RosterFile, folder: Path) -> str:
    found = file.read()
    if found is None:
        return ""
    signed, roster = found
    nodes = [
        {
            "name": node.name,
            "country": node.country,
            "revoked": node.revoked,
            "identity": fingerprint(node.identity_key),
            "custodian": fingerprint(node.custodian_key),
        }
        for node in roster.nodes
    ]
    made = digest(signed.body).hex()
    words = {"coordinator": roster.coordinator, "fingerprint": made, "nodes": nodes}
    _put(folder / "roster.pb", canonical(signed))
    _put(folder / "roster.json", json.dumps(words, indent=1).encode())
    return made


def _write_studies(home: Home, names: set[bytes], folder: Path) -> None:
    for name in sorted(names):
        path = home.studies / f"{name.hex()}.pb"
        # a refusal may be about a study that never came
        if name and path.exists():
            _put(folder / "studies" / path.name, path.read_bytes())


def _write_meanings(home: Home, names: set[bytes], folder: Path) -> None:
    """What each policy meant, defaults filled in: the bytes whose SHA-256 is its digest."""
    for name in sorted(names):
        path = home.policies / f"{name.hex()}.json"
        if name and path.exists() and hashlib.sha256(path.read_bytes()).digest() == name:
            _put(folder / "policies" / path.name, path.read_bytes())


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _zip(folder: Path, target: Path) -> None:
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in _files(folder):
            archive.write(path, path.relative_to(folder).as_posix())


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.unlink(missing_ok=True)
    with _new(path) as file:
        file.write(content)


def _new(path: Path) -> BinaryIO:
    """A file that only its owner reads: what left is for those it was meant for."""
    return os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb")


def _new_text(path: Path) -> TextIO:
    return os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8", newline="")


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
