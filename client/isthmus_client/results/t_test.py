"""The results of t tests, printed as R's ``t.test``, ``var.test`` and ``wilcox.test``."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from isthmus_client.r_code import r_column
from isthmus_client.results.fit import Fit
from isthmus_client.results.htest import htest_lines
from isthmus_client.results.tree import has, number, tree
from isthmus_methods.contract import column_name

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = ("statistic", "df", "p", "mean_difference", "se", "ci95_lower", "ci95_upper")
VARIANTS = {"welch": "Welch Two Sample t-test", "pooled": "Two Sample t-test"}


class TTestFit(Fit):
    """Two arms compared: means, variances, ranks."""

    method: ClassVar[str] = "t_test"

    @property
    def outcome(self) -> str:
        return column_name(self.spec.role("outcome")[0])

    @property
    def arms(self) -> tuple[str, str]:
        """The level whose mean comes first, and the one that is taken from it."""
        levels = self.spec.levels(self.spec.role("arm")[0])
        treated, control = (str(self.spec.options.get(key) or "") for key in ("treated", "control"))
        control = control or levels[0]
        return treated or next((level for level in levels if level != control), ""), control

    def call(self) -> str:
        treated, control = self.arms
        arm = r_column(self.spec.role("arm")[0])
        return f"t.test({self.outcome} ~ {arm}), {treated} against {control}"

    def table(self) -> pd.DataFrame:
        """One row a test: statistic, df, p; of the t tests also the difference, its se and limits."""
        import pandas as pd

        rows: dict[str, list[float | None]] = {}
        for key, name in VARIANTS.items():
            parts = ("t", "df", "p", "mean_difference", "se")
            limits = [number(self.answer, key, "ci95", end) for end in ("lower", "upper")]
            rows[name] = [*(number(self.answer, key, part) for part in parts), *limits]
        blank: list[float | None] = [None] * 4
        f = [number(self.answer, "f_variance_ratio", part) for part in ("F", "df1", "p")]
        rows["F test of variances"] = [*f, *blank]
        if has(self.answer, "wilcoxon_normal_approx"):
            w = tree(self.answer, "wilcoxon_normal_approx")
            rows["Wilcoxon rank sum test"] = [number(w, "W"), None, number(w, "p_continuity"), *blank]
        return pd.DataFrame.from_dict(rows, orient="index", columns=list(_COLUMNS)).rename_axis("test").astype(float)

    def means(self) -> pd.DataFrame:
        """One row an arm: n, mean, sd."""
        import pandas as pd

        rows = [[number(self.answer, key, part) for part in ("n", "mean", "sd")] for key in ("treated", "control")]
        return pd.DataFrame(rows, index=pd.Index(self.arms, name="arm"), columns=["n", "mean", "sd"], dtype=float)

    def tables(self) -> dict[str, pd.DataFrame]:
        return {"Means": self.means(), "Tests": self.table()}

    def paragraph(self) -> str:
        return (
            "Arms are compared by Student's and Welch's t test of the pooled rows, their variances by F, and where the"
            " values could be counted by Wilcoxon's rank sum test in its normal approximation."
        )

    def text(self) -> str:
        marks = self.footnotes
        general = marks.mark(self.general_caveats())
        treated, control = self.arms
        data = f"{self.outcome}, {treated} and {control}{general}"
        means = {f"mean of {arm}": number(self.answer, key, "mean") for arm, key in zip(self.arms, _SIDES, strict=True)}
        lines: list[str] = []
        for key, name in VARIANTS.items():
            test = tree(self.answer, key)
            limits = number(test, "ci95", "lower"), number(test, "ci95", "upper")
            found = {"t": number(test, "t"), "df": number(test, "df")}
            lines += htest_lines(name, data, found, number(test, "p"), limits=limits, estimates=means)
        f = tree(self.answer, "f_variance_ratio")
        found = {"F": number(f, "F"), "num df": number(f, "df1"), "denom df": number(f, "df2")}
        limits = number(f, "ci95", "lower"), number(f, "ci95", "upper")
        ratio = {"ratio of variances": number(f, "F")}
        title = "F test to compare two variances"
        lines += htest_lines(title, data, found, number(f, "p"), limits=limits, estimates=ratio)
        if has(self.answer, "wilcoxon_normal_approx"):
            w = tree(self.answer, "wilcoxon_normal_approx")
            title = "Wilcoxon rank sum test with continuity correction"
            lines += htest_lines(title, data, {"W": number(w, "W")}, number(w, "p_continuity"))
        notes = marks.lines()
        return "\n".join([*lines, *(["", *notes] if notes else [])])


_SIDES = ("treated", "control")


class PairedTTestFit(Fit):
    """Two numbers of the same row compared."""

    method: ClassVar[str] = "paired_t_test"

    @property
    def compared(self) -> tuple[str, str]:
        """The two numbers."""
        return column_name(self.spec.role("first")[0]), column_name(self.spec.role("second")[0])

    def call(self) -> str:
        first, second = (r_column(self.spec.role(role)[0]) for role in ("first", "second"))
        return f"t.test({first}, {second}, paired = TRUE)"

    def table(self) -> pd.DataFrame:
        """One row: n, mean difference, se, t, df, p, 95 % limits."""
        import pandas as pd

        values = {key: number(self.answer, key) for key in ("n", "mean", "se", "t", "df", "p")}
        values |= {f"ci95_{end}": number(self.answer, "ci95", end) for end in ("lower", "upper")}
        name = " - ".join(self.compared)
        return pd.DataFrame([values], index=pd.Index([name], name="difference"), dtype=float)

    def tables(self) -> dict[str, pd.DataFrame]:
        return {"Paired t test": self.table()}

    def text(self) -> str:
        marks = self.footnotes
        general = marks.mark(self.general_caveats())
        limits = number(self.answer, "ci95", "lower"), number(self.answer, "ci95", "upper")
        lines = htest_lines(
            "Paired t-test",
            " and ".join(self.compared) + general,
            {"t": number(self.answer, "t"), "df": number(self.answer, "df")},
            number(self.answer, "p"),
            limits=limits,
            estimates={"mean difference": number(self.answer, "mean")},
        )
        notes = marks.lines()
        return "\n".join([*lines, *(["", *notes] if notes else [])])
