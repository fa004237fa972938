"""Ages above what the policy says are read as that: few people are so old, and who knows one of them knows the number.

A dictionary says which of its numbers are ages by the role `age`; of others this knows nothing.
"""

from __future__ import annotations

import dataclasses
import hashlib
import struct
from types import MappingProxyType

import numpy as np

from isthmus.recent import RecentMap
from isthmus_methods.contract import Spec, Variable
from isthmus_methods.variables import used_variables
from isthmus_node.sources.table import Table

# How many of a unit make a year; a unit that is not here is taken for years, which is the stricter reading.
_IN_A_YEAR = MappingProxyType(
    {"months": 12.0, "month": 12.0, "mo": 12.0, "weeks": 365.25 / 7, "wk": 365.25 / 7, "days": 365.25, "d": 365.25}
)
_TABLES_KEPT = 4


class Ages:
    """Tables whose ages are topped. The last few are kept: a run makes one, and its other rounds find it."""

    def __init__(self) -> None:
        self._topped: RecentMap[tuple[bytes, float], Table] = RecentMap(_TABLES_KEPT)

    def up_to(self, table: Table, years: float) -> Table:
        """The table with every age above so many years read as so many; the table itself where it has no ages.

        Source: 45 CFR 164.514(b)(2)(i)(C), ages of 90 and more as one.
        """
        ages = [name for name in table.numbers if is_age(table.variables[name])]
        if not ages:
            return table
        found = self._topped.get((table.digest, years))
        return found if found is not None else self._topped.put((table.digest, years), _topped(table, ages, years))


def told_of(spec: Spec, years: float) -> float:
    """What an answer says its ages are read up to; 0 where the request names none that can be above it."""
    for asked in (spec, *([spec.events] if spec.events is not None else [])):
        for name in used_variables(asked):
            variable = asked.variables[name]
            top = in_its_unit(variable, years)
            if is_age(variable) and (variable.maximum is None or variable.maximum > top):
                return years
    return 0.0


def is_age(variable: Variable) -> bool:
    """Whether the dictionary says that it is a person's age."""
    return "AGE" in variable.roles


def in_its_unit(variable: Variable, years: float) -> float:
    """So many years in the unit of an age."""
    return years * _IN_A_YEAR.get(variable.unit.strip().lower(), 1.0)


def _topped(table: Table, ages: list[str], years: float) -> Table:
    numbers = dict(table.numbers)
    for name in ages:
        # NaN, a missing age, stays one
        numbers[name] = np.minimum(table.numbers[name], in_its_unit(table.variables[name], years))
        numbers[name].flags.writeable = False

    def digest_of(digest: bytes) -> bytes:
        return hashlib.sha256(b"isthmus/ages/1\0" + struct.pack("<d", years) + digest).digest()

    # another snapshot, whether or not anybody is so old: which of the two it is would tell
    return dataclasses.replace(
        table, numbers=numbers, digest=digest_of(table.digest), named_digest=lambda: digest_of(table.named_digest())
    )
