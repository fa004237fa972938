"""Meta-analysis of the countries' own estimates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from conformance.case import Step
from conformance.columns import as_text
from conformance.step import Context, Way, as_it_is
from isthmus_client.plan import Plan


def _estimates(step: Step, context: Context) -> Sequence[Plan]:
    own: Step = {**step, **step["estimate"]}
    columns, study, method = context.columns(own), context.study, own["method"]
    by = None if step["by"] == context.case.country else columns.factor(step["by"])
    if method == "log_odds_ratio":
        plan = study.meta_analysis(
            row=columns.column(own["row"]),
            column=columns.column(own["column"]),
            treated=as_text(own["treated"]),
            control=as_text(own["control"]),
            event=as_text(own["event"]),
            by=by,
            **context.common(own, references=False),
        )
        return [plan]
    left = context.surv(own) if method == "cox" else columns.column(own["outcome"])
    plan = study.meta_analysis(
        context.formula(own, left),
        estimate=method,
        coefficient=own["coefficient"],
        ties=own.get("ties"),
        family=own.get("family"),
        link=own.get("link"),
        by=by,
        **context.common(own),
    )
    return [plan]


STEPS: Mapping[str, Way] = {"meta_analysis": Way(_estimates, as_it_is)}
