"""The love plot: how far two arms are apart in each covariate, before and after weighting."""

from __future__ import annotations

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
    widest,
)
from isthmus_client.results.iptw import differences

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from isthmus_client.results.iptw import IptwFit

# Inches.
ROW = 0.22
PANEL = 3.4
EDGE = 0.6
# Differences below this are commonly taken for balance (Austin 2009).
BALANCED = 0.1
_MARKS = ("o", "s", "^")


class IptwPlots:
    """Figures of inverse probability weighting."""

    def __init__(self, fit: IptwFit) -> None:
        self._fit = fit

    def love(self, title: str = "") -> Figure:
        """Absolute standardised mean differences, the largest before weighting on top; 0.1 is drawn as a line."""
        series = {name: differences(self._fit.answer, name) for name in ("before", *self._fit.weightings)}
        before = series["before"]
        names = sorted(before, key=lambda name: abs(before[name] or 0.0))
        labels = [shortened(name) for name in names]
        left = widest(labels) + 0.25
        width, height = left + PANEL + 0.3, ROW * max(len(names), 2) + 2 * EDGE
        figure = new_figure(width, height)
        axes = figure.add_axes((left / width, EDGE / height, PANEL / width, (height - 2 * EDGE) / height))
        axes.axvline(BALANCED, color=LINE, linewidth=0.8, linestyle=(0, (4, 2)))
        for k, (name, values) in enumerate(series.items()):
            known = [(abs(x), place) for place, x in enumerate(values[n] for n in names) if x is not None]
            label = "before" if name == "before" else f"after, {name}"
            axes.plot(
                [x for x, _ in known],
                [place for _, place in known],
                linestyle="none",
                marker=_MARKS[k % len(_MARKS)],
                markersize=4.5,
                color=style(k)[0],
                markerfacecolor="white" if name == "before" else style(k)[0],
                label=label,
            )
        axes.set_yticks(
            range(len(names)), [literal(text) for text in labels], fontsize=SIZE, fontfamily=FONT, color=INK
        )
        axes.tick_params(axis="x", labelsize=SMALL, colors=INK)
        axes.tick_params(axis="y", length=0)
        axes.set_xlim(left=0.0)
        axes.set_xlabel("absolute standardised mean difference", fontsize=SIZE, fontfamily=FONT, color=INK)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        for side in ("left", "bottom"):
            axes.spines[side].set_color(QUIET)
        axes.legend(
            loc="lower left",
            bbox_to_anchor=(0.0, 1.0),
            ncols=len(series),
            frameon=False,
            fontsize=SMALL,
            handletextpad=0.2,
        )
        if title:
            figure.text(
                0.02, 1 - 0.2 / height, literal(title), fontsize=SIZE, fontfamily=FONT, color=INK, weight="bold"
            )
        return figure
