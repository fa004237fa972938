"""What a policy says in words, and what a change is said to allow: the gate agrees."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from isthmus.v1 import study_pb2
from isthmus.v1.summary_pb2 import PrivacySpent
from isthmus_methods.contract import (
    BinSupport,
    CellSupport,
    Field,
    Item,
    Kind,
    MetricSupport,
    ModelSupport,
    RiskSetSupport,
    Summary,
    SumSupport,
    TimeSupport,
    UpdateSupport,
)
from isthmus_node.custodian.past_policy import past_policy
from isthmus_node.custodian.policy_words import Change, differences, rules, whole
from isthmus_node.egress.auditor_thresholds import OVER_RELEASES
from isthmus_node.egress.gate import Cleared, judge
from isthmus_node.egress.policy import Policy
from isthmus_node.egress.thresholds import KEYS, RECIPIENTS, Number
from isthmus_node.egress.training_thresholds import OF_TRAINING
from isthmus_node.egress.update_rules import Trained

TRIAL = study_pb2.TRIAL_ANALYSIS
INSTALLED = ("cox", "table_one")


def under(**values: Number) -> Policy:
    if "update_noise" in values:
        values.setdefault("update_norm", 50.0)  # noise is a multiple of it
    return Policy.read(
        "[purpose.trial_analysis]\n" + "".join(f"{k} = {str(v).lower()}\n" for k, v in values.items()), ()
    )


def accepted(kind: Kind, item: Item, policy: Policy) -> bool:
    trained = Trained({"": np.shape(item.value)}, {"": (0.0, 1.0)}, PrivacySpent(rho=1e6))
    return isinstance(
        judge(Summary((item,)), {"f": Field(kind, "")}, (), TRIAL, policy, False, lambda _: None, trained), Cleared
    )


# --------------------------------------------------------------------------- what one threshold alone decides


def a_count(n: Number) -> tuple[Kind, Item]:
    return Kind.COUNT, Item("f", np.array([int(n)]), CellSupport(np.array([int(n)])))


def a_sum(persons: int, largest: float, second: float) -> tuple[Kind, Item]:
    support = SumSupport(
        np.array([persons]), np.array([largest]), np.array([second]), np.array([100.0]), np.array([True])
    )
    return Kind.SUM, Item("f", np.array([100.0]), support)


def a_model(**changed: object) -> tuple[Kind, Item]:
    support = ModelSupport(
        persons=1000, parameters=1, level_persons={}, effective_persons=900.0, leverage=0.0, predictor=0.0
    )
    return Kind.SCORE, Item("f", np.array([1.5]), replace(support, **changed))  # type: ignore[arg-type]


def a_table(persons: int, leavers: int, at_risk: int, kind: Kind = Kind.EVENTS) -> tuple[Kind, Item]:
    numbers = np.array([leavers]) if kind is Kind.EVENTS else np.array([0.5])
    return kind, Item("f", numbers, TimeSupport(persons, np.array([leavers]), np.array([at_risk])))


def risk_sums(leavers: int, at_risk: int) -> tuple[Kind, Item]:
    model = a_model()[1].support
    assert isinstance(model, ModelSupport)
    return Kind.RISK_SETS, Item(
        "f", np.array([[1.5, 2.5]]), RiskSetSupport(TimeSupport(1000, np.array([leavers]), np.array([at_risk])), model)
    )


def a_histogram(persons: int, cell: int) -> tuple[Kind, Item]:
    cells = np.array([cell, persons - cell])
    value = np.array([[0, cell], [1, persons - cell]])
    return Kind.HISTOGRAM, Item("f", value, BinSupport(cells, persons, False))


def a_model_trained(numbers: int = 1, **changed: object) -> tuple[Kind, Item]:
    support = UpdateSupport(persons=1000, batch=1000, parameters=numbers, norm=0.0, clip=1e-3, noise=1e300)
    return Kind.UPDATE, Item("f", np.zeros(numbers), replace(support, **changed))  # type: ignore[arg-type]


def a_measure(persons: int) -> tuple[Kind, Item]:
    return Kind.METRIC, Item("f", np.array(0.5), MetricSupport(persons, 0.0, 1.0))


WHOLE, SHARE = st.integers(5, 60), st.floats(0.05, 0.33)
# A release that a threshold of this value just lets through and a tighter one does not, every other rule kept; and the
# values that this is tried with.
AT: Mapping[str, tuple[Callable[..., tuple[Kind, Item]], st.SearchStrategy[Number]]] = {
    "cell_persons": (a_count, WHOLE),
    "zeros_shown": (lambda _: a_count(0), st.booleans()),
    "sum_persons": (lambda n: a_sum(n, 30.0, 20.0), WHOLE),
    "two_largest_share": (lambda x: a_sum(1000, 60 * x, 40 * x - 1e-9), st.floats(0.2, 0.9)),
    "remainder_share": (lambda x: a_sum(1000, 40.0, 60.0 - 40.0 * x - 1e-9), st.floats(0.6, 1.2)),
    "residual_df": (lambda n: a_model(persons=n + 10, parameters=10, effective_persons=30.0), st.integers(40, 90)),
    "parameters_per_person": (
        lambda x: a_model(persons=1000, parameters=int(1000 * x)),
        st.integers(50, 330).map(lambda n: n / 1000),
    ),
    "parameters_per_event": (
        lambda x: a_model(events=1000, persons=2000, parameters=int(1000 * x)),
        st.integers(50, 330).map(lambda n: n / 1000),
    ),
    "level_persons": (lambda n: a_model(level_persons={"arm=A": n, "arm=B": 1000 - n}), WHOLE),
    "effective_persons": (lambda x: a_model(effective_persons=x), st.floats(5.0, 100.0)),
    "leverage": (lambda x: a_model(leverage=x), st.floats(0.01, 0.5)),
    "predictor": (lambda x: a_model(predictor=x), st.floats(0.1, 30.0)),
    "table_persons": (lambda n: a_table(n, n, n), WHOLE),
    "leavers_per_step": (lambda n: a_table(1000, n, 1000), WHOLE),
    "at_risk": (lambda n: a_table(1000, 1, n), WHOLE),
    "hazard_at_risk": (lambda n: a_table(1000, 1, n, Kind.HAZARD), WHOLE),
    "risk_set_persons": (lambda n: risk_sums(5, n), st.integers(6, 60)),
    "risk_set_leavers": (lambda n: risk_sums(n, 1000), WHOLE),
    "histogram_persons": (lambda n: a_histogram(n, 10), st.integers(20, 90)),
    "bin_persons": (lambda n: a_histogram(1000, n), WHOLE),
    "update_persons": (lambda n: a_model_trained(persons=n, batch=n), st.integers(20, 90)),
    "batch_persons": (lambda n: a_model_trained(batch=n), st.integers(5, 90)),
    "update_parameters_per_person": (
        lambda x: a_model_trained(int(1000 * x)),
        st.integers(50, 3000).map(lambda n: n / 1000),
    ),
    "update_norm": (lambda x: a_model_trained(clip=x), st.floats(0.1, 100.0)),
    "update_noise": (lambda x: a_model_trained(clip=0.5, noise=0.5 * x), st.floats(0.1, 10.0)),
    "metric_persons": (a_measure, st.integers(10, 90)),
}
# Judged where the run is known, not by the gate: tests/node_run/test_policy.py. Over several releases: test_auditor.py.
# What counts are rounded to: test_rounding.py. What ages are read up to: tests/node_run/test_ages.py.
# What a training's counts and measures are rounded to, and what its noise may spend: test_update_rules.py.
ELSEWHERE = {
    "contributors",
    "count_rounding",
    "age_top",
    "update_contributors",
    "privacy_budget",
    "metric_digits",
    "examples_rounding",
    *OVER_RELEASES,
}


def test_every_threshold_is_tried() -> None:
    assert set(AT) | ELSEWHERE == set(KEYS)


@settings(max_examples=400, deadline=None)
@given(data=st.data(), key=st.sampled_from(sorted(AT)))
def test_what_a_change_is_said_to_allow_the_gate_lets_through_and_did_not_before(data: st.DataObject, key: str) -> None:
    at, values = AT[key]
    was, will = data.draw(values), data.draw(values)
    old, new = under(**{key: was}), under(**{key: will})
    changes = differences(old, new, INSTALLED)
    if was == will:
        assert changes == ()
        return
    (change,) = changes
    assert change.where == f"purpose.trial_analysis.{key}"
    assert change.allows == KEYS[key].is_looser(will, was)
    looser, tighter = (new, old) if change.allows else (old, new)
    kind, item = at(will if change.allows else was)
    assert accepted(kind, item, looser)
    assert not accepted(kind, item, tighter)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_every_threshold_that_differs_is_named_and_no_other(data: st.DataObject) -> None:
    chosen = {key: st.tuples(values, values) for key, (_, values) in AT.items()}
    drawn = data.draw(st.fixed_dictionaries({}, optional=chosen))
    was, will = {k: v[0] for k, v in drawn.items()}, {k: v[1] for k, v in drawn.items()}
    told = {c.where.rpartition(".")[2]: c.allows for c in differences(under(**was), under(**will), INSTALLED)}
    assert told == {key: KEYS[key].is_looser(will[key], was[key]) for key in was if was[key] != will[key]}
    assert differences(under(**was), under(**was), INSTALLED) == ()


# --------------------------------------------------------------------------- the rest of a policy

SOUND = a_count(500)
TRIALS = "[purpose.trial_analysis]\n"


def said(old: str | None, new: str, allows: bool) -> list[str]:
    before = None if old is None else Policy.read(old)
    return [c.words for c in differences(before, Policy.read(new), INSTALLED) if c.allows is allows]


def test_purpose_that_comes_or_goes_is_named() -> None:
    assert said("", TRIALS, True) == ["trial_analysis: what meets its rules may leave; nothing did"]
    assert said(TRIALS, "", False) == ["trial_analysis: nothing leaves any more"]
    assert accepted(*SOUND, Policy.read(TRIALS))
    assert not accepted(*SOUND, Policy.read(""))


def test_everything_is_new_where_no_policy_was_in_force() -> None:
    words = said(None, TRIALS + "[exploratory]\nanalyses = 'ask'", True)
    assert {"method cox may be used", "method table_one may be used"} <= set(words)
    assert any("outside an approved plan" in line for line in words)
    assert any(line.startswith("trial_analysis: ") for line in words)
    assert said(None, TRIALS, False) == []


@settings(max_examples=60, deadline=None)
@given(
    was=st.sets(st.sampled_from(sorted(RECIPIENTS))) | st.none(),
    will=st.sets(st.sampled_from(sorted(RECIPIENTS))) | st.none(),
)
def test_recipients_that_come_or_go_are_named_and_the_policy_agrees(
    was: set[str] | None, will: set[str] | None
) -> None:
    def to(parts: set[str] | None) -> Policy:
        at = "purpose.trial_analysis.recipient"
        tables = "" if parts is None else f"[{at}]\n" + "".join(f"[{at}.{part}]\n" for part in sorted(parts))
        return Policy.read(TRIALS + tables)

    old, new = to(was), to(will)
    changes = differences(old, new, INSTALLED)
    for name, number in [("recipients not named", None), *RECIPIENTS.items()]:
        asked = () if number is None else (number,)
        before, after = (accepted(*SOUND, policy.towards(TRIAL, asked)) for policy in (old, new))
        told = [c.allows for c in changes if name in c.words or c.words.startswith("trial_analysis: ")]
        assert told == ([] if before == after else [after])


@pytest.mark.parametrize(
    ("tight", "loose", "word"),
    [
        ("[methods]\nallow = ['cox']", "", "table_one"),
        ("[exploratory]\nanalyses = 'refuse'", "", "outside an approved plan"),
        ("", "[exploratory]\nanalyses = 'allow'", "without a person looking"),
        ("[runs]\neach = 'ask'", "", "without being asked"),
        ("[variables]\nrefuse = ['KRAS']", "", "KRAS"),
        ("[variables]\nrefuse_roles = ['genomic']", "", "genomic"),
        ("", f"[training.apps.mlp]\nversion = '1'\ndigest = '{'0a' * 32}'", "mlp of version 1 and source 0a0a"),
    ],
)
def test_words_and_sets_are_compared(tight: str, loose: str, word: str) -> None:
    (there,), (back,) = said(tight, loose, True), said(loose, tight, False)
    assert word in there
    assert "may not be used any more" in back or back in (
        "analyses outside an approved plan are refused",
        "analyses outside an approved plan run once a person here has said yes to each",
        "each run, of planned analyses too, waits until a person here has said yes to it (not over open data)",
    )
    assert said(tight, loose, False) == said(loose, tight, True) == []


APP = "[training]\nrounds = {}\n[training.apps.mlp]\nversion = '{}'\ndigest = '{}'\n"


@pytest.mark.parametrize(
    ("old", "new", "allows", "forbids"),
    [
        ((20, "1", "0a" * 32), (20, "2", "0a" * 32), ["mlp of version 2"], ["mlp of version 1"]),
        ((20, "1", "0a" * 32), (20, "1", "0b" * 32), ["source 0b"], ["source 0a"]),
        ((20, "1", "0a" * 32), (30, "1", "0a" * 32), ["a training has 30 rounds or fewer"], []),
        ((20, "1", "0a" * 32), (10, "1", "0a" * 32), [], ["a training has 10 rounds or fewer"]),
    ],
)
def test_another_version_or_source_of_an_app_is_another_app(
    old: tuple[object, ...], new: tuple[object, ...], allows: list[str], forbids: list[str]
) -> None:
    for words, expected in (
        (said(APP.format(*old), APP.format(*new), True), allows),
        (said(APP.format(*old), APP.format(*new), False), forbids),
    ):
        assert len(words) == len(expected)
        assert all(part in line for part, line in zip(expected, words, strict=True))


def test_words_of_the_whole_policy_name_the_apps_that_may_train() -> None:
    assert "no model is trained here" in whole(Policy.read("[training]\nrounds = 3"))
    lines = whole(Policy.read(APP.format(20, "1", "0a" * 32)))
    assert "a training has 20 rounds or fewer" in lines
    assert f"app mlp may train here: version 1, of source {'0a' * 32}" in lines


def test_meaning_of_a_policy_that_was_signed_has_its_apps_and_one_of_before_has_none() -> None:
    policy = Policy.read(APP.format(20, "1", "0a" * 32) + TRIALS)
    assert past_policy(policy.canonical).training == policy.training
    form = json.loads(policy.canonical)
    del form["training"]
    for key in OF_TRAINING:
        del form["purpose"]["trial_analysis"][key]
    before = past_policy(json.dumps(form).encode())
    assert not before.training.apps
    assert before.limits[TRIAL].update_norm == policy.limits[TRIAL].update_norm
    assert differences(policy, policy, INSTALLED) == ()


def test_difference_of_one_recipient_says_which() -> None:
    old = TRIALS + "[purpose.trial_analysis.recipient.sponsor]\n[purpose.trial_analysis.recipient.authority]\n"
    new = old + "[purpose.trial_analysis.recipient.public]\ncell_persons = 11\n"
    (there,) = said(old, new, True)
    assert there == "trial_analysis to public: what meets its rules may leave; nothing did"
    tighter = old.replace("sponsor]\n", "sponsor]\ncell_persons = 9\n")
    (change,) = differences(Policy.read(old), Policy.read(tighter), INSTALLED)
    assert change == Change(
        False,
        "purpose.trial_analysis.cell_persons",
        "trial_analysis to sponsor: each count, and the rest of its total, is of 9 or more persons; "
        "it was: each count, and the rest of its total, is of 5 or more persons",
    )


def test_words_say_to_whom_and_what_more_one_of_them_is_asked() -> None:
    policy = Policy.read(
        TRIALS
        + "[purpose.trial_analysis.recipient.sponsor]\ncell_persons = 9\n[purpose.trial_analysis.recipient.public]"
    )
    lines = rules(policy, "trial_analysis")
    assert lines[0] == "trial_analysis: to sponsor, public and nobody else; a study has to say who receives"
    assert lines[-1] == ("trial_analysis: to sponsor, each count, and the rest of its total, is of 9 or more persons")
    assert len(lines) == len(KEYS) + 2


def test_words_of_the_whole_policy_name_preset_people_and_variables() -> None:
    lines = whole(Policy.read('preset = "CN"\n[variables]\nrefuse = ["KRAS"]'))
    assert lines[0].startswith("based on the preset CN, Mainland China: a convention")
    assert "makes no release lawful" in lines[0]
    assert any("genomic" in line for line in lines)
    assert any("KRAS" in line for line in lines)
    assert any("until a person here has seen the exact numbers" in line for line in lines)
    assert "planned analyses of approved studies run without being asked about again" in whole(Policy.read(""))


def test_defaults_of_the_committee_are_not_compared_as_nothing_leaves_for_it() -> None:
    assert said("", "[purpose.closed_committee]", True) == []
