"""Families of generalised linear models: what they are derivatives of, and scipy's densities."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from isthmus.errors import UsageError
from isthmus_methods.parts.regression.glm_family import FAMILIES, Family, family_of

EVERY = [pytest.param(family, id=family.name) for family in FAMILIES.values()]
every_family = pytest.mark.parametrize("family", EVERY)


def outcomes(family: Family) -> np.ndarray:
    return {
        "binomial": np.array([0.0, 1.0, 1.0, 0.0, 1.0]),
        "poisson": np.array([0.0, 1.0, 7.0, 2.0, 40.0]),
        "quasipoisson": np.array([0.0, 1.5, 7.0, 2.0, 40.0]),
        "gamma": np.array([0.01, 1.5, 7.0, 2.0, 40.0]),
        "gaussian": np.array([-3.0, 1.5, 7.0, 0.0, 40.0]),
    }[family.name]


ETA = np.array([-1.3, 0.2, 2.1, 0.0, 3.4])


@every_family
def test_score_is_minus_half_the_slope_of_the_deviance(family: Family) -> None:
    y, step = outcomes(family), 1e-5
    slope = (family.deviance(y, ETA + step) - family.deviance(y, ETA - step)) / (2 * step)
    np.testing.assert_allclose(family.score(y, ETA), -slope / 2, rtol=1e-7, atol=1e-9)


@every_family
def test_curvature_is_minus_the_slope_of_the_score_and_weights_its_mean(family: Family) -> None:
    y, step = outcomes(family), 1e-5
    slope = (family.score(y, ETA + step) - family.score(y, ETA - step)) / (2 * step)
    np.testing.assert_allclose(family.curvature(y, ETA), -slope, rtol=1e-7)
    np.testing.assert_allclose(family.curvature(family.mean(ETA), ETA), family.weights(ETA), rtol=1e-14)


VARIANCE = {
    "binomial": lambda mean: mean * (1.0 - mean),
    "poisson": lambda mean: mean,
    "quasipoisson": lambda mean: mean,
    "gamma": lambda mean: mean**2,
    "gaussian": np.ones_like,
}


@every_family
def test_pearson_residual_is_the_distance_over_the_variance(family: Family) -> None:
    y, mean = outcomes(family), family.mean(ETA)
    np.testing.assert_allclose(family.pearson(y, ETA), (y - mean) ** 2 / VARIANCE[family.name](mean), rtol=1e-12)


def test_pearson_residual_of_a_fitted_0_or_1_does_not_cancel() -> None:
    """One row whose fitted probability is 1 to the last digit must not make a country's sum infinite."""
    y, eta = np.array([1.0, 0.0, 1.0, 0.0]), np.array([40.0, -40.0, 800.0, -800.0])
    np.testing.assert_allclose(family_of("binomial").pearson(y, eta), [np.exp(-40), np.exp(-40), 0.0, 0.0], rtol=1e-12)


@every_family
def test_deviance_is_zero_where_the_mean_is_the_outcome(family: Family) -> None:
    y = np.array([1.0])
    eta = np.array([60.0 if family.name == "binomial" else 1.0 if family.link == "identity" else 0.0])
    np.testing.assert_allclose(family.deviance(y, eta), 0.0, atol=1e-15)


@pytest.mark.parametrize("name", ["binomial", "poisson", "gamma", "gaussian"])
def test_loglik_is_the_sum_of_log_densities(name: str) -> None:
    family = family_of(name)
    y, mean, rows = outcomes(family), family.mean(ETA), len(ETA)
    deviance = float(family.deviance(y, ETA).sum())
    if name == "gamma":  # R's shape: rows over deviance
        shape = rows / deviance
        # at the maximum the ratios add up to the number of rows: without that the closed form does not hold
        y = y * rows / float((y / mean).sum())
        deviance = float(family.deviance(y, ETA).sum())
        shape = rows / deviance
        expected = stats.gamma.logpdf(y, shape, scale=mean / shape).sum()
    else:
        expected = {
            "binomial": lambda: stats.bernoulli.logpmf(y, mean).sum(),
            "poisson": lambda: stats.poisson.logpmf(y, mean).sum(),
            "gaussian": lambda: stats.norm.logpdf(y, mean, np.sqrt(deviance / rows)).sum(),
        }[name]()
    assert family.loglik(deviance, float(family.saturated(y).sum()), rows) == pytest.approx(expected, rel=1e-12)


@every_family
def test_start_lies_where_the_model_can_begin(family: Family) -> None:
    y = outcomes(family)
    eta = family.start(y)
    assert np.all(np.isfinite(family.score(y, eta)))
    assert np.all(family.weights(eta) > 0)


@pytest.mark.parametrize("name", ["binomial", "poisson", "gamma"])
def test_extreme_predictors_overflow_in_silence(name: str) -> None:
    family = family_of(name)
    y, eta = np.array([1.0, 1.0]), np.array([-2000.0, 2000.0])
    assert not np.any(np.isnan(family.deviance(y, eta)))
    assert not np.any(np.isnan(family.score(y, eta)))


def test_logistic_tails_do_not_cancel() -> None:
    family = family_of("binomial")
    np.testing.assert_allclose(family.score(np.array([1.0]), np.array([40.0])), np.exp(-40.0), rtol=1e-12)
    np.testing.assert_allclose(family.deviance(np.array([1.0]), np.array([40.0])), 2 * np.exp(-40.0), rtol=1e-12)


@pytest.mark.parametrize(("name", "link"), [("binomial", "probit"), ("weibull", "")])
def test_unknown_family_is_refused(name: str, link: str) -> None:
    with pytest.raises(UsageError) as caught:
        family_of(name, link)
    assert caught.value.code == "WRONG_OPTION"
