"""The gate in a sealed study: all of an answer or nothing, but for fields that are no sums."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from isthmus.v1 import study_pb2
from isthmus_methods.contract import BinSupport, CellSupport, Field, Item, Kind, Summary
from isthmus_node.egress.gate import Cleared, Refusal, judge
from isthmus_node.egress.policy import Policy


def judged(policy: Policy, make: Callable[[bool], Item], kind: Kind, sealed_study: bool) -> Cleared | Refusal:
    leaves = {"field": Field(kind, "a field the method can do without", required=False)}
    summary = Summary((make(True),))
    return judge(
        summary, leaves, (), study_pb2.TRIAL_ANALYSIS, policy, False, audit=lambda _: None, sealed=sealed_study
    )


def test_what_would_be_withheld_alone_refuses_the_whole_of_a_sealed_answer(policy: Policy) -> None:
    def make(_: bool) -> Item:
        cells = np.array([2, 40])
        return Item("field", cells, CellSupport(cells))

    plain = judged(policy, make, Kind.COUNT, False)
    assert isinstance(plain, Cleared)
    assert plain.items[0].withheld_by == "SMALL_CELL"
    whole = judged(policy, make, Kind.COUNT, True)
    assert isinstance(whole, Refusal)
    assert (whole.code, whole.about_rows) == ("SMALL_CELL", True)


def test_field_that_is_no_sum_stays_in_every_country(policy: Policy) -> None:
    def make(_: bool) -> Item:
        return Item("field", np.array([[3, 40], [4, 50]]), BinSupport(np.array([40, 50]), 90))

    verdict = judged(policy, make, Kind.HISTOGRAM, True)
    assert isinstance(verdict, Cleared)
    assert (verdict.items[0].value, verdict.items[0].withheld_by) == (None, "DOES_NOT_ADD")
