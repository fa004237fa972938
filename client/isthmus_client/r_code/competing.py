"""R's calls for competing causes."""

from __future__ import annotations

from collections.abc import Mapping

from isthmus_client.r_code.grammar import Call, r_column
from isthmus_methods.contract import Spec
from isthmus_methods.request import written_text


def _censored(spec: Spec) -> str:
    levels = spec.levels(spec.role("cause")[0])
    return written_text(str(spec.options.get("censored", "")) or levels[0])


def _columns(spec: Spec, rows: str) -> list[str]:
    return [f"d <- {rows}", f"time <- d${r_column(spec.role('time')[0])}; cause <- d${r_column(spec.role('cause')[0])}"]


def _cumulative_incidence(spec: Spec, rows: str) -> list[str]:
    lines = ["library(survival); library(cmprsk)", *_columns(spec, rows)]
    lines.append(f"state <- relevel(factor(cause), {_censored(spec)})")
    groups = ["1", *(f"d${r_column(c)}" for c in spec.role("by"))]
    lines += [f"summary(survfit(Surv(time, state) ~ {group}))" for group in groups]
    if spec.role("arm"):
        strata = f", strata = d${r_column(spec.role('strata')[0])}" if spec.role("strata") else ""
        lines.append(f"cuminc(time, cause, d${r_column(spec.role('arm')[0])}{strata}, cencode = {_censored(spec)})")
    return lines


def _fine_gray(spec: Spec, rows: str) -> list[str]:
    terms = " + ".join(":".join(r_column(c) for c in term.columns) for term in spec.terms)
    levels = [x for x in spec.levels(spec.role("cause")[0]) if written_text(x) != _censored(spec)]
    chosen = written_text(str(spec.options.get("of", "")) or levels[0])
    codes = f"failcode = {chosen}, cencode = {_censored(spec)}"
    return [
        "library(cmprsk)",
        *_columns(spec, rows),
        f"summary(crr(time, cause, model.matrix(~ {terms}, d)[, -1, drop = FALSE], {codes}))",
    ]


CALLS: Mapping[str, Call] = {"cumulative_incidence": _cumulative_incidence, "fine_gray": _fine_gray}
