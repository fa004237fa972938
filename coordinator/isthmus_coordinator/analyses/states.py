"""The state machine of an analysis, as one literal mapping."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from isthmus.errors import Refused


class State(StrEnum):
    """Where a run stands; the words are those of the contract."""

    WAITING = "waiting"  # a custodian has still to approve the study
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Event(StrEnum):
    """What can happen to a run."""

    APPROVED = "every participant has approved the study"
    ANSWERED = "countries answered, others are still to answer"
    POOLED = "every country answered, and the method wants another round"
    LEFT_OUT = "it goes on without a country"
    BEGUN_AGAIN = "a node lost its part in a sealed round, and all begin again"
    FINISHED = "every country answered, and the method is done"
    BROKE_OFF = "a refusal, a missing country or the method ended it"
    CANCELLED = "an analyst cancelled it"


TRANSITIONS: Mapping[tuple[State, Event], State] = {
    (State.WAITING, Event.APPROVED): State.RUNNING,
    (State.WAITING, Event.LEFT_OUT): State.WAITING,
    (State.WAITING, Event.BROKE_OFF): State.FAILED,
    (State.WAITING, Event.CANCELLED): State.CANCELLED,
    (State.RUNNING, Event.ANSWERED): State.RUNNING,
    (State.RUNNING, Event.POOLED): State.RUNNING,
    (State.RUNNING, Event.LEFT_OUT): State.RUNNING,
    (State.RUNNING, Event.BEGUN_AGAIN): State.RUNNING,
    (State.RUNNING, Event.FINISHED): State.DONE,
    (State.RUNNING, Event.BROKE_OFF): State.FAILED,
    (State.RUNNING, Event.CANCELLED): State.CANCELLED,
}

FINAL = frozenset({State.DONE, State.FAILED, State.CANCELLED})


def transition_allowed(state: State, event: Event) -> bool:
    """Whether the event can happen in that state."""
    return (state, event) in TRANSITIONS


def check_transition(state: State, event: Event) -> State:
    """The state that follows; `Refused` ``RUN_CLOSED`` where the event cannot happen any more."""
    if not transition_allowed(state, event):
        raise Refused(
            "RUN_CLOSED",
            f"the run is {state}; rule: then this is not possible: {event}",
            "look at its result, or start a new run",
        )
    return TRANSITIONS[state, event]
