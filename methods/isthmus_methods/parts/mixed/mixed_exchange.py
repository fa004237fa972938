"""What travels for a mixed model: sums by pattern of visits, questions of the search and their answers, in parts.

A matrix over a country's columns is cut where a visit's columns begin, so that each part is of products of the k atoms
and no part is larger than a model of k parameters has.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from isthmus_methods.contract import (
    Answer,
    Array,
    Block,
    Contributions,
    Item,
    ModelSupport,
    Spec,
    State,
)
from isthmus_methods.parts.mixed.mixed_columns import Basis
from isthmus_methods.parts.mixed.mixed_rows import Grouped, Records, records_of
from isthmus_methods.parts.mixed.reml import Pattern, pairs
from isthmus_methods.parts.mixed.reml_search import Ask

_FIELDS = {Ask.WHOLE: "whole", Ask.SCORES: "scores", Ask.SLOPES: "slopes", Ask.SECOND: "second"}


def centre_of(state: State, basis: Basis) -> tuple[Array, float]:
    """The centre of the numbers and of the outcome; zero in the first round."""
    if not state:
        return np.zeros(len(basis.centred)), 0.0
    return state["centre"], float(state["middle"][0])


def records_kept(block: Block, basis: Basis, state: State, at: str) -> Records:
    """A block's records, built once for the first round and once about the centre; `at` is the role, visit or group."""

    def build() -> Records:
        return records_of(block, basis, *centre_of(state, basis), at)

    return block.memo("records" if state else "records of the first round", build)


def atom_of(basis: Basis, number: str) -> int:
    """The atom that is a number by itself."""
    return basis.atoms.index((frozenset(), frozenset({number})))


def sums_to_centre(records: Records, basis: Basis, units: int) -> Array:
    """Persons, records, sums of the numbers that are centred, sum of the outcome: (3 + c,)."""
    numbers = [records.z[:, atom_of(basis, name)].sum() for name in basis.centred]
    return np.array([units, len(records.person), *numbers, records.z[:, -1].sum()], dtype=np.float64)


def support_of_nobody(basis: Basis, visits: int) -> ModelSupport:
    return ModelSupport(0, basis.k + max(visits, 1) - 1)


def lifts(basis: Basis, visits: Sequence[str]) -> list[Array]:
    """For each visit, a country's columns and the outcome from the atoms and the outcome, (r + 1, k + 1)."""
    return [beside_outcome(basis.at_visit(visit)) for visit in visits]


# --------------------------------------------------------------------------- patterns


def product_items(groups: Sequence[Grouped], support: ModelSupport) -> tuple[Item, ...]:
    """The cross-products of each pattern, a matrix for each pair of its visits."""
    items = []
    for group in groups:
        at = group.pattern.visits
        name = " ".join(str(v + 1) for v in at)
        for i, v in enumerate(at):
            for j, w in enumerate(at[i:], start=i):
                items.append(
                    Item("products", group.pattern.products[i, j].copy(), support, f"{name}: {v + 1} x {w + 1}")
                )
    return tuple(items)


def pooled_patterns(
    contributions: Contributions, basis: Basis, names: tuple[str, ...], visits: Sequence[int]
) -> tuple[list[Pattern], tuple[str, ...]]:
    """Patterns of the model's columns over the countries that gave theirs, and the countries that did not.

    `visits`: those of `names` that have records.
    """
    rank = {v: k for k, v in enumerate(visits)}
    found: dict[tuple[int, ...], Pattern] = {}
    missing = []
    for summary in contributions.summaries:
        if any(field == "products" for field, _ in summary.withheld):
            missing.append(summary.country)
            continue
        outer = beside_outcome(basis.expand(summary.country))
        maps = [outer @ one for one in lifts(basis, [names[v] for v in visits])]
        given: dict[tuple[int, ...], dict[tuple[int, int], Array]] = {}
        for (field, label), value in summary.values.items():
            if field != "products":
                continue
            pattern, pair = label.split(": ")
            v, w = (int(x) - 1 for x in pair.split(" x "))
            at = tuple(int(x) - 1 for x in pattern.split(" "))
            given.setdefault(at, {})[v, w] = np.asarray(value, dtype=np.float64)
        for at, by_pair in given.items():
            products = np.array([[by_pair[v, w] if v <= w else by_pair[w, v].T for w in at] for v in at])
            mine = Pattern(tuple(rank[v] for v in at), round(float(products[0, 0, 0, 0])), products).lifted(maps)
            found[mine.visits] = found[mine.visits] + mine if mine.visits in found else mine
    return [found[at] for at in sorted(found)], tuple(missing)


def remember_patterns(patterns: Sequence[Pattern]) -> dict[str, Array]:
    kept: dict[str, Array] = {}
    for k, pattern in enumerate(patterns):
        kept[f"pattern/{k}/visits"] = np.array([*pattern.visits, pattern.persons], dtype=np.float64)
        kept[f"pattern/{k}/products"] = pattern.products
    return kept


def recall_patterns(memory: State) -> list[Pattern]:
    found: list[Pattern] = []
    while f"pattern/{len(found)}/visits" in memory:
        k = len(found)
        *at, persons = (int(x) for x in memory[f"pattern/{k}/visits"])
        found.append(Pattern(tuple(at), persons, np.asarray(memory[f"pattern/{k}/products"], dtype=np.float64)))
    return found


# --------------------------------------------------------------------------- questions


def is_asked(state: State, spec: Spec, country: str) -> bool:
    """Whether a round's question is for this country: one that has not given its patterns."""
    return country in spec.countries and bool(state["asked"][spec.countries.index(country)] > 0)


def inside(state: State, basis: Basis, country: str) -> State:
    """The question in the country's own columns."""
    if "beta" not in state:
        return state
    outer = basis.expand(country)
    return {**state, "beta": outer.T @ state["beta"], "spread": outer.T @ state["spread"] @ outer}


def answer_items(state: State, sums: Array, basis: Basis, support: ModelSupport) -> tuple[Item, ...]:
    """A country's answer, in parts."""
    ask = Ask(int(state["ask"][0]))
    field = _FIELDS[ask]
    if ask is Ask.SCORES:
        names = pairs(len(state["sigma"]))
        return tuple(
            Item(field, row.copy(), support, f"{i + 1} x {j + 1}") for row, (i, j) in zip(sums, names, strict=True)
        )
    if ask is Ask.WHOLE:
        determinant = Item(field, sums[-1, :1].copy(), support, "log determinant")
        return (*_parts(field, sums[:-1], basis, support, ""), determinant)
    if ask is Ask.SECOND:
        return tuple(_parts(field, sums, basis, support, ""))
    names = pairs(len(state["sigma"]))
    return tuple(
        item
        for one, (i, j) in zip(sums, names, strict=True)
        for item in _parts(field, one, basis, support, f"{i + 1} x {j + 1}: ")
    )


def answer(contributions: Contributions, state: State, basis: Basis, size: int) -> Array:
    """The countries' answers to a question, summed, over the model's own columns."""
    ask = Ask(int(state["ask"][0]))
    field, m = _FIELDS[ask], len(state["sigma"])
    q = m * (m + 1) // 2
    shape = {
        Ask.WHOLE: (size + 1, size),
        Ask.SCORES: (q, 1 + 2 * q),
        Ask.SLOPES: (q, size, size),
        Ask.SECOND: (size, size),
    }
    total = np.zeros(shape[ask])
    for summary in contributions.summaries:
        given = {label: np.asarray(v, dtype=np.float64) for (name, label), v in summary.values.items() if name == field}
        if not given:
            continue
        outer = beside_outcome(basis.expand(summary.country))
        if ask is Ask.SCORES:
            total += np.array([given[f"{i + 1} x {j + 1}"] for i, j in pairs(m)])
        elif ask is Ask.SLOPES:
            for a, (i, j) in enumerate(pairs(m)):
                total[a] += outer @ _whole(given, basis, f"{i + 1} x {j + 1}: ") @ outer.T
        else:
            total[:size] += outer @ _whole(given, basis, "") @ outer.T
            if ask is Ask.WHOLE:
                total[-1, 0] += given["log determinant"][0]
    return total


def _edges(basis: Basis) -> tuple[slice, ...]:
    r = len(basis.within)
    return (*basis.parts(), slice(r, r + 1))


def _parts(field: str, total: Array, basis: Basis, support: ModelSupport, before: str) -> list[Item]:
    edges = _edges(basis)
    return [
        Item(field, total[a, b].copy(), support, f"{before}{i + 1}, {j + 1}")
        for i, a in enumerate(edges)
        for j, b in enumerate(edges[i:], start=i)
    ]


def _whole(given: dict[str, Array], basis: Basis, before: str) -> Array:
    edges = _edges(basis)
    total = np.zeros((len(basis.within) + 1, len(basis.within) + 1))
    for i, a in enumerate(edges):
        for j, b in enumerate(edges[i:], start=i):
            part = given[f"{before}{i + 1}, {j + 1}"]
            total[a, b] = part
            total[b, a] = part.T
    return total


def beside_outcome(columns: Array) -> Array:
    """The same map with the outcome's own row and column behind."""
    rows, width = columns.shape
    made = np.zeros((rows + 1, width + 1))
    made[:rows, :width] = columns
    made[rows, width] = 1.0
    return made


# --------------------------------------------------------------------------- what the coordinator remembers


def remember_counts(contributions: Contributions) -> dict[str, Array]:
    """Subjects, records and rows left out of each country, the last NaN where its gate withheld it."""
    excluded = contributions.by_country("excluded")
    return {
        f"count/{k}/{country}": np.append(value[:2], excluded.get(country, np.full(1, np.nan)))
        for k, (country, value) in enumerate(contributions.by_country("sums").items())
    }


def recall_counts(memory: State) -> tuple[dict[str, Answer], dict[str, Answer]]:
    """By country: rows left out; subjects and records."""
    mine = sorted((int(key.split("/", 2)[1]), key) for key in memory if key.startswith("count/"))
    by_country = {key.split("/", 2)[2]: memory[key] for _, key in mine}
    return (
        {country: int(n[2]) for country, n in by_country.items() if not np.isnan(n[2])},
        {country: {"n_subjects": int(n[0]), "n_records": int(n[1])} for country, n in by_country.items()},
    )
