"""Generalised estimating equations: marginal regression of repeated outcomes, clusters inside a country.

First round: who is there, how large the clusters are, and the pooled means about which the columns are taken. Then
scoring steps with the correlation that follows from the residuals, until both stand still; a last round gives the
sandwich.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from isthmus.errors import DataError, MethodError
from isthmus_methods.contract import (
    Again,
    Answer,
    Array,
    BinSupport,
    Block,
    Booleans,
    CellSupport,
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
    column_name,
)
from isthmus_methods.parts import caveats
from isthmus_methods.parts.clusters import cluster_codes
from isthmus_methods.parts.first_round import (
    LEVEL_ABSENT,
    LEVEL_ABSENT_SAYS,
    NO_ROWS,
    NO_ROWS_SAYS,
    no_news,
    remember_rows,
    told_notes,
    told_rows,
)
from isthmus_methods.parts.gathered import needed
from isthmus_methods.parts.inference import coefficients, matrix, number
from isthmus_methods.parts.model_support import ROWS, count_items
from isthmus_methods.parts.model_terms import ModelTerms, level_rows, model_terms, shown
from isthmus_methods.parts.newton import solve
from isthmus_methods.parts.out_of_turn import wrong_pass, wrong_state
from isthmus_methods.parts.regression.estimating_equations import (
    STRUCTURES,
    ClusterRows,
    Equations,
    Fit,
    cluster_rows,
    equations,
)
from isthmus_methods.parts.regression.glm_family import FAMILIES, Family, family_of
from isthmus_methods.parts.regression_support import (
    HeaviestRow,
    RestsOn,
    heaviest_row,
    level_absent,
    model_support,
    rest_on,
    rests_on_nobody,
    support_of_nobody,
)
from isthmus_methods.parts.symmetric import packed, unpacked

MOST_ROUNDS = 80


@dataclass(frozen=True, slots=True)
class Partial:
    """Of some rows: who is there, and per structure the sums of clusters. Adds."""

    rests: RestsOn
    columns: Array  # (p,) sums of the outcome and of the design's columns; first round only
    clusters: tuple[ClusterRows, ...]

    def __add__(self, other: Partial, /) -> Partial:
        return Partial(
            self.rests + other.rests,
            self.columns + other.columns,
            tuple(a + b for a, b in zip(self.clusters, other.clusters, strict=True)),
        )


class Gee:
    """Marginal regression with robust standard errors; exchangeable or independent working correlation.

    Source: Liang & Zeger (1986), Biometrika 73, 13-22. Answers are those of R's `geepack::geeglm` (moments divided by
    the numbers of residuals and pairs) and of `gee::gee` (divided by these less p), each at its joint fixed point.
    """

    name: ClassVar[str] = "gee"
    version: ClassVar[int] = 1
    title: ClassVar[str] = "Generalised estimating equations"
    leaves: ClassVar[Mapping[str, Field]] = {
        "rows": Field(Kind.COUNT, "rows used", "rows", "1", divides=True),
        "excluded": Field(Kind.COUNT, "rows left out for a missing value", "rows", "1", required=False),
        "levels": Field(Kind.COUNT, "rows at each level of a factor", "rows", "levels", required=False),
        "clusters": Field(Kind.COUNT, "clusters", "clusters", "1", divides=True),
        "pairs": Field(Kind.CROSS_PRODUCT, "pairs of rows of the same cluster, summed", "pairs", "1"),
        "cluster_sizes": Field(Kind.HISTOGRAM, "clusters of each size", "clusters", "2 sizes", required=False),
        "columns": Field(Kind.CROSS_PRODUCT, "sums of the outcome and of the model's columns", size="p"),
        "score": Field(Kind.SCORE, "estimating function of each structure", size="p"),
        "information": Field(Kind.INFORMATION, "minus its expected slope", size="p (p + 1) / 2", gram=True),
        "moments": Field(Kind.SCORE, "squared residuals, and their products within clusters, summed", size="2"),
        "meat": Field(
            Kind.CROSS_PRODUCT, "estimating function by cluster, squared and summed", size="p (p + 1) / 2", gram=True
        ),
    }
    roles: ClassVar[Mapping[str, Role]] = {
        "outcome": Role("what is modelled: a number, or 0 and 1", holds="number"),
        "cluster": Role("rows that belong together: the person, where it is not named", required=False, holds="unit"),
    }
    options: ClassVar[Mapping[str, OptionRule]] = {
        "family": OptionRule(
            "distribution of the outcome", "gaussian", tuple(dict.fromkeys(name for name, _ in FAMILIES))
        ),
        "link": OptionRule("link function; none: the family's own", "", ("", *dict.fromkeys(x for _, x in FAMILIES))),
    }
    uses_terms: ClassVar[bool] = True
    missingness: ClassVar[Missingness] = Missingness.COMPLETE
    notes: ClassVar[Mapping[str, str]] = {
        NO_ROWS: NO_ROWS_SAYS,
        LEVEL_ABSENT: LEVEL_ABSENT_SAYS,
    }
    rounds: ClassVar[tuple[int, int]] = (3, MOST_ROUNDS)

    def scope(self, spec: Spec) -> Scope:
        return Scope.TOTAL

    # ----------------------------------------------------------------- inside a country

    def fold(self, block: Block, spec: Spec, state: State, local: Any) -> Partial | HeaviestRow:
        weights, partial = _look(block, spec, state)
        if local is None:
            return partial
        return heaviest_row(block, local.rests, weights)

    def release(self, partial: Any, spec: Spec, state: State, local: Partial | None) -> Summary | Again:
        terms = model_terms(spec, intercept=True)
        if partial is None:
            empty = Partial(
                rests_on_nobody(spec, terms.p - 1),
                np.zeros(terms.p),
                tuple(ClusterRows.of_nobody(terms.p) for _ in (state["which"] if state else STRUCTURES)),
            )
            return _summary(empty, support_of_nobody(spec, terms.p), spec, state)
        if isinstance(partial, Partial):
            return Again(partial)
        if local is None:
            raise wrong_pass()
        return _summary(local, model_support(local.rests, partial, spec, terms.p), spec, state)

    # ----------------------------------------------------------------- at the coordinator

    def pool(self, contributions: Contributions, spec: Spec, state: State, memory: State) -> Next | Done:
        terms = model_terms(spec, intercept=True)
        if not state:
            return _begin(contributions, spec, terms)
        fits = [Fit.recall(memory, k) for k in range(len(STRUCTURES))]
        for k in state["which"].astype(int):
            given = _equations_of(contributions, list(STRUCTURES)[k], terms.p, "last" in state)
            fits[k] = fits[k].after(given, list(STRUCTURES.values())[k], memory)
        kept = {key: value for key, value in memory.items() if not key.startswith("structure ")}
        kept["round"] = memory["round"] + 1.0
        if "last" in state:
            return _answer(contributions, spec, terms, fits, kept, self.notes)
        going = [k for k, fit in enumerate(fits) if not fit.over]
        remembered = {**kept, **{f"structure {k}": fit.packed() for k, fit in enumerate(fits)}}
        distance = max((fit.distance for fit in fits), default=0.0)
        if going and float(kept["round"][0]) < MOST_ROUNDS - 2:
            return Next(_asked(fits, going, kept, last=False), remembered, "distance", distance)
        return Next(_asked(fits, list(range(len(fits))), kept, last=True), remembered, "distance", distance)


# --------------------------------------------------------------------------- inside a country


def _family(spec: Spec) -> Family:
    given = spec.options
    return family_of(str(given.get("family", Gee.options["family"].default)), str(given.get("link", "")))


def _look(block: Block, spec: Spec, state: State) -> tuple[Array | None, Partial]:
    """One block's share of the round, and its rows' weights."""
    family, y = _family(spec), block.numbers("outcome")
    matrix_ = block.design.matrix if block.design is not None else np.zeros((block.rows, 0))
    if not family.allows(y):
        raise DataError(
            "WRONG_OUTCOME",
            f"{column_name(spec.role('outcome')[0])} holds values that a {family.name} model does not allow; "
            f"rule: {family.outcome}",
            "choose another family, or leave these rows out by a filter",
        )
    codes = cluster_codes(block, spec)
    if not state:
        sums = np.concatenate([[y.sum()], matrix_.sum(axis=0)])
        terms = model_terms(spec, intercept=True)
        x = np.zeros((block.rows, terms.p))
        sizes, _ = cluster_rows(x, np.zeros(block.rows), codes, np.zeros(terms.p), family_of("gaussian"))
        return None, Partial(rest_on(block, spec), sums, (sizes,) * len(STRUCTURES))
    if state["centre"].shape != (matrix_.shape[1],) or not np.isfinite(state["beta"]).all():
        raise wrong_state()
    x = np.column_stack([np.ones(block.rows), matrix_ - state["centre"]])
    looked = [cluster_rows(x, y - state["middle"][0], codes, beta, family) for beta in state["beta"]]
    weights = np.max([w for _, w in looked], axis=0)
    predictor = np.max([np.abs(x @ beta) for beta in state["beta"]], axis=0) if family.link == "log" else None
    rests = rest_on(block, spec, weights, predictor)
    return weights, Partial(rests, np.zeros(x.shape[1]), tuple(rows for rows, _ in looked))


def _summary(partial: Partial, support: ModelSupport, spec: Spec, state: State) -> Summary:
    used = partial.rests.used
    counted = used.persons()
    notes = {NO_ROWS: not used.rows[ROWS], LEVEL_ABSENT: level_absent(support, spec)}
    raised = frozenset(code for code, on in notes.items() if on)
    if not state:
        return Summary(
            (
                *count_items(used, counted, spec, outcomes=False),
                *_size_items(partial.clusters[0], int(counted[ROWS]), support),
                Item("columns", partial.columns, support),
            ),
            raised,
        )
    items: list[Item] = []
    for which, rows, alpha in zip(state["which"], partial.clusters, state["alpha"], strict=True):
        label = list(STRUCTURES)[int(which)]
        given = equations(rows, float(alpha))
        items += [
            Item("score", given.score, support, label),
            Item("information", packed(given.bread), support, label),
            Item("moments", np.array([given.squares, given.products]), support, label),
        ]
        if "last" in state:
            items.append(Item("meat", packed(given.meat), support, label))
    return Summary(tuple(items), raised)


def _size_items(rows: ClusterRows, persons: int, support: ModelSupport) -> tuple[Item, Item, Item]:
    """Clusters, pairs within them, and clusters of each size.

    A cluster counts as a person, unless there are fewer persons than clusters.
    """
    sizes = rows.clusters.sums[:, 0].astype(np.int64)
    found, clusters = np.unique(sizes, return_counts=True)
    pairs = float((sizes * (sizes - 1) // 2).sum())
    cells = np.column_stack([found, clusters]).astype(np.int64)
    number_ = min(len(sizes), persons)
    gaps = bool(len(found)) and int(found[-1] - found[0]) >= len(found)
    return (
        Item("clusters", np.array([len(sizes)], dtype=np.int64), CellSupport(np.array([number_], dtype=np.int64))),
        Item("pairs", np.array([pairs]), support),
        Item(
            "cluster_sizes",
            cells,
            BinSupport(np.minimum(clusters, persons).astype(np.int64), number_, gaps),
            axes=(("cell", ()), ("place", ("size", "clusters"))),
        ),
    )


# --------------------------------------------------------------------------- at the coordinator


def _equations_of(contributions: Contributions, label: str, p: int, last: bool) -> Equations:
    score, information, moments = (needed(contributions, name, label) for name in ("score", "information", "moments"))
    squared = unpacked(needed(contributions, "meat", label), p) if last else np.zeros((p, p))
    return Equations(unpacked(information, p), score, squared, float(moments[0]), float(moments[1]))


def _begin(contributions: Contributions, spec: Spec, terms: ModelTerms) -> Next:
    rows, columns = contributions.total("rows"), contributions.total("columns")
    clusters, pairs = contributions.total("clusters"), contributions.total("pairs")
    if rows is None or columns is None or clusters is None or pairs is None or not rows.any():
        raise MethodError("NO_ROWS", "no country has a complete row for this model", "check the filter and the terms")
    family, n = _family(spec), float(rows[0])
    mean = float(columns[0]) / n
    identity = family.link == "identity"
    sizes = contributions.cells("cluster_sizes")
    there = terms.columns_present(level_rows(contributions, terms))
    beta = np.zeros(terms.p)
    beta[0] = 0.0 if identity else float(family.start(np.array([mean]))[0])
    kept: dict[str, Array] = {
        "centre": columns[1:] / n,
        "middle": np.array([mean if identity else 0.0]),
        "rows": rows,
        "clusters": clusters,
        "pairs": pairs,
        "there": there.astype(np.float64),
        "round": np.ones(1),
        **remember_rows(contributions, spec, terms),
    }
    if sizes is not None and not contributions.withheld("cluster_sizes"):
        kept["sizes"] = sizes.astype(np.float64)
    # a negative distance says that aliased columns are still to be found
    fits = [Fit(beta, 0.0, 1.0, there, False, -1.0) for _ in STRUCTURES]
    remembered = {**kept, **{f"structure {k}": fit.packed() for k, fit in enumerate(fits)}}
    return Next(_asked(fits, list(range(len(fits))), kept, last=False), remembered, "distance", 1.0)


def _asked(fits: list[Fit], going: list[int], kept: State, *, last: bool) -> dict[str, Array]:
    state = {
        "which": np.array(going, dtype=np.float64),
        "beta": np.stack([fits[k].beta for k in going]),
        "alpha": np.array([fits[k].alpha for k in going]),
        "centre": kept["centre"],
        "middle": kept["middle"],
    }
    return {**state, "last": np.ones(1)} if last else state


def _answer(
    contributions: Contributions,
    spec: Spec,
    terms: ModelTerms,
    fits: list[Fit],
    kept: State,
    notes: Mapping[str, str],
) -> Done:
    there: Booleans = kept["there"] > 0
    named = [name for name, on in zip(terms.names, there, strict=True) if on]
    # back to the columns as they are: the intercept moves by centre' beta
    back = np.eye(terms.p)
    back[0, 1:] = -kept["centre"]
    answer: dict[str, Answer] = {
        "n_records": round(float(kept["rows"][0])),
        "n_clusters": round(float(kept["clusters"][0])),
        "cluster_sizes": None,
    }
    said: list[str] = []
    if "sizes" in kept:
        answer["cluster_sizes"] = {str(round(size)): round(number_) for size, number_ in kept["sizes"].tolist()}
    else:
        said.append("cluster sizes: withheld by a country, so they are not shown")
    for (label, structure), fit in zip(STRUCTURES.items(), fits, strict=True):
        given = _equations_of(contributions, label, terms.p, last=True)
        bread = solve(given.bread, fit.kept).inverse
        robust = back @ bread @ given.meat @ bread @ back.T
        naive = fit.phi * (back @ bread @ back.T)
        beta = back @ fit.beta
        beta[0] += float(kept["middle"][0])
        estimates, covariance = shown(beta, robust, fit.kept, there)
        spread = shown(beta, naive, fit.kept, there)[1]
        block: dict[str, Answer] = {
            "coef": coefficients(named, estimates, covariance, hazard_ratio=False),
            "scale_phi": number(fit.phi),
            "alpha": number(fit.alpha) if structure.exchangeable and kept["pairs"][0] > 0 else None,
            "vcov_robust": matrix(named, covariance),
            "naive_se": {name: number(float(np.sqrt(v))) for name, v in zip(named, np.diag(spread), strict=True)},
            "converged": fit.over,
            "gradient_norm": fit.distance,
        }
        answer[label] = block
        if not fit.over:
            said.append(f"{label}: {caveats.not_converged(MOST_ROUNDS)}")
    answer |= {
        "iterations": round(float(kept["round"][0])),
        "aliased": [n for n, on, k in zip(terms.names, there, fits[0].kept, strict=True) if on and not k],
        **told_rows(kept, terms),
        "notes": list(told_notes(kept, spec, notes, (NO_ROWS, LEVEL_ABSENT))),
    }
    return Done(answer, tuple(said), no_news=no_news(kept))
