"""Numbers are written as R writes them; the golden files are R's own output, made by golden/make.R."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from isthmus_client.results.r_format import coefficient_columns, format_numbers, hazard_ratio, p_values, stars

GOLDEN = Path(__file__).parent / "golden"


def rows(name: str) -> list[tuple[int, list[float | None], str]]:
    found = []
    for line in (GOLDEN / name).read_text(encoding="utf-8").splitlines():
        digits, values, written = line.split("|")
        found.append((int(digits), [None if v == "NA" else float(v) for v in values.split()], written))
    return found


@pytest.mark.parametrize(("digits", "values", "written"), rows("format.txt"))
def test_numbers_are_written_as_r_writes_them(digits: int, values: list[float | None], written: str) -> None:
    assert " ".join(format_numbers(values, digits)) == written


@pytest.mark.parametrize(("digits", "values", "written"), rows("format-pval.txt"))
def test_p_values_are_written_as_r_writes_them(digits: int, values: list[float | None], written: str) -> None:
    assert " ".join(text.replace(" ", "") for text in p_values(values, digits)) == written


def test_what_is_not_estimable_is_na_and_infinities_are_named() -> None:
    assert format_numbers([None, math.nan, math.inf, -math.inf, 1.0]) == ["NA", "NA", "Inf", "-Inf", "1"]
    assert p_values([None], 3) == ["NA"]


def test_no_numbers_at_all_are_written_without_an_error() -> None:
    assert format_numbers([]) == []
    assert format_numbers([None, None]) == ["NA", "NA"]
    assert coefficient_columns([[None]], [None], [None]) == [["NA"], ["NA"], ["NA"]]


def test_stars_have_the_limits_of_r() -> None:
    assert [stars(p) for p in (0.0005, 0.005, 0.03, 0.07, 0.5, None)] == ["***", "**", "*", ".", " ", ""]


def test_a_large_log_hazard_ratio_becomes_infinite_and_does_not_overflow() -> None:
    assert hazard_ratio(1000.0) == math.inf
    assert hazard_ratio(-1000.0) == 0.0
    assert hazard_ratio(None) is None
