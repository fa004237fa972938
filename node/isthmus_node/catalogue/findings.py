"""The study's dictionary held against the rows: everything that does not fit, named and counted, at the node only."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

import numpy as np

from isthmus.v1 import study_pb2
from isthmus_methods.contract import Array, Variable, VariableType
from isthmus_node.sources import Conversion, Rows, convert
from isthmus_node.sources.typed import Typed

# Levels named in one finding before "and others".
_NAMED = 5
# A value is on the grid if it is this close to it, in steps.
_ON_GRID = 1e-6


class Severity(Enum):
    # The dataset cannot be used in the study until it is corrected.
    FAIL = "fail"
    # It can be used; the rows concerned are treated as the words say.
    WARN = "warn"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that does not fit. Holds counts and levels: it never crosses the link."""

    code: str
    variable: str  # empty: the whole dataset
    count: int  # rows concerned
    words: str
    severity: Severity

    def __str__(self) -> str:
        return f"{self.severity.name} {self.code}: {self.words}"


def check_against(dictionary: study_pb2.Dataset, rows: Rows, country: str = "") -> tuple[Finding, ...]:
    """What in the rows does not fit the dictionary, in the dictionary's order.

    Parameters
    ----------
    country : of this node; rows of another are a finding. Empty: not looked at.
    """
    return check_conversion(convert(rows, dictionary, country))


def check_conversion(conversion: Conversion) -> tuple[Finding, ...]:
    """As `check_against`, for rows that are converted already."""
    return tuple(_all(conversion))


def _all(conversion: Conversion) -> Iterator[Finding]:
    dictionary = conversion.dictionary
    if not conversion.rows:
        yield Finding("EMPTY", "", 0, "the dataset has no rows; this country adds nothing", Severity.WARN)
    for name in conversion.absent:
        yield _absent(name, conversion.columns)
    for typed in conversion.variables.values():
        yield from _variable(typed, conversion)
    if dictionary.subject and dictionary.subject not in conversion.absent:
        yield from _subjects(conversion)


def _rows(count: int, verb: str = "") -> str:
    """``1 row has`` or ``7 rows have``."""
    if count != 1:
        return f"{count} rows {verb}".rstrip()
    irregular = {"": "", "have": "has", "do": "does", "are": "is"}
    return f"1 row {irregular.get(verb, verb + 's')}".rstrip()


def _absent(name: str, names: tuple[str, ...]) -> Finding:
    # a wrong case is the commonest slip
    near = next((n for n in names if n.lower() == name.lower()), None)
    near = near or next(iter(difflib.get_close_matches(name, names, n=1)), None)
    hint = f"; the nearest one there is {near!r}" if near else ""
    return Finding("MISSING_COLUMN", name, 0, f"{name}: the source has no such column{hint}", Severity.FAIL)


def _variable(typed: Typed, conversion: Conversion) -> Iterator[Finding]:
    variable, name = typed.variable, typed.variable.name
    if typed.unreadable:
        yield Finding(
            "WRONG_TYPE",
            name,
            typed.unreadable,
            f"{name}: {_rows(typed.unreadable, 'hold')} no number, but the dictionary says {variable.type.value}",
            Severity.FAIL,
        )
    if typed.missing and not variable.may_be_missing and name != conversion.dictionary.subject:
        yield Finding(
            "MISSING_VALUE",
            name,
            typed.missing,
            f"{name}: {_rows(typed.missing, 'have')} no value where the dictionary allows none; "
            "methods that need it leave them out",
            Severity.WARN,
        )
    if typed.unknown and "COUNTRY" in variable.roles and typed.supplied:
        yield Finding(
            "COUNTRY_NOT_DECLARED",
            name,
            conversion.rows,
            f"{name}: this node's country {conversion.country!r} is not among the dictionary's levels",
            Severity.FAIL,
        )
    elif typed.unknown:
        yield _unknown(typed)
    if typed.numbers is not None:
        yield from _numbers(variable, typed.numbers)
    if "COUNTRY" in variable.roles and conversion.country and not typed.supplied:
        yield from _other_countries(typed, conversion)


def _unknown(typed: Typed) -> Finding:
    name, count = typed.variable.name, sum(typed.unknown.values())
    named = [
        f"{text!r} ({_rows(n)})" for text, n in sorted(typed.unknown.items(), key=lambda item: (-item[1], item[0]))
    ]
    more = f" and {len(named) - _NAMED} others" if len(named) > _NAMED else ""
    return Finding(
        "UNKNOWN_LEVEL",
        name,
        count,
        f"{name}: {_rows(count, 'have')} a level that is not in the dictionary, taken as OTHER: "
        f"{', '.join(named[:_NAMED])}{more}; the dictionary has {', '.join(typed.variable.levels)}",
        Severity.WARN,
    )


def _numbers(variable: Variable, values: Array) -> Iterator[Finding]:
    name, present = variable.name, values[~np.isnan(values)]
    if variable.type is VariableType.INTEGER:
        count = int(np.count_nonzero(present != np.rint(present)))
        if count:
            yield Finding(
                "NOT_WHOLE",
                name,
                count,
                f"{name}: {_rows(count, 'hold')} a number that is not whole, but the dictionary says integer",
                Severity.FAIL,
            )
    if _may_be_an_age(variable):
        yield Finding(
            "AGE_UNDECLARED",
            name,
            0,
            f"{name}: a number of years that may be an age, which the study's dictionary does not say (role age): then "
            "ages above the policy's number are read as they are",
            Severity.WARN,
        )
    low = -np.inf if variable.minimum is None else variable.minimum
    high = np.inf if variable.maximum is None else variable.maximum
    count = int(np.count_nonzero((present < low) | (present > high)))
    if count:
        unit = f" {variable.unit}" if variable.unit else ""
        yield Finding(
            "OUT_OF_RANGE",
            name,
            count,
            f"{name}: {_rows(count, 'lie')} outside {low:g} to {high:g}{unit}; used as they are",
            Severity.WARN,
        )
    if variable.grid:
        steps = present / variable.grid
        # a large value is itself written to some figures only: half a unit in its last place, and as much of the grid
        slack = np.maximum(_ON_GRID, 2 * np.finfo(np.float64).eps * np.abs(steps))
        count = int(np.count_nonzero(np.abs(steps - np.rint(steps)) > slack))
        if count:
            yield Finding(
                "OFF_GRID",
                name,
                count,
                f"{name}: {_rows(count, 'do')} not lie on the study's time grid of {variable.grid:g} {variable.unit}",
                Severity.FAIL,
            )
    if variable.levels:
        declared = np.array([float(level) for level in variable.levels if _is_number(level)], dtype=np.float64)
        count = int(np.count_nonzero(~np.isin(present, declared)))
        if count:
            yield Finding(
                "UNKNOWN_LEVEL",
                name,
                count,
                f"{name}: {_rows(count, 'hold')} a number that is not one of the declared levels "
                f"{', '.join(variable.levels)}; taken as a factor they count as missing",
                Severity.WARN,
            )


def _may_be_an_age(variable: Variable) -> bool:
    """By name and unit: nothing but a reason to look."""
    named = variable.name.upper().startswith("AGE") or "age" in variable.label.lower().split()
    return named and "AGE" not in variable.roles and variable.unit.strip().lower() in ("years", "year", "a")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _other_countries(typed: Typed, conversion: Conversion) -> Iterator[Finding]:
    """Rows that say they are of another country: a node answers for its own alone."""
    levels = typed.variable.levels
    own = levels.index(conversion.country) if conversion.country in levels else -2
    if typed.codes is None:
        return
    count = int(np.count_nonzero((typed.codes != own) & (typed.codes >= 0)))
    if count:
        yield Finding(
            "OTHER_COUNTRY",
            typed.variable.name,
            count,
            f"{typed.variable.name}: {_rows(count, 'are')} of another country than this node's, {conversion.country}",
            Severity.FAIL,
        )


def _subjects(conversion: Conversion) -> Iterator[Finding]:
    name, subject = conversion.dictionary.subject, conversion.subject
    count = int(np.count_nonzero(subject < 0))
    if count:
        yield Finding(
            "MISSING_SUBJECT",
            name,
            count,
            f"{name}: {_rows(count, 'name')} no subject, so persons cannot be counted",
            Severity.FAIL,
        )
    if conversion.dictionary.one_row_a_subject:
        rows = np.bincount(subject[subject >= 0], minlength=1)
        persons, count = int(np.count_nonzero(rows > 1)), int(rows[rows > 1].sum())
        if persons:
            yield Finding(
                "DUPLICATE_SUBJECT",
                name,
                count,
                f"{name}: {persons} {'subject has' if persons == 1 else 'subjects have'} more than one row "
                f"({_rows(count)}), but the dictionary says one row a subject",
                Severity.FAIL,
            )
