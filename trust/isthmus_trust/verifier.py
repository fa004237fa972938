"""Check the exported journal of an isthmus node with nothing but Python 3.11 or newer: no isthmus, no other package.

    python verifier.py BUNDLE [--against CHECKPOINT_FILE] [--roster-fingerprint HEX] [--key-fingerprint HEX]

BUNDLE is the folder or .zip that `isthmus-node journal export` wrote. The answer is PASS, or FAIL naming the record or
the file, and the exit code 0 or 1. Take this file from a release you trust, not from the bundle you doubt.

What PASS shows: every record and every byte that left is as the node wrote it, in order, without one missing inside;
answers are signed by the node, tasks by the coordinator, decisions by the custodian; the tree over the records has the
roots that the node signed and the witnesses co-signed. What no file can show by itself: that records behind the newest
checkpoint of a witness were not cut off. Ask a witness for its checkpoint and give it with --against.
"""

from __future__ import annotations

import argparse
import base64
import csv
import hashlib
import io
import json
import struct
import sys
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

FORMAT = "isthmus bundle 1"
# Kinds of signed documents: a signature of one kind is never one of another.
CHECKPOINT, COSIGNATURE = "isthmus/checkpoint/1", "isthmus/cosignature/1"
SUMMARY, REFUSAL, TASK = "isthmus/summary/1", "isthmus/refusal/1", "isthmus/task/1"
# In a sealed study: a summary under masks, and the seed of the node's own mask.
SHARE, REVEAL = "isthmus/sealed-share/1", "isthmus/sealed-reveal/1"
DECISIONS = (
    *("isthmus/decision/1", "isthmus/request/1", "isthmus/run/1"),
    *("isthmus/release/1", "isthmus/series/1"),
)
# What a decision in a record says, and the kinds that it is of: a study that was locked is unlocked by one for that.
DECIDED = {"APPROVED": (1, DECISIONS), "DECLINED": (0, DECISIONS), "UNLOCKED": (1, ("isthmus/unlock/1",))}
POLICY = "isthmus/policy/1"
MAGIC = b"isthmus journal 1\n"
MAX_DOCUMENT = 64 << 20
MAX_PAYLOAD = 1 << 30
# Fields of a record by their number, as proto/isthmus/v1/journal.proto has them: name and what it holds.
RECORD = {
    1: ("sequence", int),
    2: ("previous", bytes),
    3: ("recorded_at", int),
    4: ("actor", str),
    5: ("event", str),
    6: ("study", str),
    7: ("study_digest", bytes),
    8: ("analysis", str),
    9: ("run", bytes),
    10: ("round", int),
    11: ("task", bytes),
    12: ("policy_digest", bytes),
    13: ("dataset_digest", bytes),
    14: ("payload_digest", bytes),
    15: ("payload_bytes", int),
    16: ("words", str),
    17: ("purpose", str),
    18: ("document", bytes),
    24: ("dataset", str),
    25: ("auditor_digest", bytes),
    26: ("privacy", bytes),
    27: ("persons_digest", bytes),
    28: ("clear_digest", bytes),
    29: ("receipt", bytes),
}
# A cell that begins so is a formula to a spreadsheet.
FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
# What is not in the table for people: documents and the bytes that left; what noise spent is in the words.
NOT_IN_TABLE = ("document", "payload", "privacy", "receipt")
Fields = dict[int, list[Any]]
# Public key, message, signature -> whether it holds.
Holds = Callable[[bytes, bytes, bytes], bool]


class Failed(Exception):
    """Something is not as it was written. `where` names the record or the file."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where}: {what}")
        self.where = where
        self.what = what


# --------------------------------------------------------------------------- Ed25519 (RFC 8032, section 5.1)

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)
Point = tuple[int, int, int, int]  # extended homogeneous coordinates (5.1.4)
ZERO: Point = (0, 1, 1, 0)


def _add(one: Point, other: Point) -> Point:
    a = (one[1] - one[0]) * (other[1] - other[0]) % P
    b = (one[1] + one[0]) * (other[1] + other[0]) % P
    c = 2 * one[3] * other[3] * D % P
    d = 2 * one[2] * other[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def _double(one: Point) -> Point:
    a, b, c = one[0] * one[0] % P, one[1] * one[1] % P, 2 * one[2] * one[2] % P
    h, e, g = a + b, a + b - (one[0] + one[1]) * (one[0] + one[1]), a - b
    f = c + g
    return e * f % P, g * h % P, f * g % P, e * h % P


def _point(text: bytes) -> Point | None:
    """The point of an encoding (5.1.3); None where there is none, or another encoding is the point's own."""
    y = int.from_bytes(text, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    if y >= P:
        return None
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    if v * x * x % P != u:
        x = x * ROOT % P
        if v * x * x % P != u:
            return None
    if x == 0 and sign:
        return None
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


def _encoded(point: Point) -> bytes:
    inverse = pow(point[2], P - 2, P)
    x, y = point[0] * inverse % P, point[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


_BASE = _point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little")) or ZERO


def ed25519(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the signature is the key's over the message. Keys for which anybody can sign (small order) are none."""
    if len(public) != 32 or len(signature) != 64:
        return False
    key, s = _point(public), int.from_bytes(signature[32:], "little")
    if key is None or s >= L or _encoded(_double(_double(_double(key)))) == _encoded(ZERO):
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    minus = (P - key[0], key[1], 1, P - key[3])
    table = (ZERO, _BASE, minus, _add(_BASE, minus))
    found = ZERO
    for bit in range(252, -1, -1):  # s B - h A, both scalars at once
        found = _double(found)
        which = (s >> bit & 1) | (h >> bit & 1) << 1
        if which:
            found = _add(found, table[which])
    return _encoded(found) == signature[:32]


# --------------------------------------------------------------------------- messages (protobuf's wire format)


def fields_of(body: bytes, where: str) -> Fields:
    """Fields of a message by number; whole numbers as int, all else as bytes."""
    found: Fields = {}
    at = 0
    while at < len(body):
        tag, at = _varint(body, at, where)
        if tag & 7 == 0:
            value, at = _varint(body, at, where)
            found.setdefault(tag >> 3, []).append(value)
        elif tag & 7 in (1, 2, 5):
            size = {1: 8, 5: 4}.get(tag & 7)
            if size is None:
                size, at = _varint(body, at, where)
            if at + size > len(body):
                raise Failed(where, "a message ends within a field")
            found.setdefault(tag >> 3, []).append(body[at : at + size])
            at += size
        else:
            raise Failed(where, "a message has a field of an unknown form")
    return found


def _varint(body: bytes, at: int, where: str) -> tuple[int, int]:
    value = shift = 0
    while at < len(body) and shift < 70:
        byte = body[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value & (2**64 - 1), at
    raise Failed(where, "a message ends within a number")


def _one(fields: Fields, number: int) -> bytes:
    value = fields.get(number, [b""])[-1]
    return value if isinstance(value, bytes) else b""


def _text(value: Any, where: str) -> str:
    try:
        return str(bytes(value).decode("utf-8"))
    except (UnicodeDecodeError, TypeError, ValueError):
        raise Failed(where, "a text is not UTF-8") from None


def _number(fields: Fields, number: int) -> int:
    value = fields.get(number, [0])[-1]
    return value if isinstance(value, int) else 0


def _signed_number(value: int) -> int:
    return (value >> 1) ^ -(value & 1)


def record_of(body: bytes, where: str) -> dict[str, Any]:
    """A record's fields by name, those left out with what that means."""
    fields = fields_of(body, where)
    if set(fields) - set(RECORD):
        raise Failed(where, "it has fields that this verifier does not know: use the one of a newer release")
    record: dict[str, Any] = {}
    for number, (name, kind) in RECORD.items():
        values = fields.get(number, [kind()] if kind is not str else [b""])
        if len(values) > 1 or isinstance(values[0], int) is not (kind is int):
            raise Failed(where, f"its {name} is not of its kind")
        record[name] = _text(values[0], where) if kind is str else values[0]
    # the one signed number, in zigzag form
    record["recorded_at"] = _signed_number(record["recorded_at"])
    return record


@dataclass
class Signed:
    """A document and who signed it."""

    context: str
    body: bytes
    public_key: bytes
    signature: bytes

    @classmethod
    def of(cls, raw: bytes, where: str) -> Signed:
        """Read one from a message."""
        fields = fields_of(raw, where)
        # what stands beside these is signed by nobody
        if set(fields) - {1, 2, 3, 4} or any(len(values) > 1 for values in fields.values()):
            raise Failed(where, "it has something that a signed document has not")
        return cls(_text(_one(fields, 1), where), _one(fields, 2), _one(fields, 3), _one(fields, 4))

    @classmethod
    def of_json(cls, found: dict[str, str]) -> Signed:
        """Read one from a line of JSON."""
        body, signature = (base64.b64decode(found[name], validate=True) for name in ("body", "signature"))
        return cls(found["context"], body, bytes.fromhex(found["public_key"]), signature)

    def read(self, where: str, what: str, contexts: tuple[str, ...], key: bytes | None = None) -> Fields:
        """The body's fields once `check` has passed."""
        self.check(where, what, contexts, key)
        return fields_of(self.body, where)

    def check(
        self, where: str, what: str, contexts: tuple[str, ...], key: bytes | None = None, holds: Holds = ed25519
    ) -> None:
        """It is a document of that kind, and signed; with a key given, by that one."""
        if self.context not in contexts:
            raise Failed(where, f"{what} is signed as a document of another kind")
        if key is not None and self.public_key != key:
            raise Failed(where, f"{what} is signed by another key than it should be")
        if not holds(self.public_key, self.context.encode() + b"\0" + self.body, self.signature):
            raise Failed(where, f"the signature of {what} does not hold")


# --------------------------------------------------------------------------- the journal


@dataclass
class Entry:
    """A record and the bytes that left with it."""

    number: int
    written: bytes
    record: dict[str, Any]
    payload: bytes


def read_journal(file: BinaryIO) -> Iterator[Entry]:
    """Every entry in order; `Failed` names the first that is not as it was written, or does not follow the last."""
    if file.read(len(MAGIC)) != MAGIC:
        raise Failed("journal.bin", "the first line is not that of a journal")
    previous, number = bytes(32), 0
    while True:
        head = file.read(48)
        if not head:
            return
        number += 1
        where = f"record {number}"
        if len(head) < 48 or struct.unpack("<I", head[44:])[0] != zlib.crc32(head[:44]):
            raise Failed(where, "its head was changed, or it was cut off")
        record_bytes, payload_bytes = struct.unpack("<IQ", head[:12])
        if record_bytes > MAX_DOCUMENT or payload_bytes > MAX_PAYLOAD:
            raise Failed(where, "it is larger than any record")
        written, payload = file.read(record_bytes), file.read(payload_bytes)
        if len(written) < record_bytes or len(payload) < payload_bytes:
            raise Failed(where, "it was cut off")
        if hashlib.sha256(written).digest() != head[12:44]:
            raise Failed(where, "its record was changed")
        record = record_of(written, where)
        if record["sequence"] != number or record["previous"] != previous:
            raise Failed(where, "it does not follow the record before it")
        if len(payload) != record["payload_bytes"] or (
            payload and hashlib.sha256(payload).digest() != record["payload_digest"]
        ):
            raise Failed(where, "the bytes that left were changed")
        previous = hashlib.sha256(written).digest()
        yield Entry(number, written, record, payload)


class Roots:
    """Roots of the tree over the records (RFC 9162, 2.1.1) as it grows: complete subtrees, the widest first."""

    def __init__(self) -> None:
        self._parts: list[tuple[int, bytes]] = []

    def add(self, entry: bytes) -> None:
        made, width = hashlib.sha256(b"\0" + entry).digest(), 1
        while self._parts and self._parts[-1][0] == width:
            made, width = hashlib.sha256(b"\1" + self._parts.pop()[1] + made).digest(), 2 * width
        self._parts.append((width, made))

    def root(self) -> bytes:
        made = self._parts[-1][1] if self._parts else hashlib.sha256(b"").digest()
        for _, part in reversed(self._parts[:-1]):
            made = hashlib.sha256(b"\1" + part + made).digest()
        return made


# --------------------------------------------------------------------------- the bundle


class Bundle:
    """The files of a bundle, in a folder or in a .zip."""

    def __init__(self, path: Path) -> None:
        self._folder, self._zip = path, None
        try:
            if path.is_dir():
                self.names = sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if not p.is_dir())
            else:
                self._zip = zipfile.ZipFile(path)
                self.names = sorted(name for name in self._zip.namelist() if not name.endswith("/"))
        except (OSError, zipfile.BadZipFile, ValueError):
            raise Failed(str(path), "it is no bundle: neither a folder nor a .zip that can be read") from None
        if len(set(self.names)) < len(self.names):
            raise Failed(str(path), "it holds a file twice")

    def open(self, name: str) -> Any:
        """A file of the bundle for reading, as bytes."""
        try:
            return self._zip.open(name) if self._zip else (self._folder / name).open("rb")
        except (OSError, KeyError, RuntimeError, zipfile.BadZipFile, NotImplementedError):
            raise Failed(name, "it is not in the bundle, or cannot be read") from None

    def read(self, name: str) -> bytes:
        """The whole of a smaller file."""
        with self.open(name) as file:
            content: bytes = file.read(MAX_DOCUMENT + 1)
        if len(content) > MAX_DOCUMENT:
            raise Failed(name, "it is larger than any such file")
        return content

    def digest(self, name: str) -> str:
        """SHA-256 of a file, in hexadecimal."""
        made = hashlib.sha256()
        with self.open(name) as file:
            for part in iter(lambda: file.read(1 << 20), b""):
                made.update(part)
        return made.hexdigest()

    def folder(self, name: str) -> list[tuple[str, str]]:
        """Files of a folder of the bundle: path in the bundle, and name up to the first point."""
        paths = [found for found in self.names if found.startswith(f"{name}/")]
        return [(path, path.split("/", 1)[1].split(".", 1)[0]) for path in paths]


def line_of(entry: Entry) -> dict[str, Any]:
    """A record as it stands in records.jsonl."""
    line = {name: value.hex() if isinstance(value, bytes) else value for name, value in entry.record.items()}
    line["document"] = base64.b64encode(entry.record["document"]).decode()
    line["record_digest"] = hashlib.sha256(entry.written).hexdigest()
    line["payload"] = base64.b64encode(entry.payload).decode()
    return line


def row_of(line: dict[str, Any]) -> list[str]:
    """The same as it stands in records.csv: no cell is a formula to a spreadsheet, and none hides anything."""
    return [_cell(str(value)) for name, value in line.items() if name not in NOT_IN_TABLE]


def _cell(text: str) -> str:
    text = "".join(c if c.isprintable() or unicodedata.category(c) == "Zs" else _code(ord(c)) for c in text)
    try:
        float(text)
    except ValueError:
        return f"'{text}" if text.lstrip().startswith(FORMULA) else text
    return text


def _code(number: int) -> str:
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"


# --------------------------------------------------------------------------- what is checked


class Check:
    """One bundle being checked. `report` holds what people are told where everything holds."""

    def __init__(self, bundle: Bundle, told: Told, holds: Holds) -> None:
        self.bundle, self.told, self.holds = bundle, told, holds
        self.report: list[str] = []
        # digest of what a record's document is about -> context of the document
        self.documents: dict[bytes, str] = {}
        # digest of a signed policy -> its file; and the number of the newest that was in force
        self.policies: dict[str, bytes] = {}
        self.policy = 0
        self.answers = 0
        # number of records -> root; sizes asked for before the journal is read
        self.roots: dict[int, bytes] = {}
        self.head, self.root, self.size = bytes(32), hashlib.sha256(b"").digest(), 0
        # key -> name: who may be a witness
        self.witnesses: dict[bytes, str] = {}

    def run(self) -> list[str]:
        """All checks, in the order in which a failure says most; what to tell people."""
        self._cover()
        checkpoints = self._read_checkpoints()
        self._journal({size for _, _, size, _ in checkpoints} | self.told.sizes())
        self._totals()
        self._roster()
        self._documents()
        self._checkpoints(checkpoints)
        self._against()
        self._files()
        return self.report

    def _opened(
        self, signed: Signed, where: str, what: str, contexts: tuple[str, ...], key: bytes | None = None
    ) -> Fields:
        """A document's fields once its signature has been checked."""
        signed.check(where, what, contexts, key, self.holds)
        return fields_of(signed.body, where)

    def _cover(self) -> None:
        """bundle.json is as the node signed it, and is the one people said it must be."""
        body = self.bundle.read("bundle.json")
        signed = Signed.of(self.bundle.read("bundle.sig"), "bundle.sig")
        if signed.body != body:
            raise Failed("bundle.json", "it is not what was signed in bundle.sig")
        signed.check("bundle.sig", "the bundle", ("isthmus/bundle/1",), None, self.holds)
        try:
            cover = json.loads(body)
            self.node, self.cover, self.files = str(cover["node"]), cover, dict(cover["files"])
            self.chosen = str(cover["selection"]["run"]), str(cover["selection"]["study"])
            keys = [bytes.fromhex(cover[f"{whose}_key"]) for whose in ("identity", "custodian", "coordinator")]
            self.identity, self.custodian, self.coordinator = keys
        except (ValueError, KeyError, TypeError, RecursionError):
            raise Failed("bundle.json", "it does not say what it must") from None
        if cover.get("format") != FORMAT:
            raise Failed("bundle.json", f"this verifier reads {FORMAT!r}: use the one of the release that wrote it")
        if signed.public_key != self.identity:
            raise Failed("bundle.sig", "the bundle is signed by another key than it should be")
        self._must_be("bundle.json", "the node's key", self.told.key, hashlib.sha256(self.identity).hexdigest())
        self.report.append(f"node {self.node}, key {fingerprint(self.identity)}")

    def _must_be(self, where: str, what: str, wanted: str, found: str) -> None:
        if wanted and wanted != found:
            raise Failed(where, f"{what} has the fingerprint {found}, not {wanted}")

    def _read_checkpoints(self) -> list[tuple[str, Signed, int, list[Signed]]]:
        text = self.bundle.read("checkpoints.jsonl")
        found = []
        for number, line in enumerate(text.splitlines(), start=1):
            where = f"checkpoints.jsonl line {number}"
            signed, cosignatures = checkpoint_of(line, where)
            found.append((where, signed, _number(fields_of(signed.body, where), 2), cosignatures))
        return found

    def _journal(self, sizes: set[int]) -> None:
        csv.field_size_limit(MAX_DOCUMENT)
        with (
            self.bundle.open("journal.bin") as journal,
            self.bundle.open("records.jsonl") as lines,
            self.bundle.open("records.csv") as table,
            io.TextIOWrapper(table, encoding="utf-8", errors="replace", newline="") as text,
        ):
            try:
                self._read_journal(read_journal(journal), lines, csv.reader(text), sizes)
            except csv.Error:
                raise Failed("records.csv", "it cannot be read as a table") from None

    def _read_journal(
        self, entries: Iterator[Entry], lines: Iterator[bytes], rows: Iterator[list[str]], sizes: set[int]
    ) -> None:
        roots = Roots()
        titles = next(rows, [])
        for entry in entries:
            self._record(entry)
            roots.add(entry.written)
            self.size, self.head = entry.number, hashlib.sha256(entry.written).digest()
            if entry.number in sizes:
                self.roots[entry.number] = roots.root()
            if is_chosen(entry.record, *self.chosen):
                self._in_words(entry, next(lines, b""), next(rows, []), titles)
        if next(lines, None) is not None or next(rows, None) is not None:
            raise Failed("records.jsonl or records.csv", "it has more records than the journal")
        self.root = roots.root()

    def _in_words(self, entry: Entry, line: bytes, row: list[str], titles: list[str]) -> None:
        wanted = line_of(entry)
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            found = None
        if found != wanted:
            raise Failed(f"record {entry.number}", "records.jsonl says something else than the journal")
        if row != row_of(wanted) or titles != [name for name in wanted if name not in NOT_IN_TABLE]:
            raise Failed(f"record {entry.number}", "records.csv says something else than the journal")

    def _record(self, entry: Entry) -> None:
        """An answer is the node's, about the task that the coordinator signed; a decision is the custodian's."""
        record, where = entry.record, f"record {entry.number}"
        answer = record["event"] in ("RELEASED", "REFUSED")
        if bool(entry.payload) is not answer:
            raise Failed(where, "bytes left with a record that is no answer, or an answer has none")
        if answer:
            self.answers += 1
            gave = record["event"] == "RELEASED"
            contexts = (SUMMARY, SHARE) if gave else (REFUSAL,)
            said = self._opened(Signed.of(entry.payload, where), where, "the answer", contexts, self.identity)
            if _one(said, 1) != record["task"] or _text(_one(said, 2), where) != self.node:
                raise Failed(where, "the answer is about another task, or in another node's name")
            if gave and (_one(said, 6), _one(said, 7)) != (
                record["policy_digest"],
                record["dataset_digest"],
            ):
                raise Failed(where, "the answer names another policy or dataset than the record")
            if gave and self.policies and record["policy_digest"].hex() not in self.policies:
                raise Failed(where, "it left under a policy that was not in force before")
        if record["event"] == "UNLOCKED" and not record["document"]:
            raise Failed(where, "refusals were counted anew without the custodian's word")
        if record["document"]:
            signed = Signed.of(record["document"], where)
            if answer or record["event"] == "HELD":
                signed.check(where, "the task", (TASK,), self.coordinator, self.holds)
                about = hashlib.sha256(signed.body).digest()
                if about != record["task"]:
                    raise Failed(where, "the task in it is another than the one that was answered")
            elif record["event"] == "UNSEALED":
                if _one(self._opened(signed, where, "the seed", (REVEAL,), self.identity), 1) != record["task"]:
                    raise Failed(where, "the seed in it is of another round")
                return
            elif record["event"] == "POLICY":
                about = self._policy(signed.read(where, "the policy", (POLICY,), self.custodian), record, where)
            else:
                about = self._decision(signed, record["event"], where)
            self.documents[hashlib.sha256(record["document"]).digest()] = about.hex()

    def _decision(self, signed: Signed, event: str, where: str) -> bytes:
        """What the custodian decided on: in a document of the kind that the record needs, saying what it says."""
        says, contexts = DECIDED.get(event, (None, ()))
        fields = self._opened(signed, where, "the decision", contexts, self.custodian)
        if _number(fields, 3) != says or _text(_one(fields, 2), where) != self.node:
            raise Failed(where, "the custodian decided otherwise, or for another node")
        return _one(fields, 1)

    def _policy(self, fields: Fields, record: dict[str, Any], where: str) -> bytes:
        """The digest of a policy as the custodian signed it for this node: none with a smaller number than before."""
        number, about = _number(fields, 2), _one(fields, 4)
        if _text(_one(fields, 1), where) != self.node or about != record["policy_digest"]:
            raise Failed(where, "the policy in it is another than the one that came in force")
        if number < self.policy:
            raise Failed(where, f"policy number {number} came in force after number {self.policy}")
        self.policy, self.policies[about.hex()] = number, _one(fields, 3)
        return bytes(about)

    def _totals(self) -> None:
        wanted = (self.cover.get("tree_size"), self.cover.get("root"), self.cover.get("head"))
        if (self.size, self.root.hex(), self.head.hex()) != wanted:
            raise Failed("journal.bin", f"it has {self.size} whole records, not the {wanted[0]} that were signed for")
        self.report.append(f"{self.size} records, {self.answers} answers that left; root {self.root.hex()}")

    def _roster(self) -> None:
        self.witnesses[self.coordinator] = "the coordinator"
        found = ""
        if "roster.pb" in self.bundle.names:
            signed = Signed.of(self.bundle.read("roster.pb"), "roster.pb")
            fields = self._opened(signed, "roster.pb", "the roster", ("isthmus/roster/1",), self.coordinator)
            for node in fields.get(2, []):
                entry = fields_of(node, "roster.pb")
                self.witnesses[_one(entry, 3)] = _text(_one(entry, 1), "roster.pb")
            found = hashlib.sha256(signed.body).hexdigest()
            self.report.append(f"roster {found}, signed by the coordinator, key {fingerprint(self.coordinator)}")
        self._must_be("roster.pb", "the roster", self.told.roster, found)

    def _documents(self) -> None:
        """Studies have the names that records give them; tasks and decisions are those of the records."""
        for path, name in self.bundle.folder("studies"):
            signed = Signed.of(self.bundle.read(path), path)
            study = self._opened(signed, path, "the study", ("isthmus/study/1",))
            if hashlib.sha256(signed.body).hexdigest() != name:
                raise Failed(path, "the study is another than its name says")
            for participant in study.get(7, []):
                entry = fields_of(participant, path)
                self.witnesses.setdefault(_one(entry, 3), _text(_one(entry, 1), path))
        for path, name in (*self.bundle.folder("tasks"), *self.bundle.folder("approvals")):
            if self.documents.get(hashlib.sha256(self.bundle.read(path)).digest()) != name:
                raise Failed(path, "it is not the document of any record, or not the one its name says")
        for path, name in self.bundle.folder("policies"):
            content = self.bundle.read(path)
            # the file as it was signed, or what it meant
            if self.policies.get(name) != content and hashlib.sha256(content).hexdigest() != name:
                raise Failed(path, "it is not the policy that its name says")

    def _checkpoints(self, found: list[tuple[str, Signed, int, list[Signed]]]) -> None:
        seen: dict[str, int] = {}
        before = counted = 0
        for where, signed, size, cosignatures in found:
            fields = self._opened(signed, where, "the checkpoint", (CHECKPOINT,), self.identity)
            if _text(_one(fields, 1), where) != self.node or size <= before:
                raise Failed(where, "the checkpoint is of another node, or not larger than the one before it")
            if size > self.size:
                raise Failed(
                    where, f"the node signed for {size} records, and the journal has {self.size}: it was cut back"
                )
            if self.roots[size] != _one(fields, 3):
                raise Failed(where, f"the journal's first {size} records are not those that the node signed for")
            before = size
            for cosignature in cosignatures:
                if cosignature.public_key == self.identity:
                    raise Failed(where, "a cosignature is the node's own")
                said = self._opened(cosignature, where, "a cosignature", (COSIGNATURE,))
                if _one(said, 1) != hashlib.sha256(signed.body).digest():
                    raise Failed(where, "a cosignature is about another checkpoint")
                name = self.witnesses.get(cosignature.public_key, "nobody known, and not counted")
                seen[f"{name} (key {fingerprint(cosignature.public_key)[:19]})"] = size
                counted += cosignature.public_key in self.witnesses
        self.report.append(f"{len(found)} checkpoints hold, of up to {before} records")
        self.report += [f"  seen by {name}: {size} of {self.size} records" for name, size in sorted(seen.items())]
        if not counted:
            self.report.append("  no witness: that the journal was not replaced as a whole is not shown")

    def _against(self) -> None:
        """What witnesses have kept is held against the journal."""
        for name, signed, size, root in self.told.against:
            if signed.public_key != self.identity:
                raise Failed(name, "it is of another node, or of another key than the bundle's")
            if size > self.size:
                raise Failed("journal.bin", f"it was cut back: {name} has seen {size} records, here are {self.size}")
            if self.roots[size] != root:
                raise Failed("journal.bin", f"it was replaced: its first {size} records are not those of {name}")
            self.report.append(f"begins with the {size} records that {name} shows")

    def _files(self) -> None:
        wanted, found = set(self.files), set(self.bundle.names) - {"bundle.json", "bundle.sig"}
        for name in sorted(wanted ^ found):
            raise Failed(name, "it is not in the bundle" if name in wanted else "nobody signed for it")
        for name in sorted(wanted):
            if self.bundle.digest(name) != self.files[name]:
                raise Failed(name, "it was changed")


@dataclass
class Told:
    """What people know from elsewhere: fingerprints, and checkpoints that witnesses kept (name, signed, size, root)."""

    key: str
    roster: str
    against: list[tuple[str, Signed, int, bytes]]

    def sizes(self) -> set[int]:
        return {size for _, _, size, _ in self.against}


def is_chosen(record: dict[str, Any], run: str, study: str) -> bool:
    """Whether a record is among those that were asked for: run by the beginning of its number, study by its name."""
    return record["run"].hex().startswith(run) and study in ("", record["study"])


def checkpoint_of(line: bytes, where: str) -> tuple[Signed, list[Signed]]:
    """A checkpoint and its cosignatures from a line of JSON; the text beside them must say the same."""
    try:
        found = json.loads(line)
        signed = Signed.of_json(found["checkpoint"])
        cosignatures = [Signed.of_json(one) for one in found["cosignatures"]]
        beside = [found[name] for name in ("node", "tree_size", "root", "made_at")]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Failed(where, "it is no checkpoint") from None
    fields = fields_of(signed.body, where)
    made_at = _signed_number(_number(fields, 4))
    if beside != [_text(_one(fields, 1), where), _number(fields, 2), _one(fields, 3).hex(), made_at]:
        raise Failed(where, "the text beside the checkpoint says something else than what was signed")
    return signed, cosignatures


def told_by(files: list[str], key: str, roster: str) -> Told:
    """What was given on the command line, its own signatures checked."""
    against = []
    for name in files:
        with Bundle(Path(name).parent).open(Path(name).name) as file:
            signed, cosignatures = checkpoint_of(file.read(1 << 20), name)
        fields = signed.read(name, "the checkpoint", (CHECKPOINT,))
        for cosignature in cosignatures:
            cosignature.check(name, "a cosignature", (COSIGNATURE,))
        against.append((name, signed, _number(fields, 2), _one(fields, 3)))
    plain = [text.lower().replace(" ", "").replace(":", "") for text in (key, roster)]
    return Told(plain[0], plain[1], against)


def fingerprint(key: bytes) -> str:
    """SHA-256 of a key, in groups of four."""
    digits = hashlib.sha256(key).hexdigest()
    return " ".join(digits[k : k + 4] for k in range(0, 64, 4))


def verify(path: Path, told: Told | None = None, holds: Holds = ed25519) -> list[str]:
    """Check a bundle; what to tell people where all holds. Raises `Failed` otherwise.

    `holds` says whether a signature is a key's over a message: with a library for it, a hundred times faster than here.
    """
    return Check(Bundle(path), told or Told("", "", []), holds).run()


def main(arguments: list[str]) -> int:
    """Check what the command line names; 0 for PASS, 1 for FAIL."""
    parser = argparse.ArgumentParser(prog="verifier.py", description="Check the exported journal of an isthmus node.")
    parser.add_argument("bundle", help="folder or .zip that isthmus-node journal export wrote")
    parser.add_argument("--against", action="append", default=[], help="checkpoint that a witness kept, as a file")
    parser.add_argument("--roster-fingerprint", default="", help="as the coordinating team gave it to you")
    parser.add_argument("--key-fingerprint", default="", help="of the node's identity key, as the site gave it to you")
    given = parser.parse_args(arguments)
    say: Callable[[str], int] = sys.stdout.write
    try:
        report = verify(Path(given.bundle), told_by(given.against, given.key_fingerprint, given.roster_fingerprint))
    except Failed as failed:
        say(printable(f"FAIL {failed}") + "\n")
        return 1
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, MemoryError) as error:
        say(f"FAIL the bundle cannot be read to its end ({type(error).__name__})\n")
        return 1
    for line in report:
        say(printable(line) + "\n")
    say("PASS\n")
    return 0


def printable(text: str) -> str:
    """The text without what a terminal would obey: names come from the bundle."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
