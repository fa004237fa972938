"""R's calls for the test of an interaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from isthmus_client.r_code.grammar import Call, country_variable, r_column, r_formula
from isthmus_methods.contract import Ref, Spec
from isthmus_methods.request import written_name


def _interaction(spec: Spec, rows: str) -> list[str]:
    model, ties = str(spec.options.get("model", "logistic")), spec.options.get("ties", "efron")
    call = {
        "logistic": "glm({}, data = d, family = binomial(), control = glm.control(epsilon = 1e-15, maxit = 200))",
        "linear": "lm({}, data = d)",
    }.get(model, f'coxph({{}}, data = d, ties = "{ties}")')
    test = {"logistic": ', test = "LRT"', "linear": ""}.get(model, "")
    tested, country = spec.terms[-1], country_variable(spec)
    lines = [
        f"d <- {rows}",
        f"main <- {call.format(r_formula(replace(spec, terms=spec.terms[:-1])))}",
        f"full <- {call.format(r_formula(spec))}",
        f"anova(main, full{test})",
    ]
    if Ref(country) in tested.columns:
        own = tuple(term for term in spec.terms if Ref(country) not in term.columns)
        lines += [
            f"by(d, d${written_name(country)}, function(d)",
            f"  summary({call.format(r_formula(replace(spec, terms=own)))}))  # {_arm(spec, country)}",
        ]
    return lines


def _arm(spec: Spec, country: str) -> str:
    return ", ".join(r_column(column) for column in spec.terms[-1].columns if column != Ref(country))


CALLS: Mapping[str, Call] = {"interaction": _interaction}
