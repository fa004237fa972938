"""The countries' own estimates of one coefficient, and their meta-analysis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from isthmus.errors import UsageError
from isthmus_client.results.effect import EffectFit
from isthmus_client.results.r_format import aligned, format_numbers, hazard_ratio, one, p_values, rounded
from isthmus_client.results.tree import count, has, number, texts, tree
from isthmus_methods.contract import column_name

if TYPE_CHECKING:
    import pandas as pd

    from isthmus_client.plots.figures import MetaPlots

# The 97.5 % point of the normal distribution.
Z95 = 1.959963984540054
# Models that combine the studies, in the order of the answer.
MODELS = {
    "fixed": "fixed effect",
    "DL": "random effects (DL)",
    "REML": "random effects (REML)",
    "ML": "random effects (ML)",
    "PM": "random effects (PM)",
    "DL_knapp_hartung": "random effects (DL, Knapp-Hartung)",
    "REML_knapp_hartung": "random effects (REML, Knapp-Hartung)",
}
# Those that are shown where others are not asked for.
USUAL = ("fixed", "DL")


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a forest: an estimate on the log scale and its 95 % limits; None where there is none."""

    label: str
    estimate: float | None
    se: float | None
    lower: float | None
    upper: float | None
    n: int | None = None
    events: int | None = None
    weight: float | None = None  # percent, fixed effect
    p: float | None = None
    note: str = ""


class MetaFit(EffectFit):
    """One coefficient by study, what the studies say together under each model, and heterogeneity."""

    method: ClassVar[str] = "meta_analysis"

    @property
    def studies_are(self) -> str:
        """What the studies are levels of: ``country``, or the factor asked for."""
        by = self.spec.role("by")
        return column_name(by[0]) if by else "country"

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models in the answer."""
        return tuple(key for key in MODELS if has(self.answer, key))

    def countries(self) -> tuple[Row, ...]:
        """One row a study, in order; those without an estimate too, with the reason."""
        studies = tree(self.answer, "studies")
        rows = []
        names = [p.country for p in self.study.participants]
        if self.spec.role("by"):
            found = {*studies, *texts(self.answer, "left_out")}
            names = [level for level in self.spec.levels(self.spec.role("by")[0]) if level in found]
        for country in names:
            own = studies.get(country)
            estimate, se = number(own, "yi"), number(own, "sei")
            known = estimate is not None and se is not None
            rows.append(
                Row(
                    label=country,
                    estimate=estimate,
                    se=se,
                    lower=estimate - Z95 * se if estimate is not None and se is not None else None,
                    upper=estimate + Z95 * se if estimate is not None and se is not None else None,
                    n=count(self.answer, "outcomes", country, "n"),
                    events=count(self.answer, "outcomes", country, "n_event"),
                    weight=number(self.answer, "fixed", "weights_percent", country),
                    note="" if known else self._reason(country),
                )
            )
        return tuple(rows)

    def _reason(self, country: str) -> str:
        for sentence in self.caveats:
            if country in sentence.replace(",", " ").replace(":", " ").split():
                return sentence
        return f"{country} has no estimate"

    def pooled(self, models: Sequence[str] | None = None) -> tuple[Row, ...]:
        """What the studies say together: fixed effect and DerSimonian-Laird, or the models named.

        Raises
        ------
        UsageError
            ``UNKNOWN_MODEL``.
        """
        unknown = [name for name in models or () if name not in self.models]
        if unknown:
            raise UsageError(
                "UNKNOWN_MODEL", f"there is no model {unknown[0]!r}", f"the models are: {', '.join(self.models)}"
            )
        return tuple(
            Row(
                label=label,
                estimate=number(self.answer, key, "estimate"),
                se=number(self.answer, key, "se"),
                lower=number(self.answer, key, "ci95_lower"),
                upper=number(self.answer, key, "ci95_upper"),
                p=number(self.answer, key, "p"),
            )
            for key, label in MODELS.items()
            if has(self.answer, key) and key in (USUAL if models is None else models)
        )

    @property
    def heterogeneity(self) -> str:
        """One line: Q, its degrees of freedom and P value, I2, tau2."""
        q, df, p = (number(self.answer, "Q", name) for name in ("statistic", "df", "p"))
        i2, tau2 = number(self.answer, "I2_percent_from_Q"), number(self.answer, "DL", "tau2")
        if q is None or df is None:
            return "heterogeneity: not estimable"
        return (
            f"heterogeneity: Q = {q:.2f} on {round(df)} df, p = {p_values([p], 2)[0]}; "
            f"I² = {i2 or 0:.1f} %; τ² = {one(tau2, 3)}"
        )

    @property
    def plot(self) -> MetaPlots:
        """``plot.forest()``, ``plot.funnel()``."""
        from isthmus_client.plots.figures import MetaPlots

        return MetaPlots(self)

    def call(self) -> str:
        where = "each country" if self.studies_are == "country" else f"each level of {self.studies_are}"
        return f"{self.model(where)}; meta-analysis of {self.coefficient}"

    def table(self) -> pd.DataFrame:
        """One row a study and model: estimate (log of a ratio, or a difference), se, 95 % limits, weight."""
        import pandas as pd

        rows = [*self.countries(), *self.pooled(self.models)]
        short = self.short_measure
        ends = (
            {
                short: [hazard_ratio(r.estimate) for r in rows],
                f"{short}_lower": [hazard_ratio(r.lower) for r in rows],
                f"{short}_upper": [hazard_ratio(r.upper) for r in rows],
            }
            if self.is_ratio
            else {"lower": [r.lower for r in rows], "upper": [r.upper for r in rows]}
        )
        return pd.DataFrame(
            {
                "n": [r.n for r in rows],
                "events": [r.events for r in rows],
                "estimate": [r.estimate for r in rows],
                "se": [r.se for r in rows],
                **ends,
                "weight_percent": [r.weight for r in rows],
            },
            index=pd.Index([r.label for r in rows], name=self.studies_are),
            dtype=float,
        )

    def models_table(self) -> pd.DataFrame:
        """One row a model: estimate, se, statistic, p, limits, tau2, I2, H2, prediction limits, log-likelihood."""
        import pandas as pd

        keys = ("estimate", "se", "stat", "p", "ci95_lower", "ci95_upper", "tau2", "se_tau2", "I2_percent", "H2")
        table = {key: [number(self.answer, model, key) for model in self.models] for key in keys}
        for end in ("lower", "upper"):
            interval = [number(self.answer, model, "prediction_interval95", end) for model in self.models]
            table[f"prediction_{end}"] = interval
        table["loglik"] = [number(self.answer, model, "loglik") for model in self.models]
        return pd.DataFrame(table, index=pd.Index(self.models, name="model"), dtype=float)

    def leave_one_out(self) -> pd.DataFrame:
        """DerSimonian-Laird without each study in turn: estimate, se, 95 % limits, tau2."""
        import pandas as pd

        out = tree(self.answer, "leave_one_out_DL")
        estimates, errors, tau2 = ([number(out, name, key) for name in out] for key in ("estimate", "se", "tau2"))
        ends = [
            [None if e is None or se is None else e + side * Z95 * se for e, se in zip(estimates, errors, strict=True)]
            for side in (-1, 1)
        ]
        return pd.DataFrame(
            {"estimate": estimates, "se": errors, "lower": ends[0], "upper": ends[1], "tau2": tau2},
            index=pd.Index(list(out), name="left out"),
            dtype=float,
        )

    def paragraph(self) -> str:
        where = "each country" if self.studies_are == "country" else f"each level of {self.studies_are}"
        own = {
            "glm": f"A generalised linear model ({self.spec.options.get('family', 'binomial')}) was fitted in {where}.",
            "linear_model": f"A linear model was fitted in {where}.",
            "log_odds_ratio": f"The log odds ratio of {where}'s two-by-two table was taken, without continuity"
            " correction.",
        }.get(self.estimate, f"The model was also fitted in {where} on its own.")
        return (
            f"{own} The estimates of {self.coefficient} were"
            " combined by inverse variance, as a fixed effect and with the random effects of DerSimonian and Laird;"
            " heterogeneity is given as Cochran's Q, I² and τ²."
        )

    def text(self) -> str:
        marks = self.footnotes
        rows = [*self.countries(), *self.pooled()]
        names = [r.label + (marks.mark([r.note]) if r.note else "") for r in rows]
        columns = [format_numbers([r.n for r in rows], 7, na="")]
        headings = ["n"]
        if any(r.events is not None for r in rows):
            columns.append(format_numbers([r.events for r in rows], 7, na=""))
            headings.append("events")
        columns += [format_numbers([r.estimate for r in rows], 4), format_numbers([r.se for r in rows], 4)]
        headings += ["coef", "se(coef)"]
        if self.is_ratio:
            columns.append(format_numbers([hazard_ratio(r.estimate) for r in rows], 4))
            headings.append("exp(coef)")
        shown = hazard_ratio if self.is_ratio else _itself
        columns += [
            format_numbers([shown(r.lower) for r in rows], 4),
            format_numbers([shown(r.upper) for r in rows], 4),
            format_numbers([rounded(r.weight, 1) for r in rows], 4, na=""),
        ]
        headings += ["lower .95", "upper .95", "weight %"]
        lines = [f"{self.coefficient} by {self.studies_are}", "", *aligned(names, headings, columns), ""]
        lines += [self.heterogeneity, "", *self._models_text()]
        notes = [s for s in self.caveats if s not in {r.note for r in rows}]
        lines += [""] if marks.lines() or notes else []
        return "\n".join([*lines, *marks.lines(), *notes])

    def _models_text(self) -> list[str]:
        """The models as `metafor` prints them: estimate, se, statistic, p, limits; tau^2 (its se), I^2, H^2."""
        if not self.models:
            return []

        def of(key: str) -> list[float | None]:
            return [number(self.answer, model, key) for model in self.models]

        columns = [
            format_numbers(of("estimate"), 4),
            format_numbers(of("se"), 4),
            format_numbers(of("stat"), 4),
            p_values(of("p"), 4),
            format_numbers(of("ci95_lower"), 4),
            format_numbers(of("ci95_upper"), 4),
            format_numbers(of("tau2"), 4),
            format_numbers(of("se_tau2"), 4, na=""),
            format_numbers([rounded(x, 1) for x in of("I2_percent")], 4),
            format_numbers(of("H2"), 4),
        ]
        headings = ["estimate", "se", "z or t", "pval", "ci.lb", "ci.ub", "tau²", "se(tau²)", "I² %", "H²"]
        return aligned(list(self.models), headings, columns)


def _itself(value: float | None) -> float | None:
    return value
