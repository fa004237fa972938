"""Interactions as a statistician asks for them and sees them."""

from __future__ import annotations

import pytest
from fake_coordinator import FakeCoordinator
from pooling import asked, breast_cancer

from isthmus.errors import UsageError
from isthmus.v1 import analyst_pb2
from isthmus_client.connection import Connection
from isthmus_client.r_code import r_call
from isthmus_client.results import InteractionFit
from isthmus_client.results.fit import fit_of
from isthmus_client.study import Study
from isthmus_methods.codec import spec_from_message

LOGISTIC = "status ~ age + country * hormon"


def fit(formula: str, model: str) -> InteractionFit:
    found = fit_of(asked("interaction", formula, model=model), breast_cancer(), formula)
    assert isinstance(found, InteractionFit)
    return found


def test_tests_effects_and_models_are_tables() -> None:
    found = fit(LOGISTIC, "logistic")
    assert list(found.tests().index) == ["likelihood ratio", "Wald"]
    assert found.tests().loc["Wald", "df"] == 3
    assert found.effects == ("hormon=1",)
    assert list(found.by_country().index.get_level_values("country")) == ["NL", "BE", "DE", "AT"]
    assert "country=AT:hormon=1" in found.table().index
    assert list(found.tables()) == [
        "Tests of the interaction",
        "Effect in each country",
        "Model with the interaction",
        "Model without the interaction",
    ]


def test_text_prints_every_part() -> None:
    text = fit(LOGISTIC, "logistic").text()
    assert f"glm({LOGISTIC}); test of country:hormon" in text
    assert "hormon=1 in each country:" in text
    assert "all, without interaction" in text
    assert "country=AT:hormon=1" in text


def test_linear_model_has_its_f_test() -> None:
    found = fit("nodes ~ age + country * hormon", "linear")
    tests = found.tests()
    assert list(tests.index) == ["likelihood ratio", "Wald", "F"]
    assert tests.loc["F", "df2"] == found.answer["f_test_interaction"]["df2"]  # type: ignore[call-overload,index]
    assert (found.measure, found.is_ratio) == ("difference", False)


def test_forest_has_each_country_and_all() -> None:
    figure = fit(LOGISTIC, "logistic").plot.forest()
    assert len(figure.axes[0].patches) == 1
    assert "odds ratio" in figure.axes[0].get_xlabel()
    texts = {text.get_text() for text in figure.texts}
    assert {"NL", "BE", "DE", "AT", "all, without interaction"} <= texts


def test_interaction_of_two_factors_has_no_forest() -> None:
    found = fit("nodes ~ country + meno * hormon", "linear")
    assert found.effects == ()
    with pytest.raises(UsageError) as caught:
        found.plot.forest()
    assert caught.value.code == "NO_COUNTRIES"


def test_r_code_compares_the_models_and_fits_each_country() -> None:
    code = r_call(fit(LOGISTIC, "logistic").spec)
    assert 'anova(main, full, test = "LRT")' in code
    assert "main <- glm(status ~ age + country + hormon, data = d" in code
    assert "by(d, d$country, function(d)" in code
    assert "summary(glm(status ~ age + hormon, data = d" in code


@pytest.fixture
def study(connection: Connection) -> Study:
    return connection.study("BREAST-RFS")


def test_natural_call_takes_the_model_from_the_formula(fake: FakeCoordinator, study: Study) -> None:
    fake.answer = lambda request: asked("interaction", LOGISTIC, model="logistic")
    study.interaction("Surv(rfstime, status) ~ country * hormon").start()
    study.interaction("nodes ~ country * hormon").start()
    study.interaction(LOGISTIC, model="logistic").start()
    specs = [spec_from_message(r.exploratory.spec, breast_cancer()) for r in fake.requests(analyst_pb2.SubmitRequest)]
    assert [spec.options["model"] for spec in specs] == ["cox", "linear", "logistic"]
