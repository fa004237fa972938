"""How often a large model is in memory on its way: what Python and numpy take at most, as multiples of the model.

What is in files, and what the C library keeps back, is not counted here; the bench sees whole processes.
"""

from __future__ import annotations

import contextlib
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from flwr.serverapp.strategy import FedAvg

from isthmus.v1 import study_pb2, summary_pb2
from isthmus_coordinator.analyses.submission import Submission
from isthmus_methods.contract import Array
from isthmus_methods.summary_codec import LARGE, Serialised, state_from_bytes
from isthmus_methods.training import Training, state_of
from isthmus_node.egress.gate import Cleared, judge
from isthmus_node.egress.journal import Journal
from isthmus_node.egress.policy import DEFAULT_FILE, Policy
from isthmus_node.egress.wire import Header, encode
from isthmus_node.training.answer import answer_message
from isthmus_node.training.runner import Answered
from isthmus_node.training.runs import Run
from isthmus_training import flower
from isthmus_training.exchange import EXAMPLES, Ask, Carried, Reply
from isthmus_training.stored import StoredArrays, store
from isthmus_trust.documents import SUMMARY, open_in_place
from isthmus_trust.identity import IdentityKey

NUMBERS = 8_000_000
BYTES = 4 * NUMBERS
PERSONS = 400


class Watch:
    most = 0.0


@contextlib.contextmanager
def watched() -> Iterator[Watch]:
    """The most that was in memory while the block ran, in models."""
    watch = Watch()
    tracemalloc.start()
    try:
        yield watch
        watch.most = tracemalloc.get_traced_memory()[1] / BYTES
    finally:
        tracemalloc.stop()


def model() -> dict[str, Array]:
    return {"weights": cast("Array", np.zeros(NUMBERS, dtype=np.float32))}


def test_node_has_a_model_twice(tmp_path: Path) -> None:
    class App:
        offered = SimpleNamespace(metrics={})

        def ask(self, asked: Ask) -> Answered:
            assert asked.arrays["weights"].size == NUMBERS
            given = np.frombuffer(bytearray(BYTES), dtype="<f4")
            given[:] = 0.001
            return Answered({"weights": cast("Array", given)}, {})

    everybody = np.arange(PERSONS)
    none_held = np.zeros(PERSONS, dtype=np.bool_)
    shapes: Any = {"weights": ((NUMBERS,), np.dtype(np.float32))}
    app: Any = App()
    rows: Any = np.zeros(PERSONS)
    run = Run(cast("Any", None), b"", app, (), PERSONS, rows, everybody, none_held, shapes, {})
    task = summary_pb2.Task(round=2, message=summary_pb2.AppMessage(type="train"))
    policy, key = Policy.load(DEFAULT_FILE), IdentityKey.generate()
    sent = list(Serialised(state_of(model())).slices(1 << 20))
    with Journal.open(tmp_path) as journal, watched() as watch:
        body = bytearray()
        while sent:
            body += sent.pop(0)
        state = state_from_bytes(body)
        del body
        summary, trained = answer_message(run, task, state, None, lambda: pytest.fail("nothing is paid"))
        cleared = judge(summary, Training.leaves, (), study_pb2.TRIAL_ANALYSIS, policy, True, None, trained)
        del summary
        assert isinstance(cleared, Cleared)
        outbound = encode(cleared, Header(b"t" * 32, "jp", "JP"), key)
        del cleared
        assert journal.release(outbound).payload is outbound.payload
    assert 2.0 < watch.most < 2.4


def test_coordinator_has_an_answer_once(tmp_path: Path) -> None:
    key = IdentityKey.generate()
    summary = summary_pb2.Summary(node="jp")
    summary.items.add(field="arrays").value.floats = bytes(BYTES)
    payload = key.sign_parts(SUMMARY, [summary.SerializeToString()])
    with contextlib.closing(Submission(tmp_path)) as submission:
        for start in range(0, len(payload), 1 << 20):
            submission.add(payload[start : start + (1 << 20)])
        assert not list(tmp_path.iterdir())
        with watched() as watch:
            _, (numbers,) = open_in_place(submission.whole(), SUMMARY, summary_pb2.Summary, key.public, LARGE)
            assert len(numbers) == BYTES
    assert 1.0 <= watch.most < 1.4


@pytest.mark.parametrize(("countries", "stored", "least", "most"), [(3, True, 1.9, 2.9), (3, False, 4.5, 99.0)])
def test_strategy_has_one_model_beside_its_own_however_many_countries(
    tmp_path: Path, countries: int, stored: bool, least: float, most: float
) -> None:
    flower.identify(1, 0)

    def carry(ask: Ask, nodes: tuple[int, ...]) -> Carried:
        def given(arrays: dict[str, Array]) -> Any:
            return StoredArrays(*store(arrays, tmp_path)) if stored else arrays

        asked = given(dict(ask.arrays)) if stored else None
        replies = {n: Reply(given({"weights": ask.arrays["weights"] + np.float32(n)}), {EXAMPLES: 1.0}) for n in nodes}
        return Carried(replies, asked)

    start = model()
    strategy = FedAvg(fraction_evaluate=0.0)
    grid = flower.CarriedGrid(range(1, countries + 1), carry)
    with watched() as watch:
        trained = flower.run_strategy(strategy, grid, start, 2, keep_input=False)
    np.testing.assert_allclose(trained["weights"][:3], countries + 1)
    assert least < watch.most < most
