"""Reads what left a node, independently of the code that wrote it, and says what should not be in it."""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from isthmus.v1 import exchange_pb2, journal_pb2, study_pb2, summary_pb2
from isthmus_methods.contract import Method
from isthmus_node.egress.journal_file import HEAD_BYTES
from isthmus_node.egress.journal_read import Entry

REQUESTS = {
    "Attach": exchange_pb2.NodeMessage,
    "Submit": exchange_pb2.SubmissionChunk,
    "SubmitWhole": exchange_pb2.SubmissionChunk,
    "Decide": exchange_pb2.DecideRequest,
    "Renew": exchange_pb2.RenewRequest,
    "Witness": exchange_pb2.WitnessRequest,
    "Cosign": exchange_pb2.CosignRequest,
}
# What a node says of journals: documents whose fields are names, numbers of records, hashes and times.
OF_JOURNALS: Mapping[str, type[Message]] = {
    "isthmus/checkpoint/1": journal_pb2.Checkpoint,
    "isthmus/consistency/1": journal_pb2.Consistency,
    "isthmus/cosignature/1": journal_pb2.Cosignature,
}
WORDS_OF_WITNESSES = {"", "JOURNAL_CUT_BACK", "JOURNAL_REPLACED", "WANTED", "STALE", "UNKNOWN_NODE"}
CODE = re.compile(r"[A-Z][A-Z0-9_]{0,39}")
VERSION = re.compile(r"\d+\.\d+\.\d+")


@dataclass(frozen=True, slots=True)
class Sent:
    """One message as it was handed to gRPC; `synced`: so many bytes of the journal were on disk by then."""

    call: str
    body: bytes = field(repr=False)
    synced: int


@dataclass(frozen=True, slots=True)
class Submission:
    """An answer put together from its chunks."""

    task: bytes
    payload: bytes = field(repr=False)
    synced: int


def read_record(path: Path) -> list[Sent]:
    lines = [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]
    return [Sent(line["call"], bytes.fromhex(line["bytes"]), line["synced"]) for line in lines]


def submissions(sent: Sequence[Sent]) -> list[Submission]:
    """Every answer; a node works on one at a time, so that its chunks follow one another."""
    found: list[Submission] = []
    for message in sent:
        if message.call in ("Submit", "SubmitWhole"):
            chunk = exchange_pb2.SubmissionChunk.FromString(message.body)
            if chunk.task:
                found.append(Submission(chunk.task, chunk.part, message.synced))
            else:
                found[-1] = Submission(found[-1].task, found[-1].payload + chunk.part, found[-1].synced)
    return found


# --------------------------------------------------------------------------- bytes, without protobuf's help


def unknown_numbers(body: bytes, descriptor: Descriptor, place: str = "") -> Iterator[str]:
    """Field numbers, at any depth, that the contract does not have; bytes that are no message are not opened."""
    at = 0
    place = place or descriptor.name
    while at < len(body):
        tag, at = _varint(body, at)
        number, wire_type = tag >> 3, tag & 7
        start = at
        if wire_type == 0:
            _, at = _varint(body, at)
        elif wire_type == 1:
            at += 8
        elif wire_type == 2:
            length, start = _varint(body, at)
            at = start + length
        elif wire_type == 5:
            at += 4
        else:
            yield f"{place}: wire type {wire_type}"
            return
        if at > len(body):
            yield f"{place}: cut off"
            return
        known = descriptor.fields_by_number.get(number)
        if known is None:
            yield f"{place}: field number {number}"
        elif known.type == FieldDescriptor.TYPE_MESSAGE:
            yield from unknown_numbers(body[start:at], known.message_type, f"{place}.{known.name}")


def _varint(body: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(body):
        byte = body[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
        shift += 7
    return value, at + 1


# --------------------------------------------------------------------------- what stands in it


def complaints_about(
    sent: Sequence[Sent],
    entries: Sequence[Entry],
    studies: Mapping[bytes, study_pb2.Study],
    node: str,
    methods: Mapping[str, Method],
) -> list[str]:
    """What left that should not have, and what left before it was in the journal; empty where all is as promised.

    `studies`: every study the node may answer for, by its digest.
    """
    found: list[str] = []
    datasets = {dataset.name for study in studies.values() for dataset in study.datasets}
    for message in sent:
        request = REQUESTS.get(message.call)
        if request is None:
            found.append(f"a call {message.call}")
            continue
        found += unknown_numbers(message.body, request.DESCRIPTOR)
        if message.call == "Attach":
            found += _greeting(exchange_pb2.NodeMessage.FromString(message.body), datasets, methods)
        if message.call == "Witness":
            shown = exchange_pb2.WitnessRequest.FromString(message.body)
            found += _of_journals(shown.checkpoint, "isthmus/checkpoint/1", node)
            found += [c for proof in shown.proofs for c in _of_journals(proof, "isthmus/consistency/1", node)]
            found += [] if len(shown.roster) in (0, 32) else ["a roster's digest that is none"]
        if message.call == "Cosign":
            said = exchange_pb2.CosignRequest.FromString(message.body).said
            if said.code not in WORDS_OF_WITNESSES or said.witness != node or len(said.checkpoint) != 32:
                found.append("a witness's word that is none")
            if said.HasField("cosignature"):
                found += _of_journals(said.cosignature, "isthmus/cosignature/1", node)
            if said.HasField("seen"):
                found += _of_journals(said.seen, "isthmus/checkpoint/1", "")
        if message.call == "Decide":
            signed = exchange_pb2.DecideRequest.FromString(message.body).decision
            found += [] if signed.context == "isthmus/decision/1" else [f"a decision signed as {signed.context!r}"]
            found += unknown_numbers(signed.body, study_pb2.Decision.DESCRIPTOR)
    ends = _ends(entries)
    by_digest = {entry.record.payload_digest: entry for entry in entries if entry.payload}
    for submission in submissions(sent):
        entry = by_digest.get(hashlib.sha256(submission.payload).digest())
        if entry is None or entry.payload != submission.payload:
            found.append("bytes left that are not in the journal")
            continue
        if ends[entry.record.sequence] > submission.synced:
            found.append(f"record {entry.record.sequence} was not on the disk when its bytes left")
        if entry.record.task != submission.task:
            found.append(f"record {entry.record.sequence} is about another task")
        found += answer_complaints(submission.payload, entry, studies[entry.record.study_digest], node, methods)
    return found


def answer_complaints(
    payload: bytes, entry: Entry, study: study_pb2.Study, node: str, methods: Mapping[str, Method]
) -> list[str]:
    """What is wrong with one answer's bytes: signature, form, names, undeclared fields."""
    found = list(unknown_numbers(payload, study_pb2.Signed.DESCRIPTOR))
    signed = study_pb2.Signed.FromString(payload)
    own = next(p for p in study.participants if p.node == node)
    try:
        Ed25519PublicKey.from_public_bytes(own.identity_key).verify(
            signed.signature, signed.context.encode() + b"\0" + signed.body
        )
    except InvalidSignature:
        found.append("not signed by the node")
    kinds: dict[str, Any] = {"isthmus/summary/1": summary_pb2.Summary, "isthmus/refusal/1": summary_pb2.Refusal}
    if signed.context not in kinds:
        return [*found, f"a document of kind {signed.context!r}"]
    kind = kinds[signed.context]
    found += unknown_numbers(signed.body, kind.DESCRIPTOR)
    answer = kind.FromString(signed.body)
    if answer.SerializeToString(deterministic=True) != signed.body:
        found.append("not in canonical form")
    if (answer.task, answer.node, answer.country) != (entry.record.task, node, own.country):
        found.append("another task, node or country")
    if any(part.strip(b"\0") for part in answer.padding) or len(signed.body) % 4096:
        found.append("padding that says something, or a length that does")
    if kind is summary_pb2.Refusal:
        return [*found, *([] if CODE.fullmatch(answer.code) else ["a refusal without a code"])]
    planned = next(a for a in study.plan if a.name == entry.record.analysis)
    return found + summary_complaints(answer, planned.spec.method, study, methods)


def summary_complaints(
    summary: summary_pb2.Summary, method_name: str, study: study_pb2.Study, methods: Mapping[str, Method]
) -> list[str]:
    method = methods[method_name]
    words = vocabulary(study)
    found = [f"undeclared field {item.field}" for item in summary.items if item.field not in method.leaves]
    for item in summary.items:
        strange = [word for word in label_words(item.label) if word not in words]
        found += [f"{item.field}: a label holds {word!r}" for word in strange]
        if item.withheld_by and (item.HasField("value") or not CODE.fullmatch(item.withheld_by)):
            found.append(f"{item.field}: neither withheld nor given")
    found += [f"undeclared note {note}" for note in summary.notes if note not in method.notes]
    if len(summary.policy_digest) != 32 or len(summary.dataset_digest) != 32 or not VERSION.fullmatch(summary.software):
        found.append("digests or version are not of their form")
    return found


def label_words(label: str) -> list[str]:
    """A label is made of names and levels of the study's dictionary, and of punctuation of ours."""
    return [word for word in re.split(r"[=:,;/|()\[\] ]+", label) if word]


def vocabulary(study: study_pb2.Study) -> set[str]:
    """All words a label may be made of: from the study every custodian has read, and the names of log-rank tests."""
    words = {p.country for p in study.participants} | {"overall", "logrank", "peto_peto_rho1", "gehan_breslow"}
    for dataset in study.datasets:
        for variable in dataset.variables:
            words.add(variable.name)
            words.update(part for level in variable.levels for part in label_words(level))
    return words


def _greeting(message: exchange_pb2.NodeMessage, datasets: set[str], methods: Mapping[str, Method]) -> Iterator[str]:
    """What a node says of itself on its stream: version, methods, names of datasets, how many tasks wait."""
    if message.HasField("hello"):
        hello = message.hello
        if not VERSION.fullmatch(hello.software):
            yield "hello: no version"
        if set(hello.methods) - {f"{m.name}/{m.version}" for m in methods.values()}:
            yield "hello: an unknown method"
        if set(hello.datasets) - datasets:
            yield "hello: an unknown dataset"


def _of_journals(signed: study_pb2.Signed, context: str, node: str) -> Iterator[str]:
    """What is said of journals: of the expected kind, nothing outside the contract, hashes of 32 bytes, known names."""
    if signed.context != context:
        yield f"a document signed as {signed.context!r} instead of {context!r}"
        return
    kind = OF_JOURNALS[context]
    yield from unknown_numbers(signed.body, kind.DESCRIPTOR)
    document = kind.FromString(signed.body)
    for described, value in document.ListFields():
        values = value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else [value]
        for one in values:
            if isinstance(one, bytes) and len(one) != 32:
                yield f"{described.name} is no hash"
            if isinstance(one, str) and node and one != node:
                yield f"{described.name} names somebody else"


def _ends(entries: Sequence[Entry]) -> dict[int, int]:
    """Offset behind each record."""
    return {
        e.record.sequence: e.start + HEAD_BYTES + len(e.record.SerializeToString(deterministic=True)) + len(e.payload)
        for e in entries
    }


# --------------------------------------------------------------------------- the oracle


def sums_in(payload: bytes) -> dict[tuple[str, str], list[float]]:
    """Every number of a summary that is no count of persons, by field and label."""
    summary = summary_pb2.Summary.FromString(study_pb2.Signed.FromString(payload).body)
    found: dict[tuple[str, str], list[float]] = {}
    for item in summary.items:
        doubles = item.value.doubles
        own = struct.unpack(f"<{len(doubles) // 8}d", doubles)
        found.setdefault((item.field, item.label), []).extend(own)
    return found


def row_values_in(payload: bytes, rare: Mapping[str, Sequence[float]]) -> list[str]:
    """Where a number that one row alone has stands in a summary, to one part in a million.

    What is labelled with a variable is held against that variable's values: a sum of nodes may well be some day.
    """
    return [
        f"{name}[{label}] holds {variable} of one row"
        for (name, label), values in sums_in(payload).items()
        for value in values
        for variable, wanted in rare.items()
        if not label or variable in label_words(label)
        for target in wanted
        if abs(value - target) <= 1e-6 * abs(target)
    ]
