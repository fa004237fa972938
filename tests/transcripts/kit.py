"""What one country lets out for a request, as a text that people read: the fields, the numbers, the bytes.

    .venv/bin/python -m tests.transcripts.kit

rewrites the texts beside this file; what changed in them is read as a diff before it is committed. Rows are the
attacks' made-up sixty persons; rows and policy are the same every time. Of the bytes, what names a task, a snapshot, a
policy or a release of isthmus is left out, and numbers are shown to eight digits, because their last ones differ
between processors; counts, refusals and what is withheld are shown to the byte.
"""

from __future__ import annotations

import tempfile
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from attacks import rows
from isthmus.errors import IsthmusError
from isthmus.v1 import journal_pb2, study_pb2, summary_pb2
from isthmus_client.formula.dictionary import Dictionary
from isthmus_client.proposal import study_from_toml
from isthmus_client.requests import request
from isthmus_methods.codec import array_from_message, spec_to_message
from isthmus_methods.contract import Cleared, Done, Spec, leaving
from isthmus_methods.pooling import pool_round
from isthmus_methods.registry import find
from isthmus_node.compute.answer import Cache, answer
from isthmus_node.compute.cohorts import cohorts_of
from isthmus_node.compute.normal import request_name
from isthmus_node.egress.auditor import Audit, Auditor
from isthmus_node.egress.gate import Refusal, judge, refuse
from isthmus_node.egress.policy import DEFAULT_FILE, Policy
from isthmus_node.egress.wire import Header, encode, encode_refusal
from isthmus_node.sources import Source, read, typed
from isthmus_node.sources.table import Table
from isthmus_trust.documents import REFUSAL, canonical
from isthmus_trust.identity import IdentityKey
from tests.transcripts import training_kit

FOLDER = Path(__file__).parent
PURPOSES = {"trial analysis": study_pb2.TRIAL_ANALYSIS, "publication": study_pb2.PUBLICATION}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request in words."""

    about: str
    method: str
    formula: str | None = None
    roles: Mapping[str, Any] = field(default_factory=dict)
    where: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    purpose: str = "trial analysis"
    dataset: str = "PERSONS"

    def words(self) -> Iterator[str]:
        yield self.about
        yield f"method   {self.method}" + (f"  {self.formula}" if self.formula else "")
        for name, columns in self.roles.items():
            yield f"role     {name}: {columns if isinstance(columns, str) else ', '.join(columns)}"
        if self.where:
            yield f"where    {self.where}"
        for name, value in self.options.items():
            yield f"option   {name}: {value}"
        yield f"purpose  {self.purpose}"


SURV = "Surv(DAY, EVENT)"
# name of the text -> requests, in this order: what an earlier one let out counts for a later one
TRANSCRIPTS: Mapping[str, tuple[Asked, ...]] = {
    "tables": (
        Asked("Counts of a factor whose cells are large", "table_one", roles={"variables": ["STAGE"], "arm": "ARM"}),
        Asked("Mean and spread of a number", "table_one", roles={"variables": ["LAB"], "arm": "ARM"}),
        Asked("A cross-table", "crosstab", roles={"row": "ARM", "column": "SEX"}),
        Asked("A mean that one person makes is withheld alone", "table_one", roles={"variables": ["MARK"]}),
        Asked("A category of one person withholds its variable", "table_one", roles={"variables": ["CLASS", "STAGE"]}),
        Asked(
            "For publication nobody's category is withheld as a small one is",
            "table_one",
            roles={"variables": ["STAGE", "ARM"]},
            purpose="publication",
        ),
        Asked("A cross-table with a small cell", "crosstab", roles={"row": "ARM", "column": "CLASS"}),
        Asked(
            "Quantiles of a number that everybody has another value of",
            "table_one",
            roles={"variables": ["LAB"]},
            options={"quantiles": True},
        ),
    ),
    "models": (
        Asked("A linear model", "linear_model", "LAB ~ ARM + X1"),
        Asked("A logistic model", "glm", "RESP ~ ARM"),
        Asked("Cox's model, stratified by country", "cox", f"{SURV} ~ ARM"),
        Asked("A level of one person", "linear_model", "LAB ~ CLASS"),
        Asked("One value that determines its own fit", "linear_model", "LAB ~ MARK"),
        Asked(
            "More parameters than the persons carry", "linear_model", "LAB ~ X1 + X2 + X3 + X4", where="SITE == 'S1'"
        ),
    ),
    "curves": (
        Asked("A curve on the study's grid of days", "kaplan_meier", f"{SURV} ~ 1"),
        Asked("The log-rank test between arms", "log_rank", f"{SURV} ~ ARM"),
        Asked("The same curve for publication", "kaplan_meier", f"{SURV} ~ 1", purpose="publication"),
        Asked(
            "One baseline hazard for all countries: sums at consecutive times would differ by one person",
            "cox",
            f"{SURV} ~ ARM",
            options={"stratify_by_country": False},
        ),
    ),
    "refusals": (
        Asked("Everybody", "table_one", roles={"variables": ["LAB"]}),
        Asked("Everybody but one", "table_one", roles={"variables": ["LAB"]}, where="AGE < 96"),
        Asked("A handful", "table_one", roles={"variables": ["LAB"]}, where="AGE > 74"),
    ),
}


class Country:
    """A country's node without its network: rows, method, auditor, gate and wire."""

    def __init__(self, folder: Path) -> None:
        self._files = rows.write(folder / "rows", "AA", 1, True)
        written = folder / "study.toml"
        written.write_text(
            'name = "TRANSCRIPT"\ntitle = "t"\nrationale = "r"\nrecipients = ["those who read"]\nby_country = true\n'
            f'participants = ["aa"]\n\n{rows.dictionary()}',
            encoding="utf-8",
        )
        us = study_pb2.Participant(node="aa", country="AA", identity_key=bytes(32), custodian_key=bytes(32))
        self._datasets = {d.name: d for d in study_from_toml(written, [us]).datasets}
        self._policy = Policy.load(DEFAULT_FILE)
        self._auditor = Auditor(folder / "auditor", _Journal())
        self._key = IdentityKey.generate()
        self._tables: dict[str, Table] = {}

    def table(self, name: str) -> Table:
        if name not in self._tables:
            self._tables[name] = typed(read(Source(str(self._files[name]))), self._datasets[name], "AA")
        return self._tables[name]

    def spec(self, asked: Asked) -> Spec:
        return request(
            asked.method,
            Dictionary.of(self._datasets[asked.dataset]),
            formula=asked.formula,
            roles=asked.roles,
            where=asked.where,
            options=asked.options,
        )

    def round(self, spec: Spec, state: Mapping[str, Any], purpose: int) -> bytes:
        """The bytes that leave for one round."""
        method, header = find(spec.method, spec.version), Header(bytes(32), "aa", "AA")
        try:
            table, cache = self.table(spec.dataset), Cache()
            summary = answer(spec, table, state, cache, method)
        except IsthmusError as error:
            return encode_refusal(refuse(error, purpose, self._policy), header, self._key).payload
        audit = Audit(
            self._auditor,
            request_name(spec) + table.digest,
            lambda: cohorts_of(spec, table, method, cache.prepared(spec, table, method), None),
            False,
            journal_pb2.Record(),
        )
        leaves = leaving(method, spec.options)
        verdict = judge(summary, leaves, method.notes, purpose, self._policy, False, audit.violation)
        if isinstance(verdict, Refusal):
            return encode_refusal(verdict, header, self._key).payload
        return encode(verdict, header, self._key).payload


class _Journal:
    """What the auditor wants of one."""

    def __init__(self) -> None:
        self._digests: dict[str, bytes] = {}

    def append(self, record: journal_pb2.Record) -> None:
        self._digests[record.dataset] = record.auditor_digest

    def audited(self) -> Mapping[str, bytes]:
        return self._digests


NAMES = (*TRANSCRIPTS, "training")


def transcript(name: str, folder: Path) -> str:
    """One of the texts."""
    if name == "training":
        return training_kit.transcript(folder, _of_message)
    country = Country(folder)
    parts = [line for asked in TRANSCRIPTS[name] for line in ("", *_of_request(country, asked))]
    return "\n".join([f"What leaves the country for requests about {name}.", *parts]) + "\n"


def _of_request(country: Country, asked: Asked) -> Iterator[str]:
    yield "=" * 100
    yield from asked.words()
    spec = country.spec(asked)
    method, state, memory = find(spec.method, spec.version), {}, {}
    asking = len(spec_to_message(spec).SerializeToString(deterministic=True))
    yield f"request  {asking} bytes"
    for number in range(1, method.rounds[1] + 1):
        payload = country.round(spec, state, PURPOSES[asked.purpose])
        signed = study_pb2.Signed.FromString(payload)
        yield f"-- round {number}: {signed.context}, {len(signed.body)} bytes"
        if signed.context == REFUSAL:
            yield from _of_refusal(summary_pb2.Refusal.FromString(signed.body))
            return
        summary = summary_pb2.Summary.FromString(signed.body)
        yield from _of_summary(summary)
        try:
            turn = pool_round(method, [_cleared(summary)], spec, state, memory, number)
        except IsthmusError as error:
            yield f"-- the coordinator ends it: {error.code}"
            return
        if isinstance(turn, Done):
            return
        state, memory = turn.state, turn.memory


def _of_message(message: summary_pb2.Summary | summary_pb2.Refusal) -> list[str]:
    return list(_of_refusal(message) if isinstance(message, summary_pb2.Refusal) else _of_summary(message))


def _of_refusal(refusal: summary_pb2.Refusal) -> Iterator[str]:
    for name in ("code", "field", "rule", "remedy"):
        yield f"   {name:<8} {getattr(refusal, name)}"
    refusal.ClearField("task")
    refusal.ClearField("padding")
    yield from _bytes(canonical(refusal))


def _of_summary(summary: summary_pb2.Summary) -> Iterator[str]:
    counts = summary_pb2.Summary()
    for item in summary.items:
        place = f"{item.field}[{item.label}]" if item.label else item.field
        if item.withheld_by:
            yield f"   {place}: withheld, {item.withheld_by}"
        else:
            value = array_from_message(item.value)
            shape = " x ".join(str(n) for n in value.shape) or "1"
            yield f"   {place}: {shape} {'counts' if value.dtype.kind == 'i' else 'numbers'}"
            yield from _numbers(value)
        if item.withheld_by or item.value.WhichOneof("values") == "counts":
            counts.items.add().CopyFrom(item)
    if summary.notes:
        yield f"   notes: {', '.join(summary.notes)}"
    yield f"   {len(summary.items)} fields"
    yield from _bytes(canonical(counts))


def _numbers(value: np.ndarray[Any, Any]) -> Iterator[str]:
    if value.size > 60:
        # a table along time: the steps at which anything happens
        lines = np.atleast_2d(value.reshape(-1, value.shape[-1]))
        for k in np.flatnonzero(lines.any(axis=0)):
            yield f"      at {k}: {' '.join(_number(x) for x in lines[:, k])}"
        return
    text = " ".join(_number(x) for x in value.ravel())
    yield from textwrap.wrap(text or "none", 94, initial_indent="      ", subsequent_indent="      ")


def _number(x: float) -> str:
    if isinstance(x, np.integer):
        return str(x)
    # what is nothing but rounding is nothing
    return "0" if abs(x) < 1e-8 else f"{x:.8g}"


def _bytes(body: bytes) -> Iterator[str]:
    """The bytes of a refusal, or of the counts and what was withheld, but for what changes from task to task."""
    if body:
        yield from textwrap.wrap(body.hex(" ", -2), 90, initial_indent="   | ", subsequent_indent="   | ")


def _cleared(summary: summary_pb2.Summary) -> Cleared:
    given = [item for item in summary.items if item.HasField("value")]
    return Cleared(
        "AA",
        {(item.field, item.label): array_from_message(item.value) for item in given},
        {(item.field, item.label): item.withheld_by for item in summary.items if item.withheld_by},
        frozenset(summary.notes),
    )


def main() -> None:
    for name in NAMES:
        with tempfile.TemporaryDirectory() as folder:
            (FOLDER / f"{name}.txt").write_text(transcript(name, Path(folder)), encoding="utf-8")


if __name__ == "__main__":
    main()
