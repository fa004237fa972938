"""Log-rank tests: what leaves a country for them, strata, and the edges where a test is not one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_up_trial import SURVIVAL, TRIAL, by_country, refs, trial_rows
from reference_cases import Case, Rows, block_of

from isthmus.errors import MethodError, UsageError
from isthmus_methods import contract as c
from isthmus_methods.in_process import pool_in_process, summarise
from isthmus_methods.log_rank import LogRank

METHOD = LogRank()
R_ANSWERS = Path(__file__).parent / "r_answers"
SPEC = c.Spec("log_rank", "trial", TRIAL, roles={**SURVIVAL, "arm": refs("arm")}, countries=TRIAL["country"].levels)


def fields(spec: c.Spec) -> set[str]:
    summary = summarise(METHOD, by_country(trial_rows(1, 200), spec, METHOD)["CN"], spec, {})
    return {item.field for item in summary.items}


def block(times: list[float], events: list[int], arms: list[str], spec: c.Spec = SPEC) -> c.Block:
    columns = {"time": [repr(t) for t in times], "event": [str(e) for e in events], "arm": arms}
    return block_of("CN", Rows(columns, len(times)), spec, METHOD)


def test_nothing_about_single_times_leaves_by_default() -> None:
    assert fields(SPEC) == {"rows", "score", "variance"}


def test_table_leaves_only_for_what_needs_it() -> None:
    assert fields(replace(SPEC, options={"unstratified": True})) == {"rows", "score", "variance", "table"}
    assert fields(replace(SPEC, options={"stratify_by_country": False})) == {"rows", "table"}


def test_stratified_test_needs_no_grid_and_rounds_no_time() -> None:
    off = [0.25, 1.5, 2.75, 3.1, 4.9, 5.2]
    spec = replace(SPEC, variables={**TRIAL, "time": replace(TRIAL["time"], grid=None, maximum=None)})
    on_grid, off_grid = (
        pool_in_process(METHOD, {"CN": [block(times, [1, 1, 0, 1, 1, 1], ["low", "high"] * 3, spec)]}, spec)[0]
        for times in ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], off)
    )
    assert off_grid.caveats == ()
    assert off_grid.answer == on_grid.answer


def test_unstratified_test_without_a_grid_is_refused() -> None:
    spec = replace(
        SPEC,
        variables={**TRIAL, "time": replace(TRIAL["time"], grid=None)},
        options={"unstratified": True},
    )
    with pytest.raises(UsageError) as raised:
        summarise(METHOD, [], spec, {})
    assert raised.value.code == "NO_TIME_GRID"


def test_rounded_times_are_said_where_a_table_leaves() -> None:
    spec = replace(SPEC, options={"unstratified": True})
    rows = block([0.25, 1.5, 2.75], [1, 1, 1], ["low", "high", "low"], spec)
    done, _ = pool_in_process(METHOD, {"CN": [rows]}, spec)
    assert [caveat[:16] for caveat in done.caveats] == ["in CN some times"]


def test_times_equal_but_for_rounding_are_ties_over_blocks() -> None:
    first = block([0.1 + 0.2, 1.0], [1, 1], ["low", "high"])
    second = block([0.3, 2.0], [1, 0], ["high", "low"])
    second.subject = second.subject + 2
    apart, _ = pool_in_process(METHOD, {"CN": [first, second]}, SPEC)
    together, _ = pool_in_process(
        METHOD, {"CN": [block([0.3, 1.0, 0.3, 2.0], [1, 1, 1, 0], ["low", "high", "high", "low"])]}, SPEC
    )
    assert apart.answer == together.answer


def test_country_among_the_strata_is_stratification_by_country() -> None:
    named = replace(SPEC, roles={**SPEC.roles, "strata": refs("country")}, options={"stratify_by_country": False})
    countries = by_country(trial_rows(3, 200), named, METHOD)
    mine = pool_in_process(METHOD, countries, named)[0].answer
    theirs = pool_in_process(METHOD, countries, SPEC)[0].answer
    assert mine == theirs
    assert mine["strata"] == ["country"]


def test_strata_within_countries_equal_strata_over_countries_of_one() -> None:
    within = replace(SPEC, roles={**SPEC.roles, "strata": refs("sex")})
    over = replace(within, options={"stratify_by_country": False})
    rows = trial_rows(4, 200)
    one, two = (
        pool_in_process(METHOD, by_country(rows, spec, METHOD, sizes=(1.0,)), spec)[0].answer for spec in (within, over)
    )
    for family in ("logrank", "peto_peto_rho1", "gehan_breslow"):
        assert one[f"{family}_stratified"]["chisq"] == pytest.approx(two[f"{family}_stratified"]["chisq"], rel=1e-12)


def test_arm_that_occurs_nowhere_is_no_group() -> None:
    rows = block([1.0, 2.0, 3.0, 4.0], [1, 1, 1, 0], ["low", "high", "low", "high"])
    answer = pool_in_process(METHOD, {"CN": [rows]}, SPEC)[0].answer
    assert answer["groups"] == ["low", "high"]
    assert answer["logrank_stratified"]["df"] == 1
    assert len(answer["logrank_stratified"]["variance"]) == 2


def test_one_arm_is_no_comparison() -> None:
    with pytest.raises(MethodError) as raised:
        pool_in_process(METHOD, {"CN": [block([1.0, 2.0], [1, 1], ["low", "low"])]}, SPEC)
    assert raised.value.code == "ONE_ARM"


def test_no_event_is_a_statistic_of_zero_without_a_p_value() -> None:
    answer = pool_in_process(METHOD, {"CN": [block([1.0, 2.0], [0, 0], ["low", "high"])]}, SPEC)[0].answer
    assert answer["logrank_stratified"]["chisq"] == 0.0
    assert answer["logrank_stratified"]["p"] is None


def test_arms_never_at_risk_together_are_not_told_apart() -> None:
    """In each stratum one arm only: V is zero, and so is what the data say."""
    countries = {
        "CN": [block([1.0, 2.0, 3.0], [1, 1, 1], ["low"] * 3)],
        "JP": [block([1.0, 2.0, 3.0], [1, 1, 1], ["high"] * 3)],
    }
    answer = pool_in_process(METHOD, countries, SPEC)[0].answer
    assert answer["logrank_stratified"]["df"] == 0
    assert answer["logrank_stratified"]["p"] is None


def test_support_is_of_persons_in_the_smallest_arm() -> None:
    rows = block([float(k) for k in range(30)], [1] * 27 + [0, 0, 0], ["low"] * 20 + ["high"] * 10)
    [item] = [i for i in summarise(METHOD, [rows], SPEC, {}).items if (i.field, i.label) == ("score", "logrank")]
    assert isinstance(item.support, c.ModelSupport)
    assert item.support.persons == 30
    assert item.support.parameters == 2
    assert item.support.events == 7
    assert item.support.level_persons == {"arm=placebo": 0, "arm=low": 20, "arm=high": 10}
    assert item.support.leverage == pytest.approx(0.1)


def test_too_many_strata_are_refused() -> None:
    levels = tuple(str(k) for k in range(400))
    spec = replace(
        SPEC,
        variables={**TRIAL, "site": c.Variable("site", c.VariableType.FACTOR, levels=levels)},
        roles={**SPEC.roles, "strata": refs("site")},
    )
    with pytest.raises(UsageError) as raised:
        summarise(METHOD, [], spec, {})
    assert raised.value.code == "TOO_MANY_STRATA"


def test_observed_and_expected_add_up_to_the_events() -> None:
    done, _ = pool_in_process(METHOD, by_country(trial_rows(5, 300), SPEC, METHOD), SPEC)
    test = done.answer["logrank_stratified"]
    assert sum(test["observed"]) == pytest.approx(sum(test["expected"]), rel=1e-13)
    assert np.allclose(np.sum(test["variance"], axis=0), 0.0, atol=1e-10)


def test_fleming_harrington_test_equals_r(load_case: Callable[[str], Case]) -> None:
    answers = json.loads((R_ANSWERS / "fleming_harrington.json").read_text(encoding="utf-8"))
    case = load_case("p11_km_lung")
    step = next(s for s in case.plan if s["method"] == "logrank")
    spec = case.spec(step, fleming_harrington=(answers["rho"], 0.0))
    answer = pool_in_process(METHOD, case.blocks(step, spec, METHOD), spec)[0].answer
    for key, name in (("plain", "fleming_harrington"), ("stratified", "fleming_harrington_stratified")):
        assert answer[name]["chisq"] == pytest.approx(answers[key], rel=1e-10)  # type: ignore[index, call-overload]


def test_weight_of_late_differences_is_what_peto_leaves_of_one() -> None:
    spec = replace(SPEC, options={"unstratified": True, "fleming_harrington": (0.0, 1.0)})
    answer = pool_in_process(METHOD, by_country(trial_rows(2, 240), spec, METHOD), spec)[0].answer

    def difference(name: str) -> np.ndarray:
        own = answer[name]
        return np.array(own["observed"]) - np.array(own["expected"])  # type: ignore[index, call-overload]

    late = difference("fleming_harrington")
    np.testing.assert_allclose(late, difference("logrank") - difference("peto_peto_rho1"), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("exponents", [(1.0,), (-1.0, 0.0), (0.0, 1.0, 2.0)])
def test_exponents_that_make_no_weight_are_refused(exponents: tuple[float, ...]) -> None:
    spec = replace(SPEC, options={"fleming_harrington": exponents})
    with pytest.raises(UsageError, match="two exponents"):
        fields(spec)
