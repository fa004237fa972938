"""Attacks by several releases: each succeeds where the auditor is left out, and fails where it is there.

Judged on the values in the bytes that leave. [n] is the attack in the project's catalogue.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isthmus.v1 import study_pb2
from isthmus_methods import contract as c
from isthmus_node.egress.policy import Policy
from tests.egress.country import LAB, NUMERIC, VARIABLES, Country, is_, model, rows, spec, table

F, A = is_("sex", "==", "F"), is_("arm", "==", "A")
V, NOT_V = is_("age", ">=", 97.0), is_("age", "<", 97.0)


class Stopped(Exception):
    """A request was refused, by this code."""


def total(country: Country, where: c.Predicate | None = None, **more: Any) -> float:
    """The sum of the laboratory values of a cohort, from what left."""
    found = country.ask(model(where, **more))
    if isinstance(found, str):
        raise Stopped(found)
    return float(found["outcome_sum", ""][0])


def two_cohorts(country: Country) -> float:
    """[6]"""
    return total(country) - total(country, NOT_V)


def reworded(country: Country) -> float:
    """[6, 11]: the cohort without the victim in other words."""
    return total(country, c.Not(c.All((V, c.Missing("age", negated=True))))) - total(country) + 2 * (
        total(country) - total(country, c.Not(V))
    )  # fmt: skip


def tracker(country: Country) -> float:
    """[7]: no two of the cohorts are near each other."""
    return total(country, c.AnyOf((F, V))) + total(country, c.AnyOf((c.Not(F), V))) - total(country)


def tracker_of_five(country: Country) -> float:
    """[7]: one step more, so that no three cohorts suffice."""
    women, rest = c.AnyOf((F, V)), c.All((c.Not(F), NOT_V))
    return total(country, women) - (
        total(country) - total(country, c.All((rest, A))) - total(country, c.All((rest, c.Not(A))))
    ) + (total(country) - total(country, c.AnyOf((c.All((c.Not(F), NOT_V)), c.All((F, NOT_V))))))  # fmt: skip


def count_then_model(country: Country) -> float:
    """[8]: a table of everybody, then a model that leaves out the one person without a weight."""
    found = country.ask(spec("table_one", roles={"variables": (c.Ref("lab"),), "arm": (c.Ref("arm"),)}))
    if isinstance(found, str):
        raise Stopped(found)
    return float(found["sum", "lab"].sum()) - total(country, terms=(c.Ref("arm"), c.Ref("weight")))


def row_added(country: Country) -> float:
    """[9]: the same query before and after the victim's row came."""
    everybody = country.table
    columns = rows()
    country.table = table({name: values[1:] for name, values in columns.items()})
    before = total(country)
    country.table = everybody
    return total(country) - before


def value_corrected(country: Country) -> float:
    """[9]: the same query before and after the victim's value was put in."""
    columns = rows()
    columns["lab"][0] = 0.0
    everybody, country.table = country.table, table(columns)
    before = total(country)
    country.table = everybody
    return total(country) - before


def condition(country: Country) -> float:
    """[15]: groups made by a condition, and by one that leaves the victim out."""
    old = is_("age", ">", 60.0)
    found = []
    for condition in (old, c.All((old, NOT_V))):
        group = c.Transform(c.Function.FACTOR, c.Indicator(condition))
        answer = country.ask(spec("table_one", roles={"variables": (c.Ref("lab"),), "arm": (group,)}))
        if isinstance(answer, str):
            raise Stopped(answer)
        found.append(float(answer["sum", "lab"].ravel()[1]))
    return found[0] - found[1]


def row_of_several(country: Country) -> float:
    """[17]: persons have three visits each; the filter drops one visit of the victim."""
    columns = rows()
    many = {name: np.repeat(np.asarray(values), 3) for name, values in columns.items()}
    many["visit"] = np.tile([1.0, 2.0, 3.0], 60)
    many["lab"] = many["lab"] + np.tile([0.0, -20.0, -10.0], 60)
    many["lab"][1:3] = 100.0
    country.table = table(many)
    return total(country) - total(country, is_("lab", "<", 129.0))


ATTACKS = (
    two_cohorts,
    reworded,
    tracker,
    tracker_of_five,
    count_then_model,
    row_added,
    value_corrected,
    condition,
    row_of_several,
)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: a.__name__)
def test_releases_together_single_out_nobody(
    attack: Callable[[Country], float], policy: Policy, tmp_path: Path
) -> None:
    assert attack(Country(policy, tmp_path / "off", guarded=False)) == pytest.approx(LAB, rel=1e-6)
    guarded = Country(policy, tmp_path / "on")
    with pytest.raises(Stopped, match="DIFFERENCING"):
        attack(guarded)


def test_planned_analyses_are_held_apart_by_their_filters(policy: Policy, tmp_path: Path) -> None:
    for number, attack in enumerate((two_cohorts, tracker, row_added, value_corrected)):
        with pytest.raises(Stopped, match="DIFFERENCING"):
            attack(Country(policy, tmp_path / str(number), planned=True))


def test_what_a_plan_leaves_out_for_missing_values_is_the_plans(policy: Policy, tmp_path: Path) -> None:
    # said in the documentation: whoever approves a plan approves this too; a policy may say no to it
    assert count_then_model(Country(policy, tmp_path / "a", planned=True)) == pytest.approx(LAB, rel=1e-6)
    strict = Policy.read("[purpose.trial_analysis]\nplan_covers_missing = false")
    with pytest.raises(Stopped, match="DIFFERENCING"):
        count_then_model(Country(strict, tmp_path / "b", planned=True))
    # nobody outside the plan comes near what a plan has left out
    country = Country(policy, tmp_path / "c", planned=True)
    weights = (c.Ref("arm"), c.Ref("weight"))
    total(country, c.All((F, is_("lab", "<", 1000.0))), terms=weights)
    country.planned = False
    present = c.Missing("weight", negated=True)
    assert country.codes(model(c.All((F, present)), terms=weights)) == [""]
    youngest = float(country.table.numbers["age"][country.table.codes["sex"] == 0].min())
    assert country.codes(model(c.All((F, present, is_("age", ">", youngest))))) == ["DIFFERENCING"]


def test_product_of_two_columns_is_a_cohort(policy: Policy, tmp_path: Path) -> None:
    """[15]: each condition holds for many persons, both of them for the victim alone."""
    columns = rows()
    columns["visit"] = np.where(np.arange(60) < 30, 1.0, 2.0)
    columns["weight"] = np.where((np.arange(60) >= 45) | (np.arange(60) == 0), 80.0, 60.0)
    of = table(columns)
    both = tuple(
        c.Indicator(is_(name, operator, x)) for name, operator, x in (("visit", "<", 2.0), ("weight", ">", 70.0))
    )
    asked = model(terms=both)
    assert not isinstance(Country(policy, tmp_path / "off", of, guarded=False).ask(asked), str)
    on = Country(policy, tmp_path / "on", of)
    assert on.codes(asked, model(terms=both[:1]), model(terms=both[1:])) == ["DIFFERENCING", "", ""]


def test_bisection_of_a_cut_point_ends_at_few_persons(policy: Policy, tmp_path: Path) -> None:
    """[18]"""

    def bisect(country: Country) -> tuple[float, int]:
        """Where the largest but four of the laboratory values lies, and how many questions were answered."""
        low, high, answered = 90.0, 140.0, 0
        for _ in range(40):
            middle = (low + high) / 2
            found = country.ask(model(is_("lab", ">", middle), terms=()))
            if isinstance(found, str) and found in ("DIFFERENCING", "CUT_POINTS"):
                break
            answered += 1
            enough = not isinstance(found, str) and int(found["rows", ""][0]) >= 6
            low, high = (middle, high) if enough else (low, middle)
        return (low + high) / 2, answered

    truth = float(np.sort(rows()["lab"])[-6])
    off, _ = bisect(Country(policy, tmp_path / "off", guarded=False))
    assert off == pytest.approx(truth, abs=1e-6)
    on, answered = bisect(Country(policy, tmp_path / "on"))
    assert abs(on - truth) > 0.05
    assert answered < 12


def test_shifted_bins_are_refused(policy: Policy, tmp_path: Path) -> None:
    """[20]: counts at cut points a year apart show who has which age."""

    def counts(country: Country) -> list[Any]:
        cuts = [c.Transform(c.Function.FACTOR, c.Indicator(is_("age", "<", x))) for x in (60.0, 61.0)]
        asked = [spec("crosstab", roles={"row": (c.Ref("arm"),), "column": (cut,)}) for cut in cuts]
        return [country.ask(one) for one in asked]

    first, second = counts(Country(policy, tmp_path / "off", guarded=False))
    apart = int(second["table", ""][:, 1].sum() - first["table", ""][:, 1].sum())
    assert apart == np.count_nonzero(rows()["age"] == 60) < 5
    first, second = counts(Country(policy, tmp_path / "on"))
    assert not isinstance(first, str)
    assert second == "DIFFERENCING"


@pytest.mark.parametrize(
    ("where", "code"),
    [
        (
            c.All((c.AnyOf((c.All((F, c.AnyOf((A, V)))), is_("lab", "<", 200.0))), is_("visit", "==", 1.0))),
            "FILTER_TOO_DEEP",
        ),
        (
            c.All((F, is_("age", "<", 90.0), is_("grade", "!=", "1"), is_("centre", "==", "N"))),
            "QUASI_IDENTIFIERS",
        ),
    ],
)
def test_conjunctions_that_describe_a_person_are_refused(
    where: c.Predicate, code: str, policy: Policy, tmp_path: Path
) -> None:
    """[33]"""
    assert Country(policy, tmp_path / "off", guarded=False).ask(model(where, terms=())) != code
    assert Country(policy, tmp_path / "on").ask(model(where, terms=())) == code


def test_cut_points_of_a_dataset_are_counted_over_all_requests(tmp_path: Path) -> None:
    policy = Policy.read("[purpose.trial_analysis]\ncut_points = 2")
    country = Country(policy, tmp_path)
    below = [model(is_("lab", "<", x), terms=()) for x in (97.0, 103.0)]
    assert country.codes(*below, model(is_("lab", ">=", 103.0), terms=())) == ["", "", ""]
    assert country.codes(model(is_("lab", ">", 100.0), terms=())) == ["CUT_POINTS"]
    country.restart()
    assert country.codes(model(is_("lab", ">", 100.0), terms=()), below[0]) == ["CUT_POINTS", ""]


def test_independent_cohorts_are_bounded_outside_a_plan(policy: Policy, tmp_path: Path) -> None:
    draw = np.random.default_rng(3)
    variables = {f"f{n}": c.Variable(f"f{n}", NUMERIC) for n in range(40)}
    columns = {**rows(200), **{name: draw.integers(0, 2, 200) for name in variables}}
    columns["age"][0] = 60.0
    known = {**VARIABLES, **variables}
    asked = [model(is_(name, "==", 1.0), terms=(), variables=known) for name in variables]
    country = Country(policy, tmp_path / "a", table(columns, variables=known))
    codes = country.codes(*asked)
    assert codes[:20] == [""] * 20
    assert set(codes[20:]) == {"TOO_MANY_COHORTS"}
    assert Country(policy, tmp_path / "b", table(columns, variables=known), planned=True).codes(*asked) == [""] * 40


def test_cell_by_subtraction_over_two_releases_is_refused(policy: Policy, tmp_path: Path) -> None:
    """[3]: three women of grade 3 are not shown; all persons of grade 3 less the men are."""
    columns = rows()
    columns["sex"][:] = np.arange(60) % 2
    columns["grade"][:] = np.where(np.arange(60) % 4 < 2, 0, 1)
    columns["grade"][[2, 4, 6]] = 2
    columns["grade"][[3, 5, 7, 9, 11, 13, 15]] = 2
    of = table(columns)
    asked = [model(where, terms=(c.Ref("grade"),)) for where in (None, is_("sex", "==", "M"))]
    off = Country(policy, tmp_path / "off", of, guarded=False)
    everybody, men = (off.ask(one) for one in asked)
    assert everybody["levels", "grade"][2] - men["levels", "grade"][2] == 3  # type: ignore[index]
    assert Country(policy, tmp_path / "on", of).codes(*asked) == ["", "DIFFERENCING"]


def test_equal_cohorts_are_counted_once_however_they_are_written(policy: Policy, tmp_path: Path) -> None:
    """[11]"""
    country = Country(policy, tmp_path)
    old = is_("age", ">", 60.0)
    same = (
        c.All((old, F)),
        c.All((F, old)),
        c.Not(c.AnyOf((c.Not(F), is_("age", "<=", 60.0)))),
        c.All((c.Membership("sex", ("F",)), c.Not(c.Not(old)), F)),
        c.All((c.Membership("sex", ("M",), negated=True), old)),
    )
    assert country.codes(*(model(where) for where in same)) == [""] * 5
    assert len(country.journal.records) == 1


def test_column_that_is_one_for_few_persons_is_refused(policy: Policy, tmp_path: Path) -> None:
    """[15]: products with it are sums over these few."""
    few = model(terms=(c.Indicator(is_("lab", ">", float(np.sort(rows()["lab"])[-4]))),))
    found = Country(policy, tmp_path / "off", guarded=False).ask(few)
    assert found["sums", ""][1] == pytest.approx(3)  # type: ignore[call-overload]
    assert Country(policy, tmp_path / "on").ask(few) == "DIFFERENCING"


@pytest.mark.parametrize("purpose", [study_pb2.PUBLICATION, study_pb2.TRIAL_ANALYSIS])
def test_purposes_share_what_was_released(purpose: int, policy: Policy, tmp_path: Path) -> None:
    country = Country(policy, tmp_path)
    first = country.ask(model(), study_pb2.TRIAL_ANALYSIS)
    assert not isinstance(first, str)
    assert country.ask(model(NOT_V), purpose) == "DIFFERENCING"


def test_country_without_rows_and_cohort_without_persons_leave_nothing_to_hold_apart(
    policy: Policy, tmp_path: Path
) -> None:
    empty = {name: values[:0] for name, values in rows().items()}
    assert Country(policy, tmp_path / "a", table(empty)).codes(model()) == [""]
    assert Country(policy, tmp_path / "b").codes(model(is_("age", ">", 200.0)), model()) == ["", ""]


def test_nothing_of_a_refused_request_counts_as_released(policy: Policy, tmp_path: Path) -> None:
    country = Country(policy, tmp_path)
    assert country.codes(model(), model(NOT_V)) == ["", "DIFFERENCING"]
    assert country.journal.records[1].words.endswith("before: a new cut point")
    assert len(country.auditor._states["ADSL"][0].cohorts) == 1
    # the state that a refusal leaves is the one before it: the other way round it would have been the first one
    other = Country(policy, tmp_path / "other")
    assert other.codes(model(NOT_V), model()) == ["", "DIFFERENCING"]


# --------------------------------------------------------------------------- conditions on events


def test_cut_through_a_measurement_is_no_event(policy: Policy, tmp_path: Path) -> None:
    """[22]: a curve of the one person whose value is above a number shows his day."""
    variables = {**VARIABLES, "day": c.Variable("day", NUMERIC, minimum=0.0, maximum=400.0, grid=1.0)}
    variables["status"] = c.Variable("status", c.VariableType.FACTOR, levels=("no", "yes"))
    columns = {**rows(), "day": np.where(np.arange(60) == 0, 33.0, 365.0), "status": np.r_[1, 1, 1, np.zeros(57, int)]}
    of = table(columns, variables=variables)

    def curve(condition: c.Predicate) -> c.Spec:
        roles = {"time": (c.Ref("day"),), "event": (c.Indicator(condition),)}
        return spec("kaplan_meier", roles=roles, variables=variables)

    selected = curve(is_("lab", ">", 129.0))
    found = Country(policy, tmp_path / "off", of, guarded=False).ask(selected)
    assert not isinstance(found, str)
    assert np.flatnonzero(found["table", "overall"][0]).tolist() == [33]
    guarded = Country(policy, tmp_path / "on", of)
    # three events by the status that the dictionary has are a trial's ordinary curve
    assert guarded.codes(selected, curve(is_("status", "==", "yes"))) == ["DIFFERENCING", ""]


def adverse(day: float | None = None) -> c.Spec:
    """Adverse events by class, up to a day."""
    variables = {
        "class": c.Variable("class", c.VariableType.FACTOR, levels=("skin", "gut")),
        "day": c.Variable("day", NUMERIC),
    }
    events = c.Spec(
        "safety", "ADAE", variables, "name", None if day is None else is_("day", "<=", day),
        {"group_term": (c.Ref("class"),)},
    )  # fmt: skip
    return spec("safety", roles={"arm": (c.Ref("arm"),), "exposure": (c.Ref("age"),)}, events=events)


def adverse_events() -> dict[str, Any]:
    """Two events of each of forty persons; on day 100 only the victim's second one is added to those before."""
    who = np.repeat(np.arange(40), 2)
    day = np.tile([10.0, 200.0], 40)
    day[1] = 100.0
    return {"name": [f"01-{n:04d}" for n in who], "class": who % 2, "day": day}


def test_events_of_a_second_dataset_are_held_apart_too(policy: Policy, tmp_path: Path) -> None:
    asked = [adverse(day) for day in (50.0, 150.0)]
    of = table(adverse_events(), "ADAE", asked[0].events.variables)  # type: ignore[union-attr]

    def answers(country: Country) -> list[Any]:
        country.events = of
        return [country.ask(one) for one in asked]

    first, second = answers(Country(policy, tmp_path / "off", guarded=False))
    assert second["events", "sets"].sum() - first["events", "sets"].sum() == 1
    first, second = answers(Country(policy, tmp_path / "on"))
    assert not isinstance(first, str)
    assert second == "DIFFERENCING"
    # which events a table is about is read with the plan
    assert not any(isinstance(answer, str) for answer in answers(Country(policy, tmp_path / "plan", planned=True)))


def test_persons_are_known_by_one_variable_in_all_studies(policy: Policy, tmp_path: Path) -> None:
    country = Country(policy, tmp_path)
    assert country.ask(model(subject="USUBJID")) != "SUBJECT_CHANGED"
    assert country.codes(model(NOT_V, subject=""), model(NOT_V, subject="USUBJID")) == [
        "SUBJECT_CHANGED",
        "DIFFERENCING",
    ]
