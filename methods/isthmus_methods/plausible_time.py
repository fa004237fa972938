"""What a country's sums along time cannot be, whatever its rows: rules that methods name in `bounds`."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from isthmus_methods.contract import Cleared, Spec, Term, term_columns
from isthmus_methods.plausible import ROUNDING, Bound, off, only, place, range_of


def table_within(table: str, outcomes: str, late: str) -> Bound:
    """Events and leavers of tables (3, T), over all labels, are of the rows with an event and of all rows.

    `late` : role without which nobody enters late.
    """

    def broken(summary: Cleared, spec: Spec) -> Iterator[str]:
        tables = {key: np.asarray(v) for key, v in summary.values.items() if key[0] == table}
        counted = only(summary, outcomes)
        for (name, label), value in tables.items():
            if value.ndim != 2 or len(value) != 3 or (late not in spec.roles and np.any(value[2])):
                yield place(name, label)
                return
        if tables and counted is not None and counted.shape == (2,):
            totals = np.sum([value.sum(axis=1) for value in tables.values()], axis=0)
            slack = off(summary, 2)
            if totals[0] > counted[0] + slack or totals[1] > counted.sum() + slack:
                yield place(table, "")

    return Bound(
        f"{table} has no more events and leavers than {outcomes}, and late entries only where asked for", broken
    )


def risk_sets_shrink(at_risk: str, dying: str, late: str, strata: str) -> Bound:
    """Weights at risk are none below zero, and each time no less than what dies then is gone at the next.

    Parameters
    ----------
    at_risk, dying
        Fields (J, 1 + p): weight and weighted columns, about one centre, of those at risk and of those with an event.
    late, strata
        Roles with which weights may grow: somebody comes late, or another stratum begins.
    """

    def broken(summary: Cleared, spec: Spec) -> Iterator[str]:
        widths = np.array([high - low for term in spec.terms for low, high in _ranges(spec, term)])
        known = np.isfinite(widths)
        died = {label: np.asarray(v) for (name, label), v in summary.values.items() if name == dying}
        for (name, label), given in summary.values.items():
            if name != at_risk:
                continue
            value, gone = np.asarray(given), died.get(label, np.zeros_like(given))
            if value.ndim != 2 or value.shape[1] != 1 + len(widths) or gone.shape != value.shape:
                yield place(name, label)
                continue
            there, slack = value[:, 0], ROUNDING * (1 + np.abs(value[:, 0]).max(initial=0.0))
            wrong = np.any(there < 0) or np.any(gone[:, 0] < 0) or np.any(gone[:, 0] > there + slack)
            if late not in spec.roles and strata not in spec.roles:
                wrong = wrong or np.any(there[1:] > there[:-1] - gone[:-1, 0] + slack)
            # about a value in the range nobody is further away than the range is wide
            limit = (there[:, None] * (1 + ROUNDING) + slack) * widths[known]
            if wrong or np.any(np.abs(value[:, 1:][:, known]) > limit + slack):
                yield place(name, label)

    rule = f"{at_risk} are not negative, {dying} are of them and gone at the next time, and columns lie in their range"
    return Bound(rule, broken)


def whole_in_range(whole: str) -> Bound:
    """Rows and each column summed, (1, 1 + p): every column lies in its range, times the rows.

    What others are held to is taken about the mean of these sums: a country that could move it would have others found.
    """

    def broken(summary: Cleared, spec: Spec) -> Iterator[str]:
        low, high = np.array([r for term in spec.terms for r in _ranges(spec, term)]).reshape(-1, 2).T
        known = np.isfinite(low) & np.isfinite(high)
        for (name, label), given in summary.values.items():
            if name != whole:
                continue
            value = np.asarray(given)
            if value.shape != (1, 1 + len(low)) or value[0, 0] < 0:
                yield place(name, label)
                continue
            number, sums = value[0, 0], value[0, 1:][known]
            slack = ROUNDING * (1 + number) * (1 + np.maximum(np.abs(low[known]), np.abs(high[known])))
            if np.any(sums < number * low[known] - slack) or np.any(sums > number * high[known] + slack):
                yield place(name, label)

    return Bound(f"columns summed in {whole} lie within the dictionary's range, times the number of rows", broken)


def _ranges(spec: Spec, term: Term) -> Iterator[tuple[float, float]]:
    """For each design column of a term its least and greatest value; infinite where nobody knows."""
    for _, levels in term_columns(spec, term):
        if all(level is not None for level in levels):
            yield 0.0, 1.0
        else:
            yield range_of(term.columns[0], spec) if len(term.columns) == 1 else (-math.inf, math.inf)
