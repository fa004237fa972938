"""How long an answer is tells its shapes and nothing else: with the padding left out, and in place."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from isthmus.v1 import study_pb2, summary_pb2
from isthmus_methods.contract import CellSupport, Field, Item, Kind, Summary
from isthmus_node.egress import wire
from isthmus_node.egress.frames import FRAME, pad, room_of
from isthmus_node.egress.gate import Cleared, judge, refuse
from isthmus_node.egress.policy import Policy
from isthmus_node.egress.wire import Header, Outbound, encode, encode_refusal
from isthmus_trust.documents import SUMMARY, canonical, open_signed, read_canonical
from isthmus_trust.identity import IdentityKey

TRIAL = study_pb2.TRIAL_ANALYSIS
LEAVES = {"count": Field(Kind.COUNT, "persons", required=False), "table": Field(Kind.COUNT, "persons")}
NOTES = ("ROUNDED", "A_LEVEL_IS_MISSING", "NO_ROWS")
Answer = Callable[..., Outbound]


@pytest.fixture
def answer(policy: Policy, header: Callable[[str], Header], key: IdentityKey) -> Answer:
    """The bytes that leave for counts of two fields: `count` may be withheld, for `table` all is refused."""

    def made(count: np.ndarray, table: np.ndarray, notes: tuple[str, ...] = ()) -> Outbound:
        items = tuple(
            Item(name, cells, CellSupport(cells, axis=None), "sex")
            for name, cells in (("count", count), ("table", table))
        )
        verdict = judge(Summary(items, frozenset(notes)), LEAVES, NOTES, TRIAL, policy, False, lambda _: None)
        if isinstance(verdict, Cleared):
            return encode(verdict, header("t"), key)
        return encode_refusal(verdict, header("t"), key)

    return made


def cells(value: int, size: int) -> np.ndarray:
    return np.full(size, value)


# What depends on the rows behind an answer of one shape: how large numbers are, what is withheld, notes, a refusal.
ALIKE: dict[str, Callable[[Answer, int], Outbound]] = {
    "small numbers": lambda answer, n: answer(cells(50, n), cells(50, n)),
    "a number over a border of its encoding": lambda answer, n: answer(cells(64, n), cells(50, n)),
    "large numbers": lambda answer, n: answer(cells(1_000_000, n), cells(999_999, n)),
    "zeros": lambda answer, n: answer(cells(0, n), cells(0, n)),
    "a field withheld": lambda answer, n: answer(cells(1, n), cells(50, n)),
    "a note": lambda answer, n: answer(cells(50, n), cells(50, n), ("ROUNDED", "A_LEVEL_IS_MISSING")),
    "a refusal": lambda answer, n: answer(cells(50, n), cells(1, n)),
}


@pytest.mark.parametrize("size", [4, 700, 5000])
def test_answers_of_one_shape_have_one_length(answer: Answer, size: int) -> None:
    lengths = {what: len(make(answer, size).payload) for what, make in ALIKE.items()}
    assert len(set(lengths.values())) == 1, lengths


@pytest.mark.parametrize("size", [4, 5000])
def test_length_tells_each_of_them_where_nothing_is_padded(
    answer: Answer, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "pad", lambda *_: None)
    lengths = {what: len(make(answer, size).payload) for what, make in ALIKE.items()}
    assert len(set(lengths.values())) >= 5, lengths


def test_refusals_for_any_reason_have_the_length_of_a_small_answer(
    answer: Answer, header: Callable[[str], Header], key: IdentityKey, policy: Policy
) -> None:
    small = len(answer(cells(50, 4), cells(50, 4)).payload)
    for error in (ValueError("P17"), KeyError("x" * 10_000), MemoryError()):
        assert len(encode_refusal(refuse(error, TRIAL, policy), header("t"), key).payload) == small


def test_padding_is_zeros_and_part_of_what_is_signed(answer: Answer, key: IdentityKey) -> None:
    out = answer(cells(50, 4), cells(50, 4))
    signed = read_canonical(out.payload, study_pb2.Signed)
    summary = open_signed(signed, SUMMARY, summary_pb2.Summary, key.public)
    assert len(signed.body) == FRAME
    assert not b"".join(summary.padding).strip(b"\0")


@settings(max_examples=200)
@given(st.integers(0, 40_000), st.integers(0, 50_000))
def test_every_length_is_filled_up_to_whole_frames(bare: int, room: int) -> None:
    summary = summary_pb2.Summary(task=bytes(bare))
    least = summary.ByteSize()
    pad(summary, room)
    length = len(canonical(summary))
    assert length % FRAME == 0
    assert least <= length
    assert room <= length < max(room, least + 2) + FRAME


@pytest.mark.parametrize("missing", [2, 3, 129, 130, 131, 132, 16386, 16387, 16388, 16389])
def test_lengths_that_one_padding_cannot_have_are_reached(missing: int) -> None:
    for tag in range(8):
        summary = summary_pb2.Summary(task=bytes(5 * FRAME - missing - 4 + tag - 4))
        pad(summary, 0)
        assert len(canonical(summary)) % FRAME == 0


def test_room_is_enough_for_what_can_stand_in_it() -> None:
    """A number beyond what is foreseen takes more room, and says so by its own size only."""
    huge = Item("count", np.array([1 << 52, 0]), CellSupport(np.array([1, 2])), "sex")
    usual = Item("count", np.array([5, 0]), CellSupport(np.array([1, 2])), "sex")
    assert room_of([huge], ()) > room_of([usual], ()) > room_of([], ())
    assert room_of([Item("count", "text", CellSupport(np.array([1])), "sex")], ()) > 0  # type: ignore[arg-type]
