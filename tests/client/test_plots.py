"""Figures: nothing overlaps, nothing is cut off, the numbers drawn are those of the answer."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from pooling import asked, breast_cancer, planned

from isthmus.errors import ConfigError, UsageError
from isthmus.v1 import analyst_pb2
from isthmus_client.plots.canvas import save, svg, time_axis
from isthmus_client.plots.forest import ForestRow, forest_figure, ratio_text
from isthmus_client.plots.km import km_figure
from isthmus_client.results import CoxFit, KmFit, LogRankFit, MetaFit
from isthmus_client.results.fit import beside, fit_of
from isthmus_client.results.kaplan_meier import Curve

FORMULA = "Surv(rfstime, status) ~ "


def km(result: analyst_pb2.Result) -> KmFit:
    fit = fit_of(result, breast_cancer())
    assert isinstance(fit, KmFit)
    return fit


def cox_with_countries() -> CoxFit:
    fit = beside(fit_of(planned("primary"), breast_cancer()), [fit_of(planned("by-country"), breast_cancer())])
    assert isinstance(fit, CoxFit)
    return fit


def log_rank() -> LogRankFit:
    fit = fit_of(planned("log-rank"), breast_cancer())
    assert isinstance(fit, LogRankFit)
    return fit


def texts(figure: Figure) -> list[Text]:
    figure.canvas.draw()
    return [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]


def figures() -> list[tuple[str, Figure]]:
    long = "a level with a very long name that goes on and on, and on, and on"
    rows = [
        ForestRow(long, -0.1, -2.0, 1.8, 3.0, ("1,234,567", "12")),
        ForestRow("B", None, None, None, None, ("9", "–")),
        ForestRow("C", 0.3, -6.0, 6.0, 1.0, ("9", "1")),
        ForestRow("pooled", 0.0, -0.2, 0.2, None, ("", ""), True, True, True, True),
    ]
    return [
        ("km", km(planned("km")).plot.km(title="Recurrence-free survival", test=log_rank())),
        ("km without title", km(planned("km")).plot.km(test=log_rank())),
        ("km, all follow-up", km(planned("km")).plot.km(until=1e9)),
        ("km, three groups", km(asked("kaplan_meier", FORMULA + "grade + size")).plot.km("grade")),
        ("km, overall", km(asked("kaplan_meier", FORMULA + "1")).plot.km()),
        ("km, small country missing", km(asked("kaplan_meier", FORMULA + "hormon", without=("AT", "BE"))).plot.km()),
        ("forest by country", cox_with_countries().plot.forest(title="Hormonal therapy against none")),
        ("forest of coefficients", cox_with_countries().plot.coefficients()),
        (
            "forest, wide and odd",
            forest_figure(rows, headings=("country", "n", "events"), favours=("x", "y"), notes=[long * 6]),
        ),
    ]


@pytest.fixture(scope="module")
def drawn() -> list[tuple[str, Figure]]:
    return figures()


def test_no_text_is_cut_off(drawn: list[tuple[str, Figure]]) -> None:
    for name, figure in drawn:
        for text in texts(figure):
            box = text.get_window_extent()
            inside = box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
            assert inside, f"{name}: {text.get_text()!r} leaves the figure"


def test_no_two_texts_overlap(drawn: list[tuple[str, Figure]]) -> None:
    for name, figure in drawn:
        boxes = [(t.get_text(), t.get_window_extent()) for t in texts(figure)]
        for (one, a), (two, b) in itertools.combinations(boxes, 2):
            apart = a.x1 <= b.x0 + 1 or b.x1 <= a.x0 + 1 or a.y1 <= b.y0 + 1 or b.y1 <= a.y0 + 1
            assert apart, f"{name}: {one!r} lies on {two!r}"


def test_texts_of_a_figure_have_two_sizes_at_most_beside_the_title(drawn: list[tuple[str, Figure]]) -> None:
    for name, figure in drawn:
        assert {t.get_fontsize() for t in texts(figure)} <= {8.0, 9.0, 10.0}, name


def test_days_are_shown_as_years_where_they_are_many() -> None:
    years = time_axis(2556.75, "days")
    assert (years.unit, years.labels) == ("years", ("0", "1", "2", "3", "4", "5", "6", "7"))
    assert years.ticks[1] == 365.25
    months = time_axis(400, "days")
    assert (months.unit, months.labels[:3]) == ("months", ("0", "2", "4"))
    assert time_axis(90, "days").unit == "days"
    assert time_axis(30, "weeks").labels[1] == "5"
    assert time_axis(0.9, "years").labels[1] == "0.5"


def test_numbers_at_risk_are_those_of_the_answer() -> None:
    figure = km(planned("km")).plot.km()
    shown = {t.get_text() for t in texts(figure)}
    risk = km(planned("km")).curve("hormon=1")
    assert risk.at_risk[0] == 585
    assert {f"{n:,}" for n in (*risk.at_risk, *risk.events_until)} <= shown
    assert "Drawn to 7 years; follow-up goes on to 19.3." in shown


def test_curve_drawn_is_the_curve_of_the_answer() -> None:
    fit = km(planned("km"))
    axes = km_figure([fit.curve("hormon=0")], unit="days").axes[0]
    (line,) = [x for x in axes.lines if len(x.get_xdata()) > 10]
    curve = fit.curve("hormon=0")
    np.testing.assert_array_equal(line.get_xdata()[1:-1], curve.time)
    np.testing.assert_array_equal(line.get_ydata()[1:-1], curve.survival)
    assert line.get_xdata()[0] == 0
    assert line.get_ydata()[0] == 1
    assert line.get_drawstyle() == "steps-post"


def test_curve_without_events_is_drawn_as_a_line_at_one() -> None:
    flat = Curve("g=a", "a", 12, 0, 100.0, (), (), (), (), (None, None, None), (0.0, 50.0), (12, 5), (0, 0))
    figure = km_figure([flat], unit="days")
    assert any("median not reached" in t.get_text() for t in texts(figure))


def test_diamonds_span_the_pooled_limits() -> None:
    fit = cox_with_countries()
    axes = fit.plot.forest().axes[0]
    c = fit.coefficient("hormon=1")
    corners = [p.get_xy() for p in axes.patches if p.get_xy().shape == (5, 2)]
    assert len(corners) == 3
    pooled = corners[0]
    assert (pooled[:, 0].min(), pooled[:, 0].max()) == pytest.approx((c.lower, c.upper))


def test_interval_that_leaves_the_axis_ends_in_an_arrow() -> None:
    rows = [
        ForestRow("a", 0.0, -0.1, 0.1, 5.0),
        ForestRow("b", 0.1, -5.0, 5.0, 1.0),
        ForestRow("c", 0.1, -0.1, 0.3, 5.0),
    ]
    axes = forest_figure(rows, headings=("x",)).axes[0]
    assert sorted(str(line.get_marker()) for line in axes.lines if line.get_marker() in "<>") == ["<", ">"]


def test_ratio_has_the_decimals_its_interval_needs() -> None:
    assert ratio_text(ForestRow("a", math.log(0.84), math.log(0.74), math.log(0.96))) == "0.84 (0.74 – 0.96)"
    assert ratio_text(ForestRow("a", 0.0026, -0.0033, 0.0086)) == "1.003 (0.997 – 1.009)"
    assert ratio_text(ForestRow("a", None, None, None)) == "not estimable"
    assert ratio_text(ForestRow("a", 800.0, -800.0, 900.0)) == "∞ (0e+00 – ∞)"


def test_names_with_dollar_signs_are_not_mathematics() -> None:
    figure = forest_figure([ForestRow("$\\frac{1$ and $", 0.0, -0.1, 0.1, 1.0)], headings=("x",), title="$a_b$")
    assert b"PNG" in _png(figure)


def _png(figure: Figure) -> bytes:
    import io

    target = io.BytesIO()
    figure.savefig(target, format="png")
    return target.getvalue()


def test_svg_is_the_same_each_time_and_names_no_moment() -> None:
    one, two = (svg(cox_with_countries().plot.forest(), "forest") for _ in range(2))
    assert one == two
    assert "<dc:date>" not in one
    assert one.startswith("<svg")


def test_grouping_that_is_not_in_the_result_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        km(planned("km")).plot.km("grade")
    assert "hormon" in caught.value.remedy


def test_figure_is_saved_by_the_ending_of_its_name(tmp_path: Path) -> None:
    figure = cox_with_countries().plot.coefficients()
    for ending, start in ((".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml")):
        assert save(figure, tmp_path / f"f{ending}").read_bytes().startswith(start)
    with pytest.raises(ConfigError):
        save(figure, tmp_path / "f.docx")


def test_meta_analysis_alone_has_a_forest() -> None:
    fit = fit_of(planned("by-country"), breast_cancer())
    assert isinstance(fit, MetaFit)
    assert len(fit.plot.forest().axes[0].patches) == 2


def test_importing_the_client_loads_neither_matplotlib_nor_scipy() -> None:
    code = (
        "import sys, isthmus_client, isthmus_client.cli;"
        "print([m for m in ('matplotlib', 'scipy', 'pandas', 'jinja2', 'grpc') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_figures_leave_pyplot_alone() -> None:
    code = (
        "import sys; from isthmus_client.plots.forest import ForestRow, forest_figure;"
        "forest_figure([ForestRow('a', 0.0, -1.0, 1.0, 1.0)], headings=('x',)).canvas.draw();"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "False"


def test_groups_with_shorter_follow_up_do_not_take_the_others_numbers_away() -> None:
    shown = [t.get_text() for t in texts(km(asked("kaplan_meier", FORMULA + "grade + size")).plot.km("grade"))]
    assert {"0", "1,000", "2,000", "3,000", "6,000"} <= set(shown)
