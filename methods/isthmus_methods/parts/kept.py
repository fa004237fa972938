"""What was read from the latest requests: a round reads its request anew in every half and pass."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from isthmus_methods.contract import Spec

MOST = 16
T = TypeVar("T")
P = ParamSpec("P")


def kept_by_request(read: Callable[Concatenate[Spec, P], T]) -> Callable[Concatenate[Spec, P], T]:
    """`read`, done once for the same request (the same object, not an equal one) and the same further arguments."""
    known: dict[tuple[int, ...], tuple[tuple[object, ...], T]] = {}

    @functools.wraps(read)
    def reading(spec: Spec, /, *args: P.args, **kwargs: P.kwargs) -> T:
        given = (spec, *args, *kwargs.items())
        key = (id(spec), *map(id, args), *(id(value) for value in kwargs.values()))
        before = known.get(key)
        if before is not None:
            return before[1]
        found = read(spec, *args, **kwargs)
        if len(known) >= MOST:
            known.clear()
        # what was given is kept with what was read, so that its numbers are nobody else's
        known[key] = (given, found)
        return found

    return reading
