"""Answers compared leaf by leaf, as the runner of reference cases does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from conformance.compare import error_of, leaves as leaves


def differences(actual: Any, expected: Any, tolerance: Callable[[str], float | None], atol: float = 1e-12) -> list[str]:
    """Where `actual` lacks or misses a leaf of `expected`; more in `actual` is no difference."""
    mine = dict(leaves(actual))
    wrong = []
    for path, theirs in leaves(expected):
        allowed = tolerance(path)
        if allowed is None:
            continue
        if path not in mine:
            wrong.append(f"{path}: missing, expected {theirs!r}")
        elif not error_of(mine[path], theirs, allowed, atol)[1]:
            wrong.append(f"{path}: {mine[path]!r}, expected {theirs!r}")
    return wrong
