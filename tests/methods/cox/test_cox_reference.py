"""The Cox model stratified by country against R on the pooled file, every key of the reference's block."""

from __future__ import annotations

from typing import Any

import pytest

from isthmus_methods.cox import Cox
from isthmus_methods.in_process import pool_in_process

EVERYTHING: dict[str, Any] = {"concordance": True, "baseline": True, "zph": "both"}
CASES = [
    pytest.param(
        "p12_cox_lung",
        "cox",
        "",
        {"time": "time", "event": "status", "terms": ["age", "sex", "ph.ecog", "wt.loss"]},
        EVERYTHING,
        id="lung",
    ),
    pytest.param(
        "p12_cox_lung",
        "sex_only",
        "",
        {"time": "time", "event": "status", "terms": ["sex"]},
        {"concordance": True},
        id="lung-one-term",
    ),
    pytest.param(
        "p13_cox_rotterdam_gbsg",
        "cox",
        "",
        {
            "time": "rfstime",
            "event": "status",
            "terms": ["hormon", "age", "meno", "size", "grade", "nodes", "pgr", "er"],
        },
        {**EVERYTHING, "baseline_times": (365.0, 730.0, 1095.0, 1460.0, 1825.0, 2555.0)},
        id="breast-cancer",
    ),
    pytest.param(
        "p14_cox_ag_cgd",
        "cox",
        "id",
        {"start": "tstart", "time": "tstop", "event": "status", "terms": ["treat", "age", "inherit", "steroids"]},
        EVERYTHING,
        id="recurrent-infections",
    ),
]


@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize(("case", "at", "subject", "request_", "options"), CASES)
def test_cox_equals_r(
    case: str,
    at: str,
    subject: str,
    request_: dict[str, Any],
    options: dict[str, Any],
    ties: str,
    reference: Any,
    compare: Any,
) -> None:
    table = reference(case, subject)
    spec = table.spec(options={"ties": ties, **options}, **request_)
    done, rounds = pool_in_process(Cox(), table.blocks(spec), spec)
    assert compare(done.answer, table.expected[at][ties]["stratified_by_country"]) == []
    assert done.caveats == ()
    assert 5 <= rounds <= 7
    # 1e-10 of the distance at the start, in standard errors
    assert done.answer["gradient_norm"] <= 1e-10 * max(1.0, done.answer["score_test"]["statistic"] ** 0.5)


def test_cox_names_rows_left_out_by_country(reference: Any) -> None:
    table = reference("p12_cox_lung")
    spec = table.spec(["age", "sex", "ph.ecog", "wt.loss"], time="time", event="status")
    answer = pool_in_process(Cox(), table.blocks(spec), spec)[0].answer
    missing = {
        country: sum(
            any(cell == "" for cell in row) for row in zip(*(text[v] for v in ("ph.ecog", "wt.loss")), strict=True)
        )
        for country, text in table.countries.items()
    }
    assert answer["excluded"] == missing
    assert sum(missing.values()) == 228 - answer["n"]


def test_cox_counts_levels_and_says_where_one_is_absent(reference: Any) -> None:
    table = reference("p13_cox_rotterdam_gbsg")
    spec = table.spec(["grade", "age"], time="rfstime", event="status")
    answer = pool_in_process(Cox(), table.blocks(spec), spec)[0].answer
    cells = [x for text in table.countries.values() for x in text["grade"]]
    assert answer["levels"]["grade"] == {level: cells.count(level) for level in ("2", "1", "3")}
    assert any(note.startswith("NL, BE: no row has one of the levels") for note in answer["notes"])
