"""How coarse numbers leave once every rule has let them: counts as multiples of a number, measures with few digits.

A count is rounded for itself, so that totals, which others add up, are of rounded parts. What sums are over stays exact
beside them: they hold it in any case (the first of a model's products is the number of its rows), and a mean over a
rounded number would be another mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import ArrayLike

from isthmus_methods.contract import Array, Field, Integers, Kind
from isthmus_node.egress.thresholds import Limits
from isthmus_node.egress.update_rules import trains


def as_they_leave(
    values: Mapping[tuple[str, str], Array | Integers], leaves: Mapping[str, Field], limits: Limits
) -> dict[tuple[str, str], Array | Integers]:
    """Values by field and label, as coarse as the policy has them for the purpose.

    Parameters
    ----------
    values
        What no rule withheld.
    leaves
        The fields that the request declares, by name.

    Source: counts, OpenSAFELY (rounding to 5).
    """
    summed = [label for name, label in values if leaves[name].kind is not Kind.COUNT]
    step = step_of(leaves, limits)
    coarse = dict(values)
    for (name, label), value in values.items():
        declared = leaves[name]
        if declared.kind is Kind.METRIC:
            coarse[name, label] = _fixed([float(f"{x:.{limits.metric_digits}g}") for x in value.reshape(-1)], value)
        elif declared.kind is Kind.COUNT and not (declared.divides and _are_over(label, summed)):
            coarse[name, label] = _fixed((value.astype(np.int64) + step // 2) // step * step, value)
    return coarse


def step_of(leaves: Mapping[str, Field], limits: Limits) -> int:
    """What counts are multiples of; 1: they leave as they are. A training's have a number of their own."""
    return limits.examples_rounding if trains(leaves) else limits.count_rounding


def _are_over(label: str, summed: Iterable[str]) -> bool:
    """Whether there are sums of the same label; a count without a label, or of a part (``part/``), is of all in it."""
    return any(other.startswith(label) if label.endswith("/") else label in ("", other) for other in summed)


def _fixed(numbers: ArrayLike, of: Array | Integers) -> Array | Integers:
    """Numbers in the shape of others, which nobody can change any more."""
    made = np.array(numbers).reshape(of.shape)
    made.setflags(write=False)
    return made
