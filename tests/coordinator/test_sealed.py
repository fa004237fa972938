"""Sealed studies at the coordinator: what may be proposed, whose words are taken, and what can be had from them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import pytest

from isthmus.errors import AuthenticationError, IsthmusError, Refused
from isthmus.v1 import analyst_pb2, sealed_pb2, study_pb2
from isthmus_coordinator.analyses import turns
from isthmus_coordinator.analyses.answers import read_answer
from isthmus_coordinator.analyses.run import Answer, Failure, Request, Run
from isthmus_coordinator.analyses.sealed import Gathering, OtherWordError, open_sum, read_sealed
from isthmus_coordinator.analyses.states import State
from isthmus_coordinator.analyses.submission import Submission
from isthmus_coordinator.studies.proposals import check_analysis, check_study
from isthmus_methods import codec, contract as c
from isthmus_methods.contract import Field, Kind
from isthmus_methods.registry import find_procedure
from isthmus_node.egress.policy import DEFAULT_FILE, Policy
from isthmus_trust.documents import STUDY, TASK, canonical
from isthmus_trust.identity import IdentityKey
from isthmus_trust.sealed import MOST_ATTEMPTS, ORDER
from tests.egress.round_kit import LEAVES, LISTS, NOTES, REVEALS, SHARES, TASK as ROUND, Countries

from .conftest import Region, alone, spec


class Scores:
    """A method with the fields of the kit."""

    name, version, title = "scores", 1, "Scores"
    leaves: ClassVar = {**LEAVES, "cells": Field(Kind.HISTOGRAM, "cells", required=False)}
    notes: ClassVar = dict.fromkeys(NOTES, "{countries} said so")
    rounds = (1, 3)


@pytest.fixture
def countries() -> Countries:
    return Countries.begin(Policy.load(DEFAULT_FILE))


def study_of(countries: Countries, **more: Any) -> study_pb2.Study:
    return study_pb2.Study(
        **{"name": "SEALED", "version": 1, "mode": study_pb2.SEALED, "participants": countries.participants, **more}
    )


def run_of(countries: Countries) -> Run:
    request = Request(
        run=bytes(16),
        study_digest=bytes(32),
        study=study_of(countries),
        analysis="scores",
        spec_message=spec(),
        spec=c.Spec("scores", "ADTTE"),
        method=Scores(),  # type: ignore[arg-type]
        purpose=study_pb2.TRIAL_ANALYSIS,
        missing_country=study_pb2.FAIL,
        deadline_seconds=60,
        requested_by="test",
        submitted_at=1,
    )
    return Run(request, tuple(p.node for p in countries.participants), State.RUNNING)


def gathered(countries: Countries, steps: int = len(ORDER)) -> Gathering:
    gathering = Gathering(ROUND, countries.participants)
    for step in range(steps):
        for participant, word in zip(countries.participants, countries.until(step), strict=True):
            gathering.take(participant.node, word)
    return gathering


def stored_of(gathering: Gathering, run: Run) -> tuple[dict[str, Answer], dict[str, bytes]]:
    """Answers as they are once they are stored, and what is stored of them."""
    answers, kept = {}, {}
    for answer in gathering.answers(run.request, 1):
        assert answer.submission is not None
        kept[answer.node] = bytes(answer.submission.whole())
        answer.submission.close()
        answers[answer.node] = replace(answer, submission=None)
    return answers, kept


# --------------------------------------------------------------------------- what may be proposed


@pytest.mark.parametrize(
    ("nodes", "changes", "code"),
    [
        (("nl", "be"), {}, "SEALED_FEW"),
        (("nl", "be", "de"), {"by_country": True}, "STUDY_INCONSISTENT"),
        (("nl", "be", "de"), {}, "SEALED_METHOD"),
    ],
)
def test_sealed_study_is_refused_before_a_site_sees_it(
    region: Region, nodes: tuple[str, ...], changes: dict[str, Any], code: str
) -> None:
    study = region.study(region.nodes(*nodes), mode=study_pb2.SEALED, **{"by_country": False, **changes})
    signed = region.lead.identity.sign(STUDY, canonical(study))
    assert alone(region.lead.analyst.ProposeStudy, analyst_pb2.ProposeStudyRequest(study=signed)).code == code


def planned(missing: Any, **options: c.Setting) -> study_pb2.Analysis:
    asked = c.Spec(
        "table_one",
        "ADSL",
        roles={"variables": (c.Ref("AGE"),)},
        options=options,
        version=find_procedure("table_one").version,
    )
    return study_pb2.Analysis(
        name="table", spec=codec.spec_to_message(asked), purpose=study_pb2.TRIAL_ANALYSIS, missing_country=missing
    )


@pytest.mark.parametrize(
    ("missing", "options", "code"),
    [
        (study_pb2.FAIL, {}, ""),
        (study_pb2.WAIT, {}, ""),
        (study_pb2.GO_ON_WITHOUT, {}, "SEALED_GOES_ON"),
        (study_pb2.FAIL, {"by_country": True}, "BY_COUNTRY_NOT_ALLOWED"),
    ],
)
def test_analysis_of_a_sealed_study_is_over_all_countries_and_by_none(
    countries: Countries, missing: Any, options: dict[str, c.Setting], code: str
) -> None:
    dataset = study_pb2.Dataset(
        name="ADSL",
        one_row_a_subject=True,
        variables=[study_pb2.Variable(name="AGE", type=study_pb2.Variable.NUMERIC)],
    )
    study = study_of(countries, datasets=[dataset])
    found = ""
    try:
        check_analysis(planned(missing, **options), study, find_procedure, planned=True)
    except Refused as error:
        found = error.code
    assert found == code


def test_mode_of_a_later_contract_is_not_taken_as_open(countries: Countries) -> None:
    study = study_of(countries, datasets=[study_pb2.Dataset(name="ADSL", one_row_a_subject=True)])
    study.mode = 7  # type: ignore[assignment]
    with pytest.raises(IsthmusError):
        check_study(study, lambda _: None, find_procedure)


# --------------------------------------------------------------------------- words


def test_words_are_passed_on_as_they_came_once_all_have_spoken(countries: Countries) -> None:
    gathering = Gathering(ROUND, countries.participants)
    words = countries.until(0)
    fresh = [gathering.take(p.node, w) for p, w in zip(countries.participants, words, strict=True)]
    assert fresh == [False, False, True]
    assert [list(step.words) for step in gathering.steps()] == [words]
    # said again they complete nothing anew
    assert [gathering.take(p.node, w) for p, w in zip(countries.participants, words, strict=True)] == [False] * 3


def test_word_before_its_time_is_refused(countries: Countries) -> None:
    words = countries.until(SHARES)
    with pytest.raises(AuthenticationError) as caught:
        gathered(countries, 1).take("nl", words[0])
    assert caught.value.code == "SEALED_OUT_OF_ORDER"


@pytest.mark.parametrize("step", range(5))
def test_word_of_another_is_refused(countries: Countries, step: int) -> None:
    gathering, words = gathered(countries, step), countries.until(step)
    for forged in (words[1], IdentityKey.generate().sign(words[0].context, words[0].body)):
        with pytest.raises(AuthenticationError):
            gathering.take("nl", forged)
    gathering.take("nl", words[0])


def test_other_word_in_a_step_means_that_the_node_was_started_anew(countries: Countries) -> None:
    gathering = gathered(countries, 1)
    anew = Countries.begin(Policy.load(DEFAULT_FILE), beside=countries)
    with pytest.raises(OtherWordError):
        gathering.take("nl", anew.until(0)[0])


def test_share_that_is_too_large_is_refused(countries: Countries) -> None:
    words = countries.until(SHARES)
    share = sealed_pb2.SealedShare.FromString(words[0].body)
    share.vector = bytes(3 << 20)
    large = countries.keys[0].sign(words[0].context, canonical(share))
    with pytest.raises(Refused) as caught:
        gathered(countries, SHARES).take("nl", large)
    assert caught.value.code == "SEALED_TOO_LARGE"


def test_summary_in_clear_is_not_taken(countries: Countries) -> None:
    request, part = run_of(countries).request, countries.rounds[0]
    submission = Submission()
    submission.add(part.clear.payload)
    with pytest.raises(Refused) as caught:
        read_answer(request, "nl", ROUND, submission, 1)
    submission.close()
    assert caught.value.code == "SEALED_MODE"


# --------------------------------------------------------------------------- sums


def test_sum_is_all_that_can_be_had_of_what_is_stored(countries: Countries) -> None:
    run, gathering = run_of(countries), gathered(countries)
    assert gathering.complete
    answers, kept = stored_of(gathering, run)
    assert all(answer.cleared is not None and not answer.cleared.values for answer in answers.values())
    opened = open_sum(run, ROUND, answers)
    assert {key: value.tolist() for key, value in opened.cleared.values.items()} == {
        ("persons", ""): [63, 90],
        ("score", "AGE"): [31.5, -9.75],
    }
    assert opened.cleared.notes == frozenset(NOTES[:1])
    assert [w.context for w in opened.ended.words] == [ORDER[REVEALS]] * 3
    again = {node: read_sealed(run.request, node, ROUND, body, 1) for node, body in kept.items()}
    assert again == answers


def test_reveal_of_another_mask_gives_no_sum(countries: Countries) -> None:
    run, gathering = run_of(countries), gathered(countries)
    answers, _ = stored_of(gathering, run)
    stored = answers["be"].sealed
    assert stored is not None
    reveal = sealed_pb2.SealedReveal.FromString(stored.reveal.body)
    reveal.seed = bytes(32)
    stored.reveal.CopyFrom(countries.keys[1].sign(stored.reveal.context, canonical(reveal)))
    answers["be"] = read_sealed(run.request, "be", ROUND, canonical(stored), 1)
    with pytest.raises(AuthenticationError) as caught:
        open_sum(run, ROUND, answers)
    assert caught.value.code == "SEALED_BAD_SEED"


def test_run_begins_again_over_the_same_countries_and_not_for_ever(countries: Countries) -> None:
    key = IdentityKey.generate()
    why = Failure("SEALED_ROUND_LOST", "NL was started anew", "look there", 14)
    run = run_of(countries)
    tasks = []
    for attempt in range(2, MOST_ATTEMPTS + 1):
        run = turns.again(run, why, lambda body: key.sign(TASK, body), attempt).run
        assert run.task is not None
        assert (run.attempt, run.round, run.participants) == (attempt, 1, tuple(p.node for p in countries.participants))
        tasks.append(run.task.digest)
    assert len(set(tasks)) == len(tasks)
    ended = turns.again(run, why, lambda body: key.sign(TASK, body), 9).run
    assert ended.state is State.FAILED
    result = analyst_pb2.Result.FromString(ended.result or b"")
    assert result.failure.code == "SEALED_ROUND_LOST"


def test_shares_alone_are_not_complete(countries: Countries) -> None:
    gathering = gathered(countries, LISTS)
    assert not gathering.complete
    assert len(gathering.steps()) == LISTS
