"""Regional consistency at the coordinator: regions from countries, what is missing, requests that make no sense."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from made_up_trial import EXAMPLES, by_country, example_spec, trial_rows

from isthmus.errors import UsageError
from isthmus_methods import contract as c
from isthmus_methods.in_process import pool_in_process
from isthmus_methods.regional_consistency import RegionalConsistency

METHOD = RegionalConsistency()
COUNTRIES = ("CN", "JP", "KR", "TW")


def spec_of(**options: c.Setting) -> c.Spec:
    example = EXAMPLES["regional_consistency"]["by country"]
    spec = example_spec("regional_consistency", example)
    return replace(spec, options={**spec.options, **options})


def given(effects: Mapping[str, tuple[float, float]], **options: c.Setting) -> c.Done:
    """The answer to estimates and variances that countries gave."""
    summaries = tuple(
        c.Cleared(country, {("estimate", "arm=high"): np.array(pair)}) for country, pair in effects.items()
    )
    return METHOD.pool(c.Contributions(summaries), spec_of(**options), {}, {})


EFFECTS = {"CN": (-0.5, 0.04), "JP": (0.1, 0.09), "KR": (-0.3, 0.02), "TW": (-0.4, 0.08)}


def test_regions_are_inverse_variance_means_of_their_countries() -> None:
    answer = given(EFFECTS, regions=("East=CN+JP", "Isles = TW")).answer
    assert list(answer["regions"]) == ["East", "Isles", "KR"]
    assert answer["countries_of_regions"] == {"East": ["CN", "JP"], "Isles": ["TW"], "KR": ["KR"]}
    w = np.array([1 / 0.04, 1 / 0.09])
    assert answer["regions"]["East"]["estimate"] == pytest.approx(float(w @ [-0.5, 0.1] / w.sum()))
    # pooling regions leaves the overall effect what it is
    assert answer["overall"] == pytest.approx(given(EFFECTS).answer["overall"], rel=1e-12)


def test_lower_is_better_for_hazard_ratios_and_can_be_turned() -> None:
    lower, higher = given(EFFECTS).answer, given(EFFECTS, benefit="higher").answer
    assert lower["method_2"]["regions_in_favour"] == 3
    assert higher["method_2"]["regions_in_favour"] == 1
    assert lower["gail_simon"]["Q_plus"] == higher["gail_simon"]["Q_minus"]
    assert lower["bayes"]["regions"]["CN"]["p_benefit"] == pytest.approx(
        1 - higher["bayes"]["regions"]["CN"]["p_benefit"], abs=1e-9
    )
    assert "holds_one_minus_ratio" not in higher["method_1"]["regions"]["CN"]


def test_country_without_estimate_is_left_out_and_its_region_too() -> None:
    effects = {name: pair for name, pair in EFFECTS.items() if name != "TW"}
    done = given(effects, regions=("Isles=TW",))
    assert list(done.answer["regions"]) == ["CN", "JP", "KR"]
    assert done.answer["left_out"] == ["TW"]
    assert any("Isles" in sentence for sentence in done.caveats)


def test_one_region_has_nothing_to_compare() -> None:
    answer = given({"CN": (-0.5, 0.04)}).answer
    assert answer["no_interaction"]["p"] is None
    assert answer["no_interaction"]["holds"] is None
    assert answer["gail_simon"]["p"] is None
    assert answer["james_stein"] is None
    assert answer["method_1"]["regions"]["CN"]["holds"] is True


def test_effects_without_a_customary_scale_need_a_prior() -> None:
    spec = example_spec("regional_consistency", EXAMPLES["regional_consistency"]["by region, of a linear model"])
    rows = trial_rows(11, 400)
    options = {name: value for name, value in spec.options.items() if name != "tau_scale"}
    without = replace(spec, options=options)
    done, _ = pool_in_process(METHOD, by_country(rows, without, METHOD), without)
    assert done.answer["bayes"] is None
    assert any("tau_scale" in sentence for sentence in done.caveats)
    with_one, _ = pool_in_process(METHOD, by_country(rows, spec, METHOD), spec)
    assert with_one.answer["bayes"]["prior"] == "half-normal(2)"
    assert list(with_one.answer["bayes_sensitivity"]) == ["half-normal(1)", "half-normal(4)", "uniform(0, 16)"]


@pytest.mark.parametrize(
    "options",
    [
        {"regions": ("East=CN+JP", "West=JP")},
        {"regions": ("East=CN+XX",)},
        {"regions": ("East",)},
        {"regions": ("East=",)},
        {"regions": ("=CN",)},
        {"regions": ("East=CN", "East=JP")},
        {"regions": ("KR=CN+JP",)},
        {"pi": 1.0},
        {"pi": -0.1},
        {"lower_level": 0.0},
        {"tau_scale": -1.0},
        {"estimate": "linear_model"},
    ],
)
def test_requests_that_make_no_sense_end_before_anything_leaves(options: dict[str, c.Setting]) -> None:
    spec = spec_of(**options)
    block = by_country(trial_rows(1, 60), spec_of(), METHOD)["CN"][0]
    with pytest.raises(UsageError) as refused:
        METHOD.fold(block, spec, {}, None)
    assert refused.value.code in ("WRONG_REGIONS", "WRONG_OPTION")


def test_countries_with_names_of_any_kind() -> None:
    spec = replace(spec_of(regions=("North & South=Côte d'Ivoire+New Zealand",)), countries=())
    summaries = tuple(
        c.Cleared(name, {("estimate", "arm=high"): np.array([-0.2, 0.05])}) for name in ("Côte d'Ivoire", "New Zealand")
    )
    answer = METHOD.pool(c.Contributions(summaries), spec, {}, {}).answer
    assert answer["regions"]["North & South"]["se"] == pytest.approx(np.sqrt(0.025))
