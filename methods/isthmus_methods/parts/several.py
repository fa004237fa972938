"""Several analyses of the same rows run side by side in the same rounds, as the parts of one method.

Each part has a request of its own, and its own state and memory under its name. What it lets leave keeps its kind and
support, its labels get the part's name in front; counts that all parts share may leave once. A part that has its answer
waits for the others.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from isthmus_methods.contract import (
    Again,
    Answer,
    Array,
    Block,
    Contributions,
    Design,
    Done,
    Integers,
    Item,
    Next,
    Spec,
    State,
    Summary,
    coefficient_names,
)
from isthmus_methods.parts.model_terms import factors

# Where a part's answer is kept while others go on.
ANSWER = "answer"


class Half(Protocol):
    """What runs inside a country: a method, or a part of one."""

    def fold(self, block: Block, spec: Spec, state: State, local: Any) -> Any: ...

    def release(self, partial: Any, spec: Spec, state: State, local: Any) -> Summary | Again: ...


class Whole(Half, Protocol):
    """Both halves."""

    def pool(self, contributions: Contributions, spec: Spec, state: State, memory: State) -> Next | Done: ...


H_co = TypeVar("H_co", bound=Half, covariant=True)


def as_it_is(block: Block) -> Block:
    return block


@dataclass(frozen=True, slots=True)
class Part(Generic[H_co]):
    """One of the analyses: its name, how it is done, its own request, and its rows from those of the whole request."""

    name: str
    method: H_co
    spec: Spec
    rows: Callable[[Block], Block] = as_it_is
    leaves_out: frozenset[str] = frozenset()  # fields that the whole request has already


@dataclass(frozen=True, slots=True)
class Together:
    """By part, its partial sums, or how far it is within the country. Adds."""

    parts: Mapping[str, Any]

    def __add__(self, other: Together, /) -> Together:
        return Together({name: part + other.parts[name] for name, part in self.parts.items()})


def columns_of(name: str, spec: Spec) -> Callable[[Block], Block]:
    """The rows of a part that has fewer columns than the whole request: `Part.rows`."""

    def rows(block: Block) -> Block:
        def build() -> Block:
            design = None
            if block.design is not None:
                place = {column: k for k, column in enumerate(block.design.names)}
                names = coefficient_names(spec)
                codes = {factor: block.design.level_codes[factor] for factor, _ in factors(spec)}
                columns = [place[column] for column in names]
                design = Design(np.ascontiguousarray(block.design.matrix[:, columns]), names, codes)
            return replace(
                block,
                columns={role: block.columns[role] for role in spec.roles},
                levels={role: block.levels[role] for role in spec.roles},
                design=design,
                _kept={},
            )

        return block.memo(f"rows of {name}", build)

    return rows


# --------------------------------------------------------------------------- names


def part_of(tree: State, name: str) -> dict[str, Array]:
    """One part's own share of a state or memory."""
    return {key.removeprefix(f"{name}/"): value for key, value in tree.items() if key.startswith(f"{name}/")}


def as_part(tree: State, name: str) -> dict[str, Array]:
    """The opposite of `part_of`."""
    return {f"{name}/{key}": value for key, value in tree.items()}


def contributed(contributions: Contributions, name: str, shared: Collection[str] = ()) -> Contributions:
    """What the countries gave of one part, under its own labels. `shared` : as in `release`."""
    start = f"{name}/"

    def of(fields: Mapping[tuple[str, str], Any]) -> dict[tuple[str, str], Any]:
        everyone = {key: value for key, value in fields.items() if key[0] in shared}
        own = {(f, label.removeprefix(start)): x for (f, label), x in fields.items() if label.startswith(start)}
        return {**everyone, **own}

    return Contributions(
        tuple(replace(s, values=of(s.values), withheld=of(s.withheld)) for s in contributions.summaries)
    )


def going_on(parts: Sequence[Part[H_co]], state: State) -> list[Part[H_co]]:
    """Parts that are not done: all in the first round, then those that the state is for."""
    return [part for part in parts if not state or part_of(state, part.name)]


# --------------------------------------------------------------------------- inside a country


def fold(parts: Sequence[Part[Half]], block: Block, state: State, local: Together | None) -> Together:
    """One block's share of every part that has not released in this round."""
    at = local.parts if local is not None else {}
    return Together(
        {
            part.name: part.method.fold(part.rows(block), part.spec, part_of(state, part.name), at.get(part.name))
            for part in parts
            if not isinstance(at.get(part.name), Summary)
        }
    )


def release(
    parts: Sequence[Part[Half]],
    partial: Together | None,
    state: State,
    local: Together | None,
    shared: Collection[str] = (),
) -> Summary | Again:
    """What leaves for all parts, or another pass for those that ask for one.

    `shared` : fields that leave once, under their own label, where every part that has them has the same value.
    """
    at = dict(local.parts) if local is not None else {}
    for part in parts:
        if not isinstance(at.get(part.name), Summary):
            own = None if partial is None else partial.parts[part.name]
            turn = part.method.release(own, part.spec, part_of(state, part.name), at.get(part.name))
            at[part.name] = turn.local if isinstance(turn, Again) else turn
    given = {part.name: at[part.name] for part in parts if isinstance(at[part.name], Summary)}
    return _joined(parts, given, shared) if len(given) == len(parts) else Again(Together(at))


def _joined(parts: Sequence[Part[Half]], given: Mapping[str, Summary], shared: Collection[str]) -> Summary:
    """One summary of all."""
    counts: dict[tuple[str, str], list[Item]] = {}
    for part in parts:
        for item in given[part.name].items:
            if item.field in shared:
                counts.setdefault((item.field, item.label), []).append(item)
    once = {key: items[0] for key, items in counts.items() if all(_same(item, items[0]) for item in items)}
    items = list(once.values())
    for part in parts:
        items += [
            replace(item, label=f"{part.name}/{item.label}")
            for item in given[part.name].items
            if (item.field, item.label) not in once and item.field not in part.leaves_out
        ]
    return Summary(tuple(items), frozenset(note for summary in given.values() for note in summary.notes))


def _same(one: Item, other: Item) -> bool:
    return np.array_equal(one.value, other.value) and one.axes == other.axes


# --------------------------------------------------------------------------- at the coordinator


def pool(
    parts: Sequence[Part[Whole]],
    contributions: Contributions,
    state: State,
    memory: State,
    shared: Collection[str] = (),
) -> Next | Mapping[str, Done]:
    """Another round, or the answer of every part by its name."""
    next_state: dict[str, Array] = {}
    next_memory: dict[str, Array] = {}
    done: dict[str, Done] = {}
    furthest = Next({})
    for part in parts:
        own = part_of(memory, part.name)
        if ANSWER in own:
            done[part.name] = _unpacked(own[ANSWER])
            next_memory |= as_part(own, part.name)
            continue
        given = contributed(contributions, part.name, shared)
        turn = part.method.pool(given, part.spec, part_of(state, part.name), own)
        if isinstance(turn, Done):
            done[part.name] = turn
            next_memory |= as_part({ANSWER: _packed(turn)}, part.name)
            continue
        next_state |= as_part(turn.state, part.name)
        next_memory |= as_part(turn.memory, part.name)
        if turn.measured >= furthest.measured:
            furthest = turn
    if len(done) == len(parts):
        return done
    return Next(next_state, next_memory, furthest.measure, furthest.measured)


def _packed(done: Done) -> Array:
    """An answer as numbers: memory holds nothing else."""
    no_news = {code: sorted(countries) for code, countries in done.no_news.items()}
    text = json.dumps([done.answer, list(done.caveats), no_news])
    codes: Array = np.frombuffer(text.encode("utf-8"), dtype=np.uint8).astype(np.float64)
    return codes


def _unpacked(codes: Array) -> Done:
    numbers: Integers = codes.astype(np.int64)
    answer: Mapping[str, Answer]
    answer, caveats, no_news = json.loads(bytes(numbers.tolist()).decode("utf-8"))
    return Done(answer, tuple(caveats), no_news={code: frozenset(countries) for code, countries in no_news.items()})
