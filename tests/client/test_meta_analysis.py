"""Meta-analyses of other estimates than hazard ratios, as a statistician asks for them and sees them."""

from __future__ import annotations

import io
import math
from pathlib import Path

import pytest
from fake_coordinator import FakeCoordinator
from pooling import asked, breast_cancer
from rich.console import Console

from isthmus.errors import UsageError
from isthmus.v1 import analyst_pb2
from isthmus_client.connection import Connection
from isthmus_client.r_code import r_call
from isthmus_client.report import write_report
from isthmus_client.results import MetaFit
from isthmus_client.results.fit import fit_of
from isthmus_client.study import Study
from isthmus_client.terminal import show
from isthmus_methods.codec import spec_from_message


def fit(formula: str, **options: object) -> MetaFit:
    found = fit_of(asked("meta_analysis", formula, **options), breast_cancer(), formula)
    assert isinstance(found, MetaFit)
    return found


def logistic() -> MetaFit:
    return fit("status ~ hormon + age", estimate="glm", coefficient="hormon=1")


def linear() -> MetaFit:
    return fit("nodes ~ hormon + age", estimate="linear_model", coefficient="hormon=1")


def test_ratio_has_the_name_of_what_is_estimated() -> None:
    assert logistic().measure == "odds ratio"
    assert fit("nodes ~ hormon", estimate="glm", family="poisson", coefficient="hormon=1").measure == "rate ratio"
    table = logistic().table()
    assert table.loc["NL", "or"] == pytest.approx(math.exp(table.loc["NL", "estimate"]))


def test_difference_is_shown_as_it_is() -> None:
    found = linear()
    assert (found.measure, found.is_ratio) == ("difference", False)
    table = found.table()
    assert list(table.columns) == ["n", "events", "estimate", "se", "lower", "upper", "weight_percent"]
    assert table.loc["NL", "lower"] == pytest.approx(table.loc["NL", "estimate"] - 1.959963985 * table.loc["NL", "se"])
    assert "exp(coef)" not in found.text()
    assert "events" not in found.text().splitlines()[2]


def test_every_model_is_in_the_text_and_in_a_table_of_its_own() -> None:
    found = logistic()
    assert found.models == ("fixed", "DL", "REML", "ML", "PM", "DL_knapp_hartung", "REML_knapp_hartung")
    table = found.models_table()
    assert list(table.index) == list(found.models)
    assert table.loc["REML", "tau2"] == found.answer["REML"]["tau2"]  # type: ignore[call-overload,index]
    assert all(model in found.text() for model in found.models)


def test_leaving_one_out_is_a_table() -> None:
    table = linear().leave_one_out()
    assert list(table.index) == ["NL", "BE", "DE", "AT"]
    assert (table["lower"] < table["estimate"]).all()


@pytest.mark.parametrize("make", [logistic, linear])
def test_forest_and_funnel_show_all_that_was_asked_for(make: object, tmp_path: Path) -> None:
    found = make()  # type: ignore[operator]
    assert len(found.plot.forest().axes[0].patches) == 2
    assert len(found.plot.forest(models=found.models).axes[0].patches) == 7
    funnel = found.plot.funnel("REML").axes[0]
    assert {text.get_text() for text in funnel.texts} == {"NL", "BE", "DE", "AT"}
    low, high = funnel.get_ylim()
    assert low > high == 0.0  # the most precise on top
    assert found.measure in funnel.get_xlabel()


def test_model_that_is_not_there_is_refused_by_name() -> None:
    with pytest.raises(UsageError) as caught:
        logistic().plot.forest(models=["EB"])
    assert caught.value.code == "UNKNOWN_MODEL"


@pytest.mark.parametrize(("make", "said"), [(logistic, "odds ratio"), (linear, "difference")])
def test_report_and_terminal_name_the_effect(make: object, said: str, tmp_path: Path) -> None:
    found = make()  # type: ignore[operator]
    page = write_report([found], tmp_path / "report.html").read_text(encoding="utf-8")
    assert f"{said} (95 % CI)" in page
    assert "hazard ratio" not in page
    console = Console(width=160, file=io.StringIO(), force_terminal=False)
    show(console, [found])
    assert f"{said} (95 % CI)" in console.file.getvalue()  # type: ignore[attr-defined]


def test_r_code_has_the_model_of_each_country() -> None:
    assert "glm(status ~ hormon + age, data = d, family = binomial()" in r_call(logistic().spec)
    assert "lm(nodes ~ hormon + age, data = d)" in r_call(linear().spec)
    assert "k <- 2" in r_call(linear().spec)


@pytest.fixture
def study(connection: Connection) -> Study:
    return connection.study("BREAST-RFS")


def test_natural_call_reads_what_is_estimated_from_what_is_given(fake: FakeCoordinator, study: Study) -> None:
    fake.answer = lambda request: asked("meta_analysis", "Surv(rfstime, status) ~ hormon", coefficient="hormon=1")
    study.meta_analysis("Surv(rfstime, status) ~ hormon").start()
    study.meta_analysis("nodes ~ hormon").start()
    study.meta_analysis("status ~ hormon", family="binomial").start()
    study.meta_analysis(row="hormon", column="status", treated="1", control="0", event=1).start()
    specs = [spec_from_message(r.exploratory.spec, breast_cancer()) for r in fake.requests(analyst_pb2.SubmitRequest)]
    kinds = [spec.options.get("estimate", "cox") for spec in specs]
    assert kinds == ["cox", "linear_model", "glm", "log_odds_ratio"]
    assert specs[1].options["coefficient"] == "hormon=1"
    assert specs[3].options == {
        "estimate": "log_odds_ratio", "treated": "1", "control": "0", "event_value": "1",
    }  # fmt: skip
    assert "log(t[1, 1] * t[2, 2]" in r_call(specs[3])


def test_natural_call_without_formula_or_table_says_what_to_write(study: Study) -> None:
    with pytest.raises(UsageError) as caught:
        study.meta_analysis()
    assert caught.value.code == "WRONG_FORMULA"
