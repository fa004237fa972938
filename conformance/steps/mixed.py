"""Repeated measures and random intercepts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from conformance.case import Step
from conformance.step import Context, Way, as_it_is
from isthmus_client.plan import Plan


def _mmrm(step: Step, context: Context) -> Sequence[Plan]:
    columns = context.columns(step)
    formula = context.formula(step, columns.column(step["outcome"]), factors=(step["visit"], step["arm"] or ""))
    return [
        context.study.mmrm(
            formula,
            visit=columns.factor(step["visit"]),
            subject=columns.column(step["subject"]),
            arm=columns.factor(step["arm"]) if step.get("arm") else None,
            control=step.get("control"),
            **context.common(step),
        )
    ]


def _lmm(step: Step, context: Context) -> Sequence[Plan]:
    columns = context.columns(step)
    return [
        context.study.lmm(
            context.formula(step, columns.column(step["outcome"])),
            group=columns.factor(step["group"]),
            subject=columns.column(step["subject"]) if step.get("subject") else None,
            **context.common(step),
        )
    ]


STEPS: Mapping[str, Way] = {
    "mmrm": Way(_mmrm, as_it_is),
    "lmm_random_intercept": Way(_lmm, as_it_is),
    "lmm_nested": Way(_lmm, as_it_is),
}
