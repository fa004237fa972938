"""Models in files that are passed on by their descriptor: the same numbers, read when somebody asks for them."""

from __future__ import annotations

import gc
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from isthmus_training.frames import Broken
from isthmus_training.stored import StoredArrays, receive, send, store

MODEL = {
    "w": np.arange(6, dtype=np.float32).reshape(2, 3),
    "none": np.empty((0, 4)),
    "b": np.array([0.5, -1.5]),
    "one": np.array(3.0),
}


@pytest.fixture
def way() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def test_arrays_arrive_as_they_were_stored(way: tuple[socket.socket, socket.socket], tmp_path: Path) -> None:
    file, layout = store(MODEL, tmp_path)
    assert not list(tmp_path.iterdir())  # it has no name
    with file:
        send(way[0], file)
    came = StoredArrays(receive(way[1]), layout)
    assert list(came) == list(MODEL)
    for name, array in MODEL.items():
        assert came[name].dtype == array.dtype
        assert came[name].shape == array.shape
        np.testing.assert_array_equal(came[name], array)


def test_what_is_written_to_an_array_is_not_in_the_file(tmp_path: Path) -> None:
    file, layout = store(MODEL, tmp_path)
    came = StoredArrays(file, layout)
    came["b"][0] = 9.0
    np.testing.assert_array_equal(came["b"], MODEL["b"])


def test_file_is_closed_once_no_array_of_it_is_left(tmp_path: Path) -> None:
    file, layout = store(MODEL, tmp_path)
    part = StoredArrays(file, layout).parts["b"]
    np.testing.assert_array_equal(part.read(), MODEL["b"])
    assert not file.closed
    del part
    gc.collect()
    assert file.closed


def test_types_that_are_not_carried_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not carried"):
        store({"text": np.array(["a"])}, tmp_path)
    file, _ = store(MODEL, tmp_path)
    with pytest.raises(Broken):
        StoredArrays(file, [("w", "|O", (1,))])


def test_the_other_side_going_away_is_said(way: tuple[socket.socket, socket.socket], tmp_path: Path) -> None:
    way[1].close()
    file, _ = store(MODEL, tmp_path)
    with file, pytest.raises(Broken):
        send(way[0], file)
    with pytest.raises(Broken):
        receive(way[0])
