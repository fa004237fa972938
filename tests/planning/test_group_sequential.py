"""Group-sequential designs against R's recursion, known tables, simulation and closed forms."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import special, stats

from isthmus.errors import UsageError
from isthmus_methods import planning
from isthmus_methods.planning import OBRIEN_FLEMING, POCOCK, Spending, hwang_shih_decani

CASE = Path(__file__).parents[1] / "reference" / "p27_gsd_bounds"
SPENDINGS = (OBRIEN_FLEMING, POCOCK, hwang_shih_decani(-4.0))
STEPS = json.loads((CASE / "case.json").read_text(encoding="utf-8"))["plan"]


@pytest.mark.parametrize("spending", SPENDINGS, ids=lambda s: s.name)
@pytest.mark.parametrize("step", STEPS, ids=lambda s: s["at"][0])
def test_bounds_equal_r(step: dict, spending: Spending) -> None:
    expected = json.loads((CASE / "expected.json").read_text(encoding="utf-8"))[step["at"][0]][spending.name]
    plan = planning.design(step["information_fractions"], alpha=step["alpha"], sides=step["sides"], spending=spending)
    for key in planning.Look.__slots__:
        ours = [getattr(look, key) for look in plan.looks]
        if key == "z_symmetric_two_sided_joint" and step["sides"] == 1:
            assert ours == [None] * len(ours)
        else:
            theirs = expected[key]
            # R took 1 - Phi(x) for small tails, which keeps 10 digits of 5e-7
            assert ours == pytest.approx(theirs, rel=1e-9, abs=0.0), key


def test_one_look_is_the_fixed_design() -> None:
    plan = planning.design([1.0], alpha=0.05, sides=2)
    assert plan.upper == pytest.approx([1.959963984540054], abs=1e-12)
    assert planning.inflation_factor(planning.design([1.0]), 0.9) == pytest.approx(1.0, abs=1e-10)


@pytest.mark.parametrize(
    ("looks", "constant"),
    # Jennison & Turnbull (2000), table 2.1: Pocock's constants, alpha 0.05 two-sided, equal spacing
    [(2, 2.178), (3, 2.289), (5, 2.413), (10, 2.555), (20, 2.672)],
)
def test_constant_bounds_have_the_level_of_published_tables(looks: int, constant: float) -> None:
    t = np.arange(1, looks + 1) / looks
    bounds = np.full(looks, constant)
    crossed = planning.crossing(t, bounds, -bounds)
    # the constants are given to three decimals
    assert sum(crossed.upper) + sum(crossed.lower) == pytest.approx(0.05, abs=1e-4)


def test_two_looks_equal_the_bivariate_normal() -> None:
    z1, z2, t = 2.5, 2.0, 0.37
    second = planning.crossing([t, 1.0], [z1, z2]).upper[1]
    both = planning.consistency.bivariate_normal(z1, z2, math.sqrt(t))
    assert second == pytest.approx(float(special.ndtr(z1)) - both, abs=1e-13)


@pytest.mark.parametrize("drift", [0.0, 1.3, -2.0, 3.24, 8.0])
def test_bounds_given_to_any_drift_agree_with_simulation(drift: float) -> None:
    t = np.array([0.2, 0.21, 0.6, 1.0])
    upper, lower = np.array([2.8, 2.7, 2.4, 2.0]), np.array([-1.0, -0.5, 0.3, 1.9])
    exact = planning.crossing(t, upper, lower, drift=drift)
    rng = np.random.default_rng(27)
    number = 400_000
    steps = np.diff(t, prepend=0.0)
    z = np.cumsum(rng.normal(drift * steps, np.sqrt(steps), (number, len(t))), axis=1) / np.sqrt(t)
    running = np.ones(number, dtype=bool)
    for k in range(len(t)):
        for chances, out in ((exact.upper, z[:, k] > upper[k]), (exact.lower, z[:, k] < lower[k])):
            share = float((running & out).mean())
            assert share == pytest.approx(chances[k], abs=4.5 * math.sqrt(0.25 / number))
        running &= (z[:, k] <= upper[k]) & (z[:, k] >= lower[k])


@pytest.mark.parametrize("sides", [1, 2])
@pytest.mark.parametrize("spending", [*SPENDINGS, hwang_shih_decani(0.0), hwang_shih_decani(1.0)], ids=lambda s: s.name)
def test_crossing_of_the_bounds_spends_what_the_function_says(spending: Spending, sides: int) -> None:
    fractions = [0.13, 0.1301, 0.3, 0.31, 0.5, 0.7, 0.71, 0.9, 0.999, 0.9999, 1.0]
    plan = planning.design(fractions, alpha=0.05, sides=sides, spending=spending)
    crossed = planning.power(plan, 0.0)
    assert crossed.upper == pytest.approx([look.incremental_alpha for look in plan.looks], rel=1e-9, abs=1e-16)
    if sides == 2:
        assert crossed.lower == pytest.approx(crossed.upper, rel=1e-9, abs=1e-16)


def test_bounds_do_not_depend_on_how_finely_they_are_integrated() -> None:
    """Against plain quadrature on a fine grid: trapezoids are exact for what ends smoothly at both sides."""
    plan = planning.design([0.5, 0.75, 1.0], spending=POCOCK)
    t, upper = plan.fractions, plan.upper
    mass = 0.0
    x1, h1 = np.linspace(-9.0, upper[0], 6001, retstep=True)
    w1 = _simpson(6001, h1)
    g1 = stats.norm.pdf(x1) * w1
    x2, h2 = np.linspace(-9.0, upper[1], 2001, retstep=True)
    w2 = _simpson(2001, h2)
    sd = math.sqrt((t[1] - t[0]) / t[1])
    g2 = (stats.norm.pdf(x2[:, None], x1[None, :] * math.sqrt(t[0] / t[1]), sd) @ g1) * w2
    last = (upper[2] * math.sqrt(t[2]) - x2 * math.sqrt(t[1])) / math.sqrt(t[2] - t[1])
    mass = float(special.ndtr(-last) @ g2)
    assert mass == pytest.approx(plan.looks[2].incremental_alpha, abs=1e-12)


def _simpson(n: int, h: float) -> np.ndarray:
    w = np.full(n, 2.0)
    w[1::2] = 4.0
    w[[0, -1]] = 1.0
    return w * h / 3.0


def test_any_looks_have_bounds_that_spend_alpha_and_a_drift_with_the_power_asked_for() -> None:
    rng = np.random.default_rng(1)
    for k in range(12):
        fractions = np.sort(rng.uniform(0.05, 1.0, int(rng.integers(1, 12))))
        sides = int(rng.integers(1, 3))
        plan = planning.design(fractions, alpha=rng.uniform(0.001, 0.2), sides=sides, spending=SPENDINGS[k % 3])
        crossed = planning.power(plan, 0.0)
        assert crossed.upper == pytest.approx([look.incremental_alpha for look in plan.looks], rel=1e-9, abs=1e-16)
        drift = planning.drift_for_power(plan, 0.9)
        assert planning.power(plan, drift).power == pytest.approx(0.9, abs=1e-9)


def test_fifty_looks_and_looks_without_bounds() -> None:
    plan = planning.design(np.arange(1, 51) / 50, alpha=0.01)
    assert sum(planning.power(plan, 0.0).upper) == pytest.approx(0.01, abs=1e-14)
    crossed = planning.crossing([0.3, 0.6, 1.0], [np.inf, np.inf, 1.959963984540054])
    assert crossed.upper == (0.0, 0.0, pytest.approx(0.025, abs=1e-14))


def test_design_that_ends_early_needs_the_information_of_its_end() -> None:
    early = planning.design([0.25, 0.5], spending=POCOCK)
    assert early.fractions[-1] == 0.5
    drift = planning.drift_for_power(early, 0.9)
    fixed = float(special.ndtri(0.9)) + float(special.ndtri(1 - early.looks[-1].cumulative_alpha_spent_one_sided))
    assert drift * math.sqrt(0.5) == pytest.approx(fixed, rel=0.1)
    assert planning.inflation_factor(early, 0.9) == pytest.approx(0.5 * (drift / 3.2415155) ** 2, rel=1e-6)


def test_power_and_expected_information_follow_the_drift() -> None:
    plan = planning.design([0.5, 0.75, 1.0])
    drift = planning.drift_for_power(plan, 0.9)
    under = planning.power(plan, drift)
    assert under.power == pytest.approx(0.9, abs=1e-10)
    # stopping for efficacy costs little and saves much
    assert 1.0 < planning.inflation_factor(plan, 0.9) < 1.03
    stop = np.array(under.upper)
    assert under.expected_information == pytest.approx(float(stop @ plan.fractions) + 1.0 - stop.sum(), abs=1e-12)
    assert under.expected_information < planning.power(plan, 0.0).expected_information < 1.0


def test_conditional_power_before_the_last_look_is_the_closed_form() -> None:
    plan = planning.design([0.6, 1.0])
    t, z, c = 0.6, 1.4, plan.upper[1]
    for drift, theta in ((3.0, 3.0), (None, z / math.sqrt(t)), (0.0, 0.0)):
        expected = float(special.ndtr((z * math.sqrt(t) + theta * (1 - t) - c) / math.sqrt(1 - t)))
        assert planning.conditional_power(plan, 1, z, drift=drift) == pytest.approx(expected, abs=1e-12)


def test_predictive_power_before_the_last_look_is_the_closed_form() -> None:
    plan = planning.design([0.6, 1.0])
    t, z, c = 0.6, 1.4, plan.upper[1]
    assert planning.predictive_power(plan, 1, z) == pytest.approx(
        float(special.ndtr((z - c * math.sqrt(t)) / math.sqrt(1 - t))), abs=1e-12
    )
    # a prior worth a quarter of the trial at a drift of 3: B(1) is normal still
    mean = (z * math.sqrt(t) + 0.25 * 3.0) / (t + 0.25)
    centre, variance = z * math.sqrt(t) + (1 - t) * mean, (1 - t) + (1 - t) ** 2 / (t + 0.25)
    assert planning.predictive_power(plan, 1, z, prior_drift=3.0, prior_information=0.25) == pytest.approx(
        float(special.ndtr((centre - c) / math.sqrt(variance))), abs=1e-12
    )


def test_conditional_and_predictive_power_with_looks_to_come_agree_with_simulation() -> None:
    plan = planning.design([0.3, 0.6, 0.8, 1.0], alpha=0.05, sides=2, spending=POCOCK)
    z, number = 1.1, 400_000
    rng = np.random.default_rng(5)
    t, upper = plan.fractions, plan.upper
    for drifts, exact in (
        (np.full(number, 2.5), planning.conditional_power(plan, 1, z, drift=2.5)),
        (rng.normal(z / math.sqrt(t[0]), 1 / math.sqrt(t[0]), number), planning.predictive_power(plan, 1, z)),
    ):
        steps = np.diff(t)
        path = rng.normal(drifts[:, None] * steps, np.sqrt(steps), (number, 3))
        later = (z * math.sqrt(t[0]) + np.cumsum(path, axis=1)) / np.sqrt(t[1:])
        running, crossed = np.ones(number, dtype=bool), np.zeros(number, dtype=bool)
        for k in range(3):
            crossed |= running & (later[:, k] > upper[k + 1])
            running &= np.abs(later[:, k]) < upper[k + 1]
        assert float(crossed.mean()) == pytest.approx(exact, abs=4.5 * math.sqrt(0.25 / number))


def test_spending_functions_end_at_alpha_and_rise() -> None:
    t = np.linspace(0.05, 1.0, 20)
    for spending in (*SPENDINGS, hwang_shih_decani(0.0), hwang_shih_decani(2.0), planning.power_family(3.0)):
        spent = spending.spent(t, 0.025)
        assert spent[-1] == pytest.approx(0.025, rel=1e-12)
        assert np.all(np.diff(spent) > 0)


@pytest.mark.parametrize(
    ("fractions", "settings"),
    [
        ([], {}),
        ([0.5, 0.5, 1.0], {}),
        ([0.5, 1.5], {}),
        ([0.0, 1.0], {}),
        ([0.5, 1.0], {"alpha": 0.0}),
        ([0.5, 1.0], {"alpha": 0.7}),
        ([0.5, 1.0], {"sides": 3}),
        ([1e-4, 1.0], {}),
    ],
)
def test_designs_that_make_no_sense_are_refused(fractions: list[float], settings: dict) -> None:
    with pytest.raises(UsageError) as refused:
        planning.design(fractions, **settings)
    assert refused.value.code == "BAD_DESIGN"


def test_questions_that_make_no_sense_are_refused() -> None:
    plan = planning.design([0.5, 1.0])
    for ask in (
        lambda: planning.conditional_power(plan, 2, 1.0),
        lambda: planning.predictive_power(plan, 1, 1.0, prior_information=-1.0),
        lambda: planning.drift_for_power(plan, 1.0),
        lambda: planning.crossing([0.5, 1.0], [2.0]),
        lambda: planning.crossing([0.5, 1.0], [2.0, 1.0], [0.0, 1.5]),
        lambda: planning.power_family(0.0),
    ):
        with pytest.raises(UsageError) as refused:
            ask()
        assert refused.value.code == "BAD_DESIGN"
