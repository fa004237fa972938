"""The result of a one-way analysis of variance, printed as R's ``summary.aov`` and its tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from isthmus_client.r_code import r_formula
from isthmus_client.results.fit import Fit
from isthmus_client.results.htest import htest_lines
from isthmus_client.results.r_format import LEGEND, aligned, format_numbers, p_values, stars, zapped
from isthmus_client.results.tree import has, number, tree
from isthmus_methods.contract import column_name

if TYPE_CHECKING:
    import pandas as pd


class AnovaFit(Fit):
    """Groups compared: F, Welch, Kruskal-Wallis, Bartlett."""

    method: ClassVar[str] = "anova"

    @property
    def group(self) -> str:
        return column_name(self.spec.role("group")[0])

    @property
    def outcome(self) -> str:
        return column_name(self.spec.role("outcome")[0])

    def call(self) -> str:
        return f"aov({self.formula or r_formula(self.spec)})"

    def table(self) -> pd.DataFrame:
        """One row a test: statistic, df1, df2, p."""
        import pandas as pd

        rows: dict[str, list[float | None]] = {}
        for name, key in (("F", "classic"), ("Welch", "welch")):
            rows[name] = [number(self.answer, key, part) for part in ("F", "df1", "df2", "p")]
        for name, key in (("Kruskal-Wallis", "kruskal_wallis"), ("Bartlett", "bartlett")):
            if has(self.answer, key):
                statistic, df, p = (number(self.answer, key, part) for part in ("statistic", "df", "p"))
                rows[name] = [statistic, df, None, p]
        columns = ["statistic", "df1", "df2", "p"]
        return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("test").astype(float)

    def means(self) -> pd.DataFrame:
        """One row a group: n, mean, sd."""
        import pandas as pd

        groups = tree(self.answer, "groups")
        rows = [[number(groups, name, part) for part in ("n", "mean", "sd")] for name in groups]
        index = pd.Index(list(groups), name=self.group)
        return pd.DataFrame(rows, index=index, columns=["n", "mean", "sd"], dtype=float)

    def tables(self) -> dict[str, pd.DataFrame]:
        return {"Means": self.means(), "Tests": self.table()}

    def text(self) -> str:
        marks = self.footnotes
        general = marks.mark(self.general_caveats())
        classic = tree(self.answer, "classic")
        squares = [number(classic, "ss_between"), number(classic, "ss_within")]
        degrees = [number(classic, "df1"), number(classic, "df2")]
        mean = [s / d if s is not None and d else None for s, d in zip(squares, degrees, strict=True)]
        p = number(classic, "p")
        columns = [
            format_numbers(degrees),
            format_numbers(zapped(squares, 4), 4),
            format_numbers(zapped(mean, 4), 4),
            [*format_numbers([number(classic, "F")], 4), ""],
            [*p_values([p], 3), ""],
            [stars(p), ""],
        ]
        headings = ["Df", "Sum Sq", "Mean Sq", "F value", "Pr(>F)", ""]
        lines = ["Call:", self.call() + general, ""]
        lines += aligned([self.group, "Residuals"], headings, columns, left=(5,))
        lines += ["---", LEGEND] if stars(p).strip() else []
        data = f"{self.outcome} and {self.group}"
        welch = tree(self.answer, "welch")
        found = {"F": number(welch, "F"), "num df": number(welch, "df1"), "denom df": number(welch, "df2")}
        title = "One-way analysis of means (not assuming equal variances)"
        lines += htest_lines(title, data, found, number(welch, "p"))
        for key, title, name in (
            ("kruskal_wallis", "Kruskal-Wallis rank sum test", "Kruskal-Wallis chi-squared"),
            ("bartlett", "Bartlett test of homogeneity of variances", "Bartlett's K-squared"),
        ):
            if has(self.answer, key):
                test = tree(self.answer, key)
                found = {name: number(test, "statistic"), "df": number(test, "df")}
                lines += htest_lines(title, data, found, number(test, "p"))
        notes = marks.lines()
        return "\n".join([*lines, *(["", *notes] if notes else [])])
