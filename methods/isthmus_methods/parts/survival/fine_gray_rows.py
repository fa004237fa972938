"""Fine and Gray's model inside a country: the request, and what its rows give in each round."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from isthmus.errors import MethodError, UsageError
from isthmus_methods.contract import (
    Array,
    Block,
    Integers,
    Spec,
    State,
    TimeSupport,
    column_name,
)
from isthmus_methods.parts.kept import kept_by_request
from isthmus_methods.parts.model_support import ROWS
from isthmus_methods.parts.model_terms import ModelTerms, model_terms
from isthmus_methods.parts.out_of_turn import wrong_state
from isthmus_methods.parts.regression_support import (
    RestsOn,
    rest_on,
    rests_on_nobody,
)
from isthmus_methods.parts.survival.subdistribution import (
    CauseRows,
    Hazard,
    at_risk_at,
    censoring_residuals,
    residuals,
    waiting_at,
)
from isthmus_methods.parts.time_table import Grid, grid_of, on_grid

# A linear predictor further than this from that of the pooled mean row overflows once it is squared.
FARTHEST = 150.0


class Round(IntEnum):
    """What a round asks for."""

    RISK_SETS = 1  # sums over the weighted risk sets at the event times
    CURVATURE = 2  # the cross-product, with the pooled sums
    WAITING = 3  # sums over rows that another cause ended, at the times of censoring
    VARIANCE = 4  # residuals, squared and summed


@dataclass(frozen=True, slots=True)
class Plan:
    """The request, read and checked."""

    terms: ModelTerms
    time: str
    grid: Grid
    levels: tuple[str, ...]
    censored: int
    cause: int


@kept_by_request
def plan_of(spec: Spec) -> Plan:
    """Raises `UsageError` where the request cannot be carried out."""
    time, cause = spec.role("time")[0], spec.role("cause")[0]
    levels = spec.levels(cause)
    censored = str(spec.options.get("censored", "")) or (levels[0] if levels else "")
    left = [level for level in levels if level != censored]
    chosen = str(spec.options.get("of", "")) or (left[0] if left else "")
    for what, level in (("censored", censored), ("of", chosen)):
        if level not in levels or (what == "of" and level == censored):
            raise UsageError(
                "NO_SUCH_CAUSE",
                f"{column_name(cause)!r} has no level {level!r} to be `{what}`",
                f"name one of: {', '.join(levels)}",
            )
    terms = model_terms(spec, intercept=False)
    if not terms.p:
        raise UsageError("NO_TERMS", "the model needs at least one term", "add a term to the model's formula")
    return Plan(terms, column_name(time), grid_of(spec, time), levels, levels.index(censored), levels.index(chosen))


@dataclass(frozen=True, slots=True)
class Partial:
    """Of some rows: who is there, who leaves when, and the sums of the round. Adds."""

    rests: RestsOn
    left: Integers  # (levels, T) leavers by cause
    who: Integers  # (2, n) step and person of each row
    rounded: bool
    sums: tuple[Array, ...]

    def __add__(self, other: Partial, /) -> Partial:
        return Partial(
            self.rests + other.rests,
            self.left + other.left,
            np.concatenate([self.who, other.who], axis=1),
            self.rounded or other.rounded,
            tuple(a + b for a, b in zip(self.sums, other.sums, strict=True)),
        )


def look(block: Block, spec: Spec, plan: Plan, state: State) -> tuple[Array | None, Partial]:
    """One block's share of a round, and the weights of its rows."""
    steps, rounded = block.memo(
        f"fine gray {plan.grid.step!r}", lambda: on_grid(plan.grid, block.numbers("time"), plan.time)
    )
    cause, size = block.codes("cause"), plan.grid.size
    event = cause == plan.cause
    left = np.bincount(cause * size + steps, minlength=len(plan.levels) * size).reshape(-1, size).astype(np.int64)
    who = np.stack([steps, block.subject])
    matrix_ = block.design.matrix if block.design is not None else np.zeros((block.rows, 0))
    if not state:
        return None, Partial(rest_on(block, spec, event=event), left, who, rounded, (matrix_.sum(axis=0),))
    x = matrix_ - part_of_state(state, "centre", (plan.terms.p,))
    beta = part_of_state(state, "beta", (plan.terms.p,))
    if np.abs(x @ beta).max(initial=0.0) > FARTHEST:
        raise MethodError("PREDICTOR_TOO_LARGE", "a linear predictor is beyond what can be added up", "fit fewer terms")
    rows = CauseRows(x, steps, event, ~event & (cause != plan.censored), part_of_state(state, "free", (size,)))
    r = rows.relative(beta)
    weights, sums = r, _sums(rows, r, state)
    return weights, Partial(rest_on(block, spec, weights, x @ beta, event), left, who, rounded, sums)


def _sums(rows: CauseRows, r: Array, state: State) -> tuple[Array, ...]:
    """The sums that a round asks for."""
    asked, listed = Round(int(state["ask"][0])), state["steps"].astype(np.int64)
    if asked is Round.RISK_SETS:
        return at_risk_at(rows, r, listed), rows.x[rows.event].sum(axis=0)
    if asked is Round.WAITING:
        return (waiting_at(rows, r, state["censored_steps"].astype(np.int64)),)
    hazard = Hazard.of(listed, state["number"], state["at_risk"], rows.free)
    if asked is Round.CURVATURE:
        v = r * hazard.gathered(rows)[:, 0]
        return (rows.x.T @ (rows.x * v[:, None]),)
    parts = residuals(rows, hazard, r) + censoring_residuals(
        rows, hazard, state["waiting"], state["censored_steps"].astype(np.int64), state["censored"], state["present"]
    )
    return (parts.T @ parts,)


def part_of_state(state: State, name: str, shape: tuple[int, ...]) -> Array:
    """Part of a state, in the shape it must have."""
    value = state.get(name)
    if value is None or value.shape != shape or not np.all(np.isfinite(value)):
        raise wrong_state()
    return value


def persons_leaving(who: Integers, size: int) -> Integers:
    """Persons by the last step at which they have a row, (T,)."""
    last = np.full(int(who[1].max(initial=-1)) + 1, -1, dtype=np.int64)
    np.maximum.at(last, who[1], who[0])
    return np.bincount(last[last >= 0], minlength=size).astype(np.int64)


def _between(leaving: Integers, listed: Integers) -> Integers:
    """Leavers from each listed step up to the next, and from the last on, (J,)."""
    upto = np.concatenate([[0], np.cumsum(leaving)])
    ends = np.append(listed[1:], len(leaving))
    number: Integers = (upto[ends] - upto[listed]).astype(np.int64)
    return number


def changes(partial: Partial, listed: Integers, plan: Plan) -> TimeSupport:
    """Sums over the risk sets differ by those who leave between listed times; those whom another cause ended stay."""
    size = plan.grid.size
    leaving = persons_leaving(partial.who, size)
    total = int(leaving.sum())
    plain = np.cumsum(leaving[::-1])[::-1][listed].astype(np.int64)
    other = np.delete(partial.left, (plan.censored, plan.cause), axis=0).sum(axis=0)
    stay = np.concatenate([[0], np.cumsum(other)])[listed]
    at_risk = np.minimum(plain + stay, total).astype(np.int64)
    return TimeSupport(total, np.minimum(_between(leaving, listed), at_risk), at_risk)


def censored_before(partial: Partial, listed: Integers, plan: Plan) -> int:
    """Who is at risk at no listed time, and so is left of the sums over everybody: censored before the first."""
    number = int(partial.left[plan.censored, : int(listed[0]) if len(listed) else plan.grid.size].sum())
    return min(number, int(partial.rests.used.persons()[ROWS]))


def arrivals(partial: Partial, listed: Integers, plan: Plan) -> TimeSupport:
    """Sums over those whom another cause ended differ by those whom it ended between the listed times."""
    other = np.delete(partial.left, (plan.censored, plan.cause), axis=0).sum(axis=0).astype(np.int64)
    total = int(persons_leaving(partial.who, plan.grid.size).sum())
    stay = np.minimum(np.concatenate([[0], np.cumsum(other)])[listed], total).astype(np.int64)
    arrived = np.diff(stay, prepend=0)
    return TimeSupport(total, np.minimum(np.append(arrived[1:], 0), stay).astype(np.int64), stay)


def empty(spec: Spec, plan: Plan, state: State) -> Partial:
    """What no row gives."""
    p = plan.terms.p
    shapes: tuple[tuple[int, ...], ...] = ((p,),)
    if state:
        asked = Round(int(state["ask"][0]))
        shapes = {
            Round.RISK_SETS: ((len(state["steps"]), 1 + p), (p,)),
            Round.WAITING: ((len(state.get("censored_steps", ())), 1 + p),),
        }.get(asked, ((p, p),))
    return Partial(
        rests_on_nobody(spec, p),
        np.zeros((len(plan.levels), plan.grid.size), dtype=np.int64),
        np.zeros((2, 0), dtype=np.int64),
        rounded=False,
        sums=tuple(np.zeros(shape) for shape in shapes),
    )
