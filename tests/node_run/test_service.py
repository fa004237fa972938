"""The way of a task: what leaves, once, only after the journal, whatever happens on the way."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from isthmus.errors import ConfigError, UsageError
from isthmus.v1 import exchange_pb2, study_pb2, summary_pb2
from isthmus_methods.registry import METHODS
from isthmus_node import answering as answering_module
from isthmus_node.egress.journal import Journal
from isthmus_node.egress.journal_read import read
from isthmus_node.link import submit as submit_module
from isthmus_node.sources import Source
from isthmus_trust.documents import DECISION, canonical, digest, open_signed


class Killed(BaseException):
    """The process is gone: nothing after this line runs."""


def events(site: Any) -> list[str]:
    return [entry.record.event for entry in read(site.home.journal)]


def payloads(site: Any) -> list[bytes]:
    return [entry.payload for entry in read(site.home.journal) if entry.payload]


def only(site: Any) -> summary_pb2.Summary | summary_pb2.Refusal:
    (answer,) = site.answers()
    return answer


# --------------------------------------------------------------------------- what leaves


def test_answer_is_a_signed_summary_with_declared_fields_only(site: Any) -> None:
    signed = site.task()
    site.ask(signed)
    summary = only(site)
    assert isinstance(summary, summary_pb2.Summary)
    assert {item.field for item in summary.items} <= set(METHODS["cox"].leaves)
    assert set(summary.notes) <= set(METHODS["cox"].notes)
    assert (summary.task, summary.node, summary.country) == (digest(signed.body), "nl", "NL")
    assert not summary.ListFields()[0][0].message_type
    # nothing rides along: the bytes are the canonical ones of what was read
    assert site.wire.submitted == [canonical(study_pb2.Signed.FromString(site.wire.submitted[0]))]


def test_bytes_sent_are_the_bytes_in_the_journal(site: Any) -> None:
    site.ask(site.task())
    assert payloads(site) == site.wire.submitted
    assert events(site)[-2:] == ["RELEASED", "ACKNOWLEDGED"]


def test_record_of_an_answer_has_the_task_as_the_coordinator_signed_it(site: Any) -> None:
    signed = site.task()
    site.ask(signed)
    (record,) = [entry.record for entry in read(site.home.journal) if entry.record.event == "RELEASED"]
    assert record.document == canonical(signed)
    assert record.task == digest(signed.body)


def test_record_of_a_refusal_has_the_task_too(site: Any) -> None:
    signed = site.task(round=9999)
    site.ask(signed)
    (record,) = [entry.record for entry in read(site.home.journal) if entry.record.event == "REFUSED"]
    assert record.document == canonical(signed)


def test_record_of_a_decision_has_it_as_the_custodian_signed_it(site: Any) -> None:
    (record,) = [entry.record for entry in read(site.home.journal) if entry.record.event == "APPROVED"]
    decision = open_signed(study_pb2.Signed.FromString(record.document), DECISION, study_pb2.Decision)
    assert (decision.study_digest, decision.approved) == (record.study_digest, True)


def test_no_row_of_the_source_is_in_the_bytes(site: Any) -> None:
    site.ask(site.task())
    for text in ("P17", "USUBJID", str(site.source)):
        assert text.encode() not in site.wire.submitted[0]


def test_task_that_comes_with_a_receipt_is_answered_and_once(site: Any) -> None:
    first, second = site.task(), site.task(run=b"s" * 16)
    site.wire.following = second
    site.service.task(first)
    site.service.task(second)  # on the stream too, while the first is under way
    site.service.work_off()
    assert [a.task for a in site.answers()] == [digest(first.body), digest(second.body)]
    # what the receipt of the second brought, again the second, was answered from the journal and asked no more
    assert len(set(site.wire.submitted)) == 2


def test_submit_takes_nothing_but_what_the_journal_holds(site: Any) -> None:
    with pytest.raises(TypeError):
        submit_module.submit(site.wire, b"bytes that are in no journal")
    assert site.wire.submitted == []


def test_large_answer_goes_in_chunks_and_arrives_whole(
    site: Any, coordinator: Any, dial: Any, fast: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from isthmus_node.link.channel import Session, open_channel

    monkeypatch.setattr(submit_module, "CHUNK", 100)
    site.ask(site.task())
    kept = site.journal.find_release(digest(site.task().body)) or site.journal.find_release(site.answers()[0].task)
    channel = open_channel(dial, fast)
    try:
        submit_module.submit(Session(channel, fast), kept)
    finally:
        channel.close()
    assert coordinator.exchange.submissions == [kept.payload]
    assert len(coordinator.exchange.chunk_sizes) > 1
    assert max(coordinator.exchange.chunk_sizes) <= 100


def test_chunk_is_far_below_the_limit_of_a_message() -> None:
    assert submit_module.CHUNK == 1024 * 1024


# --------------------------------------------------------------------------- once, whatever happens


def test_same_task_again_gets_the_same_bytes_and_is_not_computed_again(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed = site.task()
    site.ask(signed)

    def never(*arguments: object) -> None:
        raise AssertionError("computed twice")

    monkeypatch.setattr(answering_module, "answer", never)
    site.ask(signed)
    assert len(site.wire.submitted) == 2
    assert len(set(site.wire.submitted)) == 1
    assert len(payloads(site)) == 1


# where the process dies: the name says which step had not happened yet
STEPS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {}


def step(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    def add(function: Callable[..., None]) -> Callable[..., None]:
        STEPS[name] = function
        return function

    return add


def kill(*arguments: object, **more: object) -> None:
    raise Killed


@step("computed")
def _computed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(answering_module, "answer", kill)


@step("judged")
def _judged(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(answering_module, "judge", kill)


@step("encoded")
def _encoded(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(answering_module, "encode", kill)


@step("journaled")
def _journaled(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Journal, "release", kill)


@step("sent")
def _sent(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("isthmus_node.service.submit", kill)


@step("acknowledged")
def _acknowledged(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Journal, "acknowledged", kill)


@pytest.mark.parametrize("before", STEPS)
def test_node_killed_at_any_step_gives_one_entry_and_the_same_bytes(
    site: Any, before: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed = site.task()
    with monkeypatch.context() as patch:
        STEPS[before](patch)
        with pytest.raises(Killed):
            site.ask(signed)
    already = list(site.wire.submitted)
    site.open()
    site.attach()
    site.announce()
    site.ask(signed)
    assert len(payloads(site)) == 1
    assert set(site.wire.submitted) == set(payloads(site))
    assert already in ([], payloads(site))
    assert site.journal.unacknowledged() == ()


@pytest.mark.parametrize("before", ["sent", "acknowledged"])
def test_restarted_node_settles_by_itself_what_is_journaled_and_not_acknowledged(
    site: Any, before: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        STEPS[before](patch)
        with pytest.raises(Killed):
            site.ask(site.task())
    site.wire.submitted.clear()
    site.open()
    site.attach()
    assert site.wire.submitted == payloads(site)
    assert site.journal.unacknowledged() == ()


def test_answer_that_the_link_did_not_carry_is_sent_on_the_next_connection(site: Any, failing: Any) -> None:
    site.wire.failures = [failing(grpc.StatusCode.UNAVAILABLE)]
    site.ask(site.task())
    assert site.wire.submitted == []
    assert site.distrusted == 1
    site.service.detached()
    site.attach()
    assert site.wire.submitted == payloads(site)


def test_answer_made_while_away_is_sent_on_the_next_connection(site: Any) -> None:
    site.service.detached()
    site.ask(site.task())
    assert site.wire.submitted == []
    site.attach()
    assert site.wire.submitted == payloads(site)


def test_answer_that_is_not_wanted_any_more_is_not_sent_for_ever(site: Any, failing: Any, lines: Any) -> None:
    closed = UsageError("TASK_CLOSED", "the round is over", "nothing")
    site.wire.failures = [failing(grpc.StatusCode.INVALID_ARGUMENT, closed)]
    site.ask(site.task())
    site.service.settle_again()
    site.service.work_off()
    assert site.wire.submitted == []
    assert [line["code"] for line in lines.named("not-wanted")] == ["TASK_CLOSED"]
    assert site.distrusted == 0


def test_fault_at_the_coordinator_is_tried_again_later(site: Any, failing: Any) -> None:
    full = ConfigError("DISK_FULL", "the coordinator's disk is full", "make room")
    site.wire.failures = [failing(grpc.StatusCode.FAILED_PRECONDITION, full)]
    site.ask(site.task())
    site.service.settle_again()
    site.service.work_off()
    assert site.wire.submitted == payloads(site)


# --------------------------------------------------------------------------- the journal cannot be written


def test_nothing_is_sent_where_the_journal_cannot_be_written(
    site: Any, monkeypatch: pytest.MonkeyPatch, lines: Any
) -> None:
    def full(self: Journal, outbound: object, order: bytes, seen: bytes) -> None:
        raise ConfigError("JOURNAL_NOT_WRITABLE", "no space left on device", "make room")

    before = payloads(site)
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "release", full)
        site.ask(site.task())
    assert site.wire.submitted == []
    assert payloads(site) == before
    assert [line["code"] for line in lines.named("journal-fault")] == ["JOURNAL_NOT_WRITABLE"]
    # and it recovers without being asked again
    site.service.settle_again()
    site.service.work_off()
    assert len(site.wire.submitted) == 1
    assert site.wire.submitted == payloads(site)


def test_nothing_is_sent_where_the_disk_is_full_for_real(
    site: Any, monkeypatch: pytest.MonkeyPatch, lines: Any
) -> None:
    import os

    def no_room(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", no_room)
        site.ask(site.task())
    assert site.wire.submitted == []
    assert "No space left" in str(lines.named("journal-fault")[0]["message"])
    site.service.settle_again()
    site.service.work_off()
    assert site.wire.submitted == payloads(site)


def test_task_is_not_lost_where_a_decision_cannot_be_journaled_first(
    site: Any, monkeypatch: pytest.MonkeyPatch, lines: Any
) -> None:
    def full(self: Journal, record: object) -> None:
        raise ConfigError("JOURNAL_NOT_WRITABLE", "no space left on device", "make room")

    site.decisions.make(site.custodian, digest(canonical(site.study)), approved=True, reason="once more")
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append", full)
        site.ask(site.task())
    assert site.wire.submitted == []
    site.service.settle_again()
    site.service.work_off()
    assert len(site.wire.submitted) == 1
    assert events(site)[-4:] == ["APPROVED", "AUDITED", "RELEASED", "ACKNOWLEDGED"]


# --------------------------------------------------------------------------- refusals


def refused(site: Any) -> summary_pb2.Refusal:
    answer = only(site)
    assert isinstance(answer, summary_pb2.Refusal)
    return answer


def test_refusal_is_journaled_and_sent_like_an_answer(site: Any) -> None:
    site.ask(site.task(analysis="another"))
    assert refused(site).code == "NOT_IN_PLAN"
    assert payloads(site) == site.wire.submitted
    assert events(site)[-2:] == ["REFUSED", "ACKNOWLEDGED"]


def test_unknown_exception_leaves_no_text_behind(site: Any, monkeypatch: pytest.MonkeyPatch, lines: Any) -> None:
    def quoting(*arguments: object) -> None:
        raise ValueError("could not convert string to float: 'P17 97 years'")

    monkeypatch.setattr(answering_module, "answer", quoting)
    site.ask(site.task())
    refusal = refused(site)
    assert refusal.code == "BUG"
    assert b"P17" not in site.wire.submitted[0]
    assert "P17" not in lines.stream.getvalue()
    assert lines.named("fault") == [{**lines.named("fault")[0], "kind": "ValueError"}]


def test_small_cells_are_refused_with_the_rule_and_no_count(site: Any) -> None:
    # three patients of one level among two hundred
    text = site.source.read_text().splitlines()
    kept = [line.replace(",B,", ",A,") for line in text[1:]]
    kept[:3] = [line.replace(",A,", ",B,") for line in kept[:3]]
    site.source.write_text("\n".join([text[0], *kept]) + "\n")
    site.ask(site.task())
    refusal = refused(site)
    assert "5" in refusal.rule, "the policy's own threshold"
    assert "3 " not in refusal.rule


def test_dataset_that_does_not_fit_is_refused_without_counts(site: Any) -> None:
    text = site.source.read_text()
    site.source.write_text(text.replace("AVAL", "AVALUE", 1))
    site.ask(site.task())
    refusal = refused(site)
    assert refusal.code == "DATA_DO_NOT_ALLOW"
    assert "site" in refusal.remedy
    assert not any(character.isdigit() for character in refusal.rule + refusal.remedy)


def test_dataset_that_is_not_there_is_refused(site: Any) -> None:
    site.datasets.remove("ADTTE")
    site.ask(site.task())
    assert refused(site).code == "DATA_DO_NOT_ALLOW"


def test_dataset_changed_between_rounds_stops_the_run(site: Any) -> None:
    site.ask(site.task())
    site.source.write_text(site.source.read_text() + "P9999,NL,A,61.0,77,0\n")
    site.ask(site.task(round=2))
    assert [type(answer).__name__ for answer in site.answers()] == ["Summary", "Refusal"]
    assert site.answers()[1].code == "DATASET_CHANGED"


def test_round_two_of_a_run_this_node_never_saw_is_answered(site: Any) -> None:
    from isthmus.v1 import values_pb2

    site.ask(site.task())
    (first,) = site.answers()
    assert isinstance(first, summary_pb2.Summary)
    beta = values_pb2.NamedArray(name="beta", array=values_pb2.Array(shape=[2], doubles=bytes(16)))
    site.open()
    site.attach()
    site.ask(site.task(run=b"another run 1234", round=2, state=[beta]))
    answer = site.answers()[-1]
    # whether this state suits the method is the method's to say; that the run is unknown is no reason
    assert isinstance(answer, summary_pb2.Summary) or answer.code not in ("DATASET_CHANGED", "ROUND_OUT_OF_BOUNDS")


def test_policy_tightened_in_a_run_holds_before_the_next_answer(site: Any) -> None:
    site.ask(site.task())
    text = site.home.policy.read_text()
    site.adopt(text.replace("[methods]", '[methods]\nallow = ["table_one"]', 1))
    site.ask(site.task(run=b"x" * 16))
    assert site.answers()[-1].code == "METHOD_NOT_ALLOWED"


def test_misspelt_policy_stops_everything_that_would_leave(site: Any) -> None:
    site.home.policy.write_text("[purpose.trial_analysis]\ncell_persns = 5\n")
    site.ask(site.task())
    assert refused(site).code == "POLICY_UNKNOWN_KEY"


# --------------------------------------------------------------------------- waiting for a person


def test_task_over_an_undecided_study_waits_and_goes_on_after_approval(tmp_path: Path, lines: Any, make_site: Any):
    site = make_site(tmp_path, lines.log)
    site.open()
    site.attach()
    name = site.announce()
    site.ask(site.task())
    assert site.wire.submitted == []
    assert site.service.waiting() == 1
    site.decide(name)
    assert isinstance(only(site), summary_pb2.Summary)
    assert site.service.waiting() == 0
    assert [signed.context for signed in site.wire.decided] == ["isthmus/decision/1"]


def test_task_that_comes_before_its_study_waits_for_it(tmp_path: Path, lines: Any, make_site: Any) -> None:
    site = make_site(tmp_path, lines.log)
    site.open()
    site.attach()
    site.ask(site.task())
    assert site.service.waiting() == 1
    site.decide(site.announce())
    assert isinstance(only(site), summary_pb2.Summary)


def test_declined_study_refuses_what_waits(tmp_path: Path, lines: Any, make_site: Any) -> None:
    site = make_site(tmp_path, lines.log)
    site.open()
    site.attach()
    name = site.announce()
    site.ask(site.task())
    site.decide(name, approved=False)
    assert refused(site).code == "STUDY_DECLINED"


def test_withdrawn_approval_stops_the_next_round(site: Any) -> None:
    site.ask(site.task())
    site.decide(digest(canonical(site.study)), approved=False)
    site.ask(site.task(run=b"x" * 16))
    assert site.answers()[-1].code == "STUDY_DECLINED"


def test_withdrawn_task_is_dropped_while_it_waits(tmp_path: Path, lines: Any, make_site: Any) -> None:
    site = make_site(tmp_path, lines.log)
    site.open()
    site.attach()
    name = site.announce()
    signed = site.task()
    site.ask(signed)
    site.service.withdrawal(exchange_pb2.Withdrawal(task=digest(signed.body), reason="CANCELLED"))
    site.decide(name)
    assert site.wire.submitted == []
    assert site.service.waiting() == 0


def test_withdrawn_task_under_way_is_not_released(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    signed = site.task()
    real = answering_module.answer

    def interrupted(*arguments: Any) -> object:
        site.service.withdrawal(exchange_pb2.Withdrawal(task=digest(signed.body), reason="CANCELLED"))
        return real(*arguments)

    monkeypatch.setattr(answering_module, "answer", interrupted)
    site.ask(signed)
    assert site.wire.submitted == []
    assert payloads(site) == []


def test_analysis_outside_the_plan_waits_for_a_person_and_shows_what_is_asked(site: Any) -> None:
    from isthmus_trust.documents import REQUEST, request_digest

    signed = site.task(analysis="")
    site.ask(signed)
    (path,) = site.home.waiting.glob("*.pb")
    task = summary_pb2.Task.FromString(path.read_bytes())
    assert path.stem == request_digest(task).hex()
    site.decide(request_digest(task), context=REQUEST)
    assert isinstance(only(site), summary_pb2.Summary)
    assert list(site.home.waiting.glob("*.pb")) == []
    # the word holds for every round and run of the same request, not for another
    site.ask(site.task(analysis="", run=b"y" * 16))
    assert len(site.wire.submitted) == 2
    other = study_pb2.Study.FromString(canonical(site.study)).plan[0].spec
    del other.terms[1]
    site.ask(site.task(analysis="", spec=other, run=b"z" * 16))
    assert len(site.wire.submitted) == 2
    assert site.wire.decided[1:] == [], "the coordinator is told of studies only"


# --------------------------------------------------------------------------- whose word counts


def test_task_of_somebody_else_is_neither_answered_nor_journaled(site: Any, lines: Any) -> None:
    from isthmus_trust.documents import TASK
    from isthmus_trust.identity import IdentityKey

    site.ask(IdentityKey.generate().sign(TASK, site.task().body))
    assert site.wire.submitted == []
    assert payloads(site) == []
    assert [line["code"] for line in lines.named("task-not-taken")] == ["WRONG_SIGNER"]


def test_changed_study_is_not_taken(site: Any, lines: Any) -> None:
    from isthmus_trust.documents import STUDY

    signed = site.author.sign(STUDY, canonical(site.study))
    site.service.study(
        study_pb2.Signed(
            context=signed.context,
            body=signed.body + b"\x10\x02",
            public_key=signed.public_key,
            signature=signed.signature,
        )
    )
    site.service.work_off()
    assert [line["code"] for line in lines.named("study-not-taken")] == ["BAD_SIGNATURE"]
    assert len(list(site.home.studies.iterdir())) == 1


def test_one_fault_does_not_end_the_work(site: Any, lines: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(type(site.shelf), "put", lambda self, signed: 1 / 0)
        site.announce()
    assert lines.named("fault")[0]["kind"] == "ZeroDivisionError"
    site.ask(site.task())
    assert isinstance(only(site), summary_pb2.Summary)


def test_hello_names_methods_and_datasets_and_counts_nothing(site: Any) -> None:
    hello = site.service.hello()
    assert list(hello.datasets) == ["ADTTE"]
    assert "cox/1" in hello.methods
    assert {field.name for field, _ in hello.ListFields()} == {"software", "methods", "datasets", "limits"}


def test_approved_study_is_held_against_the_data_at_once(tmp_path: Path, lines: Any, make_site: Any) -> None:
    site = make_site(tmp_path, lines.log)
    site.open()
    site.attach()
    name = site.announce()
    site.decide(name)
    assert [line["dataset"] for line in lines.named("data-ready")] == ["ADTTE"]
    site.source.write_text("USUBJID,ARM\nP1,A\n")
    site.decide(name)
    (line,) = lines.named("data-unfit")
    assert line["code"] == "DICTIONARY_MISMATCH"
    assert "message" not in line  # words about data are for the screen of who asks: isthmus-node check


def test_new_dataset_is_journaled_and_the_coordinator_greeted_again(site: Any, tmp_path: Path) -> None:
    greeted: list[int] = []
    site.service._greet_again = lambda: greeted.append(1)
    site.datasets.add("ADSL", Source(str(site.source)))
    site.service.look_again()
    site.service.work_off()
    assert greeted == [1]
    assert events(site).count("DATA_ADDED") == 2


def test_deadline_that_is_over_is_said(site: Any) -> None:
    site.ask(site.task(deadline=time.time_ns() - 1))
    assert refused(site).code == "DEADLINE_PAST"


def test_log_holds_no_value_of_a_row(site: Any, lines: Any) -> None:
    for changes in ({}, {"analysis": "x"}, {"run": b"r" * 16}):
        site.ask(site.task(**changes))
    ages = {line.split(",")[3] for line in site.source.read_text().splitlines()[1:]}
    text = lines.stream.getvalue()
    with contextlib.suppress(KeyError):
        ages.remove("")
    assert not [age for age in ages if f'"{age}"' in text or f" {age} " in text]
