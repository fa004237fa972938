"""Tests of an interaction, the models with it and without it, and the effect in each country."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from isthmus_client.r_code import r_formula
from isthmus_client.results.coefficients import coefficient_lines, coefficient_table
from isthmus_client.results.fit import Fit
from isthmus_client.results.meta_analysis import Row
from isthmus_client.results.r_format import aligned, format_numbers, p_values
from isthmus_client.results.tree import Tree, count, has, number, tree

if TYPE_CHECKING:
    import pandas as pd

    from isthmus_client.plots.figures import InteractionPlots

TESTS = {
    "lrt_interaction": "likelihood ratio",
    "stratified_lrt_interaction": "likelihood ratio, stratified by country",
    "wald_interaction": "Wald",
}
MEASURES = {"logistic": "odds ratio", "cox": "hazard ratio"}


class InteractionFit(Fit):
    """Whether an effect differs between countries, or between levels of another factor."""

    method: ClassVar[str] = "interaction"

    @property
    def model(self) -> str:
        """``logistic``, ``linear`` or ``cox``."""
        return str(self.spec.options.get("model", "logistic"))

    @property
    def measure(self) -> str:
        """What the effect is: ``odds ratio``, ``hazard ratio``, ``difference``."""
        return MEASURES.get(self.model, "difference")

    @property
    def is_ratio(self) -> bool:
        """Whether effects are logarithms of ratios."""
        return self.model in MEASURES

    @property
    def tested(self) -> str:
        """Name of the interaction."""
        return self.spec.terms[-1].name

    @property
    def effects(self) -> tuple[str, ...]:
        """Coefficients that each country has of its own; none where the country is not in the interaction."""
        found: dict[str, None] = {}
        for own in self._own().values():
            for name in tree(own, "coef"):
                found.setdefault(name)
        return tuple(found)

    def _own(self) -> Tree:
        return tree(self.answer, "by_country") if has(self.answer, "by_country") else {}

    def countries(self, effect: str) -> tuple[Row, ...]:
        """One row a country: its own effect, from its rows alone."""
        rows = []
        for country, own in self._own().items():
            b, se, lower, upper, p = (
                number(own, "coef", effect, key) for key in ("estimate", "se", "ci95_lower", "ci95_upper", "p")
            )
            rows.append(Row(country, b, se, lower, upper, n=count(own, "n"), p=p))
        return tuple(rows)

    def pooled(self, effect: str) -> Row:
        """The effect in the model without the interaction."""
        b, se, lower, upper, p = (
            number(self.answer, "main_effects_model", "coef", effect, key)
            for key in ("estimate", "se", "ci95_lower", "ci95_upper", "p")
        )
        return Row("all, without interaction", b, se, lower, upper, n=count(self.answer, "n"), p=p)

    def tests(self) -> pd.DataFrame:
        """One row a test: statistic, df, df2, p."""
        import pandas as pd

        rows = {
            label: [number(self.answer, key, name) for name in ("statistic", "df")] + [None, self._p(key)]
            for key, label in TESTS.items()
            if has(self.answer, key)
        }
        if has(self.answer, "f_test_interaction"):
            f = "f_test_interaction"
            rows["F"] = [*(number(self.answer, f, name) for name in ("F", "df1", "df2")), self._p(f)]
        columns = ["statistic", "df", "df2", "p"]
        return pd.DataFrame.from_dict(rows, orient="index", columns=columns, dtype=float).rename_axis("test")

    def _p(self, key: str) -> float | None:
        return number(self.answer, key, "p")

    def by_country(self) -> pd.DataFrame:
        """One row a country and effect: n, estimate, se, 95 % limits, p."""
        import pandas as pd

        rows = [(r, effect) for effect in self.effects for r in self.countries(effect)]
        index = pd.MultiIndex.from_tuples([(effect, r.label) for r, effect in rows], names=["coefficient", "country"])
        columns = {key: [getattr(r, key) for r, _ in rows] for key in ("n", "estimate", "se", "lower", "upper", "p")}
        return pd.DataFrame(columns, index=index, dtype=float)

    def table(self) -> pd.DataFrame:
        """One row a coefficient of the model with the interaction."""
        return coefficient_table(tree(self.answer, "interaction_model", "coef"))

    def tables(self) -> dict[str, pd.DataFrame]:
        main = coefficient_table(tree(self.answer, "main_effects_model", "coef"))
        found = {"Tests of the interaction": self.tests()}
        if self.effects:
            found["Effect in each country"] = self.by_country()
        return {**found, "Model with the interaction": self.table(), "Model without the interaction": main}

    @property
    def plot(self) -> InteractionPlots:
        """``plot.forest()``."""
        from isthmus_client.plots.figures import InteractionPlots

        return InteractionPlots(self)

    def call(self) -> str:
        how = {"logistic": "glm", "linear": "lm", "cox": "coxph"}[self.model]
        return f"{how}({self.formula or r_formula(self.spec)}); test of {self.tested}"

    def test_line(self) -> str:
        """The likelihood-ratio test in one line."""
        x, df = number(self.answer, "lrt_interaction", "statistic"), count(self.answer, "lrt_interaction", "df")
        p = p_values([self._p("lrt_interaction")], 2)[0]
        return (
            f"interaction {self.tested}: likelihood ratio χ² = {format_numbers([x], 4)[0]} on {df} df, p {_equals(p)}"
        )

    def text(self) -> str:
        marks = self.footnotes
        coefficients = tree(self.answer, "interaction_model", "coef")
        general = marks.mark(self.general_caveats(list(coefficients)))
        lines = ["Call:", self.call(), "", f"n= {count(self.answer, 'n')}{general}", "", "Tests of the interaction:"]
        tests = self.tests()
        columns = [
            format_numbers(list(tests["statistic"]), 5),
            format_numbers(list(tests["df"])),
            format_numbers([None if x != x else x for x in tests["df2"]], na=""),
            p_values([None if x != x else x for x in tests["p"]], 4),
        ]
        lines += aligned(list(tests.index), ["Chisq or F", "Df", "Df2", "Pr(>)"], columns)
        for effect in self.effects:
            rows = [*self.countries(effect), self.pooled(effect)]
            cells = [
                format_numbers([r.n for r in rows], 7, na=""),
                *(format_numbers([getattr(r, key) for r in rows], 4) for key in ("estimate", "se", "lower", "upper")),
                p_values([r.p for r in rows], 4),
            ]
            headings = ["n", "Estimate", "Std. Error", "lower .95", "upper .95", "Pr"]
            lines += ["", f"{effect} in each country:", *aligned([r.label for r in rows], headings, cells)]
        lines += ["", "Coefficients of the model with the interaction:"]
        lines += coefficient_lines(coefficients, lambda name: name + marks.mark(self.caveats_of(name)))
        notes = marks.lines()
        return "\n".join([*lines, *(["", *notes] if notes else [])])


def _equals(p: str) -> str:
    return p if p.startswith("<") else f"= {p}"
