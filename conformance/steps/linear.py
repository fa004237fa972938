"""Means: linear models, t tests, analyses of variance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from conformance.case import Step
from conformance.columns import as_text
from conformance.step import Context, Way, as_it_is
from isthmus_client.plan import Plan


def _linear_model(step: Step, context: Context) -> Sequence[Plan]:
    columns = context.columns(step)
    return [
        context.study.lm(
            context.formula(step, columns.column(step["outcome"])),
            robust=True,
            cluster=columns.cluster(step["cluster"]) if step.get("cluster") else None,
            arm=step.get("arm") or None,
            control=as_text(step["control"]) if step.get("arm") else None,
            **context.common(step),
        )
    ]


def _t_test(step: Step, context: Context) -> Sequence[Plan]:
    columns = context.columns(step)
    formula = f"{columns.column(step['outcome'])} ~ {columns.factor(step['arm'])}"
    treated, control = as_text(step["treated"]), as_text(step["control"])
    common = context.common(step, references=False)
    return [context.study.t_test(formula, treated=treated, control=control, **common)]


def _paired(step: Step, context: Context) -> Sequence[Plan]:
    columns, common = context.columns(step), context.common(step, references=False)
    return [context.study.paired_t_test(columns.column(step["first"]), columns.column(step["second"]), **common)]


def _anova(step: Step, context: Context) -> Sequence[Plan]:
    columns = context.columns(step)
    formula = f"{columns.column(step['outcome'])} ~ {columns.factor(step['group'])}"
    return [context.study.anova(formula, **context.common(step, references=False))]


STEPS: Mapping[str, Way] = {
    "linear_model": Way(_linear_model, as_it_is),
    "t_test": Way(_t_test, as_it_is),
    "paired_t_test": Way(_paired, as_it_is),
    "anova": Way(_anova, as_it_is),
}
