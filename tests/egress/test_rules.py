"""Every rule of the policy, twice: left out, the numbers are in the bytes that leave; in place, they are not."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest

from isthmus.v1 import study_pb2
from isthmus_methods.codec import array_to_message
from isthmus_methods.contract import (
    BinSupport,
    CellSupport,
    Item,
    Kind,
    MetricSupport,
    ModelSupport,
    OutcomeSupport,
    RiskSetSupport,
    SumSupport,
    TimeSupport,
    UpdateSupport,
)
from isthmus_node.egress import gate, rules, time_rules, update_rules
from isthmus_node.egress.gate import Cleared, Refusal
from isthmus_node.egress.judges import JUDGES
from isthmus_node.egress.policy import Policy

PUBLIC = study_pb2.PUBLICATION
TRIAL = study_pb2.TRIAL_ANALYSIS


def count(*cells: int, within: list[int] | None = None, persons: list[int] | None = None) -> Item:
    behind = np.array(cells if persons is None else persons, dtype=np.int64)
    return Item(
        "f", np.array(cells, dtype=np.int64), CellSupport(behind, within=None if within is None else np.array(within))
    )


def total(value: float, persons: int, largest: float, second: float, size: float, varied: bool = True) -> Item:
    support = SumSupport(
        np.array([persons]), np.array([largest]), np.array([second]), np.array([size]), np.array([varied])
    )
    return Item("f", np.array([value]), support)


# Two parameters over 60 persons: breaks no rule for any purpose.
SOUND = ModelSupport(
    persons=60,
    parameters=2,
    level_persons={"arm=A": 30, "arm=B": 30},
    effective_persons=55.0,
    leverage=0.1,
    predictor=2.0,
)


def model(**changed: object) -> Item:
    return Item("f", np.array([129.587, -0.25]), replace(SOUND, **changed))  # type: ignore[arg-type]


def outcome(with_it: int, without: int) -> OutcomeSupport:
    """An outcome that is 0 or 1."""
    return OutcomeSupport(with_it, without, 1.0 if with_it else 0.0, 1.0 if with_it > 1 else 0.0, float(with_it))


def sizes(largest: float, second: float, total: float) -> OutcomeSupport:
    """An outcome of which everybody has some."""
    return OutcomeSupport(60, None, largest, second, total)


def table(persons: int, leavers: list[int], at_risk: list[int], value: list[float] | None = None) -> Item:
    numbers = np.array([leavers, leavers]) if value is None else np.array(value)
    return Item("f", numbers, TimeSupport(persons, np.array(leavers), np.array(at_risk)))


def risk_sets(leavers: list[int], at_risk: list[int], **changed: object) -> Item:
    """Weight and one weighted covariate of those at risk at each listed time."""
    time = TimeSupport(60, np.array(leavers), np.array(at_risk))
    sums = np.array([[float(n), 129.587 * n] for n in at_risk])
    return Item("f", sums, RiskSetSupport(time, replace(SOUND, **changed)))  # type: ignore[arg-type]


def stays(*rows: tuple[int, int, int], beside: tuple[int, ...] = ()) -> Item:
    """Sums over those at risk at four times; many persons come, and many go, between any two of them."""
    come, go, persons = np.array(rows).T
    at_risk = [int(persons[(come <= k) & (go > k)].sum()) for k in range(4)]
    item = risk_sets([5, 5, 5, 25], at_risk)
    return replace(item, support=replace(item.support, stays=np.array(rows), beside=beside))  # type: ignore[type-var]


def bins(*cells: int, total: int = 0, gaps: bool = True) -> Item:
    """Cells at places 0, 2, 4 ... of a grid."""
    value = np.array([[2 * k, n] for k, n in enumerate(cells)], dtype=np.int64).reshape(-1, 2)
    return Item("f", value, BinSupport(value[:, 1].copy(), total or sum(cells), gaps))


# Two weights trained on 60 persons, all of them at once.
UPDATE = UpdateSupport(persons=60, batch=60, parameters=2, norm=0.5, clip=0.5, noise=0.0)


def update(**changed: object) -> Item:
    return Item("f", np.array([129.587, -0.25]), replace(UPDATE, **changed))  # type: ignore[arg-type]


def measure(persons: int) -> Item:
    return Item("f", np.array(129.0), MetricSupport(persons, 0.0, 200.0))


@dataclass(frozen=True, slots=True)
class Case:
    """Something that only this rule stops."""

    rule: Callable[..., object]
    kind: Kind
    item: Item
    code: str
    purpose: int = TRIAL
    # What the custodian tightened: with the defaults another rule happens to stop this as well.
    tightened: str = ""

    def policy(self, default: Policy) -> Policy:
        return Policy.read(f"[purpose.trial_analysis]\n{self.tightened}") if self.tightened else default


CASES = (
    Case(rules.cells_are_large, Kind.COUNT, count(4), "SMALL_CELL"),
    Case(rules.cells_are_large, Kind.COUNT, count(1), "SMALL_CELL"),
    Case(rules.cells_are_large, Kind.COUNT, count(10), "SMALL_CELL", PUBLIC),
    Case(rules.cells_are_large, Kind.COUNT, count(0), "SMALL_CELL", PUBLIC),
    # 40 rows that a join made of one person
    Case(rules.cells_are_large, Kind.COUNT, count(40, persons=[1]), "SMALL_CELL"),
    Case(rules.complements_are_large, Kind.COUNT, count(59, within=[60]), "SMALL_CELL"),
    Case(rules.complements_are_large, Kind.COUNT, count(50, within=[60]), "SMALL_CELL", PUBLIC),
    # all of them: tells everybody's answer
    Case(rules.complements_are_large, Kind.COUNT, count(60, within=[60]), "SMALL_CELL", PUBLIC),
    Case(rules.sums_have_persons, Kind.SUM, total(12.5, 4, 4.0, 3.5, 12.5), "FEW_PERSONS"),
    Case(rules.sums_have_persons, Kind.SUM, total(30.5, 10, 4.0, 3.5, 30.5), "FEW_PERSONS", PUBLIC),
    Case(rules.sums_are_not_dominated, Kind.SUM, total(100.0, 20, 50.0, 41.0, 100.0), "CONCENTRATED_SUM"),
    # the second largest contributor knows the largest to 20 %
    Case(
        rules.sums_leave_a_remainder,
        Kind.SUM,
        total(100.0, 20, 50.0, 37.5, 100.0),
        "CONCENTRATED_SUM",
        tightened="remainder_share = 0.3",
    ),
    Case(rules.sums_vary, Kind.SUM, total(60.0, 20, 3.0, 3.0, 60.0, varied=False), "CONCENTRATED_SUM"),
    Case(rules.model_has_persons, Kind.SCORE, model(), "FEW_PERSONS", tightened="sum_persons = 61"),
    Case(rules.model_has_persons, Kind.ESTIMATE, model(events=4, parameters=1), "FEW_PERSONS"),
    Case(rules.model_is_not_saturated, Kind.INFORMATION, model(parameters=20), "SATURATED_MODEL"),
    Case(rules.model_is_not_saturated, Kind.CROSS_PRODUCT, model(parameters=7), "SATURATED_MODEL", PUBLIC),
    Case(rules.model_is_not_saturated, Kind.SCORE, model(parameters=2, events=6), "SATURATED_MODEL"),
    Case(
        rules.model_is_not_saturated,
        Kind.SCORE,
        model(persons=20, parameters=11, events=34, level_persons={}, effective_persons=20.0),
        "SATURATED_MODEL",
        PUBLIC,
    ),
    Case(rules.levels_are_large, Kind.SCORE, model(level_persons={"arm=A": 56, "arm=B": 4}), "SMALL_LEVEL"),
    # the level nobody named is what is left
    Case(rules.levels_are_large, Kind.SCORE, model(level_persons={"arm=A": 59}), "SMALL_LEVEL"),
    Case(rules.levels_are_large, Kind.SCORE, model(level_persons={"a=1": 60, "a=2": 0}), "SMALL_LEVEL", PUBLIC),
    Case(rules.weights_are_spread, Kind.INFORMATION, model(effective_persons=1.2), "FEW_EFFECTIVE_PERSONS"),
    Case(rules.weights_are_spread, Kind.INFORMATION, model(effective_persons=10.9), "FEW_EFFECTIVE_PERSONS", PUBLIC),
    Case(rules.leverage_is_bounded, Kind.CROSS_PRODUCT, model(leverage=0.999), "HIGH_LEVERAGE"),
    Case(rules.predictor_is_bounded, Kind.SCORE, model(predictor=300.0), "EXTREME_PREDICTOR"),
    # one of sixty has the event: the count of events is withheld, and the sums of the model hold it
    Case(rules.outcome_is_of_many, Kind.CROSS_PRODUCT, model(outcome=outcome(4, 56)), "FEW_PERSONS"),
    Case(rules.outcome_is_of_many, Kind.SCORE, model(outcome=outcome(56, 4)), "FEW_PERSONS"),
    Case(rules.outcome_is_of_many, Kind.SCORE, model(outcome=outcome(0, 60)), "FEW_PERSONS", PUBLIC),
    Case(rules.outcome_is_of_many, Kind.CROSS_PRODUCT, model(outcome=sizes(8412.6, 0.3, 8421.0)), "CONCENTRATED_SUM"),
    Case(rules.outcome_is_of_many, Kind.SCORE, model(outcome=sizes(50.0, 41.0, 100.0)), "CONCENTRATED_SUM"),
    Case(
        rules.outcome_is_of_many,
        Kind.SCORE,
        model(outcome=sizes(50.0, 37.5, 100.0)),
        "CONCENTRATED_SUM",
        tightened="remainder_share = 0.3",
    ),
    Case(rules.histogram_has_persons, Kind.HISTOGRAM, bins(9, 9), "FEW_PERSONS"),
    Case(rules.histogram_has_persons, Kind.HISTOGRAM, bins(20, 20, gaps=False), "FEW_PERSONS", PUBLIC),
    Case(rules.bins_are_large, Kind.HISTOGRAM, bins(40, 1, 30), "SMALL_BIN"),
    Case(rules.bins_are_large, Kind.HISTOGRAM, bins(40, 10, 30, gaps=False), "SMALL_BIN", PUBLIC),
    Case(rules.bins_are_large, Kind.HISTOGRAM, bins(40, 40), "SMALL_BIN", PUBLIC),
    Case(time_rules.risk_sets_have_persons, Kind.RISK_SETS, risk_sets([40, 0], [44, 4]), "FEW_AT_RISK"),
    Case(time_rules.risk_sets_have_persons, Kind.RISK_SETS, risk_sets([50, 0], [60, 10]), "FEW_AT_RISK", PUBLIC),
    # the one who comes with five, and goes with five who came before
    Case(
        time_rules.risk_sets_are_apart,
        Kind.RISK_SETS,
        stays((0, 4, 20), (1, 3, 5), (2, 4, 5), (2, 3, 1)),
        "SMALL_STEP",
    ),
    Case(
        time_rules.risk_sets_are_apart,
        Kind.RISK_SETS,
        stays((0, 4, 20), (1, 3, 5), (2, 4, 5), beside=(1, 0)),
        "SMALL_STEP",
    ),
    Case(time_rules.risk_steps_have_leavers, Kind.RISK_SETS, risk_sets([1, 20], [60, 59]), "SMALL_STEP"),
    Case(time_rules.risk_steps_have_leavers, Kind.RISK_SETS, risk_sets([10, 20], [60, 50]), "SMALL_STEP", PUBLIC),
    Case(
        time_rules.risk_sets_have_sound_weights,
        Kind.RISK_SETS,
        risk_sets([30], [60], effective_persons=1.2),
        "FEW_EFFECTIVE_PERSONS",
    ),
    Case(
        time_rules.risk_sets_have_sound_weights,
        Kind.RISK_SETS,
        risk_sets([30], [60], predictor=300.0),
        "EXTREME_PREDICTOR",
    ),
    Case(
        time_rules.risk_sets_have_sound_weights,
        Kind.RISK_SETS,
        risk_sets([30], [60], level_persons={"arm=A": 56, "arm=B": 4}),
        "SMALL_LEVEL",
    ),
    Case(time_rules.table_has_persons, Kind.EVENTS, table(4, [4], [4]), "FEW_PERSONS"),
    Case(time_rules.steps_have_leavers, Kind.EVENTS, table(60, [30, 1], [60, 30]), "SMALL_STEP", PUBLIC),
    Case(time_rules.steps_have_risk, Kind.EVENTS, table(60, [20, 1], [60, 4]), "FEW_AT_RISK", tightened="at_risk = 5"),
    Case(time_rules.hazard_has_risk, Kind.HAZARD, table(60, [1, 1], [60, 4], [0.01, 0.25]), "FEW_AT_RISK"),
    Case(
        time_rules.table_has_persons,
        Kind.HAZARD,
        table(10, [1], [10], [0.1]),
        "FEW_PERSONS",
        tightened="table_persons = 11",
    ),
    Case(time_rules.steps_have_leavers, Kind.HAZARD, table(60, [1], [60], [0.0125]), "SMALL_STEP", PUBLIC),
    Case(update_rules.update_has_persons, Kind.UPDATE, update(persons=49, batch=49), "FEW_PERSONS"),
    Case(update_rules.batches_are_large, Kind.UPDATE, update(batch=1), "SMALL_BATCH"),
    Case(update_rules.batches_are_large, Kind.UPDATE, update(batch=49), "SMALL_BATCH", PUBLIC),
    Case(
        update_rules.model_is_small,
        Kind.UPDATE,
        update(),
        "LARGE_MODEL",
        tightened="update_parameters_per_person = 0.03",
    ),
    Case(update_rules.change_is_cut, Kind.UPDATE, update(), "UPDATE_NOT_CUT", tightened="update_norm = 0.4"),
    Case(update_rules.metric_has_persons, Kind.METRIC, measure(19), "FEW_PERSONS"),
    Case(update_rules.metric_has_persons, Kind.METRIC, measure(49), "FEW_PERSONS", PUBLIC),
)


def without(rule: Callable[..., object]) -> Mapping[Kind, object]:
    """The table of rules with one left out: exists in this test's process only."""
    return {
        kind: replace(judge, floors=tuple(r for r in judge.floors if r is not rule))  # type: ignore[type-var]
        for kind, judge in JUDGES.items()
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.rule.__name__}-{case.kind.value}-{case.purpose}")
def test_rule_blocks_what_leaves_without_it(
    case: Case,
    policy: Policy,
    judge_items: Callable[..., Cleared | Refusal],
    sent: Callable[[Cleared | Refusal], bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    numbers = array_to_message(case.item.value).SerializeToString(deterministic=True)
    with monkeypatch.context() as patch:
        patch.setattr(gate, "JUDGES", without(case.rule))
        off = judge_items(case.item, case.kind, purpose=case.purpose, under=case.policy(policy))
        assert isinstance(off, Cleared)
        assert numbers in sent(off)
    on = judge_items(case.item, case.kind, purpose=case.purpose, under=case.policy(policy))
    assert isinstance(on, Refusal)
    assert on.code == case.code
    assert numbers not in sent(on)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.rule.__name__}-{case.kind.value}-{case.purpose}")
def test_field_the_method_can_do_without_is_withheld_alone(
    case: Case,
    policy: Policy,
    judge_items: Callable[..., Cleared | Refusal],
    sent: Callable[[Cleared | Refusal], bytes],
) -> None:
    verdict = judge_items(case.item, case.kind, purpose=case.purpose, required=False, under=case.policy(policy))
    assert isinstance(verdict, Cleared)
    (item,) = verdict.items
    assert item.value is None
    assert item.withheld_by == case.code
    assert array_to_message(case.item.value).SerializeToString(deterministic=True) not in sent(verdict)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.rule.__name__}-{case.kind.value}-{case.purpose}")
def test_open_data_has_no_floor(case: Case, policy: Policy, judge_items: Callable[..., Cleared | Refusal]) -> None:
    assert isinstance(
        judge_items(case.item, case.kind, purpose=case.purpose, open_data=True, under=case.policy(policy)), Cleared
    )


def test_every_rule_is_asked_and_has_a_case() -> None:
    members = [m for module in (rules, time_rules) for m in inspect.getmembers(module, inspect.isfunction)]
    public = {f for name, f in members if not name.startswith("_")}
    written = {f for f in public if f.__module__ in (rules.__name__, time_rules.__name__)}
    asked = {rule for judge in JUDGES.values() for rule in judge.floors}
    asked_of_training = {rule for kind in (Kind.UPDATE, Kind.METRIC) for rule in JUDGES[kind].floors}
    assert written == asked - asked_of_training
    assert asked == {case.rule for case in CASES}


def test_every_kind_is_judged() -> None:
    assert set(JUDGES) == set(Kind)
    assert all(judge.floors for judge in JUDGES.values())


@pytest.mark.parametrize(
    ("kind", "item", "purpose"),
    [
        (Kind.COUNT, count(5, 0, 9), TRIAL),
        (Kind.COUNT, count(11), PUBLIC),
        (Kind.COUNT, count(11, 11), PUBLIC),
        (Kind.COUNT, count(60, within=[60]), TRIAL),
        (Kind.COUNT, count(), PUBLIC),
        (Kind.SUM, total(15.0, 5, 4.0, 3.5, 15.0), TRIAL),
        (Kind.SUM, total(0.0, 0, 0.0, 0.0, 0.0, varied=False), TRIAL),
        (Kind.SUM, total(-15.0, 11, 4.0, 3.5, 20.0), PUBLIC),
        (Kind.SCORE, model(), TRIAL),
        (Kind.ESTIMATE, model(events=11), PUBLIC),
        (Kind.SCORE, model(outcome=outcome(5, 55)), TRIAL),
        (Kind.SCORE, model(outcome=outcome(0, 60)), TRIAL),
        (Kind.SCORE, model(outcome=sizes(4.0, 3.5, 160.0)), PUBLIC),
        (Kind.SCORE, model(parameters=0, events=5), TRIAL),
        (Kind.SCORE, model(level_persons={"arm=A": 60, "arm=B": 0}), TRIAL),
        (Kind.EVENTS, table(5, [1, 1], [5, 4]), TRIAL),
        (Kind.EVENTS, table(60, [11, 12], [60, 30]), PUBLIC),
        (Kind.HAZARD, table(60, [1, 1], [60, 5], [0.01, 0.2]), TRIAL),
        (Kind.HAZARD, table(60, [11, 11], [60, 30], [0.2, 0.3]), PUBLIC),
    ],
)
def test_what_the_policy_allows_leaves(
    kind: Kind, item: Item, purpose: int, judge_items: Callable[..., Cleared | Refusal]
) -> None:
    verdict = judge_items(item, kind, purpose=purpose)
    assert isinstance(verdict, Cleared)
    off = 2 if kind is Kind.COUNT and purpose == PUBLIC else 0
    np.testing.assert_allclose(verdict.items[0].value, item.value, rtol=0, atol=off)


def test_complement_is_taken_within_the_axis(
    judge_items: Callable[..., Cleared | Refusal], monkeypatch: pytest.MonkeyPatch
) -> None:
    # rows are arms, columns are levels; the small cell is left to the other rule
    cells = np.array([[20, 3], [20, 30]])
    with monkeypatch.context() as patch:
        patch.setattr(gate, "JUDGES", without(rules.cells_are_large))
        assert isinstance(judge_items(Item("f", cells, CellSupport(cells, axis=1)), Kind.COUNT), Refusal)
        # together with everything else the rest is large, and only the cell itself is not
        assert isinstance(judge_items(Item("f", cells, CellSupport(cells)), Kind.COUNT), Cleared)
        # a single cell along the axis is the total itself
        alone = np.array([[20], [3]])
        assert isinstance(judge_items(Item("f", alone, CellSupport(alone, axis=1)), Kind.COUNT), Cleared)


def test_small_cell_withholds_the_whole_block(judge_items: Callable[..., Cleared | Refusal]) -> None:
    small, sound = np.array([[40, 3], [20, 30]]), np.array([[40, 30], [20, 30]])
    items = [Item("count", small, CellSupport(small, axis=1), "sex"), Item("count", sound, CellSupport(sound), "line")]
    verdict = judge_items(items, Kind.COUNT, required=False)
    assert isinstance(verdict, Cleared)
    assert [item.value is None for item in verdict.items] == [True, False]


@pytest.mark.parametrize("kind", [Kind.SCORE, Kind.INFORMATION, Kind.CROSS_PRODUCT, Kind.ESTIMATE])
def test_model_of_nobody_leaves_as_zeros_where_zeros_are_shown(
    kind: Kind, judge_items: Callable[..., Cleared | Refusal]
) -> None:
    nobody = Item("f", np.zeros(2), ModelSupport(persons=0, parameters=2, events=0))
    assert isinstance(judge_items(nobody, kind), Cleared)
    assert isinstance(judge_items(nobody, kind, purpose=PUBLIC), Refusal)


def test_survival_model_without_an_event_leaves_as_zeros_only(judge_items: Callable[..., Cleared | Refusal]) -> None:
    assert isinstance(judge_items(Item("f", np.zeros(2), replace(SOUND, events=0)), Kind.SCORE), Cleared)
    assert isinstance(judge_items(Item("f", np.ones(2), replace(SOUND, events=0)), Kind.SCORE), Refusal)


@pytest.mark.parametrize("kind", [Kind.EVENTS, Kind.HAZARD])
def test_time_table_of_nobody_leaves_as_zeros_where_zeros_are_shown(
    kind: Kind, judge_items: Callable[..., Cleared | Refusal]
) -> None:
    none = np.zeros(0, dtype=np.int64)
    nobody = Item("f", np.zeros((2, 9), dtype=np.int64), TimeSupport(0, none, none))
    assert isinstance(judge_items(nobody, kind), Cleared)
    assert isinstance(judge_items(nobody, kind, purpose=PUBLIC), Refusal)


def test_hazard_without_an_event_leaves_as_zeros(judge_items: Callable[..., Cleared | Refusal]) -> None:
    assert isinstance(judge_items(table(3, [1], [3], [0.0]), Kind.HAZARD), Cleared)


@pytest.mark.parametrize("code", sorted({case.code for case in CASES}))
def test_equal_reasons_give_equal_refusals(
    code: str, policy: Policy, judge_items: Callable[..., Cleared | Refusal]
) -> None:
    texts: dict[object, set[tuple[str, str, str]]] = {}
    for case in CASES:
        if case.code == code:
            verdict = judge_items(case.item, case.kind, purpose=case.purpose, under=case.policy(policy))
            assert isinstance(verdict, Refusal)
            survival = getattr(case.item.support, "events", None) is not None
            texts.setdefault((case.kind, case.purpose, case.tightened, survival), set()).add(
                (verdict.rule, verdict.remedy, verdict.field)
            )
    assert texts
    assert all(len(said) == 1 for said in texts.values())


def test_refusal_has_the_policys_own_threshold_and_no_count(judge_items: Callable[..., Cleared | Refusal]) -> None:
    verdict = judge_items(count(3, persons=[2]), Kind.COUNT)
    assert isinstance(verdict, Refusal)
    assert "5 or more persons" in verdict.rule
    assert not {"2", "3"} & set(verdict.rule + verdict.remedy + verdict.field)
