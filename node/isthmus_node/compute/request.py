"""Whether a request can be computed over a dictionary at all: decided before a single row is looked at."""

from __future__ import annotations

from collections.abc import Mapping

from isthmus.errors import Refused, UsageError
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
    Procedure,
    Ref,
    Role,
    Spec,
    Transform,
    Variable,
    VariableType,
    event_roles,
)

_NUMBERS = (VariableType.NUMERIC, VariableType.INTEGER)


def check_request(spec: Spec, method: Procedure) -> None:
    """Raises `UsageError` for a request that is written wrongly, `Refused` for a variable no analysis may use.

    Depends on the request and the dictionary alone, never on rows: the answer tells nothing about them.
    """
    _check_roles(spec, method, method.roles)
    unknown = sorted(set(spec.options) - set(method.options))
    if unknown:
        raise _usage(
            "UNKNOWN_OPTION",
            f"{method.name} has no option {unknown[0]!r}; it has {', '.join(method.options) or 'none'}",
        )
    if spec.terms and not method.uses_terms:
        raise _usage("NO_TERMS", f"{method.name} takes no model terms")
    for term in spec.terms:
        if not term.columns:
            raise _usage("EMPTY_TERM", "a model term without a column")
        for column in term.columns:
            _check_column(spec, column)
    _check_rest(spec)
    roles = event_roles(method)
    if (spec.events is None) != (not roles):
        raise _usage("EVENTS", f"{method.name} {'needs' if roles else 'takes no'} second dataset, of events")
    if spec.events is not None:
        if not spec.subject or not spec.events.subject:
            raise _usage("NO_SUBJECT", "a dataset without a variable that names the person cannot be joined to another")
        _check_roles(spec.events, method, roles)
        _check_rest(spec.events)


def _check_rest(spec: Spec) -> None:
    if spec.where is not None:
        _check_predicate(spec, spec.where)
    for name, level in spec.references.items():
        if level not in _variable(spec, name).levels:
            raise _unknown_level(spec, name)


def _check_roles(spec: Spec, method: Procedure, roles: Mapping[str, Role]) -> None:
    for name, rule in roles.items():
        columns = spec.role(name)
        if rule.required and not columns:
            raise _usage("MISSING_ROLE", f"{method.name} needs a column as `{name}` ({rule.about})")
        if len(columns) > 1 and not rule.many:
            raise _usage("ONE_COLUMN", f"{method.name} takes one column as `{name}`")
        for column in columns:
            _check_column(spec, column, identifier_allowed=rule.holds == "unit")
            if rule.holds == "factor" and not spec.levels(column):
                raise _usage("NOT_A_FACTOR", f"`{name}` of {method.name} must be a factor or factor(...) of a variable")
            if rule.holds in ("number", "event") and spec.levels(column):
                raise _usage("NOT_A_NUMBER", f"`{name}` of {method.name} must hold numbers, not levels")
    unknown = sorted(set(spec.roles) - set(roles))
    if unknown:
        raise _usage("UNKNOWN_ROLE", f"{method.name} has no role {unknown[0]!r}; it has {', '.join(roles) or 'none'}")


def _usage(code: str, happened: str) -> UsageError:
    return UsageError(code, happened, "correct the request; `explain` shows what the method takes")


def _variable(spec: Spec, name: str, identifier_allowed: bool = False) -> Variable:
    """A variable that the request may use."""
    variable = spec.variables.get(name)
    if variable is None:
        raise _usage("UNKNOWN_VARIABLE", f"dataset {spec.dataset} has no variable {name!r} in the study's dictionary")
    if identifier_allowed and ("IDENTIFIER" in variable.roles or name == spec.subject):
        return variable
    if "IDENTIFIER" in variable.roles or name == spec.subject:
        raise Refused(
            "IDENTIFIER_USED",
            f"{name} names persons; an identifier may only say what is counted as one person or one cluster",
            "leave it out of filter, roles and terms",
        )
    if variable.type in (VariableType.TEXT, VariableType.DATE):
        raise Refused(
            "FORBIDDEN_TYPE",
            f"{name} is of type {variable.type.value}, which no analysis uses",
            "use a variable with declared levels, or a study day",
        )
    return variable


def _unknown_level(spec: Spec, name: str) -> UsageError:
    levels = ", ".join(spec.variables[name].levels)
    return _usage("UNKNOWN_LEVEL", f"{name} is compared with a level it does not have; it has {levels}")


def _check_column(spec: Spec, column: Column, *, identifier_allowed: bool = False) -> None:
    match column:
        case Ref(name):
            _variable(spec, name, identifier_allowed)
        case Indicator(predicate):
            _check_predicate(spec, predicate)
        case Transform(function, argument, constants):
            if function is Function.FACTOR:
                if isinstance(argument, Indicator):
                    _check_predicate(spec, argument.predicate)
                    return
                if not isinstance(argument, Ref):
                    raise _usage("FACTOR_OF_VARIABLE", "factor(...) takes a variable or a condition")
                if not _variable(spec, argument.variable).levels:
                    raise _usage(
                        "NO_LEVELS", f"{argument.variable} has no levels in the dictionary, so it cannot be a factor"
                    )
                return
            _check_column(spec, argument)
            if spec.levels(argument):
                raise _usage("TRANSFORM_OF_FACTOR", f"{function.value}(...) takes a number, not a factor")
            if len(constants) != (1 if function in (Function.CENTRE, Function.SCALE) else 0) or (
                function is Function.SCALE and constants[0] == 0
            ):
                raise _usage("CONSTANTS", f"{function.value}(...) has not the constants it takes")


def _check_predicate(spec: Spec, predicate: Predicate) -> None:
    match predicate:
        case Comparison(variable=name, value=value):
            _check_value(spec, name, value)
        case Membership(name, values):
            for value in values:
                _check_value(spec, name, value)
            _variable(spec, name)
        case Missing(name):
            _variable(spec, name)
        case All(predicates) | AnyOf(predicates):
            for one in predicates:
                _check_predicate(spec, one)
        case Not(one):
            _check_predicate(spec, one)


def _check_value(spec: Spec, name: str, value: float | str) -> None:
    variable = _variable(spec, name)
    if variable.type in _NUMBERS:
        if isinstance(value, str) or value != value:
            raise _usage("NOT_A_NUMBER", f"{name} holds numbers and is compared with something else")
        return
    # one answer for every level that is not in the dictionary, whether some row has it or not
    if level_text(value) not in variable.levels:
        raise _unknown_level(spec, name)


def level_text(value: float | str) -> str:
    """The level a value of a comparison means: 3 and 3.0 mean the level "3"."""
    if isinstance(value, str):
        return value
    return str(int(value)) if float(value).is_integer() else repr(float(value))
