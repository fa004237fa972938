"""Counts by arm: cross-tables, association within strata, adverse events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from conformance.case import Step
from conformance.columns import Columns, as_text
from conformance.step import Context, Way, as_it_is
from isthmus_client.plan import Plan
from isthmus_client.results.fit import Fit


def _two_arms(step: Step, context: Context) -> Sequence[Plan]:
    columns, common = context.columns(step), context.common(step, references=False)
    treated, control = (as_text(step[name]) for name in ("treated", "control"))
    happened = columns.is_event(step["column"], step["event"])
    return [context.study.crosstab(columns.factor(step["row"]), happened, treated=treated, control=control, **common)]


def _crossed(step: Step, context: Context) -> Sequence[Plan]:
    columns, common = context.columns(step), context.common(step, references=False)
    row, column = (columns.factor(step[key]) for key in ("row", "column"))
    return [context.study.crosstab(row, column, fisher=bool(step["fisher"]), **common)]


def _within(step: Step, context: Context) -> Sequence[Plan]:
    columns, common = context.columns(step), context.common(step, references=False)
    treated, control = (as_text(step[name]) for name in ("treated", "control"))
    happened = columns.is_event(step["outcome"], step["event"])
    strata = columns.factor(step["strata"])
    return [
        context.study.cmh(
            columns.factor(step["arm"]), happened, strata=strata, treated=treated, control=control, **common
        )
    ]


def _general(step: Step, context: Context) -> Sequence[Plan]:
    columns, common = context.columns(step), context.common(step, references=False)
    row, column, strata = (columns.factor(step[key]) for key in ("row", "column", "strata"))
    return [context.study.cmh(row, column, strata=strata, **common)]


def _adverse_events(step: Step, context: Context) -> Sequence[Plan]:
    columns, common = context.columns(step), context.common(step, references=False)
    of_events = Columns(context.case, {**step, "where": step["events_where"], "table": step["events_table"]})
    subsets = {name: of_events.filter(chosen) or "" for name, chosen in step["subsets"].items()}
    return [
        context.study.safety(
            columns.factor(step["arm"]),
            exposure=columns.column(step["exposure"]),
            events=context.dataset(step["events_table"]),
            group_term=of_events.factor(step["group_term"]),
            term=of_events.factor(step["term"]),
            # R's answers take the whole exposure as time at risk, also of those with an event, whatever `day` the
            # plan names; where its words and its numbers part, a case goes by its numbers. Asked for with `day`,
            # the method ends time at risk at the first event: tests/reference/t21_safety holds it to R.
            subsets=subsets,
            events_where=of_events.where(),
            control=as_text(step["control"]),
            rate_per=float(step["rate_per"]),
            **common,
        )
    ]


def _with_subsets(step: Step, fits: Sequence[Fit], context: Context) -> Mapping[str, Any]:
    """Subsets stand beside the other sets of events."""
    answer: Any = fits[0].answer
    return {**answer, **answer["subsets"]}


STEPS: Mapping[str, Way] = {
    "crosstab_2x2": Way(_two_arms, as_it_is),
    "crosstab_rxc": Way(_crossed, as_it_is),
    "cmh": Way(_within, as_it_is),
    "cmh_general": Way(_general, as_it_is),
    "safety": Way(_adverse_events, _with_subsets),
}
