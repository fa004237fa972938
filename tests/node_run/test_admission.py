"""Which tasks may run: each rule refuses what breaks it and lets through what does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from isthmus.errors import IsthmusError, Refused, UsageError, WaitingForApproval
from isthmus.v1 import spec_pb2, study_pb2, values_pb2
from isthmus_methods.registry import find
from isthmus_node.admission import open_task


def judge(site: Any, **changes: Any) -> str:
    """ "" where the task is admitted, otherwise the code of what stands against it."""
    name, task = open_task(site.task(**changes), site.coordinator.public)
    try:
        order = site.admission.admit(name, task)
    except (Refused, UsageError, WaitingForApproval) as error:
        return error.code
    assert order.digest == name
    assert order.method.name == task.spec.method
    return ""


def changed(site: Any, change: Callable[[spec_pb2.Spec], None]) -> spec_pb2.Spec:
    spec = spec_pb2.Spec()
    spec.CopyFrom(site.study.plan[0].spec)
    change(spec)
    return spec


def drop_term(spec: spec_pb2.Spec) -> None:
    del spec.terms[1]


STATE = [values_pb2.NamedArray(name="beta", array=values_pb2.Array(shape=[1], doubles=bytes(8)))]

RULES: list[tuple[str, dict[str, Any], str]] = [
    ("as planned", {}, ""),
    ("only those left", {"participants": ["nl"]}, ""),
    ("not us", {"participants": ["de"]}, "WRONG_PARTICIPANTS"),
    ("strangers", {"participants": ["nl", "de", "xx"]}, "WRONG_PARTICIPANTS"),
    ("twice", {"participants": ["nl", "nl", "de"]}, "WRONG_PARTICIPANTS"),
    ("other order", {"participants": ["de", "nl"]}, "WRONG_PARTICIPANTS"),
    ("too late", {"deadline": 1}, "DEADLINE_PAST"),
    ("no deadline", {"deadline": 0}, ""),
    ("not in the plan", {"analysis": "another"}, "NOT_IN_PLAN"),
    ("other purpose", {"purpose": study_pb2.PUBLICATION}, "NOT_AS_PLANNED"),
    ("round 0", {"round": 0}, "ROUND_OUT_OF_BOUNDS"),
    ("round without end", {"round": 10_000}, "ROUND_OUT_OF_BOUNDS"),
    ("no run", {"run": b""}, "ROUND_OUT_OF_BOUNDS"),
    ("chosen start", {"state": STATE}, "STATE_IN_FIRST_ROUND"),
    ("later state", {"state": STATE, "round": 2}, ""),
    ("outside the plan", {"analysis": ""}, "REQUEST_NOT_DECIDED"),
    ("outside, other purpose", {"analysis": "", "purpose": study_pb2.PUBLICATION}, "EXPLORATORY_PURPOSE"),
    ("outside, no purpose", {"analysis": "", "purpose": 0}, "EXPLORATORY_PURPOSE"),
    ("unknown study", {"study_digest": bytes(32)}, "STUDY_NOT_HERE"),
]


@pytest.mark.parametrize(("changes", "code"), [rule[1:] for rule in RULES], ids=[rule[0] for rule in RULES])
def test_task_is_judged_by_its_rule(site: Any, changes: dict[str, Any], code: str) -> None:
    assert judge(site, **changes) == code


def test_changed_spec_is_not_the_planned_one(site: Any) -> None:
    assert judge(site, spec=changed(site, drop_term)) == "NOT_AS_PLANNED"


@pytest.mark.parametrize(("rule", "code"), [("refuse", "EXPLORATORY_REFUSED"), ("allow", "")])
def test_analysis_outside_the_plan_follows_the_policy(site: Any, rule: str, code: str) -> None:
    text = site.home.policy.read_text()
    site.adopt(text.replace('analyses = "ask"', f'analyses = "{rule}"'))
    assert judge(site, analysis="") == code


def set_method(name: str, version: int = 1) -> Callable[[spec_pb2.Spec], None]:
    def change(spec: spec_pb2.Spec) -> None:
        spec.method, spec.method_version = name, version

    return change


def set_variable(name: str) -> Callable[[spec_pb2.Spec], None]:
    def change(spec: spec_pb2.Spec) -> None:
        spec.terms[0].columns[0].variable = name

    return change


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (set_method("kmeans"), "UNKNOWN_METHOD"),
        (set_method("cox", 99), "METHOD_VERSION"),
        (set_variable("NOWHERE"), "UNKNOWN_VARIABLE"),
        (set_variable("USUBJID"), "FORBIDDEN_VARIABLE"),
        (set_method("meta_analysis", find("meta_analysis").version), "BY_COUNTRY"),
    ],
)
def test_analysis_outside_the_plan_still_has_to_be_a_proper_one(
    site: Any, change: Callable[[spec_pb2.Spec], None], code: str
) -> None:
    text = site.home.policy.read_text()
    site.adopt(text.replace('analyses = "ask"', 'analyses = "allow"'))
    assert judge(site, analysis="", spec=changed(site, change)) == code


def test_method_the_site_does_not_allow_is_refused(site: Any) -> None:
    text = site.home.policy.read_text()
    site.adopt(text.replace("[methods]", '[methods]\nallow = ["log_rank"]', 1))
    assert judge(site) == "METHOD_NOT_ALLOWED"


def test_study_with_other_keys_for_us_is_refused(site: Any) -> None:
    from isthmus_trust.documents import canonical, digest

    study = study_pb2.Study()
    study.CopyFrom(site.study)
    study.participants[0].identity_key = bytes(32)
    site.announce(study)
    site.decisions.make(site.custodian, digest(canonical(study)), approved=True)
    assert judge(site, study_digest=digest(canonical(study))) == "OTHER_KEYS"


def test_no_policy_admits_nothing(site: Any) -> None:
    site.home.policy.unlink()
    name, task = open_task(site.task(), site.coordinator.public)
    with pytest.raises(IsthmusError) as caught:
        site.admission.admit(name, task)
    assert caught.value.code == "POLICY_MISSING"
