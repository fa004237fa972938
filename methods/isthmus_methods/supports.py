"""What supports a field that leaves, by its kind: what the gate judges it by. A support never leaves.

A method reads these from `contract.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from isthmus_methods.rows import Array, Booleans, Integers


@dataclass(frozen=True, slots=True)
class CellSupport:
    """For COUNT: distinct persons behind each cell, the same shape as the value.

    `groups` names the axes along which the cells of one total lie: cell and complement are judged within them.
    """

    persons: Integers
    # Axis along which the cells add up to a total that is also known; None: all cells together.
    axis: int | None = None
    # Persons each cell is taken from, the same shape, where the cells do not add up to it: the arm of a count of
    # missing values. The gate judges what is left of it beside the cell; None: what the cells along `axis` leave.
    within: Integers | None = None


@dataclass(frozen=True, slots=True)
class SumSupport:
    """For SUM: for each cell, distinct persons and how concentrated the sum is (all the same shape as the value)."""

    persons: Integers
    largest: Array  # largest absolute contribution of one person
    second: Array  # second largest
    total: Array  # sum of absolute contributions
    varied: Booleans  # at least two persons differ


@dataclass(frozen=True, slots=True)
class OutcomeSupport:
    """Of a model's outcome that is a number: how much of its own sum, which the model's sums hold, is whose."""

    persons: int  # distinct persons whose outcomes do not add up to zero
    rest: int | None  # all others, where the outcome is 0 or 1, so that its sum counts persons
    largest: float  # largest absolute sum of one person
    second: float  # second largest
    total: float  # of all persons


@dataclass(frozen=True, slots=True)
class ModelSupport:
    """For SCORE, INFORMATION, CROSS_PRODUCT, ESTIMATE: what the model rests on in this country."""

    persons: int
    parameters: int
    events: int | None = None  # survival models
    level_persons: Mapping[str, int] = field(default_factory=dict)  # "grade=3" -> distinct persons on the rows used
    effective_persons: float = 0.0  # (sum w)^2 / sum w^2
    leverage: float = 0.0  # largest squared row norm of Q in the QR of sqrt(W) X
    predictor: float = 0.0  # largest absolute centred linear predictor
    # Columns of the sums, where that is more than the parameters this country's rows say anything about: a column that
    # is constant here (another country's level) adds to the size of a sum and not to what it tells.
    columns: int = 0
    outcome: OutcomeSupport | None = None  # models of an outcome that is a number


@dataclass(frozen=True, slots=True)
class TimeSupport:
    """For EVENTS, HAZARD: persons in the table, and for every step of the grid that anyone leaves at."""

    persons: int
    leavers: Integers  # persons who leave at each step that has any
    at_risk: Integers  # persons at risk at those steps


@dataclass(frozen=True, slots=True)
class RiskSetSupport:
    """For RISK_SETS: the persons at risk at each listed time, and the weights that they have in the sums.

    `time.leavers` counts who leaves from one listed time up to the next, in the country: two sums that follow one
    another differ by what these persons have.
    """

    time: TimeSupport
    model: ModelSupport
    # Persons by when they come and go, (m, 3): place of the first sum that is over them, one more than that of the
    # last, and how many they are. Who goes by an event whose sums leave as well goes to a place of its own, beyond
    # the last by as many. None: all come before the first sum.
    stays: Integers | None = None
    # Persons whom these sums leave of sums over everybody, and over all events, that leave as well.
    beside: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class BinSupport:
    """For HISTOGRAM: distinct persons in each cell that is listed, (m,), and in all of them together.

    `gaps`: whether the grid has cells of nobody between those listed.
    """

    persons: Integers
    total: int
    gaps: bool = True


@dataclass(frozen=True, slots=True)
class UpdateSupport:
    """For UPDATE: what a country's new weights rest on, and what was done to them. One for all arrays of an update."""

    persons: int  # distinct persons trained on
    batch: int  # persons in the smallest batch that a step was taken on
    parameters: int  # numbers in all arrays together
    norm: float  # Euclidean norm of the change, over all arrays, before noise
    clip: float  # what the norm was cut to; infinite where it was not
    noise: float  # standard deviation of what was added to each number; 0: nothing


@dataclass(frozen=True, slots=True)
class MetricSupport:
    """For METRIC: distinct persons that a measure is averaged over, and the range that its app declares."""

    persons: int
    low: float
    high: float


Support = (
    CellSupport | SumSupport | ModelSupport | TimeSupport | RiskSetSupport | BinSupport | UpdateSupport | MetricSupport
)
