"""Memory that a process has done with, given back to the machine: what a large model took is not kept for the next.

Both do nothing where the C library has no such call (musl, macOS).
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

# A number of the C library's: how many heaps it has for threads at most.
_ARENA_MAX = -8
_HEAPS = 2


def few_heaps() -> None:
    """Have all threads share few heaps; called before there are any. By itself each of many threads keeps one."""
    settle = _call("mallopt")
    if settle is not None:
        settle(_ARENA_MAX, _HEAPS)


def give_back() -> None:
    """Have the C library give back what is free in it."""
    trim = _call("malloc_trim")
    if trim is not None:
        trim(0)


@cache
def _call(name: str) -> Any:
    try:
        return getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError, TypeError):
        return None
