"""Estimates from a country's own rows against R on the same rows, and what they may rest on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up_trial import split
from reference_cases import Rows, block_of, read_rows

from isthmus.errors import MethodError, UsageError
from isthmus_methods import contract as c
from isthmus_methods.in_process import pool_in_process, summarise
from isthmus_methods.meta_analysis import MetaAnalysis
from isthmus_methods.parts.countries.random_effects import meta_analysis

HERE = Path(__file__).parent / "r_answers"
ANSWERS = json.loads((HERE / "estimates_answers.json").read_text(encoding="utf-8"))
COUNTRIES = ("AA", "BB", "CC", "DD", "EE", "FF")
VARIABLES = {
    v.name: v
    for v in (
        c.Variable("country", c.VariableType.FACTOR, levels=COUNTRIES, roles=frozenset({"COUNTRY"})),
        c.Variable("the arm", c.VariableType.FACTOR, levels=("control", "low dose", "high dose")),
        c.Variable("sex", c.VariableType.FACTOR, levels=("f", "m")),
        c.Variable("zone", c.VariableType.FACTOR, levels=("north", "east", "south", "west")),
        c.Variable("site", c.VariableType.FACTOR, levels=tuple(f"{k}{i}" for k in COUNTRIES for i in (1, 2))),
        *(
            c.Variable(name, c.VariableType.NUMERIC, may_be_missing=True)
            for name in ("base.line age", "twice", "shift", "sick", "falls", "days", "score", "kept", "log kept")
        ),
    )
}
METHOD = MetaAnalysis()


def term(text: str) -> c.Term:
    return c.Term(tuple(c.Ref(name) for name in text.split(":")))


def request(estimate: str, terms: tuple[str, ...], roles: Mapping[str, str], **options: c.Setting) -> c.Spec:
    return c.Spec(
        "meta_analysis",
        "main",
        VARIABLES,
        roles={role: (c.Ref(name),) for role, name in roles.items()},
        terms=tuple(term(text) for text in terms),
        options={"estimate": estimate, **options},
        countries=COUNTRIES,
    )


def rows_by_country() -> dict[str, Rows]:
    everyone = read_rows(HERE / "estimates.csv")
    everyone.columns["log kept"] = [repr(float(np.log(float(x)))) for x in everyone.columns["kept"]]
    seen: dict[str, int] = {}
    everyone.columns["site"] = []
    for country in everyone.columns["country"]:
        seen[country] = seen.get(country, 0) + 1
        everyone.columns["site"].append(f"{country}{1 + seen[country] % 2}")
    at = np.array(everyone.columns["country"])
    return {country: everyone.pick(np.flatnonzero(at == country).tolist()) for country in COUNTRIES}


def blocks_of(spec: c.Spec) -> dict[str, list[c.Block]]:
    return {country: [block_of(country, rows, spec, METHOD)] for country, rows in rows_by_country().items()}


def answer(spec: c.Spec) -> tuple[Any, tuple[str, ...]]:
    done, _ = pool_in_process(METHOD, blocks_of(spec), spec)
    return done.answer, done.caveats


AGE, ARM = "base.line age", "the arm"
REQUESTS = {
    "logistic": request("glm", (ARM, AGE), {"outcome": "sick"}, coefficient="the arm=high dose"),
    "covariate_runs_away": request("glm", (ARM, "sex"), {"outcome": "sick"}, coefficient="the arm=low dose"),
    "poisson": request(
        "glm",
        (ARM, AGE),
        {"outcome": "falls", "offset": "log kept"},
        family="poisson",
        link="log",
        coefficient="the arm=low dose",
    ),
    "quasipoisson": request("glm", (AGE, "zone"), {"outcome": "falls"}, family="quasipoisson", coefficient=AGE),
    "gamma": request(
        "glm",
        (ARM, AGE, f"{ARM}:{AGE}"),
        {"outcome": "days"},
        family="gamma",
        coefficient=f"the arm=high dose:{AGE}",
    ),
    "linear": request("linear_model", (ARM, AGE, "twice"), {"outcome": "score"}, coefficient="the arm=high dose"),
    "linear_age": request("linear_model", (AGE, "zone"), {"outcome": "score"}, coefficient="zone=west"),
    "intercept": request("linear_model", (AGE,), {"outcome": "score"}, coefficient="(Intercept)"),
    "shifted": request("linear_model", ("shift", AGE), {"outcome": "score"}, coefficient="shift"),
}
# What R gives and nobody should combine: a coefficient that runs away, no residual degree of freedom, and a model in
# which a constant column stops `lm` where other columns can go on.
RUNAWAY = {"logistic": {"EE"}, "poisson": {"EE", "FF"}, "quasipoisson": {"FF"}, "linear_age": {"FF"}}


@pytest.mark.parametrize("name", REQUESTS)
def test_each_country_estimates_what_r_does_on_its_rows(name: str) -> None:
    found, _ = answer(REQUESTS[name])
    theirs = {k: own for k, own in ANSWERS[name].items() if own["vi"] is not None and k not in RUNAWAY.get(name, ())}
    for country, own in theirs.items():
        mine = found["studies"][country]
        assert mine["yi"] == pytest.approx(own["yi"], rel=1e-9), country
        assert mine["vi"] == pytest.approx(own["vi"], rel=1e-9), country
    left_out = {country for country in COUNTRIES if country not in found["studies"]}
    assert left_out == set(found["left_out"])
    assert RUNAWAY.get(name, set()) <= left_out


def test_country_whose_effect_runs_away_is_left_out_and_named() -> None:
    found, caveats = answer(REQUESTS["logistic"])
    assert "EE" in found["left_out"]
    assert any(said.startswith("EE, FF: left out, the effect cannot be estimated") for said in caveats)


def test_covariate_that_runs_away_leaves_the_effect_and_is_said() -> None:
    found, caveats = answer(REQUESTS["covariate_runs_away"])
    assert found["studies"]["BB"]["yi"] == pytest.approx(ANSWERS["covariate_runs_away"]["BB"]["yi"], rel=1e-9)
    assert "BB, EE: other coefficients of the model may be infinite" in caveats
    # nobody is sick in FF: no effect can be told, though none moves
    assert "FF" in found["left_out"]


@pytest.mark.parametrize("name", REQUESTS)
def test_blocks_of_a_country_give_its_one_estimate(name: str) -> None:
    spec = REQUESTS[name]
    [block] = blocks_of(spec)["AA"]
    cut = np.split(np.random.default_rng(1).permutation(block.rows), [5, 70])
    whole, parts = (summarise(METHOD, blocks, spec, {}).items[-1] for blocks in ([block], split(block, cut)))
    np.testing.assert_allclose(parts.value, whole.value, rtol=1e-8)
    assert isinstance(whole.support, c.ModelSupport)
    assert isinstance(parts.support, c.ModelSupport)
    assert whole.support.persons == parts.support.persons == block.rows
    assert parts.support.leverage == pytest.approx(whole.support.leverage, rel=1e-9)


@pytest.mark.parametrize(("name", "counted", "size"), [("logistic", "outcomes", 2), ("gamma", "rows", 1)])
def test_only_the_chosen_coefficient_leaves(name: str, counted: str, size: int) -> None:
    spec = REQUESTS[name]
    summary = summarise(METHOD, blocks_of(spec)["AA"], spec, {})
    assert [(i.field, i.label, i.value.size) for i in summary.items] == [
        (counted, "", size),
        ("estimate", str(spec.options["coefficient"]), 2),
    ]


def test_outcome_that_the_family_does_not_have_is_refused() -> None:
    spec = request("glm", (AGE,), {"outcome": "falls"}, coefficient=AGE)
    with pytest.raises(MethodError) as caught:
        answer(spec)
    assert caught.value.code == "WRONG_OUTCOME"


def test_effect_against_another_reference_is_not_combined() -> None:
    # EE and FF have few rows; where nobody is in the reference arm, `low dose` would be compared with something else
    spec = request("linear_model", (ARM,), {"outcome": "score"}, coefficient="the arm=low dose")
    rows = rows_by_country()
    kept = [i for i, arm in enumerate(rows["BB"].columns[ARM]) if arm != "control"]
    rows["BB"] = rows["BB"].pick(kept)
    blocks = {country: [block_of(country, own, spec, METHOD)] for country, own in rows.items()}
    done, _ = pool_in_process(METHOD, blocks, spec)
    assert "BB" in done.answer["left_out"]  # type: ignore[operator]


def test_model_that_fits_every_row_says_nothing() -> None:
    spec = request("linear_model", (AGE,), {"outcome": "twice"}, coefficient=AGE)
    with pytest.raises(MethodError) as caught:
        answer(spec)
    assert caught.value.code == "NOT_ESTIMABLE"


# --------------------------------------------------------------------------- log odds ratio


def odds_ratio(**options: c.Setting) -> c.Spec:
    named = {"treated": "high dose", "control": "control", **options}
    return request("log_odds_ratio", (), {"row": ARM, "column": "sick"}, **named)


def test_log_odds_ratio_is_that_of_each_countrys_table() -> None:
    found, caveats = answer(odds_ratio())
    for country, rows in rows_by_country().items():
        cells = {
            (arm, sick): sum(
                (a, s) == (arm, sick) for a, s in zip(rows.columns[ARM], rows.columns["sick"], strict=True)
            )
            for arm in ("high dose", "control")
            for sick in "10"
        }
        a, b, e, f = (cells[arm, sick] for arm in ("high dose", "control") for sick in "10")
        if min(a, b, e, f) == 0:
            assert country in found["left_out"]
            continue
        assert found["studies"][country]["yi"] == pytest.approx(np.log(a * f / (b * e)), rel=1e-13)
        assert found["studies"][country]["vi"] == pytest.approx(1 / a + 1 / b + 1 / e + 1 / f, rel=1e-13)
        assert found["outcomes"][country] == {"n": a + b + e + f, "n_event": a + e}
    assert {"EE", "FF"} <= set(found["left_out"])
    assert any("an empty cell" in said for said in caveats)


def test_log_odds_ratio_rests_on_its_four_cells() -> None:
    spec = odds_ratio()
    [block] = blocks_of(spec)["BB"]
    twice = split(block, [np.arange(block.rows), np.arange(block.rows)])
    once, doubled = (summarise(METHOD, blocks, spec, {}).items[-1].support for blocks in ([block], twice))
    assert isinstance(once, c.ModelSupport)
    assert isinstance(doubled, c.ModelSupport)
    arm, sick = block.codes("row"), block.numbers("column")
    cells = [int(np.sum((arm == a) & (sick == s))) for a in (2, 0) for s in (1.0, 0.0)]
    assert list(once.level_persons.values()) == list(doubled.level_persons.values()) == cells


def test_log_odds_ratio_takes_a_level_as_its_event() -> None:
    spec = request(
        "log_odds_ratio",
        (),
        {"row": "sex", "column": ARM},
        treated="m",
        control="f",
        event_value="high dose",
    )
    found, _ = answer(spec)
    rows = rows_by_country()["AA"].columns
    pairs = list(zip(rows["sex"], rows[ARM], strict=True))
    a, e = (sum(s == sex and x == "high dose" for s, x in pairs) for sex in "mf")
    b, f = (sum(s == sex and x != "high dose" for s, x in pairs) for sex in "mf")
    assert found["studies"]["AA"]["yi"] == pytest.approx(np.log(a * f / (b * e)), rel=1e-13)


# --------------------------------------------------------------------------- studies that are no countries


def test_levels_within_countries_are_studies_of_their_own() -> None:
    spec = request("linear_model", (ARM,), {"outcome": "score", "by": "site"}, coefficient="the arm=high dose")
    found, _ = answer(spec)
    plain = request("linear_model", (ARM,), {"outcome": "score"}, coefficient="the arm=high dose")
    for site, own in found["studies"].items():
        rows = rows_by_country()[site[:2]]
        mine = rows.pick([i for i, at in enumerate(rows.columns["site"]) if at == site])
        done, _ = pool_in_process(METHOD, {"AA": [block_of("AA", mine, plain, METHOD)]}, plain)
        assert own["yi"] == pytest.approx(done.answer["studies"]["AA"]["yi"], rel=1e-12)  # type: ignore[call-overload,index]
    assert list(found["studies"])[:2] == ["AA1", "AA2"]
    assert found["countries"]["AA"] == ["AA1", "AA2"]
    assert set(found["left_out"]) | set(found["studies"]) == set(VARIABLES["site"].levels)


def test_country_as_the_studies_factor_is_the_country() -> None:
    spec = request("linear_model", (ARM,), {"outcome": "score", "by": "country"}, coefficient="the arm=high dose")
    plain = request("linear_model", (ARM,), {"outcome": "score"}, coefficient="the arm=high dose")
    assert answer(spec)[0]["REML"] == answer(plain)[0]["REML"]


def test_levels_over_countries_are_refused() -> None:
    spec = request("linear_model", (AGE,), {"outcome": "score", "by": "zone"}, coefficient=AGE)
    with pytest.raises(MethodError) as caught:
        answer(spec)
    assert caught.value.code == "STUDY_OVER_COUNTRIES"


# --------------------------------------------------------------------------- requests


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        (request("glm", (AGE,), {}), "MISSING_ROLE"),
        (request("glm", (AGE,), {"time": "days", "event": "sick"}), "MISSING_ROLE"),
        (request("linear_model", (AGE,), {"outcome": "score", "offset": "kept"}), "UNKNOWN_ROLE"),
        (request("log_odds_ratio", (AGE,), {"row": ARM, "column": "sick"}), "NO_TERMS"),
        (request("log_odds_ratio", (), {"row": ARM, "column": "sick"}, treated="high dose"), "MISSING_OPTION"),
        (odds_ratio(treated="medium"), "UNKNOWN_LEVEL"),
        (odds_ratio(event_value="yes"), "UNKNOWN_LEVEL"),
        (request("glm", (ARM,), {"outcome": "sick"}), "UNKNOWN_COEFFICIENT"),
        (request("glm", (AGE,), {"outcome": "sick"}, family="gamma", link="logit"), "WRONG_OPTION"),
    ],
)
def test_requests_that_do_not_fit_the_estimate_are_refused(spec: c.Spec, code: str) -> None:
    with pytest.raises(UsageError) as caught:
        answer(spec)
    assert caught.value.code == code


# --------------------------------------------------------------------------- combined

SETS = {
    "two": ([0.1, 0.9], [0.04, 0.09]),
    "wide": ([-3, 1, 4, 0.5, 2, -1], [0.01, 0.5, 0.02, 3, 0.1, 0.7]),
    "barely": ([0.1, 0.35, -0.2, 0.22, 0.05, 0.61], [0.02, 0.03, 0.05, 0.01, 0.04, 0.02]),
}


@pytest.mark.parametrize("name", SETS)
def test_models_agree_with_metafor(name: str) -> None:
    y, v = (np.array(x, dtype=float) for x in SETS[name])
    mine: Any = meta_analysis([str(k) for k in range(len(y))], y, v)
    for model, own in ANSWERS["combined"][name].items():
        # the root that `metafor` finds for Paule and Mandel is good to fewer figures
        rel = 1e-4 if model == "PM" else 1e-8
        assert {key: mine[model][key] for key in own} == pytest.approx(own, rel=rel), model
