"""The countries' own estimates of one coefficient, and their meta-analysis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from isthmus_client.r_code import r_formula
from isthmus_client.results.fit import Fit
from isthmus_client.results.r_format import aligned, format_numbers, hazard_ratio, one, p_values, rounded
from isthmus_client.results.tree import count, has, number, tree

if TYPE_CHECKING:
    import pandas as pd

    from isthmus_client.plots.figures import MetaPlots

# The 97.5 % point of the normal distribution.
Z95 = 1.959963984540054
MODELS = {"fixed": "fixed effect", "DL": "random effects (DL)"}


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


class MetaFit(Fit):
    """One coefficient by country, its fixed-effect and DerSimonian-Laird estimates, and heterogeneity."""

    method: ClassVar[str] = "meta_analysis"

    @property
    def coefficient(self) -> str:
        """Name of the coefficient that is pooled."""
        named = self.answer.get("coefficient") or self.spec.options.get("coefficient") or ""
        return str(named)

    def countries(self) -> tuple[Row, ...]:
        """One row a country, in the study's order; those without an estimate too, with the reason."""
        studies = tree(self.answer, "studies")
        rows = []
        for country in (p.country for p in self.study.participants):
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

    def pooled(self) -> tuple[Row, ...]:
        """The meta-analysis rows: fixed effect, then DerSimonian-Laird."""
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
            if has(self.answer, key)
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
        """``plot.forest()``."""
        from isthmus_client.plots.figures import MetaPlots

        return MetaPlots(self)

    def call(self) -> str:
        return f"coxph({self.formula or r_formula(self.spec)}) in each country; meta-analysis of {self.coefficient}"

    def table(self) -> pd.DataFrame:
        """One row a country and model: estimate (log hazard ratio), se, hazard ratio, 95 % limits, weight."""
        import pandas as pd

        rows = [*self.countries(), *self.pooled()]
        return pd.DataFrame(
            {
                "n": [r.n for r in rows],
                "events": [r.events for r in rows],
                "estimate": [r.estimate for r in rows],
                "se": [r.se for r in rows],
                "hr": [hazard_ratio(r.estimate) for r in rows],
                "hr_lower": [hazard_ratio(r.lower) for r in rows],
                "hr_upper": [hazard_ratio(r.upper) for r in rows],
                "weight_percent": [r.weight for r in rows],
            },
            index=pd.Index([r.label for r in rows], name="country"),
            dtype=float,
        )

    def text(self) -> str:
        marks = self.footnotes
        rows = [*self.countries(), *self.pooled()]
        names = [r.label + (marks.mark([r.note]) if r.note else "") for r in rows]
        columns = [
            format_numbers([r.n for r in rows], 7, na=""),
            format_numbers([r.events for r in rows], 7, na=""),
            format_numbers([r.estimate for r in rows], 4),
            format_numbers([r.se for r in rows], 4),
            format_numbers([hazard_ratio(r.estimate) for r in rows], 4),
            format_numbers([hazard_ratio(r.lower) for r in rows], 4),
            format_numbers([hazard_ratio(r.upper) for r in rows], 4),
            format_numbers([rounded(r.weight, 1) for r in rows], 4, na=""),
        ]
        headings = ["n", "events", "coef", "se(coef)", "exp(coef)", "lower .95", "upper .95", "weight %"]
        lines = [f"{self.coefficient} by country", "", *aligned(names, headings, columns), "", self.heterogeneity]
        notes = [s for s in self.caveats if s not in {r.note for r in rows}]
        lines += [""] if marks.lines() or notes else []
        return "\n".join([*lines, *marks.lines(), *notes])
