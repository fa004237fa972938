"""A case's answer held against R's, key by key."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from conformance.case import Case, Tolerance

RTOL = 1e-8
ATOL = 1e-12


@dataclass(slots=True)
class Key:
    """One key of the expected answer; the places of a list are one key."""

    key: str
    error: float = 0.0  # largest relative error; infinite where text, null or a number stand against another kind
    missing: bool = False
    failed: bool = False
    worst: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How an answer stands to the expected one; keys that only inform are not in it."""

    keys: tuple[Key, ...] = field(default_factory=tuple)

    @property
    def worst(self) -> Key | None:
        """The key with the largest error of those that are there."""
        return max((k for k in self.keys if not k.missing), key=lambda k: (k.failed, k.error), default=None)

    @property
    def missing(self) -> list[Key]:
        return [k for k in self.keys if k.missing]

    @property
    def failed(self) -> list[Key]:
        """Keys that are missing or off by more than they may be."""
        return [k for k in self.keys if k.failed]


def expected_of(case: Case) -> Any:
    """R's answers."""
    return json.loads((case.folder / "expected.json").read_text(encoding="utf-8"))


def compare(actual: Any, expected: Any, tolerances: Sequence[Tolerance] = (), rtol: float = RTOL) -> Comparison:
    """Hold an answer against the expected one.

    Parameters
    ----------
    actual, expected
        Trees of the same shape. What `actual` has more is nobody's concern.
    tolerances
        The first whose pattern is found in a key path says what it may be off by; otherwise `rtol`. A value passes
        where ``|a - e| <= max(ATOL, rtol |e|)``; null only equals null, text only the same text.

    Returns
    -------
    Comparison
        Places of a list are one key, and so is its length (``key#len``).
    """
    mine = dict(leaves(actual))
    found: dict[str, Key] = {}
    patterns = [(re.compile(rule.pattern), rule.rtol) for rule in tolerances]
    for path, theirs in leaves(expected):
        allowed = next((r for pattern, r in patterns if pattern.search(path)), rtol)
        if allowed is None:
            continue
        key = found.setdefault(name := re.sub(r"\[\d+\]", "[]", path), Key(name))
        if path not in mine:
            key.missing = key.failed = True
            continue
        error, passes = error_of(mine[path], theirs, allowed)
        key.failed = key.failed or not passes
        if error > key.error or not key.worst:
            key.error, key.worst = error, f"{path}: {mine[path]!r}, expected {theirs!r}"
    return Comparison(tuple(found.values()))


def error_of(mine: Any, theirs: Any, rtol: float, atol: float = ATOL) -> tuple[float, bool]:
    """The relative error of a leaf, absolute beside zero, and whether it passes."""
    a, e = _number(mine), _number(theirs)
    if a is None or e is None:
        same = mine == theirs and isinstance(mine, bool) == isinstance(theirs, bool)
        return (0.0, True) if same else (math.inf, False)
    if a == e:
        return 0.0, True
    if not (math.isfinite(a) and math.isfinite(e)):
        return math.inf, False
    off = abs(a - e)
    return (off / abs(e) if e else off), off <= max(atol, rtol * abs(e))


def _number(value: Any) -> float | None:
    if value in ("Inf", "-Inf"):
        return math.inf if value == "Inf" else -math.inf
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Paths and values of a tree's leaves; of a list its length too."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from leaves(value, f"{path}/{key}")
    elif isinstance(tree, Sequence) and not isinstance(tree, str):
        yield f"{path}#len", len(tree)
        for k, value in enumerate(tree):
            yield from leaves(value, f"{path}[{k}]")
    else:
        yield path, tree
