"""The state machine by itself: every transition, every policy, no database and no network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isthmus.errors import Refused
from isthmus.v1 import analyst_pb2, study_pb2
from isthmus_coordinator.analyses import turns
from isthmus_coordinator.analyses.run import Answer, Failure, LeftOut, Request, Run
from isthmus_coordinator.analyses.states import FINAL, TRANSITIONS, Event, State, check_transition, transition_allowed
from isthmus_methods import codec, contract as c
from isthmus_trust.documents import TASK
from isthmus_trust.identity import IdentityKey

from .conftest import Climb, dataset, spec

KEY = IdentityKey.generate()
NOW = 1_000_000_000


def sign(body: bytes) -> study_pb2.Signed:
    return KEY.sign(TASK, body)


def run_of(policy: int = study_pb2.FAIL, *, by_country: bool = False, **options: c.Setting) -> Run:
    study = study_pb2.Study(
        name="TRIAL",
        version=1,
        datasets=[dataset()],
        participants=[study_pb2.Participant(node=n, country=n.upper()) for n in ("nl", "be", "de")],
        by_country=by_country,
    )
    message = spec(**options)
    request = Request(
        run=b"r" * 16,
        study_digest=b"s" * 32,
        study=study,
        analysis="a",
        spec_message=message,
        spec=codec.spec_from_message(message, study),
        method=Climb(),
        purpose=study_pb2.TRIAL_ANALYSIS,
        missing_country=policy,
        deadline_seconds=60,
        requested_by="lead",
        submitted_at=NOW,
    )
    return Run(request=request, participants=("nl", "be", "de"))


def running(policy: int = study_pb2.FAIL, **options: c.Setting) -> Run:
    return turns.begin(run_of(policy, **options), sign, NOW).run


def answer(node: str, value: float = 1.0) -> Answer:
    cleared = c.Cleared(node.upper(), {("score", ""): np.array([value])})
    return Answer(node, b"d" * 32, NOW, cleared)


def refusal(node: str) -> Answer:
    return Answer(node, b"d" * 32, NOW, refusal=Failure("SMALL_CELL", "a rule", "a remedy", 12))


def gone(*nodes: str) -> dict[str, LeftOut]:
    return {node: LeftOut("missing", Failure("DEADLINE_PASSED", f"{node} late", "look", 17)) for node in nodes}


# --------------------------------------------------------------------------- the mapping


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("event", list(Event))
def test_transition_is_in_the_mapping_or_refused(state: State, event: Event) -> None:
    if (state, event) in TRANSITIONS:
        assert check_transition(state, event) is TRANSITIONS[state, event]
    else:
        assert not transition_allowed(state, event)
        with pytest.raises(Refused) as caught:
            check_transition(state, event)
        assert caught.value.code == "RUN_CLOSED"


def test_nothing_happens_after_a_final_state() -> None:
    assert {state for state, _ in TRANSITIONS}.isdisjoint(FINAL)


def test_every_state_is_reached_and_every_event_used() -> None:
    assert {*TRANSITIONS.values(), State.WAITING} == set(State)
    assert {event for _, event in TRANSITIONS} == set(Event)


# --------------------------------------------------------------------------- rounds


def test_approved_run_opens_its_first_round() -> None:
    run = running()
    assert (run.state, run.round, run.attempt) == (State.RUNNING, 1, 1)
    assert run.unanswered == ("nl", "be", "de")


def test_round_stays_open_until_all_have_answered() -> None:
    before = running()
    turn = turns.take_in(before, [answer("nl"), answer("de")], sign, NOW)
    assert turn.run.task is before.task
    assert turn.run.unanswered == ("be",)


def test_last_answer_opens_the_next_round() -> None:
    run = turns.take_in(running(), [answer("nl"), answer("be"), answer("de")], sign, NOW).run
    assert (run.round, dict(run.answers), run.measure, run.measured) == (2, {}, "slope", 3.0)
    assert run.task is not None
    assert run.task.state["beta"].tolist() == [0.1 * 3.0 / 3.0]
    assert run.task.memory["path"].tolist() == [0.1 * 3.0 / 3.0]


def test_order_of_arrival_does_not_change_the_sum() -> None:
    values = {"nl": 0.1, "be": 0.2, "de": 0.7}
    runs = []
    for order in (("nl", "be", "de"), ("de", "nl", "be"), ("be", "de", "nl")):
        run = running()
        for node in order:
            run = turns.take_in(run, [answer(node, values[node])], sign, NOW).run
        runs.append(run)
    assert len({run.task.digest for run in runs if run.task is not None}) == 1


def test_method_that_is_done_ends_the_run() -> None:
    run = turns.take_in(running(rounds=1), [answer("nl"), answer("be"), answer("de")], sign, NOW).run
    assert run.state is State.DONE
    result = analyst_pb2.Result.FromString(run.result or b"")
    assert (result.state, result.exact, result.rounds) == ("done", True, 1)


# --------------------------------------------------------------------------- countries that do not take part


@pytest.mark.parametrize("policy", [study_pb2.WAIT, study_pb2.FAIL])
def test_refusal_ends_a_run_that_needs_everybody(policy: int) -> None:
    turn = turns.take_in(running(policy), [answer("nl"), refusal("be")], sign, NOW)
    assert turn.run.state is State.FAILED
    assert [(w.node, w.reason) for w in turn.withdrawn] == [("de", "FAILED")]


def test_refusal_starts_a_run_again_without_that_country() -> None:
    before = turns.take_in(running(study_pb2.GO_ON_WITHOUT), [answer("nl")], sign, NOW).run
    after = turns.take_in(before, [refusal("be")], sign, NOW).run
    assert (after.attempt, after.round, after.participants) == (2, 1, ("nl", "de"))
    assert (dict(after.answers), dict(after.given)) == ({}, {})
    assert after.task is not None
    assert before.task is not None
    assert after.task.digest != before.task.digest
    assert dict(after.task.state) == {}
    # bytes that were received stay counted
    assert after.traffic["nl"][0] == 1


def test_deadline_means_what_the_analysis_says() -> None:
    for policy, state, attempt in (
        (study_pb2.WAIT, State.RUNNING, 1),
        (study_pb2.FAIL, State.FAILED, 1),
        (study_pb2.GO_ON_WITHOUT, State.RUNNING, 2),
    ):
        run = turns.take_in(running(policy), [answer("nl"), answer("de")], sign, NOW).run
        after = turns.out_of_time(run, sign, NOW).run
        assert (after.state, after.attempt) == (state, attempt)


def test_deadline_of_a_task_is_the_analysis_own_or_far_away() -> None:
    short, long = running(study_pb2.FAIL), running(study_pb2.WAIT)
    assert short.task is not None
    assert long.task is not None
    assert short.task.deadline == NOW + 60 * 10**9
    assert long.task.deadline > NOW + 365 * 24 * 3600 * 10**9


def test_run_without_anybody_left_fails() -> None:
    turn = turns.out_of_time(running(study_pb2.GO_ON_WITHOUT), sign, NOW)
    result = analyst_pb2.Result.FromString(turn.run.result or b"")
    assert (turn.run.state, result.failure.exit_code) == (State.FAILED, 17)
    assert all(country in result.failure.message for country in ("NL", "BE", "DE"))


@pytest.mark.parametrize(("by_country", "state"), [(False, State.FAILED), (True, State.RUNNING)])
def test_one_country_alone_goes_on_only_where_it_may_be_shown(by_country: bool, state: State) -> None:
    run = turns.begin(run_of(study_pb2.GO_ON_WITHOUT, by_country=by_country), sign, NOW).run
    assert turns.leave_out(run, gone("nl", "be"), "DEADLINE", sign, NOW).run.state is state


def test_country_that_refuses_the_study_is_left_out_before_the_first_round() -> None:
    run = run_of(study_pb2.GO_ON_WITHOUT)
    turn = turns.leave_out(run, {"be": turns.not_approved("BE", "be")}, "FAILED", sign, NOW)
    assert (turn.run.state, turn.run.attempt, turn.run.task) == (State.WAITING, 1, None)
    assert turn.run.participants == ("nl", "de")


def test_failed_run_names_every_missing_country() -> None:
    run = turns.take_in(running(), [answer("nl")], sign, NOW).run
    result = analyst_pb2.Result.FromString(turns.out_of_time(run, sign, NOW).run.result or b"")
    assert "BE, DE" in result.failure.message
    assert [k.state for k in result.contributions] == ["contributed", "missing", "missing"]


def test_state_too_large_for_a_message_ends_the_run() -> None:
    big = c.Cleared("NL", {("score", ""): np.ones(600_000)})
    answers = [replace(answer(node), cleared=replace(big, country=node.upper())) for node in ("nl", "be", "de")]
    result = analyst_pb2.Result.FromString(turns.take_in(running(), answers, sign, NOW).run.result or b"")
    assert result.failure.code == "STATE_TOO_LARGE"


def test_ended_run_takes_no_answers() -> None:
    ended = turns.cancel(running(), NOW).run
    with pytest.raises(Refused, match="RUN_CLOSED"):
        turns.take_in(ended, [answer("nl")], sign, NOW)


def test_changed_rows_are_allowed_after_a_new_start() -> None:
    run = turns.take_in(running(study_pb2.GO_ON_WITHOUT), [answer("nl")], sign, NOW).run
    run = turns.leave_out(run, gone("de"), "DEADLINE", sign, NOW).run
    changed = replace(answer("nl"), dataset_digest=b"e" * 32)
    assert turns.take_in(run, [changed], sign, NOW).run.state is State.RUNNING
