"""Whether a request fits the study's dictionary and the method it names. Asked before anything is computed."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping

from isthmus.errors import UsageError
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
    Operator,
    OptionRule,
    Predicate,
    Procedure,
    Ref,
    Role,
    Setting,
    Spec,
    Transform,
    Variable,
    VariableType,
    column_name,
    event_roles,
)
from isthmus_methods.training import Training, check_training

# Names a person: usable only where persons are counted, never where values are summed.
IDENTIFIER = "IDENTIFIER"
_NUMBERS = (VariableType.NUMERIC, VariableType.INTEGER)
_NEVER_USED = {
    VariableType.TEXT: "free text is never used in an analysis",
    VariableType.DATE: "a calendar date is never used in an analysis",
}


def check_spec(spec: Spec, method: Procedure) -> None:
    """Raise unless a node could run the request as it stands. Pure: looks at the dictionary only, never at rows.

    Parameters
    ----------
    spec
        The request, bound to the study's dictionary.
    method
        The method that it names.

    Raises
    ------
    UsageError
        ``UNKNOWN_VARIABLE``, ``FORBIDDEN_VARIABLE`` (an identifier, free text, a date), ``UNKNOWN_ROLE``,
        ``MISSING_ROLE``, ``ROLE_TAKES_ONE``, ``WRONG_COLUMN``, ``NO_TERMS``, ``TERM_TWICE``, ``UNKNOWN_LEVEL``,
        ``WRONG_COMPARISON``, ``UNKNOWN_OPTION``, ``WRONG_OPTION``, or what `check_training` says. Each names what is
        wrong, and the nearest known name where there is one.
    """
    _check_training(spec, method)
    _check_roles(spec, method, method.roles)
    _check_terms(spec, method)
    if spec.where is not None:
        _check_predicate(spec, spec.where, "the filter")
    _check_references(spec)
    _check_options(spec, method)
    _check_events(spec, method)


def _check_events(spec: Spec, method: Procedure) -> None:
    """The part of the request that is about a second dataset, as strictly as the first."""
    roles, events = event_roles(method), spec.events
    if events is None:
        if roles:
            raise UsageError(
                "MISSING_EVENTS",
                f"method {method.name} reads a dataset of events beside the one of persons, and none is named",
                f"name the dataset of events, with its roles: {', '.join(roles)}",
            )
        return
    if not roles:
        raise UsageError("NO_EVENTS", f"method {method.name} reads no dataset of events", "leave it out")
    if not spec.subject or not events.subject or events.dataset == spec.dataset:
        raise UsageError(
            "NO_SUBJECT",
            f"events of {events.dataset!r} are joined to the persons of {spec.dataset!r} by the variable that names "
            "the person in each; rule: two datasets, and the dictionary names that variable for both",
            "use two datasets whose dictionary has a subject",
        )
    _check_roles(events, method, roles)
    if events.where is not None:
        _check_predicate(events, events.where, "the filter of events")
    _check_references(events)


def _check_training(spec: Spec, method: Procedure) -> None:
    if method.name == Training.name:
        check_training(spec)
    elif spec.training is not None:
        raise UsageError("NO_TRAINING", f"method {method.name} trains no model", "leave the training plan out")


def nearest(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'age'?`` for the nearest known name, or nothing."""
    folded = {candidate.casefold(): candidate for candidate in known}
    close = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
    return f"; did you mean {folded[close[0]]!r}?" if close else ""


# --------------------------------------------------------------------------- roles and terms


def _check_roles(spec: Spec, method: Procedure, roles: Mapping[str, Role]) -> None:
    for name, columns in spec.roles.items():
        role = roles.get(name)
        if role is None:
            known = ", ".join(sorted(roles)) or "none"
            raise UsageError(
                "UNKNOWN_ROLE",
                f"method {method.name} has no role {name!r}{nearest(name, roles)}",
                f"use one of its roles: {known}",
            )
        if not role.many and len(columns) > 1:
            raise UsageError(
                "ROLE_TAKES_ONE",
                f"role {name!r} of method {method.name} takes one column, {len(columns)} were given",
                "give one column",
            )
        for column in columns:
            _check_column(spec, column, f"role {name!r}", identifier=role.holds == "unit")
            _check_holds(spec, column, name, role)
    for name, role in roles.items():
        if role.required and not spec.role(name):
            raise UsageError(
                "MISSING_ROLE",
                f"method {method.name} needs {name!r}: {role.about}",
                f"name a variable for {name!r}",
            )


def _check_holds(spec: Spec, column: Column, name: str, role: Role) -> None:
    factor = bool(spec.levels(column))
    fits = {
        "number": not factor and _is_number(spec, column),
        "event": not factor and _is_number(spec, column),
        "factor": factor,
    }.get(role.holds, True)
    if not fits:
        wanted = {"number": "a number", "event": "0 or 1, or a comparison such as CNSR == 0", "factor": "levels"}
        raise UsageError(
            "WRONG_COLUMN",
            f"role {name!r} needs {wanted.get(role.holds, role.holds)}, and {column_name(column)!r} does not hold that",
            "choose another variable"
            + (", or take a numeric variable with declared levels as factor(...)" if role.holds == "factor" else ""),
        )


def _is_number(spec: Spec, column: Column) -> bool:
    if isinstance(column, Ref):
        return spec.variables[column.variable].type in _NUMBERS
    return isinstance(column, Indicator) or column.function is not Function.FACTOR


def _check_terms(spec: Spec, method: Procedure) -> None:
    if spec.terms and not method.uses_terms:
        raise UsageError(
            "NO_TERMS",
            f"method {method.name} has no model terms, {len(spec.terms)} were given",
            f"name the variables in its roles: {', '.join(sorted(method.roles))}",
        )
    seen: set[frozenset[Column]] = set()
    for term in spec.terms:
        if not term.columns:
            raise UsageError("WRONG_COLUMN", "a model term without a column", "name a variable in each term")
        for column in term.columns:
            _check_column(spec, column, "a model term")
        same = frozenset(term.columns)
        if same in seen or len(same) != len(term.columns):
            raise UsageError("TERM_TWICE", f"the term {term.name!r} stands twice in the model", "write it once")
        seen.add(same)


# --------------------------------------------------------------------------- columns and predicates


def _check_column(spec: Spec, column: Column, where: str, identifier: bool = False) -> None:
    if isinstance(column, Ref):
        _variable(spec, column.variable, where, identifier)
        return
    if isinstance(column, Indicator):
        _check_predicate(spec, column.predicate, where)
        return
    _check_transform(spec, column, where)


def _check_transform(spec: Spec, column: Transform, where: str) -> None:
    _check_column(spec, column.argument, where)
    function = column.function
    if function is Function.FACTOR:
        if not spec.levels(column):
            raise UsageError(
                "WRONG_COLUMN",
                f"factor({column_name(column.argument)}) needs levels, and the dictionary declares none for it",
                "use a variable whose levels the study's dictionary declares",
            )
        return
    if spec.levels(column.argument) or not _is_number(spec, column.argument):
        raise UsageError(
            "WRONG_COLUMN",
            f"{function.value}() needs a number, and {column_name(column.argument)!r} has levels",
            "transform a numeric variable",
        )
    if not all(math.isfinite(x) for x in column.constants) or (function is Function.SCALE and 0.0 in column.constants):
        raise UsageError(
            "WRONG_COLUMN",
            f"{column_name(column)!r} has a constant that cannot be used",
            "give a finite constant, and not 0 to divide by",
        )


def _variable(spec: Spec, name: str, where: str, identifier: bool = False) -> Variable:
    variable = spec.variables.get(name)
    if variable is None:
        raise UsageError(
            "UNKNOWN_VARIABLE",
            f"{where} uses {name!r}, which is not in the dictionary of {spec.dataset}{nearest(name, spec.variables)}",
            "use the names of the study's dictionary",
        )
    if IDENTIFIER in variable.roles or name == spec.subject:
        if not identifier:
            raise UsageError(
                "FORBIDDEN_VARIABLE",
                f"{where} uses {name!r}; rule: a variable that names persons is never used but as the unit counted",
                "leave it out",
            )
    elif variable.type in _NEVER_USED:
        raise UsageError(
            "FORBIDDEN_VARIABLE",
            f"{where} uses {name!r}; rule: {_NEVER_USED[variable.type]}",
            "use a coded variable; for dates, a number of study days",
        )
    return variable


def _walk(predicate: Predicate) -> Iterator[Comparison | Membership | Missing]:
    open_parts = [predicate]
    while open_parts:
        part = open_parts.pop()
        if isinstance(part, All | AnyOf):
            if not part.predicates:
                raise UsageError("WRONG_COMPARISON", "a filter joins no conditions", "give at least one condition")
            open_parts.extend(reversed(part.predicates))
        elif isinstance(part, Not):
            open_parts.append(part.predicate)
        else:
            yield part


def _check_predicate(spec: Spec, predicate: Predicate, where: str) -> None:
    for part in _walk(predicate):
        variable = _variable(spec, part.variable, where)
        if isinstance(part, Missing):
            continue
        values = (part.value,) if isinstance(part, Comparison) else part.values
        if not values:
            raise UsageError("WRONG_COMPARISON", f"{where} compares {variable.name!r} with nothing", "give a value")
        ordered = isinstance(part, Comparison) and part.operator not in (Operator.EQUAL, Operator.NOT_EQUAL)
        for value in values:
            _check_value(variable, value, where, ordered)


def _check_value(variable: Variable, value: float | str, where: str, ordered: bool) -> None:
    if variable.type is VariableType.FACTOR:
        if ordered or not isinstance(value, str):
            raise UsageError(
                "WRONG_COMPARISON",
                f"{where} compares {variable.name!r}, which has levels, as if it were a number",
                f"use ==, != or a set of its levels: {', '.join(map(repr, variable.levels))}",
            )
        _check_level(variable, value, where)
    elif isinstance(value, str):
        raise UsageError(
            "WRONG_COMPARISON",
            f"{where} compares {variable.name!r}, a number, with the text {value!r}",
            "compare it with a number",
        )
    elif not math.isfinite(value):
        raise UsageError(
            "WRONG_COMPARISON",
            f"{where} compares {variable.name!r} with a value that is not finite",
            "compare it with a finite number",
        )


def _check_level(variable: Variable, level: str, where: str) -> None:
    if level not in variable.levels:
        raise UsageError(
            "UNKNOWN_LEVEL",
            f"{where} uses level {level!r} of {variable.name!r}, which the dictionary does not have"
            f"{nearest(level, variable.levels)}",
            f"use one of: {', '.join(map(repr, variable.levels))}",
        )


# --------------------------------------------------------------------------- references and options


def _check_references(spec: Spec) -> None:
    for name, level in spec.references.items():
        variable = _variable(spec, name, "a reference level")
        if not variable.levels:
            raise UsageError(
                "UNKNOWN_LEVEL",
                f"a reference level is given for {name!r}, which has no levels",
                "give reference levels for factors only",
            )
        _check_level(variable, level, "a reference")


def _check_options(spec: Spec, method: Procedure) -> None:
    for name, value in spec.options.items():
        rule = method.options.get(name)
        if rule is None:
            raise UsageError(
                "UNKNOWN_OPTION",
                f"method {method.name} has no option {name!r}{nearest(name, method.options)}",
                f"use one of its options: {', '.join(sorted(method.options)) or 'none'}",
            )
        _check_option(name, value, rule)


def _check_option(name: str, value: Setting, rule: OptionRule) -> None:
    if not _same_sort(value, rule.default):
        raise UsageError(
            "WRONG_OPTION",
            f"option {name!r} takes {_sort(rule.default)}, and {_sort(value)} was given",
            f"{rule.about}; the default is {rule.default!r}",
        )
    texts = (value,) if isinstance(value, str) else value if isinstance(value, tuple) else ()
    for text in texts:
        if rule.choices and isinstance(text, str) and text not in rule.choices:
            raise UsageError(
                "WRONG_OPTION",
                f"option {name!r} cannot be {text!r}{nearest(text, rule.choices)}",
                f"choose one of: {', '.join(map(repr, rule.choices))}",
            )
    numbers = value if isinstance(value, tuple) else (value,)
    if any(isinstance(x, float) and not math.isfinite(x) for x in numbers):
        raise UsageError("WRONG_OPTION", f"option {name!r} is not a finite number", "give a finite number")


def _same_sort(value: Setting, default: Setting) -> bool:
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, tuple):
        return isinstance(value, tuple) and (not value or not default or _sort(value) == _sort(default))
    if isinstance(default, float):
        return isinstance(value, float | int)
    return isinstance(value, type(default))


def _sort(value: Setting) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int):
        return "a whole number"
    if isinstance(value, float):
        return "a number"
    if isinstance(value, str):
        return "a text"
    if not value:
        return "a list"
    return "a list of texts" if isinstance(value[0], str) else "a list of numbers"
