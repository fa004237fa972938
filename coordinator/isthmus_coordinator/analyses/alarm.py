"""Wakes somebody up at given times: one thread that sleeps until the next one."""

from __future__ import annotations

import heapq
import logging
import threading
from collections.abc import Callable

from isthmus_coordinator.clock import SECOND, Clock

# Looks up at least this often, in seconds: the machine's clock may have been set.
LOOK_UP = 30.0

log = logging.getLogger(__name__)


class Alarm:
    """Calls `ring` at or after each time that was set, and at every look up; never from two threads at once."""

    def __init__(self, clock: Clock, ring: Callable[[], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._times: list[int] = []
        self._changed = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._watch, name="deadlines", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread; returns once it has ended."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    def set(self, at: int) -> None:
        """Ring at that time, UTC nanoseconds."""
        with self._changed:
            heapq.heappush(self._times, at)
            if self._times[0] == at:
                self._changed.notify_all()

    def _watch(self) -> None:
        while self._wait():
            try:
                self._ring()
            except Exception:
                # a deadline that could not be dealt with now is dealt with at the next look up
                log.exception("deadline_failed")

    def _wait(self) -> bool:
        with self._changed:
            seconds = LOOK_UP
            if self._times:
                seconds = min(seconds, max(0.0, (self._times[0] - self._clock()) / SECOND))
            if not self._stopped:
                self._changed.wait(seconds)
            while self._times and self._times[0] <= self._clock():
                heapq.heappop(self._times)
            return not self._stopped
