"""What holds for everything that leaves, open data too: numbers are numbers, and the support fits what it supports.

A method cannot make its own field look harmless: support that contradicts the value, or itself, is refused.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from isthmus_methods.contract import (
    Array,
    BinSupport,
    CellSupport,
    Integers,
    Item,
    ModelSupport,
    OutcomeSupport,
    RiskSetSupport,
    SumSupport,
    TimeSupport,
    UpdateSupport,
)

# Beyond these a whole number is no exact double, and a double cannot be added to others without overflow.
LARGEST_WHOLE = 2**53
LARGEST = 1e300
# Sums of the same numbers in another order differ in their last bits.
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken rule: a fixed code, the rule with the policy's own threshold, what to do. No count, no value."""

    code: str
    rule: str
    remedy: str


_BUG = "report this to the method's author: a correct method never does this"
UPDATE_AT_SITE = "update the site's isthmus"
NOT_AN_ARRAY = Violation("NOT_AN_ARRAY", "a field is an array of 64-bit doubles or whole numbers", _BUG)
WRONG_SHAPE = Violation("WRONG_SHAPE", "a field has the shape of its axes", _BUG)
NOT_FINITE = Violation(
    "NOT_FINITE", "every number is finite and below 1e300, whole numbers within 2^53", "simplify or rescale the model"
)
WRONG_SUPPORT = Violation("WRONG_SUPPORT", "a field leaves only with the counts its kind is judged by", _BUG)
BAD_SUPPORT = Violation("BAD_SUPPORT", "the counts that support a field agree with it and with each other", _BUG)


def number_violation(item: Item, whole: bool) -> Violation | None:
    """Attack 50: type, shape and range of the numbers. `whole`: counts, so whole and not negative."""
    value = item.value
    numbers: tuple[type[np.generic], ...] = (np.int64,) if whole else (np.int64, np.float64)
    if isinstance(item.support, UpdateSupport):
        numbers = (np.float32, np.float64)
    if type(value) is not np.ndarray or value.dtype not in numbers:
        return NOT_AN_ARRAY
    if item.axes and (
        len(item.axes) != value.ndim
        or any(labels and len(labels) != n for (_, labels), n in zip(item.axes, value.shape, strict=True))
    ):
        return WRONG_SHAPE
    if value.dtype == np.int64:
        # not abs(): the smallest 64-bit number has no absolute value
        within = np.all((value <= LARGEST_WHOLE) & (value >= (0 if whole else -LARGEST_WHOLE)))
    else:
        # not abs(), which would take as much memory again; where one is NaN, so are both bounds
        within = np.bool_(not value.size or (float(value.min()) > -LARGEST and float(value.max()) < LARGEST))
    return None if within else NOT_FINITE


def cells_fit(value: Array | Integers, support: CellSupport) -> bool:
    """Persons are counted, no more of them than the count, nobody behind a zero only; the cell is part of its total."""
    persons, within = support.persons, support.within
    return (
        _counts(persons, value.shape)
        and bool(np.all(persons <= value) and np.all((persons == 0) == (value == 0)))
        and (within is None or (_counts(within, value.shape) and bool(np.all(persons <= within))))
        and (support.axis is None or (type(support.axis) is int and 0 <= support.axis < value.ndim))
    )


def sums_fit(value: Array | Integers, support: SumSupport) -> bool:
    """The sum lies within the sum of absolute contributions, and these are no fewer than their largest two."""
    largest, second, total, varied = support.largest, support.second, support.total, support.varied
    if not _counts(support.persons, value.shape) or not all(_amounts(a, value.shape) for a in (largest, second, total)):
        return False
    if type(varied) is not np.ndarray or varied.dtype != np.bool_ or varied.shape != value.shape:
        return False
    slack = 1 + ROUNDING
    return bool(
        np.all(np.abs(value) <= total * slack)
        and np.all(second <= largest)
        and np.all(largest + second <= total * slack)
        and np.all(total <= support.persons * largest * slack)
    )


def model_fits(value: Array | Integers, support: ModelSupport) -> bool:
    """No more numbers than a model of p parameters has, so no rows; weights and levels are of the persons there are."""
    counts = [support.persons, support.parameters, *support.level_persons.values()]
    if support.events is not None:
        counts.append(support.events)
    sizes = [support.effective_persons, support.leverage, support.predictor]
    return (
        all(is_whole(n) and n >= 0 for n in counts)
        and all(np.isfinite(x) and x >= 0 for x in sizes)
        and all(n <= support.persons for n in support.level_persons.values())
        and support.effective_persons <= support.persons * (1 + ROUNDING)
        and support.leverage <= 1 + ROUNDING
        and is_whole(support.columns)
        and value.size <= (max(support.parameters, support.columns) + 2) ** 2
        and (support.persons > 0 or not value.any())
        and _outcome_fits(support)
    )


def _outcome_fits(support: ModelSupport) -> bool:
    outcome = support.outcome
    if outcome is None:
        return True
    counts = [outcome.persons, *([] if outcome.rest is None else [outcome.rest])]
    sizes = [outcome.largest, outcome.second, outcome.total]
    return (
        type(outcome) is OutcomeSupport
        and all(is_whole(n) and 0 <= n <= support.persons for n in counts)
        and all(np.isfinite(x) and x >= 0 for x in sizes)
        and outcome.second <= outcome.largest
        and outcome.largest + outcome.second <= outcome.total * (1 + ROUNDING)
    )


def table_fits(value: Array | Integers, support: TimeSupport) -> bool:
    """Those who leave a step were at risk at it, and nobody is at risk who is not in the table."""
    leavers, at_risk = support.leavers, support.at_risk
    return (
        is_whole(support.persons)
        and support.persons >= 0
        and type(leavers) is np.ndarray
        and leavers.ndim == 1
        and _counts(leavers, leavers.shape)
        and _counts(at_risk, leavers.shape)
        and bool(np.all(leavers <= at_risk) and np.all(at_risk <= support.persons))
        and (support.persons > 0 or not value.any())
        and (leavers.size > 0 or not value.any())
    )


def risk_sets_fit(value: Array | Integers, support: RiskSetSupport) -> bool:
    """A row of sums for each listed time, no more numbers in it than a model has, and both supports hold together."""
    time, model = support.time, support.model
    return (
        type(time) is TimeSupport
        and type(model) is ModelSupport
        and value.ndim == 2
        and table_fits(value, time)
        and (not value.size or model_fits(value[0], model))
        and time.persons <= model.persons
        and value.shape[0] == time.leavers.size
        and not bool(np.any(value[time.at_risk == 0]))
        and all(is_whole(n) and 0 <= n <= model.persons for n in support.beside)
        and (support.stays is None or _stays_fit(support.stays, time))
    )


def _stays_fit(stays: Integers, time: TimeSupport) -> bool:
    """Stays are of persons, end after they begin, and give those at risk at each time."""
    size = time.at_risk.size
    if type(stays) is not np.ndarray or stays.dtype != np.int64 or stays.ndim != 2 or stays.shape[1] != 3:
        return False
    come, go, persons = stays.T
    # a place beyond the last is that of an event of its own
    last = np.where(go > size, go - size, go)
    if np.any((come < 0) | (last <= come) | (last > size) | (persons < 1)):
        return False
    change = np.zeros(size + 1, dtype=np.int64)
    np.add.at(change, come, persons)
    np.add.at(change, last, -persons)
    return bool(np.array_equal(np.cumsum(change)[:size], time.at_risk))


def bins_fit(value: Array | Integers, support: BinSupport) -> bool:
    """Cells in the order of their places, each once, somebody in each, and no more persons in it than its count."""
    persons = support.persons
    if value.ndim != 2 or value.shape[1] < 2 or not _counts(persons, value.shape[:1]) or not is_whole(support.total):
        return False
    places = [tuple(place) for place in value[:, :-1].tolist()]
    return (
        bool(np.all(persons > 0) and np.all(persons <= value[:, -1]) and np.all(persons <= support.total))
        and support.total <= int(persons.sum())
        and all(one < other for one, other in itertools.pairwise(places))
        and type(support.gaps) is bool
    )


def is_whole(n: object) -> bool:
    """Whether it is a whole number, and no truth value."""
    return isinstance(n, int | np.integer) and not isinstance(n, bool)


def _counts(array: object, shape: tuple[int, ...]) -> bool:
    return (
        type(array) is np.ndarray and array.dtype == np.int64 and array.shape == shape and not bool(np.any(array < 0))
    )


def _amounts(array: object, shape: tuple[int, ...]) -> bool:
    return (
        type(array) is np.ndarray
        and array.dtype == np.float64
        and array.shape == shape
        and bool(np.all(np.isfinite(array) & (array >= 0)))
    )
