"""Tasks that wait for a person at the site while the node runs: kept at hand, shown to him, told on the link."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from isthmus.errors import WaitingForApproval
from isthmus.v1 import study_pb2, summary_pb2
from isthmus_node.custodian.decisions import request_digest
from isthmus_node.custodian.held import HeldAnswers
from isthmus_node.ops.logs import Log
from isthmus_node.waiting_room import WaitingRoom

# The most that are kept; the coordinator asks again for the others.
KEPT = 2048


class Waiting:
    """What waits now. Of the working thread, but for its length.

    Parameters
    ----------
    room, held
        Where the custodian sees what is asked, and what is computed and held.
    tell
        Tells the coordinator that a task waits, and for what.
    """

    def __init__(self, room: WaitingRoom, held: HeldAnswers, log: Log, tell: Callable[[bytes, str], None]) -> None:
        self._room = room
        self._held = held
        self._log = log
        self._tell = tell
        self._tasks: dict[bytes, tuple[summary_pb2.Task, study_pb2.Signed]] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def orders(self) -> Sequence[study_pb2.Signed]:
        """What waits, as the coordinator signed it, in the order in which it came."""
        return [signed for _, signed in self._tasks.values()]

    def has_study(self, study_digest: bytes) -> bool:
        """Whether a task of this study waits."""
        return any(task.study_digest == study_digest for task, _ in self._tasks.values())

    def keep(self, name: bytes, task: summary_pb2.Task, signed: study_pb2.Signed, wait: WaitingForApproval) -> None:
        """A task waits."""
        if name not in self._tasks and len(self._tasks) >= KEPT:
            # asked again later by the coordinator; a flood of them must not fill memory and disk
            return
        self._room.put(task, wait.code)
        if name not in self._tasks:
            self._log.event(
                "task-waiting",
                task=name.hex(),
                run=task.run.hex(),
                round=task.round,
                study=task.study_digest.hex(),
                request=request_digest(task).hex(),
                code=wait.code,
            )
        self._tasks[name] = (task, signed)
        self._tell(name, wait.code)

    def drop(self, name: bytes) -> None:
        """A task waits no more: it is answered, or not wanted."""
        self._held.take(name)
        kept = self._tasks.pop(name, None)
        if kept is not None:
            self._room.take(kept[0], (task for task, _ in self._tasks.values()))

    def forget(self) -> None:
        """A new connection: the coordinator says again what it still wants."""
        self._tasks.clear()
        self._room.clear()
        self._held.clear()
