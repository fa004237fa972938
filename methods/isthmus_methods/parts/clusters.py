"""Rows that belong together, for cluster-robust variances: sums of scores by cluster, and their squares summed.

A cluster whose column has levels in the dictionary (the country, a centre) may have rows in several countries, so its
sum leaves by level and is squared at the coordinator. Any other column numbers clusters within a country: their sums
are squared there and do not leave.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus_methods.contract import (
    Array,
    Block,
    Contributions,
    Field,
    Integers,
    Item,
    Kind,
    ModelSupport,
    Ref,
    Spec,
)
from isthmus_methods.parts.symmetric import packed, unpacked

# What a model with a cluster-robust variance adds to what leaves.
FIELDS: Mapping[str, Field] = {
    "cluster_scores": Field(
        Kind.CROSS_PRODUCT, "rows of a cluster and their scores summed, by level", size="(p + 1) G", required=False
    ),
    "cluster_meat": Field(
        Kind.CROSS_PRODUCT, "number of clusters; scores summed by cluster, squared and summed", required=False
    ),
}
# A person's number within the country, beside the cluster's level, in one whole number.
_PERSONS = 1 << 32


@dataclass(frozen=True, slots=True)
class ByCluster:
    """Sums of score residuals by cluster. Adds."""

    names: NDArray[Any]  # (G,), sorted
    sums: Array  # (G, p)

    def __add__(self, other: ByCluster) -> ByCluster:
        return by_cluster(np.concatenate([self.names, other.names]), np.concatenate([self.sums, other.sums]))

    def meat(self) -> Array:
        """Sum over clusters of U U', (p, p)."""
        meat: Array = self.sums.T @ self.sums
        return meat


def by_cluster(names: NDArray[Any], values: Array) -> ByCluster:
    """Rows' values (n, p) summed by cluster; `names` (n,)."""
    distinct, code = np.unique(names, return_inverse=True)
    sums = np.empty((len(distinct), values.shape[1]))
    for k in range(values.shape[1]):
        sums[:, k] = np.bincount(code, weights=values[:, k], minlength=len(distinct))
    return ByCluster(distinct, sums)


def cluster_codes(block: Block, spec: Spec) -> NDArray[Any]:
    """What the cluster-robust variance takes as one: the cluster column, else the person, (rows,)."""
    column = spec.role("cluster")
    if not column or column[0] == Ref(spec.subject):
        return block.subject
    values: NDArray[Any] = block.columns["cluster"][0]
    return values


def cluster_levels(spec: Spec) -> tuple[str, ...]:
    """Levels of the cluster column; empty where clusters are numbered within a country."""
    column = spec.role("cluster")
    return spec.levels(column[0]) if column else ()


@dataclass(frozen=True, slots=True)
class ClusterScores:
    """Scores by cluster, and by cluster and person how much of the squared residuals is theirs. Adds."""

    scores: ByCluster  # sums (G, 1 + p): rows, scores
    persons: ByCluster  # names: cluster and person; sums (., 1): weight

    def __add__(self, other: ClusterScores, /) -> ClusterScores:
        return ClusterScores(self.scores + other.scores, self.persons + other.persons)


def cluster_scores(block: Block, spec: Spec, scores: Array, weights: Array) -> ClusterScores:
    """Of one block; `scores` (n, p) of its rows, `weights` (n,) >= 0: their squared residuals."""
    codes = cluster_codes(block, spec)
    rows = by_cluster(codes, np.column_stack([np.ones(block.rows), scores]))
    if not cluster_levels(spec):
        return ClusterScores(rows, by_cluster(block.subject, weights[:, None]))
    members = codes.astype(np.int64) * _PERSONS + block.subject
    return ClusterScores(rows, by_cluster(members, weights[:, None]))


def cluster_items(total: ClusterScores | None, spec: Spec, p: int, parameters: int, model: ModelSupport) -> list[Item]:
    """What leaves of clusters, `total` None without rows.

    Parameters
    ----------
    p : number of scores of a row.
    parameters : of the model.
    model : what the model's residuals rest on in this country; for clusters that are squared here.
    """
    levels = cluster_levels(spec)
    if not levels:
        value = np.zeros(1 + p * (p + 1) // 2)
        if total is not None:
            sums = total.scores.sums[:, 1:]
            value = np.concatenate([[float(len(sums))], packed(sums.T @ sums)])
        return [Item("cluster_meat", value, model)]
    items = []
    for code, level in enumerate(levels):
        value, support = np.zeros(1 + p), ModelSupport(0, parameters)
        if total is not None and code in total.scores.names:
            value = total.scores.sums[int(np.flatnonzero(total.scores.names == code)[0])]
            support = _support(total.persons, code, parameters)
        items.append(Item("cluster_scores", value, support, level))
    return items


def _support(persons: ByCluster, code: int, parameters: int) -> ModelSupport:
    """Of one cluster: its persons, and how its squared residuals are spread over them."""
    members: Integers = np.asarray(persons.names // _PERSONS == code)
    weights = persons.sums[members, 0]
    total, squares = float(weights.sum()), float(weights @ weights)
    return ModelSupport(
        persons=len(weights),
        parameters=parameters,
        effective_persons=min(total**2 / squares, float(len(weights))) if squares > 0 else 0.0,
        leverage=float(weights.max()) / total if total > 0 else 0.0,
    )


def pooled_meat(contributions: Contributions, spec: Spec, p: int) -> tuple[Array, int] | None:
    """Sum over all clusters of U U', (p, p), and their number; None where a country's gate withheld a part."""
    levels = cluster_levels(spec)
    fields = [("cluster_scores", level) for level in levels] or [("cluster_meat", "")]
    if any(key in summary.withheld for summary in contributions.summaries for key in fields):
        return None
    totals = [contributions.total(name, label) for name, label in fields]
    given = [total for total in totals if total is not None and total[0] > 0]
    if not given:
        return None
    if not levels:
        return unpacked(given[0][1:], p), round(float(given[0][0]))
    sums = np.stack(given)[:, 1:]
    return sums.T @ sums, len(given)
