"""Numbers that are computed and held until the custodian has seen them; with the guard left out they leave at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from isthmus.errors import WaitingForApproval
from isthmus.v1 import exchange_pb2, summary_pb2, values_pb2
from isthmus_node.custodian.decisions import RELEASE, SERIES
from isthmus_node.custodian.held import Held
from isthmus_node.egress import wire
from isthmus_node.egress.journal_read import read
from isthmus_node.sources import Source

ASKING = '[release]\noutputs = "ask"\n[purpose.trial_analysis]\n'
RUN = bytes(16)


@pytest.fixture
def holding(site: Any) -> Any:
    """The site, whose policy asks that a person sees what leaves."""
    site.adopt(ASKING)
    return site


def held(site: Any) -> list[Held]:
    return list(site.service._parts.held.everything())


def step(site: Any, number: int, run: bytes = RUN) -> None:
    """A later round, from some coefficients."""
    beta = values_pb2.NamedArray(name="beta", array=values_pb2.Array(shape=[2], doubles=bytes(16)))
    site.ask(site.task(round=number, run=run, state=[beta]))


def events(site: Any) -> list[str]:
    return [entry.record.event for entry in read(site.home.journal)]


# --------------------------------------------------------------------------- nothing held is on the wire


def test_answer_leaves_unseen_where_the_guard_is_left_out(holding: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "series_digest", lambda *_: b"")
    holding.ask(holding.task())
    assert isinstance(holding.answers()[0], summary_pb2.Summary)


def test_nothing_of_a_held_answer_is_sent_or_in_the_journal(holding: Any) -> None:
    holding.ask(holding.task())
    (waits,) = held(holding)
    assert holding.wire.submitted == []
    assert all(waits.payload not in path.read_bytes() for path in holding.home.journal.iterdir())
    *_, record = (entry.record for entry in read(holding.home.journal))
    assert (record.event, record.payload_digest, record.payload_bytes) == ("HELD", waits.digest, 0)
    assert holding.wire.waits == [exchange_pb2.Waits(task=record.task, code="OUTPUT_HELD")]


def test_journal_takes_no_held_bytes_whoever_gives_them(holding: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[wire.Outbound] = []
    kept = wire.encode
    monkeypatch.setattr("isthmus_node.answering.encode", lambda *given: made.append(kept(*given)) or made[-1])
    holding.ask(holding.task())
    for seen in (b"", bytes(32), made[0].policy_digest):
        with pytest.raises(WaitingForApproval) as caught:
            holding.journal.release(made[0], seen=seen)
        assert caught.value.code == "OUTPUT_HELD"
    assert holding.journal.release(made[0], seen=made[0].digest).payload == made[0].payload


def test_refused_numbers_never_leave(holding: Any) -> None:
    holding.ask(holding.task())
    (waits,) = held(holding)
    holding.decide(waits.digest, approved=False, context=RELEASE)
    (refusal,) = holding.answers()
    assert refusal.code == "RELEASE_DECLINED"
    holding.ask(holding.task())
    holding.open()
    holding.attach()
    assert all(isinstance(answer, summary_pb2.Refusal) for answer in holding.answers())
    assert held(holding) == []
    assert all(waits.payload not in path.read_bytes() for path in holding.home.journal.iterdir())
    assert events(holding).count("DECLINED") == 1


# --------------------------------------------------------------------------- what a decision lets out


def test_what_was_seen_is_what_leaves_to_the_byte(holding: Any) -> None:
    holding.ask(holding.task())
    (waits,) = held(holding)
    holding.decide(waits.digest, context=RELEASE)
    assert holding.wire.submitted == [waits.payload]
    assert held(holding) == []
    # the decision is in the journal before what it let out
    assert [event for event in events(holding) if event in ("HELD", "APPROVED", "RELEASED")][-3:] == [
        "HELD",
        "APPROVED",
        "RELEASED",
    ]


def test_word_about_bytes_lets_out_no_other_round(holding: Any) -> None:
    step(holding, 2)
    holding.decide(held(holding)[0].digest, context=RELEASE)
    step(holding, 3)
    assert (len(holding.wire.submitted), len(held(holding))) == (1, 1)


def test_word_about_a_series_lets_out_later_rounds_of_the_run_that_are_alike_and_no_other_run(holding: Any) -> None:
    step(holding, 2)
    (waits,) = held(holding)
    holding.decide(waits.digest, context=RELEASE)
    holding.decide(waits.series, context=SERIES)
    step(holding, 3)
    step(holding, 4)
    assert (len(holding.wire.submitted), held(holding)) == (3, [])
    step(holding, 2, run=b"another run 1234")
    assert (len(holding.wire.submitted), len(held(holding))) == (3, 1)


def test_round_with_other_fields_is_seen_though_the_run_was_released(holding: Any) -> None:
    holding.ask(holding.task())
    (first,) = held(holding)
    holding.decide(first.digest, context=RELEASE)
    holding.decide(first.series, context=SERIES)
    step(holding, 2)
    left = {(item.field, item.label) for item in holding.opened(first.payload).items}
    (second,) = held(holding)
    assert {(item.field, item.label) for item in holding.opened(second.payload).items} != left
    assert len(holding.wire.submitted) == 1


def test_policy_changed_after_a_look_asks_for_another(holding: Any) -> None:
    holding.ask(holding.task())
    (waits,) = held(holding)
    holding.adopt(ASKING + "cell_persons = 6\n")
    holding.decide(waits.digest, context=RELEASE)
    assert holding.wire.submitted == []
    (other,) = held(holding)
    assert (other.digest != waits.digest, other.series != waits.series) == (True, True)


def test_word_of_somebody_else_lets_nothing_out(holding: Any, tmp_path: Path) -> None:
    holding.ask(holding.task())
    (waits,) = held(holding)
    name = f"{waits.digest.hex()}.release"
    holding.decisions.make(holding.custodian, bytes(32), approved=True, context=RELEASE)
    (holding.home.decisions / f"{bytes(32).hex()}.release").rename(holding.home.decisions / name)
    holding.service.look_again()
    holding.service.work_off()
    holding.ask(holding.task())
    assert all(isinstance(answer, summary_pb2.Refusal) for answer in holding.answers())


# --------------------------------------------------------------------------- over time


def test_held_answer_and_the_word_about_it_outlast_a_restart(holding: Any) -> None:
    signed = holding.task()
    holding.ask(signed)
    (before,) = held(holding)
    holding.open()
    assert [one.digest for one in held(holding)] == [before.digest]
    holding.attach()
    holding.ask(signed)
    assert [one.digest for one in held(holding)] == [before.digest]
    assert events(holding).count("HELD") == 1, "noted once"
    holding.open()
    holding.decisions.make(holding.custodian, before.digest, approved=True, context=RELEASE)
    holding.attach()
    holding.ask(signed)
    assert holding.wire.submitted == [before.payload]


def test_answer_that_is_not_wanted_any_more_is_not_held(holding: Any) -> None:
    signed = holding.task()
    holding.ask(signed)
    (waits,) = held(holding)
    task = holding.wire.waits[0].task
    holding.service.withdrawal(exchange_pb2.Withdrawal(task=task, reason="DEADLINE"))
    holding.service.work_off()
    assert held(holding) == []
    holding.decide(waits.digest, context=RELEASE)
    assert holding.wire.submitted == []


def test_open_data_and_refusals_are_not_held(holding: Any) -> None:
    holding.ask(holding.task(purpose=2))
    assert holding.answers()[-1].code == "NOT_AS_PLANNED"
    holding.datasets.add("ADTTE", Source(str(holding.source)), open_data=True, replacing=True)
    holding.ask(holding.task())
    assert isinstance(holding.answers()[-1], summary_pb2.Summary)


def test_damaged_file_of_what_is_held_is_not_shown(holding: Any) -> None:
    holding.ask(holding.task())
    (path,) = holding.home.held.glob("*.held")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert held(holding) == []


# --------------------------------------------------------------------------- at the command line


def test_commands_say_what_is_not_held(isthmus_node: Callable[..., Any], token_file: Path) -> None:
    assert isthmus_node("join", token_file).code == 0
    assert isthmus_node("release", "list", "--json").data == {"held": []}
    for words in (("show",), ("approve", "--run"), ("refuse",)):
        said = isthmus_node("release", words[0], "0123456789ab", *words[1:], "--json")
        assert (said.code, said.error["code"]) == (2, "NOT_HELD")
