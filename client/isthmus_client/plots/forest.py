"""The forest figure: estimates with their limits on a ratio scale, pooled ones as diamonds, numbers beside them."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

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
from isthmus_client.results.r_format import hazard_ratio

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Inches.
ROW = 0.245
GAP = 0.22
PANEL = 2.9
EDGE = 0.15
# Wider than this on the ratio scale, an interval is cut and ends in an arrow.
WIDEST = math.log(16)
TICKS = (
    (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0),
    (0.5, 0.7, 1.0, 1.4, 2.0),
    (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
    (0.01, 0.1, 1.0, 10.0, 100.0),
    (0.0001, 0.01, 1.0, 100.0, 10000.0),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ForestRow:
    """One row; `estimate` and limits on the log scale."""

    label: str
    estimate: float | None = None
    lower: float | None = None
    upper: float | None = None
    weight: float | None = None  # relative size of the square
    cells: tuple[str, ...] = ()  # between label and panel
    pooled: bool = False
    filled: bool = True
    rule: bool = False  # a line above this row
    strong: bool = False
    note: str = ""


def effect_text(row: ForestRow, ratio: bool) -> str:
    """Estimate and limits, as a ratio or as the difference that it is."""
    return ratio_text(row) if ratio else difference_text(row)


def ratio_text(row: ForestRow) -> str:
    """``0.84 (0.74 – 0.96)``."""
    if row.estimate is None or row.lower is None or row.upper is None:
        return "not estimable"
    # a narrow interval, as of a number in a small unit, needs more than two decimals
    width = hazard_ratio(row.upper - row.estimate) or 1.0
    places = min(4, max(2, 1 - math.floor(math.log10(max(2 * (width - 1.0), 1e-9)))))
    return f"{_short(row.estimate, places)} ({_short(row.lower, places)} – {_short(row.upper, places)})"


def difference_text(row: ForestRow) -> str:
    """``-1.84 (-2.74 – -0.96)``."""
    if row.estimate is None or row.lower is None or row.upper is None:
        return "not estimable"
    places = min(6, max(2, 1 - math.floor(math.log10(max(row.upper - row.lower, 1e-9)))))
    low, high = (f"{x:.{places}f}".replace("-", "−") for x in (row.lower, row.upper))
    return f"{row.estimate:.{places}f}".replace("-", "−") + f" ({low} – {high})"


def _short(value: float, places: int) -> str:
    ratio = hazard_ratio(value) or 0.0
    if ratio >= 1000 or ratio < 0.001:
        return f"{ratio:.0e}" if math.isfinite(ratio) else "∞"
    return f"{ratio:.{places}f}"


def forest_figure(
    rows: Sequence[ForestRow],
    *,
    headings: Sequence[str] = (),
    measure: str = "hazard ratio",
    title: str = "",
    favours: tuple[str, str] | None = None,
    notes: Sequence[str] = (),
    ratio: bool = True,
) -> Figure:
    """Estimates as squares, pooled ones as diamonds, on a logarithmic axis, or on a plain one.

    Parameters
    ----------
    rows
        From top to bottom.
    headings
        Of the row label and of each of the row's cells, e.g. ``("country", "n", "events")``.
    measure
        Name of the horizontal axis.
    favours
        What lies left and right of no effect.
    notes
        Lines beneath: heterogeneity, then caveats.
    ratio
        Whether estimates are logarithms of ratios; False: they are differences.
    """
    columns = len(headings) - 1 if headings else len(rows[0].cells) if rows else 0
    labels = [shortened(r.label) for r in rows]
    numbers = [effect_text(r, ratio) for r in rows]
    wanted = f"{measure} (95 % CI)"
    label_width = widest([*labels, *headings[:1]], SIZE, "bold") + GAP
    cell_widths = [
        widest(
            [*(r.cells[k] for r in rows if len(r.cells) > k), headings[k + 1] if headings else ""],
            SIZE,
            "bold",
        )
        + GAP
        for k in range(columns)
    ]
    number_width = widest([*numbers, wanted], SIZE, "bold")
    left = EDGE + label_width + sum(cell_widths)
    width = left + PANEL + GAP + number_width + EDGE
    wrapped = [line for note in notes for line in textwrap.wrap(note, max(60, int(width * 16.5)))]
    head = (0.32 if title else 0.05) + ROW
    foot = 0.45 + (0.22 if favours else 0.0) + 0.10 + ROW * 0.75 * len(wrapped)
    height = head + ROW * len(rows) + foot
    figure = new_figure(width, height)
    axes = figure.add_axes((left / width, foot / height, PANEL / width, ROW * len(rows) / height))
    _scale(axes, rows, measure, ratio)
    for k, row in enumerate(rows):
        _draw(axes, row, len(rows) - 1 - k, rows)
    _texts(figure, rows, labels, numbers, headings, wanted, cell_widths, label_width, left, width, height, head)
    if title:
        figure.text(
            EDGE / width, (height - 0.17) / height, literal(shortened(title, 100)), size=SIZE + 1, weight="bold",
            family=FONT, color=INK, va="center",
        )  # fmt: skip
    if favours:
        _favours(figure, axes, favours, left, width, height, foot)
    for k, line in enumerate(reversed(wrapped)):
        figure.text(EDGE / width, (0.10 + ROW * 0.75 * k) / height, literal(line), size=SMALL, color=QUIET, family=FONT)
    return figure


def _limits(rows: Sequence[ForestRow], ratio: bool) -> tuple[float, float]:
    """Of the axis: all estimates are inside, very wide intervals are not."""
    beyond, widest_ = (30.0, WIDEST) if ratio else (math.inf, math.inf)
    points = [r.estimate for r in rows if r.estimate is not None and abs(r.estimate) < beyond] or [0.0]
    low = min([0.0, *points, *(max(r.lower, -widest_) for r in rows if r.lower is not None)])
    high = max([0.0, *points, *(min(r.upper, widest_) for r in rows if r.upper is not None)])
    # an interval much wider than the others does not press them together
    spans = sorted(r.upper - r.lower for r in rows if r.lower is not None and r.upper is not None)
    if spans:
        usual = spans[len(spans) // 2]
        low = max(low, min([0.0, *points]) - 3.5 * usual)
        high = min(high, max([0.0, *points]) + 3.5 * usual)
    margin = 0.06 * (high - low) or 0.1
    return low - margin, high + margin


def _scale(axes: Axes, rows: Sequence[ForestRow], measure: str, ratio: bool) -> None:
    low, high = _limits(rows, ratio)
    axes.set_xlim(low, high)
    axes.set_ylim(-0.5, len(rows) - 0.5)
    if ratio:
        ticks = _ticks(low, high)
        axes.set_xticks([math.log(t) for t in ticks], [f"{t:.3g}" for t in ticks], family=FONT, size=SIZE)
    else:
        from matplotlib.ticker import MaxNLocator

        plain = [t for t in MaxNLocator(5).tick_values(low, high) if low <= t <= high]
        axes.set_xticks(plain, [f"{t:.4g}".replace("-", "−") for t in plain], family=FONT, size=SIZE)
    axes.set_yticks([])
    label = literal(f"{measure} (log scale)" if ratio else measure)
    axes.set_xlabel(label, family=FONT, size=SIZE, color=INK, labelpad=3)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(QUIET)
    axes.tick_params(length=3, color=QUIET, colors=INK)
    axes.axvline(0.0, color=QUIET, linewidth=0.9, zorder=1)


def _ticks(low: float, high: float) -> list[float]:
    """Ratios to mark, 1 among them where it is inside, with room for their labels."""
    room = 0.36 * (high - low) / PANEL
    for candidates in TICKS:
        inside = [t for t in candidates if low <= math.log(t) <= high]
        gaps = [math.log(b / a) for a, b in itertools.pairwise(inside)]
        covers = math.log(candidates[0]) <= low + 0.3 * (high - low)
        if 3 <= len(inside) <= 7 and min(gaps) >= room and (covers or len(inside) >= 4):
            return inside
    if high - low < 0.7:
        # a narrow axis: equal steps of the ratio
        step = next(s for s in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if math.exp(high) - math.exp(low) <= 6 * s)
        first = math.ceil(math.exp(low) / step)
        return [round(step * k, 10) for k in range(first, math.floor(math.exp(high) / step) + 1)]
    # a wide one: equal powers, one at a time from 1 outwards
    power = math.ceil(room / math.log(2))
    reach = range(math.ceil(low / (power * math.log(2))), math.floor(high / (power * math.log(2))) + 1)
    return [2.0 ** (power * k) for k in reach]


def _draw(axes: Axes, row: ForestRow, y: int, rows: Sequence[ForestRow]) -> None:
    from matplotlib.patches import Polygon

    if row.rule:
        axes.axhline(y + 0.5, color=LINE, linewidth=0.8, xmin=-5, xmax=5, clip_on=False)
    if row.estimate is None or row.lower is None or row.upper is None:
        return
    low, high = axes.get_xlim()
    if row.pooled:
        face = COLOURS[0] if row.filled else "white"
        corners = [(row.lower, y), (row.estimate, y + 0.27), (row.upper, y), (row.estimate, y - 0.27)]
        axes.add_patch(Polygon(corners, closed=True, facecolor=face, edgecolor=COLOURS[0], linewidth=1.1, zorder=3))
        return
    start, end = max(row.lower, low), min(row.upper, high)
    axes.plot([start, end], [y, y], color=INK, linewidth=1.1, solid_capstyle="butt", zorder=2)
    for cut, at, marker in ((row.lower < low, low, "<"), (row.upper > high, high, ">")):
        if cut:
            axes.plot([at], [y], marker=marker, color=INK, markersize=5, clip_on=False, zorder=2)
    if low <= row.estimate <= high:
        heaviest = max((r.weight or 0.0 for r in rows if not r.pooled), default=0.0)
        share = math.sqrt((row.weight or 0.0) / heaviest) if heaviest and row.weight else 0.6
        axes.plot(
            [row.estimate], [y], marker="s", markersize=3.5 + 5.0 * share, color=COLOURS[0], markeredgecolor="white",
            markeredgewidth=0.5, zorder=3,
        )  # fmt: skip


def _texts(
    figure: Figure,
    rows: Sequence[ForestRow],
    labels: Sequence[str],
    numbers: Sequence[str],
    headings: Sequence[str],
    wanted: str,
    cell_widths: Sequence[float],
    label_width: float,
    left: float,
    width: float,
    height: float,
    head: float,
) -> None:
    edges = [EDGE + label_width + sum(cell_widths[: k + 1]) - GAP for k in range(len(cell_widths))]
    y = (height - head + ROW / 2) / height

    def put(x: float, at: float, text: str, align: str, strong: bool) -> None:
        figure.text(
            x / width, at, literal(text), size=SIZE, family=FONT, ha=align, va="center", color=INK,
            weight="bold" if strong else "normal",
        )  # fmt: skip

    if headings:
        put(EDGE, y, headings[0], "left", True)
        for edge, text in zip(edges, headings[1:], strict=True):
            put(edge, y, text, "right", True)
    put(left + PANEL + GAP, y, wanted, "left", True)
    for k, row in enumerate(rows):
        y = (height - head - ROW * (k + 0.5)) / height
        put(EDGE, y, labels[k], "left", row.strong)
        for edge, text in zip(edges, row.cells, strict=False):
            put(edge, y, text, "right", row.strong)
        put(left + PANEL + GAP, y, numbers[k], "left", row.strong)


def _favours(
    figure: Figure, axes: Axes, favours: tuple[str, str], left: float, width: float, height: float, foot: float
) -> None:
    low, high = axes.get_xlim()
    one = left + PANEL * (0.0 - low) / (high - low)
    y = (foot - 0.53) / height
    room = int((width - 0.4) * 5.5)
    figure.text(
        (one - 0.10) / width, y, literal(f"← {shortened(favours[0], room)}"), size=SMALL, family=FONT, color=QUIET,
        ha="right", va="center",
    )  # fmt: skip
    figure.text(
        (one + 0.10) / width, y, literal(f"{shortened(favours[1], room)} →"), size=SMALL, family=FONT, color=QUIET,
        ha="left", va="center",
    )  # fmt: skip
