"""Published counts leave as multiples of a number, what sums are over as it is; each answer says what was done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from isthmus.errors import ConfigError
from isthmus.v1 import study_pb2, summary_pb2
from isthmus_methods import contract as c
from isthmus_methods.codec import array_from_message
from isthmus_methods.contract import CellSupport, Field, Item, Kind, Summary
from isthmus_methods.plausible import Implausible, check_plausible
from isthmus_methods.pooling import pool_round
from isthmus_methods.registry import METHODS, find
from isthmus_methods.summary_codec import cleared_from_message
from isthmus_node.compute.answer import answer
from isthmus_node.egress import gate
from isthmus_node.egress.gate import Cleared, Refusal, judge
from isthmus_node.egress.policy import Policy
from isthmus_node.egress.wire import Header, encode
from isthmus_node.egress.words import tables_of_payload, words_of_cleared
from isthmus_node.sources.table import Table
from isthmus_trust.documents import SUMMARY, open_signed, read_canonical
from tests.egress.country import KEY, rows, spec, table
from tests.egress.test_rules import total

PUBLIC, TRIAL = study_pb2.PUBLICATION, study_pb2.TRIAL_ANALYSIS
Sent = Callable[[Cleared | Refusal], bytes]


def count(field: str, *cells: int, label: str = "") -> Item:
    behind = np.array(cells, dtype=np.int64)
    return Item(field, behind.copy(), CellSupport(behind), label)


def verdict(
    items: tuple[Item, ...], leaves: Mapping[str, Field], policy: Policy, purpose: int = PUBLIC, open_data: bool = False
) -> Cleared:
    found = judge(Summary(items), leaves, (), purpose, policy, open_data, audit=lambda _: None)
    assert isinstance(found, Cleared)
    return found


def in_bytes(payload: bytes) -> summary_pb2.Summary:
    return open_signed(read_canonical(payload, study_pb2.Signed), SUMMARY, summary_pb2.Summary)


TABLE = {"n": Field(Kind.COUNT, "rows", required=False)}


def test_exact_published_count_tells_of_the_last_person_and_a_rounded_one_does_not(
    policy: Policy, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack 4: whoever knows thirteen of the persons in a cell learns whether the fourteenth is in it."""

    def told(there: int) -> int:
        message = in_bytes(sent(verdict((count("n", 13 + there, 20),), TABLE, policy)))
        return int(array_from_message(message.items[0].value)[0]) - 13

    assert told(0) == told(1)
    monkeypatch.setattr(gate, "as_they_leave", lambda values, *_: values)
    assert [told(there) for there in (0, 1)] == [0, 1]


@pytest.mark.parametrize(("n", "left"), [(11, 10), (12, 10), (13, 15), (17, 15), (18, 20), (2**53 - 8, 2**53 - 7)])
def test_count_is_the_nearest_multiple(n: int, left: int, policy: Policy) -> None:
    assert verdict((count("n", n),), TABLE, policy).items[0].value == left


def test_rounded_numbers_cannot_be_changed_afterwards(policy: Policy) -> None:
    (item,) = verdict((count("n", 12, 33),), TABLE, policy).items
    with pytest.raises(ValueError, match="read-only"):
        item.value[0] = 12  # type: ignore[index]


@pytest.mark.parametrize(("purpose", "open_data", "step"), [(PUBLIC, False, 5), (PUBLIC, True, 1), (TRIAL, False, 1)])
def test_answer_says_what_its_counts_are_rounded_to(
    purpose: int, open_data: bool, step: int, policy: Policy, sent: Sent
) -> None:
    found = verdict((count("n", 12, 33),), TABLE, policy, purpose, open_data)
    payload = sent(found)
    message = in_bytes(payload)
    np.testing.assert_array_equal(array_from_message(message.items[0].value), [12, 33] if step == 1 else [10, 35])
    assert message.counts_rounded_to == (step if step > 1 else 0)
    said = f"counts are rounded to multiples of {step}"
    assert (said in words_of_cleared(found)) == (said in tables_of_payload(payload)) == (step > 1)


def test_answer_says_up_to_what_age_it_read(policy: Policy, header: Callable[[str], Header]) -> None:
    of_ages = replace(header("task"), ages_up_to=90.0)
    payload = encode(verdict((count("n", 12, 33),), TABLE, policy), of_ages, KEY).payload
    assert in_bytes(payload).ages_up_to == 90.0
    assert "ages above 90 years are read as 90" in tables_of_payload(payload)


def test_no_policy_publishes_exact_counts() -> None:
    with pytest.raises(ConfigError, match="count_rounding"):
        Policy.read("[purpose.publication]\ncount_rounding = 1")
    assert Policy.read("[purpose.publication]\ncount_rounding = 10").limits[PUBLIC].count_rounding == 10
    assert Policy.read("[purpose.trial_analysis]\ncount_rounding = 5").limits[TRIAL].count_rounding == 5


LEAVES = {
    "n": Field(Kind.COUNT, "rows", required=False, divides=True),
    "cells": Field(Kind.COUNT, "rows by level", required=False),
    "sum": Field(Kind.SUM, "", required=False),
}


def a_sum(label: str, **changed: object) -> Item:
    return replace(total(-15.0, 12, 4.0, 3.5, 20.0), field="sum", label=label, **changed)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("label", "of_sum", "exact"),
    [
        ("age", "age", True),
        ("", "age", True),
        ("men/", "men/age", True),
        ("ag", "age", False),
        ("sex", "age", False),
        ("women/", "men/age", False),
    ],
)
def test_what_a_sum_is_over_is_exact_beside_it(label: str, of_sum: str, exact: bool, policy: Policy) -> None:
    items = (count("n", 12, label=label), count("cells", 12, label=label), a_sum(of_sum))
    n, cells, _ = verdict(items, LEAVES, policy).items
    assert (n.value, cells.value) == (12 if exact else 10, 10)


def test_count_beside_a_sum_that_is_withheld_is_rounded(policy: Policy) -> None:
    """Else a method could have any count exact by giving it a sum that never leaves."""
    dominated = total(19.9, 12, 18.0, 1.0, 20.0)
    items = (count("n", 12, label="age"), a_sum("age", value=dominated.value, support=dominated.support))
    n, withheld = verdict(items, LEAVES, policy).items
    assert (withheld.withheld_by, n.value) == ("CONCENTRATED_SUM", 10)


def test_every_count_of_a_request_is_rounded_or_divides() -> None:
    """Which counts divide is written down here too: a method that has another has somebody look at it."""
    named = {(name, field) for name, m in METHODS.items() for field, of in m.leaves.items() if of.divides}
    assert {f for _, f in named} == {"rows", "outcomes", "count", "clusters", "categories"}
    assert all(METHODS[name].leaves[field].kind is Kind.COUNT for name, field in named)


# --------------------------------------------------------------------------- pooled


def pooled(of: Table, policy: Policy, purpose: int, header: Callable[[str], Header]) -> c.Done:
    """A Table 1 of one country, from the bytes that leave it."""
    asked = spec(
        "table_one", roles={"variables": (c.Ref("sex"), c.Ref("lab")), "arm": (c.Ref("arm"),)}, countries=("NL",)
    )
    method = find(asked.method, asked.version)
    state: c.State = {}
    memory: c.State = {}
    for number in (1, 2):
        summary = answer(asked, of, state)
        found = judge(summary, method.leaves, method.notes, purpose, policy, False, audit=lambda _: None)
        assert isinstance(found, Cleared)
        message = in_bytes(encode(found, header("task"), KEY).payload)
        turn = pool_round(method, [cleared_from_message(message, method)], asked, state, memory, number)
        if isinstance(turn, c.Done):
            return turn
        state, memory = turn.state, turn.memory
    raise AssertionError("two rounds make a Table 1")


def test_table_that_is_published_says_so_and_has_exact_means(policy: Policy, header: Callable[[str], Header]) -> None:
    columns = rows(123)
    columns["lab"][0] = 101.0  # nobody is far away here
    exact, rounded = (pooled(table(columns), policy, purpose, header) for purpose in (TRIAL, PUBLIC))
    (caveat,) = rounded.caveats
    assert caveat.startswith("Counts of NL are rounded to multiples of 5")
    assert exact.caveats == ()
    one, other = (cast(dict[str, Any], done.answer["rows"]) for done in (exact, rounded))
    assert one["lab"] == other["lab"]
    cells = other["sex"]["overall"]["count"]
    assert cells != one["sex"]["overall"]["count"]
    assert not any(n % 5 for n in cells.values())
    assert other["sex"]["overall"]["n"] == sum(cells.values())


@pytest.mark.parametrize(("rounded_to", "levels", "rule"), [(5, [12, 15], "multiples"), (5, [40, 40], "no more than")])
def test_rounded_counts_are_plausible_up_to_rounding(rounded_to: int, levels: list[int], rule: str) -> None:
    method = find("table_one", 2)

    def given(cells: list[int]) -> c.Cleared:
        values = {("arms", ""): np.array([30]), ("count", "sex"): np.array([[*cells, 0]])}
        return c.Cleared("NL", values, rounded_to=rounded_to)

    asked = spec("table_one", roles={"variables": (c.Ref("sex"),)}, countries=("NL",))
    # 13 and 18 of 31
    check_plausible(method, [given([15, 20])], asked)
    arms = replace(given(levels), values={**given(levels).values, ("arms", ""): np.array([31])})
    with pytest.raises(Implausible, match=rule):
        check_plausible(method, [arms if rule == "multiples" else given(levels)], asked)
