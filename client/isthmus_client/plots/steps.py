"""What figures of step curves over time share: the frame, the legend above, the notes beneath."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from isthmus_client.plots.canvas import FONT, INK, LINE, QUIET, SIZE, SMALL, TimeAxis, literal, shortened, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Inches: width of the figure, height of its panel, of a line of text.
WIDTH, PANEL, ROW = 7.2, 3.3, 0.20


def frame(axes: Axes, axis: TimeAxis, last: float, shares: Sequence[float], endpoint: str) -> None:
    """Time from 0 to `last` below, shares in per cent on the left, two spines."""
    axes.set_xlim(0, last * 1.01)
    axes.set_xticks(axis.ticks, axis.labels, family=FONT, size=SIZE)
    axes.set_yticks(shares, [f"{100 * s:.0f} %" for s in shares], family=FONT, size=SIZE)
    axes.set_ylabel(literal(endpoint), family=FONT, size=SIZE, color=INK)
    axes.set_xlabel(literal(f"time ({axis.unit})") if axis.unit else "time", family=FONT, size=SIZE, color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(QUIET)
    axes.tick_params(colors=INK, length=3, color=QUIET)
    axes.grid(axis="y", color=LINE, linewidth=0.4, alpha=0.6)
    axes.set_axisbelow(True)


def legend(
    figure: Figure, curves: Sequence[str], title: str, test: str, *, left: float, top: float, height: float
) -> None:
    """The title, a line for each curve from `top` inches down, and a test's result."""
    from matplotlib.lines import Line2D

    if title:
        figure.text(
            left / WIDTH, (height - 0.20) / height, literal(shortened(title, 90)), size=SIZE + 1, weight="bold",
            family=FONT, color=INK, va="center",
        )  # fmt: skip
    for k, said in enumerate((*curves, *([test] if test else ()))):
        y = (top - ROW * (k + 0.5)) / height
        if k < len(curves):
            colour, dash = style(k)
            ends = [left / WIDTH, (left + 0.38) / WIDTH]
            figure.add_artist(Line2D(ends, [y, y], color=colour, linestyle=dash, linewidth=1.5))
        figure.text((left + 0.47) / WIDTH, y, literal(said), size=SIZE, family=FONT, color=INK, va="center")


def beneath(figure: Figure, notes: Sequence[str], height: float) -> None:
    """Small lines at the foot."""
    for k, note in enumerate(reversed(notes)):
        figure.text(0.12 / WIDTH, (0.10 + ROW * 0.85 * k) / height, literal(note), size=SMALL, color=QUIET, family=FONT)
