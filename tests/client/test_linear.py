"""Linear models, t tests, analyses of variance and descriptions as a statistician reads them."""

from __future__ import annotations

import re
from typing import TypeVar

import pytest
from pooling import HERE, asked, breast_cancer, pooled

from isthmus_client.formula import Dictionary
from isthmus_client.r_code import r_call
from isthmus_client.requests import request
from isthmus_client.results import AnovaFit, LmFit, PairedTTestFit, TableOneFit, TTestFit
from isthmus_client.results.fit import Fit, fit_of

F = TypeVar("F", bound=Fit)


def fitted(kind: type[F], formula: str, **options: object) -> F:
    fit = fit_of(asked(kind.method, formula, **options), breast_cancer(), formula)
    assert isinstance(fit, kind)
    return fit


def of_roles(method: str, roles: dict[str, str | list[str]], **options: object) -> Fit:
    study = breast_cancer()
    spec = request(method, Dictionary.of(study.datasets[0]), roles=roles, options=options)
    return fit_of(pooled(spec, study), study)


@pytest.fixture(scope="module")
def linear() -> LmFit:
    return fitted(LmFit, "nodes ~ hormon + age + size + hormon:age", robust=True, arm="hormon")


def golden(name: str) -> list[str]:
    """What R prints, level names as `isthmus` writes them."""
    text = (HERE / "golden" / f"{name}.txt").read_text(encoding="utf-8")
    return [line.rstrip() for line in text.splitlines()]


def test_linear_model_prints_coefficients_and_fit_as_r(linear: LmFit) -> None:
    mine = [line.rstrip() for line in linear.text().splitlines()]
    theirs = golden("lm")
    start = theirs.index("Coefficients:")
    wanted = [re.sub(r"^(hormon|size)(?=[\d<>])", r"\1=", line) for line in theirs[start:] if line]
    squeezed = [" ".join(line.split()) for line in mine if line]
    at = squeezed.index("Coefficients:")
    assert squeezed[at : at + len(wanted)] == [" ".join(line.split()) for line in wanted]


def test_type_two_tests_print_as_car(linear: LmFit) -> None:
    mine = [" ".join(line.split()) for line in linear.text().splitlines()]
    for line in golden("lm-type2"):
        if line.startswith(("hormon", "age", "size", "Residuals")):
            assert " ".join(line.split()) in mine


def test_linear_model_has_frames_of_everything(linear: LmFit) -> None:
    assert list(linear.table().columns) == ["estimate", "se", "t", "p", "ci95_lower", "ci95_upper"]
    assert list(linear.anova(3).index) == ["(Intercept)", "hormon", "age", "size", "hormon:age"]
    assert list(linear.anova(2).index) == ["hormon", "age", "size", "hormon:age"]
    assert list(linear.ls_means().index) == ["0", "1"]
    assert linear.differences("proportional").loc["1", "estimate"] == pytest.approx(
        linear.ls_means("proportional")["estimate"].diff().iloc[1], rel=1e-10
    )
    assert linear.robust("HC0").loc["age", "se"] > 0
    assert linear.control == "0"
    assert "Robust standard errors, HC3" in linear.tables()


def test_linear_model_draws_its_means_and_differences(linear: LmFit) -> None:
    [(figure, words)] = linear.figures()
    assert "hormon" in words
    assert figure.axes[0].get_xlim()[0] > 0  # the axis of means need not have a zero
    assert linear.plot.differences().axes


def test_linear_model_without_arm_has_no_means() -> None:
    fit = fitted(LmFit, "nodes ~ age")
    assert fit.figures() == ()
    assert "Least-squares" not in fit.text()
    assert "car::Anova(fit, type = 3)" in r_call(fit.spec)


def test_r_call_of_a_linear_model_names_all_of_it(linear: LmFit) -> None:
    text = r_call(linear.spec)
    for part in (
        "lm(nodes ~ hormon + age + size + hormon:age, data = pooled)",
        "`size` = contr.sum",
        "sandwich::vcovHC",
        'ref = "0"',
    ):
        assert part in text


def test_cluster_is_no_term_of_the_call_in_r() -> None:
    fit = fitted(LmFit, "nodes ~ age + cluster(country)")
    text = r_call(fit.spec)
    assert "lm(nodes ~ age, data = pooled)" in text
    assert "cluster = ~ country" in text
    assert "Cluster-robust standard errors (CR1, by country, 4 clusters)" in fit.text()


def test_t_test_prints_as_r() -> None:
    fit = fitted(TTestFit, "rfstime ~ hormon")
    mine = [" ".join(line.split()) for line in fit.text().splitlines()]
    for line in golden("t-test"):
        if line.startswith((" ", "t =", "F =", "W =")) and "mean of" not in line:
            assert " ".join(line.split()) in mine
    assert list(fit.means().index) == ["1", "0"]
    assert fit.table().loc["Wilcoxon rank sum test", "p"] > 0
    assert "wilcox.test(x, y, exact = FALSE)" in r_call(fit.spec)


def test_t_test_without_a_grid_says_what_is_not_given() -> None:
    fit = fitted(TTestFit, "age ~ hormon")
    assert "Wilcoxon rank sum test" not in fit.table().index
    assert "no grid of values" in fit.text()


def test_anova_prints_as_r() -> None:
    fit = fitted(AnovaFit, "rfstime ~ size")
    mine = [" ".join(line.split()) for line in fit.text().splitlines()]
    for line in golden("aov"):
        if line.startswith(("size", "Residuals", "Kruskal-Wallis chi", "Bartlett's K")):
            assert " ".join(line.split()) in mine
    assert list(fit.table().index) == ["F", "Welch", "Kruskal-Wallis", "Bartlett"]
    assert list(fit.means().index) == ["<=20", "20-50", ">50"]
    assert "oneway.test(rfstime ~ size, data = d)" in r_call(fit.spec)


def test_paired_t_test_has_one_row_and_its_call() -> None:
    fit = of_roles("paired_t_test", {"first": "pgr", "second": "er"})
    assert isinstance(fit, PairedTTestFit)
    assert list(fit.table().index) == ["pgr - er"]
    assert "Paired t-test" in fit.text()
    assert "t.test(pgr, er, paired = TRUE)" in r_call(fit.spec)


def test_description_shows_medians_extremes_and_standardised_differences() -> None:
    fit = of_roles("table_one", {"variables": ["rfstime", "size"], "arm": "hormon"}, quantiles=True)
    assert isinstance(fit, TableOneFit)
    text = fit.text()
    assert "median (q1, q3)" in text
    assert "least, greatest" in text
    assert "SMD" in text
    table = fit.table()
    assert table.loc[("pooled", "rfstime", "quantile_type7", "p50"), "overall"] > 0
    assert list(fit.differences().index) == ["rfstime", "size"]
    assert "quantile(rfstime, c(.05, .25, .5, .75, .95), type = 7" in r_call(fit.spec)
