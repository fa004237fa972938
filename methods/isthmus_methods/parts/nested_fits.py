"""Several models fitted side by side by Newton's method, in the same rounds: the whole one and those without a term.

A likelihood-ratio test of each term needs each smaller model at its own maximum. All of them look at the same columns,
so one round asks every country for the log-likelihood, score and information of all models that have not ended yet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from isthmus_methods.contract import Array, Booleans, State
from isthmus_methods.parts.newton import SAME_LOGLIK, Accepted, Move, Solved, decide, solve


@dataclass(frozen=True, slots=True)
class ModelFit:
    """One of the models: where its fit is, or where it ended.

    `beta` (q,) is where to look next; once `over` is set it is the estimate, and `loglik`, `score`, `information` are
    those at it. Columns outside `kept` stay at zero.
    """

    name: str
    allowed: Booleans  # (q,) columns that this model has
    beta: Array
    kept: Booleans | None = None  # of these, the ones that are no combination of earlier ones
    accepted: Accepted | None = None
    over: Move | None = None
    loglik: float = np.nan
    score: Array = field(default_factory=lambda: np.zeros(0))
    information: Array = field(default_factory=lambda: np.zeros((0, 0)))
    distance: float = np.nan
    infinite: Booleans = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))
    rounds: int = 0
    last: bool = False  # `beta` is expected to be the maximum; known until the next round only

    def after(
        self, loglik: float, score: Array, information: Array, most: int, same_loglik: float = SAME_LOGLIK
    ) -> ModelFit:
        """The fit once it knows the log-likelihood (), its gradient (q,) and minus its curvature (q, q) at `beta`.

        `most` : rounds after which it ends where it stands. `same_loglik` : as `decide` has it.
        """
        kept = solve(information, self.allowed).kept if self.kept is None else self.kept
        mine = np.where(kept, score, 0.0)
        solved = solve(information, kept)
        decision = decide(self.beta, loglik, mine, solved, self.accepted, same_loglik)
        lost = kept & ~solved.kept
        if lost.any() and decision.move in (Move.STEP, Move.CONVERGED):
            # they ran so far that no information on them is left
            decision = replace(decision, move=Move.INFINITE, beta=self.beta, infinite=lost)
        number = self.rounds + 1
        if decision.move in (Move.STEP, Move.HALVE) and number < most:
            return replace(
                self,
                beta=decision.beta,
                kept=kept,
                accepted=decision.accepted,
                distance=decision.distance,
                information=information,
                rounds=number,
                last=decision.last,
            )
        return replace(
            self,
            kept=kept,
            accepted=decision.accepted,
            over=decision.move,
            loglik=loglik,
            score=mine,
            information=information,
            distance=decision.distance,
            infinite=decision.infinite,
            rounds=number,
        )

    @property
    def converged(self) -> bool:
        return self.over is Move.CONVERGED

    def solved(self) -> Solved:
        """The information at the estimate, inverted on the columns kept."""
        return solve(self.information, self.kept)

    @property
    def df(self) -> int:
        """Number of parameters estimated."""
        return 0 if self.kept is None else int(self.kept.sum())


def remember(fits: Sequence[ModelFit]) -> dict[str, Array]:
    """The fits as a method's memory."""
    kept: dict[str, Array] = {}
    for k, fit in enumerate(fits):
        q = len(fit.beta)
        numbers = np.array(
            [fit.loglik, fit.distance, float(fit.rounds), -1.0 if fit.over is None else float(fit.over.value)]
        )
        kept[f"fit {k} {fit.name}"] = np.concatenate([numbers, fit.allowed.astype(np.float64), fit.beta])
        if fit.kept is not None:
            kept[f"kept {k}"] = fit.kept.astype(np.float64)
        if fit.accepted is not None:
            kept[f"accepted {k}"] = fit.accepted.packed()
        if fit.over is not None:
            infinite = fit.infinite if len(fit.infinite) else np.zeros(q, dtype=np.bool_)
            kept[f"end {k}"] = np.concatenate([fit.score, infinite.astype(np.float64), fit.information.ravel()])
    return kept


def recall(memory: State) -> tuple[ModelFit, ...]:
    """The fits of a memory, in their order."""
    fits: dict[int, ModelFit] = {}
    for key, array in memory.items():
        if not key.startswith("fit "):
            continue
        _, number, name = key.split(" ", 2)
        k = int(number)
        q = (len(array) - 4) // 2
        over = None if array[3] < 0 else Move(int(array[3]))
        fit = ModelFit(
            name,
            np.asarray(array[4 : 4 + q] > 0, dtype=np.bool_),
            np.array(array[4 + q :]),
            loglik=float(array[0]),
            distance=float(array[1]),
            rounds=int(array[2]),
            over=over,
        )
        if f"kept {k}" in memory:
            fit = replace(fit, kept=np.asarray(memory[f"kept {k}"] > 0, dtype=np.bool_))
        if f"accepted {k}" in memory:
            fit = replace(fit, accepted=Accepted.unpacked(memory[f"accepted {k}"]))
        if f"end {k}" in memory:
            end = memory[f"end {k}"]
            fit = replace(
                fit,
                score=np.array(end[:q]),
                infinite=np.asarray(end[q : 2 * q] > 0, dtype=np.bool_),
                information=np.array(end[2 * q :]).reshape(q, q),
            )
        fits[k] = fit
    return tuple(fits[k] for k in sorted(fits))


def looking_at(fits: Sequence[ModelFit]) -> tuple[int, ...]:
    """Places of the models that go on."""
    return tuple(k for k, fit in enumerate(fits) if fit.over is None)


def furthest(fits: Sequence[ModelFit]) -> float:
    """The largest distance to a maximum among the models: what a progress display shows."""
    return max((fit.distance for fit in fits if np.isfinite(fit.distance)), default=0.0)


def unpacked_each(packed: Array, q: int) -> Array:
    """Symmetric matrices (m, q, q) of upper triangles (m, q (q + 1) / 2), row by row."""
    full = np.zeros((len(packed), q, q))
    rows, columns = np.triu_indices(q)
    full[:, rows, columns] = packed
    full[:, columns, rows] = packed
    return full


def by_name(fits: Sequence[ModelFit]) -> Mapping[str, ModelFit]:
    return {fit.name: fit for fit in fits}
