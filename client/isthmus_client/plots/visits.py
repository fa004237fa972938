"""Means over visits: a line an arm, with limits, moved apart so that they can be told from each other."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isthmus_client.plots.canvas import (
    FONT,
    INK,
    LINE,
    QUIET,
    SIZE,
    SMALL,
    literal,
    new_figure,
    shortened,
    style,
    text_width,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Inches.
LEFT, RIGHT, PANEL, A_VISIT = 0.75, 0.2, 3.1, 1.15
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "o")


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean at a visit; None where it cannot be estimated."""

    estimate: float | None
    lower: float | None
    upper: float | None


def visits_figure(
    visits: Sequence[str],
    arms: Sequence[tuple[str, Sequence[Mean]]],
    *,
    measure: str,
    title: str = "",
    notes: Sequence[str] = (),
) -> Figure:
    """A point and its 95 % limits for each arm at each visit, the arms' points joined.

    Parameters
    ----------
    visits
        From left to right.
    arms
        Name of each, and its means in the order of the visits.
    measure
        Name of the vertical axis.
    notes
        Lines beneath.
    """
    width = LEFT + RIGHT + max(4.2, A_VISIT * len(visits))
    wrapped = [line for note in notes for line in textwrap.wrap(note, int(width * 16))]
    names = [shortened(name) for name, _ in arms]
    per_row = max(1, int((width - LEFT) / (max((text_width(n) for n in names), default=1.0) + 0.6)))
    rows = -(-len(names) // per_row)
    head = (0.35 if title else 0.1) + 0.22 * rows
    foot = 0.55 + 0.19 * len(wrapped)
    height = head + PANEL + foot
    figure = new_figure(width, height)
    axes = figure.add_axes((LEFT / width, foot / height, (width - LEFT - RIGHT) / width, PANEL / height))
    apart = min(0.09, 0.5 / max(1, len(arms)))
    for k, (name, means) in enumerate(arms):
        colour, dash = style(k)
        here = [
            (v + (k - (len(arms) - 1) / 2) * apart, m.estimate, m.lower, m.upper)
            for v, m in enumerate(means)
            if m.estimate is not None
        ]
        axes.plot(
            [x for x, *_ in here], [e for _, e, *_ in here], color=colour, linestyle=dash, linewidth=1.4,
            marker=MARKERS[k % len(MARKERS)], markersize=5.5, markeredgecolor="white", label=literal(shortened(name)),
            zorder=3,
        )  # fmt: skip
        for x, _, low, high in here:
            if low is not None and high is not None:
                axes.plot([x, x], [low, high], color=colour, linewidth=1.1, zorder=2)
    low, high = axes.get_ylim()
    if low < 0 < high:
        axes.axhline(0.0, color=LINE, linewidth=0.8, zorder=1)
    axes.set_xlim(-0.4, len(visits) - 0.6)
    axes.set_xticks(range(len(visits)), [literal(shortened(v, 18)) for v in visits])
    axes.set_ylabel(literal(shortened(measure, 60)), family=FONT, size=SIZE, color=INK)
    axes.tick_params(length=3, color=QUIET, labelcolor=INK, labelsize=SIZE)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["bottom", "left"]].set_color(QUIET)
    figure.legend(
        loc="lower left", bbox_to_anchor=(LEFT / width, (foot + PANEL) / height), ncols=per_row, frameon=False,
        prop={"family": FONT, "size": SIZE}, labelcolor=INK, handlelength=2.6, borderaxespad=0.15, columnspacing=1.6,
    )  # fmt: skip
    if title:
        figure.text(
            LEFT / width, (height - 0.2) / height, literal(shortened(title, 80)), size=SIZE + 1, weight="bold",
            family=FONT, color=INK, va="center",
        )  # fmt: skip
    for k, line in enumerate(reversed(wrapped)):
        figure.text(LEFT / width, (0.08 + 0.19 * k) / height, literal(line), size=SMALL, color=QUIET, family=FONT)
    return figure
