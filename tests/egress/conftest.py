"""A site's policy, key and header, and ways to judge one field and to write a journal."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from isthmus.v1 import study_pb2
from isthmus_methods.contract import Field, Item, Kind, MetricSupport, ModelSupport, Summary, UpdateSupport
from isthmus_node.egress import wire
from isthmus_node.egress.gate import Cleared, Refusal, judge
from isthmus_node.egress.policy import DEFAULT_FILE, Policy
from isthmus_node.egress.update_rules import Trained
from isthmus_node.egress.wire import Header, Outbound, encode, encode_refusal
from isthmus_trust.identity import IdentityKey

JudgeOne = Callable[..., Cleared | Refusal]
Answer = Callable[..., Outbound]


@pytest.fixture(scope="session")
def policy() -> Policy:
    return Policy.load(DEFAULT_FILE)


@pytest.fixture(scope="session")
def key() -> IdentityKey:
    return IdentityKey.generate()


@pytest.fixture(scope="session")
def header() -> Callable[[str], Header]:
    def make(task: str) -> Header:
        return Header(
            task=hashlib.sha256(task.encode()).digest(),
            node="nl",
            country="NL",
            study="PATHWAY-ASIA",
            study_digest=bytes(32),
            analysis="primary",
            run=b"0123456789abcdef",
            round=2,
            dataset_digest=bytes(range(32)),
            software="0.1.0",
        )

    return make


@pytest.fixture(scope="session")
def judge_items(policy: Policy) -> JudgeOne:
    """Judge items of one kind; by default for a trial, the field required."""

    def run(
        items: Item | Sequence[Item],
        kind: Kind,
        *,
        purpose: int = study_pb2.TRIAL_ANALYSIS,
        required: bool = True,
        open_data: bool = False,
        under: Policy = policy,
    ) -> Cleared | Refusal:
        several = (items,) if isinstance(items, Item) else tuple(items)
        leaves = {item.field: Field(kind, "numbers", required=required) for item in several}
        arrays = {i.label: np.shape(i.value) for i in several if isinstance(i.support, UpdateSupport)}
        measures = {i.label: (i.support.low, i.support.high) for i in several if isinstance(i.support, MetricSupport)}
        return judge(Summary(several), leaves, (), purpose, under, open_data, lambda _: None, Trained(arrays, measures))

    return run


@pytest.fixture(scope="session")
def sent(header: Callable[[str], Header], key: IdentityKey) -> Callable[[Cleared | Refusal], bytes]:
    """The bytes that would leave."""

    def run(verdict: Cleared | Refusal) -> bytes:
        if isinstance(verdict, Cleared):
            return encode(verdict, header("t"), key).payload
        return encode_refusal(verdict, header("t"), key).payload

    return run


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture(scope="session")
def answer(policy: Policy, header: Callable[[str], Header], key: IdentityKey) -> Callable[..., Outbound]:
    """An outbound answer to a task, of a size in numbers; `by_hand`: under a policy that has a person see it first."""

    def make(task: str, size: int = 4, value: float = 1.5, by_hand: bool = False) -> Outbound:
        support = ModelSupport(60, 2, effective_persons=60.0, leverage=0.1)
        several = tuple(Item("score", np.full(min(16, size - k), value), support, str(k)) for k in range(0, size, 16))
        leaves = {"score": Field(Kind.SCORE, "score")}
        under = replace(policy, outputs="ask") if by_hand else policy
        verdict = judge(Summary(several), leaves, (), study_pb2.TRIAL_ANALYSIS, under, False, audit=lambda _: None)
        assert isinstance(verdict, Cleared)
        return encode(verdict, header(task), key)

    return make


@pytest.fixture
def short_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal keeps whatever bytes it is given: without padding, every single one of them can be tried."""
    monkeypatch.setattr(wire, "pad", lambda *_: None)
