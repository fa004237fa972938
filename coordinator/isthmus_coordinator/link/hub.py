"""The open streams, one a node: what is to be told to a node waits here until its stream takes it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from isthmus.v1 import exchange_pb2, sealed_pb2, study_pb2
from isthmus_coordinator.clock import Clock

HEARTBEAT_SECONDS = 15.0


@dataclass(slots=True)
class Line:
    """A node's open stream. `None` in the queue ends it."""

    node: str
    software: str
    datasets: tuple[str, ...]
    last_contact: int
    # It co-signs checkpoints of other nodes.
    witnesses: bool = False
    orders: queue.SimpleQueue[exchange_pb2.CoordinatorMessage | None] = field(default_factory=queue.SimpleQueue)
    # Tasks already put into this stream: a task is told once a stream.
    told: set[bytes] = field(default_factory=set)
    replaced: bool = False

    def next(self, seconds: float) -> exchange_pb2.CoordinatorMessage | None:
        """The next order, a heartbeat where there is none for so long, or None where the stream is to end."""
        try:
            return self.orders.get(timeout=seconds)
        except queue.Empty:
            return exchange_pb2.CoordinatorMessage(heartbeat=exchange_pb2.Heartbeat())


class Hub:
    """All open streams. The newest stream of a node is the one that counts."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._lines: dict[str, Line] = {}
        self._changed: Callable[[str], None] | None = None

    def on_change(self, changed: Callable[[str], None]) -> None:
        """Have a function called with the name of every node that attaches or goes."""
        self._changed = changed

    def attach(self, node: str, hello: exchange_pb2.Hello) -> Line:
        """A new stream of a node; an older one ends."""
        line = Line(node, hello.software, tuple(hello.datasets), self._clock(), hello.witnesses)
        with self._lock:
            older = self._lines.get(node)
            self._lines[node] = line
        if older is not None:
            older.replaced = True
            older.orders.put(None)
        self._notify(node)
        return line

    def detach(self, line: Line) -> None:
        """A stream has ended."""
        with self._lock:
            current = self._lines.get(line.node) is line
            if current:
                del self._lines[line.node]
        if current:
            self._notify(line.node)

    def _notify(self, node: str) -> None:
        if self._changed is not None:
            self._changed(node)

    def find(self, node: str) -> Line | None:
        """The node's stream, if it has one."""
        with self._lock:
            return self._lines.get(node)

    def now(self) -> int:
        return self._clock()

    def attached(self, node: str) -> bool:
        return self.find(node) is not None

    def task(self, node: str, digest: bytes, signed: study_pb2.Signed) -> None:
        """Tell a node its task, if it is attached."""
        line = self.find(node)
        if line is not None:
            self.task_on(line, digest, signed)

    def task_on(self, line: Line, digest: bytes, signed: study_pb2.Signed) -> None:
        """Tell a task on a stream, once."""
        with self._lock:
            known = digest in line.told
            line.told.add(digest)
        if not known:
            line.orders.put(exchange_pb2.CoordinatorMessage(task=signed))

    def sealed(self, node: str, step: sealed_pb2.SealedStep) -> None:
        """Tell a node what all have said in a sealed round, if it is attached."""
        line = self.find(node)
        if line is not None:
            self.sealed_on(line, step)

    def sealed_on(self, line: Line, step: sealed_pb2.SealedStep) -> None:
        """Tell a step of a sealed round on a stream, once."""
        name = step.task + step.words[0].context.encode()
        with self._lock:
            known = name in line.told
            line.told.add(name)
        if not known:
            line.orders.put(exchange_pb2.CoordinatorMessage(sealed=step))

    def withdraw(self, node: str, digest: bytes, reason: str) -> None:
        """Tell a node that a task is not wanted any more."""
        line = self.find(node)
        if line is not None:
            withdrawal = exchange_pb2.Withdrawal(task=digest, reason=reason)
            line.orders.put(exchange_pb2.CoordinatorMessage(withdrawal=withdrawal))

    def study(self, node: str, signed: study_pb2.Signed) -> None:
        """Put a study before a node's custodian."""
        line = self.find(node)
        if line is not None:
            line.orders.put(exchange_pb2.CoordinatorMessage(study=signed))

    def witnesses(self) -> set[str]:
        """Names of the nodes that are here and co-sign checkpoints."""
        with self._lock:
            return {node for node, line in self._lines.items() if line.witnesses}

    def tell(self, node: str, message: exchange_pb2.CoordinatorMessage) -> None:
        """Put a message into a node's stream, if it is attached."""
        line = self.find(node)
        if line is not None:
            line.orders.put(message)

    def close(self) -> None:
        """End every stream."""
        with self._lock:
            lines = list(self._lines.values())
        for line in lines:
            line.orders.put(None)
