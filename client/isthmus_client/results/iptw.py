"""The result of inverse probability weighting: balance, weights, hazard ratios, curves."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from isthmus_client.r_code import r_formula
from isthmus_client.results.coefficients import coefficient_lines, coefficient_table
from isthmus_client.results.fit import Fit
from isthmus_client.results.r_format import aligned, format_numbers, one, p_values
from isthmus_client.results.tree import Tree, count, number, tree

if TYPE_CHECKING:
    import pandas as pd

    from isthmus_client.plots.love import IptwPlots

WEIGHTINGS = {
    "unweighted": "unweighted",
    "ate": "weighted (ATE)",
    "stabilised": "weighted (ATE, stabilised)",
    "att": "weighted (ATT)",
}
_TIES = ("efron", "breslow")


class IptwFit(Fit):
    """Effect of a treatment, weighted by the inverse probability of the treatment that was given."""

    method: ClassVar[str] = "iptw"

    @property
    def weightings(self) -> tuple[str, ...]:
        """The weightings of the result, e.g. ``("ate", "stabilised")``."""
        return tuple(name for name in WEIGHTINGS if f"weights_{name}" in self.answer)

    @property
    def plot(self) -> IptwPlots:
        """``plot.love()``: how far the arms are apart before and after weighting."""
        from isthmus_client.plots.love import IptwPlots

        return IptwPlots(self)

    def call(self) -> str:
        return f"iptw({self.formula or r_formula(self.spec)})"

    def table(self) -> pd.DataFrame:
        """Hazard ratios, Efron's ties: coefficient, naive and robust standard errors; limits and p by the robust."""
        return self.hazard_ratios("efron")

    def hazard_ratios(self, ties: str = "efron") -> pd.DataFrame:
        """One row a weighting."""
        import pandas as pd

        rows = {name: tree(self.answer, f"cox_{name}", ties) for name in ("unweighted", *self.weightings)}
        keys = {
            "coef": ("coef",),
            "hr": ("hr",),
            "hr_lower": ("hr_ci95_robust", "lower"),
            "hr_upper": ("hr_ci95_robust", "upper"),
            "se": ("se_naive",),
            "robust_se": ("se_robust_id",),
            "robust_se_country": ("se_robust_cluster_country",),
            "p": ("p_robust",),
        }
        columns = {key: [number(row, *path) for row in rows.values()] for key, path in keys.items()}
        return pd.DataFrame(columns, index=pd.Index([WEIGHTINGS[name] for name in rows], name="model"), dtype=float)

    def balance(self) -> pd.DataFrame:
        """Standardised mean differences, one row a column of the propensity model, before and after weighting."""
        import pandas as pd

        before = tree(self.answer, "smd_before")
        columns = {"before": [number(before, name) for name in before]}
        for weighting in self.weightings:
            after = tree(self.answer, f"smd_after_{weighting}")
            columns[f"after, {weighting}"] = [number(after, name) for name in before]
        return pd.DataFrame(columns, index=pd.Index(list(before), name="covariate"), dtype=float)

    def weights(self) -> pd.DataFrame:
        """Sum, mean, standard deviation, range and effective number of the weights, by weighting and arm."""
        import pandas as pd

        rows = {}
        for weighting in self.weightings:
            for arm in ("treated", "control", "all"):
                block = self.answer.get(f"weights_{weighting}")
                own = block.get(arm) if isinstance(block, dict) else None
                rows[f"{weighting}, {arm}"] = own if isinstance(own, dict) else {}
        keys = ("sum", "mean", "sd", "min", "max", "ess")
        columns = {key: [number(row, key) if row else None for row in rows.values()] for key in keys}
        return pd.DataFrame(columns, index=pd.Index(list(rows), name="weights"), dtype=float)

    def propensity(self) -> pd.DataFrame:
        """The propensity model's coefficients."""
        return coefficient_table(tree(self.answer, "propensity", "coef"))

    def curves(self) -> pd.DataFrame:
        """Weighted survival at the times asked for, by arm; empty where there are none."""
        import pandas as pd

        found = self.answer.get(f"km_{self.weightings[-1]}")
        parts = []
        for arm, curve in found.items() if isinstance(found, dict) else ():
            shown = {key: curve[key] for key in ("time", "surv", "weighted_n_risk")}
            parts.append(pd.DataFrame({"arm": arm, **shown}))
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()

    def tables(self) -> dict[str, pd.DataFrame]:
        found = {
            "Hazard ratios": self.table(),
            "Standardised mean differences": self.balance(),
            "Weights": self.weights(),
            "Propensity model": self.propensity(),
        }
        curves = self.curves()
        return found if curves.empty else {**found, "Weighted survival": curves}

    def paragraph(self) -> str:
        return (
            "Rows were weighted by the inverse probability of the treatment that was given, from a logistic model over"
            " all countries. Hazard ratios are from weighted Cox models of treatment alone with robust standard errors"
            " that take the weights as known; balance is shown by standardised mean differences."
        )

    def text(self) -> str:
        marks = self.footnotes
        general = marks.mark(self.caveats)
        lines = ["Call:", self.call(), ""]
        lines.append(f"n= {count(self.answer, 'n')}{general}, treated= {count(self.answer, 'n_treated')}")
        ranges = [one(number(self.answer, "propensity", key), 4) for key in ("min", "max")]
        lines += [f"propensity from {ranges[0]} to {ranges[1]}", "", "Propensity model:"]
        lines += coefficient_lines(tree(self.answer, "propensity", "coef"))
        lines += ["", "Standardised mean differences:", *_lines(self.balance(), 3)]
        lines += ["", "Weights:", *_lines(self.weights(), 4)]
        for ties in _TIES:
            lines += ["", f"Hazard ratios, {ties.capitalize()}'s ties:", *self._ratio_lines(ties)]
        curves = self.curves()
        if not curves.empty:
            lines += ["", "Weighted survival:", curves.to_string(index=False, float_format="{:.4g}".format)]
        notes = marks.lines()
        return "\n".join([*lines, *(["", *notes] if notes else [])])

    def _ratio_lines(self, ties: str) -> list[str]:
        table = self.hazard_ratios(ties)
        keys = ["coef", "hr", "hr_lower", "hr_upper", "se", "robust_se"]
        headings = ["coef", "exp(coef)", "lower .95", "upper .95", "se(coef)", "robust se", "Pr(>|z|)"]
        columns = [format_numbers(_known(list(table[key])), 4) for key in keys]
        columns.append(p_values(_known(list(table["p"])), 3))
        return aligned([str(name) for name in table.index], headings, columns)


def _known(values: list[float]) -> list[float | None]:
    return [None if x != x else x for x in values]


def _lines(table: pd.DataFrame, digits: int) -> list[str]:
    columns = [format_numbers(_known(list(table[key])), digits) for key in table]
    return aligned([str(name) for name in table.index], [str(key) for key in table], columns)


def differences(answer: Tree, weighting: str) -> dict[str, float | None]:
    """Standardised mean differences of one weighting by column, ``before`` for none."""
    block = tree(answer, "smd_before" if weighting == "before" else f"smd_after_{weighting}")
    return {name: number(block, name) for name in block}
