"""The linear model keeps its digits where rounding could take them, and says what it cannot give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from comparing import differences
from made_up_trial import EXAMPLES, TRIAL, by_country, example_spec, refs, trial_rows
from reference_cases import Rows

from isthmus.errors import UsageError
from isthmus.v1 import study_pb2
from isthmus_methods import contract as c
from isthmus_methods.in_process import pool_in_process, summarise
from isthmus_methods.linear_model import LinearModel
from isthmus_node.egress.gate import Cleared, Refusal, judge
from isthmus_node.egress.policy import DEFAULT_FILE, Policy

METHOD = LinearModel()
SPEC = example_spec("linear_model", EXAMPLES["linear_model"]["ancova"])


def rows_of(seed: int = 11, number: int = 300) -> Rows:
    """Numbers that are whole multiples of 1/8, so that adding 2^30 to them is exact."""
    rows = trial_rows(seed, number)
    for name in ("age", "marker"):
        rows.columns[name] = [str(round(float(x) * 8) / 8) if x else "" for x in rows.columns[name]]
    return rows


def answered(rows: Rows, spec: c.Spec = SPEC, seed: int = 0) -> Mapping[str, Any]:
    done, _ = pool_in_process(METHOD, by_country(rows, spec, METHOD, seed), spec)
    return done.answer


def shifted(rows: Rows, name: str) -> Rows:
    columns = dict(rows.columns)
    columns[name] = [repr(float(x) + 2.0**30) if x else "" for x in columns[name]]
    return Rows(columns, rows.number)


@pytest.mark.parametrize("name", ["marker", "age"])
def test_linear_model_keeps_its_digits_under_a_large_offset(name: str) -> None:
    spec = replace(SPEC, terms=SPEC.terms[:3])
    here, there = answered(rows_of(), spec), answered(shifted(rows_of(), name), spec)
    free = ("sigma", "r_squared", "rss", "f_overall", "loglik", "type2")
    assert differences({k: there[k] for k in free}, {k: here[k] for k in free}, lambda _: 1e-9) == []
    # the intercept alone depends on where the zero of a variable is
    for kind in ("HC0", "HC1", "HC3"):
        mine = {key: value for key, value in here["robust"][kind].items() if key != "(Intercept)"}
        assert differences(there["robust"][kind], mine, lambda _: 1e-8) == []
    by = "ls_means_equal_weights"
    assert differences(there[by]["difference_vs_control"], here[by]["difference_vs_control"], lambda _: 1e-8) == []


def test_linear_model_fits_nearly_collinear_columns_to_the_last_digits() -> None:
    # age and age + u / 2^13: their centred correlation is 1 - 1e-9; both are exact
    rows = rows_of()
    extra = np.random.default_rng(3).integers(0, 64, rows.number)
    rows.columns["near"] = [repr(float(a) + int(u) / 2**13) for a, u in zip(rows.columns["age"], extra, strict=True)]
    rows.columns["apart"] = [repr(int(u) / 2**13) for u in extra]
    variables = {**TRIAL, **{name: c.Variable(name, c.VariableType.NUMERIC) for name in ("near", "apart")}}
    spec = c.Spec("linear_model", "trial", variables, roles={"outcome": refs("marker")})
    near, apart = (
        answered(rows, replace(spec, terms=tuple(c.Term(refs(name)) for name in ("age", other))))
        for other in ("near", "apart")
    )
    assert near["rss"] == pytest.approx(apart["rss"], rel=1e-12)
    for key in ("estimate", "se"):
        assert near["coef"]["near"][key] == pytest.approx(apart["coef"]["apart"][key], rel=1e-9)


def test_linear_model_names_aliased_columns_and_leaves_them_without_estimate() -> None:
    rows = rows_of()
    rows.columns["months"] = [repr(float(a) * 12) for a in rows.columns["age"]]
    spec = replace(
        SPEC,
        variables={**TRIAL, "months": c.Variable("months", c.VariableType.NUMERIC)},
        terms=tuple(c.Term(refs(name)) for name in ("age", "months", "arm")),
        options={},
    )
    answer = answered(rows, spec)
    assert answer["aliased"] == ["months"]
    assert answer["coef"]["months"]["estimate"] is None
    assert answer["type3"] is None
    assert answer["type2"]["arm"]["df"] == 2


def test_least_squares_means_of_unknown_arm_are_refused() -> None:
    with pytest.raises(UsageError) as refused:
        summarise(METHOD, [], replace(SPEC, options={"arm": "country"}), {})
    assert refused.value.code == "ARM_NOT_IN_MODEL"


def test_row_fitted_by_itself_takes_hc3_away() -> None:
    rows = rows_of()
    rows.columns["rare"] = ["1"] + ["0"] * (rows.number - 1)
    rows.columns["marker"][0] = "5.0"
    rows.columns["sex"][0] = "F"
    spec = replace(
        SPEC,
        variables={**TRIAL, "rare": c.Variable("rare", c.VariableType.INTEGER)},
        terms=tuple(c.Term(refs(name)) for name in ("age", "rare")),
        options={"robust": True},
    )
    answer = answered(rows, spec)
    assert answer["robust"]["HC3"] is None
    assert answer["robust"]["HC0"]["age"]["se"] > 0
    assert any("HC3" in sentence for sentence in answer["notes"])


def judged(rows: Rows, spec: c.Spec) -> tuple[c.Done | Refusal, set[tuple[str, str]]]:
    """The rounds behind the gate of a trial analysis: the answer or the first refusal, and what was withheld."""
    policy = Policy.load(DEFAULT_FILE)
    state: c.State = {}
    memory: c.State = {}
    countries = by_country(rows, spec, METHOD, sizes=(0.6, 0.4))
    held: set[tuple[str, str]] = set()
    for _ in range(METHOD.rounds[1]):
        received = []
        for country, blocks in countries.items():
            summary = summarise(METHOD, blocks, spec, state)
            verdict = judge(
                summary,
                METHOD.leaves,
                METHOD.notes,
                study_pb2.TRIAL_ANALYSIS,
                policy,
                open_data=False,
                audit=lambda _: None,
            )
            if not isinstance(verdict, Cleared):
                return verdict, held
            given = {(i.field, i.label): i.value for i in verdict.items if i.value is not None}
            back = {(i.field, i.label): i.withheld_by for i in verdict.items if i.value is None}
            held |= {(field, rule) for (field, _), rule in back.items()}
            received.append(c.Cleared(country, given, back, frozenset(verdict.notes)))
        turn = METHOD.pool(c.Contributions(tuple(received)), spec, state, memory)
        if isinstance(turn, c.Done):
            return turn, held
        state, memory = turn.state, turn.memory
    raise AssertionError("no answer")


def test_gate_withholds_robust_variances_alone_where_few_residuals_make_them_up() -> None:
    rows = trial_rows(5, 600)
    # far out for a residual's square, not so for the residual
    for k in range(0, 600, 150):
        rows.columns["marker"][k] = "160.0"
    outcome, held = judged(rows, SPEC)
    assert isinstance(outcome, c.Done)
    assert {field for field, _ in held} == {"meat", "meat_hc3"}
    assert outcome.answer["robust"]["HC3"] is None
    assert outcome.answer["coef"]["age"]["se"] > 0
    assert any(sentence.startswith("HC3:") for sentence in outcome.caveats)


def test_gate_refuses_an_outcome_that_one_person_makes_up() -> None:
    rows = trial_rows(5, 600)
    rows.columns["marker"][0] = "1000000.0"
    outcome, _ = judged(rows, replace(SPEC, options={}))
    assert not isinstance(outcome, c.Done)
    assert outcome.code == "CONCENTRATED_SUM"
