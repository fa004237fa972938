"""A generalised linear model inside a country: the sums over its rows that Newton's method asks for.

All sums are about the pooled means of the model's columns, which the first round gives: a column with a mean of 1e9
and a spread of 1 loses nothing. Several models (the whole one, those without a term, the intercept alone) are looked at
in the same pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from isthmus.errors import MethodError
from isthmus_methods.contract import Array, Block, Booleans, Spec, State
from isthmus_methods.parts.clusters import ClusterScores, cluster_scores
from isthmus_methods.parts.cross_product import CHUNK, CrossProduct, distances, recentring
from isthmus_methods.parts.model_terms import ModelTerms
from isthmus_methods.parts.out_of_turn import wrong_state
from isthmus_methods.parts.regression.glm_family import Family, squared_pearson
from isthmus_methods.parts.regression_support import (
    CentredRows,
    HeaviestRow,
    RestsOn,
    heaviest_row,
    outcome_of,
    people,
    rest_on,
)

# The models of one request, by the label their sums have; then one without each term.
WHOLE, EMPTY, WITHOUT = "model", "null", "without "
# The intercept alone one scoring step from the whole model's fitted values.
ASIDE = "null, one step"
# A deviance that says: this step went where nothing is finite.
BEYOND = 1e200
# A row with no more than this left of its own residual has none to judge a variance by.
SATURATED = 1e-10


def models_of(terms: ModelTerms, drop1: bool) -> dict[str, Booleans]:
    """Columns of each model (p,): the whole one, the intercept alone, and those without one term."""
    empty = np.zeros(terms.p, dtype=np.bool_)
    empty[0] = True
    models = {WHOLE: np.ones(terms.p, dtype=np.bool_), EMPTY: empty}
    for term in terms.droppable() if drop1 else ():
        left = terms.columns_without(term)
        if not np.array_equal(left, empty):
            models[WITHOUT + term] = left
    return models


def is_empty(columns: Booleans) -> bool:
    """Whether a model has the intercept alone."""
    return not columns[1:].any()


# --------------------------------------------------------------------------- first round


@dataclass(frozen=True, slots=True)
class FirstSums:
    """Who is there, and the sums that no coefficient is needed for. Adds."""

    rests: RestsOn
    columns: Array  # (p,) sum of the outcome, then of the model's columns
    saturated: float
    allowed: bool

    def __add__(self, other: FirstSums, /) -> FirstSums:
        return FirstSums(
            self.rests + other.rests,
            self.columns + other.columns,
            self.saturated + other.saturated,
            self.allowed and other.allowed,
        )


def first_sums(block: Block, spec: Spec, family: Family) -> FirstSums:
    """One block's share of the first round."""
    y = block.numbers("outcome")
    allowed = family.allows(y)
    event = y == 1.0 if family.name == "binomial" else None
    rests = rest_on(block, spec, event=event)
    # about the block's own means little is left to add up
    columns = rests.cross.product[0, 1:] + block.rows * rests.cross.centre
    saturated = float(family.saturated(y).sum()) if allowed else 0.0
    return FirstSums(rests, np.concatenate([[y.sum()], columns]), saturated, allowed)


def refuse_outcome(family: Family) -> MethodError:
    """What is said where the outcome is none of the family's."""
    return MethodError(
        "WRONG_OUTCOME",
        f"the outcome of a {family.name} model is {family.outcome}, and some row's is not",
        "choose another family, or filter the rows",
    )


# --------------------------------------------------------------------------- later rounds


@dataclass(frozen=True, slots=True)
class Asked:
    """What a later round asks for, read from the state."""

    centre: Array  # (p - 1,)
    models: tuple[tuple[str, Booleans, Array], ...]  # label, columns, coefficients (p,) and whatever follows them
    end: Array | None  # where the pieces of the answer beside the fit are asked
    inverse: Array | None  # (p, p) of the expected information there, for the leverages
    start: bool  # least squares on the working outcome of R's starting values

    @classmethod
    def of(cls, state: State, models: Mapping[str, Booleans], width: int) -> Asked:
        """Raises `MethodError` where the state is not this request's; `width`: coefficients of each model."""
        labels = tuple(models)
        p = len(models[WHOLE])
        which, beta = state.get("which", np.zeros(0)), state.get("beta", np.zeros((0, width)))
        centre, end, inverse = state.get("centre", np.zeros(0)), state.get("end"), state.get("inverse")
        aside = state.get("aside")
        sound = (
            centre.shape == (p - 1,)
            and beta.shape == (len(which), width)
            and all(float(k) in range(len(labels)) for k in which)
            and (end is None or end.shape == (width,))
            and (inverse is None or inverse.shape == (p, p))
            and (aside is None or aside.shape == (width,))
            and all(np.all(np.isfinite(x)) for x in (centre, beta, end, inverse, aside) if x is not None)
        )
        if not sound:
            raise wrong_state()
        asked = tuple((labels[int(k)], models[labels[int(k)]], b) for k, b in zip(which, beta, strict=True))
        if aside is not None:
            asked += ((ASIDE, models[EMPTY], aside),)
        return cls(centre, asked, end, inverse, start=not asked and end is None)


@dataclass(frozen=True, slots=True)
class ModelSums:
    """One model at one predictor. Adds; `score` is about the pooled centre."""

    rests: RestsOn  # its cross-product, about the block's own centre, is the information
    score: Array  # (p,); the empty model: (1,)
    deviance: float

    def __add__(self, other: ModelSums, /) -> ModelSums:
        return ModelSums(self.rests + other.rests, self.score + other.score, self.deviance + other.deviance)

    def information(self, centre: Array) -> Array:
        """Minus the curvature about the pooled centre, (p, p); the empty model: (1, 1)."""
        return about(self.rests.cross, centre)


def about(cross: CrossProduct, centre: Array) -> Array:
    """A cross-product of [1, columns] about another centre; one of the intercept alone has none."""
    if not len(cross.centre):
        return cross.product
    move = recentring(cross.centre, centre)
    moved: Array = move.T @ cross.product @ move
    return moved


def offset_of(block: Block, spec: Spec) -> Array | float:
    return block.numbers("offset") if spec.role("offset") else 0.0


def predictor(block: Block, spec: Spec, rows: CentredRows, columns: Booleans, beta: Array, centre: Array) -> Array:
    """Linear predictor of the rows with their offset, (n,)."""
    if is_empty(columns):
        return np.full(block.rows, beta[0]) + offset_of(block, spec)
    eta: Array = rows.x @ (recentring(rows.centre, centre) @ beta)
    return eta + offset_of(block, spec) if spec.role("offset") else eta


@dataclass(frozen=True, slots=True)
class Rowwise:
    """Of each row: score in the predictor, weight in the information, predictor, and the deviance of all.

    `product` and `pull` are X'WX and X'score where they were taken on the way.
    """

    score: Array
    weights: Array
    eta: Array
    deviance: float
    product: Array | None = None  # (1 + q, 1 + q)
    pull: Array | None = None  # (1 + q,)


def rowwise(family: Family, y: Array, eta: Array) -> Rowwise:
    """At one predictor (n,); where it is beyond what numbers hold, nothing but a deviance that says so."""

    def at(some: slice) -> tuple[Array, Array, Array, float]:
        score, weights, each = family.all_of(y[some], eta[some])
        return eta[some], score, weights, float(each.sum())

    return _swept(len(y), at)


def model_rowwise(family: Family, y: Array, rows: CentredRows, slope: Array, offset: Array | float) -> Rowwise:
    """As `rowwise` at the predictor ``x slope + offset``, with the sums over x taken on the way."""

    def at(some: slice) -> tuple[Array, Array, Array, float]:
        eta = rows.x[some] @ slope + (offset if isinstance(offset, float) else offset[some])
        score, weights, each = family.all_of(y[some], eta)
        return eta, score, weights, float(each.sum())

    return _swept(len(y), at, rows.x)


def starting(family: Family, y: Array, rows: CentredRows, offset: Array | float) -> Rowwise:
    """R's starting values as a Newton step from zero: the score holds the weighted working outcome."""

    def at(some: slice) -> tuple[Array, Array, Array, float]:
        eta = family.start(y[some])
        score, weights = family.score_and_weights(y[some], eta)
        return eta, weights * (eta - (offset if isinstance(offset, float) else offset[some])) + score, weights, 0.0

    return _swept(len(y), at, rows.x)


def _swept(n: int, at: Callable[[slice], tuple[Array, Array, Array, float]], x: Array | None = None) -> Rowwise:
    """One pass over n rows, some at a time: what is made of them stays in the processor's cache until it is used.

    `at` gives predictor, score, weights of some rows and their deviance; `x` (n, 1 + q) the columns to take sums over.
    """
    eta, score, weights, deviance = np.empty(n), np.empty(n), np.empty(n), 0.0
    width = 0 if x is None else x.shape[1]
    product, pull = np.zeros((width, width)), np.zeros(width)
    with np.errstate(all="ignore"):
        for low in range(0, n, CHUNK):
            some = slice(low, low + CHUNK)
            eta[some], score[some], weights[some], share = at(some)
            deviance += share
            if x is not None:
                product += x[some].T @ (x[some] * weights[some, None])
                pull += score[some] @ x[some]
        if not np.isfinite(deviance + float(score @ score) + float(weights @ weights)):
            return Rowwise(np.zeros(n), np.ones(n), np.zeros(n), BEYOND)
    return Rowwise(score, weights, eta, deviance, *((None, None) if x is None else (product, pull)))


def expected(family: Family, y: Array, eta: Array) -> Rowwise:
    """At one predictor (n,), with the weights of the expected information; without a deviance."""
    score, weights = family.score_and_weights(y, eta)
    return Rowwise(score, weights, eta, 0.0)


def model_sums(block: Block, spec: Spec, rows: CentredRows, values: Rowwise, centre: Array, empty: bool) -> ModelSums:
    """The sums of one model over one block."""
    if empty:
        v = values.weights
        cross = CrossProduct(
            np.zeros(0),
            np.array([[v.sum()]]),
            float(v @ v),
            np.bincount(block.subject, weights=v, minlength=1).astype(np.float64),
        )
        eta = values.eta
        low, high = (float(eta.min()), float(eta.max())) if len(eta) else (np.inf, -np.inf)
        rests = RestsOn(people(block, spec), cross, low, high, float(eta.sum()), outcome_of(block, spec))
        return ModelSums(rests, np.array([values.score.sum()]), values.deviance)
    move = recentring(rows.centre, centre)
    pull = values.score @ rows.x if values.pull is None else values.pull
    rests = rest_on(block, spec, values.weights, values.eta, product=values.product)
    return ModelSums(rests, move.T @ pull, values.deviance)


# --------------------------------------------------------------------------- pieces of the answer


@dataclass(frozen=True, slots=True)
class EndSums:
    """At the end of the fit, about the pooled centre. Adds."""

    rests: RestsOn  # with the expected information
    pearson: float
    meats: tuple[RestsOn, ...]  # HC0 and HC3: with squared residuals as weights, as they are and without each row
    saturated: int  # rows that determine their own fitted value
    by_cluster: ClusterScores | None

    def __add__(self, other: EndSums, /) -> EndSums:
        by_cluster = self.by_cluster
        if by_cluster is not None and other.by_cluster is not None:
            by_cluster = by_cluster + other.by_cluster
        return EndSums(
            self.rests + other.rests,
            self.pearson + other.pearson,
            tuple(a + b for a, b in zip(self.meats, other.meats, strict=True)),
            self.saturated + other.saturated,
            by_cluster,
        )


def end_sums(
    block: Block,
    spec: Spec,
    rows: CentredRows,
    values: Rowwise,
    asked: Asked,
    robust: bool,
    known: RestsOn | None = None,
) -> tuple[EndSums, tuple[Array, ...]]:
    """The expected information, Pearson's chi-square, and the middles of the robust variances, of one block.

    With them the rows' weights in these middles, (n,): the gate judges each by its own.

    Parameters
    ----------
    values : of each row at the end, with the weights of the expected information.
    known : what the whole model rests on at the same coefficients, where observed and expected information agree.
    """
    score, weights = values.score, values.weights
    rests = rest_on(block, spec, weights, values.eta) if known is None else known
    pearson = float(squared_pearson(score, weights).sum())
    squared: tuple[Array, ...] = ()
    saturated, by_cluster = 0, None
    move = recentring(rows.centre, asked.centre)
    if robust and asked.inverse is not None:
        squares, vectors = np.linalg.eigh(asked.inverse)
        half = vectors * np.sqrt(np.maximum(squares, 0.0))
        left = 1.0 - weights * distances(rows.x, move @ half)
        none = left <= SATURATED
        saturated = int(none.sum())
        blunt = np.where(none, 0.0, score / np.where(none, 1.0, left))
        squared = (score * score, blunt * blunt)
    if spec.role("cluster"):
        by_cluster = cluster_scores(block, spec, (rows.x @ move) * score[:, None], score * score)
    meats = tuple(rest_on(block, spec, v) for v in squared)
    return EndSums(rests, pearson, meats, saturated, by_cluster), squared


# --------------------------------------------------------------------------- second pass


@dataclass(frozen=True, slots=True)
class Heaviest:
    """The heaviest person of each model of the round, and of the end. Adds."""

    of_models: tuple[HeaviestRow, ...]

    def __add__(self, other: Heaviest, /) -> Heaviest:
        return Heaviest(tuple(a + b for a, b in zip(self.of_models, other.of_models, strict=True)))


def heaviest(block: Block, known: Sequence[tuple[RestsOn, Array | None]]) -> Heaviest:
    """The second pass over one block: for each model what it rests on, and the rows' weights (n,)."""
    return Heaviest(
        tuple(
            heaviest_row(block, rests, weights) if len(rests.cross.centre) else HeaviestRow(np.zeros(0))
            for rests, weights in known
        )
    )
