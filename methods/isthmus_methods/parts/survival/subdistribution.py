"""The subdistribution hazard of one cause: sums over weighted risk sets on a time grid, and score residuals.

A row that ended by another cause stays in the risk set with weight G(t-) / G(T-), G the Kaplan-Meier curve of
censoring. With r = exp(x beta): S0(t) = sum of r over rows with T >= t, plus G(t-) times the sum of r / G(T-) over rows
that another cause ended before t; S1 the same with the columns. One pass of sums by step gives both.

Source: Fine & Gray (1999), JASA 94, 496-509, sections 3 and 4; ties as Breslow, as R cmprsk's `crr` has them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isthmus_methods.contract import Array, Booleans, Integers


@dataclass(frozen=True, slots=True)
class CauseRows:
    """Rows of one country on the grid; x about the pooled centre."""

    x: Array  # (n, p)
    step: Integers  # (n,)
    event: Booleans  # (n,) ended by the cause of interest
    other: Booleans  # (n,) ended by another cause
    free: Array  # (T,) G just before each step, of all countries

    @property
    def censored(self) -> Booleans:
        none: Booleans = ~(self.event | self.other)
        return none

    def relative(self, beta: Array) -> Array:
        """exp(x beta), (n,)."""
        r: Array = np.exp(self.x @ beta)
        return r


def censoring_free(left: Array, censored: Array, times: Array) -> Array:
    """G just before each step, (T,), from leavers and censored by step.

    Nothing is just before time 0: there, as in `crr`, G is what the rows censored at 0 leave of it.
    """
    at_risk = np.cumsum(left[::-1])[::-1]
    factors = 1.0 - censored / np.where(at_risk > 0, at_risk, 1.0)
    after = np.cumprod(factors)
    before = np.concatenate([[1.0], after[:-1]])
    free: Array = np.where(times > 0, before, after)
    return free


def by_step(step: Integers, values: Array, size: int) -> Array:
    """Rows' values (n, m) summed by step, (T, m)."""
    sums = np.empty((size, values.shape[1]))
    for k in range(values.shape[1]):
        sums[:, k] = np.bincount(step, weights=values[:, k], minlength=size)
    return sums


def waiting_at(rows: CauseRows, r: Array, steps: Integers) -> Array:
    """Sums of r / G(T-) times [1, x] over rows that another cause ended before each listed step, (J, 1 + p)."""
    scaled = np.where(rows.other, r / rows.free[rows.step], 0.0)
    sums = by_step(rows.step, np.column_stack([scaled, rows.x * scaled[:, None]]), len(rows.free))
    before = np.vstack([np.zeros((1, sums.shape[1])), np.cumsum(sums, axis=0)])
    found: Array = before[steps]
    return found


def at_risk_at(rows: CauseRows, r: Array, steps: Integers) -> Array:
    """S0 and S1 at the listed steps, (J, 1 + p)."""
    sums = by_step(rows.step, np.column_stack([r, rows.x * r[:, None]]), len(rows.free))
    plain = np.cumsum(sums[::-1], axis=0)[::-1][steps]
    found: Array = plain + rows.free[steps][:, None] * waiting_at(rows, r, steps)
    return found


@dataclass(frozen=True, slots=True)
class Hazard:
    """The pooled subdistribution hazard at the listed steps, and its sums along the grid."""

    steps: Integers  # (J,)
    jumps: Array  # (J,) d / S0
    mean: Array  # (J, p) S1 / S0
    free: Array  # (T,)

    @classmethod
    def of(cls, steps: Integers, number: Array, at_risk: Array, free: Array) -> Hazard:
        """From events and pooled S0, S1 at the listed steps."""
        return cls(steps, number / at_risk[:, 0], at_risk[:, 1:] / at_risk[:, :1], free)

    def _sums(self, weights: Array) -> Array:
        """Sums of weights times [1, mean] over listed steps up to and including each step of the grid, (T, 1 + p)."""
        grid = np.zeros((len(self.free), 1 + self.mean.shape[1]))
        grid[self.steps, 0] = weights
        grid[self.steps, 1:] = weights[:, None] * self.mean
        summed: Array = np.cumsum(grid, axis=0)
        return summed

    def gathered(self, rows: CauseRows) -> Array:
        """For each row the hazard it meets with its weights, and that times the mean, (n, 1 + p)."""
        plain = self._sums(self.jumps)[rows.step]
        staying = self._sums(self.jumps * self.free[self.steps])
        later = staying[-1] - staying[rows.step]
        found: Array = plain + np.where(rows.other, 1.0 / rows.free[rows.step], 0.0)[:, None] * later
        return found

    def still_to_come(self) -> Array:
        """Sums of G(t-) d/S0 times [1, mean] over listed steps at or after each step, (T, 1 + p)."""
        staying = self._sums(self.jumps * self.free[self.steps])
        before = np.vstack([np.zeros((1, staying.shape[1])), staying[:-1]])
        later: Array = staying[-1] - before
        return later


def residuals(rows: CauseRows, hazard: Hazard, r: Array) -> Array:
    """Each row's own part of the score, (n, p), with its weights taken as known."""
    gathered = hazard.gathered(rows)
    parts = r[:, None] * (gathered[:, 1:] - rows.x * gathered[:, :1])
    if len(hazard.steps):
        mean = np.zeros((len(rows.free), rows.x.shape[1]))
        mean[hazard.steps] = hazard.mean
        parts[rows.event] += rows.x[rows.event] - mean[rows.step[rows.event]]
    return parts


def censoring_residuals(
    rows: CauseRows, hazard: Hazard, waiting: Array, steps: Integers, censored: Array, n: Array
) -> Array:
    """What estimating G adds to each row's part of the score, (n, p).

    Parameters
    ----------
    waiting : (U, 1 + p), `waiting_at` of all countries at the steps of censoring.
    steps, censored, n : (U,), these steps, and how many are censored and at risk at them.
    """
    to_come = hazard.still_to_come()[steps]
    # q(u), (U, p)
    q = waiting[:, 1:] * to_come[:, :1] - waiting[:, :1] * to_come[:, 1:]
    size, p = len(rows.free), rows.x.shape[1]
    own, lost = np.zeros((size, p)), np.zeros((size, p))
    own[steps] = q / n[:, None]
    lost[steps] = q * (censored / n**2)[:, None]
    compensated = np.cumsum(lost, axis=0)
    parts: Array = np.where(rows.censored[:, None], own[rows.step], 0.0) - compensated[rows.step]
    return parts
