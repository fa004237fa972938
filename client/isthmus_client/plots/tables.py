"""Figures of association within strata."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from isthmus.errors import UsageError
from isthmus_client.plots.forest import ForestRow, forest_figure
from isthmus_client.results.tree import count, number, tree

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from isthmus_client.results.tables import CmhFit

Z95 = 1.959963984540054
CELLS = ("treated_event", "treated_noevent", "control_event", "control_noevent")


class CmhPlots:
    """Figures of a Cochran-Mantel-Haenszel result."""

    def __init__(self, fit: CmhFit) -> None:
        self._fit = fit

    def forest(self, title: str = "") -> Figure:
        """Odds ratio of each stratum (Woolf's limits), and the common one of Mantel and Haenszel.

        Raises
        ------
        UsageError
            ``NO_EFFECT`` for the general test, which has none.
        """
        fit = self._fit
        if not fit.two_arms:
            raise UsageError("NO_EFFECT", "a general test has no effect to draw", "name `treated` and `control`")
        strata = tree(fit.answer, "strata")
        rows = [_row(name, [count(strata, name, cell) or 0 for cell in CELLS]) for name in strata]
        estimate, se = (number(fit.answer, "mh_odds_ratio", key) for key in ("log_or_raw_estimate", "se"))
        reach = None if se is None else Z95 * se
        lower, upper = (None if estimate is None or reach is None else estimate + s * reach for s in (-1, 1))
        rows.append(ForestRow("Mantel-Haenszel", estimate, lower, upper, pooled=True, rule=True, strong=True))
        p = number(fit.answer, "breslow_day", "p")
        notes = [] if p is None else [f"homogeneity (Breslow-Day): p = {p:.3g}"]
        return forest_figure(
            rows,
            headings=("stratum", "treated", "control"),
            measure="odds ratio",
            title=title,
            notes=[*notes, *fit.caveats],
        )


def _row(name: str, cells: list[int]) -> ForestRow:
    a, b, c, d = cells
    shown = (f"{a}/{a + b}", f"{c}/{c + d}")
    if not all(cells):
        return ForestRow(name, cells=shown)
    log, se = math.log(a * d / (b * c)), math.sqrt(sum(1 / x for x in cells))
    return ForestRow(name, log, log - Z95 * se, log + Z95 * se, 1 / se**2, shown)
