"""Several analyses of the same rows run side by side in the same rounds, as the parts of one method.

Each part is a method with a request of its own. What it lets leave keeps its kind and support, its labels get the
part's name in front; counts that all parts share leave once. A part that has its answer waits for the others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from isthmus_methods.contract import (
    Again,
    Answer,
    Array,
    Block,
    Cleared,
    Contributions,
    Design,
    Done,
    Field,
    Integers,
    Item,
    Kind,
    Next,
    Partial,
    Spec,
    State,
    Summary,
    coefficient_names,
)
from isthmus_methods.parts.model_terms import factors

BETWEEN = "/"
# Where a part's answer is kept while others go on.
ANSWER = "answer"


class Halves(Protocol):
    """What a part needs of a method."""

    @property
    def leaves(self) -> Mapping[str, Field]: ...

    @property
    def notes(self) -> Mapping[str, str]: ...

    def fold(self, block: Block, spec: Spec, state: State, local: Any) -> Partial: ...

    def release(self, partial: Any, spec: Spec, state: State, local: Any) -> Summary | Again: ...

    def pool(self, contributions: Contributions, spec: Spec, state: State, memory: State) -> Next | Done: ...


@dataclass(frozen=True, slots=True)
class Part:
    """One of the analyses."""

    name: str
    method: Halves
    spec: Spec

    def rows(self, block: Block) -> Block:
        """The block with the columns of this part's request."""

        def build() -> Block:
            design = None
            if block.design is not None:
                place = {name: k for k, name in enumerate(block.design.names)}
                names = coefficient_names(self.spec)
                columns = [place[name] for name in names]
                codes = {name: block.design.level_codes[name] for name, _ in factors(self.spec)}
                design = Design(np.ascontiguousarray(block.design.matrix[:, columns]), names, codes)
            return replace(
                block,
                columns={role: block.columns[role] for role in self.spec.roles},
                levels={role: block.levels[role] for role in self.spec.roles},
                design=design,
                _kept={},
            )

        return block.memo(f"rows of {self.name}", build)

    def of(self, tree: Mapping[str, Array]) -> dict[str, Array]:
        """This part's share of a state or memory."""
        start = self.name + BETWEEN
        return {key.removeprefix(start): value for key, value in tree.items() if key.startswith(start)}

    def put(self, tree: State) -> dict[str, Array]:
        return {f"{self.name}{BETWEEN}{key}": value for key, value in tree.items()}


@dataclass(frozen=True, slots=True)
class Together:
    """By part, its partial sums, or how far it is within the country. Adds."""

    parts: Mapping[str, Any]

    def __add__(self, other: Together, /) -> Together:
        return Together({name: part + other.parts[name] for name, part in self.parts.items()})


def going_on(parts: Sequence[Part], state: State) -> list[Part]:
    """Parts that are not done: all in the first round, then those that the state is for."""
    return [part for part in parts if not state or part.of(state)]


# --------------------------------------------------------------------------- inside a country


def fold(parts: Sequence[Part], block: Block, state: State, local: Together | None) -> Together:
    """One block's share of every part that has not released in this round."""
    at = local.parts if local is not None else {}
    return Together(
        {
            part.name: part.method.fold(part.rows(block), part.spec, part.of(state), at.get(part.name))
            for part in going_on(parts, state)
            if not isinstance(at.get(part.name), Summary)
        }
    )


def release(parts: Sequence[Part], partial: Together | None, state: State, local: Together | None) -> Summary | Again:
    """What leaves for all parts, or another pass for those that ask for one."""
    at = dict(local.parts) if local is not None else {}
    here = going_on(parts, state)
    for part in here:
        if isinstance(at.get(part.name), Summary):
            continue
        own = None if partial is None else partial.parts[part.name]
        turn = part.method.release(own, part.spec, part.of(state), at.get(part.name))
        at[part.name] = turn.local if isinstance(turn, Again) else turn
    given = {part.name: at[part.name] for part in here if isinstance(at[part.name], Summary)}
    if len(given) < len(here):
        return Again(Together(at))
    return _joined(here, given)


def _joined(parts: Sequence[Part], given: Mapping[str, Summary]) -> Summary:
    """One summary of all; a count with the same value in every part that has it leaves once, under its own label."""
    counts: dict[tuple[str, str], list[Item]] = {}
    for part in parts:
        for item in given[part.name].items:
            if part.method.leaves[item.field].kind is Kind.COUNT:
                counts.setdefault((item.field, item.label), []).append(item)
    shared = {key for key, items in counts.items() if all(_same(item, items[0]) for item in items)}
    items = [counts[key][0] for key in counts if key in shared]
    for part in parts:
        items += [
            replace(item, label=f"{part.name}{BETWEEN}{item.label}")
            for item in given[part.name].items
            if (item.field, item.label) not in shared
        ]
    notes = frozenset(note for summary in given.values() for note in summary.notes)
    return Summary(tuple(items), notes)


def _same(one: Item, other: Item) -> bool:
    return np.array_equal(one.value, other.value) and one.axes == other.axes


# --------------------------------------------------------------------------- at the coordinator


def pool(parts: Sequence[Part], contributions: Contributions, state: State, memory: State) -> Next | Mapping[str, Done]:
    """Another round, or the answer of every part by its name."""
    next_state: dict[str, Array] = {}
    next_memory: dict[str, Array] = {}
    done: dict[str, Done] = {}
    furthest = Next({})
    for part in parts:
        own = part.of(memory)
        if ANSWER in own:
            done[part.name] = _unpacked(own[ANSWER])
            next_memory |= part.put(own)
            continue
        turn = part.method.pool(_of_part(part, contributions), part.spec, part.of(state), own)
        if isinstance(turn, Done):
            done[part.name] = turn
            next_memory |= part.put({ANSWER: _packed(turn)})
            continue
        next_state |= part.put(turn.state)
        next_memory |= part.put(turn.memory)
        if turn.measured >= furthest.measured:
            furthest = turn
    if len(done) == len(parts):
        return done
    return Next(next_state, next_memory, furthest.measure, furthest.measured)


def _of_part(part: Part, contributions: Contributions) -> Contributions:
    """The summaries as the part's own method would have got them."""
    start = part.name + BETWEEN
    return Contributions(
        tuple(
            Cleared(
                summary.country,
                dict(_unlabelled(summary.values, part, start)),
                dict(_unlabelled(summary.withheld, part, start)),
                frozenset(note for note in summary.notes if note in part.method.notes),
            )
            for summary in contributions.summaries
        )
    )


def _unlabelled(given: Mapping[tuple[str, str], Any], part: Part, start: str) -> list[tuple[tuple[str, str], Any]]:
    """What has the part's name in front, and the counts that parts share."""
    own = [((f, label.removeprefix(start)), x) for (f, label), x in given.items() if label.startswith(start)]
    known = {key for key, _ in own}
    counts = {name for name, field in part.method.leaves.items() if field.kind is Kind.COUNT}
    return own + [(key, x) for key, x in given.items() if key[0] in counts and key not in known]


def _packed(done: Done) -> Array:
    """An answer as numbers: memory holds nothing else."""
    text = json.dumps([done.answer, list(done.caveats)])
    codes: Array = np.frombuffer(text.encode("utf-8"), dtype=np.uint8).astype(np.float64)
    return codes


def _unpacked(codes: Array) -> Done:
    numbers: Integers = codes.astype(np.int64)
    answer: Mapping[str, Answer]
    answer, caveats = json.loads(bytes(numbers.tolist()).decode("utf-8"))
    return Done(answer, tuple(caveats))
