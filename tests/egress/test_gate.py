"""The gate: only declared, well-formed, supported numbers leave, under a purpose the site allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest

from isthmus.errors import (
    ConfigError,
    DataError,
    IsthmusError,
    LinkError,
    MethodError,
    Refused,
    UsageError,
    WaitingForApproval,
)
from isthmus.v1 import study_pb2
from isthmus_methods.contract import (
    BinSupport,
    CellSupport,
    Field,
    Item,
    Kind,
    ModelSupport,
    Summary,
    SumSupport,
    TimeSupport,
)
from isthmus_node.egress import form, gate
from isthmus_node.egress.form import Violation
from isthmus_node.egress.gate import Cleared, Refusal, judge, refuse
from isthmus_node.egress.judges import JUDGES
from isthmus_node.egress.policy import Policy
from isthmus_node.egress.thresholds import Limits

TRIAL = study_pb2.TRIAL_ANALYSIS
CELLS = np.array([20, 30])
COUNT = Item("count", CELLS, CellSupport(CELLS), "arm", (("arm", ("A", "B")),))
LEAVES = {"count": Field(Kind.COUNT, "persons")}


def code_of(verdict: Cleared | Refusal) -> str:
    assert isinstance(verdict, Refusal)
    return verdict.code


def whole(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def test_sound_summary_is_cleared_as_it_is(policy: Policy) -> None:
    verdict = judge(
        Summary((COUNT,), frozenset({"ROUNDED", "A"})),
        LEAVES,
        {"ROUNDED", "A"},
        TRIAL,
        policy,
        False,
        audit=lambda _: None,
    )
    assert isinstance(verdict, Cleared)
    assert (verdict.notes, verdict.purpose, verdict.policy_digest) == (("A", "ROUNDED"), TRIAL, policy.digest)
    (item,) = verdict.items
    assert (item.field, item.label, item.about, item.withheld_by) == ("count", "arm", "persons", "")


@pytest.mark.parametrize("open_data", [False, True])
@pytest.mark.parametrize(
    ("summary", "code", "field"),
    [
        (Summary((replace(COUNT, field="rows 129.587"),)), "UNDECLARED_FIELD", ""),
        (Summary((COUNT, COUNT)), "FIELD_TWICE", "count[arm]"),
        (Summary((COUNT,), frozenset({"PATIENT_97"})), "UNKNOWN_NOTE", ""),
        (Summary((replace(COUNT, support=ModelSupport(99, 1)),)), "WRONG_SUPPORT", "count[arm]"),
        (Summary((replace(COUNT, support=None, label=""),)), "WRONG_SUPPORT", "count"),  # type: ignore[arg-type]
    ],
)
def test_undeclared_or_unsupported_is_refused_whole(
    summary: Summary, code: str, field: str, open_data: bool, policy: Policy
) -> None:
    verdict = judge(summary, LEAVES, (), TRIAL, policy, open_data, audit=lambda _: None)
    assert code_of(verdict) == code
    assert isinstance(verdict, Refusal)
    assert verdict.field == field
    assert "129.587" not in repr(verdict)
    assert "97" not in verdict.rule + verdict.remedy + verdict.field


def test_undeclared_field_is_refused_even_where_declared_ones_may_be_withheld(policy: Policy) -> None:
    leaves = {"count": Field(Kind.COUNT, "persons", required=False)}
    assert code_of(judge(Summary((replace(COUNT, field="other"),)), leaves, (), TRIAL, policy, True)) == (
        "UNDECLARED_FIELD"
    )


def test_kind_without_a_line_in_the_table_cannot_leave(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {kind: line for kind, line in JUDGES.items() if kind is not Kind.COUNT}
    monkeypatch.setattr(gate, "JUDGES", MappingProxyType(known))
    assert code_of(judge(Summary((COUNT,)), LEAVES, (), TRIAL, policy, True)) == "UNKNOWN_KIND"


@pytest.mark.parametrize("purpose", [study_pb2.PURPOSE_UNSPECIFIED, study_pb2.PUBLICATION, 77])
def test_purpose_without_a_table_in_the_policy_is_refused(purpose: int) -> None:
    only_trials = Policy.read("[purpose.trial_analysis]")
    assert code_of(judge(Summary((COUNT,)), LEAVES, (), purpose, only_trials, True)) == "PURPOSE_NOT_ALLOWED"


@pytest.mark.parametrize("open_data", [False, True])
def test_closed_committee_is_refused_until_it_can_be_encrypted_to(policy: Policy, open_data: bool) -> None:
    verdict = judge(Summary((COUNT,)), LEAVES, (), study_pb2.CLOSED_COMMITTEE, policy, open_data, audit=lambda _: None)
    assert code_of(verdict) == "COMMITTEE_NEEDS_ENCRYPTION"


def test_first_broken_rule_in_the_order_of_items_is_the_one_named(policy: Policy) -> None:
    small = replace(COUNT, value=whole(1, 2), support=CellSupport(whole(1, 2)), label="b")
    smaller = replace(small, label="c")
    verdict = judge(Summary((COUNT, small, smaller)), LEAVES, (), TRIAL, policy, False, audit=lambda _: None)
    assert isinstance(verdict, Refusal)
    assert verdict.field == "count[b]"
    # what has no form is found before any threshold is looked at: it is the method's fault, not the data's
    broken = replace(small, label="d", support=CellSupport(whole(1)))
    assert (
        code_of(judge(Summary((small, broken)), LEAVES, (), TRIAL, policy, False, audit=lambda _: None))
        == "BAD_SUPPORT"
    )


@pytest.mark.parametrize(
    "broken",
    [
        {"effective_persons": 2.0},
        {"leverage": 0.9},
        {"predictor": 99.0},
        {"persons": 5, "level_persons": {}, "effective_persons": 5.0},
        {"level_persons": {"a=1": 58}},
    ],
)
def test_what_a_chosen_state_breaks_is_not_said(
    broken: dict[str, object], policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Late in a fit: which of a model's rules it was would tell the rows' weights at that state."""
    leaves = {"f": Field(Kind.INFORMATION, "information", "1"), "g": Field(Kind.SCORE, "score", "1", required=False)}
    values = {"persons": 60, "parameters": 2, "effective_persons": 55.0, "leverage": 0.1, "predictor": 1.0}
    support = ModelSupport(**{**values, "level_persons": {"a=1": 30}, **broken})  # type: ignore[arg-type]

    def asked(name: str, late: bool) -> Cleared | Refusal:
        items = (Item(name, np.ones(1 if name == "g" else 3), support),)
        return judge(Summary(items), leaves, (), study_pb2.TRIAL_ANALYSIS, policy, False, lambda _: None, late=late)

    late = asked("f", True)
    assert (code_of(late), late.field if isinstance(late, Refusal) else "?") == ("NOT_ESTIMABLE", "")
    assert code_of(asked("f", False)) not in ("", "NOT_ESTIMABLE")
    withheld = asked("g", True)
    assert isinstance(withheld, Cleared)
    assert withheld.items[0].withheld_by == "NOT_ESTIMABLE"
    # left out, each rule has its own name
    monkeypatch.setattr(gate, "OF_MODELS", frozenset())
    assert code_of(asked("f", True)) == code_of(asked("f", False))


def test_what_is_cleared_cannot_be_changed_afterwards(policy: Policy) -> None:
    value = CELLS.copy()
    verdict = judge(Summary((replace(COUNT, value=value),)), LEAVES, (), TRIAL, policy, False, audit=lambda _: None)
    assert isinstance(verdict, Cleared)
    value[0] = 1
    cleared = verdict.items[0].value
    assert cleared is not None
    assert cleared.tolist() == [20, 30]
    with pytest.raises(ValueError, match="read-only"):
        cleared[0] = 1


# --------------------------------------------------------------------------- numbers are numbers


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (np.array([np.nan, 1.0]), "NOT_FINITE"),
        (np.array([np.inf, 1.0]), "NOT_FINITE"),
        (np.array([-np.inf, 1.0]), "NOT_FINITE"),
        (np.array([1e300, 1.0]), "NOT_FINITE"),
        (np.array([2**53 + 1, 1]), "NOT_FINITE"),
        (np.array([-(2**63), 1]), "NOT_FINITE"),
        (np.array([1.0, 2.0], dtype=np.float32), "NOT_AN_ARRAY"),
        (np.array([1.0, 2.0], dtype=">f8"), "NOT_AN_ARRAY"),
        (np.array([1, 2], dtype=np.uint64), "NOT_AN_ARRAY"),
        (np.array([True, False]), "NOT_AN_ARRAY"),
        (np.array(["129.587", ""]), "NOT_AN_ARRAY"),
        (np.array([object(), None]), "NOT_AN_ARRAY"),
        (np.array([1 + 2j, 0]), "NOT_AN_ARRAY"),
        (np.ma.masked_array([1.0, 129.587], [False, True]), "NOT_AN_ARRAY"),
        ([1.0, 2.0], "NOT_AN_ARRAY"),
        (1.0, "NOT_AN_ARRAY"),
        (None, "NOT_AN_ARRAY"),
    ],
)
@pytest.mark.parametrize("open_data", [False, True])
def test_number_that_is_none_is_refused(
    value: np.ndarray, code: str, open_data: bool, judge_items: Callable[..., Cleared | Refusal]
) -> None:
    support = ModelSupport(60, 2, effective_persons=60.0, leverage=0.1)
    assert code_of(judge_items(Item("f", value, support), Kind.SCORE, open_data=open_data)) == code


def test_largest_numbers_that_are_exact_leave(judge_items: Callable[..., Cleared | Refusal]) -> None:
    support = ModelSupport(60, 2, effective_persons=60.0, leverage=0.1)
    for value in (np.array([2**53, -(2**53)]), np.array([9.9e299, -9.9e299])):
        assert isinstance(judge_items(Item("f", value, support), Kind.SCORE), Cleared)


def test_counts_are_whole_and_not_negative(judge_items: Callable[..., Cleared | Refusal]) -> None:
    assert code_of(judge_items(Item("f", np.array([20.0]), CellSupport(whole(20))), Kind.COUNT)) == "NOT_AN_ARRAY"
    assert code_of(judge_items(Item("f", whole(-20), CellSupport(whole(20))), Kind.COUNT)) == "NOT_FINITE"


def test_range_check_left_out_lets_infinity_out(
    judge_items: Callable[..., Cleared | Refusal], monkeypatch: pytest.MonkeyPatch
) -> None:
    item = Item("f", np.array([np.inf]), ModelSupport(60, 2, effective_persons=60.0, leverage=0.1))
    monkeypatch.setattr(form, "number_violation", lambda item, whole: None)
    assert isinstance(judge_items(item, Kind.SCORE), Cleared)


@pytest.mark.parametrize(
    ("axes", "fits"),
    [
        ((), True),
        ((("arm", ("A", "B")),), True),
        ((("time", ()),), True),
        ((("arm", ("A",)),), False),
        ((("arm", ("A", "B")), ("sex", ("F", "M"))), False),
    ],
)
def test_axes_fit_the_shape(
    axes: tuple[tuple[str, tuple[str, ...]], ...], fits: bool, judge_items: Callable[..., Cleared | Refusal]
) -> None:
    verdict = judge_items(replace(COUNT, axes=axes), Kind.COUNT)
    assert isinstance(verdict, Cleared) if fits else code_of(verdict) == "WRONG_SHAPE"


# --------------------------------------------------------------------------- support that contradicts itself

SOUND = ModelSupport(60, 2, events=30, level_persons={"a=1": 30}, effective_persons=55.0, leverage=0.1, predictor=1.0)
TABLE = TimeSupport(60, whole(30, 20), whole(60, 30))
SUMS = SumSupport(whole(20), np.array([10.0]), np.array([9.0]), np.array([100.0]), np.array([True]))
MISFITS = [
    # persons that the count itself says are not there
    (Kind.COUNT, whole(2), CellSupport(whole(50))),
    (Kind.COUNT, whole(20, 0), CellSupport(whole(20, 20))),
    (Kind.COUNT, whole(20, 1), CellSupport(whole(20, 0))),
    (Kind.COUNT, whole(20, 30), CellSupport(whole(20))),
    (Kind.COUNT, whole(20), CellSupport(whole(-1))),
    (Kind.COUNT, whole(20), CellSupport(np.array([20.0]))),
    (Kind.COUNT, whole(20), CellSupport([20])),
    (Kind.COUNT, whole(20), CellSupport(whole(20), within=whole(19))),
    (Kind.COUNT, whole(20), CellSupport(whole(20), within=whole(60, 60))),
    (Kind.COUNT, whole(20), CellSupport(whole(20), axis=1)),
    (Kind.COUNT, whole(20), CellSupport(whole(20), axis=-1)),
    (Kind.COUNT, whole(20), CellSupport(whole(20), axis=True)),
    (Kind.SUM, np.array([101.0]), SUMS),
    (Kind.SUM, np.array([90.0, 1.0]), SUMS),
    (Kind.SUM, np.array([90.0]), replace(SUMS, second=np.array([11.0]))),
    (Kind.SUM, np.array([90.0]), replace(SUMS, largest=np.array([95.0]))),
    (Kind.SUM, np.array([90.0]), replace(SUMS, largest=np.array([4.0]), second=np.array([4.0]))),
    (Kind.SUM, np.array([90.0]), replace(SUMS, total=np.array([np.nan]))),
    (Kind.SUM, np.array([90.0]), replace(SUMS, largest=np.array([-1.0]))),
    (Kind.SUM, np.array([90.0]), replace(SUMS, largest=np.array([10]))),
    (Kind.SUM, np.array([90.0]), replace(SUMS, second=[9.0])),
    (Kind.SUM, np.array([90.0]), replace(SUMS, second=np.array([9.0, 9.0]))),
    (Kind.SUM, np.array([90.0]), replace(SUMS, varied=np.array([1]))),
    (Kind.SUM, np.array([90.0]), replace(SUMS, varied=True)),
    (Kind.SUM, np.array([90.0]), replace(SUMS, varied=np.array([True, True]))),
    (Kind.SUM, np.array([90.0]), replace(SUMS, persons=whole(0))),
    (Kind.SCORE, np.ones(2), replace(SOUND, persons=-1)),
    (Kind.SCORE, np.ones(2), replace(SOUND, persons=60.5)),
    (Kind.SCORE, np.ones(2), replace(SOUND, parameters=True)),
    (Kind.SCORE, np.ones(2), replace(SOUND, events=-1)),
    (Kind.SCORE, np.ones(2), replace(SOUND, level_persons={"a=1": 61})),
    (Kind.SCORE, np.ones(2), replace(SOUND, level_persons={"a=1": -1})),
    (Kind.SCORE, np.ones(2), replace(SOUND, effective_persons=61.0)),
    (Kind.SCORE, np.ones(2), replace(SOUND, effective_persons=np.nan)),
    (Kind.SCORE, np.ones(2), replace(SOUND, leverage=np.nan)),
    (Kind.SCORE, np.ones(2), replace(SOUND, leverage=-0.5)),
    (Kind.SCORE, np.ones(2), replace(SOUND, leverage=1.5)),
    (Kind.SCORE, np.ones(2), replace(SOUND, predictor=np.inf)),
    # sixty rows in a field for two parameters
    (Kind.SCORE, np.ones(60), SOUND),
    (Kind.SCORE, np.ones(2), ModelSupport(0, 2)),
    (Kind.EVENTS, whole(30, 20), replace(TABLE, persons=-1)),
    (Kind.EVENTS, whole(30, 20), replace(TABLE, persons=60.0)),
    (Kind.EVENTS, whole(30, 20), replace(TABLE, persons=59)),
    (Kind.EVENTS, whole(30, 20), replace(TABLE, leavers=whole(30, 31))),
    (Kind.EVENTS, whole(30, 20), replace(TABLE, leavers=whole(30))),
    (Kind.EVENTS, whole(30, 20), replace(TABLE, leavers=whole(-1, 20))),
    (Kind.EVENTS, whole(30, 20), replace(TABLE, leavers=[30, 20])),
    (Kind.EVENTS, whole(30, 20), replace(TABLE, at_risk=[60, 30])),
    (Kind.EVENTS, whole(30, 20), TimeSupport(60, np.full((1, 2), 20), np.full((1, 2), 60))),
    (Kind.EVENTS, whole(30, 20), TimeSupport(60, whole(), whole())),
    (Kind.EVENTS, whole(30, 20), TimeSupport(0, whole(0, 0), whole(0, 0))),
]


@pytest.mark.parametrize(("kind", "value", "support"), MISFITS)
@pytest.mark.parametrize("open_data", [False, True])
def test_support_that_contradicts_the_value_or_itself_is_refused(
    kind: Kind, value: np.ndarray, support: object, open_data: bool, judge_items: Callable[..., Cleared | Refusal]
) -> None:
    item = Item("f", value, support)  # type: ignore[arg-type]
    verdict = judge_items(item, kind, open_data=open_data, required=False)
    assert code_of(verdict) == "BAD_SUPPORT"


def test_fit_of_support_left_out_lets_a_method_praise_itself(
    judge_items: Callable[..., Cleared | Refusal], monkeypatch: pytest.MonkeyPatch
) -> None:
    believing = {kind: replace(line, fits=lambda value, support: True) for kind, line in JUDGES.items()}
    monkeypatch.setattr(gate, "JUDGES", believing)
    assert isinstance(judge_items(Item("f", whole(2), CellSupport(whole(50))), Kind.COUNT), Cleared)


@pytest.mark.parametrize(
    ("kind", "value", "support"),
    [
        (Kind.SUM, np.array([90.0]), SUMS),
        (Kind.SCORE, np.ones(2), SOUND),
        (Kind.EVENTS, whole(30, 20), TABLE),
        (Kind.COUNT, whole(20), CellSupport(whole(20), within=whole(60))),
        (Kind.SCORE, np.ones(2), replace(SOUND, persons=np.int64(60))),
    ],
)
def test_support_the_misfits_were_made_from_is_sound(
    kind: Kind, value: np.ndarray, support: object, judge_items: Callable[..., Cleared | Refusal]
) -> None:
    assert isinstance(judge_items(Item("f", value, support), kind), Cleared)  # type: ignore[arg-type]


def test_floors_asked_without_the_form_refuse_a_wrong_support_too(policy: Policy) -> None:
    violation = JUDGES[Kind.COUNT].floor(replace(COUNT, support=TABLE), policy.limits[TRIAL])
    assert violation is not None
    assert violation.code == "WRONG_SUPPORT"


# --------------------------------------------------------------------------- errors become refusals

VICTIM = "subject V-0097 has 129.587 at day 33"


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (Refused("DECLINED", "the custodian declined the study", "ask"), "DECLINED", True),
        (UsageError("FORBIDDEN", "the filter names an identifier", "leave it out"), "FORBIDDEN", True),
        (WaitingForApproval("NOT_DECIDED", "a person has to look", "wait"), "NOT_DECIDED", True),
        (DataError("UNKNOWN_LEVEL", VICTIM, VICTIM), "DATA_DO_NOT_ALLOW", False),
        (MethodError("SINGULAR", VICTIM, VICTIM), "DATA_DO_NOT_ALLOW", False),
        (ConfigError("POLICY_MISSING", VICTIM, VICTIM), "POLICY_MISSING", False),
        (LinkError("LOST", VICTIM, VICTIM), "LOST", False),
        (IsthmusError(VICTIM, VICTIM, VICTIM), "BUG", False),
        (Refused(VICTIM, VICTIM, VICTIM), "BUG", False),
        (ValueError(VICTIM), "BUG", False),
        (KeyError(VICTIM), "BUG", False),
    ],
)
def test_error_leaves_as_its_code_and_only_decisions_in_their_own_words(
    error: BaseException, code: str, said: bool, policy: Policy, sent: Callable[[Cleared | Refusal], bytes]
) -> None:
    refusal = refuse(error, TRIAL, policy)
    assert refusal.code == code
    assert (getattr(error, "message", None) == refusal.rule) is said
    payload = sent(refusal)
    assert not any(word.encode() in payload for word in ("V-0097", "129.587", "33"))


def test_error_without_a_policy_is_refused_all_the_same() -> None:
    assert refuse(ConfigError("POLICY_MISSING", "", "")).policy_digest == b""


def test_nothing_leaves_that_no_auditor_has_seen(policy: Policy) -> None:
    one = Summary((COUNT,))
    assert code_of(judge(one, LEAVES, (), TRIAL, policy, False)) == "NOT_AUDITED"
    asked = []

    def says(limits: Limits) -> Violation | None:
        asked.append(limits)
        return Violation("DIFFERENCING", "rule", "remedy")

    assert code_of(judge(one, LEAVES, (), TRIAL, policy, False, says)) == "DIFFERENCING"
    assert asked == [policy.limits[TRIAL]]
    # open data have nobody to single out; what breaks a floor does not reach the auditor, for it is not released
    assert isinstance(judge(one, LEAVES, (), TRIAL, policy, True, says), Cleared)
    few = np.array([60, 4], dtype=np.int64)
    small = replace(COUNT, value=few, support=CellSupport(few))
    assert code_of(judge(Summary((small,)), LEAVES, (), TRIAL, policy, False, says)) == "SMALL_CELL"
    assert len(asked) == 1


@pytest.mark.parametrize("value", [whole(40, 30), np.array([[40], [30]])])
def test_histogram_without_places_does_not_fit(value: np.ndarray, policy: Policy) -> None:
    leaves = {"f": Field(Kind.HISTOGRAM, "")}
    item = Item("f", value, BinSupport(whole(40, 30), 70, gaps=False))
    assert code_of(judge(Summary((item,)), leaves, (), TRIAL, policy, True)) == "BAD_SUPPORT"
