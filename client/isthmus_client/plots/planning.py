"""Figures for planning: consistency over a region's share, power over size, bounds over information."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from isthmus.errors import UsageError
from isthmus_client.plots.canvas import FONT, INK, LINE, QUIET, SIZE, SMALL, Dash, literal, new_figure, style, widest
from isthmus_methods.planning import Design, Endpoint, Trial, fraction_curve, fraction_for_method_1, size_curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Inches. The names of the lines stand to the right of the panel.
LEFT, BOTTOM, PANEL, TALL, TOP, HANDLE, EDGE = 0.65, 0.55, 3.6, 2.75, 0.32, 0.55, 0.12
GIVEN = "  given significance"
DASHED: Dash = (0, (4, 2))


def fractions(trials: Mapping[str, Trial], pi: float, alpha: float, target: float | None) -> Figure:
    """Method 1 over the region's share: solid unconditional, dashed given that the overall test is significant."""
    labels = [name or f"{100 * trial.power(alpha):.0f} % power" for name, trial in trials.items()]
    figure, axes = _axes("region's share of the trial", "probability", f"Method 1, π = {pi:g}", [*labels, GIVEN])
    axes.set_xlim(0.0, 1.0)
    axes.set_ylim(0.4, 1.0)
    for k, (label, trial) in enumerate(zip(labels, trials.values(), strict=True)):
        colour, _ = style(k)
        points = fraction_curve(trial, pi=pi, alpha=alpha)
        shares = [p.fraction for p in points]
        axes.plot(shares, [p.method_1.unconditional for p in points], color=colour, label=literal(label))
        axes.plot(
            shares, [p.method_1.conditional for p in points], color=colour, linestyle=DASHED, linewidth=1.0,
            label=GIVEN,
        )  # fmt: skip
        if target is not None:
            _mark(axes, trial, target, pi, colour)
    if target is not None:
        axes.axhline(target, color=LINE, linewidth=0.8, zorder=1)
    _legend(axes)
    return figure


def _mark(axes: Axes, trial: Trial, target: float, pi: float, colour: str) -> None:
    """The share at which the unconditional probability is the target, where there is one."""
    try:
        share = fraction_for_method_1(target, trial, pi=pi)
    except UsageError:
        return
    axes.plot([share], [target], marker="o", markersize=4.5, color=colour, linestyle="none")


def sizes(endpoint: Endpoint, at: Sequence[float], shares: Sequence[float], pi: float, alpha: float) -> Figure:
    """Power in black, Method 1 by share in colours."""
    points = size_curve(endpoint, at, shares, pi=pi, alpha=alpha)
    overall, labels = "power of the overall test", [f"Method 1, share {share:g}" for share in shares]
    title = f"Power, and Method 1 with π = {pi:g}"
    figure, axes = _axes(f"{endpoint.unit} over all regions", "probability", title, [overall, *labels])
    axes.set_ylim(0.0, 1.0)
    axes.set_xlim(min(at), max(at))
    axes.plot(at, [p.power for p in points], color=INK, label=overall)
    for k, label in enumerate(labels):
        colour, dash = style(k)
        line = [p.method_1[k].unconditional for p in points]
        axes.plot(at, line, color=colour, linestyle=dash, label=label)
    for level in (0.8, 0.9):
        axes.axhline(level, color=LINE, linewidth=0.8, zorder=1)
    _legend(axes)
    return figure


def bounds(designs: Sequence[Design]) -> Figure:
    """Upper bounds of each design; lower ones too where it has two sides."""
    labels = [f"{plan.spending.replace('_', ' ')}, α = {plan.alpha:g}" for plan in designs]
    figure, axes = _axes("information fraction", "Z", "Bounds", labels)
    for k, (plan, label) in enumerate(zip(designs, labels, strict=True)):
        colour, dash = style(k)
        axes.plot(
            plan.fractions, plan.upper, color=colour, linestyle=dash, marker="o", markersize=4, label=literal(label)
        )
        if plan.sides == 2:
            axes.plot(plan.fractions, plan.lower, color=colour, linestyle=dash, marker="o", markersize=4)
    axes.set_xlim(0.0, 1.04)
    low, high = axes.get_ylim()
    axes.set_ylim(min(0.0, low), high * 1.05)
    axes.axhline(0.0, color=LINE, linewidth=0.8, zorder=1)
    _legend(axes)
    return figure


def _axes(x: str, y: str, title: str, labels: Sequence[str]) -> tuple[Figure, Axes]:
    """An empty panel with room for the names of its lines."""
    width = LEFT + PANEL + HANDLE + widest(labels, SMALL) + 2 * EDGE
    height = BOTTOM + TALL + TOP
    figure = new_figure(width, height)
    axes = figure.add_axes((LEFT / width, BOTTOM / height, PANEL / width, TALL / height))
    axes.set_xlabel(x, family=FONT, size=SIZE, color=INK)
    axes.set_ylabel(y, family=FONT, size=SIZE, color=INK)
    axes.set_title(title, family=FONT, size=SIZE + 1, weight="bold", color=INK, loc="left")
    axes.tick_params(length=3, color=QUIET, labelcolor=INK, labelsize=SMALL, labelfontfamily=FONT)
    axes.spines[["top", "right"]].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(QUIET)
    return figure, axes


def _legend(axes: Axes) -> None:
    axes.legend(
        loc="upper left", bbox_to_anchor=(1.02, 1.0), frameon=False, borderaxespad=0.0,
        prop={"family": FONT, "size": SMALL}, handlelength=2.2,
    )  # fmt: skip
