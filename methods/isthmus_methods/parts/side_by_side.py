"""Several analyses of the same rows in the same rounds, each with its own state, memory and fields under a name.

A method that is made of others (a propensity model, then weighted fits) runs them here: what leaves is what each of
them declares, with the analysis' name in front of the label.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from isthmus_methods.contract import Again, Array, Block, Cleared, Contributions, Spec, State, Summary


class Half(Protocol):
    """What runs inside a country: a method, or a part of one."""

    def fold(self, block: Block, spec: Spec, state: State, local: Any) -> Any: ...

    def release(self, partial: Any, spec: Spec, state: State, local: Any) -> Summary | Again: ...


@dataclass(frozen=True, slots=True)
class Side:
    """One analysis: its half, its own request, and its rows from those of the whole request."""

    name: str
    half: Half
    spec: Spec
    rows: Callable[[Block], Block]
    leaves_out: frozenset[str] = frozenset()  # fields that the whole request has already


@dataclass(frozen=True, slots=True)
class Together:
    """What the analyses made of some rows, by name. Adds."""

    parts: Mapping[str, Any]

    def __add__(self, other: Together, /) -> Together:
        return Together({name: part + other.parts[name] for name, part in self.parts.items()})


@dataclass(frozen=True, slots=True)
class Locals:
    """Between passes: what each analysis keeps, or its summary where it has ended. Never leaves."""

    kept: Mapping[str, Any]


def fold(sides: Sequence[Side], block: Block, state: State, local: Locals | None) -> Together:
    """One pass of each analysis that has not ended in this round."""
    parts = {}
    for side in sides:
        kept = None if local is None else local.kept[side.name]
        if not isinstance(kept, Summary):
            parts[side.name] = side.half.fold(side.rows(block), side.spec, part_of(state, side.name), kept)
    return Together(parts)


def release(sides: Sequence[Side], partial: Together | None, state: State, local: Locals | None) -> Summary | Again:
    """The summaries of all analyses as one, once each has had its passes."""
    kept: dict[str, Any] = {}
    for side in sides:
        before = None if local is None else local.kept[side.name]
        if isinstance(before, Summary):
            kept[side.name] = before
            continue
        part = None if partial is None else partial.parts[side.name]
        turn = side.half.release(part, side.spec, part_of(state, side.name), before)
        kept[side.name] = turn if isinstance(turn, Summary) else turn.local
    if not all(isinstance(turn, Summary) for turn in kept.values()):
        return Again(Locals(kept))
    items = tuple(
        replace(item, label=named(side.name, item.label))
        for side in sides
        for item in kept[side.name].items
        if item.field not in side.leaves_out
    )
    return Summary(items, frozenset(code for turn in kept.values() for code in turn.notes))


def named(side: str, label: str) -> str:
    """The label of a field of one analysis."""
    return f"{side}: {label}" if label else side


def part_of(state: State, name: str) -> dict[str, Array]:
    """One analysis' own state or memory."""
    return {key.removeprefix(f"{name}/"): value for key, value in state.items() if key.startswith(f"{name}/")}


def as_part(state: State, name: str) -> dict[str, Array]:
    """The opposite of `part_of`."""
    return {f"{name}/{key}": value for key, value in state.items()}


def contributed(contributions: Contributions, name: str) -> Contributions:
    """What the countries gave of one analysis, under its own labels."""

    def own(label: str) -> str | None:
        if label == name:
            return ""
        return label.removeprefix(f"{name}: ") if label.startswith(f"{name}: ") else None

    def of(fields: Mapping[tuple[str, str], Any]) -> dict[tuple[str, str], Any]:
        found = ((field, own(label), value) for (field, label), value in fields.items())
        return {(field, label): value for field, label, value in found if label is not None}

    return Contributions(
        tuple(Cleared(s.country, of(s.values), of(s.withheld), s.notes) for s in contributions.summaries)
    )
