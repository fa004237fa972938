"""The exact bytes: canonical, signed, and nothing in them that the gate did not clear."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from isthmus.errors import AuthenticationError
from isthmus.v1 import study_pb2, summary_pb2
from isthmus_methods.codec import array_from_message
from isthmus_methods.contract import CellSupport, Field, Item, Kind, Summary, SumSupport, UpdateSupport
from isthmus_node.egress.gate import Cleared, Refusal, judge, refuse
from isthmus_node.egress.policy import Policy
from isthmus_node.egress.update_rules import Trained
from isthmus_node.egress.wire import Header, encode, encode_refusal
from isthmus_trust.documents import REFUSAL, SUMMARY, canonical, digest, open_signed, read_canonical
from isthmus_trust.identity import IdentityKey

TRIAL = study_pb2.TRIAL_ANALYSIS
POLICY = Policy.read("[purpose.trial_analysis]")
LEAVES = {
    "count": Field(Kind.COUNT, "persons", required=False),
    "sum": Field(Kind.SUM, "sum", "millimetre"),
}


@pytest.fixture
def cleared(policy: Policy) -> Cleared:
    cells, small = np.array([[20, 30], [25, 0]]), np.array([[20, 3], [25, 12]])
    sums = SumSupport(
        np.array([50, 25]), np.array([9.5, 9.0]), np.array([9.0, 8.0]), np.array([129.5, 80.25]), np.array([True, True])
    )
    summary = Summary(
        (
            Item(
                "count", cells, CellSupport(cells, axis=1), "sex", (("treatment arm", ("A", "B")), ("sex", ("F", "M")))
            ),
            Item(
                "count",
                small,
                CellSupport(small, axis=1),
                "line",
                (("treatment arm", ("A", "B")), ("line", ("1", "2"))),
            ),
            Item("sum", np.array([129.5, -80.25]), sums, "size", (("treatment arm", ("A", "B")),)),
        ),
        frozenset({"ROUNDED"}),
    )
    verdict = judge(summary, LEAVES, {"ROUNDED"}, TRIAL, policy, False, audit=lambda _: None)
    assert isinstance(verdict, Cleared)
    return verdict


def test_summary_says_what_was_cleared_and_nothing_else(
    cleared: Cleared, header: Callable[[str], Header], key: IdentityKey, policy: Policy
) -> None:
    head = header("task")
    out = encode(cleared, head, key)
    signed = read_canonical(out.payload, study_pb2.Signed)
    summary = open_signed(signed, SUMMARY, summary_pb2.Summary, key.public)
    assert (summary.task, summary.node, summary.country, summary.software) == (head.task, "nl", "NL", "0.1.0")
    assert (summary.policy_digest, summary.dataset_digest) == (policy.digest, head.dataset_digest)
    assert list(summary.notes) == ["ROUNDED"]
    assert [(i.field, i.label, i.withheld_by) for i in summary.items] == [
        ("count", "sex", ""),
        ("count", "line", "SMALL_CELL"),
        ("sum", "size", ""),
    ]
    assert not summary.items[1].HasField("value")
    counts, sums = array_from_message(summary.items[0].value), array_from_message(summary.items[2].value)
    assert (counts.dtype, counts.tolist()) == (np.int64, [[20, 30], [25, 0]])
    assert (sums.dtype, sums.tolist()) == (np.float64, [129.5, -80.25])


def test_what_people_read_at_the_site_does_not_leave(
    cleared: Cleared, header: Callable[[str], Header], key: IdentityKey
) -> None:
    out = encode(cleared, header("task"), key)
    assert "treatment arm (A, B)" in out.words
    for local in (b"treatment", b"PATHWAY", b"primary", b"millimetre", b"persons"):
        assert local not in out.payload


def test_equal_summaries_give_equal_bytes(cleared: Cleared, header: Callable[[str], Header], key: IdentityKey) -> None:
    one, two = encode(cleared, header("task"), key), encode(cleared, header("task"), key)
    assert one.payload == two.payload
    assert one.digest == digest(one.payload)
    assert encode(cleared, header("other"), key).digest != one.digest


def test_refusal_is_signed_as_a_refusal(header: Callable[[str], Header], key: IdentityKey, policy: Policy) -> None:
    cells = np.array([1, 30])
    leaves = {"count": Field(Kind.COUNT, "persons")}
    verdict = judge(
        Summary((Item("count", cells, CellSupport(cells)),)), leaves, (), TRIAL, policy, False, audit=lambda _: None
    )
    assert isinstance(verdict, Refusal)
    out = encode_refusal(verdict, header("task"), key)
    signed = read_canonical(out.payload, study_pb2.Signed)
    message = open_signed(signed, REFUSAL, summary_pb2.Refusal, key.public)
    assert (message.code, message.field, message.node, message.task) == (
        "SMALL_CELL",
        "count",
        "nl",
        header("task").task,
    )
    assert (out.event, out.policy_digest, out.purpose) == ("REFUSED", policy.digest, TRIAL)
    with pytest.raises(AuthenticationError):
        open_signed(signed, SUMMARY, summary_pb2.Summary, key.public)


def test_refusals_for_one_reason_have_one_size(
    header: Callable[[str], Header], key: IdentityKey, judge_items: Callable[..., Cleared | Refusal]
) -> None:
    sizes = set()
    for small in (1, 2, 3, 4):
        cells = np.array([small, 1000 - small])
        verdict = judge_items(Item("count", cells, CellSupport(cells)), Kind.COUNT)
        assert isinstance(verdict, Refusal)
        sizes.add(encode_refusal(verdict, header("task"), key).payload)
    assert len(sizes) == 1


def test_refusal_before_any_rows_were_read_can_leave(header: Callable[[str], Header], key: IdentityKey) -> None:
    head = replace(header("task"), dataset_digest=b"")
    out = encode_refusal(refuse(ValueError("x")), head, key)
    assert (out.event, out.policy_digest, out.purpose) == ("REFUSED", b"", 0)


SHAPES = [(), (0,), (1,), (15,), (16,), (4, 4), (0, 3), (127,), (128,), (2049,), (16_384,), (700_000,)]


@pytest.mark.parametrize("kind", ["float32", "float64", "other order", "not contiguous"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_bytes_put_together_from_parts_are_the_messages_own(
    shape: tuple[int, ...], kind: str, key: IdentityKey
) -> None:
    value = np.random.default_rng(1).standard_normal(shape)
    if kind == "float32":
        value = value.astype(np.float32)
    support = UpdateSupport(1, 1, value.size, 0.0, np.inf, 0.0)
    item = Item("arrays", value, support, "w")
    verdict = judge(
        Summary((item,)), {"arrays": Field(Kind.UPDATE, "")}, (), TRIAL, POLICY, True, None, Trained({"w": shape})
    )
    assert isinstance(verdict, Cleared)
    (clear,) = verdict.items
    if kind == "other order":
        object.__setattr__(clear, "value", value.astype(">f8"))
    if kind == "not contiguous":
        object.__setattr__(clear, "value", np.repeat(value[..., None], 2, axis=-1)[..., 1])
    out = encode(verdict, Header(bytes(32), "nl", "NL"), key)
    # read as canonical: written again as whole messages they are the same bytes
    signed = read_canonical(out.payload, study_pb2.Signed)
    left = open_signed(signed, SUMMARY, summary_pb2.Summary, key.public)
    np.testing.assert_array_equal(array_from_message(left.items[0].value), value)
    assert array_from_message(left.items[0].value).dtype == value.dtype
    assert canonical(key.sign(SUMMARY, signed.body)) == out.payload
