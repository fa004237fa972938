"""The result of generalised estimating equations, printed as R's ``geeglm``."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from isthmus_client.r_code import r_formula
from isthmus_client.results.coefficients import coefficient_lines, coefficient_table
from isthmus_client.results.fit import Fit
from isthmus_client.results.r_format import one
from isthmus_client.results.tree import count, has, number, tree

if TYPE_CHECKING:
    import pandas as pd

STRUCTURES = {
    "geepack_exchangeable": "exchangeable, as geepack::geeglm",
    "geepack_independence": "independence, as geepack::geeglm",
    "gee_package_exchangeable": "exchangeable, as gee::gee",
}


class GeeFit(Fit):
    """Coefficients with robust standard errors under each working correlation."""

    method: ClassVar[str] = "gee"

    @property
    def alpha(self) -> float | None:
        """Correlation within clusters, exchangeable, as geepack has it."""
        return number(self.answer, "geepack_exchangeable", "alpha")

    def call(self) -> str:
        return f"geeglm({self.formula or r_formula(self.spec)}, family = {self.spec.options.get('family', 'gaussian')})"

    def table(self, structure: str = "geepack_exchangeable") -> pd.DataFrame:
        """One row a coefficient: estimate, robust se, z, p, 95 % limits.

        Parameters
        ----------
        structure
            ``"geepack_exchangeable"``, ``"geepack_independence"`` or ``"gee_package_exchangeable"``.
        """
        return coefficient_table(tree(self.answer, structure, "coef"))

    def tables(self) -> dict[str, pd.DataFrame]:
        return {words: self.table(key) for key, words in STRUCTURES.items()}

    def text(self) -> str:
        marks = self.footnotes
        general = marks.mark(self.general_caveats())
        lines = ["Call:", self.call(), ""]
        lines.append(
            f"{count(self.answer, 'n_records')}{general} records in {count(self.answer, 'n_clusters')} clusters"
        )
        for key, words in STRUCTURES.items():
            lines += ["", f"Working correlation: {words}", *coefficient_lines(tree(self.answer, key, "coef"))]
            scale = f"Estimated scale: {one(number(self.answer, key, 'scale_phi'), 4)}"
            correlation = f", correlation: {one(number(self.answer, key, 'alpha'), 4)}"
            lines.append(scale + (correlation if has(self.answer, key, "alpha") else ""))
        notes = marks.lines()
        return "\n".join([*lines, *(["", *notes] if notes else [])])
