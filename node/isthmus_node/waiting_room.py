"""Requests that wait for the custodian, one file each, for the command line to show and to decide on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from isthmus.errors import IsthmusError
from isthmus.v1 import summary_pb2
from isthmus_node.custodian.decisions import REQUEST, RUN, request_digest, run_digest
from isthmus_trust.documents import canonical, read_canonical
from isthmus_trust.key_files import replace

# What a task waits for that the custodian decides by its digest: an analysis outside a plan, or one run.
_ASKED = {"REQUEST_NOT_DECIDED": (REQUEST, request_digest), "RUN_NOT_DECIDED": (RUN, run_digest)}
_SUFFIX = {REQUEST: ".pb", RUN: ".run.pb"}


@dataclass(frozen=True, slots=True)
class Asked:
    """What the custodian is asked: a task, and the digest and kind of the decision about it."""

    digest: bytes
    context: str
    task: summary_pb2.Task

    @property
    def title(self) -> str:
        """E.g. ``cox outside the plan``, ``run 0123456789ab of primary``."""
        what = self.task.analysis or f"{self.task.spec.method} outside the plan"
        return what if self.context == REQUEST else f"run {self.task.run.hex()[:12]} of {what}"


class WaitingRoom:
    """The folder of what waits."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, task: summary_pb2.Task, code: str) -> None:
        """Show a task to the custodian, where it waits for a decision about itself and not about its study."""
        asked = _ASKED.get(code)
        if asked is not None:
            context, name = asked
            path = self._path(context, name(task))
            if not path.exists():
                replace(path, canonical(task))

    def take(self, task: summary_pb2.Task, others: Iterable[summary_pb2.Task]) -> None:
        """A task waits no more; what another one waits for too stays."""
        waiting = list(others)
        for context, name in _ASKED.values():
            if all(name(other) != name(task) for other in waiting):
                self._path(context, name(task)).unlink(missing_ok=True)

    def clear(self) -> None:
        """Nothing waits any more."""
        for path in self._folder.glob("*.pb"):
            path.unlink(missing_ok=True)

    def everything(self) -> Iterator[Asked]:
        """What waits. What is decided on is what was read, whatever its file is called."""
        for path in sorted(self._folder.glob("*.pb")):
            try:
                task = read_canonical(path.read_bytes(), summary_pb2.Task)
            except (OSError, IsthmusError):
                # the running node took it away in between
                continue
            context = RUN if path.name.endswith(_SUFFIX[RUN]) else REQUEST
            yield Asked(run_digest(task) if context == RUN else request_digest(task), context, task)

    def _path(self, context: str, digest: bytes) -> Path:
        return self._folder / f"{digest.hex()}{_SUFFIX[context]}"
