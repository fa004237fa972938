"""Figures of regional consistency: effects against the threshold, and what shrinkage does to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isthmus_client.plots.canvas import COLOURS
from isthmus_client.plots.forest import ForestRow, forest_figure
from isthmus_client.results.r_format import hazard_ratio
from isthmus_client.results.tree import has, number, texts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from isthmus_client.results.regional_consistency import RegionalFit

# The threshold's line, in a colour that no estimate has.
DASHED = (0, (4, 2))
ENDS = ("estimate", "ci95_lower", "ci95_upper")


class RegionalPlots:
    """Figures of a regional consistency result."""

    def __init__(self, fit: RegionalFit) -> None:
        self._fit = fit

    def consistency(self, title: str = "") -> Figure:
        """Each region's effect, the overall one, and the threshold of Method 1 as a dashed line."""
        fit = self._fit
        rows = [self._row(name) for name in fit.regions]
        estimate, lower, upper = (number(fit.answer, "overall", key) for key in ENDS)
        cells = ("", "100.0", "", "")
        rows.append(ForestRow("overall", estimate, lower, upper, None, cells, pooled=True, rule=True, strong=True))
        figure = forest_figure(
            rows,
            headings=("region", "countries", "% of information", "share of effect", f"keeps {fit.pi:g}"),
            measure=fit.measure,
            ratio=fit.is_ratio,
            title=title or fit.coefficient,
            favours=fit.favours,
            notes=[self._threshold_note(), *self._criteria_notes(), *fit.caveats],
        )
        if fit.threshold is not None:
            _line(figure.axes[0], fit.threshold)
        return figure

    def shrinkage(self, title: str = "") -> Figure:
        """Each region's own effect with its limits and, beneath, the posterior mean or the empirical Bayes estimate."""
        fit = self._fit
        bayes = has(fit.answer, "bayes")
        path, key, label = ("bayes", "mean", "Bayes") if bayes else ("empirical_bayes", "estimate", "empirical Bayes")
        rows: list[ForestRow] = []
        for name in fit.regions:
            own = self._row(name)
            rows.append(ForestRow(name, own.estimate, own.lower, own.upper, own.weight, rule=bool(rows)))
            estimate, lower, upper = (number(fit.answer, path, "regions", name, k) for k in (key, *ENDS[1:]))
            rows.append(ForestRow(f"    {label}", estimate, lower, upper, pooled=True, filled=False))
        prior = (
            f"prior of tau: {fit.sensitivity().index[0]}" if bayes else "tau² by " + str(fit.cell(path, "tau2_method"))
        )
        return forest_figure(
            rows,
            headings=("region",),
            measure=fit.measure,
            ratio=fit.is_ratio,
            title=title or fit.coefficient,
            favours=fit.favours,
            notes=[prior, *fit.caveats],
        )

    def _row(self, name: str) -> ForestRow:
        fit = self._fit
        estimate, lower, upper, fraction = (
            number(fit.answer, "regions", name, key)
            for key in ("estimate", "ci95_lower", "ci95_upper", "information_fraction")
        )
        share = number(fit.answer, "method_1", "regions", name, "share_of_overall")
        holds = fit.cell("method_1", "regions", name, "holds")
        countries = texts(fit.answer, "countries_of_regions", name)
        cells = (
            str(len(countries)),
            f"{100 * (fraction or 0.0):.1f}",
            "–" if share is None else f"{share:.2f}".replace("-", "−"),
            "yes" if holds else "no",
        )
        return ForestRow(name, estimate, lower, upper, fraction, cells)

    def _threshold_note(self) -> str:
        fit = self._fit
        at = fit.threshold
        shown = "not estimable" if at is None else f"{hazard_ratio(at) if fit.is_ratio else at:.3g}"
        return f"dashed: {fit.pi:g} of the overall effect, {fit.measure} {shown}"

    def _criteria_notes(self) -> list[str]:
        """Those that need no bound of their own; the table has all."""
        notes = []
        for criterion, row in self._fit.criteria().iloc[[0, 1, 4]].iterrows():
            holds = {True: "yes", False: "no"}.get(row["holds"], "not estimable")
            p = row["P if uniform"]
            notes.append(f"{criterion}: {holds}" + ("" if p != p else f" (probability if uniform {p:.2f})"))
        return notes


def _line(axes: Axes, at: float) -> None:
    low, high = axes.get_xlim()
    if low < at < high:
        axes.axvline(at, color=COLOURS[1], linestyle=DASHED, linewidth=1.0, zorder=1)
