"""What a country's sums cannot be, whatever its rows: asked before they are added, and again by whoever replays a run.

Rules by kind hold for every method; a method names further ones in `bounds`. They find sums that no rows could have
given. Sums that some rows could have given, and these rows do not, pass: see what is not promised.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from isthmus.errors import DataError
from isthmus_methods.contract import (
    Array,
    Cleared,
    Column,
    Field,
    Integers,
    Kind,
    Method,
    Ref,
    Spec,
    State,
)

# Sums of the same numbers in another order, and products of centred columns, differ in their last digits.
ROUNDING = 1e-6
# A square below this share of the largest is rounding of the others: its column is judged as if it were so large.
_FAINT = 1e-10
# Larger than any count: whole numbers are exact doubles up to here.
LARGEST_WHOLE = 2**53


class Implausible(DataError):
    """A country's sums that no rows could have given."""

    def __init__(self, country: str, place: str, rule: str) -> None:
        super().__init__(
            "IMPLAUSIBLE",
            f"{country} sent sums that no rows can have, at {place}; rule: {rule}",
            f"ask the site of {country} before anything else is made of its answers: its data, its software or its "
            "node are not what they should be",
        )
        self.country = country


@dataclass(frozen=True, slots=True)
class Bound:
    """A rule over several fields of one method.

    `broken`: names the place, as ``field`` or ``field[label]``, of each item that breaks it; only what was given is
    looked at. `earlier`: fields of earlier rounds that it looks at beside those of this one.
    """

    rule: str
    broken: Callable[[Cleared, Spec], Iterator[str]]
    earlier: tuple[str, ...] = ()


def check_plausible(
    method: Method, summaries: Sequence[Cleared], spec: Spec, earlier: State = MappingProxyType({})
) -> None:
    """Hold each country's sums of one round against every rule.

    Parameters
    ----------
    earlier
        What `remembered` kept of earlier rounds.

    Raises
    ------
    Implausible
        The first that breaks one, by country in the study's order.
    """
    bounds: Sequence[Bound] = getattr(method, "bounds", ())
    for summary in summaries:
        for (name, label), value in summary.values.items():
            field = method.leaves[name]
            rules = (*BY_KIND.get(field.kind, ()), *((_GRAM,) if field.gram else ()))
            for rule, holds in rules:
                if not holds(np.asarray(value)):
                    raise Implausible(summary.country, place(name, label), rule)
            if _is_rounded(field, summary) and np.any(np.asarray(value) % summary.rounded_to):
                raise Implausible(summary.country, place(name, label), "rounded counts are multiples of what they say")
        known = _with_earlier(summary, earlier)
        for bound in bounds:
            for where in bound.broken(known, spec):
                raise Implausible(summary.country, where, bound.rule)


def remembered(method: Method, summaries: Sequence[Cleared], earlier: State) -> dict[str, Array]:
    """Of this round and those before it what rules of later rounds look at: ``country/field/label``."""
    names = {name for bound in getattr(method, "bounds", ()) for name in bound.earlier}
    kept = dict(earlier)
    for summary in summaries:
        for (name, label), value in summary.values.items():
            if name in names:
                kept[f"{summary.country}/{name}/{label}"] = np.asarray(value, dtype=np.float64)
    return kept


def _with_earlier(summary: Cleared, earlier: State) -> Cleared:
    start, values = f"{summary.country}/", dict(summary.values)
    for key, value in earlier.items():
        if key.startswith(start):
            name, label = key.removeprefix(start).split("/", 1)
            values.setdefault((name, label), value)
    return replace(summary, values=values)


def place(name: str, label: str) -> str:
    return f"{name}[{label}]" if label else name


def _is_rounded(field: Field, summary: Cleared) -> bool:
    return summary.rounded_to > 1 and field.kind is Kind.COUNT and not field.divides


def off(summary: Cleared, cells: int) -> int:
    """How far rounding may put the sum of so many counts from the sum of what was counted."""
    return summary.countries * cells * (summary.rounded_to // 2)


# --------------------------------------------------------------------------- by kind


def are_counts(value: Array | Integers) -> bool:
    """Whole, not negative, and no more than can be counted."""
    return value.dtype.kind in "iu" and bool(np.all((value >= 0) & (value <= LARGEST_WHOLE)))


def are_cells(value: Array | Integers) -> bool:
    """Cells of a histogram: somebody in each, and each place once."""
    if value.dtype.kind not in "iu" or value.ndim != 2 or value.shape[1] < 2:
        return False
    return bool(np.all(value[:, -1] > 0)) and len(np.unique(value[:, :-1], axis=0)) == len(value)


def is_hazard(value: Array | Integers) -> bool:
    """A cumulative hazard never falls and is never negative."""
    return bool(np.all(value >= 0) and np.all(np.diff(value, axis=-1) >= -ROUNDING * (1 + np.abs(value[..., 1:]))))


def is_gram(value: Array | Integers) -> bool:
    """A packed triangle (p (p + 1) / 2,) of a matrix that is positive semi-definite, up to rounding.

    Scaled to a unit diagonal, so that columns of any unit are judged alike.
    """
    p = (int(np.sqrt(8 * value.size + 1)) - 1) // 2
    if value.ndim != 1 or p * (p + 1) // 2 != value.size:
        return False
    matrix = np.zeros((p, p))
    matrix[np.triu_indices(p)] = value
    matrix = matrix + np.triu(matrix, 1).T
    diagonal = np.diag(matrix)
    least = _FAINT * np.abs(value).max(initial=0.0)
    if np.any(diagonal < -least):
        return False
    scale = np.sqrt(np.maximum(diagonal, least if least > 0 else 1.0))
    scaled = matrix / np.outer(scale, scale)
    try:
        np.linalg.cholesky(scaled + 2 * ROUNDING * p * np.eye(p))
    except np.linalg.LinAlgError:
        return False
    return True


_Rule = tuple[str, Callable[[Array | Integers], bool]]
BY_KIND: Mapping[Kind, tuple[_Rule, ...]] = {
    Kind.COUNT: (("counts are whole and not negative", are_counts),),
    Kind.EVENTS: (("counts of a time table are whole and not negative", are_counts),),
    Kind.HISTOGRAM: (("a cell of a histogram has somebody in it, and stands once", are_cells),),
    Kind.HAZARD: (("a cumulative hazard does not fall", is_hazard),),
}
_GRAM: _Rule = ("squares and products of the same columns are positive semi-definite", is_gram)


# --------------------------------------------------------------------------- between fields


def parts_within(part: str, whole: str, *, summed: bool = False) -> Bound:
    """Cells along the last axis of `part` are of the persons or rows that `whole` counts, axis by axis before it.

    `summed`: `whole` is of cells that make the rows together.
    """

    def broken(summary: Cleared, _spec: Spec) -> Iterator[str]:
        totals = only(summary, whole)
        if totals is not None and (summed or totals.size == 1):
            totals = totals.sum()
        for (name, label), value in summary.values.items():
            if name == part and totals is not None:
                parts = np.atleast_1d(np.asarray(value))
                cells = parts.sum(axis=-1)
                if not _fits(cells, totals) or np.any(cells > totals + off(summary, parts.shape[-1] + 1)):
                    yield place(name, label)

    return Bound(f"the cells of {part} together are no more than {whole}", broken)


def sums_within_range(total: str, whole: str, column: Callable[[Spec, str], Column | None], own: str = "") -> Bound:
    """A sum of n values, each taken from the value of its variable's range nearest to zero, lies within n times it.

    Parameters
    ----------
    total
        Field of sums by group.
    whole
        Field of counts by the same groups.
    column
        What is summed in the field of a label; only a variable whose dictionary has a range is looked at.
    own
        Field of counts of the same label, the first along the last axis being those with a value: taken where given.
    """

    def broken(summary: Cleared, spec: Spec) -> Iterator[str]:
        for (name, label), value in summary.values.items():
            found = column(spec, label) if name == total else None
            variable = spec.variables.get(found.variable) if isinstance(found, Ref) else None
            if variable is None or variable.minimum is None or variable.maximum is None:
                continue
            cells = summary.values.get((own, label))
            counts = only(summary, whole) if cells is None else np.asarray(cells)[..., 0]
            if counts is None or not _fits(np.asarray(value), counts):
                continue
            zero = min(max(0.0, variable.minimum), variable.maximum)
            slack = ROUNDING * (1 + counts) * max(1.0, abs(variable.minimum), abs(variable.maximum))
            low, high = counts * (variable.minimum - zero), counts * (variable.maximum - zero)
            if np.any(value < low - slack) or np.any(value > high + slack):
                yield place(name, label)

    return Bound(f"{total} lies within the dictionary's range, times the number of values", broken)


def squares_cover(total: str, squares: str, whole: str, column: Callable[[Spec, str], Column | None]) -> Bound:
    """Squared deviations of n values are no less than their sum, squared, by n, and no more than n times the range.

    Parameters
    ----------
    total, squares
        Fields of sums of deviations from a value in the range, and of their squares, by group.
    whole
        Field of counts of the same label, or of the only one, by group; of several along a last axis the first. It may
        have left in an earlier round.
    column
        What is summed in the field of a label.

    Source: Cauchy-Schwarz.
    """

    def broken(summary: Cleared, spec: Spec) -> Iterator[str]:
        for (name, label), given in summary.values.items():
            sums, value = summary.values.get((total, label)), np.asarray(given)
            if name != squares or sums is None:
                continue
            away = np.asarray(sums)
            size = np.abs(away).max(initial=0.0)
            wrong = away.shape != value.shape or np.any(value < 0)
            wrong = wrong or np.any((value == 0) & (np.abs(away) > ROUNDING * (1 + size)))
            cells = summary.values.get((whole, label))
            counts = only(summary, whole) if cells is None else np.asarray(cells)
            if counts is not None and counts.ndim > value.ndim:
                counts = counts[..., 0]
            if not wrong and counts is not None and counts.shape == value.shape:
                wrong = np.any(away**2 > counts * value * (1 + ROUNDING) + (ROUNDING * (1 + size)) ** 2)
                low, high = range_of(column(spec, label), spec)
                if math.isfinite(high - low):
                    wrong = wrong or np.any(value > counts * (high - low) ** 2 * (1 + ROUNDING) + ROUNDING)
            if wrong:
                yield place(name, label)

    rule = f"{squares} are no less than {total} squared, by their number, and no more than the squared range of each"
    return Bound(rule, broken, (whole,))


def range_of(column: Column | None, spec: Spec) -> tuple[float, float]:
    """The least and the greatest value of a variable by the dictionary; infinite where it says nothing."""
    variable = spec.variables.get(column.variable) if isinstance(column, Ref) else None
    low, high = (None, None) if variable is None else (variable.minimum, variable.maximum)
    return -math.inf if low is None else low, math.inf if high is None else high


def outcome_squares_cover(cross: str, products: str) -> Bound:
    """Products of columns (p (p + 1) / 2,), with an outcome's by each and squared (p + 1,), are a Gram matrix."""

    def broken(summary: Cleared, _spec: Spec) -> Iterator[str]:
        for (name, label), value in summary.values.items():
            inner = summary.values.get((cross, label))
            if name != products or inner is None:
                continue
            p = np.size(value) - 1
            if np.ndim(value) != 1 or np.shape(inner) != (p * (p + 1) // 2,):
                yield place(name, label)
                continue
            whole, rows = np.empty((p + 1, p + 1)), np.triu_indices(p)
            whole[:p, :p][rows] = inner
            whole[:, p] = value
            if not is_gram(whole[np.triu_indices(p + 1)]):
                yield place(name, label)

    return Bound(f"{products} are products of the columns of {cross} and one more", broken)


def events_among_leavers(*fields: str) -> Bound:
    """In a table (..., 2, T) of events and all leavers, nobody has an event without leaving."""

    def broken(summary: Cleared, _spec: Spec) -> Iterator[str]:
        for (name, label), value in summary.values.items():
            table = np.asarray(value)
            if name in fields and (table.ndim < 2 or np.any(table[..., 0, :] > table[..., 1, :])):
                yield place(name, label)

    return Bound("at each step no more have the event than leave", broken)


def only(summary: Cleared, name: str) -> Any:
    """The field of one label, whatever that is; None where it was not given."""
    return next((np.asarray(value) for (field, _), value in summary.values.items() if field == name), None)


def _fits(one: Any, other: Any) -> bool:
    """Whether the second can be held against each number of the first."""
    try:
        return bool(np.broadcast_shapes(np.shape(one), np.shape(other)) == np.shape(one))
    except ValueError:
        return False
