"""What regressions say of levels without rows: of a country that lacks one, never of a level that nobody has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from made_up_trial import EXAMPLES, TRIAL, Example, by_country, example_spec, split, trial_rows

from isthmus_methods.in_process import pool_in_process
from isthmus_methods.registry import find

REGRESSIONS = [
    ("cox", "efron"),
    ("cox", "one baseline hazard, all extras"),
    ("glm", "gaussian"),
    ("linear_model", "ancova"),
    ("ordinal", "without tests of terms"),
    ("gee", "gaussian"),
    ("fine_gray", "relapse"),
    ("negative_binomial", "of counts"),
]
ARM = TRIAL["arm"]


def levels_told(example: Example, name: str, without_low: Sequence[str] = ()) -> list[str]:
    """What is said of levels where the dictionary has an arm that nobody is in, and some countries lack another."""
    method = find(name)
    spec = replace(example_spec(name, example), variables={**TRIAL, "arm": replace(ARM, levels=(*ARM.levels, "never"))})
    countries = by_country(trial_rows(1, 400), spec, method)
    for country in without_low:
        [block] = countries[country]
        assert block.design is not None
        codes = block.design.level_codes["arm"]
        countries[country] = split(block, [np.flatnonzero(codes != ARM.levels.index("low"))])
    done, _ = pool_in_process(method, countries, spec)
    notes = done.answer["notes"]
    assert isinstance(notes, Sequence)
    assert {*without_low} == {*countries} - done.no_news["LEVEL_ABSENT"]
    return [str(said) for said in (*notes, *done.caveats) if "no row has one of the levels" in str(said)]


@pytest.mark.parametrize(("name", "key"), REGRESSIONS)
def test_level_of_no_country_is_not_told(name: str, key: str) -> None:
    assert levels_told(EXAMPLES[name][key], name) == []


@pytest.mark.parametrize(("name", "key"), REGRESSIONS)
def test_country_without_a_level_of_the_others_is_told(name: str, key: str) -> None:
    [said] = levels_told(EXAMPLES[name][key], name, ("JP", "TW"))
    assert said.startswith("JP, TW: ")
