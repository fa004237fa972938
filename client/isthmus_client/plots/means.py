"""The figure of means: a point with its limits for each group, on an axis that need not have a zero."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from isthmus_client.plots.canvas import (
    COLOURS,
    FONT,
    INK,
    LINE,
    QUIET,
    SIZE,
    SMALL,
    literal,
    new_figure,
    shortened,
    widest,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Inches.
ROW, PANEL, EDGE, GAP = 0.32, 3.6, 0.15, 0.18


@dataclass(frozen=True, slots=True)
class Mean:
    """One group; None where it is not estimable."""

    label: str
    estimate: float | None
    lower: float | None
    upper: float | None


def means_figure(
    groups: Sequence[Mean], *, heading: str, measure: str, title: str = "", notes: Sequence[str] = ()
) -> Figure:
    """Means with 95 % limits, the first group on top, numbers beside them.

    Parameters
    ----------
    heading
        Above the groups' names.
    measure
        Name of the axis.
    notes
        Lines beneath.
    """
    labels = [shortened(g.label, 36) for g in groups]
    numbers = [_numbers(g) for g in groups]
    left = EDGE + widest([*labels, heading], SIZE, "bold") + GAP
    width = left + PANEL + GAP + widest([*numbers, "mean (95 % CI)"], SIZE, "bold") + EDGE
    wrapped = [line for note in notes for line in textwrap.wrap(note, max(60, int(width * 16)))]
    foot = 0.55 + 0.19 * len(wrapped)
    body = ROW * max(len(groups), 1)
    height = foot + body + (0.62 if title else 0.34)
    figure = new_figure(width, height)
    axes = figure.add_axes((left / width, foot / height, PANEL / width, body / height))
    for k, group in enumerate(groups):
        if group.estimate is None:
            continue
        if group.lower is not None and group.upper is not None:
            axes.plot([group.lower, group.upper], [k, k], color=INK, linewidth=1.3, zorder=2)
        axes.plot(
            [group.estimate], [k], marker="o", markersize=6.5, color=COLOURS[0], markeredgecolor="white", zorder=3
        )
    points = [x for g in groups for x in (g.estimate, g.lower, g.upper) if x is not None]
    if points:
        room = 0.08 * (max(points) - min(points)) or 0.05 * abs(points[0]) or 1.0
        axes.set_xlim(min(points) - room, max(points) + room)
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.set_yticks([])
    axes.set_xlabel(literal(measure), family=FONT, size=SIZE, color=INK)
    axes.tick_params(length=3, color=QUIET, colors=INK, labelsize=SIZE)
    axes.grid(axis="x", color=LINE, linewidth=0.4)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(QUIET)

    def write(x: float, y: float, text: str, **kind: Any) -> None:
        figure.text(
            x / width, y / height, literal(text), family=FONT, va="center", **{"size": SIZE, "color": INK, **kind}
        )

    top = foot + body
    for x, text in ((EDGE, heading), (left + PANEL + GAP, "mean (95 % CI)")):
        write(x, top + 0.12, text, weight="bold")
    for k, (label, text) in enumerate(zip(labels, numbers, strict=True)):
        write(EDGE, top - ROW * (k + 0.5), label)
        write(left + PANEL + GAP, top - ROW * (k + 0.5), text)
    if title:
        write(EDGE, height - 0.18, shortened(title, 90), size=SIZE + 1, weight="bold")
    for k, line in enumerate(reversed(wrapped)):
        write(EDGE, 0.1 + 0.19 * k, line, size=SMALL, color=QUIET)
    return figure


def _numbers(group: Mean) -> str:
    if group.estimate is None or group.lower is None or group.upper is None:
        return "not estimable"
    texts = (f"{x:.4g}".replace("-", "−") for x in (group.estimate, group.lower, group.upper))
    return "{} ({} – {})".format(*texts)
