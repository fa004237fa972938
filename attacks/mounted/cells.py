"""Attacks on counts, sums and histograms."""

from __future__ import annotations

from attacks.attack import Attack, Claims
from attacks.evidence import Numbers
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


def rounding_gap(scene: Scene) -> Claims:
    counts = first(scene, "table_one", roles={"variables": ["GRADE"]}, purpose="publication").get("count[GRADE]")
    return {} if counts is None else {"six": float(counts[0, 0])}


def nobody_of_a_class(scene: Scene) -> Claims:
    counts = first(scene, "table_one", roles={"variables": ["STAGE"]}, purpose="publication").get("count[STAGE]")
    return {} if counts is None else {"nobody": float(counts[0, 2])}


def dominated_sum(scene: Scene) -> Claims:
    total = first(scene, "table_one", roles={"variables": ["MARK"]}).get("sum[MARK]")
    return {} if total is None else {"marker": float(total[0])}


def rows_of_a_join(scene: Scene) -> Claims:
    table = first(scene, "crosstab", roles={"row": "ARM", "column": "CLASS"}, dataset="VISITS").get("table[]")
    # eight rows, which everybody knows a join makes of each of them
    return {} if table is None else {"cell": float(table[:, 2].sum()) / 8}


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
        4,
        "six or seven behind a rounded five",
        "analyst",
        "publication: 11 a cell, above every gap of rounding",
        ("cells_are_large",),
        SMALL,
        rounding_gap,
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
        17,
        "rows doubled by a join to reach k",
        "analyst",
        "distinct persons are counted",
        ("persons are counted",),
        SMALL,
        rows_of_a_join,
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
