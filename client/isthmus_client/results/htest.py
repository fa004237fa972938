"""Tests as R prints an ``htest``: title, statistic with its degrees of freedom and p, limits, estimates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from isthmus_client.results.r_format import format_numbers, one, p_values

Number = float | None


def test_line(statistics: Mapping[str, Number], p: Number) -> str:
    """``t = 2.2938, df = 122.76, p-value = 0.0235``."""
    shown = ", ".join(f"{name} = {one(value, 5)}" for name, value in statistics.items())
    written = p_values([p], 4)[0]
    return f"{shown}, p-value {written if written.startswith('<') else f'= {written}'}"


def htest_lines(
    title: str,
    data: str,
    statistics: Mapping[str, Number],
    p: Number,
    *,
    limits: tuple[Number, Number] | None = None,
    estimates: Mapping[str, Number] | None = None,
) -> list[str]:
    """The lines of one test.

    Parameters
    ----------
    data
        What was compared: ``CHG by TRTP``.
    statistics
        Statistic and degrees of freedom by name, in order.
    limits
        Two-sided 95 %.
    """
    lines = ["", f"\t{title}", "", f"data:  {data}", test_line(statistics, p)]
    if limits is not None:
        lines += ["95 percent confidence interval:", " " + " ".join(format_numbers(limits))]
    if estimates:
        lines += ["sample estimates:", *_named(list(estimates), format_numbers(list(estimates.values())))]
    return lines


def _named(names: Sequence[str], values: Sequence[str]) -> list[str]:
    widths = [max(len(n), len(v)) for n, v in zip(names, values, strict=True)]
    return [" ".join(x.rjust(w) for x, w in zip(row, widths, strict=True)) for row in (names, values)]
