"""Answers held against R's: what passes, what fails, what is counted."""

from __future__ import annotations

import math
from typing import Any

import pytest

from conformance.case import Tolerance
from conformance.compare import compare


def failed(actual: Any, expected: Any, *tolerances: Tolerance) -> list[str]:
    return [k.key for k in compare(actual, expected, tolerances).failed]


@pytest.mark.parametrize(
    ("actual", "expected"),
    [
        (1.0 + 0.9e-8, 1.0),
        (1e-13, 0.0),
        (None, None),
        ("Inf", math.inf),
        (-math.inf, "-Inf"),
        (3, 3.0),
        ([1.0, None], [1.0, None]),
        ({"a": 1.0, "more": 2.0}, {"a": 1.0}),
    ],
)
def test_equal_answers_pass(actual: Any, expected: Any) -> None:
    assert failed({"x": actual}, {"x": expected}) == []


@pytest.mark.parametrize(
    ("actual", "expected", "error"),
    [
        (1.0 + 1.1e-8, 1.0, 1.1e-8),
        (2e-12, 0.0, 2e-12),
        (None, 1.0, math.inf),
        (1.0, None, math.inf),
        (math.inf, 1e300, math.inf),
        (math.nan, 1.0, math.inf),
        ("a", "b", math.inf),
        (True, 1, math.inf),
    ],
)
def test_other_answers_fail_with_their_error(actual: Any, expected: Any, error: float) -> None:
    compared = compare({"x": actual}, {"x": expected})
    assert [k.key for k in compared.failed] == ["/x"]
    assert compared.worst is not None
    assert compared.worst.error == pytest.approx(error, rel=1e-6)


def test_missing_keys_are_failures_and_are_counted() -> None:
    compared = compare({"a": {"b": 1.0}}, {"a": {"b": 1.0, "c": 2.0}, "d": None})
    assert [k.key for k in compared.missing] == ["/a/c", "/d"]
    assert len(compared.failed) == 2
    assert len(compared.keys) == 3


def test_places_of_a_list_are_one_key_and_its_length_is_one() -> None:
    compared = compare({"x": [1.0, 2.0]}, {"x": [1.0, 2.1, 3.0]})
    assert [(k.key, k.failed, k.missing) for k in compared.keys] == [("/x#len", True, False), ("/x[]", True, True)]


def test_first_tolerance_that_matches_wins() -> None:
    rules = (Tolerance("a/check", None), Tolerance("a/", 1e-3), Tolerance("b", 1e-3))
    expected = {"a": {"check": 1.0, "x": 1.0}, "b": 1.0, "c": 1.0}
    actual = {"a": {"x": 1.0005}, "b": 1.002, "c": 1.0005}
    assert failed(actual, expected, *rules) == ["/b", "/c"]
    assert "/a/check" not in [k.key for k in compare(actual, expected, rules).keys]


def test_worst_key_is_a_failing_one_before_a_loosely_held_one() -> None:
    compared = compare({"a": 1.5, "b": 1.0001}, {"a": 1.0, "b": 1.0}, (Tolerance("a", 1.0),))
    assert compared.worst is not None
    assert compared.worst.key == "/b"
