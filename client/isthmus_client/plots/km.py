"""The survival figure: steps with a band of their pointwise limits, medians, and who is at risk beneath."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from isthmus_client.plots.canvas import (
    FONT,
    INK,
    QUIET,
    SIZE,
    SMALL,
    TimeAxis,
    literal,
    new_figure,
    shortened,
    style,
    time_axis,
    widest,
)
from isthmus_client.plots.steps import PANEL, ROW, WIDTH, beneath, frame, legend
from isthmus_client.results.kaplan_meier import Curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Inches.
RIGHT = 0.35


def km_figure(
    curves: Sequence[Curve],
    *,
    unit: str = "",
    endpoint: str = "survival",
    title: str = "",
    test: str = "",
    band: bool = True,
    until: float | None = None,
    notes: Sequence[str] = (),
) -> Figure:
    """Survival curves with numbers at risk (and events so far) beneath.

    Parameters
    ----------
    curves
        At most eight, in the order of the legend.
    unit
        Unit of time; days are shown in months or years where they are many.
    endpoint
        Name of the vertical axis.
    title
        One line above.
    test
        A test's result, e.g. ``stratified log-rank p = 0.004``.
    band
        The pointwise 95 % limits as a band.
    until
        Last time drawn, in the unit of the data; None: all of it. The figure says so where follow-up goes on.
    notes
        Sentences beneath the figure.
    """
    axis = _axis(curves, unit, until)
    labels = [shortened(c.name) for c in curves]
    last = max((c.last_time for c in curves), default=0.0)
    if last > axis.last * 1.0001:
        notes = [
            *notes,
            f"Drawn to {axis.last / axis.scale:,.3g} {axis.unit}; follow-up goes on to {last / axis.scale:,.3g}.",
        ]
    wrapped = [line for note in notes for line in _wrapped(note)]
    head = (0.30 if title else 0.08) + ROW * (len(curves) + bool(test)) + 0.12
    risk = 0.50 + ROW * (2 * len(curves) + 2)
    foot = 0.10 + ROW * 0.85 * len(wrapped)
    height = head + PANEL + risk + foot
    figure = new_figure(WIDTH, height)
    # half of the first number stands left of the axis
    first = widest([_at_risk(c, 0.0) for c in curves], SMALL) / 2 + 0.12
    left = max(0.80, 0.20 + widest(labels) + first)
    axes = figure.add_axes((left / WIDTH, (risk + foot) / height, 1 - (left + RIGHT) / WIDTH, PANEL / height))
    axes.set_ylim(0, 1.02)
    frame(axes, axis, axis.last, (0, 0.25, 0.5, 0.75, 1), endpoint)
    for k, curve in enumerate(curves):
        _draw(axes, curve, k, band)
    _medians(axes, curves)
    said = [f"{shortened(c.name)}:  n = {c.n:,}, {c.events:,} events, {median_text(c, axis)}" for c in curves]
    legend(figure, said, title, test, left=left, top=height - (0.30 if title else 0.08), height=height)
    _risk_table(figure, axes, curves, labels, axis, left, first, height, foot)
    beneath(figure, wrapped, height)
    return figure


def _axis(curves: Sequence[Curve], unit: str, until: float | None) -> TimeAxis:
    """Ticks where the numbers at risk are known; the axis' own where they are known nowhere in common."""
    last = max((c.last_time for c in curves), default=1.0) or 1.0
    last = min(last, until) if until else last
    given = sorted({t for c in curves for t in c.risk_times if t <= last * 1.0001})
    # nobody of a curve is at risk after its last time
    known = [t for t in given if all(t in c.risk_times or t > c.last_time for c in curves)]
    # "365 days" is the author's year: within 1 % of a tick it is that tick
    best, most = replace(time_axis(last * 1.005, unit), last=last), 0
    for ticks in (9, 12, 7, 6, 5, 4):
        axis = replace(time_axis(last * 1.005, unit, ticks), last=last)
        near = [min(known, key=lambda k: abs(k - t), default=math.inf) for t in axis.ticks]
        met = [abs(k - t) <= 0.01 * max(t, 1e-9) for k, t in zip(near, axis.ticks, strict=True)]
        if sum(met) > most:
            most = sum(met)
            placed = tuple(k if on else t for k, t, on in zip(near, axis.ticks, met, strict=True))
            best = replace(axis, ticks=placed)
    if most >= min(3, len(best.ticks)) or len(known) < 3:
        return best
    spaced: list[float] = []
    for t in known:
        if not spaced or t - spaced[-1] >= last / 10:
            spaced.append(t)
    return TimeAxis(tuple(spaced), tuple(f"{t:,.10g}" for t in spaced), unit, last)


def _draw(axes: Axes, curve: Curve, k: int, band: bool) -> None:
    colour, dash = style(k)
    time = np.array([0.0, *curve.time, max(curve.last_time, *curve.time, 0.0)])
    survival = np.array([1.0, *curve.survival, curve.survival[-1] if curve.survival else 1.0])
    if band:
        lower = np.array([1.0, *_filled(curve.lower)])
        upper = np.array([1.0, *_filled(curve.upper)])
        lower, upper = np.append(lower, lower[-1]), np.append(upper, upper[-1])
        axes.fill_between(time, lower, upper, step="post", color=colour, alpha=0.16, linewidth=0)
    axes.step(time, survival, where="post", color=colour, linestyle=dash, linewidth=1.5, solid_capstyle="butt")


def _filled(values: Sequence[float | None]) -> list[float]:
    return [math.nan if v is None else v for v in values]


def _medians(axes: Axes, curves: Sequence[Curve]) -> None:
    reached = [c.median[0] for c in curves if c.median[0] is not None]
    if not reached:
        return
    axes.plot([0, max(reached)], [0.5, 0.5], color=QUIET, linewidth=0.7, linestyle=(0, (2, 2)))
    for k, curve in enumerate(curves):
        if curve.median[0] is not None:
            axes.plot([curve.median[0]] * 2, [0, 0.5], color=style(k)[0], linewidth=0.7, linestyle=(0, (2, 2)))


def median_text(curve: Curve, axis: TimeAxis) -> str:
    """The median and its limits in the unit shown."""
    scale = axis.scale
    estimate, lower, upper = curve.median
    if estimate is None:
        return "median not reached"
    places = 0 if max(estimate, 1) / scale >= 100 else 1 if estimate / scale >= 10 else 2

    def shown(value: float | None) -> str:
        return "not reached" if value is None else f"{value / scale:,.{places}f}"

    return f"median {shown(estimate)} ({shown(lower)} – {shown(upper)}) {axis.unit}".rstrip()


def _risk_table(
    figure: Figure,
    axes: Axes,
    curves: Sequence[Curve],
    labels: Sequence[str],
    axis: TimeAxis,
    left: float,
    first: float,
    height: float,
    foot: float,
) -> None:
    """Two blocks: at risk, then events so far, with a line each curve."""
    span = (WIDTH - left - RIGHT) / WIDTH
    end = axes.get_xlim()[1]
    # every second number where they would run into each other
    wide = widest([_at_risk(c, t) for c in curves for t in axis.ticks], SMALL) + 0.10
    gap = (axis.ticks[1] / end * span * WIDTH) if len(axis.ticks) > 1 else WIDTH
    every = max(1, math.ceil(wide / gap))
    y = foot + ROW * (2 * len(curves) + 2) - ROW * 0.5
    for heading, numbers in (("at risk", _at_risk), ("events so far", _events)):
        figure.text(left / WIDTH, y / height, heading, size=SMALL, family=FONT, color=QUIET, va="center", ha="left")
        y -= ROW
        for k, (curve, label) in enumerate(zip(curves, labels, strict=True)):
            figure.text(
                (left - first) / WIDTH, y / height, literal(label), size=SIZE, family=FONT, color=style(k)[0],
                va="center", ha="right",
            )  # fmt: skip
            for t in axis.ticks[::every]:
                figure.text(
                    left / WIDTH + t / end * span, y / height, numbers(curve, t), size=SMALL, family=FONT, color=INK,
                    va="center", ha="center",
                )  # fmt: skip
            y -= ROW


def _known(curve: Curve, t: float) -> int | None:
    """Position of a time in the curve's risk table."""
    for k, known in enumerate(curve.risk_times):
        if math.isclose(known, t, rel_tol=1e-9, abs_tol=1e-6):
            return k
    return None


def _at_risk(curve: Curve, t: float) -> str:
    """At risk at a time; empty where the answer does not give it."""
    k = _known(curve, t)
    return f"{curve.at_risk[k]:,}" if k is not None else "0" if t > curve.last_time else ""


def _events(curve: Curve, t: float) -> str:
    """Events up to a time; empty where the answer does not give it."""
    k = _known(curve, t)
    return f"{curve.events_until[k]:,}" if k is not None else f"{curve.events:,}" if t > curve.last_time else ""


def _wrapped(note: str, width: int = 118) -> list[str]:
    import textwrap

    return textwrap.wrap(note, width)
