"""Numbers held against numbers: to the bit, or to 1e-12 where another machine's linear algebra ends in other bits."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from isthmus.errors import ConfigError

# Linear algebra of two platforms differs in the last bits; what differs by more is another number.
TOLERANCE = 1e-12
# No answer is nested so deeply; a file may be.
MAX_DEPTH = 40
Place = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Nearness:
    """How near numbers are to those they should be: equal to the bit, or the largest difference and where it is."""

    largest: float = 0.0  # relative to the larger of the two and 1; infinite where they are no near numbers at all
    where: str = ""

    @property
    def to_the_bit(self) -> bool:
        return not self.where

    @property
    def holds(self) -> bool:
        return self.largest <= TOLERANCE

    def widened(self, where: str, one: float, other: float) -> Nearness:
        """With one more pair of numbers."""
        if _bits(one) == _bits(other):
            return self
        distance = abs(one - other) / max(1.0, abs(one), abs(other))
        if not math.isfinite(distance):
            distance = math.inf
        return Nearness(distance, where) if not self.where or distance > self.largest else self

    def __str__(self) -> str:
        return "to the bit" if self.to_the_bit else f"to 1e-12 (largest difference {self.largest:.1e} at {self.where})"


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place at which two answers are not the same."""

    where: str
    reported: object
    pooled: object


def leaves(answer: object, path: Place = ()) -> Iterator[tuple[Place, object]]:
    """Everything in an answer that is no table and no list, each with its place in it."""
    if len(path) > MAX_DEPTH:
        yield path, "nested too deeply"
    elif isinstance(answer, Mapping):
        for name, value in answer.items():
            yield from leaves(value, (*path, str(name)))
    elif isinstance(answer, Sequence) and not isinstance(answer, str):
        for k, value in enumerate(answer, start=1):
            yield from leaves(value, (*path, f"[{k}]"))
    else:
        yield path, answer


def place_text(place: Place) -> str:
    """A place for people: ``coef/hormon=1/se``, ``time/[3]``."""
    return "/".join(place)


def is_number(value: object) -> bool:
    """A number of an answer; infinities are text there."""
    return value in ("Inf", "-Inf") if isinstance(value, str) else isinstance(value, int | float)


def compare_answers(reported: object, pooled: object) -> Nearness | Difference:
    """Two answers as plain values, place by place.

    Returns
    -------
    Nearness | Difference
        How near the numbers are, where all are within `TOLERANCE` and all else is equal; else the first difference.
    """
    theirs = dict(leaves(reported))
    near = Nearness()
    for place, value in leaves(pooled):
        where = place_text(place)
        if place not in theirs:
            return Difference(where, None, value)
        told = theirs.pop(place)
        if isinstance(value, float) and isinstance(told, float):
            near = near.widened(where, told, value)
            if not near.holds:
                return Difference(where, told, value)
        elif type(value) is not type(told) or value != told:
            return Difference(where, told, value)
    if theirs:
        place, told = next(iter(theirs.items()))
        return Difference(place_text(place), told, None)
    return near


def read_results(path: Path) -> list[Mapping[str, object]]:
    """The results in a file that ``isthmus run -o`` or ``Fit.to_json`` wrote; `ConfigError` ``NO_RESULTS``."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _no_results(path) from error
    results = document.get("results", [document]) if isinstance(document, dict) else None
    if not isinstance(results, list) or not results:
        raise _no_results(path)
    if not all(isinstance(r, dict) and isinstance(r.get("run"), str) and "answer" in r for r in results):
        raise _no_results(path)
    return results


def _no_results(path: Path) -> ConfigError:
    return ConfigError(
        "NO_RESULTS",
        f"{path.name} holds no results",
        "give the result.json that isthmus run -o wrote, or that a result's to_json wrote",
    )


def _bits(number: float) -> bytes:
    return struct.pack("<d", number)
