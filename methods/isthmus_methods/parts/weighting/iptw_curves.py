"""Inverse probability weighting inside a country: the weighted curves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from isthmus_methods.contract import (
    Again,
    Array,
    Block,
    Item,
    ModelSupport,
    RiskSetSupport,
    Spec,
    State,
    Summary,
    TimeSupport,
)
from isthmus_methods.parts.cross_product import padded_sum
from isthmus_methods.parts.out_of_turn import wrong_state
from isthmus_methods.parts.survival.pooled_risk_sets import Listed, Stays, rows_on_grid, supports_at
from isthmus_methods.parts.survival.risk_steps import Steps, TimeCounts, time_counts
from isthmus_methods.parts.time_table import Grid, on_grid
from isthmus_methods.parts.weighting.iptw_plan import ARMS, Plan
from isthmus_methods.parts.weighting.iptw_rows import share_of, weighted_rows, weights_of


@dataclass(frozen=True, slots=True)
class CurveSums:
    """Weights at risk and of the events at the listed times, by arm, and who stands behind them. Adds."""

    at_risk: Array  # (2, J)
    events: Array  # (2, J)
    stays: tuple[Stays, Stays]
    by_person: tuple[Array, Array]

    def __add__(self, other: CurveSums, /) -> CurveSums:
        return CurveSums(
            self.at_risk + other.at_risk,
            self.events + other.events,
            (self.stays[0] + other.stays[0], self.stays[1] + other.stays[1]),
            (padded_sum(self.by_person[0], other.by_person[0]), padded_sum(self.by_person[1], other.by_person[1])),
        )


class CurvesHalf:
    """First the time table, from which event times are listed; then weights at risk and of events there, by arm."""

    def __init__(self, plan: Plan, spec: Spec, common: State, name: str) -> None:
        self._plan, self._spec, self._state, self._name = plan, spec, common, name

    def fold(self, block: Block, spec: Spec, state: State, local: Any) -> CurveSums | TimeCounts:
        rows = weighted_rows(block, self._plan, self._spec, self._state)
        if not state:
            sorted_, _ = rows_on_grid(replace(rows.block, columns=rows.times(), _kept={}), self._plan.grid, self._name)
            return time_counts(sorted_, self._steps())
        listed = Listed.of(state)
        weights = weights_of(rows, self._plan.last, share_of(self._state), self._plan.truncate)
        steps, _ = on_grid(self._plan.grid, rows.time, self._name)
        at_risk, events, stays, persons = np.zeros((2, listed.size)), np.zeros((2, listed.size)), [], []
        for k in (0, 1):
            mine = rows.treated == bool(k)
            step, w, died = steps[mine], weights[mine], rows.event[mine] == 1.0
            subject = rows.block.subject[mine]
            order = np.argsort(step, kind="stable")
            left = np.append(np.cumsum(w[order][::-1])[::-1], 0.0)
            at_risk[k] = left[np.searchsorted(step[order], listed.step, side="left")]
            place = np.searchsorted(listed.step, step[died])
            if np.any(place >= listed.size) or not np.array_equal(listed.step[place], step[died]):
                raise wrong_state()
            events[k] = np.bincount(place, weights=w[died], minlength=listed.size)
            none = np.zeros(len(step), dtype=np.int64)
            stays.append(Stays(none, step.astype(np.int64), none - 1, died, subject))
            persons.append(np.bincount(subject, weights=w, minlength=1).astype(np.float64))
        return CurveSums(at_risk, events, (stays[0], stays[1]), (persons[0], persons[1]))

    def _steps(self) -> Steps:
        """The time grid's own steps, on which the rows already are."""
        size = self._plan.grid.size
        return Steps(self._name, Grid(0.0, 1.0, size), np.arange(size, dtype=np.float64), False)

    def release(self, partial: Any, spec: Spec, state: State, local: Any) -> Summary | Again:
        if not state:
            if not isinstance(partial, TimeCounts):
                return Summary(())
            return Summary((Item("time_table", partial.rows[0, :, :-1], partial.support()),))
        listed = Listed.of(state)
        items = []
        for k, arm in enumerate(ARMS):
            none = np.zeros(listed.size, dtype=np.int64)
            value, time, model = np.zeros((listed.size, 2)), TimeSupport(0, none, none), ModelSupport(0, 1)
            if isinstance(partial, CurveSums):
                _, persons = np.unique(partial.stays[k].subject, return_counts=True)
                w = partial.by_person[k]
                squares = float(w @ w)
                time, _ = supports_at(partial.stays[k], listed, listed.number > 0)
                number = len(persons)
                effective = min(float(w.sum()) ** 2 / squares, float(number)) if squares > 0 else 0.0
                model = ModelSupport(number, 1, effective_persons=effective)
                value = np.column_stack([partial.at_risk[k], partial.events[k]])
                value[time.at_risk == 0] = 0.0
            items.append(Item("weighted_table", value, RiskSetSupport(time, model), arm))
        return Summary(tuple(items))
