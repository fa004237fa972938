"""Fine and Gray's model of the cumulative incidence of one cause, one baseline over all countries.

First round: who is there, leavers by cause on the time grid (from which follow the event times and the curve of
censoring), the pooled centre of the columns. Then two rounds a step of Newton's method: sums over the weighted risk
sets at the event times, and with the pooled sums one weighted cross-product. Two more rounds give the variance, which
takes into account that the curve of censoring is estimated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from isthmus.errors import MethodError
from isthmus_methods.contract import (
    Again,
    Answer,
    Array,
    Block,
    Booleans,
    Contributions,
    Done,
    Field,
    Item,
    Kind,
    Missingness,
    ModelSupport,
    Next,
    OptionRule,
    RiskSetSupport,
    Role,
    Scope,
    Spec,
    State,
    Summary,
    column_name,
)
from isthmus_methods.parts import caveats, persons
from isthmus_methods.parts.first_round import (
    LEVEL_ABSENT,
    LEVEL_ABSENT_SAYS,
    NO_ROWS,
    NO_ROWS_SAYS,
    no_news,
    remember_rows,
    told_notes,
    told_rows,
)
from isthmus_methods.parts.gathered import needed
from isthmus_methods.parts.inference import coefficients, matrix
from isthmus_methods.parts.model_support import ROWS, count_items
from isthmus_methods.parts.model_terms import level_rows, shown
from isthmus_methods.parts.newton import Accepted, Move, decide, solve
from isthmus_methods.parts.out_of_turn import wrong_pass
from isthmus_methods.parts.regression_support import (
    HeaviestRow,
    heaviest_row,
    level_absent,
    model_support,
    support_of_nobody,
)
from isthmus_methods.parts.survival.fine_gray_rows import (
    Partial,
    Plan,
    Round,
    arrivals,
    censored_before,
    changes,
    empty,
    look,
    persons_leaving,
    plan_of,
)
from isthmus_methods.parts.survival.subdistribution import (
    censoring_free,
)
from isthmus_methods.parts.symmetric import packed, unpacked
from isthmus_methods.parts.time_table import ROUNDED, ROUNDED_SAYS, time_support

NO_EVENTS = "NO_EVENTS"
MOST_ITERATIONS = 40
# --------------------------------------------------------------------------- inside a country


def _summary(partial: Partial, support: ModelSupport, spec: Spec, plan: Plan, state: State) -> Summary:
    used = partial.rests.used
    counted = used.persons()
    notes = {
        NO_ROWS: not used.rows[ROWS],
        NO_EVENTS: bool(used.rows[ROWS]) and not support.events,
        LEVEL_ABSENT: level_absent(support, spec),
        ROUNDED: partial.rounded,
        persons.REPEATED: int(used.rows[ROWS]) > int(counted[ROWS]),
    }
    raised = frozenset(code for code, on in notes.items() if on)
    if not state:
        leavers = persons_leaving(partial.who, plan.grid.size)
        axes = ((column_name(spec.role("cause")[0]), plan.levels), ("time", ()))
        return Summary(
            (
                *count_items(used, counted, spec),
                Item("time_table", partial.left, time_support(leavers[None]), axes=axes),
                Item("columns", partial.sums[0], support),
            ),
            raised,
        )
    asked = Round(int(state["ask"][0]))
    if asked is Round.RISK_SETS:
        steps = state["steps"].astype(np.int64)
        left = censored_before(partial, steps, plan)
        at = RiskSetSupport(changes(partial, steps, plan), support, beside=(left,))
        items = [Item("at_risk", partial.sums[0], at), Item("events", partial.sums[1], support)]
    elif asked is Round.WAITING:
        at = RiskSetSupport(arrivals(partial, state["censored_steps"].astype(np.int64), plan), support)
        items = [Item("waiting", partial.sums[0], at)]
    else:
        name = "cross_product" if asked is Round.CURVATURE else "meat"
        items = [Item(name, packed(partial.sums[0]), support)]
    return Summary(tuple(items), raised)


# --------------------------------------------------------------------------- the method


class FineGray:
    """Proportional subdistribution hazards of one cause.

    Source: Fine & Gray (1999), JASA 94, 496-509. Answers are those of R cmprsk's `crr`.
    """

    name: ClassVar[str] = "fine_gray"
    version: ClassVar[int] = 1
    title: ClassVar[str] = "Fine-Gray model"
    leaves: ClassVar[Mapping[str, Field]] = {
        "outcomes": Field(Kind.COUNT, "rows with the cause of interest, and all others", "rows", "2", divides=True),
        "excluded": Field(Kind.COUNT, "rows left out for a missing value", "rows", "1", required=False),
        "levels": Field(Kind.COUNT, "rows at each level of a factor", "rows", "levels", required=False),
        "time_table": Field(Kind.EVENTS, "leavers by cause at each step of the time grid", "rows", "causes x T"),
        "columns": Field(Kind.CROSS_PRODUCT, "sums of the model's columns", size="p"),
        "at_risk": Field(
            Kind.RISK_SETS, "weight and weighted columns of those at risk at the event times", size="J (1 + p)"
        ),
        "events": Field(Kind.SCORE, "columns summed over the events", size="p"),
        "cross_product": Field(Kind.INFORMATION, "weighted cross-product of the columns", size="p (p + 1) / 2"),
        "waiting": Field(
            Kind.RISK_SETS,
            "the same over those whom another cause ended, at the times of censoring",
            size="U (1 + p)",
        ),
        "meat": Field(
            Kind.CROSS_PRODUCT, "score residuals of rows, squared and summed", size="p (p + 1) / 2", gram=True
        ),
    }
    roles: ClassVar[Mapping[str, Role]] = {
        "time": Role("time from 0 to the first event or censoring", holds="number"),
        "cause": Role("what ended the time: one level for each cause, one for censored", holds="factor"),
    }
    options: ClassVar[Mapping[str, OptionRule]] = {
        "of": OptionRule("the level of `cause` that is modelled; none: its first that is not censored", ""),
        "censored": OptionRule("the level of `cause` that means censored; none: its first", ""),
    }
    uses_terms: ClassVar[bool] = True
    missingness: ClassVar[Missingness] = Missingness.COMPLETE
    notes: ClassVar[Mapping[str, str]] = {
        NO_ROWS: NO_ROWS_SAYS,
        NO_EVENTS: "{countries}: no event of the cause; its rows are at risk all the same",
        LEVEL_ABSENT: LEVEL_ABSENT_SAYS,
        ROUNDED: ROUNDED_SAYS,
        persons.REPEATED: persons.REPEATED_SAYS,
    }
    rounds: ClassVar[tuple[int, int]] = (5, 2 * MOST_ITERATIONS + 4)

    def scope(self, spec: Spec) -> Scope:
        return Scope.TOTAL

    # ----------------------------------------------------------------- inside a country

    def fold(self, block: Block, spec: Spec, state: State, local: Any) -> Partial | HeaviestRow:
        weights, partial = look(block, spec, plan_of(spec), state)
        return partial if local is None else heaviest_row(block, local.rests, weights)

    def release(self, partial: Any, spec: Spec, state: State, local: Partial | None) -> Summary | Again:
        plan = plan_of(spec)
        if partial is None:
            support = support_of_nobody(spec, plan.terms.p, events=True)
            return _summary(empty(spec, plan, state), support, spec, plan, state)
        if isinstance(partial, Partial):
            return Again(partial)
        if local is None:
            raise wrong_pass()
        return _summary(local, model_support(local.rests, partial, spec, plan.terms.p, events=True), spec, plan, state)

    # ----------------------------------------------------------------- at the coordinator

    def pool(self, contributions: Contributions, spec: Spec, state: State, memory: State) -> Next | Done:
        plan = plan_of(spec)
        if not state:
            return _begin(contributions, spec, plan)
        asked = Round(int(state["ask"][0]))
        if asked is Round.RISK_SETS:
            at_risk, observed = needed(contributions, "at_risk"), needed(contributions, "events")
            number = memory["number"]
            loglik = float(observed @ state["beta"] - number @ np.log(at_risk[:, 0]))
            score = observed - number @ (at_risk[:, 1:] / at_risk[:, :1])
            kept = {**memory, "loglik": np.array([loglik]), "score": score, "at_risk": at_risk}
            return _next(Round.CURVATURE, state["beta"], kept, "distance", _distance(memory))
        if asked is Round.CURVATURE:
            return _step(contributions, plan, state, memory)
        if asked is Round.WAITING:
            kept = {**memory, "waiting": needed(contributions, "waiting")}
            return _next(Round.VARIANCE, state["beta"], kept, "distance", _distance(memory))
        meat = unpacked(needed(contributions, "meat"), plan.terms.p)
        return _answer(spec, plan, state["beta"], memory, meat, self.notes)


# --------------------------------------------------------------------------- at the coordinator


def _distance(memory: State) -> float:
    return float(memory["distance"][0]) if "distance" in memory else 1.0


def _next(ask: Round, beta: Array, memory: State, measure: str, measured: float) -> Next:
    """The state of a round: what it needs of what is remembered."""
    wanted = ["centre", "free", "steps"]
    if ask in (Round.CURVATURE, Round.VARIANCE):
        wanted += ["number", "at_risk"]
    if ask in (Round.WAITING, Round.VARIANCE):
        wanted += ["censored_steps"]
    if ask is Round.VARIANCE:
        wanted += ["waiting", "censored", "present"]
    state = {"ask": np.array([float(ask)]), "beta": beta, **{name: memory[name] for name in wanted}}
    return Next(state, memory, measure, measured)


def _begin(contributions: Contributions, spec: Spec, plan: Plan) -> Next:
    outcomes, columns = contributions.total("outcomes"), contributions.total("columns")
    table = contributions.total("time_table")
    if outcomes is None or columns is None or table is None or not outcomes.any():
        raise MethodError("NO_ROWS", "no country has a complete row for this model", "check the filter and the terms")
    steps = np.flatnonzero(table[plan.cause] > 0)
    if not len(steps):
        raise MethodError("NO_EVENTS", "no row has the cause that is modelled", "choose another cause, or other rows")
    left, censored = table.sum(axis=0), table[plan.censored]
    times = np.flatnonzero(censored > 0)
    present = np.cumsum(left[::-1])[::-1]
    there = plan.terms.columns_present(level_rows(contributions, plan.terms))
    kept: dict[str, Array] = {
        "outcomes": outcomes,
        "centre": columns / outcomes.sum(),
        "free": censoring_free(left, censored, plan.grid.times(np.arange(plan.grid.size))),
        "steps": steps.astype(np.float64),
        "number": table[plan.cause][steps],
        "censored_steps": times.astype(np.float64),
        "censored": censored[times],
        "present": present[times],
        "there": there.astype(np.float64),
        "iterations": np.zeros(1),
        **remember_rows(contributions, spec, plan.terms),
    }
    return _next(Round.RISK_SETS, np.zeros(plan.terms.p), kept, "distance", 1.0)


def _step(contributions: Contributions, plan: Plan, state: State, memory: State) -> Next:
    beta, p = state["beta"], plan.terms.p
    at_risk, number = memory["at_risk"], memory["number"]
    mean = at_risk[:, 1:] / at_risk[:, :1]
    cross = unpacked(needed(contributions, "cross_product"), p)
    info = cross - mean.T @ (mean * number[:, None])
    info = (info + info.T) / 2
    there: Booleans = memory["there"] > 0
    kept = memory["kept"] > 0 if "kept" in memory else solve(info, there).kept
    before = Accepted.unpacked(memory["accepted"]) if "accepted" in memory else None
    loglik, score = float(memory["loglik"][0]), np.where(kept, memory["score"], 0.0)
    decision = decide(beta, loglik, score, solve(info, kept), before)
    iterations = memory["iterations"] + 1.0
    remembered: dict[str, Array] = {
        **memory,
        "kept": kept.astype(np.float64),
        "accepted": decision.accepted.packed(),
        "distance": np.array([decision.distance]),
        "iterations": iterations,
    }
    if decision.move in (Move.STEP, Move.HALVE) and iterations[0] < MOST_ITERATIONS:
        return _next(Round.RISK_SETS, decision.beta, remembered, "distance", decision.distance)
    remembered |= {
        "over": np.array([float(decision.move.value)]),
        "infinite": decision.infinite.astype(np.float64),
        "information": info,
    }
    return _next(Round.WAITING, beta, remembered, "distance", decision.distance)


def _answer(spec: Spec, plan: Plan, beta: Array, memory: State, meat: Array, notes: Mapping[str, str]) -> Done:
    there: Booleans = memory["there"] > 0
    kept: Booleans = memory["kept"] > 0
    solved = solve(memory["information"], kept)
    names = [name for name, on in zip(plan.terms.names, there, strict=True) if on]
    estimates, covariance = shown(beta, solved.inverse @ meat @ solved.inverse, kept, there)
    move = Move(int(memory["over"][0]))
    answer: dict[str, Answer] = {
        "cause": plan.levels[plan.cause],
        "n": round(float(memory["outcomes"].sum())),
        "n_event": round(float(memory["outcomes"][0])),
        "coef": coefficients(names, estimates, covariance),
        "vcov": matrix(names, covariance),
        "loglik": float(memory["loglik"][0]),
        "loglik_null": Accepted.unpacked(memory["accepted"]).null_loglik,
        "iterations": round(float(memory["iterations"][0])),
        "gradient_norm": float(memory["distance"][0]),
        "condition_number": solved.condition,
        "converged": move is Move.CONVERGED,
        "aliased": [name for name, on, used in zip(plan.terms.names, there, kept, strict=True) if on and not used],
        **told_rows(memory, plan.terms),
        "notes": list(told_notes(memory, spec, notes, (NO_ROWS, NO_EVENTS, LEVEL_ABSENT))),
    }
    said = caveats.of_fit(move, plan.terms.names, memory["infinite"], float(memory["iterations"][0]))
    return Done(answer, (*said, *told_notes(memory, spec, notes, (ROUNDED, persons.REPEATED))), no_news=no_news(memory))
