"""The funnel figure: each study's estimate against its standard error, about what they say together."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isthmus_client.plots.canvas import COLOURS, FONT, INK, LINE, QUIET, SIZE, SMALL, literal, new_figure, shortened

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Inches.
WIDTH, PANEL, LEFT, RIGHT = 6.2, 3.4, 0.75, 0.25
# The 97.5 % point of the normal distribution.
Z95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Study:
    """One point."""

    label: str
    estimate: float
    se: float


def funnel_figure(
    studies: Sequence[Study], middle: float, *, measure: str, title: str = "", notes: Sequence[str] = ()
) -> Figure:
    """Estimates against their standard errors, the most precise on top, with 95 % limits about `middle`.

    Parameters
    ----------
    studies
        One point each, with its name.
    middle
        What the limits are about: the combined estimate, on the scale of the studies'.
    measure
        Name of the horizontal axis.
    notes
        Lines beneath.

    Source: Sterne & Egger (2001), J. Clin. Epidemiol. 54, 1046-1055.
    """
    wrapped = [line for note in notes for line in textwrap.wrap(note, 100)]
    foot = 0.62 + 0.19 * len(wrapped)
    height = foot + PANEL + (0.4 if title else 0.15)
    figure = new_figure(WIDTH, height)
    axes = figure.add_axes((LEFT / WIDTH, foot / height, (WIDTH - LEFT - RIGHT) / WIDTH, PANEL / height))
    bottom = 1.1 * max((s.se for s in studies), default=1.0)
    edges = [middle - Z95 * bottom, middle, middle + Z95 * bottom]
    axes.fill(edges, [bottom, 0.0, bottom], facecolor="#f2f2f2", edgecolor=LINE, linewidth=0.8, zorder=1)
    axes.plot([middle, middle], [0.0, bottom], color=QUIET, linewidth=0.9, zorder=2)
    for study in studies:
        axes.plot([study.estimate], [study.se], marker="o", markersize=5.5, color=COLOURS[0], markeredgecolor="white",
                  zorder=3)  # fmt: skip
        axes.annotate(
            literal(shortened(study.label, 24)), (study.estimate, study.se), xytext=(5, 3), textcoords="offset points",
            size=SMALL, family=FONT, color=INK,
        )  # fmt: skip
    axes.set_ylim(bottom, 0.0)
    points = [*edges, *(s.estimate for s in studies)]
    room = 0.08 * (max(points) - min(points))
    axes.set_xlim(min(points) - room, max(points) + room)
    axes.set_xlabel(literal(measure), family=FONT, size=SIZE, color=INK)
    axes.set_ylabel("standard error", family=FONT, size=SIZE, color=INK)
    axes.tick_params(length=3, color=QUIET, colors=INK, labelsize=SIZE)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["bottom", "left"]].set_color(QUIET)
    if title:
        figure.text(
            LEFT / WIDTH, (height - 0.2) / height, literal(shortened(title, 80)), size=SIZE + 1, weight="bold",
            family=FONT, color=INK, va="center",
        )  # fmt: skip
    for k, line in enumerate(reversed(wrapped)):
        figure.text(LEFT / WIDTH, (0.08 + 0.19 * k) / height, literal(line), size=SMALL, color=QUIET, family=FONT)
    return figure
