"""What a policy says of slots and of the lock: its keys, their floors, and what a change of them allows."""

from __future__ import annotations

import pytest

from isthmus.errors import ConfigError
from isthmus_node.custodian.policy_words import differences
from isthmus_node.egress.pace import Pace, pace
from isthmus_node.egress.policy import DEFAULT_FILE, Policy


def test_keys_of_the_policy_have_floors() -> None:
    assert pace({}) == Pace(0.0, 20, 60, 7)
    assert pace({"release": {"slot_seconds": 10}, "refusals": {"of_requester": 3}}) == Pace(10.0, 3, 60, 7)
    for wrong, code in (
        ({"refusals": {"of_requester": 101}}, "POLICY_BELOW_FLOOR"),
        ({"refusals": {"of_study": 301}}, "POLICY_BELOW_FLOOR"),
        ({"refusals": {"days": 0}}, "POLICY_BAD_VALUE"),
        ({"refusals": {"of_study": 0}}, "POLICY_BAD_VALUE"),
        ({"refusals": {"of_study": True}}, "POLICY_BAD_VALUE"),
        ({"refusals": {"of_studie": 3}}, "POLICY_UNKNOWN_KEY"),
        ({"release": {"slot_seconds": float("nan")}}, "POLICY_BAD_VALUE"),
        ({"release": {"slot_seconds": -1}}, "POLICY_BAD_VALUE"),
        ({"release": {"slot_seconds": 1e9}}, "POLICY_BAD_VALUE"),
        ({"release": 3}, "POLICY_BAD_VALUE"),
    ):
        with pytest.raises(ConfigError) as caught:
            pace(wrong)
        assert caught.value.code == code, wrong


def test_pace_is_part_of_the_policy_and_its_digest() -> None:
    text = DEFAULT_FILE.read_text(encoding="utf-8")
    slow = Policy.read(text + "\n[release]\nslot_seconds = 30\n")
    assert slow.pace.slot_seconds == 30.0
    assert slow.digest != Policy.read(text).digest


def test_diff_says_what_a_looser_pace_allows() -> None:
    text = DEFAULT_FILE.read_text(encoding="utf-8")
    loose = Policy.read(text + "\n[refusals]\nof_requester = 50\ndays = 30\n[release]\nslot_seconds = 5\n")
    found = {change.where: change.allows for change in differences(Policy.read(text), loose, ())}
    assert found == {"refusals.of_requester": True, "refusals.days": False, "release.slot_seconds": False}
