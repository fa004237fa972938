"""A module a family of methods; each has its steps in `STEPS`, by the method's name in a plan."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from conformance.step import Way


@cache
def ways() -> dict[str, Way]:
    """How each method of a plan is followed, from every module of this package."""
    found: dict[str, Way] = {}
    for module in iter_modules(__path__):
        found.update(import_module(f"{__name__}.{module.name}").STEPS)
    return found
