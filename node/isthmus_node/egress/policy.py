"""The site's policy: a file the custodian owns. What is not in it, or not as it must be, is refused."""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType

from isthmus.errors import ConfigError
from isthmus_node.egress.thresholds import KEYS, PURPOSES, Limits, Number, compiled_in

EXPLORATORY = ("refuse", "ask", "allow")
DEFAULT_FILE = Path(__file__).with_name("default_policy.toml")


@dataclass(frozen=True, slots=True)
class Policy:
    """What this site lets out, and for what purpose.

    `limits` has the purposes the file has a table for, by their number in the contract; the others are refused.
    `methods` None: all that are installed. `digest`: SHA-256 of `canonical`, 32 bytes.
    """

    limits: Mapping[int, Limits]
    methods: frozenset[str] | None
    exploratory: str  # analyses that are not in an approved plan: "refuse", "ask" (a person decides), "allow"
    digest: bytes

    @classmethod
    def load(cls, path: Path, installed: Collection[str] = ()) -> Policy:
        """Read policy.toml.

        Parameters
        ----------
        path
            The file.
        installed
            Names of the methods at this node; given, a name in ``[methods] allow`` that is not among them is an error.

        Raises
        ------
        ConfigError
            ``POLICY_MISSING``, ``POLICY_UNREADABLE``, ``POLICY_UNKNOWN_KEY`` (with the nearest known key),
            ``POLICY_BAD_VALUE``, ``POLICY_BELOW_FLOOR`` (with the floor).
        """
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise ConfigError(
                "POLICY_MISSING",
                f"there is no policy at {path}; rule: without a policy nothing leaves",
                f"copy {DEFAULT_FILE.name} there and let the custodian read it",
            ) from error
        except (OSError, UnicodeDecodeError) as error:
            raise _unreadable(path, "it cannot be read as text") from error
        return cls.read(text, installed, path)

    @classmethod
    def read(cls, text: str, installed: Collection[str] = (), path: Path = Path("policy.toml")) -> Policy:
        """The policy of a file's text; raises as `load` does."""
        try:
            tables = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise _unreadable(path, str(error)) from error
        _known(tables, ("methods", "exploratory", "purpose"), "")
        limits = {
            PURPOSES[name]: _limits(name, _table(table, f"[purpose.{name}]"))
            for name, table in sorted(
                _known(_table(tables.get("purpose", {}), "[purpose]"), PURPOSES, "purpose.").items()
            )
        }
        methods = _methods(_table(tables.get("methods", {}), "[methods]"), installed)
        asked = _known(_table(tables.get("exploratory", {}), "[exploratory]"), ("analyses",), "exploratory.")
        exploratory = asked.get("analyses", "ask")
        if exploratory not in EXPLORATORY:
            raise _bad("exploratory.analyses", f"one of {', '.join(EXPLORATORY)}")
        return cls(MappingProxyType(limits), methods, str(exploratory), _digest(limits, methods, str(exploratory)))

    def allows_method(self, name: str) -> bool:
        """Whether the site lets this method run at all."""
        return self.methods is None or name in self.methods

    def words(self, purpose: int) -> tuple[str, ...]:
        """The policy for one purpose, each rule a sentence."""
        name = next((n for n, number in PURPOSES.items() if number == purpose), "this purpose")
        limits = self.limits.get(purpose)
        if limits is None:
            return (f"{name}: nothing leaves, the policy has no table [purpose.{name}]",)
        if purpose == PURPOSES["closed_committee"]:
            return (f"{name}: nothing leaves until releases can be encrypted to the committee's keys",)
        return (*(f"{name}: {limits.rule(key)}" for key in KEYS),)


def _limits(purpose: str, table: Mapping[str, object]) -> Limits:
    """The thresholds of one purpose: the defaults, and what the file says instead."""
    default, floor = compiled_in(PURPOSES[purpose])
    changed: dict[str, Number] = {}
    for name, value in _known(table, KEYS, f"purpose.{purpose}.").items():
        where = f"purpose.{purpose}.{name}"
        number = _number(where, value, getattr(default, name))
        least = getattr(floor, name)
        if KEYS[name].is_looser(number, least):
            raise ConfigError(
                "POLICY_BELOW_FLOOR",
                f"{where} is looser than isthmus allows for this purpose; rule: the floor is {_toml(least)}",
                f"set it to {_toml(least)} or tighter (tighter is {KEYS[name].tighter})",
            )
        changed[name] = number
    return replace(default, **changed)  # type: ignore[arg-type]  # checked by `_number` against the default's type


def _number(where: str, value: object, default: Number) -> Number:
    """The value in the type of its default. TOML also has nan and inf, which no rule could be held against."""
    if isinstance(default, bool):
        if isinstance(value, bool):
            return value
        raise _bad(where, "true or false")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise _bad(where, "a number, 0 or more")
    if isinstance(default, float):
        return float(value)
    if isinstance(value, float):
        raise _bad(where, "a whole number")
    return value


def _methods(table: Mapping[str, object], installed: Collection[str]) -> frozenset[str] | None:
    allowed = _known(table, ("allow",), "methods.").get("allow")
    if allowed is None:
        return None
    if not isinstance(allowed, list) or not all(isinstance(name, str) for name in allowed):
        raise _bad("methods.allow", "a list of names of methods")
    if installed:
        _known(dict.fromkeys(allowed), installed, "method ")
    return frozenset(allowed)


def _known(table: Mapping[str, object], known: Iterable[str], prefix: str) -> Mapping[str, object]:
    """The table itself; an error that names the nearest known key where it has one that is not known."""
    names = list(known)
    for name in table:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1, cutoff=0.0)[0]
            raise ConfigError(
                "POLICY_UNKNOWN_KEY",
                f"the policy has {prefix}{name}, which isthmus does not know; rule: nothing unknown in a policy",
                f"did you mean {prefix}{near}? Known are: {', '.join(names)}",
            )
    return table


def _table(value: object, where: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise _bad(where, "a table")
    return value


def _digest(limits: Mapping[int, Limits], methods: frozenset[str] | None, exploratory: str) -> bytes:
    """SHA-256 of the policy in force, defaults filled in, in one canonical form."""
    form = {
        "purpose": {name: asdict(limits[number]) for name, number in PURPOSES.items() if number in limits},
        "methods": None if methods is None else sorted(methods),
        "exploratory": exploratory,
    }
    return hashlib.sha256(json.dumps(form, sort_keys=True, separators=(",", ":")).encode()).digest()


def _bad(where: str, wanted: str) -> ConfigError:
    return ConfigError(
        "POLICY_BAD_VALUE", f"{where} in the policy is not as it must be; rule: {wanted}", f"correct {where}"
    )


def _unreadable(path: Path, why: str) -> ConfigError:
    return ConfigError(
        "POLICY_UNREADABLE",
        f"the policy {path} is no TOML file: {why}; rule: without a policy nothing leaves",
        "correct the file, or restore it from the backup",
    )


def _toml(value: Number) -> str:
    return json.dumps(value)
