"""R's calls for ordered and for repeated outcomes."""

from __future__ import annotations

from collections.abc import Mapping

from isthmus_client.r_code.grammar import Call, r_column, r_formula
from isthmus_methods.contract import Spec
from isthmus_methods.request import written_name

_FAMILIES = {"gaussian": "gaussian", "binomial": "binomial", "poisson": "poisson", "gamma": 'Gamma("log")'}


def _ordinal(spec: Spec, rows: str) -> list[str]:
    return ["library(ordinal)", f"summary(clm({r_formula(spec)}, data = {rows}))"]


def _gee(spec: Spec, rows: str) -> list[str]:
    cluster = spec.role("cluster")
    person = r_column(cluster[0]) if cluster else written_name(spec.subject)
    formula = r_formula(spec).replace(f" + cluster({person})", "")
    family = _FAMILIES.get(str(spec.options.get("family", "gaussian")), "quasipoisson")
    tight = "control = geese.control(epsilon = 1e-14, maxit = 2000)"
    return [
        "library(geepack)",
        f"d <- {rows}; d <- d[order(d${person}), ]",
        f'summary(geeglm({formula}, id = {person}, data = d, family = {family}, corstr = "exchangeable", {tight}))',
    ]


CALLS: Mapping[str, Call] = {"ordinal": _ordinal, "gee": _gee}
