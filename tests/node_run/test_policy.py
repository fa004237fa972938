"""The policy at work in a node: signed or nothing leaves, no older one again, to whom, of what, run by run."""

from __future__ import annotations

import hashlib
import inspect
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from isthmus.errors import ConfigError
from isthmus.v1 import study_pb2, summary_pb2
from isthmus_methods.contract import Kind
from isthmus_node.custodian.adoption import Adoptions
from isthmus_node.custodian.decisions import RUN, run_digest
from isthmus_node.custodian.policy_in_force import PolicyInForce
from isthmus_node.custodian.stating import OF_KINDS
from isthmus_node.egress import rules
from isthmus_node.egress.journal_read import read
from isthmus_node.egress.judges import JUDGES
from isthmus_node.egress.policy import DEFAULT_FILE, Policy
from isthmus_node.egress.thresholds import KEYS
from isthmus_node.homes import find_home
from isthmus_node.sources import Source
from isthmus_trust.documents import LIMITS, canonical, open_signed
from isthmus_trust.identity import IdentityKey

TRIALS = "[purpose.trial_analysis]\n"
# Under this one nothing of a trial leaves.
NO_TRIALS = "[purpose.publication]\n"


def last(site: Any) -> summary_pb2.Summary | summary_pb2.Refusal:
    return site.answers()[-1]


def with_study(site: Any, change: Callable[[study_pb2.Study], None]) -> None:
    """A changed version of the site's study, arrived and approved; `site.task` is about it."""
    study = study_pb2.Study.FromString(canonical(site.study))
    study.version += 1
    change(study)
    site.study = study
    site.decide(site.announce(study))


# --------------------------------------------------------------------------- in force


def put_back_an_old_policy(site: Any) -> None:
    """What whoever has the node's files, and not the custodian's key, can do: a copy of yesterday's."""
    old = {path: path.read_bytes() for path in [site.home.policy, *site.home.policies.iterdir()]}
    site.adopt(NO_TRIALS)
    site.ask(site.task())
    assert last(site).code == "PURPOSE_NOT_ALLOWED"
    for path in site.home.policies.iterdir():
        if path not in old:
            path.unlink()
    for path, content in old.items():
        path.write_bytes(content)


def test_old_policy_put_back_lets_nothing_out(site: Any) -> None:
    put_back_an_old_policy(site)
    site.ask(site.task(run=b"x" * 16))
    assert last(site).code == "POLICY_OLDER"
    with pytest.raises(ConfigError, match="not the newest"):
        site.open()


def test_old_policy_put_back_would_let_everything_out_if_the_node_forgot(site: Any) -> None:
    put_back_an_old_policy(site)
    forgetful = PolicyInForce(site.home.policy, site.adoptions, lambda: (0, b""))
    site.admission._policy = site.answering._policy = forgetful
    site.ask(site.task(run=b"x" * 16))
    assert isinstance(last(site), summary_pb2.Summary)


@pytest.mark.parametrize("change", [lambda text: text + "# read\n", lambda text: TRIALS], ids=["comment", "meaning"])
def test_policy_edited_by_hand_lets_nothing_out_until_it_is_signed(site: Any, change: Callable[[str], str]) -> None:
    text = change(site.home.policy.read_text())
    site.home.policy.write_text(text)
    site.ask(site.task())
    assert last(site).code == "POLICY_CHANGED"
    assert "custodian signed" not in last(site).rule, "the site's own words stay at the site"
    site.adopt(text)
    site.ask(site.task(run=b"x" * 16))
    assert isinstance(last(site), summary_pb2.Summary)


def test_policy_signed_by_somebody_else_lets_nothing_out(site: Any) -> None:
    stranger = IdentityKey.generate()
    text = site.home.policy.read_bytes()
    meaning = site.policy()
    Adoptions(site.home.policies, "nl", stranger.public).sign(stranger, text, meaning)
    site.ask(site.task())
    assert last(site).code == "WRONG_SIGNER"


def test_policies_in_force_are_in_the_journal_as_they_were_signed(site: Any) -> None:
    site.adopt(TRIALS)
    site.ask(site.task())
    records = [entry.record for entry in read(site.home.journal) if entry.record.event == "POLICY"]
    adopted = list(site.adoptions.everything())
    assert [record.document for record in records] == [one.signed for one in adopted]
    assert [record.policy_digest for record in records] == [one.digest for one in adopted]
    assert last(site).policy_digest == adopted[-1].digest


# --------------------------------------------------------------------------- to whom

TO_SPONSOR = TRIALS + "[purpose.trial_analysis.recipient.sponsor]\n"


def of_study(*roles: int) -> Callable[[study_pb2.Study], None]:
    return lambda study: study.recipient_roles.extend(roles)


def of_analysis(*roles: int) -> Callable[[study_pb2.Study], None]:
    def change(study: study_pb2.Study) -> None:
        study.recipient_roles.append(study_pb2.PUBLIC)
        study.plan[0].recipients.extend(roles)

    return change


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (of_study(), "RECIPIENT_NOT_NAMED"),
        (of_study(study_pb2.SPONSOR), ""),
        (of_study(study_pb2.SPONSOR, study_pb2.PUBLIC), "RECIPIENT_NOT_ALLOWED"),
        (of_analysis(study_pb2.SPONSOR), ""),
        (of_analysis(study_pb2.AUTHORITY), "RECIPIENT_NOT_ALLOWED"),
    ],
)
def test_result_goes_to_whom_the_policy_names(site: Any, change: Callable[[study_pb2.Study], None], code: str) -> None:
    with_study(site, change)
    site.adopt(TO_SPONSOR)
    site.ask(site.task())
    assert getattr(last(site), "code", "") == code


def test_recipient_is_held_to_its_own_threshold(site: Any) -> None:
    with_study(site, of_study(study_pb2.SPONSOR))
    site.adopt(TO_SPONSOR)
    site.ask(site.task())
    assert isinstance(last(site), summary_pb2.Summary)
    site.adopt(TO_SPONSOR + "sum_persons = 100000\n")
    site.ask(site.task(run=b"x" * 16))
    assert last(site).code == "FEW_PERSONS"
    assert "100000" in last(site).rule


# --------------------------------------------------------------------------- over which variables, of how many


def test_genomic_variable_stays_where_the_policy_says_so(site: Any) -> None:
    used = site.study.plan[0].spec.terms[0].columns[0].variable

    def mark(study: study_pb2.Study) -> None:
        next(v for v in study.datasets[0].variables if v.name == used).roles.append(study_pb2.Variable.GENOMIC)

    with_study(site, mark)
    site.ask(site.task())
    assert isinstance(last(site), summary_pb2.Summary)
    site.adopt(TRIALS + '[variables]\nrefuse_roles = ["genomic"]\n')
    site.ask(site.task(run=b"x" * 16))
    assert last(site).code == "VARIABLE_KEPT_IN"
    assert used in last(site).rule


def test_variable_that_the_study_did_not_mark_is_kept_in_by_its_name(site: Any) -> None:
    used = site.study.plan[0].spec.terms[0].columns[0].variable
    site.adopt(TRIALS + f'[variables]\nrefuse = ["{used}"]\n')
    site.ask(site.task())
    assert last(site).code == "VARIABLE_KEPT_IN"


def test_run_over_too_few_countries_is_refused(site: Any) -> None:
    site.adopt(TRIALS + "contributors = 2\n")
    site.ask(site.task())
    assert isinstance(last(site), summary_pb2.Summary)
    site.ask(site.task(run=b"x" * 16, participants=["nl"]))
    assert last(site).code == "FEW_CONTRIBUTORS"
    assert "2 or more countries" in last(site).rule


# --------------------------------------------------------------------------- run by run


def test_each_run_waits_for_a_person_where_the_policy_says_so(site: Any) -> None:
    site.adopt(TRIALS + '[runs]\neach = "ask"\n')
    signed = site.task()
    site.ask(signed)
    assert site.answers() == []
    (path,) = site.home.waiting.glob("*.pb")
    task = summary_pb2.Task.FromString(path.read_bytes())
    site.decide(run_digest(task), context=RUN)
    assert isinstance(last(site), summary_pb2.Summary)
    assert list(site.home.waiting.glob("*.pb")) == []
    # the word holds for the other rounds of this run, and for no other run of the same analysis
    assert run_digest(task) == run_digest(summary_pb2.Task(**{**fields(task), "round": 2}))
    site.ask(site.task(run=b"y" * 16))
    assert len(site.answers()) == 1
    (other,) = site.home.waiting.glob("*.pb")
    site.decide(run_digest(summary_pb2.Task.FromString(other.read_bytes())), approved=False, context=RUN)
    assert last(site).code == "RUN_DECLINED"


def test_nobody_is_asked_about_runs_over_open_data(site: Any) -> None:
    site.adopt(TRIALS + '[runs]\neach = "ask"\n')
    site.datasets.add("ADTTE", Source(str(site.source)), open_data=True, replacing=True)
    site.ask(site.task())
    assert isinstance(last(site), summary_pb2.Summary)


def test_analysis_outside_the_plan_is_asked_about_once_where_each_run_is(site: Any) -> None:
    site.adopt(TRIALS + '[runs]\neach = "ask"\n[exploratory]\nanalyses = "ask"\n')
    site.ask(site.task(analysis=""))
    (path,) = site.home.waiting.glob("*.pb")
    site.decide(run_digest(summary_pb2.Task.FromString(path.read_bytes())), context=RUN)
    assert isinstance(last(site), summary_pb2.Summary)


def fields(task: summary_pb2.Task) -> dict[str, Any]:
    return {field.name: value for field, value in task.ListFields()}


# --------------------------------------------------------------------------- what the coordinator is told


def told(site: Any) -> study_pb2.StatedLimits:
    return open_signed(site.service.hello().limits, LIMITS, study_pb2.StatedLimits, site.identity.public)


def test_coordinator_is_told_what_the_policy_asks_for(site: Any) -> None:
    site.adopt('preset = "CN"\n' + TO_SPONSOR + "cell_persons = 12\n[variables]\nrefuse = ['SECRET']\n")
    stated = told(site)
    assert (stated.node, stated.preset, stated.holds_outputs, stated.exploratory) == ("nl", "CN", True, "ask")
    assert not stated.asks_each_run
    assert stated.policy_digest == site.policy().digest
    assert list(stated.refused_roles) == [study_pb2.Variable.GENOMIC]
    (purpose,) = stated.purposes
    assert (purpose.purpose, purpose.recipient) == (study_pb2.TRIAL_ANALYSIS, study_pb2.SPONSOR)
    thresholds = {threshold.name: threshold for threshold in purpose.thresholds}
    assert set(thresholds) == set(KEYS)
    assert thresholds["cell_persons"].value == 12
    assert thresholds["cell_persons"].rule == "each count, and the rest of its total, is of 12 or more persons"
    assert list(thresholds["cell_persons"].kinds) == ["count"]
    assert (thresholds["leverage"].smaller_is_tighter, thresholds["cell_persons"].smaller_is_tighter) == (True, False)
    assert list(thresholds["contributors"].kinds) == []
    assert b"SECRET" not in stated.SerializeToString(), "names that a site keeps in are its own"


def test_coordinator_is_told_nothing_where_no_policy_is_in_force(site: Any) -> None:
    site.home.policy.write_text(TRIALS)
    assert not site.service.hello().HasField("limits")


def test_coordinator_is_greeted_again_when_the_policy_has_changed(site: Any) -> None:
    greeted: list[int] = []
    site.service._greet_again = lambda: greeted.append(1)
    assert not site.policy.changed()
    site.adopt(TRIALS)
    assert site.policy.changed()
    site.service.look_again()
    site.service.work_off()
    assert greeted == [1]
    site.service.hello()
    site.service.look_again()
    site.service.work_off()
    assert greeted == [1]


def test_kinds_that_a_threshold_is_told_of_are_those_it_is_asked_of() -> None:
    assert set(OF_KINDS) <= set(KEYS)
    asked: dict[str, set[Kind]] = {}
    for kind, judge in JUDGES.items():
        for rule in judge.floors:
            for name in thresholds_in(rule):
                asked.setdefault(name, set()).add(kind)
    # zeros are asked about in most of them
    del asked["zeros_shown"]
    # these are asked where a task comes in or noise is drawn, or change what leaves
    elsewhere = {"count_rounding", "update_contributors", "privacy_budget", "metric_digits", "examples_rounding"}
    assert asked == {name: set(kinds) for name, kinds in OF_KINDS.items() if name not in elsewhere}


def thresholds_in(rule: Callable[..., object], depth: int = 0) -> set[str]:
    """Names of the thresholds that a rule reads, itself or through those it calls."""
    code = inspect.getsource(rule)
    names = set(re.findall(r"limits\.(\w+)", code)) - {"rule"}
    names |= {name for name in re.findall(r'"(\w+)"', code) if name in KEYS}
    for called in re.findall(r"(?:rules\.)?(_?[a-z]\w+)\b", code):
        found = getattr(rules, called, None)
        if depth < 3 and inspect.isfunction(found) and found is not rule and found.__module__ == rules.__name__:
            names |= thresholds_in(found, depth + 1)
    return names


# --------------------------------------------------------------------------- commands


@pytest.fixture
def home(tmp_path: Path) -> Any:
    return find_home(tmp_path / "home", {})


@pytest.fixture
def joined(isthmus_node: Callable[..., Any], token_file: Path) -> Callable[..., Any]:
    assert isthmus_node("join", token_file).code == 0
    return isthmus_node


def test_policy_there_at_joining_is_the_first_that_is_signed(joined: Callable[..., Any], home: Any) -> None:
    assert home.policy.read_text() == DEFAULT_FILE.read_text()
    assert "in force, signed by the custodian as number 1" in joined("policy", "show").out
    assert joined("status", "--json").data["policy"].startswith("in force")
    (only,) = joined("policy", "history", "--json").data["policies"]
    assert (only["serial"], only["reason"], only["text"]) == (1, "joined", home.policy.read_text())


def test_custodians_own_policy_is_kept_and_signed_at_joining(
    isthmus_node: Callable[..., Any], token_file: Path, home: Any
) -> None:
    home.make()
    home.policy.write_text(TRIALS)
    assert isthmus_node("join", token_file).code == 0
    assert home.policy.read_text() == TRIALS
    assert "in force" in isthmus_node("policy", "show").out


def test_policy_below_a_floor_is_said_before_the_token_is_used(
    isthmus_node: Callable[..., Any], token_file: Path, home: Any, coordinator: Any
) -> None:
    home.make()
    home.policy.write_text(TRIALS + "cell_persons = 1\n")
    assert isthmus_node("join", token_file, "--json").error["code"] == "POLICY_BELOW_FLOOR"
    assert coordinator.exchange.enrolments == []


def test_node_enrolled_again_does_not_sign_what_was_changed(
    joined: Callable[..., Any], home: Any, token_file: Path
) -> None:
    home.policy.write_text(TRIALS)
    assert joined("join", token_file, "--again").code == 0
    assert "POLICY_CHANGED" in joined("policy", "show").out


@pytest.mark.parametrize("country", ["CN", "VN"])
def test_first_policy_of_a_country_with_a_preset_is_its_preset(country: str) -> None:
    from isthmus_node.joining import first_policy

    policy = Policy.read(first_policy(country))
    assert policy.preset == country
    assert len(policy.limits) == 4
    assert first_policy("NL") == DEFAULT_FILE.read_text()


def test_changed_policy_is_compared_signed_and_taken_back(
    joined: Callable[..., Any], home: Any, tmp_path: Path
) -> None:
    new = tmp_path / "new.toml"
    new.write_text(TRIALS + "cell_persons = 4\nlevel_persons = 9\n")
    told = joined("policy", "diff", new, "--json").data
    assert told["signed"] == 1
    assert [line for line in told["allows"] if "each count" in line]
    assert [line for line in told["forbids"] if "each level" in line]
    assert "publication: nothing leaves any more" in told["forbids"]
    words = joined("policy", "diff", new).out
    assert words.index("newly allowed:") < words.index("no longer allowed:")
    # comparing changes nothing
    assert home.policy.read_text() == DEFAULT_FILE.read_text()

    said = joined("policy", "adopt", new, "--reason", "asked for by the board", "--json").data
    assert (said["serial"], said["allows"]) == (2, told["allows"])
    assert home.policy.read_text() == new.read_text()
    assert home.policy.stat().st_mode & 0o777 == 0o640
    assert "number 2" in joined("policy", "show").out
    assert "board" in joined("policy", "history").out
    assert "newly allowed: nothing" in joined("policy", "diff").out

    home.policy.write_text(TRIALS)
    assert "POLICY_CHANGED" in joined("status").out
    assert joined("policy", "restore").code == 0
    assert home.policy.read_text() == new.read_text()


def test_policy_edited_in_place_is_signed_where_it_lies(joined: Callable[..., Any], home: Any) -> None:
    home.policy.write_text(TRIALS)
    checked = joined("check", "--json")
    line = next(line for line in checked.data["checks"] if line["question"] == "policy")
    assert line["mark"] == "FAIL"
    assert "isthmus-node policy adopt" in line["remedy"]
    assert joined("policy", "adopt").code == 0
    line = next(c for c in joined("check", "--json").data["checks"] if c["question"] == "policy")
    assert (line["mark"], "number 2" in line["found"]) == ("PASS", True)


def test_policy_below_a_floor_is_not_signed(joined: Callable[..., Any], home: Any, tmp_path: Path) -> None:
    new = tmp_path / "new.toml"
    new.write_text(TRIALS + "cell_persons = 1\n")
    assert joined("policy", "adopt", new, "--json").error["code"] == "POLICY_BELOW_FLOOR"
    assert joined("policy", "history", "--json").data["policies"][-1]["serial"] == 1


def test_node_of_an_earlier_release_has_its_policy_signed_once(joined: Callable[..., Any], home: Any) -> None:
    for path in home.policies.iterdir():
        path.unlink()
    shown = joined("policy", "show").out
    assert "POLICY_NOT_ADOPTED" in shown
    assert "isthmus-node policy adopt" in shown
    assert joined("policy", "restore", "--json").error["code"] == "POLICY_NOT_ADOPTED"
    assert "nothing, as no policy is signed yet" in joined("policy", "diff").out
    assert joined("policy", "adopt").code == 0
    assert "in force" in joined("policy", "show").out


def test_policy_signed_under_a_release_that_asked_less_is_compared_with_what_it_meant_then(
    joined: Callable[..., Any], home: Any
) -> None:
    adoptions = Adoptions(home.policies, "nl", IdentityKey.load(home.pki / "custodian.key").public)
    text, policy = home.policy.read_bytes(), Policy.load(home.policy)
    form = json.loads(policy.canonical)
    for limits in form["purpose"].values():
        del limits["leverage"], limits["sum_persons"]
    form["purpose"]["trial_analysis"]["cell_persons"] = 4
    form["purpose"]["trial_analysis"]["gone"] = 1
    then = json.dumps(form).encode()
    meant = replace(policy, canonical=then, digest=hashlib.sha256(then).digest())
    adoptions.sign(IdentityKey.load(home.pki / "custodian.key"), text, meant)
    assert "means something else under this release" in joined("policy", "show").out
    told = joined("policy", "diff", "--json").data
    assert told["allows"] == []
    assert {key.rpartition(".")[2] for key in told["keys"]} == {"leverage", "sum_persons", "cell_persons"}
    assert joined("policy", "adopt", "--json").data["forbids"] == told["forbids"]
    assert "in force" in joined("policy", "show").out
    assert "newly allowed: nothing\nno longer allowed: nothing" in joined("policy", "diff").out
    (home.policies / f"{policy.digest.hex()}.json").write_bytes(then)
    assert "method cox may be used" in joined("policy", "diff").out, "what cannot be trusted is no comparison"


def test_site_in_a_country_with_a_preset_is_told_of_it(joined: Callable[..., Any], home: Any) -> None:
    home.settings.write_text(home.settings.read_text().replace('"NL"', '"CN"'))
    line = next(c for c in joined("check", "--json").data["checks"] if c["question"] == "policy")
    assert line["mark"] == "WARN"
    assert "preset of CN" in line["found"]
    joined_file = home.policy
    joined_file.write_text('preset = "CN"\n' + TRIALS)
    assert joined("policy", "adopt").code == 0
    line = next(c for c in joined("check", "--json").data["checks"] if c["question"] == "policy")
    assert (line["mark"], "preset CN" in line["found"]) == ("PASS", True)
    shown = joined("policy", "show").out
    assert "a convention" in shown
    assert "PIPL" in shown
