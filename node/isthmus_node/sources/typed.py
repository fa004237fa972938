"""Rows as read -> columns of the study's types, with everything on the way that did not fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from isthmus.errors import DataError
from isthmus.v1 import study_pb2
from isthmus_methods.codec import variable_from_message
from isthmus_methods.contract import Array, Variable, VariableType
from isthmus_node.sources.rows import Groups, Rows
from isthmus_node.sources.table import MISSING, Codes, Table, named_digest, snapshot_digest

_NUMBERS = (VariableType.NUMERIC, VariableType.INTEGER)


@dataclass(frozen=True, slots=True)
class Typed:
    """One variable as converted, and what did not fit."""

    variable: Variable
    numbers: Array | None = None
    codes: Codes | None = None
    identifier: Codes | None = None
    groups: Groups | None = None  # of an identifier
    missing: int = 0  # cells without a value
    unreadable: int = 0  # cells of a number that hold no number
    unknown: Mapping[str, int] = field(default_factory=dict)  # level not in the dictionary -> rows
    supplied: bool = False  # the country, put in by the node because the source has no such column


@dataclass(frozen=True, slots=True)
class Conversion:
    """A whole dataset as converted. Stays at the node."""

    dictionary: study_pb2.Dataset
    country: str
    rows: int
    variables: Mapping[str, Typed]
    absent: tuple[str, ...]  # columns that an analysis may use and the source does not have
    columns: tuple[str, ...]  # of the source
    subject: Codes
    persons: int
    names: Callable[[], Sequence[str]]  # of the persons


def needed_columns(dictionary: study_pb2.Dataset) -> frozenset[str]:
    """Columns worth reading: what an analysis may use. Text and dates are left where they are."""
    variables = [variable_from_message(v) for v in dictionary.variables]
    return frozenset(v.name for v in variables if _used(v)) | ({dictionary.subject} - {""})


def _used(variable: Variable) -> bool:
    return variable.type in (*_NUMBERS, VariableType.FACTOR) or "IDENTIFIER" in variable.roles


def convert(rows: Rows, dictionary: study_pb2.Dataset, country: str) -> Conversion:
    """Every usable variable of the dictionary, converted; nothing is raised for what does not fit."""
    converted: dict[str, Typed] = {}
    absent: list[str] = []
    for message in dictionary.variables:
        variable = variable_from_message(message)
        if not _used(variable):
            continue
        if message.name in rows:
            converted[message.name] = _typed(rows, variable)
        elif "COUNTRY" in variable.roles and country:
            converted[message.name] = _own_country(variable, country, len(rows))
        else:
            absent.append(message.name)
    subject = np.arange(len(rows), dtype=np.int32)
    persons, named = len(rows), _nobody
    if dictionary.subject and dictionary.subject in rows:
        own = converted.get(dictionary.subject)
        groups = own.groups if own is not None and own.groups is not None else rows.groups(dictionary.subject)
        subject, persons, named = groups.codes, groups.number, groups.texts
    elif dictionary.subject and dictionary.subject not in absent:
        absent.append(dictionary.subject)
    return Conversion(dictionary, country, len(rows), converted, tuple(absent), rows.names, subject, persons, named)


def _nobody() -> tuple[str, ...]:
    """The names of persons where each row is one."""
    return ()


def _typed(rows: Rows, variable: Variable) -> Typed:
    if "IDENTIFIER" in variable.roles:
        groups = rows.groups(variable.name)
        return Typed(variable, identifier=groups.codes, groups=groups, missing=int((groups.codes < 0).sum()))
    if variable.type in _NUMBERS:
        column = rows.numbers(variable.name)
        missing = int(np.isnan(column.values).sum()) - column.unreadable
        return Typed(variable, numbers=column.values, missing=missing, unreadable=column.unreadable)
    text = rows.text(variable.name)
    place = {level: code for code, level in enumerate(variable.levels)}
    other = len(variable.levels)
    # the last entry stands for code -1
    renumbered = np.array([*(place.get(t, other) for t in text.distinct), MISSING], dtype=np.int32)
    strangers = [code for code, t in enumerate(text.distinct) if t not in place]
    counts: NDArray[np.int64] = np.bincount(text.codes[text.codes >= 0], minlength=len(text.distinct))
    return Typed(
        variable,
        codes=renumbered[text.codes],
        missing=int((text.codes < 0).sum()),
        unknown={text.distinct[code]: int(counts[code]) for code in strangers},
    )


def _own_country(variable: Variable, country: str, rows: int) -> Typed:
    code = variable.levels.index(country) if country in variable.levels else len(variable.levels)
    unknown = {} if country in variable.levels or not rows else {country: rows}
    return Typed(variable, codes=np.full(rows, code, dtype=np.int32), unknown=unknown, supplied=True)


def table_of(conversion: Conversion, key: bytes = b"") -> Table:
    """The table that methods see. `key` keys its digest, see `snapshot_digest`.

    Raises `DataError` where a column is absent, a number is no number, or a row names no subject; without counts,
    because the message may reach the coordinator.
    """
    dictionary = conversion.dictionary
    name = dictionary.name
    if conversion.absent:
        raise DataError(
            "MISSING_COLUMN",
            f"dataset {name} has no column {', '.join(conversion.absent)}, which the study's dictionary declares",
            "at the site: correct the column's name, or give it as a constant or a mapping when adding the dataset",
        )
    wrong = [t.variable.name for t in conversion.variables.values() if t.unreadable]
    if wrong:
        raise DataError(
            "WRONG_TYPE",
            f"dataset {name}: {', '.join(wrong)} must hold numbers by the study's dictionary and holds other text",
            "at the site: `isthmus-node check` names what does not fit",
        )
    if (conversion.subject < 0).any():
        raise DataError(
            "MISSING_SUBJECT",
            f"dataset {name} has rows without {dictionary.subject}, by which persons are counted",
            "at the site: fill it in, or leave those rows out of the source",
        )
    variables = {v.name: variable_from_message(v) for v in dictionary.variables}
    numbers = {n: t.numbers for n, t in conversion.variables.items() if t.numbers is not None}
    codes = {n: t.codes for n, t in conversion.variables.items() if t.codes is not None}
    identifiers = {n: t.identifier for n, t in conversion.variables.items() if t.identifier is not None}
    frozen: list[Array | Codes] = [*numbers.values(), *codes.values(), *identifiers.values(), conversion.subject]
    for column in frozen:
        column.flags.writeable = False
    canonical = dictionary.SerializeToString(deterministic=True)
    digest = snapshot_digest(canonical, conversion.country, numbers, codes, identifiers, conversion.subject, key)
    return Table(
        dataset=name,
        country=conversion.country,
        rows=conversion.rows,
        variables=variables,
        numbers=numbers,
        codes=codes,
        identifiers=identifiers,
        subject=conversion.subject,
        persons=conversion.persons,
        digest=digest,
        names=conversion.names,
        named_digest=named_digest(digest, conversion.names, key),
    )


def typed(rows: Rows, dictionary: study_pb2.Dataset, country: str, key: bytes = b"") -> Table:
    """`convert` and `table_of` in one call."""
    return table_of(convert(rows, dictionary, country), key)
