"""The Cox model with one baseline hazard over all countries, inside a country.

Three kinds of rounds, told apart by their state. First, who is there: counts, and the time table from which the
coordinator lists the event times. Then, for each beta, two: the country's share of the sums over those at risk at the
listed times; and, with the pooled sums sent back, one weighted cross-product and what else is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from isthmus_methods.contract import (
    Again,
    Array,
    Block,
    Booleans,
    Integers,
    Item,
    ModelSupport,
    Partial,
    RiskSetSupport,
    Spec,
    State,
    Summary,
    TimeSupport,
    column_name,
)
from isthmus_methods.parts.cross_product import padded_sum
from isthmus_methods.parts.first_round import LEVEL_ABSENT, NO_ROWS
from isthmus_methods.parts.model_support import (
    EVENTS,
    ROWS,
    Used,
    count_items,
    level_persons,
    level_slices,
    nobody,
    used,
)
from isthmus_methods.parts.out_of_turn import wrong_state
from isthmus_methods.parts.survival.concordance import predictor_cells
from isthmus_methods.parts.survival.country_fit import (
    Gathered,
    Heaviest,
    Second,
    Wanted,
    Weighed,
    rows_of,
    second_pass,
    support_of,
    third_pass,
    was_rounded,
    weighed,
)
from isthmus_methods.parts.survival.cox_country import beta_of, meat_items
from isthmus_methods.parts.survival.cox_plan import EMPTY_INTERVAL, FAR_OFF, NO_EVENTS, Plan
from isthmus_methods.parts.survival.partial_likelihood import Place
from isthmus_methods.parts.survival.pooled_risk_sets import (
    FARTHEST,
    Listed,
    Stays,
    apart_at,
    pooled_sets,
    shares_at,
    supports_at,
)
from isthmus_methods.parts.survival.proportionality import is_scale, shape_support
from isthmus_methods.parts.survival.risk_sets import RiskTable, SortedRows, risk_table
from isthmus_methods.parts.survival.risk_steps import Steps, TimeCounts, time_counts
from isthmus_methods.parts.symmetric import packed
from isthmus_methods.parts.time_table import ROUNDED, TIE, Grid


@dataclass(frozen=True, slots=True)
class Asked:
    """A round as its state puts it."""

    listed: Listed | None  # None: the first round
    place: Place
    sums: tuple[Array, Array] | None  # of all countries at the listed times, where they are sent back
    null: bool  # beta is zero for the first time
    last: bool
    shapes: tuple[tuple[str, Array], ...]  # transformed time at the listed times, (J,)


def _asked(plan: Plan, state: State) -> Asked:
    if not state:
        return Asked(None, Place(np.zeros(plan.p), np.zeros(plan.p)), None, False, False, ())
    beta, centre, listed = beta_of(plan, state), state.get("centre"), Listed.of(state)
    if centre is None or centre.shape != (plan.p,) or not np.all(np.isfinite(centre)):
        raise wrong_state()
    place, sums = Place(beta, centre), None
    at_risk, dying = state.get("at_risk"), state.get("dying")
    if at_risk is not None and dying is not None:
        if at_risk.shape != (listed.size, 1 + plan.p) or dying.shape != (listed.size, 2 + plan.p):
            raise wrong_state()
        sums = at_risk, dying
    shapes = tuple((name, state[f"shape {name}"]) for name in plan.shapes if f"shape {name}" in state)
    if not all(_is_of_time(name, shape, listed, plan) for name, shape in shapes):
        raise wrong_state()
    return Asked(listed, place, sums, "null" in state, "last" in state, shapes)


def _is_of_time(name: str, shape: Array, listed: Listed, plan: Plan) -> bool:
    """Whether these are the times, or a scale of them, less one number: any others would choose an event."""
    if shape.shape != (listed.size,) or not np.all(np.isfinite(shape)) or plan.grid is None:
        return False
    if name == "identity":
        times = plan.grid.times(listed.step)
        return bool(np.ptp(shape - times, axis=0) <= TIE * (1.0 + np.abs(times).max())) if len(times) else True
    ascending = shape[np.argsort(listed.step, kind="stable")]
    return is_scale(ascending - ascending[:1])


def _wanted(plan: Plan, asked: Asked, spec: Spec) -> Wanted:
    if plan.grid is None:
        raise wrong_state()
    return Wanted(
        efron=plan.efron,
        clusters="" in plan.robust,
        residuals=plan.robust if asked.null or asked.last else (),
        pairs=plan.concordance and asked.last,
        grid=(plan.grid, column_name(spec.role("time")[0])),
    )


def fold(block: Block, spec: Spec, plan: Plan, state: State, local: Any) -> Partial:
    """One pass over one block."""
    asked = _asked(plan, state)
    wanted = _wanted(plan, asked, spec)
    if isinstance(local, Gathered):
        return second_pass(block, spec, local, wanted, tuple(shape for _, shape in asked.shapes))
    if isinstance(local, Weighed):
        return third_pass(block, spec, local, wanted)
    rows = rows_of(block, spec, wanted)
    there = _there(block, spec, rows, asked.place, was_rounded(block, spec, wanted))
    if asked.listed is None:
        counts = time_counts(rows, _steps(plan))
        return Counted(there, rows.centre * rows.size, counts)
    if asked.sums is not None:
        return there
    return _sums(rows, asked.place, there)


def _steps(plan: Plan) -> Steps:
    """The time grid's own steps, on which the rows already are."""
    if plan.grid is None:
        raise wrong_state()
    return Steps("time", Grid(0.0, 1.0, plan.grid.size), np.arange(plan.grid.size, dtype=np.float64), True)


def release(partial: Any, spec: Spec, plan: Plan, state: State, local: Any) -> Summary | Again:
    """The next pass, or what leaves."""
    asked = _asked(plan, state)
    wanted = _wanted(plan, asked, spec)
    if partial is None:
        return _summary_of_nobody(plan, spec, asked, wanted)
    if isinstance(partial, Counted):
        return _counts(partial, spec, plan)
    if isinstance(partial, Sums) and asked.listed is not None:
        return _shares(partial, spec, plan, asked, asked.listed)
    if isinstance(partial, There) and asked.listed is not None and asked.sums is not None:
        sets = pooled_sets(asked.place, asked.listed, *asked.sums, None, plan.efron)
        return Again(Gathered(sets, partial.used, partial.used.persons(), partial.predictor, None))
    if isinstance(partial, Second):
        return Again(weighed(local, partial))
    if not isinstance(partial, Heaviest):
        raise wrong_state()
    return _products(asked, wanted, local, partial, spec)


# --------------------------------------------------------------------------- who is there


@dataclass(frozen=True, slots=True)
class There:
    """Persons and rows, and how far their linear predictors reach. Adds."""

    used: Used
    low: float  # smallest and largest (x - centre) beta
    high: float
    total: float  # their sum
    rounded: bool

    def __add__(self, other: There, /) -> There:
        return There(
            self.used + other.used,
            min(self.low, other.low),
            max(self.high, other.high),
            self.total + other.total,
            self.rounded or other.rounded,
        )

    @property
    def predictor(self) -> float:
        """Largest distance of a linear predictor from that of the country's mean row."""
        middle = self.total / max(1, int(self.used.rows[ROWS]))
        return max(self.high - middle, middle - self.low, 0.0)

    def support(self, spec: Spec, parameters: int, effective: float | None = None) -> ModelSupport:
        """Of sums whose weights leave `effective` persons; None: one each."""
        persons = self.used.persons()
        number = int(persons[ROWS])
        return ModelSupport(
            persons=number,
            parameters=parameters,
            events=int(persons[EVENTS]),
            level_persons=level_persons(persons, spec),
            effective_persons=float(number) if effective is None else min(effective, float(number)),
            predictor=self.predictor,
        )


def notes_of(counts: Used, spec: Spec, rounded: bool = False) -> frozenset[str]:
    """What is to be said of a country's rows."""
    persons = counts.persons()
    raised = {
        NO_EVENTS: not persons[EVENTS],
        # of countries a country has one only
        LEVEL_ABSENT: any(0 in persons[where] for name, _, where in level_slices(spec) if not spec.is_country(name)),
        EMPTY_INTERVAL: counts.empty_intervals > 0,
        ROUNDED: rounded,
    }
    return frozenset(code for code, on in raised.items() if on)


def _there(block: Block, spec: Spec, rows: SortedRows, place: Place, rounded: bool) -> There:
    counts = block.memo("cox used", lambda: used(block, rows, spec))
    eta, middle = rows.predictor(place.beta)[0], float((rows.centre - place.centre) @ place.beta)
    low, high = (float(eta.min()) + middle, float(eta.max()) + middle) if rows.size else (np.inf, -np.inf)
    return There(counts, low, high, middle * rows.size, rounded)


@dataclass(frozen=True, slots=True)
class Counted:
    """The first round. Adds."""

    there: There
    covariates: Array  # (p,) summed over rows
    times: TimeCounts

    def __add__(self, other: Counted, /) -> Counted:
        return Counted(self.there + other.there, self.covariates + other.covariates, self.times + other.times)


def _counts(total: Counted, spec: Spec, plan: Plan) -> Summary:
    used_, persons = total.there.used, total.there.used.persons()
    items = count_items(used_, persons, spec)
    for s, code in enumerate(total.times.strata):
        support = total.times.support(s, hazard=False)
        items.append(Item("time_table", total.times.rows[s, :, :-1], support, plan.stratum_label(int(code))))
    value = np.concatenate([[float(used_.rows[ROWS])], total.covariates])
    items.append(_all_at_once("whole", value, int(persons[ROWS]), total.there.support(spec, plan.p)))
    return Summary(tuple(items), notes_of(used_, spec, total.there.rounded))


def _all_at_once(field: str, value: Array, persons: int, model: ModelSupport) -> Item:
    """A sum over all of some persons, as of those at risk at one time."""
    number = np.array([persons], dtype=np.int64)
    return Item(field, value[None, :], RiskSetSupport(TimeSupport(persons, number, number), model))


# --------------------------------------------------------------------------- sums at the listed times


@dataclass(frozen=True, slots=True)
class Sums:
    """What the rows put into the risk sets, and who stands behind it. Adds."""

    there: There
    table: RiskTable | None  # None: out of the range of numbers
    stays: Stays
    weights: Array  # by person

    def __add__(self, other: Sums, /) -> Sums:
        table = None if self.table is None or other.table is None else self.table + other.table
        return Sums(self.there + other.there, table, self.stays + other.stays, padded_sum(self.weights, other.weights))


def _sums(rows: SortedRows, place: Place, there: There) -> Sums:
    if rows.size and not max(there.high, -there.low) <= FARTHEST:
        return Sums(there, None, Stays.of(rows), np.zeros(0))
    weights = rows.predictor(place.beta)[1] * np.exp((rows.centre - place.centre) @ place.beta)
    by_person = np.bincount(rows.subject, weights=weights).astype(np.float64)
    return Sums(there, risk_table(rows, place.beta).seen_from(place.centre, 0.0), Stays.of(rows), by_person)


def tied_times(plan: Plan, listed: Listed) -> Booleans:
    """Where the sums over the events are needed too, (J,)."""
    return (listed.number > 1) & plan.efron


def _shares(total: Sums, spec: Spec, plan: Plan, asked: Asked, listed: Listed) -> Summary:
    tied = tied_times(plan, listed)
    at, of_events = supports_at(total.stays, listed, tied)
    stays, beside = apart_at(total.stays, listed, tied)
    squares = float(total.weights @ total.weights)
    effective = float(total.weights.sum()) ** 2 / squares if squares > 0 else 0.0
    model = total.there.support(spec, plan.p, effective)
    notes = notes_of(total.there.used, spec, total.there.rounded)
    if total.table is None:
        zeros = np.zeros((listed.size, 2 + plan.p))
        at_risk, dying, observed = zeros[:, :-1], zeros, np.zeros(1 + plan.p)
        notes |= {FAR_OFF}
    else:
        at_risk, dying = shares_at(total.table, listed, asked.place, tied)
        at_risk[at.at_risk == 0] = 0.0
        observed = np.concatenate([[dying[:, -1].sum()], total.table.death_x])
    items = _share_items(tied, at_risk, dying, RiskSetSupport(at, model, stays, beside), of_events)
    if plan.weighted:
        _, everyone = supports_at(total.stays, listed, np.ones(listed.size, dtype=np.bool_))
        items.append(Item("event_weight", dying[:, -1:], RiskSetSupport(everyone, model)))
    if asked.null:
        number = int(total.there.used.persons()[EVENTS])
        items.append(_all_at_once("events", observed, number, model))
    return Summary(tuple(items), notes)


def _share_items(
    tied: Booleans,
    at_risk: Array,
    dying: Array,
    at: RiskSetSupport,
    of_events: TimeSupport,
) -> list[Item]:
    items = [Item("at_risk", at_risk, at)]
    if tied.any():
        items.append(Item("dying", np.ascontiguousarray(dying[:, :-1]), RiskSetSupport(of_events, at.model)))
    return items


# --------------------------------------------------------------------------- sums with the pooled hazard


def _products(asked: Asked, wanted: Wanted, local: Weighed, heaviest: Heaviest, spec: Spec) -> Summary:
    support = support_of(local, heaviest, spec)
    second, sets = local.second, local.known.sets
    items = [Item("cross_product", packed(second.cross.about(sets.centre)), support)]
    if second.residuals is not None:
        items += meat_items(second.residuals, wanted.residuals, support)
    for (name, _), total in zip(asked.shapes, second.shapes, strict=True):
        own = shape_support(total, support)
        observed = total.events_x + total.events_g * (total.centre - sets.centre)
        items += [
            Item("shape_score", observed, own, name),
            Item("shape_cross_product", packed(total.once.about(sets.centre)), own, name),
            Item("shape_cross_product", packed(total.twice.about(sets.centre)), own, squared(name)),
        ]
    if wanted.pairs:
        cells, bins = predictor_cells(second.predictors)
        items.append(Item("ranks", cells, bins))
    return Summary(tuple(items), notes_of(local.known.used, spec))


def squared(shape: str) -> str:
    """Label of the sums with the square of transformed time."""
    return f"{shape} squared"


def _summary_of_nobody(plan: Plan, spec: Spec, asked: Asked, wanted: Wanted) -> Summary:
    """Zeros, so that a country without rows adds nothing and is named."""
    total = nobody(spec)
    persons = total.persons()
    model = ModelSupport(0, plan.p, 0, level_persons(persons, spec))
    if asked.listed is None:
        items = [item for item in count_items(total, persons, spec) if item.field != "excluded"]
        items.append(_all_at_once("whole", np.zeros(1 + plan.p), 0, model))
    elif asked.sums is None:
        none: Integers = np.zeros(asked.listed.size, dtype=np.int64)
        time = TimeSupport(0, none, none)
        zeros = np.zeros((asked.listed.size, 2 + plan.p))
        items = _share_items(tied_times(plan, asked.listed), zeros[:, :-1], zeros, RiskSetSupport(time, model), time)
        if plan.weighted:
            items.append(Item("event_weight", zeros[:, -1:], RiskSetSupport(time, model)))
        if asked.null:
            items.append(_all_at_once("events", np.zeros(1 + plan.p), 0, model))
    else:
        zeros = packed(np.zeros((plan.p, plan.p)))
        items = [Item("cross_product", zeros, model)]
        items += [Item("meat", zeros, model, label) for label in wanted.residuals]
        for name, _ in asked.shapes:
            items += [
                Item("shape_score", np.zeros(plan.p), model, name),
                Item("shape_cross_product", zeros, model, name),
                Item("shape_cross_product", zeros, model, squared(name)),
            ]
        if wanted.pairs:
            cells, bins = predictor_cells(None)
            items.append(Item("ranks", cells, bins))
    return Summary(tuple(items), frozenset({NO_ROWS}))
