"""The figures each result offers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from isthmus.errors import UsageError
from isthmus_client.plots.forest import ForestRow, forest_figure
from isthmus_client.plots.km import km_figure
from isthmus_client.plots.means import Mean, means_figure
from isthmus_client.results.r_format import p_values
from isthmus_methods.contract import column_name, term_columns

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from isthmus_client.results.cox import CoxFit
    from isthmus_client.results.fit import Fit
    from isthmus_client.results.glm import GlmFit
    from isthmus_client.results.interaction import InteractionFit
    from isthmus_client.results.kaplan_meier import KmFit
    from isthmus_client.results.linear_model import LmFit
    from isthmus_client.results.log_rank import LogRankFit
    from isthmus_client.results.meta_analysis import MetaFit

MOST_CURVES = 8


class KmPlots:
    """Figures of a Kaplan-Meier result."""

    def __init__(self, fit: KmFit) -> None:
        self._fit = fit

    def km(
        self,
        by: str | None = None,
        *,
        endpoint: str = "survival",
        title: str = "",
        test: LogRankFit | None = None,
        band: bool = True,
        limits: str = "loglog",
        until: float | None = None,
    ) -> Figure:
        """Survival curves with numbers at risk and events beneath.

        Parameters
        ----------
        by
            The factor whose levels are drawn; None: the first, or the overall curve where there is none.
        endpoint
            Name of the vertical axis, e.g. ``recurrence-free survival``.
        test
            A log-rank result to note in the figure.
        band
            Pointwise 95 % limits.
        limits
            Their type: ``loglog``, ``plain`` or ``log``.
        until
            Last time drawn; None: the last of the times asked for, or all follow-up where none were.

        Raises
        ------
        UsageError
            ``UNKNOWN_GROUPING``, or ``TOO_MANY_CURVES`` above eight.
        """
        fit = self._fit
        factors = fit.by
        chosen = by if by is not None else (factors[0] if factors else None)
        if chosen is not None and chosen not in factors:
            raise UsageError(
                "UNKNOWN_GROUPING",
                f"the result has no curves by {chosen!r}",
                f"it has: {', '.join(factors) or 'the overall curve'}",
            )
        names = [g for g in fit.groups if g.startswith(f"{chosen}=")] if chosen else ["overall"]
        if len(names) > MOST_CURVES:
            raise UsageError("TOO_MANY_CURVES", f"{len(names)} curves in one figure", "draw another factor")
        noted = ""
        if test is not None and test.tests:
            noted = f"{test.test_name(test.tests[0])}: p {_p(test.p)}"
        return km_figure(
            [fit.curve(name, limits) for name in names if fit.curve(name, limits).n],
            unit=fit.time_unit,
            endpoint=endpoint,
            title=title,
            test=noted,
            band=band,
            until=until or self._last_asked(),
            notes=_notes(fit),
        )

    def _last_asked(self) -> float | None:
        times = self._fit.spec.options.get("times")
        return float(times[-1]) if isinstance(times, tuple) and len(times) > 2 else None


class CoxPlots:
    """Figures of a Cox model."""

    def __init__(self, fit: CoxFit) -> None:
        self._fit = fit

    def forest(self, title: str = "") -> Figure:
        """By country with the pooled fit and the meta-analysis, where asked for; otherwise by coefficient."""
        if self._fit.by_country is not None:
            return self._fit.by_country.plot.forest(pooled=self._fit, title=title)
        return self.coefficients(title)

    def coefficients(self, title: str = "") -> Figure:
        """The hazard ratio of every coefficient; factors show their reference level."""
        fit = self._fit
        rows: list[ForestRow] = []
        found = {c.name: c for c in fit.coefficients}
        for term in fit.spec.terms:
            for name, _ in term_columns(fit.spec, term):
                c = found.get(name)
                if c is not None:
                    weight = 1 / c.se**2 if c.se else None
                    rows.append(ForestRow(name, c.estimate, c.lower, c.upper, weight and 1.0))
        return forest_figure(rows, headings=("coefficient",), title=title, notes=_notes(fit))


class GlmPlots:
    """Figures of a generalised linear model."""

    def __init__(self, fit: GlmFit) -> None:
        self._fit = fit

    def coefficients(self, title: str = "") -> Figure:
        """The odds, rate or mean ratio of every coefficient with its limits, or the difference."""
        ratio = self._fit.ratio
        table = self._fit.table()
        rows = []
        for term in self._fit.spec.terms:
            for name, _ in term_columns(self._fit.spec, term):
                if name in table.index:
                    values = (float(table.at[name, key]) for key in ("estimate", "ci95_lower", "ci95_upper"))
                    estimate, lower, upper = (None if x != x else x for x in values)
                    rows.append(ForestRow(name, estimate, lower, upper, 1.0))
        return forest_figure(
            rows,
            headings=("coefficient",),
            measure=ratio or "difference",
            ratio=bool(ratio),
            title=title,
            notes=_notes(self._fit),
        )


class LmPlots:
    """Figures of a linear model."""

    def __init__(self, fit: LmFit) -> None:
        self._fit = fit

    def ls_means(self, weights: str = "equal", title: str = "") -> Figure:
        """The least-squares mean of each arm with its limits; `weights` ``equal`` or ``proportional``."""
        rows = [Mean(r.label, r.estimate, r.lower, r.upper) for r in self._rows(self._fit.ls_means(weights))]
        measure = f"least-squares mean of {self._outcome}"
        return means_figure(rows, heading=self._fit.arm, measure=measure, title=title, notes=_notes(self._fit))

    def differences(self, weights: str = "equal", title: str = "") -> Figure:
        """Each arm's least-squares mean less the control's, with its limits."""
        return forest_figure(
            self._rows(self._fit.differences(weights)),
            headings=(self._fit.arm,),
            measure=f"difference of {self._outcome} to {self._fit.control}",
            ratio=False,
            title=title,
            notes=_notes(self._fit),
        )

    @property
    def _outcome(self) -> str:
        return column_name(self._fit.spec.role("outcome")[0])

    def _rows(self, table: pd.DataFrame) -> list[ForestRow]:
        rows = []
        for arm in table.index:
            values = (float(table.at[arm, key]) for key in ("estimate", "ci95_lower", "ci95_upper"))
            estimate, lower, upper = (None if x != x else x for x in values)
            rows.append(ForestRow(str(arm), estimate, lower, upper, 1.0))
        return rows


class MetaPlots:
    """Figures of estimates by country."""

    def __init__(self, fit: MetaFit) -> None:
        self._fit = fit

    def forest(self, pooled: CoxFit | None = None, title: str = "", models: Sequence[str] | None = None) -> Figure:
        """Studies with their numbers, the pooled fit, the models that combine them, and heterogeneity.

        Parameters
        ----------
        pooled
            The pooled fit whose coefficient of the same name gets a row.
        title
            One line above.
        models
            Which models, of `MetaFit.models`; None: fixed effect and DerSimonian-Laird.
        """
        fit = self._fit
        rows = [
            ForestRow(
                r.label,
                r.estimate,
                r.lower,
                r.upper,
                r.weight,
                (_count(r.n), _count(r.events), f"{r.weight:.1f}" if r.weight is not None else "–"),
            )
            for r in fit.countries()
        ]
        if pooled is not None:
            c = pooled.coefficient(fit.coefficient)
            cells = (_count(pooled.n), _count(pooled.n_event), "")
            rows.append(
                ForestRow(
                    "pooled, stratified by country", c.estimate, c.lower, c.upper, None, cells, True, True, True, True
                )
            )
        for k, r in enumerate(fit.pooled(models)):
            rows.append(
                ForestRow(
                    f"meta-analysis, {r.label}", r.estimate, r.lower, r.upper, None, ("", "", ""), True, False, k == 0
                )
            )
        notes = [
            fit.heterogeneity,
            *_notes(fit),
            *(s for s in (_notes(pooled) if pooled else ()) if s not in _notes(fit)),
        ]
        return forest_figure(
            rows,
            headings=(fit.studies_are, "n", "events", "weight %"),
            measure=fit.measure,
            ratio=fit.is_ratio,
            title=title or fit.coefficient,
            favours=fit.favours,
            notes=notes,
        )

    def funnel(self, model: str = "fixed", title: str = "") -> Figure:
        """Each study's estimate against its standard error, with 95 % limits about one of the models.

        Parameters
        ----------
        model
            Of `MetaFit.models`.
        title
            One line above.
        """
        from isthmus_client.plots.funnel import Study, funnel_figure

        fit = self._fit
        (middle,) = fit.pooled([model])
        studies = [Study(r.label, r.estimate, r.se) for r in fit.countries() if r.estimate is not None and r.se]
        return funnel_figure(
            studies,
            middle.estimate or 0.0,
            measure=f"log {fit.measure}" if fit.is_ratio else fit.measure,
            title=title or fit.coefficient,
            notes=[fit.heterogeneity, *_notes(fit)],
        )


class InteractionPlots:
    """Figures of an effect that may differ between countries."""

    def __init__(self, fit: InteractionFit) -> None:
        self._fit = fit

    def forest(self, effect: str | None = None, title: str = "") -> Figure:
        """Each country's own effect, and the one of all without interaction.

        Parameters
        ----------
        effect
            Of `InteractionFit.effects`; None: the first.
        title
            One line above.

        Raises
        ------
        UsageError
            ``NO_COUNTRIES`` where the country is not in the interaction, ``UNKNOWN_EFFECT``.
        """
        fit = self._fit
        if not fit.effects:
            raise UsageError(
                "NO_COUNTRIES",
                f"the interaction {fit.tested} has no country in it, and no effect by country",
                "look at the table of coefficients",
            )
        chosen = effect or fit.effects[0]
        if chosen not in fit.effects:
            raise UsageError(
                "UNKNOWN_EFFECT", f"there is no effect {chosen!r}", f"the effects are: {', '.join(fit.effects)}"
            )
        rows = [
            ForestRow(r.label, r.estimate, r.lower, r.upper, 1 / r.se**2 if r.se else None, (_count(r.n),))
            for r in fit.countries(chosen)
        ]
        r = fit.pooled(chosen)
        rows.append(ForestRow(r.label, r.estimate, r.lower, r.upper, None, (_count(r.n),), True, True, True, True))
        return forest_figure(
            rows,
            headings=("country", "n"),
            measure=fit.measure,
            ratio=fit.is_ratio,
            title=title or chosen,
            notes=[fit.test_line(), *_notes(fit)],
        )


def _count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _p(value: float | None) -> str:
    text = p_values([value], 2)[0]
    return text if text.startswith("<") else f"= {text}"


def _notes(fit: Fit) -> Sequence[str]:
    """The caveats: a figure that is passed on alone still says what is missing."""
    return fit.caveats
