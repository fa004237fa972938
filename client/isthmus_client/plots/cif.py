"""The figure of cumulative incidence: steps by cause or by group, with limits at the times asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

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
    time_axis,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Inches.
WIDTH, PANEL, ROW = 7.2, 3.3, 0.20


@dataclass(frozen=True, slots=True)
class IncidenceCurve:
    """One curve: steps at its event times, and limits at the times asked for."""

    name: str
    n: int
    events: int
    time: tuple[float, ...]
    incidence: tuple[float, ...]
    at: tuple[float, ...]
    lower: tuple[float | None, ...]
    upper: tuple[float | None, ...]


def cif_figure(
    curves: Sequence[IncidenceCurve],
    *,
    unit: str = "",
    endpoint: str = "cumulative incidence",
    title: str = "",
    test: str = "",
    last: float = 0.0,
    notes: Sequence[str] = (),
) -> Figure:
    """Cumulative incidence curves; a bar shows the 95 % limits at each time that was asked for.

    Parameters
    ----------
    curves
        At most eight, in the order of the legend.
    unit
        Unit of time; days are shown in months or years where they are many.
    endpoint
        Name of the vertical axis.
    title, test
        One line above, and a test's result in the legend.
    last
        Last time drawn; 0: that of the last event.
    notes
        Sentences beneath the figure.
    """
    end = last or max((c.time[-1] for c in curves if c.time), default=1.0)
    axis = time_axis(end * 1.005, unit)
    head = (0.34 if title else 0.10) + ROW * (len(curves) + bool(test)) + 0.14
    foot = 0.62 + ROW * 0.85 * len(notes)
    height = head + PANEL + foot
    figure = new_figure(WIDTH, height)
    axes = figure.add_axes((0.80 / WIDTH, foot / height, 1 - 1.05 / WIDTH, PANEL / height))
    top = max((x for c in curves for x in (*c.incidence, *(u for u in c.upper if u is not None))), default=0.0)
    top = min(1.0, max(0.1, np.ceil(top * 10.0) / 10.0))
    axes.set_xlim(0, end * 1.01)
    axes.set_ylim(0, top * 1.02)
    axes.set_xticks(axis.ticks, axis.labels, family=FONT, size=SIZE)
    step = 0.02 if top <= 0.1 else 0.05 if top <= 0.3 else 0.1 if top <= 0.6 else 0.2
    shares = np.arange(0.0, top + step / 2, step)
    axes.set_yticks(shares, [f"{100 * s:.0f} %" for s in shares], family=FONT, size=SIZE)
    axes.set_ylabel(literal(endpoint), family=FONT, size=SIZE, color=INK)
    axes.set_xlabel(f"time ({axis.unit})" if axis.unit else "time", family=FONT, size=SIZE, color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(QUIET)
    axes.tick_params(colors=INK, length=3, color=QUIET)
    axes.grid(axis="y", color=LINE, linewidth=0.4, alpha=0.6)
    axes.set_axisbelow(True)
    for k, curve in enumerate(curves):
        colour, dash = style(k)
        steps = np.array([0.0, *curve.incidence, curve.incidence[-1] if curve.incidence else 0.0])
        axes.step(
            np.array([0.0, *curve.time, max(end, *curve.time, 0.0)]),
            steps,
            where="post",
            color=colour,
            linestyle=dash,
            linewidth=1.5,
        )
        # side by side, so that bars at the same time can be told apart
        beside = end * 0.004 * (k - (len(curves) - 1) / 2)
        for t, low, high in zip(curve.at, curve.lower, curve.upper, strict=True):
            if low is not None and high is not None and t <= end:
                axes.plot([t + beside] * 2, [low, high], color=colour, linewidth=1.1)
    _legend(figure, curves, title, test, height)
    for k, note in enumerate(reversed(notes)):
        figure.text(0.12 / WIDTH, (0.10 + ROW * 0.85 * k) / height, literal(note), size=SMALL, color=QUIET, family=FONT)
    return figure


def _legend(figure: Figure, curves: Sequence[IncidenceCurve], title: str, test: str, height: float) -> None:
    from matplotlib.lines import Line2D

    top = height - (0.34 if title else 0.10)
    if title:
        figure.text(
            0.80 / WIDTH, (height - 0.20) / height, literal(shortened(title, 90)), size=SIZE + 1, weight="bold",
            family=FONT, color=INK, va="center",
        )  # fmt: skip
    for k, curve in enumerate(curves):
        y = (top - ROW * (k + 0.5)) / height
        colour, dash = style(k)
        figure.add_artist(Line2D([0.80 / WIDTH, 1.18 / WIDTH], [y, y], color=colour, linestyle=dash, linewidth=1.5))
        said = f"{shortened(curve.name)}:  n = {curve.n:,}, {curve.events:,} events"
        figure.text(1.27 / WIDTH, y, literal(said), size=SIZE, family=FONT, color=INK, va="center")
    if test:
        y = (top - ROW * (len(curves) + 0.5)) / height
        figure.text(1.27 / WIDTH, y, literal(test), size=SIZE, family=FONT, color=INK, va="center")
