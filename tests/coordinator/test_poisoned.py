"""A country sends sums that no rows can have: nothing is pooled, and its signed answer is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from isthmus.v1 import summary_pb2
from isthmus_methods import codec, pooling
from isthmus_trust.documents import digest

from .conftest import Region


def poisoned(nodes: list[Any]) -> list[bytes]:
    """The second country says that a cell holds less than nobody; its answers, as they are handed in."""
    honest, submit = nodes[1].summary, nodes[1].submit
    sent: list[bytes] = []

    def summary(task: bytes, state: Any) -> summary_pb2.Summary:
        made: summary_pb2.Summary = honest(task, state)
        made.items.add(field="cells", label="arm", value=codec.array_to_message(np.array([-4, 9])))
        return made

    def handed_in(signed: Any, task: bytes) -> bytes:
        sent.append(signed.SerializeToString(deterministic=True))
        return bytes(submit(signed, task))

    nodes[1].summary, nodes[1].submit = summary, handed_in
    for node in nodes:
        node.attach()
    return sent


def test_false_sums_are_in_the_result_where_the_guard_is_left_out(
    region: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pooling, "check_plausible", lambda *_: None)
    nodes = region.nodes("nl", "be")
    poisoned(nodes)
    assert region.result(region.submit(region.approved(nodes), "fail")).state == "done"


@pytest.mark.parametrize("analysis", ["fail", "go-on"])
def test_run_with_false_sums_ends_and_names_country_rule_and_signed_answer(region: Region, analysis: str) -> None:
    nodes = region.nodes("nl", "be")
    sent = poisoned(nodes)
    result = region.result(region.submit(region.approved(nodes), analysis))
    assert (result.state, result.failure.code, result.failure.exit_code) == ("failed", "IMPLAUSIBLE", 11)
    assert "BE sent sums that no rows can have, at cells[arm]" in result.failure.message
    assert digest(sent[0]).hex() in result.failure.message
