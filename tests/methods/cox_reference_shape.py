"""All blocks of a reference case's Cox step, asked of the method one by one and put into the expected shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Ask = Callable[[list[str], Mapping[str, Any]], Mapping[str, Any]]
MODEL = (
    *("n", "n_event", "coef", "vcov", "loglik_null", "loglik", "aic", "lr_test", "wald_test", "score_test"),
    *("concordance", "baseline_cumulative_hazard_at_x0", "cox_zph"),
)


def cox_step(step: Mapping[str, Any], levels: Mapping[str, tuple[str, ...]], ask: Ask) -> dict[str, Any]:
    """`ask(terms, options)` gives the method's answer; `levels` those of factors, the reference first."""
    return {ties: _blocks(step, ties, levels, ask) for ties in step["ties"]}


def _blocks(step: Mapping[str, Any], ties: str, levels: Mapping[str, tuple[str, ...]], ask: Ask) -> dict[str, Any]:
    extras = {
        "ties": ties,
        "concordance": bool(step["concordance"]),
        "baseline": bool(step["baseline"]),
        "baseline_times": tuple(float(t) for t in step["baseline_times"] or ()),
        "zph": "both" if step["zph"] else "",
    }
    by_row = "robust" if step["cluster"] else "robust_each_row"
    pooled = {**extras, "stratify_by_country": False, by_row: True, "robust_country": True}
    terms = list(step["terms"])
    whole = ask(terms, pooled)
    blocks = {"unstratified": _model(whole)}
    if step["stratified"]:
        blocks["stratified_by_country"] = _model(ask(terms, extras))
    if step["fixed_effects"]:
        own = {**extras, "baseline": False, "baseline_times": (), "zph": "", "stratify_by_country": False}
        blocks["country_fixed_effects"] = _model(ask([*terms, step["country"]], own))
    name = "robust_cluster_id" if step["cluster"] else "robust_each_row"
    blocks[name] = _robust(whole[by_row], levels)
    blocks["robust_cluster_country"] = _robust(whole["robust_cluster_country"], levels)
    return blocks


def _model(answer: Mapping[str, Any]) -> dict[str, Any]:
    return {key: answer[key] for key in MODEL if key in answer}


def _robust(answer: Mapping[str, Any], levels: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    """With one coefficient R names the Wald test's numbers after it, and gives the score test's as matrices."""
    shaped: dict[str, Any] = {key: answer[key] for key in ("coef", "vcov", "robust_wald", "robust_score_test")}
    if len(answer["coef"]) == 1:
        (name,) = answer["coef"]
        variable, _, level = name.partition("=")
        named = f"{variable}{level}" if variable in levels else name
        shaped["robust_wald"] = {key: {named: value} for key, value in answer["robust_wald"].items()}
        shaped["robust_score_test"] = {key: {"values": [[value]]} for key, value in answer["robust_score_test"].items()}
    return shaped
