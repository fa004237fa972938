"""What a policy says of permit and dossier: read, held against what the preset asks for, said in words."""

from __future__ import annotations

import pytest

from isthmus.errors import ConfigError
from isthmus_node.custodian.policy_words import differences, whole
from isthmus_node.egress.policy import Policy
from isthmus_node.egress.presets import preset


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("[permits]\npermt = '1'", "POLICY_UNKNOWN_KEY"),
        ("[permits]\npermit = 17", "POLICY_BAD_VALUE"),
        ("[permits]\npermit = '" + "x" * 101 + "'", "POLICY_BAD_VALUE"),
        ('[permits]\npermit = "a\\u001b[1m"', "POLICY_BAD_VALUE"),
        ("[permits]\ncounted_since = 'spring'", "POLICY_BAD_VALUE"),
        ("[permits]\ncounted_since = 2026", "POLICY_BAD_VALUE"),
        ("[permits]\ncounted_since = 2026-01-01T00:00:00", "POLICY_BAD_VALUE"),
    ],
)
def test_number_that_is_not_as_it_must_be_is_an_error(text: str, code: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Policy.read(text)
    assert caught.value.code == code


def test_policy_says_what_is_missing_and_what_a_change_fills_in() -> None:
    empty = Policy.read('preset = "CN"')
    assert any("permit: NOT FILLED IN" in line for line in whole(empty))
    filled = Policy.read('preset = "CN"\n[permits]\npermit = "A-1"\ncounted_since = 2026-01-01')
    assert filled.permits.counted_since == "2026-01-01"
    assert any(line == "permit: A-1, in the words of the custodian" for line in whole(filled))
    found = differences(empty, filled, ())
    assert [c.allows for c in found if c.where.startswith("permits")] == [True, True, True]


@pytest.mark.parametrize("since", ["2026-01-01", "'2026-01-01'"])
def test_numbers_stand_in_answers_as_the_custodian_wrote_them(since: str) -> None:
    policy = Policy.read(f"[permits]\npermit = ' A-1 '\ndossier = 'B-2'\ncounted_since = {since}")
    assert policy.permits.reference == "permit A-1; dossier B-2"
    assert (policy.permits.counted_since, policy.permits.missing) == ("2026-01-01", ())
    assert Policy.read("").permits.reference == ""


def test_presets_ask_for_what_their_jurisdictions_have() -> None:
    assert {name: preset(name).permits for name in ("CN", "VN", "JP")} == {
        "CN": ("permit",),
        "VN": ("dossier",),
        "JP": (),
    }
    assert preset("CN").persons == (10_000, 100_000)
