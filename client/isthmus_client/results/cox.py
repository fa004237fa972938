"""The result of Cox's model, printed as R's ``summary(coxph(...))``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from isthmus_client.r_code import r_column, r_formula
from isthmus_client.results.coefficients import significance_lines
from isthmus_client.results.fit import Fit
from isthmus_client.results.r_format import (
    aligned,
    format_numbers,
    hazard_ratio,
    one,
    p_values,
    rounded,
)
from isthmus_client.results.tree import Tree, count, has, number, tree
from isthmus_methods.contract import column_name

if TYPE_CHECKING:
    import pandas as pd

    from isthmus_client.plots.figures import CoxPlots
    from isthmus_client.results.meta_analysis import MetaFit

NOT_ESTIMABLE = "could not be estimated (collinear with the terms before it, or without variation), as NA in R"
TESTS = {"lr_test": "likelihood ratio", "wald_test": "Wald", "score_test": "score (log-rank)"}
_ROBUST_TESTS = (("robust_wald", "Wald, robust", "wald_test"), ("robust_score_test", "score, robust", "score_test"))
_ROBUST_NOTE = (
    "  (Note: the likelihood ratio and score tests assume independence of\n"
    "     observations within a cluster, the Wald and robust score tests do not)."
)


@dataclass(frozen=True, slots=True)
class Coefficient:
    """One coefficient, on the scale of the log hazard ratio; None where not estimable."""

    name: str
    estimate: float | None
    se: float | None
    robust_se: float | None
    z: float | None
    p: float | None
    lower: float | None
    upper: float | None

    @property
    def hr(self) -> float | None:
        return hazard_ratio(self.estimate)

    @property
    def hr_lower(self) -> float | None:
        return hazard_ratio(self.lower)

    @property
    def hr_upper(self) -> float | None:
        return hazard_ratio(self.upper)


class CoxFit(Fit):
    """A pooled Cox model. `by_country` holds the countries' own estimates where they were asked for."""

    method: ClassVar[str] = "cox"
    by_country: MetaFit | None = None

    @property
    def beside(self) -> tuple[Fit, ...]:
        return () if self.by_country is None else (self.by_country,)

    @property
    def n(self) -> int | None:
        """Rows in the fit."""
        return count(self.answer, "n")

    @property
    def n_event(self) -> int | None:
        return count(self.answer, "n_event")

    @property
    def robust(self) -> Tree | None:
        """Sandwich standard errors and tests, where they were asked for."""
        return tree(self.answer, "robust") if has(self.answer, "robust") else None

    @property
    def coefficients(self) -> tuple[Coefficient, ...]:
        """In the order of the model; with the robust limits and tests where those were asked for."""
        robust = self.robust
        found = []
        for name in tree(self.answer, "coef"):
            own = tree(self.answer, "coef", name)
            used = tree(robust, "coef", name) if robust is not None and has(robust, "coef", name) else own
            found.append(
                Coefficient(
                    name=name,
                    estimate=number(own, "estimate"),
                    se=number(own, "se"),
                    robust_se=number(used, "se") if robust is not None else None,
                    z=number(used, "z"),
                    p=number(used, "p"),
                    lower=number(used, "ci95_lower"),
                    upper=number(used, "ci95_upper"),
                )
            )
        return tuple(found)

    def coefficient(self, name: str) -> Coefficient:
        """One coefficient by name, e.g. ``TRT01P=High``."""
        return next(c for c in self.coefficients if c.name == name)

    def has_coefficient(self, name: str) -> bool:
        return has(self.answer, "coef", name)

    @property
    def plot(self) -> CoxPlots:
        """``plot.forest()``: by country where asked for, otherwise by coefficient; ``plot.coefficients()``."""
        from isthmus_client.plots.figures import CoxPlots

        return CoxPlots(self)

    def call(self) -> str:
        """The call in words of R."""
        ties = str(self.spec.options.get("ties", "efron"))
        strata = "stratified by country" if self.stratified else "one baseline hazard for all countries"
        weights = "".join(f", weights = {r_column(c)}" for c in self.spec.role("weights"))
        return f'coxph({self.formula or r_formula(self.spec)}, {strata}, ties = "{ties}"{weights})'

    @property
    def stratified(self) -> bool:
        """Whether each country has a baseline hazard of its own."""
        return self.spec.options.get("stratify_by_country", True) is not False

    def table(self) -> pd.DataFrame:
        """One row a coefficient: estimate (log hazard ratio), se, z, p, hazard ratio and its 95 % limits."""
        import pandas as pd

        rows = self.coefficients
        columns: dict[str, list[float | None]] = {
            "estimate": [c.estimate for c in rows],
            "se": [c.se for c in rows],
        }
        if self.robust is not None:
            columns["robust_se"] = [c.robust_se for c in rows]
        columns |= {
            "z": [c.z for c in rows],
            "p": [c.p for c in rows],
            "hr": [c.hr for c in rows],
            "hr_lower": [c.hr_lower for c in rows],
            "hr_upper": [c.hr_upper for c in rows],
        }
        index = pd.Index([c.name for c in rows], name="coefficient")
        return pd.DataFrame(columns, index=index, dtype=float)

    def paragraph(self) -> str:
        ties = str(self.spec.options.get("ties", "efron")).capitalize()
        strata = [*(["country"] if self.stratified else []), *(column_name(c) for c in self.spec.role("strata"))]
        stratified = f" stratified by {', '.join(strata)}" if strata else ""
        shared = "" if self.stratified else " with one baseline hazard for all countries"
        weighted = ", weighted" if self.spec.role("weights") else ""
        text = (
            f"Hazard ratios are from Cox's proportional hazards model{stratified}{shared}{weighted}, with {ties}'s"
            " handling of ties, over the rows complete in all variables of the model; 95 % confidence intervals and P"
            " values are Wald's."
        )
        robust = self.robust
        return text + (
            f" Standard errors are robust, clustered by {robust.get('cluster') or 'person'}." if robust else ""
        )

    def text(self) -> str:
        marks = self.footnotes
        general = marks.mark(self.general_caveats([c.name for c in self.coefficients]))
        lines = ["Call:", self.call(), "", f"  n= {self.n}{general}, number of events= {self.n_event}{general}"]
        if self.left_out():
            lines.append(f"   ({self.left_out()})")
        lines += ["", *self._coefficient_lines(), "", *self._ratio_lines(), "", *self.test_lines()]
        if self.robust is not None:
            lines += ["", _ROBUST_NOTE]
        if marks.lines():
            lines += ["", *marks.lines()]
        if self.by_country is not None:
            lines += ["", self.by_country.text()]
        return "\n".join(lines)

    def notes_of(self, c: Coefficient) -> list[str]:
        """What is to be said at one coefficient."""
        said = list(self.caveats_of(c.name))
        return said if c.estimate is not None else [*said, f"{c.name} {NOT_ESTIMABLE}"]

    def _name(self, c: Coefficient) -> str:
        return c.name + self.footnotes.mark(self.notes_of(c))

    def _coefficient_lines(self) -> list[str]:
        rows = self.coefficients
        estimates = [[c.estimate for c in rows], [c.hr for c in rows], [c.se for c in rows]]
        headings = ["coef", "exp(coef)", "se(coef)"]
        if self.robust is not None:
            estimates.append([c.robust_se for c in rows])
            headings.append("robust se")
        return significance_lines(
            [self._name(c) for c in rows], estimates, headings, [c.z for c in rows], [c.p for c in rows]
        )

    def _ratio_lines(self) -> list[str]:
        rows = self.coefficients
        inverse = [None if c.estimate is None else hazard_ratio(-c.estimate) for c in rows]
        columns = [
            format_numbers(column, 4)
            for column in (
                [c.hr for c in rows],
                inverse,
                [c.hr_lower for c in rows],
                [c.hr_upper for c in rows],
            )
        ]
        return aligned([self._name(c) for c in rows], ["exp(coef)", "exp(-coef)", "lower .95", "upper .95"], columns)

    def left_out(self) -> str:
        """How many rows were left out for missing values, in R's words; empty where none was."""
        excluded = tree(self.answer, "excluded") if has(self.answer, "excluded") else {}
        deleted = sum(count(excluded, country) or 0 for country in excluded)
        return f"{deleted} observation{'s' * (deleted != 1)} deleted due to missingness" if deleted else ""

    @property
    def concordance(self) -> tuple[float, float | None] | None:
        """Concordance and its standard error, where asked for."""
        c = number(self.answer, "concordance", "c")
        return None if c is None else (c, number(self.answer, "concordance", "se"))

    def tests(self) -> list[tuple[str, float | None, int, float | None]]:
        """Name, statistic, degrees of freedom and P value of each test of the whole model."""
        found = []
        for key, name in TESTS.items():
            statistic, p = number(self.answer, key, "statistic"), number(self.answer, key, "p")
            found.append((name, statistic, count(self.answer, key, "df") or 0, p))
        for key, name, like in _ROBUST_TESTS:
            if self.robust is not None and has(self.robust, key, "statistic"):
                df = count(self.answer, like, "df") or 0
                found.append((name, number(self.robust, key, "statistic"), df, number(self.robust, key, "p")))
        return found

    def test_lines(self) -> list[str]:
        """Concordance and the three tests, as R prints them."""
        by_name = {name: (statistic, df, p) for name, statistic, df, p in self.tests()}
        robust = by_name.get("Wald, robust")
        lines = []
        if self.concordance is not None:
            c, se = self.concordance
            lines.append(f"Concordance= {one(rounded(c, 3), 4)}  (se = {one(rounded(se, 3), 4)} )")
        lines.append(f"Likelihood ratio test= {_tested(*by_name['likelihood ratio'])}")
        lines.append(f"Wald test            = {_tested(*(robust or by_name['Wald']))}")
        score = f"Score (logrank) test = {_tested(*by_name['score (log-rank)'])}"
        if "score, robust" in by_name:
            statistic, _, p = by_name["score, robust"]
            score += f",   Robust = {one(rounded(statistic, 2), 4)}  p={p_values([p], 1)[0]}"
        return [*lines, score]


def _tested(statistic: float | None, df: int, p: float | None) -> str:
    return f"{one(rounded(statistic, 2), 4)}  on {df} df,   p={p_values([p], 1)[0]}"
