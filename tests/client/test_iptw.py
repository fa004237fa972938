"""Inverse probability weighting as a statistician reads it."""

from __future__ import annotations

import pytest
from pooling import breast_cancer, pooled

from isthmus_client.formula import Dictionary
from isthmus_client.r_code import r_call
from isthmus_client.requests import request
from isthmus_client.results import IptwFit
from isthmus_client.results.fit import fit_of


@pytest.fixture(scope="module")
def weighted() -> IptwFit:
    formula = "Surv(rfstime, status) ~ age + grade + country"
    study = breast_cancer()
    spec = request(
        "iptw",
        Dictionary.of(study.datasets[0]),
        formula=formula,
        roles={"treatment": "hormon"},
        options={"times": [365.0, 1000.0], "tau": 1000.0},
    )
    fit = fit_of(pooled(spec, study), study, formula)
    assert isinstance(fit, IptwFit)
    return fit


def test_summary_shows_model_balance_weights_ratios_and_curves(weighted: IptwFit) -> None:
    text = weighted.text()
    order = [
        "Propensity model:",
        "Standardised mean differences:",
        "Weights:",
        "Hazard ratios, Efron's ties:",
        "Hazard ratios, Breslow's ties:",
        "Weighted survival:",
    ]
    places = [text.index(words) for words in order]
    assert places == sorted(places)


def test_weighting_brings_the_arms_together(weighted: IptwFit) -> None:
    balance = weighted.balance()
    assert list(balance.columns) == ["before", "after, ate", "after, stabilised"]
    assert abs(balance.loc["age", "after, stabilised"]) < abs(balance.loc["age", "before"])


def test_tables_have_a_row_for_each_weighting(weighted: IptwFit) -> None:
    assert list(weighted.table().index) == ["unweighted", "weighted (ATE)", "weighted (ATE, stabilised)"]
    assert len(weighted.weights()) == 6
    assert list(weighted.tables())[-1] == "Weighted survival"


def test_love_plot_has_a_line_for_each_covariate(weighted: IptwFit) -> None:
    figure = weighted.plot.love(title="Balance")
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert sorted(labels) == sorted(weighted.balance().index)
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == [
        "before",
        "after, ate",
        "after, stabilised",
    ]


def test_r_call_makes_the_weights(weighted: IptwFit) -> None:
    lines = r_call(weighted.spec)
    assert "glm(a ~ age + grade + country, data = d, family = binomial)" in lines
    assert "coxph(Surv(rfstime, status) ~ a + strata(country), data = d, weights = w, robust = TRUE)" in lines


def test_paragraph_says_how_rows_were_weighted(weighted: IptwFit) -> None:
    assert "inverse probability" in weighted.paragraph()
