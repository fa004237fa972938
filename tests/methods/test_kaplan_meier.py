"""Kaplan-Meier: grids, landmarks, subgroups, what a gate withheld, and what supports each table."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_up_trial import SURVIVAL, TRIAL, by_country, refs, split, trial_rows
from reference_cases import Rows, block_of

from isthmus.errors import DataError, UsageError
from isthmus_methods import contract as c
from isthmus_methods.in_process import pool_in_process, summarise
from isthmus_methods.kaplan_meier import KaplanMeier
from isthmus_methods.parts.survival.restricted_means import rmst_difference

METHOD = KaplanMeier()
SPEC = c.Spec(
    "kaplan_meier",
    "trial",
    TRIAL,
    roles={**SURVIVAL, "by": refs("arm")},
    options={"times": (10.0, 30.0), "tau": 60.0},
    countries=TRIAL["country"].levels,
)
ALONE = replace(SPEC, roles=SURVIVAL)


def block(times: list[float], events: list[int], spec: c.Spec = ALONE, **more: list[str]) -> c.Block:
    columns = {"time": [repr(t) for t in times], "event": [str(e) for e in events], **more}
    return block_of("CN", Rows(columns, len(times)), spec, METHOD)


def overall(times: list[float], events: list[int], spec: c.Spec = ALONE) -> c.Answer:
    return pool_in_process(METHOD, {"CN": [block(times, events, spec)]}, spec)[0].answer["overall"]


def changed(name: str, **values: object) -> c.Spec:
    return replace(ALONE, variables={**TRIAL, name: replace(TRIAL[name], **values)})


# --------------------------------------------------------------------------- the time grid


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"grid": None}, "NO_TIME_GRID"),
        ({"grid": 0.0}, "NO_TIME_GRID"),
        ({"maximum": None}, "NO_TIME_RANGE"),
        ({"maximum": -1.0}, "NO_TIME_RANGE"),
        ({"grid": 1e-6}, "TIME_GRID_TOO_FINE"),
    ],
)
def test_dictionary_without_a_usable_grid_is_refused_with_a_remedy(values: dict[str, object], code: str) -> None:
    with pytest.raises(UsageError) as raised:
        METHOD.scope(changed("time", **values))
    assert raised.value.code == code
    assert "dictionary" in raised.value.remedy


def test_whole_number_times_have_a_grid_of_one() -> None:
    METHOD.scope(changed("time", grid=None, type=c.VariableType.INTEGER))


@pytest.mark.parametrize("time", [-1.0, 121.0])
def test_time_outside_the_dictionary_range_is_an_error_that_names_no_value(time: float) -> None:
    with pytest.raises(DataError) as raised:
        summarise(METHOD, [block([3.0, time], [1, 1])], ALONE, {})
    assert raised.value.code == "TIME_OUT_OF_RANGE"
    assert "121" not in str(raised.value)


def test_times_off_the_grid_are_rounded_and_said() -> None:
    done, _ = pool_in_process(METHOD, {"CN": [block([3.0, 4.4], [1, 1])], "JP": [block([5.0], [1])]}, ALONE)
    assert done.answer["overall"]["curve_event_times"]["time"] == [3.0, 4.0, 5.0]
    assert done.caveats == ("in CN some times lie off the study's time grid and were rounded to its nearest step",)


def test_times_on_a_decimal_grid_are_not_called_rounded() -> None:
    spec = changed("time", grid=0.1)
    done, _ = pool_in_process(METHOD, {"CN": [block([0.3, 0.7, 1.1], [1, 1, 1], spec)]}, spec)
    assert done.caveats == ()
    assert done.answer["overall"]["curve_event_times"]["time"] == pytest.approx([0.3, 0.7, 1.1], rel=1e-15)


# --------------------------------------------------------------------------- the curve


def test_censored_at_an_event_time_are_still_at_risk_at_it() -> None:
    curve = overall([5, 5, 5, 8], [1, 0, 0, 1])["curve_event_times"]
    assert curve["n_risk"] == [4, 1]
    assert curve["surv"] == [0.75, 0.0]
    assert curve["se"][1] is None


def test_survival_is_carried_on_beyond_the_last_time() -> None:
    at = overall([5, 20], [1, 0])["at_times"]
    assert at["time"] == [10.0, 30.0]
    assert at["n_risk"] == [1, 0]
    assert at["surv"] == [0.5, 0.5]


def test_limits_before_the_first_event_are_one_but_for_log_log() -> None:
    at = overall([40, 50], [1, 1])["at_times"]
    assert at["surv"][0] == 1.0
    assert (at["plain_lower"][0], at["plain_upper"][0], at["log_lower"][0]) == (1.0, 1.0, 1.0)
    assert at["loglog_lower"][0] is None


def test_restricted_mean_of_a_curve_without_events_is_tau() -> None:
    assert overall([5, 20], [0, 0])["rmst"] == {"tau": 60.0, "estimate": 60.0, "se": 0.0}


def test_risk_table_counts_risk_and_events_at_the_times_asked() -> None:
    assert overall([5, 10, 10, 40], [1, 1, 0, 1])["risk_table"] == {
        "time": [10.0, 30.0],
        "n_risk": [3, 1],
        "events": [2, 2],
    }


def test_risk_table_takes_round_times_where_none_are_asked() -> None:
    spec = replace(ALONE, options={})
    assert overall([5, 10, 10, 97], [1, 1, 0, 1], spec)["risk_table"]["time"] == [0.0, 20.0, 40.0, 60.0, 80.0]


def test_subgroup_without_rows_is_described_as_nobody() -> None:
    rows = block([5, 9], [1, 0], SPEC, arm=["low", "low"])
    answer = pool_in_process(METHOD, {"CN": [rows]}, SPEC)[0].answer
    assert answer["arm=high"]["n"] == 0
    assert answer["arm=high"]["quantiles"]["log"]["median"] == {"estimate": None, "lower": None, "upper": None}
    assert answer["arm=high"]["rmst"] is None
    assert answer["arm=high"]["at_times"]["surv"] == [None, None]


# --------------------------------------------------------------------------- landmarks


def test_landmark_keeps_those_at_risk_after_it_and_counts_time_from_it() -> None:
    spec = replace(ALONE, options={"landmark": 10.0})
    assert overall([4, 10, 11, 30], [1, 1, 1, 0], spec)["n"] == 2
    assert overall([4, 10, 11, 30], [1, 1, 1, 0], spec)["curve_event_times"]["time"] == [1.0]


def test_landmark_stands_in_the_answer_and_is_no_caveat() -> None:
    spec = replace(ALONE, options={"landmark": 10.0})
    done, _ = pool_in_process(METHOD, {"CN": [block([11, 30], [1, 0], spec)]}, spec)
    assert done.answer["landmark"] == 10.0
    assert done.caveats == ()


@pytest.mark.parametrize("landmark", [10.5, 120.0, 500.0, -3.0])
def test_landmark_off_the_grid_is_refused(landmark: float) -> None:
    with pytest.raises(UsageError) as raised:
        METHOD.scope(replace(ALONE, options={"landmark": landmark}))
    assert raised.value.code == "LANDMARK_OFF_GRID"


# --------------------------------------------------------------------------- countries


BY_COUNTRY = replace(SPEC, roles={**SURVIVAL, "by": refs("arm", "country")})


def test_country_as_a_subgroup_makes_the_scope_by_country() -> None:
    assert METHOD.scope(SPEC) is c.Scope.TOTAL
    assert METHOD.scope(BY_COUNTRY) is c.Scope.BY_COUNTRY


def test_country_sends_its_own_level_only() -> None:
    countries = by_country(trial_rows(1, 200), BY_COUNTRY, METHOD)
    labels = [i.label for i in summarise(METHOD, countries["KR"], BY_COUNTRY, {}).items if i.field == "subgroup_table"]
    assert labels == ["arm", "country=KR"]


def test_subgroup_withheld_in_a_country_leaves_the_others_and_is_said() -> None:
    countries = by_country(trial_rows(1, 200), SPEC, METHOD)
    cleared = []
    for country, blocks in countries.items():
        values = {(i.field, i.label): i.value for i in summarise(METHOD, blocks, SPEC, {}).items}
        withheld = {}
        if country == "TW":
            withheld = {("subgroup_table", "arm"): "FEW_PERSONS"}
            del values["subgroup_table", "arm"]
        cleared.append(c.Cleared(country, values, withheld))
    done = METHOD.pool(c.Contributions(tuple(cleared)), SPEC, {}, {})
    whole = pool_in_process(METHOD, countries, SPEC)[0].answer
    del countries["TW"]
    rest = pool_in_process(METHOD, countries, SPEC)[0].answer
    assert done.answer["overall"] == whole["overall"]
    assert done.answer["arm=high"] == rest["arm=high"]
    assert done.caveats == ("arm: TW withheld (FEW_PERSONS); it covers CN, JP, KR",)


def test_levels_of_a_subgroup_stand_or_fall_together() -> None:
    """All but one level and the overall table give the last level away, so the smallest counts for all."""
    arms = ["low"] * 20 + ["high"] * 2 + ["placebo"] * 30
    rows = block([float(k) for k in range(52)], [1] * 52, SPEC, arm=arms)
    [item] = [i for i in summarise(METHOD, [rows], SPEC, {}).items if i.field == "subgroup_table"]
    assert isinstance(item.support, c.TimeSupport)
    assert item.value.shape == (3, 2, 121)
    assert item.support.persons == 2
    assert item.support.at_risk.max() == 2


def test_table_of_repeated_persons_is_supported_by_persons_and_said() -> None:
    once = block([3.0, 8.0, 8.0], [1, 1, 0])
    twice = split(once, [np.repeat(np.arange(3), 2)])[0]
    summary = summarise(METHOD, [twice], ALONE, {})
    [item] = summary.items
    assert isinstance(item.support, c.TimeSupport)
    assert item.value[1].sum() == 6
    assert item.support.persons == 3
    assert item.support.leavers.tolist() == [1, 2]
    assert item.support.at_risk.tolist() == [3, 2]
    assert summary.notes == {"REPEATED_SUBJECTS"}


# --------------------------------------------------------------------------- restricted means compared


def test_compared_means_stand_in_the_answer() -> None:
    spec = replace(SPEC, options={"tau": 60.0, "compare": ("high", "placebo")})
    answer = pool_in_process(METHOD, by_country(trial_rows(1, 200), spec, METHOD), spec)[0].answer
    assert answer["rmst_difference"] == rmst_difference(answer, "arm", "high", "placebo")
    means = [answer[f"arm={level}"]["rmst"]["estimate"] for level in ("high", "placebo")]
    assert answer["rmst_difference"]["difference"]["estimate"] == pytest.approx(means[0] - means[1], rel=1e-14)


def test_means_of_an_absent_level_compare_to_nothing() -> None:
    spec = replace(SPEC, options={"tau": 60.0, "compare": ("high", "placebo")})
    rows = block([5, 9], [1, 0], spec, arm=["low", "low"])
    assert pool_in_process(METHOD, {"CN": [rows]}, spec)[0].answer["rmst_difference"] is None


def test_difference_without_a_restricted_mean_is_refused() -> None:
    spec = replace(SPEC, options={})
    answer = pool_in_process(METHOD, by_country(trial_rows(1, 200), spec, METHOD), spec)[0].answer
    with pytest.raises(UsageError) as raised:
        rmst_difference(answer, "arm", "high", "placebo")
    assert raised.value.code == "NO_RESTRICTED_MEAN"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"compare": ("high", "nobody"), "tau": 60.0}, "COMPARE_LEVELS"),
        ({"compare": ("high",), "tau": 60.0}, "COMPARE_LEVELS"),
        ({"compare": ("high", "low")}, "TAU_NEEDED"),
        ({"tau": -1.0}, "TAU_NEEDED"),
        ({"times": ("ten",)}, "WRONG_OPTION"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, c.Setting], code: str) -> None:
    with pytest.raises(UsageError) as raised:
        METHOD.scope(replace(SPEC, options=options))
    assert raised.value.code == code
