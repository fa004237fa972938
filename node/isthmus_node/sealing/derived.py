"""What the next round has to be asked with: worked out here, from the sums of the rounds before, by the method itself.

So a coordinator cannot choose the states that it asks with. What it could do is have the linear algebra of another
machine round otherwise: that is why equal means to one part in 10^9.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np

from isthmus.errors import Refused
from isthmus.v1 import summary_pb2
from isthmus_methods.codec import state_from_messages
from isthmus_methods.contract import Method, Next, State
from isthmus_methods.pooling import pool_round
from isthmus_methods.sealed_codec import cleared_of
from isthmus_node.admission import Order
from isthmus_node.sealing.round import Summed

# Of the largest number of an array.
TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Derived:
    """The round that may come next in a run; `turn` is None where none may."""

    number: int  # from 1
    turn: Next | None = field(default_factory=lambda: Next({}))


def following(before: Derived, order: Order, summed: Summed) -> Derived:
    """What may be asked after a round was summed. Nothing, where the method is done or cannot go on."""
    method, number = cast(Method, order.method), before.number + 1
    study = order.shelved.study
    spec = replace(order.spec, countries=tuple(p.country for p in study.participants))
    memory: State = before.turn.memory if before.turn is not None else {}
    try:
        cleared = cleared_of(summed.layout, summed.numbers, method, len(study.participants))
        turn = pool_round(method, [cleared], spec, state_of(order.task), memory, before.number)
    except Exception:  # noqa: BLE001 - sums that a hostile country had a part in may break a method in unforeseen ways
        return Derived(number, None)
    return Derived(number, turn if isinstance(turn, Next) else None)


def check_derived(expected: Derived, task: summary_pb2.Task) -> None:
    """Raise `Refused` ``STATE_NOT_DERIVED`` unless a task asks for the round that follows, with the state that does."""
    if expected.turn is not None and task.round == expected.number and _same(expected.turn.state, state_of(task)):
        return
    raise Refused(
        "STATE_NOT_DERIVED",
        f"round {task.round} does not follow from the sums of the rounds before, as this node worked them out; "
        "rule: in a sealed study nobody chooses what a round is asked with",
        "run the analysis again with a coordinator of this release; if it goes on, ask the coordinating team",
    )


def state_of(task: summary_pb2.Task) -> State:
    """What a round is asked with."""
    return state_from_messages(task.state)


def _same(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(_near(one[name], other[name]) for name in one)


def _near(one: np.ndarray, other: np.ndarray) -> bool:
    if one.shape != other.shape:
        return False
    largest = float(np.abs(one).max(initial=0.0))
    return bool(np.all(np.abs(one - other) <= TOLERANCE * largest))
