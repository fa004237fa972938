"""Reads the tree of an answer: numbers, texts and tables by name, with a clear error where something is not there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from isthmus.errors import VersionError
from isthmus_methods.contract import Answer

Tree = Mapping[str, Answer]


def not_there(path: str) -> VersionError:
    """The result lacks something, or holds it in another form: it is of another release, or made up."""
    return VersionError(
        "UNKNOWN_RESULT",
        f"the result holds no {path}, which this version of isthmus expects",
        "use the release of isthmus that the coordinator runs",
    )


def tree(answer: Answer, *path: str) -> Tree:
    """The table at a path; `VersionError` where there is none."""
    for name in path:
        if not isinstance(answer, Mapping) or name not in answer:
            raise not_there("/".join(path))
        answer = answer[name]
    if not isinstance(answer, Mapping):
        raise not_there("/".join(path) or "table")
    return answer


def has(answer: Answer, *path: str) -> bool:
    """Whether something other than null stands at the path."""
    for name in path:
        if not isinstance(answer, Mapping) or answer.get(name) is None:
            return False
        answer = answer[name]
    return answer is not None


def number(answer: Answer, *path: str) -> float | None:
    """The number at a path; None where it is null or not there: not estimable, not reached, withheld."""
    for name in path:
        if not isinstance(answer, Mapping):
            return None
        answer = answer.get(name)
    if isinstance(answer, str):
        # infinities are numbers on the wire, text in the reference files
        return {"Inf": float("inf"), "-Inf": float("-inf")}.get(answer)
    return float(answer) if isinstance(answer, int | float) else None


def count(answer: Answer, *path: str) -> int | None:
    """A whole number."""
    value = number(answer, *path)
    if value is not None and not math.isfinite(value):
        raise not_there(f"{'/'.join(path)} as a whole number")
    return None if value is None else round(value)


def numbers(answer: Answer, *path: str) -> list[float | None]:
    """A list of numbers; empty where it is not there."""
    for name in path:
        if not isinstance(answer, Mapping):
            return []
        answer = answer.get(name)
    if not isinstance(answer, Sequence) or isinstance(answer, str):
        return []
    return [number({"x": item}, "x") for item in answer]


def texts(answer: Answer, *path: str) -> list[str]:
    """A list of texts; empty where it is not there."""
    for name in path:
        if not isinstance(answer, Mapping):
            return []
        answer = answer.get(name)
    if not isinstance(answer, Sequence) or isinstance(answer, str):
        return []
    return [str(item) for item in answer]
