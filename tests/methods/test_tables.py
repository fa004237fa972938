"""Tables equal R at their edges: zeros, one arm, nobody with an event, and larger exact tests."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up_trial import by_country, refs, split, trial_rows

from isthmus.errors import MethodError, UsageError
from isthmus_methods import contract as c
from isthmus_methods.in_process import pool_in_process, summarise
from isthmus_methods.parts.tables import two_arms
from isthmus_methods.parts.tables.exact_tables import fisher_p
from isthmus_methods.parts.tables.mantel_haenszel import Strata, general_association
from isthmus_methods.registry import find

ANSWERS = json.loads((Path(__file__).parent / "r_answers" / "tables_answers.json").read_text(encoding="utf-8"))
each = pytest.mark.parametrize


def close(mine: Any, theirs: Any) -> bool:
    return mine is theirs if theirs is None or mine is None else bool(np.isclose(mine, theirs, rtol=1e-8, atol=1e-12))


def square(cells: list[int]) -> np.ndarray:
    return np.array(cells, dtype=float).reshape(2, 2)


@each("case", ANSWERS["two"], ids=lambda case: str(case["table"]))
def test_two_by_two_table_equals_r(case: dict[str, Any]) -> None:
    a, b, c_, d = case["table"]
    exact = two_arms.fisher_2x2(a, a + b, c_, c_ + d)
    assert close(two_arms.pearson(square(case["table"]))["statistic"], case["pearson"])
    assert close(two_arms.pearson(square(case["table"]), yates=True)["statistic"], case["yates"])
    for key, theirs in (("p_two_sided", "p"), ("p_greater", "greater"), ("p_less", "less")):
        assert close(exact[key], case[theirs])


def test_exact_limits_stand_at_the_edge_of_the_support() -> None:
    none, every = two_arms.fisher_2x2(0, 8, 5, 9), two_arms.fisher_2x2(7, 7, 3, 12)
    assert (none["or_conditional_mle"], none["or_ci95_exact"]["lower"]) == (0.0, 0.0)  # type: ignore[index,call-overload]
    assert (every["or_conditional_mle"], every["or_ci95_exact"]["upper"]) == (math.inf, math.inf)  # type: ignore[index,call-overload]


def test_exact_limits_have_a_tail_of_one_fortieth() -> None:
    limits = two_arms.fisher_2x2(12, 40, 5, 45)["or_ci95_exact"]
    law = two_arms.Hypergeometric(40, 45, 17)
    assert law.at_least(12, math.log(limits["lower"])) == pytest.approx(0.025, rel=1e-12)  # type: ignore[index,call-overload]
    assert law.at_most(12, math.log(limits["upper"])) == pytest.approx(0.025, rel=1e-12)  # type: ignore[index,call-overload]


@each("case", ANSWERS["crossed"], ids=lambda case: str(case["table"]))
def test_exact_test_of_a_larger_table_equals_r(case: dict[str, Any]) -> None:
    table = np.array(case["table"]).reshape(case["rows"], -1)
    assert fisher_p(table) == pytest.approx(case["p"], rel=1e-8)
    assert fisher_p(table.T) == pytest.approx(case["p"], rel=1e-8)


@each("seed", range(6))
def test_exact_test_equals_the_sum_over_all_tables(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = rng.integers(0, 4, (3, 4))
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    every = [
        filled
        for free in itertools.product(*(range(int(min(rows[i], columns[j])) + 1) for i in range(2) for j in range(3)))
        if (filled := completed(np.array(free).reshape(2, 3), rows, columns)).min() >= 0
    ]
    weight = [1 / math.prod(math.factorial(int(x)) for x in filled.ravel()) for filled in every]
    observed = 1 / math.prod(math.factorial(int(x)) for x in table.ravel())
    expected = sum(w for w in weight if w <= observed * (1 + 1e-7)) / sum(weight)
    assert fisher_p(table) == pytest.approx(expected, rel=1e-10)


def completed(free: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The table of these margins whose free cells are given."""
    wide = np.column_stack([free, rows[:2] - free.sum(axis=1)])
    return np.vstack([wide, columns - wide.sum(axis=0)])


def test_exact_test_that_is_too_large_says_what_to_do() -> None:
    with pytest.raises(MethodError) as caught:
        fisher_p(np.full((6, 6), 40), most_paths=1_000_000)
    assert caught.value.code == "FISHER_TOO_LARGE"
    assert "fisher" in caught.value.remedy


def test_exact_test_of_a_wide_column_is_refused_before_it_is_tried() -> None:
    # a hundred persons a row and column: five million ways to fill the first column alone
    with pytest.raises(MethodError) as caught:
        fisher_p(np.full((5, 5), 21))
    assert caught.value.code == "FISHER_TOO_LARGE"


@each("name", ANSWERS["strata"])
def test_strata_equal_r(name: str) -> None:
    case = ANSWERS["strata"][name]
    strata = Strata(np.array(case["table"], dtype=float).reshape(-1, 2, 2).transpose(0, 2, 1))
    tests = strata.tests()
    assert close(tests["cmh_no_correction"]["statistic"], case["plain"])  # type: ignore[index,call-overload]
    assert close(tests["cmh_continuity_corrected"]["statistic"], case["corrected"])  # type: ignore[index,call-overload]
    for mine, theirs in ((strata.odds(), "or"), (strata.risks(), "rr")):
        assert close(mine[0], case[f"log_{theirs}"])
        assert close(mine[1], case[f"se_{theirs}"])
    assert close(strata.difference()[0], case["rd"])
    assert close(strata.difference()[1], case["se_rd"])
    assert close(strata.woolf()["statistic"], case["woolf"])


@each("case", ANSWERS["general"], ids=lambda case: str(case["shape"]))
def test_general_association_equals_r(case: dict[str, Any]) -> None:
    tables = np.array(case["table"], dtype=float).reshape(case["shape"], order="F").transpose(2, 0, 1)
    tested = general_association(tables)
    assert close(tested["statistic"], case["statistic"])
    assert tested["df"] == case["df"]


def test_strata_of_one_person_change_no_test() -> None:
    tables = np.array([[[5, 3], [2, 9]], [[4, 4], [1, 6]]], dtype=float)
    alone = np.array([[[1, 0], [0, 0]], [[0, 0], [0, 1]]], dtype=float)
    both = np.concatenate([tables, alone])
    assert Strata(both).tests() == Strata(tables).tests()
    assert Strata(both).breslow_day() == Strata(tables).breslow_day()
    assert general_association(both) == general_association(tables)


# --------------------------------------------------------------------------- the methods


def asked(method: str, roles: dict[str, tuple[c.Column, ...]], seed: int = 3, **options: c.Setting) -> c.Done:
    from made_up_trial import TRIAL

    spec = c.Spec(method, "trial", TRIAL, roles=roles, options=options, countries=TRIAL["country"].levels)
    return pool_in_process(find(method), by_country(trial_rows(seed, 240), spec, find(method)), spec)[0]


def test_condition_and_level_are_the_same_event() -> None:
    condition = c.Indicator(c.Comparison("sex", c.Operator.EQUAL, "M"))
    arms: dict[str, c.Setting] = {"treated": "high", "control": "placebo"}
    by_condition = asked("crosstab", {"row": refs("arm"), "column": (condition,)}, **arms)
    by_level = asked("crosstab", {"row": refs("arm"), "column": refs("sex")}, event="M", **arms)
    for key in ("table", "fisher", "risk_difference", "n_missing"):
        assert by_condition.answer[key] == by_level.answer[key]


def test_missing_values_are_counted_beside_the_table() -> None:
    rows = trial_rows(3, 240)
    done = asked("crosstab", {"row": refs("arm"), "column": refs("sex")})
    assert done.answer["n_missing"] == sum(sex == "" for sex in rows.columns["sex"])


def test_whole_number_is_a_factor_of_its_range() -> None:
    done = asked("crosstab", {"row": refs("event"), "column": refs("arm")})
    assert done.answer["table"]["rows"] == ["0", "1"]  # type: ignore[index,call-overload]


def test_country_beside_another_factor_makes_strata_of_both() -> None:
    done = asked(
        "cmh",
        {"arm": refs("arm"), "outcome": refs("event"), "strata": refs("sex")},
        treated="high",
        control="low",
        stratify_by_country=True,
    )
    assert done.answer["strata_of"] == ["country", "sex"]
    assert list(done.answer["strata"])[:3] == ["CN, F", "CN, M", "JP, F"]  # type: ignore[arg-type]


@each(
    ("options", "code"),
    [
        ({"treated": "high"}, "NO_ARMS"),
        ({"treated": "high", "control": "high"}, "NO_ARMS"),
        ({"treated": "high", "control": "none", "event": "M"}, "UNKNOWN_LEVEL"),
        ({"treated": "high", "control": "low"}, "NO_EVENT"),
        ({"event": "M"}, "NO_ARMS"),
    ],
)
def test_arms_and_event_that_do_not_fit_are_refused(options: dict[str, c.Setting], code: str) -> None:
    with pytest.raises(UsageError) as caught:
        asked("crosstab", {"row": refs("arm"), "column": refs("sex")}, **options)
    assert caught.value.code == code


def test_number_without_a_range_is_no_factor() -> None:
    with pytest.raises(UsageError) as caught:
        asked("crosstab", {"row": refs("arm"), "column": refs("marker")})
    assert caught.value.code == "NO_LEVELS"


def test_person_with_several_rows_stands_once_behind_a_cell() -> None:
    from made_up_trial import TRIAL

    spec = c.Spec("crosstab", "trial", TRIAL, roles={"row": refs("arm"), "column": refs("sex")})
    method = find("crosstab")
    [block] = by_country(trial_rows(5, 90), spec, method, sizes=(1.0,))["CN"]
    thrice = split(block, [np.repeat(np.arange(block.rows), 3)])
    [table, _] = summarise(method, thrice, spec, {}).items
    assert isinstance(table.support, c.CellSupport)
    assert np.array_equal(table.value, 3 * table.support.persons)
