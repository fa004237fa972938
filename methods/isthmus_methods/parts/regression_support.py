"""What the gate judges a regression's sums by, inside a country: two passes over the rows, the same for every model.

First pass: `rest_on` counts who is there and adds up the weighted cross-product of the model's columns. Second,
once the blocks are added: `heaviest_row` finds the largest leverage. `model_support` puts both together. Nothing here
leaves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isthmus_methods.contract import Array, Block, Booleans, ModelSupport, OutcomeSupport, Spec
from isthmus_methods.parts.cross_product import (
    CrossProduct,
    KnownDistances,
    distances,
    largest_distance,
    padded_sum,
    recentring,
    weighted_product,
    whitening,
)
from isthmus_methods.parts.model_support import EVENTS, ROWS, Used, level_persons, nobody, used_rows
from isthmus_methods.parts.moments import largest_two, zero_of


@dataclass(frozen=True, slots=True)
class CentredRows:
    """A block's model columns about the block's own means, with a one in front: built once, (n, 1 + q)."""

    centre: Array  # (q,)
    x: Array  # (n, 1 + q)


def centred_rows(block: Block) -> CentredRows:
    """`[1, x - centre]` of the block's design (q columns, no intercept), from its memo."""

    def build() -> CentredRows:
        design = block.design
        x = np.empty((block.rows, 1 if design is None else len(design.names) + 1))
        x[:, 0] = 1.0
        if design is None:
            return CentredRows(np.zeros(0), x)
        centre = design.means()
        design.write(x[:, 1:], centre)
        return CentredRows(centre, x)

    return block.memo("centred rows", build)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What each person has of the outcome, from the value of its range nearest to zero. Adds."""

    by_person: Array
    binary: bool  # each row's is 0 or 1

    def __add__(self, other: Outcome, /) -> Outcome:
        return Outcome(padded_sum(self.by_person, other.by_person), self.binary and other.binary)

    def support(self, persons: int) -> OutcomeSupport:
        sizes = np.abs(self.by_person)
        some = int(np.count_nonzero(sizes))
        largest, second = largest_two(sizes) if len(sizes) else (0.0, 0.0)
        rest = persons - some if self.binary else None
        return OutcomeSupport(some, rest, float(largest), float(second), float(sizes.sum()))


def outcome_of(block: Block, spec: Spec) -> Outcome | None:
    """The outcome of a block's rows, once for all rounds; None where the model has none that is a number."""
    columns = block.columns.get("outcome", ())
    if len(columns) != 1 or columns[0].dtype.kind != "f":
        return None

    def build() -> Outcome:
        y = block.numbers("outcome")
        binary = bool(np.all((y == 0.0) | (y == 1.0)))
        given = y if binary else y - zero_of(spec, spec.roles["outcome"][0])
        return Outcome(np.bincount(block.subject, weights=given, minlength=1).astype(np.float64), binary)

    return block.memo("outcome by person", build)


@dataclass(frozen=True, slots=True)
class RestsOn:
    """Who stands behind a country's share of a model, and how its weights lie. Adds."""

    used: Used
    cross: CrossProduct
    low: float  # smallest and largest linear predictor
    high: float
    total: float  # their sum
    outcome: Outcome | None = None

    def __add__(self, other: RestsOn, /) -> RestsOn:
        outcome = self.outcome
        if outcome is not None and other.outcome is not None:
            outcome = outcome + other.outcome
        return RestsOn(
            self.used + other.used,
            self.cross + other.cross,
            min(self.low, other.low),
            max(self.high, other.high),
            self.total + other.total,
            outcome,
        )

    @property
    def predictor(self) -> float:
        """Largest distance of a linear predictor from their mean."""
        rows = int(self.used.rows[ROWS])
        if not rows:
            return 0.0
        middle = self.total / rows
        return max(self.high - middle, middle - self.low, 0.0)


def people(block: Block, spec: Spec) -> Used:
    """Who is on the block's rows, counted once."""
    return block.memo("used", lambda: used_rows(block, spec))


def rest_on(
    block: Block,
    spec: Spec,
    weights: Array | None = None,
    predictor: Array | None = None,
    event: Booleans | None = None,
    product: Array | None = None,
) -> RestsOn:
    """The first pass over one block.

    Parameters
    ----------
    weights : (n,), >= 0: each row's weight in the information; None: one each.
    predictor : (n,), linear predictor of an exponential-family link; None where none magnifies a person.
    event : (n,), rows with an event, for a model judged by its events.
    product : X'WX of the centred rows with a one in front, where it is known.
    """
    rows = centred_rows(block)
    counts = used_rows(block, spec, event) if event is not None else people(block, spec)
    v = np.ones(block.rows) if weights is None else weights
    persons = np.bincount(block.subject, weights=v, minlength=1).astype(np.float64)
    cross = CrossProduct(
        rows.centre, weighted_product(rows.x, v) if product is None else product, float(v @ v), persons
    )
    eta = np.zeros(block.rows) if predictor is None else predictor
    smallest, largest = (float(eta.min()), float(eta.max())) if len(eta) else (np.inf, -np.inf)
    return RestsOn(counts, cross, smallest, largest, float(eta.sum()), outcome_of(block, spec))


@dataclass(frozen=True, slots=True)
class HeaviestRow:
    """Leverage of each person, numbered within the country; where each has one row, the largest alone. Adds."""

    by_person: Array
    largest: float = 0.0

    def __add__(self, other: HeaviestRow, /) -> HeaviestRow:
        return HeaviestRow(padded_sum(self.by_person, other.by_person), max(self.largest, other.largest))

    @property
    def value(self) -> float:
        return min(max(float(self.by_person.max(initial=0.0)), self.largest), 1.0)


def heaviest_row(block: Block, known: RestsOn, weights: Array | None = None) -> HeaviestRow:
    """The second pass over one block: leverage beyond the intercept's, by person, once `known` is of all blocks.

    Source: Huber (1981), Robust Statistics, section 7.2.
    """
    rows = centred_rows(block)
    map_ = recentring(rows.centre, known.cross.centre) @ whitening(known.cross)
    if not map_.size or not block.rows:
        return HeaviestRow(np.zeros(0))
    v = np.ones(block.rows) if weights is None else weights
    if int(known.used.rows[ROWS]) == int(np.count_nonzero(known.used.seen[ROWS])):
        return HeaviestRow(
            np.zeros(0), largest_distance(rows.x, v, map_, block.memo("known distances", KnownDistances))
        )
    return HeaviestRow(np.bincount(block.subject, weights=v * distances(rows.x, map_)).astype(np.float64))


def model_support(
    known: RestsOn, heaviest: HeaviestRow, spec: Spec, parameters: int, events: bool = False
) -> ModelSupport:
    """The support of SCORE, INFORMATION, CROSS_PRODUCT and ESTIMATE fields.

    Parameters
    ----------
    parameters : number of parameters estimated, the intercept among them. Those that this country's rows say nothing
        about, because their columns are constant or combinations of others here, do not count against it.
    events : whether the model is judged by persons with an event.
    """
    persons = known.used.persons()
    silent = len(known.cross.centre) - whitening(known.cross).shape[1]
    return ModelSupport(
        persons=int(persons[ROWS]),
        parameters=max(parameters - silent, 1),
        columns=parameters,
        events=int(persons[EVENTS]) if events else None,
        level_persons=level_persons(persons, spec),
        effective_persons=min(known.cross.effective_persons(), float(persons[ROWS])),
        leverage=heaviest.value,
        predictor=known.predictor,
        outcome=None if known.outcome is None else known.outcome.support(int(persons[ROWS])),
    )


def level_absent(support: ModelSupport, spec: Spec) -> bool:
    """Whether a country with rows has none at some level; levels of the country itself are no news."""
    countries = tuple(f"{name}=" for name, variable in spec.variables.items() if "COUNTRY" in variable.roles)
    return support.persons > 0 and any(
        number == 0 and not label.startswith(countries) for label, number in support.level_persons.items()
    )


def rests_on_nobody(spec: Spec, columns: int) -> RestsOn:
    """The first pass over no row; `columns` of the design, without the intercept."""
    cross = CrossProduct(np.zeros(columns), np.zeros((columns + 1, columns + 1)), 0.0, np.zeros(0))
    return RestsOn(nobody(spec), cross, np.inf, -np.inf, 0.0)


def support_of_nobody(spec: Spec, parameters: int, events: bool = False) -> ModelSupport:
    """The support of a country without rows: its sums are zeros."""
    return ModelSupport(0, parameters, 0 if events else None, level_persons(nobody(spec).persons(), spec))
