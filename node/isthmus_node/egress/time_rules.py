"""The rules for what lies along time: tables of events, baseline hazards, sums over those at risk."""

from __future__ import annotations

import numpy as np

from isthmus_methods.contract import RiskSetSupport, TimeSupport
from isthmus_node.egress import rules
from isthmus_node.egress.form import Violation
from isthmus_node.egress.stays import tells_few
from isthmus_node.egress.thresholds import Limits

WIDER = "widen the time grid, merge arms or strata, or stop the table earlier"
STRATIFY = "stratify by country, which needs no sums at single times, or fix a coarser time grid in the dictionary"


# --------------------------------------------------------------------------- EVENTS, HAZARD


def table_has_persons(support: TimeSupport, limits: Limits) -> Violation | None:
    """A time table is over enough distinct persons."""
    if support.persons < limits.table_persons:
        return Violation("FEW_PERSONS", limits.rule("table_persons"), WIDER)
    return None


def steps_have_leavers(support: TimeSupport, limits: Limits) -> Violation | None:
    """Attacks 21 to 24: a step of the curve is never one person's time, where the policy asks for it."""
    if np.any(support.leavers < limits.leavers_per_step):
        return Violation("SMALL_STEP", limits.rule("leavers_per_step"), WIDER)
    return None


def steps_have_risk(support: TimeSupport, limits: Limits) -> Violation | None:
    """The end of a table of events is not about a few persons, where the policy asks for it."""
    if np.any(support.at_risk < limits.at_risk):
        return Violation("FEW_AT_RISK", limits.rule("at_risk"), WIDER)
    return None


def hazard_has_risk(support: TimeSupport, limits: Limits) -> Violation | None:
    """The end of a baseline hazard is not about a few persons."""
    if np.any(support.at_risk < limits.hazard_at_risk):
        return Violation("FEW_AT_RISK", limits.rule("hazard_at_risk"), WIDER)
    return None


# --------------------------------------------------------------------------- RISK_SETS


def risk_sets_have_persons(support: RiskSetSupport, limits: Limits) -> Violation | None:
    """Attacks 23 to 25: a sum over those at risk is never one over a few persons."""
    at_risk = support.time.at_risk
    if support.time.persons < limits.table_persons or np.any((at_risk > 0) & (at_risk < limits.risk_set_persons)):
        return Violation("FEW_AT_RISK", limits.rule("table_persons", "risk_set_persons"), STRATIFY)
    return None


def risk_steps_have_leavers(support: RiskSetSupport, limits: Limits) -> Violation | None:
    """Attack 23: sums at two listed times never differ by a few persons' covariates."""
    leavers = support.time.leavers
    if np.any((leavers > 0) & (leavers < limits.risk_set_leavers)):
        return Violation("SMALL_STEP", limits.rule("risk_set_leavers"), STRATIFY)
    return None


def risk_sets_are_apart(support: RiskSetSupport, limits: Limits) -> Violation | None:
    """Attack 25: no combination of sums at several times, with those over everybody and all events, tells a few."""
    fewest = limits.risk_set_leavers
    few = any(0 < persons < fewest for persons in support.beside)
    if few or (support.stays is not None and tells_few(support.stays, fewest)):
        return Violation("SMALL_STEP", limits.rule("risk_set_leavers"), STRATIFY)
    return None


def risk_sets_have_sound_weights(support: RiskSetSupport, limits: Limits) -> Violation | None:
    """Attacks 26 to 29: the weights in the sums are a model's, and they leave no few persons alone."""
    for rule in (rules.levels_are_large, rules.weights_are_spread, rules.predictor_is_bounded):
        violation = rule(support.model, limits)
        if violation is not None:
            return violation
    return None
