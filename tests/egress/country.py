"""A country of 60 persons with somebody worth finding, its gate with and without the auditor, and the bytes that leave.

The victim: 97 years old, laboratory value 129.587, in arm B, and the only one without a weight.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from isthmus.v1 import journal_pb2, study_pb2, summary_pb2
from isthmus_methods import contract as c
from isthmus_methods.codec import array_from_message
from isthmus_methods.registry import METHODS, find
from isthmus_node.compute.answer import Cache, answer
from isthmus_node.compute.cohorts import Place, cohorts_of, listed_places
from isthmus_node.compute.normal import request_name
from isthmus_node.egress.auditor import Audit, Auditor
from isthmus_node.egress.gate import Cleared, Refusal, first_look, judge
from isthmus_node.egress.policy import Policy
from isthmus_node.egress.wire import Header, encode, encode_refusal
from isthmus_node.sources.table import Table
from isthmus_trust.documents import REFUSAL, SUMMARY, open_signed, read_canonical
from isthmus_trust.identity import IdentityKey

AGE, LAB = 97.0, 129.587
ARMS = ("A", "B")
NUMERIC, FACTOR = c.VariableType.NUMERIC, c.VariableType.FACTOR
KEY = IdentityKey.generate()
VARIABLES = {
    "age": c.Variable("age", NUMERIC, roles=frozenset({"QUASI_IDENTIFIER"})),
    "lab": c.Variable("lab", NUMERIC),
    "weight": c.Variable("weight", NUMERIC, may_be_missing=True),
    "visit": c.Variable("visit", NUMERIC),
    "arm": c.Variable("arm", FACTOR, levels=ARMS),
    "sex": c.Variable("sex", FACTOR, levels=("F", "M"), roles=frozenset({"QUASI_IDENTIFIER"})),
    "grade": c.Variable("grade", FACTOR, levels=("1", "2", "3"), roles=frozenset({"QUASI_IDENTIFIER"})),
    "centre": c.Variable("centre", FACTOR, levels=("N", "S"), roles=frozenset({"QUASI_IDENTIFIER"})),
}


def rows(persons: int = 60, seed: int = 7) -> dict[str, Any]:
    """Columns of one row a person; the victim is the first."""
    draw = np.random.default_rng(seed)
    found: dict[str, Any] = {
        "age": np.round(draw.uniform(40, 80, persons)),
        "lab": np.round(draw.uniform(90, 110, persons), 3),
        "weight": np.round(draw.uniform(50, 90, persons), 1),
        "visit": np.ones(persons),
        "arm": np.arange(persons) % 2,
        "sex": draw.integers(0, 2, persons),
        "grade": draw.integers(0, 3, persons),
        "centre": draw.integers(0, 2, persons),
        "name": [f"01-{n:04d}" for n in range(persons)],
    }
    for column, value in (("age", AGE), ("lab", LAB), ("weight", np.nan), ("arm", 1)):
        found[column][0] = value
    return found


def table(columns: Mapping[str, Any], dataset: str = "ADSL", variables: Mapping[str, c.Variable] = VARIABLES) -> Table:
    """The table of some columns; `name` says whose row it is."""
    names = tuple(dict.fromkeys(columns["name"]))
    place = {name: number for number, name in enumerate(names)}
    numbers = {
        v.name: np.ascontiguousarray(columns[v.name], np.float64) for v in variables.values() if v.type is NUMERIC
    }
    codes = {v.name: np.asarray(columns[v.name], np.int32) for v in variables.values() if v.type is FACTOR}
    subject = np.array([place[name] for name in columns["name"]], dtype=np.int32)
    digest = repr([*((k, v.tobytes()) for k, v in (*numbers.items(), *codes.items())), names]).encode()
    return Table(
        dataset, "NL", len(subject), variables, numbers, codes, {}, subject, len(names), digest,
        lambda: names, lambda: digest,
    )  # fmt: skip


class Journal:
    """What the auditor wants of one, in memory."""

    def __init__(self) -> None:
        self.records: list[journal_pb2.Record] = []

    def append(self, record: journal_pb2.Record) -> None:
        self.records.append(record)

    def audited(self) -> Mapping[str, bytes]:
        return {record.dataset: record.auditor_digest for record in self.records}


class Country:
    """Answers requests over one table after another; `guarded` False leaves the auditor out.

    `looks` : requests outside a plan are looked at before anything is summed, but for places in `listed`.
    """

    def __init__(
        self,
        policy: Policy,
        folder: Path,
        of: Table | None = None,
        *,
        guarded: bool = True,
        planned: bool = False,
        looks: bool = False,
    ) -> None:
        self.policy, self.folder, self.guarded, self.planned = policy, folder, guarded, planned
        self.looks, self.listed = looks, frozenset[Place]()
        self.table = table(rows()) if of is None else of
        self.journal = Journal()
        self.sent = b""
        self.events: Table | None = None
        self.restart()

    def restart(self) -> None:
        self.auditor = Auditor(self.folder, self.journal)

    def bytes_for(self, spec: c.Spec, purpose: int) -> bytes:
        events, policy = self.events, self.policy
        method = find(spec.method, spec.version)
        cache = Cache()
        listed = None if self.planned else self.listed
        audit = Audit(
            self.auditor,
            request_name(spec) + self.table.digest,
            lambda: cohorts_of(
                spec, self.table, method, cache.prepared(spec, self.table, method, events), events, None, listed
            ),
            self.planned,
            journal_pb2.Record(analysis="primary"),
        )
        verdict: Cleared | Refusal | None = None
        if self.looks:
            if not self.planned and not listed_places([(spec, method)]) <= self.listed:
                policy = policy.without_zeros()
            verdict = first_look(purpose, policy, audit.first_violation)
        if verdict is None:
            summary = answer(spec, self.table, {}, cache, method, events)
            word: Callable[[Any], Any] = audit.violation if self.guarded else lambda _: None
            verdict = judge(summary, c.leaving(method, spec.options), method.notes, purpose, policy, False, audit=word)
        header = Header(bytes(32), "nl", "NL")
        out = encode_refusal(verdict, header, KEY) if isinstance(verdict, Refusal) else encode(verdict, header, KEY)
        self.sent += out.payload
        return out.payload

    def ask(self, spec: c.Spec, purpose: int = study_pb2.TRIAL_ANALYSIS) -> str | dict[tuple[str, str], Any]:
        """What the coordinator reads from the bytes: the code of a refusal, or the values."""
        signed = read_canonical(self.bytes_for(spec, purpose), study_pb2.Signed)
        if signed.context == REFUSAL:
            return open_signed(signed, REFUSAL, summary_pb2.Refusal, KEY.public).code
        message = open_signed(signed, SUMMARY, summary_pb2.Summary, KEY.public)
        return {(i.field, i.label): array_from_message(i.value) for i in message.items if i.HasField("value")}

    def codes(self, *specs: c.Spec) -> list[str]:
        """`""` for each request that was answered, else the code."""
        return [found if isinstance(found := self.ask(spec), str) else "" for spec in specs]


def spec(method: str, where: c.Predicate | None = None, **more: Any) -> c.Spec:
    dataset = more.pop("dataset", "ADSL")
    variables = more.pop("variables", VARIABLES)
    return c.Spec(
        method, dataset, variables, more.pop("subject", "name"), where, version=METHODS[method].version, **more
    )


def model(where: c.Predicate | None = None, terms: Sequence[c.Column] = (c.Ref("arm"),), **more: Any) -> c.Spec:
    """A linear model of the laboratory value."""
    return spec(
        "linear_model", where, roles={"outcome": (c.Ref("lab"),)}, terms=tuple(c.Term((t,)) for t in terms), **more
    )


def is_(variable: str, operator: str, value: float | str) -> c.Comparison:
    return c.Comparison(variable, c.Operator(operator), value)
