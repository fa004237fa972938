"""Whatever goes wrong inside a country, its text stays there: one marker, thrown at every step of a task's way."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from isthmus.errors import DataError, IsthmusError, MethodError
from isthmus.v1 import summary_pb2
from isthmus_methods.registry import METHODS
from isthmus_node import admission, answering
from isthmus_node.catalogue import Datasets
from isthmus_node.egress import gate

compute = importlib.import_module("isthmus_node.compute.answer")  # the package has a function of that name

MARKER = "P17 97 years 129.587"
ERRORS: tuple[Callable[[], BaseException], ...] = (
    lambda: ValueError(f"could not convert string to float: {MARKER!r}"),
    lambda: KeyError(MARKER),
    lambda: MemoryError(MARKER),
    lambda: DataError("WRONG_TYPE", f"AGE holds {MARKER}", f"correct {MARKER}"),
    lambda: MethodError("WRONG_OUTCOME", f"a row holds {MARKER}", f"leave {MARKER} out"),
    lambda: IsthmusError(MARKER, MARKER, MARKER),
)
# Where it is thrown: every step between an order and its answer that looks at rows or at what was made of them.
PLACES = {
    "the source": (Datasets, "load"),
    "the register": (Datasets, "get"),
    "the rows": (compute, "prepare"),
    "the request": (compute, "check_request"),
    "the design": (compute, "design_of"),
    "the method": (answering, "answer"),
    "the gate": (answering, "judge"),
    "the wire": (answering, "encode"),
    "the state": (answering.codec, "state_from_messages"),
    "the plan": (admission, "check_spec"),
    "the index": (admission, "find_procedure"),
    "the snapshot": (answering.Answering, "_check_snapshot"),
}


def everything(site: Any, lines: Any) -> str:
    """All bytes that left, all that is in the journal and all that was logged, as one text."""
    sent = b"".join(site.wire.submitted)
    kept = b"".join(path.read_bytes() for path in site.home.journal.rglob("*") if path.is_file())
    return (sent + kept).decode("latin-1") + lines.stream.getvalue()


def throw(error: Callable[[], BaseException]) -> Callable[..., Any]:
    def thrown(*_: object, **__: object) -> Any:
        raise error()

    return thrown


@pytest.mark.parametrize("place", PLACES)
def test_text_of_an_error_stays_in_the_country(
    site: Any, lines: Any, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, make in enumerate(ERRORS):
        with monkeypatch.context() as patch:
            patch.setattr(*PLACES[place], throw(make))
            site.ask(site.task(run=number.to_bytes(16, "big")))
        refusal = site.answers()[number]
        assert isinstance(refusal, summary_pb2.Refusal)
        assert refusal.code.isupper()
        assert MARKER not in everything(site, lines), make
    # the node goes on with the next task
    site.ask(site.task(run=b"another run 1234"))
    assert isinstance(site.answers()[-1], summary_pb2.Summary)


def test_error_in_the_middle_of_a_method_stays_in_the_country(
    site: Any, lines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Quotes:
        def __getattr__(self, name: str) -> Any:
            return getattr(METHODS["cox"], name)

        def fold(self, block: Any, *_: object) -> Any:
            # as pandas and numpy do, it quotes what it could not use
            raise ValueError(f"{MARKER} in {block.columns['time'][0][:3]}")

    monkeypatch.setattr(admission, "find_procedure", lambda *_: Quotes())
    site.ask(site.task())
    assert site.answers()[0].code == "BUG"
    assert MARKER not in everything(site, lines)


def test_text_of_an_error_leaves_where_the_gate_does_not_hold_it_back(
    site: Any, lines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Off: a node whose refusals say what the error said."""

    def tells(error: BaseException, *rest: Any, **more: Any) -> gate.Refusal:
        return replace(gate.refuse(error, *rest, **more), rule=str(error), seal=gate._SEAL)

    monkeypatch.setattr(answering, "refuse", tells)
    monkeypatch.setattr(*PLACES["the rows"], throw(ERRORS[0]))
    site.ask(site.task())
    assert MARKER in site.wire.submitted[0].decode("latin-1")


def test_code_of_an_error_is_a_code_or_bug(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*PLACES["the rows"], throw(ERRORS[-1]))
    site.ask(site.task())
    assert site.answers()[0].code == "BUG"
