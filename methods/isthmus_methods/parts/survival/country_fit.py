"""A Cox model inside a country: the passes over its rows that turn a beta into log-likelihood, score and information.

First pass: sums by time. Second: one weighted cross-product, now that the hazard is known, and whatever else needs
it. Third: how much weight the heaviest person has, now that the cross-product is known. Each pass adds over blocks.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from isthmus_methods.contract import Array, Block, Integers, ModelSupport, Spec
from isthmus_methods.parts.clusters import ByCluster, by_cluster, cluster_codes
from isthmus_methods.parts.cross_product import CrossProduct, padded_sum, recentring, whitening
from isthmus_methods.parts.model_support import EVENTS, ROWS, Used, level_persons, used
from isthmus_methods.parts.survival.concordance import Predictors, predictors
from isthmus_methods.parts.survival.cox_plan import EACH_COUNTRY, EACH_ROW
from isthmus_methods.parts.survival.partial_likelihood import (
    RiskSets,
    cross_product,
    information,
    leverage,
    risk_sets,
    row_weights,
    score_residuals,
)
from isthmus_methods.parts.survival.pooled_risk_sets import rows_on_grid
from isthmus_methods.parts.survival.proportionality import Weighted, weighted
from isthmus_methods.parts.survival.risk_sets import RiskTable, SortedRows, risk_table, sorted_rows
from isthmus_methods.parts.survival.risk_steps import Steps, TimeCounts, time_counts
from isthmus_methods.parts.time_table import Grid


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the passes gather beside log-likelihood, score and information."""

    efron: bool
    clusters: bool = False  # rows keep the cluster they belong to
    residuals: tuple[str, ...] = ()  # and this pass sums score residuals by these: "", "row", "country"
    shapes: tuple[str, ...] = ()  # time transforms of the proportionality test
    pairs: bool = False
    steps: Steps | None = None  # where rows are counted by time
    grid: tuple[Grid, str] | None = None  # the time grid that rows are put on, and its variable; None: none


def rows_of(block: Block, spec: Spec, wanted: Wanted) -> SortedRows:
    """The block's rows in order, put so once."""
    return _rows_and_rounded(block, spec, wanted)[0]


def was_rounded(block: Block, spec: Spec, wanted: Wanted) -> bool:
    """Whether a time of the block lies off the grid that its rows are put on."""
    return _rows_and_rounded(block, spec, wanted)[1]


def _rows_and_rounded(block: Block, spec: Spec, wanted: Wanted) -> tuple[SortedRows, bool]:
    def build() -> tuple[SortedRows, bool]:
        cluster = cluster_codes(block, spec) if wanted.clusters else None
        if wanted.grid is None:
            return sorted_rows(block, cluster), False
        return rows_on_grid(block, *wanted.grid, cluster)

    return block.memo("cox rows" if wanted.grid is None else "cox rows on the grid", build)


# --------------------------------------------------------------------------- first pass


@dataclass(frozen=True, slots=True)
class First:
    table: RiskTable
    used: Used
    low: float  # smallest and largest x beta
    high: float
    total: float  # sum of x beta
    times: TimeCounts | None = None

    def __add__(self, other: First) -> First:
        times = self.times
        if times is not None and other.times is not None:
            times = times + other.times
        return First(
            self.table + other.table,
            self.used + other.used,
            min(self.low, other.low),
            max(self.high, other.high),
            self.total + other.total,
            times,
        )


def first_pass(block: Block, spec: Spec, beta: Array, wanted: Wanted) -> First:
    """Sums by time, and who is there."""
    rows = rows_of(block, spec, wanted)
    counts = block.memo("cox used", lambda: used(block, rows, spec))
    eta, middle = rows.predictor(beta)[0], float(rows.centre @ beta)
    low, high = (float(eta.min()) + middle, float(eta.max()) + middle) if rows.size else (np.inf, -np.inf)
    times = None if wanted.steps is None else time_counts(rows, wanted.steps)
    # x beta sums to that of the block's mean row
    return First(risk_table(rows, beta), counts, low, high, middle * rows.size, times)


@dataclass(frozen=True, slots=True)
class Gathered:
    """What the first pass of all blocks says; the second pass reads it. Never leaves the country."""

    sets: RiskSets
    used: Used
    persons: Integers
    predictor: float  # largest distance of x beta from that of the mean row
    times: TimeCounts | None

    @property
    def by_person(self) -> bool:
        """Whether a person may have several rows."""
        return int(self.used.rows[ROWS]) > int(self.persons[ROWS])


def gathered(first: First, wanted: Wanted) -> Gathered:
    """The risk sets, and the counts behind them."""
    sets = risk_sets(first.table, wanted.efron)
    middle = first.total / max(1, int(first.used.rows[ROWS]))
    reach = max(first.high - middle, middle - first.low, 0.0)
    return Gathered(sets, first.used, first.used.persons(), reach, first.times)


# --------------------------------------------------------------------------- second pass


@dataclass(frozen=True, slots=True)
class Residuals:
    """Sums of score residuals: by cluster, of each row squared, of all rows. Adds."""

    by_cluster: ByCluster | None  # None: rows have no cluster
    rows: Array  # (p, p)
    whole: Array  # (p,)

    def __add__(self, other: Residuals) -> Residuals:
        sums = self.by_cluster
        if sums is not None and other.by_cluster is not None:
            sums = sums + other.by_cluster
        return Residuals(sums, self.rows + other.rows, self.whole + other.whole)

    def meat(self, label: str) -> Array | None:
        """Sum over clusters of U U', (p, p)."""
        if label == EACH_ROW:
            return self.rows
        if label == EACH_COUNTRY:
            return np.outer(self.whole, self.whole)
        return None if self.by_cluster is None else self.by_cluster.meat()


def residuals_of(rows: SortedRows, residuals: Array) -> Residuals:
    """Of one block; `residuals` (n, p)."""
    sums = None if rows.cluster is None else by_cluster(rows.cluster, residuals)
    return Residuals(sums, residuals.T @ residuals, residuals.sum(axis=0))


@dataclass(frozen=True, slots=True)
class Second:
    cross: CrossProduct
    residuals: Residuals | None = None
    shapes: tuple[Weighted, ...] = ()
    predictors: Predictors | None = None

    def __add__(self, other: Second) -> Second:
        residuals, pairs = self.residuals, self.predictors
        if residuals is not None and other.residuals is not None:
            residuals = residuals + other.residuals
        if pairs is not None and other.predictors is not None:
            pairs = pairs + other.predictors
        shapes = tuple(a + b for a, b in zip(self.shapes, other.shapes, strict=True))
        return Second(self.cross + other.cross, residuals, shapes, pairs)


def second_pass(block: Block, spec: Spec, known: Gathered, wanted: Wanted, shapes: tuple[Array, ...] = ()) -> Second:
    """`shapes`: for each time transform its values (J,) at the event times."""
    rows, sets = rows_of(block, spec, wanted), known.sets
    return Second(
        cross_product(rows, sets, known.by_person),
        residuals_of(rows, score_residuals(rows, sets)) if wanted.residuals else None,
        tuple(weighted(rows, sets, g) for g in shapes),
        predictors(block, rows, sets.beta, sets.centre) if wanted.pairs else None,
    )


# --------------------------------------------------------------------------- third pass


@dataclass(frozen=True, slots=True)
class Weighed:
    """What the second pass of all blocks says; the third pass reads it. Never leaves the country."""

    known: Gathered
    second: Second
    shapes: tuple[Array, ...] = ()
    map: Array = field(default_factory=lambda: np.zeros((0, 0)))  # about `known.sets.centre`

    def information(self) -> Array:
        return information(self.second.cross, self.known.sets)


def weighed(known: Gathered, second: Second, shapes: tuple[Array, ...] = ()) -> Weighed:
    map_ = recentring(known.sets.centre, second.cross.centre) @ whitening(second.cross)
    return Weighed(known, second, shapes, map_)


@dataclass(frozen=True, slots=True)
class Heaviest:
    """Largest leverage of a row, or the leverage of each person where persons have several rows."""

    largest: float
    by_person: Array | None

    def __add__(self, other: Heaviest) -> Heaviest:
        both = self.by_person
        if both is not None and other.by_person is not None:
            both = padded_sum(both, other.by_person)
        return Heaviest(max(self.largest, other.largest), both)

    @property
    def value(self) -> float:
        return self.largest if self.by_person is None else float(self.by_person.max(initial=0.0))


def third_pass(block: Block, spec: Spec, known: Weighed, wanted: Wanted) -> Heaviest:
    """The largest leverage of one block."""
    rows, sets = rows_of(block, spec, wanted), known.known.sets
    map_ = recentring(rows.centre, sets.centre) @ known.map
    return Heaviest(*leverage(rows, row_weights(rows, sets), map_, known.known.by_person))


def support_of(known: Weighed, heaviest: Heaviest, spec: Spec) -> ModelSupport:
    """What the gate judges the country's share of the model by. Persons with an event count as events."""
    gathered_, persons = known.known, known.known.persons
    return ModelSupport(
        persons=int(persons[ROWS]),
        parameters=len(gathered_.sets.beta),
        events=int(persons[EVENTS]),
        level_persons=level_persons(persons, spec),
        effective_persons=min(known.second.cross.effective_persons(), float(persons[ROWS])),
        leverage=min(heaviest.value, 1.0),
        predictor=gathered_.predictor,
    )
