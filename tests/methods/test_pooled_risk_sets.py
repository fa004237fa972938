"""Sums over those at risk add over countries to the risk sets of the pooled rows, and their support counts persons."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus.errors import MethodError
from isthmus_methods.parts.survival.partial_likelihood import Place, risk_sets
from isthmus_methods.parts.survival.pooled_risk_sets import (
    Listed,
    Stays,
    pooled_sets,
    shares_at,
    start_steps,
    supports_at,
)
from isthmus_methods.parts.survival.risk_sets import SortedRows, in_order, risk_table
from isthmus_methods.parts.time_table import Grid

BETA = np.array([0.3, -0.2])


def people(seed: int, n: int, late: bool, weighted: bool) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    stop = rng.integers(1, 12, n).astype(float)
    start = rng.integers(-1, 5, n).astype(float) if late else np.full(n, -1.0)
    case = rng.uniform(0.2, 3.0, n) if weighted else np.ones(n)
    return [rng.normal(1e6, 1.0, (n, 2)), stop, start, rng.random(n) < 0.6, rng.integers(0, 2, n), case]


def ordered(columns: list[np.ndarray], part: np.ndarray) -> SortedRows:
    x, stop, start, event, stratum, case = (column[part] for column in columns)
    return in_order(x, stop, start, event, stratum, np.arange(len(part)), None, case)


@pytest.mark.parametrize("efron", [True, False])
@pytest.mark.parametrize("late", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_shares_of_countries_give_the_pooled_risk_sets(seed: int, weighted: bool, late: bool, efron: bool) -> None:
    columns = people(seed, 150, late, weighted)
    whole = risk_sets(risk_table(ordered(columns, np.arange(150)), BETA), efron)
    deaths = risk_table(ordered(columns, np.arange(150)), BETA).deaths
    listed = Listed(deaths.stratum, deaths.time.astype(np.int64), deaths.sums[:, -1].astype(np.int64))
    place = Place(BETA, np.array([1e6 + 0.25, 1e6]))
    shares, observed = [], np.zeros(2)
    for part in np.array_split(np.arange(150), 4):
        table = risk_table(ordered(columns, part), BETA)
        shares.append(shares_at(table, listed, place, listed.number > 1))
        observed += table.seen_from(place.centre, 0.0).death_x
    at_risk, dying = (sum(share[k] for share in shares) for k in (0, 1))
    pooled = pooled_sets(place, listed, at_risk, dying, observed, efron)
    assert pooled.loglik == pytest.approx(whole.loglik, rel=1e-11)
    assert pooled.score == pytest.approx(whole.score, rel=1e-9, abs=1e-9)
    at = whole.centre - place.centre
    assert pooled.means() == pytest.approx(whole.means() + at, rel=1e-8, abs=1e-9)


def test_event_at_a_time_that_is_not_listed_is_no_state_of_the_model() -> None:
    columns = people(1, 40, False, False)
    table = risk_table(ordered(columns, np.arange(40)), BETA)
    listed = Listed(np.array([0]), np.array([3]), np.array([1]))
    with pytest.raises(MethodError, match="WRONG_STATE"):
        shares_at(table, listed, Place(BETA, table.centre), np.array([True]))


def stays(rows: list[tuple[int, int, bool, int]]) -> Stays:
    start, stop, event, subject = (np.array(column) for column in zip(*rows, strict=True))
    return Stays(np.zeros(len(rows), dtype=np.int64), stop, start, event, subject)


LISTED = Listed(np.zeros(3, dtype=np.int64), np.array([2, 5, 9]), np.array([2, 1, 1]))


def test_support_counts_who_leaves_between_listed_times() -> None:
    rows = [(-1, 2, True, 0), (-1, 3, False, 1), (-1, 4, False, 2), (-1, 5, True, 3), (-1, 12, False, 4)]
    at_risk, dying = supports_at(stays(rows), LISTED, np.array([False] * 3))
    assert at_risk.persons == 5
    assert at_risk.at_risk.tolist() == [5, 2, 1]
    assert at_risk.leavers.tolist() == [3, 1, 1]
    assert dying.at_risk.tolist() == [0, 0, 0]


def test_support_takes_events_apart_where_their_sums_leave_too() -> None:
    rows = [(-1, 2, True, 0), (-1, 3, False, 1), (-1, 4, False, 2), (-1, 5, True, 3), (-1, 12, False, 4)]
    at_risk, dying = supports_at(stays(rows), LISTED, np.array([True, False, False]))
    assert at_risk.leavers.tolist() == [1, 1, 1]
    assert dying.at_risk.tolist() == [1, 0, 0]


def test_support_counts_late_entries_and_changed_rows() -> None:
    rows = [(3, 12, False, 0), (-1, 12, False, 1), (-1, 3, False, 2), (3, 12, False, 2)]
    at_risk, _ = supports_at(stays(rows), LISTED, np.array([False] * 3))
    assert at_risk.persons == 3
    assert at_risk.at_risk.tolist() == [2, 3, 3]
    # one comes and one goes on with another row: one each; nobody moves later
    assert at_risk.leavers.tolist() == [1, 0, 3]


def test_support_counts_a_person_with_overlapping_rows_once() -> None:
    rows = [(-1, 9, False, 0), (-1, 5, False, 0), (-1, 9, False, 1)]
    at_risk, _ = supports_at(stays(rows), LISTED, np.array([False] * 3))
    assert at_risk.at_risk.tolist() == [2, 2, 2]


def test_starts_hide_the_steps_up_to_them() -> None:
    grid = Grid(0.0, 0.5, 10)
    assert start_steps(grid, np.array([-1.0, 0.0, 0.49, 0.5, 0.5 - 1e-12, 2.6])).tolist() == [-1, 0, 0, 1, 1, 5]
