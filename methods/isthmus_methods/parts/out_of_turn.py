"""Errors of a country's half that is asked what does not follow from what it was asked before."""

from __future__ import annotations

from isthmus.errors import MethodError


def wrong_state() -> MethodError:
    return MethodError(
        "WRONG_STATE", "the coordinator sent a state that is not this model's", "start the analysis anew"
    )


def wrong_pass() -> MethodError:
    return MethodError("WRONG_PASS", "a pass over the rows does not follow the one before it", "report this")
