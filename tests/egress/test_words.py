"""What left, in words a custodian can judge, and as numbers read back from the bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from isthmus.errors import AuthenticationError
from isthmus.untrusted import shown
from isthmus.v1 import study_pb2
from isthmus_methods.contract import CellSupport, Field, Item, Kind, ModelSupport, RiskSetSupport, Summary, TimeSupport
from isthmus_node.egress.gate import Cleared, judge, refuse
from isthmus_node.egress.policy import Policy
from isthmus_node.egress.wire import Header, encode, encode_refusal
from isthmus_node.egress.words import (
    MOST_ROWS,
    tables_of_payload,
    words_of_cleared,
    words_of_item,
)
from isthmus_trust.documents import canonical
from isthmus_trust.identity import IdentityKey

CELLS = np.array([[20, 30, 25], [21, 31, 26]])
COUNT = Item("count", CELLS, CellSupport(CELLS), "sex", (("arm", ("A", "B")), ("sex", ("F", "M", "missing"))))
SCALAR = Item("loglik", np.array(-1234.5), ModelSupport(60, 1, effective_persons=60.0, leverage=0.1))
LEAVES = {
    "count": Field(Kind.COUNT, "counts of persons", required=False),
    "loglik": Field(Kind.SCORE, "log-likelihood", "nats"),
    "table": Field(Kind.EVENTS, "events and leavers", "persons"),
    "sets": Field(Kind.RISK_SETS, "sums over those at risk"),
    "information": Field(Kind.SCORE, "thirty numbers"),
}


@pytest.fixture
def table(policy: Policy, header: Callable[[str], Header], key: IdentityKey) -> Callable[[Item], list[str]]:
    """The lines of an item's numbers, read back from the bytes that left: its name and size, then its rows."""
    return lambda item: tables_of_payload(encode(cleared_of(policy, item), header("t"), key).payload).splitlines()[2:]


def cleared_of(policy: Policy, *items: Item, notes: frozenset[str] = frozenset()) -> Cleared:
    verdict = judge(Summary(items, notes), LEAVES, notes, study_pb2.TRIAL_ANALYSIS, policy, False, audit=lambda _: None)
    assert isinstance(verdict, Cleared)
    return verdict


def test_words_have_one_line_an_item(policy: Policy) -> None:
    small = np.array([[1]])
    withheld = Item("count", small, CellSupport(small), "line")
    cleared = cleared_of(policy, COUNT, SCALAR, withheld, notes=frozenset({"ROUNDED"}))
    assert words_of_cleared(cleared).splitlines() == [
        "counts of persons [sex] by arm (A, B) x sex (F, M, missing): 2 x 3 numbers",
        "log-likelihood, nats: 1 number",
        "counts of persons [line]: withheld, SMALL_CELL",
        "notes: ROUNDED",
    ]
    assert words_of_item(cleared.items[2]) == "counts of persons [line]: withheld, SMALL_CELL"


def test_words_of_a_summary_without_items_say_so(policy: Policy) -> None:
    assert words_of_cleared(cleared_of(policy)) == "nothing but the word that there is nothing"


def test_table_says_size_and_place_of_its_rows(table: Callable[[Item], list[str]]) -> None:
    lines = table(COUNT)
    assert lines[0] == "count[sex]: 2 x 3"
    assert [line.split() for line in lines[1:]] == [["20", "30", "25", "0"], ["21", "31", "26", "1"]]


def test_table_of_one_number_is_that_number(table: Callable[[Item], list[str]]) -> None:
    assert table(SCALAR)[1].split() == ["-1234.5"]


def test_time_grid_runs_down_the_page_without_its_empty_steps(table: Callable[[Item], list[str]]) -> None:
    value = np.zeros((2, 40), dtype=np.int64)
    value[:, 7], value[:, 33] = (12, 20), (0, 40)
    support = TimeSupport(60, np.array([20, 40]), np.array([60, 40]))
    item = Item("table", value, support, "overall", (("count", ("events", "leavers")), ("time", ())))
    assert [line.split() for line in table(item)[1:]] == [["12", "20", "7"], ["0", "40", "33"]]


def test_long_table_says_how_much_is_not_shown(table: Callable[[Item], list[str]]) -> None:
    value = np.full((MOST_ROWS + 3, 1), 20)
    assert table(Item("count", value, CellSupport(value)))[-1] == "    ... 3 more rows"


def test_table_wider_than_a_line_that_is_no_time_grid_stays_as_it_is(table: Callable[[Item], list[str]]) -> None:
    # event times down the page, many covariates along the line: turned round it would be unreadable
    value = np.arange(30 * 14, dtype=np.float64).reshape(30, 14) + 0.5
    risk = RiskSetSupport(
        TimeSupport(60, np.full(30, 20), np.full(30, 60)), ModelSupport(60, 14, 60, effective_persons=60.0)
    )
    lines = table(Item("sets", value, risk))
    assert len(lines) == 31
    assert lines[1].split() == [*(repr(x) for x in value[0].tolist()), "0"]


def test_long_run_of_numbers_is_folded(table: Callable[[Item], list[str]]) -> None:
    support = ModelSupport(400, 30, effective_persons=400.0, leverage=0.1)
    lines = table(Item("information", np.arange(30.0), support))
    assert [line.split()[-1] for line in lines[1:]] == ["0", "12", "24"]
    assert sum(len(line.split()) - 1 for line in lines[1:]) == 30


def test_very_long_run_of_numbers_says_how_much_is_not_shown(table: Callable[[Item], list[str]]) -> None:
    most = 12 * MOST_ROWS
    item = Item("information", np.arange(most + 5.0), ModelSupport(4000, 100, effective_persons=400.0, leverage=0.1))
    assert table(item)[-1] == "    ... 5 more numbers"


def test_all_numbers_of_a_long_table_are_shown_where_asked_for(
    policy: Policy, header: Callable[[str], Header], key: IdentityKey
) -> None:
    value = np.full((MOST_ROWS + 3, 1), 20)
    payload = encode(cleared_of(policy, Item("count", value, CellSupport(value))), header("t"), key).payload
    assert tables_of_payload(payload).splitlines()[-1] == "    ... 3 more rows"
    assert len(tables_of_payload(payload, 10**6).splitlines()) == 3 + MOST_ROWS + 3


def test_payload_is_read_back_from_its_bytes(policy: Policy, header: Callable[[str], Header], key: IdentityKey) -> None:
    small = np.array([[1]])
    cleared = cleared_of(
        policy, COUNT, SCALAR, Item("count", small, CellSupport(small), "line"), notes=frozenset({"ROUNDED"})
    )
    lines = tables_of_payload(encode(cleared, header("t"), key).payload).splitlines()
    assert lines[0] == f"signed as isthmus/summary/1 by key {key.public.hex()}"
    assert lines[1:3] == ["node nl, country NL, isthmus 0.1.0", "count[sex]: 2 x 3"]
    assert lines[3].split() == ["20", "30", "25", "0"]
    assert lines[5] == "loglik: 1"
    assert lines[7:] == ["count[line]: withheld, SMALL_CELL", "notes: ROUNDED"]
    alone = tables_of_payload(encode(cleared_of(policy, SCALAR), header("t"), key).payload).splitlines()
    assert [line.strip() for line in alone[2:]] == ["loglik: 1", "-1234.5"]


def test_refusal_is_read_back_from_its_bytes(header: Callable[[str], Header], key: IdentityKey) -> None:
    out = encode_refusal(refuse(ValueError("129.587")), header("t"), key)
    text = tables_of_payload(out.payload)
    assert "code BUG" in text
    assert out.words.startswith("refused: BUG; rule: ")
    assert "129.587" not in text + out.words


def test_words_of_a_refusal_name_the_field(policy: Policy, header: Callable[[str], Header], key: IdentityKey) -> None:
    wrong = replace(SCALAR, value=np.array(np.nan), label="null")
    verdict = judge(Summary((wrong,)), LEAVES, (), study_pb2.TRIAL_ANALYSIS, policy, False, audit=lambda _: None)
    assert not isinstance(verdict, Cleared)
    assert " at loglik[null]; rule: " in encode_refusal(verdict, header("t"), key).words


def test_document_of_another_kind_shows_its_signature_only(key: IdentityKey) -> None:
    payload = canonical(key.sign("isthmus/decision/1", b"body"))
    assert tables_of_payload(payload).splitlines() == [
        f"signed as isthmus/decision/1 by key {key.public.hex()}",
    ]


def test_bytes_that_are_no_document_are_an_error() -> None:
    with pytest.raises(AuthenticationError):
        tables_of_payload(b"\xff\xff\xff")


def test_terminal_obeys_nothing_in_a_name(policy: Policy, header: Callable[[str], Header], key: IdentityKey) -> None:
    # clear the screen, change the title, write right to left
    hostile = "sex\x1b[2J\x1b]0;x\x07\u202e\n"
    assert shown(hostile) == "sex\\u001b[2J\\u001b]0;x\\u0007\\u202e\\u000a"
    item = replace(COUNT, label=hostile, axes=((hostile, (hostile, "B")), ("s", ("F", "M", hostile))))
    cleared = cleared_of(policy, item)
    text = words_of_item(cleared.items[0]) + tables_of_payload(encode(cleared, header("t"), key).payload)
    assert all(c.isprintable() or c == "\n" for c in text)
    assert shown("Überleben 年齢 ≥ 65") == "Überleben 年齢 ≥ 65"
