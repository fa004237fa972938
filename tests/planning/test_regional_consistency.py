"""The ICH E17 probabilities: worked numbers, second formulas, simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, special

from isthmus.errors import UsageError
from isthmus_methods import planning
from isthmus_methods.planning import Probability, Trial
from isthmus_methods.planning.consistency import bivariate_normal

DRAWS = 400_000
SIX_SIGMA = 5.0 * 0.5 / math.sqrt(DRAWS)


@pytest.mark.parametrize(
    ("power", "one", "two", "fraction", "fraction_conditional", "equal", "equal_conditional", "ikeda_bretz"),
    [
        (0.8, (".6774", ".5590", ".6988"), (".7640", ".6657", ".8321"), ".2841", ".2295", ".8496", ".9314", ".2929"),
        # the joint probability of Method 2 is 0.7701520746: tables made by randomised integration print .7701 too
        (0.9, (".7029", ".6432", ".7147"), (".8224", ".7702", ".8557"), ".2243", ".2005", ".9109", ".9500", ".2188"),
    ],
)
def test_worked_numbers(
    power: float,
    one: tuple[str, ...],
    two: tuple[str, ...],
    fraction: str,
    fraction_conditional: str,
    equal: str,
    equal_conditional: str,
    ikeda_bretz: str,
) -> None:
    trial = Trial.powered(power=power)
    assert rounded(planning.method_1(0.1, trial)) == one
    assert rounded(planning.method_2((0.1, 0.45, 0.45), trial)) == two
    assert four(planning.fraction_for_method_1(0.8, trial)) == fraction
    assert four(planning.fraction_for_method_1(0.8, trial, criterion="conditional")) == fraction_conditional
    thirds = planning.method_2([1 / 3] * 3, trial)
    assert (four(thirds.unconditional), four(thirds.conditional)) == (equal, equal_conditional)
    assert four(planning.fraction_for_ikeda_bretz(0.8, trial)) == ikeda_bretz


def test_ten_regions_are_rarely_all_positive() -> None:
    found = [planning.method_2([0.1] * 10, Trial.powered(power=p)).unconditional for p in (0.8, 0.9)]
    assert [f"{100 * p:.1f}" for p in found] == ["12.5", "19.1"]


def test_worked_numbers_of_times_to_an_event() -> None:
    endpoint = planning.log_hazard_ratio(0.6)
    on_log_scale = [four(planning.method_1(f, endpoint.trial(154)).unconditional) for f in (0.1, 0.25, 0.5)]
    assert on_log_scale == [".6988", ".8103", ".9218"]
    assert four(planning.method_1_hazard_ratio(0.3, 0.6, 154).unconditional) == ".8629"
    # the delta method, for comparison: 1 - HR with standard deviation HR sqrt(V)
    by_delta = Trial(1 - 0.6, 0.6**2 * 4 / 154)
    assert f"{planning.method_1(0.3, by_delta).unconditional:.3f}" == "0.901"
    assert endpoint.size(power=0.8) == 121


def four(p: float) -> str:
    return f"{p:.4f}"[1:]


def rounded(p: Probability) -> tuple[str, ...]:
    return four(p.unconditional), four(p.joint), four(p.conditional)


@pytest.mark.parametrize("rho", [-1.0, -0.999, -0.5, 0.0, 0.3, 0.95, 0.99999, 1.0])
@pytest.mark.parametrize("h", [-2.0, -0.0, 0.7, 4.0])
@pytest.mark.parametrize("k", [-3.0, 0.0, 0.7, 2.0])
def test_bivariate_normal_equals_its_integral(h: float, k: float, rho: float) -> None:
    if abs(rho) == 1.0:
        expected = float(special.ndtr(min(h, k))) if rho > 0 else max(0.0, float(special.ndtr(h) - special.ndtr(-k)))
    else:
        # Plackett: the derivative in rho is the density; the angle makes it smooth
        def slope(angle: float) -> float:
            s, c2 = math.sin(angle), math.cos(angle) ** 2
            return math.exp(-(h * h - 2 * h * k * s + k * k) / (2 * c2)) / (2 * math.pi)

        extra, _ = integrate.quad(slope, 0.0, math.asin(rho), epsabs=1e-13, epsrel=1e-12, limit=200)
        expected = float(special.ndtr(h) * special.ndtr(k)) + extra
    assert bivariate_normal(h, k, rho) == pytest.approx(expected, abs=1e-12)


REGIONS = [
    ((0.1, 0.45, 0.45), None),
    ((0.5, 0.3, 0.15, 0.04, 0.01), None),
    ((0.25, 0.25, 0.25, 0.25), (1.0, 0.3, 1.5, -0.2)),
    ((0.7, 0.3), (0.5, 2.0)),
    ((1.0,), None),
]


@pytest.mark.parametrize(("fractions", "relative"), REGIONS)
@pytest.mark.parametrize(
    ("pi", "at_least", "level"),
    [(0.0, 0.0, None), (0.5, 0.0, None), (0.3, -0.2, None), (0.0, 0.4, None), (0.0, -1.0, 0.025), (0.5, -0.5, 0.1)],
)
def test_every_region_agrees_with_simulation(
    fractions: tuple[float, ...],
    relative: tuple[float, ...] | None,
    pi: float,
    at_least: float,
    level: float | None,
) -> None:
    trial = Trial(1.2, 0.15)
    exact = planning.every_region(
        fractions, trial, pi=pi, at_least=at_least, lower_limit_level=level, relative_effects=relative
    )
    f, r = np.array(fractions), np.ones(len(fractions)) if relative is None else np.array(relative)
    sd = np.sqrt(trial.variance / f)
    d = np.random.default_rng(17).normal(r * trial.effect, sd, (DRAWS, len(f)))
    overall = d @ f
    z = 0.0 if level is None else -float(special.ndtri(level))
    met = np.all(d - z * sd >= at_least + pi * overall[:, None] - 1e-12, axis=1)
    significant = overall / math.sqrt(trial.variance) >= 1.959963984540054
    assert float(met.mean()) == pytest.approx(exact.unconditional, abs=SIX_SIGMA)
    assert float((met & significant).mean()) == pytest.approx(exact.joint, abs=SIX_SIGMA)
    assert float(significant.mean()) == pytest.approx(exact.power, abs=SIX_SIGMA)


@pytest.mark.parametrize("f", [1e-4, 0.1, 0.5, 0.93])
@pytest.mark.parametrize("pi", [0.0, 0.3, 0.5])
def test_every_region_of_two_equals_bivariate_normals(f: float, pi: float) -> None:
    """Both fail at once only below zero overall: inclusion and exclusion of Method 1 for each."""
    trial = Trial.powered(power=0.85)
    exact = planning.every_region([f, 1 - f], trial, pi=pi)
    one, other = planning.method_1(f, trial, pi=pi), planning.method_1(1 - f, trial, pi=pi)
    # jointly with a positive overall effect not both can fail
    assert exact.joint == pytest.approx(one.joint + other.joint - exact.power, abs=1e-12)


def test_method_2_unconditional_is_a_product() -> None:
    trial, f = Trial.powered(power=0.9), np.array([0.4, 0.3, 0.2, 0.07, 0.03])
    tables = planning.every_region(f, trial, pi=1e-12).unconditional  # the general way, by integration
    assert tables == pytest.approx(float(special.ndtr(np.sqrt(f) * trial.drift).prod()), abs=1e-10)


@pytest.mark.parametrize("fractions", [[0.1] * 10, [1 / 34] * 34, [0.4, 0.3, 0.1, 0.1, 0.05, 0.03, 0.015, 0.005]])
@pytest.mark.parametrize("pi", [0.0, 0.5])
def test_many_regions_equal_a_fourier_inversion(fractions: list[float], pi: float) -> None:
    """The density of a sum of half-normals from its characteristic function, prod w(t sqrt(f/2)) / 2 (Faddeeva).

    Exponential tilting, an imaginary part of t, keeps the digits where the density is small.
    """
    trial, critical = Trial.powered(power=0.9), 1.959963984540054
    exact = planning.every_region(fractions, trial, pi=pi)
    t, dt = np.linspace(0.0, 1500.0, 150_001, retstep=True)
    tilt = trial.drift if pi == 0.0 else 0.0
    together = np.prod([special.wofz((t - 1j * tilt) * math.sqrt(f / 2)) / 2 for f in fractions], axis=0)
    together[0] /= 2.0
    x, w = np.polynomial.legendre.leggauss(40)
    half = (12.0 - critical) / 2.0
    overall = critical + half * (1 + x)
    s = (1 - pi) * overall
    density = np.array([float((together * np.exp(-1j * t * at)).real.sum()) * dt / math.pi for at in s])
    # given Z = overall the regions are all above pi Z where the tilted sum is (1 - pi) Z
    tilted = density * np.exp(s * s / 2.0 - tilt * s - (overall - trial.drift) ** 2 / 2.0)
    assert exact.joint == pytest.approx(float(tilted @ w) * half, abs=1e-9)


def test_interaction_test_keeps_its_level_and_finds_differences() -> None:
    fractions, trial = (0.2, 0.3, 0.5), Trial(1.2, 0.15)
    uniform = planning.no_interaction(fractions, trial)
    assert uniform.unconditional == pytest.approx(0.9, abs=1e-12)
    assert uniform.conditional == pytest.approx(0.9, abs=1e-12)
    relative = np.array([-1.0, 1.0, 1.5])
    exact = planning.no_interaction(fractions, trial, relative_effects=relative)
    f = np.array(fractions)
    d = np.random.default_rng(3).normal(relative * trial.effect, np.sqrt(trial.variance / f), (DRAWS, 3))
    overall = d @ f
    q = ((d - overall[:, None]) ** 2 * f / trial.variance).sum(axis=1)
    quiet = q < float(special.chdtri(2, 0.1))
    significant = overall / math.sqrt(trial.variance) > 1.959963984540054
    assert float(quiet.mean()) == pytest.approx(exact.unconditional, abs=SIX_SIGMA)
    assert float((quiet & significant).mean()) == pytest.approx(exact.joint, abs=SIX_SIGMA)


@pytest.mark.parametrize("relative", [1.0, 0.0, -0.5, 2.0])
def test_one_region_agrees_with_simulation(relative: float) -> None:
    f, trial = 0.2, Trial(1.2, 0.15)
    sd = np.sqrt(trial.variance / np.array([f, 1 - f]))
    d = np.random.default_rng(8).normal([relative * trial.effect, trial.effect], sd, (DRAWS, 2))
    overall = d @ [f, 1 - f]
    significant = overall / math.sqrt(trial.variance) > 1.959963984540054
    for exact, met in (
        (planning.method_1(f, trial, relative_effect=relative), d[:, 0] > 0.5 * overall),
        (planning.ikeda_bretz(f, trial, relative_effect=relative), d[:, 0] / sd[0] > -float(special.ndtri(0.25))),
    ):
        assert float(met.mean()) == pytest.approx(exact.unconditional, abs=SIX_SIGMA)
        assert float((met & significant).mean()) == pytest.approx(exact.joint, abs=SIX_SIGMA)


@pytest.mark.parametrize(
    ("f", "hr", "events", "pi", "allocation", "region"),
    [(0.3, 0.6, 154, 0.5, 0.5, None), (0.05, 0.8, 300, 0.5, 2 / 3, None), (0.9, 0.5, 60, 0.8, 0.5, 0.9)],
)
def test_hazard_ratio_scale_agrees_with_simulation(
    f: float, hr: float, events: float, pi: float, allocation: float, region: float | None
) -> None:
    exact = planning.method_1_hazard_ratio(f, hr, events, pi=pi, allocation=allocation, region_hazard_ratio=region)
    variance = 1 / (events * allocation * (1 - allocation))
    rng = np.random.default_rng(31)
    a = rng.normal(math.log(region or hr), math.sqrt(variance / f), DRAWS)
    o = f * a + (1 - f) * rng.normal(math.log(hr), math.sqrt(variance / (1 - f)), DRAWS)
    met, significant = 1 - np.exp(a) >= pi * (1 - np.exp(o)), o <= -1.959963984540054 * math.sqrt(variance)
    assert float(met.mean()) == pytest.approx(exact.unconditional, abs=SIX_SIGMA)
    assert float((met & significant).mean()) == pytest.approx(exact.joint, abs=SIX_SIGMA)
    assert float(significant.mean()) == pytest.approx(exact.power, abs=SIX_SIGMA)


def test_hazard_ratio_scale_equals_adaptive_quadrature() -> None:
    f, hr, events, pi = 0.3, 0.6, 154.0, 0.5
    variance = 4 / events

    def outside(a: float) -> float:
        bound = math.log((math.exp(a) - 1 + pi) / pi)
        above = special.ndtr(-(bound - f * a - (1 - f) * math.log(hr)) / math.sqrt((1 - f) * variance))
        return (
            float(above)
            * math.exp(-((a - math.log(hr)) ** 2) * f / variance / 2)
            * math.sqrt(f / variance / (2 * math.pi))
        )

    sure = math.log(1 - pi)
    right, _ = integrate.quad(outside, sure, sure + 3.0, epsabs=1e-13, epsrel=1e-12, limit=500)
    left = float(special.ndtr((sure - math.log(hr)) * math.sqrt(f / variance)))
    assert planning.method_1_hazard_ratio(f, hr, events).unconditional == pytest.approx(left + right, abs=1e-11)


def test_effects_have_the_variances_of_their_estimates() -> None:
    n = 130  # an arm
    assert planning.continuous(0.4, 2.0).trial(2 * n).variance == pytest.approx(2 * 4.0 / n)
    assert planning.risk_difference(0.6, 0.45).trial(2 * n).variance == pytest.approx((0.24 + 0.2475) / n)
    assert planning.log_hazard_ratio(0.6).trial(200).variance == pytest.approx(4 / 200)
    assert planning.log_hazard_ratio(0.6, allocation=2 / 3).trial(200).variance == pytest.approx(9 / 2 / 200)
    # 64 persons an arm find half a standard deviation with 80 %: 63 by the normal distribution
    assert planning.continuous(0.5, 1.0).size(power=0.8) == 126


@pytest.mark.parametrize("criterion", ["unconditional", "joint", "conditional"])
def test_required_fractions_reach_their_target(criterion: planning.consistency.Criterion) -> None:
    trial = Trial.powered(power=0.9)
    f = planning.fraction_for_method_1(0.75, trial, pi=0.6, criterion=criterion)
    assert planning.method_1(f, trial, pi=0.6).by(criterion) == pytest.approx(0.75, abs=1e-10)
    f = planning.fraction_for_method_2(0.8, trial, regions=3, criterion=criterion)
    rest = [(1 - f) / 2] * 2
    assert planning.method_2([f, *rest], trial).by(criterion) == pytest.approx(0.8, abs=1e-10)
    f = planning.fraction_for_ikeda_bretz(0.8, trial, phi=0.1)
    assert planning.ikeda_bretz(f, trial, phi=0.1).unconditional == pytest.approx(0.8, abs=1e-10)


def test_questions_that_make_no_sense_are_refused() -> None:
    trial = Trial.powered(power=0.9)
    endpoint = planning.continuous(1.0, 1.0)
    for ask in (
        lambda: planning.method_1(0.0, trial),
        lambda: planning.method_1(0.2, trial, pi=1.0),
        lambda: planning.method_2([0.5, 0.4], trial),
        lambda: planning.method_2([0.5, 0.5], trial, relative_effects=[1.0]),
        lambda: planning.no_interaction([1.0], trial),
        lambda: planning.ikeda_bretz(1.5, trial),
        lambda: planning.fraction_for_method_1(0.4, trial),
        lambda: planning.fraction_for_method_1(0.9999, Trial(0.5, 1.0)),
        lambda: planning.fraction_for_method_2(0.95, trial, regions=4),
        lambda: planning.fraction_for_method_2(0.95, trial, regions=1),
        lambda: planning.method_1_hazard_ratio(1.0, 0.6, 100),
        lambda: planning.method_1_hazard_ratio(0.3, -0.6, 100),
        lambda: planning.log_hazard_ratio(0.0),
        lambda: planning.risk_difference(1.0, 0.5),
        lambda: planning.continuous(1.0, 1.0, allocation=1.0),
        lambda: planning.continuous(1.0, 0.0),
        lambda: planning.continuous(-1.0, 1.0).size(power=0.9),
        lambda: endpoint.size(power=1.0),
        lambda: endpoint.trial(0),
        lambda: planning.options(endpoint, {"A": 1.0}, "A"),
        lambda: planning.options(endpoint, {"A": 1.0, "B": 1.0}, "C"),
        lambda: planning.options(endpoint, {"A": 1.0, "B": 1.0}, "A", minimum=-1),
    ):
        with pytest.raises(UsageError) as refused:
            ask()
        assert refused.value.code == "BAD_PLAN"
