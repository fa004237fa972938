"""Table 1: what it says where numbers are large, values are missing, or a gate withheld something."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_up_trial import TRIAL, by_country, refs, trial_rows
from reference_cases import Rows, block_of

from isthmus.errors import MethodError, UsageError
from isthmus_methods import contract as c
from isthmus_methods.in_process import pool_in_process, summarise
from isthmus_methods.parts.tables.standardised import of_factor
from isthmus_methods.table_one import TableOne

METHOD = TableOne()
SPEC = c.Spec(
    "table_one",
    "trial",
    TRIAL,
    roles={"variables": refs("age", "marker", "sex"), "arm": refs("arm")},
    countries=TRIAL["country"].levels,
)


def numeric_spec(variable: c.Variable, **options: c.Setting) -> c.Spec:
    return c.Spec(
        "table_one", "d", {variable.name: variable}, roles={"variables": refs(variable.name)}, options=options
    )


def block(country: str, spec: c.Spec, **columns: list[str]) -> c.Block:
    return block_of(country, Rows(columns, len(next(iter(columns.values())))), spec, METHOD)


@pytest.mark.parametrize("offset", [0.0, 1e6, 1e9])
def test_sd_keeps_its_digits_for_large_offsets(offset: float) -> None:
    spec = numeric_spec(c.Variable("x", c.VariableType.NUMERIC))
    rng = np.random.default_rng(1)
    # quarters: exact doubles beside an offset of 1e9
    values = np.round(rng.normal(0, 4, 900) * 4) / 4
    blocks = {
        name: [block(name, spec, x=[repr(float(v + offset)) for v in part])]
        for name, part in zip("ABC", np.split(values, 3), strict=True)
    }
    done, rounds = pool_in_process(METHOD, blocks, spec)
    row = done.answer["rows"]["x"]["overall"]
    assert rounds == 2
    assert row["mean"] == pytest.approx(offset + values.mean(), rel=1e-15, abs=1e-12)
    assert row["sd"] == pytest.approx(values.std(ddof=1), rel=1e-12)


def test_factors_alone_take_one_round() -> None:
    spec = replace(SPEC, roles={"variables": refs("sex")})
    done, rounds = pool_in_process(METHOD, by_country(trial_rows(1, 100), spec, METHOD), spec)
    assert rounds == 1
    assert done.answer["n"] == {"overall": 100}
    assert done.answer["arms"] == []


def test_one_value_has_a_mean_and_no_sd() -> None:
    spec = numeric_spec(c.Variable("x", c.VariableType.NUMERIC, may_be_missing=True))
    done, _ = pool_in_process(METHOD, {"A": [block("A", spec, x=["3.5", ""])]}, spec)
    nothing = dict.fromkeys(("sd", "var", "se_mean"))
    limits = {"lower": None, "upper": None}
    expected = {"n": 1, "missing": 1, "mean": 3.5, "sum": 3.5, "t_ci95": limits, **nothing}
    assert done.answer["rows"]["x"]["overall"] == expected


def test_column_all_missing_has_neither_mean_nor_sd() -> None:
    spec = numeric_spec(c.Variable("x", c.VariableType.NUMERIC, may_be_missing=True))
    done, _ = pool_in_process(METHOD, {"A": [block("A", spec, x=["", ""])]}, spec)
    row = done.answer["rows"]["x"]["overall"]
    assert (row["n"], row["missing"], row["mean"], row["sd"]) == (0, 2, None, None)


def test_rows_without_an_arm_are_left_out_and_said() -> None:
    rows = trial_rows(1, 80)
    rows.columns["arm"][:3] = ["", "", "another"]
    done, _ = pool_in_process(METHOD, {"CN": [block_of("CN", rows, SPEC, METHOD)]}, SPEC)
    assert done.answer["n"]["overall"] == 77
    assert done.caveats == ("in CN some rows have no arm and are left out of the table",)


def two_rounds(withheld: dict[tuple[int, str], dict[tuple[str, str], str]], spec: c.Spec = SPEC) -> c.Done:
    """An answer where gates withheld fields: by (round, country), which (field, variable) by which rule."""
    countries = by_country(trial_rows(2, 300), spec, METHOD)
    state: c.State = {}
    memory: c.State = {}
    for number in range(2):
        cleared = []
        for country, blocks in countries.items():
            out = withheld.get((number, country), {})
            values = {(i.field, i.label): i.value for i in summarise(METHOD, blocks, spec, state).items}
            cleared.append(c.Cleared(country, {k: v for k, v in values.items() if k not in out}, out))
        turn = METHOD.pool(c.Contributions(tuple(cleared)), spec, state, memory)
        if isinstance(turn, c.Done):
            return turn
        state, memory = turn.state, turn.memory
    raise AssertionError("no answer")


def without(country: str) -> c.Answer:
    countries = by_country(trial_rows(2, 300), SPEC, METHOD)
    del countries[country]
    return pool_in_process(METHOD, countries, SPEC)[0].answer


@pytest.mark.parametrize(
    ("number", "field"), [(0, "count"), (0, "sum"), (1, "squares")], ids=["counts", "sums", "squares"]
)
def test_row_is_of_the_countries_that_gave_all_of_it(number: int, field: str) -> None:
    done = two_rounds({(number, "KR"): {(field, "age"): "SMALL_CELL"}})
    expected = without("KR")
    for column in ("overall", "placebo", "low", "high"):
        mine, theirs = done.answer["rows"]["age"][column], expected["rows"]["age"][column]
        assert (mine["n"], mine["missing"]) == (theirs["n"], theirs["missing"])
        assert mine["mean"] == pytest.approx(theirs["mean"], rel=1e-14)
        assert mine["sd"] == pytest.approx(theirs["sd"], rel=1e-12)
    assert done.caveats == ("age: KR withheld (SMALL_CELL); it covers CN, JP, TW",)


def test_other_rows_keep_all_countries_where_one_is_withheld() -> None:
    whole = two_rounds({})
    part = two_rounds({(0, "KR"): {("count", "sex"): "SMALL_CELL"}})
    assert part.answer["rows"]["age"] == whole.answer["rows"]["age"]
    assert part.answer["n"] == whole.answer["n"]
    assert part.answer["rows"]["sex"]["overall"]["n"] < whole.answer["rows"]["sex"]["overall"]["n"]


def test_variable_withheld_everywhere_is_empty_and_said() -> None:
    out = {("count", "sex"): "SMALL_CELL"}
    done = two_rounds({(0, country): out for country in ("CN", "JP", "KR", "TW")})
    assert done.answer["rows"]["sex"]["overall"] is None
    assert done.answer["rows"]["sex"]["placebo"] is None
    assert "no country is left in it" in done.caveats[0]


def test_country_table_says_what_its_gate_withheld_by_leaving_it_empty() -> None:
    spec = replace(SPEC, options={"by_country": True})
    done = two_rounds({(0, "TW"): {("count", "sex"): "SMALL_CELL"}}, spec)
    assert done.answer["countries"]["TW"]["sex"]["overall"] is None
    assert done.answer["countries"]["CN"]["sex"]["overall"]["n"] > 0


def test_country_table_is_as_exact_as_the_pooled_one() -> None:
    spec = replace(SPEC, options={"by_country": True})
    countries = by_country(trial_rows(2, 300), spec, METHOD)
    done, _ = pool_in_process(METHOD, countries, spec)
    for country, [mine] in countries.items():
        values = mine.numbers("variables", 0)
        row = done.answer["countries"][country]["age"]["overall"]
        assert row["mean"] == pytest.approx(values.mean(), rel=1e-14)
        assert row["sd"] == pytest.approx(values.std(ddof=1), rel=1e-12)


def test_zero_missing_stays_home_where_the_dictionary_allows_none() -> None:
    items = summarise(METHOD, by_country(trial_rows(1, 90), SPEC, METHOD)["CN"], SPEC, {}).items
    shapes = {i.label: i.value.shape for i in items if i.field == "count"}
    assert shapes == {"age": (3, 1), "marker": (3, 2), "sex": (3, 3)}


def test_missing_value_that_the_dictionary_does_not_allow_is_counted_all_the_same() -> None:
    rows = trial_rows(1, 90)
    rows.columns["age"][0] = ""
    done, _ = pool_in_process(METHOD, {"CN": [block_of("CN", rows, SPEC, METHOD)]}, SPEC)
    assert done.answer["rows"]["age"]["overall"]["missing"] == 1
    assert done.answer["rows"]["age"]["overall"]["n"] == 89


@pytest.mark.parametrize(
    ("minimum", "maximum", "largest"), [(None, None, 90.0), (18.0, 99.0, 72.0), (-99.0, -5.0, 95.0), (-5.0, 99.0, 90.0)]
)
def test_dominance_is_measured_from_the_public_value_nearest_zero(
    minimum: float | None, maximum: float | None, largest: float
) -> None:
    spec = numeric_spec(c.Variable("x", c.VariableType.NUMERIC, minimum=minimum, maximum=maximum))
    values = ["-20", "-30", "-90"] if maximum == -5.0 else ["20", "30", "90"]
    if maximum == -5.0:
        values[2] = "-100"
    items = summarise(METHOD, [block("A", spec, x=values)], spec, {}).items
    [support] = [i.support for i in items if i.field == "sum"]
    assert isinstance(support, c.SumSupport)
    assert support.largest[0] == largest


def test_support_of_sums_is_exact_over_blocks() -> None:
    spec = numeric_spec(c.Variable("x", c.VariableType.NUMERIC))
    parts = [["1", "-7"], ["4"], ["4", "2"]]
    items = summarise(METHOD, [block("A", spec, x=part) for part in parts], spec, {}).items
    # each block numbers its own persons from 0, so that here persons repeat: contributions are by person
    [by_person] = [i.support for i in items if i.field == "sum"]
    assert isinstance(by_person, c.SumSupport)
    assert (by_person.persons[0], by_person.largest[0], by_person.second[0]) == (2, 9.0, 5.0)
    own = [block("A", spec, x=part) for part in parts]
    for k, one in enumerate(own):
        one.subject = one.subject + 10 * k
    [support] = [i.support for i in summarise(METHOD, own, spec, {}).items if i.field == "sum"]
    assert isinstance(support, c.SumSupport)
    assert (support.persons[0], support.largest[0], support.second[0], support.total[0]) == (5, 7.0, 4.0, 18.0)
    assert support.varied[0]


def test_equal_values_are_said_not_to_vary() -> None:
    spec = numeric_spec(c.Variable("x", c.VariableType.NUMERIC))
    items = summarise(METHOD, [block("A", spec, x=["4", "4", "4"])], spec, {}).items
    assert [bool(i.support.varied[0]) for i in items if isinstance(i.support, c.SumSupport)] == [False]


def test_variable_named_twice_is_refused() -> None:
    spec = replace(SPEC, roles={"variables": refs("age", "age")})
    with pytest.raises(UsageError) as raised:
        METHOD.scope(spec)
    assert raised.value.code == "VARIABLE_TWICE"


@pytest.mark.parametrize("state", [{"other": np.zeros(1)}, {"age": np.array([np.nan]), "marker": np.zeros(1)}])
def test_state_that_is_not_of_this_table_is_refused(state: c.State) -> None:
    with pytest.raises(MethodError) as raised:
        summarise(METHOD, by_country(trial_rows(1, 40), SPEC, METHOD)["CN"], SPEC, state)
    assert raised.value.code == "WRONG_STATE"


def test_quantiles_need_a_grid_and_say_where_there_is_none() -> None:
    spec = replace(SPEC, options={"quantiles": True})
    done, _ = pool_in_process(METHOD, by_country(trial_rows(2, 300), spec, METHOD), spec)
    assert done.answer["rows"]["marker"]["overall"]["quantile_type7"] is None
    assert "quantiles of marker: not given, as the dictionary has no grid of its values" in done.caveats


def test_quantiles_withheld_in_one_country_leave_the_rest_of_the_row() -> None:
    spec = replace(SPEC, roles={"variables": refs("time"), "arm": refs("arm")}, options={"quantiles": True})
    done = two_rounds({(0, "KR"): {("values", "quantiles of time, low"): "SMALL_BIN"}}, spec)
    row = done.answer["rows"]["time"]
    assert row["low"]["quantile_type7"] is None
    assert row["overall"]["min"] is None
    assert row["high"]["quantile_type7"]["p50"] > 0
    assert row["low"]["mean"] > 0
    assert done.caveats == ("quantiles of time, low: KR withheld (SMALL_BIN); no country is left in it",)


def test_quantiles_without_rows_are_none_each() -> None:
    spec = replace(
        numeric_spec(c.Variable("x", c.VariableType.INTEGER, may_be_missing=True)), options={"quantiles": True}
    )
    done, _ = pool_in_process(METHOD, {"A": [block("A", spec, x=["", ""])]}, spec)
    assert done.answer["rows"]["x"]["overall"]["quantile_type2"] == dict.fromkeys(("p5", "p25", "p50", "p75", "p95"))


def test_standardised_differences_are_those_of_their_formulas() -> None:
    rows = trial_rows(2, 300)
    done, _ = pool_in_process(METHOD, by_country(rows, SPEC, METHOD), SPEC)
    age = np.array([float(x) for x in rows.columns["age"]])
    arm, sex = np.array(rows.columns["arm"]), np.array(rows.columns["sex"])
    low, base = age[arm == "low"], age[arm == "placebo"]
    expected = (low.mean() - base.mean()) / np.sqrt((low.var(ddof=1) + base.var(ddof=1)) / 2)
    assert done.answer["smd"]["age"]["low"] == pytest.approx(expected, rel=1e-12)
    p, q = (np.mean(sex[(arm == a) & (sex != "")] == "M") for a in ("low", "placebo"))
    expected = abs(p - q) / np.sqrt((p * (1 - p) + q * (1 - q)) / 2)
    assert done.answer["smd"]["sex"]["low"] == pytest.approx(expected, rel=1e-12)


def test_standardised_difference_of_a_factor_with_three_levels_is_mahalanobis() -> None:
    one, other = ({"n": 100, "count": {"a": a, "b": b, "c": 100 - a - b, "never": 0}} for a, b in ((50, 30), (40, 20)))
    p, q = np.array([0.3, 0.2]), np.array([0.2, 0.4])
    spread = (np.diag(p) - np.outer(p, p) + np.diag(q) - np.outer(q, q)) / 2
    expected = np.sqrt((p - q) @ np.linalg.inv(spread) @ (p - q))
    assert of_factor(one, other) == pytest.approx(expected, rel=1e-12)
    assert of_factor(one, one) == 0.0
    apart = ({"n": 9, "count": {"a": 9, "b": 0}}, {"n": 9, "count": {"a": 0, "b": 9}})
    assert of_factor(*apart) is None


def test_countries_of_a_large_offset_keep_their_variances() -> None:
    """About a pooled mean near 1e9 a country's own mean is no double's difference: what it adds keeps every digit."""
    rows = trial_rows(3, 240)
    spec = c.Spec(
        "table_one",
        "trial",
        {**TRIAL, "age": replace(TRIAL["age"], minimum=0.0, maximum=2e9)},
        roles={"variables": refs("age")},
        options={"by_country": True},
        countries=TRIAL["country"].levels,
    )
    far = Rows({**rows.columns, "age": [repr(2.0**30 + 8 * float(x)) for x in rows.columns["age"]]}, rows.number)
    near = Rows({**rows.columns, "age": [repr(8 * float(x)) for x in rows.columns["age"]]}, rows.number)
    answers = [pool_in_process(METHOD, by_country(some, spec, METHOD), spec)[0].answer for some in (near, far)]
    for country in TRIAL["country"].levels:
        own, other = (answer["countries"][country]["age"]["overall"]["var"] for answer in answers)  # type: ignore[index]
        # 2^30 leaves 23 bits behind the point: the values themselves are off by less than this
        assert abs(other - own) <= 1e-8 * own
