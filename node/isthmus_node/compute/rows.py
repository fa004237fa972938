"""Filters and columns of a request, evaluated over a table: a walk over a tree of declared nodes, never over text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isthmus_methods.contract import (
    All,
    AnyOf,
    Array,
    Booleans,
    Column,
    Comparison,
    Function,
    Indicator,
    Integers,
    Membership,
    Missing,
    Not,
    Operator,
    Predicate,
    Ref,
    Role,
    Spec,
    Transform,
)
from isthmus_node.compute.request import level_text
from isthmus_node.sources.table import MISSING, Table

_COMPARE: Mapping[Operator, Callable[[Array, float], Booleans]] = {
    Operator.EQUAL: np.equal,
    Operator.NOT_EQUAL: np.not_equal,
    Operator.LESS: np.less,
    Operator.LESS_OR_EQUAL: np.less_equal,
    Operator.GREATER: np.greater,
    Operator.GREATER_OR_EQUAL: np.greater_equal,
}


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A column over all rows of a table: numbers, or codes into levels with -1 for missing."""

    values: NDArray[np.float64] | NDArray[np.int64]
    levels: tuple[str, ...] = ()

    @property
    def is_codes(self) -> bool:
        return self.values.dtype.kind == "i"

    @property
    def missing(self) -> Booleans:
        """Where there is no value, (n,)."""
        found: Booleans = self.values < 0 if self.is_codes else np.isnan(self.values)
        return found


# --------------------------------------------------------------------------- filters


def holds(predicate: Predicate, table: Table) -> Booleans:
    """Rows for which a predicate is true, (n,).

    A missing value makes every predicate false except `Missing`, and that goes for negations too: `Not(x > 3)` is
    `x <= 3`, so it is false where x is missing. A negation is therefore carried to the leaves (De Morgan), which is
    the same as three-valued logic with "unknown" taken as false at the end.

    Factors compare as text, by code point. A level that is not in the dictionary is a value like none of the
    declared ones: not equal to any, in no set, and neither less nor greater.
    """
    return _holds(predicate, table, True)


def _holds(predicate: Predicate, table: Table, wanted: bool) -> Booleans:
    match predicate:
        case Not(inner):
            return _holds(inner, table, not wanted)
        case All(predicates) | AnyOf(predicates):
            # all of them true, or, wanted false, one of them false
            every = isinstance(predicate, All) == wanted
            result: Booleans = np.full(table.rows, every, dtype=np.bool_)
            for one in predicates:
                if every:
                    result &= _holds(one, table, wanted)
                else:
                    result |= _holds(one, table, wanted)
            return result
        case Missing(variable, negated):
            absent = _absent(variable, table)
            return absent if negated != wanted else ~absent
        case Membership(variable, values, negated):
            return _member(variable, values, negated != wanted, table)
        case Comparison(variable, operator, value):
            return _compared(variable, operator, value, wanted, table)


def _absent(variable: str, table: Table) -> Booleans:
    if variable in table.numbers:
        return np.isnan(table.numbers[variable])
    result: Booleans = table.codes[variable] < 0
    return result


def _compared(variable: str, operator: Operator, value: float | str, wanted: bool, table: Table) -> Booleans:
    if variable in table.numbers:
        numbers = table.numbers[variable]
        result = _COMPARE[operator](numbers, float(value))
        return (result if wanted else ~result) & ~np.isnan(numbers)
    text = level_text(value)
    compare: Callable[[str], bool] = {
        Operator.EQUAL: text.__eq__,
        Operator.NOT_EQUAL: text.__ne__,
        Operator.LESS: text.__gt__,
        Operator.LESS_OR_EQUAL: text.__ge__,
        Operator.GREATER: text.__lt__,
        Operator.GREATER_OR_EQUAL: text.__le__,
    }[operator]
    # OTHER: different from every declared level, and in no order with them
    different = operator is Operator.NOT_EQUAL if wanted else operator is Operator.EQUAL
    by_level = [compare(level) == wanted for level in table.variables[variable].levels]
    return _by_level(variable, [*by_level, different], table)


def _member(variable: str, values: tuple[float | str, ...], inside: bool, table: Table) -> Booleans:
    if variable in table.numbers:
        numbers = table.numbers[variable]
        found = np.isin(numbers, np.array([float(value) for value in values], dtype=np.float64))
        return (found if inside else ~found) & ~np.isnan(numbers)
    texts = {level_text(value) for value in values}
    by_level = [(level in texts) == inside for level in table.variables[variable].levels]
    return _by_level(variable, [*by_level, not inside], table)


def _by_level(variable: str, truths: list[bool], table: Table) -> Booleans:
    """A truth for each level and for OTHER, looked up for every row; false where missing."""
    lookup: Booleans = np.array([*truths, False], dtype=np.bool_)
    # code -1 is the last entry
    result: Booleans = lookup[table.codes[variable]]
    return result


def _needs_value(predicate: Predicate) -> frozenset[str]:
    """Variables whose missing value leaves a predicate undecided; `Missing` decides by itself."""
    match predicate:
        case Comparison(variable=variable) | Membership(variable=variable):
            return frozenset({variable})
        case All(predicates) | AnyOf(predicates):
            return frozenset[str]().union(*(_needs_value(one) for one in predicates))
        case Not(inner):
            return _needs_value(inner)
        case Missing():
            return frozenset()


# --------------------------------------------------------------------------- columns


def evaluate(column: Column, spec: Spec, table: Table) -> Evaluated:
    """A column of a request over all rows.

    Codes are into `spec.levels(column)`, the reference level first. A level that is not in the dictionary has no
    place there and counts as missing for the method; so does a number for which a transform is not defined, as the
    logarithm of zero.
    """
    match column:
        case Ref(variable):
            if variable in table.numbers:
                return Evaluated(table.numbers[variable])
            return _coded(table.codes[variable], table.variables[variable].levels, spec.levels(column))
        case Indicator(predicate):
            values = holds(predicate, table).astype(np.float64)
            for variable in sorted(_needs_value(predicate)):
                values[_absent(variable, table)] = np.nan
            return Evaluated(values)
        case Transform(Function.FACTOR, Ref(variable)) if variable in table.numbers:
            levels = spec.levels(column)
            codes = np.full(table.rows, MISSING, dtype=np.int64)
            for code, level in enumerate(levels):
                codes[table.numbers[variable] == _number(level)] = code
            return Evaluated(codes, levels)
        case Transform(Function.FACTOR, Indicator() as condition):
            held = evaluate(condition, spec, table)
            return Evaluated(np.where(held.missing, MISSING, held.values).astype(np.int64), spec.levels(column))
        case Transform(Function.FACTOR, argument):
            return evaluate(argument, spec, table)
        case Transform(function, argument, constants):
            return Evaluated(_transformed(function, evaluate(argument, spec, table).values, constants))


def _number(level: str) -> float:
    try:
        return float(level)
    except ValueError:
        return np.nan  # equals no row


def _coded(codes: NDArray[np.int32], declared: tuple[str, ...], wanted: tuple[str, ...]) -> Evaluated:
    """Codes into the dictionary's levels as codes into the request's order of them."""
    if declared == wanted and not (codes == len(declared)).any():
        return Evaluated(codes.astype(np.int64), wanted)
    # the last two entries stand for OTHER and for code -1
    lookup = np.array([*(wanted.index(level) for level in declared), MISSING, MISSING], dtype=np.int64)
    return Evaluated(lookup[codes], wanted)


def _transformed(
    function: Function, values: NDArray[np.float64] | NDArray[np.int64], constants: tuple[float, ...]
) -> Array:
    numbers = np.asarray(values, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        match function:
            case Function.LOG:
                result = np.log(numbers)
            case Function.SQUARE_ROOT:
                result = np.sqrt(numbers)
            case Function.SQUARE:
                result = np.square(numbers)
            case Function.CENTRE:
                result = numbers - constants[0]
            case _:
                result = numbers / constants[0]
    result[~np.isfinite(result)] = np.nan
    return result


def evaluate_role(column: Column, role: Role, spec: Spec, table: Table) -> Evaluated:
    """A column as the role that it plays takes it: groups for a unit, 0 and 1 for an event."""
    if role.holds == "unit":
        return Evaluated(group_codes(column, spec, table))
    evaluated = evaluate(column, spec, table)
    if role.holds == "event" and not evaluated.is_codes:
        # 1 is an event, any other value is none
        event = (evaluated.values == 1.0).astype(np.float64)
        event[evaluated.missing] = np.nan
        return Evaluated(event)
    return evaluated


def group_codes(column: Column, spec: Spec, table: Table) -> Integers:
    """Any column as groups numbered from 0 (clusters), -1 where missing, (n,); an identifier too."""
    if isinstance(column, Ref) and column.variable in table.identifiers:
        return table.identifiers[column.variable].astype(np.int64)
    if isinstance(column, Ref) and column.variable == spec.subject:
        return table.subject.astype(np.int64)
    evaluated = evaluate(column, spec, table)
    if evaluated.is_codes:
        return evaluated.values.astype(np.int64)
    codes: Integers = np.full(table.rows, MISSING, dtype=np.int64)
    present = ~evaluated.missing
    codes[present] = np.unique(evaluated.values[present], return_inverse=True)[1]
    return codes
