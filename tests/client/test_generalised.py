"""Generalised linear models as a statistician reads them."""

from __future__ import annotations

import matplotlib
import pytest
from pooling import asked, breast_cancer

from isthmus_client.r_code import r_call
from isthmus_client.results import GlmFit, NegativeBinomialFit
from isthmus_client.results.fit import fit_of

matplotlib.use("Agg")


@pytest.fixture(scope="module")
def logistic() -> GlmFit:
    formula = "status ~ hormon + age + cluster(country)"
    fit = fit_of(asked("glm", formula, drop1=True, robust=True), breast_cancer(), formula)
    assert isinstance(fit, GlmFit)
    return fit


@pytest.fixture(scope="module")
def counted() -> NegativeBinomialFit:
    formula = "nodes ~ hormon + grade"
    fit = fit_of(asked("negative_binomial", formula, drop1=True), breast_cancer(), formula)
    assert isinstance(fit, NegativeBinomialFit)
    return fit


def test_summary_is_laid_out_as_r_prints_it(logistic: GlmFit) -> None:
    text = logistic.text()
    order = [
        "glm(status ~ hormon + age + cluster(country), family = binomial)",
        "Coefficients:",
        "Pr(>|z|)",
        "(Dispersion parameter for binomial family taken to be 1)",
        "    Null deviance: ",
        "Residual deviance: ",
        "AIC: ",
        "Single term deletions:",
        "Robust standard errors (HC3):",
        "Cluster-robust standard errors (CR1, by country, 4 clusters):",
    ]
    places = [text.index(words) for words in order]
    assert places == sorted(places)


def test_ratios_are_exponentials_without_the_intercept(logistic: GlmFit) -> None:
    ratios = logistic.ratios()
    assert list(ratios.index) == ["hormon=1", "age"]
    assert list(ratios.columns) == ["odds ratio", "ci95_lower", "ci95_upper"]
    assert ratios.loc["age", "odds ratio"] == pytest.approx(
        2.718281828459045 ** logistic.table().loc["age", "estimate"]
    )


def test_tables_name_every_block(logistic: GlmFit) -> None:
    assert list(logistic.tables()) == [
        "Coefficients",
        "Odds ratios",
        "Single term deletions",
        *(f"Robust standard errors, {kind}" for kind in ("HC0", "HC1", "HC3", "CR0", "CR1")),
    ]


def test_figure_has_a_row_for_each_coefficient(logistic: GlmFit) -> None:
    figure = logistic.plot.coefficients()
    words = [text.get_text() for axes in figure.axes for text in axes.texts] + [t.get_text() for t in figure.texts]
    assert "hormon=1" in words
    assert "age" in words


def test_differences_have_no_ratio() -> None:
    formula = "age ~ hormon"
    fit = fit_of(asked("glm", formula, family="gaussian"), breast_cancer(), formula)
    assert isinstance(fit, GlmFit)
    assert list(fit.ratios().columns) == ["difference", "ci95_lower", "ci95_upper"]
    assert "Pr(>|t|)" in fit.text()


def test_negative_binomial_summary_tells_theta(counted: NegativeBinomialFit) -> None:
    text = counted.text()
    for words in ("glm.nb(nodes ~ hormon + grade)", "Theta: ", "Std. Err.: ", "2 x log-likelihood: ", "Poisson model"):
        assert words in text
    assert list(counted.tests().index) == ["hormon", "grade"]


def test_r_calls_are_those_that_give_the_same(logistic: GlmFit, counted: NegativeBinomialFit) -> None:
    lines = r_call(logistic.spec)
    assert "glm(status ~ hormon + age, data = pooled, family = binomial" in lines
    assert 'drop1(fit, test = "Chisq")' in lines
    assert 'vcovCL(fit, cluster = ~ country, type = "HC1")' in lines
    assert "glm.nb(nodes ~ hormon + grade, data = pooled" in r_call(counted.spec)


def test_paragraph_says_what_was_fitted(logistic: GlmFit) -> None:
    assert "logistic regression" in logistic.paragraph()
