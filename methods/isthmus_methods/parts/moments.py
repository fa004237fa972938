"""Sums by arm, how far one person dominates each of them, and the means and standard deviations that follow."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from isthmus_methods.contract import Answer, Array, Column, Integers, Ref, Spec, SumSupport
from isthmus_methods.parts.inference import number, t_limits
from isthmus_methods.parts.persons import widened


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums of numbers by arm, with the largest contributions to each. Adds.

    A row is taken for a person's whole contribution unless `by_person` holds the contributions by person.
    """

    value: Array  # (A,)
    number: Integers  # (A,) how many numbers
    total: Array  # (A,) sum of their absolute values
    top: Array  # (A, 2) the two largest absolute values
    span: Array  # (A, 2) least and greatest; infinite the other way round where there is none
    by_person: tuple[Array, Integers] | None = None  # (A, persons): contribution, and of how many numbers

    @classmethod
    def nothing(cls, arms: int) -> Sums:
        return cls.of(np.zeros(0), np.zeros(0, dtype=np.int64), arms)

    @classmethod
    def of(cls, numbers: Array, arms: Integers, number: int, who: Integers | None = None, persons: int = 0) -> Sums:
        """Of numbers in arms 0 .. number - 1; `who`, the person of each, where persons have several."""
        value, total = np.zeros(number), np.zeros(number)
        top, span = np.zeros((number, 2)), np.tile([np.inf, -np.inf], (number, 1))
        for arm in range(number):
            mine = numbers[arms == arm]
            if len(mine):
                size = np.abs(mine)
                # summed by pairs, not one after another: the error does not grow with n
                value[arm], total[arm] = mine.sum(), size.sum()
                top[arm] = largest_two(size)
                span[arm] = mine.min(), mine.max()
        by_person = None
        if who is not None:
            given, rows = np.zeros((number, persons)), np.zeros((number, persons), dtype=np.int64)
            np.add.at(given, (arms, who), numbers)
            np.add.at(rows, (arms, who), 1)
            by_person = given, rows
        return cls(value, np.bincount(arms, minlength=number), total, top, span, by_person)

    def __add__(self, other: Sums, /) -> Sums:
        both = None
        if self.by_person is not None and other.by_person is not None:
            (a, i), (b, j) = self.by_person, other.by_person
            width = max(a.shape[1], b.shape[1])
            both = widened(a, width) + widened(b, width), widened(i, width) + widened(j, width)
        low = np.minimum(self.span[:, 0], other.span[:, 0])
        high = np.maximum(self.span[:, 1], other.span[:, 1])
        return Sums(
            self.value + other.value,
            self.number + other.number,
            self.total + other.total,
            np.sort(np.concatenate([self.top, other.top], axis=1), axis=1)[:, :-3:-1],
            np.stack([low, high], axis=1),
            both,
        )

    def support(self) -> SumSupport:
        if self.by_person is None:
            varied = self.span[:, 0] < self.span[:, 1]
            return SumSupport(self.number, self.top[:, 0].copy(), self.top[:, 1].copy(), self.total, varied)
        number = len(self.value)
        people, total, varied = np.zeros(number, dtype=np.int64), np.zeros(number), np.zeros(number, dtype=np.bool_)
        top = np.zeros((number, 2))
        for arm in range(number):
            mine = self.by_person[0][arm][self.by_person[1][arm] > 0]
            if len(mine):
                people[arm], total[arm] = len(mine), np.abs(mine).sum()
                top[arm] = largest_two(np.abs(mine))
                varied[arm] = mine.min() < mine.max()
        return SumSupport(people, top[:, 0].copy(), top[:, 1].copy(), total, varied)


def largest_two(sizes: Array) -> Array:
    """The largest and the second largest; 0 where there is no second."""
    if len(sizes) < 2:
        return np.append(sizes, 0.0)
    return np.sort(np.partition(sizes, len(sizes) - 2)[-2:])[::-1]


def describe_numeric(n: Array, missing: Array, away: Array, squares: Array, about: float) -> list[dict[str, Answer]]:
    """The description of a number overall and by arm; deviations `away` and `squares` are about `about`, all (A,).

    n, missing, sum, mean with its standard error and 95 % limits from Student's t, sd and var with n - 1.
    """

    def one(n: float, missing: float, total: float, square: float) -> dict[str, Answer]:
        mean = about + total / n if n else math.nan
        # squares about another centre than the mean are too large by n (mean - centre)^2
        spread = max(square - total**2 / n, 0.0) if n else 0.0
        var = spread / (n - 1) if n > 1 else math.nan
        se = math.sqrt(var / n) if n > 1 else math.nan
        lower, upper = t_limits(mean, se, n - 1)
        return {
            "n": int(n),
            "missing": int(missing),
            "mean": number(mean),
            "sd": number(math.sqrt(var)),
            "var": number(var),
            "se_mean": number(se),
            "sum": about * n + total,
            "t_ci95": {"lower": lower, "upper": upper},
        }

    overall = one(*(float(x.sum()) for x in (n, missing, away, squares)))
    return [overall, *(one(*map(float, each)) for each in zip(n, missing, away, squares, strict=True))]


def nearest_to_zero(low: float | None, high: float | None) -> float:
    """The value of a dictionary's range nearest to zero.

    Everybody knows the range, so how far one person dominates a sum is measured from there.
    """
    if low is not None and low > 0:
        return low
    return high if high is not None and high < 0 else 0.0


def zero_of(spec: Spec, column: Column) -> float:
    """The value of a column's range nearest to zero; zero where the dictionary gives it none."""
    variable = spec.variables.get(column.variable) if isinstance(column, Ref) else None
    return nearest_to_zero(variable.minimum, variable.maximum) if variable is not None else 0.0
