"""Newton's method on a log-likelihood that comes in by rounds: steps, step halving, aliased terms, when to stop.

Used at the coordinator, where a round is a question to all countries, and inside a country that fits its own model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

import numpy as np

from isthmus_methods.contract import Array, Booleans

# A pivot below this, on a unit diagonal, makes the column a combination of those before it (coxph: eps^0.75).
PIVOT = float(np.finfo(np.float64).eps ** 0.75)
# Newton distance sqrt(u' I^-1 u), in standard errors, at which the fit is done: a coefficient a hundredth of its
# standard error from zero has eight digits then. Where the start was very far, as share of the distance there.
CLOSE, FAR = 1e-10, 1e-13
# The distance at which rounding, not the model, stops the progress.
ROUGH = 1e-6
# coxph's settings: relative change of the log-likelihood, and the step that is large for a converged one.
SAME_LOGLIK = 1e-9
LARGE_STEP = math.sqrt(SAME_LOGLIK)
# A step of a coefficient that runs away is this share of it or more: it moves by 1 and is not beyond 100.
RUNNING = 0.01
# A log-likelihood that falls by less has not fallen.
ROUNDING = 1e-12
HALVINGS = 25


@dataclass(frozen=True, slots=True)
class Solved:
    """A symmetric non-negative matrix, inverted on the columns that are no combination of earlier ones."""

    kept: Booleans  # (p,)
    inverse: Array  # (p, p), zero outside `kept`
    condition: float  # of the kept part on a unit diagonal


def solve(matrix: Array, allowed: Booleans | None = None, most: int | None = None) -> Solved:
    """Invert `matrix` (p, p) on its independent columns, in their order, as R's coxph does.

    `allowed` (p,): columns that may be kept; None: all. `most`: the rank, where it is known; further columns are
    combinations of earlier ones, whatever rounding says.
    """
    p = len(matrix)
    diagonal = np.diag(matrix)
    usable = (diagonal > 0) & (np.ones(p, dtype=np.bool_) if allowed is None else allowed)
    scale = np.where(usable, 1.0 / np.sqrt(np.where(usable, diagonal, 1.0)), 0.0)
    unit = matrix * np.outer(scale, scale)
    kept = usable if _is_of_full_rank(unit[np.ix_(usable, usable)], most) else _independent(unit, usable, most)
    inverse = np.zeros((p, p))
    if not kept.any():
        return Solved(kept, inverse, 1.0)
    where = np.ix_(kept, kept)
    part = np.linalg.inv(unit[where])
    inverse[where] = (part + part.T) / 2
    inverse *= np.outer(scale, scale)
    values = np.linalg.eigvalsh(unit[where])
    return Solved(kept, inverse, float(values[-1] / max(values[0], np.finfo(np.float64).tiny)))


def _is_of_full_rank(unit: Array, most: int | None) -> bool:
    """Whether every pivot of a matrix with a unit diagonal is clearly one: the squares of Cholesky's diagonal."""
    if most is not None and most < len(unit):
        return False
    try:
        diagonal = np.diag(np.linalg.cholesky(unit))
    except np.linalg.LinAlgError:
        return False
    return bool(np.all(diagonal**2 > 2 * PIVOT))


def _independent(unit: Array, usable: Booleans, most: int | None) -> Booleans:
    """The columns that are no combination of earlier ones, (p,), one pivot after the other."""
    rest, kept = unit.copy(), np.zeros(len(unit), dtype=np.bool_)
    for j in np.flatnonzero(usable):
        pivot = rest[j, j]
        if pivot > PIVOT and (most is None or np.count_nonzero(kept) < most):
            kept[j] = True
            column = rest[j + 1 :, j] / pivot
            rest[j + 1 :, j + 1 :] -= np.outer(column, rest[j + 1 :, j])
    return kept


def quadratic(vector: Array, matrix: Array, most: int | None = None) -> float:
    """``vector' matrix^-1 vector`` over the matrix's independent columns, in their order, `most` of them."""
    return float(vector @ solve(matrix, most=most).inverse @ vector)


class Move(Enum):
    STEP = 0  # on to the next beta
    HALVE = 1  # back towards the last accepted beta
    CONVERGED = 2
    INFINITE = 3  # the log-likelihood has converged, some coefficients have not: they may be infinite
    STUCK = 4  # no step raises the log-likelihood


@dataclass(frozen=True, slots=True)
class Accepted:
    """The last beta that did not lower the log-likelihood."""

    beta: Array
    loglik: float
    distance: float
    first_distance: float
    null_loglik: float
    halvings: int = 0

    def packed(self) -> Array:
        """As one array: what the coordinator remembers between rounds."""
        numbers = [self.loglik, self.distance, self.first_distance, self.null_loglik, float(self.halvings)]
        return np.concatenate([numbers, self.beta])

    @classmethod
    def unpacked(cls, array: Array) -> Accepted:
        loglik, distance, first, null, halvings = (float(x) for x in array[:5])
        return cls(np.array(array[5:]), loglik, distance, first, null, int(halvings))


@dataclass(frozen=True, slots=True)
class Decision:
    move: Move
    beta: Array  # where to look next; the present one where the fit is over
    accepted: Accepted
    distance: float  # sqrt(u' I^-1 u) here
    last: bool  # the next beta is expected to be the last
    infinite: Booleans  # (p,)


def has_fallen(loglik: float, before: Accepted | None) -> bool:
    """Whether a log-likelihood is lower than the last accepted one, or no number."""
    return before is not None and not loglik >= before.loglik - ROUNDING * abs(before.loglik)


def decide(
    beta: Array,
    loglik: float,
    score: Array,
    solved: Solved,
    before: Accepted | None,
    same_loglik: float = SAME_LOGLIK,
) -> Decision:
    """What to do with the log-likelihood, score and information at `beta`.

    `before` is None at the starting value. `same_loglik`: relative change of a log-likelihood that has converged.
    """
    step = solved.inverse @ score
    distance = math.sqrt(max(float(score @ step), 0.0))
    none = np.zeros(len(beta), dtype=np.bool_)
    if before is not None and has_fallen(loglik, before):
        # the step went too far (or to where nothing is finite): halfway back
        moved = Accepted(
            before.beta,
            before.loglik,
            before.distance,
            before.first_distance,
            before.null_loglik,
            before.halvings + 1,
        )
        move = Move.HALVE if moved.halvings <= HALVINGS else Move.STUCK
        return Decision(move, (beta + before.beta) / 2, moved, distance, False, none)
    first = distance if before is None else before.first_distance
    here = Accepted(beta, loglik, distance, first, loglik if before is None else before.null_loglik)
    close = max(CLOSE, FAR * first)
    if distance <= close:
        return Decision(Move.CONVERGED, beta, here, distance, True, none)
    expected = distance**2
    if before is not None and before.halvings == 0:
        ratio = distance / before.distance
        if distance <= ROUGH * max(1.0, first) and ratio > 0.1:
            # rounding stops the progress, unless some coefficient still moves by a share of itself
            runs = (np.abs(step) > SAME_LOGLIK) & (np.abs(step) > RUNNING * np.abs(beta))
            return Decision(Move.INFINITE if runs.any() else Move.CONVERGED, beta, here, distance, True, runs)
        change = abs(loglik - before.loglik)
        same = change <= same_loglik * max(abs(loglik), abs(here.null_loglik))
        infinite = (np.abs(step) > SAME_LOGLIK) & (np.abs(step) > LARGE_STEP * np.abs(beta))
        if same and ratio > 0.2 and infinite.any():
            return Decision(Move.INFINITE, beta, here, distance, True, infinite)
        expected = distance * ratio / before.distance * distance
    return Decision(Move.STEP, beta + step, here, distance, expected <= close, none)
