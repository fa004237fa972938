"""Repeated records inside a country: gathered by person, their cross-products by pattern of visits, what stands behind.

Nothing here leaves but the sums that a method makes of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from isthmus.errors import MethodError
from isthmus_methods.contract import Array, Block, Booleans, CellSupport, Integers, Item, ModelSupport, OutcomeSupport
from isthmus_methods.parts.cross_product import CrossProduct, distances, whitening
from isthmus_methods.parts.mixed.mixed_columns import Basis
from isthmus_methods.parts.mixed.reml import Pattern
from isthmus_methods.parts.regression_support import Outcome


@dataclass(frozen=True, slots=True)
class Records:
    """Rows of a country. Adds, in any order."""

    country: str
    unit: Integers  # (n,) whose records belong together
    person: Integers  # (n,)
    at: Integers  # (n,) the visit, or the group
    z: Array  # (n, k + 1): the basis's atoms, and the outcome
    codes: Integers  # (n, f): levels of the factors in `level_names`
    selected_rows: int
    selected_persons: int
    outcome: Array  # (n,) from the basis's zero

    def __add__(self, other: Records, /) -> Records:
        return Records(
            self.country,
            np.concatenate([self.unit, other.unit]),
            np.concatenate([self.person, other.person]),
            np.concatenate([self.at, other.at]),
            np.concatenate([self.z, other.z]),
            np.concatenate([self.codes, other.codes]),
            self.selected_rows + other.selected_rows,
            self.selected_persons + other.selected_persons,
            np.concatenate([self.outcome, other.outcome]),
        )

    def only(self, rows: Booleans) -> Records:
        return Records(
            self.country,
            self.unit[rows],
            self.person[rows],
            self.at[rows],
            self.z[rows],
            self.codes[rows],
            self.selected_rows,
            self.selected_persons,
            self.outcome[rows],
        )

    @property
    def persons(self) -> int:
        return len(np.unique(self.person))

    def excluded(self) -> Item:
        """How many rows were left out for a missing value."""
        rows = max(self.selected_rows - len(self.person), 0)
        # a person with an excluded row may have complete ones too: no fewer than one stands behind it
        behind = min(max(self.selected_persons - self.persons, 1), rows) if rows else 0
        whole = np.array([max(self.selected_persons, behind)], dtype=np.int64)
        return Item(
            "excluded", np.array([rows], dtype=np.int64), CellSupport(np.array([behind], dtype=np.int64), within=whole)
        )


def level_names(basis: Basis) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Factors of the terms whose levels are persons' own: not the visit, which all have, and not the country."""
    apart = {basis.country, basis.visit}
    return tuple((name, levels) for name, levels in basis.terms.factors if name not in apart)


def records_of(block: Block, basis: Basis, centre: Array, middle: float, at: str) -> Records:
    """A block's rows, numbers less their `centre` and the outcome less `middle`; `at` is the role of visit or group."""
    atoms = basis.rows(block, centre)
    codes = block.design.level_codes if block.design is not None else {}
    mine = [codes[name] for name, _ in level_names(basis)]
    return Records(
        block.country,
        block.codes("subject") if "subject" in block.columns else block.subject,
        block.subject,
        block.codes(at),
        np.column_stack([atoms, block.numbers("outcome") - middle]),
        np.column_stack(mine) if mine else np.zeros((block.rows, 0), dtype=np.int64),
        block.rows_selected,
        block.persons_selected,
        block.numbers("outcome") - basis.zero,
    )


# --------------------------------------------------------------------------- patterns


@dataclass(frozen=True, slots=True)
class Grouped:
    """The records of the persons that have the same visits."""

    pattern: Pattern
    rows: Integers  # (units, visits) places in the records


def grouped(records: Records, visits: int) -> list[Grouped]:
    """Persons by pattern of visits, patterns in ascending order of their visits.

    Raises `MethodError` ``VISIT_TWICE`` where a person has two records at a visit.
    """
    units, place = np.unique(records.unit, return_inverse=True)
    order = np.lexsort((records.at, place))
    unit, visit = place[order], records.at[order]
    if np.any((unit[1:] == unit[:-1]) & (visit[1:] == visit[:-1])):
        raise MethodError(
            "VISIT_TWICE",
            f"in {records.country} a person has two records at the same visit; rule: one record a person and visit",
            "keep one of them with the filter, e.g. ANL01FL == 'Y'",
        )
    pattern = np.zeros(len(units), dtype=np.int64)
    np.bitwise_or.at(pattern, unit, np.left_shift(np.int64(1), visit))
    first = np.searchsorted(unit, np.arange(len(units)))
    found = []
    width = records.z.shape[1]
    for code in np.unique(pattern).tolist():
        at = tuple(v for v in range(visits) if code >> v & 1)
        mine = first[pattern == code]
        rows = order[mine[:, None] + np.arange(len(at))]
        wide = records.z[rows].reshape(len(mine), -1)
        products = (wide.T @ wide).reshape(len(at), width, len(at), width).transpose(0, 2, 1, 3)
        found.append(Grouped(Pattern(at, len(mine), np.ascontiguousarray(products)), rows))
    return sorted(found, key=lambda group: group.pattern.visits)


def check_nested(records: Records) -> None:
    """Raises `MethodError` ``SUBJECT_IN_TWO_GROUPS`` unless subjects lie inside groups."""
    order = np.argsort(records.unit, kind="stable")
    unit, group = records.unit[order], records.at[order]
    if np.any((unit[1:] == unit[:-1]) & (group[1:] != group[:-1])):
        raise MethodError(
            "SUBJECT_IN_TWO_GROUPS",
            f"in {records.country} a subject has records in two groups; rule: subjects lie inside groups",
            "take groups that hold whole subjects",
        )


def clustered(records: Records) -> dict[int, Integers]:
    """Rows of the persons with one record, with two, and so on: number of records -> places (units, number)."""
    _, place = np.unique(records.unit, return_inverse=True)
    order = np.argsort(place, kind="stable")
    unit = place[order]
    numbers = np.bincount(unit)
    first = np.cumsum(numbers) - numbers
    return {int(n): order[first[numbers == n][:, None] + np.arange(n)] for n in np.unique(numbers).tolist() if n > 0}


# --------------------------------------------------------------------------- support


def whole_support(records: Records, basis: Basis, visits: int) -> ModelSupport:
    """All persons of the country behind a model of the atoms, with an outcome at each visit.

    Of a visit it counts who has it; who has not is no attribute of a person that the model asks for.
    """
    persons = records.persons
    parameters = basis.k + max(visits, 1) - 1
    if not persons:
        return ModelSupport(0, parameters)
    levels = _level_persons(records.person, records.codes, basis)
    if basis.visit:
        at = [len(np.unique(records.person[records.at == v])) for v in np.unique(records.at)]
        levels |= {f"{basis.visit}={k}": min(n, max(persons // 2, 1)) for k, n in enumerate(at)}
    return ModelSupport(
        persons=persons,
        parameters=parameters,
        level_persons=levels,
        effective_persons=float(persons),
        leverage=_leverage(records.z[:, :-1], records.person),
        outcome=_outcome(records, persons),
    )


def least_support(records: Records, kinds: Sequence[Integers], parameters: Sequence[int], basis: Basis) -> ModelSupport:
    """The least that stands behind any kind of persons of the country: the kinds' sums leave together or not at all.

    If some did and others not, what is left could be found from sums over all persons.

    Parameters
    ----------
    kinds : for each kind, the places in the records of its persons' rows, (units, rows of each).
    parameters : of each kind.
    """
    persons, share, leverage = math.inf, 0.0, 0.0
    least: dict[str, int] = {}
    for rows, own in zip(kinds, parameters, strict=True):
        people = records.person[rows]
        n = len(np.unique(people))
        persons = min(persons, n)
        share = max(share, own / n)
        flat = rows.ravel()
        for name, number in _level_persons(records.person[flat], records.codes[flat], basis).items():
            # the smaller of the level and of the rest, of those that are somebody
            smaller = min((x for x in (number, n - number) if x > 0), default=n)
            least[name] = min(least.get(name, n), smaller)
        for k in range(rows.shape[1]):
            leverage = max(leverage, _leverage(records.z[rows[:, k], :-1], people[:, k]))
    number = int(persons) if kinds else 0
    return ModelSupport(
        persons=number,
        parameters=max(math.ceil(share * number), basis.k),
        level_persons={name: min(n, max(number // 2, 1)) for name, n in least.items()} if number else {},
        effective_persons=float(number),
        leverage=leverage,
        outcome=_outcome(records, number) if number else None,
    )


def _outcome(records: Records, most: int) -> OutcomeSupport:
    """Whose the outcome's own sum is, which these models' sums hold; of `most` persons, as the model is."""
    people, place = np.unique(records.person, return_inverse=True)
    by_person = np.bincount(place, weights=records.outcome, minlength=len(people))
    found = Outcome(by_person.astype(np.float64), binary=False).support(len(people))
    return replace(found, persons=min(found.persons, most))


def _level_persons(person: Integers, codes: Integers, basis: Basis) -> dict[str, int]:
    return {
        f"{name}={level}": len(np.unique(person[codes[:, f] == k]))
        for f, (name, levels) in enumerate(level_names(basis))
        for k, level in enumerate(levels)
    }


def _leverage(atoms: Array, person: Integers) -> float:
    """Largest leverage of a person beyond the intercept's. Source: Huber (1981), Robust Statistics, section 7.2."""
    if atoms.shape[1] < 2 or not len(atoms):
        return 0.0
    centre = atoms[:, 1:].mean(axis=0)
    x = np.column_stack([np.ones(len(atoms)), atoms[:, 1:] - centre])
    turned = whitening(CrossProduct(centre, x.T @ x, float(len(x))))
    if not turned.size:
        return 0.0
    _, place = np.unique(person, return_inverse=True)
    return min(float(np.bincount(place, weights=distances(x, turned)).max()), 1.0)
