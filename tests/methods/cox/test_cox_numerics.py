"""Newton's method, aliased columns, pairs: each against the slow way of doing it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from isthmus_methods.parts.newton import Accepted, Decision, Move, decide, quadratic, solve
from isthmus_methods.parts.survival.concordance import Predictors, concordance, pair_counts


def test_solve_drops_a_column_that_repeats_earlier_ones() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(50, 3)) * [1.0, 1e-4, 1e5]
    x = np.column_stack([x[:, 0], x[:, 1], x[:, 0] + 3e4 * x[:, 1], x[:, 2], np.zeros(50)])
    solved = solve(x.T @ x)
    assert solved.kept.tolist() == [True, True, False, True, False]
    kept = x[:, solved.kept]
    np.testing.assert_allclose(
        solved.inverse[np.ix_(solved.kept, solved.kept)], np.linalg.inv(kept.T @ kept), rtol=1e-9
    )
    assert not solved.inverse[2].any()


def test_quadratic_of_a_singular_matrix_uses_the_first_independent_columns() -> None:
    u = np.array([[1.0, 2.0, 3.0], [0.5, -1.0, 2.0]])  # two clusters, three coefficients
    assert quadratic(u.sum(axis=0), u.T @ u) == pytest.approx(2.0)


def climbed(start: float, rounds: int = 60) -> tuple[list[Decision], float]:
    """The maximum of -log cosh(x - 3), whose Newton steps overshoot far from it."""
    beta, before, decisions = np.array([start]), None, []
    for _ in range(rounds):
        x = float(beta[0]) - 3.0
        loglik = -float(np.logaddexp(x, -x))
        score, info = np.array([-np.tanh(x)]), np.array([[1.0 / np.cosh(x) ** 2]])
        decision = decide(beta, loglik, score, solve(info), before)
        decisions.append(decision)
        if decision.move not in (Move.STEP, Move.HALVE):
            break
        beta, before = decision.beta, decision.accepted
    return decisions, float(beta[0])


def test_steps_are_halved_until_the_likelihood_rises() -> None:
    decisions, end = climbed(5.5)
    moves = [d.move for d in decisions]
    assert Move.HALVE in moves
    assert moves[-1] is Move.CONVERGED
    assert end == pytest.approx(3.0, abs=1e-9)
    accepted = [d.accepted.loglik for d in decisions]
    assert all(b >= a for a, b in itertools.pairwise(accepted))


def test_last_step_is_foreseen() -> None:
    decisions, _ = climbed(3.4)
    assert [d.last for d in decisions].count(True) >= 1
    assert decisions[-2].last  # so that the extras need no round of their own


def test_likelihood_that_is_not_finite_is_stepped_back_from() -> None:
    before = Accepted(np.zeros(1), -10.0, 1.0, 1.0, -10.0)
    decision = decide(np.ones(1), float("nan"), np.array([np.nan]), solve(np.eye(1)), before)
    assert decision.move is Move.HALVE
    assert decision.beta.tolist() == [0.5]


def test_memory_of_the_last_accepted_point_survives_its_array() -> None:
    point = Accepted(np.array([1.0, -2.0]), -3.5, 0.25, 4.0, -9.0, 2)
    again = Accepted.unpacked(point.packed())
    assert again.beta.tolist() == point.beta.tolist()
    assert again.packed().tolist() == point.packed().tolist()


def slow_pairs(rows: Predictors) -> tuple[list[int], list[float]]:
    n = len(rows.eta)
    mine = np.zeros((n, 3))
    for i in range(n):
        for j in range(n):
            later = rows.stops[j] > rows.stops[i] or (rows.stops[j] == rows.stops[i] and not rows.event[j])
            entered = rows.starts is None or rows.starts[j] < rows.stops[i]
            if i != j and rows.event[i] and rows.stratum[i] == rows.stratum[j] and later and entered:
                kind = 2 if rows.eta[i] == rows.eta[j] else int(rows.eta[i] < rows.eta[j])
                mine[i, kind] += 1
                mine[j, kind] += 1
    a, b = mine[:, 0] - mine[:, 1], mine.sum(axis=1)
    return (mine.sum(axis=0) / 2).astype(int).tolist(), [float(a @ a), float(a @ b), float(b @ b)]


@pytest.mark.parametrize("entry", [False, True])
@pytest.mark.parametrize("n", [1, 2, 63, 64, 65, 200, 331])
def test_pairs_are_those_counted_one_by_one(n: int, entry: bool) -> None:
    rng = np.random.default_rng(n)
    stops = rng.integers(1, 12, n).astype(float)
    rows = Predictors(
        rng.integers(0, 3, n),
        stops,
        np.maximum(stops - rng.integers(1, 9, n), 0.0) if entry else None,
        rng.random(n) < 0.5,
        rng.integers(0, 15, n).astype(float),
        np.arange(n),
    )
    pairs, squares = pair_counts(rows)
    assert (pairs.tolist(), squares.tolist()) == slow_pairs(rows)


def test_predictors_that_differ_by_rounding_are_tied() -> None:
    stops, event = np.array([1.0, 2.0]), np.array([True, False])
    rows = Predictors(np.zeros(2, dtype=np.int64), stops, None, event, np.array([0.1 + 0.2, 0.3]), np.arange(2))
    assert pair_counts(rows)[0].tolist() == [0.0, 0.0, 1.0]


def test_concordance_without_pairs_is_not_estimable() -> None:
    assert concordance(np.zeros(3), np.zeros(3))["c"] is None
