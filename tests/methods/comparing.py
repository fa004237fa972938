"""Answers compared leaf by leaf."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from leaves(value, f"{path}/{key}")
    elif isinstance(tree, list | tuple):
        yield f"{path}#len", len(tree)
        for k, value in enumerate(tree):
            yield from leaves(value, f"{path}[{k}]")
    else:
        yield path, tree


def number(value: Any) -> float | None:
    if value in ("Inf", "-Inf"):
        return math.inf if value == "Inf" else -math.inf
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


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
            continue
        x, y = number(mine[path]), number(theirs)
        if x is None or y is None:
            same = mine[path] == theirs
        else:
            same = x == y or abs(x - y) <= max(atol, allowed * abs(y))
        if not same:
            wrong.append(f"{path}: {mine[path]!r}, expected {theirs!r}")
    return wrong
