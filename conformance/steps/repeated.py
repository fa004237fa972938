"""Ordered outcomes, and outcomes measured several times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from conformance.case import Step
from conformance.step import Context, Way, as_it_is
from isthmus_client.plan import Plan


def _ordinal(step: Step, context: Context) -> Sequence[Plan]:
    outcome = context.columns(step).factor(step["outcome"])
    return [context.study.ordinal(context.formula(step, outcome), **context.common(step))]


def _gee(step: Step, context: Context) -> Sequence[Plan]:
    columns = context.columns(step)
    formula = context.formula(step, columns.column(step["outcome"]))
    cluster = columns.column(step["subject"])
    return [context.study.gee(formula, family=step["family"], cluster=cluster, **context.common(step))]


STEPS: Mapping[str, Way] = {"ordinal": Way(_ordinal, as_it_is), "gee": Way(_gee, as_it_is)}
