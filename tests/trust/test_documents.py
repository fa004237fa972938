"""Canonical bytes and signed documents: one document, one form, one kind, one signer."""

from __future__ import annotations

import random

import pytest
from google.protobuf.internal.decoder import _DecodeVarint
from google.protobuf.internal.encoder import _VarintBytes
from google.protobuf.message import Message
from hypothesis import assume, given, strategies as st

from isthmus.errors import AuthenticationError
from isthmus.v1 import journal_pb2, spec_pb2, study_pb2, summary_pb2, values_pb2
from isthmus_trust import documents
from isthmus_trust.documents import canonical, check_proof, digest, open_signed, prove, read_canonical
from isthmus_trust.identity import IdentityKey

KEY, OTHER = IdentityKey.generate(), IdentityKey.generate()
CONTEXTS = (
    documents.STUDY,
    documents.TASK,
    documents.SUMMARY,
    documents.REFUSAL,
    documents.DECISION,
    documents.ENROLMENT,
)

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
numbers = st.floats(allow_nan=False)
arrays = st.builds(
    values_pb2.Array, shape=st.lists(st.integers(0, 9), max_size=3), doubles=st.binary(max_size=16)
) | st.builds(values_pb2.Array, counts=st.builds(values_pb2.Counts, values=st.lists(st.integers(-(2**63), 2**63 - 1))))
items = st.builds(summary_pb2.Item, field=names, label=names, value=st.none() | arrays, withheld_by=names)
summaries = st.builds(
    summary_pb2.Summary,
    task=st.binary(max_size=32),
    node=names,
    country=names,
    items=st.lists(items, max_size=3),
    notes=st.lists(names, max_size=2),
    software=names,
)
comparisons = st.builds(
    spec_pb2.Comparison, variable=names, operator=st.integers(0, 6), value=st.builds(spec_pb2.Literal, number=numbers)
)
predicates = st.recursive(
    st.builds(spec_pb2.Predicate, comparison=comparisons),
    lambda inner: (
        st.builds(spec_pb2.Predicate, negation=inner)
        | st.builds(spec_pb2.Predicate, all=st.builds(spec_pb2.Predicates, predicates=st.lists(inner, max_size=2)))
    ),
    max_leaves=4,
)
tasks = st.builds(
    summary_pb2.Task,
    study_digest=st.binary(max_size=32),
    analysis=names,
    run=st.binary(max_size=16),
    round=st.integers(0, 2**32 - 1),
    spec=st.builds(spec_pb2.Spec, method=names, where=st.none() | predicates),
    state=st.lists(st.builds(values_pb2.NamedArray, name=names, array=arrays), max_size=2),
    participants=st.lists(names, max_size=3),
    deadline=st.integers(0, 2**62),
)
messages = summaries | tasks


def fields_of(body: bytes) -> list[bytes]:
    """The top-level fields of a message's bytes, each with its tag."""
    fields, at = [], 0
    while at < len(body):
        start = at
        tag, at = _DecodeVarint(body, at)
        match tag & 7:
            case 0:
                _, at = _DecodeVarint(body, at)
            case 1:
                at += 8
            case 2:
                size, at = _DecodeVarint(body, at)
                at += size
            case 5:
                at += 4
        fields.append(body[start:at])
    return fields


def number_of(field: bytes) -> int:
    return _DecodeVarint(field, 0)[0] >> 3


@given(messages)
def test_canonical_bytes_read_back_to_the_same_message(message: Message) -> None:
    body = canonical(message)
    assert read_canonical(body, type(message)) == message
    assert canonical(read_canonical(body, type(message))) == body


@given(messages, st.randoms(use_true_random=False))
def test_order_of_fields_on_the_wire_changes_nothing(message: Message, chance: random.Random) -> None:
    body = canonical(message)
    fields = fields_of(body)
    # fields of one number stand for a list, whose order means something
    shuffled = sorted(set(map(number_of, fields)), key=lambda _: chance.random())
    reordered = b"".join(field for number in shuffled for field in fields if number_of(field) == number)
    again = type(message)()
    again.ParseFromString(reordered)
    assert again == message
    assert canonical(again) == body
    if reordered != body:
        with pytest.raises(AuthenticationError, match="canonical"):
            open_signed(KEY.sign(documents.TASK, reordered), documents.TASK, type(message), KEY.public)


@given(summaries)
def test_order_of_setting_changes_nothing(message: summary_pb2.Summary) -> None:
    again = summary_pb2.Summary()
    for descriptor, value in reversed(message.ListFields()):
        if descriptor.is_repeated:
            getattr(again, descriptor.name).extend(value)
        else:
            setattr(again, descriptor.name, value)
    assert canonical(again) == canonical(message)


@given(messages, st.integers(20, 2**20), st.binary(min_size=1, max_size=20))
def test_unknown_field_is_refused(message: Message, number: int, hidden: bytes) -> None:
    smuggled = canonical(message) + _VarintBytes(number << 3 | 2) + _VarintBytes(len(hidden)) + hidden
    carrier = type(message)()
    carrier.ParseFromString(smuggled)
    # with the guard off, protobuf carries the hidden bytes along and writes them again
    assert hidden in carrier.SerializeToString(deterministic=True)
    with pytest.raises(AuthenticationError) as caught:
        canonical(carrier)
    assert caught.value.code == "UNKNOWN_FIELDS"
    with pytest.raises(AuthenticationError) as caught:
        open_signed(KEY.sign(documents.TASK, smuggled), documents.TASK, type(message), KEY.public)
    assert caught.value.code == "NOT_CANONICAL"


def test_unknown_field_deep_inside_is_refused() -> None:
    # Summary{items: Item{value: Array{15: "x"}}}
    inner = _VarintBytes(15 << 3 | 2) + b"\x01x"
    item = b"\x1a" + _VarintBytes(len(inner)) + inner
    body = b"\x22" + _VarintBytes(len(item)) + item
    carrier = summary_pb2.Summary.FromString(body)
    assert carrier.SerializeToString(deterministic=True) == body
    with pytest.raises(AuthenticationError):
        canonical(carrier)
    with pytest.raises(AuthenticationError):
        read_canonical(body, summary_pb2.Summary)


@pytest.mark.parametrize(
    "body",
    [
        b"\x0a\x01a\x0a\x01b",  # one field twice: the last would win
        b"\x0a\x00",  # a default written out
        b"\x20\x81\x00",  # a number with an idle byte
    ],
    ids=["twice", "default", "overlong"],
)
def test_second_form_of_the_same_task_is_refused(body: bytes) -> None:
    summary_pb2.Task.FromString(body)  # protobuf itself takes it
    with pytest.raises(AuthenticationError) as caught:
        read_canonical(body, summary_pb2.Task)
    assert caught.value.code == "NOT_CANONICAL"


def test_bytes_that_are_no_message_are_refused() -> None:
    with pytest.raises(AuthenticationError) as caught:
        read_canonical(b"\xff\xff", summary_pb2.Task)
    assert caught.value.code == "NOT_A_DOCUMENT"


def test_message_with_unset_oneof_and_negative_zero_survives() -> None:
    message = spec_pb2.Literal(number=-0.0)
    assert str(read_canonical(canonical(message), spec_pb2.Literal).number) == "-0.0"
    assert canonical(spec_pb2.Literal()) == b""


@given(messages)
def test_signed_document_opens(message: Message) -> None:
    signed = KEY.sign(documents.TASK, canonical(message))
    assert open_signed(signed, documents.TASK, type(message), KEY.public) == message
    assert open_signed(signed, documents.TASK, type(message), None) == message


@given(tasks, st.data())
def test_one_flipped_bit_anywhere_fails(message: summary_pb2.Task, data: st.DataObject) -> None:
    signed = KEY.sign(documents.TASK, canonical(message))
    part = data.draw(st.sampled_from(["body", "public_key", "signature"]))
    content = bytearray(getattr(signed, part))
    assume(content)
    at, bit = data.draw(st.integers(0, len(content) - 1)), data.draw(st.integers(0, 7))
    content[at] ^= 1 << bit
    setattr(signed, part, bytes(content))
    for key in (KEY.public, None):
        with pytest.raises(AuthenticationError):
            open_signed(signed, documents.TASK, summary_pb2.Task, key)


@given(summaries, st.data())
def test_cut_or_lengthened_body_fails(message: summary_pb2.Summary, data: st.DataObject) -> None:
    signed = KEY.sign(documents.SUMMARY, canonical(message))
    changed = signed.body[: data.draw(st.integers(0, len(signed.body)))] + data.draw(st.binary(max_size=3))
    assume(changed != signed.body)
    signed.body = changed
    with pytest.raises(AuthenticationError) as caught:
        open_signed(signed, documents.SUMMARY, summary_pb2.Summary, KEY.public)
    assert caught.value.code == "BAD_SIGNATURE"


@pytest.mark.parametrize("signed_as", CONTEXTS)
@pytest.mark.parametrize("expected", CONTEXTS)
def test_signature_of_one_kind_is_never_one_of_another(signed_as: str, expected: str) -> None:
    signed = KEY.sign(signed_as, b"")
    if signed_as == expected:
        open_signed(signed, expected, study_pb2.Decision, KEY.public)
        return
    with pytest.raises(AuthenticationError) as caught:
        open_signed(signed, expected, study_pb2.Decision, KEY.public)
    assert caught.value.code == "WRONG_CONTEXT"
    signed.context = expected  # relabelled: now the signature itself does not hold
    with pytest.raises(AuthenticationError) as caught:
        open_signed(signed, expected, study_pb2.Decision, KEY.public)
    assert caught.value.code == "BAD_SIGNATURE"


def test_document_of_another_signer_is_refused() -> None:
    signed = OTHER.sign(documents.DECISION, canonical(study_pb2.Decision(node="nl")))
    with pytest.raises(AuthenticationError) as caught:
        open_signed(signed, documents.DECISION, study_pb2.Decision, KEY.public)
    assert caught.value.code == "WRONG_SIGNER"


def test_signature_put_under_another_name_is_refused() -> None:
    signed = OTHER.sign(documents.DECISION, canonical(study_pb2.Decision(node="nl")))
    signed.public_key = KEY.public
    with pytest.raises(AuthenticationError) as caught:
        open_signed(signed, documents.DECISION, study_pb2.Decision, KEY.public)
    assert caught.value.code == "BAD_SIGNATURE"


def test_empty_key_on_record_is_not_any_key() -> None:
    signed = OTHER.sign(documents.DECISION, b"")
    with pytest.raises(AuthenticationError) as caught:
        open_signed(signed, documents.DECISION, study_pb2.Decision, b"")
    assert caught.value.code == "WRONG_SIGNER"


def test_digest_names_the_bytes() -> None:
    # SHA-256 of "abc", FIPS 180-4 examples
    assert digest(b"abc").hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert digest(canonical(journal_pb2.Record(sequence=1))) != digest(canonical(journal_pb2.Record(sequence=2)))


def test_proof_holds_for_its_key_and_request_only() -> None:
    proof = prove(KEY, b"request")
    check_proof(KEY.public, b"request", proof)
    for public, request in ((OTHER.public, b"request"), (KEY.public, b"another")):
        with pytest.raises(AuthenticationError):
            check_proof(public, request, proof)


@given(st.binary(max_size=60), st.sampled_from([summary_pb2.Summary, summary_pb2.Task, study_pb2.Study]))
def test_any_bytes_are_read_or_refused_with_an_error_of_ours(body: bytes, message_type: type[Message]) -> None:
    try:
        message = read_canonical(body, message_type)
    except AuthenticationError:
        return
    assert canonical(message) == body


def test_tree_deeper_than_any_reader_takes_is_refused() -> None:
    predicate = inner = spec_pb2.Predicate()
    for _ in range(400):
        inner = inner.negation
    inner.missing.variable = "age"
    with pytest.raises(AuthenticationError) as caught:
        read_canonical(canonical(predicate), spec_pb2.Predicate)
    assert caught.value.code == "NOT_A_DOCUMENT"
