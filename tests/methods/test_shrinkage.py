"""Shrunken effects and qualitative interaction on published data: the eight schools, the BCG trials, Gail and Simon."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, special

from isthmus_methods.parts.countries import shrinkage
from isthmus_methods.parts.countries.qualitative_interaction import critical_value, gail_simon, upper_tail
from isthmus_methods.parts.countries.random_effects import meta_analysis
from isthmus_methods.parts.countries.shrinkage import Posterior, Prior

# Rubin (1981), J. Educ. Stat. 6, 377-401: coaching in eight schools
SCHOOLS = tuple("ABCDEFGH")
Y = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
V = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0]) ** 2
# Colditz et al. (1994), JAMA 271, 698-702: tuberculosis with and without BCG vaccine, 13 trials
BCG = np.array(
    [
        (4, 119, 11, 128), (6, 300, 29, 274), (3, 228, 11, 209), (62, 13536, 248, 12619), (33, 5036, 47, 5761),
        (180, 1361, 372, 1079), (8, 2537, 10, 619), (505, 87886, 499, 87892), (29, 7470, 45, 7232),
        (17, 1699, 65, 1600), (186, 50448, 141, 27197), (5, 2493, 3, 2338), (27, 16886, 29, 17825),
    ],
    dtype=float,
)  # fmt: skip


def bcg() -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Log risk ratios and their variances."""
    a, b, c, d = BCG.T
    y = np.log(a / (a + b)) - np.log(c / (c + d))
    return tuple(str(k + 1) for k in range(13)), y, 1 / a - 1 / (a + b) + 1 / c - 1 / (c + d)


def test_eight_schools_on_the_published_grid() -> None:
    taus = np.arange(0.001, 60.0, 0.01)
    answer = Posterior.of(Y, V, Prior("flat", taus, np.ones(len(taus)))).answer(SCHOOLS, 0.5)
    assert f"{answer['mu']['mean']:.3f}" == "7.932"
    assert f"{answer['tau']['mean']:.3f}" == "6.564"
    theta = [f"{answer['regions'][name]['mean']:.3f}" for name in SCHOOLS]
    assert theta == ["11.397", "7.894", "6.133", "7.645", "5.128", "6.140", "10.665", "8.456"]


@pytest.mark.parametrize("scale", [0.5, 5.0, 50.0])
@pytest.mark.parametrize("kind", ["half-normal", "flat"])
def test_grid_is_as_good_as_adaptive_quadrature(scale: float, kind: str) -> None:
    prior = shrinkage.half_normal(scale, V) if kind == "half-normal" else shrinkage.flat(scale, V)
    answer = Posterior.of(Y, V, prior).answer(SCHOOLS, 0.5)

    def density(tau: float) -> float:
        w = 1 / (V + tau**2)
        mu = w @ Y / w.sum()
        own = math.exp(-((tau / scale) ** 2) / 2) if kind == "half-normal" else 1.0
        return own * math.sqrt(np.prod(w * 200) / (w.sum() * 200)) * math.exp(-float(w @ (Y - mu) ** 2) / 2)

    def theta(tau: float) -> float:
        w = 1 / (V + tau**2)
        b = V[0] * w[0]
        return float(b * (w @ Y) / w.sum() + (1 - b) * Y[0])

    upper = 9 * scale if kind == "half-normal" else scale
    total, tau, first = (
        integrate.quad(f, 0.0, upper, epsabs=0, epsrel=1e-12, limit=400)[0]
        for f in (density, lambda t: density(t) * t, lambda t: density(t) * theta(t))
    )
    assert answer["tau"]["mean"] == pytest.approx(tau / total, rel=1e-9)
    assert answer["regions"]["A"]["mean"] == pytest.approx(first / total, rel=1e-9)


def test_small_variances_need_no_other_grid() -> None:
    """The same numbers a millionfold smaller, prior and all, give the same answer a millionfold smaller."""
    small = Posterior.of(Y * 1e-6, V * 1e-12, shrinkage.half_normal(5e-6, V * 1e-12)).answer(SCHOOLS, 0.5)
    large = Posterior.of(Y, V, shrinkage.half_normal(5.0, V)).answer(SCHOOLS, 0.5)
    assert small["mu"]["ci95_upper"] == pytest.approx(large["mu"]["ci95_upper"] * 1e-6, rel=1e-9)
    assert small["regions"]["C"]["p_benefit"] == pytest.approx(large["regions"]["C"]["p_benefit"], rel=1e-9)


def test_turning_the_sign_turns_the_answer() -> None:
    prior = shrinkage.half_normal(5.0, V)
    up = Posterior.of(Y, V, prior).answer(SCHOOLS, 0.4)
    down = Posterior.of(-Y, V, prior).answer(SCHOOLS, 0.4, benefit=-1.0)
    for name in SCHOOLS:
        a, b = up["regions"][name], down["regions"][name]
        assert (a["p_benefit"], a["p_keeps_pi"]) == pytest.approx((b["p_benefit"], b["p_keeps_pi"]), rel=1e-12)
        assert a["ci95_lower"] == pytest.approx(-b["ci95_upper"], rel=1e-9)


def test_posterior_limits_hold_95_percent_by_sampling() -> None:
    posterior = Posterior.of(Y, V, shrinkage.half_normal(5.0, V))
    answer = posterior.answer(SCHOOLS, 0.5)
    rng = np.random.default_rng(12)
    at = rng.choice(len(posterior.weights), 200_000, p=posterior.weights)
    mu = rng.normal(posterior.mu[at], np.sqrt(posterior.mu_variance[at]))
    b = posterior.shrinkages()[at, 0]
    theta = rng.normal(b * mu + (1 - b) * Y[0], np.sqrt((1 - b) * V[0]))
    school = answer["regions"]["A"]
    assert float((theta < school["ci95_lower"]).mean()) == pytest.approx(0.025, abs=0.002)
    assert float((theta > school["ci95_upper"]).mean()) == pytest.approx(0.025, abs=0.002)
    assert float((theta > 0.5 * mu).mean()) == pytest.approx(school["p_keeps_pi"], abs=0.005)


def test_bcg_trials_as_published() -> None:
    names, y, v = bcg()
    answer = meta_analysis(names, y, v)
    assert f"{answer['Q']['statistic']:.3f}" == "152.233"
    assert f"{answer['I2_percent_from_Q']:.2f}" == "92.12"
    printed = {"DL": ("0.3088", "-0.7141", "0.1787"), "REML": ("0.3132", "-0.7145", "0.1798")}
    for model, expected in printed.items():
        found = answer[model]
        assert tuple(f"{found[key]:.4f}" for key in ("tau2", "estimate", "se")) == expected
    assert tuple(f"{answer['fixed'][key]:.4f}" for key in ("estimate", "se")) == ("-0.4303", "0.0405")


def test_empirical_bayes_equals_metafor_on_the_bcg_trials() -> None:
    names, y, v = bcg()
    answer = shrinkage.empirical_bayes(names, y, v, "DL")
    # metafor 3.8-1: blup(rma(yi, vi, method = "DL"))
    theirs = {
        "1": (-0.799390973185865161, 0.40852317435530733),
        "4": (-1.397277187359840411, 0.13751547182167007),
        "8": (0.002754440276730503, 0.06258211322677931),
        "12": (-0.288364470900309755, 0.45633351497654839),
    }
    for name, (estimate, se) in theirs.items():
        found = answer["regions"][name]
        assert (found["estimate"], found["se"]) == pytest.approx((estimate, se), rel=1e-9)


def test_james_stein_shrinks_by_its_rule() -> None:
    names, y, v = bcg()
    answer = shrinkage.james_stein(names, y, v)
    assert answer["shrinkage"] == pytest.approx(10 / 152.2330080823733, rel=1e-12)
    mu = answer["mu"]
    assert answer["regions"]["1"] == pytest.approx(mu + (1 - 10 / 152.2330080823733) * (y[0] - mu), rel=1e-12)
    # the schools differ less than chance: everything goes to the mean, and never beyond it
    schools = shrinkage.james_stein(SCHOOLS, Y, V)
    assert schools["shrinkage"] == 1.0
    assert set(schools["regions"].values()) == {schools["mu"]}
    assert shrinkage.james_stein(SCHOOLS[:3], Y[:3], V[:3]) is None
    assert shrinkage.james_stein(SCHOOLS[:4], np.ones(4), V[:4])["regions"]["A"] == 1.0


@pytest.mark.parametrize(
    ("regions", "printed"),
    # Gail & Simon (1985), table 1
    list(zip(range(2, 9), ["2.71", "4.23", "5.43", "6.50", "7.48", "8.41", "9.29"], strict=True)),
)
def test_critical_values_of_qualitative_interaction(regions: int, printed: str) -> None:
    assert f"{critical_value(0.05, regions):.2f}" == printed
    assert upper_tail(critical_value(0.05, regions), regions) == pytest.approx(0.05, abs=1e-12)


def test_qualitative_interaction_keeps_its_level_by_simulation() -> None:
    # the least favourable effects: one of five far from zero, the others zero
    z = np.random.default_rng(4).normal([9.0, 0.0, 0.0, 0.0, 0.0], size=(400_000, 5))
    above, below = (np.where(side, z**2, 0.0).sum(axis=1) for side in (z > 0, z < 0))
    q = np.minimum(above, below)
    assert float((q > critical_value(0.05, 5)).mean()) == pytest.approx(0.05, abs=0.002)


def test_qualitative_interaction_of_two_sides() -> None:
    answer = gail_simon(np.array([2.0, 1.0, -1.5]), np.array([1.0, 0.25, 0.5]))
    assert (answer["Q_plus"], answer["Q_minus"], answer["Q"]) == (8.0, 4.5, 4.5)
    assert answer["p"] == pytest.approx(0.5 * special.chdtrc(1, 4.5) + 0.25 * special.chdtrc(2, 4.5), rel=1e-12)
    one_way = gail_simon(np.array([2.0, 1.0, 0.5]), np.ones(3))
    assert (one_way["Q"], one_way["p"]) == (0.0, 0.75)
    alone = gail_simon(np.array([2.0]), np.ones(1))
    assert (alone["p"], alone["critical_value_5_percent"]) == (None, None)
