"""The journal: on the disk before sending, whole or refused, and every changed byte named."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from isthmus.errors import ConfigError, WaitingForApproval
from isthmus.v1 import journal_pb2, study_pb2
from isthmus_node.egress import journal_file
from isthmus_node.egress.gate import refuse
from isthmus_node.egress.journal import EVENTS, Journal
from isthmus_node.egress.journal_read import FILE, Verified, read, verify
from isthmus_node.egress.policy import Policy
from isthmus_node.egress.wire import Header, Outbound, encode_refusal
from isthmus_trust.documents import POLICY, canonical, digest
from isthmus_trust.identity import IdentityKey
from isthmus_trust.merkle import EMPTY, Tree, extends

Answer = Callable[..., Outbound]
STARTED = journal_pb2.Record(actor="node", event="STARTED", words="isthmus 0.1.0")
pytestmark = pytest.mark.usefixtures("short_answers")


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file of this process can grow beyond this: the kernel writes what fits and refuses the rest."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)


def code_of(error: pytest.ExceptionInfo[ConfigError]) -> str:
    return error.value.code


# --------------------------------------------------------------------------- what is in it


def test_release_is_recorded_with_its_exact_bytes(home: Path, answer: Answer, policy: Policy) -> None:
    out = answer("one")
    with Journal.open(home, now=lambda: 1_700_000_000_000_000_000) as journal:
        kept = journal.release(out)
        assert (kept.payload, kept.digest, kept.task, kept.sequence) == (out.payload, out.digest, out.header.task, 1)
    (entry,) = read(home)
    record = entry.record
    assert entry.payload == out.payload
    assert (record.sequence, record.previous, record.recorded_at) == (1, bytes(32), 1_700_000_000_000_000_000)
    assert (record.actor, record.event, record.purpose) == ("node", "RELEASED", "trial_analysis")
    assert (record.study, record.analysis, record.round) == ("PATHWAY-ASIA", "primary", 2)
    assert (record.run, record.task) == (out.header.run, out.header.task)
    assert (record.study_digest, record.dataset_digest) == (out.header.study_digest, out.header.dataset_digest)
    assert record.policy_digest == policy.digest
    assert (record.payload_digest, record.payload_bytes) == (digest(out.payload), len(out.payload))
    assert record.words == out.words


def test_refusal_is_recorded_as_one(home: Path, header: Callable[[str], Header], key: IdentityKey) -> None:
    with Journal.open(home) as journal:
        journal.release(encode_refusal(refuse(ValueError("x")), header("t"), key))
    (entry,) = read(home)
    assert (entry.record.event, entry.record.purpose) == ("REFUSED", "")


def test_records_are_chained(home: Path, answer: Answer) -> None:
    with Journal.open(home) as journal:
        journal.append(STARTED)
        journal.release(answer("one"))
        journal.acknowledged(answer("one").header.task)
    records = [entry.record for entry in read(home)]
    assert [r.sequence for r in records] == [1, 2, 3]
    assert [r.event for r in records] == ["STARTED", "RELEASED", "ACKNOWLEDGED"]
    assert [r.previous for r in records] == [bytes(32), digest(canonical(records[0])), digest(canonical(records[1]))]
    assert verify(home) == Verified(3, digest(canonical(records[2])), unfinished=False, tree=Tree())


def test_tree_is_over_the_records_and_is_the_same_after_a_restart(home: Path, answer: Answer) -> None:
    heads = []
    for task in ("one", "two", "three"):
        with Journal.open(home) as journal:
            assert journal.head() == (heads[-1] if heads else (0, EMPTY))
            journal.append(STARTED)
            journal.release(answer(task))
            heads.append(journal.head())
    written = [canonical(entry.record) for entry in read(home)]
    assert heads[-1] == (6, Tree.of(written).root()) == (verify(home).records, verify(home).tree.root())
    with Journal.open(home) as journal:
        for size, root in heads:
            assert journal.root(size) == root
            assert extends(root, size, heads[-1][1], 6, journal.consistency(size, 6))


def test_head_waits_for_the_disk_and_a_round_does_so_once(
    home: Path, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An acknowledgement is not waited for: without the wait here, a power cut would make a checkpoint a lie."""
    synced: list[int] = []
    with Journal.open(home) as journal:
        monkeypatch.setattr(os, "fsync", synced.append)
        journal.release(answer("one"))
        journal.acknowledged(answer("one").header.task)
        assert len(synced) == 1
        journal.head()
        assert len(synced) == 2


def test_journal_knows_how_long_it_is_and_what_the_auditor_recorded_last(home: Path) -> None:
    states = {b"1": "ADSL", b"2": "ADAE", b"3": "ADSL"}
    with Journal.open(home) as journal:
        for state, dataset in states.items():
            journal.append(journal_pb2.Record(actor="node", event="AUDITED", dataset=dataset, auditor_digest=state))
        assert journal.records == 3
        assert journal.audited() == {"ADSL": b"3", "ADAE": b"2"}
    with Journal.open(home) as journal:
        assert journal.audited() == {"ADSL": b"3", "ADAE": b"2"}


def test_journal_knows_the_newest_policy_that_was_in_force(home: Path, key: IdentityKey) -> None:
    def adopted(serial: int) -> journal_pb2.Record:
        signed = key.sign(POLICY, canonical(study_pb2.AdoptedPolicy(serial=serial)))
        return journal_pb2.Record(
            actor="custodian", event="POLICY", document=canonical(signed), policy_digest=bytes([serial])
        )

    with Journal.open(home) as journal:
        assert journal.policy == (0, b"")
        # a record without a signed policy puts none in force; an older one does not take the place of a newer one
        for record in (adopted(2), adopted(1), journal_pb2.Record(actor="custodian", event="POLICY")):
            journal.append(record)
        assert journal.policy == (2, b"\2")
    with Journal.open(home) as journal:
        assert journal.policy == (2, b"\2")


def test_disk_that_fails_gives_no_head(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: int) -> None:
        raise OSError(errno.EIO, "input/output error")

    with Journal.open(home) as journal:
        journal.append(STARTED)
        monkeypatch.setattr(os, "fsync", broken)
        with pytest.raises(ConfigError) as caught:
            journal.head()
    assert code_of(caught) == "JOURNAL_NOT_WRITABLE"


def test_chain_goes_on_after_a_restart(home: Path, answer: Answer) -> None:
    for task in ("one", "two", "three"):
        with Journal.open(home) as journal:
            journal.release(answer(task))
    assert verify(home).records == 3


@pytest.mark.parametrize("event", EVENTS)
def test_decisions_and_events_are_recorded(home: Path, event: str) -> None:
    with Journal.open(home) as journal:
        entry = journal.append(journal_pb2.Record(actor="custodian", event=event, words="why"))
    assert entry.record.sequence == 1
    assert [e.record for e in read(home)] == [entry.record]


@pytest.mark.parametrize(
    ("actor", "event"), [("node", "RELEASED"), ("node", "REFUSED"), ("coordinator", "ACKNOWLEDGED"), ("eve", "STARTED")]
)
def test_release_has_no_other_way_in(home: Path, actor: str, event: str) -> None:
    with Journal.open(home) as journal, pytest.raises(ValueError, match="no event or actor"):
        journal.append(journal_pb2.Record(actor=actor, event=event))


def test_empty_journal_is_whole(home: Path) -> None:
    Journal.open(home).close()
    assert verify(home) == Verified(0, bytes(32), unfinished=False, tree=Tree())
    assert (home / FILE).stat().st_mode & 0o777 == 0o600
    assert home.stat().st_mode & 0o777 == 0o700


# --------------------------------------------------------------------------- one task, one answer


def test_task_asked_again_gets_the_bytes_it_got(home: Path, answer: Answer) -> None:
    first, changed = answer("one", value=1.5), answer("one", value=2.5)
    assert first.payload != changed.payload
    with Journal.open(home) as journal:
        kept = journal.release(first)
        assert journal.release(changed) == kept
    with Journal.open(home) as journal:
        found = journal.find_release(first.header.task)
        assert found == kept
        assert journal.find_release(bytes(32)) is None
    assert verify(home).records == 1


def test_answers_of_a_run_are_counted_over_restarts(home: Path, answer: Answer) -> None:
    run = answer("one").header.run
    for expected in (1, 2):
        with Journal.open(home) as journal:
            journal.release(answer(f"task {expected}"))
            journal.append(journal_pb2.Record(actor="node", event="STARTED", run=run))
            assert journal.answers(run) == expected
            assert journal.answers(bytes(16)) == 0


def test_unacknowledged_answers_are_known_after_a_crash(home: Path, answer: Answer) -> None:
    tasks = [answer(name) for name in ("one", "two", "three")]
    with Journal.open(home) as journal:
        for out in tasks:
            journal.release(out)
        journal.acknowledged(tasks[1].header.task)
        journal.acknowledged(tasks[1].header.task)  # the coordinator may say so twice
        journal.acknowledged(bytes(32))  # and of what was never sent
        assert [kept.payload for kept in journal.unacknowledged()] == [tasks[0].payload, tasks[2].payload]
    with Journal.open(home) as journal:
        assert [kept.payload for kept in journal.unacknowledged()] == [tasks[0].payload, tasks[2].payload]
    assert verify(home).records == 4


def test_threads_get_one_chain(home: Path, answer: Answer) -> None:
    outs = [answer(f"task {k}") for k in range(24)]
    with Journal.open(home) as journal:
        threads = [
            threading.Thread(target=lambda part=outs[k::4]: [journal.release(out) for out in part]) for k in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(journal.find_release(out.header.task) is not None for out in outs)
    assert verify(home).records == 24


# --------------------------------------------------------------------------- held for a person


def test_what_a_person_has_still_to_see_is_noted_once_and_its_bytes_are_not_in_the_journal(
    home: Path, answer: Answer
) -> None:
    held = answer("one", by_hand=True)
    with Journal.open(home) as journal:
        for seen in (b"", b"", digest(b"another decision")):
            with pytest.raises(WaitingForApproval) as caught:
                journal.release(held, seen=seen)
            assert caught.value.code == "OUTPUT_HELD"
    with Journal.open(home) as journal, pytest.raises(WaitingForApproval):
        journal.release(held)
    (entry,) = read(home)
    assert (entry.record.event, entry.record.payload_digest, entry.payload) == ("HELD", held.digest, b"")
    assert held.payload not in (home / FILE).read_bytes()


@pytest.mark.parametrize("of_series", [False, True])
def test_what_a_person_released_leaves_as_anything_else(home: Path, answer: Answer, of_series: bool) -> None:
    held = answer("one", by_hand=True)
    with Journal.open(home) as journal:
        kept = journal.release(held, seen=held.series if of_series else held.digest)
    assert [(entry.record.event, entry.payload) for entry in read(home)] == [("RELEASED", kept.payload)]


# --------------------------------------------------------------------------- durable before it returns


def test_release_returns_after_one_fsync(home: Path, answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    really = os.fsync

    def fsync(descriptor: int) -> None:
        really(descriptor)
        synced.append(os.fstat(descriptor).st_size)

    with Journal.open(home) as journal:
        out = answer("one")
        monkeypatch.setattr(journal_file.os, "fsync", fsync)
        journal.release(out)
        # what was made durable is the whole file, payload and all
        assert synced == [(home / FILE).stat().st_size]
        journal.acknowledged(out.header.task)
        assert len(synced) == 1


def test_second_writer_is_refused(home: Path) -> None:
    with Journal.open(home), pytest.raises(ConfigError) as caught:
        Journal.open(home)
    assert code_of(caught) == "JOURNAL_IN_USE"
    Journal.open(home).close()


def test_second_writer_in_another_process_is_refused(home: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from isthmus.errors import ConfigError\n"
        "from isthmus_node.egress.journal import Journal\n"
        "try:\n    Journal.open(Path(sys.argv[1]))\nexcept ConfigError as error:\n    print(error.code)\n"
    )
    with Journal.open(home):
        done = subprocess.run([sys.executable, "-c", program, str(home)], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("JOURNAL_IN_USE\n", "")


def test_readers_need_no_lock(home: Path, answer: Answer) -> None:
    with Journal.open(home) as journal:
        journal.release(answer("one"))
        assert verify(home).records == 1
        assert len(list(read(home))) == 1


# --------------------------------------------------------------------------- full, read-only and broken disks


def test_full_disk_releases_nothing_and_recovers(home: Path, answer: Answer) -> None:
    with Journal.open(home) as journal:
        journal.release(answer("one"))
        before = (home / FILE).read_bytes()
        large = answer("two", size=2000)
        # room for a part of the entry: the kernel writes it and says that the rest does not fit
        with largest_file(len(before) + 5000), pytest.raises(ConfigError) as caught:
            journal.release(large)
        assert code_of(caught) == "JOURNAL_NOT_WRITABLE"
        assert (home / FILE).read_bytes() == before
        assert journal.find_release(large.header.task) is None
        assert verify(home) == Verified(1, verify(home).head, unfinished=False, tree=Tree())
        assert journal.release(large).payload == large.payload
    assert verify(home).records == 2


def test_full_disk_at_the_first_byte_makes_no_journal(home: Path) -> None:
    with largest_file(5), pytest.raises(ConfigError) as caught:
        Journal.open(home)
    assert code_of(caught) == "JOURNAL_NOT_WRITABLE"
    Journal.open(home).close()
    assert verify(home).records == 0


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO, errno.EDQUOT])
@pytest.mark.parametrize("call", ["pwrite", "fsync"])
def test_disk_that_fails_releases_nothing_and_recovers(
    home: Path, answer: Answer, monkeypatch: pytest.MonkeyPatch, number: int, call: str
) -> None:
    def fails(*arguments: object) -> int:
        raise OSError(number, os.strerror(number))

    with Journal.open(home) as journal:
        journal.release(answer("one"))
        before = (home / FILE).read_bytes()
        with monkeypatch.context() as patch:
            patch.setattr(journal_file.os, call, fails)
            for _ in range(2):
                with pytest.raises(ConfigError) as caught:
                    journal.release(answer("two"))
        assert code_of(caught) == "JOURNAL_NOT_WRITABLE"
        assert os.strerror(number) in caught.value.message
        assert (home / FILE).read_bytes() == before
        journal.release(answer("two"))
    assert verify(home).records == 2


def test_disk_that_cannot_even_be_cut_back_is_cut_back_before_the_next_release(
    home: Path, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: object) -> None:
        raise OSError(errno.EIO, "")

    with Journal.open(home) as journal:
        journal.release(answer("one"))
        with monkeypatch.context() as patch:
            patch.setattr(journal_file.os, "fsync", fails)
            patch.setattr(journal_file.os, "ftruncate", fails)
            with pytest.raises(ConfigError) as caught:
                journal.release(answer("two", size=2000))
        assert "input/output error" in caught.value.message
        journal.release(answer("three"))
        assert journal.find_release(answer("two").header.task) is None
    assert [entry.record.sequence for entry in read(home)] == [1, 2]
    assert verify(home).unfinished is False


def test_folder_that_cannot_be_synced_makes_no_journal(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(descriptor: int) -> None:
        raise OSError(errno.EIO, "")

    with monkeypatch.context() as patch:
        patch.setattr(journal_file.os, "fsync", fails)
        with pytest.raises(ConfigError) as caught:
            Journal.open(home)
    assert code_of(caught) == "JOURNAL_NOT_WRITABLE"
    Journal.open(home).close()  # and the lock went with the failure


def test_home_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError) as caught:
        Journal.open(tmp_path / "file")
    assert code_of(caught) == "JOURNAL_NOT_WRITABLE"
