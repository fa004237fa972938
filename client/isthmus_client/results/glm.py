"""The results of generalised linear models, printed as R's ``summary.glm`` and ``summary.negbin``."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from isthmus_client.r_code import r_formula
from isthmus_client.results.coefficients import (
    aliased_text,
    coefficient_lines,
    coefficient_table,
    left_out_text,
    robust_lines,
    robust_table,
    robust_tables,
)
from isthmus_client.results.fit import Fit
from isthmus_client.results.r_format import aligned, format_numbers, hazard_ratio, one, p_values, rounded
from isthmus_client.results.tree import Tree, count, has, number, tree

if TYPE_CHECKING:
    import pandas as pd

    from isthmus_client.plots.figures import GlmPlots

# What exp(coefficient) is.
RATIOS = {
    "binomial": "odds ratio",
    "poisson": "rate ratio",
    "quasipoisson": "rate ratio",
    "gamma": "ratio of means",
    "negative_binomial": "rate ratio",
}
_INTERCEPT = "(Intercept)"


class GlmFit(Fit):
    """A generalised linear model of the pooled rows."""

    method: ClassVar[str] = "glm"

    @property
    def family(self) -> str:
        return str(self.answer.get("family", self.spec.method))

    @property
    def ratio(self) -> str:
        """What the exponential of a coefficient is, in words; empty for a model of differences."""
        return RATIOS.get(self.family, "")

    @property
    def plot(self) -> GlmPlots:
        """``plot.coefficients()``: each ratio with its limits."""
        from isthmus_client.plots.figures import GlmPlots

        return GlmPlots(self)

    def call(self) -> str:
        return f"glm({self.formula or r_formula(self.spec)}, family = {self.family})"

    def table(self) -> pd.DataFrame:
        """One row a coefficient: estimate, se, z or t, p, 95 % limits."""
        return coefficient_table(tree(self.answer, "coef"))

    def ratios(self) -> pd.DataFrame:
        """Odds, rate or mean ratios with 95 % limits, without the intercept; differences where there is no ratio."""
        import pandas as pd

        rows = self.table().drop(index=_INTERCEPT, errors="ignore")[["estimate", "ci95_lower", "ci95_upper"]]
        if not self.ratio:
            return rows.rename(columns={"estimate": "difference"})
        moved = {key: [hazard_ratio(None if x != x else x) for x in rows[key]] for key in rows}
        return pd.DataFrame(moved, index=rows.index, dtype=float).rename(columns={"estimate": self.ratio})

    def tests(self) -> pd.DataFrame:
        """The test of each term: statistic, df, p."""
        import pandas as pd

        rows = self._tests()
        columns = {key: [number(rows, name, key) for name in rows] for key in ("statistic", "df", "p")}
        return pd.DataFrame(columns, index=pd.Index(list(rows), name="term"), dtype=float)

    def robust(self, kind: str = "HC3") -> pd.DataFrame:
        """Coefficients with robust standard errors: ``HC0``, ``HC1``, ``HC3``, or ``CR0``, ``CR1`` by cluster."""
        return robust_table(self.answer, kind)

    def tables(self) -> dict[str, pd.DataFrame]:
        found = {"Coefficients": self.table()}
        if self.ratio:
            found[f"{self.ratio.capitalize()}s".replace("Ratio of meanss", "Ratios of means")] = self.ratios()
        if self._tests():
            found["Single term deletions"] = self.tests()
        return {**found, **robust_tables(self.answer)}

    def paragraph(self) -> str:
        names = {"binomial": "logistic regression", "negative_binomial": "negative binomial regression"}
        model = names.get(self.family, f"{self.family} regression")
        text = f"Estimates are from {model} of the pooled rows complete in all variables of the model, fitted to the"
        text += " maximum of the likelihood; 95 % confidence intervals and P values are Wald's."
        return text + (" Terms are tested by the change of the deviance." if self._tests() else "")

    def text(self) -> str:
        marks = self.footnotes
        coefficients = tree(self.answer, "coef")
        general = marks.mark(self.general_caveats(list(coefficients)))
        lines = ["Call:", self.call(), "", "Coefficients:" + aliased_text(self.answer)]
        lines += coefficient_lines(coefficients, lambda name: name + marks.mark(self.caveats_of(name)))
        lines += ["", *self._fit_lines(general)]
        lines += self._test_lines()
        lines += robust_lines(self.answer)
        notes = marks.lines()
        return "\n".join([*lines, *(["", *notes] if notes else [])])

    # ------------------------------------------------------------------ parts of the summary

    def _tests(self) -> Tree:
        return tree(self.answer, "lrt_drop1") if has(self.answer, "lrt_drop1") else {}

    def _fit_lines(self, general: str) -> list[str]:
        word = {"gamma": "Gamma"}.get(self.family, self.family)
        dispersion = one(number(self.answer, "dispersion"), 6)
        lines = [f"(Dispersion parameter for {word} family taken to be {dispersion})", ""]
        lines += self._deviances()
        left_out = left_out_text(self.answer)
        aic = number(self.answer, "aic")
        lines += [f"  ({left_out})"] if left_out else []
        lines += [f"AIC: {one(aic, 5)}{general}", "", f"Number of rounds: {count(self.answer, 'iterations')}"]
        return lines

    def _deviances(self) -> list[str]:
        """The deviances in one format, as R prints them."""
        rows = [("    Null deviance", "null_deviance", "df_null"), ("Residual deviance", "deviance", "df_residual")]
        rows = [row for row in rows if has(self.answer, row[1])]
        values = format_numbers([_significant(number(self.answer, key)) for _, key, _ in rows], 5)
        degrees = [str(count(self.answer, df)) for _, _, df in rows]
        width, wide = max(map(len, values), default=0), max(map(len, degrees), default=0)
        return [
            f"{label}: {value.rjust(width)}  on {df.rjust(wide)}  degrees of freedom"
            for (label, _, _), value, df in zip(rows, values, degrees, strict=True)
        ]

    def _test_lines(self) -> list[str]:
        tests = self._tests()
        if not tests:
            return []
        f = any(tree(tests, name).get("statistic_name") == "F value" for name in tests)
        headings = ["F value", "Df", "Pr(>F)"] if f else ["LRT", "Df", "Pr(>Chi)"]
        columns = [
            format_numbers([number(tests, name, "statistic") for name in tests], 5),
            format_numbers([number(tests, name, "df") for name in tests]),
            p_values([number(tests, name, "p") for name in tests], 4),
        ]
        return ["", "Single term deletions:", *aligned(list(tests), headings, columns)]


class NegativeBinomialFit(GlmFit):
    """A negative binomial model: coefficients and theta."""

    method: ClassVar[str] = "negative_binomial"

    def call(self) -> str:
        return f"glm.nb({self.formula or r_formula(self.spec)})"

    def _tests(self) -> Tree:
        key = "lrt_drop1_theta_reestimated"
        return tree(self.answer, key) if has(self.answer, key) else {}

    def _fit_lines(self, general: str) -> list[str]:
        theta, se = number(self.answer, "theta"), number(self.answer, "se_theta")
        twice = number(self.answer, "loglik")
        family = f"Negative Binomial({one(rounded(theta, 4), 5)})"
        lines = [f"(Dispersion parameter for {family} family taken to be 1)", "", *self._deviances()]
        left_out = left_out_text(self.answer)
        lines += [f"  ({left_out})"] if left_out else []
        lines += [f"AIC: {one(number(self.answer, 'aic'), 5)}{general}", ""]
        lines += [f"Number of rounds: {count(self.answer, 'iterations')}", ""]
        named = [
            ("Theta: ", one(theta, 4)),
            ("Std. Err.: ", one(se, 4)),
            ("2 x log-likelihood: ", one(None if twice is None else 2.0 * twice, 7)),
        ]
        lines += [f"{label.rjust(22)} {value}" for label, value in named]
        statistic, p = (number(self.answer, "lrt_vs_poisson", key) for key in ("statistic", "p_half_chi2_1"))
        return [
            *lines,
            "",
            f"Against a Poisson model: chi-square {one(statistic, 5)}, p {p_values([p], 3)[0]} (half the tail)",
        ]


def _significant(value: float | None) -> float | None:
    """A number at five significant digits."""
    return None if value is None else float(f"{value:.5g}")
