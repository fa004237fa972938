"""Generalised linear models and negative binomial regression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from conformance.case import Step
from conformance.step import Context, Way, as_it_is
from isthmus_client.plan import Plan
from isthmus_client.results.fit import Fit


def _offset(step: Step, context: Context) -> list[str]:
    offset = step.get("offset")
    if not offset:
        return []
    column = context.columns(step).column(offset["var"])
    return [f"offset({f'log({column})' if offset['transform'] == 'log' else column})"]


def _glm(step: Step, context: Context) -> Sequence[Plan]:
    columns = context.columns(step)
    more = _offset(step, context)
    if step.get("cluster"):
        more.append(f"cluster({columns.cluster(step['cluster'])})")
    formula = context.formula(step, columns.column(step["outcome"]), more=" + ".join(more))
    settings = {"family": step["family"], "link": step["link"], "drop1": True, "robust": True, "null_restarted": True}
    return [context.study.glm(formula, **settings, **context.common(step))]


def _glm_answer(step: Step, fits: Sequence[Fit], context: Context) -> Mapping[str, Any]:
    """With an offset the null deviance of a case is that of R's glm started at its own estimate."""
    answer = fits[0].answer
    restarted = answer.get("null_deviance_restarted")
    return answer if restarted is None else {**answer, "null_deviance": restarted}


def _negative_binomial(step: Step, context: Context) -> Sequence[Plan]:
    outcome = context.columns(step).column(step["outcome"])
    formula = context.formula(step, outcome, more=" + ".join(_offset(step, context)))
    return [context.study.negative_binomial(formula, drop1=True, **context.common(step))]


STEPS: Mapping[str, Way] = {
    "glm": Way(_glm, _glm_answer),
    "negative_binomial": Way(_negative_binomial, as_it_is),
}
