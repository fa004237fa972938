"""Memory that a process has done with, given back to the machine: what a large model took is not kept for the next.

All of it does nothing where the C library has no such call (musl, macOS).
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

# Numbers of the C library's: how many heaps it has for threads at most, and from which size on a block is on its own.
_ARENA_MAX, _MMAP_THRESHOLD = -8, -3
_HEAPS, _LARGE = 2, 128 << 10


def few_heaps() -> None:
    """Have all threads share few heaps; called before there are any. By itself each of many threads keeps one."""
    settle = _call("mallopt")
    if settle is not None:
        settle(_ARENA_MAX, _HEAPS)


def large_blocks_apart() -> None:
    """Have large blocks given back as soon as they are free.

    By itself the allocator of glibc raises the size from which it does so up to 32 MiB as it sees large blocks come and
    go, and keeps what is smaller in the heap of each thread: models of many countries would pile up there.
    """
    settle = _call("mallopt")
    if settle is not None:
        settle(_MMAP_THRESHOLD, _LARGE)


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
