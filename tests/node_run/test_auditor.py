"""The auditor in a whole node: over studies' tasks, restarts, and a dataset that is registered again."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import pytest

from isthmus.errors import ConfigError
from isthmus.v1 import spec_pb2, summary_pb2
from isthmus_node.catalogue import Datasets
from isthmus_node.egress.auditor import Auditor, read_states
from isthmus_node.egress.journal_read import entries
from isthmus_node.sources import Source


def all_but_few(site: Any) -> spec_pb2.Spec:
    """The planned model over everybody but the one to four youngest persons."""
    with Path(site.source).open() as file:
        ages = sorted(float(row["AGE"]) for row in csv.DictReader(file))
    cut = next(age for n, age in enumerate(ages[:5]) if age < ages[n + 1])
    spec = spec_pb2.Spec()
    spec.CopyFrom(site.study.plan[0].spec)
    spec.where.comparison.CopyFrom(
        spec_pb2.Comparison(
            variable="AGE", operator=spec_pb2.Comparison.GREATER, value=spec_pb2.Literal(number=cut)
        )
    )  # fmt: skip
    return spec


def codes(site: Any) -> list[str]:
    return [a.code if isinstance(a, summary_pb2.Refusal) else "" for a in site.answers()]


@pytest.fixture
def open_site(site: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A node whose custodian lets analyses outside the plan through, and which does not look at them beforehand."""
    monkeypatch.setattr(Auditor, "first_violation", lambda self, audit, limits: None)
    site.adopt(site.home.policy.read_text().replace('analyses = "ask"', 'analyses = "allow"'))
    return site


def outside(site: Any, number: int) -> None:
    site.ask(site.task(analysis="", spec=all_but_few(site), run=bytes([number]) * 16))


def test_difference_of_few_is_refused_over_restart_and_registration(open_site: Any) -> None:
    site = open_site
    site.ask(site.task())
    outside(site, 1)
    assert codes(site) == ["", "DIFFERENCING"]
    site.open()
    site.attach()
    outside(site, 2)
    again = site.source.with_name("again.csv")
    shutil.copy(site.source, again)
    Datasets(site.home.state, "NL").add("ADTTE", Source(str(again)), replacing=True)
    outside(site, 3)
    assert codes(site)[-2:] == ["DIFFERENCING", "DIFFERENCING"]
    refusal = site.answers()[-1]
    assert refusal.rule == "whatever the releases from a dataset tell apart together is 5 or more persons"
    assert refusal.field == ""
    assert "earlier analysis" in refusal.remedy


def test_without_the_auditor_the_difference_leaves(open_site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Auditor, "violation", lambda self, audit, limits: None)
    open_site.ask(open_site.task())
    outside(open_site, 1)
    assert codes(open_site) == ["", ""]


def test_rounds_of_a_run_are_one_decision(open_site: Any) -> None:
    site = open_site
    for number in range(1, 4):
        site.ask(site.task(round=1, run=bytes([number]) * 16))
    records = [entry.record for entry in entries(site.home.journal / "journal") if hasattr(entry, "record")]
    audited = [record for record in records if record.event == "AUDITED"]
    assert len(audited) == 1
    assert audited[0].auditor_digest == read_states(site.home.auditor)[0][1]
    assert (audited[0].analysis, audited[0].study) == ("primary", "TEST")


def test_node_does_not_start_on_half_of_what_it_knew(open_site: Any) -> None:
    site = open_site
    site.ask(site.task())
    for path in site.home.auditor.glob("*.released"):
        path.unlink()
    with pytest.raises(ConfigError) as caught:
        site.open()
    assert caught.value.code == "AUDITOR_BEHIND"
