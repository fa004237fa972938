"""Curves, tests, Cox models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from conformance.case import Step
from conformance.step import Context, Way, as_it_is, nothing
from isthmus_client.analyses.common import Common
from isthmus_client.plan import Plan
from isthmus_client.results import KmFit
from isthmus_client.results.fit import Fit
from isthmus_client.results.tree import tree

# Name of the block of a Cox step that is the stratified model.
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
    """For each way to count ties the models of the step's blocks, in their order."""
    country = context.case.country
    terms = [term for term in step["terms"] if term != country]
    extras = {
        "concordance": bool(step["concordance"]),
        "baseline": bool(step["baseline"]),
        "baseline_times": step["baseline_times"] or None,
        "zph": "both" if step["zph"] else None,
    }
    cluster = step["cluster"]
    # in every model, since rows without a cluster are in none
    clusters = f"cluster({context.columns(step).cluster(cluster)})" if cluster else ""
    by_country = context.common(step)
    by_country["references"] = _without(context.references(step), country)
    plans = []
    for ties in step["ties"]:
        pooled = context.formula(step, context.surv(step), step["terms"], more=clusters)
        options = {**extras, "robust_country": True, "robust_each_row": not cluster}
        plans.append(_shared_hazard(context, pooled, ties, options, context.common(step)))
        if step["stratified"]:
            formula = context.formula(step, context.surv(step), terms, more=clusters)
            plans.append(context.study.cox(formula, ties=ties, options=extras, **by_country))
        if step["fixed_effects"]:
            with_country = context.formula(step, context.surv(step), [*terms, country], more=clusters)
            own = {"concordance": extras["concordance"]}
            plans.append(_shared_hazard(context, with_country, ties, own, context.common(step)))
    return plans


def _shared_hazard(context: Context, formula: str, ties: str, options: Mapping[str, object], common: Common) -> Plan:
    return context.study.cox(formula, ties=ties, stratify_by_country=False, options=options, **common)


def _without(references: Mapping[str, str], name: str) -> dict[str, str]:
    return {variable: level for variable, level in references.items() if variable != name}


def _cox_answer(step: Step, fits: Sequence[Fit], context: Context) -> Mapping[str, Any]:
    each = iter(fits)
    return {ties: _blocks(step, each) for ties in step["ties"]}


def _blocks(step: Step, fits: Iterator[Fit]) -> dict[str, Any]:
    whole = next(fits).answer
    blocks: dict[str, Any] = {"unstratified": whole}
    for key, name in (("stratified", STRATIFIED), ("fixed_effects", "country_fixed_effects")):
        if step[key]:
            blocks[name] = next(fits).answer
    own, name = ("robust", "robust_cluster_id") if step["cluster"] else ("robust_each_row", "robust_each_row")
    blocks[name] = _robust(step, tree(whole, own))
    blocks["robust_cluster_country"] = _robust(step, tree(whole, "robust_cluster_country"))
    return blocks


def _robust(step: Step, block: Mapping[str, Any]) -> dict[str, Any]:
    """A robust block; with one coefficient R names the Wald test after it and gives the score test as matrices."""
    shaped = dict(block)
    if len(block["coef"]) == 1:
        (name,) = block["coef"]
        factor = next((term for term in step["terms"] if name.startswith(f"{term}=")), None)
        named = name if factor is None else factor + name.removeprefix(f"{factor}=")
        shaped["robust_wald"] = {key: {named: value} for key, value in block["robust_wald"].items()}
        shaped["robust_score_test"] = {key: {"values": [[value]]} for key, value in block["robust_score_test"].items()}
    return shaped


STEPS: Mapping[str, Way] = {
    "kaplan_meier": Way(_curves, as_it_is),
    "rmst_difference": Way(nothing, _rmst_difference),
    "logrank": Way(_tests, as_it_is),
    "cox": Way(_cox, _cox_answer),
}
