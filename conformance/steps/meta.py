"""Meta-analysis of the countries' own estimates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from conformance.case import Step
from conformance.step import Context, Way, as_it_is
from isthmus_client.plan import Plan


def _estimates(step: Step, context: Context) -> Sequence[Plan]:
    own: Step = {**step, **step["estimate"]}
    if own["method"] != "cox":
        raise NotImplementedError(f"meta-analysis of {own['method']} estimates")
    formula = context.formula(own, context.surv(own))
    common = context.common(own)
    return [context.study.meta_analysis(formula, coefficient=own["coefficient"], ties=own["ties"], **common)]


STEPS: Mapping[str, Way] = {"meta_analysis": Way(_estimates, as_it_is)}
