"""What a jurisdiction's preset asks for: files that only tighten, each number with where it comes from.

All of it are conventions, proposed for local legal review; no preset makes a release lawful.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

from isthmus_node.egress.policy_keys import choice, known, numbers, table, words
from isthmus_node.egress.thresholds import PURPOSES, VARIABLE_ROLES, Number, compiled_in

FOLDER = Path(__file__).with_name("presets")
EXPLORATORY = ("refuse", "ask", "allow")
RUNS = ("ask", "allow")
OUTPUTS = ("ask", "allow")
RERUNS = ("refuse", "ask")


@dataclass(frozen=True, slots=True)
class Preset:
    """A jurisdiction's proposal. `limits`: by purpose, the thresholds it has a word on."""

    title: str
    standing: str  # what kind of rule this is: a convention
    facts: tuple[str, ...]
    limits: Mapping[int, Mapping[str, Number]]
    exploratory: str  # the loosest that a policy under it may say
    runs: str
    outputs: str
    roles: frozenset[int]  # variables of these roles are never used
    permits: tuple[str, ...] = ()  # numbers that the custodian fills in
    persons: tuple[int, ...] = ()  # of these many persons the jurisdiction's rules speak


# What holds where a policy names no preset: nothing more than defaults and floors.
NO_PRESET = Preset("", "", (), MappingProxyType({}), "allow", "allow", "allow", frozenset())


def names() -> tuple[str, ...]:
    """Jurisdictions that have a preset, sorted: two capital letters each."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


@cache
def preset(name: str) -> Preset:
    """The preset of a jurisdiction; `name` is one of `names`.

    Raises
    ------
    ConfigError
        Where its file is not as a policy must be.
    """
    read = tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    parts = ("title", "standing", "facts", "exploratory", "runs", "release", "variables", "permits", "purpose")
    known(read, parts, f"preset {name}: ")
    purposes = known(table(read.get("purpose", {}), "[purpose]"), PURPOSES, "purpose.")
    exploratory = known(table(read.get("exploratory", {}), "[exploratory]"), ("analyses",), "exploratory.")
    runs = known(table(read.get("runs", {}), "[runs]"), ("each",), "runs.")
    release = known(table(read.get("release", {}), "[release]"), ("outputs",), "release.")
    permits = known(table(read.get("permits", {}), "[permits]"), ("ask", "persons"), "permits.")
    variables = known(table(read.get("variables", {}), "[variables]"), ("refuse_roles",), "variables.")
    roles = words(variables.get("refuse_roles", []), "variables.refuse_roles")
    known(dict.fromkeys(roles), VARIABLE_ROLES, "role ")
    return Preset(
        title=str(read["title"]),
        standing=str(read["standing"]),
        facts=words(read["facts"], "facts"),
        limits={
            PURPOSES[purpose]: numbers(
                table(written, f"[purpose.{purpose}]"), f"purpose.{purpose}", compiled_in(PURPOSES[purpose])[0]
            )
            for purpose, written in purposes.items()
        },
        exploratory=choice(exploratory.get("analyses", "allow"), EXPLORATORY, "exploratory.analyses"),
        runs=choice(runs.get("each", "allow"), RUNS, "runs.each"),
        outputs=choice(release.get("outputs", "allow"), OUTPUTS, "release.outputs"),
        roles=frozenset(VARIABLE_ROLES[role] for role in roles),
        permits=words(permits.get("ask", []), "permits.ask"),
        persons=tuple(int(n) for n in words(permits.get("persons", []), "permits.persons")),
    )
