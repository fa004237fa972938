"""Regional consistency as a statistician asks for it and sees it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from pooling import asked, breast_cancer

from isthmus.errors import UsageError
from isthmus.v1 import study_pb2
from isthmus_client.plan import Plan
from isthmus_client.r_code import r_call
from isthmus_client.results import RegionalFit
from isthmus_client.results.fit import fit_of
from isthmus_client.study import Study

MODEL = "Surv(rfstime, status) ~ hormon + age + nodes"
BENELUX = ("Benelux=NL+BE",)


def fit(formula: str = MODEL, **options: object) -> RegionalFit:
    settings = {"coefficient": "hormon=1", **options}
    found = fit_of(asked("regional_consistency", formula, **settings), breast_cancer(), formula)
    assert isinstance(found, RegionalFit)
    return found


def linear() -> RegionalFit:
    return fit("nodes ~ hormon + age", estimate="linear_model", benefit="lower", regions=BENELUX)


def test_table_has_the_regions_and_the_overall_effect() -> None:
    table = fit(regions=BENELUX).table()
    assert list(table.index) == ["Benelux", "DE", "AT", "overall"]
    assert table.loc["DE", "hr"] == pytest.approx(math.exp(table.loc["DE", "estimate"]))
    assert table["fraction"][:3].sum() == pytest.approx(1.0)
    assert list(table["keeps pi"][:3]) == [False, True, False]
    share = table.loc["DE", "estimate"] / table.loc["overall", "estimate"]
    assert table.loc["DE", "share of overall"] == pytest.approx(share)


def test_difference_is_shown_as_it_is_and_bayes_says_why_it_is_not_there() -> None:
    found = linear()
    assert "hr" not in found.table()
    assert "Bayes" not in found.shrunken()
    assert found.sensitivity().empty
    assert any("tau_scale" in sentence for sentence in found.caveats)
    assert "tau² by REML" in texts_of(found.plot.shrinkage())


def test_criteria_stand_beside_their_probabilities() -> None:
    criteria = fit().criteria()
    assert list(criteria["holds"]) == [False, False, False, False, True]
    assert criteria["P if uniform"].iloc[-1] == pytest.approx(0.9)
    assert "every region keeps 0.25 of the overall effect" in fit(pi=0.25).criteria().index


def test_influence_of_the_prior_is_a_table_of_its_own() -> None:
    table = fit().sensitivity()
    assert list(table.index) == ["half-normal(0.5)", "half-normal(0.25)", "half-normal(1)", "uniform(0, 4)"]
    assert list(table.columns) == ["tau", "mu", "NL", "BE", "DE", "AT"]
    assert table["tau"].loc["half-normal(0.25)"] < table["tau"].loc["half-normal(1)"]


def test_summary_names_model_regions_criteria_and_priors() -> None:
    text = fit(regions=BENELUX).text()
    for said in ("coxph(", "over 3 regions", "lower is better", "Gail-Simon", "(Method 2)", "uniform(0, 4)"):
        assert said in text
    assert "inverse-variance means" in fit(regions=BENELUX).paragraph()
    assert "inverse-variance means" not in fit().paragraph()


def texts_of(figure: Figure) -> list[str]:
    figure.canvas.draw()
    return [t.get_text() for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]


def test_threshold_is_drawn_where_a_region_keeps_its_share() -> None:
    found = fit(regions=BENELUX)
    figure = found.plot.consistency()
    dashed = [line for line in figure.axes[0].lines if line.is_dashed()]
    assert [line.get_xdata()[0] for line in dashed] == [pytest.approx(found.threshold)]
    assert found.threshold == pytest.approx(0.5 * found.answer["overall"]["estimate"])
    assert any(text.startswith("dashed: 0.5 of the overall effect, hazard ratio 0.93") for text in texts_of(figure))


@pytest.mark.parametrize("found", [fit, linear])
@pytest.mark.parametrize("name", ["consistency", "shrinkage"])
def test_no_text_of_a_figure_is_cut_off(found: object, name: str) -> None:
    figure = getattr(found().plot, name)()  # type: ignore[operator]
    figure.canvas.draw()
    for text in figure.findobj(Text):
        if text.get_visible() and text.get_text().strip():
            box = text.get_window_extent()
            assert box.x0 >= 0, text.get_text()
            assert box.x1 <= figure.bbox.x1, text.get_text()


def test_report_has_figures_and_every_table(tmp_path: Path) -> None:
    page = fit(regions=BENELUX).report(tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("<figure") == 2
    for caption in ("Criteria on all regions", "Shrunken effects", "Posterior means by prior"):
        assert caption in page


def test_natural_call_writes_regions_and_settings() -> None:
    study = Study(None, breast_cancer(), bytes(32))  # type: ignore[arg-type]
    plan = study.regional_consistency(MODEL, regions={"Benelux": ["NL", "BE"]}, pi=0.4, tau_scale=0.3)
    assert isinstance(plan, Plan)
    spec = plan.steps[0].analysis.spec
    assert spec.method == "regional_consistency"
    text = str(spec)
    assert "Benelux=NL+BE" in text
    assert "hormon=1" in text


def test_study_that_shows_no_countries_is_refused() -> None:
    hidden = study_pb2.Study()
    hidden.CopyFrom(breast_cancer())
    hidden.by_country = False
    study = Study(None, hidden, bytes(32))  # type: ignore[arg-type]
    with pytest.raises(UsageError) as refused:
        study.regional_consistency(MODEL)
    assert refused.value.code == "BY_COUNTRY"


def test_r_call_makes_the_regions() -> None:
    call = r_call(fit(regions=BENELUX, pi=0.4).spec)
    assert 'region <- c("NL" = "Benelux", "BE" = "Benelux")[country]' in call
    assert "method_1 = b >= 0.4 * overall" in call
    assert "b <- -y" in call
    assert "region <- country" in r_call(fit(benefit="higher").spec)
