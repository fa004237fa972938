"""Log-rank tests between arms: O, E and V are summed inside each country; nothing about a single time leaves it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.special import chdtrc

from isthmus.errors import MethodError, UsageError
from isthmus_methods.contract import (
    Again,
    Answer,
    Array,
    Block,
    CellSupport,
    Contributions,
    Done,
    Field,
    Integers,
    Item,
    Kind,
    Missingness,
    ModelSupport,
    OptionRule,
    Role,
    Scope,
    Spec,
    State,
    Summary,
    column_name,
)
from isthmus_methods.parts import caveats, persons
from isthmus_methods.parts.distinct_times import ByPerson, Table, distinct
from isthmus_methods.parts.persons import Persons
from isthmus_methods.parts.time_table import (
    MAX_CELLS,
    ROUNDED,
    ROUNDED_SAYS,
    Grid,
    at_risk,
    grid_of,
    last_steps,
    leavers_of,
    on_grid,
    time_support,
)

FAMILIES = ("logrank", "peto_peto_rho1", "gehan_breslow")
# Asked for by its exponents.
FLEMING_HARRINGTON = "fleming_harrington"
# Arms times strata that one table may have.
MAX_GROUPS = 1000
# Relative size below which a direction of V counts as absent.
SINGULAR = 1e-10


# --------------------------------------------------------------------------- what is asked


@dataclass(frozen=True, slots=True)
class Plan:
    """The settings of one request, read and checked."""

    time: str
    step: float | None  # of the dictionary, if it has one
    grid: Grid | None  # where a time table has to leave
    arm: str
    levels: tuple[str, ...]
    strata: tuple[tuple[str, tuple[str, ...]], ...]
    strata_named: tuple[str, ...]  # of them, those that are not the country itself
    within: bool  # each country is a stratum of its own
    unstratified: bool
    exponents: tuple[float, ...]  # rho and gamma of a Fleming-Harrington test; none: it is not asked for

    @property
    def families(self) -> tuple[str, ...]:
        return (*FAMILIES, FLEMING_HARRINGTON) if self.exponents else FAMILIES

    @property
    def arms(self) -> int:
        return len(self.levels)

    @property
    def number_of_strata(self) -> int:
        return int(np.prod([len(levels) for _, levels in self.strata], dtype=np.int64)) if self.strata else 1

    @property
    def groups(self) -> int:
        return self.number_of_strata * self.arms

    @property
    def tables(self) -> int:
        """Strata in the table that leaves: one where strata lie within countries."""
        return 1 if self.within else self.number_of_strata


def plan_of(spec: Spec) -> Plan:
    """Raises `UsageError` where the request cannot be answered."""
    options = {name: spec.options.get(name, rule.default) for name, rule in LogRank.options.items()}
    time, arm = spec.role("time")[0], spec.role("arm")[0]
    factors = [(column_name(column), spec.levels(column)) for column in (arm, *spec.role("strata"))]
    named = tuple(name for name, _ in factors[1:] if not spec.is_country(name))
    within = bool(options["stratify_by_country"]) or len(named) < len(factors) - 1
    unstratified = bool(options["unstratified"]) or not within
    variable = spec.variables.get(column_name(time))
    given = options["fleming_harrington"]
    exponents = tuple(float(x) for x in given) if isinstance(given, tuple) else ()
    if exponents and (len(exponents) != 2 or not all(0.0 <= x <= 10.0 for x in exponents)):
        raise UsageError(
            "WRONG_OPTION",
            "fleming_harrington takes two exponents from 0 to 10, rho and gamma",
            "write fleming_harrington = (0, 1) for differences that come late",
        )
    plan = Plan(
        column_name(time),
        variable.grid_step if variable is not None else None,
        grid_of(spec, time) if unstratified else None,
        factors[0][0],
        factors[0][1],
        tuple(factors[1:]),
        named,
        within,
        unstratified,
        exponents,
    )
    cells = plan.tables * plan.arms * 2 * plan.grid.size if plan.grid is not None else 0
    if plan.groups > MAX_GROUPS or cells > MAX_CELLS:
        raise UsageError(
            "TOO_MANY_STRATA",
            f"arms times strata make {plan.groups} groups of at most {MAX_GROUPS}, or more than {MAX_CELLS} cells",
            "stratify by fewer factors, or by factors with fewer levels",
        )
    return plan


# --------------------------------------------------------------------------- inside a country


def fold_table(block: Block, plan: Plan, by_person: bool) -> Table:
    times, codes = block.memo(f"distinct {plan.time}", lambda: distinct(block.numbers("time"), plan.step))
    events = block.numbers("event") == 1.0
    strata = np.zeros(block.rows, dtype=np.int64)
    for k, (_, levels) in enumerate(plan.strata):
        strata = strata * len(levels) + block.codes("strata", k)
    arms = block.codes("arm")
    cells = (strata * plan.arms + arms) * len(times) + codes
    shape = (plan.groups, len(times))
    counts = np.empty((plan.groups, 2, len(times)), dtype=np.int64)
    counts[:, 0] = np.bincount(cells[events], minlength=shape[0] * shape[1]).reshape(shape)
    counts[:, 1] = np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape)
    people = Persons.of(block.subject)
    seen = None
    if by_person:
        in_arm = np.zeros((plan.arms, len(people.seen)), dtype=np.bool_)
        in_arm[arms, block.subject] = True
        last = None
        if plan.grid is not None:
            steps, _ = on_grid(plan.grid, block.numbers("time"), plan.time)
            group = arms if plan.within else strata * plan.arms + arms
            last = last_steps(steps, group, block.subject, plan.tables * plan.arms)
        seen = ByPerson(in_arm, last)
    return Table(times, counts, people, seen)


def sums(counts: Integers, exponents: tuple[float, ...] = ()) -> dict[str, tuple[Array, Array]]:
    """Weighted observed and expected events by arm, (2, K), and their covariance, (K, K), in one stratum.

    With weight w at each event time: O = sum w d, E = sum w D n / N, V = sum w^2 D (N - D) / (N - 1) (diag(n/N) -
    n n' / N^2). Weights: 1 (log-rank), the left-continuous Kaplan-Meier curve S of all arms (Peto-Peto), N (Gehan), and
    S^rho (1 - S)^gamma where `exponents` are given (Fleming-Harrington).

    Parameters
    ----------
    counts
        Events and leavers by time, (K, 2, U).

    Source: Fleming and Harrington (1991), chapter 7; Gehan (1965); R survival, survdiff.
    """
    at = counts[:, 0].sum(axis=0) > 0
    n = at_risk(counts[:, 1])[:, at].astype(np.float64)
    d = counts[:, 0, at].astype(np.float64)
    N, D = n.sum(axis=0), d.sum(axis=0)
    share = n / N
    spread = D * (N - D) / np.maximum(N - 1.0, 1.0)
    before = np.append(1.0, np.cumprod(1.0 - D / N))[:-1]
    result = {}
    weights = dict(zip(FAMILIES, (np.ones_like(N), before, N), strict=True))
    if exponents:
        weights[FLEMING_HARRINGTON] = before ** exponents[0] * (1.0 - before) ** exponents[1]
    for family, w in weights.items():
        v = w**2 * spread
        V = np.diag((v * share).sum(axis=1)) - (v * share) @ share.T
        result[family] = (np.stack([(w * d).sum(axis=1), (w * D * n / N).sum(axis=1)]), V)
    return result


def over_strata(counts: Integers, plan: Plan) -> dict[str, tuple[Array, Array]]:
    """`sums` added over the strata of (strata x arms, 2, U) counts, in their order."""
    arms = plan.arms
    total = {family: (np.zeros((2, arms)), np.zeros((arms, arms))) for family in plan.families}
    for stratum in counts.reshape(len(counts) // arms, arms, *counts.shape[1:]):
        if stratum[:, 0].any():
            for family, (score, variance) in sums(stratum, plan.exponents).items():
                total[family] = (total[family][0] + score, total[family][1] + variance)
    return total


def items_of(table: Table, plan: Plan) -> tuple[tuple[Item, ...], bool]:
    """All that leaves, and whether a time had to be rounded for it."""
    times, counts = table.joined()
    by_arm = counts.reshape(plan.number_of_strata, plan.arms, 2, counts.shape[-1]).sum(axis=(0, 3))
    rows, events = by_arm[:, 1], by_arm[:, 0]
    people = rows if table.by_person is None else np.count_nonzero(table.by_person.arms, axis=1).astype(np.int64)
    items = [Item("rows", rows, CellSupport(people), plan.arm, ((plan.arm, plan.levels),))]
    if plan.within:
        support = ModelSupport(
            persons=table.persons.number,
            parameters=plan.arms - 1,
            # a test between arms rests on its arm with fewest events
            events=int(events[events > 0].min()) if events.any() else 0,
            level_persons={f"{plan.arm}={level}": int(n) for level, n in zip(plan.levels, people, strict=True)},
            effective_persons=float(table.persons.number),
            leverage=1.0 / float(people[people > 0].min()) if people.any() else 0.0,
        )
        for family, (score, variance) in over_strata(counts, plan).items():
            axes = (plan.arm, plan.levels)
            items.append(Item("score", score, support, family, (("sum", ("observed", "expected")), axes)))
            items.append(Item("variance", variance, support, family, (axes, axes)))
    if plan.grid is None:
        return tuple(items), False
    steps, rounded = on_grid(plan.grid, times, plan.time)
    if plan.within:
        counts = counts.reshape(plan.number_of_strata, plan.arms, 2, counts.shape[-1]).sum(axis=0)
    on = np.zeros((plan.tables * plan.arms, 2, plan.grid.size), dtype=np.int64)
    np.add.at(np.moveaxis(on, -1, 0), steps, np.moveaxis(counts, -1, 0))  # rounding may put two times on one step
    last = table.by_person.last if table.by_person is not None else None
    leavers = on[:, 1] if last is None else leavers_of(last, plan.grid.size)
    named = plan.strata if not plan.within else ()
    items.append(
        Item(
            "table",
            on.reshape(*(len(levels) for _, levels in named), plan.arms, 2, plan.grid.size),
            time_support(leavers),
            plan.arm,
            (*named, (plan.arm, plan.levels), ("count", ("events", "leavers")), ("time", ())),
        )
    )
    return tuple(items), rounded


# --------------------------------------------------------------------------- the pooled half


def tested(family: str, score: Array, variance: Array, present: Integers) -> dict[str, Answer]:
    """The test among the arms that are present; arms without an expected event drop out, as in R."""
    score, variance = score[:, present], variance[np.ix_(present, present)]
    difference = score[0] - score[1]
    active = score[1] > 0
    df, chisq = max(int(active.sum()) - 1, 0), 0.0
    if df:
        values, vectors = np.linalg.eigh(variance[np.ix_(active, active)])
        kept = values > SINGULAR * values[-1]
        df = int(np.count_nonzero(kept))
        chisq = float(((vectors[:, kept].T @ difference[active]) ** 2 / values[kept]).sum())
    answer: dict[str, Answer] = {"chisq": chisq, "df": df, "p": float(chdtrc(df, chisq)) if df else None}
    if family == "gehan_breslow":
        return {**answer, "U": difference.tolist()}
    return {**answer, "observed": score[0].tolist(), "expected": score[1].tolist(), "variance": variance.tolist()}


class LogRank:
    """Log-rank, Peto-Peto and Gehan-Breslow tests between arms, stratified by country and by more strata.

    Stratified by country, a country's share is a sum over its own times, so nothing about one time leaves and no
    time grid is needed. The unstratified tests need every country's time table by arm, on the study's grid.
    """

    name: ClassVar[str] = "log_rank"
    version: ClassVar[int] = 1
    title: ClassVar[str] = "Log-rank tests"
    leaves: ClassVar[Mapping[str, Field]] = {
        "rows": Field(Kind.COUNT, "rows by arm", "persons", "K"),
        "score": Field(
            Kind.SCORE, "weighted observed and expected events by arm, summed over times and strata", "events", "2 K"
        ),
        "variance": Field(Kind.INFORMATION, "their covariance", "events squared", "K x K"),
        "table": Field(
            Kind.EVENTS,
            "events and all leavers at each step of the time grid by arm; only for unstratified tests, or strata "
            "across countries",
            "persons",
            "strata x K x 2 T",
        ),
    }
    roles: ClassVar[Mapping[str, Role]] = {
        "time": Role("time from 0 to event or censoring", holds="number"),
        "event": Role("1 = event, any other value = censored", holds="event"),
        "arm": Role("the groups to compare", holds="factor"),
        "strata": Role("factors whose levels are compared within", required=False, many=True, holds="factor"),
    }
    options: ClassVar[Mapping[str, OptionRule]] = {
        "stratify_by_country": OptionRule("each country is a stratum of its own", True),
        "unstratified": OptionRule("the tests over all countries as one, too: a time table by arm leaves", False),
        "fleming_harrington": OptionRule("also a test with these exponents rho and gamma, such as (0, 1)", ()),
    }
    uses_terms: ClassVar[bool] = False
    missingness: ClassVar[Missingness] = Missingness.COMPLETE
    notes: ClassVar[Mapping[str, str]] = {ROUNDED: ROUNDED_SAYS, persons.REPEATED: persons.REPEATED_SAYS}
    rounds: ClassVar[tuple[int, int]] = (1, 1)

    def stratified_by_country(self, options: Mapping[str, object]) -> bool:
        return options.get("stratify_by_country", True) is not False

    def scope(self, spec: Spec) -> Scope:
        return Scope.TOTAL

    def fold(self, block: Block, spec: Spec, state: State, local: Any) -> Table:
        return fold_table(block, plan_of(spec), by_person=local is not None)

    def release(self, partial: Table | None, spec: Spec, state: State, local: Any) -> Summary | Again:
        plan = plan_of(spec)
        if partial is None:
            nobody = Persons.of(np.zeros(0, dtype=np.int64))
            partial = Table(np.zeros(0), np.zeros((plan.groups, 2, 0), dtype=np.int64), nobody)
        if partial.persons.repeated and partial.by_person is None:
            return Again("by person")  # thresholds count persons, and rows are more than persons here
        items, rounded = items_of(partial, plan)
        notes = {ROUNDED: rounded, persons.REPEATED: partial.persons.repeated}
        return Summary(items, frozenset(code for code, raised in notes.items() if raised))

    def pool(self, contributions: Contributions, spec: Spec, state: State, memory: State) -> Done:
        plan = plan_of(spec)
        total = contributions.total("rows", plan.arm)
        rows = np.zeros(plan.arms, dtype=np.int64) if total is None else np.rint(total).astype(np.int64)
        present = np.flatnonzero(rows)
        if len(present) < 2:
            raise MethodError(
                "ONE_ARM",
                f"the rows of all countries together have fewer than two levels of {plan.arm!r}",
                "loosen the filter, or name an arm variable of which two levels occur",
            )
        results: dict[str, dict[str, tuple[Array, Array]]] = {}
        table = contributions.total("table", plan.arm)
        if table is not None:
            counts = np.rint(table).astype(np.int64).reshape(plan.tables, plan.arms, 2, -1)
            results[""] = sums(counts.sum(axis=0), plan.exponents)
            if not plan.within and plan.strata:
                results["_stratified"] = over_strata(counts.reshape(-1, *counts.shape[2:]), plan)
        if plan.within:
            zero = np.zeros((plan.arms, plan.arms))
            pooled = {}
            for family in plan.families:
                score, variance = contributions.total("score", family), contributions.total("variance", family)
                pooled[family] = (zero[:2] if score is None else score, zero if variance is None else variance)
            results["_stratified"] = pooled
        answer: dict[str, Answer] = {
            "groups": [plan.levels[k] for k in present],
            "n": {plan.levels[k]: int(rows[k]) for k in present},
        }
        for family in plan.families:
            for suffix, by_family in results.items():
                answer[family + suffix] = tested(family, *by_family[family], present)
        answer["strata"] = ["country"] * plan.within + list(plan.strata_named)
        return Done(answer, caveats.of_notes(contributions, self.notes))
