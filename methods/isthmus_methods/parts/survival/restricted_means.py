"""Two restricted means of a Kaplan-Meier answer compared: from the answer alone, no rows."""

from __future__ import annotations

import math
from collections.abc import Mapping

from isthmus.errors import UsageError
from isthmus_methods.contract import Answer
from isthmus_methods.parts.survival.curve import compared


def rmst_difference(answer: Mapping[str, Answer], group: str, treated: str, control: str) -> dict[str, Answer]:
    """Difference and ratio of two restricted means of a Kaplan-Meier answer, with normal 95 % limits.

    Parameters
    ----------
    answer
        The answer of `kaplan_meier` with `tau` set.
    group, treated, control
        Two levels of a `by` variable.

    Returns
    -------
    dict
        tau; difference (in the unit of time) with se, z, p, limits; ratio with the standard error of its logarithm.

    Raises
    ------
    UsageError
        Where the answer has no such subgroup or no restricted mean.

    Source: Royston and Parmar (2013); the ratio by the delta method on the log scale.
    """
    means: list[tuple[float, float]] = []
    tau: Answer = None
    for level in (treated, control):
        subgroup = answer.get(f"{group}={level}")
        mean = subgroup.get("rmst") if isinstance(subgroup, Mapping) else None
        if not isinstance(mean, Mapping):
            raise UsageError(
                "NO_RESTRICTED_MEAN",
                f"the answer has no restricted mean for {group}={level}",
                f"ask for kaplan_meier by {group} with tau set, over rows that have this level",
            )
        tau = mean["tau"]
        means.append((float(str(mean["estimate"])), float(str(mean["se"]))))
    (e1, s1), (e0, s0) = means
    return {
        "tau": tau,
        "difference": compared(e1 - e0, math.hypot(s1, s0), "se", ratio=False),
        "ratio": compared(math.log(e1 / e0), math.hypot(s1 / e1, s0 / e0), "se_log", ratio=True)
        if e1 > 0 and e0 > 0
        else None,
    }
