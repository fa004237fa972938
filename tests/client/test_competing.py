"""Competing causes as a statistician reads them."""

from __future__ import annotations

import pytest
from pooling import asked, breast_cancer, pooled

from isthmus.errors import UsageError
from isthmus_client.formula import Dictionary
from isthmus_client.r_code import r_call
from isthmus_client.requests import request
from isthmus_client.results import CumulativeIncidenceFit, FineGrayFit
from isthmus_client.results.fit import fit_of

# The example has one event only: its status serves as two causes, so that curves and tests have something to show.
ROLES = {"time": "rfstime", "cause": "factor(I(status == 1))", "by": ["hormon"], "arm": "hormon"}


@pytest.fixture(scope="module")
def curves() -> CumulativeIncidenceFit:
    dictionary = Dictionary.of(breast_cancer().datasets[0])
    spec = request("cumulative_incidence", dictionary, roles=ROLES, options={"times": [1000, 2000]})
    fit = fit_of(pooled(spec, breast_cancer()), breast_cancer())
    assert isinstance(fit, CumulativeIncidenceFit)
    return fit


def test_summary_has_counts_incidence_and_test(curves: CumulativeIncidenceFit) -> None:
    text = curves.text()
    assert "overall: n= " in text
    assert "time 1000" in text
    assert "Gray's test:" in text
    assert set(curves.table().columns) == {"group", "cause", "time", "cif", "se", "loglog_lower", "loglog_upper"}
    assert len(curves.table()) == len(curves.groups) * len(curves.causes) * 2


def test_figures_are_drawn_by_cause_and_group(curves: CumulativeIncidenceFit) -> None:
    figures = curves.figures()
    assert [words for _, words in figures] == ["cumulative incidence by cause", "1 by hormon"]
    with pytest.raises(UsageError, match="no curves of '1' by 'grade'"):
        curves.plot.cif("1", by="grade")


def test_fine_gray_summary_reads_as_crr() -> None:
    dictionary = Dictionary.of(breast_cancer().datasets[0])
    roles = {"time": "rfstime", "cause": "factor(I(status == 1))"}
    spec = request("fine_gray", dictionary, formula="~ hormon + age", roles=roles)
    fit = fit_of(pooled(spec, breast_cancer()), breast_cancer(), "~ hormon + age")
    assert isinstance(fit, FineGrayFit)
    assert "crr(~ hormon + age, failcode = 1)" in fit.text()
    assert "Pseudo Log-likelihood" in fit.text()
    # with one cause alone nobody stays at risk: the model is Cox's with Breslow's ties
    cox = fit_of(
        asked("cox", "Surv(rfstime, status) ~ hormon + age", ties="breslow", stratify_by_country=False), breast_cancer()
    )
    ours, theirs = fit.table()["estimate"], cox.table()["estimate"]
    assert max(abs(ours - theirs)) < 1e-9
    assert "cmprsk" in r_call(spec)
