"""Figures of a training: measures by round, and predicted against observed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from isthmus_client.plots.canvas import COLOURS, FONT, INK, LINE, QUIET, SIZE, SMALL, Dash, literal, new_figure, style

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from isthmus_client.results.scores import Scores

# Inches.
WIDTH, PANEL, LEFT, RIGHT, FOOT, HEAD, ROW = 7.2, 1.75, 0.75, 0.2, 0.55, 0.12, 0.2
SQUARE = 4.2
# Countries in a line of the legend.
IN_A_ROW = 6
# Dash of what is measured on persons held out.
HELD_OUT: Dash = (0, (4, 1.8))
# Label, colour, dash, width.
Entry = tuple[str, str, Dash | str, float]


def curves_figure(curves: pd.DataFrame, measures: Sequence[str], everybody: str) -> Figure:
    """One panel a measure: by round, in training and on persons held out, of all countries and of each.

    Parameters
    ----------
    curves
        As `TrainingFit.curves`.
    measures
        Its columns to be drawn, at least one.
    everybody
        How the curve of all countries is named in it.
    """
    countries = [c for c in dict.fromkeys(curves["country"]) if c != everybody]
    lines = 1 + math.ceil(len(countries) / IN_A_ROW)
    top = HEAD + ROW * lines
    height = top + len(measures) * (PANEL + FOOT)
    figure = new_figure(WIDTH, height)
    _legend(figure, countries, everybody, set(curves["phase"]), height)
    for k, measure in enumerate(measures):
        bottom = height - top - (k + 1) * (PANEL + FOOT) + FOOT + 0.08
        axes = figure.add_axes((LEFT / WIDTH, bottom / height, (WIDTH - LEFT - RIGHT) / WIDTH, (PANEL - 0.1) / height))
        for place, country in enumerate([*countries, everybody]):
            for phase, rows in curves[curves["country"] == country].dropna(subset=[measure]).groupby("phase"):
                whole = country == everybody
                axes.plot(
                    rows["round"],
                    rows[measure],
                    color=INK if whole else COLOURS[place % len(COLOURS)],
                    linestyle="-" if phase == "train" else HELD_OUT,
                    linewidth=1.8 if whole else 0.9,
                    alpha=1.0 if whole else 0.8,
                    marker="o" if len(rows) == 1 else "",
                    markersize=3,
                    zorder=3 if whole else 2,
                )
        _frame(axes, "round", measure)
        axes.locator_params(axis="x", integer=True)
    return figure


def _legend(figure: Figure, countries: Sequence[str], everybody: str, phases: set[str], height: float) -> None:
    entries: list[Entry] = [(everybody, INK, "-", 1.8)]
    if "evaluate" in phases:
        entries.append(("on persons held out: dashed", QUIET, HELD_OUT, 1.2))
    _entries(figure, entries, 0, height, 2.6)
    for first in range(0, len(countries), IN_A_ROW):
        some = countries[first : first + IN_A_ROW]
        row: list[Entry] = [(c, COLOURS[(first + k) % len(COLOURS)], "-", 0.9) for k, c in enumerate(some)]
        _entries(figure, row, 1 + first // IN_A_ROW, height, 1.05)


def _entries(figure: Figure, entries: Sequence[Entry], line: int, height: float, step: float) -> None:
    from matplotlib.lines import Line2D

    y = (height - HEAD - ROW * (line + 0.5)) / height
    for k, (label, colour, dash, width) in enumerate(entries):
        x = LEFT + step * k
        figure.add_artist(
            Line2D([x / WIDTH, (x + 0.32) / WIDTH], [y, y], color=colour, linestyle=dash, linewidth=width)  # type: ignore[arg-type]
        )
        figure.text((x + 0.4) / WIDTH, y, literal(label), size=SIZE, family=FONT, color=INK, va="center")


def calibration_figure(bands: pd.DataFrame, scores: Scores) -> Figure:
    """Observed shares with their 95 % limits against mean predicted probability; on the diagonal is right.

    Parameters
    ----------
    bands
        As `TrainingFit.calibration`.
    scores
        The same rows' cells, for the line beneath.
    """
    foot = 0.78
    height = foot + SQUARE - 0.9 + 0.15
    figure = new_figure(SQUARE, height)
    side = SQUARE - 0.9
    axes = figure.add_axes((0.7 / SQUARE, foot / height, side / SQUARE, side / height))
    axes.plot([0, 1], [0, 1], color=LINE, linewidth=1.0, zorder=1)
    colour, _ = style(0)
    errors = [bands["observed"] - bands["observed_lower"], bands["observed_upper"] - bands["observed"]]
    axes.errorbar(
        bands["predicted"], bands["observed"], yerr=errors, fmt="o", color=colour, markersize=4.5, elinewidth=1.0,
        capsize=2, zorder=2,
    )  # fmt: skip
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    _frame(axes, "predicted probability", "observed share")
    auc = scores.auc()
    said = f"{scores.n:,} rows held out, {scores.events:,} with the outcome"
    said += f"; AUC {auc.estimate:.3f}" if auc else ""
    figure.text(0.12 / SQUARE, 0.1 / height, literal(said), size=SMALL, color=QUIET, family=FONT)
    return figure


def _frame(axes: Axes, below: str, left: str) -> None:
    axes.set_xlabel(literal(below), family=FONT, size=SIZE, color=INK)
    axes.set_ylabel(literal(left), family=FONT, size=SIZE, color=INK)
    axes.tick_params(length=3, color=QUIET, colors=INK, labelsize=SIZE)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(QUIET)
    axes.grid(axis="y", color=LINE, linewidth=0.4, alpha=0.6)
    axes.set_axisbelow(True)
