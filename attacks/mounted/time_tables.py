"""Attacks on what lies along time: curves, event times, risk sets, strata, late entries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from attacks.attack import Attack, Claims
from attacks.evidence import Answer
from attacks.mounted.cells import first
from attacks.mounted.cohorts import ASKED
from attacks.mounted.models import LATE, pooled
from attacks.scene import Scene

STEP = frozenset({"SMALL_STEP", "FEW_AT_RISK"})


def first_event(answers: Sequence[Answer]) -> Claims:
    """The first step of a curve's table that has an event."""
    if not answers or not answers[0].has("table"):
        return {}
    events = answers[0]["table"].reshape(2, -1)[0]
    return {"day": float(np.flatnonzero(events)[0])} if events.any() else {}


def curve_step(scene: Scene) -> Claims:
    return first_event(scene.ask("kaplan_meier", "Surv(DAY, EVENT) ~ 1", purpose="publication"))


def unique_times(scene: Scene) -> Claims:
    # of a grid of 30 days it tells the step only
    return first_event(scene.ask("kaplan_meier", "Surv(DAY, EVENT) ~ 1", dataset="COARSE"))


def at_risk(answers: Sequence[Answer]) -> Answer | None:
    found = [answer for answer in answers if answer.has("at_risk") and len(answer["at_risk"]) > 1]
    return found[0] if found else None


def consecutive_risk_sets(scene: Scene) -> Claims:
    """The first two risk sets differ by whoever left first."""
    answers = scene.ask("cox", "Surv(DAY, EVENT) ~ AGE", options={"stratify_by_country": False})
    shares = at_risk(answers)
    if shares is None:
        return {}
    whole = pooled(scene, answers[0], "whole")[0]
    one = shares["at_risk"][0] - shares["at_risk"][1]
    return {"age": float(whole[1] / whole[0] + one[1] / one[0])}


def entry_times(scene: Scene) -> Claims:
    """Everybody else enters later: at the first event time the victim is at risk alone."""
    answers = scene.ask("cox", "Surv(ENTRY, DAY, EVENT) ~ AGE", options={"stratify_by_country": False})
    shares = at_risk(answers)
    if shares is None:
        return {}
    whole, one = pooled(scene, answers[0], "whole")[0], shares["at_risk"][0]
    return {"age": float(whole[1] / whole[0] + one[1] / one[0])}


def before_the_first(scene: Scene) -> Claims:
    """Everybody less those at risk at the first event is whoever was censored before it."""
    answers = scene.ask("cox", "Surv(DAY, GRADE != '1') ~ AGE", options={"stratify_by_country": False})
    shares = at_risk(answers)
    if shares is None:
        return {}
    whole, own, there = pooled(scene, answers[0], "whole")[0], answers[0]["whole"][0], shares["at_risk"][0]
    return {"age": float(own[1] - (there[1] + there[0] * whole[1] / whole[0]))}


def one_event(scene: Scene) -> Claims:
    """The score of a single event is that person's covariate about the mean of all, which is told elsewhere."""
    mean = first(scene, "table_one", roles={"variables": ["AGE"]}).get("sum[AGE]")
    answers = scene.ask("cox", "Surv(DAY, DAY < 50) ~ AGE")
    if mean is None or not answers or not answers[0].has("score"):
        return {}
    return {"age": 18 + float(mean[0]) / 60 + float(answers[0]["score"][0])}


EVENTS = ("model_has_persons", "model_is_not_saturated")

ATTACKS = (
    Attack(
        21,
        "step of a curve at a single event",
        "analyst",
        "leavers a step, persons at risk (publication)",
        ("steps_have_leavers", "steps_have_risk"),
        STEP,
        curve_step,
    ),
    Attack(
        22,
        "list of the distinct event times",
        "analyst",
        "the dictionary's grid of times",
        ("grid of the dictionary",),
        frozenset({"DATA_DO_NOT_ALLOW"}),
        unique_times,
    ),
    Attack(
        23,
        "sums at consecutive times differ by one row",
        "analyst",
        "leavers between two listed times",
        ("risk_steps_have_leavers", "risk_sets_have_persons", "risk_sets_are_apart"),
        LATE,
        consecutive_risk_sets,
    ),
    Attack(
        24,
        "a single event",
        "analyst",
        "k events, parameters against events",
        (ASKED[1], "cells_are_large", "complements_are_large", *EVENTS, "auditor"),
        frozenset({"SMALL_CELL", "FEW_PERSONS"}),
        one_event,
    ),
    Attack(
        25,
        "entry times that leave one at risk",
        "analyst",
        "persons at risk at listed times",
        ("risk_sets_have_persons", "risk_steps_have_leavers", "risk_sets_are_apart"),
        LATE,
        entry_times,
    ),
    Attack(
        25,
        "whoever is at risk at no listed time",
        "analyst",
        "sums over those at risk, and over everybody, held together",
        ("risk_sets_are_apart", "auditor"),
        LATE,
        before_the_first,
        "b",
    ),
)
