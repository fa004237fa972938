"""The Cox model with one baseline hazard over all countries: R's numbers, numerics, and what the gate makes of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cox_r_rows import VARIABLES, as_ours

from isthmus.errors import DataError, MethodError, UsageError
from isthmus.v1 import study_pb2
from isthmus_methods import codec, contract as c
from isthmus_methods.cox import Cox
from isthmus_methods.in_process import pool_in_process, summarise
from isthmus_node.egress.gate import Cleared, Refusal, judge
from isthmus_node.egress.policy import DEFAULT_FILE, Policy

HERE = Path(__file__).parents[1] / "r_answers"
ANSWERS = json.loads((HERE / "cox_pooled_answers.json").read_text(encoding="utf-8"))
POOLED = {"stratify_by_country": False}
both_ties = pytest.mark.parametrize("ties", ["efron", "breslow"])


@pytest.fixture(scope="module")
def tables(table_of_rows: Callable[..., Any]) -> Callable[..., Any]:
    def load(name: str, subject: str = "", grid: float = 1.0) -> Any:
        variables = {**VARIABLES, "time": replace(VARIABLES["time"], grid=grid)}
        variables["country"] = replace(variables["country"], roles=frozenset({"COUNTRY"}))
        return table_of_rows(HERE / f"cox_{name}.csv", variables, subject)

    return load


def fit(spec: c.Spec, table: Any) -> c.Done:
    return pool_in_process(Cox(), table.blocks(spec), spec)[0]


# --------------------------------------------------------------------------- R


@both_ties
def test_strata_across_countries_equal_r(ties: str, tables: Any, compare: Any) -> None:
    table, theirs = tables("ties"), ANSWERS["ties"][ties]
    extras = {"baseline": True, "concordance": True, "zph": "both", "robust_each_row": True, "robust_country": True}
    options = {**POOLED, "ties": ties, **extras}
    done = fit(table.spec(["arm", "age", "marker"], strata=["sex"], cluster="site", options=options), table)
    assert compare(done.answer, as_ours(theirs)) == []
    assert (
        compare(robust_of(done, "robust_each_row"), as_ours({**theirs, "robust": theirs["each_row"]})["robust"]) == []
    )
    by_country = {"coef": {name: {"se": se} for name, se in theirs["by_country"]["se"].items()}}
    assert compare(robust_of(done, "robust_cluster_country"), by_country) == []
    hazards = {f"sex={stratum}": curve for stratum, curve in theirs["baseline"].items()}
    assert compare(done.answer["baseline_cumulative_hazard_at_x0"], hazards) == []
    assert done.caveats == ()


def robust_of(done: c.Done, name: str) -> Mapping[str, Any]:
    block = done.answer[name]
    assert isinstance(block, Mapping)
    return block


@both_ties
@pytest.mark.parametrize("more", ["plain", "country"])
def test_case_weights_equal_r(more: str, ties: str, tables: Any, compare: Any) -> None:
    table, theirs = tables("ties"), ANSWERS["weights"][ties][more]
    terms = ["arm", "marker", *(["country"] if more == "country" else [])]
    options = {**POOLED, "ties": ties, "baseline": True, "robust_each_row": True, "robust_country": True}
    done = fit(table.spec(terms, weights="age", options=options), table)
    assert compare(done.answer, as_ours(theirs)) == []
    assert (
        compare(robust_of(done, "robust_each_row"), as_ours({**theirs, "robust": theirs["each_row"]})["robust"]) == []
    )
    by_country = {"coef": {name: {"se": se} for name, se in theirs["by_country"]["se"].items()}}
    assert compare(robust_of(done, "robust_cluster_country"), by_country) == []
    assert compare(done.answer["baseline_cumulative_hazard_at_x0"], theirs["baseline"]) == []


@both_ties
def test_case_weights_in_a_fit_by_country_equal_r(ties: str, tables: Any, compare: Any) -> None:
    table, theirs = tables("ties"), ANSWERS["weights"][ties]["stratified"]
    spec = table.spec(["arm", "marker"], weights="age", options={"ties": ties, "robust": True})
    assert compare(fit(spec, table).answer, as_ours({**theirs, "robust": theirs["each_row"]})) == []


@both_ties
def test_delayed_entry_and_repeated_rows_equal_r(ties: str, tables: Any, compare: Any) -> None:
    # stops on a grid of tenths but for rounding, starts on a finer one
    table = tables("entry", "id", grid=0.1)
    options = {**POOLED, "ties": ties, "concordance": True, "zph": "both", "robust": True}
    done = fit(table.spec(["arm", "age", "sex", "dose"], start="start", options=options), table)
    assert compare(done.answer, as_ours(ANSWERS["entry"][ties])) == []
    assert done.caveats == ()


def test_odd_countries_add_what_they_have(tables: Any, compare: Any) -> None:
    table = tables("edges")
    done = fit(table.spec(["arm", "age", "sex"], options=POOLED), table)
    assert compare(done.answer, as_ours(ANSWERS["edges"]["efron"])) == []
    said = " ".join(done.answer["notes"])  # type: ignore[arg-type]
    assert "EE: no complete rows" in said
    assert "BB: no events" in said or "BB, DD: no events" in said


def test_aliased_terms_are_null_as_in_r(tables: Any, compare: Any) -> None:
    table = tables("alias")
    spec = table.spec(["stage", "age", "marker", "sum", "arm", "sex", "arm:sex"], options=POOLED)
    done = fit(spec, table)
    assert compare(done.answer, as_ours(ANSWERS["alias"]["efron"])) == []
    assert done.answer["aliased"] == ["sum", "arm=high:sex=m"]
    assert "off the study's time grid" in done.caveats[0]


def test_separation_is_said(tables: Any) -> None:
    table = tables("edges")
    done = fit(table.spec(["arm", "exposed"], options=POOLED), table)
    assert any("converged before exposed" in said for said in done.caveats)
    assert done.answer["converged"] is False


def test_no_country_is_named_for_levels_of_the_country_itself(tables: Any) -> None:
    table = tables("ties")
    assert fit(table.spec(["age", "country"], options=POOLED), table).answer["notes"] == []


def test_only_the_fields_of_the_fit_asked_for_are_announced() -> None:
    by_country, shared = c.leaving(Cox(), {}), c.leaving(Cox(), POOLED)
    assert set(by_country) | set(shared) == set(Cox.leaves)
    assert not [name for name, field in by_country.items() if field.kind in (c.Kind.RISK_SETS, c.Kind.HISTOGRAM)]
    spec = request(concordance=True, zph="both", robust=True, baseline=True, robust_country=True)
    blocks = {"AA": [made(spec, 1, 80)], "BB": [made(spec, 2, 60, "BB")]}
    seen: set[str] = set()

    class Watched(Cox):
        def release(self, partial: Any, spec: c.Spec, state: c.State, local: Any) -> c.Summary | c.Again:
            turn = super().release(partial, spec, state, local)
            seen.update(item.field for item in (turn.items if isinstance(turn, c.Summary) else ()))
            return turn

    pool_in_process(Watched(), blocks, spec)
    assert seen <= set(shared)
    assert {"at_risk", "dying", "cross_product", "ranks", "events", "whole", "shape_cross_product"} <= seen


# --------------------------------------------------------------------------- made-up rows

MADE = {
    "time": c.Variable("time", c.VariableType.NUMERIC, minimum=0.0, maximum=30.0, grid=1.0),
    **{name: c.Variable(name, c.VariableType.NUMERIC) for name in ("event", "x", "z", "w")},
}
ROLES = ("time", "event")


def request(grid: float = 1.0, roles: Sequence[str] = ROLES, **options: c.Setting) -> c.Spec:
    columns = {role: (c.Ref("w" if role == "weights" else role),) for role in roles}
    variables = {**MADE, "time": replace(MADE["time"], grid=grid)}
    terms = tuple(c.Term((c.Ref(name),)) for name in ("x", "z"))
    settings = {**POOLED, **options}
    return c.Spec("cox", "main", variables, roles=columns, terms=terms, options=settings, countries=("AA", "BB"))


def made(spec: c.Spec, seed: int, n: int, country: str = "AA", **given: np.ndarray) -> c.Block:
    rng = np.random.default_rng(seed)
    x = {"x": rng.normal(0, 1, n), "z": rng.normal(0, 2, n), "w": rng.uniform(0.5, 2, n)} | given
    wait = np.ceil(rng.exponential(12, n) * np.exp(-0.3 * (x["x"] - x["x"].mean())))
    values = {"time": np.minimum(wait, 30.0), "event": (wait <= 30).astype(float), **x}
    columns = {role: (values[refs[0].variable],) for role, refs in spec.roles.items()}  # type: ignore[union-attr]
    design = c.Design(np.column_stack([x["x"], x["z"]]), ("x", "z"), {})
    return c.Block(country, n, columns, dict.fromkeys(columns, ((),)), np.arange(n), design, n, n)


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1e-7), (0.0, 1e6), (1e9, 1.0), (-3e7, 1e3)])
def test_fit_does_not_depend_on_origin_and_unit_of_a_covariate(shift: float, scale: float) -> None:
    spec, x = request(), np.round(np.random.default_rng(1).normal(0, 1, 400), 6)
    # numbers that the shift does not round
    x = np.round(x * 2**20) / 2**20
    plain = pool_in_process(Cox(), halves(spec, x), spec)[0].answer
    moved = pool_in_process(Cox(), halves(spec, x, shift, scale), spec)[0].answer
    exact = 1e-9 if shift in (0.0, 1e9) else 1e-7
    for key in ("estimate", "se"):
        assert moved["coef"]["x"][key] * scale == pytest.approx(plain["coef"]["x"][key], rel=exact)  # type: ignore[index,call-overload]
        assert moved["coef"]["z"][key] == pytest.approx(plain["coef"]["z"][key], rel=exact)  # type: ignore[index,call-overload]
    assert moved["loglik"] == pytest.approx(plain["loglik"], rel=1e-11)


def halves(spec: c.Spec, x: np.ndarray, shift: float = 0.0, scale: float = 1.0) -> dict[str, list[c.Block]]:
    """Two countries whose times do not depend on origin and unit."""
    blocks = {}
    for country, own in (("AA", x[:250]), ("BB", x[250:])):
        block = made(spec, len(own), len(own), country, x=own)
        assert block.design is not None
        block.design.matrix[:, 0] = shift + scale * own
        blocks[country] = [block]
    return blocks


def test_one_step_too_far_is_taken_back() -> None:
    spec, method = request(), Cox()
    x = np.concatenate([np.random.default_rng(4).normal(0, 1, 298), [400.0, 900.0]])
    blocks = {"AA": [made(spec, 4, 300, x=x)], "BB": [made(spec, 5, 100, "BB")]}
    done, rounds = pool_in_process(method, blocks, spec)
    assert done.answer["converged"] is True
    alone, _ = pool_in_process(method, blocks, replace(spec, options={**spec.options, "iterations": 60}))
    assert done.answer["loglik"] == alone.answer["loglik"]
    assert rounds < method.rounds[1]


def test_weights_out_of_range_are_said_and_not_sent() -> None:
    spec = request()
    block = made(spec, 4, 50)
    listed = {"stratum": np.zeros(1), "step": np.array([3.0]), "number": np.array([2.0])}
    state = {"beta": np.array([500.0, 0.0]), "centre": np.zeros(2), **listed}
    summary = summarise(Cox(), [block], spec, state)
    assert "FAR_OFF" in summary.notes
    assert not any(item.value.any() for item in summary.items)


@pytest.mark.parametrize("event", [0.0, 1.0])
def test_one_row_estimates_nothing(event: float) -> None:
    spec = request(concordance=True, zph="both", baseline=True)
    block = made(spec, 1, 1)
    block.columns = {**block.columns, "event": (np.array([event]),)}
    answer = pool_in_process(Cox(), {"AA": [block], "BB": []}, spec)[0].answer
    assert (answer["n"], answer["n_event"]) == (1, int(event))
    assert answer["coef"]["x"]["estimate"] is None  # type: ignore[index,call-overload]
    assert answer["loglik"] == 0.0
    assert answer["cox_zph"] is None


def test_nobody_anywhere_is_an_error() -> None:
    with pytest.raises(MethodError, match="no country has a complete row"):
        pool_in_process(Cox(), {"AA": [], "BB": []}, request())


def test_weight_that_is_not_positive_is_refused() -> None:
    spec = request(roles=(*ROLES, "weights"))
    w = np.ones(30)
    w[3] = 0.0
    with pytest.raises(DataError, match="WEIGHT_NOT_POSITIVE"):
        summarise(Cox(), [made(spec, 1, 30, w=w)], spec, {})


@pytest.mark.parametrize("extra", [{"concordance": True}, {"zph": "km"}])
def test_extras_that_weights_have_not_are_refused(extra: dict[str, c.Setting]) -> None:
    with pytest.raises(UsageError, match="NOT_WITH_WEIGHTS"):
        summarise(Cox(), [], request(roles=(*ROLES, "weights"), **extra), {})


@pytest.mark.parametrize(
    "change",
    [
        {"beta": np.zeros(3)},
        {"centre": np.zeros(1)},
        {"step": np.array([1.0, 0.0])},
        # scales of time that choose an event
        {"shape km": np.array([1.0, 0.0])},
        {"shape km": np.array([0.0, 1.5])},
        {"shape km": np.array([np.nan, 0.0])},
        {"shape identity": np.array([-0.5, 2.5])},
        {"shape identity": np.zeros(1)},
    ],
)
def test_state_of_another_model_is_refused(change: dict[str, np.ndarray]) -> None:
    spec = request(zph="both")
    state = {
        "beta": np.zeros(2),
        "centre": np.zeros(2),
        "stratum": np.zeros(2),
        "step": np.array([1.0, 2.0]),
        "number": np.ones(2),
    }
    with pytest.raises(MethodError, match="WRONG_STATE"):
        summarise(Cox(), [made(spec, 1, 30)], spec, {**state, **change})


def test_more_coefficients_than_countries_give_the_tests_of_the_rank() -> None:
    spec = request(robust_country=True)
    blocks = {name: [made(spec, k, 120, name)] for k, name in enumerate(("AA", "BB"))}
    block = pool_in_process(Cox(), blocks, spec)[0].answer["robust_cluster_country"]
    assert isinstance(block, Mapping)
    assert block["robust_score_test"]["statistic"] == 2.0  # type: ignore[index,call-overload]
    coefficient = block["coef"]["x"]  # type: ignore[index,call-overload]
    assert block["robust_wald"]["statistic"] == pytest.approx(coefficient["z"] ** 2, rel=1e-9)  # type: ignore[index,call-overload]


def test_the_country_as_cluster_is_each_country_as_a_cluster(tables: Any) -> None:
    table = tables("ties")
    options = {**POOLED, "robust_country": True}
    answer = fit(table.spec(["arm", "age", "marker", "sex"], cluster="country", options=options), table).answer
    own, other = answer["robust"], answer["robust_cluster_country"]
    assert isinstance(own, Mapping)
    assert isinstance(other, Mapping)
    assert {k: v for k, v in own.items() if k != "cluster"} == {k: v for k, v in other.items() if k != "cluster"}
    assert own["robust_score_test"]["statistic"] == 4.0  # type: ignore[index,call-overload]


def test_fit_goes_on_to_the_bit_after_a_restart() -> None:
    spec = request(zph="both", concordance=True, robust=True)
    blocks = {"AA": [made(spec, 1, 200)], "BB": [made(spec, 2, 90, "BB")]}
    straight, _ = pool_in_process(Cox(), blocks, spec)

    def answer_of(done: c.Done) -> bytes:
        return codec.answer_to_message(done.answer).SerializeToString(deterministic=True)

    state: c.State = {}
    memory: c.State = {}
    while True:
        # what a coordinator has after a restart is what it wrote down, and the rows are read anew
        anew = {"AA": [made(spec, 1, 200)], "BB": [made(spec, 2, 90, "BB")]}
        summaries = {country: summarise(Cox(), rows, spec, state) for country, rows in anew.items()}
        given = tuple(
            c.Cleared(country, {(i.field, i.label): i.value for i in s.items}, notes=s.notes)
            for country, s in summaries.items()
        )
        turn = Cox().pool(c.Contributions(given), spec, state, memory)
        if isinstance(turn, c.Done):
            break
        state, memory = (codec.state_from_messages(codec.state_to_messages(x)) for x in (turn.state, turn.memory))
    assert answer_of(turn) == answer_of(straight)


# --------------------------------------------------------------------------- the gate


def through_the_gate(spec: c.Spec, n: int, open_data: bool) -> c.Done | Refusal:
    """The fit with every summary judged for a trial analysis by the default policy."""
    policy, method = Policy.load(DEFAULT_FILE), Cox()
    blocks = {"AA": [made(spec, 1, n)], "BB": [made(spec, 2, n, "BB")]}
    state: c.State = {}
    memory: c.State = {}
    while True:
        given = []
        for country, rows in blocks.items():
            summary = summarise(method, rows, spec, state)
            verdict = judge(
                summary, method.leaves, method.notes, study_pb2.TRIAL_ANALYSIS, policy, open_data, audit=lambda _: None
            )
            if not isinstance(verdict, Cleared):
                return verdict
            values = {(i.field, i.label): i.value for i in verdict.items if i.value is not None}
            withheld = {(i.field, i.label): i.withheld_by for i in verdict.items if i.value is None}
            given.append(c.Cleared(country, values, withheld, frozenset(verdict.notes)))
        turn = method.pool(c.Contributions(tuple(given)), spec, state, memory)
        if isinstance(turn, c.Done):
            return turn
        state, memory = turn.state, turn.memory


def test_sums_at_single_days_are_refused_and_the_remedy_is_named() -> None:
    refused = through_the_gate(request(), 80, open_data=False)
    assert isinstance(refused, Refusal)
    assert refused.code in ("SMALL_STEP", "FEW_AT_RISK")
    assert "stratify by country" in refused.remedy
    assert "coarser time grid" in refused.remedy


def test_open_data_let_them_out() -> None:
    done = through_the_gate(request(concordance=True), 80, open_data=True)
    assert isinstance(done, c.Done)
    assert done.answer["concordance"]["c"] is not None  # type: ignore[index,call-overload]


def test_a_coarse_grid_lets_the_fit_run_under_the_default_policy() -> None:
    done = through_the_gate(request(grid=10.0, concordance=True, robust=True, zph="km"), 400, open_data=False)
    assert isinstance(done, c.Done)
    assert done.answer["converged"] is True
    assert done.answer["concordance"] is None
    assert any(said.startswith("concordance: AA withheld (SMALL_BIN)") for said in done.caveats), done.caveats
