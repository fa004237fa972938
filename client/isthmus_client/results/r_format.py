"""Writes numbers and tables as R prints them, so that a summary can be laid beside R's."""

from __future__ import annotations

import math
from collections.abc import Sequence

MACHINE_EPSILON = 2.220446049250313e-16
STARS = ((0.001, "***"), (0.01, "**"), (0.05, "*"), (0.1, "."))
LEGEND = "Signif. codes:  0 ‘***’ 0.001 ‘**’ 0.01 ‘*’ 0.05 ‘.’ 0.1 ‘ ’ 1"

Number = float | None


def _scientific(value: float, digits: int) -> tuple[int, int]:
    """Exponent, and number of significant digits (at most `digits`) without trailing zeros."""
    mantissa, _, exponent = f"{abs(value):.{digits - 1}e}".partition("e")
    return int(exponent), len(mantissa.replace(".", "").rstrip("0")) or 1


def format_numbers(values: Sequence[Number], digits: int = 7, na: str = "NA") -> list[str]:
    """Numbers in one common format, as R's ``format()`` and ``print()`` choose it.

    The number of decimals is what the number that needs most of them needs for `digits` significant digits; fixed
    notation unless scientific is shorter.

    Parameters
    ----------
    values
        None is a number that could not be estimated.
    digits
        Significant digits, R's ``digits``.
    """
    finite = [v for v in values if v is not None and math.isfinite(v)]
    shapes = [_scientific(v, digits) for v in finite if v != 0]
    decimals = max((max(0, significant - exponent - 1) for exponent, significant in shapes), default=0)
    left = max((max(exponent + 1, 1) for exponent, _ in shapes), default=1)
    sign = int(any(v < 0 for v in finite))
    mantissa = max((significant for _, significant in shapes), default=1)
    wide_exponent = any(abs(exponent) >= 100 for exponent, _ in shapes)
    fixed_width = sign + left + (decimals + 1 if decimals else 0)
    scientific_width = sign + (mantissa + 1 if mantissa > 1 else 1) + (5 if wide_exponent else 4)
    if fixed_width <= scientific_width:
        spelled = {id(v): f"{v:.{decimals}f}" for v in finite}
    else:
        spelled = {id(v): f"{v:.{mantissa - 1}e}" for v in finite}
    written = []
    for v in values:
        if v is None or math.isnan(v):
            written.append(na)
        elif math.isinf(v):
            written.append("Inf" if v > 0 else "-Inf")
        else:
            written.append(spelled[id(v)])
    return written


def one(value: Number, digits: int = 7) -> str:
    """One number as R's ``format()`` writes it."""
    return format_numbers([value], digits)[0]


def rounded(value: Number, decimals: int) -> Number:
    """R's ``round()``."""
    return None if value is None or not math.isfinite(value) else round(value, decimals)


def zapped(values: Sequence[Number], digits: int) -> list[Number]:
    """R's ``zapsmall()``: rounded so that the largest has `digits` digits, no decimal of the others beyond its last."""
    largest = max((abs(v) for v in values if v is not None and math.isfinite(v)), default=0.0)
    decimals = max(0, digits - math.ceil(math.log10(largest))) if largest > 0 else digits
    return [rounded(v, decimals) for v in values]


def p_values(values: Sequence[Number], digits: int, epsilon: float = MACHINE_EPSILON) -> list[str]:
    """P values as R's ``format.pval()`` writes them: fixed from 0.001 on, scientific below, ``<2e-16`` at the end."""
    known = [v for v in values if v is not None and not math.isnan(v)]
    # what is written in fixed notation is formatted together, and so is the rest
    least_exponent = -4 if digits > 1 else -3
    kept = [v for v in known if v >= epsilon]
    large = [v for v in kept if math.floor(math.log10(v)) >= least_exponent]
    small = [v for v in kept if math.floor(math.log10(v)) < least_exponent]
    spelled = dict(zip(large, format_numbers(large, digits), strict=True))
    spelled |= dict(zip(small, format_numbers(small, digits), strict=True))
    least = max(1, digits - 2)
    widest = max((len(text) for text in spelled.values()), default=0)
    if spelled and least > 1 and least + 6 > widest:
        least = max(1, widest - 7)
    gap = "" if least == 1 and (not spelled or widest <= 6) else " "
    below = f"<{gap}{format_numbers([epsilon], least)[0]}"
    return ["NA" if v is None or math.isnan(v) else spelled.get(v, below) for v in values]


def stars(p: Number) -> str:
    """R's significance stars."""
    if p is None or math.isnan(p):
        return ""
    return next((mark for limit, mark in STARS if p <= limit), " ")


def coefficient_columns(
    estimates: Sequence[Sequence[Number]], statistic: Sequence[Number], p: Sequence[Number], digits: int = 4
) -> list[list[str]]:
    """The columns of R's ``printCoefmat()``: estimates and errors in one common format, statistic, P value.

    Parameters
    ----------
    estimates
        Columns (k of length p) that share one format.
    statistic, p
        Columns of length p.
    digits
        Significant digits of the estimates.
    """
    flat = [v for column in estimates for v in column]
    sizes = [math.floor(math.log10(abs(v))) for v in flat if v is not None and math.isfinite(v) and v != 0]
    keep = max(1, digits - (1 + min(sizes, default=0)))
    written = format_numbers([rounded(v, keep) for v in flat], digits)
    rows = len(statistic)
    columns = [written[k * rows : (k + 1) * rows] for k in range(len(estimates))]
    # what rounds to zero and is not zero is written on its own
    for k, column in enumerate(estimates):
        for i, v in enumerate(column):
            if v is not None and math.isfinite(v) and v != 0 and _is_zero(columns[k][i]):
                columns[k][i] = one(v, max(1, digits - 1))
    short = max(1, min(5, digits - 1))
    columns.append(format_numbers([rounded(v, short) for v in statistic], digits))
    columns.append(p_values(p, short))
    return columns


def _is_zero(text: str) -> bool:
    return not any(c in "123456789" for c in text.partition("e")[0])


def aligned(
    rows: Sequence[str], headings: Sequence[str], columns: Sequence[Sequence[str]], left: Sequence[int] = ()
) -> list[str]:
    """Lines of a table as R prints a matrix: row names flush left, columns flush right under their headings."""
    stub = max((len(r) for r in rows), default=0)
    widths = [max(len(h), *(len(c) for c in column), 0) for h, column in zip(headings, columns, strict=True)]
    lines = [" " * stub + "".join(" " + h.rjust(w) for h, w in zip(headings, widths, strict=True))]
    for i, row in enumerate(rows):
        cells = [
            column[i].ljust(w) if k in left else column[i].rjust(w)
            for k, (column, w) in enumerate(zip(columns, widths, strict=True))
        ]
        lines.append(row.ljust(stub) + "".join(" " + cell for cell in cells))
    return lines


def hazard_ratio(value: Number) -> Number:
    """A log hazard ratio on the scale of the hazard ratio; infinite rather than an overflow."""
    return None if value is None else math.exp(value) if value < 700 else math.inf
