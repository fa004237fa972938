"""One small dataset in every format a node reads, its dictionary, and a method that only counts."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from isthmus.v1 import study_pb2
from isthmus_methods import contract as c

VARIABLE = study_pb2.Variable

# USUBJID, SITEID, AGE, SEX, RACE, CNSR, AVAL, STARTDT; None is missing.
NAMES = ("USUBJID", "SITEID", "AGE", "SEX", "RACE", "CNSR", "AVAL", "STARTDT")
ROWS: tuple[tuple[Any, ...], ...] = (
    ("01-701-1015", "701", 63.0, "F", "NO", 0.0, 31.0, "2014-01-02"),
    ("01-701-1023", "701", 64.5, "M", "NA", 1.0, 120.0, "2012-08-05"),
    ("01-710-1028", "710", None, "M", "0", 0.0, 7.0, "2013-07-19"),
    ("01-710-1033", "710", 74.0, None, "1", 1.0, 1.0, None),
    ("01-703-1042", "703", -0.25, "F", None, 0.0, 240.0, "2014-03-18"),
)
_NUMBER_NAMES = ("AGE", "CNSR", "AVAL")


def dictionary(**changes: Any) -> study_pb2.Dataset:
    """The dictionary of ROWS."""
    dataset = study_pb2.Dataset(name="ADTTE", subject="USUBJID", one_row_a_subject=True)
    add = dataset.variables.add
    add(name="USUBJID", type=VARIABLE.TEXT, roles=[VARIABLE.IDENTIFIER])
    add(
        name="AGE",
        type=VARIABLE.NUMERIC,
        unit="years",
        roles=[VARIABLE.AGE],
        minimum=-1,
        maximum=120,
        may_be_missing=True,
    )
    add(name="SEX", type=VARIABLE.FACTOR, levels=["F", "M"], may_be_missing=True)
    add(name="RACE", type=VARIABLE.FACTOR, levels=["NO", "NA", "0", "1"], may_be_missing=True)
    add(name="CNSR", type=VARIABLE.INTEGER, levels=[])
    add(name="AVAL", type=VARIABLE.NUMERIC, unit="days", grid=1, minimum=0)
    add(name="STARTDT", type=VARIABLE.DATE)
    add(name="COUNTRY", type=VARIABLE.FACTOR, levels=["NL", "DE"], roles=[VARIABLE.COUNTRY])
    for name, value in changes.items():
        setattr(dataset, name, value)
    return dataset


def variable(dataset: study_pb2.Dataset, name: str) -> study_pb2.Variable:
    return next(v for v in dataset.variables if v.name == name)


def columns(rows: tuple[tuple[Any, ...], ...] = ROWS) -> dict[str, list[Any]]:
    return {name: [row[place] for row in rows] for place, name in enumerate(NAMES)}


def dataset_json(rows: tuple[tuple[Any, ...], ...] = ROWS) -> dict[str, Any]:
    kinds = {name: "float" if name in _NUMBER_NAMES else "string" for name in NAMES} | {"CNSR": "integer"}
    return {
        "datasetJSONVersion": "1.1.0",
        "records": len(rows),
        "name": "ADTTE",
        "columns": [{"itemOID": f"IT.{n}", "name": n, "label": n, "dataType": kinds[n]} for n in NAMES],
        "rows": [[int(v) if n == "CNSR" else v for n, v in zip(NAMES, row, strict=True)] for row in rows],
    }


def _csv(path: Path) -> Path:
    def cell(value: Any) -> str:
        return "" if value is None else str(value)

    path.write_text("\n".join([",".join(NAMES), *(",".join(map(cell, row)) for row in ROWS)]) + "\n")
    return path


def _frame() -> Any:
    import pandas as pd

    # transport files know no missing text but the empty one
    filled = {n: v if n in _NUMBER_NAMES else [x or "" for x in v] for n, v in columns().items()}
    return pd.DataFrame(filled)


def write(form: str, folder: Path) -> str:
    """ROWS in one form; returns the location."""
    if form == "csv":
        return str(_csv(folder / "adtte.csv"))
    if form == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table(columns()), folder / "adtte.parquet")
        return str(folder / "adtte.parquet")
    if form in ("xpt5", "xpt8"):
        import pyreadstat

        path = folder / f"{form}.xpt"
        pyreadstat.write_xport(_frame(), str(path), file_format_version=int(form[-1]), table_name="ADTTE")
        return str(path)
    if form == "sqlite":
        import sqlite3

        path = folder / "adtte.db"
        with sqlite3.connect(path) as connection:
            connection.execute(f"CREATE TABLE adtte ({', '.join(NAMES)})")
            connection.executemany(f"INSERT INTO adtte VALUES ({', '.join('?' * len(NAMES))})", ROWS)
        connection.close()
        return f"sqlite:///{path}"
    whole = dataset_json()
    path = folder / f"adtte.{form}"
    if form == "ndjson":
        rows = whole.pop("rows")
        path.write_text("\n".join(json.dumps(line) for line in [whole, *rows]) + "\n")
    else:
        path.write_text(json.dumps(whole, indent=2 if form == "json_lines_apart" else None))
    return str(path)


@dataclass(frozen=True)
class Tally:
    """A partial that adds."""

    rows: int
    total: Any
    persons: int

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.rows + other.rows, self.total + other.total, self.persons + other.persons)


class Counting:
    """A method that counts rows and sums its design and numbers."""

    name: ClassVar[str] = "counting"
    version: ClassVar[int] = 1
    title: ClassVar[str] = "Counting"
    leaves: ClassVar[dict[str, c.Field]] = {"n": c.Field(c.Kind.COUNT, "rows")}
    roles: ClassVar[dict[str, c.Role]] = {
        "time": c.Role("time", required=False, holds="number"),
        "event": c.Role("event", required=False, holds="event"),
        "by": c.Role("groups", required=False, many=True, holds="factor"),
        "variables": c.Role("any", required=False, many=True),
        "cluster": c.Role("cluster", required=False, holds="unit"),
    }
    options: ClassVar[dict[str, c.OptionRule]] = {"tau": c.OptionRule("limit", 1.0)}
    uses_terms: ClassVar[bool] = True
    missingness: c.Missingness = c.Missingness.COMPLETE
    notes: ClassVar[dict[str, str]] = {}
    rounds: ClassVar[tuple[int, int]] = (1, 1)

    def __init__(self, missingness: c.Missingness = c.Missingness.COMPLETE, passes: int = 1) -> None:
        self.missingness = missingness
        self.passes = passes
        self.folded: list[c.Block] = []

    def scope(self, spec: c.Spec) -> c.Scope:
        return c.Scope.TOTAL

    def fold(self, block: c.Block, spec: c.Spec, state: c.State, local: Any) -> Tally:
        self.folded.append(block)
        total = block.design.matrix.sum(axis=0) if block.design is not None else np.zeros(0)
        return Tally(block.rows, total, block.persons_selected)

    def release(self, partial: Tally | None, spec: c.Spec, state: c.State, local: Any) -> c.Summary | c.Again:
        if (local or 1) < self.passes:
            return c.Again((local or 1) + 1)
        rows = np.array(0 if partial is None else partial.rows)
        return c.Summary((c.Item("n", rows, c.CellSupport(rows)),))

    def pool(self, contributions: c.Contributions, spec: c.Spec, state: c.State, memory: c.State) -> c.Done:
        return c.Done({})


@pytest.fixture(scope="session")
def sample() -> SimpleNamespace:
    """The functions and rows above: test modules cannot import this one."""
    return SimpleNamespace(
        NAMES=NAMES,
        ROWS=ROWS,
        Counting=Counting,
        columns=columns,
        dataset_json=dataset_json,
        dictionary=dictionary,
        variable=variable,
        write=write,
    )


@pytest.fixture
def csv_file(tmp_path: Path) -> Callable[..., str]:
    """Writes a CSV file from its text or bytes."""

    def made(content: str | bytes, name: str = "adtte.csv") -> str:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return made
