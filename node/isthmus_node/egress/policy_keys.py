"""How the tables of a policy file are read: known keys only, values of their type, nothing looser than its bounds."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from isthmus.errors import ConfigError
from isthmus_node.egress.thresholds import KEYS, Limits, Number


@dataclass(frozen=True, slots=True)
class Bound:
    """What a threshold of the file may not be looser than, and whose word that is."""

    limits: Mapping[str, Number]
    code: str
    whose: str  # "isthmus allows for this purpose"
    name: str  # "the floor"


def known(table: Mapping[str, object], keys: Iterable[str], prefix: str) -> Mapping[str, object]:
    """The table itself; an error that names the nearest known key where it has one that is not known."""
    names = list(keys)
    for name in table:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1, cutoff=0.0)[0]
            raise ConfigError(
                "POLICY_UNKNOWN_KEY",
                f"the policy has {prefix}{name}, which isthmus does not know; rule: nothing unknown in a policy",
                f"did you mean {prefix}{near}? Known are: {', '.join(names)}",
            )
    return table


def table(value: object, where: str) -> Mapping[str, object]:
    """The value, which must be a table."""
    if not isinstance(value, dict):
        raise bad(where, "a table")
    return value


def words(value: object, where: str) -> tuple[str, ...]:
    """The value, which must be a list of texts."""
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise bad(where, "a list of names")
    return tuple(value)


def choice(value: object, allowed: tuple[str, ...], where: str) -> str:
    """The value, which must be one of a few words."""
    if not isinstance(value, str) or value not in allowed:
        raise bad(where, f"one of {', '.join(allowed)}")
    return value


def numbers(written: Mapping[str, object], where: str, types: Limits) -> dict[str, Number]:
    """The thresholds that a table has, each in the type it has in `types`."""
    return {
        name: _number(f"{where}.{name}", value, getattr(types, name))
        for name, value in known(written, KEYS, f"{where}.").items()
    }


def limits(start: Limits, changed: Mapping[str, Number], where: str, bounds: Iterable[Bound]) -> Limits:
    """Thresholds as a table changes them; `ConfigError` where one is looser than a bound lets it be."""
    for bound in bounds:
        for name, value in changed.items():
            least = bound.limits.get(name)
            if least is not None and KEYS[name].is_looser(value, least):
                raise ConfigError(
                    bound.code,
                    f"{where}.{name} is looser than {bound.whose}; rule: {bound.name} is {json.dumps(least)}",
                    f"set it to {json.dumps(least)} or tighter (tighter is {KEYS[name].tighter})",
                )
    return replace(start, **changed)  # type: ignore[arg-type]  # checked by `_number` against the default's type


def bad(where: str, wanted: str) -> ConfigError:
    """A value that is not as it must be."""
    return ConfigError(
        "POLICY_BAD_VALUE", f"{where} in the policy is not as it must be; rule: {wanted}", f"correct {where}"
    )


def _number(where: str, value: object, default: Number) -> Number:
    """The value in the type of its default. TOML also has nan and inf, which no rule could be held against."""
    if isinstance(default, bool):
        if isinstance(value, bool):
            return value
        raise bad(where, "true or false")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise bad(where, "a number, 0 or more")
    if isinstance(default, float):
        return float(value)
    if isinstance(value, float):
        raise bad(where, "a whole number")
    return value
