"""A model that is too large to come with its task: fetched, held against what was signed, or nothing leaves."""

from __future__ import annotations

import hashlib
from typing import Any

import grpc
import numpy as np
import pytest
from training_site import RUN, asked, message, state, training, values

from isthmus.v1 import exchange_pb2, summary_pb2

pytestmark = pytest.mark.processes


class Apart:
    """The coordinator's side of a state that does not come with its task."""

    def __init__(self, site: Any, parts: list[bytes], failures: int = 0) -> None:
        self.parts, self.failures, self.asked, self.cancelled = parts, failures, 0, False
        site.wire.FetchState = self

    def __call__(self, request: Any, timeout: float) -> Any:
        self.asked += 1
        self.task = request.task
        if self.asked <= self.failures:
            raise Away
        return self

    def __iter__(self) -> Any:
        return iter(exchange_pb2.StatePart(part=part) for part in self.parts)

    def cancel(self) -> None:
        self.cancelled = True


class Away(grpc.RpcError):
    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNAVAILABLE


def large(body: bytes) -> dict[str, Any]:
    return {"round": 2, "state_digest": hashlib.sha256(body).digest(), "state_bytes": len(body)}


STATE = summary_pb2.State(arrays=state([0.3, -0.2], 0.1)).SerializeToString(deterministic=True)


def test_state_that_comes_apart_is_answered_as_one_that_comes_with_the_task(trains: Any) -> None:
    asked(trains)
    with_it = values(asked(trains, round=2, state=state([0.3, -0.2], 0.1)))
    apart = Apart(trains, [STATE[:20], STATE[20:]])
    without = values(asked(trains, **large(STATE)))
    assert apart.task
    np.testing.assert_array_equal(without["arrays", "weights"], with_it["arrays", "weights"])


def test_state_that_cannot_be_fetched_is_fetched_again_and_nothing_leaves_before(trains: Any, lines: Any) -> None:
    apart = Apart(trains, [STATE], failures=1)
    trains.ask(trains.task(analysis="", spec=training(), run=RUN, message=message(), **large(STATE)))
    assert not trains.wire.submitted
    assert lines.named("state-not-fetched")
    trains.service.settle_again()
    trains.service.work_off()
    assert apart.asked == 2
    assert values(trains.answers()[-1])["examples", ""].tolist() == [400]


@pytest.mark.parametrize("parts", [[STATE[:-1]], [STATE[:-1] + b"x"], [STATE, b"more"]], ids=["less", "other", "more"])
def test_state_that_is_not_the_signed_one_is_refused(trains: Any, parts: list[bytes]) -> None:
    apart = Apart(trains, parts)
    assert asked(trains, **large(STATE)).code == "WRONG_STATE"
    assert apart.cancelled == (len(parts) > 1)


def test_state_larger_than_any_model_is_not_fetched(trains: Any) -> None:
    apart = Apart(trains, [])
    assert asked(trains, **{**large(STATE), "state_bytes": 1 << 31}).code == "TOO_LARGE"
    assert apart.asked == 0
