"""Every method equals R on its reference cases, within each case's tolerances."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from comparing import differences
from reference_cases import METHODS, REFERENCE, Case

from conformance.steps.descriptive import described
from isthmus_methods import contract as c
from isthmus_methods.in_process import pool_in_process
from isthmus_methods.parts.survival.restricted_means import rmst_difference
from isthmus_methods.registry import find

STEPS = [
    (case.folder.name, k)
    for case in (Case.load(path.parent) for path in sorted(REFERENCE.glob("*/case.json")))
    for k, step in enumerate(case.plan)
    if step["method"] in (*METHODS, "rmst_difference")
]


def answered(case: Case, step: Mapping[str, Any]) -> Mapping[str, Any]:
    """The pooled answer to a step of a case's plan, in the shape of its expected answer."""
    if step["method"] == "rmst_difference":
        curves = next(s for s in case.plan if s["at"] == step["from"])
        return rmst_difference(answered(case, curves), step["group"], step["treated"], step["control"])
    if step["method"] in ("descriptive", "frequency"):
        settings = {"by_country": True, "quantiles": step["method"] == "descriptive"}
        asked = [{**step, "arm": name} for name in (None, *(by for by in step["by"] if by != "country"))]
        return described(step, [pooled(case, one, case.spec(one, **settings)) for one in asked], "country")
    if step["method"] == "cox":
        return {
            ties: {"stratified_by_country": pooled(case, step, case.spec(step, ties=ties))} for ties in step["ties"]
        }
    if step["method"] == "safety":
        answer = pooled(case, step, case.spec(step))
        return {**answer, **answer["subsets"]}
    if step["method"] == "glm" and step["offset"]:
        # the case's null deviance is of R started at its own estimate; test_glm.py has R's at the maximum
        answer = pooled(case, step, case.spec(step, null_restarted=True))
        return {**answer, "null_deviance": answer["null_deviance_restarted"]}
    return pooled(case, step, case.spec(step))


def expected(case: Case, step: Mapping[str, Any]) -> Any:
    """What R gave, of that what the method says: of Cox models the one stratified by country."""
    answer = case.answer_to(step)
    if step["method"] == "cox":
        return {ties: {"stratified_by_country": answer[ties]["stratified_by_country"]} for ties in step["ties"]}
    if step["method"] == "negative_binomial":
        return {key: value for key, value in answer.items() if key != "glm_nb_default_output"}
    return answer


def pooled(case: Case, step: Mapping[str, Any], spec: c.Spec) -> Mapping[str, Any]:
    method = find(spec.method)
    done, _ = pool_in_process(method, case.blocks(step, spec, method), spec)
    assert done.caveats == ()
    return done.answer


@pytest.mark.parametrize(("name", "k"), STEPS, ids=[f"{name}-{k}" for name, k in STEPS])
def test_answer_equals_r(load_case: Callable[[str], Case], name: str, k: int) -> None:
    case = load_case(name)
    step = case.plan[k]
    assert differences(answered(case, step), expected(case, step), case.tolerance) == []


def test_comparison_can_fail(load_case: Callable[[str], Case]) -> None:
    case = load_case("p11_km_lung")
    step = case.plan[2]
    answer = dict(answered(case, step))
    answer["logrank"] = {**answer["logrank"], "chisq": answer["logrank"]["chisq"] * (1 + 2e-8)}
    assert len(differences(answer, case.answer_to(step), case.tolerance)) == 1
    del answer["gehan_breslow"]
    assert len(differences(answer, case.answer_to(step), case.tolerance)) == 7
