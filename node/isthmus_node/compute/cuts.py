"""Where a request cuts a variable that holds numbers, and whom each cut tells apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from isthmus_methods.contract import (
    Booleans,
    Comparison,
    Membership,
    Missing,
    Operator,
    Predicate,
    Ref,
    Spec,
    Variable,
    VariableType,
)
from isthmus_methods.rows import Cut
from isthmus_node.compute.normal import Normal, leaves, normal
from isthmus_node.compute.rows import evaluate, holds
from isthmus_node.sources.table import Table


def cuts_of(predicate: Predicate, variables: Mapping[str, Variable], table: Table, among: Booleans) -> Iterator[Cut]:
    """Each number of a predicate that a variable is compared with, and the rows for which that comparison matters.

    It matters for a row where the predicate would say something else if this one comparison did.

    Parameters
    ----------
    among : (rows,), the rows that the predicate is asked of.
    """
    form = normal(predicate, variables)
    truth = {leaf: holds(_predicate(leaf, variables), table) for leaf in leaves(form)}
    for leaf, true in truth.items():
        variable, places = variables[str(leaf[1])], _places(leaf, variables)
        if not places:
            continue
        # negations stand at the leaves, so that more is true of the whole where more is true of a leaf
        every = np.ones_like(true)
        matters = _tree(form, {**truth, leaf: every}) & ~_tree(form, {**truth, leaf: ~every}) & among
        values = table.numbers[variable.name]
        for number in places:
            # of a set each number is one to look for
            inside = matters & (values == number if leaf[0] == "in" else true)
            yield Cut(variable, number, inside, matters & ~inside & ~np.isnan(values))


def places_of(predicate: Predicate, variables: Mapping[str, Variable]) -> Iterator[tuple[str, float]]:
    """Names of variables, and the numbers at which a predicate cuts them."""
    for leaf in leaves(normal(predicate, variables)):
        for number in _places(leaf, variables):
            yield str(leaf[1]), number


def landmark_of(spec: Spec, table: Table, among: Booleans) -> Iterator[Cut]:
    """The landmark of a survival analysis: it keeps those whose time is greater, as a filter would."""
    for name, number in landmark_place(spec):
        # of a number made of others no grid is known: no place is on it
        variable = spec.variables.get(name, Variable(name, VariableType.NUMERIC))
        values = evaluate(spec.role("time")[0], spec, table).values
        later = values > _number(spec.options["landmark"])
        yield Cut(variable, number, among & later, among & ~later & ~np.isnan(values))


def landmark_place(spec: Spec) -> Iterator[tuple[str, float]]:
    """The variable and the number at which a landmark cuts it; no variable where time is made of one."""
    landmark, time = spec.options.get("landmark"), spec.role("time")
    if isinstance(landmark, int | float) and landmark and time:
        name = time[0].variable if isinstance(time[0], Ref) else ""
        yield name, _boundary(">", spec.variables[name], float(landmark)) if name else float(landmark)


def _is_measured(variable: Variable) -> bool:
    """Whether it holds numbers, more than a no and a yes: of these there is one place to cut, and a table shows it."""
    if variable.type is VariableType.FACTOR:
        return False
    bounds = variable.minimum, variable.maximum
    if variable.type is not VariableType.INTEGER or bounds[0] is None or bounds[1] is None:
        return True
    return bounds[1] - bounds[0] > 1


def _places(leaf: Normal, variables: Mapping[str, Variable]) -> tuple[float, ...]:
    """The numbers at which a leaf cuts what it looks at; none where that is no measurement."""
    word, variable, against = str(leaf[0]), variables[str(leaf[1])], leaf[2]
    if word == "missing" or not _is_measured(variable):
        return ()
    if word != "in":
        return (_boundary(word, variable, _number(against)),)
    return tuple(_number(number) for number in against) if isinstance(against, tuple) else ()


def _boundary(operator: str, variable: Variable, number: float) -> float:
    """The least value on the upper side, where values are whole: above 64 is from 65."""
    whole = variable.type is VariableType.INTEGER and number.is_integer()
    return number + 1 if whole and operator in (">", "<=") else number


def _number(found: object) -> float:
    return float(found) if isinstance(found, int | float) else float("nan")


def _predicate(leaf: Normal, variables: Mapping[str, Variable]) -> Predicate:
    """A leaf of a normal form as a predicate."""
    word, name, against = str(leaf[0]), str(leaf[1]), leaf[2]
    if word == "missing":
        return Missing(name, negated=not against)
    if word != "in":
        return Comparison(name, Operator(word), _number(against))
    values = against if isinstance(against, tuple) else ()
    if not leaf[3]:
        return Membership(name, values)
    if variables[name].type is VariableType.FACTOR:
        return Membership(name, tuple(x for x in variables[name].levels if x not in values), negated=True)
    return Membership(name, values, negated=True)


def _tree(form: Normal, truth: Mapping[Normal, Booleans]) -> Booleans:
    """The truth of a normal form from those of its leaves."""
    if form[0] not in ("and", "or"):
        return truth[form]
    parts = form[1] if isinstance(form[1], tuple) else ()
    combine = np.logical_and if form[0] == "and" else np.logical_or
    found: Booleans = combine.reduce([_tree(part, truth) for part in parts])
    return found
