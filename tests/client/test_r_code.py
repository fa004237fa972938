"""The R call that gives the same answer."""

from __future__ import annotations

import pytest
from pooling import asked, breast_cancer, planned

from isthmus_client.formula import Dictionary, parse_filter, parse_model
from isthmus_client.r_code import r_call, r_formula
from isthmus_client.requests import request
from isthmus_methods.codec import spec_from_message
from isthmus_methods.request import written_name, written_predicate, written_text


def call(name: str) -> str:
    return r_call(spec_from_message(planned(name).spec, breast_cancer()))


def test_cox_call_has_the_strata_factors_and_ties() -> None:
    text = call("primary")
    assert 'pooled$size <- factor(pooled$size, levels = c("<=20", "20-50", ">50"))' in text or "grade" in text
    assert 'pooled$hormon <- factor(pooled$hormon, levels = c("0", "1"))' in text
    assert "strata(country)" in text
    assert 'ties = "efron"' in text


def test_reference_level_stands_first() -> None:
    dictionary = Dictionary.of(breast_cancer().datasets[0])
    spec = request("cox", dictionary, formula="Surv(rfstime, status) ~ relevel(grade, ref = '3')")
    assert 'levels = c("3", "2", "1")' in r_call(spec)


def test_filter_keeps_the_rule_for_missing_values(dictionary: Dictionary) -> None:
    text = "AGE >= 18 & !(SITEID %in% c('01')) | is.na(ECOG)"
    assert written_predicate(parse_filter(text, dictionary)) == (
        '(AGE >= 18 & (!(SITEID %in% c("01")) & !is.na(SITEID))) | is.na(ECOG)'
    )


@pytest.mark.parametrize(
    ("term", "in_r"),
    [
        ("log(CRP)", "log(CRP)"),
        ("I(AGE^2)", "I(AGE^2)"),
        ("I((AGE - 50)/10)", "I((AGE - 50) / 10)"),
        ("centre(AGE, -5)", "I(AGE - (-5))"),
        ("I(AGE >= 65)", "I(AGE >= 65)"),
        ("sqrt(I(AGE/10))", "sqrt(I(AGE / 10))"),
        ("TRT01P * AGE", "TRT01P + AGE + TRT01P:AGE"),
    ],
)
def test_terms_are_written_as_r_takes_them_and_read_back(term: str, in_r: str, dictionary: Dictionary) -> None:
    formula = f"Surv(AVAL, CNSR == 0) ~ {term}"
    spec = request("cox", dictionary, formula=formula)
    written = r_formula(spec)
    assert written == f"Surv(AVAL, CNSR == 0) ~ {in_r}"
    assert parse_model(written, dictionary).terms == spec.terms


def test_delayed_entry_and_clusters_are_written(dictionary: Dictionary) -> None:
    spec = request("cox", dictionary, formula="Surv(ASTDY, AVAL, DTH) ~ AGE + strata(LINE) + cluster(USUBJID)")
    assert r_formula(spec, stratify=True) == ("Surv(ASTDY, AVAL, DTH) ~ AGE + strata(LINE, COUNTRY) + cluster(USUBJID)")


def test_one_baseline_hazard_weights_and_countries_as_clusters_are_written(dictionary: Dictionary) -> None:
    spec = request(
        "cox",
        dictionary,
        formula="Surv(AVAL, CNSR == 0) ~ AGE + COUNTRY",
        roles={"weights": "CRP"},
        options={"stratify_by_country": False, "robust_country": True, "robust_each_row": True},
    )
    fit = 'coxph(Surv(AVAL, CNSR == 0) ~ AGE + COUNTRY, data = pooled, ties = "efron", weights = CRP'
    lines = [line for line in r_call(spec).splitlines() if "coxph" in line]
    assert lines == [f"summary({fit}, robust = TRUE))", f"summary({fit}, cluster = COUNTRY))"]


def test_names_and_texts_cannot_leave_their_quotes() -> None:
    assert written_name("a b`c") == "`a b\\`c`"
    assert written_name("if") == "`if`"
    assert written_text('x"; system("rm")\n') == '"x\\"; system(\\"rm\\")\\n"'


@pytest.mark.parametrize(
    ("name", "function"),
    [("km", "survfit("), ("log-rank", "survdiff("), ("by-country", "rma("), ("table-1", "CreateTableOne(")],
)
def test_each_method_has_a_call(name: str, function: str) -> None:
    assert function in call(name)


def test_meta_analysis_takes_the_position_of_its_coefficient() -> None:
    result = asked("meta_analysis", "Surv(rfstime, status) ~ hormon + grade", coefficient="grade=3")
    assert 'k <- 3  # the coefficient "grade=3"' in r_call(spec_from_message(result.spec, breast_cancer()))


def test_filter_becomes_a_subset() -> None:
    result = asked("cox", "Surv(rfstime, status) ~ hormon + age", where="nodes <= 3", concordance=True)
    assert "data = subset(pooled, nodes <= 3)" in r_call(spec_from_message(result.spec, breast_cancer()))
