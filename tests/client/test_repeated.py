"""Ordered and repeated outcomes as a statistician reads them."""

from __future__ import annotations

import pytest
from pooling import asked, breast_cancer

from isthmus_client.r_code import r_call
from isthmus_client.results import GeeFit, OrdinalFit
from isthmus_client.results.fit import fit_of


@pytest.fixture(scope="module")
def ordered() -> OrdinalFit:
    formula = "size ~ hormon + age"
    fit = fit_of(asked("ordinal", formula), breast_cancer(), formula)
    assert isinstance(fit, OrdinalFit)
    return fit


@pytest.fixture(scope="module")
def repeated() -> GeeFit:
    formula = "status ~ hormon + age"
    fit = fit_of(asked("gee", formula, family="binomial"), breast_cancer(), formula)
    assert isinstance(fit, GeeFit)
    return fit


def test_ordinal_summary_has_coefficients_thresholds_and_tests(ordered: OrdinalFit) -> None:
    text = ordered.text()
    assert "clm(size ~ hormon + age)" in text
    assert text.index("Coefficients:") < text.index("Threshold coefficients:") < text.index("Single term deletions:")
    assert "Pr(>|z|)" in text
    assert list(ordered.table().index) == ["hormon=1", "age"]
    assert list(ordered.thresholds().index) == ["<=20|20-50", "20-50|>50"]
    assert list(ordered.tests().index) == ["hormon", "age"]


def test_gee_summary_shows_each_working_correlation(repeated: GeeFit) -> None:
    text = repeated.text()
    for words in ("exchangeable, as geepack::geeglm", "independence, as geepack::geeglm", "exchangeable, as gee::gee"):
        assert words in text
    assert list(repeated.table("geepack_independence").columns) == [
        "estimate",
        "se",
        "z",
        "p",
        "ci95_lower",
        "ci95_upper",
    ]
    assert list(repeated.tables()) == [
        "exchangeable, as geepack::geeglm",
        "independence, as geepack::geeglm",
        "exchangeable, as gee::gee",
    ]


def test_r_call_names_the_person(repeated: GeeFit, ordered: OrdinalFit) -> None:
    assert "geeglm(status ~ hormon + age, id = " in r_call(repeated.spec)
    assert "clm(size ~ hormon + age" in r_call(ordered.spec)
