"""How much memory processes take, with those they started: looked at many times a second while something runs."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

PAUSE = 0.02


def megabytes(pid: int) -> tuple[float, float]:
    """Resident memory of a process, and of all below it together, in MB; 0 where there is none."""
    own, *below = _tree(pid) or [0.0]
    return own, sum(below)


def _tree(pid: int, above: bytes = b"") -> list[float]:
    """Of a process, then of those that it started and of theirs."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
        # a process may be started by any thread
        children = [p.read_text(encoding="ascii") for p in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:
        return []  # it ended meanwhile
    if command == above:
        return []  # a copy, for a moment, of the one that starts it: the memory is the same
    own = next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")), 0) / 1024
    return [own, *(value for text in children for child in text.split() for value in _tree(int(child), command))]


class Watched:
    """The most that each of some processes takes itself, and those it started, while the block runs, in MB."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = dict(pids)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.most = {name: megabytes(pid) for name, pid in self._pids.items()}

    def _look(self) -> None:
        while not self._over.wait(PAUSE):
            for name, pid in self._pids.items():
                own, below = megabytes(pid)
                self.most[name] = max(self.most[name][0], own), max(self.most[name][1], below)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
