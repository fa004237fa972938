"""The model's columns over rows: treatment coding against the reference, built once, float64 and contiguous."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus_methods.contract import Array, Column, Design, Integers, Spec, column_name, term_columns
from isthmus_node.compute.rows import Evaluated

_CHUNK = 8192


def distinct_columns(spec: Spec) -> tuple[Column, ...]:
    """Each column of the terms once, in order of appearance."""
    return tuple(dict.fromkeys(column for term in spec.terms for column in term.columns))


def design_of(spec: Spec, evaluated: Mapping[Column, Evaluated], rows: int) -> Design:
    """The design matrix of the spec's terms.

    Parameters
    ----------
    evaluated : each column of the terms over the rows used, (n,), nothing missing.

    Returns
    -------
    Design
        `matrix` (n, p) without intercept, columns as `coefficient_names`: a number is itself, a factor one 0/1
        column a level but the first, a product the product of its columns, its first factor running fastest.

    Source: treatment contrasts as R's `contr.treatment`; order as R's `model.matrix`.
    """
    named = [
        (name, _parts(evaluated, term.columns, levels))
        for term in spec.terms
        for name, levels in term_columns(spec, term)
    ]
    matrix: Array = np.empty((rows, len(named)), dtype=np.float64)
    # rows lie one after another in memory: some rows at a time stay in the processor's cache for all columns
    for start in range(0, rows, _CHUNK):
        some = slice(start, start + _CHUNK)
        for place, (_, parts) in enumerate(named):
            _fill(
                matrix[some, place], [values[some] if code is None else values[some] == code for values, code in parts]
            )
    codes: dict[str, Integers] = {
        column_name(column): evaluated[column].values.astype(np.int64, copy=False)
        for column in distinct_columns(spec)
        if evaluated[column].is_codes
    }
    return Design(matrix, tuple(name for name, _ in named), codes)


def _parts(
    evaluated: Mapping[Column, Evaluated], columns: Sequence[Column], levels: Sequence[str | None]
) -> list[tuple[NDArray[Any], int | None]]:
    """The factors of a product: the values themselves, or codes and the one that is indicated."""
    return [
        (evaluated[column].values, None if level is None else evaluated[column].levels.index(level))
        for column, level in zip(columns, levels, strict=True)
    ]


def _fill(into: Array, parts: Sequence[NDArray[Any]]) -> None:
    into[:] = parts[0]
    for part in parts[1:]:
        into *= part
