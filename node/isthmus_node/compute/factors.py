"""Which factors a request may show together, and their levels row by row: what the auditor holds tables together by."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np

from isthmus.v1 import spec_pb2
from isthmus_methods.codec import column_from_message, column_to_message
from isthmus_methods.contract import (
    Column,
    Function,
    Indicator,
    Integers,
    Predicate,
    Ref,
    Role,
    Spec,
    Transform,
    Variable,
    VariableType,
)
from isthmus_methods.variables import predicate_variables
from isthmus_node.compute.rows import evaluate
from isthmus_node.sources.table import Table


def pairs_of(spec: Spec, roles: Mapping[str, Role]) -> frozenset[frozenset[str]]:
    """Every two factors of a request that its sums may be by together, each by its name.

    A condition on one factor counts as that factor, and a number that is 0 or 1 as one. Events along time are not
    meant: their table shows them by arms and strata as it is.
    """
    groups: list[set[str]] = []
    for role, columns in spec.roles.items():
        if roles[role].holds not in ("unit", "event"):
            named = [name for column in columns if (name := _name(column, spec)) is not None]
            groups += [set(named)] if roles[role].each else [{name} for name in named]
    groups += [{name} for term in spec.terms for column in term.columns if (name := _name(column, spec)) is not None]
    return frozenset(
        frozenset((one, other))
        for first, second in itertools.combinations(groups, 2)
        for one in first
        for other in second
        if one != other
    )


def codes_of(name: str, spec: Spec, table: Table) -> Integers | None:
    """Codes of a factor's levels, (rows,), -1 where missing; None where the study does not have it."""
    column = column_from_message(spec_pb2.Column.FromString(bytes.fromhex(name)))
    variables = {column.variable} if isinstance(column, Ref) else set(predicate_variables(_condition(column)))
    if not all(variable in spec.variables for variable in variables):
        return None
    values = evaluate(column, spec, table).values
    if values.dtype.kind == "i":
        return values.astype(np.int64)
    return np.where(np.isnan(values), -1.0, values - np.nanmin(values, initial=np.inf)).astype(np.int64)


def _name(column: Column, spec: Spec) -> str | None:
    """The same for columns that have the same levels; None for a measurement."""
    factor = _factor(column, spec.variables)
    return None if factor is None else column_to_message(factor).SerializeToString(deterministic=True).hex()


def _factor(column: Column, variables: Mapping[str, Variable]) -> Ref | Transform | None:
    match column:
        case Transform(argument=argument):
            return _factor(argument, variables)
        case Indicator(predicate):
            looked_at = set(predicate_variables(predicate))
            if len(looked_at) == 1:
                (name,) = looked_at
                if _has_levels(variables[name]):
                    return Ref(name)
            return Transform(Function.FACTOR, column)
        case Ref(variable):
            return column if _has_levels(variables[variable]) else None


def _has_levels(variable: Variable) -> bool:
    bounds = variable.minimum, variable.maximum
    two = variable.type is VariableType.INTEGER and bounds[0] is not None and bounds[1] == bounds[0] + 1
    return variable.type is VariableType.FACTOR or two


def _condition(column: Column) -> Predicate:
    if isinstance(column, Transform) and isinstance(column.argument, Indicator):
        return column.argument.predicate
    raise ValueError("a factor is a variable or a condition")
