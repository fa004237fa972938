"""The figure of cumulative incidence: steps by cause or by group, with limits at the times asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from isthmus_client.plots.canvas import (
    new_figure,
    shortened,
    style,
    time_axis,
)
from isthmus_client.plots.steps import PANEL, ROW, WIDTH, beneath, frame, legend

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
    axes.set_ylim(0, top * 1.02)
    step = 0.02 if top <= 0.1 else 0.05 if top <= 0.3 else 0.1 if top <= 0.6 else 0.2
    shares = np.arange(0.0, top + step / 2, step)
    frame(axes, axis, end, shares.tolist(), endpoint)
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
    said = [f"{shortened(c.name)}:  n = {c.n:,}, {c.events:,} events" for c in curves]
    legend(figure, said, title, test, left=0.80, top=height - (0.34 if title else 0.10), height=height)
    beneath(figure, notes, height)
    return figure
