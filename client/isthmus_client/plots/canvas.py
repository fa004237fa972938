"""What all figures share: sizes, fonts, colours that hold in grey and for the colour-blind, time axes, text widths.

Figures are made without pyplot: nothing global is touched, no window opens, and threads do not meet.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from isthmus.errors import ConfigError
from isthmus.untrusted import shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FONT = "DejaVu Sans"  # comes with matplotlib, so a figure looks the same everywhere
SIZE = 9.0  # points; every text of a figure has this size
SMALL = 8.0
INK = "#1a1a1a"
QUIET = "#6b6b6b"
LINE = "#b8b8b8"
# Okabe and Ito (2008), ordered so that neighbours also differ in lightness; with a dash each, for print in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#000000", "#E69F00", "#999999")
Dash = tuple[float, tuple[float, ...]]
DASHES: tuple[Dash, ...] = (
    (0, ()),
    (0, (5, 1.6)),
    (0, (1.2, 1.4)),
    (0, (6, 1.6, 1.2, 1.6)),
    (0, (3, 1)),
    (0, (8, 2)),
    (0, (2, 2)),
    (0, (6, 1.4, 1.2, 1.4, 1.2, 1.4)),
)
DAYS_A_YEAR = 365.25
DAYS_A_MONTH = DAYS_A_YEAR / 12


def style(k: int) -> tuple[str, Dash]:
    """Colour and dash of the k-th curve."""
    return COLOURS[k % len(COLOURS)], DASHES[k % len(DASHES)]


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=150, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def text_width(text: str, size: float = SIZE, weight: str = "normal") -> float:
    """Width of a text in inches."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    if not text.strip():
        return 0.0
    path = TextPath((0, 0), literal(text), size=size, prop=FontProperties(family=FONT, weight=weight))
    return float(path.get_extents().width) / 72.0


def literal(text: str) -> str:
    """A label as it stands: matplotlib reads dollar signs as mathematics, names of levels are not."""
    return shown(text, "\n").replace("$", r"\$")


def widest(texts: Sequence[str], size: float = SIZE, weight: str = "normal") -> float:
    """Width of the widest of some texts in inches."""
    return max((text_width(t, size, weight) for t in texts), default=0.0)


def shortened(text: str, longest: int = 44) -> str:
    """A label that fits a figure."""
    text = " ".join(text.split())
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"


@dataclass(frozen=True, slots=True)
class TimeAxis:
    """Ticks of a time axis, at positions in the data's own unit and labelled in a readable one."""

    ticks: tuple[float, ...]
    labels: tuple[str, ...]
    unit: str
    last: float
    scale: float = 1.0  # of the data's unit in one of the unit shown


def time_axis(last: float, unit: str, most: int = 9) -> TimeAxis:
    """A time axis from 0: days in months or years where they are many.

    Parameters
    ----------
    last
        Largest time, in `unit`.
    unit
        Unit of the data; only days are turned into months or years.
    most
        Most ticks.
    """
    scale, shown = 1.0, unit
    if unit.casefold() in ("day", "days", "d"):
        if last > 2.5 * DAYS_A_YEAR:
            scale, shown = DAYS_A_YEAR, "years"
        elif last > 120:
            scale, shown = DAYS_A_MONTH, "months"
    span = max(last / scale, 1e-9)
    steps = {"months": (1, 2, 3, 6, 12, 24, 60), "years": (0.5, 1, 2, 3, 5, 10, 20)}.get(shown, ())
    step = next((float(s) for s in steps if span / s <= most), 0.0) or _round_step(span, most)
    number = math.floor(span / step * (1 + 1e-9))
    values = [step * k for k in range(number + 1)]
    places = max(0, -math.floor(math.log10(step) + 1e-9)) if step < 1 else (1 if step != int(step) else 0)
    return TimeAxis(
        ticks=tuple(v * scale for v in values),
        labels=tuple(f"{v:,.{places}f}" for v in values),
        unit=shown,
        last=last,
        scale=scale,
    )


def _round_step(span: float, most: int) -> float:
    power = 10.0 ** math.floor(math.log10(span / most))
    return next(m * power for m in (1, 2, 2.5, 5, 10, 20) if span / (m * power) <= most)


def svg(figure: Figure, title: str) -> str:
    """The figure as SVG text: letters as letters, the same bytes each time, a title for screen readers."""
    import matplotlib

    target = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "path", "svg.hashsalt": "isthmus"}):
        figure.savefig(target, format="svg", metadata={"Date": None, "Title": shown(title), "Creator": "isthmus"})
    text = target.getvalue()
    return text[text.index("<svg") :]


def save(figure: Figure, path: str | Path) -> Path:
    """Write a figure; the ending of the name says how: png, svg, pdf."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=300 if path.suffix == ".png" else "figure")
    except (OSError, ValueError) as error:
        raise ConfigError(
            "FILE_NOT_WRITTEN",
            f"the figure could not be written to {path}",
            "check the folder, and end the name in .png, .svg or .pdf",
        ) from error
    return path
