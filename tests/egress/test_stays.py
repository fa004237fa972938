"""Sums over those at risk at several times: how few persons any combination of them tells apart."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from isthmus_methods.contract import Integers, Item, Kind, ModelSupport, RiskSetSupport, TimeSupport
from isthmus_methods.parts.survival.pooled_risk_sets import Listed, Stays, apart_at
from isthmus_node.egress import gate
from isthmus_node.egress.gate import Cleared, Refusal
from isthmus_node.egress.judges import JUDGES
from isthmus_node.egress.stays import tells_few
from isthmus_node.egress.time_rules import risk_sets_are_apart

LISTED = Listed(np.zeros(4, dtype=np.int64), np.array([2, 4, 6, 8]), np.array([1, 1, 1, 1]))
UNTIED = np.zeros(4, dtype=np.bool_)


def smallest(stays: Integers) -> int:
    """By every way to give places one of two values: the fewest persons between them, 0 where nobody is ever."""
    places = sorted({int(p) for p in stays[:, :2].ravel()})
    found = []
    for values in itertools.product((0, 1), repeat=len(places)):
        of = dict(zip(places, values, strict=True))
        found.append(sum(n for a, b, n in stays.tolist() if of[a] != of[b]))
    return min((n for n in found if n), default=0)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, 6), st.integers(1, 9)), max_size=12),
    st.integers(1, 9),
)
def test_fewest_persons_are_those_of_the_smallest_cut(rows: list[tuple[int, int, int]], fewest: int) -> None:
    stays = np.array([(a, b, n) for a, b, n in rows if a < b], dtype=np.int64).reshape(-1, 3)
    least = smallest(stays)
    assert tells_few(stays, fewest) == (0 < least < fewest)


def test_two_parts_that_meet_nowhere_are_looked_at_both() -> None:
    assert tells_few(np.array([(0, 1, 20), (2, 3, 4)]), 5)
    assert not tells_few(np.array([(0, 1, 20), (2, 3, 5)]), 5)


# --------------------------------------------------------------------------- the attack

# come after this step, stay up to that one: twenty throughout, five, five, and the victim last
PEOPLE = [*[(-1, 9)] * 20, *[(2, 7)] * 5, *[(4, 9)] * 5, (4, 7)]
VICTIM = 129.587


def released() -> Item:
    """Weight and weighted covariate of those at risk at the listed times, as a country gives them."""
    values = np.append(np.linspace(90.0, 110.0, len(PEOPLE) - 1), VICTIM)
    weights = np.exp(0.01 * (values - 100))
    start, stop = np.array(PEOPLE).T
    inside = [(start < t) & (t <= stop) for t in LISTED.step]
    sums = np.array([[weights[m].sum(), (weights * values)[m].sum()] for m in inside])
    number = len(PEOPLE)
    none = np.zeros(number, dtype=np.int64)
    stays, beside = apart_at(Stays(none, stop, start, none > 0, np.arange(number)), LISTED, UNTIED)
    # the smallest group that comes or goes between two of the times
    time = TimeSupport(number, np.array([5, 6, 6, 25]), np.array([int(m.sum()) for m in inside]))
    model = ModelSupport(number, 1, effective_persons=30.0, predictor=1.0)
    return Item("f", sums, RiskSetSupport(time, model, stays, beside))


def claimed(verdict: Cleared | Refusal) -> float:
    """What four sums over twenty persons and more leave over."""
    if isinstance(verdict, Refusal):
        return 0.0
    one, two, three, four = np.asarray(verdict.items[0].value)
    left = three - two - (four - one)
    return float(left[1] / left[0])


def test_four_large_risk_sets_tell_one_person_without_the_rule_and_do_not_leave_with_it(
    judge_items: Callable[..., Cleared | Refusal], monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = judge_items(released(), Kind.RISK_SETS)
    assert isinstance(refused, Refusal)
    assert (refused.code, claimed(refused)) == ("SMALL_STEP", 0.0)
    judge = JUDGES[Kind.RISK_SETS]
    floors = tuple(rule for rule in judge.floors if rule is not risk_sets_are_apart)
    monkeypatch.setattr(gate, "JUDGES", {Kind.RISK_SETS: replace(judge, floors=floors)})
    assert claimed(judge_items(released(), Kind.RISK_SETS)) == pytest.approx(VICTIM)


# --------------------------------------------------------------------------- what a method counts


def apart(
    rows: list[tuple[int, int, bool, int]], tied: tuple[bool, ...] = (False,) * 4
) -> tuple[list[list[int]], tuple[int, ...]]:
    """Of rows as (start, stop, event, subject)."""
    start, stop, event, subject = (np.array(column) for column in zip(*rows, strict=True))
    given = Stays(np.zeros(len(rows), dtype=np.int64), stop, start, event, subject)
    stays, beside = apart_at(given, LISTED, np.array(tied))
    return stays.tolist(), beside


def test_rows_that_follow_one_another_are_one_stay_and_a_gap_makes_two() -> None:
    assert apart([(-1, 4, False, 0), (4, 9, False, 0)])[0] == [[0, 4, 1]]
    assert apart([(-1, 3, False, 0), (6, 9, False, 0)])[0] == [[0, 1, 1], [3, 4, 1]]
    assert apart([(-1, 9, False, 0), (-1, 3, False, 0)])[0] == [[0, 4, 1]]


def test_who_is_at_risk_at_no_listed_time_is_left_of_the_sums_over_everybody() -> None:
    assert apart([(-1, 1, False, 0), (2, 3, False, 1), (-1, 9, False, 2)]) == ([[0, 4, 1]], (2, 0))
    assert apart([(-1, 1, False, 0)]) == ([], (1, 0))


def test_events_whose_sums_leave_go_to_a_place_of_their_own() -> None:
    rows = [(-1, 4, True, 0), (-1, 5, False, 1), (-1, 4, True, 2), (-1, 9, False, 3)]
    assert apart(rows, (False, True, False, False)) == ([[0, 2, 1], [0, 4, 1], [0, 6, 2]], (0, 0))
    # without sums of their own they are told from the other who goes by the sums over all events
    assert apart(rows) == ([[0, 2, 3], [0, 4, 1]], (0, 1))


@pytest.mark.parametrize(
    "stays",
    [
        np.array([(0, 4, 30)]),
        np.array([(0, 4, 20.0)]),
        np.array([(4, 0, 20)]),
        np.array([(0, 9, 20)]),
        np.array([(0, 4)]),
        [(0, 4, 20)],
    ],
)
def test_stays_that_do_not_give_those_at_risk_are_refused(
    stays: object, judge_items: Callable[..., Cleared | Refusal]
) -> None:
    item = released()
    spoilt = replace(item, support=replace(item.support, stays=stays))  # type: ignore[type-var]
    verdict = judge_items(spoilt, Kind.RISK_SETS)
    assert isinstance(verdict, Refusal)
    assert verdict.code == "BAD_SUPPORT"
