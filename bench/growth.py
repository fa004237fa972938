"""How seconds grow: exponents fitted to fits of more rows, more covariates and rounds of more countries."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.exchange import measure_rounds
from bench.rows import FOLLOW_UP, subjects
from isthmus_methods.contract import Ref, Spec, Term, Variable, VariableType
from isthmus_methods.in_process import pool_in_process
from isthmus_methods.registry import find
from isthmus_node.compute.answer import blocks
from isthmus_node.sources.table import Table

COUNTRIES = ("C1", "C2")
# Sizes of a usual run, and of one with `--large`.
ROWS = (10_000, 100_000, 1_000_000)
COLUMNS = (5, 10, 20, 50)
NODES, NODES_LARGE = (2, 5, 10), (2, 5, 10, 20)
ROWS_FOR_COLUMNS, COLUMNS_FOR_ROWS = 50_000, 6
METHODS: Mapping[str, Mapping[str, str]] = {
    "glm": {"outcome": "RESP"},
    "cox": {"time": "DAY", "event": "EVENT"},
    "log_rank": {"time": "DAY", "event": "EVENT", "arm": "ARM"},
}


def measure_growth(folder: Path, large: bool) -> dict[str, object]:
    """Exponents: 1 is linear, 2 quadratic.

    By rows and by columns the two halves of a method in this process, first round to answer, rows prepared in
    it; by countries a round over real nodes.
    """
    by_rows = {name: _grow(lambda n, name=name: _fit(name, n, COLUMNS_FOR_ROWS), ROWS) for name in METHODS}  # type: ignore[misc]
    by_columns = {
        name: _grow(lambda p, name=name: _fit(name, ROWS_FOR_COLUMNS, p), COLUMNS)  # type: ignore[misc]
        for name in ("glm", "cox")
    }
    nodes = NODES_LARGE if large else NODES
    by_countries = _grow(lambda n: _round(folder / f"nodes-{n}", n), nodes)
    return {
        "by_rows": {"target_exponent": 1, **by_rows},
        "by_columns": {"target_exponent": 2, **by_columns},
        "by_countries": {"target_exponent": 1, "a round": by_countries},
    }


def _grow(seconds: Callable[[int], float], sizes: Sequence[int]) -> dict[str, object]:
    each = [seconds(size) for size in sizes]
    exponent = float(np.polyfit(np.log(sizes), np.log(each), 1)[0])
    last = float(np.log(each[-1] / each[-2]) / np.log(sizes[-1] / sizes[-2]))
    return {
        "seconds": {str(size): round(s, 4) for size, s in zip(sizes, each, strict=True)},
        "exponent": round(exponent, 2),
        "exponent_of_the_last_step": round(last, 2),
    }


def _fit(name: str, rows: int, columns: int) -> float:
    """Seconds of a fit of that many rows in two countries: rows put in order, passes, both halves of each round."""
    method, spec = find(name, 1), _spec(name, columns)
    tables = {country: _table(rows // 2, columns, country, seed) for seed, country in enumerate(COUNTRIES)}
    each = []
    for _ in range(3 if rows <= ROWS_FOR_COLUMNS else 1):
        began = time.perf_counter()
        pool_in_process(method, {country: blocks(spec, table, method) for country, table in tables.items()}, spec)
        each.append(time.perf_counter() - began)
    return statistics.median(each)


def _round(folder: Path, nodes: int) -> float:
    folder.mkdir()
    found: Any = measure_rounds(folder, fits=4, nodes=nodes)
    return float(found["milliseconds_a_round"]["median"]) / 1000


def _dictionary(columns: int) -> dict[str, Variable]:
    whole = {
        "DAY": (0.0, float(FOLLOW_UP)),
        "EVENT": (0.0, 1.0),
        "RESP": (0.0, 1.0),
    }
    numbers = {f"X{k + 1}": Variable(f"X{k + 1}", VariableType.NUMERIC) for k in range(columns)}
    return {
        "ARM": Variable("ARM", VariableType.FACTOR, levels=("0", "1")),
        **{
            name: Variable(name, VariableType.INTEGER, minimum=low, maximum=high) for name, (low, high) in whole.items()
        },
        **numbers,
    }


def _spec(name: str, columns: int) -> Spec:
    variables = _dictionary(columns)
    terms = tuple(Term((Ref(x),)) for x in variables if x.startswith("X")) if find(name, 1).uses_terms else ()
    roles = {role: (Ref(column),) for role, column in METHODS[name].items()}
    used = {*METHODS[name].values(), *(ref.variable for term in terms for ref in term.columns if isinstance(ref, Ref))}
    return Spec(
        name, "TTE", {k: v for k, v in variables.items() if k in used}, roles=roles, terms=terms, countries=COUNTRIES
    )


def _table(rows: int, columns: int, country: str, seed: int) -> Table:
    made = subjects(rows, columns, country, seed)
    numbers = {name: values.astype(np.float64) for name, values in made.items() if name not in ("ARM", "COUNTRY")}
    return Table(
        dataset="TTE",
        country=country,
        rows=rows,
        variables=_dictionary(columns),
        numbers=numbers,
        codes={"ARM": made["ARM"].astype(np.int32)},
        identifiers={},
        subject=np.arange(rows, dtype=np.int32),
        persons=rows,
        digest=b"",
    )
