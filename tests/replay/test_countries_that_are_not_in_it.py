"""Countries that refuse or do not answer, as the coordinator treats them: named, and the others pooled or nothing."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from bundle_kit import Region, Rewrite, rewrite

from isthmus.v1 import analyst_pb2, journal_pb2, study_pb2, summary_pb2
from isthmus_client.replay import Judged, Outcome, driver, exit_code_of, read_bundles, replay
from isthmus_client.replay.compare import Nearness

ANALYSIS = "cox, efron"


def does(country: str, what: str, number: int) -> Callable[[str, summary_pb2.Task], str]:
    """One country does something else than answer from a round on."""
    return lambda asked, task: what if asked == country and task.round >= number else "give"


def ran(
    tmp_path: Path, missing: study_pb2.MissingCountry, what: str, without: tuple[str, ...] = (), number: int = 2
) -> tuple[analyst_pb2.Result, Judged]:
    region = Region(tmp_path, missing)
    region.approve()
    result = region.run(ANALYSIS, answer=does("KR", what, number))
    file = region.result_file(tmp_path / "result.json", result) if result.HasField("answer") else None
    (judged,) = replay(read_bundles(region.export(tmp_path / "out", without)), file, exact=True)
    return result, judged


@pytest.mark.parametrize("what", ["refuse", "stay away"])
def test_run_that_went_on_is_pooled_over_the_others_and_names_the_country(tmp_path: Path, what: str) -> None:
    result, judged = ran(tmp_path, study_pb2.GO_ON_WITHOUT, what)
    run = judged.replayed
    assert (result.state, run.outcome, run.why) == ("done", Outcome.POOLED, "")
    assert judged.near == Nearness()
    assert run.participants == ("CN", "JP", "TW")
    assert run.earlier_attempts == 1
    (left,) = run.left_out
    assert left.country == "KR"
    assert ("it refused" if what == "refuse" else "has no answer to round 2") in left.reason


def test_bundle_of_a_country_that_is_not_in_the_answer_is_not_needed(tmp_path: Path) -> None:
    _, judged = ran(tmp_path, study_pb2.GO_ON_WITHOUT, "stay away", without=("KR",))
    assert judged.replayed.outcome is Outcome.POOLED
    assert [left.reason for left in judged.replayed.left_out] == ["its bundle is not among those given"]


def test_country_whose_custodian_declined_is_named_with_the_record(tmp_path: Path) -> None:
    region = Region(tmp_path, study_pb2.GO_ON_WITHOUT)
    region.declined = ("TW",)
    region.approve()
    result = region.run(ANALYSIS)
    (judged,) = replay(read_bundles(region.export(tmp_path / "out")), region.result_file(tmp_path / "r.json", result))
    assert (judged.replayed.outcome, judged.replayed.earlier_attempts) == (Outcome.POOLED, 0)
    assert [(left.country, left.reason) for left in judged.replayed.left_out] == [
        ("TW", "its custodian declined the study (record 2 of tw)")
    ]


@pytest.mark.parametrize("what", ["refuse", "stay away"])
def test_run_that_failed_has_no_answer_and_nothing_is_wrong(tmp_path: Path, what: str) -> None:
    result, judged = ran(tmp_path, study_pb2.FAIL, what)
    assert (result.state, judged.replayed.outcome) == ("failed", Outcome.NO_ANSWER)
    assert "KR" in judged.replayed.why
    assert exit_code_of([judged]) == 0


def test_going_on_without_a_country_against_the_plan_is_found(tmp_path: Path) -> None:
    region = Region(tmp_path, study_pb2.FAIL)
    region.approve()
    # the coordinator does not keep to what the custodians approved
    region.missing = study_pb2.GO_ON_WITHOUT
    assert region.run(ANALYSIS, answer=does("KR", "refuse", 2)).state == "done"
    (judged,) = replay(read_bundles(region.export(tmp_path / "out")))
    assert judged.replayed.outcome is Outcome.FAILED
    assert "without KR, and the approved plan does not let it" in judged.replayed.why


def test_answer_that_was_not_used_is_named(tmp_path: Path) -> None:
    """It came too late: it stands in the journal, and the run had gone on without it."""
    result, judged = ran(tmp_path, study_pb2.GO_ON_WITHOUT, "too late", number=1)
    assert (result.state, judged.replayed.outcome) == ("done", Outcome.POOLED)
    (left,) = judged.replayed.left_out
    assert "was not used" in left.reason


def test_round_that_was_asked_although_a_country_had_refused_is_found(tmp_path: Path) -> None:
    """A coordinator that pools on over a refusal as if nothing were missing."""
    region = Region(tmp_path)
    region.approve()
    assert region.run(ANALYSIS).state == "done"
    rewrite(region.sites["KR"], as_refusal(region))
    (judged,) = replay(read_bundles(region.export(tmp_path / "out")))
    assert judged.replayed.outcome is Outcome.FAILED
    assert judged.replayed.error is not None
    assert judged.replayed.error.code == "TASK_NOT_POOLED"
    assert "KR refused" in judged.replayed.why


def as_refusal(region: Region) -> Rewrite:
    from isthmus_trust.documents import REFUSAL, canonical

    site = region.sites["KR"]

    def change(record: journal_pb2.Record, payload: bytes) -> tuple[journal_pb2.Record, bytes]:
        if (record.event, record.round) != ("RELEASED", 2):
            return record, payload
        record.event = "REFUSED"
        refusal = summary_pb2.Refusal(task=record.task, node=site.node, country="KR", code="SMALL_CELL", rule="r")
        return record, canonical(site.identity.sign(REFUSAL, canonical(refusal)))

    return change


def test_refused_request_that_is_not_in_the_plan_is_no_fault(tmp_path: Path) -> None:
    """A coordinator that asks for something else than the custodians approved, and gets nothing."""
    region = Region(tmp_path)
    region.approve()
    asked = copy.copy(region)
    asked.study = copy.deepcopy(region.study)
    next(a for a in asked.study.plan if a.name == ANALYSIS).spec.options.add(name="iterations", integer=3)
    assert asked.run(ANALYSIS, answer=lambda *_: "refuse").state == "failed"
    (judged,) = replay(read_bundles(region.export(tmp_path / "out")))
    assert judged.replayed.outcome is Outcome.NO_ANSWER
    assert exit_code_of([judged]) == 0


def test_answered_request_that_is_not_in_the_plan_is_found(tmp_path: Path) -> None:
    region = Region(tmp_path)
    region.approve()
    asked = copy.copy(region)
    asked.study = copy.deepcopy(region.study)
    next(a for a in asked.study.plan if a.name == ANALYSIS).spec.options.add(name="iterations", integer=3)
    asked.run(ANALYSIS)
    (judged,) = replay(read_bundles(region.export(tmp_path / "out")))
    assert judged.replayed.outcome is Outcome.FAILED
    assert "is not analysis 'cox, efron' of study TRIAL" in judged.replayed.why


def test_method_that_does_not_converge_has_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from isthmus_methods.cox import Cox

    monkeypatch.setattr(Cox, "rounds", (1, 2))
    region = Region(tmp_path)
    region.approve()
    result = region.run(ANALYSIS)
    assert result.failure.code == "NOT_CONVERGED"
    (judged,) = replay(read_bundles(region.export(tmp_path / "out")))
    assert judged.replayed.outcome is Outcome.NO_ANSWER
    assert judged.replayed.error is not None
    assert judged.replayed.error.code == "NOT_CONVERGED"


def test_method_of_another_version_cannot_be_replayed_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from isthmus_methods.cox import Cox

    region = Region(tmp_path)
    region.approve()
    region.run(ANALYSIS)
    bundles = read_bundles(region.export(tmp_path / "out"))
    monkeypatch.setattr(Cox, "version", Cox.version + 1)
    (judged,) = replay(bundles)
    assert judged.replayed.outcome is Outcome.OTHER_RELEASE
    assert exit_code_of([judged]) == 16


def test_sums_that_break_a_method_are_no_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    region = Region(tmp_path)
    region.approve()
    region.run("crosstab, exact")
    bundles = read_bundles(region.export(tmp_path / "out"))

    def broken(*_: object) -> object:
        raise ZeroDivisionError("12.345")

    monkeypatch.setattr(driver, "pool_round", broken)
    (judged,) = replay(bundles)
    assert judged.replayed.outcome is Outcome.NO_ANSWER
    assert "12.345" not in judged.replayed.why
