"""The jurisdictions' presets: they only tighten, and say of themselves what they are."""

from __future__ import annotations

import re

import pytest

from isthmus.errors import ConfigError
from isthmus.v1 import study_pb2
from isthmus_node.egress.policy import Policy
from isthmus_node.egress.presets import FOLDER, names, preset
from isthmus_node.egress.thresholds import KEYS, PURPOSES, compiled_in

EVERY = ("CN", "HK", "ID", "JP", "KR", "MY", "PH", "SG", "TH", "TW", "VN")
TABLES = "\n".join(f"[purpose.{name}]" for name in PURPOSES)
TRIAL = study_pb2.TRIAL_ANALYSIS


def under(name: str, text: str = "") -> Policy:
    return Policy.read(f'preset = "{name}"\n{text}')


def failing(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        Policy.read(text)
    return caught.value


def test_every_jurisdiction_has_its_file() -> None:
    assert names() == EVERY


@pytest.mark.parametrize("name", EVERY)
def test_preset_says_what_it_is_and_where_each_number_comes_from(name: str) -> None:
    text = (FOLDER / f"{name}.toml").read_text(encoding="utf-8")
    assert "A convention: a proposal for local legal review" in text
    assert "makes no release lawful" in text
    assert "makes no release lawful" in preset(name).standing
    assert preset(name).facts
    numbers = [line for line in text.splitlines() if re.match(r"\w+ = [\d.]+", line)]
    assert numbers
    assert all("source: " in line for line in numbers)


@pytest.mark.parametrize("name", EVERY)
def test_preset_is_never_looser_than_default_or_floor(name: str) -> None:
    policy, plain = under(name, TABLES), Policy.read(TABLES)
    for purpose in PURPOSES.values():
        default, floor = compiled_in(purpose)
        assert plain.limits[purpose] == default
        for key, rule in KEYS.items():
            own = getattr(policy.limits[purpose], key)
            assert not rule.is_looser(own, getattr(default, key)), key
            assert not rule.is_looser(preset(name).limits.get(purpose, {}).get(key, own), getattr(floor, key)), key
    assert policy.preset == name
    assert policy.digest != plain.digest


@pytest.mark.parametrize(("name", "least"), [("CN", 10), ("VN", 10), ("ID", 10), ("JP", 5), ("KR", 5), ("HK", 5)])
def test_policy_under_a_preset_cannot_go_below_its_numbers(name: str, least: int) -> None:
    text = f"[purpose.trial_analysis]\ncell_persons = {least - 1}"
    error = failing(f'preset = "{name}"\n{text}')
    assert error.code == "POLICY_BELOW_PRESET"
    assert str(least) in error.message
    # without the preset the number is the custodian's own to answer for
    assert Policy.read(text).limits[TRIAL].cell_persons == least - 1
    tighter = under(name, f"[purpose.trial_analysis]\ncell_persons = {least + 1}")
    assert tighter.limits[TRIAL].cell_persons == least + 1


def test_publication_under_japans_preset_goes_down_to_ndbs_number_and_no_further() -> None:
    at = "[purpose.publication]\ncell_persons = "
    assert under("JP", "[purpose.publication]").limits[study_pb2.PUBLICATION].cell_persons == 11
    assert under("JP", at + "10").limits[study_pb2.PUBLICATION].cell_persons == 10
    assert failing(f'preset = "JP"\n{at}9').code == "POLICY_BELOW_PRESET"


@pytest.mark.parametrize(
    "text", ['[release]\noutputs = "allow"', '[exploratory]\nanalyses = "allow"'], ids=["outputs", "exploratory"]
)
def test_policy_under_chinas_preset_asks_a_person(text: str) -> None:
    policy = under("CN")
    assert (policy.outputs, policy.exploratory) == ("ask", "ask")
    assert under("CN", "[release]\nslot_seconds = 5").pace.slot_seconds == 5
    assert failing(f'preset = "CN"\n{text}').code == "POLICY_BELOW_PRESET"
    assert under("CN", '[exploratory]\nanalyses = "refuse"').exploratory == "refuse"


def test_genomic_variables_stay_under_chinas_preset() -> None:
    assert under("CN").refused_roles == {study_pb2.Variable.GENOMIC}
    more = under("CN", '[variables]\nrefuse_roles = ["unblinding"]\nrefuse = ["KRAS"]')
    assert more.refused_roles == {study_pb2.Variable.GENOMIC, study_pb2.Variable.UNBLINDING}
    assert more.refused_variables == {"KRAS"}


@pytest.mark.parametrize("text", ['preset = "CH"', 'preset = "cn"', "preset = 3"])
def test_preset_that_does_not_exist_is_an_error(text: str) -> None:
    error = failing(text)
    assert error.code in ("POLICY_UNKNOWN_KEY", "POLICY_BAD_VALUE")
    assert "CN" in error.remedy + error.message


@pytest.mark.parametrize("name", EVERY)
def test_preset_has_a_word_on_every_threshold_that_counts_persons_behind_a_number(name: str) -> None:
    cells = preset(name).limits[TRIAL]["cell_persons"]
    alike = [key for key in KEYS if getattr(compiled_in(TRIAL)[0], key) == compiled_in(TRIAL)[0].cell_persons]
    assert len(alike) > 8
    assert {key: preset(name).limits[TRIAL].get(key) for key in alike} == dict.fromkeys(alike, cells)
