"""To the maximum of the restricted likelihood, by questions that sums over countries answer.

The search asks for sums at a Sigma and says what it asks next, until it has all that the answer is made of. Where the
coordinator has the cross-products of every pattern it answers itself; where it has not, a question is a round.

Fisher scoring from independent records, then Newton's method on the observed information, with step halving.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np

from isthmus.errors import MethodError
from isthmus_methods.contract import Array, Booleans, State
from isthmus_methods.parts.mixed import reml
from isthmus_methods.parts.mixed.reml import Pattern, covariance
from isthmus_methods.parts.newton import Solved, solve

# Newton distance sqrt(s' I^-1 s), in standard errors of theta, at which the search is over.
CLOSE = 1e-10
# The distance at which rounding, where it stops the progress, has the last word.
ROUGH = 1e-6
# The distance from which on the information is the observed one.
NEAR = 1.0
HALVINGS, STEPS = 40, 100
# How far a step goes, relative to Sigma, before it is bent; and the most that it goes.
FAR, FARTHEST = 0.5, 3.0
# A variance below this, or above its inverse, overflows when it is multiplied.
SMALLEST = 1e-60
# What a log-likelihood may fall by where the search is close.
CLOSE_SLACK = 1e-6
LOG_2PI = math.log(2.0 * math.pi)


class Ask(IntEnum):
    """What sums are asked for."""

    WHOLE = 0
    SCORES = 1
    SLOPES = 2
    SECOND = 3


def answered(question: State, patterns: Sequence[Pattern], size: int) -> Array:
    """The sums that a question asks for, over some patterns with P = `size` columns."""
    sigma = question["sigma"]
    match Ask(int(question["ask"][0])):
        case Ask.WHOLE:
            total, logdet = reml.whole(patterns, sigma, size)
            # the determinant beside the matrix, as a further row
            return np.vstack([total, np.concatenate([[logdet], np.zeros(size - 1)])])
        case Ask.SCORES:
            return reml.scores(patterns, sigma, question["beta"], question["spread"])
        case Ask.SLOPES:
            return reml.first_slopes(patterns, sigma, size)
        case Ask.SECOND:
            return reml.second_slopes(patterns, sigma, question["weights"], size)


@dataclass(frozen=True, slots=True)
class Point:
    """A Sigma and what the sums at it say."""

    sigma: Array  # (m, m)
    total: Array  # (P, P), z' V^-1 z
    solved: Solved  # of its x part
    beta: Array  # (p,), zero where not kept
    loglik: float  # without its constant, of the centred columns

    @classmethod
    def of(cls, sigma: Array, total: Array, logdet: float, kept: Booleans) -> Point:
        solved = solve(total[:-1, :-1], kept)
        beta = solved.inverse @ total[:-1, -1]
        where = np.ix_(kept, kept)
        squares = float(total[-1, -1] - total[:-1, -1] @ beta)
        return cls(sigma, total, solved, beta, -0.5 * (logdet + _logdet(total[where]) + squares))

    @property
    def spread(self) -> Array:
        return self.solved.inverse


@dataclass(frozen=True, slots=True)
class Search:
    """Where the search is. Travels between rounds as arrays."""

    m: int
    ask: Ask
    sigma: Array  # asked at, (m, m)
    plain: Array  # cross-products of z with V = 1, (P, P); empty before they are known
    kept: Booleans  # (p,)
    sigma_best: Array
    total: Array  # at sigma_best, (P, P)
    logdet: float
    scores: Array  # (q, 1 + 2 q)
    correction: Array  # (q, q) what the scores' matrices lack of the observed information; empty: not known
    slopes: Array  # (q, P, P) at sigma_best; empty: not asked
    weights: Array  # (q, q)
    distance: float
    halvings: int
    steps: int
    last: bool

    @classmethod
    def start(cls, m: int) -> Search:
        none, nothing = np.zeros(0), np.zeros(0, dtype=np.bool_)
        eye = np.eye(m)
        return cls(m, Ask.WHOLE, eye, none, nothing, eye, none, 0.0, none, none, none, none, math.inf, 0, 0, False)

    def question(self) -> dict[str, Array]:
        """For the countries."""
        asked = {"ask": np.array([float(self.ask)]), "sigma": self.sigma}
        if self.ask is Ask.SCORES:
            here = self.best()
            asked |= {"beta": here.beta, "spread": here.spread}
        if self.ask is Ask.SECOND:
            asked["weights"] = self.weights
        return asked

    def best(self) -> Point:
        return Point.of(self.sigma_best, self.total, self.logdet, self.kept)

    def remember(self) -> dict[str, Array]:
        kept = {
            f"search/{name}": np.asarray(getattr(self, name), dtype=np.float64).reshape(-1)
            if name not in ("sigma", "plain", "sigma_best", "total", "scores", "correction", "slopes", "weights")
            else np.asarray(getattr(self, name))
            for name in self.__slots__
        }
        return kept

    @classmethod
    def recall(cls, memory: State) -> Search:
        def array(name: str) -> Array:
            return np.array(memory[f"search/{name}"], dtype=np.float64)

        def one(name: str) -> float:
            return float(memory[f"search/{name}"][0])

        return cls(
            m=int(one("m")),
            ask=Ask(int(one("ask"))),
            sigma=array("sigma"),
            plain=array("plain"),
            kept=array("kept") > 0,
            sigma_best=array("sigma_best"),
            total=array("total"),
            logdet=one("logdet"),
            scores=array("scores"),
            correction=array("correction"),
            slopes=array("slopes"),
            weights=array("weights"),
            distance=one("distance"),
            halvings=int(one("halvings")),
            steps=int(one("steps")),
            last=one("last") > 0,
        )


@dataclass(frozen=True, slots=True)
class Found:
    """The maximum, and the sums there."""

    point: Point
    plain: Array  # (P, P), cross-products of z
    kept: Booleans  # (p,)
    slopes: Array  # (q, P, P)
    weights: Array  # (q, q), inverse of the observed information of theta
    second: Array  # (P, P)
    distance: float


def advance(
    search: Search, answer: Array, allowed: Callable[[Array], Booleans], visits: Sequence[str]
) -> Search | Found:
    """On with the search once its question is answered.

    Parameters
    ----------
    answer : the sums over all countries.
    allowed : which columns (p,) may be estimated, from the cross-products (P, P) of the first answer.
    visits : their names, for messages.

    Raises `MethodError` ``NOTHING_LEFT``, ``OUTCOME_SCALE``, ``COVARIANCE_NOT_IDENTIFIED``, ``NOT_CONVERGED``.
    """
    match search.ask:
        case Ask.WHOLE:
            total, logdet = answer[:-1], float(answer[-1, 0])
            return _first(search, total, allowed(total)) if not search.plain.size else _looked(search, total, logdet)
        case Ask.SCORES:
            return _scored(replace(search, scores=answer), visits)
        case Ask.SLOPES:
            found = replace(search, slopes=answer, correction=_correction(search.best(), answer))
            return _weighed(found) if found.last else _step(found)
        case Ask.SECOND:
            return Found(
                search.best(), search.plain, search.kept, search.slopes, search.weights, answer, search.distance
            )


def _first(search: Search, plain: Array, allowed: Booleans) -> Search:
    """From the cross-products to independent records with one variance."""
    solved = solve(plain[:-1, :-1], allowed)
    kept, records = solved.kept, float(plain[0, 0])
    beta = solved.inverse @ plain[:-1, -1]
    squares = float(plain[-1, -1] - plain[:-1, -1] @ beta)
    free = records - int(kept.sum())
    if free <= 0 or not squares > 1e-12 * float(plain[-1, -1]):
        raise MethodError(
            "NOTHING_LEFT",
            "the terms fit the outcome exactly, or there are no more records than coefficients",
            "take fewer terms",
        )
    variance = squares / free
    if not SMALLEST < variance < 1.0 / SMALLEST:
        raise MethodError(
            "OUTCOME_SCALE",
            "the outcome's variance is too small or too large a number to be computed with",
            "express the outcome in another unit",
        )
    return replace(
        search,
        ask=Ask.SCORES,
        sigma=np.eye(search.m) * variance,
        plain=plain,
        kept=kept,
        sigma_best=np.eye(search.m) * variance,
        total=plain / variance,
        logdet=records * math.log(variance),
    )


def _looked(search: Search, total: Array, logdet: float) -> Search:
    """Whether the step went up."""
    here, best = Point.of(search.sigma, total, logdet, search.kept).loglik, search.best().loglik
    # close to the maximum the step is right whatever rounding makes of the log-likelihood
    slack = CLOSE_SLACK if search.distance < 1e-2 else 1e-9
    if not here >= best - slack - 1e-12 * abs(best):
        if search.halvings >= HALVINGS:
            raise _not_converged()
        return replace(search, sigma=(search.sigma + search.sigma_best) / 2, halvings=search.halvings + 1)
    return replace(search, ask=Ask.SCORES, sigma_best=search.sigma, total=total, logdet=logdet, halvings=0)


def _scored(search: Search, visits: Sequence[str]) -> Search:
    q = len(search.scores)
    observed = search.scores[:, 1 : 1 + q]
    for (i, j), value in zip(reml.pairs(search.m), np.diag(observed), strict=True):
        if value <= 0:
            raise MethodError(
                "COVARIANCE_NOT_IDENTIFIED",
                f"nobody has records at both {visits[i]} and {visits[j]}, so their covariance cannot be estimated",
                "leave one of these visits out of the analysis",
            )
    if not search.correction.size:
        fisher = search.scores[:, 1 + q :]
        if _distance(search.scores[:, 0], fisher) > NEAR:
            return _step(search)
        return replace(search, ask=Ask.SLOPES)
    distance = _distance(search.scores[:, 0], _information(search))
    stuck = distance <= ROUGH and distance > 0.5 * search.distance
    if distance <= CLOSE or stuck:
        return replace(search, ask=Ask.SLOPES, last=True, distance=distance)
    return _step(replace(search, distance=distance))


def _information(search: Search) -> Array:
    """Observed where it can be had and is positive definite, else expected, else average."""
    q = len(search.scores)
    observed, expected = search.scores[:, 1 : 1 + q], search.scores[:, 1 + q :]
    candidates = [expected, observed / 2]
    if search.correction.size:
        candidates.insert(0, observed - expected - search.correction)
    for candidate in candidates:
        if _is_positive(candidate):
            return candidate
    return candidates[-1] + 1e-8 * np.diag(np.diag(candidates[-1]))


def _step(search: Search) -> Search:
    if search.steps >= STEPS:
        raise _not_converged()
    step = covariance(_solve(_information(search), search.scores[:, 0]), search.m)
    return replace(search, ask=Ask.WHOLE, sigma=_moved(search.sigma_best, step), steps=search.steps + 1)


def _moved(sigma: Array, step: Array) -> Array:
    """Sigma + step; where that is far, as in the first steps, along a curve that stays positive definite.

    With Sigma = L L' and S = L^-1 step L'^-1 it is L exp(S) L' instead of L (1 + S) L': the same to first order.
    """
    root = np.linalg.cholesky(sigma)
    half = np.linalg.solve(root, step)
    values, vectors = np.linalg.eigh(_symmetric(np.linalg.solve(root, half.T)))
    if values[0] > -FAR and values[-1] < 1.0 / FAR:
        return sigma + step
    turned = root @ vectors
    return _symmetric(turned * np.exp(np.clip(values, -FARTHEST, FARTHEST)) @ turned.T)


def _symmetric(matrix: Array) -> Array:
    result: Array = (matrix + matrix.T) / 2
    return result


def _weighed(search: Search) -> Search:
    q = len(search.scores)
    information = search.scores[:, 1 : 1 + q] - search.scores[:, 1 + q :] - search.correction
    if not _is_positive(information):
        raise _not_converged()
    weights = _solve(information, np.eye(q))
    return replace(search, ask=Ask.SECOND, sigma=search.sigma_best, weights=(weights + weights.T) / 2)


def _correction(here: Point, slopes: Array) -> Array:
    """What the observed information of theta has beside the matrices of `reml.scores`, (q, q).

    ``(X' V^-1 V_a e)' C (X' V^-1 V_b e) + tr(C F_a C F_b) / 2``.
    """
    of_x = slopes[:, :-1, :-1]
    pulls = slopes[:, :-1, -1] - of_x @ here.beta
    carried = here.spread @ of_x
    traces = np.einsum("aij,bji->ab", carried, carried, optimize=True)
    total: Array = pulls @ here.spread @ pulls.T + 0.5 * traces
    return total


def _unit(information: Array) -> tuple[Array, Array]:
    scale = 1.0 / np.sqrt(np.maximum(np.abs(np.diag(information)), np.finfo(np.float64).tiny))
    return information * np.outer(scale, scale), scale


def _is_positive(information: Array) -> bool:
    unit, _ = _unit(information)
    return bool(np.linalg.eigvalsh((unit + unit.T) / 2)[0] > 1e-12)


def _solve(information: Array, right: Array) -> Array:
    unit, scale = _unit(information)
    found: Array = (np.linalg.solve(unit, (right.T * scale).T).T * scale).T
    return found


def _distance(score: Array, information: Array) -> float:
    if not _is_positive(information):
        return math.inf
    return math.sqrt(max(float(score @ _solve(information, score)), 0.0))


def _logdet(matrix: Array) -> float:
    return float(np.linalg.slogdet(matrix)[1])


def _not_converged() -> MethodError:
    return MethodError(
        "NOT_CONVERGED",
        "the restricted likelihood has no maximum inside: a variance goes to zero, or visits to a correlation of one",
        "take fewer visits, or a visit's records together with another's",
    )


def reml_loglik(found: Found, relation: Array) -> float:
    """With all its constants, for the model's own columns: `relation` is `R` over those kept, X = X* R."""
    free = float(found.plain[0, 0]) - int(found.kept.sum())
    return found.point.loglik - _logdet(relation) - 0.5 * free * LOG_2PI
