"""The Cox model stratified by country, inside a country: what a round asks of its rows, and what leaves of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from isthmus.errors import MethodError
from isthmus_methods.contract import Again, Array, Block, Item, ModelSupport, Spec, State, Summary
from isthmus_methods.parts.first_round import LEVEL_ABSENT, NO_ROWS
from isthmus_methods.parts.model_support import count_items, level_persons, nobody
from isthmus_methods.parts.out_of_turn import wrong_state
from isthmus_methods.parts.regression_support import level_absent
from isthmus_methods.parts.survival.concordance import pair_counts
from isthmus_methods.parts.survival.country_fit import (
    First,
    Gathered,
    Heaviest,
    Residuals,
    Second,
    Wanted,
    Weighed,
    first_pass,
    gathered,
    second_pass,
    support_of,
    third_pass,
    weighed,
)
from isthmus_methods.parts.survival.cox_plan import EMPTY_INTERVAL, NO_EVENTS, Plan
from isthmus_methods.parts.survival.proportionality import is_scale, pieces, shape_support
from isthmus_methods.parts.survival.risk_steps import Steps, cumulative_hazard
from isthmus_methods.parts.symmetric import packed
from isthmus_methods.parts.time_table import ROUNDED


def fold(block: Block, spec: Spec, plan: Plan, state: State, local: Any) -> First | Second | Heaviest:
    """One pass over one block."""
    wanted = _wanted(plan, state)
    if local is None:
        return first_pass(block, spec, beta_of(plan, state), wanted)
    if isinstance(local, Gathered):
        shapes = tuple(_shape(plan, name, local, state) for name in wanted.shapes)
        return second_pass(block, spec, local, wanted, shapes)
    return third_pass(block, spec, local, wanted)


def release(partial: Any, spec: Spec, plan: Plan, state: State, local: Any) -> Summary | Again:
    """The next pass, or what leaves."""
    wanted = _wanted(plan, state)
    if partial is None:
        return _summary_of_nobody(plan, spec, state, wanted)
    if isinstance(partial, First):
        return Again(gathered(partial, wanted))
    if isinstance(partial, Second):
        shapes = tuple(_shape(plan, name, local, state) for name in wanted.shapes)
        return Again(weighed(local, partial, shapes))
    return _summary(plan, spec, state, wanted, local, support_of(local, partial, spec))


def beta_of(plan: Plan, state: State) -> Array:
    """The beta of a round, (p,): zero in the first."""
    beta = state.get("beta")
    if beta is None:
        return np.zeros(plan.p)
    if beta.shape != (plan.p,) or not np.all(np.isfinite(beta)):
        raise wrong_state()
    return beta


def _wanted(plan: Plan, state: State) -> Wanted:
    first, last = not state, "last" in state
    steps = None
    if first and plan.grid is not None:
        steps = Steps("time", plan.grid, plan.grid.times(np.arange(plan.grid.size)), False)
    elif last and plan.steps is not None:
        steps = plan.steps
    return Wanted(
        efron=plan.efron,
        clusters="" in plan.robust,
        residuals=plan.robust if first or last else (),
        shapes=tuple(name for name in plan.shapes if name != "km" or "km" in state) if last else (),
        pairs=plan.concordance and last,
        steps=steps,
    )


def _shape(plan: Plan, name: str, local: Gathered, state: State) -> Array:
    """The time transform at the country's event times, (J,)."""
    times = local.sets.time
    if name == "identity":
        return times
    scale = state.get("km")
    if plan.grid is None or scale is None or scale.shape != (plan.grid.size,) or not is_scale(scale):
        raise MethodError("WRONG_STATE", "the scale of time is missing from the state", "start the analysis anew")
    return scale[plan.grid.steps(times)[0]]


def _summary(plan: Plan, spec: Spec, state: State, wanted: Wanted, local: Weighed, support: ModelSupport) -> Summary:
    known, second = local.known, local.second
    sets, persons = known.sets, known.persons
    raised = {
        NO_EVENTS: not len(sets.time),
        LEVEL_ABSENT: level_absent(support, spec),
        EMPTY_INTERVAL: known.used.empty_intervals > 0,
        ROUNDED: known.times is not None and known.times.rounded,
    }
    items: list[Item] = []
    if not state:
        items.extend(count_items(known.used, persons, spec))
    items += _fit_items(sets.loglik, sets.score, local.information(), support)
    if second.residuals is not None:
        items += meat_items(second.residuals, wanted.residuals, support)
    if known.times is not None and not state:
        items.append(Item("time_table", known.times.rows.sum(axis=0)[:, :-1], known.times.support()))
    if known.times is not None and state and plan.steps is not None:
        for s, code in enumerate(known.times.strata):
            hazard = cumulative_hazard(sets, plan.steps, int(code))
            label = plan.stratum_label(int(code))
            items.append(Item("hazard", hazard, known.times.support(s), label))
    for name, shape, total in zip(wanted.shapes, local.shapes, second.shapes, strict=True):
        values, own = pieces(total, sets, shape), shape_support(total, support)
        items += [
            Item("shape_events", values["events"], own, name),
            Item("shape_score", values["score"], own, name),
            Item("shape_information", packed(values["information"]), own, name),
            Item("shape_information_squared", packed(values["information_squared"]), own, name),
        ]
    if second.predictors is not None:
        pairs, squares = pair_counts(second.predictors)
        items += [Item("pairs", pairs, support), Item("pair_squares", squares, support)]
    return Summary(tuple(items), frozenset(code for code, on in raised.items() if on))


def meat_items(residuals: Residuals, labels: tuple[str, ...], support: ModelSupport) -> list[Item]:
    """Score residuals by cluster, squared and summed, for each robust variance."""
    meats = [(label, residuals.meat(label)) for label in labels]
    return [Item("meat", packed(meat), support, label) for label, meat in meats if meat is not None]


def _fit_items(loglik: float, score: Array, information: Array, support: ModelSupport) -> list[Item]:
    return [
        Item("loglik", np.array([loglik]), support),
        Item("score", score, support),
        Item("information", packed(information), support),
    ]


def _summary_of_nobody(plan: Plan, spec: Spec, state: State, wanted: Wanted) -> Summary:
    """Zeros, so that a country without rows adds nothing and is named."""
    total = nobody(spec)
    persons = total.persons()
    support = ModelSupport(0, plan.p, 0, level_persons(persons, spec))
    zeros = np.zeros((plan.p, plan.p))
    # how many rows are incomplete is not known here: without a complete one there is no block
    items = [] if state else [item for item in count_items(total, persons, spec) if item.field != "excluded"]
    items += _fit_items(0.0, np.zeros(plan.p), zeros, support)
    items += [Item("meat", packed(zeros), support, label) for label in wanted.residuals]
    return Summary(tuple(items), frozenset({NO_ROWS}))
