"""Planning a trial without data: ``from isthmus_client import planning``. Functions, and their tables and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from isthmus_methods import planning as functions
from isthmus_methods.planning import *  # noqa: F403  (the same names, in one place for a statistician)
from isthmus_methods.planning import Design, Endpoint, Trial

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = [*functions.__all__, "bounds_figure", "fraction_figure", "size_figure", "table"]  # noqa: PLE0604


class HasRow(Protocol):
    """Something that is one row of a table."""

    def row(self) -> Mapping[str, str | float | int]: ...


def table(what: Design | Sequence[HasRow]) -> pd.DataFrame:
    """A design, the options of `options`, or the points of a curve as a data frame."""
    import pandas as pd

    if isinstance(what, Design):
        looks = pd.Index(range(1, len(what.looks) + 1), name="look")
        return pd.DataFrame([look.row() for look in what.looks], index=looks)
    frame = pd.DataFrame([one.row() for one in what])
    return frame.set_index("way") if "way" in frame else frame


def fraction_figure(
    trials: Trial | Mapping[str, Trial], *, pi: float = 0.5, alpha: float = 0.025, target: float | None = 0.8
) -> Figure:
    """Method 1 over the region's share of the trial, unconditional and given significance.

    Parameters
    ----------
    trials
        One trial, or several with a name each.
    target
        A probability to mark, with the share at which each trial reaches it; None: none.
    """
    from isthmus_client.plots import planning as plots

    named = {"": trials} if isinstance(trials, Trial) else trials
    return plots.fractions(named, pi, alpha, target)


def size_figure(
    endpoint: Endpoint,
    sizes: Sequence[float],
    fractions: Sequence[float] = (0.1, 0.2, 0.3),
    *,
    pi: float = 0.5,
    alpha: float = 0.025,
) -> Figure:
    """Power of the overall test, and Method 1 for regions with these shares, over the size of the trial."""
    from isthmus_client.plots import planning as plots

    return plots.sizes(endpoint, sizes, fractions, pi, alpha)


def bounds_figure(designs: Design | Sequence[Design]) -> Figure:
    """Bounds of Z over the information fraction."""
    from isthmus_client.plots import planning as plots

    return plots.bounds([designs] if isinstance(designs, Design) else designs)
