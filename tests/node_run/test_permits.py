"""Numbers that a preset asks the custodian to fill in, and the running total of persons behind what left."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isthmus.errors import ConfigError
from isthmus.v1 import study_pb2, summary_pb2
from isthmus_node.admission import Admission
from isthmus_node.custodian.contributors import Behind, Contributors, words_of
from isthmus_node.custodian.decisions import RELEASE
from isthmus_node.egress.journal_read import read
from isthmus_node.sources import Source
from isthmus_trust.documents import LIMITS, open_signed

TRIALS = "[purpose.trial_analysis]\n"
ALL = {"participants": ["nl", "de", "be"]}


@pytest.fixture
def vietnamese(site: Any) -> Any:
    """The site under preset VN, whose dossier nobody has filled in, with three countries in its study."""
    study = study_pb2.Study()
    study.CopyFrom(site.study)
    study.version = 2
    more = study.participants.add()
    more.CopyFrom(study.participants[1])
    more.node, more.country = "be", "BE"
    site.study = study
    site.decide(site.announce(study))
    site.adopt(f'preset = "VN"\n{TRIALS}')
    return site


def last(site: Any) -> summary_pb2.Summary | summary_pb2.Refusal:
    return site.answers()[-1]


def fill_in(site: Any, more: str = "") -> None:
    site.adopt(f'preset = "VN"\n[permits]\ndossier = "HS-17/2026"\n{more}{TRIALS}')


def test_without_the_guard_a_run_leaves_and_no_dossier_is_named(
    vietnamese: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Admission, "_check_permits", lambda *_: None)
    vietnamese.ask(vietnamese.task(**ALL))
    assert (type(last(vietnamese)).__name__, last(vietnamese).reference) == ("Summary", "")


def test_run_is_refused_until_the_number_is_filled_in_and_carries_it_then(vietnamese: Any) -> None:
    vietnamese.ask(vietnamese.task(**ALL))
    assert last(vietnamese).code == "PERMIT_MISSING"
    assert "dossier" in last(vietnamese).rule
    fill_in(vietnamese)
    vietnamese.ask(vietnamese.task(run=b"b" * 16, **ALL))
    assert last(vietnamese).reference == "dossier HS-17/2026"
    # in the journal as signed, and so in every export
    adopted = [e.record.document for e in read(vietnamese.home.journal) if e.record.event == "POLICY"][-1]
    assert b"HS-17/2026" in adopted


def test_open_data_need_no_number(vietnamese: Any) -> None:
    vietnamese.datasets.add("ADTTE", Source(str(vietnamese.source)), open_data=True, replacing=True)
    vietnamese.ask(vietnamese.task(**ALL))
    assert isinstance(last(vietnamese), summary_pb2.Summary)


def test_coordinator_is_told_that_a_number_is_missing_and_not_the_number(vietnamese: Any) -> None:
    def told() -> study_pb2.StatedLimits:
        return open_signed(
            vietnamese.service.hello().limits, LIMITS, study_pb2.StatedLimits, vietnamese.identity.public
        )

    assert list(told().missing_permits) == ["dossier"]
    fill_in(vietnamese)
    assert list(told().missing_permits) == []
    assert b"HS-17" not in told().SerializeToString()


# --------------------------------------------------------------------------- the running total


def behind(*names: str) -> Behind:
    """Those persons of a dataset of five, in which another has their place."""
    everybody = ("p4", "p3", "p2", "p1", "p0")
    return Behind(b"snapshot", lambda: everybody, np.array(sorted(everybody.index(name) for name in names)))


def test_same_persons_of_a_day_are_written_once(tmp_path: Path) -> None:
    count = Contributors(tmp_path)
    count.count("A", behind("p1", "p2"), date(2026, 1, 1))
    (path,) = tmp_path.glob("*.persons")
    written = path.stat().st_ino
    count.count("A", behind("p1", "p2"), date(2026, 1, 1))
    assert path.stat().st_ino == written
    count.count("A", behind("p1"), date(2026, 1, 1))
    assert path.stat().st_ino != written
    path.unlink()
    count.count("A", behind("p1"), date(2026, 1, 1))
    assert count.totals() == {"A": 1, "": 1}


def test_persons_behind_what_left_are_counted_once_by_study_and_since_a_day(tmp_path: Path) -> None:
    count = Contributors(tmp_path)
    assert count.totals() == {"": 0}
    for study, names, day in (
        ("A", ("p1", "p2"), date(2026, 1, 1)),
        ("A", ("p2", "p3"), date(2026, 3, 1)),
        ("A", ("p2", "p3"), date(2026, 2, 1)),
        ("B", ("p3", "p4"), date(2026, 2, 1)),
    ):
        for _ in range(2):
            count.count(study, behind(*names), day)
    assert Contributors(tmp_path).totals() == {"A": 3, "B": 2, "": 4}
    # of two days the later one counts
    assert count.totals("2026-02-15") == {"A": 2, "B": 0, "": 2}
    assert all(b"p1" not in path.read_bytes() for path in tmp_path.iterdir())


def test_persons_are_counted_by_country_of_those_who_receive_results(tmp_path: Path) -> None:
    count = Contributors(tmp_path)
    for study, names, countries, day in (
        ("A", ("p1", "p2"), ("JP", "US"), date(2026, 1, 1)),
        ("B", ("p2", "p3", "p4"), ("JP",), date(2026, 3, 1)),
        ("C", ("p0",), (), date(2026, 3, 1)),
    ):
        count.count(study, replace(behind(*names), countries=countries), day)
    assert Contributors(tmp_path).by_country() == {"": 1, "JP": 4, "US": 2}
    assert count.by_country("2026-02-01") == {"": 1, "JP": 3, "US": 0}
    lines = words_of(count.totals(), "", (), "", count.by_country())
    assert "persons behind what left so far, recipients in JP: 4" in lines
    assert "persons behind what left so far, recipients in countries that no study names: 1" in lines
    # nothing is said of countries where no study names one
    alone = Contributors(tmp_path / "other")
    (tmp_path / "other").mkdir()
    alone.count("C", behind("p0"), date(2026, 3, 1))
    assert not any("recipients" in line for line in words_of(alone.totals(), "", (), "", alone.by_country()))


def test_amended_study_counts_the_same_persons_of_a_day_for_its_new_country_too(tmp_path: Path) -> None:
    count = Contributors(tmp_path)
    for countries in (("JP",), ("JP", "KR")):
        count.count("A", replace(behind("p1"), countries=countries), date(2026, 1, 1))
    assert count.by_country() == {"JP": 1, "KR": 1}


def test_study_that_names_countries_is_counted_by_them(site: Any) -> None:
    study = study_pb2.Study()
    study.CopyFrom(site.study)
    study.version = 2
    study.recipient_countries.append("JP")
    site.study = study
    site.decide(site.announce(study))
    site.ask(site.task())
    counted = site.service._parts.contributors
    assert counted.by_country() == {"JP": counted.totals()["TEST"]}


def test_count_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    count = Contributors(tmp_path)
    count.count("A", behind("p1"), date(2026, 1, 1))
    (path,) = tmp_path.glob("*.persons")
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ConfigError) as caught:
        count.totals()
    assert caught.value.code == "COUNT_UNREADABLE"


@pytest.mark.parametrize(("persons", "warned"), [(9_999, ""), (10_000, "10,000"), (100_000, "100,000")])
def test_numbers_that_a_preset_names_stand_beside_the_total_and_are_a_warning_when_reached(
    persons: int, warned: str
) -> None:
    lines = words_of({"A": persons, "": persons}, "2026-01-01", (10_000, 100_000), "CN")
    assert "since 2026-01-01, study A" in lines[0]
    assert "preset CN names 10,000 and 100,000" in lines[1]
    assert [line for line in lines if line.startswith("WARNING")] == lines[2:]
    assert (warned in lines[2] and "local legal review" in lines[2]) if warned else len(lines) == 2


def test_what_left_is_counted_and_what_was_held_refused_or_open_is_not(site: Any) -> None:
    def total() -> int:
        return site.service._parts.contributors.totals().get("TEST", 0)

    site.adopt('[release]\noutputs = "ask"\n' + TRIALS)
    site.ask(site.task())
    assert total() == 0
    (held,) = site.service._parts.held.everything()
    site.decide(held.digest, context=RELEASE)
    assert total() == 400
    site.adopt(TRIALS)
    site.ask(site.task(run=b"b" * 16))
    assert total() == 400, "the same persons"
    site.close()
    site.open()
    site.datasets.add("ADTTE", Source(str(site.source)), open_data=True, replacing=True)
    for path in site.home.contributors.glob("*.persons"):
        path.unlink()
    site.attach()
    site.ask(site.task(run=b"c" * 16))
    assert total() == 0


def test_persons_whom_nothing_names_are_counted_by_their_rows(site: Any, lines: Any) -> None:
    study = study_pb2.Study()
    study.CopyFrom(site.study)
    study.version, study.datasets[0].subject = 2, ""
    site.study = study
    site.decide(site.announce(study))
    site.ask(site.task())
    assert site.service._parts.contributors.totals().get("TEST", 0) == 400
    assert lines.named("fault") == []
