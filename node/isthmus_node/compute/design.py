"""The model's columns over rows: treatment coding against the reference, built once, float64 and contiguous."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus_methods.contract import Array, Column, Design, Integers, Spec, column_name, term_columns
from isthmus_node.compute.rows import Evaluated


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
        Columns (n, p) without intercept, columns as `coefficient_names`: a number is itself, a factor one 0/1
        column a level but the first, a product the product of its columns, its first factor running fastest.

    Source: treatment contrasts as R's `contr.treatment`; order as R's `model.matrix`.
    """
    named = [
        (name, _parts(evaluated, term.columns, levels))
        for term in spec.terms
        for name, levels in term_columns(spec, term)
    ]

    def column(k: int, some: slice) -> Array:
        values = [of[some] if code is None else of[some] == code for of, code in named[k][1]]
        product: Array = values[0].astype(np.float64, copy=False)
        for value in values[1:]:
            product = product * value
        return product

    codes: dict[str, Integers] = {
        column_name(column): evaluated[column].values.astype(np.int64, copy=False)
        for column in distinct_columns(spec)
        if evaluated[column].is_codes
    }
    return Design(column, tuple(name for name, _ in named), codes, rows)


def _parts(
    evaluated: Mapping[Column, Evaluated], columns: Sequence[Column], levels: Sequence[str | None]
) -> list[tuple[NDArray[Any], int | None]]:
    """The factors of a product: the values themselves, or codes and the one that is indicated."""
    return [
        (evaluated[column].values, None if level is None else evaluated[column].levels.index(level))
        for column, level in zip(columns, levels, strict=True)
    ]
