"""Makes the declared request of a method from what a statistician writes: a formula, a filter, names and settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from isthmus.errors import UsageError
from isthmus_client.formula import Dictionary, parse_filter, parse_model
from isthmus_client.formula.reader import Place
from isthmus_methods.contract import (
    Column,
    Function,
    Method,
    Ref,
    Setting,
    Spec,
    Term,
    Transform,
    VariableType,
)
from isthmus_methods.registry import find
from isthmus_methods.validate import check_spec

FORMULA_METHODS = ("cox", "meta_analysis", "kaplan_meier", "log_rank")


def formula_request(
    name: str,
    dictionary: Dictionary,
    formula: str,
    *,
    where: str | None = None,
    references: Mapping[str, str] | None = None,
    options: Mapping[str, object] | None = None,
) -> Spec:
    """The request of a method that takes a formula.

    Parameters
    ----------
    name
        ``cox``, ``meta_analysis``, ``kaplan_meier`` or ``log_rank``.
    dictionary
        Of the dataset.
    formula
        ``Surv(time, event) ~ ...``: model terms for ``cox`` and ``meta_analysis``, groups otherwise.
    where
        Which rows; None: all.
    references
        Reference level of a factor where it is not the first of the dictionary.
    options
        Settings the method declares.

    Raises
    ------
    UsageError
        Whatever is wrong with formula, filter or settings.
    """
    method = find(name)
    regression = method.uses_terms
    model = parse_model(formula, dictionary, references, regression=regression)
    roles: dict[str, tuple[Column, ...]] = {}
    for role, column in (("start", model.start), ("time", model.time), ("event", model.event)):
        if column is not None:
            roles[role] = (column,)
    if model.strata:
        roles["strata"] = model.strata
    # each country's own estimate has the model's variance: clusters matter to the pooled fit alone
    if model.cluster is not None and name != "meta_analysis":
        roles["cluster"] = (model.cluster,)
    if regression and not model.terms:
        raise UsageError("NO_TERMS", f"{method.title} needs at least one term", "write Surv(TIME, EVENT) ~ ARM")
    if not regression and model.terms:
        roles["arm" if name == "log_rank" else "by"] = tuple(term.columns[0] for term in model.terms)
    return _checked(method, dictionary, roles, model.terms if regression else (), where, model.references, options)


def table_request(
    dictionary: Dictionary,
    variables: Sequence[str],
    *,
    arm: str | None = None,
    by: str | None = None,
    where: str | None = None,
    options: Mapping[str, object] | None = None,
) -> Spec:
    """The request of Table 1.

    Parameters
    ----------
    variables
        Names, in the order of the table.
    arm
        The factor that makes the columns; None: one column.
    by
        ``"country"``: the table of each country too.

    Raises
    ------
    UsageError
        Whatever is wrong with names, filter or settings.
    """
    roles = {"variables": tuple(_named(name, dictionary, grouping=False) for name in variables)}
    if not variables:
        raise UsageError("NO_VARIABLES", "Table 1 needs at least one variable", "name variables of the dictionary")
    if arm is not None:
        roles["arm"] = (_named(arm, dictionary, grouping=True),)
    settings = dict(options or {})
    if by == "country":
        settings["by_country"] = True
    elif by is not None:
        raise UsageError("BAD_OPTION", f"Table 1 cannot be shown by {by!r}", 'write by = "country", or an arm')
    return _checked(find("table_one"), dictionary, roles, (), where, {}, settings)


def _named(name: str, dictionary: Dictionary, *, grouping: bool) -> Column:
    variable = dictionary.usable(name, Place(name, 0, len(name)))
    if not grouping or variable.type is VariableType.FACTOR:
        return Ref(name)
    if variable.levels:
        return Transform(Function.FACTOR, Ref(name))
    raise UsageError(
        "WRONG_TYPE",
        f"{name} is a number without declared levels and cannot make groups",
        "group by a factor of the dictionary",
    )


def _checked(
    method: Method,
    dictionary: Dictionary,
    roles: Mapping[str, tuple[Column, ...]],
    terms: tuple[Term, ...],
    where: str | None,
    references: Mapping[str, str],
    options: Mapping[str, object] | None,
) -> Spec:
    spec = Spec(
        method=method.name,
        version=method.version,
        dataset=dictionary.dataset,
        variables=dictionary.variables,
        subject=dictionary.subject,
        where=parse_filter(where, dictionary) if where else None,
        roles=roles,
        terms=terms,
        references=references,
        options={name: _setting(method, name, value) for name, value in (options or {}).items() if value is not None},
    )
    check_spec(spec, method)
    return spec


def _setting(method: Method, name: str, value: object) -> Setting:
    """The value as a setting: lists as tuples, whole numbers as numbers where the method's default is one."""
    default = method.options[name].default if name in method.options else None
    if isinstance(value, Sequence) and not isinstance(value, str):
        if value and all(isinstance(item, str) for item in value):
            return tuple(str(item) for item in value)
        if all(isinstance(item, int | float) and not isinstance(item, bool) for item in value):
            return tuple(float(item) for item in value)
    elif isinstance(value, bool | str):
        return value
    elif isinstance(value, int | float):
        number = float(value) if isinstance(default, float | tuple) else value
        return (float(value),) if isinstance(default, tuple) else number
    raise UsageError(
        "WRONG_OPTION",
        f"{name} of {method.title} is neither a number, a word, true or false, nor a list of one kind",
        method.options[name].about if name in method.options else "leave it out",
    )
