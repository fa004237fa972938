"""The method in CONTRIBUTING works as it stands there: exact, additive, and judged by the gate."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from isthmus.v1 import study_pb2
from isthmus_methods.contract import (
    Block,
    Method,
    Ref,
    Spec,
    Variable,
    VariableType,
)
from isthmus_methods.in_process import pool_in_process, summarise
from isthmus_node.egress.gate import Cleared, Refusal, judge
from isthmus_node.egress.policy import Policy

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
SPEC = Spec(
    method="incidence_rate",
    dataset="ADTTE",
    variables={
        "AVAL": Variable("AVAL", VariableType.NUMERIC, unit="days"),
        "EVENT": Variable("EVENT", VariableType.INTEGER),
        "ARM": Variable("ARM", VariableType.FACTOR, levels=("A", "B")),
    },
    subject="USUBJID",
    roles={"time": (Ref("AVAL"),), "event": (Ref("EVENT"),), "arm": (Ref("ARM"),)},
)
POLICY = Policy.read("[purpose.trial_analysis]\n")


@pytest.fixture(scope="module")
def method() -> Iterator[Method]:
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    module = ModuleType("method_of_the_page")
    sys.modules[module.__name__] = module  # dataclasses look their module up
    exec(compile(code, "CONTRIBUTING.md", "exec"), module.__dict__)
    yield module.IncidenceRate()
    del sys.modules[module.__name__]


def rows(number: int, seed: int) -> dict[str, np.ndarray]:
    chance = np.random.default_rng(seed)
    return {
        "time": chance.exponential(100.0, number) + 1.0,
        "event": (chance.random(number) < 0.4).astype(np.float64),
        "arm": chance.integers(0, 2, number),
    }


def block(taken: Mapping[str, np.ndarray], subject: np.ndarray | None = None) -> Block:
    number = len(taken["time"])
    return Block(
        country="NL",
        rows=number,
        columns={"time": (taken["time"],), "event": (taken["event"],), "arm": (taken["arm"],)},
        levels={"arm": (("A", "B"),)},
        subject=np.arange(number) if subject is None else subject,
    )


def blocks(taken: Mapping[str, np.ndarray], sizes: Sequence[int]) -> list[Block]:
    ends = np.cumsum(sizes)
    every = np.arange(len(taken["time"]))
    return [
        block({name: column[end - size : end] for name, column in taken.items()}, every[end - size : end])
        for size, end in zip(sizes, ends, strict=True)
    ]


def test_method_of_the_page_is_one(method: Method) -> None:
    assert isinstance(method, Method)
    assert SPEC.method == method.name


def test_pooled_rates_equal_those_of_the_pooled_rows(method: Method) -> None:
    countries = {"NL": rows(60, 1), "BE": rows(80, 2), "DE": rows(50, 3)}
    answer, rounds = pool_in_process(method, {c: [block(r)] for c, r in countries.items()}, SPEC)
    pooled = {name: np.concatenate([r[name] for r in countries.values()]) for name in ("time", "event", "arm")}
    assert rounds == 1
    for code, arm in enumerate("AB"):
        mine = pooled["arm"] == code
        found = answer.answer["rates"][arm]
        assert (found["persons"], found["events"]) == (mine.sum(), pooled["event"][mine].sum())
        # sums in another order differ in their last bits
        assert found["rate"] == pytest.approx(pooled["event"][mine].sum() / pooled["time"][mine].sum(), rel=1e-12)


def test_rows_may_come_in_any_blocks_and_a_country_may_be_empty(method: Method) -> None:
    taken = rows(60, 4)
    whole, _ = pool_in_process(method, {"NL": [block(taken)]}, SPEC)
    split, _ = pool_in_process(method, {"NL": blocks(taken, [1, 19, 40]), "BE": []}, SPEC)
    for arm in "AB":
        assert split.answer["rates"][arm]["rate"] == pytest.approx(whole.answer["rates"][arm]["rate"], rel=1e-12)


def test_gate_clears_it_and_refuses_a_small_cell(method: Method) -> None:
    def judged(taken: Mapping[str, np.ndarray], subject: np.ndarray | None = None) -> Cleared | Refusal:
        summary = summarise(method, [block(taken, subject)], SPEC, {})
        return judge(
            summary,
            method.leaves,
            method.notes,
            study_pb2.TRIAL_ANALYSIS,
            POLICY,
            open_data=False,
            audit=lambda _: None,
        )

    taken = rows(200, 5)
    assert isinstance(judged(taken), Cleared)
    rare = {**taken, "event": np.where(np.arange(200) < 3, 1.0, 0.0)}
    refused = judged(rare)
    assert isinstance(refused, Refusal)
    assert refused.code == "SMALL_CELL"
    # the same few persons, each repeated: persons are counted, and not rows
    repeated = judged(taken, np.arange(200) % 4)
    assert isinstance(repeated, Refusal)


def test_every_target_of_the_makefile_on_the_page_is_there() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"^make ([a-z]+)", PAGE, re.MULTILINE))
    assert named
    assert named <= targets
