"""Filters and columns equal a plain evaluator that takes one row at a time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from isthmus_methods import contract as c
from isthmus_node.compute.rows import evaluate, group_codes, holds
from isthmus_node.sources import Table

# In no alphabetical order; OTHER is the code after the last.
LEVELS = ("b", "a", "c")
VARIABLES = {
    "x": c.Variable("x", c.VariableType.NUMERIC),
    "k": c.Variable("k", c.VariableType.INTEGER, levels=("3", "1", "2")),
    "f": c.Variable("f", c.VariableType.FACTOR, levels=LEVELS),
    "g": c.Variable("g", c.VariableType.FACTOR, levels=("0", "1")),
}
OTHER = "a level the dictionary does not have"
Row = dict[str, float | str | None]


def table_of(rows: list[Row]) -> Table:
    def numbers(name: str) -> Any:
        return np.array([math.nan if row[name] is None else row[name] for row in rows], dtype=np.float64)

    def codes(name: str) -> Any:
        levels = [*VARIABLES[name].levels, OTHER]
        return np.array([-1 if row[name] is None else levels.index(row[name]) for row in rows], dtype=np.int32)

    return Table(
        dataset="D",
        country="NL",
        rows=len(rows),
        variables=VARIABLES,
        numbers={"x": numbers("x"), "k": numbers("k")},
        codes={"f": codes("f"), "g": codes("g")},
        identifiers={"id": np.arange(len(rows), dtype=np.int32) // 2},
        subject=np.arange(len(rows), dtype=np.int32),
        persons=len(rows),
        digest=b"",
    )


# --------------------------------------------------------------------------- one row at a time

COMPARE = {
    c.Operator.EQUAL: lambda a, b: a == b,
    c.Operator.NOT_EQUAL: lambda a, b: a != b,
    c.Operator.LESS: lambda a, b: a < b,
    c.Operator.LESS_OR_EQUAL: lambda a, b: a <= b,
    c.Operator.GREATER: lambda a, b: a > b,
    c.Operator.GREATER_OR_EQUAL: lambda a, b: a >= b,
}
ORDERED = set(COMPARE) - {c.Operator.EQUAL, c.Operator.NOT_EQUAL}


def truth(predicate: c.Predicate, row: Row) -> bool | None:
    """Three-valued: None where a missing value leaves it undecided. A filter keeps what is True."""
    match predicate:
        case c.Missing(variable, negated):
            return (row[variable] is None) != negated
        case c.Comparison(variable, operator, value):
            own = row[variable]
            if own is None or (own == OTHER and operator in ORDERED):
                return None
            return bool(COMPARE[operator](own, value))
        case c.Membership(variable, values, negated):
            return None if row[variable] is None else (row[variable] in values) != negated
        case c.All(predicates):
            truths = [truth(p, row) for p in predicates]
            return False if False in truths else (None if None in truths else True)
        case c.AnyOf(predicates):
            truths = [truth(p, row) for p in predicates]
            return True if True in truths else (None if None in truths else False)
        case c.Not(inner):
            inside = truth(inner, row)
            return None if inside is None else not inside
    raise AssertionError(predicate)


def needs(predicate: c.Predicate) -> set[str]:
    match predicate:
        case c.Comparison(variable=v) | c.Membership(variable=v):
            return {v}
        case c.All(predicates) | c.AnyOf(predicates):
            return set().union(*(needs(p) for p in predicates))
        case c.Not(inner):
            return needs(inner)
    return set()


# --------------------------------------------------------------------------- anything that can be asked

NUMBERS = st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0, 3.0])
WHOLE = st.sampled_from([1.0, 2.0, 3.0, 4.0])
ROW = st.fixed_dictionaries(
    {
        "x": st.none() | NUMBERS,
        "k": st.none() | WHOLE,
        "f": st.none() | st.sampled_from([*LEVELS, OTHER]),
        "g": st.none() | st.sampled_from(["0", "1"]),
    }
)
LITERALS = {"x": NUMBERS, "k": WHOLE, "f": st.sampled_from(LEVELS), "g": st.sampled_from(["0", "1"])}
NAMES = st.sampled_from(sorted(LITERALS))
LEAF = (
    NAMES.flatmap(lambda n: st.builds(c.Comparison, st.just(n), st.sampled_from(c.Operator), LITERALS[n]))
    | NAMES.flatmap(
        lambda n: st.builds(c.Membership, st.just(n), st.lists(LITERALS[n], max_size=3).map(tuple), st.booleans())
    )
    | st.builds(c.Missing, NAMES, st.booleans())
)
PREDICATE = st.recursive(
    LEAF,
    lambda inner: (
        st.builds(c.All, st.lists(inner, max_size=3).map(tuple))
        | st.builds(c.AnyOf, st.lists(inner, max_size=3).map(tuple))
        | st.builds(c.Not, inner)
    ),
    max_leaves=8,
)
ROWS = st.lists(ROW, max_size=12)


@settings(max_examples=400, deadline=None)
@given(predicate=PREDICATE, rows=ROWS)
def test_filter_keeps_exactly_the_rows_for_which_it_is_true(predicate: c.Predicate, rows: list[Row]) -> None:
    assert holds(predicate, table_of(rows)).tolist() == [truth(predicate, row) is True for row in rows]


@settings(max_examples=200, deadline=None)
@given(predicate=PREDICATE, rows=ROWS)
def test_indicator_is_missing_where_a_variable_it_compares_is(predicate: c.Predicate, rows: list[Row]) -> None:
    spec = c.Spec("counting", "D", VARIABLES)
    found = evaluate(c.Indicator(predicate), spec, table_of(rows)).values
    for value, row in zip(found, rows, strict=True):
        if any(row[name] is None for name in needs(predicate)):
            assert math.isnan(value)
        else:
            assert value == float(truth(predicate, row) is True)


def one(**row: float | str | None) -> Table:
    return table_of([{"x": 1.0, "k": 1.0, "f": "a", "g": "0"} | row])


@pytest.mark.parametrize("operator", list(c.Operator))
def test_missing_makes_a_comparison_and_its_negation_false(operator: c.Operator) -> None:
    for variable, value in (("x", 1.0), ("f", "a")):
        comparison = c.Comparison(variable, operator, value)
        table = one(**{variable: None})
        assert not holds(comparison, table)[0]
        assert not holds(c.Not(comparison), table)[0]
        assert not holds(c.Membership(variable, (value,), negated=True), table)[0]


def test_level_outside_the_dictionary_differs_from_every_declared_one() -> None:
    table = one(f=OTHER)
    assert holds(c.Comparison("f", c.Operator.NOT_EQUAL, "a"), table)[0]
    assert holds(c.Membership("f", LEVELS, negated=True), table)[0]
    assert not holds(c.Membership("f", LEVELS), table)[0]
    assert not holds(c.Missing("f"), table)[0]
    for operator in ORDERED:
        assert not holds(c.Comparison("f", operator, "a"), table)[0]


def test_number_in_a_comparison_with_a_factor_means_its_level() -> None:
    assert holds(c.Comparison("g", c.Operator.EQUAL, 1.0), one(g="1"))[0]
    assert holds(c.Membership("g", (0.0, 1.0)), one(g="0"))[0]


# --------------------------------------------------------------------------- columns

SPEC = c.Spec("counting", "D", VARIABLES, subject="id", references={"f": "c"})


def test_codes_follow_the_requests_order_of_levels() -> None:
    rows: list[Row] = [{"x": 1.0, "k": 1.0, "f": level, "g": "0"} for level in (*LEVELS, OTHER, None)]
    column = evaluate(c.Ref("f"), SPEC, table_of(rows))
    assert column.levels == ("c", "b", "a")
    assert column.values.tolist() == [1, 2, 0, -1, -1]
    assert column.values.dtype == np.int64
    plain = evaluate(c.Ref("f"), c.Spec("counting", "D", VARIABLES), table_of(rows))
    assert (plain.levels, plain.values.tolist()) == (LEVELS, [0, 1, 2, -1, -1])


def test_number_as_factor_has_its_declared_levels_only() -> None:
    rows: list[Row] = [{"x": 1.0, "k": value, "f": "a", "g": "0"} for value in (1.0, 2.0, 3.0, 4.0, None)]
    column = evaluate(c.Transform(c.Function.FACTOR, c.Ref("k")), SPEC, table_of(rows))
    assert column.levels == ("3", "1", "2")
    assert column.values.tolist() == [1, 2, 0, -1, -1]


def test_condition_as_factor_has_two_levels_and_is_missing_where_a_variable_is() -> None:
    rows: list[Row] = [{"x": value, "k": 1.0, "f": "a", "g": "0"} for value in (1.0, 2.0, None)]
    column = evaluate(
        c.Transform(c.Function.FACTOR, c.Indicator(c.Comparison("x", c.Operator.GREATER, 1.5))), SPEC, table_of(rows)
    )
    assert column.levels == ("0", "1")
    assert column.values.tolist() == [0, 1, -1]


def test_factor_of_a_factor_is_itself() -> None:
    column = evaluate(c.Transform(c.Function.FACTOR, c.Ref("f")), SPEC, one())
    assert (column.levels, column.values.tolist()) == (("c", "b", "a"), [2])


@pytest.mark.parametrize(
    ("function", "constants", "expected"),
    [
        (c.Function.LOG, (), [math.nan, math.nan, 0.0, math.log(2), math.nan]),
        (c.Function.SQUARE_ROOT, (), [math.nan, 0.0, 1.0, math.sqrt(2), math.nan]),
        (c.Function.SQUARE, (), [1.0, 0.0, 1.0, 4.0, math.nan]),
        (c.Function.CENTRE, (0.5,), [-1.5, -0.5, 0.5, 1.5, math.nan]),
        (c.Function.SCALE, (4.0,), [-0.25, 0.0, 0.25, 0.5, math.nan]),
    ],
)
def test_transforms_are_what_they_say_and_missing_where_undefined(
    function: c.Function, constants: tuple[float, ...], expected: list[float]
) -> None:
    rows: list[Row] = [{"x": x, "k": 1.0, "f": "a", "g": "0"} for x in (-1.0, 0.0, 1.0, 2.0, None)]
    column = evaluate(c.Transform(function, c.Ref("x"), constants), SPEC, table_of(rows))
    np.testing.assert_array_equal(column.values, expected)


def test_transforms_nest() -> None:
    nested = c.Transform(c.Function.LOG, c.Transform(c.Function.CENTRE, c.Ref("x"), (-1.0,)))
    assert evaluate(nested, SPEC, one(x=1.0)).values.tolist() == [math.log(2)]


def test_groups_come_from_any_column() -> None:
    rows: list[Row] = [{"x": x, "k": 1.0, "f": "a", "g": "0"} for x in (7.5, None, -1.0, 7.5)]
    table = table_of(rows)
    assert group_codes(c.Ref("id"), SPEC, table).tolist() == [0, 0, 1, 1]
    assert group_codes(c.Ref("x"), SPEC, table).tolist() == [1, -1, 0, 1]
    assert group_codes(c.Ref("f"), SPEC, table).tolist() == [2, 2, 2, 2]
    by_subject = c.Spec("counting", "D", VARIABLES, subject="USUBJID")
    assert group_codes(c.Ref("USUBJID"), by_subject, table).tolist() == [0, 1, 2, 3]
