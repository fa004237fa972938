"""The result of an MMRM, printed as ``summary()`` of R's package mmrm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from isthmus_client.r_code.mixed import fixed_formula, mmrm_formula, subject_of
from isthmus_client.results.fit import Fit
from isthmus_client.results.r_format import LEGEND, aligned, format_numbers, p_values, stars
from isthmus_client.results.tree import Tree, count, has, number, texts, tree
from isthmus_methods.contract import column_name

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Weights = Literal["equal", "proportional"]
_SHOWN = {
    "estimate": "estimate",
    "se": "se",
    "df_satterthwaite": "df",
    "t": "t",
    "p_satterthwaite": "p",
    "ci95_satterthwaite_lower": "ci95_lower",
    "ci95_satterthwaite_upper": "ci95_upper",
}


class MmrmFit(Fit):
    """Coefficients, covariance over visits, least-squares means of the arms at each visit."""

    method: ClassVar[str] = "mmrm"

    @property
    def visits(self) -> tuple[str, ...]:
        """Visits that have records, in order."""
        return tuple(texts(self.answer, "sigma_matrix", "rows"))

    def call(self) -> str:
        if self.formula:
            visit = column_name(self.spec.role("visit")[0])
            return f"mmrm({self.formula} + us({visit} | {subject_of(self.spec)}))"
        return f"mmrm({mmrm_formula(self.spec)})"

    # ------------------------------------------------------------------ data frames

    def table(self, df: Literal["satterthwaite", "kenward-roger"] = "satterthwaite") -> pd.DataFrame:
        """One row a coefficient: estimate, se, df, t, p, 95 % limits.

        Parameters
        ----------
        df
            ``"kenward-roger"``: with the standard error of Kenward and Roger (linear), and its t and p.
        """
        return _frame({(name,): tree(self.answer, "fixed", name) for name in tree(self.answer, "fixed")},
                      ("coefficient",), df == "kenward-roger")  # fmt: skip

    def ls_means(self, weights: Weights = "equal") -> pd.DataFrame:
        """One row a visit and arm: least-squares mean, se, df, t, p, 95 % limits.

        Parameters
        ----------
        weights
            How other factors are averaged: each level alike, or by its share of the records.
        """
        return self._by_visit("means", weights)

    def differences(self, weights: Weights = "equal") -> pd.DataFrame:
        """One row a visit and arm: difference to the control arm. As `ls_means`."""
        return self._by_visit("difference_vs_control", weights)

    def sigma(self) -> pd.DataFrame:
        """Covariance of a person's records, visits by visits."""
        return self._matrix("sigma_matrix")

    def correlation(self) -> pd.DataFrame:
        """Correlation of a person's records."""
        return self._matrix("correlation")

    def tables(self) -> dict[str, pd.DataFrame]:
        found = {"Coefficients": self.table()}
        if self._has_means():
            found |= {
                "Least-squares means, other factors weighted equally": self.ls_means(),
                "Differences to the control arm": self.differences(),
            }
        return {**found, "Covariance of a person's records": self.sigma()}

    def _has_means(self) -> bool:
        return has(self.answer, "ls_means_equal_weights") and bool(tree(self.answer, "ls_means_equal_weights"))

    def _by_visit(self, what: str, weights: Weights) -> pd.DataFrame:
        key = f"ls_means_{weights}_weights"
        rows: dict[tuple[str, ...], Tree] = {}
        for visit in tree(self.answer, key) if has(self.answer, key) else ():
            for arm in tree(self.answer, key, visit, what):
                rows[visit.partition("=")[2], arm] = tree(self.answer, key, visit, what, arm)
        return _frame(rows, ("visit", "arm"), False)

    def _matrix(self, key: str) -> pd.DataFrame:
        import pandas as pd

        values = tree(self.answer, key)["values"]
        return pd.DataFrame(values, index=pd.Index(self.visits, name="visit"), columns=list(self.visits), dtype=float)

    # ------------------------------------------------------------------ figure and text

    def plot(self, weights: Weights = "equal", title: str = "") -> Figure:
        """Least-squares means over visits, an arm a line, with 95 % limits.

        Parameters
        ----------
        weights
            As in `ls_means`.
        """
        from isthmus_client.plots.visits import Mean, visits_figure

        key = f"ls_means_{weights}_weights"
        by_arm: dict[str, list[Mean]] = {}
        for visit in tree(self.answer, key):
            for arm in tree(self.answer, key, visit, "means"):
                at = (key, visit, "means", arm)
                limits = [number(self.answer, *at, f"ci95_satterthwaite_{end}") for end in ("lower", "upper")]
                by_arm.setdefault(arm, []).append(Mean(number(self.answer, *at, "estimate"), *limits))
        outcome = column_name(self.spec.role("outcome")[0])
        variable = self.spec.variables.get(outcome)
        named = (variable.label or outcome) if variable is not None else outcome
        unit = f" ({variable.unit})" if variable is not None and variable.unit else ""
        return visits_figure(
            self.visits,
            list(by_arm.items()),
            measure=f"LS mean of {named}{unit}, 95 % CI",
            title=title or self.title,
            notes=self.caveats,
        )

    def figures(self) -> Sequence[tuple[Figure, str]]:
        if not self._has_means():
            return ()
        return ((self.plot(), "Least-squares means of each arm over visits, with 95 % confidence limits"),)

    def text(self) -> str:
        marks = self.footnotes
        general = marks.mark(self.general_caveats())
        m = len(self.visits)
        records, subjects = count(self.answer, "n_records"), count(self.answer, "n_subjects")
        lines = [
            "mmrm fit",
            "",
            f"Formula:     {self.formula or fixed_formula(self.spec)}",
            f"Data:        {records}{general} records of {subjects} subjects at up to {m} visits",
            f"Covariance:  unstructured ({m * (m + 1) // 2} variance parameters)",
            "Inference:   REML, Satterthwaite's degrees of freedom",
            "",
        ]
        criteria = ("aic_reml_cov_only_sas_mmrm", "loglik_reml", "minus2_reml")
        columns = [format_numbers([number(self.answer, key)], 6) for key in criteria]
        lines += ["Model selection criteria:", *aligned([""], ["AIC", "logLik", "-2 logLik"], columns), ""]
        fixed = tree(self.answer, "fixed")
        lines += ["Coefficients:", *_lines(list(fixed), [tree(fixed, name) for name in fixed])]
        sigma = self.sigma()
        columns = [format_numbers(sigma[visit].tolist(), 5) for visit in self.visits]
        lines += ["", "Covariance estimate:", *aligned(list(self.visits), list(self.visits), columns)]
        if self._has_means():
            key = "ls_means_equal_weights"
            for what, caption in (("means", "Least-squares means"), ("difference_vs_control", "Differences")):
                rows = [(v, a) for v in tree(self.answer, key) for a in tree(self.answer, key, v, what)]
                names = [f"{visit.partition('=')[2]}: {arm}" for visit, arm in rows]
                about = f" to {self.spec.options.get('control') or 'the reference arm'}" if what != "means" else ""
                tests = [tree(self.answer, key, visit, what, arm) for visit, arm in rows]
                lines += ["", f"{caption}{about} (other factors weighted equally):", *_lines(names, tests)]
        notes = marks.lines()
        return "\n".join([*lines, *(["", *notes] if notes else [])])


def _lines(names: Sequence[str], rows: Sequence[Tree]) -> list[str]:
    """Tests as mmrm prints them."""

    def column(key: str) -> list[float | None]:
        return [number(row, key) for row in rows]

    signs = [stars(p) for p in column("p_satterthwaite")]
    shown = [
        format_numbers(column("estimate"), 5),
        format_numbers(column("se"), 5),
        format_numbers([None if x is None else round(x, 1) for x in column("df_satterthwaite")], 5),
        format_numbers([None if x is None else round(x, 3) for x in column("t")], 4),
        p_values(column("p_satterthwaite"), 3),
        [sign.ljust(max(map(len, signs), default=0)) for sign in signs],
    ]
    lines = aligned(names, ["Estimate", "Std. Error", "df", "t value", "Pr(>|t|)", ""], shown, left=(5,))
    return [*lines, "---", LEGEND] if any(signs) else lines


def _frame(rows: dict[tuple[str, ...], Tree], names: Sequence[str], kenward_roger: bool) -> pd.DataFrame:
    import pandas as pd

    columns = {shown: [number(row, key) for row in rows.values()] for key, shown in _SHOWN.items()}
    if kenward_roger:
        columns["se"] = [number(row, "se_kenward_roger_linear") for row in rows.values()]
        columns["t"] = [b / s if b is not None and s else None
                        for b, s in zip(columns["estimate"], columns["se"], strict=True)]  # fmt: skip
        columns["p"] = [number(row, "p_kenward_roger_linear") for row in rows.values()]
        del columns["ci95_lower"], columns["ci95_upper"]
    index = (
        pd.Index([name for (name,) in rows], name=names[0])
        if len(names) == 1
        else pd.MultiIndex.from_tuples(list(rows), names=list(names))
        if rows
        else pd.MultiIndex.from_arrays([[] for _ in names], names=list(names))
    )
    return pd.DataFrame(columns, index=index, dtype=float)
