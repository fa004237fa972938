"""Curves, tests, Cox models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from conformance.case import Step
from conformance.step import Context, Way, as_it_is, nothing
from isthmus_client.plan import Plan
from isthmus_client.results import KmFit
from isthmus_client.results.fit import Fit

# Names of the blocks of a Cox step that are the stratified model.
STRATIFIED = "stratified_by_country"


def _curves(step: Step, context: Context) -> Sequence[Plan]:
    columns = context.columns(step)
    groups = " + ".join(columns.factor(name) for name in step["by"]) or "1"
    options = {"curves": bool(step["curves"])}
    common = context.common(step, references=False)
    formula = f"{context.surv(step)} ~ {groups}"
    return [context.study.km(formula, times=step["times"], tau=step["tau"], options=options, **common)]


def _rmst_difference(step: Step, fits: Sequence[Fit], context: Context) -> Mapping[str, Any]:
    curves = context.fits[tuple(step["from"])][0]
    if not isinstance(curves, KmFit):
        raise TypeError(f"{step['from']} is no Kaplan-Meier step")
    return curves.rmst_difference(step["group"], step["treated"], step["control"])


def _tests(step: Step, context: Context) -> Sequence[Plan]:
    columns = context.columns(step)
    by_country = step["strata"] == context.case.country
    strata = f" + strata({columns.factor(step['strata'])})" if step["strata"] and not by_country else ""
    options = {"unstratified": True, "stratify_by_country": by_country}
    formula = f"{context.surv(step)} ~ {columns.factor(step['arm'])}{strata}"
    return [context.study.log_rank(formula, options=options, **context.common(step, references=False))]


def _cox(step: Step, context: Context) -> Sequence[Plan]:
    terms = [term for term in step["terms"] if term != context.case.country]
    formula = context.formula(step, context.surv(step), terms)
    options = {
        "concordance": bool(step["concordance"]),
        "baseline": bool(step["baseline"]),
        "baseline_times": step["baseline_times"] or None,
        "zph": "both" if step["zph"] else None,
    }
    common = context.common(step)
    common["references"] = {n: v for n, v in context.references(step).items() if n != context.case.country}
    return [context.study.cox(formula, ties=ties, options=options, **common) for ties in step["ties"]]


def _cox_answer(step: Step, fits: Sequence[Fit], context: Context) -> Mapping[str, Any]:
    return {ties: {STRATIFIED: fit.answer} for ties, fit in zip(step["ties"], fits, strict=True)}


STEPS: Mapping[str, Way] = {
    "kaplan_meier": Way(_curves, as_it_is),
    "rmst_difference": Way(nothing, _rmst_difference),
    "logrank": Way(_tests, as_it_is),
    "cox": Way(_cox, _cox_answer),
}
