"""Derived columns and choices of rows, written as conditions: the same rows, the same values."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance.case import Case, read_case
from conformance.columns import Columns, split_term
from conformance.study import resolution, study_toml, uses_of
from isthmus.v1 import study_pb2
from isthmus_client.formula import Dictionary, parse_filter
from isthmus_client.formula.columns import Columns as Parsed
from isthmus_client.formula.reader import read
from isthmus_client.proposal import study_from_toml
from isthmus_methods.contract import Indicator, Spec, column_name
from isthmus_node.compute.rows import evaluate, holds
from isthmus_node.sources import Source, read as read_rows, typed

ODD = 'b "x" `y`'
NAMES = ("country", "age.yrs", "my sex", "score", "word", "id")
ROWS: list[tuple[str, ...]] = [
    ("X", "60", "F", "1.5", ODD, "p1"),
    ("X", "", "M", "2.25", "a", "p2"),
    ("X", "71", "", "", "", "p3"),
    ("X", "65", "F", "0.5", "a", "p4"),
    ("X", "40", "M", "2.25", "c", "p4"),
]
STEP: dict[str, Any] = {
    "at": ["x"],
    "method": "glm",
    "table": "main",
    "subject": "id",
    "terms": ["old", "age.yrs"],
    "group": "word",
    "derive": [
        {"name": "old", "op": "indicator", "where": [{"var": "age.yrs", "op": ">=", "value": 65}]},
        {
            "name": "old woman",
            "op": "indicator",
            "where": [{"var": "old", "op": "==", "value": 1}, {"var": "my sex", "op": "==", "value": "F"}],
        },
        {"name": "not old", "op": "indicator", "where": [{"var": "old", "op": "!=", "value": 1}]},
        {"name": "known", "op": "indicator", "where": [{"var": "old", "op": "in", "value": [0, 1]}]},
        {"name": "never", "op": "indicator", "where": [{"var": "old woman", "op": ">", "value": 1}]},
    ],
}


@pytest.fixture
def case(tmp_path: Path) -> Case:
    (tmp_path / "data").mkdir()
    with (tmp_path / "data/X.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([NAMES, *ROWS])
    document = {
        "title": "t",
        "countries": [{"country": "X", "table": "main", "file": "data/X.csv", "rows": len(ROWS)}],
        "variables": {
            "age.yrs": {"type": "integer", "unit": "years"},
            "my sex": {"type": "factor", "levels": ["M", "F", "unused"]},
            "score": {"type": "numeric"},
            "word": {"type": "string"},
            "id": {"type": "string"},
            "country": {"type": "factor", "levels": ["X"]},
        },
        "plan": [STEP],
        "tolerances": [{"pattern": "check", "informational": True}],
    }
    (tmp_path / "case.json").write_text(json.dumps(document), encoding="utf-8")
    return read_case(tmp_path)


def study_of(case: Case) -> study_pb2.Study:
    path = case.folder / "study.toml"
    path.write_text(study_toml(case, "S", {"X": "n1"}), encoding="utf-8")
    key = bytes(32)
    return study_from_toml(
        path, [study_pb2.Participant(node="n1", country="X", identity_key=key, custodian_key=bytes(31) + b"1")]
    )


def values(case: Case, name: str) -> list[float | None]:
    """A derived column as a node computes it."""
    study = study_of(case)
    table = typed(read_rows(Source(str(case.folder / "data/X.csv"))), study.datasets[0], "X")
    dictionary = Dictionary.of(study.datasets[0])
    column = Parsed(dictionary).column(read(Columns(case, STEP).column(name)))
    found = evaluate(column, Spec("m", "D", dictionary.variables), table).values
    return [None if np.isnan(x) else float(x) for x in found]


def rows_kept(case: Case, *chosen: dict[str, Any]) -> list[int]:
    study = study_of(case)
    table = typed(read_rows(Source(str(case.folder / "data/X.csv"))), study.datasets[0], "X")
    text = Columns(case, STEP).filter(chosen)
    assert text is not None
    return [int(i) for i in np.flatnonzero(holds(parse_filter(text, Dictionary.of(study.datasets[0])), table))]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("old", [0, None, 1, 1, 0]),
        ("old woman", [0, None, None, 1, 0]),
        ("not old", [1, None, 0, 0, 1]),
        ("known", [1, None, 1, 1, 1]),
        ("never", [0, None, None, 0, 0]),
    ],
)
def test_derived_column_is_its_condition_and_missing_where_a_variable_is(
    name: str, expected: list[float | None], case: Case
) -> None:
    assert values(case, name) == expected


@pytest.mark.parametrize(
    ("op", "var", "value", "kept"),
    [
        ("==", "word", ODD, [0]),
        ("!=", "word", "a", [0, 4]),
        (">", "word", "a", [0, 4]),
        (">", "word", "zz", []),
        ("in", "word", ["a", "no such level"], [1, 3]),
        ("not_in", "word", ["a", "c"], [0]),
        ("==", "my sex", "unused", []),
        ("is_missing", "my sex", None, [2]),
        ("not_missing", "score", None, [0, 1, 3, 4]),
        ("in", "score", [1.5, 2.25], [0, 1, 4]),
        ("not_in", "score", [1.5], [1, 3, 4]),
        ("<=", "age.yrs", 60, [0, 4]),
        ("==", "old", 1, [2, 3]),
        ("==", "old", 0, [0, 4]),
        ("!=", "old woman", 1, [0, 4]),
        ("is_missing", "old woman", None, [1, 2]),
        ("not_missing", "old", None, [0, 2, 3, 4]),
    ],
)
def test_predicate_keeps_the_rows_that_a_plan_means(op: str, var: str, value: Any, kept: list[int], case: Case) -> None:
    assert rows_kept(case, {"var": var, "op": op, "value": value}) == kept


def test_predicates_are_joined_by_and(case: Case) -> None:
    chosen = ({"var": "old", "op": "==", "value": 0}, {"var": "word", "op": "!=", "value": "c"})
    assert rows_kept(case, *chosen) == [0]


def test_answers_name_derived_columns_by_what_the_plan_may_put_back(case: Case) -> None:
    columns = Columns(case, STEP)
    dictionary = Dictionary.of(study_of(case).datasets[0])
    names = columns.names(dictionary)
    written = Parsed(dictionary).column(read(columns.column("old woman")))
    assert isinstance(written, Indicator)
    assert names[column_name(written)] == "old woman"
    assert len(names) == len(STEP["derive"])


def test_dictionary_is_what_an_author_would_write_from_the_files(case: Case) -> None:
    dataset = study_of(case).datasets[0]
    variables = {v.name: v for v in dataset.variables}
    assert dataset.subject == "id"
    assert list(variables["word"].levels) == ["a", ODD, "c"]
    assert list(variables["my sex"].levels) == ["M", "F", "unused"]
    assert (variables["score"].grid, variables["score"].minimum, variables["score"].maximum) == (0.01, 0.5, 2.25)
    assert (variables["age.yrs"].grid, variables["age.yrs"].unit) == (1.0, "years")
    assert variables["age.yrs"].may_be_missing
    assert not variables["country"].may_be_missing
    assert uses_of(case).person == "id"


@pytest.mark.parametrize(
    ("cells", "step"),
    [(["1", "20"], "1"), (["1.50", "2"], "0.1"), (["1e-3"], "0.001"), (["1200"], "1"), ([], "1"), (["0.125"], "0.001")],
)
def test_resolution_is_that_of_the_text(cells: list[str], step: str) -> None:
    assert resolution(cells) == step


def test_terms_are_split_at_colons_between_names(case: Case) -> None:
    columns = Columns(case, STEP)
    assert split_term(columns, "age.yrs:my sex") == ["age.yrs", "my sex"]
    assert split_term(columns, "old woman") == ["old woman"]
    assert columns.term("age.yrs:my sex") == "age.yrs:`my sex`"


def test_clusters_with_rows_in_several_countries_have_levels(tmp_path: Path) -> None:
    rows = {"X": "score,site,ward,country\n1,1,a,X\n2,2,b,X\n", "Y": "score,site,ward,country\n3,2,c,Y\n4,3,d,Y\n"}
    for country, text in rows.items():
        (tmp_path / f"{country}.csv").write_text(text, encoding="utf-8")
    steps = [
        {
            "at": ["x", str(k)],
            "method": "linear_model",
            "table": "main",
            "outcome": "score",
            "terms": [],
            "cluster": name,
        }
        for k, name in enumerate(("site", "ward"))
    ]
    countries = [{"country": c, "table": "main", "file": f"{c}.csv"} for c in rows]
    document = {
        "countries": countries,
        "variables": {"score": {"type": "numeric"}, "site": {"type": "integer"}, "ward": {"type": "string"}},
        "plan": steps,
    }
    (tmp_path / "case.json").write_text(json.dumps(document), encoding="utf-8")
    case = read_case(tmp_path)
    assert [Columns(case, step).cluster(step["cluster"]) for step in case.plan] == ["factor(site)", "ward"]
    assert uses_of(case).units == {"ward"}
    assert '[dataset.variables."site"]\ntype = "integer"' in study_toml(case, "X", {"X": "n1", "Y": "n2"})
    assert 'levels = ["1", "2", "3"]' in study_toml(case, "X", {"X": "n1", "Y": "n2"})
