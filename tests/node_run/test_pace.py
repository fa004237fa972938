"""Refusals are counted and lock; answers leave in slots. Each with the rule left out (it succeeds) and in place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from isthmus.errors import ConfigError, Refused
from isthmus.v1 import journal_pb2, spec_pb2, study_pb2, summary_pb2
from isthmus_node.custodian import locks as locks_module
from isthmus_node.custodian.decisions import REQUEST, UNLOCK, request_digest
from isthmus_node.custodian.locks import DAY, Locks, lock_digest
from isthmus_node.egress.journal_read import read
from isthmus_node.egress.pace import Pace
from isthmus_node.slots import Slots

PACE = Pace(of_requester=3, of_study=5, days=7)


def asked(number: int, requester: str = "ana", **more: Any) -> summary_pb2.Task:
    """A question outside a plan, each number another."""
    return summary_pb2.Task(
        study_digest=bytes(32),
        spec=spec_pb2.Spec(method="crosstab", dataset=f"D{number}"),
        requester=requester,
        **more,
    )


class Clock:
    def __init__(self) -> None:
        self.now = 1_795_000_000 * 1_000_000_000

    def __call__(self) -> int:
        return self.now


class Records:
    def __init__(self) -> None:
        self.records: list[journal_pb2.Record] = []

    def append(self, record: journal_pb2.Record) -> None:
        self.records.append(record)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def records() -> Records:
    return Records()


@pytest.fixture
def locks(site: Any, tmp_path: Path, clock: Clock, records: Records) -> Callable[[], Locks]:
    """The same count read anew, as after a restart."""
    return lambda: Locks(tmp_path / "refusals.json", site.decisions, records, clock)  # type: ignore[arg-type]


def is_locked(one: Locks, requester: str = "ana", study: str = "S") -> bool:
    try:
        one.check(study, asked(0, requester))
    except Refused as error:
        return error.code == "LOCKED"
    return False


# --------------------------------------------------------------------------- the count


def test_run_of_refusals_locks_who_asked_and_nobody_else(locks: Callable[[], Locks], records: Records) -> None:
    one = locks()
    for number in range(3):
        assert not is_locked(one)
        one.count("S", asked(number), b"", PACE)
    assert is_locked(one)
    assert not is_locked(one, "bo")
    assert not is_locked(one, study="T")
    assert [(r.event, r.actor, r.study) for r in records.records] == [("LOCKED", "node", "S")]


def test_many_names_lock_the_study_for_everybody(locks: Callable[[], Locks]) -> None:
    one = locks()
    for number in range(5):
        one.count("S", asked(number, f"name {number}"), b"", PACE)
    assert is_locked(one, "somebody new")
    assert is_locked(one, "")


def test_restart_forgets_nothing(locks: Callable[[], Locks]) -> None:
    for number in range(3):
        locks().count("S", asked(number), b"", PACE)
    assert is_locked(locks())


def test_same_question_counts_once_and_again_over_other_data(locks: Callable[[], Locks]) -> None:
    one = locks()
    for _ in range(10):
        one.count("S", asked(1), b"data", PACE)
    assert not is_locked(one)
    one.count("S", asked(1), b"other data", PACE)
    one.count("S", asked(1), b"third data", PACE)
    assert is_locked(one)


def test_first_round_of_a_plan_does_not_count_and_chosen_states_do(locks: Callable[[], Locks]) -> None:
    from isthmus.v1 import values_pb2

    one = locks()
    for number in range(10):
        one.count("S", asked(number, analysis="primary"), b"", PACE)
    assert not is_locked(one)
    for number in range(3):
        state = values_pb2.NamedArray(name="beta", array=values_pb2.Array(doubles=bytes([number] * 8)))
        one.count("S", asked(0, analysis="primary", round=2, state=[state]), b"", PACE)
    assert is_locked(one)


def test_old_refusals_do_not_count_and_a_lock_stays(locks: Callable[[], Locks], clock: Clock) -> None:
    one = locks()
    for number in range(10):
        one.count("S", asked(number), b"", PACE)
        clock.now += 4 * DAY
        assert not is_locked(one)
    for number in range(3):
        one.count("S", asked(100 + number), b"", PACE)
    clock.now += 400 * DAY
    assert is_locked(one)


def test_custodian_unlocks_and_counting_begins_anew(locks: Callable[[], Locks], site: Any, clock: Clock) -> None:
    from datetime import UTC, datetime

    one = locks()
    for number in range(3):
        one.count("S", asked(number), b"", PACE)
    clock.now += DAY
    at = datetime.fromtimestamp(clock.now / 1e9, UTC)
    site.decisions.make(site.custodian, lock_digest("S", ""), approved=True, context=UNLOCK, now=lambda: at)
    assert not is_locked(one)
    assert not is_locked(locks())
    clock.now += 1_000_000
    for number in range(3):
        assert not is_locked(one)
        one.count("S", asked(number), b"", PACE)
    assert is_locked(one)


def test_unlocking_by_another_key_is_none(locks: Callable[[], Locks], site: Any) -> None:
    one = locks()
    for number in range(3):
        one.count("S", asked(number), b"", PACE)
    decision = study_pb2.Decision(study_digest=lock_digest("S", ""), node="nl", approved=True, decided_at=1 << 62)
    forged = site.author.sign(UNLOCK, decision.SerializeToString(deterministic=True))
    (site.home.decisions / f"{lock_digest('S', '').hex()}.unlock").write_bytes(forged.SerializeToString())
    with pytest.raises(Exception, match="another key"):
        one.check("S", asked(0))


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"counted": 1, "locked": []}', '{"counted": [], "locked": [[1]]}', "\0"]
)
def test_count_that_cannot_be_read_stops_everything(locks: Callable[[], Locks], tmp_path: Path, text: str) -> None:
    (tmp_path / "refusals.json").write_text(text)
    with pytest.raises(ConfigError, match="REFUSALS_UNREADABLE"):
        locks()


# --------------------------------------------------------------------------- the policy's keys


# --------------------------------------------------------------------------- refusals as an oracle


@pytest.fixture
def oracle(site: Any) -> Callable[[int], Any]:
    """A question outside the plan that is refused: is somebody of more than a hundred there with so many days?"""
    site.study.exploratory_purpose = study_pb2.TRIAL_ANALYSIS

    def ask(number: int, requester: str = "ana") -> Any:
        compared = [("AGE", spec_pb2.Comparison.GREATER, 100.0), ("AVAL", spec_pb2.Comparison.LESS, number * 500.0)]
        both = [
            spec_pb2.Predicate(
                comparison=spec_pb2.Comparison(variable=name, operator=o, value=spec_pb2.Literal(number=value))
            )
            for name, o, value in compared
        ]
        filtered = spec_pb2.Predicate(all=spec_pb2.Predicates(predicates=both))
        signed = site.task(analysis="", requester=requester, run=number.to_bytes(16, "big"))
        task = summary_pb2.Task.FromString(signed.body)
        task.spec.where.CopyFrom(filtered)
        site.decisions.make(site.custodian, request_digest(task), approved=True, context=REQUEST)
        site.ask(site.task(analysis="", requester=requester, run=task.run, spec=task.spec))
        return site.answers()[-1]

    return ask


def _pace_of(site: Any, of_requester: int) -> None:
    site.answering.pace = lambda: Pace(of_requester=of_requester)


def test_oracle_answers_as_long_as_nobody_counts(
    site: Any, oracle: Callable[[int], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Off: forty questions, forty answers that say whether enough persons are there."""
    monkeypatch.setattr(locks_module.Locks, "count", lambda *_: None)
    _pace_of(site, 3)
    codes = [oracle(number).code for number in range(1, 21)]
    assert codes
    assert "LOCKED" not in codes


def test_oracle_falls_silent_after_a_run_of_refusals(site: Any, oracle: Callable[..., Any]) -> None:
    _pace_of(site, 3)
    answers = [oracle(number) for number in range(1, 11)]
    assert [a.code == "LOCKED" for a in answers] == [False] * 3 + [True] * 7
    locked = {a.SerializeToString()[34:] for a in answers[3:]}
    assert len(locked) == 1  # but for the task's digest
    # somebody else is not locked, a restart forgets nothing
    assert oracle(16, "bo").code != "LOCKED"
    site.open()
    _pace_of(site, 3)
    site.attach()
    assert oracle(17).code == "LOCKED"
    # planned work of the same analyst is locked as well, until the custodian unlocks it
    site.ask(site.task(requester="ana", run=b"planned by ana 1"))
    assert site.answers()[-1].code == "LOCKED"
    site.decisions.make(site.custodian, lock_digest(site.study.name, "ana"), approved=True, context=UNLOCK)
    site.service.look_again()
    site.service.work_off()
    site.ask(site.task(requester="ana", run=b"planned by ana 2"))
    assert isinstance(site.answers()[-1], summary_pb2.Summary)
    events = [entry.record.event for entry in read(site.home.journal)]
    assert (events.count("LOCKED"), events.count("UNLOCKED")) == (1, 1)


def test_honest_work_does_not_trip_the_lock(site: Any) -> None:
    """A plan run again and again, sixty runs with refusals among them, and ten questions outside it under defaults."""
    site.source.write_text("\n".join(site.source.read_text().splitlines()[:5]) + "\n")
    for number in range(60):
        site.ask(site.task(run=number.to_bytes(16, "big"), requester="ana"))
    codes = [a.code for a in site.answers()]
    assert len(codes) == 60
    assert "LOCKED" not in codes
    assert not site.service._parts.locks.locked()


def test_refusal_that_cannot_be_counted_does_not_leave(site: Any, oracle: Callable[[int], Any], lines: Any) -> None:
    oracle(1)
    before = len(site.wire.submitted)

    def full(*_: object) -> None:
        raise ConfigError("CANNOT_WRITE", "the disk is full", "make room")

    site.service._parts.locks._write = full
    oracle(2)
    assert len(site.wire.submitted) == before
    assert lines.named("journal-fault")


# --------------------------------------------------------------------------- release slots


class Later:
    """A clock and its timers, both moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self.waiting: list[tuple[float, Callable[[], None]]] = []

    def clock(self) -> float:
        return self.now

    def __call__(self, seconds: float, call: Callable[[], None]) -> None:
        self.waiting.append((self.now + seconds, call))

    def forward(self, to: float) -> None:
        self.now = to
        due = [call for at, call in self.waiting if at <= to]
        self.waiting = [(at, call) for at, call in self.waiting if at > to]
        for call in due:
            call()


def slots_of(seconds: float, later: Later) -> tuple[Slots, list[tuple[float, bytes]]]:
    left: list[tuple[float, bytes]] = []

    def again(task: bytes) -> None:
        if not slots.holds(task):
            left.append((later.now, task))

    slots = Slots(lambda: seconds, again, later.clock, later)
    return slots, left


@pytest.mark.parametrize("took", [0.0, 0.3, 4.0, 9.9])
def test_answer_leaves_at_one_time_however_long_it_took(took: float) -> None:
    later = Later()
    slots, left = slots_of(10.0, later)
    slots.came(b"t")
    later.now += took
    assert slots.holds(b"t")
    assert slots.holds(b"t")  # asked for again, or settled meanwhile: it still waits
    later.forward(109.9)
    assert left == []
    later.forward(110.0)
    assert left == [(110.0, b"t")]


def test_without_a_slot_an_answer_leaves_when_it_is_ready() -> None:
    """Off: the time tells how long it took."""
    later = Later()
    slots, _ = slots_of(0.0, later)
    for took in (0.0, 0.3, 4.0):
        slots.came(b"t")
        later.now += took
        assert not slots.holds(b"t")
    assert later.waiting == []


def test_answer_that_takes_longer_than_a_slot_leaves_at_a_later_multiple() -> None:
    later = Later()
    slots, left = slots_of(10.0, later)
    slots.came(b"t")
    later.now = 123.4
    assert slots.holds(b"t")
    later.forward(130.0)
    assert left == [(130.0, b"t")]


def test_slot_that_is_missed_is_not_left_late_but_at_the_next() -> None:
    later = Later()
    slots, left = slots_of(10.0, later)
    slots.came(b"t")
    assert slots.holds(b"t")
    later.forward(114.0)  # the node was busy with another task
    assert left == []
    later.forward(120.0)
    assert left == [(120.0, b"t")]
    # a node that is always busy does not keep an answer for ever
    slots.came(b"u")
    assert slots.holds(b"u")
    for step in range(1, 10):
        later.forward(120.0 + 10 * step + 4.0)
    assert [task for _, task in left] == [b"t", b"u"]


def test_service_sends_at_the_slot_and_not_before(site: Any) -> None:
    later = Later()
    site.answering.pace = lambda: Pace(slot_seconds=10.0)
    service = site.service
    service._slots = Slots(
        lambda: 10.0, lambda task: service._work.put(lambda: service._leave_again(task)), later.clock, later
    )
    signed = site.task()
    site.ask(signed)
    assert site.wire.submitted == []
    assert [e.record.event for e in read(site.home.journal)].count("RELEASED") == 1
    # nothing brings it out early: asked again, settled
    site.ask(signed)
    service.settle_again()
    service.work_off()
    assert site.wire.submitted == []
    later.forward(110.0)
    service.work_off()
    assert len(site.wire.submitted) == 1
