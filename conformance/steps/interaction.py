"""Interaction of an effect with country."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from conformance.case import Step
from conformance.step import Context, Way, as_it_is
from isthmus_client.plan import Plan


def _interaction(step: Step, context: Context) -> Sequence[Plan]:
    arm, country = step["arm"], step["country"]
    terms = [*step["covariates"], country, arm, f"{country}:{arm}"]
    left = context.surv(step) if step["model"] == "cox" else context.columns(step).column(step["outcome"])
    formula = context.formula(step, left, terms, factors=(arm,))
    return [context.study.interaction(formula, model=step["model"], **context.common(step))]


STEPS: Mapping[str, Way] = {"interaction": Way(_interaction, as_it_is)}
