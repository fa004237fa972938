"""A country that does not answer: waited for, named in an error, or gone on without, as the analysis says."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from comparing import differences
from network_kit import answer_bytes, released, run_program, wait_until

from isthmus.errors import CountriesMissing, Refused, WaitingForApproval
from isthmus.v1 import study_pb2
from isthmus_client.demo import COUNTRIES, example_folder
from isthmus_client.proposal import study_from_toml
from isthmus_client.sandbox import Sandbox
from isthmus_methods.codec import spec_from_message
from isthmus_methods.in_process import pool_in_process
from isthmus_methods.registry import find
from isthmus_node.compute import blocks
from isthmus_node.sources import Source, read, typed

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("network"), pytest.mark.timeout(300)]

STUDY = "BREAST-MISSING"
# Seconds a round may take: long for nodes that run, short for a test that waits until it is over.
DEADLINE = 5
POLICIES = {"waits": "wait", "fails": "fail", "goes-on": "go on without"}


def propose(box: Sandbox, name: str, folder: Path) -> study_pb2.Study:
    """The example's study with one analysis for each way to deal with a missing country."""
    text = (example_folder() / "study.toml").read_text(encoding="utf-8")
    head = text[: text.index("[[plan]]")].replace('name = "BREAST-RFS"', f'name = "{name}"', 1)
    plan = [
        f"""
[[plan]]
name = "{analysis}"
title = "Hazard ratio of hormonal therapy"
method = "cox"
formula = "Surv(rfstime, status) ~ hormon + age + meno"
missing_country = "{policy}"
deadline_seconds = {DEADLINE}
"""
        for analysis, policy in POLICIES.items()
    ]
    written = folder / f"{name}.toml"
    written.write_text(head + "".join(plan), encoding="utf-8")
    with box.connect() as connection:
        connection.propose(study_from_toml(written, connection.participants()))
        return connection.study(name).message


def replayed(box: Sandbox, folder: Path, result: Path) -> dict[str, Any]:
    """The one run of a result, pooled again from the journals of all four."""
    for node in COUNTRIES:
        box.node(node, "journal", "export", "-o", str(folder / node))
    bundles = [str(folder / node) for node in COUNTRIES]
    ended = run_program("isthmus", "replay", *bundles, "--result", str(result), "--exact", "--json")
    assert ended.code == 0, ended.everything
    runs: list[dict[str, Any]] = json.loads(ended.stdout)["data"]["runs"]
    assert len(runs) == 1
    return runs[0]


def wait_for_decisions(box: Sandbox, study: str, number: int) -> None:
    """Until the coordinator has heard of so many decisions; the test's own limit ends it where it does not."""
    with box.connect() as connection:
        wait_until(lambda: sum(site.decision != "waiting" for site in connection.sites(study)) >= number)


def plan_file(folder: Path, study: str, *analyses: str) -> Path:
    path = folder / f"{study}-{'-'.join(analyses)}.toml"
    path.write_text(f"study = {json.dumps(study)}\nplanned = {json.dumps(analyses)}\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("missing")


@pytest.fixture(scope="module")
def study(network: Sandbox, folder: Path) -> study_pb2.Study:
    message = propose(network, STUDY, folder)
    network.approve(STUDY, COUNTRIES)
    return message


@pytest.fixture(scope="module")
def undisturbed(network: Sandbox, study: study_pb2.Study) -> bytes:
    with network.connect() as connection:
        return answer_bytes(connection.study(STUDY).planned("waits").run(progress=False))


@pytest.fixture
def without_belgium(network: Sandbox, study: study_pb2.Study) -> Iterator[Sandbox]:
    """The network with one node stopped; whole again afterwards."""
    network.processes["be"].stop()
    yield network
    if not network.processes["be"].running:
        network.start_nodes(["be"])


def pooled_over(study: study_pb2.Study, analysis: str, countries: tuple[str, ...]) -> object:
    """The answer over these countries' rows, in this process: no node, no coordinator."""
    message = next(a.spec for a in study.plan if a.name == analysis)
    spec = replace(spec_from_message(message, study), countries=countries)
    method = find(spec.method)
    folder = example_folder() / "data"
    rows = {
        c: blocks(spec, typed(read(Source(str(folder / f"{c}.csv"))), study.datasets[0], c), method)
        for c in countries
    }  # fmt: skip
    done, _ = pool_in_process(method, rows, spec)
    return done.answer


def test_waited_for_country_is_shown_as_away_and_the_run_goes_on_when_it_returns(
    without_belgium: Sandbox, undisturbed: bytes
) -> None:
    box = without_belgium
    with box.connect() as connection:
        plan = connection.study(STUDY).planned("waits")
        plan.start()
        seen: dict[str, str] = {}
        for progress in connection.watch(plan.runs[0]):
            seen = {country.country: country.state for country in progress.countries}
            if list(seen.values()).count("answered") == len(COUNTRIES) - 1:
                break
        assert seen == {"NL": "answered", "BE": "away", "DE": "answered", "AT": "answered"}
        box.start_nodes(["be"])
        fit = plan.run(progress=False)
    assert answer_bytes(fit) == undisturbed
    assert fit.exact
    assert fit.missing_countries == ()


def test_missing_country_ends_a_run_that_may_not_go_on(without_belgium: Sandbox, folder: Path) -> None:
    box = without_belgium
    with box.connect() as connection, pytest.raises(CountriesMissing) as caught:
        connection.study(STUDY).planned("fails").run(progress=False)
    error = caught.value
    assert error.code == "DEADLINE_PASSED"
    assert "BE (node be) did not answer round 1 within 5 s" in error.message
    assert "isthmus-node status" in error.remedy


def test_missing_country_is_named_in_the_answer_of_the_others(
    without_belgium: Sandbox, study: study_pb2.Study, folder: Path
) -> None:
    box = without_belgium
    done = run_program(
        "isthmus", "run", str(plan_file(folder, STUDY, "goes-on")), "--profile", str(box.profile), "--json"
    )
    assert done.code == CountriesMissing.exit_code, done.stderr
    envelope = json.loads(done.stdout)
    assert envelope["status"] == "countries_missing"
    (result,) = envelope["data"]["results"]
    assert result["missing_countries"] == ["BE"]
    assert result["exact"] is False
    assert [c for c in result["caveats"] if "BE is not in this result" in c and "NL, DE, AT" in c]
    assert {c["country"]: c["state"] for c in result["contributions"]} == {
        "NL": "contributed", "BE": "missing", "DE": "contributed", "AT": "contributed"
    }  # fmt: skip
    expected = pooled_over(study, "goes-on", ("NL", "DE", "AT"))
    # 1e-10: other processes, the same code and machine
    assert differences(result["answer"], expected, lambda path: 1e-10) == []
    everybody = pooled_over(study, "goes-on", tuple(COUNTRIES.values()))
    assert differences(result["answer"], everybody, lambda path: 1e-10) != []
    (folder / "result.json").write_text(json.dumps(envelope["data"]), encoding="utf-8")
    run = replayed(box, folder / "goes-on", folder / "result.json")
    assert (run["outcome"], run["equal"]["to_the_bit"], run["earlier_attempts"]) == ("pooled", True, 1)
    assert run["left_out"] == [{"country": "BE", "node": "be", "reason": "its journal has no answer to round 1"}]


def test_answer_after_the_deadline_changes_nothing(
    network: Sandbox, study: study_pb2.Study, undisturbed: bytes
) -> None:
    """A node that hangs, answers too late, and is asked again afterwards."""
    hanging = network.processes["be"]
    before = released(network, "be")
    hanging.popen.send_signal(signal.SIGSTOP)
    try:
        with network.connect() as connection, pytest.raises(CountriesMissing, match="BE"):
            connection.study(STUDY).planned("fails").run(progress=False)
    finally:
        hanging.popen.send_signal(signal.SIGCONT)
    with network.connect() as connection:
        fit = connection.study(STUDY).planned("waits").run(progress=False)
    assert answer_bytes(fit) == undisturbed
    # the late one is dropped before it leaves, or journaled and turned down; either way the run had ended
    assert released(network, "be") - before - fit.result.rounds in (0, 1)


def test_run_waits_for_custodians_and_goes_without_a_country_that_refuses(network: Sandbox, folder: Path) -> None:
    name = "BREAST-DECLINED"
    study = propose(network, name, folder)
    network.approve(name, ("nl", "de", "at"))
    wait_for_decisions(network, name, 3)
    plan = str(plan_file(folder, name, "waits"))
    undecided = run_program("isthmus", "run", plan, "--no-wait", "--profile", str(network.profile), "--json")
    assert undecided.code == WaitingForApproval.exit_code, undecided.stderr
    error = undecided.error
    assert error["code"] == "WAITING_FOR_APPROVAL"
    assert "BE" in error["message"]
    assert "NL" not in error["message"]

    network.node("be", "refuse", name, "--reason", "not in our interest")
    with network.connect() as connection:
        opened = connection.study(name)
        with pytest.raises(Refused) as caught:
            opened.planned("fails").run(progress=False)
        assert caught.value.code == "STUDY_REFUSED"
        assert "BE (node be)" in caught.value.message
        fit = opened.planned("goes-on").run(progress=False)
    assert fit.missing_countries == ("BE",)
    assert {c.country: c.state for c in fit.provenance().contributions}["BE"] == "refused"
    expected = pooled_over(study, "goes-on", ("NL", "DE", "AT"))
    assert differences(fit.answer, expected, lambda path: 1e-10) == []


def test_approval_that_is_taken_back_ends_the_next_run(network: Sandbox, folder: Path) -> None:
    name = "BREAST-WITHDRAWN"
    propose(network, name, folder)
    network.approve(name, COUNTRIES)
    with network.connect() as connection:
        opened = connection.study(name)
        opened.planned("fails").run(progress=False)
        network.node("at", "refuse", name, "--reason", "consent was withdrawn")
        with pytest.raises(Refused, match="AT"):
            opened.planned("fails").run(progress=False)
