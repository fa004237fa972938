"""The last of what came by: a set that does not grow."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")


class Recent(Generic[K]):
    """Remembers the `most` things that were added, or asked for, last."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[K, None] = OrderedDict()

    def add(self, one: K) -> None:
        self._kept[one] = None
        self._kept.move_to_end(one)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)

    def __contains__(self, one: K) -> bool:
        if one in self._kept:
            self._kept.move_to_end(one)
            return True
        return False
