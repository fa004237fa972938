"""What is asked outside a plan: cut points on a grid, and one answer to nobody and to a few.

Each attack is mounted with its rule left out, where it reads the victim's value, and with it. [n] is its number in the
project's catalogue.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isthmus.v1 import study_pb2
from isthmus_methods import contract as c
from isthmus_methods.registry import find
from isthmus_methods.rows import Cohorts, Cut
from isthmus_node.compute.cohorts import Place, listed_places
from isthmus_node.egress import unplanned
from isthmus_node.egress.policy import Policy
from isthmus_node.egress.thresholds import compiled_in
from tests.egress.country import AGE, FACTOR, LAB, NUMERIC, Country, is_, rows, spec, table

INTEGER = c.VariableType.INTEGER
VARIABLES = {
    "age": c.Variable("age", INTEGER, minimum=18.0, maximum=110.0),
    "lab": c.Variable("lab", NUMERIC, minimum=0.0, maximum=300.0),
    "weight": c.Variable("weight", NUMERIC, minimum=30.0, maximum=230.0, may_be_missing=True),
    "bare": c.Variable("bare", NUMERIC),
    "day": c.Variable("day", NUMERIC, minimum=0.0, maximum=400.0, grid=1.0),
    "died": c.Variable("died", INTEGER, minimum=0.0, maximum=1.0),
    "arm": c.Variable("arm", FACTOR, levels=("A", "B")),
    "sex": c.Variable("sex", FACTOR, levels=("F", "M")),
    "mark": c.Variable("mark", FACTOR, levels=("no", "yes")),
}
MARKED = is_("mark", "==", "yes")


def columns() -> dict[str, Any]:
    """The victim alone is marked."""
    found = rows()
    # nobody else lacks a weight either
    found["weight"][0] = 70.0
    draw = np.random.default_rng(4)
    return {
        **found,
        "bare": draw.normal(size=60),
        "day": np.r_[33.0, draw.integers(100, 400, 59)],
        "died": np.arange(60) % 2,
        "mark": np.r_[1, np.zeros(59, dtype=int)],
    }


def of(found: dict[str, Any]) -> Any:
    made = table(found, variables=VARIABLES)
    # whole numbers are numbers too
    made.numbers.update({name: np.asarray(found[name], np.float64) for name in ("age", "died")})
    return made


@pytest.fixture
def country(policy: Policy, tmp_path: Path) -> Country:
    return Country(policy, tmp_path, of(columns()), looks=True)


def table_of(where: c.Predicate | None, name: str = "sex", **more: Any) -> c.Spec:
    return spec("table_one", where, variables=VARIABLES, roles={"variables": (c.Ref(name),), **more})


def leave_out(monkeypatch: pytest.MonkeyPatch, *rules: str) -> None:
    for rule in rules:
        monkeypatch.setattr(unplanned, rule, lambda cohorts, limits: None)


# --------------------------------------------------------------------------- the grid


@pytest.mark.parametrize(
    ("variable", "most", "step"),
    [
        (c.Variable("age", INTEGER, minimum=18.0, maximum=110.0), 20, 5.0),
        (c.Variable("age", INTEGER, minimum=18.0, maximum=110.0), 10, 10.0),
        (c.Variable("score", INTEGER, minimum=0.0, maximum=5.0), 20, 1.0),
        (c.Variable("score", INTEGER, minimum=0.0, maximum=50.0), 20, 5.0),
        (c.Variable("bmi", NUMERIC, minimum=10.0, maximum=60.0), 20, 2.5),
        (c.Variable("lab", NUMERIC, minimum=0.0, maximum=300.0), 20, 20.0),
        (c.Variable("day", NUMERIC, minimum=0.0, maximum=420.0, grid=30.0), 20, 30.0),
        (c.Variable("day", NUMERIC, minimum=0.0, maximum=420.0, grid=7.0), 20, 25.0),
        (c.Variable("share", NUMERIC, minimum=0.0, maximum=0.02), 20, 0.001),
        (c.Variable("year", INTEGER, minimum=0.0, maximum=190.0), 20, 10.0),
        (c.Variable("bare", NUMERIC), 20, None),
        (c.Variable("bare", NUMERIC, minimum=3.0), 20, None),
        (c.Variable("one", NUMERIC, minimum=3.0, maximum=3.0), 20, None),
    ],
)
def test_grid_follows_from_range_and_policy_in_round_numbers(
    variable: c.Variable, most: int, step: float | None
) -> None:
    found = unplanned.step_of(variable, most)
    assert found == (None if step is None else pytest.approx(step))
    if found is not None and variable.grid is None:
        assert (variable.maximum or 0.0) - (variable.minimum or 0.0) <= most * found * (1 + 1e-9)


@pytest.mark.parametrize(
    ("where", "code"),
    [
        (is_("age", ">=", 65.0), ""),
        (is_("age", ">", 64.0), ""),
        (is_("age", "<=", 64.0), ""),
        (c.Not(is_("age", "<", 65.0)), ""),
        (is_("age", ">", 65.0), "CUT_POINT_OFF_GRID"),
        (is_("age", ">=", 66.0), "CUT_POINT_OFF_GRID"),
        (c.Membership("age", (64.0, 71.0)), "CUT_POINT_OFF_GRID"),
        (is_("bare", ">", 0.0), "CUT_POINT_OFF_GRID"),
        (is_("died", "==", 1.0), ""),
        (is_("sex", "==", "F"), ""),
        (c.Missing("weight", negated=True), ""),
    ],
)
def test_numbers_in_a_filter_lie_on_the_grid(where: c.Predicate, code: str, country: Country) -> None:
    assert country.codes(table_of(where)) == [code]


def test_refusal_off_the_grid_is_of_the_request_and_names_the_nearest_places(policy: Policy, tmp_path: Path) -> None:
    asked = table_of(is_("age", ">=", 66.0))
    few = Country(policy, tmp_path / "few", of({name: values[:7] for name, values in columns().items()}), looks=True)
    many = Country(policy, tmp_path / "many", of(columns()), looks=True)
    said = {country.bytes_for(asked, study_pb2.TRIAL_ANALYSIS) for country in (few, many)}
    assert len(said) == 1
    assert b"cut age at 65 or 70, with < or >=" in said.pop()


def halved(country: Country, where: Any, low: float, high: float, steps: int) -> float:
    """[18]: the least number below which everybody is, as the answers have it."""
    for _ in range(steps):
        middle = (low + high) / 2
        low, high = (low, middle) if country.codes(table_of(where(middle))) == [""] else (middle, high)
    return (low + high) / 2


def test_halving_of_a_cut_point_ends_at_the_grid(
    policy: Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """[18]: everybody was asked about already, so that a filter that leaves out nobody is answered."""

    def below(number: float) -> c.Predicate:
        return is_("lab", "<", number)

    guarded = Country(policy, tmp_path / "on", of(columns()), looks=True)
    assert guarded.codes(table_of(None)) == [""]
    assert halved(guarded, below, 100.0, 164.0, 9) == pytest.approx(164.0, abs=0.1)
    leave_out(monkeypatch, "cuts_are_on_grid", "sides_are_of_many")
    loose = Country(Policy.read("[purpose.trial_analysis]\ncut_points = 50"), tmp_path / "off", of(columns()))
    assert loose.codes(table_of(None)) == [""]
    assert halved(loose, below, 100.0, 164.0, 9) == pytest.approx(LAB, rel=0.01)


# --------------------------------------------------------------------------- nobody and a few


def test_nobody_and_a_few_are_answered_with_the_same_bytes(country: Country) -> None:
    """[38]: by levels, by a number, on either side of it, and as a column."""
    nobody, few = c.All((MARKED, is_("sex", "==", "M"))), c.All((MARKED, is_("arm", "==", "B")))
    victim_is = columns()["sex"][0]
    assert victim_is in (0, 1)
    asked = [
        table_of(MARKED),
        table_of(c.All((MARKED, is_("sex", "==", "F")))),
        table_of(c.All((MARKED, is_("sex", "==", "M")))),
        table_of(nobody),
        table_of(few),
        table_of(is_("age", ">=", 95.0)),
        table_of(is_("age", ">=", 100.0)),
        table_of(is_("age", "<", 95.0)),
        table_of(is_("age", "<", 100.0)),
        table_of(c.Membership("age", (100.0,))),
        *(
            table_of(None, arm=(c.Transform(c.Function.FACTOR, c.Indicator(is_("age", ">=", number))),))
            for number in (95.0, 100.0)
        ),
    ]
    said = {country.bytes_for(one, study_pb2.TRIAL_ANALYSIS) for one in asked}
    assert country.codes(asked[0]) == ["FEW_PERSONS"]
    assert len(said) == 1


def test_without_the_look_nobody_leaves_as_zeros(country: Country, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_out(monkeypatch, "sides_are_of_many")
    monkeypatch.setattr(Policy, "without_zeros", lambda self: self)
    found = country.ask(table_of(is_("age", ">=", 100.0)))
    assert isinstance(found, dict)
    assert not found["count", "sex"].any()
    assert isinstance(country.ask(table_of(is_("age", ">=", 95.0))), str)


def test_zero_of_a_table_is_withheld_where_somebody_chose_a_cut(
    country: Country, monkeypatch: pytest.MonkeyPatch
) -> None:
    """[38]: of a large cohort, is the marked one in it? Its place is told by halving."""

    def shown() -> list[bool]:
        asked = [table_of(is_("age", "<", number), "mark") for number in (65.0, 100.0)]
        return [("count", "mark") in found for one in asked if isinstance(found := country.ask(one), dict)]

    assert ("count", "mark") not in country.ask(table_of(None, "mark"))
    leave_out(monkeypatch, "sides_are_of_many")
    assert shown() == [False, False]
    monkeypatch.setattr(Policy, "without_zeros", lambda self: self)
    assert shown() == [True, False]


def test_products_of_two_columns_are_of_many_or_of_one_variable(country: Country) -> None:
    def of_two(*conditions: c.Predicate) -> c.Spec:
        return spec(
            "linear_model",
            variables=VARIABLES,
            roles={"outcome": (c.Ref("weight"),)},
            terms=tuple(c.Term((c.Indicator(one),)) for one in conditions),
        )

    # three groups of one variable have nobody in common, whoever is there
    assert country.codes(of_two(is_("age", "<", 50.0), is_("age", ">=", 65.0))) == [""]
    assert country.codes(of_two(is_("age", ">=", 65.0), is_("lab", ">=", 120.0))) == ["FEW_PERSONS"]
    assert country.codes(of_two(is_("age", ">=", 65.0), is_("lab", ">=", 100.0))) == [""]


def test_only_rows_with_all_values_count(policy: Policy, tmp_path: Path) -> None:
    """Beyond a cut are many who lack a value, and one who has it: they are nobody to the method."""
    found = columns()
    found["age"][1:11] = 101.0
    found["weight"][1:11] = np.nan
    asked = spec(
        "linear_model",
        is_("age", "<", 95.0),
        variables=VARIABLES,
        roles={"outcome": (c.Ref("weight"),)},
        terms=(c.Term((c.Ref("arm"),)),),
    )
    assert Country(policy, tmp_path, of(found), looks=True).codes(asked) == ["FEW_PERSONS"]


def test_landmark_cuts_as_a_filter_does(country: Country) -> None:
    def curve(landmark: float, time: c.Column) -> c.Spec:
        roles = {"time": (time,), "event": (c.Ref("died"),)}
        return spec("kaplan_meier", variables=VARIABLES, roles=roles, options={"landmark": landmark})

    assert country.codes(*(curve(day, c.Ref("day")) for day in (40.0, 20.0, 220.0, 33.0))) == [
        "FEW_PERSONS",
        "FEW_PERSONS",
        "",
        "CUT_POINT_OFF_GRID",
    ]
    in_weeks = c.Transform(c.Function.SCALE, c.Ref("day"), (7.0,))
    looked = list(listed_places([(curve(20.0, in_weeks), find("kaplan_meier"))]))
    assert looked == [("ADSL", "", 20.0)]


# --------------------------------------------------------------------------- what passes


def test_plan_is_asked_neither_and_what_it_lists_is_not_looked_at(policy: Policy, tmp_path: Path) -> None:
    country = Country(policy, tmp_path, of(columns()), looks=True, planned=True)
    old = table_of(is_("age", ">=", 99.0))
    assert country.codes(old, table_of(is_("age", ">=", 66.0))) == ["", ""]
    country.planned = False
    assert country.codes(old) == ["CUT_POINT_OFF_GRID"]
    country.listed = listed_places([(old, find("table_one"))])
    # a cohort of nobody is none outside a plan, wherever it was cut
    assert country.codes(old) == ["FEW_PERSONS"]
    listed: frozenset[Place] = frozenset({("ADSL", "age", 66.0)})
    country.listed = listed
    assert country.codes(table_of(is_("age", ">=", 66.0)), table_of(is_("age", "<", 66.0))) == ["", ""]


def test_cut_points_count_though_they_were_refused(tmp_path: Path) -> None:
    policy = Policy.read("[purpose.trial_analysis]\ncut_points = 3")
    variables = {**VARIABLES, "lab": c.Variable("lab", NUMERIC, minimum=0.0, maximum=300.0)}
    country = Country(policy, tmp_path, of(columns()), looks=True)

    def asked(number: float) -> c.Spec:
        return spec("table_one", is_("lab", "<", number), variables=variables, roles={"variables": (c.Ref("sex"),)})

    assert unplanned.step_of(variables["lab"], 3) == 100.0
    assert country.codes(asked(200.0), asked(300.0), asked(0.0)) == ["FEW_PERSONS"] * 3
    # the same again says nothing new, a fourth number does
    country.restart()
    assert country.codes(asked(200.0)) == ["FEW_PERSONS"]
    state = country.auditor._states["ADSL"][0]
    assert state.cut_points["lab"] == (0.0, 200.0, 300.0)
    assert country.codes(asked(-100.0), asked(100.0)) == ["FEW_PERSONS", "CUT_POINTS"]
    assert country.auditor._states["ADSL"][0].cut_points["lab"] == (0.0, 200.0, 300.0)


def test_exploring_on_the_grid_passes(country: Country) -> None:
    subgroups = [is_("age", ">=", 65.0), is_("age", "<", 65.0), is_("lab", "<", 100.0), is_("lab", ">=", 100.0)]
    for where in subgroups:
        assert country.codes(table_of(where), table_of(where, "lab", arm=(c.Ref("arm"),))) == ["", ""]
        assert country.codes(table_of(where)) == [""]  # as a later round asks


def test_purpose_without_a_table_is_refused_before_anything_else(country: Country) -> None:
    asked = table_of(MARKED)
    assert country.ask(asked, study_pb2.CLOSED_COMMITTEE) == "COMMITTEE_NEEDS_ENCRYPTION"


def test_events_are_cut_by_their_persons_and_are_no_cohort_of_their_own() -> None:
    persons = np.arange(12)
    of_none = np.zeros(12, dtype=np.bool_)
    few = Cut(VARIABLES["day"], 20.0, persons < 3, persons >= 3)
    many = Cut(VARIABLES["day"], 20.0, persons < 6, persons >= 6)
    limits = compiled_in(study_pb2.TRIAL_ANALYSIS)[0]

    def asked(*cuts: Cut) -> Cohorts:
        return Cohorts(
            "AE", "id", persons, lambda: (), b"", b"", lambda: np.zeros(0, dtype=np.uint64), of_none, of_none,
            cuts=cuts, is_of_events=True,
        )  # fmt: skip

    assert unplanned.sides_are_of_many(asked(many), limits) is None
    assert unplanned.sides_are_of_many(asked(many, few), limits) is not None


def test_victim_is_who_the_tests_are_about() -> None:
    found = columns()
    assert (found["age"][0], found["lab"][0]) == (AGE, LAB)
