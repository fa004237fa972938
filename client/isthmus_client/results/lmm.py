"""The result of a linear mixed model, printed as R's ``lmer``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from isthmus_client.r_code.mixed import lmm_formula
from isthmus_client.results.coefficients import coefficient_lines, coefficient_table
from isthmus_client.results.fit import Fit
from isthmus_client.results.r_format import aligned, format_numbers, one, p_values
from isthmus_client.results.tree import count, has, number, tree
from isthmus_methods.contract import column_name

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Estimation = Literal["REML", "ML"]
Z95 = 1.959963984540054


class LmmFit(Fit):
    """Coefficients, variances, and what each group differs by."""

    method: ClassVar[str] = "lmm"

    @property
    def nested(self) -> bool:
        """Whether subjects have an intercept of their own."""
        return has(self.answer, "subjects")

    def call(self) -> str:
        return f"lmer({lmm_formula(self.spec)})"

    def table(self, estimation: Estimation = "REML") -> pd.DataFrame:
        """One row a coefficient: estimate, se, z, p, 95 % limits.

        Parameters
        ----------
        estimation
            ``"REML"`` or ``"ML"``; nested intercepts have REML alone.
        """
        return coefficient_table(tree(self.answer, estimation, "fixed"))

    def variances(self, estimation: Estimation = "REML") -> pd.DataFrame:
        """One row a random part: variance and standard deviation."""
        import pandas as pd

        values = [(name, number(self.answer, estimation, key)) for name, key in self._parts()]
        columns = {"variance": [v for _, v in values], "sd": [None if v is None else math.sqrt(v) for _, v in values]}
        return pd.DataFrame(columns, index=pd.Index([name for name, _ in values], name="group"), dtype=float)

    def random_effects(self, estimation: Estimation = "REML") -> pd.DataFrame:
        """One row a group: conditional mean of its intercept (BLUP), and its standard deviation."""
        import pandas as pd

        names = list(tree(self.answer, estimation, "blup"))
        columns = {
            "blup": [number(self.answer, estimation, "blup", name) for name in names],
            "sd": [number(self.answer, estimation, "blup_cond_sd", name) for name in names],
        }
        return pd.DataFrame(columns, index=pd.Index(names, name=self._group()), dtype=float)

    def tables(self) -> dict[str, pd.DataFrame]:
        return {
            "Fixed effects (REML)": self.table(),
            "Variances (REML)": self.variances(),
            "Random effects (REML)": self.random_effects(),
        }

    def plot(self, estimation: Estimation = "REML", title: str = "") -> Figure:
        """What each group differs by, smallest first, with 95 % limits given the coefficients."""
        from isthmus_client.plots.forest import ForestRow, forest_figure

        effects = self.random_effects(estimation).sort_values("blup")
        rows = [
            ForestRow(str(name), float(mean), float(mean - Z95 * sd), float(mean + Z95 * sd))
            for name, mean, sd in effects.itertuples()
        ]
        return forest_figure(
            rows,
            headings=(self._group(),),
            measure="difference",
            title=title or f"{self._group()}: random intercepts",
            notes=self.caveats,
            ratio=False,
        )

    def figures(self) -> Sequence[tuple[Figure, str]]:
        return ((self.plot(), "What each group differs by from the mean of all, with 95 % limits"),)

    def text(self) -> str:
        marks = self.footnotes
        general = marks.mark(self.general_caveats())
        variances = self.variances()
        columns = [format_numbers(variances[key].tolist(), 5) for key in ("variance", "sd")]
        records, groups = count(self.answer, "n"), count(self.answer, "groups")
        sizes = f"Number of obs: {records}{general}, groups: {self._group()}, {groups}"
        if self.nested:
            sizes += f"; {column_name(self.spec.role('subject')[0])}, {count(self.answer, 'subjects')}"
        loglik = number(self.answer, "REML", "loglik")
        lines = [
            "Linear mixed model fit by REML",
            f"Formula: {lmm_formula(self.spec)}",
            "",
            f"REML criterion: {one(None if loglik is None else -2 * loglik, 7)}",
            "",
            "Random effects:",
            *aligned(list(variances.index), ["Variance", "Std.Dev."], columns),
            sizes,
            "",
            "Fixed effects:",
            *coefficient_lines(tree(self.answer, "REML", "fixed")),
        ]
        if has(self.answer, "lrt_random_intercept_ML"):
            at = "lrt_random_intercept_ML"
            [p] = p_values([number(self.answer, at, "p_half_chi2_1")], 4)
            statistic = one(number(self.answer, at, "statistic"), 5)
            lines += ["", f"Random intercept, by ML: LRT = {statistic}, half of chi-square(1): p = {p}"]
        notes = marks.lines()
        return "\n".join([*lines, *(["", *notes] if notes else [])])

    def _group(self) -> str:
        return column_name(self.spec.role("group")[0])

    def _parts(self) -> list[tuple[str, str]]:
        inside = [(column_name(c), "tau2_subject") for c in self.spec.role("subject")]
        return [*inside, (self._group(), "tau2_country"), ("Residual", "sigma2")]
