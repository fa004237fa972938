"""Results of cross-tables and of association within strata."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from isthmus_client.results.fit import Fit
from isthmus_client.results.r_format import aligned, format_numbers, p_values
from isthmus_client.results.tree import count, has, number, texts, tree
from isthmus_methods.contract import Answer

if TYPE_CHECKING:
    import pandas as pd

    from isthmus_client.plots.tables import CmhPlots

# Keys of tests in an answer, with their names.
TESTS = {
    "chisq_pearson": "Pearson's chi-squared",
    "chisq_yates": "chi-squared with Yates' correction",
    "likelihood_ratio": "likelihood ratio",
    "cmh_no_correction": "Cochran-Mantel-Haenszel",
    "cmh_continuity_corrected": "Cochran-Mantel-Haenszel, continuity corrected",
    "general_association": "general association",
    "breslow_day": "Breslow-Day homogeneity",
    "breslow_day_tarone": "Breslow-Day homogeneity, Tarone's correction",
    "woolf_homogeneity": "Woolf homogeneity",
}
EFFECTS = {
    "risk_difference": ("risk difference", "newcombe95"),
    "risk_ratio": ("risk ratio", "ci95"),
    "odds_ratio": ("odds ratio", "ci95"),
    "mh_odds_ratio": ("Mantel-Haenszel odds ratio", "ci95"),
    "mh_risk_ratio": ("Mantel-Haenszel risk ratio", "ci95"),
    "mh_risk_difference": ("Mantel-Haenszel risk difference", "ci95"),
}
ARMS = ("treated", "control")


class CountedFit(Fit):
    """A result of counts: tests and, of two arms, effects."""

    @property
    def two_arms(self) -> bool:
        """Whether it compares two arms, with effects."""
        return any(key in self.answer for key in EFFECTS)

    def tests(self) -> pd.DataFrame:
        """One row a test: statistic, degrees of freedom, P value; of exact tests the P value alone."""
        import pandas as pd

        rows: dict[str, list[float | None]] = {
            name: [number(self.answer, key, part) for part in ("statistic", "df", "p")]
            for key, name in TESTS.items()
            if key in self.answer
        }
        for path in (("fisher_p",), ("fisher", "p_two_sided")):
            if path[0] in self.answer:
                rows["Fisher's exact"] = [None, None, number(self.answer, *path)]
        return pd.DataFrame.from_dict(rows, orient="index", columns=["statistic", "df", "p"], dtype=float)

    def effects(self) -> pd.DataFrame:
        """One row an effect of treated against control, with 95 % limits; of a risk difference Newcombe's."""
        import pandas as pd

        rows = {
            name: [number(self.answer, key, "estimate"), *(number(self.answer, key, ci, e) for e in ("lower", "upper"))]
            for key, (name, ci) in EFFECTS.items()
            if key in self.answer
        }
        if "fisher" in self.answer:
            exact = tree(self.answer, "fisher")
            limits = [number(exact, "or_ci95_exact", end) for end in ("lower", "upper")]
            rows["odds ratio, exact"] = [number(exact, "or_conditional_mle"), *limits]
        columns = ["estimate", "ci95_lower", "ci95_upper"]
        return pd.DataFrame.from_dict(rows, orient="index", columns=columns, dtype=float)

    def _lines(self, frame: pd.DataFrame, digits: int = 4) -> list[str]:
        """A data frame of tests or effects as R prints it."""
        written = []
        for name in frame.columns:
            values = [None if x != x else float(x) for x in frame[name]]
            written.append(p_values(values, digits) if name == "p" else format_numbers(values, digits, na="–"))
        return aligned(list(frame.index), list(frame.columns), written)

    def _footed(self, lines: list[str]) -> str:
        self.footnotes.mark(self.caveats)
        notes = self.footnotes.lines()
        return "\n".join([*lines, *(["", *notes] if notes else [])])

    def cell(self, *path: str) -> Answer:
        """What stands at a path of the answer."""
        value: Answer = self.answer
        for name in path:
            value = tree(value)[name]
        return value


class CrosstabFit(CountedFit):
    """A table of two factors, or of two arms and an event."""

    method: ClassVar[str] = "crosstab"

    def counts(self) -> pd.DataFrame:
        """The table itself."""
        import pandas as pd

        table = tree(self.answer, "table")
        index = pd.Index(texts(table, "rows"), name=str(self.answer.get("row", "")))
        columns = pd.Index(texts(table, "cols"), name=str(self.answer.get("column", "")))
        return pd.DataFrame(table["values"], index=index, columns=columns)

    def arms(self) -> pd.DataFrame:
        """One row an arm: events, n, risk, Wilson's and Clopper and Pearson's limits."""
        import pandas as pd

        names = texts(self.answer, "table", "rows")
        rows = {
            name: [
                *(number(self.answer, arm, key) for key in ("events", "n", "p")),
                *(
                    number(self.answer, arm, ci, end)
                    for ci in ("wilson95", "clopper_pearson95")
                    for end in ("lower", "upper")
                ),
            ]
            for name, arm in zip(names, ARMS, strict=True)
        }
        limits = [f"{kind}_{end}" for kind in ("wilson", "exact") for end in ("lower", "upper")]
        return pd.DataFrame.from_dict(rows, orient="index", columns=["events", "n", "risk", *limits], dtype=float)

    def table(self) -> pd.DataFrame:
        """Effects of treated against control; of a table that is not of two arms the counts."""
        return self.effects() if self.two_arms else self.counts()

    def tables(self) -> dict[str, pd.DataFrame]:
        found = {"Counts": self.counts(), "Tests": self.tests()}
        return {**found, "Arms": self.arms(), "Effects": self.effects()} if self.two_arms else found

    def call(self) -> str:
        return f"crosstab({self.answer.get('row')}, {self.answer.get('column')})"

    def text(self) -> str:
        counts = self.counts()
        columns = [[f"{x:,}" for x in counts[name]] for name in counts.columns]
        missing = count(self.answer, "n_missing")
        lines = ["Call:", self.call(), ""]
        lines += aligned([str(name) for name in counts.index], [str(name) for name in counts.columns], columns)
        lines += ["", f"n= {int(counts.to_numpy().sum()):,}" + (f", {missing:,} missing" if missing else "")]
        if has(self.answer, "cramers_v"):
            lines.append(f"Cramer's V= {format_numbers([number(self.answer, 'cramers_v')], 4)[0]}")
        lines += ["", *self._lines(self.tests())]
        if self.two_arms:
            lines += ["", *self._lines(self.arms()), "", *self._lines(self.effects())]
        return self._footed(lines)


class CmhFit(CountedFit):
    """Two factors within strata."""

    method: ClassVar[str] = "cmh"

    @property
    def plot(self) -> CmhPlots:
        """``plot.forest()``."""
        from isthmus_client.plots.tables import CmhPlots

        return CmhPlots(self)

    def strata(self) -> pd.DataFrame:
        """One row a stratum: events and persons of both arms; empty for the general test."""
        import pandas as pd

        strata = tree(self.answer, "strata") if "strata" in self.answer else {}
        keys = ("treated_event", "treated_noevent", "control_event", "control_noevent")
        rows = {name: [count(strata, name, key) for key in keys] for name in strata}
        return pd.DataFrame.from_dict(rows, orient="index", columns=list(keys))

    def table(self) -> pd.DataFrame:
        """Common effects; for the general test its statistic."""
        return self.effects() if self.two_arms else self.tests()

    def tables(self) -> dict[str, pd.DataFrame]:
        if not self.two_arms:
            return {"Tests": self.tests()}
        return {"Common effects": self.effects(), "Tests": self.tests(), "Strata": self.strata()}

    def call(self) -> str:
        within = " + ".join(texts(self.answer, "strata_of"))
        return f"cmh({self.answer.get('arm')}, {self.answer.get('outcome')} | {within})"

    def text(self) -> str:
        lines = ["Call:", self.call(), "", *self._lines(self.tests())]
        if self.two_arms:
            strata = self.strata()
            columns = [[f"{x:,}" for x in strata[name]] for name in strata.columns]
            lines += ["", *self._lines(self.effects()), ""]
            lines += aligned([str(name) for name in strata.index], [str(name) for name in strata.columns], columns)
        return self._footed(lines)
