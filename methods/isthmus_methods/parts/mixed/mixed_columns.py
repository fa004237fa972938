"""The columns of a model of repeated records, taken apart: what a person brings, what the visit and the country add.

A column such as ``TRTP=High:AVISIT=Week 8`` is the person's ``TRTP=High`` at one visit and zero at all others, and
``country=FR`` is a one in one country. What is left when visits and countries are taken out are the few "atoms" that
cross-products are made of inside a country; the model's own columns are put together again from these.

Numbers are centred, so that a large offset costs no digits. That is a change of coordinates of the coefficients,
`Basis.relation`, and is made only where it leaves the model the same: with ``sex:age`` there is ``sex`` too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from isthmus.errors import MethodError
from isthmus_methods.contract import Array, Block, Integers, Spec, column_name
from isthmus_methods.parts.ls_means import numbers_in
from isthmus_methods.parts.model_terms import ModelTerms, model_terms
from isthmus_methods.parts.moments import zero_of

# (factor, level) pairs, and numbers, whose product a column is.
Levels = frozenset[tuple[str, str]]
Atom = tuple[Levels, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Basis:
    """p columns of the model, r of them within a country, made of k atoms."""

    terms: ModelTerms
    numbers: tuple[frozenset[str], ...]  # (p,) numbers in each column
    centred: tuple[str, ...]  # numbers that are centred, (c,)
    atoms: tuple[Atom, ...]  # (k,)
    within: tuple[tuple[int, str], ...]  # (r,) atom and visit ("" at all), in the order of visits
    place: tuple[tuple[int, str], ...]  # (p,) which of the r, and the country ("" all) it is in
    visit: str  # the factor of the terms that says which record it is; "" where they have none
    visits: tuple[str, ...]
    country: str  # the factor that is the country; "" where the terms have none
    zero: float  # from where a person's share of the outcome's sum is taken

    @property
    def k(self) -> int:
        return len(self.atoms)

    def expand(self, country: str) -> Array:
        """The model's columns in a country from its own, (p, r)."""
        found = np.zeros((self.terms.p, len(self.within)))
        for j, (r, only) in enumerate(self.place):
            found[j, r] = float(only in ("", country))
        return found

    def at_visit(self, visit: str) -> Array:
        """A country's columns at a visit from the atoms, (r, k)."""
        found = np.zeros((len(self.within), self.k))
        for r, (atom, only) in enumerate(self.within):
            found[r, atom] = float(only in ("", visit))
        return found

    def parts(self) -> tuple[slice, ...]:
        """The r columns in the order of visits: those of all visits, then of each visit that has its own."""
        edges = [0, *(i for i in range(1, len(self.within)) if self.within[i][1] != self.within[i - 1][1])]
        return tuple(slice(a, b) for a, b in zip(edges, [*edges[1:], len(self.within)], strict=True))

    def rows(self, block: Block, centre: Array) -> Array:
        """The atoms over a block's rows, numbers less their `centre` (c,), (n, k)."""
        middle = dict(zip(self.centred, centre.tolist(), strict=True))
        made = np.ones((block.rows, self.k))
        if block.design is None:
            return made
        names, codes = {name: j for j, name in enumerate(block.design.names)}, block.design.level_codes
        level_of = dict(self.terms.factors)
        if self.country and not np.all(codes[self.country] == _index(level_of[self.country], block.country)):
            raise MethodError(
                "COUNTRY_COLUMN",
                f"in {block.country} the column {self.country} holds something other than {block.country}",
                "let the column hold the country's own name, as the study's dictionary declares it",
            )
        for a, (levels, numbers) in enumerate(self.atoms):
            if numbers <= middle.keys():
                for factor, level in levels:
                    made[:, a] *= codes[factor] == level_of[factor].index(level)
                for name in sorted(numbers):
                    made[:, a] *= block.design.matrix[:, names[name]] - middle[name]
            else:
                made[:, a] = self._as_given(block, a, codes)
        return made

    def _as_given(self, block: Block, atom: int, codes: Mapping[str, Integers]) -> Array:
        """An atom from the design's own products: each gives it at its visit or in its country, nothing elsewhere."""
        values = np.zeros(block.rows)
        if block.design is None:
            return values
        level_of = dict(self.terms.factors)
        own = self.atoms[atom][0]
        for j, (r, _) in enumerate(self.place):
            if self.within[r][0] != atom:
                continue
            there = np.ones(block.rows, dtype=np.bool_)
            for factor, level in self.terms.levels[j]:
                if (factor, level) not in own:
                    there &= codes[factor] == level_of[factor].index(level)
            values[there] = block.design.matrix[there, j - 1]  # the design has no intercept
        return values

    def relation(self, centre: Array) -> Array:
        """`R` with X = X* R, X* being the columns with centred numbers, (p, p)."""
        middle = dict(zip(self.centred, centre.tolist(), strict=True))
        of = {
            (frozenset(pairs), numbers): j
            for j, (pairs, numbers) in enumerate(zip(self.terms.levels, self.numbers, strict=True))
        }
        result = np.zeros((self.terms.p, self.terms.p))
        for (levels, numbers), j in of.items():
            shifted = sorted(numbers & middle.keys())
            for pick in range(2 ** len(shifted)):
                taken = {name for i, name in enumerate(shifted) if pick >> i & 1}
                result[of[levels, numbers - taken], j] += float(np.prod([middle[name] for name in sorted(taken)]))
        return result


def basis_of(spec: Spec, visit: str = "", visits: tuple[str, ...] = ()) -> Basis:
    """The basis of a request's terms; `visit` is the name of the factor that says which record it is."""
    terms = model_terms(spec, intercept=True)
    numbers = numbers_in(terms)
    of_country = {name for name, variable in spec.variables.items() if "COUNTRY" in variable.roles}
    country = next((name for name, _ in terms.factors if name in of_country), "")
    columns = {(frozenset(pairs), n) for pairs, n in zip(terms.levels, numbers, strict=True)}
    centred = tuple(
        name
        for name in dict.fromkeys(column_name(c) for term in spec.terms for c in term.columns)
        if (frozenset(), frozenset({name})) in columns
        and all((levels, n - {name}) in columns for levels, n in columns if name in n)
    )
    atoms: dict[Atom, int] = {(frozenset(), frozenset()): 0}
    own: list[tuple[int, str, str]] = []
    for pairs, n in zip(terms.levels, numbers, strict=True):
        levels = dict(pairs)
        left = frozenset((f, level) for f, level in pairs if f not in (visit, country))
        atom = atoms.setdefault((left, n), len(atoms))
        own.append((atom, levels.get(visit, ""), levels.get(country, "")))
    order = {"": 0, **{name: i + 1 for i, name in enumerate(visits)}}
    within = tuple(sorted({(atom, at) for atom, at, _ in own}, key=lambda pair: (order[pair[1]], pair[0])))
    return Basis(
        terms=terms,
        numbers=numbers,
        centred=centred,
        atoms=tuple(atoms),
        within=within,
        place=tuple((within.index((atom, at)), only) for atom, at, only in own),
        visit=visit if any(name == visit for name, _ in terms.factors) else "",
        visits=visits,
        country=country,
        zero=zero_of(spec, spec.roles["outcome"][0]),
    )


def _index(levels: tuple[str, ...], country: str) -> int:
    return levels.index(country) if country in levels else -1
