"""Linear regression by least squares over all countries: ANCOVA, its robust variances and least-squares means.

Three rounds. Sums, from which the pooled means follow; cross-products about these means; then the same cross-products
in the model's own coordinates, among them the residuals', so that what is left of the outcome is summed as it is and
not as a difference of large numbers. A fit that rounding has not let settle takes another round of the last kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from isthmus_methods.contract import (
    Again,
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
    Role,
    Scope,
    Spec,
    State,
    Summary,
)
from isthmus_methods.parts import clusters, persons
from isthmus_methods.parts.clusters import ClusterScores, cluster_items, cluster_scores
from isthmus_methods.parts.first_round import LEVEL_ABSENT, LEVEL_ABSENT_SAYS, NO_ROWS, NO_ROWS_SAYS
from isthmus_methods.parts.model_support import ROWS, count_items, nobody
from isthmus_methods.parts.moments import Sums, zero_of
from isthmus_methods.parts.out_of_turn import wrong_state
from isthmus_methods.parts.regression import linear_answer
from isthmus_methods.parts.regression.linear_plan import MOST_ROUNDS, OPTIONS, Plan, plan_of
from isthmus_methods.parts.regression_support import (
    HeaviestRow,
    RestsOn,
    heaviest_row,
    level_absent,
    model_support,
    rest_on,
    support_of_nobody,
)
from isthmus_methods.parts.symmetric import packed
from isthmus_methods.plausible import Bound, outcome_squares_cover, parts_within, sums_within_range

FITTED_BY_ITSELF = "FITTED_BY_ITSELF"
# A row whose leverage is nearer to 1 has no residual of its own.
OWN = 1e-10


@dataclass(frozen=True, slots=True)
class First:
    """The first pass over some rows. Adds."""

    model: RestsOn  # the model's columns
    outcome: Sums  # of the outcome; or of each column times the residual, and of the squared residual, (1 + r,)
    cross: Array  # (r, r)
    residual: RestsOn | None = None  # the model's columns, weighted by squared residuals
    jackknifed: RestsOn | None = None  # by squared residuals as each would be without its row
    meats: Array | None = None  # (2, r, r)
    by_cluster: ClusterScores | None = None
    own: bool = False  # whether a row is fitted by itself alone

    def __add__(self, other: First, /) -> First:
        return First(
            self.model + other.model,
            self.outcome + other.outcome,
            self.cross + other.cross,
            _sum(self.residual, other.residual),
            _sum(self.jackknifed, other.jackknifed),
            _sum(self.meats, other.meats),
            _sum(self.by_cluster, other.by_cluster),
            self.own or other.own,
        )


def _sum(a: Any, b: Any) -> Any:
    return None if a is None or b is None else a + b


@dataclass(frozen=True, slots=True)
class Heaviest:
    """The second pass: leverages, by the model and by its residuals. Adds."""

    parts: tuple[HeaviestRow, ...]

    def __add__(self, other: Heaviest, /) -> Heaviest:
        return Heaviest(tuple(a + b for a, b in zip(self.parts, other.parts, strict=True)))


@dataclass(frozen=True, slots=True)
class Coordinates:
    """Where rows are looked at from: ``[1, x - centre, y - centre] map``, (n, r + 1), the outcome's in the last."""

    centre: Array  # (q + 1,)
    map: Array  # (q + 2, 1 + r)
    last: bool  # the last of these is the residual

    @classmethod
    def of(cls, state: State, plan: Plan) -> Coordinates | None:
        """None in the first round. Raises `MethodError` where the state is not this model's."""
        if not state:
            return None
        centre, map_ = state.get("centre"), state.get("map")
        width = plan.model.p + 1
        if (
            centre is None
            or map_ is None
            or centre.shape != (width - 1,)
            or map_.ndim != 2
            or map_.shape[0] != width
            or not 2 <= map_.shape[1] <= width
            or not (np.isfinite(centre).all() and np.isfinite(map_).all())
        ):
            raise wrong_state()
        return cls(centre, map_, "last" in state)

    def rows(self, block: Block) -> Array:
        """(n, 1 + r)"""
        rows: Array = self.map[0] + (with_outcome(block) - self.centre) @ self.map[1:]
        return rows


def with_outcome(block: Block) -> Array:
    """The block's design with the outcome as its last column, (n, q + 1)."""

    def build() -> Array:
        matrix = block.design.matrix if block.design is not None else np.empty((block.rows, 0))
        return np.column_stack([matrix, block.numbers("outcome")])

    return block.memo("with outcome", build)


@dataclass(frozen=True, slots=True)
class Residuals:
    """A block's rows at the estimates."""

    scores: Array  # (n, r): the model's coordinates times the residual
    squares: Array  # (n,) squared residuals
    jackknifed: Array  # (n,) divided by (1 - leverage)^2
    own: bool


def residuals(rows: Array) -> Residuals:
    """`rows` (n, r + 1) in coordinates in which the model's cross-product is the identity."""
    columns, residual = rows[:, :-1], rows[:, -1]
    left = 1.0 - np.einsum("ij,ij->i", columns, columns)
    alone = left <= OWN
    jackknifed = np.where(alone, 0.0, residual / np.where(alone, 1.0, left))
    return Residuals(columns * residual[:, None], residual**2, jackknifed**2, bool(alone.any()))


def first_pass(block: Block, spec: Spec, plan: Plan, at: Coordinates | None) -> First:
    rests = rest_on(block, spec)
    if at is None:
        outcome = block.numbers("outcome") - zero_of(spec, spec.role("outcome")[0])
        return First(rests, _sums(outcome[:, None], block), np.zeros((0, 0)))
    rows = at.rows(block)
    columns, residual = rows[:, :-1], rows[:, -1]
    # nobody stands behind the sum of a column that is nothing here, as that of a level without rows anywhere
    there = rows != 0.0
    there[:, -1] = True
    products = _sums(rows * residual[:, None], block, there)
    cross = columns.T @ columns
    if not at.last or not (plan.robust or plan.cluster):
        return First(rests, products, cross)
    found = residuals(rows)
    meats = np.stack([columns.T @ (columns * w[:, None]) for w in (found.squares, found.jackknifed)])
    return First(
        rests,
        products,
        cross,
        rest_on(block, spec, found.squares),
        rest_on(block, spec, found.jackknifed),
        meats,
        cluster_scores(block, spec, found.scores, found.squares) if plan.cluster else None,
        found.own,
    )


def _sums(values: Array, block: Block, there: Booleans | None = None) -> Sums:
    """Sums of each column of `values` (n, m) over the block's rows; over those only that are `there` (n, m)."""
    number = values.shape[1]
    places, who = np.repeat(np.arange(number), len(values)), np.tile(block.subject, number)
    flat = values.T.ravel()
    if there is not None:
        kept = there.T.ravel()
        flat, places, who = flat[kept], places[kept], who[kept]
    return Sums.of(flat, places, number, who, int(block.subject.max(initial=-1)) + 1)


def second_pass(block: Block, known: First, at: Coordinates | None) -> Heaviest:
    parts = [heaviest_row(block, known.model)]
    if known.residual is not None and known.jackknifed is not None and at is not None:
        found = residuals(at.rows(block))
        parts.append(heaviest_row(block, known.residual, found.squares))
        parts.append(heaviest_row(block, known.jackknifed, found.jackknifed))
    return Heaviest(tuple(parts))


class LinearModel:
    """Ordinary least squares with t and F tests, robust variances and least-squares means.

    Source: Searle (1971), Linear Models, chapters 3 and 5; White (1980), Econometrica 48, 817-838; MacKinnon & White
    (1985), J. Econometrics 29, 305-325; Liang & Zeger (1986), Biometrika 73, 13-22. Answers are those of R's
    `lm(outcome ~ terms)` on the pooled rows.
    """

    name: ClassVar[str] = "linear_model"
    version: ClassVar[int] = 1
    title: ClassVar[str] = "Linear model"
    leaves: ClassVar[Mapping[str, Field]] = {
        "rows": Field(Kind.COUNT, "rows used", "rows", "1", divides=True),
        "excluded": Field(Kind.COUNT, "rows left out for a missing value", "rows", "1", required=False),
        "levels": Field(Kind.COUNT, "rows at each level of a factor", "rows", "levels", required=False),
        "sums": Field(Kind.CROSS_PRODUCT, "rows, and each column summed", size="p"),
        "outcome_sum": Field(Kind.SUM, "the outcome summed, from the value of its range nearest to zero", size="1"),
        "cross": Field(
            Kind.CROSS_PRODUCT, "products of the columns, first about the pooled means", size="p (p + 1) / 2", gram=True
        ),
        "products": Field(
            Kind.SUM,
            "the outcome about its mean, then the residual: by each column, and squared",
            size="p + 1",
        ),
        "meat": Field(
            Kind.CROSS_PRODUCT,
            "products of the columns by squared residuals",
            size="p (p + 1) / 2",
            required=False,
            gram=True,
        ),
        "meat_hc3": Field(
            Kind.CROSS_PRODUCT,
            "products of the columns by squared residuals over (1 - leverage)^2",
            size="p (p + 1) / 2",
            required=False,
            gram=True,
        ),
        **clusters.FIELDS,
    }
    bounds: ClassVar[tuple[Bound, ...]] = (
        parts_within("levels", "rows"),
        outcome_squares_cover("cross", "products"),
        sums_within_range("outcome_sum", "rows", lambda spec, _: spec.roles["outcome"][0]),
    )
    roles: ClassVar[Mapping[str, Role]] = {
        "outcome": Role("what is explained", holds="number"),
        "cluster": Role("rows that belong together, for a robust variance", required=False, holds="unit"),
    }
    options: ClassVar[Mapping[str, OptionRule]] = OPTIONS
    uses_terms: ClassVar[bool] = True
    missingness: ClassVar[Missingness] = Missingness.COMPLETE
    notes: ClassVar[Mapping[str, str]] = {
        NO_ROWS: NO_ROWS_SAYS,
        LEVEL_ABSENT: LEVEL_ABSENT_SAYS,
        FITTED_BY_ITSELF: "{countries}: a row has leverage 1, it is fitted by itself, and HC3 is not defined",
        persons.REPEATED: persons.REPEATED_SAYS,
    }
    rounds: ClassVar[tuple[int, int]] = (3, MOST_ROUNDS)

    def scope(self, spec: Spec) -> Scope:
        return Scope.TOTAL

    # ----------------------------------------------------------------- inside a country

    def fold(self, block: Block, spec: Spec, state: State, local: Any) -> First | Heaviest:
        plan = plan_of(spec, self)
        at = Coordinates.of(state, plan)
        if local is None:
            return first_pass(block, spec, plan, at)
        return second_pass(block, local, at)

    def release(self, partial: Any, spec: Spec, state: State, local: Any) -> Summary | Again:
        plan = plan_of(spec, self)
        at = Coordinates.of(state, plan)
        if partial is None:
            return _summary_of_nobody(plan, spec, at)
        if isinstance(partial, First):
            return Again(partial)
        return _summary(plan, spec, at, local, partial)

    # ----------------------------------------------------------------- at the coordinator

    def pool(self, contributions: Contributions, spec: Spec, state: State, memory: State) -> Next | Done:
        return linear_answer.pool(contributions, spec, plan_of(spec, self), state, memory, self.notes)


def _summary(plan: Plan, spec: Spec, at: Coordinates | None, known: First, heaviest: Heaviest) -> Summary:
    counted = known.model.used
    numbers = counted.persons()
    support = model_support(known.model, heaviest.parts[0], spec, plan.model.p)
    raised = {
        LEVEL_ABSENT: level_absent(support, spec),
        persons.REPEATED: not plan.cluster and int(counted.rows[ROWS]) > int(numbers[ROWS]),
        FITTED_BY_ITSELF: plan.robust and known.own,
    }
    if at is None:
        cross = known.model.cross
        rows = cross.product[0, 0]
        sums = np.concatenate([[rows], cross.product[0, 1:] + rows * cross.centre])
        items = count_items(counted, numbers, spec, outcomes=False)
        items.append(Item("sums", sums, support, axes=(("column", plan.model.names),)))
        items.append(Item("outcome_sum", known.outcome.value, known.outcome.support()))
    else:
        axes = () if at.last else (("column", (*plan.model.names, "outcome")),)
        items = [
            Item("cross", packed(known.cross), support),
            Item("products", known.outcome.value, known.outcome.support(), axes=axes),
        ]
        if known.residual is not None and known.jackknifed is not None and known.meats is not None:
            first = model_support(known.residual, heaviest.parts[1], spec, plan.model.p)
            if plan.robust:
                third = model_support(known.jackknifed, heaviest.parts[2], spec, plan.model.p)
                items += [
                    Item("meat", packed(known.meats[0]), first),
                    Item("meat_hc3", packed(known.meats[1]), third),
                ]
            if plan.cluster:
                r = len(known.cross)
                items += cluster_items(known.by_cluster, spec, r, plan.model.p, first)
    return Summary(tuple(items), frozenset(code for code, on in raised.items() if on))


def _summary_of_nobody(plan: Plan, spec: Spec, at: Coordinates | None) -> Summary:
    """Zeros, so that a country without rows adds nothing and is named."""
    total = nobody(spec)
    support: ModelSupport = support_of_nobody(spec, plan.model.p)
    if at is None:
        # how many rows are incomplete is not known here: without a complete one there is no block
        counts = count_items(total, total.persons(), spec, outcomes=False)
        items = [item for item in counts if item.field != "excluded"]
        items += [Item("sums", np.zeros(plan.model.p), support), _nothing("outcome_sum", 1)]
        return Summary(tuple(items), frozenset({NO_ROWS}))
    r = at.map.shape[1] - 1
    items = [Item("cross", np.zeros(r * (r + 1) // 2), support), _nothing("products", r + 1)]
    if at.last:
        zeros = np.zeros(r * (r + 1) // 2)
        if plan.robust:
            items += [Item("meat", zeros, support), Item("meat_hc3", zeros.copy(), support)]
        if plan.cluster:
            items += cluster_items(None, spec, r, plan.model.p, support)
    return Summary(tuple(items), frozenset({NO_ROWS}))


def _nothing(field: str, number: int) -> Item:
    sums = Sums.nothing(number)
    return Item(field, sums.value, sums.support())
