"""The R call that gives the same answer on a pooled file, written from the request: so that anybody can check it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from isthmus_methods.contract import (
    All,
    AnyOf,
    Column,
    Comparison,
    Function,
    Indicator,
    Membership,
    Missing,
    Not,
    Predicate,
    Ref,
    Spec,
    Transform,
    VariableType,
    coefficient_names,
)

_RESERVED = {"if", "else", "repeat", "while", "function", "for", "next", "break", "TRUE", "FALSE", "NULL", "Inf", "NaN"}


def r_name(name: str) -> str:
    """A variable's name, in backticks where R needs them."""
    plain = re.fullmatch(r"(?:[A-Za-z]|\.(?![0-9]))[A-Za-z0-9._]*", name) and name not in _RESERVED
    return name if plain else "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def r_text(text: str) -> str:
    """A text in quotes."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'


def r_number(value: float) -> str:
    return f"{value:.15g}"


def _literal(value: float | str) -> str:
    return r_text(value) if isinstance(value, str) else r_number(value)


def r_predicate(predicate: Predicate) -> str:
    """A filter; a missing value keeps a row only where the filter asks for it."""
    match predicate:
        case Comparison(variable, operator, value):
            return f"{r_name(variable)} {operator.value} {_literal(value)}"
        case Membership(variable, values, negated):
            chosen = f"{r_name(variable)} %in% c({', '.join(_literal(v) for v in values)})"
            return f"!({chosen}) & !is.na({r_name(variable)})" if negated else chosen
        case Missing(variable, negated):
            return f"{'!' if negated else ''}is.na({r_name(variable)})"
        case All(predicates):
            return " & ".join(_grouped(p) for p in predicates)
        case AnyOf(predicates):
            return " | ".join(_grouped(p) for p in predicates)
        case Not(inner):
            return f"!({r_predicate(inner)})"


def _grouped(predicate: Predicate) -> str:
    text = r_predicate(predicate)
    compound = isinstance(predicate, All | AnyOf) or (isinstance(predicate, Membership) and predicate.negated)
    return f"({text})" if compound else text


def r_column(column: Column) -> str:
    """A column of the model as R would have it."""
    match column:
        case Ref(variable):
            return r_name(variable)
        case Indicator(predicate):
            return f"I({r_predicate(predicate)})"
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
    constant = r_number(constants[0])
    constant = f"({constant})" if constant.startswith("-") else constant
    return f"I({inner} {'-' if function is Function.CENTRE else '/'} {constant})"


def r_surv(spec: Spec) -> str:
    """``Surv(time, event)`` or ``Surv(start, stop, event)``."""
    times = [r_column(c) for role in ("start", "time") for c in spec.role(role)]
    event = spec.role("event")[0] if spec.role("event") else None
    if isinstance(event, Indicator):
        return f"Surv({', '.join([*times, r_predicate(event.predicate)])})"
    return f"Surv({', '.join([*times, *([r_column(event)] if event is not None else [])])})"


def country_variable(spec: Spec) -> str:
    """The variable that holds the country, or ``country`` where the dictionary has none."""
    return next((name for name, v in spec.variables.items() if "COUNTRY" in v.roles), "country")


def r_formula(spec: Spec, *, stratify: bool = False) -> str:
    """The formula of a request.

    Parameters
    ----------
    stratify
        Also by country, as every pooled fit is.
    """
    right = [":".join(r_column(c) for c in term.columns) for term in spec.terms]
    right += [r_column(c) for role in ("by", "arm") for c in spec.role(role)]
    strata = [r_column(c) for c in spec.role("strata")]
    if stratify:
        strata.append(r_name(country_variable(spec)))
    if strata:
        right.append(f"strata({', '.join(strata)})")
    right += [f"cluster({r_column(c)})" for c in spec.role("cluster")]
    return f"{r_surv(spec)} ~ {' + '.join(right) or '1'}"


def _factors(spec: Spec, columns: Iterable[Column]) -> list[str]:
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
            listed = ", ".join(r_text(level) for level in levels)
            target = f"pooled${r_name(name.variable)}"
            lines[f"{target} <- factor({target}, levels = c({listed}))"] = None
    return list(lines)


def r_call(spec: Spec) -> str:
    """R code that gives the same answer on ``pooled``, a data frame of all countries' rows with a country column.

    Parameters
    ----------
    spec
        The request.
    """
    used = [c for columns in spec.roles.values() for c in columns] + [c for t in spec.terms for c in t.columns]
    lines = [
        "library(survival)",
        f"# pooled: the rows of all countries, one below the other, their country in {country_variable(spec)}",
        *_factors(spec, used),
    ]
    rows = "pooled" if spec.where is None else f"subset(pooled, {r_predicate(spec.where)})"
    lines += _CALLS[spec.method](spec, rows) if spec.method in _CALLS else []
    return "\n".join(lines)


def _cox(spec: Spec, rows: str) -> list[str]:
    ties = spec.options.get("ties", "efron")
    robust = ", robust = TRUE" if spec.options.get("robust") is True and not spec.role("cluster") else ""
    return [f'summary(coxph({r_formula(spec, stratify=True)}, data = {rows}, ties = "{ties}"{robust}))']


def _kaplan_meier(spec: Spec, rows: str) -> list[str]:
    surv, tau = r_surv(spec), spec.options.get("tau")
    mean = f", rmean = {r_number(tau)}" if isinstance(tau, float | int) and tau else ""
    return [
        f'print(survfit({surv} ~ {group}, data = {rows}, conf.type = "log-log"){mean})'
        for group in ("1", *(r_column(c) for c in spec.role("by")))
    ]


def _log_rank(spec: Spec, rows: str) -> list[str]:
    stratify = spec.options.get("stratify_by_country", True) is not False
    formula = r_formula(spec, stratify=stratify)
    return [f"survdiff({formula}, data = {rows})", f"survdiff({formula}, data = {rows}, rho = 1)  # Peto-Peto"]


def _meta_analysis(spec: Spec, rows: str) -> list[str]:
    ties = spec.options.get("ties", "efron")
    country = r_name(country_variable(spec))
    names = coefficient_names(spec)
    chosen = str(spec.options.get("coefficient", "")) or names[0]
    position = names.index(chosen) + 1 if chosen in names else 1
    return [
        "library(metafor)",
        f"fits <- lapply(split({rows}, ~ {country}, drop = TRUE), function(d)",
        f'  coxph({r_formula(spec)}, data = d, ties = "{ties}"))',
        f"k <- {position}  # the coefficient {r_text(chosen)}",
        "y <- sapply(fits, function(f) coef(f)[k]); v <- sapply(fits, function(f) vcov(f)[k, k])",
        'rma(y, v, method = "FE"); rma(y, v, method = "DL")',
    ]


def _table_one(spec: Spec, rows: str) -> list[str]:
    arm = spec.role("arm")
    names = ", ".join(r_text(c.variable) for c in spec.role("variables") if isinstance(c, Ref))
    groups = f", strata = {r_text(r_column(arm[0]))}" if arm else ""
    return [f"tableone::CreateTableOne(vars = c({names}){groups}, data = {rows}, test = FALSE, includeNA = FALSE)"]


_CALLS = {
    "cox": _cox,
    "kaplan_meier": _kaplan_meier,
    "log_rank": _log_rank,
    "meta_analysis": _meta_analysis,
    "table_one": _table_one,
}
