"""The last of what came by: a map, and a set, that do not grow."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class RecentMap(Generic[K, V]):
    """Keeps the values of the `most` keys that were put in, or asked for, last. Has no lock of its own."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        """The value, which counts as asked for; None where there is none, or none any more."""
        if key not in self._kept:
            return None
        self._kept.move_to_end(key)
        return self._kept[key]

    def put(self, key: K, value: V) -> V:
        """Keep a value, which it gives back; the one asked for longest ago may go."""
        self._kept[key] = value
        self._kept.move_to_end(key)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return value

    def pop(self, key: K) -> V | None:
        """Forget a key; its value, None where there is none."""
        return self._kept.pop(key, None)

    def clear(self) -> None:
        self._kept.clear()

    def __contains__(self, key: K) -> bool:
        """Whether a key is kept; it counts as asked for."""
        if key not in self._kept:
            return False
        self._kept.move_to_end(key)
        return True

    def __iter__(self) -> Iterator[K]:
        return iter(tuple(self._kept))

    def __len__(self) -> int:
        return len(self._kept)


class Recent(Generic[K]):
    """Remembers the `most` things that were added, or asked for, last."""

    def __init__(self, most: int) -> None:
        self._kept: RecentMap[K, None] = RecentMap(most)

    def add(self, one: K) -> None:
        self._kept.put(one, None)

    def __contains__(self, one: K) -> bool:
        return one in self._kept
