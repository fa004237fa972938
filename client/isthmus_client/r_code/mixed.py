"""R's calls for repeated measures and random intercepts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from isthmus_client.r_code.grammar import Call, r_column, r_formula
from isthmus_methods.contract import Spec
from isthmus_methods.request import written_name


def fixed_formula(spec: Spec) -> str:
    """The formula without what is random."""
    return r_formula(replace(spec, roles={"outcome": spec.role("outcome")}))


def subject_of(spec: Spec) -> str:
    return r_column(spec.role("subject")[0]) if spec.role("subject") else written_name(spec.subject)


def mmrm_formula(spec: Spec) -> str:
    """As the package mmrm has it: ``CHG ~ TRTP * AVISIT + us(AVISIT | USUBJID)``."""
    return f"{fixed_formula(spec)} + us({r_column(spec.role('visit')[0])} | {subject_of(spec)})"


def lmm_formula(spec: Spec) -> str:
    """As lme4 has it: ``y ~ x + (1 | country/USUBJID)``."""
    group = r_column(spec.role("group")[0])
    inside = f"/{r_column(spec.role('subject')[0])}" if spec.role("subject") else ""
    return f"{fixed_formula(spec)} + (1 | {group}{inside})"


def _mmrm(spec: Spec, rows: str) -> list[str]:
    visit, subject = r_column(spec.role("visit")[0]), subject_of(spec)
    lines = [
        "library(nlme)",
        f"d <- {rows}; d$visit.number <- as.integer(factor(d${visit}))",
        f'fit <- gls({fixed_formula(spec)}, data = d, method = "REML",',
        f"           correlation = corSymm(form = ~ visit.number | {subject}),",
        f"           weights = varIdent(form = ~ 1 | {visit}))",
        "summary(fit)",
        "# degrees of freedom and Kenward-Roger, with the package mmrm:",
        f'# summary(mmrm::mmrm({mmrm_formula(spec)}, data = d, method = "Satterthwaite"))',
    ]
    if spec.role("arm"):
        lines.append(f'# emmeans::emmeans(fit, ~ {r_column(spec.role("arm")[0])} | {visit}, mode = "df.error")')
    return lines


def _lmm(spec: Spec, rows: str) -> list[str]:
    lines = ["library(lme4)", f"d <- {rows}", f"summary(fit <- lmer({lmm_formula(spec)}, data = d, REML = TRUE))"]
    if not spec.role("subject"):
        lines += [
            "ranef(fit)",
            f"ml <- lmer({lmm_formula(spec)}, data = d, REML = FALSE)",
            f"2 * (logLik(ml) - logLik(lm({fixed_formula(spec)}, data = d)))",
        ]
    return lines


CALLS: Mapping[str, Call] = {"mmrm": _mmrm, "lmm": _lmm}
