"""Fisher's exact test for tables of any size (Freeman & Halton), by a network over the table's columns."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import special

from isthmus.errors import MethodError
from isthmus_methods.contract import Array, Integers

# Tables at most this much more likely than the observed one count as equally likely: the slack of R's fisher.test for
# tables larger than 2 x 2, which in tables of some hundred persons shows in the eighth digit.
SLACK = 3.4525e-7
# Paths of the network that are looked at before the table counts as too large: about a minute or two.
MOST_PATHS = 200_000_000
# Ways to fill one column: each is looked at with all its cells at once.
MOST_WAYS = 1_000_000
# Paths of one stage that are kept in memory.
MOST_KEPT = 20_000_000
# Paths that are made at a time.
_CHUNK = 2_000_000
# Path lengths closer than this are the same product of factorials.
_SAME = 1e-10


def fisher_p(table: Integers, most_paths: int = MOST_PATHS) -> float | None:
    """Two-sided p of Fisher's exact test.

    Parameters
    ----------
    table
        Counts (R, C). Rows and columns without counts are of no consequence.
    most_paths
        Paths looked at before the table counts as too large.

    Returns
    -------
    float or None
        Sum of the probabilities of all tables with the same margins that are no more probable than the observed one,
        up to the relative slack; None where only one row or column has counts.

    Raises
    ------
    MethodError
        ``FISHER_TOO_LARGE``.

    Notes
    -----
    A table is a path through its columns; a node is what is left of each row's total, in order of size, since rows
    are interchangeable to the columns that follow. Paths with the same node and the same product of factorials are
    one path with a multiplicity. A path is finished early where every completion counts, or none does. The last two
    columns are one step: given the node, one of them fixes the other.

    Source: Freeman & Halton (1951), Biometrika 38; Mehta & Patel (1983), JASA 78, sections 2 and 3.
    """
    table = np.asarray(table, dtype=np.int64)
    table = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
    if min(table.shape) < 2:
        return None
    if table.shape[0] > table.shape[1]:
        table = table.T
    rows, columns = np.sort(table.sum(axis=1)), np.sort(table.sum(axis=0))
    network = _Network(columns, _log_factorials(int(table.sum())), most_paths)
    scale = float(network.lf[rows].sum() + network.lf[columns].sum() - network.lf[-1])
    threshold = -float(network.lf[table].sum()) + SLACK
    return min(network.mass_at_most(rows, threshold, scale), 1.0)


def _log_factorials(n: int) -> Array:
    """log 0!, ..., log n!"""
    return np.asarray(special.gammaln(np.arange(n + 1) + 1.0))


@dataclass(frozen=True, slots=True)
class _Paths:
    """Paths to the nodes of one stage: the node, the length (minus the sum of log factorials), how many."""

    nodes: Integers  # (V, d), each in ascending order
    node: Integers  # (m,), which of them, ascending
    length: Array  # (m,)
    many: Array  # (m,)

    def by_node(self) -> Iterator[tuple[Integers, Array, Array]]:
        edges = np.searchsorted(self.node, np.arange(len(self.nodes) + 1))
        for k, (low, high) in enumerate(itertools.pairwise(edges)):
            yield self.nodes[k], self.length[low:high], self.many[low:high]


class _Network:
    """All tables with given margins, column after column, the two largest last."""

    def __init__(self, columns: Integers, lf: Array, most_paths: int) -> None:
        self.columns, self.lf, self.left = columns, lf, most_paths

    def mass_at_most(self, rows: Integers, threshold: float, scale: float) -> float:
        """Sum of exp(length + scale) over the tables whose length is at most the threshold."""
        paths = _Paths(rows[None, :], np.zeros(1, dtype=np.int64), np.zeros(1), np.ones(1))
        mass = 0.0
        for stage in range(len(self.columns) - 2):
            paths, finished = self._stage(paths, stage, threshold, scale)
            mass += finished
        return mass + self._last_two(paths, threshold, scale)

    def _stage(self, paths: _Paths, stage: int, threshold: float, scale: float) -> tuple[_Paths, float]:
        """One column more; the paths that are still open, and the mass of those that are finished."""
        column, following = int(self.columns[stage]), self.columns[stage + 1 :]
        radix = int(self.lf.size)
        weights = radix ** np.arange(paths.nodes.shape[1] - 1, dtype=np.float64)
        if weights[-1] * radix >= 2.0**62:
            raise _too_large()
        weights_whole = weights.astype(np.int64)
        open_: list[tuple[Integers, Array, Array]] = []
        waiting, mass = 0, 0.0
        for node, lengths, many in paths.by_node():
            parts = self._parts(node, column)
            left = np.sort(node - parts, axis=1)
            step = -self.lf[parts].sum(axis=1)
            longest, shortest, total = self._bounds(left, following)
            key = left[:, :-1] @ weights_whole
            # lengths ascend: of each way the first ones are finished, the last ones hopeless, those between stay open
            finished = np.searchsorted(lengths, threshold - step - longest, side="right")
            hopeful = np.maximum(np.searchsorted(lengths, threshold - step - shortest, side="right"), finished)
            below = np.concatenate([[0.0], np.cumsum(many * np.exp(lengths - lengths[-1]))])
            mass += float((below[finished] * np.exp(step + total + (lengths[-1] + scale))).sum())
            for ways, path in _pairs(finished, hopeful):
                self._spend(len(path))
                open_.append((key[ways], lengths[path] + step[ways], many[path]))
                waiting += len(path)
                if waiting > _CHUNK + len(open_[0][0]):
                    open_ = [_merged(open_)]
                    waiting = 0
                    if len(open_[0][0]) > MOST_KEPT:
                        raise _too_large()
        if not open_:
            nothing = np.zeros(0)
            empty = np.zeros((0, paths.nodes.shape[1]), dtype=np.int64)
            return _Paths(empty, np.zeros(0, dtype=np.int64), nothing, nothing), mass
        keys, length, times = _merged(open_)
        distinct, node_of = np.unique(keys, return_inverse=True)
        head = (distinct[:, None] // weights_whole) % radix
        nodes = np.column_stack([head, int(following.sum()) - head.sum(axis=1)])
        return _Paths(nodes, node_of, length, times), mass

    def _last_two(self, paths: _Paths, threshold: float, scale: float) -> float:
        """The mass below the threshold, from the nodes before the last two columns on."""
        column, mass = int(self.columns[-2]), 0.0
        for node, lengths, many in paths.by_node():
            parts = self._parts(node, column)
            ends = -(self.lf[parts] + self.lf[node - parts]).sum(axis=1)
            if len(lengths) < 4:
                for length, times in zip(lengths, many, strict=True):
                    counted = ends[ends <= threshold - length]
                    mass += float(times * np.exp(counted + (length + scale)).sum())
                continue
            ends = np.sort(ends)
            below = np.concatenate([[0.0], np.cumsum(np.exp(ends - ends[-1]))])
            found = below[np.searchsorted(ends, threshold - lengths, side="right")]
            mass += float((many * found * np.exp(lengths + (ends[-1] + scale))).sum())
        return mass

    def _parts(self, node: Integers, column: int) -> Integers:
        """Every way to fill a column from what is left of the rows, (ways, d)."""
        after = np.cumsum(node[::-1])[::-1]  # what this row and the later ones have
        left = np.array([column], dtype=np.int64)
        chosen: list[Integers] = []
        for i in range(len(node) - 1):
            low = np.maximum(0, left - after[i + 1])
            ways = np.minimum(node[i], left) - low + 1
            number = int(ways.sum())
            # of every way bounds are taken over all later columns: that is most of the work, and of the memory
            if number > MOST_WAYS:
                raise _too_large()
            self._spend(number * len(self.columns))
            within = np.arange(number) - np.repeat(np.cumsum(ways) - ways, ways)
            value = np.repeat(low, ways) + within
            chosen = [np.repeat(c, ways) for c in chosen]
            chosen.append(value)
            left = np.repeat(left, ways) - value
        return np.column_stack([*chosen, left])

    def _bounds(self, left: Integers, columns: Integers) -> tuple[Array, Array, Array]:
        """For each node: no completion is longer, none is shorter, and the log of their total mass.

        The longest: with mu_ij = r_i c_j / n the sum of n_ij log mu_ij is the same for every table, and
        n log mu - log n! is largest at the mode of a Poisson variable. The shortest: log n! is convex, so a row's sum
        is largest when it fills the largest columns first, and a column's likewise.
        """
        n = float(columns.sum())
        mu = left[:, :, None] * (columns / n)
        mode = np.floor(mu)
        constant = (
            special.xlogy(left, left).sum(axis=1) + float(special.xlogy(columns, columns).sum()) - n * math.log(n)
        )
        longest = (special.xlogy(mode, mu) - special.gammaln(mode + 1)).sum(axis=(1, 2)) - constant + 1e-9
        shortest = -np.minimum(
            sum(self._filled(left[:, i, None], columns[None, ::-1]) for i in range(left.shape[1])),
            sum(self._filled(np.full((len(left), 1), c), left[:, ::-1]) for c in columns),
        )
        total = self.lf[int(n)] - self.lf[left].sum(axis=1) - float(self.lf[columns].sum())
        return longest, shortest - 1e-9, total

    def _filled(self, amount: Integers, sizes: Integers) -> Array:
        """Sum of log factorials when an amount (V, 1) fills bins (V or 1, b) one after the other."""
        before = np.cumsum(sizes, axis=1) - sizes
        return np.asarray(self.lf[np.clip(amount - before, 0, sizes)].sum(axis=1))

    def _spend(self, paths: int) -> None:
        self.left -= paths
        if self.left < 0:
            raise _too_large()


def _pairs(low: Integers, high: Integers) -> Iterator[tuple[Integers, Integers]]:
    """(k, i) for every k and low[k] <= i < high[k], some at a time."""
    number = high - low
    ends = np.cumsum(number)
    done = 0
    while done < len(number):
        upto = max(done + 1, int(np.searchsorted(ends, (ends[done - 1] if done else 0) + _CHUNK, side="right")))
        some = number[done:upto]
        if some.any():
            ways = np.repeat(np.arange(done, upto), some)
            yield ways, np.arange(len(ways)) - np.repeat(np.cumsum(some) - some - low[done:upto], some)
        done = upto


def _merged(paths: list[tuple[Integers, Array, Array]]) -> tuple[Integers, Array, Array]:
    """Paths with the same node and length as one, in order of node and length."""
    key, length, many = (np.concatenate(parts) for parts in zip(*paths, strict=True))
    order = np.lexsort((length, key))
    key, length, many = key[order], length[order], many[order]
    new = np.empty(len(key), dtype=np.bool_)
    new[0] = True
    new[1:] = (key[1:] != key[:-1]) | (length[1:] - length[:-1] > _SAME)
    first = np.flatnonzero(new)
    return key[first], length[first], np.add.reduceat(many, first)


def _too_large() -> MethodError:
    return MethodError(
        "FISHER_TOO_LARGE",
        "Fisher's exact test of this table would need too many tables with the same margins",
        "ask without `fisher` and take the chi-square tests, or merge levels",
    )
