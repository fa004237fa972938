"""Columns, formulas and factors of a request as R writes them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from isthmus_methods.contract import Column, Function, Indicator, Ref, Spec, Transform, VariableType
from isthmus_methods.request import written_name, written_number, written_predicate, written_text

# The lines of R for a request, given the name of its rows there.
Call = Callable[[Spec, str], list[str]]


def r_column(column: Column) -> str:
    """A column of the model as R would have it."""
    match column:
        case Ref(variable):
            return written_name(variable)
        case Indicator(predicate):
            return f"I({written_predicate(predicate)})"
        case Transform(function, argument, constants):
            return _transformed(function, argument, constants)


def _transformed(function: Function, argument: Column, constants: Sequence[float]) -> str:
    if function is Function.FACTOR:
        return f"factor({r_column(argument)})"
    if function in (Function.LOG, Function.SQUARE_ROOT):
        return f"{'log' if function is Function.LOG else 'sqrt'}({r_column(argument)})"
    # what stands inside I() needs no I() of its own
    inner = r_column(argument)
    inner = inner[2:-1] if inner.startswith("I(") else inner
    inner = f"({inner})" if not re.fullmatch(r"[\w.]+|`[^`]*`|\w+\(.*\)", inner) else inner
    if function is Function.SQUARE:
        return f"I({inner}^2)"
    constant = written_number(constants[0])
    constant = f"({constant})" if constant.startswith("-") else constant
    return f"I({inner} {'-' if function is Function.CENTRE else '/'} {constant})"


def r_surv(spec: Spec) -> str:
    """``Surv(time, event)`` or ``Surv(start, stop, event)``."""
    times = [r_column(c) for role in ("start", "time") for c in spec.role(role)]
    event = spec.role("event")[0] if spec.role("event") else None
    if isinstance(event, Indicator):
        return f"Surv({', '.join([*times, written_predicate(event.predicate)])})"
    return f"Surv({', '.join([*times, *([r_column(event)] if event is not None else [])])})"


def country_variable(spec: Spec) -> str:
    """The variable that holds the country, or ``country`` where the dictionary has none."""
    return next((name for name, v in spec.variables.items() if "COUNTRY" in v.roles), "country")


def r_formula(spec: Spec, *, stratify: bool = False) -> str:
    """The formula of a request.

    Parameters
    ----------
    stratify
        Also by country.
    """
    right = [":".join(r_column(c) for c in term.columns) for term in spec.terms]
    right += [r_column(c) for role in ("by", "arm", "group") for c in spec.role(role)]
    strata = [r_column(c) for c in spec.role("strata")]
    if stratify:
        strata.append(written_name(country_variable(spec)))
    if strata:
        right.append(f"strata({', '.join(strata)})")
    right += [f"offset({r_column(c)})" for c in spec.role("offset")]
    right += [f"cluster({r_column(c)})" for c in spec.role("cluster")]
    left = r_column(spec.role("outcome")[0]) if spec.role("outcome") else r_surv(spec) if spec.role("time") else ""
    return f"{left} ~ {' + '.join(right) or '1'}".lstrip()


def factor_lines(spec: Spec, columns: Iterable[Column]) -> list[str]:
    """Lines that give the factors used the levels of the dictionary, the reference first."""
    lines: dict[str, None] = {}
    for column in columns:
        name = column
        while isinstance(name, Transform):
            name = name.argument
        if not isinstance(name, Ref):
            continue
        levels = spec.levels(column)
        variable = spec.variables.get(name.variable)
        if levels and variable is not None and variable.type is VariableType.FACTOR:
            listed = ", ".join(written_text(level) for level in levels)
            target = f"pooled${written_name(name.variable)}"
            lines[f"{target} <- factor({target}, levels = c({listed}))"] = None
    return list(lines)
