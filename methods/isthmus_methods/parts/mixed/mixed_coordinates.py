"""From the fit of centred columns to the coefficients that people asked for, and which combinations are estimable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from isthmus_methods.contract import Array, Booleans
from isthmus_methods.parts.ls_means import estimable
from isthmus_methods.parts.mixed.mixed_columns import Basis
from isthmus_methods.parts.newton import solve


@dataclass(frozen=True, slots=True)
class Coordinates:
    """How coefficients of the model's columns are combinations of those of the centred columns."""

    kept: Booleans  # (p,)
    present: Booleans  # (p,) columns whose levels have rows
    aliases: Array  # (kept, dropped), of the centred columns
    relation: Array  # (kept, kept), X = X* R over the columns kept
    combinations: Array  # (p, p), row j: the j-th coefficient from those of the centred columns; zero if not kept

    def names(self, basis: Basis) -> tuple[str, ...]:
        """Of the coefficients that the answer has."""
        return tuple(name for name, there in zip(basis.terms.names, self.present, strict=True) if there)

    def estimable(self, combined: Array) -> bool:
        """Whether a combination (p,) of coefficients of centred columns can be estimated."""
        mine = self.present
        aliased = self.aliases[:, mine[~self.kept]]
        return estimable(combined[mine], self.kept[mine], aliased)


def coordinates(basis: Basis, centre: Array, plain: Array, kept: Booleans, present: Booleans) -> Coordinates:
    """The coordinates of a fit.

    Parameters
    ----------
    plain : (P, P), cross-products of the centred columns and the outcome.
    kept : (p,), columns that the fit estimates.
    present : (p,), columns whose levels have rows.
    """
    p = basis.terms.p
    of_x = plain[:p, :p]
    inverse = solve(of_x, kept).inverse[np.ix_(kept, kept)]
    aliases = inverse @ of_x[np.ix_(kept, ~kept)]
    whole = basis.relation(centre)
    relation = whole[np.ix_(kept, kept)] + aliases @ whole[np.ix_(~kept, kept)]
    combinations = np.zeros((p, p))
    combinations[np.ix_(kept, kept)] = np.linalg.inv(relation)
    return Coordinates(kept, present, aliases, relation, combinations)


def level_rows(basis: Basis, plain: Array) -> dict[str, dict[str, int]]:
    """Rows at each level of each factor that stands in the model by itself, from the cross-products of the columns."""
    records = round(float(plain[0, 0]))
    found: dict[str, dict[str, int]] = {}
    for name, levels in basis.terms.factors:
        own = {
            basis.terms.levels[j][0][1]: round(float(plain[0, j]))
            for j in range(basis.terms.p)
            if len(basis.terms.levels[j]) == 1 and basis.terms.levels[j][0][0] == name and not basis.numbers[j]
        }
        if set(own) == set(levels[1:]):
            found[name] = {levels[0]: records - sum(own.values()), **own}
    return found


def centred_means(basis: Basis, plain: Array) -> dict[str, float]:
    """Mean over the rows of each number that stands in the model by itself, in the units of the centred columns."""
    return {
        next(iter(basis.numbers[j])): float(plain[0, j] / plain[0, 0])
        for j in range(basis.terms.p)
        if len(basis.numbers[j]) == 1 and not basis.terms.levels[j]
    }


def columns_present(basis: Basis, rows: Mapping[str, Mapping[str, int]]) -> Booleans:
    """As `ModelTerms.columns_present`, from `level_rows`."""
    counted: dict[str, Array | None] = {
        name: np.array([float(n) for n in rows[name].values()]) if name in rows else None
        for name, _ in basis.terms.factors
    }
    return basis.terms.columns_present(counted)
