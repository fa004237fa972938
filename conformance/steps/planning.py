"""Group-sequential bounds: no rows, the client's planning functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from conformance.case import Step
from conformance.step import Context, Way, nothing
from isthmus_client import planning
from isthmus_client.results.fit import Fit

SPENDINGS = (planning.OBRIEN_FLEMING, planning.POCOCK, planning.hwang_shih_decani(-4.0))


def _bounds(step: Step, fits: Sequence[Fit], context: Context) -> Mapping[str, Any]:
    return {spending.name: _columns(step, spending) for spending in SPENDINGS}


def _columns(step: Step, spending: planning.Spending) -> Mapping[str, Any]:
    plan = planning.design(step["information_fractions"], alpha=step["alpha"], sides=step["sides"], spending=spending)
    rows = [look.row() for look in plan.looks]
    return {key: [row[key] for row in rows] for key in rows[0]}


STEPS: Mapping[str, Way] = {"group_sequential": Way(nothing, _bounds)}
