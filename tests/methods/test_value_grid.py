"""Values come back from their cells to the last digit, and order statistics from the cells are those of the values."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest

from isthmus.errors import DataError
from isthmus_methods import contract as c
from isthmus_methods.parts.value_grid import Cells, Distribution, ValueGrid


def grid(step: float, low: float | None = None, high: float | None = None) -> ValueGrid:
    found = ValueGrid.of_variable(c.Variable("x", c.VariableType.NUMERIC, minimum=low, maximum=high, grid=step))
    assert found is not None
    return found


@pytest.mark.parametrize("step", ["1", "0.1", "0.01", "0.3", "5", "0.05", "0.000001", "2.5"])
def test_value_grid_gives_every_decimal_back(step: str) -> None:
    places = np.random.default_rng(1).integers(-(10**7), 10**7, 2000)
    values = np.array([float(Decimal(step) * int(k)) for k in places])
    at = grid(float(step))
    found, off = at.places(values)
    assert not off
    assert found.min() >= 0
    assert np.array_equal(found + at.start, places)
    assert np.array_equal(at.values(found), values)


def test_value_grid_holds_sixteen_digits() -> None:
    values = np.array([float(f"{k}.123456") for k in (4_000_000_001, 4_000_000_002, -4_000_000_003)])
    at = grid(0.000001, -4.1e9, 4.1e9)
    found, off = at.places(values)
    assert not off
    assert np.array_equal(at.values(found), values)


def test_value_grid_starts_at_the_minimum_where_whole_numbers_from_zero_would_not_be_exact() -> None:
    at = grid(1.0, 2.0**60, 2.0**60 + 2.0**20)
    values = 2.0**60 + np.array([0.0, 4096.0, 2.0**20])
    found, off = at.places(values)
    assert not off
    assert np.array_equal(at.values(found), values)


def test_value_grid_says_that_values_lie_off_it() -> None:
    found, off = grid(0.5, 0.0).places(np.array([1.0, 1.6]))
    assert off
    assert found.tolist() == [2, 3]
    # what a difference of two decimals leaves behind its last digit is none
    assert grid(0.1).places(np.array([0.1 + 0.2]))[1] is False


def test_value_grid_refuses_a_value_without_an_exact_place() -> None:
    with pytest.raises(DataError) as refused:
        grid(1.0).places(np.array([1e17]))
    assert refused.value.code == "VALUE_OUT_OF_RANGE"
    with pytest.raises(DataError):
        grid(1.0, -5.0).places(np.array([-7.0]))


def test_places_of_negative_values_are_not_negative() -> None:
    at = grid(0.1, -2.5, 3.0)
    found, off = at.places(np.array([-2.5, 0.0, 0.3]))
    assert (found.tolist(), off) == ([0, 25, 28], False)
    assert at.values(found).tolist() == [-2.5, 0.0, 0.3]


def test_variable_without_grid_has_none() -> None:
    assert ValueGrid.of_variable(c.Variable("x", c.VariableType.NUMERIC)) is None
    assert ValueGrid.of_variable(c.Variable("x", c.VariableType.NUMERIC, maximum=1e9, grid=1e-9)) is None


def test_cells_count_a_person_once() -> None:
    at = grid(1.0, 0.0)
    whole = Cells.of(at, np.array([1.0, 1.0, 3.0, 1.0]), np.array([0, 0, 0, 1]))
    parts = Cells.of(at, np.array([1.0, 3.0]), np.array([0, 0])) + Cells.of(at, np.array([1.0, 1.0]), np.array([0, 1]))
    for cells in (whole, parts):
        item = cells.item("values", "x")
        assert item.value.tolist() == [[1, 3], [3, 1]]
        assert isinstance(item.support, c.BinSupport)
        assert item.support.persons.tolist() == [2, 1]
        assert (item.support.total, item.support.gaps) == (2, True)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 20, 21, 40, 101])
def test_quantiles_are_those_of_the_values(n: int) -> None:
    values = np.round(np.random.default_rng(n).normal(0, 2, n), 1)
    at = grid(0.1)
    cells = Cells.of(at, values, np.arange(n))
    found = Distribution.of(at, np.column_stack([cells.places, cells.counts]))
    for p in (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0):
        assert found.quantile_type7(p) == pytest.approx(np.quantile(values, p), rel=1e-14, abs=1e-14)
        expected = np.quantile(values, p, method="averaged_inverted_cdf")
        assert found.quantile_type2(p) == pytest.approx(expected, rel=1e-14, abs=1e-14)
