"""A reference case as data: countries and their files, variables, the plan's steps. Reads no expected answer."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

# A step of a plan, as JSON gives it.
Step = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What a key may be off by; `rtol` None: the key only informs."""

    pattern: str
    rtol: float | None


@dataclass(frozen=True, slots=True)
class Table:
    """One table of a case: its file in each country, in the case's order, and the text of its columns over all."""

    name: str
    files: Mapping[str, Path]
    columns: Mapping[str, tuple[str, ...]]  # every cell of every country; "" is missing
    shared: frozenset[str]  # columns with a value that stands in several countries


@dataclass(frozen=True, slots=True)
class Case:
    """One folder of reference cases."""

    folder: Path
    title: str
    countries: tuple[str, ...]
    tables: Mapping[str, Table]
    variables: Mapping[str, Mapping[str, Any]]
    plan: tuple[Step, ...]
    tolerances: tuple[Tolerance, ...]

    @property
    def name(self) -> str:
        return self.folder.name

    def levels(self, name: str) -> tuple[str, ...]:
        """Levels of a variable as a factor: those declared, or its sorted distinct values.

        The country's are the countries in the case's order.
        """
        declared = self.variables.get(name, {})
        if name == self.country:
            return self.countries
        if declared.get("levels"):
            return tuple(str(level) for level in declared["levels"])
        cells = {cell for table in self.tables.values() for cell in table.columns.get(name, ()) if cell}
        if self.is_number(name):
            return tuple(f"{value:.15g}" for value in sorted({float(cell) for cell in cells}))
        return tuple(sorted(cells))

    def is_number(self, name: str) -> bool:
        return self.variables.get(name, {}).get("type") in ("numeric", "integer")

    def crosses_borders(self, name: str) -> bool:
        """Whether rows of several countries have the same value of a variable."""
        return any(name in table.shared for table in self.tables.values())

    @property
    def country(self) -> str:
        """The column that holds the country."""
        return "country"

    def dataset(self, table: str) -> str:
        """The name under which a table is registered at the nodes."""
        return "-".join(_plain(text) for text in (self.name[:40], table[:20]))


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-") or "x"


def read_case(folder: Path) -> Case:
    """The case of a folder; `plan`, `countries`, `variables` and `tolerances` of its ``case.json``, and its files."""
    return _read(folder.resolve())


@cache
def _read(folder: Path) -> Case:
    document = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    files: dict[str, dict[str, Path]] = {}
    for entry in document["countries"]:
        files.setdefault(entry["table"], {})[entry["country"]] = (folder / entry["file"]).resolve()
    return Case(
        folder,
        document.get("title") or folder.name,
        tuple(dict.fromkeys(entry["country"] for entry in document["countries"])),
        {name: _table(name, paths) for name, paths in files.items()},
        document["variables"],
        tuple(document["plan"]),
        tuple(
            Tolerance(rule["pattern"], None if rule.get("informational") else float(rule.get("rtol", 1e-8)))
            for rule in document.get("tolerances") or ()
        ),
    )


def _table(name: str, files: Mapping[str, Path]) -> Table:
    found: dict[str, list[str]] = {}
    seen: dict[str, set[str]] = {}
    shared: set[str] = set()
    for path in files.values():
        for column, cells in _columns(path).items():
            values = set(cells) - {""}
            if values & seen.setdefault(column, set()):
                shared.add(column)
            seen[column] |= values
            found.setdefault(column, []).extend(cells)
    return Table(name, files, {column: tuple(cells) for column, cells in found.items()}, frozenset(shared))


def _columns(path: Path) -> dict[str, list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        names = next(rows)
        cells: list[list[str]] = [[] for _ in names]
        for row in rows:
            for into, cell in zip(cells, row, strict=True):
                into.append(cell)
    return dict(zip(names, cells, strict=True))
