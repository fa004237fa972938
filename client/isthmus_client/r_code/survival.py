"""R's calls about times to an event."""

from __future__ import annotations

from collections.abc import Mapping

from isthmus_client.r_code.grammar import Call, country_variable, r_column, r_formula, r_surv
from isthmus_methods.contract import Spec
from isthmus_methods.request import written_name, written_number


def _cox(spec: Spec, rows: str) -> list[str]:
    ties = spec.options.get("ties", "efron")
    stratify = spec.options.get("stratify_by_country", True) is not False
    sandwich = spec.options.get("robust") is True or spec.options.get("robust_each_row") is True
    robust = ", robust = TRUE" if sandwich and not spec.role("cluster") else ""
    weights = "".join(f", weights = {r_column(c)}" for c in spec.role("weights"))
    fit = f'coxph({r_formula(spec, stratify=stratify)}, data = {rows}, ties = "{ties}"{weights}'
    calls = [f"summary({fit}{robust}))"]
    if spec.options.get("robust_country") is True:
        calls.append(f"summary({fit}, cluster = {written_name(country_variable(spec))}))")
    return calls


def _kaplan_meier(spec: Spec, rows: str) -> list[str]:
    surv, tau = r_surv(spec), spec.options.get("tau")
    mean = f", rmean = {written_number(tau)}" if isinstance(tau, float | int) and tau else ""
    return [
        f'print(survfit({surv} ~ {group}, data = {rows}, conf.type = "log-log"){mean})'
        for group in ("1", *(r_column(c) for c in spec.role("by")))
    ]


def _log_rank(spec: Spec, rows: str) -> list[str]:
    stratify = spec.options.get("stratify_by_country", True) is not False
    formula = r_formula(spec, stratify=stratify)
    return [f"survdiff({formula}, data = {rows})", f"survdiff({formula}, data = {rows}, rho = 1)  # Peto-Peto"]


CALLS: Mapping[str, Call] = {"cox": _cox, "kaplan_meier": _kaplan_meier, "log_rank": _log_rank}
