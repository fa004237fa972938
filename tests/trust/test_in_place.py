"""Large documents, opened where they stand: the same answer as of small ones, and the same refusals."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest
from mutating import mutated_bytes

from isthmus.errors import AuthenticationError
from isthmus.v1 import study_pb2, summary_pb2, values_pb2
from isthmus_trust.documents import REFUSAL, SUMMARY, canonical, open_in_place
from isthmus_trust.identity import IdentityKey

Tries = Callable[[int], Iterator[random.Random]]

LARGE = ({4}, {3}, {2, 4})


def summary(numbers: bytes = b"\1\2\3\4" * 70_000) -> summary_pb2.Summary:
    message = summary_pb2.Summary(task=b"t" * 32, node="jp", country="JP")
    message.items.add(field="arrays", label="w").value.CopyFrom(
        values_pb2.Array(shape=[len(numbers) // 4], floats=numbers)
    )
    return message


@pytest.fixture
def key() -> IdentityKey:
    return IdentityKey.generate()


def signed(key: IdentityKey, message: summary_pb2.Summary) -> bytearray:
    return bytearray(canonical(key.sign(SUMMARY, canonical(message))))


@pytest.mark.parametrize("numbers", [b"", b"\1\2\3\4", b"\1\2\3\4" * 30, b"\1\2\3\4" * 70_000, b"\0\0\0\1" * 600_000])
def test_document_is_opened_and_its_numbers_are_places_in_it(key: IdentityKey, numbers: bytes) -> None:
    opened, (view,) = open_in_place(signed(key, summary(numbers)), SUMMARY, summary_pb2.Summary, key.public, LARGE)
    assert bytes(view) == numbers
    assert opened.node == "jp"
    assert opened.items[0].value.floats == b""


def test_parts_are_signed_as_the_whole_is(key: IdentityKey) -> None:
    body = canonical(summary())
    in_parts = key.sign_parts(SUMMARY, [body[:7], memoryview(body)[7:100_000], body[100_000:]])
    assert in_parts == canonical(key.sign(SUMMARY, body))


def with_signature_of_another(whole: bytearray) -> bytearray:
    other = IdentityKey.generate()
    body = study_pb2.Signed.FromString(bytes(whole)).body
    return bytearray(canonical(other.sign(SUMMARY, body)))


def with_number_changed(whole: bytearray) -> bytearray:
    whole[5000] ^= 1
    return whole


def with_more_behind(whole: bytearray) -> bytearray:
    return whole + b"\x7a\x01x"


def with_fields_turned_round(whole: bytearray) -> bytearray:
    message = study_pb2.Signed.FromString(bytes(whole))
    tail = study_pb2.Signed(public_key=message.public_key, signature=message.signature).SerializeToString()
    return bytearray(tail + study_pb2.Signed(context=message.context, body=message.body).SerializeToString())


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (with_signature_of_another, "WRONG_SIGNER"),
        (with_number_changed, "BAD_SIGNATURE"),
        (with_more_behind, "NOT_CANONICAL"),
        (with_fields_turned_round, "NOT_CANONICAL"),
        (lambda whole: whole[:-1], "NOT_CANONICAL"),
        (lambda _: bytearray(), "NOT_CANONICAL"),
        (lambda _: bytearray(120), "NOT_CANONICAL"),
    ],
)
def test_what_is_not_that_document_is_refused(
    key: IdentityKey, change: Callable[[bytearray], bytearray], code: str
) -> None:
    with pytest.raises(AuthenticationError) as caught:
        open_in_place(change(signed(key, summary())), SUMMARY, summary_pb2.Summary, key.public, LARGE)
    assert caught.value.code == code


def test_document_of_another_kind_is_refused(key: IdentityKey) -> None:
    with pytest.raises(AuthenticationError, match="signed as"):
        open_in_place(signed(key, summary()), REFUSAL, summary_pb2.Refusal, key.public, LARGE)


@pytest.mark.parametrize("tail", [b"\x7a\x01x", b"\x12\x02nl"], ids=["unknown", "twice"])
def test_body_that_is_not_canonical_is_refused(key: IdentityKey, tail: bytes) -> None:
    whole = bytearray(canonical(key.sign(SUMMARY, canonical(summary()) + tail)))
    with pytest.raises(AuthenticationError) as caught:
        open_in_place(whole, SUMMARY, summary_pb2.Summary, key.public, LARGE)
    assert caught.value.code == "NOT_CANONICAL"


def test_body_that_is_no_message_is_refused(key: IdentityKey) -> None:
    whole = bytearray(canonical(key.sign(SUMMARY, b"\x22\x05ab")))
    with pytest.raises(AuthenticationError) as caught:
        open_in_place(whole, SUMMARY, summary_pb2.Summary, key.public, LARGE)
    assert caught.value.code == "NOT_A_DOCUMENT"


def test_large_documents_that_are_turned_or_cut_are_opened_or_refused(key: IdentityKey, tries: Tries) -> None:
    whole, body = signed(key, summary(b"\1\2\3\4" * 500)), canonical(summary(b"\1\2\3\4" * 500))
    opened = 0
    for chance in tries(300):
        of_others = bytearray(mutated_bytes(bytes(whole), chance))
        of_its_node = bytearray(canonical(key.sign(SUMMARY, mutated_bytes(body, chance))))
        for one in (of_others, of_its_node):
            try:
                open_in_place(one, SUMMARY, summary_pb2.Summary, key.public, LARGE)
                opened += 1
            except AuthenticationError:
                continue
    assert opened < 300
