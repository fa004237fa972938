"""The normal form of a filter: equal for filters that say the same in another order or by another negation.

Negations are carried to the leaves, conjunctions and disjunctions flattened, sorted and freed of repetitions; an
equality is a set of one; a comparison of a factor is the set of levels that it means.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

from isthmus_methods.contract import (
    All,
    AnyOf,
    Column,
    Comparison,
    Indicator,
    Membership,
    Missing,
    Not,
    Operator,
    Predicate,
    Ref,
    Spec,
    Transform,
    Variable,
    VariableType,
)
from isthmus_node.compute.request import level_text

# ("and", parts), ("or", parts), ("in", variable, values, others too), ("missing", variable, wanted), ("<", variable, x)
Normal = tuple[object, ...]

_OPPOSITE = {
    Operator.LESS: Operator.GREATER_OR_EQUAL,
    Operator.GREATER_OR_EQUAL: Operator.LESS,
    Operator.GREATER: Operator.LESS_OR_EQUAL,
    Operator.LESS_OR_EQUAL: Operator.GREATER,
}


def normal(predicate: Predicate, variables: Mapping[str, Variable], wanted: bool = True) -> Normal:
    """The normal form of a predicate, or of its negation where `wanted` is False."""
    match predicate:
        case Not(inner):
            return normal(inner, variables, not wanted)
        case All(predicates) | AnyOf(predicates):
            word = "and" if isinstance(predicate, All) == wanted else "or"
            parts: dict[Normal, None] = {}
            for one in predicates:
                made = normal(one, variables, wanted)
                parts.update(dict.fromkeys(_parts(made) if made[0] == word else (made,)))
            return next(iter(parts)) if len(parts) == 1 else (word, tuple(sorted(parts, key=repr)))
        case Missing(variable, negated):
            return ("missing", variable, negated != wanted)
        case Membership(variable, values, negated):
            return _set(variables[variable], values, negated != wanted)
        case Comparison(variable, operator, value):
            if operator in (Operator.EQUAL, Operator.NOT_EQUAL):
                return _set(variables[variable], (value,), (operator is Operator.EQUAL) == wanted)
            if not wanted:
                operator = _OPPOSITE[operator]
            if variables[variable].type is not VariableType.FACTOR:
                return (operator.value, variable, float(value) + 0.0)
            return ("in", variable, _compared(variables[variable].levels, operator, level_text(value)), False)


def _set(variable: Variable, values: tuple[float | str, ...], inside: bool) -> Normal:
    """A factor's levels are all known, so its set is of those meant; a number's may also be of those not meant."""
    if variable.type is VariableType.FACTOR:
        texts = {level_text(value) for value in values}
        return ("in", variable.name, tuple(sorted(x for x in variable.levels if (x in texts) == inside)), not inside)
    return ("in", variable.name, tuple(sorted({float(value) + 0.0 for value in values})), not inside)


def _compared(levels: tuple[str, ...], operator: Operator, text: str) -> tuple[str, ...]:
    holds = {
        Operator.LESS: text.__gt__,
        Operator.LESS_OR_EQUAL: text.__ge__,
        Operator.GREATER: text.__lt__,
        Operator.GREATER_OR_EQUAL: text.__le__,
    }[operator]
    return tuple(sorted(level for level in levels if holds(level)))


def _parts(form: Normal) -> tuple[Normal, ...]:
    parts = form[1]
    return parts if isinstance(parts, tuple) and form[0] in ("and", "or") else ()


def depth(form: Normal) -> int:
    """1 for a single comparison, one more for each conjunction or disjunction around it."""
    return 1 + max((depth(part) for part in _parts(form)), default=0)


def leaves(form: Normal) -> Iterator[Normal]:
    """The comparisons of a normal form."""
    parts = _parts(form)
    if not parts:
        yield form
    for part in parts:
        yield from leaves(part)


def cut_points(form: Normal, variables: Mapping[str, Variable]) -> Iterator[tuple[str, float]]:
    """Variables that hold numbers, and the numbers that they are compared with."""
    for leaf in leaves(form):
        name, against = str(leaf[1]), leaf[2]
        if variables[name].type is not VariableType.FACTOR and leaf[0] != "missing":
            for number in against if isinstance(against, tuple) else (against,):
                yield name, float(number)


def request_name(spec: Spec) -> bytes:
    """SHA-256 that is equal for requests that ask the same, however their filter and their terms are written."""
    return hashlib.sha256(repr(_request(spec)).encode()).digest()


def _request(spec: Spec) -> tuple[object, ...]:
    return (
        spec.method,
        spec.version,
        spec.dataset,
        () if spec.where is None else normal(spec.where, spec.variables),
        sorted((role, [_column(c, spec) for c in columns]) for role, columns in spec.roles.items()),
        sorted(repr(sorted(repr(_column(c, spec)) for c in term.columns)) for term in spec.terms),
        sorted(spec.references.items()),
        sorted((name, repr(value)) for name, value in spec.options.items()),
        () if spec.events is None else _request(spec.events),
        # of a training, who is held out
        () if spec.training is None else (spec.training.held_out, spec.training.seed),
    )


def _column(column: Column, spec: Spec) -> object:
    match column:
        case Ref(variable):
            return variable
        case Indicator(predicate):
            return normal(predicate, spec.variables)
        case Transform(function, argument, constants):
            return (function.value, _column(argument, spec), constants)
