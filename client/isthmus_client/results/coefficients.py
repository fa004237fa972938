"""Coefficients as R's summaries print them: estimate, standard error, test, P value, stars."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from isthmus_client.results.r_format import LEGEND, aligned, coefficient_columns, stars
from isthmus_client.results.tree import Tree, count, has, number, tree

if TYPE_CHECKING:
    import pandas as pd

Number = float | None


def significance_lines(
    names: Sequence[str],
    estimates: Sequence[Sequence[Number]],
    headings: Sequence[str],
    statistic: Sequence[Number],
    p: Sequence[Number],
    letter: str = "z",
) -> list[str]:
    """Lines of R's ``printCoefmat()``.

    Parameters
    ----------
    names
        Row names, with their footnote marks.
    estimates, headings
        The columns before the test, and their headings.
    statistic, p
        The test of each row.
    letter
        ``z`` or ``t``.
    """
    columns = coefficient_columns(estimates, statistic, p)
    signs = [stars(value) for value in p]
    width = max((len(s) for s in signs), default=0)
    columns.append([s.ljust(width) for s in signs])
    named = [*headings, f"{letter} value" if len(headings) == 2 else letter, f"Pr(>|{letter}|)", ""]
    lines = aligned(names, named, columns, left=(len(columns) - 1,))
    return [*lines, "---", LEGEND] if any(s.strip() for s in signs) else lines


def coefficient_lines(block: Tree, mark: Callable[[str], str] = lambda name: name) -> list[str]:
    """A block of an answer (coefficient -> estimate, se, z or t, p) as R prints it; `mark` adds a name's footnotes."""
    rows = [tree(block, name) for name in block]
    letter = "t" if any("t" in row for row in rows) else "z"
    return significance_lines(
        [mark(name) for name in block],
        [[number(row, key) for row in rows] for key in ("estimate", "se")],
        ["Estimate", "Std. Error"],
        [number(row, letter) for row in rows],
        [number(row, "p") for row in rows],
        letter,
    )


def coefficient_table(block: Tree) -> pd.DataFrame:
    """A block of an answer as a data frame, one row a coefficient."""
    import pandas as pd

    rows = {name: tree(block, name) for name in block}
    keys = list(next(iter(rows.values()), {}))
    columns = {key: [number(row, key) for row in rows.values()] for key in keys}
    return pd.DataFrame(columns, index=pd.Index(list(rows), name="coefficient"), dtype=float)


# --------------------------------------------------------------------------- what regressions share beside them

ROBUST = {"robust": ("HC0", "HC1", "HC3"), "robust_cluster": ("CR0", "CR1")}


def robust_table(answer: Tree, kind: str) -> pd.DataFrame:
    """Coefficients with robust standard errors: ``HC0``, ``HC1``, ``HC3``, or ``CR0``, ``CR1`` by cluster."""
    block = "robust_cluster" if kind.startswith("CR") else "robust"
    return coefficient_table(tree(answer, block, kind))


def robust_tables(answer: Tree) -> dict[str, pd.DataFrame]:
    """Every robust variance of a result, by its caption."""
    return {
        f"Robust standard errors, {kind}": robust_table(answer, kind)
        for block, kinds in ROBUST.items()
        for kind in kinds
        if has(answer, block, kind) and tree(answer, block, kind)
    }


def robust_lines(answer: Tree) -> list[str]:
    """HC3 and the cluster-robust coefficients (CR1, CR0 where there is no CR1), as a summary prints them."""
    lines: list[str] = []
    if has(answer, "robust") and tree(answer, "robust").get("HC3"):
        lines += ["", "Robust standard errors (HC3):", *coefficient_lines(tree(answer, "robust", "HC3"))]
    cluster = tree(answer, "robust_cluster") if answer.get("robust_cluster") else {}
    for kind in ("CR1", "CR0"):
        if cluster.get(kind):
            by = f"{cluster.get('cluster')}, {cluster.get('clusters')} clusters"
            lines += ["", f"Cluster-robust standard errors ({kind}, by {by}):"]
            return [*lines, *coefficient_lines(tree(cluster, kind))]
    return lines


def aliased_text(answer: Tree) -> str:
    """`` (1 not defined because of singularities)``, or nothing."""
    aliased = answer.get("aliased")
    number_of = len(aliased) if isinstance(aliased, list | tuple) else 0
    return f" ({number_of} not defined because of singularities)" if number_of else ""


def left_out_text(answer: Tree) -> str:
    """``9 observations deleted due to missingness``, or nothing."""
    excluded = tree(answer, "excluded") if has(answer, "excluded") else {}
    deleted = sum(count(excluded, country) or 0 for country in excluded)
    return f"{deleted} observation{'s' * (deleted != 1)} deleted due to missingness" if deleted else ""
