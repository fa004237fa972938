"""Attacks on counts, sums and histograms."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog

from attacks import rows
from attacks.attack import Attack, Claims
from attacks.evidence import Numbers
from attacks.network import COUNTRIES, SEEDS
from attacks.scene import Scene

SMALL = frozenset({"SMALL_CELL"})


def first(scene: Scene, method: str, formula: str | None = None, **asked: object) -> dict[str, Numbers]:
    """Fields of the first round, by name and label as ``name[label]``; empty where nothing left."""
    answers = scene.ask(method, formula, **asked)  # type: ignore[arg-type]
    return {f"{name}[{label}]": value for (name, label), value in answers[0].values.items()} if answers else {}


def small_cell(scene: Scene) -> Claims:
    counts = first(scene, "table_one", roles={"variables": ["CLASS"]}).get("count[CLASS]")
    return {} if counts is None else {"cell": float(counts[0, 2])}


def complement(scene: Scene) -> Claims:
    """All but the victim have a value: how many they are is told beside how many there are."""
    counts = first(scene, "table_one", roles={"variables": ["M"]})
    given, arms = counts.get("count[M]"), counts.get("arms[]")
    return {} if given is None or arms is None else {"cell": float(arms[0] - given[0, 0])}


def margin_less_cells(scene: Scene) -> Claims:
    counts = first(scene, "table_one", roles={"variables": ["CLASS"], "arm": "ARM"})
    cells, arms = counts.get("count[CLASS]"), counts.get("arms[ARM]")
    return {} if cells is None or arms is None else {"cell": float(arms.sum() - cells.sum())}


def cell_of_three(scene: Scene) -> Claims:
    """Tables of two factors, all of large or empty cells, leave one table of three: by linear programming."""
    tables = {}
    for row, column in (("U", "V"), ("U", "W"), ("V", "W")):
        found = first(scene, "crosstab", roles={"row": row, "column": column}).get("table[]")
        if found is None:
            return {}
        tables[row, column] = found
    places = {name: k for k, name in enumerate("UVW")}
    sums, totals = [], []
    for (row, column), table in tables.items():
        for i, j in np.ndindex(2, 2):
            mask = np.zeros((2, 2, 2))
            mask[tuple(i if k == places[row] else j if k == places[column] else slice(None) for k in range(3))] = 1.0
            sums.append(mask.ravel())
            totals.append(float(table[i, j]))
    aim = np.zeros(8)
    aim[7] = 1.0
    least, most = (linprog(sign * aim, A_eq=np.array(sums), b_eq=totals).fun for sign in (1.0, -1.0))
    return {"cell": float(least)} if least is not None and most is not None and abs(least + most) < 1e-6 else {}


def rounding_gap(scene: Scene) -> Claims:
    counts = first(scene, "table_one", roles={"variables": ["GRADE"]}, purpose="publication").get("count[GRADE]")
    return {} if counts is None else {"six": float(counts[0, 0])}


def last_of_a_published_count(scene: Scene) -> Claims:
    """Whoever knows all others in a published cell learns from it whether the victim is in it too."""
    counts = first(scene, "table_one", roles={"variables": ["SEX"]}, purpose="publication").get("count[SEX]")
    known = rows.persons(COUNTRIES[scene.node], SEEDS[scene.node], True).drop(index=rows.PLACE)
    return {} if counts is None else {"present": float(counts[0, 0] - (known.SEX == "F").sum())}


def nobody_of_a_class(scene: Scene) -> Claims:
    counts = first(scene, "table_one", roles={"variables": ["STAGE"]}, purpose="publication").get("count[STAGE]")
    return {} if counts is None else {"nobody": float(counts[0, 2])}


def dominated_sum(scene: Scene) -> Claims:
    total = first(scene, "table_one", roles={"variables": ["MARK"]}).get("sum[MARK]")
    return {} if total is None else {"marker": float(total[0])}


def dominated_outcome(scene: Scene) -> Claims:
    """The same sum, as the outcome of a model that a method fits by score and information."""
    answers = scene.ask("glm", "MARK ~ X1", options={"family": "gaussian"})
    return {"marker": float(answers[0]["columns"][1])} if answers and answers[0].has("columns") else {}


def few_events(scene: Scene) -> Claims:
    """How many have an outcome that the victim alone has: the count is withheld, the model's sums hold it."""
    answers = scene.ask("glm", "SAE ~ X1")
    return {"cell": float(answers[0]["columns"][1])} if answers and answers[0].has("columns") else {}


def rows_of_a_join(scene: Scene) -> Claims:
    table = first(scene, "crosstab", roles={"row": "ARM", "column": "CLASS"}, dataset="VISITS").get("table[]")
    # eight rows, which everybody knows a join makes of each of them
    return {} if table is None else {"cell": float(table[:, 2].sum()) / 8}


def oldest_of_a_sum(scene: Scene) -> Claims:
    """Whoever knows all other ages takes them off the sum."""
    total = first(scene, "table_one", roles={"variables": ["AGE"]}, dataset="AGES").get("sum[AGE]")
    others = rows.persons(COUNTRIES[scene.node], SEEDS[scene.node], True).drop(index=rows.PLACE).AGE
    # summed from the least age of the dictionary on
    return {} if total is None else {"age": float(total[0]) - float((others - 18).sum()) + 18}


def largest_value(scene: Scene) -> Claims:
    cells = first(scene, "table_one", roles={"variables": ["MARK"]}, options={"quantiles": True}).get(
        "values[quantiles of MARK]"
    )
    return {} if cells is None or not len(cells) else {"marker": float(cells[-1, 0]) * 0.001}


def fine_bins(scene: Scene) -> Claims:
    cells = first(scene, "table_one", roles={"variables": ["AGE"]}, options={"quantiles": True}).get(
        "values[quantiles of AGE]"
    )
    return {} if cells is None or not len(cells) else {"age": float(cells[-1, 0])}


ATTACKS = (
    Attack(1, "small cell", "analyst", "k persons a cell", ("cells_are_large",), SMALL, small_cell),
    Attack(
        2,
        "all but one of n",
        "analyst",
        "k persons in the rest of a total",
        ("cells_are_large", "complements_are_large"),
        SMALL,
        complement,
    ),
    Attack(
        3,
        "margin less the cells shown",
        "analyst",
        "all or nothing of a block",
        ("all or nothing",),
        SMALL,
        margin_less_cells,
    ),
    Attack(
        3,
        "a cell of three factors from tables of two",
        "analyst",
        "auditor over combined factors",
        ("auditor of combined factors",),
        frozenset({"DIFFERENCING"}),
        cell_of_three,
        "b",
    ),
    Attack(
        4,
        "six or seven behind a rounded five",
        "analyst",
        "publication: 11 a cell, above every gap of rounding",
        ("cells_are_large", "rounded counts"),
        SMALL,
        rounding_gap,
    ),
    Attack(
        4,
        "the last of a published count",
        "analyst",
        "publication: counts are multiples of 5",
        ("rounded counts",),
        frozenset(),
        last_of_a_published_count,
        "b",
    ),
    Attack(
        5,
        "zero tells something of a whole class",
        "analyst",
        "zeros withheld for publication",
        ("cells_are_large",),
        SMALL,
        nobody_of_a_class,
    ),
    Attack(
        16,
        "mean of a dominated sum",
        "analyst",
        "(n, k) and p-ratio",
        ("sums_are_not_dominated", "sums_leave_a_remainder"),
        frozenset({"CONCENTRATED_SUM"}),
        dominated_sum,
    ),
    Attack(
        16,
        "a dominated sum as the outcome of a model",
        "analyst",
        "(n, k) and p-ratio of a model's outcome",
        ("outcome_is_of_many",),
        frozenset({"CONCENTRATED_SUM"}),
        dominated_outcome,
        "b",
    ),
    Attack(
        1,
        "small cell as the outcome of a model",
        "analyst",
        "k persons with an outcome that is 0 or 1",
        ("outcome_is_of_many",),
        frozenset({"FEW_PERSONS"}),
        few_events,
        "b",
    ),
    Attack(
        17,
        "rows doubled by a join to reach k",
        "analyst",
        "distinct persons are counted",
        ("persons are counted",),
        SMALL,
        rows_of_a_join,
    ),
    Attack(
        37,
        "an age above ninety, from a sum",
        "analyst",
        "ages are read up to 90",
        ("ages up to ninety",),
        frozenset(),
        oldest_of_a_sum,
        "b",
    ),
    Attack(
        19,
        "the last bin's edge is the maximum",
        "analyst",
        "places of the dictionary's grid, k persons each",
        ("bins_are_large",),
        frozenset({"SMALL_BIN"}),
        largest_value,
    ),
    Attack(20, "fine bins", "analyst", "k persons a bin", ("bins_are_large",), frozenset({"SMALL_BIN"}), fine_bins),
)
