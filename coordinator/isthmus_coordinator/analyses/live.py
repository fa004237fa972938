"""A run that goes on, an answer on its way into the store, and the way to the nodes: what the rounds work with."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import Protocol

from isthmus.v1 import sealed_pb2, study_pb2
from isthmus_coordinator.analyses.run import Answer, Run
from isthmus_coordinator.analyses.sealed import Gathering


class Orders(Protocol):
    """The way to the nodes. Never waits, never raises: a node that is away gets its tasks when it attaches."""

    def task(self, node: str, digest: bytes, signed: study_pb2.Signed) -> None: ...

    def sealed(self, node: str, step: sealed_pb2.SealedStep) -> None: ...

    def withdraw(self, node: str, digest: bytes, reason: str) -> None: ...

    def attached(self, node: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a node hears of its answer."""

    digest: bytes  # of what is stored
    following: study_pb2.Signed | None = None  # the node's task in the round that this answer opened with others


class Ticket:
    """An answer on its way into the store, and what became of it."""

    __slots__ = ("answer", "error", "receipt", "settled", "task")

    def __init__(self, task: bytes, answer: Answer) -> None:
        self.task = task
        self.answer = answer
        self.settled = threading.Event()
        self.receipt = Receipt(b"")
        self.error: Exception | None = None

    def accept(self, digest: bytes, following: study_pb2.Signed | None = None) -> None:
        self.receipt = Receipt(digest, following)
        self.settled.set()

    def decline(self, error: Exception) -> None:
        self.error = error
        self.settled.set()


class Live:
    """A run that has not ended. `lock` is held for every turn; `changed` wakes those who follow it."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.lock = threading.RLock()
        self.inbox: deque[Ticket] = deque()
        self.changed = threading.Condition()
        self.version = 0
        # Of a training: held while its strategy is asked, which takes longer than a turn may.
        self.asking = threading.Lock()
        # What it was last asked about: once for each moment of the run.
        self.asked_about: Run | None = None
        # Of a sealed study: the words of the open task's round.
        self.gathering: Gathering | None = None
        # Not before this the deadline counts: after a restart nodes need time to come back.
        self.not_before = 0

    def bump(self) -> None:
        with self.changed:
            self.version += 1
            self.changed.notify_all()
