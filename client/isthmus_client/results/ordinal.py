"""The result of a proportional odds model, printed as R's ``clm``."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from isthmus_client.r_code import r_formula
from isthmus_client.results.coefficients import coefficient_lines, coefficient_table
from isthmus_client.results.fit import Fit
from isthmus_client.results.r_format import aligned, format_numbers, p_values
from isthmus_client.results.tree import count, number, tree

if TYPE_CHECKING:
    import pandas as pd


class OrdinalFit(Fit):
    """One log odds ratio a coefficient, the same at every cut of the outcome."""

    method: ClassVar[str] = "ordinal"

    def call(self) -> str:
        return f"clm({self.formula or r_formula(self.spec)})"

    def table(self) -> pd.DataFrame:
        """One row a coefficient: estimate (log odds ratio), se, z, p, 95 % limits."""
        return coefficient_table(tree(self.answer, "coef"))

    def thresholds(self) -> pd.DataFrame:
        """One row a cut between two categories."""
        return coefficient_table(tree(self.answer, "thresholds"))

    def tests(self) -> pd.DataFrame:
        """Likelihood-ratio test of each term: statistic, df, p."""
        import pandas as pd

        rows = tree(self.answer, "lrt_drop1")
        columns = {key: [number(rows, name, key) for name in rows] for key in ("statistic", "df", "p")}
        return pd.DataFrame(columns, index=pd.Index(list(rows), name="term"), dtype=float)

    def tables(self) -> dict[str, pd.DataFrame]:
        found = {"Coefficients": self.table(), "Threshold coefficients": self.thresholds()}
        return {**found, "Likelihood-ratio tests": self.tests()} if tree(self.answer, "lrt_drop1") else found

    def text(self) -> str:
        marks = self.footnotes
        coefficients = tree(self.answer, "coef")
        general = marks.mark(self.general_caveats(list(coefficients)))
        loglik, aic = (format_numbers([number(self.answer, key)], 6)[0] for key in ("loglik", "aic"))
        lines = ["Call:", self.call(), ""]
        lines += [f"n= {count(self.answer, 'n')}{general}, logLik= {loglik}, AIC= {aic}", "", "Coefficients:"]
        lines += coefficient_lines(coefficients, lambda name: name + marks.mark(self.caveats_of(name)))
        lines += ["", "Threshold coefficients:", *coefficient_lines(tree(self.answer, "thresholds"))]
        tests = tree(self.answer, "lrt_drop1")
        if tests:
            columns = [
                format_numbers([number(tests, name, "statistic") for name in tests], 5),
                format_numbers([number(tests, name, "df") for name in tests]),
                p_values([number(tests, name, "p") for name in tests], 4),
            ]
            lines += ["", "Single term deletions:", *aligned(list(tests), ["LRT", "Df", "Pr(>Chi)"], columns)]
        notes = marks.lines()
        return "\n".join([*lines, *(["", *notes] if notes else [])])
