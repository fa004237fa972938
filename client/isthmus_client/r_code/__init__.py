"""The R call that gives the same answer on a pooled file, written from the request: so that anybody can check it.

Each module of the package is a family of methods and has the lines of each in `CALLS`: a new family is a new file.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from isthmus_client.r_code.grammar import Call, country_variable, factor_lines, r_column, r_formula, r_surv
from isthmus_methods.contract import Spec
from isthmus_methods.request import written_predicate

__all__ = ["country_variable", "r_call", "r_column", "r_formula", "r_surv"]


@cache
def _calls() -> Mapping[str, Call]:
    found: dict[str, Call] = {}
    for module in iter_modules(__path__):
        found.update(getattr(import_module(f"{__name__}.{module.name}"), "CALLS", {}))
    return found


def r_call(spec: Spec) -> str:
    """R code that gives the same answer on ``pooled``, a data frame of all countries' rows with a country column.

    Parameters
    ----------
    spec
        The request.
    """
    used = [c for columns in spec.roles.values() for c in columns] + [c for t in spec.terms for c in t.columns]
    lines = [
        *(["library(survival)"] if spec.role("time") else []),
        f"# pooled: the rows of all countries, one below the other, their country in {country_variable(spec)}",
        *factor_lines(spec, used),
    ]
    rows = "pooled" if spec.where is None else f"subset(pooled, {written_predicate(spec.where)})"
    call = _calls().get(spec.method)
    return "\n".join(lines + (call(spec, rows) if call is not None else []))
