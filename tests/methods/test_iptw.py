"""Inverse probability of treatment weighting against R: the treated, bounds of the propensity, a largest weight."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comparing import differences
from reference_cases import Case

from isthmus.errors import MethodError, UsageError
from isthmus.v1 import study_pb2
from isthmus_methods import contract as c
from isthmus_methods.in_process import pool_in_process, summarise
from isthmus_methods.registry import find
from isthmus_node.egress.judges import JUDGES
from isthmus_node.egress.policy import DEFAULT_FILE, Policy

ANSWERS = json.loads((Path(__file__).parent / "r_answers" / "iptw_answers.json").read_text(encoding="utf-8"))
METHOD = find("iptw")


@pytest.fixture(scope="module")
def asked(load_case: Callable[[str], Case]) -> Callable[..., tuple[dict[str, list[c.Block]], c.Spec]]:
    def ask(**options: Any) -> tuple[dict[str, list[c.Block]], c.Spec]:
        case = load_case("p22_iptw_rotterdam")
        step = case.plan[0]
        terms = tuple(c.Term((c.Ref(name),)) for name in ("age", "nodes", "grade"))
        settings = {"treated": "1", "stratify_by_country": False, "times": (365.0, 1000.5), "tau": 1500.0, **options}
        spec = replace(case.spec(step), terms=terms, options=settings)
        return case.blocks(step, spec, METHOD), spec

    return ask


def same(answer: Mapping[str, Any], name: str, theirs: Mapping[str, Any], curves: bool = True) -> list[str]:
    mine = {
        "weights": answer[f"weights_{name}"],
        "smd_before": answer["smd_before"],
        "smd_after": answer[f"smd_after_{name}"],
        "cox": answer[f"cox_{name}"],
    }
    if curves:
        mine["km"] = answer[f"km_{name}"]
    expected = {key: value for key, value in theirs.items() if key in mine}
    return differences(mine, expected, lambda _: 1e-8)


def test_effect_in_the_treated_equals_r(asked: Callable[..., Any]) -> None:
    done, _ = pool_in_process(METHOD, *asked(estimand="att"))
    assert same(done.answer, "att", ANSWERS["att"]) == []
    assert done.caveats == ()


def test_bounds_of_the_propensity_leave_rows_out_as_in_r(asked: Callable[..., Any]) -> None:
    done, _ = pool_in_process(METHOD, *asked(trim=(0.08, 0.4)))
    assert same(done.answer, "stabilised", ANSWERS["trimmed"]) == []
    assert done.answer["n_within_bounds"] < done.answer["n"]


def test_largest_weight_is_as_in_r(asked: Callable[..., Any]) -> None:
    done, _ = pool_in_process(METHOD, *asked(truncate=5.0))
    assert same(done.answer, "ate", ANSWERS["truncated"], curves=False) == []


def test_weights_of_one_weighting_do_not_change_the_others(asked: Callable[..., Any]) -> None:
    once, _ = pool_in_process(METHOD, *asked())
    without, _ = pool_in_process(METHOD, *asked(times=(), tau=0.0))
    assert once.answer["cox_ate"] == without.answer["cox_ate"]


def test_one_arm_alone_is_refused(asked: Callable[..., Any]) -> None:
    blocks, spec = asked()
    code = spec.levels(c.Ref("hormon")).index("1")
    for country, [block] in blocks.items():
        columns = {**block.columns, "treatment": (np.full(block.rows, code),)}
        blocks[country] = [replace(block, columns=columns, _kept={})]
    with pytest.raises(MethodError) as refused:
        pool_in_process(METHOD, blocks, spec)
    assert refused.value.code == "ONE_ARM"


@pytest.mark.parametrize(
    ("column", "levels"),
    [
        (c.Transform(c.Function.FACTOR, c.Ref("status")), ("0", "1")),
        (c.Transform(c.Function.FACTOR, c.Indicator(c.Comparison("nodes", c.Operator.GREATER, 4.0))), ()),
    ],
    ids=["a number", "a condition"],
)
def test_treatment_may_be_a_number_or_a_condition(
    load_case: Callable[[str], Case], column: c.Column, levels: tuple[str, ...]
) -> None:
    case = load_case("p22_iptw_rotterdam")
    step = case.plan[0]
    spec = replace(case.spec(step), terms=(c.Term((c.Ref("age"),)),), options={"treated": "1"})
    variables = dict(spec.variables)
    if levels:
        variables["status"] = replace(variables["status"], levels=levels)
    blocks = case.blocks(step, spec, METHOD)
    other = replace(spec, variables=variables, roles={**spec.roles, "treatment": (column,)})
    done, _ = pool_in_process(METHOD, blocks, other)
    plain, _ = pool_in_process(METHOD, blocks, spec)
    # the same codes stand in the rows: only what the treatment is called differs
    assert done.answer["cox_ate"] == plain.answer["cox_ate"]


@pytest.mark.parametrize(
    "options", [{"treated": "2"}, {"trim": (0.5,)}, {"trim": (0.9, 0.1)}, {"truncate": -1.0}], ids=str
)
def test_settings_that_mean_nothing_are_refused(asked: Callable[..., Any], options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        pool_in_process(METHOD, *asked(**options))


def test_range_of_the_propensity_is_for_open_data_only(asked: Callable[..., Any]) -> None:
    blocks, spec = asked()
    limits = Policy.load(DEFAULT_FILE).limits[study_pb2.TRIAL_ANALYSIS]
    state, memory, broken = {}, {}, set()
    while "ask balance" not in state:
        turn = METHOD.pool(_given(blocks, spec, state), spec, state, memory)
        assert isinstance(turn, c.Next)
        state, memory = turn.state, turn.memory
    for item in summarise(METHOD, blocks["NL"], spec, state).items:
        if JUDGES[METHOD.leaves[item.field].kind].floor(item, limits) is not None:
            broken.add(item.field)
    assert broken == {"propensity"}
    without = c.Contributions(
        tuple(
            c.Cleared(
                s.country,
                {key: value for key, value in s.values.items() if key[0] not in ("propensity", "weighted_balance")},
                {key: "SMALL_BIN" for key in s.values if key[0] in ("propensity", "weighted_balance")},
            )
            for s in _given(blocks, spec, state).summaries
        )
    )
    done = METHOD.pool(without, spec, state, memory)
    while isinstance(done, c.Next):
        state, memory = done.state, done.memory
        done = METHOD.pool(_given(blocks, spec, state), spec, state, memory)
    assert done.answer["propensity"]["min"] is None
    assert done.answer["weights_ate"]["all"] is None
    assert set(done.answer["smd_after_ate"].values()) == {None}
    assert done.answer["cox_ate"]["efron"]["coef"] is not None
    assert len([s for s in done.caveats if "withheld" in s]) == 2


def _given(blocks: Mapping[str, list[c.Block]], spec: c.Spec, state: c.State) -> c.Contributions:
    return c.Contributions(
        tuple(
            c.Cleared(country, {(i.field, i.label): i.value for i in summarise(METHOD, mine, spec, state).items})
            for country, mine in blocks.items()
        )
    )


def test_hazard_ratios_are_stratified_by_country_unless_asked_otherwise(asked: Callable[..., Any]) -> None:
    done, _ = pool_in_process(METHOD, *asked(stratify_by_country=True))
    theirs = ANSWERS["stratified"]
    assert differences(done.answer["cox_ate"]["efron"], theirs, lambda _: 1e-8) == []
