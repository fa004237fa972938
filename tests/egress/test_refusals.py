"""What must not be told apart is answered with the same bytes: unknown and forbidden, and every error about rows."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from isthmus.errors import ConfigError, DataError, IsthmusError, MethodError, Refused, UsageError, WaitingForApproval
from isthmus_node.egress.gate import refuse
from isthmus_node.egress.policy import Policy
from isthmus_node.egress.refusals import ALIKE, is_about_data, violation_of
from isthmus_node.egress.wire import Header, encode_refusal
from isthmus_trust.identity import IdentityKey

Bytes = Callable[..., bytes]


@pytest.fixture
def leaves(header: Callable[[str], Header], key: IdentityKey, policy: Policy) -> Bytes:
    def made(error: BaseException, open_data: bool = False) -> bytes:
        return encode_refusal(refuse(error, 3, policy, open_data), header("t"), key).payload

    return made


def test_unknown_and_forbidden_names_are_answered_alike(leaves: Bytes) -> None:
    told = {leaves(kind(code, f"{code} of {name}", name)) for code in ALIKE for name in ("AGE", "USUBJID", "x" * 3000)
            for kind in (UsageError, Refused)}  # fmt: skip
    assert len(told) == 1
    assert b"USUBJID" not in told.pop()


def test_errors_about_rows_are_answered_alike(leaves: Bytes) -> None:
    errors = [
        DataError("WRONG_OUTCOME", "a row is negative", "leave it out"),
        DataError("TIME_OUT_OF_RANGE", "a row is beyond", "leave it out"),
        DataError("DATASET_NOT_REGISTERED", "there is none", "add it"),
        MethodError("NOT_CONVERGED", "did not", "simplify"),
    ]
    assert len({leaves(error) for error in errors}) == 1


def test_errors_about_open_data_keep_their_codes(leaves: Bytes) -> None:
    assert b"WRONG_OUTCOME" in leaves(DataError("WRONG_OUTCOME", "a row", "x"), True)
    assert b"a row" not in leaves(DataError("WRONG_OUTCOME", "a row", "x"), True)


def test_decisions_about_the_request_keep_their_words(leaves: Bytes) -> None:
    for kind in (Refused, UsageError, WaitingForApproval):
        assert b"not in the plan" in leaves(kind("NOT_IN_PLAN", "not in the plan", "ask"))


@pytest.mark.parametrize(
    ("error", "counted"),
    [
        (DataError("X", "", ""), True),
        (MethodError("X", "", ""), True),
        (ValueError("P17"), True),
        (IsthmusError("BUG", "", ""), True),
        (Refused("NOT_IN_PLAN", "", ""), False),
        (UsageError("UNKNOWN_LEVEL", "", ""), False),
        (ConfigError("POLICY_MISSING", "", ""), False),
    ],
)
def test_what_may_depend_on_rows_is_counted(error: BaseException, counted: bool) -> None:
    assert is_about_data(error) is counted
    assert refuse(error).about_rows is counted


def test_code_that_is_none_is_a_bug() -> None:
    assert violation_of(IsthmusError("P17 97", "", "")).code == "BUG"
    assert violation_of(Refused("P17 97", "P17", "")).rule == violation_of(ValueError()).rule
    assert violation_of(DataError("P17 97", "", ""), True).code == "DATA_DO_NOT_ALLOW"
