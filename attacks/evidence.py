"""All that left a node while an attack ran: bytes, journal, logs, metrics, errors; and the oracle that reads them."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attacks.attack import Claims
from attacks.rows import SECRET_NUMBERS, SECRET_TEXTS, TRUTH
from isthmus.v1 import study_pb2, summary_pb2
from isthmus_methods.codec import array_from_message
from isthmus_trust.documents import REFUSAL, SUMMARY

# How near a value that is worked out must come, and one that simply stands there.
NEAR, EQUAL = 0.01, 1e-7

Numbers = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a node answered to one round of a run, read from the bytes that left."""

    run: bytes
    round: int
    code: str = ""  # of a refusal
    values: Mapping[tuple[str, str], Numbers] = field(default_factory=dict)
    withheld: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Numbers:
        """The value of a field that has one label; raises `KeyError` where it did not leave."""
        return (
            next(value for (found, _), value in self.values.items() if found == name) if self.has(name) else _no(name)
        )

    def has(self, name: str) -> bool:
        return any(found == name for found, _ in self.values)


def _no(name: str) -> Numbers:
    raise KeyError(name)


def answer_of(run: bytes, number: int, payload: bytes) -> Answer:
    """A release of the journal, decoded."""
    signed = study_pb2.Signed.FromString(payload)
    if signed.context == REFUSAL:
        return Answer(run, number, summary_pb2.Refusal.FromString(signed.body).code)
    if signed.context != SUMMARY:
        return Answer(run, number, f"a document of kind {signed.context}")
    items = summary_pb2.Summary.FromString(signed.body).items
    return Answer(
        run,
        number,
        "",
        {(i.field, i.label): array_from_message(i.value) for i in items if i.HasField("value")},
        {(i.field, i.label): i.withheld_by for i in items if i.withheld_by},
    )


@dataclass(slots=True)
class Evidence:
    """What there is to read after an attack."""

    messages: list[bytes]  # handed to gRPC by the node
    payloads: list[bytes]  # releases in its journal
    texts: dict[str, str]  # logs, metrics, what the attacker was told

    def answers(self) -> Iterator[Answer]:
        for payload in self.payloads:
            yield answer_of(b"", 0, payload)


def claimed(claims: Claims) -> list[str]:
    """What of the attacker's claims is so, to one part in a hundred."""
    return [
        f"{name} worked out as {value:.6g}"
        for name, value in claims.items()
        if np.isfinite(value) and abs(value - TRUTH[name]) <= NEAR * abs(TRUTH[name])
    ]


def standing_in(evidence: Evidence, known: Collection[str] = ()) -> list[str]:
    """Where a value of the victim stands as it is: in any byte, number, log, metric or error.

    `known` are those that the attacker wrote into the request, so that they say nothing in an answer.
    """
    found = []
    texts = [secret for secret in SECRET_TEXTS if secret not in known]
    for place, text in evidence.texts.items():
        found += [f"{place}: {secret}" for secret in texts if _whole(secret).search(text)]
    needles = {secret: secret.encode() for secret in texts}
    needles |= {f"{x} as a double": struct.pack("<d", x) for x in SECRET_NUMBERS}
    needles |= {f"{x} as a float": struct.pack("<f", x) for x in SECRET_NUMBERS}
    for place, bodies in (("message", evidence.messages), ("journal", evidence.payloads)):
        for what, needle in needles.items():
            if any(needle in body for body in bodies):
                found.append(f"{place}: {what}")
    for answer in evidence.answers():
        for (name, label), value in answer.values.items():
            numbers = np.asarray(value, dtype=np.float64).ravel()
            for secret in SECRET_NUMBERS:
                if np.any(np.abs(np.abs(numbers) - secret) <= EQUAL * secret):
                    found.append(f"{name}[{label}] holds {secret}")
                if np.any(np.abs(numbers - secret**2) <= EQUAL * secret**2):
                    found.append(f"{name}[{label}] holds the square of {secret}")
    return found


def _whole(secret: str) -> re.Pattern[str]:
    """The text by itself, not as digits of a digest."""
    return re.compile(rf"(?<![0-9A-Za-z.]){re.escape(secret)}(?![0-9A-Za-z])")


def read_messages(path: Path, start: int) -> list[tuple[str, bytes]]:
    """What the recorder wrote from an offset on: call and bytes; a line that is being written is left for later."""
    with path.open(encoding="ascii") as file:
        file.seek(start)
        lines = [json.loads(line) for line in file if line.endswith("\n")]
    return [(line["call"], bytes.fromhex(line["bytes"])) for line in lines]
