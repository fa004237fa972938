"""R's calls for inverse probability weighting."""

from __future__ import annotations

from collections.abc import Mapping

from isthmus_client.r_code.grammar import Call, country_variable, r_column, r_surv
from isthmus_methods.contract import Spec
from isthmus_methods.request import written_name, written_text


def _iptw(spec: Spec, rows: str) -> list[str]:
    treatment = spec.role("treatment")[0]
    levels = spec.levels(treatment)
    treated = str(spec.options.get("treated", "")) or levels[-1]
    right = " + ".join(":".join(r_column(c) for c in term.columns) for term in spec.terms)
    att = spec.options.get("estimand") == "att"
    weights = "ifelse(d$a == 1, 1, e / (1 - e))" if att else "ifelse(d$a == 1, p / e, (1 - p) / (1 - e))"
    strata = (
        ""
        if spec.options.get("stratify_by_country", True) is False
        else f" + strata({written_name(country_variable(spec))})"
    )
    lines = [
        f"d <- {rows}; d$a <- as.numeric(d${r_column(treatment)} == {written_text(treated)})",
        f"e <- fitted(glm(a ~ {right}, data = d, family = binomial)); p <- mean(d$a)",
        f"w <- {weights}",
        f"summary(coxph({r_surv(spec)} ~ a{strata}, data = d, weights = w, robust = TRUE))",
        f"summary(survfit({r_surv(spec)} ~ a, data = d, weights = w))",
    ]
    trim, truncate = spec.options.get("trim"), spec.options.get("truncate")
    if isinstance(trim, tuple) and trim:
        lines.insert(3, f"d <- d[e >= {trim[0]} & e <= {trim[1]}, ]; w <- w[e >= {trim[0]} & e <= {trim[1]}]")
    if isinstance(truncate, float | int) and truncate:
        lines.insert(3, f"w <- pmin(w, {truncate})")
    return lines


CALLS: Mapping[str, Call] = {"iptw": _iptw}
