"""Rows as blocks for survival models, read here without any code of the node, and references to compare with."""

from __future__ import annotations

import csv
import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isthmus_methods import contract as c

TESTS = Path(__file__).parents[2]
KINDS = {
    "numeric": c.VariableType.NUMERIC,
    "integer": c.VariableType.INTEGER,
    "factor": c.VariableType.FACTOR,
    "string": c.VariableType.TEXT,
}


@dataclass
class Table:
    """A dictionary, and each country's columns of text; an empty field is missing."""

    variables: dict[str, c.Variable]
    countries: dict[str, dict[str, list[str]]]
    subject: str = ""
    expected: Mapping[str, Any] = field(default_factory=dict)

    def spec(
        self,
        terms: Sequence[str],
        time: str = "time",
        event: str = "event",
        method: str = "cox",
        references: Mapping[str, str] | None = None,
        options: Mapping[str, c.Setting] | None = None,
        **roles: Sequence[str] | str,
    ) -> c.Spec:
        """A request; a term is a name, or names joined by colons."""
        named: dict[str, Sequence[str] | str] = {"time": time, "event": event, **roles}
        return c.Spec(
            method,
            "main",
            self.variables,
            subject=self.subject,
            roles={
                role: tuple(c.Ref(name) for name in ([names] if isinstance(names, str) else names))
                for role, names in named.items()
            },
            terms=tuple(c.Term(tuple(c.Ref(name) for name in term.split(":"))) for term in terms),
            references=references or {},
            options=options or {},
            countries=tuple(self.countries),
        )

    def blocks(
        self, spec: c.Spec, keep: Callable[[Mapping[str, str]], bool] = lambda row: True
    ) -> dict[str, list[c.Block]]:
        """One block a country; none where no row is complete."""
        made = {country: self.block(country, spec, keep) for country in self.countries}
        return {country: [] if block is None else [block] for country, block in made.items()}

    def block(
        self, country: str, spec: c.Spec, keep: Callable[[Mapping[str, str]], bool] = lambda row: True
    ) -> c.Block | None:
        text = self.countries[country]
        size = len(next(iter(text.values())))
        chosen = [i for i in range(size) if keep({name: cells[i] for name, cells in text.items()})]

        def values(name: str) -> np.ndarray:
            cells = [text[name][i] for i in chosen]
            levels = spec.levels(c.Ref(name))
            if levels:
                return np.array([float(levels.index(x)) if x in levels else np.nan for x in cells])
            if self.variables[name].type is c.VariableType.TEXT:
                names = {x: k for k, x in enumerate(sorted(set(cells)))}
                return np.array([float(names[x]) if x else np.nan for x in cells])
            return np.array([float(x) if x else np.nan for x in cells])

        columns = {role: [values(ref.variable) for ref in refs] for role, refs in spec.roles.items()}
        used = {ref.variable: values(ref.variable) for term in spec.terms for ref in term.columns}
        subject = values(self.subject) if self.subject else np.arange(len(chosen), dtype=float)
        complete = np.ones(len(chosen), dtype=bool)
        for array in itertools.chain(*columns.values(), used.values()):
            complete &= ~np.isnan(array)
        if not complete.any():
            return None
        coded = {name: bool(spec.levels(c.Ref(name))) for name in used}
        return c.Block(
            country,
            int(complete.sum()),
            {
                role: tuple(
                    array[complete].astype(np.int64) if spec.levels(ref) else array[complete]
                    for array, ref in zip(arrays, spec.roles[role], strict=True)
                )
                for role, arrays in columns.items()
            },
            {role: tuple(spec.levels(ref) for ref in refs) for role, refs in spec.roles.items()},
            np.unique(subject[complete], return_inverse=True)[1].astype(np.int64),
            c.Design(
                design_matrix(spec, used, complete),
                c.coefficient_names(spec),
                {name: used[name][complete].astype(np.int64) for name, on in coded.items() if on},
            ),
            rows_selected=len(chosen),
            persons_selected=len(set(subject.tolist())),
        )


def design_matrix(spec: c.Spec, used: Mapping[str, np.ndarray], complete: np.ndarray) -> np.ndarray:
    columns = []
    for term in spec.terms:
        for _, picked in c.term_columns(spec, term):
            column = np.ones(int(complete.sum()))
            for ref, level in zip(term.columns, picked, strict=True):
                values = used[ref.variable][complete]
                column = column * (values if level is None else values == spec.levels(ref).index(level))
            columns.append(column)
    return np.ascontiguousarray(np.stack(columns, axis=1))


def read(path: Path) -> dict[str, list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        names, *lines = list(csv.reader(file))
    return {name: [line[k] for line in lines] for k, name in enumerate(names)}


def load_reference(folder: Path, subject: str = "") -> Table:
    """A reference case as a table."""
    document = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    countries = {entry["country"]: read(folder / entry["file"]) for entry in document["countries"]}
    variables = {}
    for name, entry in document["variables"].items():
        kind = KINDS[entry["type"]]
        cells = [float(x) for text in countries.values() for x in text.get(name, []) if x and kind in NUMBERS]
        variables[name] = c.Variable(
            name,
            kind,
            levels=tuple(entry.get("levels", ())),
            minimum=min(0.0, math.floor(min(cells))) if cells else None,
            maximum=float(math.ceil(max(cells))) if cells else None,
            grid=1.0 if cells and all(x == round(x) for x in cells) else None,
            may_be_missing=True,
        )
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    return Table(variables, countries, subject, expected)


NUMBERS = (c.VariableType.NUMERIC, c.VariableType.INTEGER)


def split(block: c.Block, parts: Sequence[np.ndarray]) -> list[c.Block]:
    """The block's rows in several blocks; `parts` are index arrays."""
    design = block.design
    assert design is not None
    return [
        c.Block(
            block.country,
            len(part),
            {role: tuple(values[part] for values in arrays) for role, arrays in block.columns.items()},
            block.levels,
            block.subject[part],
            c.Design(
                np.ascontiguousarray(design.matrix[part]),
                design.names,
                {name: codes[part] for name, codes in design.level_codes.items()},
            ),
            rows_selected=len(part),
            persons_selected=len(np.unique(block.subject[part])),
        )
        for part in parts
    ]


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from leaves(value, f"{path}/{key}")
    elif isinstance(tree, list | tuple):
        yield f"{path}#len", len(tree)
        for k, value in enumerate(tree):
            yield from leaves(value, f"{path}[{k}]")
    else:
        yield path, tree


def differences(actual: Any, expected: Any, rtol: float = 1e-8, atol: float = 1e-12) -> list[str]:
    """Where `actual` lacks or misses a leaf of `expected`; more in `actual` is no difference."""
    mine, wrong = dict(leaves(actual)), []
    for path, theirs in leaves(expected):
        if path not in mine:
            wrong.append(f"{path}: missing, expected {theirs!r}")
            continue
        ours = mine[path]
        if isinstance(theirs, int | float) and isinstance(ours, int | float) and not isinstance(theirs, bool):
            same = ours == theirs or abs(ours - theirs) <= max(atol, rtol * abs(theirs))
        else:
            same = ours == theirs
        if not same:
            wrong.append(f"{path}: {ours!r}, expected {theirs!r}")
    return wrong


@pytest.fixture(scope="session")
def reference() -> Callable[..., Table]:
    """A vendored reference case by name, read once."""
    loaded: dict[str, Table] = {}

    def load(name: str, subject: str = "") -> Table:
        if name not in loaded:
            loaded[name] = load_reference(TESTS / "reference" / name, subject)
        return loaded[name]

    return load


@pytest.fixture(scope="session")
def compare() -> Callable[..., list[str]]:
    return differences


@pytest.fixture(scope="session")
def in_parts() -> Callable[[c.Block, Sequence[np.ndarray]], list[c.Block]]:
    return split


@pytest.fixture(scope="session")
def table_of_rows() -> Callable[..., Table]:
    """A table from one file with a column `country`."""

    def load(path: Path, variables: Mapping[str, c.Variable], subject: str = "") -> Table:
        columns = read(path)
        order = variables["country"].levels
        return Table(
            dict(variables),
            {
                country: {
                    name: [x for x, at in zip(cells, columns["country"], strict=True) if at == country]
                    for name, cells in columns.items()
                }
                for country in order
                if country in columns["country"]
            },
            subject,
        )

    return load
