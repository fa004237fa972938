"""Competing causes: curves, tests, and models of each cause."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from conformance.case import Step
from conformance.columns import as_text
from conformance.step import Context, Way
from isthmus_client.plan import Plan
from isthmus_client.results.fit import Fit

CENSORED = 0


def _terms(step: Step) -> list[str]:
    return list(dict.fromkeys([*(step["fine_gray_terms"] or ()), *(step["cause_specific_terms"] or ())]))


def _complete(step: Step, context: Context) -> str | None:
    """The rows of the step: all its variables have a value, decided once for every block."""
    names = [step["time"], step["cause"], *(step["by"] or ()), step["gray_group"], step["strata"]]
    names += [part for term in _terms(step) for part in term.split(":")]
    present = [{"var": name, "op": "not_missing"} for name in dict.fromkeys(names) if name]
    return context.columns({**step, "where": [*(step.get("where") or ()), *present]}).where()


def _competing(step: Step, context: Context) -> Sequence[Plan]:
    columns, study = context.columns(step), context.study
    time, cause = columns.column(step["time"]), columns.factor(step["cause"])
    plain, fitted = context.common(step, references=False), context.common(step)
    plain["where"] = fitted["where"] = _complete(step, context)
    censored = as_text(CENSORED)
    plans = [
        study.cumulative_incidence(
            time,
            cause,
            by=[columns.factor(name) for name in step["by"] or ()],
            arm=columns.factor(step["gray_group"]) if step["gray_group"] else None,
            strata=columns.factor(step["strata"]) if step["strata"] else None,
            times=step["times"],
            curves=bool(step["curves"]),
            censored=censored,
            **plain,
        )
    ]
    for each in step["causes"]:
        code = as_text(each["code"])
        if step["fine_gray_terms"]:
            formula = context.formula(step, "", step["fine_gray_terms"])
            plans.append(study.fine_gray(formula, time=time, cause=cause, of=code, censored=censored, **fitted))
        if step["cause_specific_terms"]:
            surv = f"Surv({time}, {columns.is_event(step['cause'], each['code'])})"
            formula = context.formula(step, surv, step["cause_specific_terms"])
            options = {"stratify_by_country": False}
            plans.append(study.cox(formula, ties="efron", options=options, **fitted))
    return plans


def _answer(step: Step, fits: Sequence[Fit], context: Context) -> Mapping[str, Any]:
    labels = {as_text(each["code"]): each["label"] for each in step["causes"]}
    first, rest = fits[0].answer, iter(fits[1:])
    found: dict[str, Any] = {"aalen_johansen": {}}
    curves: Any = first["aalen_johansen"]
    for group, block in curves.items():
        events = {labels[code]: n for code, n in block["events"].items() if code in labels}
        own = {labels[code]: block[code] for code in labels if code in block}
        found["aalen_johansen"][group] = {"n": block["n"], "events": events, **own}
    arms: Any = first.get("cuminc")
    if arms is not None:
        found["cmprsk_cuminc"] = {
            f"{arm} {code}": values for arm, block in arms.items() for code, values in block.items() if code in labels
        }
        for ours, theirs in (("gray_test", "gray_test"), ("gray_test_stratified", "gray_test_stratified_by_country")):
            tests: Any = first.get(ours)
            if tests is not None:
                found[theirs] = {labels[code]: test for code, test in tests.items() if code in labels}
    for label in labels.values():
        for name, asked in (
            ("fine_gray_crr", step["fine_gray_terms"]),
            ("cause_specific_cox", step["cause_specific_terms"]),
        ):
            if asked:
                found.setdefault(name, {})[label] = next(rest).answer
    return found


STEPS: Mapping[str, Way] = {"cumulative_incidence": Way(_competing, _answer)}
