"""The countries' own estimates: their meta-analysis, and the consistency of regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from conformance.case import Step
from conformance.columns import as_text
from conformance.step import Context, Way, as_it_is
from isthmus_client.plan import Plan


def _estimates(step: Step, context: Context) -> Sequence[Plan]:
    own: Step = {**step, **step["estimate"]}
    by = None if step["by"] == context.case.country else context.columns(own).factor(step["by"])
    formula, asked = _of_country(own, context)
    return [context.study.meta_analysis(formula, by=by, **asked)]


def _regions(step: Step, context: Context) -> Sequence[Plan]:
    formula, asked = _of_country({**step, **step["estimate"]}, context)
    options = dict(step["options"])
    named = [text.partition("=") for text in options.pop("regions", ())]
    regions = {name: inside.split("+") for name, _, inside in named}
    return [context.study.regional_consistency(formula, regions=regions, **asked, **options)]


def _of_country(own: Step, context: Context) -> tuple[str | None, dict[str, Any]]:
    """What each country estimates: a formula where it has one, and the other arguments."""
    columns, method = context.columns(own), own["method"]
    if method == "log_odds_ratio":
        return None, {
            "row": columns.column(own["row"]),
            "column": columns.column(own["column"]),
            "treated": as_text(own["treated"]),
            "control": as_text(own["control"]),
            "event": as_text(own["event"]),
            **context.common(own, references=False),
        }
    left = context.surv(own) if method == "cox" else columns.column(own["outcome"])
    return context.formula(own, left), {
        "estimate": method,
        "coefficient": context.coefficient(own, own["coefficient"]) if own.get("coefficient") else None,
        **{name: own.get(name) for name in ("ties", "family", "link")},
        **context.common(own),
    }


STEPS: Mapping[str, Way] = {
    "meta_analysis": Way(_estimates, as_it_is),
    "regional_consistency": Way(_regions, as_it_is),
}
