"""Which variables a request looks at."""

from __future__ import annotations

from collections.abc import Iterator

from isthmus_methods.request import (
    All,
    AnyOf,
    Column,
    Comparison,
    Indicator,
    Membership,
    Missing,
    Not,
    Predicate,
    Ref,
    Spec,
    Transform,
)


def used_variables(spec: Spec) -> frozenset[str]:
    """Names of all variables a request looks at: filter, roles and terms."""
    columns = [c for role in spec.roles.values() for c in role] + [c for term in spec.terms for c in term.columns]
    names = {name for column in columns for name in column_variables(column)}
    return frozenset(names | (set(predicate_variables(spec.where)) if spec.where is not None else set()))


def column_variables(column: Column) -> Iterator[str]:
    """Names of the variables a column is made of."""
    match column:
        case Ref(variable):
            yield variable
        case Transform(argument=argument):
            yield from column_variables(argument)
        case Indicator(predicate):
            yield from predicate_variables(predicate)


def predicate_variables(predicate: Predicate) -> Iterator[str]:
    """Names of the variables a predicate looks at."""
    match predicate:
        case Comparison(variable=variable) | Membership(variable=variable) | Missing(variable=variable):
            yield variable
        case All(predicates) | AnyOf(predicates):
            for one in predicates:
                yield from predicate_variables(one)
        case Not(one):
            yield from predicate_variables(one)
