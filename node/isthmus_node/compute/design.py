"""The model's columns over rows: treatment coding against the reference, built once, float64 and contiguous."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

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
        `matrix` (n, p) without intercept, columns as `coefficient_names`: a number is itself, a factor one 0/1
        column a level but the first, a product the product of its columns, its first factor running fastest.

    Source: treatment contrasts as R's `contr.treatment`; order as R's `model.matrix`.
    """
    named = [(name, term.columns, levels) for term in spec.terms for name, levels in term_columns(spec, term)]
    matrix: Array = np.empty((rows, len(named)), dtype=np.float64)
    for place, (_, columns, levels) in enumerate(named):
        _fill(matrix[:, place], [_part(evaluated[c], level) for c, level in zip(columns, levels, strict=True)])
    codes: dict[str, Integers] = {
        column_name(column): evaluated[column].values.astype(np.int64, copy=False)
        for column in distinct_columns(spec)
        if evaluated[column].is_codes
    }
    return Design(matrix, tuple(name for name, _, _ in named), codes)


def _part(evaluated: Evaluated, level: str | None) -> Array:
    if level is None:
        return evaluated.values.astype(np.float64, copy=False)
    # a 0/1 column
    indicated: Array = (evaluated.values == evaluated.levels.index(level)).astype(np.float64)
    return indicated


def _fill(into: Array, parts: Sequence[Array]) -> None:
    into[:] = parts[0]
    for part in parts[1:]:
        into *= part
