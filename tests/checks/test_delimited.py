"""Messages put together from parts and taken apart again: protobuf's own bytes, and nothing large copied."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from isthmus.delimited import sliced, take_out
from isthmus.v1 import summary_pb2, values_pb2

# of a state: its arrays, in these the array, in that its floats and doubles
PATH = ({1}, {2}, {2, 4})


def state(*contents: tuple[str, bytes, str]) -> summary_pb2.State:
    message = summary_pb2.State()
    for name, numbers, kind in contents:
        array = values_pb2.Array(shape=[len(numbers)], **{kind: numbers})
        message.arrays.append(values_pb2.NamedArray(name=name, array=array))
    return message


@given(st.lists(st.tuples(st.text(max_size=3), st.binary(max_size=400), st.sampled_from(["doubles", "floats"]))))
def test_contents_come_out_in_order_and_what_is_left_is_the_message_without_them(
    contents: list[tuple[str, bytes, str]],
) -> None:
    body = state(*contents).SerializeToString(deterministic=True)
    left, out = take_out(memoryview(body), PATH)
    assert [bytes(view) for view in out] == [numbers for _, numbers, _ in contents]
    empty = state(*((name, b"", kind) for name, _, kind in contents))
    for array, (_, numbers, _) in zip(empty.arrays, contents, strict=True):
        array.array.shape[:] = [len(numbers)]
    assert left == empty.SerializeToString(deterministic=True)


def test_what_is_taken_out_is_the_bytes_themselves() -> None:
    body = bytearray(state(("w", b"12345678", "doubles")).SerializeToString())
    (view,) = take_out(memoryview(body), PATH)[1]
    body[body.index(b"1234")] = ord("9")
    assert bytes(view) == b"92345678"


def test_fields_of_every_kind_stay_as_they_were() -> None:
    message = summary_pb2.Task(round=300, deadline=-5, run=b"r", participants=["a", "b"])
    message.message.config.add(name="k").number = 0.5
    body = message.SerializeToString(deterministic=True)
    assert take_out(memoryview(body), ({99},)) == (body, [])


@given(st.binary(max_size=60))
def test_bytes_that_are_no_message_are_no_crash(body: bytes) -> None:
    try:
        left, out = take_out(memoryview(body), PATH)
    except ValueError:
        return
    assert len(left) + sum(map(len, out)) <= len(body)


@pytest.mark.parametrize(
    "body",
    [
        b"\x0a\x05ab",  # longer than what it stands in
        b"\x0a",  # cut off
        b"\x8a\x00\x00",  # a number written in more bytes than it needs
        b"\x0a\x82\x00\x0a\x00",  # a length likewise
        b"\x0b\x0c",  # a group
        b"\x0d\x00",  # four bytes that are two
        b"\xff" * 11,  # a number without end
    ],
)
def test_what_is_written_otherwise_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        take_out(memoryview(body), PATH)


@given(st.lists(st.binary(max_size=20)), st.integers(1, 9))
def test_slices_are_all_bytes_in_order_and_of_one_size(parts: list[bytes], most: int) -> None:
    slices = list(sliced(parts, most))
    assert b"".join(slices) == b"".join(parts)
    assert all(len(one) == most for one in slices[:-1])
    assert all(0 < len(one) <= most for one in slices)
