"""Coefficients as R's summaries print them: estimate, standard error, test, P value, stars."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from isthmus_client.results.r_format import LEGEND, aligned, coefficient_columns, stars
from isthmus_client.results.tree import Tree, number, tree

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
