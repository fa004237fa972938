"""The result of log-rank tests, printed as R's ``survdiff``."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from isthmus_client.r_code import r_formula
from isthmus_client.results.fit import Fit
from isthmus_client.results.r_format import aligned, format_numbers, one, p_values, rounded
from isthmus_client.results.tree import count, has, not_there, number, numbers, texts, tree
from isthmus_methods.contract import column_name

if TYPE_CHECKING:
    import pandas as pd

FAMILIES = {
    "logrank": "log-rank",
    "peto_peto_rho1": "Peto-Peto",
    "gehan_breslow": "Gehan-Breslow",
    "fleming_harrington": "Fleming-Harrington",
}


class LogRankFit(Fit):
    """Tests between arms; stratified by country unless asked otherwise."""

    method: ClassVar[str] = "log_rank"

    @property
    def tests(self) -> tuple[str, ...]:
        """Names of the tests in the answer, e.g. ``logrank_stratified``, the main one first."""
        found = [f + s for f in FAMILIES for s in ("_stratified", "") if has(self.answer, f + s, "chisq")]
        return tuple(found)

    @property
    def groups(self) -> list[str]:
        return texts(self.answer, "groups")

    @property
    def chisq(self) -> float | None:
        return number(self.answer, self.tests[0], "chisq")

    @property
    def p(self) -> float | None:
        return number(self.answer, self.tests[0], "p")

    @staticmethod
    def test_name(key: str) -> str:
        """A test's name in words."""
        family = key.removesuffix("_stratified")
        return FAMILIES.get(family, family) + (", stratified" if key.endswith("_stratified") else "")

    @property
    def strata(self) -> list[str]:
        """What the stratified tests are stratified by."""
        return texts(self.answer, "strata")

    def call(self) -> str:
        strata = self.strata
        within = f", stratified by {', '.join(strata)}" if strata else ""
        return f"survdiff({self.formula or r_formula(self.spec)}{within})"

    def table(self) -> pd.DataFrame:
        """One row a test: chi-square, degrees of freedom, P value."""
        import pandas as pd

        return pd.DataFrame(
            {
                "chisq": [number(self.answer, key, "chisq") for key in self.tests],
                "df": [count(self.answer, key, "df") for key in self.tests],
                "p": [number(self.answer, key, "p") for key in self.tests],
            },
            index=pd.Index([self.test_name(key) for key in self.tests], name="test"),
        )

    def arms(self) -> pd.DataFrame:
        """One row an arm: n, observed and expected events of the main test."""
        import pandas as pd

        main = self.tests[0]
        return pd.DataFrame(
            {
                "n": [count(self.answer, "n", g) for g in self.groups],
                "observed": numbers(self.answer, main, "observed"),
                "expected": numbers(self.answer, main, "expected"),
            },
            index=pd.Index(self.groups, name=self._arm()),
        )

    def _arm(self) -> str:
        arm = self.spec.role("arm")
        return column_name(arm[0]) if arm else "arm"

    def paragraph(self) -> str:
        within = f", stratified by {', '.join(self.strata)}" if self.strata else ""
        return (
            f"Survival was compared by the log-rank test{within}; the tests with Peto-Peto and Gehan-Breslow weights"
            " are shown beside it."
        )

    def text(self) -> str:
        marks = self.footnotes
        if not self.tests:
            raise not_there("test")
        main = self.tests[0]
        observed, expected = numbers(self.answer, main, "observed"), numbers(self.answer, main, "expected")
        rows = tree(self.answer, main).get("variance")
        matrix = [numbers({"x": row}, "x") for row in rows] if isinstance(rows, list) else []
        if {len(observed), len(expected), len(matrix), *map(len, matrix)} != {len(self.groups)}:
            raise not_there(f"{main}/variance of {len(self.groups)} groups")
        variance = [row[k] for k, row in enumerate(matrix)]
        away = [o - e if o is not None and e is not None else None for o, e in zip(observed, expected, strict=True)]
        squared = [None if d is None else d * d for d in away]
        columns = [
            format_numbers([number(self.answer, "n", g) for g in self.groups], 3),
            format_numbers(observed, 3),
            format_numbers(expected, 3),
            format_numbers([s / e if s is not None and e else None for s, e in zip(squared, expected, strict=True)], 3),
            format_numbers([s / v if s is not None and v else None for s, v in zip(squared, variance, strict=True)], 3),
        ]
        general = marks.mark(self.general_caveats())
        lines = ["Call:", self.call(), ""]
        lines += aligned(
            [f"{self._arm()}={g}{general}" for g in self.groups],
            ["N", "Observed", "Expected", "(O-E)^2/E", "(O-E)^2/V"],
            columns,
        )
        lines += ["", f" Chisq= {self._chisq(main)}"]
        for key in self.tests[1:]:
            lines.append(f" {self.test_name(key)}: Chisq= {self._chisq(key)}")
        if marks.lines():
            lines += ["", *marks.lines()]
        return "\n".join(lines)

    def _chisq(self, key: str) -> str:
        chisq, df, p = (number(self.answer, key, name) for name in ("chisq", "df", "p"))
        return f"{one(rounded(chisq, 1), 3)}  on {round(df or 0)} degrees of freedom, p= {p_values([p], 1)[0]}"
