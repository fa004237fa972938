"""An exported journal, read entry by entry: nothing of it is used before the verifier has passed it."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from isthmus.errors import ConfigError, IsthmusError
from isthmus.v1 import journal_pb2, sealed_pb2, study_pb2
from isthmus_client.replay.faults import at, fault, forged
from isthmus_trust import verifier
from isthmus_trust.documents import (
    DECISION,
    POLICY,
    RELEASE,
    REQUEST,
    ROSTER,
    RUN,
    SERIES,
    STUDY,
    digest,
    open_signed,
    read_canonical,
)
from isthmus_trust.identity import verify

_ANSWERS = ("RELEASED", "REFUSED")
_DECISIONS = ("APPROVED", "DECLINED")
# Kinds of decisions beside those about studies.
_ABOUT = (REQUEST, RUN, RELEASE, SERIES)


M = TypeVar("M", study_pb2.Signed, sealed_pb2.SealedReceipt)


@dataclass(frozen=True, slots=True)
class Entry:
    """A record and the exact bytes it is about; empty where it is about none."""

    record: journal_pb2.Record
    payload: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Noted:
    """A custodian's decision as it stands in the journal, its signature checked."""

    sequence: int
    context: str  # about a study, one request outside a plan, or one run
    decision: study_pb2.Decision
    key: bytes  # public key that signed it, 32 bytes


@dataclass(frozen=True, slots=True)
class Adopted:
    """A policy that came in force, as its custodian signed it."""

    sequence: int
    policy: study_pb2.AdoptedPolicy
    key: bytes  # public key that signed it, 32 bytes


@dataclass(frozen=True, slots=True)
class Bundle:
    """One node's exported journal with the studies it refers to. Digests are SHA-256, 32 bytes."""

    name: str  # how it was given, for people
    node: str
    country: str
    identity: bytes  # public key that sealed the bundle, 32 bytes
    records: int
    root: bytes  # of the tree over all records
    seen: tuple[str, ...]  # what the verifier says: roster, checkpoints, who has seen how much
    answers: tuple[Entry, ...]  # RELEASED and REFUSED, as far as the export was asked for them
    decisions: tuple[Noted, ...]  # APPROVED and DECLINED
    held: frozenset[bytes]  # digests of bytes that waited for the custodian
    policies: tuple[Adopted, ...]  # POLICY, in order
    studies: Mapping[bytes, study_pb2.Study]
    # Of sealed rounds, by task: the node's own reveal, and what all signed.
    reveals: Mapping[bytes, study_pb2.Signed]
    receipts: Mapping[bytes, sealed_pb2.SealedReceipt]
    roster: Mapping[str, journal_pb2.RosterNode]  # by node, as the coordinator signed it; empty where there is none


def read_bundles(paths: Sequence[Path], roster: str = "") -> tuple[Bundle, ...]:
    """Bundles of different nodes, each passed by the verifier that is in it for everybody.

    Parameters
    ----------
    paths
        Folders or .zip files that ``isthmus-node journal export`` wrote.
    roster
        Fingerprint that the roster in each of them must have (SHA-256, hexadecimal); empty: any, or none.

    Raises
    ------
    ConfigError
        ``NO_BUNDLE`` where something else is there, ``BUNDLE_TWICE`` for two of one node.
    Fault
        ``BUNDLE_DAMAGED`` or ``RECORD_FORGED``, naming the record or the file.
    """
    bundles = tuple(_read(path, roster) for path in paths)
    seen: dict[str, str] = {}
    for bundle in bundles:
        if bundle.node in seen:
            raise ConfigError(
                "BUNDLE_TWICE",
                f"{seen[bundle.node]} and {bundle.name} are both of node {bundle.node}; rule: one bundle a node",
                "give the newer one only",
            )
        seen[bundle.node] = bundle.name
    return bundles


def _read(path: Path, roster: str) -> Bundle:
    name = path.name
    files = _files(path)
    try:
        seen = verifier.verify(path, verifier.told_by([], "", roster), _holds)
        cover = json.loads(files.read("bundle.json"))
        chosen = (str(cover["selection"]["run"]), str(cover["selection"]["study"]))
        found = _journal(files, chosen, name)
        return Bundle(
            name=name,
            node=str(cover["node"]),
            country=str(cover["country"]),
            identity=bytes.fromhex(cover["identity_key"]),
            records=int(cover["tree_size"]),
            root=bytes.fromhex(cover["root"]),
            seen=tuple(seen),
            answers=tuple(found.answers),
            decisions=tuple(found.decisions),
            held=frozenset(found.held),
            policies=tuple(found.policies),
            reveals=found.reveals,
            receipts=found.receipts,
            studies=_studies(files, name),
            roster=_roster(files, name),
        )
    except verifier.Failed as failed:
        raise fault("BUNDLE_DAMAGED", f"{failed.where} of {name}", failed.what) from failed
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise fault("BUNDLE_DAMAGED", f"bundle.json of {name}", "it does not say what it must") from error
    except (OSError, zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise fault("BUNDLE_DAMAGED", name, "a file of it cannot be read to its end") from error


def _files(path: Path) -> verifier.Bundle:
    try:
        files = verifier.Bundle(path)
        written = json.loads(files.read("bundle.json"))["format"] == verifier.FORMAT
    except (verifier.Failed, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _no_bundle(path.name) from error
    except (OSError, zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise _no_bundle(path.name) from error
    if not written:
        raise _no_bundle(path.name)
    return files


def _no_bundle(name: str) -> ConfigError:
    return ConfigError(
        "NO_BUNDLE",
        f"{name} is no exported journal; rule: a folder or .zip with a bundle.json that says {verifier.FORMAT!r}",
        "give what isthmus-node journal export wrote, of this release",
    )


def _holds(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether a signature holds; the verifier's own arithmetic, with the library's speed."""
    context, _, body = message.partition(b"\0")
    try:
        verify(public, context.decode(), body, signature)
    except (IsthmusError, UnicodeDecodeError):
        return False
    return True


@dataclass(slots=True)
class _Journal:
    """What a journal has, as far as the export was asked for it."""

    answers: list[Entry] = field(default_factory=list)
    decisions: list[Noted] = field(default_factory=list)
    policies: list[Adopted] = field(default_factory=list)
    held: set[bytes] = field(default_factory=set)
    reveals: dict[bytes, study_pb2.Signed] = field(default_factory=dict)
    receipts: dict[bytes, sealed_pb2.SealedReceipt] = field(default_factory=dict)


def _journal(files: verifier.Bundle, chosen: tuple[str, str], name: str) -> _Journal:
    found = _Journal()
    # the same task is beside every answer to it
    tasks: dict[bytes, bytes] = {}
    with files.open("journal.bin") as stream:
        for entry in verifier.read_journal(stream):
            where = at(name, entry.number)
            try:
                record = read_canonical(entry.written, journal_pb2.Record)
            except IsthmusError as error:
                raise forged(where, error) from error
            if record.event in _ANSWERS and verifier.is_chosen(entry.record, *chosen):
                record.document = tasks.setdefault(digest(record.document), record.document)
                found.answers.append(Entry(record, entry.payload))
            elif record.event in _DECISIONS and record.document:
                found.decisions.append(_noted(record, where))
            elif record.event == "POLICY" and record.document:
                found.policies.append(_adopted(record, where))
            elif record.event == "HELD":
                found.held.add(record.payload_digest)
            elif record.event == "UNSEALED":
                found.reveals[record.task] = _kept(record.document, study_pb2.Signed, where)
            elif record.event == "SUMMED":
                found.receipts[record.task] = _kept(record.receipt, sealed_pb2.SealedReceipt, where)
    return found


def _kept(body: bytes, kind: type[M], where: str) -> M:
    try:
        return read_canonical(body, kind)
    except IsthmusError as error:
        raise forged(where, error) from error


def _noted(record: journal_pb2.Record, where: str) -> Noted:
    try:
        signed = read_canonical(record.document, study_pb2.Signed)
        context = signed.context if signed.context in _ABOUT else DECISION
        decision = open_signed(signed, context, study_pb2.Decision)
    except IsthmusError as error:
        raise forged(where, error) from error
    if decision.approved != (record.event == "APPROVED"):
        raise fault("NOT_AS_RECORDED", where, "the record and the signed decision do not say the same")
    return Noted(record.sequence, context, decision, signed.public_key)


def _adopted(record: journal_pb2.Record, where: str) -> Adopted:
    try:
        signed = read_canonical(record.document, study_pb2.Signed)
        policy = open_signed(signed, POLICY, study_pb2.AdoptedPolicy)
    except IsthmusError as error:
        raise forged(where, error) from error
    if policy.digest != record.policy_digest:
        raise fault("NOT_AS_RECORDED", where, "the record and the signed policy do not say the same")
    return Adopted(record.sequence, policy, signed.public_key)


def _studies(files: verifier.Bundle, name: str) -> dict[bytes, study_pb2.Study]:
    """The studies, each as its author signed it."""
    found: dict[bytes, study_pb2.Study] = {}
    for path, _ in files.folder("studies"):
        where = f"{path!r} of {name}"
        try:
            signed = read_canonical(files.read(path), study_pb2.Signed)
            study = open_signed(signed, STUDY, study_pb2.Study)
        except IsthmusError as error:
            raise forged(where, error) from error
        found[digest(signed.body)] = study
    return found


def _roster(files: verifier.Bundle, name: str) -> dict[str, journal_pb2.RosterNode]:
    """Who the coordinator says takes part, by which keys. The verifier has seen that the coordinator signed it."""
    if "roster.pb" not in files.names:
        return {}
    try:
        signed = read_canonical(files.read("roster.pb"), study_pb2.Signed)
        roster = open_signed(signed, ROSTER, journal_pb2.Roster)
    except IsthmusError as error:
        raise forged(f"roster.pb of {name}", error) from error
    return {node.name: node for node in roster.nodes}
