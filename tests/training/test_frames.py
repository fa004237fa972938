"""Arrays over a pipe: what was written is read, and what is no frame is told from it."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest

from isthmus_training.frames import MOST_HEAD, Broken, read_frame, write_frame


def _written(arrays: dict[str, np.ndarray], **words: object) -> bytes:
    pipe = io.BytesIO()
    write_frame(pipe, words, arrays)
    return pipe.getvalue()


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3),
        np.array([0.1, np.nan, -np.inf], dtype=np.float32),
        np.zeros((0, 4)),
        np.array(3.5),
        np.array([1, -2]),
        np.array([True, False]),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    ],
    ids=["matrix", "floats", "empty", "scalar", "integers", "booleans", "by column"],
)
def test_an_array_comes_back_as_it_was(array: np.ndarray) -> None:
    words, arrays = read_frame(io.BytesIO(_written({"b": array, "a": array}, kind="x", n=0.1)), 1000)
    assert (words, list(arrays)) == ({"kind": "x", "n": 0.1}, ["b", "a"])
    assert (arrays["a"].dtype, arrays["a"].shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(arrays["a"], array)


def test_a_type_that_is_not_carried_is_refused() -> None:
    with pytest.raises(ValueError, match="complex128 are not carried"):
        _written({"a": np.zeros(2, dtype=complex)})


def _head(text: bytes, length: int | None = None) -> bytes:
    return struct.pack("<I", len(text) if length is None else length) + text


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x05\x00",
        _head(b"{}"),
        _head(b"nothing"),
        _head(b"[]"),
        _head(b'{"arrays": 5}'),
        _head(b'{"arrays": [["a", "|O", [1]]]}'),
        _head(b'{"arrays": [["a", "<f8", [-1]]]}'),
        _head(b'{"arrays": [["a", "<f8", [126]]]}'),
        _head(b'{"arrays": [["a", "<f8", [2]]]}') + b"12345678",
        _head(b"", MOST_HEAD + 1),
        _head(b"[" * 100_000),
    ],
)
def test_what_is_no_frame_is_refused(body: bytes) -> None:
    with pytest.raises(Broken):
        read_frame(io.BytesIO(body), 1000)
