"""Inverse probability of treatment weighting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from conformance.case import Step
from conformance.columns import as_text
from conformance.step import Context, Way, as_it_is
from isthmus_client.plan import Plan


def _iptw(step: Step, context: Context) -> Sequence[Plan]:
    columns = context.columns(step)
    plan = context.study.iptw(
        context.formula(step, context.surv(step), step["propensity_terms"]),
        treatment=columns.factor(step["treatment"]),
        treated=as_text(step["treated"]),
        stratify_by_country=False,
        times=[float(t) for t in step["times"] or ()],
        tau=float(step["tau"] or 0),
        **context.common(step),
    )
    return [plan]


STEPS: Mapping[str, Way] = {"iptw": Way(_iptw, as_it_is)}
