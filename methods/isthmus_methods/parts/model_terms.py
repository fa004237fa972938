"""The columns of a regression model: their names and terms, and which of them are there once unused levels vanish.

Every regression of the house has the same design: treatment coding, an intercept in front where the model has one,
levels without a row dropped over all countries together, columns that are combinations of earlier ones not estimated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from isthmus_methods.contract import (
    Array,
    Booleans,
    Column,
    Contributions,
    Integers,
    Spec,
    column_name,
    term_columns,
)
from isthmus_methods.parts.kept import kept_by_request

INTERCEPT = "(Intercept)"


@kept_by_request
def factors(spec: Spec) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Factors of the terms with their levels, the reference first; each once, in the order of the terms."""
    columns: dict[Column, None] = {column: None for term in spec.terms for column in term.columns}
    named = {column_name(column): spec.levels(column) for column in columns}
    return tuple((name, levels) for name, levels in named.items() if levels)


@dataclass(frozen=True, slots=True)
class ModelTerms:
    """The model's columns, p in all, an intercept (if any) first."""

    names: tuple[str, ...]  # (p,)
    terms: tuple[tuple[str, tuple[int, ...]], ...]  # each term of the formula and its columns
    parts: tuple[frozenset[str], ...]  # for each term, the names of the columns it is a product of
    levels: tuple[tuple[tuple[str, str], ...], ...]  # (p,) the (factor, level) pairs that each column indicates
    factors: tuple[tuple[str, tuple[str, ...]], ...]
    intercept: bool

    @property
    def p(self) -> int:
        return len(self.names)

    def design(self, matrix: Array) -> Array:
        """The rows (n, p): `Block.design.matrix` with the intercept in front where the model has one."""
        if not self.intercept:
            return matrix
        return np.column_stack([np.ones(len(matrix)), matrix])

    def columns_present(self, level_rows: Mapping[str, Array | None]) -> Booleans:
        """Columns left once levels without a row vanish, (p,).

        `level_rows`: rows at each level of each factor over all countries, None where not every country gave them.
        Where the reference level itself has no row, the first that has takes its place, as when R drops unused
        levels.
        """
        gone: set[tuple[str, str]] = set()
        for name, levels in self.factors:
            rows = level_rows.get(name)
            if rows is None or not rows.any():
                continue
            gone |= {(name, level) for level, number in zip(levels, rows, strict=True) if number == 0}
            first: Integers = np.flatnonzero(rows)
            gone.add((name, levels[int(first[0])]))
        return np.array([not gone.intersection(picked) for picked in self.levels], dtype=np.bool_)

    def levels_present(self, level_rows: Mapping[str, Array | None]) -> dict[str, tuple[str, ...]]:
        """Levels of each factor that have rows, in order: the first is the reference that the fit has."""
        present: dict[str, tuple[str, ...]] = {}
        for name, levels in self.factors:
            rows = level_rows.get(name)
            if rows is None or not rows.any():
                present[name] = levels
            else:
                present[name] = tuple(level for level, n in zip(levels, rows, strict=True) if n > 0)
        return present

    def droppable(self) -> tuple[str, ...]:
        """Terms that no other term contains: those that R's `drop1` takes away."""
        return tuple(
            name
            for k, (name, _) in enumerate(self.terms)
            if not any(self.parts[k] < other for j, other in enumerate(self.parts) if j != k)
        )

    def columns_without(self, term: str) -> Booleans:
        """All columns but those of a term, (p,)."""
        left = np.ones(self.p, dtype=np.bool_)
        left[list(dict(self.terms)[term])] = False
        return left


def model_terms(spec: Spec, *, intercept: bool) -> ModelTerms:
    """The columns of a request's terms.

    Parameters
    ----------
    spec
        The request.
    intercept
        Whether the model has one; a proportional hazards or an ordinal model has none.
    """
    names: list[str] = [INTERCEPT] if intercept else []
    levels: list[tuple[tuple[str, str], ...]] = [()] if intercept else []
    terms: list[tuple[str, tuple[int, ...]]] = []
    for term in spec.terms:
        start = len(names)
        for name, picked in term_columns(spec, term):
            names.append(name)
            pairs = zip((column_name(column) for column in term.columns), picked, strict=True)
            levels.append(tuple((factor, level) for factor, level in pairs if level is not None))
        terms.append((term.name, tuple(range(start, len(names)))))
    return ModelTerms(
        names=tuple(names),
        terms=tuple(terms),
        parts=tuple(frozenset(column_name(column) for column in term.columns) for term in spec.terms),
        levels=tuple(levels),
        factors=factors(spec),
        intercept=intercept,
    )


def level_rows(contributions: Contributions, terms: ModelTerms, field: str = "levels") -> dict[str, Array | None]:
    """Rows at each level of each factor over all countries; None where a country's gate withheld its share."""
    return {name: contributions.whole(field, name) for name, _ in terms.factors}


def shown(estimates: Array, covariance: Array, kept: Booleans, present: Booleans) -> tuple[Array, Array]:
    """Estimates (q,) and covariance (q, q) of the q columns that are present, NaN for those that are aliased."""
    named = np.where(kept, estimates, np.nan)[present]
    spread = np.where(np.outer(kept, kept), covariance, np.nan)[np.ix_(present, present)]
    return named, spread
