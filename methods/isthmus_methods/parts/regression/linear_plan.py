"""A linear model's request, read and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from isthmus.errors import UsageError
from isthmus_methods.contract import Method, OptionRule, Spec, column_name, option
from isthmus_methods.parts.kept import kept_by_request
from isthmus_methods.parts.model_terms import ModelTerms, model_terms

# The first two rounds, and those in the model's own coordinates.
MOST_ROUNDS = 6

OPTIONS: Mapping[str, OptionRule] = {
    "robust": OptionRule("also the variances HC0, HC1 and HC3, robust to unequal variances", False),
    "arm": OptionRule("the factor whose least-squares means are asked for; none without", ""),
    "control": OptionRule("its level that the others are compared with; the reference without", ""),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked of the fit."""

    model: ModelTerms
    robust: bool
    cluster: str  # name of the cluster column; none: ""
    arm: str
    control: str


@kept_by_request
def plan_of(spec: Spec, method: Method) -> Plan:
    """Raises `UsageError` where the arm is no factor of the terms or the control none of its levels."""
    model = model_terms(spec, intercept=True)
    arm, control = str(option(spec, method, "arm")), str(option(spec, method, "control"))
    known = dict(model.factors)
    if arm and arm not in known:
        raise UsageError(
            "ARM_NOT_IN_MODEL",
            f"least-squares means are asked for {arm!r}, which is no factor of the model's terms",
            f"name one of its factors: {', '.join(known) or 'it has none'}",
        )
    if control and control not in known.get(arm, ()):
        raise UsageError(
            "UNKNOWN_LEVEL",
            f"control {control!r} is no level of {arm!r}",
            f"use one of: {', '.join(map(repr, known.get(arm, ())))}",
        )
    cluster = spec.role("cluster")
    return Plan(
        model,
        bool(option(spec, method, "robust")),
        column_name(cluster[0]) if cluster else "",
        arm,
        control or (known[arm][0] if arm else ""),
    )
