"""The Cox model against R on rows made for it: strata, ties, delayed entry, clusters, aliased terms, odd countries."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cox_r_rows import VARIABLES, as_ours

from isthmus_methods import contract as c
from isthmus_methods.cox import Cox
from isthmus_methods.in_process import pool_in_process

HERE = Path(__file__).parents[1] / "r_answers"
ANSWERS = json.loads((HERE / "cox_answers.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def tables(table_of_rows: Callable[..., Any]) -> Callable[[str, str], Any]:
    return lambda name, subject="": table_of_rows(HERE / f"cox_{name}.csv", VARIABLES, subject)


def fit(spec: c.Spec, table: Any) -> c.Done:
    return pool_in_process(Cox(), table.blocks(spec), spec)[0]


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_strata_ties_and_clusters_equal_r(ties: str, tables: Any, compare: Any) -> None:
    table = tables("ties")
    options = {"ties": ties, "baseline": True, "concordance": True, "zph": "both"}
    spec = table.spec(["arm", "age", "marker"], strata=["sex"], cluster="site", options=options)
    done = fit(spec, table)
    theirs = ANSWERS["ties"][ties]
    assert compare(done.answer, as_ours(theirs)) == []
    hazards = done.answer["baseline_cumulative_hazard_at_x0"]
    ours = {
        f"{country}, {s.removeprefix('sex=')}": curve for country in hazards for s, curve in hazards[country].items()
    }
    assert compare(ours, {k: v for k, v in theirs["baseline"].items() if v["time"]}) == []
    assert done.answer["robust"]["cluster"] == "site"


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_robust_without_cluster_takes_each_person(ties: str, tables: Any, compare: Any) -> None:
    table = tables("ties")
    spec = table.spec(["arm", "age", "marker"], strata=["sex"], options={"ties": ties, "robust": True})
    theirs = {**ANSWERS["ties"][ties], "robust": ANSWERS["ties"][ties]["each_row"]}
    del theirs["concordance"], theirs["cox_zph"]
    assert compare(fit(spec, table).answer, as_ours(theirs)) == []


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_delayed_entry_and_repeated_rows_equal_r(ties: str, tables: Any, compare: Any) -> None:
    table = tables("entry", "id")
    options = {"ties": ties, "concordance": True, "zph": "identity", "robust": True}
    spec = table.spec(["arm", "age", "sex", "dose"], start="start", options=options)
    assert compare(fit(spec, table).answer, as_ours(ANSWERS["entry"][ties])) == []


def test_aliased_terms_are_null_as_in_r(tables: Any, compare: Any) -> None:
    table = tables("alias")
    spec = table.spec(["stage", "age", "marker", "sum", "region", "arm", "sex", "arm:sex"])
    answer = fit(spec, table).answer
    assert compare(answer, as_ours(ANSWERS["alias"]["efron"])) == []
    assert answer["aliased"] == ["sum", "region", "arm=high:sex=m"]
    assert "stage=I" not in answer["coef"]
    assert "stage=II" not in answer["coef"]  # the reference once no row has stage I


def test_odd_countries_add_what_they_have(tables: Any, compare: Any) -> None:
    table = tables("edges")
    spec = table.spec(["arm", "age", "sex"])
    done = fit(spec, table)
    assert compare(done.answer, as_ours(ANSWERS["edges"]["efron"])) == []
    assert done.caveats == ()
    said = " ".join(done.answer["notes"])
    assert "EE: no complete rows" in said
    assert "BB: no events" in said or "BB, DD: no events" in said
    assert done.answer["excluded"]["AA"] == 0
    assert "EE" not in done.answer["excluded"]  # none of its rows is complete; how many there are is not known


def test_separation_is_said_as_coxph_says_it(tables: Any, compare: Any) -> None:
    table = tables("edges")
    done = fit(table.spec(["arm", "exposed"]), table)
    theirs = ANSWERS["edges"]["separated"]
    assert "Loglik converged before variable" in ANSWERS["edges"]["warning"]
    assert any("converged before exposed" in said for said in done.caveats)
    assert done.answer["converged"] is False
    assert done.answer["coef"]["exposed"]["estimate"] < -10
    # the likelihood is flat: where along it one stops is a matter of the stopping rule, the rest is not
    assert done.answer["loglik"] == pytest.approx(theirs["loglik"], rel=1e-7)
    for name in ("arm=low", "arm=high"):
        assert done.answer["coef"][name]["estimate"] == pytest.approx(theirs["estimate"][name], rel=1e-6)
