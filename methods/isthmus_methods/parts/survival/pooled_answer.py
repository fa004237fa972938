"""The Cox model with one baseline hazard over all countries, at the coordinator.

The first round's time tables list the event times; then each beta takes two rounds, for the sums over those at risk
and for the information that the pooled sums give.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from isthmus.errors import MethodError
from isthmus_methods.contract import Answer, Array, Booleans, Contributions, Done, Next, Spec, State
from isthmus_methods.parts import caveats
from isthmus_methods.parts.first_round import check_same_countries
from isthmus_methods.parts.gathered import needed, no_country
from isthmus_methods.parts.newton import Accepted, Move, Solved, decide, has_fallen
from isthmus_methods.parts.survival.concordance import concordance, pair_counts, predictors_of
from isthmus_methods.parts.survival.cox_answer import (
    Fitted,
    decided,
    remembered_null,
    remembered_rows,
    told,
)
from isthmus_methods.parts.survival.cox_plan import FAR_OFF, Plan
from isthmus_methods.parts.survival.partial_likelihood import Place, RiskSets, less_the_means
from isthmus_methods.parts.survival.pooled_passes import squared, tied_times
from isthmus_methods.parts.survival.pooled_risk_sets import Listed, pooled_sets
from isthmus_methods.parts.survival.proportionality import left_continuous_survival, proportionality_tests
from isthmus_methods.parts.symmetric import unpacked
from isthmus_methods.parts.time_table import TIE


def pool(
    contributions: Contributions, spec: Spec, plan: Plan, state: State, memory: State, notes: Mapping[str, str]
) -> Next | Done:
    """One round: its kind is told by the state that was asked with."""
    if not state:
        return _begun(contributions, spec, plan, notes)
    check_same_countries(contributions, spec, memory["countries"])
    if "at_risk" not in state:
        return _sums(contributions, plan, state, memory)
    return _information(contributions, spec, plan, state, memory, notes)


# --------------------------------------------------------------------------- the first round


def _begun(contributions: Contributions, spec: Spec, plan: Plan, notes: Mapping[str, str]) -> Next | Done:
    memory = remembered_rows(contributions, spec, plan)
    missing = {
        s.country: code
        for s in contributions.summaries
        for (field, _), code in s.withheld.items()
        if field == "time_table"
    }
    if missing:
        raise MethodError(
            "NO_TIME_TABLE",
            caveats.of_withheld("time table, which a baseline hazard shared by all countries needs", missing, ()),
            "stratify by country, or fix a coarser time grid in the study's dictionary",
        )
    tables = {
        code: table
        for code, label in enumerate(plan.stratum_labels())
        for table in [contributions.total("time_table", label)]
        if table is not None
    }
    listed = Listed.from_tables({code: table[0] for code, table in tables.items()})
    if "km" in plan.shapes:
        every = np.sum(list(tables.values()), axis=0)
        memory["km"] = left_continuous_survival(every)[listed.step]
    summed = needed(contributions, "whole")
    memory["centre"] = summed[0, 1:] / max(1.0, float(summed[0, 0]))
    if not listed.size:
        nothing = Fitted(np.zeros(plan.p), 0.0, np.zeros(plan.p), np.zeros((plan.p, plan.p)))
        memory |= remembered_null(contributions, plan, memory, nothing)
        _, memory, _ = decided(plan, memory, nothing)
        extras: dict[str, Answer] = {}
        if plan.concordance:
            extras["concordance"] = concordance(np.zeros(3), np.zeros(3))
        if plan.baseline:
            extras["baseline_cumulative_hazard_at_x0"] = None
        if plan.shapes:
            extras["cox_zph"] = None
        return told(contributions, spec, plan, memory, nothing, extras, notes)
    memory |= listed.state()
    return Next({**_asked(memory, np.zeros(plan.p)), "null": np.ones(1)}, memory)


def _asked(memory: State, beta: Array) -> dict[str, Array]:
    """What the nodes need at a beta."""
    return {"beta": beta, **{name: memory[name] for name in ("centre", "stratum", "step", "number")}}


# --------------------------------------------------------------------------- sums over those at risk


def _sums(contributions: Contributions, plan: Plan, state: State, memory: State) -> Next:
    """The pooled sums go back to the nodes; but where the log-likelihood fell, a shorter step is next."""
    at_risk, listed = needed(contributions, "at_risk"), Listed.of(memory)
    tied = tied_times(plan, listed)
    dying = np.zeros((listed.size, 2 + plan.p))
    if tied.any():
        of_events = needed(contributions, "dying")
        dying[:, :-1] = of_events
    weight = contributions.total("event_weight")
    dying[:, -1] = listed.number if weight is None else weight[:, 0]
    if "observed" not in memory:
        observed = needed(contributions, "events")
        memory = {**memory, "observed": observed[0, 1:]}
    memory = {**memory, "round": memory["round"] + ("null" not in state)}
    sums = {**state, "at_risk": at_risk, "dying": dying}
    here = _sets(plan, sums, memory)
    before = Accepted.unpacked(memory["accepted"]) if "accepted" in memory else None
    far_off = bool(contributions.notes().get(FAR_OFF))
    loglik = float("nan") if far_off else here.loglik
    if before is not None and has_fallen(loglik, before) and float(memory["round"][0]) < plan.iterations:
        none = Solved(memory["kept"] > 0, np.zeros((plan.p, plan.p)), 1.0)
        back = decide(state["beta"], loglik, here.score, none, before)
        if back.move is Move.HALVE:
            memory |= {"accepted": back.accepted.packed()}
            return Next(_asked(memory, back.beta), memory, "distance", before.distance)
    if far_off:
        raise MethodError(
            "FAR_OFF",
            "a covariate's values lie so far apart that their weights leave the range of numbers",
            "centre or scale the covariates",
        )
    if "last" in memory:
        sums |= _extras_asked(plan, memory, listed)
    return Next(sums, memory, "distance", before.distance if before is not None else 0.0)


def _extras_asked(plan: Plan, memory: State, listed: Listed) -> dict[str, Array]:
    """What the last round is asked with: also transformed time at the event times, about its mean over events."""
    asked = {"last": np.ones(1)}
    for name in plan.shapes:
        values = memory["km"] if name == "km" else _times(plan, listed.step)
        asked[f"shape {name}"] = values - float(values @ listed.number) / float(listed.number.sum())
    return asked


def _times(plan: Plan, steps: np.ndarray) -> Array:
    if plan.grid is None:
        raise no_country()
    return plan.grid.times(steps)


def _sets(plan: Plan, state: State, memory: State) -> RiskSets:
    place = Place(state["beta"], state["centre"])
    return pooled_sets(place, Listed.of(state), state["at_risk"], state["dying"], memory["observed"], plan.efron)


# --------------------------------------------------------------------------- information, and the end


def _information(
    contributions: Contributions, spec: Spec, plan: Plan, state: State, memory: State, notes: Mapping[str, str]
) -> Next | Done:
    product = needed(contributions, "cross_product")
    sets = _sets(plan, state, memory)
    fitted = Fitted(state["beta"], sets.loglik, sets.score, less_the_means(unpacked(product, plan.p), sets))
    if "null" in state:
        memory = {**memory, **remembered_null(contributions, plan, memory, fitted)}
    if "over" in memory:
        return _answer(contributions, spec, plan, state, memory, fitted, sets, notes)
    decision, memory, over = decided(plan, memory, fitted)
    if over and ("last" in state or not plan.has_extras):
        return _answer(contributions, spec, plan, state, memory, fitted, sets, notes)
    if over:
        again = {name: value for name, value in state.items() if name != "null"}
        return Next(again | _extras_asked(plan, memory, Listed.of(state)), memory, "distance", decision.distance)
    memory.pop("last", None)
    if decision.last and plan.has_extras:
        memory["last"] = np.ones(1)
    return Next(_asked(memory, decision.beta), memory, "distance", decision.distance)


def _answer(
    contributions: Contributions,
    spec: Spec,
    plan: Plan,
    state: State,
    memory: State,
    fitted: Fitted,
    sets: RiskSets,
    notes: Mapping[str, str],
) -> Done:
    extras: dict[str, Answer] = {}
    if plan.concordance:
        cells = None if contributions.withheld("ranks") else contributions.cells("ranks")
        extras["concordance"] = None if cells is None else concordance(*pair_counts(predictors_of(cells)))
    if plan.baseline:
        extras["baseline_cumulative_hazard_at_x0"] = _baseline(plan, sets)
    if plan.shapes:
        kept: Booleans = memory["kept"] > 0
        extras["cox_zph"] = (
            {name: _proportionality(contributions, plan, state, fitted, sets, name, kept) for name in plan.shapes}
            if kept.any()
            else None
        )
    return told(contributions, spec, plan, memory, fitted, extras, notes)


def _baseline(plan: Plan, sets: RiskSets) -> Answer:
    """Cumulative hazard at all covariates zero or reference; by stratum where there are further strata.

    Source: Breslow (1974), Biometrics 30, 89-99; with Efron's ties the sum over the d steps of 1 / s0.
    """
    curves: dict[str, dict[str, Answer]] = {}
    scale = np.exp(-sets.unit - float(sets.centre @ sets.beta))
    for code, label in enumerate(plan.stratum_labels()):
        here = sets.stratum == code
        times = _times(plan, sets.time[here])
        hazard = np.concatenate([[0.0], np.cumsum(sets.hazard[here])]) * scale
        shown, upto = times, np.arange(1, len(times) + 1)
        if plan.steps is not None and plan.steps.grid is None:
            shown = plan.steps.times
            upto = np.searchsorted(times, shown + TIE * np.maximum(1.0, np.abs(shown)), side="right")
        curves[label] = {"time": shown.tolist(), "cumhaz": hazard[upto].tolist()}
    return curves if plan.strata else curves[""]


def _proportionality(
    contributions: Contributions,
    plan: Plan,
    state: State,
    fitted: Fitted,
    sets: RiskSets,
    name: str,
    kept: Booleans,
) -> Answer:
    observed = contributions.whole("shape_score", name)
    once = contributions.whole("shape_cross_product", name)
    twice = contributions.whole("shape_cross_product", squared(name))
    if observed is None or once is None or twice is None:
        return None
    g = state[f"shape {name}"]
    expected = (sets.hazard * g) @ sets.at_risk[:, 1:] - (sets.death_hazard * g) @ sets.dying[:, 1:]
    summed = {
        "events": np.zeros(1),  # g is about its mean over the events
        "score": observed - expected,
        "information": less_the_means(unpacked(once, plan.p), sets, g),
        "information_squared": less_the_means(unpacked(twice, plan.p), sets, g * g),
    }
    return proportionality_tests(plan.model.terms, fitted.score, fitted.info, summed, float(sets.deaths.sum()), kept)
