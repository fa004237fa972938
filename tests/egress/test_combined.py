"""Cells of three factors that follow from tables of two [3]: told without the rule, refused with it."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import Bounds, LinearConstraint, milp

from isthmus_methods import contract as c
from isthmus_node.egress import auditor, combined_rules
from isthmus_node.egress.policy import Policy
from tests.egress.country import FACTOR, NUMERIC, Country, is_, spec, table

# Persons by the levels of three factors: one of (1, 1, 1), and every table of two has large cells or empty ones.
PERSONS = {(0, 1, 1): 14, (1, 0, 1): 9, (1, 1, 0): 12, (0, 1, 0): 12, (1, 0, 0): 12, (1, 1, 1): 1}
VARIABLES = {
    **{name: c.Variable(name, FACTOR, levels=("0", "1")) for name in "uvw"},
    "two": c.Variable("two", c.VariableType.INTEGER, minimum=0.0, maximum=1.0),
    "x": c.Variable("x", NUMERIC),
}
U, V, W, TWO = (c.Ref(name) for name in ("u", "v", "w", "two"))


def columns(cells: dict[tuple[int, int, int], int] = PERSONS) -> dict[str, Any]:
    every = np.array([cell for cell, persons in cells.items() for _ in range(persons)])
    return {
        **{name: every[:, k] for k, name in enumerate("uvw")},
        "two": every[:, 2],
        "x": np.random.default_rng(1).normal(size=len(every)),
        "name": [f"P{n}" for n in range(len(every))],
    }


def of(found: dict[str, Any]) -> Any:
    made = table(found, variables=VARIABLES)
    made.numbers["two"] = np.asarray(found["two"], np.float64)
    return made


@pytest.fixture
def country(policy: Policy, tmp_path: Path) -> Country:
    return Country(policy, tmp_path, of(columns()))


def crosstab(row: c.Column, column: c.Column, where: c.Predicate | None = None) -> c.Spec:
    return spec("crosstab", where, variables=VARIABLES, roles={"row": (row,), "column": (column,)})


def table_one(variable: c.Column, arm: c.Column) -> c.Spec:
    return spec("table_one", variables=VARIABLES, roles={"variables": (variable,), "arm": (arm,)})


def model(*terms: c.Column) -> c.Spec:
    roles = {"outcome": (c.Ref("x"),)}
    return spec("linear_model", variables=VARIABLES, roles=roles, terms=tuple(c.Term((one,)) for one in terms))


def bounds(cells: Any, place: tuple[int, ...]) -> tuple[int, int]:
    """The least and the largest number in a cell, of all tables with the same sums in every two directions."""
    sums = []
    for axis in range(3):
        for at in np.ndindex(*np.delete(cells.shape, axis)):
            mask = np.zeros(cells.shape)
            mask[tuple(np.insert(np.array(at, dtype=object), axis, slice(None)))] = 1.0
            sums.append(mask.ravel())
    matrix = np.array(sums)
    aim = np.zeros(cells.shape)
    aim[place] = 1.0
    held = LinearConstraint(matrix, matrix @ cells.ravel(), matrix @ cells.ravel())
    found = [
        milp(sign * aim.ravel(), constraints=held, bounds=Bounds(0, np.inf), integrality=np.ones(cells.size)).fun
        for sign in (1, -1)
    ]
    return round(found[0]), round(-found[1])


def told(country: Country) -> int | str:
    """How many are in the cell of three, from three tables; or the code of the refusal."""
    found = {}
    for row, column in itertools.combinations((U, V, W), 2):
        answer = country.ask(crosstab(row, column))
        if isinstance(answer, str):
            return answer
        found[row.variable, column.variable] = answer["table", ""]
    any_table = np.zeros((2, 2, 2), dtype=np.int64)
    for cell in itertools.product((0, 1), repeat=3):
        any_table[cell] = PERSONS.get(cell, 0)
    # only the sums are used of it, and these are what left
    assert (any_table.sum(axis=2) == found["u", "v"]).all()
    assert (any_table.sum(axis=0) == found["v", "w"]).all()
    low, high = bounds(any_table, (1, 1, 1))
    return low if low == high else "not told"


def test_cell_of_three_factors_is_told_by_tables_of_two_and_refused(
    policy: Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert told(Country(policy, tmp_path / "on", of(columns()))) == "DIFFERENCING"
    monkeypatch.setattr(auditor.combined_rules, "triples_are_loose", lambda question, released, limits: released)
    assert told(Country(policy, tmp_path / "off", of(columns()))) == 1


@pytest.mark.parametrize(
    "last",
    [
        crosstab(V, W),
        table_one(V, W),
        table_one(W, V),
        model(V, W),
        # in other words: a condition on one factor, a number that is 0 or 1
        crosstab(V, c.Transform(c.Function.FACTOR, c.Indicator(is_("w", "==", "1")))),
        model(V, c.Indicator(is_("w", "==", "1"))),
        model(V, c.Transform(c.Function.CENTRE, c.Indicator(is_("w", "==", "1")), (0.5,))),
    ],
)
def test_whichever_method_closes_the_triangle_is_refused_over_a_restart(last: c.Spec, country: Country) -> None:
    assert country.codes(crosstab(U, V), table_one(U, W)) == ["", ""]
    country.restart()
    assert country.codes(last) == ["DIFFERENCING"]
    # what was shown already is answered again, and tables of other factors too
    assert country.codes(crosstab(V, U), crosstab(W, U), crosstab(U, TWO)) == ["", "", ""]


def test_one_request_that_closes_it_alone_is_refused(country: Country) -> None:
    assert country.codes(model(U, V, W)) == ["DIFFERENCING"]
    both = spec("table_one", variables=VARIABLES, roles={"variables": (U, V), "arm": (W,)})
    # the variables of such a table are not crossed with one another
    assert country.codes(both, crosstab(U, V)) == ["", "DIFFERENCING"]


def test_condition_over_several_factors_is_a_factor_of_its_own(country: Country) -> None:
    either = c.Transform(c.Function.FACTOR, c.Indicator(c.AnyOf((is_("u", "==", "1"), is_("v", "==", "0")))))
    assert country.codes(crosstab(either, W), crosstab(either, V), crosstab(V, W)) == ["", "", "DIFFERENCING"]


def test_a_number_of_two_values_is_a_factor(country: Country) -> None:
    assert country.codes(crosstab(U, V), model(U, TWO), model(V, TWO)) == ["", "", "DIFFERENCING"]


def test_factor_that_the_study_does_not_have_lets_nobody_say_that_it_is_loose(country: Country) -> None:
    assert country.codes(crosstab(U, V), crosstab(U, W)) == ["", ""]
    fewer = {name: variable for name, variable in VARIABLES.items() if name != "u"}
    asked = spec("crosstab", variables=fewer, roles={"row": (V,), "column": (W,)})
    assert country.codes(asked) == ["DIFFERENCING"]


def test_tables_of_different_cohorts_are_not_held_together(country: Country) -> None:
    first = is_("x", "<", 0.0)
    assert country.codes(crosstab(U, V), crosstab(U, W)) == ["", ""]
    found = country.codes(crosstab(V, W, first))
    assert found in ([""], ["SMALL_CELL"])


def test_plan_is_read_by_whoever_approves_it_and_counts_for_all_others(policy: Policy, tmp_path: Path) -> None:
    country = Country(policy, tmp_path, of(columns()), planned=True)
    assert country.codes(crosstab(U, V), crosstab(U, W)) == ["", ""]
    country.planned = False
    assert country.codes(crosstab(V, W)) == ["DIFFERENCING"]
    country.planned = True
    assert country.codes(crosstab(V, W)) == [""]


def test_loose_tables_pass(policy: Policy, tmp_path: Path) -> None:
    """A cell of two that may as well be empty, with the same tables of two, is told by none of them."""
    cells = dict.fromkeys(itertools.product((0, 1), repeat=3), 12) | {(1, 1, 1): 2}
    country = Country(policy, tmp_path, of(columns(cells)))
    assert country.codes(crosstab(U, V), crosstab(U, W), crosstab(V, W)) == ["", "", ""]
    assert country.codes(model(U, V, W)) == [""]


def test_where_zeros_are_not_shown_an_empty_cell_is_told_as_a_small_one_is() -> None:
    cells = np.full((2, 2, 2), 20)
    cells[1, 1, 1] = 3
    assert not combined_rules.is_fixed(cells, 11, True)
    assert not combined_rules.is_fixed(cells, 11, False)
    cells[0, 0, 0], cells[0, 0, 1] = 6, 6
    # it may be empty, and cannot reach eleven
    assert not combined_rules.is_fixed(cells, 8, True)
    assert not combined_rules.is_fixed(cells, 9, False)
    assert combined_rules.is_fixed(cells, 11, False)


@settings(max_examples=60, deadline=None)
@given(
    cells=st.tuples(*(st.integers(1, 3),) * 3).flatmap(
        lambda shape: arrays(np.int64, shape, elements=st.sampled_from([0, 0, 1, 2, 3, 5, 9]))
    ),
    zeros_shown=st.booleans(),
)
def test_no_cell_that_is_told_passes(cells: Any, zeros_shown: bool) -> None:
    """Against integer programming: what the rule calls loose can be empty, or of k persons, in another table."""
    fewest = 4
    if combined_rules.is_fixed(cells, fewest, zeros_shown):
        return
    for place in np.ndindex(*cells.shape):
        low, high = bounds(cells, place)
        if 0 < cells[place] < fewest:
            assert high >= fewest or (low == 0 and zeros_shown)


def test_persons_are_counted_and_not_their_rows(policy: Policy, tmp_path: Path) -> None:
    found = {name: np.tile(np.asarray(values), 2) for name, values in columns().items()}
    country = Country(policy, tmp_path, of(found))
    assert country.codes(crosstab(U, V), crosstab(U, W), crosstab(V, W)) == ["", "", "DIFFERENCING"]
