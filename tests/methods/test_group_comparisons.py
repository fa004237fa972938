"""t tests and analyses of variance keep their digits, and do without ranks where a distribution may not leave."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from comparing import differences
from made_up_trial import EXAMPLES, TRIAL, by_country, example_spec, refs, trial_rows
from reference_cases import Rows

from isthmus.errors import MethodError, UsageError
from isthmus.v1 import study_pb2
from isthmus_methods import contract as c
from isthmus_methods.in_process import pool_in_process, summarise
from isthmus_methods.parts.tables.group_values import Moments
from isthmus_methods.registry import find
from isthmus_methods.t_test import TTest
from isthmus_node.egress.gate import Cleared, judge
from isthmus_node.egress.policy import DEFAULT_FILE, Policy

BY_SEX = example_spec("t_test", EXAMPLES["t_test"]["by sex"])
BY_ARM = example_spec("anova", EXAMPLES["anova"]["by arm"])


def answered(rows: Rows, spec: c.Spec) -> Any:
    method = find(spec.method)
    return pool_in_process(method, by_country(rows, spec, method), spec)[0]


@pytest.mark.parametrize("spec", [BY_SEX, BY_ARM], ids=["t_test", "anova"])
def test_comparison_keeps_its_digits_under_a_large_offset(spec: c.Spec) -> None:
    rows = trial_rows(3, 200)
    moved = dict(rows.columns)
    moved["time"] = [repr(float(x) + 2.0**31) for x in moved["time"]]
    variables = {**TRIAL, "time": replace(TRIAL["time"], minimum=0, maximum=2.0**32)}
    here = answered(rows, spec).answer
    there = answered(Rows(moved, rows.number), replace(spec, variables=variables)).answer
    for key in (
        "welch",
        "pooled",
        "f_variance_ratio",
        "wilcoxon_normal_approx",
        "classic",
        "kruskal_wallis",
        "bartlett",
    ):
        if key in here:
            assert differences(there[key], here[key], lambda _: 1e-10) == [], key


def test_values_off_the_grid_are_said() -> None:
    rows = trial_rows(3, 200)
    rows.columns["time"] = [repr(float(x) + 0.25) for x in rows.columns["time"]]
    assert any("nearest step" in sentence for sentence in answered(rows, BY_SEX).caveats)


def test_variable_without_grid_leaves_out_the_rank_test_and_says_so() -> None:
    spec = replace(BY_SEX, roles={"outcome": refs("marker"), "arm": refs("sex")})
    done = answered(trial_rows(3, 200), spec)
    assert done.answer["wilcoxon_normal_approx"] is None
    assert done.answer["welch"]["t"] is not None
    assert any("no grid" in sentence for sentence in done.caveats)


def test_gate_withholds_the_distribution_alone() -> None:
    spec, method = BY_SEX, find("t_test")
    policy = Policy.load(DEFAULT_FILE)
    countries = by_country(trial_rows(5, 600), spec, method, sizes=(0.5, 0.5))
    state: c.State = {}
    memory: c.State = {}
    for _ in range(2):
        received = []
        for country, blocks in countries.items():
            summary = summarise(method, blocks, spec, state)
            verdict = judge(
                summary,
                method.leaves,
                method.notes,
                study_pb2.TRIAL_ANALYSIS,
                policy,
                open_data=False,
                audit=lambda _: None,
            )
            assert isinstance(verdict, Cleared), verdict
            given = {(i.field, i.label): i.value for i in verdict.items if i.value is not None}
            held = {(i.field, i.label): i.withheld_by for i in verdict.items if i.value is None}
            received.append(c.Cleared(country, given, held, frozenset(verdict.notes)))
        turn = method.pool(c.Contributions(tuple(received)), spec, state, memory)
        if isinstance(turn, c.Next):
            state, memory = turn.state, turn.memory
    assert isinstance(turn, c.Done)
    straight, _ = pool_in_process(method, countries, spec)
    assert turn.answer["wilcoxon_normal_approx"] is None
    assert turn.answer["welch"] == straight.answer["welch"]
    assert any("SMALL_BIN" in sentence for sentence in turn.caveats)


def test_t_test_of_a_factor_with_three_levels_wants_two_of_them_named() -> None:
    spec = replace(BY_SEX, roles={"outcome": refs("time"), "arm": refs("arm")})
    with pytest.raises(UsageError) as refused:
        summarise(TTest(), [], spec, {})
    assert refused.value.code == "TWO_LEVELS"


def test_state_that_is_not_these_groups_is_refused() -> None:
    with pytest.raises(MethodError) as refused:
        summarise(TTest(), [], BY_SEX, {"centre": np.zeros(3)})
    assert refused.value.code == "WRONG_STATE"


def test_constant_groups_have_no_variance_tests() -> None:
    rows = trial_rows(3, 100)
    rows.columns["time"] = ["7"] * 100
    answer = answered(rows, BY_SEX).answer
    assert answer["welch"]["t"] is None
    assert answer["f_variance_ratio"]["p"] is None
    assert answer["wilcoxon_normal_approx"]["p_continuity"] is None


def test_group_of_nobody_has_no_mean() -> None:
    found = Moments(np.array([0, 2]), np.zeros(2), np.array([np.nan, 1.0]), np.array([0.0, 2.0]))
    assert np.isnan(found.variance[0])
    assert found.present().n.tolist() == [2]
