"""Figures of adverse events: incidence by arm as dots, and risk differences beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isthmus.errors import UsageError
from isthmus_client.plots.canvas import COLOURS, INK, LINE, QUIET, SIZE, SMALL, literal, new_figure, shortened, widest
from isthmus_client.results.tree import Tree, number, tree

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from isthmus_client.results.safety import SafetyFit

MARKERS = ("o", "^", "s", "D", "v", "P", "X", "*")
PANEL = 2.6  # inches
ROW = 0.24


class SafetyPlots:
    """Figures of an adverse-event result."""

    def __init__(self, fit: SafetyFit) -> None:
        self._fit = fit

    def risk_differences(self, arm: str | None = None, *, most: int = 30, title: str = "") -> Figure:
        """Sets of events from the largest risk difference down: percent of subjects by arm, and the difference.

        Parameters
        ----------
        arm
            The arm against control; None: the last one.
        most
            Most rows: any event and subsets, then the classes with the largest difference either way.

        Raises
        ------
        UsageError
            ``UNKNOWN_ARM``.
        """
        fit = self._fit
        others = [name for name in fit.arms if name != fit.control]
        chosen = arm if arm is not None else others[-1] if others else ""
        if chosen not in others:
            known = ", ".join(others) or "none"
            raise UsageError(
                "UNKNOWN_ARM", f"no arm {chosen!r} is compared with {fit.control!r}", f"there are: {known}"
            )
        names = self._rows(chosen, most)
        blocks = fit.blocks()
        labels = [shortened(name) for name in names]
        left = widest(labels, SIZE) + 0.25
        width, height = left + 2 * PANEL + 0.5, len(names) * ROW + 1.1
        figure = new_figure(width, height)
        low, tall = 0.75 / height, len(names) * ROW / height
        dots = figure.add_axes((left / width, low, PANEL / width, tall))
        ranges = figure.add_axes(((left + PANEL + 0.3) / width, low, PANEL / width, tall))
        for place, name in enumerate(names):
            y = len(names) - 1 - place
            for k, shown in enumerate((fit.control, chosen)):
                percent = number(blocks[name], "by_arm", shown, "percent")
                if percent is not None:
                    dots.plot(percent, y, MARKERS[k], color=COLOURS[k], markersize=5, zorder=3, clip_on=False)
            _range(ranges, blocks[name], chosen, y)
        for axes in (dots, ranges):
            _plain(axes, len(names))
        dots.set_yticks(range(len(names)), [literal(label) for label in reversed(labels)], fontsize=SIZE, color=INK)
        dots.set_xlabel("% of subjects", fontsize=SIZE, color=INK)
        dots.set_xlim(left=0)
        ranges.axvline(0, color=QUIET, linewidth=0.8, zorder=1)
        ranges.set_xlabel("risk difference, % points (95 % CI)", fontsize=SIZE, color=INK)
        for k, shown in enumerate((fit.control, chosen)):
            dots.plot([], [], MARKERS[k], color=COLOURS[k], markersize=5, label=literal(shortened(shown, 30)))
        figure.legend(*dots.get_legend_handles_labels(), loc="upper left", ncols=2, frameon=False, fontsize=SMALL)
        if title:
            figure.suptitle(literal(title), x=0.99, ha="right", fontsize=SIZE, color=INK)
        return figure

    def _rows(self, arm: str, most: int) -> list[str]:
        """Any event and subsets, then classes by their difference; of too many those with the largest either way."""
        first = list(self._fit.blocks(classes=False))
        size = {
            name: number(block, "vs_control", arm, "risk_difference", "estimate") or 0.0
            for name, block in self._fit.blocks().items()
            if name not in first
        }
        kept = sorted(size, key=lambda name: -abs(size[name]))[: max(most - len(first), 0)]
        return [*first, *sorted(kept, key=lambda name: -size[name])]


def _range(axes: Axes, block: Tree, arm: str, y: int) -> None:
    difference = tree(block, "vs_control", arm, "risk_difference")
    estimate = number(difference, "estimate")
    lower, upper = (number(difference, "newcombe95", end) for end in ("lower", "upper"))
    if estimate is None or lower is None or upper is None:
        return
    axes.plot([100 * lower, 100 * upper], [y, y], color=INK, linewidth=1.0, zorder=2)
    axes.plot(100 * estimate, y, "o", color=INK, markersize=4, zorder=3)


def _plain(axes: Axes, rows: int) -> None:
    axes.set_ylim(-0.6, rows - 0.4)
    axes.set_yticks([])
    axes.tick_params(labelsize=SMALL, colors=QUIET, length=2)
    axes.grid(axis="x", color=LINE, linewidth=0.4)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
