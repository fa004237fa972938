"""Strategies by name, made from their arguments. Runs in the strategy's process alone: it imports Flower."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from isthmus_training.flower import STRATEGIES, Strategy


class NotMade(Exception):
    """A plan cannot be carried out: a fixed code, what of the plan it is about, and the names it could have been."""

    def __init__(self, code: str, name: str, known: Sequence[str] = ()) -> None:
        super().__init__(code)
        self.code, self.name, self.known = code, name, tuple(known)


def make(plan: Mapping[str, Any], allowed: Sequence[str]) -> Strategy:
    """The strategy of a plan, with those it wraps.

    Parameters
    ----------
    plan
        ``name``, ``arguments`` by name, and ``wraps``: such a plan, or None.
    allowed
        Strategies beside Flower's own, as ``package.module:Class``: the coordinator's settings name them.

    Raises
    ------
    NotMade
        ``UNKNOWN_STRATEGY``, ``UNKNOWN_ARGUMENT``, ``MISSING_ARGUMENT``, ``NOTHING_TO_WRAP``, ``WRAPS_NOTHING``,
        ``WRONG_ARGUMENTS``.
    """
    name = plan["name"]
    kind = _found(name, allowed)
    parameters = dict(inspect.signature(kind).parameters)
    wraps = parameters.pop("strategy", None) is not None
    if wraps != (plan["wraps"] is not None):
        raise NotMade("NOTHING_TO_WRAP" if wraps else "WRAPS_NOTHING", name)
    given = {key: list(v) if isinstance(v, tuple) else v for key, v in plan["arguments"].items()}
    for key in given:
        if key not in parameters:
            raise NotMade("UNKNOWN_ARGUMENT", key, sorted(parameters))
    for key, parameter in parameters.items():
        named = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        if named and parameter.default is parameter.empty and key not in given:
            raise NotMade("MISSING_ARGUMENT", key)
    if wraps:
        given["strategy"] = make(plan["wraps"], allowed)
    try:
        return kind(**given)
    except Exception as error:
        raise NotMade("WRONG_ARGUMENTS", name) from error


def _found(name: str, allowed: Sequence[str]) -> type[Strategy]:
    if name in STRATEGIES:
        return STRATEGIES[name]
    if name not in allowed:
        raise NotMade("UNKNOWN_STRATEGY", name, [*STRATEGIES, *allowed])
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except Exception as error:
        raise NotMade("UNKNOWN_STRATEGY", name, [*STRATEGIES]) from error
    if not inspect.isclass(found) or not issubclass(found, Strategy):
        raise NotMade("UNKNOWN_STRATEGY", name, [*STRATEGIES])
    return found
