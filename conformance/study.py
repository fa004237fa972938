"""The study that a case makes: its dictionary, as an author would write it from the files of all countries."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from conformance.case import Case, Step, Table

# Keys of a step whose values name columns that make groups.
GROUPING = (
    "arm",
    "by",
    "group",
    "row",
    "column",
    "strata",
    "treatment",
    "visit",
    "group_term",
    "term",
    "gray_group",
    "cause",
)
# Keys that name the person, and the one that names what belongs together.
PERSON = ("subject", "id")
CLUSTER = "cluster"


@dataclass(frozen=True, slots=True)
class Uses:
    """What a case's steps take its variables for."""

    factors: frozenset[str]  # makes groups, or has a reference level
    named: frozenset[str]  # stands anywhere in a step
    units: frozenset[str]  # says what belongs together and nothing else, so it may be an identifier
    person: str  # "" where each row is a person


def uses_of(case: Case) -> Uses:
    """What the steps of a case take its variables for.

    The person is the subject or id that a step names, otherwise the cluster, unless that makes groups as well or has
    rows in several countries.
    """
    factors: set[str] = set()
    named: set[str] = set()
    clusters: dict[str, None] = {}
    persons: dict[str, None] = {}
    for step in case.plan:
        factors |= set(_factors(step)) | set(_factors(step.get("estimate") or {}))
        persons.update(dict.fromkeys(step[key] for key in PERSON if step.get(key)))
        clusters.update(dict.fromkeys([step[CLUSTER]] if step.get(CLUSTER) else []))
        named |= set(_names({key: value for key, value in step.items() if key not in (*PERSON, CLUSTER)}))
    across = {name for name in clusters if case.crosses_borders(name)}
    units = [
        name
        for name in clusters
        if name != case.country and name not in named | across and not _levels_declared(case, name)
    ]
    factors |= across
    persons = {name: None for name in persons if name not in factors}
    return Uses(frozenset(factors), frozenset(named), frozenset([*persons, *units]), next(iter([*persons, *units]), ""))


def _levels_declared(case: Case, name: str) -> bool:
    return case.variables.get(name, {}).get("type") == "factor"


def _names(value: object) -> Iterator[str]:
    """Every text of a step, and the parts of those that may be products."""
    if isinstance(value, str):
        yield value
        yield from value.split(":")
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield str(key)
            yield from _names(inner)
    elif isinstance(value, Sequence):
        for inner in value:
            yield from _names(inner)


def _factors(step: Step) -> Iterator[str]:
    for key in GROUPING:
        value = step.get(key)
        yield from [value] if isinstance(value, str) else value or ()
    yield from step.get("reference") or ()
    if step.get("method") == "frequency":
        yield from step["variables"]
    if step.get("method") == "ordinal":
        yield step["outcome"]


def study_toml(case: Case, name: str, nodes: Mapping[str, str], form: str = "") -> str:
    """The study as its author writes it, without a plan.

    Parameters
    ----------
    case
        The case; each of its tables becomes a dataset.
    name
        Of the study.
    nodes
        Node of each country.
    form
        Ending of the datasets' names.
    """
    lines = [
        f"name = {_text(name)}",
        f"title = {_text(case.title)}",
        'rationale = "Does the pooled answer over nodes equal the one R gives on the pooled file?"',
        'recipients = ["those who test isthmus"]',
        "by_country = true",
        f"participants = {json.dumps([nodes[country] for country in case.countries])}",
    ]
    uses = uses_of(case)
    for table in case.tables.values():
        lines += _dataset(case, table, uses, form)
    return "\n".join(lines) + "\n"


def _dataset(case: Case, table: Table, uses: Uses, form: str) -> Iterator[str]:
    person = uses.person if uses.person in table.columns else ""
    yield "\n[[dataset]]"
    yield f"name = {_text(case.dataset(table.name) + form)}"
    yield f"subject = {_text(person)}" if person else "one_row_a_subject = true"
    for name in table.columns:
        variable = list(_variable(case, table, name, uses, person))
        if variable:
            yield f"\n[dataset.variables.{_text(name)}]"
            yield from variable


def _variable(case: Case, table: Table, name: str, uses: Uses, person: str) -> Iterator[str]:
    """Its lines; none for a column that no step can use."""
    declared = case.variables.get(name, {})
    cells = [cell for cell in table.columns[name] if cell]
    if name == case.country:
        yield 'type = "factor"'
        yield f"levels = {_list(case.levels(name))}"
        yield 'roles = ["country"]'
        return
    if name == person:
        yield f'type = "{"integer" if declared.get("type") == "integer" else "text"}"'
        yield 'roles = ["identifier"]'
        return
    if declared.get("unit"):
        yield f"unit = {_text(declared['unit'])}"
    if case.is_number(name):
        step = resolution(cells)
        yield f'type = "{declared["type"] if declared["type"] == "numeric" or step == "1" else "numeric"}"'
        yield f"grid = {step}"
        if cells:
            yield f"minimum = {min(map(Decimal, cells)):f}"
            yield f"maximum = {max(map(Decimal, cells)):f}"
        if name in uses.factors:
            yield f"levels = {_list(case.levels(name))}"
    elif name in uses.units and declared.get("type") != "factor":
        yield 'type = "text"'
        yield 'roles = ["identifier"]'
    elif declared.get("type") == "factor" or name in uses.named | uses.factors:
        yield 'type = "factor"'
        yield f"levels = {_list(case.levels(name))}"
    else:
        return
    if len(cells) < len(table.columns[name]):
        yield "may_be_missing = true"


def _text(text: str) -> str:
    """A text as TOML writes it."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _list(texts: tuple[str, ...]) -> str:
    return f"[{', '.join(map(_text, texts))}]"


def resolution(cells: list[str]) -> str:
    """The step between the values that a column's text can hold: ``1`` for whole numbers, ``0.01`` for two decimals."""
    finest = 0
    for cell in cells:
        try:
            exponent = Decimal(cell).normalize().as_tuple().exponent
        except InvalidOperation:
            continue
        finest = min(finest, exponent) if isinstance(exponent, int) else finest
    return "1" if finest == 0 else f"{Decimal(1).scaleb(finest):f}"
