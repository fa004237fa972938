"""The same analysis with other countries: answered with the guard left out, with it refused and the country named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from isthmus.errors import ConfigError
from isthmus.v1 import exchange_pb2, spec_pb2, study_pb2, summary_pb2
from isthmus_node.custodian.decisions import RUN, run_digest
from isthmus_node.custodian.reruns import Reruns
from isthmus_node.sources import Source

ASKING = '[runs]\nother_countries = "ask"\n[purpose.trial_analysis]\n'
FIRST, SECOND, THIRD = b"a" * 16, b"b" * 16, b"c" * 16
ALONE = {"participants": ["nl"]}


def last(site: Any) -> summary_pb2.Summary | summary_pb2.Refusal:
    return site.answers()[-1]


def is_answered(site: Any, signed: study_pb2.Signed) -> bool:
    site.ask(signed)
    answer = last(site)
    return isinstance(answer, summary_pb2.Summary)


def with_filter(site: Any, age: float) -> spec_pb2.Spec:
    spec = spec_pb2.Spec()
    spec.CopyFrom(site.study.plan[0].spec)
    comparison = spec_pb2.Comparison(
        variable="AGE", operator=spec_pb2.Comparison.GREATER, value=spec_pb2.Literal(number=age)
    )
    spec.where.CopyFrom(spec_pb2.Predicate(comparison=comparison))
    return spec


@pytest.fixture
def guard_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Reruns, "check", lambda *_: None)


# --------------------------------------------------------------------------- another set of countries


def test_without_the_guard_a_country_is_dropped_and_the_rest_answers(site: Any, guard_left_out: None) -> None:
    assert is_answered(site, site.task(run=FIRST))
    assert is_answered(site, site.task(run=SECOND, **ALONE))


@pytest.mark.parametrize(
    ("first", "then", "named"), [({}, ALONE, "with DE then"), (ALONE, {}, "with DE now")], ids=["dropped", "added"]
)
def test_same_analysis_with_other_countries_is_refused_and_the_country_named(
    site: Any, first: dict[str, Any], then: dict[str, Any], named: str
) -> None:
    assert is_answered(site, site.task(run=FIRST, **first))
    assert not is_answered(site, site.task(run=SECOND, **then))
    assert (last(site).code, named in last(site).rule) == ("OTHER_COUNTRIES", True)
    assert is_answered(site, site.task(run=THIRD, **first)), "with the same countries it is the same result"


def test_filter_written_otherwise_that_keeps_the_same_persons_is_the_same_analysis(site: Any) -> None:
    exploring = {"analysis": "", "spec": with_filter(site, 1)}
    site.adopt('[exploratory]\nanalyses = "allow"\n[purpose.trial_analysis]\n')
    assert is_answered(site, site.task(run=FIRST))
    assert not is_answered(site, site.task(run=SECOND, **ALONE, **exploring))
    assert last(site).code == "OTHER_COUNTRIES"
    # other persons make another analysis
    assert is_answered(site, site.task(run=THIRD, **ALONE, analysis="", spec=with_filter(site, 60)))


def test_study_that_shows_countries_and_open_data_are_not_counted(site: Any, make_other: Callable[..., None]) -> None:
    site.datasets.add("ADTTE", Source(str(site.source)), open_data=True, replacing=True)
    assert is_answered(site, site.task(run=FIRST))
    assert is_answered(site, site.task(run=SECOND, **ALONE))
    site.datasets.add("ADTTE", Source(str(site.source)), replacing=True)
    make_other(by_country=True)
    assert is_answered(site, site.task(run=FIRST))
    assert is_answered(site, site.task(run=SECOND, **ALONE))


def test_new_version_of_the_study_is_the_same_study_and_another_is_not(
    site: Any, make_other: Callable[..., None]
) -> None:
    assert is_answered(site, site.task(run=FIRST))
    make_other(version=2)
    assert not is_answered(site, site.task(run=SECOND, **ALONE))
    make_other(name="OTHER")
    assert is_answered(site, site.task(run=SECOND, **ALONE))


@pytest.fixture
def make_other(site: Any) -> Callable[..., None]:
    """Another study, arrived and approved; `site.task` is about it."""

    def make(**changed: Any) -> None:
        study = study_pb2.Study()
        study.CopyFrom(site.study)
        for name, value in changed.items():
            setattr(study, name, value)
        site.study = study
        site.decide(site.announce(study))

    return make


# --------------------------------------------------------------------------- honest work


def test_run_that_goes_on_without_a_country_is_one_run(site: Any) -> None:
    assert is_answered(site, site.task(run=FIRST))
    assert is_answered(site, site.task(run=FIRST, **ALONE)), "one run gives one result"
    assert is_answered(site, site.task(run=SECOND, **ALONE))
    assert not is_answered(site, site.task(run=THIRD)), "its result was that of fewer countries"


@pytest.mark.parametrize("given", [False, True])
def test_run_that_gave_no_result_does_not_count(site: Any, given: bool) -> None:
    assert is_answered(site, site.task(run=FIRST))
    site.service.run_ended(exchange_pb2.RunEnded(run=FIRST, given=given))
    site.service.work_off()
    assert is_answered(site, site.task(run=SECOND, **ALONE)) is not given


def test_person_lets_one_more_set_of_countries_through_and_no_third(site: Any) -> None:
    site.adopt(ASKING)
    assert is_answered(site, site.task(run=FIRST))
    again = site.task(run=SECOND, **ALONE)
    site.ask(again)
    assert len(site.answers()) == 1
    site.decide(run_digest(summary_pb2.Task.FromString(again.body)), context=RUN)
    assert isinstance(last(site), summary_pb2.Summary)
    assert len(site.answers()) == 2
    third = site.task(run=THIRD, participants=["nl"])
    assert is_answered(site, third), "the second set again"
    site.service._parts.reruns._write(*_third_set(site))
    assert not is_answered(site, site.task(run=b"d" * 16, participants=["nl", "de"]))
    assert last(site).code == "OTHER_COUNTRIES"


def _third_set(site: Any) -> tuple[bytes, list[Any]]:
    """As if two sets had been answered, neither of them that of all participants."""
    (path,) = site.home.reruns.glob("*.json")
    reruns = Reruns(site.home.reruns, site.decisions)
    analysis = bytes.fromhex(path.stem)
    sets = reruns._read(analysis)
    sets[0].nodes = ("de",)
    return analysis, sets


def test_person_says_no(site: Any) -> None:
    site.adopt(ASKING)
    assert is_answered(site, site.task(run=FIRST))
    again = site.task(run=SECOND, **ALONE)
    site.ask(again)
    site.decide(run_digest(summary_pb2.Task.FromString(again.body)), approved=False, context=RUN)
    assert last(site).code == "RUN_DECLINED"


# --------------------------------------------------------------------------- what is remembered


def test_what_was_answered_outlasts_a_restart(site: Any) -> None:
    assert is_answered(site, site.task(run=FIRST))
    site.open()
    site.attach()
    assert not is_answered(site, site.task(run=SECOND, **ALONE))


def test_memory_that_cannot_be_read_lets_nothing_out(site: Any) -> None:
    assert is_answered(site, site.task(run=FIRST))
    (path,) = site.home.reruns.glob("*.json")
    path.write_text("{")
    site.open()
    site.attach()
    assert not is_answered(site, site.task(run=SECOND))
    with pytest.raises(ConfigError) as caught:
        Reruns(site.home.reruns, site.decisions)._read(bytes.fromhex(path.stem))
    assert caught.value.code == "RERUNS_UNREADABLE"
