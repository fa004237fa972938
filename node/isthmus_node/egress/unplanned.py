"""What is asked outside an approved plan, judged before anything is summed: one answer to nobody and to a few persons.

Whoever may choose the number in a filter can halve it until somebody is alone on one side. So the numbers lie on a
coarse grid that follows from the study's dictionary and the site's policy, and a side with nobody is refused as one
with a few persons is, by the same words.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from isthmus_methods.contract import Booleans, Variable, VariableType
from isthmus_methods.rows import Cohorts
from isthmus_node.egress.form import Violation
from isthmus_node.egress.thresholds import Limits

PLANNED = "ask for it in a plan that the site's custodian approves, or use a factor with levels fixed in the dictionary"
LARGER = "ask about more persons, with fewer or other conditions, or in a plan that the site's custodian approves"
OFF_GRID = "CUT_POINT_OFF_GRID"
# Widths of a grid, times a power of ten.
_WIDTHS = (1.0, 2.0, 2.5, 5.0)
# How near a number is to a place of the grid, in steps, for rounding of decimal fractions.
_ON_GRID = 1e-9


def cuts_are_on_grid(cohorts: Cohorts, limits: Limits) -> Violation | None:
    """Attack 18: a number that nobody chose finely. Depends on the request, the dictionary and the policy alone."""
    for cut in cohorts.cuts:
        step = step_of(cut.variable, limits.cut_points)
        if step is None:
            return Violation(OFF_GRID, limits.rule("cut_points"), PLANNED)
        place = cut.number / step
        if not abs(place - round(place)) <= _ON_GRID:
            near = " or ".join(f"{math.floor(place) * step + more:.10g}" for more in (0.0, step))
            remedy = f"cut {cut.variable.name[:64]} at {near}, with < or >=, or {PLANNED}"
            return Violation(OFF_GRID, limits.rule("cut_points"), remedy)
    return None


def sides_are_of_many(cohorts: Cohorts, limits: Limits) -> Violation | None:
    """Attacks 18, 38: the cohort, and either side of each cut of it, is of k persons or more; nobody is too few."""
    if any(_persons(cohorts, rows) < limits.cell_persons for rows in _sides(cohorts)):
        return Violation("FEW_PERSONS", limits.rule("cell_persons"), LARGER)
    return None


def step_of(variable: Variable, most: int) -> float | None:
    """The width of the grid on which a variable may be cut: its range in no more than `most` parts, in round numbers.

    None where the dictionary fixes no range.
    """
    if variable.minimum is None or variable.maximum is None or not variable.minimum < variable.maximum:
        return None
    least = (variable.maximum - variable.minimum) / most
    if variable.type is VariableType.INTEGER:
        least = max(least, 1.0)
    if variable.grid is not None and variable.grid >= least:
        return variable.grid
    power = 10.0 ** math.floor(math.log10(least))
    return next(
        width
        for width in (factor * power * more for more in (1.0, 10.0) for factor in _WIDTHS)
        if width >= least * (1.0 - _ON_GRID) and (variable.type is not VariableType.INTEGER or width.is_integer())
    )


def _sides(cohorts: Cohorts) -> Iterator[Booleans]:
    if not cohorts.is_of_events:
        yield cohorts.used
    for cut in cohorts.cuts:
        yield cut.inside
        yield cut.outside


def _persons(cohorts: Cohorts, rows: Booleans) -> int:
    return len(np.unique(cohorts.subject[rows]))
