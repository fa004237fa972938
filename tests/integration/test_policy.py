"""A custodian's policy over running nodes: signed as they run, told to the statistician, never an older one again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from network_kit import answer_bytes, run_program, wait_until

from isthmus.errors import IsthmusError
from isthmus_client.plan import Plan
from isthmus_client.sandbox import Sandbox

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("network"), pytest.mark.timeout(300)]

STUDY = "BREAST-RFS"


class Custodian:
    """at's, at the command line."""

    def __init__(self, network: Sandbox, folder: Path) -> None:
        self.home = network.node_home("at")
        self.file = folder / "new.toml"

    def run(self, *words: str) -> dict[str, object]:
        ended = run_program("isthmus-node", *words, "--home", str(self.home), "--json")
        assert ended.code == 0, ended.everything
        found: dict[str, object] = json.loads(ended.stdout)["data"]
        return found

    def adopt(self, text: str) -> None:
        self.file.write_text(text, encoding="utf-8")
        self.run("policy", "adopt", str(self.file), "--reason", "test")


@pytest.fixture
def custodian(network: Sandbox, tmp_path: Path) -> Iterator[Custodian]:
    """Signs at's policy anew; the one that was there is signed again afterwards."""
    made = Custodian(network, tmp_path)
    before = (made.home / "policy.toml").read_text(encoding="utf-8")
    yield made
    made.adopt(before)


def primary(network: Sandbox) -> Plan:
    return network.connect().study(STUDY).planned("primary")


def test_signed_policy_holds_at_once_and_is_told_to_the_statistician(network: Sandbox, custodian: Custodian) -> None:
    plan = primary(network)
    assert "every country" in str(plan.explain())
    undisturbed = answer_bytes(plan.run(progress=False))
    custodian.adopt('[runs]\neach = "ask"\n[purpose.trial_analysis]\nlevel_persons = 6\ncontributors = 3\n')
    rule = "each level of each term, and the rest of its total, has 6 or more persons: AT"
    wait_until(lambda: rule in str(plan.explain()))
    explained = str(plan.explain())
    assert "a run is over 3 or more countries: AT" in explained
    assert "a person decides on each run before it starts in: AT" in explained

    asked = primary(network)
    asked.start()
    wait_until(lambda: bool(custodian.run("studies")["requests"]))
    (request,) = custodian.run("studies")["requests"]  # type: ignore[misc]
    assert request["title"] == f"run {asked.runs[0].hex()[:12]} of primary"
    assert "primary" in str(custodian.run("study", "show", request["request"]))
    custodian.run("approve", request["request"])
    assert answer_bytes(asked.run(progress=False)) == undisturbed


def test_numbers_are_held_until_the_custodian_has_seen_them(network: Sandbox, custodian: Custodian) -> None:
    undisturbed = answer_bytes(primary(network).run(progress=False))
    custodian.adopt('[release]\noutputs = "ask"\n[purpose.trial_analysis]\n')
    asked = primary(network)
    wait_until(lambda: "a person sees the numbers before they leave in: AT" in str(asked.explain()))
    asked.start()
    looks: list[str] = []
    with network.connect() as connection:
        for progress in connection.watch(asked.runs[0]):
            if {c.country: c.state for c in progress.countries}["AT"] != "held for inspection":
                continue
            for held in custodian.run("release", "list")["held"]:  # type: ignore[attr-defined]
                if held["digest"] not in looks:
                    looks.append(held["digest"])
                    assert custodian.run("release", "show", held["digest"])["numbers"]
                    custodian.run("release", "approve", held["digest"], "--run")
    fit = asked.run(progress=False)
    assert answer_bytes(fit) == undisturbed
    assert 1 <= len(looks) < fit.result.rounds, "a model of many rounds is looked at a few times only"


def test_yesterdays_policy_put_back_into_a_running_node_lets_nothing_out(
    network: Sandbox, custodian: Custodian
) -> None:
    policies = custodian.home / "state" / "policies"
    yesterday = {path: path.read_bytes() for path in (custodian.home / "policy.toml", *policies.iterdir())}
    custodian.adopt("[purpose.publication]\n")
    plan = primary(network)
    wait_until(lambda: "AT will refuse it: its policy lets nothing out for this purpose" in str(plan.explain()))
    with pytest.raises(IsthmusError) as caught:
        plan.run(progress=False)
    assert caught.value.code == "PURPOSE_NOT_ALLOWED"
    for path in policies.iterdir():
        if path not in yesterday:
            path.unlink()
    for path, content in yesterday.items():
        path.write_bytes(content)
    wait_until(lambda: "the policy is not known of: AT" in str(plan.explain()))
    with pytest.raises(IsthmusError) as caught:
        primary(network).run(progress=False)
    assert caught.value.code == "POLICY_OLDER"
    assert "POLICY_OLDER" in str(custodian.run("status")["policy"])
    checked = run_program("isthmus-node", "check", "--home", str(custodian.home), "--json")
    assert "isthmus-node policy adopt" in checked.stdout
    wait_until(lambda: "the policy is not known of: AT" in str(plan.explain()))
