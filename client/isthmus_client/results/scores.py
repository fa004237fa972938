"""How well a model tells held-out persons apart, from rows counted by predicted probability and outcome.

No prediction of a person is here, only cells: from one probability to another, so many rows with this outcome. What is
reckoned from them is exact where it needs no more than the cells' order; otherwise the least and the most that the
cells allow stand beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from isthmus_client.results.tree import Tree, not_there, numbers
from isthmus_methods.training import SCORE_STEPS

# Bands of the calibration table.
BANDS = 10
# Of the two-sided 95 % limits.
Z = 1.959963984540054
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Measured:
    """A measure with its standard error, its 95 % limits, and what the cells leave open about it.

    Where `least` and `most` are apart, rows of one cell have no order among themselves: the estimate takes the middle.
    """

    estimate: float
    least: float
    most: float
    se: float | None = None

    @property
    def limits(self) -> tuple[float, float] | None:
        """The estimate and 1.96 standard errors to both sides, within 0 and 1; None without a standard error."""
        if self.se is None:
            return None
        return max(0.0, self.estimate - Z * self.se), min(1.0, self.estimate + Z * self.se)


@dataclass(frozen=True, slots=True)
class Band:
    """A band of the calibration table: rows whose cell has its middle in it."""

    lower: float
    upper: float
    rows: int
    predicted: float  # mean of the middles of the rows' cells
    observed: float  # share of rows with the outcome
    observed_lower: float  # Wilson (1927)
    observed_upper: float


@dataclass(frozen=True, slots=True)
class Scores:
    """Cells of held-out rows: from and to a probability, whether the outcome is there, rows."""

    low: Array  # (m,)
    high: Array  # (m,)
    event: NDArray[np.bool_]  # (m,)
    rows: Array  # (m,)

    @classmethod
    def of(cls, answer: Tree) -> Scores | None:
        """The cells of a training's answer; None where none left a country.

        Raises
        ------
        VersionError
            ``UNKNOWN_RESULT`` where the lists are not of one length, or hold what is no cell.
        """
        first, last, outcome, rows = (_list(answer, key) for key in ("first", "last", "outcome", "rows"))
        if not first.size:
            return None
        alike = first.shape == last.shape == outcome.shape == rows.shape
        if not alike or not np.all((first >= 0) & (first <= last) & (last < SCORE_STEPS) & (rows >= 0)):
            raise not_there("scores as cells")
        return cls(first / SCORE_STEPS, (last + 1) / SCORE_STEPS, outcome > 0, rows)

    @property
    def n(self) -> int:
        return int(self.rows.sum())

    @property
    def events(self) -> int:
        return int(self.rows[self.event].sum())

    @property
    def middle(self) -> Array:
        """Middle of each cell, (m,)."""
        return (self.low + self.high) / 2

    def auc(self) -> Measured | None:
        """Area under the receiver operating characteristic: the probability that, of two rows one of which has the
        outcome, that one is predicted higher; two rows of cells that overlap count one half.

        Returns
        -------
        Measured or None
            None where all rows have the same outcome. `least` and `most`: if every undecided pair were lost, or won.

        Source: Mann and Whitney (1947) for the estimate; Hanley and McNeil (1982), equation 1, with Q1 and Q2 taken
        from the cells as in their table II, for the standard error.
        """
        n1, n0 = float(self.events), float(self.n - self.events)
        if n1 < 1 or n0 < 1:
            return None
        yes, no = self.event, ~self.event
        with_it, without = self.rows[yes], self.rows[no]
        won = _at_most(self.high[no], without, self.low[yes])
        tied = n0 - won - _at_least(self.low[no], without, self.high[yes])
        won_over = _at_least(self.low[yes], with_it, self.high[no])
        tied_with = n1 - won_over - _at_most(self.high[yes], with_it, self.low[no])
        pairs, surely, undecided = n1 * n0, float(with_it @ won), float(with_it @ tied)
        area = (surely + undecided / 2) / pairs
        # of two with the outcome and one without, both are higher; of one with it and two without, it is higher
        q1 = float(without @ _both(won_over, tied_with)) / (n0 * n1 * n1)
        q2 = float(with_it @ _both(won, tied)) / (n1 * n0 * n0)
        variance = (area * (1 - area) + (n1 - 1) * (q1 - area**2) + (n0 - 1) * (q2 - area**2)) / pairs
        return Measured(area, surely / pairs, (surely + undecided) / pairs, math.sqrt(max(variance, 0.0)))

    def brier(self) -> Measured | None:
        """Mean squared difference between outcome and predicted probability, the latter taken in the cell's middle.

        `least` and `most`: with every prediction at its cell's better, or worse, end. Source: Brier (1950).
        """
        if self.n < 1:
            return None
        outcome = self.event.astype(np.float64)
        ends = np.abs(outcome - self.low), np.abs(outcome - self.high)
        of = (np.abs(outcome - self.middle), np.minimum(*ends), np.maximum(*ends))
        middle, least, most = (float(self.rows @ distance**2) / self.n for distance in of)
        return Measured(middle, least, most)

    def observed_to_expected(self) -> Measured | None:
        """Rows with the outcome over the sum of predicted probabilities: calibration in the large; 1 is right."""
        sums = [float(self.rows @ end) for end in (self.middle, self.high, self.low)]
        if self.n < 1 or min(sums[:2]) <= 0:
            return None
        estimate, least = self.events / sums[0], self.events / sums[1]
        return Measured(estimate, least, self.events / sums[2] if sums[2] > 0 else math.inf)

    def calibration(self, bands: int = BANDS) -> Sequence[Band]:
        """Predicted against observed by equal bands of probability; bands of nobody are left out."""
        found = []
        band = np.minimum((self.middle * bands).astype(np.int64), bands - 1)
        for k in range(bands):
            here = band == k
            n = float(self.rows[here].sum())
            if n < 1:
                continue
            events = float(self.rows[here & self.event].sum())
            predicted = float(self.rows[here] @ self.middle[here]) / n
            found.append(Band(k / bands, (k + 1) / bands, int(n), predicted, events / n, *_wilson(events, n)))
        return found


def _at_most(ends: Array, rows: Array, limits: Array) -> Array:
    """Rows of the cells that end at or below each limit."""
    return _sum_until(ends, rows, limits, "right")


def _at_least(starts: Array, rows: Array, limits: Array) -> Array:
    """Rows of the cells that start at or above each limit."""
    return float(rows.sum()) - _sum_until(starts, rows, limits, "left")


def _sum_until(places: Array, rows: Array, limits: Array, side: Literal["left", "right"]) -> Array:
    order = np.argsort(places)
    total = np.concatenate(([0.0], np.cumsum(rows[order])))
    return total[np.searchsorted(places[order], limits, side=side)]


def _both(won: Array, tied: Array) -> Array:
    """Ordered pairs both of which are higher: of three rows of one cell, one in three orders has it so."""
    return won**2 + won * tied + tied**2 / 3


def _wilson(events: float, n: float) -> tuple[float, float]:
    share, z2 = events / n, Z * Z
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def _list(answer: Tree, key: str) -> Array:
    values = numbers(answer, "scores", key)
    if any(value is None or not float(value).is_integer() for value in values):
        raise not_there(f"scores/{key} as whole numbers")
    return np.array(values, dtype=np.float64)
