"""Runs from request to result over a real port: rounds, policies for missing countries, restarts."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus.v1 import analyst_pb2, exchange_pb2, study_pb2, summary_pb2
from isthmus_methods import codec, contract as c
from isthmus_trust.documents import digest, open_signed

from .conftest import Climb, FakeNode, Region, alone, call, find_climb, score_of, spec


def expected(nodes: list[FakeNode], rounds: int = 4) -> list[float]:
    """The path of `Climb` over these nodes, computed without a coordinator."""
    state: dict[str, np.ndarray] = {}
    path: list[float] = []
    for _ in range(rounds):
        total = np.zeros(1)
        for k, node in enumerate(nodes):
            total = score_of(node.rows, state) if k == 0 else total + score_of(node.rows, state)
        state = {"beta": state.get("beta", np.zeros(1)) + 0.1 * total / 3.0}
        path.append(float(state["beta"].sum()))
    return path


def path_of(result: analyst_pb2.Result) -> list[float]:
    answer = codec.answer_from_message(result.answer)
    assert isinstance(answer, dict)
    path = answer["path"]
    assert isinstance(path, list)
    return path


def test_run_gives_the_sum_over_countries_to_the_bit(region: Region) -> None:
    nodes = [node.attach() for node in region.nodes("nl", "be", "de")]
    result = region.result(region.submit(region.approved(nodes), "fail"))
    assert result.state == "done"
    assert path_of(result) == expected(nodes)
    assert result.exact
    assert list(result.caveats) == []
    assert result.rounds == 4
    assert [(k.country, k.state, k.releases) for k in result.contributions] == [
        ("NL", "contributed", 4),
        ("BE", "contributed", 4),
        ("DE", "contributed", 4),
    ]
    assert all(k.bytes > 0 and k.policy_digest == b"p" * 32 for k in result.contributions)


def test_tasks_carry_study_round_state_and_participants(region: Region) -> None:
    nodes = [node.attach() for node in region.nodes("nl", "be")]
    study_digest = region.approved(nodes)
    run = region.submit(study_digest, "fail")
    region.result(run)
    tasks = nodes[0].tasks
    assert [task.round for task in tasks] == [1, 2, 3, 4]
    assert all(task.run == run and task.study_digest == study_digest and task.analysis == "fail" for task in tasks)
    assert all(list(task.participants) == ["nl", "be"] for task in tasks)
    assert not tasks[0].state
    assert [array.name for array in tasks[1].state] == ["beta"]
    assert [t.SerializeToString(deterministic=True) for t in tasks] == [
        t.SerializeToString(deterministic=True) for t in nodes[1].tasks
    ]


def test_task_is_signed_by_the_coordinator(region: Region) -> None:
    (node,) = region.nodes("nl")
    region.submit(region.approved([node]), "fail")
    node.silent = True
    signed = node.attach().next("task")
    task = open_signed(signed, "isthmus/task/1", summary_pb2.Task, region.coordinator.office.identity.public)
    assert task.round == 1


def test_run_waits_for_approvals_and_says_whose(region: Region) -> None:
    nodes = [node.attach() for node in region.nodes("nl", "be")]
    study_digest = region.propose(region.study(nodes))
    nodes[0].decide(study_digest)
    run = region.submit(study_digest, "fail")
    progress = region.watch(run, lambda p: True)
    assert progress.state == "waiting"
    assert {k.country: k.state for k in progress.countries}["BE"] == "waiting for approval"
    assert {k.country: k.state for k in progress.countries}["NL"] != "waiting for approval"
    error = alone(region.lead.analyst.GetResult, analyst_pb2.GetResultRequest(run=run))
    assert (error.code, error.exit_code) == ("WAITING_FOR_APPROVAL", 13)
    assert "BE" in error.message
    assert "NL" not in error.message
    nodes[1].decide(study_digest)
    assert region.result(run).state == "done"


def test_study_is_put_before_attached_and_attaching_nodes(region: Region) -> None:
    early, late = region.nodes("nl", "be")
    early.attach().next("welcome")
    study_digest = region.propose(region.study([early, late]))
    assert digest(early.next("study").body) == study_digest
    assert digest(late.attach().next("study").body) == study_digest
    early.decide(study_digest)
    early.detach()
    early.attach()
    region.submit(study_digest, "fail")
    late.decide(study_digest)
    while not early.messages.empty():
        assert not early.messages.get().HasField("study")


def test_next_task_comes_with_the_receipt_and_not_on_the_stream_too(region: Region) -> None:
    nodes = region.nodes("nl", "be")
    for node in nodes:
        node.attach()
    result = region.result(region.submit(region.approved(nodes), "wait"))
    for node in nodes:
        assert [task.round for task in node.tasks] == list(range(1, result.rounds + 1))
    # whoever answers last in a round hears of the next with its receipt, and the stream does not say it too
    on_streams = sum(message.HasField("task") for node in nodes for message in list(node.messages.queue))
    assert on_streams <= result.rounds + 1


def test_task_that_was_lost_with_its_receipt_is_told_again(region: Region) -> None:
    region.heartbeat = 0.05
    region.restart()
    nodes = region.nodes("nl", "be")
    for node in nodes:
        node.loses_receipts = True
        node.attach()
    result = region.result(region.submit(region.approved(nodes), "wait"))
    assert result.state == "done"
    assert [task.round for task in nodes[0].tasks] == list(range(1, result.rounds + 1))


def test_refusal_ends_the_run_with_its_code_and_country(region: Region) -> None:
    nodes = region.nodes("nl", "be")
    nodes[1].refuse = ("SMALL_CELL", "a cell has fewer than 5 persons", "merge categories")
    for node in nodes:
        node.attach()
    result = region.result(region.submit(region.approved(nodes), "wait"))
    assert result.state == "failed"
    assert (result.failure.code, result.failure.exit_code) == ("SMALL_CELL", 12)
    assert "BE refused" in result.failure.message
    assert result.failure.remedy == "merge categories"
    assert [k.state for k in result.contributions][1] == "refused"
    assert not result.HasField("answer")


def test_words_of_a_refusal_are_made_fit_to_show(region: Region) -> None:
    (node,) = region.nodes("nl")
    node.refuse = ("A\x1b[31m", "rule\0" * 1000, "")
    node.attach()
    failure = region.result(region.submit(region.approved([node]), "fail")).failure
    assert failure.code == "A\\u001b[31m"
    assert failure.message.isprintable()
    assert len(failure.message) < 1100
    assert failure.remedy


def test_run_goes_on_without_a_country_that_refuses(region: Region) -> None:
    nodes = region.nodes("nl", "be", "de")
    nodes[1].refuse = ("SMALL_CELL", "a cell has fewer than 5 persons", "merge categories")
    for node in nodes:
        node.attach()
    result = region.result(region.submit(region.approved(nodes), "go-on"))
    assert result.state == "done"
    assert path_of(result) == expected([nodes[0], nodes[2]])
    assert not result.exact
    assert "BE is not in this result" in result.caveats[0]
    assert [k.state for k in result.contributions] == ["contributed", "refused", "contributed"]


def test_run_goes_on_without_a_missing_country_from_the_first_round(region: Region) -> None:
    nodes = region.nodes("nl", "be", "de")
    nodes[1].silent_from = 3
    for node in nodes:
        node.attach()
    run = region.submit(region.approved(nodes), "go-on")
    region.watch(run, lambda p: p.round == 3 and [k.state for k in p.countries].count("answered") == 2)
    region.forward(3599)
    assert not nodes[1].withdrawn
    region.forward(2)
    result = region.result(run)
    assert result.state == "done"
    # as if BE had never taken part: nothing of the first attempt is in it
    assert path_of(result) == expected([nodes[0], nodes[2]])
    assert [t.round for t in nodes[0].tasks] == [1, 2, 3, 1, 2, 3, 4]
    assert [k.state for k in result.contributions] == ["contributed", "missing", "contributed"]
    assert result.contributions[1].failure.exit_code == 17
    assert "did not answer round 3" in result.caveats[0]
    assert nodes[1].next("withdrawal").reason == "DEADLINE"


def test_run_that_must_have_every_country_fails_at_the_deadline(region: Region) -> None:
    nodes = region.nodes("nl", "be")
    nodes[1].silent = True
    for node in nodes:
        node.attach()
    run = region.submit(region.approved(nodes), "fail")
    region.watch(run, lambda p: p.countries[0].state == "answered")
    region.forward(3601)
    result = region.result(run)
    assert (result.state, result.failure.exit_code) == ("failed", 17)
    assert "BE (node be) did not answer round 1 within 3600 s" in result.failure.message


def test_run_that_waits_outlives_its_deadline(region: Region) -> None:
    nodes = region.nodes("nl", "be")
    nodes[0].attach()
    run = region.submit(region.approved(nodes), "wait")
    progress = region.watch(run, lambda p: p.countries[0].state == "answered")
    assert progress.countries[1].state == "away"
    region.forward(10 * 3600)
    nodes[1].attach()
    assert region.result(run).state == "done"


def test_two_countries_do_not_become_one_where_results_by_country_are_not_shown(region: Region) -> None:
    nodes = region.nodes("nl", "be")
    nodes[1].refuse = ("SMALL_CELL", "a rule", "a remedy")
    for node in nodes:
        node.attach()
    result = region.result(region.submit(region.approved(nodes), "go-on"))
    assert (result.state, result.failure.code, result.failure.exit_code) == ("failed", "TOO_FEW_COUNTRIES", 17)
    shown = region.study(nodes, version=2, by_country=True)
    study_digest = region.propose(shown)
    for node in nodes:
        node.decide(study_digest)
    assert region.result(region.submit(study_digest, "go-on")).state == "done"


def test_withheld_fields_and_notes_stand_in_the_result(region: Region) -> None:
    nodes = region.nodes("nl", "be", "de")
    nodes[0].withhold = True
    nodes[1].notes = nodes[2].notes = ("FLAT",)
    for node in nodes:
        node.attach()
    result = region.result(region.submit(region.approved(nodes), "fail"))
    assert list(result.caveats) == ["NL withheld: cells[arm]: SMALL_CELL.", "BE and DE did not slope."]
    assert not result.exact
    assert list(result.contributions[0].withheld) == ["cells[arm]: SMALL_CELL"]


def test_field_that_others_made_up_for_is_told_and_is_no_caveat(
    region: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Climb, "made_up_for", frozenset({"cells"}))
    (node,) = region.nodes("nl")
    node.withhold = True
    node.attach()
    result = region.result(region.submit(region.approved([node]), "fail"))
    assert list(result.caveats) == []
    assert result.exact
    assert list(result.contributions[0].withheld) == ["cells[arm]: SMALL_CELL"]


def test_note_alone_leaves_the_result_exact(region: Region) -> None:
    (node,) = region.nodes("nl")
    node.notes = ("FLAT",)
    node.attach()
    result = region.result(region.submit(region.approved([node]), "fail"))
    assert result.exact
    assert list(result.caveats) == ["NL did not slope."]


@pytest.mark.parametrize(("known", "said"), [({"BE"}, ["DE did not slope."]), ({"BE", "DE"}, [])])
def test_note_that_is_no_news_over_all_countries_is_not_told(
    region: Region, monkeypatch: pytest.MonkeyPatch, known: set[str], said: list[str]
) -> None:
    monkeypatch.setattr(Climb, "no_news", {"FLAT": frozenset(known)})
    nodes = region.nodes("nl", "be", "de")
    nodes[1].notes = nodes[2].notes = ("FLAT",)
    for node in nodes:
        node.attach()
    result = region.result(region.submit(region.approved(nodes), "fail"))
    assert list(result.caveats) == said


@pytest.mark.parametrize(("fault", "code", "exit_code"), [("method", "SEPARATION", 11), ("bug", "BUG", 1)])
def test_fault_in_pooling_ends_the_run(
    region: Region, caplog: pytest.LogCaptureFixture, fault: str, code: str, exit_code: int
) -> None:
    (node,) = region.nodes("nl")
    node.attach()
    analysis = study_pb2.Analysis(spec=spec(fault=fault), missing_country=study_pb2.FAIL)
    result = region.result(region.submit(region.approved([node]), exploratory=analysis))
    assert (result.state, result.failure.code, result.failure.exit_code) == ("failed", code, exit_code)
    assert "secret" not in str(result)


def test_method_that_does_not_end_is_stopped(region: Region) -> None:
    (node,) = region.nodes("nl")
    node.attach()
    analysis = study_pb2.Analysis(spec=spec(rounds=1000), missing_country=study_pb2.FAIL)
    result = region.result(region.submit(region.approved([node]), exploratory=analysis))
    assert (result.failure.code, result.rounds) == ("NOT_CONVERGED", Climb.rounds[1])


def test_rows_that_change_between_rounds_end_the_run(region: Region) -> None:
    nodes = region.nodes("nl", "be")
    nodes[0].attach()
    nodes[1].silent_from = 2
    nodes[1].attach()
    run = region.submit(region.approved(nodes), "wait")
    region.watch(run, lambda p: p.round == 2)
    nodes[1].detach()
    nodes[1].dataset_digest = b"e" * 32
    nodes[1].silent_from = 10**9
    nodes[1].attach()
    assert region.result(run).failure.code == "DATASET_CHANGED"


def test_cancelled_run_ends_and_its_tasks_are_withdrawn(region: Region) -> None:
    (node,) = region.nodes("nl")
    node.silent = True
    node.attach()
    run = region.submit(region.approved([node]), "wait")
    node.next("task")
    call(region.lead.analyst.Cancel, analyst_pb2.CancelRequest(run=run))
    assert node.next("withdrawal").reason == "CANCELLED"
    assert region.result(run).state == "cancelled"
    assert alone(region.lead.analyst.Cancel, analyst_pb2.CancelRequest(run=run)).code == "RUN_CLOSED"


def test_custodian_who_changes_his_mind_ends_the_run(region: Region) -> None:
    nodes = region.nodes("nl", "be")
    nodes[0].attach()
    study_digest = region.approved(nodes)
    run = region.submit(study_digest, "wait")
    region.watch(run, lambda p: p.countries[0].state == "answered")
    nodes[1].decide(study_digest, approved=False)
    result = region.result(run)
    assert (result.failure.code, result.failure.exit_code) == ("STUDY_REFUSED", 12)


# --------------------------------------------------------------------------- restarts


@pytest.mark.parametrize("stop_at", [1, 2, 3, 4])
def test_restarted_coordinator_gives_the_same_result_to_the_bit(region: Region, stop_at: int) -> None:
    nodes = region.nodes("nl", "be", "de")
    nodes[1].silent_from = stop_at
    for node in nodes:
        node.attach()
    run = region.submit(region.approved(nodes), "fail")
    region.watch(run, lambda p: p.round == stop_at and [k.state for k in p.countries].count("answered") == 2)
    region.restart()
    nodes[1].silent_from = 10**9
    for node in nodes:
        node.attach()
    result = region.result(run)
    assert path_of(result) == expected(nodes)
    # countries that had answered are not asked again
    assert [task.round for task in nodes[0].tasks] == [1, 2, 3, 4]
    assert [(k.releases, k.state) for k in result.contributions] == [(4, "contributed")] * 3


def test_restarted_coordinator_starts_a_run_that_waited(region: Region) -> None:
    (node,) = region.nodes("nl")
    study_digest = region.propose(region.study([node]))
    run = region.submit(study_digest, "fail")
    region.restart()
    node.attach()
    node.decide(study_digest)
    assert region.result(run).state == "done"


def test_restarted_coordinator_keeps_the_deadline_but_lets_nodes_come_back(region: Region) -> None:
    nodes = region.nodes("nl", "be")
    study = region.study(nodes)
    study.plan[1].deadline_seconds = 60
    study_digest = region.propose(study)
    for node in nodes:
        node.decide(study_digest)
    run = region.submit(study_digest, "fail")
    region.clock.forward(61)
    region.restart()
    region.forward(20)
    live = region.coordinator.rounds.find(run)
    assert live is not None
    region.forward(20)
    assert region.result(run).failure.code == "DEADLINE_PASSED"


def test_run_of_a_method_that_is_gone_is_closed_with_a_reason(region: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    (node,) = region.nodes("nl")
    run = region.submit(region.approved([node]), "fail")

    def gone(name: str, version: int | None) -> c.Method:
        return find_climb("gone", version)

    monkeypatch.setattr("tests.coordinator.conftest.find_climb", gone)
    region.restart()
    reply = call(region.lead.analyst.GetResult, analyst_pb2.GetResultRequest(run=run))
    assert (reply.state, reply.failure.code) == ("failed", "UNKNOWN_METHOD")


# --------------------------------------------------------------------------- submissions


def open_task(region: Region, node: FakeNode) -> tuple[bytes, bytes, study_pb2.Signed]:
    """A run with one open task that the node has not answered: its number, the task's digest, the task."""
    node.silent = True
    run = region.submit(region.approved([node]), "wait")
    signed = node.attach().next("task")
    return run, digest(signed.body), signed


def test_same_answer_twice_is_acknowledged_with_the_stored_digest(region: Region) -> None:
    (node,) = region.nodes("nl")
    _, task, signed = open_task(region, node)
    answer = node.answer_to(signed)
    first = node.submit(answer, task)
    assert first == digest(answer.SerializeToString(deterministic=True))
    assert node.submit(answer, task) == first


def test_late_answer_is_refused_with_a_reason(region: Region) -> None:
    (node,) = region.nodes("nl")
    run, task, signed = open_task(region, node)
    call(region.lead.analyst.Cancel, analyst_pb2.CancelRequest(run=run))
    with pytest.raises(Exception, match="TASK_CLOSED"):
        node.submit(node.answer_to(signed), task)


def test_answer_to_a_task_that_never_was_is_refused(region: Region) -> None:
    (node,) = region.nodes("nl")
    _, _, signed = open_task(region, node)
    with pytest.raises(Exception, match="UNKNOWN_TASK"):
        node.submit(node.answer_to(signed), b"x" * 32)


def test_node_cannot_answer_for_another(region: Region) -> None:
    nl, be = region.nodes("nl", "be")
    be.silent = True
    region.submit(region.approved([nl, be]), "wait")
    signed = be.attach().next("task")
    task = digest(signed.body)
    stolen = be.answer_to(signed)
    with pytest.raises(Exception, match="WRONG_SIGNER"):
        nl.submit(stolen, task)
    forged = nl.identity.sign("isthmus/summary/1", be.summary(task, {}).SerializeToString(deterministic=True))
    with pytest.raises(Exception, match="FOREIGN_ANSWER"):
        nl.submit(forged, task)
    assert be.submit(stolen, task)


def test_node_outside_the_study_cannot_answer(region: Region) -> None:
    nl, other = region.nodes("nl", "xx")
    _, task, signed = open_task(region, nl)
    with pytest.raises(Exception, match="NOT_A_PARTICIPANT"):
        other.submit(other.answer_to(signed), task)


def test_answer_for_another_task_is_refused(region: Region) -> None:
    (node,) = region.nodes("nl")
    _, task, _ = open_task(region, node)
    wrong = node.identity.sign("isthmus/summary/1", node.summary(b"y" * 32, {}).SerializeToString(deterministic=True))
    with pytest.raises(Exception, match="WRONG_TASK"):
        node.submit(wrong, task)


def test_fields_that_are_not_known_are_refused(region: Region) -> None:
    (node,) = region.nodes("nl")
    _, task, signed = open_task(region, node)
    body = node.answer_to(signed).SerializeToString(deterministic=True)
    with pytest.raises(Exception, match="NOT_CANONICAL"):
        # field 15, which the contract does not have
        node.submit_bytes(body + b"\x7a\x01x", task)


@pytest.mark.parametrize(
    ("item", "code"),
    [
        (summary_pb2.Item(field="rows", value=codec.array_to_message(np.ones(2))), "UNDECLARED_FIELD"),
        (summary_pb2.Item(field="score", withheld_by="SMALL_CELL"), "REQUIRED_FIELD_WITHHELD"),
        (summary_pb2.Item(field="score", value=codec.array_to_message(np.array([np.inf]))), "NOT_FINITE"),
        (summary_pb2.Item(field="score"), "MALFORMED_SUMMARY"),
    ],
)
def test_summary_that_is_not_as_declared_is_refused(region: Region, item: summary_pb2.Item, code: str) -> None:
    (node,) = region.nodes("nl")
    _, task, _ = open_task(region, node)
    summary = node.summary(task, {})
    del summary.items[:]
    summary.items.append(item)
    signed = node.identity.sign("isthmus/summary/1", summary.SerializeToString(deterministic=True))
    with pytest.raises(Exception, match=code):
        node.submit(signed, task)


def test_large_answer_comes_in_chunks(region: Region) -> None:
    (node,) = region.nodes("nl")
    _, task, signed = open_task(region, node)
    node.size = 500_000
    body = node.answer_to(signed).SerializeToString(deterministic=True)
    assert len(body) > 3 << 20
    assert node.submit_bytes(body, task) == digest(body)


@pytest.mark.parametrize(
    ("total", "code"),
    [(10**12, "SUBMISSION_TOO_LARGE"), (0, "SUBMISSION_TOO_LARGE"), (5, "MALFORMED_SUBMISSION"), (10**6, "MALFORMED")],
)
def test_submission_that_is_not_as_long_as_it_says_is_refused(region: Region, total: int, code: str) -> None:
    (node,) = region.nodes("nl")
    _, task, signed = open_task(region, node)
    body = node.answer_to(signed).SerializeToString(deterministic=True)
    with pytest.raises(Exception, match=code):
        node.submit_bytes(body, task, total=total)


def test_two_runs_at_once_do_not_mix(region: Region) -> None:
    nodes = [node.attach() for node in region.nodes("nl", "be")]
    study_digest = region.approved(nodes)
    runs = [region.submit(study_digest, name) for name in ("wait", "fail", "go-on") * 3]
    assert all(path_of(region.result(run)) == expected(nodes) for run in runs)


def test_answers_that_come_together_are_written_together(region: Region) -> None:
    nodes = [node.attach() for node in region.nodes("nl", "be", "de")]
    study_digest = region.approved(nodes)
    written: list[int] = []
    database = region.coordinator.office.database
    plain = database.write

    def counting() -> object:
        written.append(1)
        return plain()

    database.write = counting  # type: ignore[method-assign]
    region.result(region.submit(study_digest, "fail"))
    # at most the run itself, and each answer by itself; at least one a round
    assert 5 <= len(written) <= 2 + 3 * 4


def test_order_of_a_stream_survives_a_second_attach(region: Region) -> None:
    (node,) = region.nodes("nl")
    _, task, _ = open_task(region, node)
    first = node._call
    node.attach()
    error = node.ended.get(timeout=20)
    assert error is not None
    assert error.code == "REPLACED"
    assert first is not node._call
    assert digest(node.next("task").body) == task


def test_node_of_a_far_version_is_told_both_versions(region: Region) -> None:
    (node,) = region.nodes("nl")
    node.attach(software="3.0.0")
    error = node.ended.get(timeout=20)
    assert error is not None
    assert error.exit_code == 16
    assert "3.0.0" in error.message
    assert "0.1.0" in error.message


def test_stream_without_hello_is_refused(region: Region) -> None:
    (node,) = region.nodes("nl")
    stream = node.exchange.Attach(iter([exchange_pb2.NodeMessage(heartbeat=exchange_pb2.Heartbeat())]))
    with pytest.raises(Exception, match="NO_HELLO"):
        next(stream)


def test_deadline_rings_by_itself(region: Region) -> None:
    (node,) = region.nodes("nl")
    analysis = study_pb2.Analysis(spec=spec(), missing_country=study_pb2.FAIL, deadline_seconds=1)
    assert region.result(region.submit(region.approved([node]), exploratory=analysis)).failure.exit_code == 17
