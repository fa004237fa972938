"""The policy file: what it allows, and what it may not say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from isthmus.errors import ConfigError
from isthmus.v1 import study_pb2
from isthmus_node.custodian.policy_words import rules
from isthmus_node.egress.policy import DEFAULT_FILE, Policy
from isthmus_node.egress.thresholds import KEYS, PURPOSES, Limits, compiled_in
from isthmus_node.egress.training_policy import AllowedApp

PUBLIC = study_pb2.PUBLICATION
TRIAL = study_pb2.TRIAL_ANALYSIS


def failing(text: str, installed: tuple[str, ...] = ()) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        Policy.read(text, installed)
    return caught.value


def test_default_file_says_what_is_compiled_in(policy: Policy) -> None:
    assert set(policy.limits) == set(PURPOSES.values())
    for purpose in PURPOSES.values():
        assert policy.limits[purpose] == compiled_in(purpose)[0]
    assert policy.methods is None
    assert policy.exploratory == "ask"


def test_default_file_names_every_floor() -> None:
    text = DEFAULT_FILE.read_text(encoding="utf-8")
    for name, purpose in PURPOSES.items():
        table = text.split(f"[purpose.{name}]")[1].split("[purpose.")[0]
        floor = compiled_in(purpose)[1]
        said = dict(re.findall(r"^(\w+) = .*floor (\S+)", table, flags=re.MULTILINE))
        assert set(said) == set(KEYS)
        for key, value in said.items():
            expected = getattr(floor, key)
            assert value == str(expected).lower() if isinstance(expected, bool) else float(value) == expected


def test_thresholds_have_the_fields_of_their_table() -> None:
    assert tuple(Limits.__dataclass_fields__) == tuple(KEYS)
    assert all(key.source for key in KEYS.values())


@pytest.mark.parametrize("purpose", sorted(PURPOSES.values()))
def test_no_default_is_looser_than_its_floor(purpose: int) -> None:
    default, floor = compiled_in(purpose)
    for name, key in KEYS.items():
        assert not key.is_looser(getattr(default, name), getattr(floor, name))


def test_missing_file_refuses_everything(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        Policy.load(tmp_path / "policy.toml")
    assert caught.value.code == "POLICY_MISSING"


def test_empty_file_allows_no_purpose() -> None:
    policy = Policy.read("")
    assert policy.limits == {}
    assert rules(policy, "publication") == (
        "publication: nothing leaves, the policy has no table [purpose.publication]",
    )


@pytest.mark.parametrize("content", [b"[purpose", b"\xff\xfe", b"a = "])
def test_file_that_is_no_toml_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "policy.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        Policy.load(path)
    assert caught.value.code == "POLICY_UNREADABLE"


def test_folder_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        Policy.load(tmp_path)
    assert caught.value.code == "POLICY_UNREADABLE"


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("[purpose.publication]\ncell_person = 11", "purpose.publication.cell_persons"),
        ("[purpose.publicaton]\ncell_persons = 11", "purpose.publication"),
        ("[method]\nallow = []", "methods"),
        ("[methods]\nalow = []", "methods.allow"),
        ("[exploratory]\nanalysis = 'ask'", "exploratory.analyses"),
        ("zzz = 1", "variables"),
        ("[training]\nround = 3", "training.rounds"),
        ("[training.apps.mlp]\nversion = '1'\ndigets = ''", "training.apps.mlp.digest"),
        ("[purpose.publication]\nbatch_person = 11", "purpose.publication.batch_persons"),
        ("[coordinator]\nmay = true", "exploratory"),
    ],
)
def test_misspelt_key_names_the_nearest(text: str, near: str) -> None:
    error = failing(text)
    assert error.code == "POLICY_UNKNOWN_KEY"
    assert f"did you mean {near}?" in error.remedy


def test_misspelt_method_names_the_nearest() -> None:
    text = "[methods]\nallow = ['cox', 'kaplan_mayer']"
    error = failing(text, ("cox", "kaplan_meier"))
    assert "did you mean method kaplan_meier?" in error.remedy
    assert Policy.read(text).methods == {"cox", "kaplan_mayer"}


@pytest.mark.parametrize(
    "text",
    [
        "purpose = 3",
        "[purpose]\npublication = 3",
        "methods = 'cox'",
        "[methods]\nallow = 'cox'",
        "[methods]\nallow = [1]",
        "[exploratory]\nanalyses = 'maybe'",
        "[exploratory]\nanalyses = true",
        "[purpose.publication]\ncell_persons = true",
        "[purpose.publication]\ncell_persons = '11'",
        "[purpose.publication]\ncell_persons = 11.5",
        "[purpose.publication]\ncell_persons = -1",
        "[purpose.publication]\nzeros_shown = 1",
        "[purpose.publication]\nleverage = nan",
        "[purpose.publication]\nleverage = inf",
        "[purpose.publication]\nleverage = -0.1",
        "training = 3",
        "[training]\nrounds = 0",
        "[training]\nrounds = 2.5",
        "[training]\nrounds = true",
        "[training.apps]\nmlp = '1'",
        "[training.apps.mlp]\nversion = '1'",
        "[training.apps.mlp]\ndigest = '" + 64 * "0" + "'",
        "[training.apps.mlp]\nversion = 1\ndigest = '" + 64 * "0" + "'",
        "[training.apps.mlp]\nversion = ''\ndigest = '" + 64 * "0" + "'",
        "[training.apps.mlp]\nversion = '1'\ndigest = '" + 63 * "0" + "'",
        "[training.apps.mlp]\nversion = '1'\ndigest = '" + 63 * "0" + "g'",
        # noise is a multiple of a norm
        "[purpose.publication]\nupdate_noise = 1.0",
        "[purpose.publication]\n[purpose.publication.recipient.public]\nupdate_noise = 1.0",
    ],
)
def test_bad_value_is_refused(text: str) -> None:
    assert failing(text).code == "POLICY_BAD_VALUE"


@pytest.mark.parametrize("purpose", sorted(PURPOSES))
@pytest.mark.parametrize("name", sorted(KEYS))
def test_policy_loosens_to_the_floor_and_no_further(purpose: str, name: str) -> None:
    floor = getattr(compiled_in(PURPOSES[purpose])[1], name)
    at = Policy.read(f"[purpose.{purpose}]\n{name} = {str(floor).lower()}")
    assert getattr(at.limits[PURPOSES[purpose]], name) == floor
    if floor is True or floor == 0:
        return  # nothing is looser
    smaller = KEYS[name].tighter == "smaller"
    below = floor + (1 if smaller else -1) if isinstance(floor, int) else floor * (1.1 if smaller else 0.9)
    error = failing(f"[purpose.{purpose}]\n{name} = {below}")
    assert error.code == "POLICY_BELOW_FLOOR"
    assert str(floor) in error.message


def test_custodian_tightens_one_threshold_and_keeps_the_other_defaults() -> None:
    policy = Policy.read("[purpose.trial_analysis]\ncell_persons = 20\nleverage = 0\nzeros_shown = false")
    limits, default = policy.limits[TRIAL], compiled_in(TRIAL)[0]
    assert (limits.cell_persons, limits.leverage, limits.zeros_shown) == (20, 0.0, False)
    assert limits.level_persons == default.level_persons
    assert study_pb2.PUBLICATION not in policy.limits


def test_digest_is_of_what_the_policy_means() -> None:
    plain = Policy.read("[purpose.publication]\ncell_persons = 11\n[methods]\nallow = ['cox', 'table_one']")
    same = Policy.read("# words\n[methods]\nallow = ['table_one', 'cox']\n[purpose.publication]\nleverage = 0.5")
    tighter = Policy.read("[purpose.publication]\ncell_persons = 12\n[methods]\nallow = ['cox', 'table_one']")
    assert plain.digest == same.digest
    assert len(plain.digest) == 32
    others = {
        tighter.digest,
        Policy.read("[purpose.publication]").digest,
        Policy.read("[purpose.feasibility]").digest,
        Policy.read("[purpose.publication]\n[exploratory]\nanalyses = 'allow'").digest,
        Policy.read("[purpose.publication]\n[methods]\nallow = []").digest,
        Policy.read("[purpose.publication]\n[training]").digest,
    }
    assert len(others | {plain.digest}) == 7


def test_policy_allows_only_the_methods_it_lists() -> None:
    assert Policy.read("").allows_method("cox")
    listed = Policy.read("[methods]\nallow = ['cox']")
    assert listed.allows_method("cox")
    assert not listed.allows_method("table_one")


def test_policy_without_an_app_trains_nothing() -> None:
    for text in ("", "[training]\nrounds = 20", "[methods]\nallow = ['cox']"):
        assert not Policy.read(text).allows_method("training")
    allowed = Policy.read(f"[methods]\nallow = []\n[training.apps.mlp]\nversion = '2'\ndigest = '{'0A' * 32}'")
    assert allowed.allows_method("training")
    assert not allowed.allows_method("cox")
    assert allowed.training.apps == {"mlp": AllowedApp("2", b"\x0a" * 32)}
    assert allowed.training.rounds == 100


def test_rounds_of_a_training_have_a_floor() -> None:
    assert Policy.read("[training]\nrounds = 500").training.rounds == 500
    error = failing("[training]\nrounds = 501")
    assert error.code == "POLICY_BELOW_FLOOR"
    assert "500" in error.message


def test_words_name_every_threshold_with_its_number() -> None:
    policy = Policy.read("[purpose.publication]\ncell_persons = 17\n[purpose.trial_analysis]")
    words = rules(policy, "publication")
    assert len(words) == len(KEYS)
    assert words[0] == "publication: each count, and the rest of its total, is of 17 or more persons"
    assert "publication: a count of nobody is withheld as a small one is" in words
    assert "trial_analysis: a count of nobody may be shown" in rules(policy, "trial_analysis")
    assert not any("{}" in line for purpose in PURPOSES for line in rules(policy, purpose))


def test_words_of_the_committee_say_that_nothing_leaves(policy: Policy) -> None:
    (line,) = rules(policy, "closed_committee")
    assert "nothing leaves until" in line


def test_limits_cannot_be_changed_after_loading(policy: Policy) -> None:
    with pytest.raises(TypeError):
        policy.limits[PUBLIC] = compiled_in(PUBLIC)[1]  # type: ignore[index]


# --------------------------------------------------------------------------- to whom

SPONSOR, AUTHORITY = study_pb2.SPONSOR, study_pb2.AUTHORITY
TO_TWO = """
[purpose.trial_analysis]
cell_persons = 6
[purpose.trial_analysis.recipient.sponsor]
cell_persons = 8
leverage = 0.4
[purpose.trial_analysis.recipient.authority]
sum_persons = 9
"""


def test_purpose_without_recipients_is_for_whoever_receives() -> None:
    policy = Policy.read("[purpose.trial_analysis]")
    for to in ((), (SPONSOR,), (SPONSOR, AUTHORITY)):
        assert policy.limits_to(TRIAL, to) == policy.limits[TRIAL]


def test_purpose_with_recipients_is_for_them_alone() -> None:
    policy = Policy.read(TO_TWO)
    assert policy.limits_to(TRIAL, ()) is None
    assert policy.limits_to(TRIAL, (study_pb2.PUBLIC,)) is None
    assert policy.limits_to(TRIAL, (SPONSOR, study_pb2.PUBLIC)) is None
    assert policy.limits_to(PUBLIC, (SPONSOR,)) is None
    sponsor, authority = policy.limits_to(TRIAL, (SPONSOR,)), policy.limits_to(TRIAL, (AUTHORITY,))
    assert sponsor is not None
    assert authority is not None
    assert (sponsor.cell_persons, sponsor.leverage, sponsor.sum_persons) == (8, 0.4, 5)
    assert (authority.cell_persons, authority.leverage, authority.sum_persons) == (6, 0.5, 9)


def test_several_recipients_are_held_to_the_strictest_of_them() -> None:
    both = Policy.read(TO_TWO).limits_to(TRIAL, (SPONSOR, AUTHORITY))
    assert both is not None
    assert (both.cell_persons, both.leverage, both.sum_persons) == (8, 0.4, 9)


def test_policy_towards_recipients_has_their_purpose_and_no_other() -> None:
    policy = Policy.read(TO_TWO + "[purpose.publication]\n")
    towards = policy.towards(TRIAL, (SPONSOR,))
    assert set(towards.limits) == {TRIAL}
    assert towards.limits[TRIAL].cell_persons == 8
    assert towards.digest == policy.digest
    assert policy.towards(TRIAL, ()).limits == {}


def test_empty_table_of_recipients_is_for_nobody() -> None:
    policy = Policy.read("[purpose.trial_analysis.recipient]")
    assert policy.limits_to(TRIAL, (SPONSOR,)) is None
    assert policy.limits_to(TRIAL, ()) is None


@pytest.mark.parametrize(
    ("text", "code", "word"),
    [
        ("[purpose.trial_analysis.recipient.sponser]", "POLICY_UNKNOWN_KEY", "recipient.sponsor"),
        ("[purpose.trial_analysis.recipients.sponsor]", "POLICY_UNKNOWN_KEY", "trial_analysis.recipient"),
        ("[purpose.trial_analysis.recipient.sponsor]\ncell_persns = 9", "POLICY_UNKNOWN_KEY", "sponsor.cell_persons"),
        ("[purpose.trial_analysis]\nrecipient = 3", "POLICY_BAD_VALUE", "recipient"),
        ("[purpose.trial_analysis.recipient.sponsor]\ncell_persons = 4", "POLICY_RECIPIENT_LOOSER", "5"),
        ("[purpose.trial_analysis.recipient.sponsor]\nleverage = 0.6", "POLICY_RECIPIENT_LOOSER", "0.5"),
        ("[runs]\neach = 'alow'", "POLICY_BAD_VALUE", "runs.each"),
        ("[variables]\nrefuse_roles = ['genomik']", "POLICY_UNKNOWN_KEY", "role genomic"),
        ("[variables]\nrefuse = 'KRAS'", "POLICY_BAD_VALUE", "variables.refuse"),
    ],
)
def test_recipients_variables_and_runs_are_read_as_strictly(text: str, code: str, word: str) -> None:
    error = failing(text)
    assert error.code == code
    assert word in error.message + error.remedy
