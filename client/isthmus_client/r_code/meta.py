"""R's calls for what countries say together."""

from __future__ import annotations

from collections.abc import Mapping

from isthmus_client.r_code.grammar import Call, country_variable, r_formula
from isthmus_methods.contract import Spec, coefficient_names
from isthmus_methods.request import written_name, written_text


def _meta_analysis(spec: Spec, rows: str) -> list[str]:
    ties = spec.options.get("ties", "efron")
    country = written_name(country_variable(spec))
    names = coefficient_names(spec)
    chosen = str(spec.options.get("coefficient", "")) or names[0]
    position = names.index(chosen) + 1 if chosen in names else 1
    return [
        "library(metafor)",
        f"fits <- lapply(split({rows}, ~ {country}, drop = TRUE), function(d)",
        f'  coxph({r_formula(spec)}, data = d, ties = "{ties}"))',
        f"k <- {position}  # the coefficient {written_text(chosen)}",
        "y <- sapply(fits, function(f) coef(f)[k]); v <- sapply(fits, function(f) vcov(f)[k, k])",
        'rma(y, v, method = "FE"); rma(y, v, method = "DL")',
    ]


CALLS: Mapping[str, Call] = {"meta_analysis": _meta_analysis}
