"""Consistency of regions: their effects, the criteria of ICH E17, shrunken effects and what the prior does to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from isthmus_client.results.effect import EffectFit
from isthmus_client.results.r_format import hazard_ratio
from isthmus_client.results.tree import has, number, texts, tree
from isthmus_methods.contract import Answer

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from isthmus_client.plots.regional import RegionalPlots

# Criteria on all regions together, in the order of the answer, with what they say.
CRITERIA = {
    "method_2": "every effect in the right direction (Method 2)",
    "every_region_keeps_pi": "every region keeps {pi:g} of the overall effect",
    "every_region_at_least": "every effect at least {bound:g}",
    "every_lower_limit_above": "every lower limit above {lower_bound:g}",
    "no_interaction": "no significant interaction",
}


class RegionalFit(EffectFit):
    """Effects of regions against the overall one."""

    method: ClassVar[str] = "regional_consistency"

    @property
    def regions(self) -> tuple[str, ...]:
        """Names of the regions."""
        return tuple(tree(self.answer, "regions"))

    @property
    def pi(self) -> float:
        """Share of the overall effect that a region should keep."""
        return number(self.answer, "method_1", "pi") or 0.0

    @property
    def threshold(self) -> float | None:
        """The effect at which a region keeps just that share, on the scale of the coefficient."""
        overall = number(self.answer, "overall", "estimate")
        return None if overall is None else self.pi * overall

    @property
    def plot(self) -> RegionalPlots:
        """``plot.consistency()``, ``plot.shrinkage()``."""
        from isthmus_client.plots.regional import RegionalPlots

        return RegionalPlots(self)

    def call(self) -> str:
        return f"{self.model('each country')}; consistency of {self.coefficient} over {len(self.regions)} regions"

    def table(self) -> pd.DataFrame:
        """One row a region and the overall effect: estimate, se, limits, share of the information, Method 1."""
        import pandas as pd

        names = [*self.regions, "overall"]
        of = [("regions", name) for name in self.regions] + [("overall",)]

        def column(key: str) -> list[float | None]:
            return [number(self.answer, *path, key) for path in of]

        def method_1(key: str) -> list[Answer]:
            return [self.cell("method_1", "regions", name, key) for name in self.regions] + [None]

        ends = [column("ci95_lower"), column("ci95_upper")]
        estimates, table = column("estimate"), {}
        if self.is_ratio:
            short = self.short_measure
            table = {short: [hazard_ratio(x) for x in estimates]}
            table |= {f"{short}_{end}": [hazard_ratio(x) for x in ends[k]] for k, end in enumerate(("lower", "upper"))}
        else:
            table = {"lower": ends[0], "upper": ends[1]}
        frame = pd.DataFrame(
            {"estimate": estimates, "se": column("se"), **table, "fraction": column("information_fraction")},
            index=pd.Index(names, name="region"),
            dtype=float,
        )
        frame["share of overall"] = pd.Series(method_1("share_of_overall"), index=frame.index, dtype=float)
        frame["keeps pi"] = pd.Series(method_1("holds"), index=frame.index, dtype=object)
        frame["P if uniform"] = pd.Series(method_1("probability_if_uniform"), index=frame.index, dtype=float)
        return frame

    def criteria(self) -> pd.DataFrame:
        """One row a criterion on all regions: does it hold, and how often a uniform effect would meet it."""
        import pandas as pd

        wordings = {
            "pi": self.pi,
            "bound": number(self.answer, "every_region_at_least", "bound") or 0.0,
            "lower_bound": number(self.answer, "every_lower_limit_above", "bound") or 0.0,
        }
        return pd.DataFrame(
            {
                "holds": pd.Series([self.cell(name, "holds") for name in CRITERIA], dtype=object),
                "P if uniform": [number(self.answer, name, "probability_if_uniform") for name in CRITERIA],
            }
        ).set_index(pd.Index([text.format(**wordings) for text in CRITERIA.values()], name="criterion"))

    def tests(self) -> pd.DataFrame:
        """Interaction of treatment and region: Cochran's Q, and Gail and Simon's test of a qualitative one."""
        import pandas as pd

        rows = {
            "quantitative (Cochran's Q)": ("no_interaction", "statistic", "df", "p"),
            "qualitative (Gail-Simon)": ("gail_simon", "Q", "", "p"),
        }
        return pd.DataFrame(
            {
                name: [number(self.answer, path, key) if key else None for key in keys]
                for name, (path, *keys) in rows.items()
            },
            index=["statistic", "df", "p"],
            dtype=float,
        ).T.rename_axis("interaction")

    def shrunken(self) -> pd.DataFrame:
        """One row a region: its own estimate, empirical Bayes, James-Stein, and the posterior of its effect."""
        import pandas as pd

        def of(*path: str, key: str = "") -> list[float | None]:
            return [number(self.answer, *path, name, *([key] if key else [])) for name in self.regions]

        columns = {"observed": of("regions", key="estimate"), "EB": of("empirical_bayes", "regions", key="estimate")}
        if has(self.answer, "james_stein"):
            columns["JS"] = of("james_stein", "regions")
        if has(self.answer, "bayes"):
            names = {"mean": "Bayes", "ci95_lower": "lower", "ci95_upper": "upper"}
            names |= {"p_benefit": "P(benefit)", "p_keeps_pi": "P(keeps pi)"}
            columns |= {name: of("bayes", "regions", key=key) for key, name in names.items()}
        return pd.DataFrame(columns, index=pd.Index(self.regions, name="region"), dtype=float)

    def sensitivity(self) -> pd.DataFrame:
        """One row a prior of tau: the posterior means of tau, the overall effect and each region's."""
        import pandas as pd

        if not has(self.answer, "bayes"):
            return pd.DataFrame()
        posteriors = [tree(self.answer, "bayes")]
        posteriors += [tree(self.answer, "bayes_sensitivity", name) for name in tree(self.answer, "bayes_sensitivity")]
        return pd.DataFrame(
            {
                "tau": [number(p, "tau", "mean") for p in posteriors],
                "mu": [number(p, "mu", "mean") for p in posteriors],
                **{name: [number(p, "regions", name, "mean") for p in posteriors] for name in self.regions},
            },
            index=pd.Index([str(p["prior"]) for p in posteriors], name="prior of tau"),
            dtype=float,
        )

    def tables(self) -> dict[str, pd.DataFrame]:
        named = {
            f"{self.coefficient} by region (lower is better)"
            if self.answer.get("benefit") == "lower"
            else f"{self.coefficient} by region (higher is better)": self.table(),
            "Criteria on all regions": self.criteria(),
            "Treatment by region": self.tests(),
            "Shrunken effects": self.shrunken(),
            "Posterior means by prior": self.sensitivity(),
        }
        return {caption: table for caption, table in named.items() if len(table)}

    def figures(self) -> Sequence[tuple[Figure, str]]:
        return [
            (self.plot.consistency(), "effects of the regions and the share of the overall effect to keep"),
            (self.plot.shrinkage(), "effects of the regions, observed and shrunken"),
        ]

    def paragraph(self) -> str:
        pooled = [name for name in self.regions if len(texts(self.answer, "countries_of_regions", name)) > 1]
        made = " Regions are inverse-variance means of their countries' estimates." if pooled else ""
        bayes = (
            " Shrunken effects are empirical Bayes estimates and posterior means under a normal hierarchical model with"
            f" a {self.cell('bayes', 'prior')} prior of the standard deviation between regions."
            if has(self.answer, "bayes")
            else ""
        )
        return (
            f"The effect {self.coefficient} was estimated in each country on its own.{made} Consistency was judged by"
            f" Methods 1 and 2 of the MHLW guidance with a share of {self.pi:g} of the overall effect, beside the"
            " probability that a uniform effect meets each criterion; qualitative interaction was tested as by Gail"
            f" and Simon.{bayes}"
        )

    def cell(self, *path: str) -> Answer:
        """What stands at a path; None where nothing does."""
        return tree(self.answer, *path[:-1]).get(path[-1]) if has(self.answer, *path[:-1]) else None
