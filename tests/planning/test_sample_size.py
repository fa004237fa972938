"""Sizes by region: each option keeps its promise, and no region falls below what it was given."""

from __future__ import annotations

import itertools

import pytest

from isthmus_methods import planning

SHARES = {"EastAsia": 0.15, "Europe": 0.4, "NorthAmerica": 0.35, "Other": 0.1}


def by_way(**settings: object) -> dict[str, planning.Option]:
    endpoint = planning.log_hazard_ratio(0.7)
    return {o.way: o for o in planning.options(endpoint, SHARES, "EastAsia", **settings)}  # type: ignore[arg-type]


def test_every_option_has_the_power_asked_for() -> None:
    for option in by_way(power=0.9, minimum=50).values():
        assert option.power >= 0.9
        assert option.total == sum(option.sizes.values())
        assert sum(option.fractions.values()) == pytest.approx(1.0)


def test_proportional_follows_the_shares_and_equal_has_no_favourite() -> None:
    found = by_way()
    assert all(abs(found["proportional"].fractions[name] - share) < 0.01 for name, share in SHARES.items())
    assert len(set(found["equal"].sizes.values())) == 1


def test_preservation_of_effect_reaches_its_assurance() -> None:
    option = by_way(assurance=0.85)["preservation of effect"]
    assert option.method_1.unconditional >= 0.85
    # the others keep their proportions
    assert option.sizes["Europe"] / option.sizes["NorthAmerica"] == pytest.approx(0.4 / 0.35, rel=0.02)


def test_preservation_of_effect_never_takes_persons_from_its_region() -> None:
    option = next(
        o
        for o in planning.options(planning.continuous(0.5, 1.0), {"A": 0.8, "B": 0.2}, "A")
        if o.way == "preservation of effect"
    )
    assert option.fractions["A"] == pytest.approx(0.8, abs=0.02)


def test_local_significance_has_its_own_power_and_room_for_the_others() -> None:
    option = by_way(local_power=0.8, minimum=30)["local significance"]
    assert option.local_power >= 0.8
    assert min(option.sizes.values()) >= 30
    # 247 events of 330: the others are proportional where nothing binds
    assert option.sizes["EastAsia"] == planning.log_hazard_ratio(0.7).size(power=0.8)


@pytest.mark.parametrize("minimum", [1, 40, 60, 200])
def test_fixed_minimum_holds_everywhere(minimum: int) -> None:
    option = by_way(minimum=minimum)["fixed minimum"]
    assert min(option.sizes.values()) >= minimum
    assert option.total <= max(330, 4 * minimum) + len(SHARES)


def test_no_minimum_no_such_option() -> None:
    assert set(by_way()) == {"proportional", "equal", "preservation of effect", "local significance"}


def test_rows_make_a_table() -> None:
    rows = [option.row() for option in by_way(minimum=20).values()]
    assert len({tuple(row) for row in rows}) == 1
    assert rows[0]["n Europe"] > rows[0]["n Other"]


def test_curves_pass_through_the_probabilities() -> None:
    trial = planning.Trial.powered(power=0.8)
    points = planning.fraction_curve(trial)
    assert [p.fraction for p in points][:2] == [0.01, 0.02]
    assert points[9].method_1 == planning.method_1(0.1, trial)
    assert all(a.method_1.unconditional < b.method_1.unconditional for a, b in itertools.pairwise(points))
    endpoint = planning.log_hazard_ratio(0.6)
    (point,) = planning.size_curve(endpoint, [154], [0.25])
    assert point.power == endpoint.trial(154).power()
    assert point.method_1 == (planning.method_1(0.25, endpoint.trial(154)),)
