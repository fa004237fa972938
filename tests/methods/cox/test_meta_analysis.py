"""Meta-analysis: published data, countries against R on their own rows, and countries that cannot say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isthmus.errors import MethodError, UsageError
from isthmus_methods import contract as c
from isthmus_methods.in_process import pool_in_process, summarise
from isthmus_methods.meta_analysis import MetaAnalysis
from isthmus_methods.parts.countries.random_effects import between_variance, generalised_q, meta_analysis

HERE = Path(__file__).parents[1] / "r_answers"
ANSWERS = json.loads((HERE / "meta_answers.json").read_text(encoding="utf-8"))

# BCG vaccine trials (Colditz et al. 1994, JAMA 271, 698-702): vaccinated with and without tuberculosis, then controls
BCG = [
    (4, 119, 11, 128),
    (6, 300, 29, 274),
    (3, 228, 11, 209),
    (62, 13536, 248, 12619),
    (33, 5036, 47, 5761),
    (180, 1361, 372, 1079),
    (8, 2537, 10, 619),
    (505, 87886, 499, 87892),
    (29, 7470, 45, 7232),
    (17, 1699, 65, 1600),
    (186, 50448, 141, 27197),
    (5, 2493, 3, 2338),
    (27, 16886, 29, 17825),
]
VARIABLES = {
    "country": c.Variable("country", c.VariableType.FACTOR, levels=("AA", "BB", "CC", "DD", "EE", "FF")),
    "arm": c.Variable("arm", c.VariableType.FACTOR, levels=("control", "low", "high")),
    "sex": c.Variable("sex", c.VariableType.FACTOR, levels=("f", "m")),
    "id": c.Variable("id", c.VariableType.INTEGER),
    **{
        name: c.Variable(name, c.VariableType.NUMERIC, may_be_missing=True)
        for name in ("time", "start", "event", "age", "dose", "exposed")
    },
}


def bcg() -> tuple[list[str], np.ndarray, np.ndarray]:
    a, b, e, f = (np.array(column, dtype=float) for column in zip(*BCG, strict=True))
    log_risk_ratio = np.log(a / (a + b)) - np.log(e / (e + f))
    return [str(k + 1) for k in range(13)], log_risk_ratio, 1 / a - 1 / (a + b) + 1 / e - 1 / (e + f)


@pytest.mark.parametrize(
    ("model", "key", "published"),
    [
        # `metafor`'s own example, as its documentation prints it
        ("fixed", "estimate", -0.4303),
        ("fixed", "se", 0.0405),
        ("DL", "tau2", 0.3088),
        ("DL", "estimate", -0.7141),
        ("DL", "se", 0.1787),
        ("REML", "tau2", 0.3132),
        ("REML", "se_tau2", 0.1664),
        ("REML", "estimate", -0.7145),
        ("REML", "se", 0.1798),
    ],
)
def test_bcg_trials_give_the_published_numbers(model: str, key: str, published: float) -> None:
    answer: Any = meta_analysis(*bcg())
    assert answer[model][key] == pytest.approx(published, abs=5e-5)


def test_bcg_trials_are_heterogeneous_as_published() -> None:
    answer: Any = meta_analysis(*bcg())
    assert answer["Q"]["statistic"] == pytest.approx(152.233, abs=5e-4)
    assert answer["I2_percent_from_Q"] == pytest.approx(92.12, abs=5e-3)
    assert answer["REML"]["I2_percent"] == pytest.approx(92.22, abs=5e-3)


@pytest.mark.parametrize("method", ["REML", "ML"])
def test_likelihood_is_highest_at_the_between_variance(method: str) -> None:
    names, y, v = bcg()
    answer: Any = meta_analysis(names, y, v)
    tau2 = between_variance(method, y, v)

    def loglik(t: float) -> float:
        w = 1 / (v + t)
        value = 0.5 * float(np.log(w).sum()) - 0.5 * generalised_q(y, v, t)
        return value - (0.5 * float(np.log(w.sum())) if method == "REML" else 0.0)

    assert answer[method]["tau2"] == tau2
    assert all(loglik(tau2) > loglik(tau2 + step) for step in (-1e-3, 1e-3, -0.1, 0.5))


def test_paule_mandel_and_q_profile_meet_their_equations() -> None:
    names, y, v = bcg()
    answer: Any = meta_analysis(names, y, v)
    assert generalised_q(y, v, answer["PM"]["tau2"]) == pytest.approx(12.0, rel=1e-12)
    # chi-square quantiles of 12 degrees of freedom, tables
    assert generalised_q(y, v, answer["tau2_q_profile_ci95"]["lower"]) == pytest.approx(23.33666416, rel=1e-9)
    assert generalised_q(y, v, answer["tau2_q_profile_ci95"]["upper"]) == pytest.approx(4.403788507, rel=1e-9)


def test_homogeneous_studies_have_no_between_variance() -> None:
    answer: Any = meta_analysis(["a", "b", "c"], np.array([1.0, 1.1, 0.9]), np.array([1.0, 2.0, 3.0]))
    for model in ("DL", "REML", "ML", "PM"):
        assert answer[model]["tau2"] == 0.0
        assert answer[model]["estimate"] == answer["fixed"]["estimate"]
        assert (answer[model]["I2_percent"], answer[model]["H2"]) == (0.0, 1.0)


@pytest.mark.parametrize("k", [1, 2])
def test_few_studies_leave_open_what_they_cannot_say(k: int) -> None:
    answer: Any = meta_analysis(["a", "b"][:k], np.array([1.0, -1.0])[:k], np.array([0.1, 0.2])[:k])
    assert answer["fixed"]["prediction_interval95"] == {"lower": None, "upper": None}
    assert answer["DL"]["prediction_interval95_t_km2"] == {"lower": None, "upper": None}
    assert answer["Q"]["df"] == k - 1
    assert (answer["DL_knapp_hartung"]["se"] is None) == (k == 1)
    assert len(answer["leave_one_out_DL"]) == (0 if k == 1 else 2)


# --------------------------------------------------------------------------- with countries


def rows(table_of_rows: Any, name: str, subject: str = "") -> Any:
    return table_of_rows(HERE / f"cox_{name}.csv", VARIABLES, subject)


@pytest.mark.parametrize(
    ("name", "terms", "coefficient", "roles"),
    [
        ("ties", ["arm", "age"], "arm=high", {"strata": ["sex"]}),
        ("entry", ["arm", "age", "dose"], "arm=low", {"start": "start"}),
    ],
)
def test_each_country_estimates_what_coxph_does_on_its_rows(
    name: str, terms: list[str], coefficient: str, roles: dict[str, Any], table_of_rows: Any, compare: Any
) -> None:
    table = rows(table_of_rows, name, "id" if name == "entry" else "")
    spec = table.spec(terms, method="meta_analysis", options={"coefficient": coefficient}, **roles)
    done, rounds = pool_in_process(MetaAnalysis(), table.blocks(spec), spec)
    estimable = {country: own for country, own in ANSWERS[name].items() if own["yi"] is not None}
    assert compare(done.answer["studies"], estimable) == []
    assert done.answer["left_out"] == [country for country in ANSWERS[name] if country not in estimable]
    assert rounds == 1


def test_blocks_of_a_country_give_its_one_estimate(table_of_rows: Any, in_parts: Any) -> None:
    table = rows(table_of_rows, "ties")
    spec = table.spec(["arm", "age"], method="meta_analysis", options={"coefficient": "arm=high"})
    (block,) = table.blocks(spec)["AA"]
    cut = np.random.default_rng(1).permutation(block.rows)
    whole, parts = (
        summarise(MetaAnalysis(), blocks, spec, {}).items[-1]
        for blocks in ([block], in_parts(block, np.split(cut, [5, 70])))
    )
    np.testing.assert_allclose(parts.value, whole.value, rtol=1e-11)
    assert isinstance(whole.support, c.ModelSupport)
    assert whole.support.persons == block.rows
    assert whole.value.shape == (2,)


def test_only_the_chosen_coefficient_leaves(table_of_rows: Any) -> None:
    table = rows(table_of_rows, "ties")
    spec = table.spec(["arm", "age"], method="meta_analysis", options={"coefficient": "arm=high"})
    summary = summarise(MetaAnalysis(), table.blocks(spec)["BB"], spec, {})
    assert [(i.field, i.label, i.value.size) for i in summary.items] == [
        ("outcomes", "", 2),
        ("estimate", "arm=high", 2),
    ]


@pytest.mark.parametrize(
    ("terms", "coefficient", "left_out", "because"),
    [
        # BB has no events, CC no `low`, DD one row, EE no age
        (["arm"], "arm=low", ["BB", "CC", "DD"], "BB, CC, DD: left out, the effect cannot be estimated"),
        (["arm", "age"], "arm=high", ["BB", "DD", "EE"], "EE: left out, no complete rows"),
    ],
)
def test_countries_that_cannot_say_are_left_out_by_name(
    terms: list[str], coefficient: str, left_out: list[str], because: str, table_of_rows: Any
) -> None:
    table = rows(table_of_rows, "edges")
    spec = table.spec(terms, method="meta_analysis", options={"coefficient": coefficient})
    done, _ = pool_in_process(MetaAnalysis(), table.blocks(spec), spec)
    assert done.answer["left_out"] == left_out
    assert any(because in said for said in done.caveats)
    assert not set(done.answer["studies"]) & set(left_out)


def test_separated_effect_is_left_out_and_a_separated_covariate_is_said(table_of_rows: Any) -> None:
    table = rows(table_of_rows, "edges")
    spec = table.spec(["exposed"], method="meta_analysis")
    with pytest.raises(MethodError, match="no country gave an estimate"):
        pool_in_process(MetaAnalysis(), table.blocks(spec), spec)
    spec = table.spec(["arm", "exposed"], method="meta_analysis", options={"coefficient": "arm=high"})
    done, _ = pool_in_process(MetaAnalysis(), table.blocks(spec), spec)
    assert any("other coefficients of the model may be infinite" in said for said in done.caveats)


def test_effect_against_another_reference_is_not_combined(table_of_rows: Any) -> None:
    table = rows(table_of_rows, "ties")
    spec = table.spec(["arm"], method="meta_analysis", options={"coefficient": "arm=low"})
    blocks = table.blocks(spec) | table.blocks(spec, lambda row: row["country"] != "AA" or row["arm"] != "control")
    done, _ = pool_in_process(MetaAnalysis(), blocks, spec)
    assert "AA" in done.answer["left_out"]


def test_withheld_country_is_named(table_of_rows: Any) -> None:
    table = rows(table_of_rows, "ties")
    spec = table.spec(["arm"], method="meta_analysis", options={"coefficient": "arm=low"})
    method = MetaAnalysis()
    given = []
    for country, blocks in table.blocks(spec).items():
        values = {(i.field, i.label): i.value for i in summarise(method, blocks, spec, {}).items}
        hidden = {("estimate", "arm=low"): "SMALL_LEVEL"} if country == "CC" else {}
        given.append(c.Cleared(country, {k: v for k, v in values.items() if k not in hidden}, hidden))
    done = method.pool(c.Contributions(tuple(given)), spec, {}, {})
    assert "CC" in done.answer["left_out"]
    assert any("CC withheld (SMALL_LEVEL)" in said for said in done.caveats)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"coefficient": "arm=medium"}, "UNKNOWN_COEFFICIENT"),
        ({}, "UNKNOWN_COEFFICIENT"),
        ({"estimate": "lm"}, "WRONG_OPTION"),
    ],
)
def test_requests_that_name_nothing_are_refused(options: dict[str, c.Setting], code: str, table_of_rows: Any) -> None:
    table = rows(table_of_rows, "ties")
    spec = table.spec(
        ["arm"],
        method="meta_analysis",
        options=options if "estimate" not in options else {**options, "coefficient": "arm=low"},
    )
    with pytest.raises(UsageError) as caught:
        pool_in_process(MetaAnalysis(), table.blocks(spec), spec)
    assert caught.value.code == code
