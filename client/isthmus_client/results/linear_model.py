"""The result of a linear model, printed as R's ``summary.lm``."""

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
from isthmus_client.results.r_format import LEGEND, aligned, format_numbers, one, p_values, stars, zapped
from isthmus_client.results.tree import count, has, number, tree
from isthmus_methods.contract import column_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.figure import Figure

    from isthmus_client.plots.figures import LmPlots

WEIGHTS = {"equal": "ls_means_equal_weights", "proportional": "ls_means_proportional_weights"}
TYPES = {2: "type2", 3: "type3"}


class LmFit(Fit):
    """Coefficients, tests of the terms, robust variances and least-squares means of a linear model."""

    method: ClassVar[str] = "linear_model"

    @property
    def plot(self) -> LmPlots:
        """``plot.ls_means()`` and ``plot.differences()``."""
        from isthmus_client.plots.figures import LmPlots

        return LmPlots(self)

    @property
    def arm(self) -> str:
        """The factor whose least-squares means the result has; none: empty."""
        return str(self.spec.options.get("arm") or "")

    def call(self) -> str:
        return f"lm({self.formula or r_formula(self.spec)})"

    def table(self) -> pd.DataFrame:
        """One row a coefficient: estimate, se, t, p, 95 % limits."""
        return coefficient_table(tree(self.answer, "coef"))

    def anova(self, type: int = 3) -> pd.DataFrame:
        """Tests of the terms, type 2 or 3: sum of squares, df, F, p; empty where the model has none of that type."""
        import pandas as pd

        rows = tree(self.answer, TYPES[type]) if has(self.answer, TYPES[type]) else {}
        columns = {key: [number(rows, name, key) for name in rows] for key in ("ss", "df", "F", "p")}
        return pd.DataFrame(columns, index=pd.Index(list(rows), name="term"), dtype=float)

    def robust(self, kind: str = "HC3") -> pd.DataFrame:
        """Coefficients with robust standard errors: ``HC0``, ``HC1``, ``HC3``, or ``CR0``, ``CR1`` by cluster."""
        return robust_table(self.answer, kind)

    def ls_means(self, weights: str = "equal") -> pd.DataFrame:
        """Least-squares mean of each arm: estimate, se, df, 95 % limits; `weights` ``equal`` or ``proportional``."""
        return coefficient_table(tree(self.answer, WEIGHTS[weights], "means")).rename_axis(self.arm)

    def differences(self, weights: str = "equal") -> pd.DataFrame:
        """Each arm's least-squares mean less the control's: estimate, se, df, t as `stat`, p, 95 % limits."""
        return coefficient_table(tree(self.answer, WEIGHTS[weights], "difference_vs_control")).rename_axis(self.arm)

    def tables(self) -> dict[str, pd.DataFrame]:
        found = {"Coefficients": self.table()}
        found |= {f"Tests of terms, type {'I' * k}": self.anova(k) for k in (3, 2) if has(self.answer, TYPES[k])}
        for weights, name in WEIGHTS.items():
            if has(self.answer, name):
                found[f"Least-squares means, {weights} weights"] = self.ls_means(weights)
                found[f"Differences to {self.control}, {weights} weights"] = self.differences(weights)
        return {**found, **robust_tables(self.answer)}

    @property
    def control(self) -> str:
        """The arm's level that the others are compared with."""
        given = str(self.spec.options.get("control") or "")
        if given or not self.arm:
            return given
        columns = (c for term in self.spec.terms for c in term.columns if column_name(c) == self.arm)
        return next((self.spec.levels(c)[0] for c in columns if self.spec.levels(c)), "")

    def figures(self) -> Sequence[tuple[Figure, str]]:
        if not self.arm or not has(self.answer, WEIGHTS["equal"]):
            return ()
        return ((self.plot.ls_means(), f"least-squares means of {self.arm} with 95 % limits"),)

    def paragraph(self) -> str:
        text = (
            "Estimates are least squares over the pooled rows complete in all variables of the model; 95 % confidence"
        )
        text += " intervals and P values are from Student's t."
        if self.arm:
            text += f" Least-squares means of {self.arm} stand at the mean of each covariate, other factors averaged."
        return text

    def text(self) -> str:
        marks = self.footnotes
        coefficients = tree(self.answer, "coef")
        general = marks.mark(self.general_caveats(list(coefficients)))
        lines = ["", "Call:", self.call(), "", "Coefficients:" + aliased_text(self.answer)]
        lines += coefficient_lines(coefficients, lambda name: name + marks.mark(self.caveats_of(name)))
        lines += ["", *self._fit_lines(general)]
        for k in (3, 2):
            if has(self.answer, TYPES[k]):
                lines += ["", f"Anova Table (Type {'I' * k} tests)", "", *self._anova_lines(k)]
        lines += robust_lines(self.answer)
        for weights, name in WEIGHTS.items():
            if has(self.answer, name):
                lines += ["", f"Least-squares means of {self.arm}, {weights} weights:", *self._mean_lines(name)]
                lines += ["", f"Differences to {self.control}:", *self._difference_lines(name)]
        notes = marks.lines()
        return "\n".join([*lines, *(["", *notes] if notes else [])])

    # ------------------------------------------------------------------ parts of the summary

    def _fit_lines(self, general: str) -> list[str]:
        answer = self.answer
        sigma, df = one(_significant(number(answer, "sigma"), 4)), count(answer, "df_residual")
        lines = [f"Residual standard error: {sigma} on {df} degrees of freedom{general}"]
        left_out = left_out_text(answer)
        lines += [f"  ({left_out})"] if left_out else []
        whole, adjusted = (one(_significant(number(answer, key), 4)) for key in ("r_squared", "adj_r_squared"))
        lines.append(f"Multiple R-squared:  {whole},\tAdjusted R-squared:  {adjusted} ")
        if count(answer, "f_overall", "df1"):
            f = one(_significant(number(answer, "f_overall", "F"), 4))
            p = p_values([number(answer, "f_overall", "p")], 4)[0]
            df1 = count(answer, "f_overall", "df1")
            lines.append(f"F-statistic: {f} on {df1} and {df} DF,  p-value: {p}")
        return lines

    def _anova_lines(self, k: int) -> list[str]:
        rows = tree(self.answer, TYPES[k])
        residual, df = number(self.answer, "rss"), number(self.answer, "df_residual")
        p = [number(rows, name, "p") for name in rows]
        signs = [*(stars(x) for x in p), ""]
        width = max(map(len, signs))
        columns = [
            format_numbers(zapped([*(number(rows, name, "ss") for name in rows), residual], 5), 5),
            format_numbers([*(number(rows, name, "df") for name in rows), df]),
            [*format_numbers(zapped([number(rows, name, "F") for name in rows], 7), 5), ""],
            [*p_values(p, 4), ""],
            [s.ljust(width) for s in signs],
        ]
        lines = aligned([*rows, "Residuals"], ["Sum Sq", "Df", "F value", "Pr(>F)", ""], columns, left=(4,))
        return [*lines, "---", LEGEND] if any(s.strip() for s in signs) else lines

    def _mean_lines(self, name: str) -> list[str]:
        rows = tree(self.answer, name, "means")
        keys = {"estimate": "lsmean", "se": "SE", "df": "df", "ci95_lower": "lower.CL", "ci95_upper": "upper.CL"}
        columns = [format_numbers([number(rows, arm, key) for arm in rows], 4) for key in keys]
        return aligned(list(rows), list(keys.values()), columns)

    def _difference_lines(self, name: str) -> list[str]:
        rows = tree(self.answer, name, "difference_vs_control")
        keys = {"estimate": "estimate", "se": "SE", "df": "df", "stat": "t.ratio"}
        columns = [format_numbers([number(rows, arm, key) for arm in rows], 4) for key in keys]
        columns.append(p_values([number(rows, arm, "p") for arm in rows], 4))
        limits = ("ci95_lower", "ci95_upper")
        columns += [format_numbers([number(rows, arm, key) for arm in rows], 4) for key in limits]
        return aligned(list(rows), [*keys.values(), "p.value", "lower.CL", "upper.CL"], columns)


def _significant(value: float | None, digits: int) -> float | None:
    """R's ``signif()``."""
    return None if value is None else float(f"{value:.{digits - 1}e}")
