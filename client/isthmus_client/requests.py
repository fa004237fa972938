"""Makes the declared request of any method from what a statistician writes: a formula, roles, a filter, settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from isthmus.errors import UsageError
from isthmus_client.formula import Dictionary, Model, Right, parse_filter, parse_model
from isthmus_client.formula.columns import Columns
from isthmus_client.formula.left import event_column
from isthmus_client.formula.reader import Name, Node, Place, read
from isthmus_methods.contract import (
    Column,
    Function,
    Indicator,
    Kind,
    Procedure,
    Role,
    Setting,
    Spec,
    TrainingPlan,
    Transform,
    column_name,
    event_roles,
    stratified_by_country,
    term_columns,
)
from isthmus_methods.registry import find_procedure
from isthmus_methods.validate import check_spec

# The role that the right side of a formula fills where the method has no model terms: the first that it has.
GROUPS = ("by", "arm", "group")
VARIABLES = "variables"
# Roles of requests that need no terms: an intercept alone, a table.
TERMLESS = frozenset({"outcome", "row"})
# What is written for one role: one column as text, or several.
Written = str | Sequence[str]


@dataclass(frozen=True, slots=True)
class Events:
    """The second dataset of a request, of events of the same persons, as a statistician writes it.

    dataset
        Its name in the study.
    roles
        Its columns by the role they play, each as a formula writes it.
    where
        Which events; None: all.
    references
        Reference level of a factor where it is not the first of the dictionary.
    """

    dataset: str
    roles: Mapping[str, Written] = field(default_factory=dict)
    where: str | None = None
    references: Mapping[str, str] | None = None


def request(
    name: str,
    dictionary: Dictionary,
    *,
    formula: str | None = None,
    roles: Mapping[str, Written] | None = None,
    where: str | None = None,
    references: Mapping[str, str] | None = None,
    options: Mapping[str, object] | None = None,
    events: tuple[Dictionary, Events] | None = None,
    training: TrainingPlan | None = None,
) -> Spec:
    """The request of any method.

    Parameters
    ----------
    name
        Of the method, as the registry has it.
    dictionary
        Of the dataset.
    formula
        ``Surv(time, event) ~ ...``, ``outcome ~ ...`` or ``~ ...``. The right side is the terms of the model, or, where
        the method has none, its groups (`by`, `arm` or `group`) or its `variables`.
    roles
        Columns by the role they play, each as a formula writes it: a variable, ``log(x)``, ``factor(x)``, a condition
        such as ``DERM == 'Y'``. A variable's own name needs no backticks.
    where
        Which rows; None: all.
    references
        Reference level of a factor where it is not the first of the dictionary.
    options
        Settings the method declares; None leaves one at its default.
    events
        The second dataset of methods that read one, and its dictionary.
    training
        App, strategy and rounds, where a model is trained.

    Raises
    ------
    UsageError
        Whatever is wrong with method, formula, roles, filter or settings.
    """
    method = find_procedure(name)
    columns = Columns(dictionary)
    found: dict[str, tuple[Column, ...]] = {}
    model: Model | None = None
    if formula:
        stratified = stratified_by_country(method, options or {})
        model = parse_model(formula, dictionary, references, right=_right(method), stratified=stratified)
        found = _roles_of(model, method)
        columns.references.update(model.references)
    else:
        _refer(columns, references)
    if training is not None:
        found = {role: tuple(_as_levels(c) for c in columns) for role, columns in found.items()}
    twice = next((role for role in roles or {} if role in found), None)
    if twice is not None:
        raise UsageError("ROLE_TWICE", f"the formula already says what is {twice!r}", "say it once")
    found |= _written_roles(roles, method.roles, columns)
    terms = model.terms if model is not None else ()
    if method.uses_terms and not terms and not TERMLESS & found.keys():
        raise UsageError(
            "NO_TERMS",
            f"{method.title} needs at least one term",
            f'write a formula, as in formula = "{_example(method)}"',
        )
    spec = Spec(
        method=method.name,
        version=method.version,
        dataset=dictionary.dataset,
        variables=dictionary.variables,
        subject=dictionary.subject,
        where=parse_filter(where, dictionary) if where else None,
        roles=found,
        terms=terms,
        references=dict(columns.references),
        options={key: _setting(method, key, value) for key, value in (options or {}).items() if value is not None},
        events=_events_spec(method, *events) if events is not None else None,
        training=training,
    )
    check_spec(spec, method)
    return spec


def _as_levels(outcome: Column) -> Column:
    """The outcome of a model that is trained: a condition is a factor of two levels, not the numbers 0 and 1."""
    return Transform(Function.FACTOR, outcome) if isinstance(outcome, Indicator) else outcome


def _events_spec(method: Procedure, dictionary: Dictionary, events: Events) -> Spec:
    """The part of a request that is about its second dataset."""
    columns = Columns(dictionary)
    _refer(columns, events.references)
    return Spec(
        method=method.name,
        version=method.version,
        dataset=dictionary.dataset,
        variables=dictionary.variables,
        subject=dictionary.subject,
        where=parse_filter(events.where, dictionary) if events.where else None,
        roles=_written_roles(events.roles, event_roles(method), columns),
        references=dict(columns.references),
    )


def _refer(columns: Columns, references: Mapping[str, str] | None) -> None:
    """Take down reference levels, each of which the dictionary must have."""
    for variable, level in (references or {}).items():
        place = Place(variable, 0, len(variable))
        known = columns.dictionary.usable(variable, place)
        columns.references[variable] = columns.dictionary.level(known, level, place)


def _written_roles(
    roles: Mapping[str, Written] | None, rules: Mapping[str, Role], columns: Columns
) -> dict[str, tuple[Column, ...]]:
    """The columns by role; a role without any is left out."""
    found: dict[str, tuple[Column, ...]] = {}
    for role, written in (roles or {}).items():
        texts = [written] if isinstance(written, str) else written
        rule = rules.get(role, Role(""))  # a role that the method has not is refused by name later
        given = tuple(_column(text, rule, columns) for text in texts)
        if given:
            found[role] = given
    return found


def by_country(method: Procedure, by: str | None, options: Mapping[str, object] | None) -> dict[str, object]:
    """The settings, with each country's own results asked for where `by` says so.

    Raises
    ------
    UsageError
        ``BAD_OPTION`` where the method gives none by `by`.
    """
    settings = dict(options or {})
    if by == "country" and "by_country" in method.options:
        settings["by_country"] = True
    elif by:
        remedy = 'write by = "country"' if "by_country" in method.options else "leave it out"
        raise UsageError("BAD_OPTION", f"{method.name} cannot be shown by {by!r}", remedy)
    return settings


def estimates_by_country(method: Procedure) -> bool:
    """Whether each country's own estimate leaves it."""
    return any(field.kind is Kind.ESTIMATE for field in method.leaves.values())


def effect_of(spec: Spec) -> str:
    """The coefficient that a model is about: the treatment arm's first, otherwise the first of all."""
    of_arm = [term for term in spec.terms if len(term.columns) == 1 and _is_arm(spec, term.columns[0])]
    return next(iter(term_columns(spec, (of_arm or spec.terms)[0])))[0]


def _is_arm(spec: Spec, column: Column) -> bool:
    variable = spec.variables.get(column_name(column))
    return variable is not None and "TREATMENT_ARM" in variable.roles


def _right(method: Procedure) -> Right:
    if method.uses_terms:
        return Right.TERMS
    return Right.COLUMNS if VARIABLES in method.roles else Right.GROUPS


def _example(method: Procedure) -> str:
    return "Surv(TIME, EVENT) ~ ARM + AGE" if "time" in method.roles else "OUTCOME ~ ARM + AGE"


def _roles_of(model: Model, method: Procedure) -> dict[str, tuple[Column, ...]]:
    """The parts of a formula by the roles they play."""
    groups = VARIABLES if VARIABLES in method.roles else next((r for r in GROUPS if r in method.roles), GROUPS[0])
    found = {
        role: columns
        for role, columns in (
            *(
                (role, _one(getattr(model, role)))
                for role in ("start", "time", "event", "outcome", "cluster", "offset")
            ),
            ("strata", model.strata),
            (groups, model.columns),
        )
        if columns
    }
    # each country's own estimate has the model's variance: clusters matter to the pooled fit alone
    if estimates_by_country(method):
        found.pop("cluster", None)
    strange = [role for role in found if role not in method.roles]
    if strange:
        what = "Surv(...)" if {"time", "event"} & set(strange) else f"the part that is its {strange[0]}"
        raise UsageError(
            "WRONG_FORMULA",
            f"{method.title} ({method.name}) takes no formula with {what}: {model.text}",
            f"its roles are: {', '.join(method.roles)}" + (", and terms of a model" if method.uses_terms else ""),
        )
    return found


def _one(column: Column | None) -> tuple[Column, ...]:
    return () if column is None else (column,)


def _column(text: str, rule: Role, columns: Columns) -> Column:
    """A column from its text, as the role that it plays takes it."""
    known = text in columns.dictionary.variables
    node: Node = Name(text, Place(text, 0, len(text))) if known else read(text)
    if rule.holds == "unit":
        return columns.unit(node)
    if rule.holds == "factor":
        return columns.factor(node)
    return event_column(node, columns) if rule.holds == "event" else columns.column_or_condition(node)


def _setting(method: Procedure, name: str, value: object) -> Setting:
    """The value as a setting: lists as tuples, whole numbers as numbers where the method's default is one."""
    default = method.options[name].default if name in method.options else None
    if isinstance(value, Sequence) and not isinstance(value, str):
        if value and all(isinstance(item, str) for item in value):
            return tuple(str(item) for item in value)
        if all(isinstance(item, int | float) and not isinstance(item, bool) for item in value):
            return tuple(float(item) for item in value)
    elif isinstance(value, str):
        return (value,) if isinstance(default, tuple) else value
    elif isinstance(value, bool):
        return value
    elif isinstance(value, int | float):
        number = float(value) if isinstance(default, float | tuple) else value
        return (float(value),) if isinstance(default, tuple) else number
    raise UsageError(
        "WRONG_OPTION",
        f"{name} of {method.title} is neither a number, a word, true or false, nor a list of one kind",
        method.options[name].about if name in method.options else "leave it out",
    )
