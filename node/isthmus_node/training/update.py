"""What an app answered, held against what it was asked with.

An app's answer may be anything. What does not have the names, shapes and types that were sent, or is no number, is not
taken, and which of these it was is not said: it may depend on a row.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from isthmus.errors import MethodError
from isthmus_methods.contract import Array
from isthmus_training.exchange import EXAMPLES


def check_arrays(given: Mapping[str, Array], sent: Mapping[str, Array]) -> None:
    """Raise `MethodError` unless the arrays are those that were sent, in names, shapes and types, and finite."""
    if list(given) != list(sent):
        raise _not_taken("other arrays than were sent")
    for name, array in given.items():
        if array.shape != sent[name].shape or array.dtype != sent[name].dtype:
            raise _not_taken("an array of another shape or type than was sent")
        if array.size and not (math.isfinite(float(array.min())) and math.isfinite(float(array.max()))):
            raise _not_taken("a number that is not finite")


def measures_of(given: Mapping[str, object], declared: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """The declared measures of an answer, in the order of their names.

    How many rows there were is not the app's to say: that one is left out. Raises `MethodError` for any other.
    """
    measures: dict[str, float] = {}
    for name in sorted(set(given) - {EXAMPLES}):
        value = given[name]
        low, high = declared.get(name, (math.inf, -math.inf))
        # written so that NaN, and what is not declared, does not pass
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise _not_taken("a measure that the app does not declare, or outside of its range")
        measures[name] = float(value)
    return measures


def check_scores(scores: Array | None, rows: int) -> None:
    """Raise `MethodError` unless there are none, or one probability a row."""
    if scores is None:
        return
    if scores.shape != (rows,) or scores.dtype != np.float64 or not bool(np.all((scores >= 0) & (scores <= 1))):
        raise _not_taken("scores that are not one probability a row")


def _not_taken(what: str) -> MethodError:
    return MethodError("APP_ANSWER_NOT_TAKEN", f"the app gave {what}", "tell the app's author")
