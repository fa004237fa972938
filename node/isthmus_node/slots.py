"""Release slots: an answer leaves at a whole multiple of the policy's slot after its order came."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from isthmus.recent import RecentMap

# Orders whose arrival is remembered.
_KEPT = 4096
# A slot is missed where the node comes to it later than this share of it; then the next is taken, so often in a row.
_LATE, _MISSED = 0.05, 5


def timer(seconds: float, call: Callable[[], None]) -> None:
    """Call a function after so many seconds, on a thread of its own."""
    started = threading.Timer(seconds, call)
    started.daemon = True
    started.start()


class Slots:
    """Says of each answer whether it has to wait, and has the node look at it again when its slot comes.

    Parameters
    ----------
    seconds
        The policy's slot; 0: nothing waits.
    again
        Called with the task when its slot has come.
    clock
        Monotonic seconds.
    later
        Calls a function after so many seconds.
    """

    def __init__(
        self,
        seconds: Callable[[], float],
        again: Callable[[bytes], None],
        clock: Callable[[], float] = time.monotonic,
        later: Callable[[float, Callable[[], None]], None] = timer,
    ) -> None:
        self._seconds = seconds
        self._again = again
        self._clock = clock
        self._later = later
        self._came: RecentMap[bytes, float] = RecentMap(_KEPT)
        self._due: dict[bytes, tuple[float, int]] = {}

    def came(self, task: bytes) -> None:
        """An order has come; told on the link's thread."""
        if task not in self._came:
            self._came.put(task, self._clock())

    def holds(self, task: bytes) -> bool:
        """Whether the answer to a task has to wait; `again` is called when its slot has come. May be asked any time."""
        slot = self._seconds()
        now = self._clock()
        due, missed = self._due.get(task, (math.inf, -1))
        if slot <= 0 or (due <= now <= due + _LATE * slot) or (due < now and missed >= _MISSED):
            self._due.pop(task, None)
            self._came.pop(task)
            return False
        if due > now and missed >= 0:
            return True
        came = self._came.get(task)
        came = self._came.put(task, now) if came is None else came
        due = came + slot * (math.floor((now - came) / slot) + 1)
        self._due[task] = due, missed + 1
        self._later(due - now, lambda: self._again(task))
        return True
