"""How long to wait before dialling again: longer each time, never the same for two nodes."""

from __future__ import annotations

from random import Random

FIRST = 0.2
LONGEST = 10.0


class Backoff:
    """Exponential backoff with full jitter, in seconds: uniform between `first` and a bound that doubles.

    Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015 ("full jitter").
    """

    def __init__(self, random: Random, first: float = FIRST, longest: float = LONGEST) -> None:
        self._random = random
        self._first = first
        self._longest = longest
        self._tries = 0

    def next(self) -> float:
        """Seconds to wait now; the bound doubles with each call until `reset`."""
        bound = min(self._longest, self._first * 2.0 ** min(self._tries + 1, 60))
        self._tries += 1
        return self._random.uniform(self._first, max(self._first, bound))

    def reset(self) -> None:
        """The connection held: the next wait is short again."""
        self._tries = 0

    @property
    def tries(self) -> int:
        """Calls of `next` since the last `reset`."""
        return self._tries
