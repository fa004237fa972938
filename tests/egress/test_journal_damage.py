"""A journal after a crash, a changed byte or a hand in it: recovered where nothing left, refused where changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from isthmus.errors import ConfigError
from isthmus.v1 import journal_pb2
from isthmus_node.egress.journal import Journal
from isthmus_node.egress.journal_file import HEAD_BYTES, MAGIC, pack, read_frames
from isthmus_node.egress.journal_read import FILE, read, verify
from isthmus_node.egress.wire import Outbound
from isthmus_trust.documents import canonical

Answer = Callable[..., Outbound]
STARTED = journal_pb2.Record(actor="node", event="STARTED", words="isthmus 0.1.0")
pytestmark = pytest.mark.usefixtures("short_answers")


def code_of(error: pytest.ExceptionInfo[ConfigError]) -> str:
    return error.value.code


# --------------------------------------------------------------------------- crashes


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory, answer: Answer) -> bytes:
    """A journal of three entries, as bytes."""
    home = tmp_path_factory.mktemp("written")
    with Journal.open(home, now=lambda: 1) as journal:
        journal.append(STARTED)
        journal.release(answer("one"))
        journal.acknowledged(answer("one").header.task)
    return (home / FILE).read_bytes()


def ends_of(content: bytes, home: Path) -> list[int]:
    """Where each whole entry ends."""
    home.mkdir(exist_ok=True)
    (home / FILE).write_bytes(content)
    return [getattr(frame, "end", 0) for frame in read_frames(home / FILE)]


def test_crash_at_every_byte_of_an_append_is_recovered_and_recorded(home: Path, written: bytes) -> None:
    ends = [len(MAGIC), *ends_of(written, home)]
    for cut in range(len(written)):
        (home / FILE).write_bytes(written[:cut])
        whole = sum(end <= cut for end in ends) - 1
        torn = cut not in ends and cut > 0
        assert (verify(home).records, verify(home).unfinished) == (max(whole, 0), torn or cut == 0)
        assert len(list(read(home))) == max(whole, 0)
        Journal.open(home).close()
        entries = list(read(home))
        assert verify(home).unfinished is False
        assert len(entries) == max(whole, 0) + torn
        if torn:
            lost = cut - max((end for end in ends if end <= cut), default=0)
            assert entries[-1].record.words.endswith(f"was cut off: {lost} bytes")


def test_release_that_a_crash_tore_was_never_released(home: Path, written: bytes, answer: Answer) -> None:
    ends = ends_of(written, home)
    (home / FILE).write_bytes(written[: ends[1] - 1])
    with Journal.open(home) as journal:
        assert journal.find_release(answer("one").header.task) is None
        assert journal.unacknowledged() == ()


# --------------------------------------------------------------------------- damage


def changed(content: bytes, place: int, flip: int) -> bytes:
    return content[:place] + bytes([content[place] ^ flip]) + content[place + 1 :]


def record_at(ends: list[int], place: int) -> str:
    return "its first line" if place < len(MAGIC) else f"record {1 + sum(end <= place for end in ends)}"


def test_every_changed_byte_is_found_and_its_record_named(home: Path, written: bytes) -> None:
    ends = ends_of(written, home)
    for place in range(len(written)):
        (home / FILE).write_bytes(changed(written, place, 1 << (place % 8)))
        with pytest.raises(ConfigError) as caught:
            verify(home)
        assert code_of(caught) == "JOURNAL_DAMAGED"
        assert f"was changed at {record_at(ends, place)}:" in caught.value.message


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(data=st.data())
def test_damaged_journal_is_not_opened_and_not_touched(home: Path, written: bytes, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(written) - 1))
    bad = changed(written, place, data.draw(st.integers(1, 255)))
    home.mkdir(exist_ok=True)
    (home / FILE).write_bytes(bad)
    with pytest.raises(ConfigError) as caught:
        Journal.open(home)
    assert code_of(caught) == "JOURNAL_DAMAGED"
    assert (home / FILE).read_bytes() == bad


def entry_bytes(record: journal_pb2.Record, payload: bytes = b"") -> bytes:
    return pack(canonical(record), payload)


def test_record_taken_out_of_the_middle_is_found(home: Path, written: bytes) -> None:
    ends = ends_of(written, home)
    (home / FILE).write_bytes(written[: ends[0]] + written[ends[1] :])
    with pytest.raises(ConfigError) as caught:
        verify(home)
    assert "record 2: its number is not its place" in caught.value.message


def test_record_written_anew_breaks_the_chain(home: Path, written: bytes) -> None:
    ends = ends_of(written, home)
    forged = journal_pb2.Record()
    forged.CopyFrom(next(read(home)).record)
    forged.words = "isthmus 0.1.1"
    (home / FILE).write_bytes(MAGIC + entry_bytes(forged) + written[ends[0] :])
    with pytest.raises(ConfigError) as caught:
        verify(home)
    assert "record 2: it does not follow the record before it" in caught.value.message


@pytest.mark.parametrize(
    ("record", "payload", "what"),
    [
        (b"\xff\xff", b"", "its record cannot be read"),
        (canonical(journal_pb2.Record(sequence=1, previous=bytes(32), payload_bytes=3)), b"12", "the bytes that left"),
        (canonical(journal_pb2.Record(sequence=1, previous=bytes(32), payload_bytes=2)), b"12", "the bytes that left"),
    ],
)
def test_entry_that_contradicts_itself_is_found(home: Path, record: bytes, payload: bytes, what: str) -> None:
    home.mkdir()
    (home / FILE).write_bytes(MAGIC + pack(record, payload))
    with pytest.raises(ConfigError) as caught:
        verify(home)
    assert f"record 1: {what}" in caught.value.message


@pytest.mark.parametrize("how", ["changed", "cut"])
def test_bytes_damaged_while_the_node_runs_are_not_sent_again(
    home: Path, answer: Answer, written: bytes, how: str
) -> None:
    ends = ends_of(written, home)
    out = answer("one")
    with Journal.open(home) as journal:
        assert journal.find_release(out.header.task) is not None
        bad = changed(written, ends[1] - 1, 1) if how == "changed" else written[: ends[1] - 1]
        (home / FILE).write_bytes(bad)
        with pytest.raises(ConfigError) as caught:
            journal.find_release(out.header.task)
    assert code_of(caught) == "JOURNAL_DAMAGED"
    assert "record 2" in caught.value.message


def test_length_of_a_damaged_head_is_not_taken_for_a_crash(home: Path, written: bytes) -> None:
    # a length that points behind the end of the file would otherwise cut off every later record
    ends = ends_of(written, home)
    place = ends[0] + 2
    (home / FILE).write_bytes(changed(written, place, 0x40))
    with pytest.raises(ConfigError) as caught:
        Journal.open(home)
    assert "record 2: its head was changed" in caught.value.message
    assert HEAD_BYTES == 48


@pytest.mark.parametrize(("make", "code"), [(False, "JOURNAL_MISSING"), (True, "JOURNAL_UNREADABLE")])
def test_journal_that_cannot_be_read_is_an_error(home: Path, make: bool, code: str) -> None:
    if make:
        (home / FILE).mkdir(parents=True)
    for look in (verify, lambda where: list(read(where))):
        with pytest.raises(ConfigError) as caught:
            look(home)
        assert code_of(caught) == code
