"""A method from first round to answer in one process, no node asked: for tests and for rehearsals.

The same turns as over the link, without gate and journal: what it returns is what a region without disclosure
control would get.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping, Sequence
from typing import Any

from isthmus.errors import MethodError
from isthmus_methods.contract import Block, Cleared, Done, Method, Spec, State, Summary, leaving
from isthmus_methods.pooling import pool_round

# Passes over the rows within one round; a method that asks for more does not end.
MAX_PASSES = 200


def summarise(method: Method, blocks: Sequence[Block], spec: Spec, state: State) -> Summary:
    """Inside a country: fold over the blocks and release, as often as the method asks `Again`."""
    local: Any = None
    for _ in range(MAX_PASSES):
        partials = [method.fold(block, spec, state, local) for block in blocks]
        partial = functools.reduce(operator.add, partials) if partials else None
        turn = method.release(partial, spec, state, local)
        if isinstance(turn, Summary):
            undeclared = {item.field for item in turn.items} - set(leaving(method, spec.options))
            if undeclared:
                raise MethodError(
                    "UNDECLARED_FIELD",
                    f"{method.name} gave {', '.join(sorted(undeclared))}; rule: only fields of the request leave",
                    "declare them in `leaves`, and in `leaving` where the method has it",
                )
            return turn
        local = turn.local
    raise MethodError(
        "NOT_CONVERGED",
        f"{method.name} did not converge inside the country in {MAX_PASSES} passes",
        "simplify the model: fewer terms, or merged levels",
    )


def pool_in_process(method: Method, countries: Mapping[str, Sequence[Block]], spec: Spec) -> tuple[Done, int]:
    """The answer over blocks of rows by country, and the number of rounds it took."""
    state: State = {}
    memory: State = {}
    number = 0
    while True:  # ended by `pool_round` at the method's own limit
        number += 1
        summaries = [
            Cleared(
                country,
                {(item.field, item.label): item.value for item in summary.items},
                notes=summary.notes,
            )
            for country, blocks in countries.items()
            for summary in [summarise(method, blocks, spec, state)]
        ]
        turn = pool_round(method, summaries, spec, state, memory, number)
        if isinstance(turn, Done):
            return turn, number
        state, memory = turn.state, turn.memory
