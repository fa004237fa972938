"""R's calls for linear models, t tests and analyses of variance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from isthmus_client.r_code.grammar import Call, r_column, r_formula
from isthmus_methods.contract import Spec, column_name
from isthmus_methods.request import written_text


def _linear_model(spec: Spec, rows: str) -> list[str]:
    cluster = spec.role("cluster")
    plain = replace(spec, roles={role: columns for role, columns in spec.roles.items() if role != "cluster"})
    columns = {column_name(c): c for term in spec.terms for c in term.columns}
    factors = [c for c in columns.values() if spec.levels(c)]
    lines = [
        f"fit <- lm({r_formula(plain)}, data = {rows})",
        "summary(fit)",
        "car::Anova(fit, type = 2)",
    ]
    if factors:
        coded = ", ".join(f"`{r_column(c)}` = contr.sum" for c in factors)
        lines.append(f"car::Anova(update(fit, contrasts = list({coded})), type = 3)")
    else:
        lines.append("car::Anova(fit, type = 3)")
    if spec.options.get("robust"):
        lines.append('lapply(c("HC0", "HC1", "HC3"), function(h) sqrt(diag(sandwich::vcovHC(fit, h))))')
    if cluster:
        lines.append(
            f'sqrt(diag(sandwich::vcovCL(fit, cluster = ~ {r_column(cluster[0])}, type = "HC1", cadjust = TRUE)))'
        )
    arm = str(spec.options.get("arm") or "")
    if arm:
        control = str(spec.options.get("control") or spec.levels(columns[arm])[0])
        lines += [
            "library(emmeans)",
            f'means <- emmeans(fit, ~ {r_column(columns[arm])}, weights = "equal", cov.keep = character(0))',
            f'contrast(means, "trt.vs.ctrl", ref = {written_text(control)}, adjust = "none")',
        ]
    return lines


def _t_test(spec: Spec, rows: str) -> list[str]:
    outcome, arm = r_column(spec.role("outcome")[0]), r_column(spec.role("arm")[0])
    levels = spec.levels(spec.role("arm")[0])
    control = str(spec.options.get("control") or "") or levels[0]
    treated = str(spec.options.get("treated") or "") or next(level for level in levels if level != control)
    lines = [
        f"d <- {rows}",
        f"x <- with(d, ({outcome})[which({arm} == {written_text(treated)})])",
        f"y <- with(d, ({outcome})[which({arm} == {written_text(control)})])",
        "t.test(x, y); t.test(x, y, var.equal = TRUE); var.test(x, y)",
    ]
    return [*lines, "wilcox.test(x, y, exact = FALSE)"] if spec.options.get("ranks", True) else lines


def _paired(spec: Spec, rows: str) -> list[str]:
    first, second = (r_column(spec.role(role)[0]) for role in ("first", "second"))
    return [f"with({rows}, t.test({first}, {second}, paired = TRUE))"]


def _anova(spec: Spec, rows: str) -> list[str]:
    formula = r_formula(spec)
    lines = [f"d <- {rows}", f"summary(aov({formula}, data = d))", f"oneway.test({formula}, data = d)"]
    if spec.options.get("ranks", True):
        lines.append(f"kruskal.test({formula}, data = d)")
    return [*lines, f"bartlett.test({formula}, data = d)"]


CALLS: Mapping[str, Call] = {
    "linear_model": _linear_model,
    "t_test": _t_test,
    "paired_t_test": _paired,
    "anova": _anova,
}
