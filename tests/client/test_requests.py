"""One request builder for every method."""

from __future__ import annotations

import pytest

from isthmus.errors import UsageError
from isthmus_client.formula import Dictionary
from isthmus_client.requests import request
from isthmus_methods.codec import spec_from_message, spec_to_message
from isthmus_methods.contract import Comparison, Function, Indicator, Operator, Ref, Spec, Transform
from isthmus_methods.request import coefficient_names


def test_roles_are_written_as_a_formula_writes_columns(dictionary: Dictionary) -> None:
    spec = request(
        "kaplan_meier",
        dictionary,
        roles={"time": "AVAL", "event": "CNSR == 0", "by": ["TRT01P", "ECOG", "AGE >= 65"]},
        where="SEX == 'F'",
        options={"times": [90, 180]},
    )
    older = Indicator(Comparison("AGE", Operator.GREATER_OR_EQUAL, 65.0))
    assert spec.role("by") == (
        Ref("TRT01P"),
        Transform(Function.FACTOR, Ref("ECOG")),
        Transform(Function.FACTOR, older),
    )
    assert spec.levels(spec.role("by")[2]) == ("0", "1")
    assert spec.role("event") == (Indicator(Comparison("CNSR", Operator.EQUAL, 0.0)),)
    assert spec.options == {"times": (90.0, 180.0)}


def test_formula_and_roles_say_the_same(dictionary: Dictionary) -> None:
    by_formula = request("log_rank", dictionary, formula="Surv(AVAL, CNSR == 0) ~ TRT01P + strata(SEX)")
    by_roles = request(
        "log_rank", dictionary, roles={"time": "AVAL", "event": "CNSR == 0", "arm": "TRT01P", "strata": ["SEX"]}
    )
    assert by_formula == by_roles


def test_formula_without_a_left_side_names_variables(dictionary: Dictionary) -> None:
    spec = request("table_one", dictionary, formula="~ AGE + SEX", roles={"arm": "TRT01P"})
    assert spec.role("variables") == (Ref("AGE"), Ref("SEX"))


def test_conditions_as_terms_keep_names_apart(dictionary: Dictionary) -> None:
    spec = request("cox", dictionary, formula="Surv(AVAL, CNSR == 0) ~ I(AGE >= 65) + factor(SEX == 'F')")
    assert coefficient_names(spec) == ("I(AGE >= 65)", 'I(SEX == "F")=1')


def test_cluster_may_be_the_identifier_and_no_other_role(dictionary: Dictionary) -> None:
    spec = request(
        "cox", dictionary, formula="Surv(AVAL, CNSR == 0) ~ AGE", roles={"cluster": "USUBJID"}
    )  # fmt: skip
    assert spec.role("cluster") == (Ref("USUBJID"),)
    with pytest.raises(UsageError) as caught:
        request("table_one", dictionary, roles={"variables": ["USUBJID"]})
    assert caught.value.code == "FORBIDDEN_VARIABLE"


@pytest.mark.parametrize(
    ("method", "given", "code"),
    [
        ("coxx", {}, "UNKNOWN_METHOD"),
        ("cox", {"formula": "CRP ~ AGE"}, "WRONG_FORMULA"),
        ("cox", {"formula": "Surv(AVAL, CNSR == 0) ~ AGE + offset(CRP)"}, "WRONG_FORMULA"),
        ("cox", {"formula": "Surv(AVAL, CNSR == 0) ~ 1"}, "NO_TERMS"),
        ("cox", {"formula": "Surv(AVAL, CNSR == 0) ~ AGE", "roles": {"time": "AVAL"}}, "ROLE_TWICE"),
        ("cox", {"formula": "Surv(AVAL, CNSR == 0) ~ AGE", "roles": {"weigths": "CRP"}}, "UNKNOWN_ROLE"),
        ("cox", {"formula": "Surv(AVAL, CNSR == 0) ~ AGE + COUNTRY"}, "COUNTRY_TERM"),
        ("kaplan_meier", {"roles": {"time": "AVAL"}}, "MISSING_ROLE"),
        ("kaplan_meier", {"roles": {"time": "AVAL", "event": "CNSR == 0", "by": ["AGE"]}}, "WRONG_TYPE"),
        ("table_one", {"roles": {"variables": []}}, "MISSING_ROLE"),
        ("table_one", {"roles": {"variables": ["AGE"]}, "references": {"SEX": "X"}}, "UNKNOWN_LEVEL"),
        ("table_one", {"roles": {"variables": ["AGE"]}, "options": {"by_country": object()}}, "WRONG_OPTION"),
    ],
)
def test_wrong_request_is_refused(method: str, given: dict[str, object], code: str, dictionary: Dictionary) -> None:
    with pytest.raises(UsageError) as caught:
        request(method, dictionary, **given)  # type: ignore[arg-type]
    assert caught.value.code == code
    assert caught.value.remedy


def test_unknown_method_names_the_nearest(dictionary: Dictionary) -> None:
    with pytest.raises(UsageError, match="did you mean 'kaplan_meier'"):
        request("kaplan_meyer", dictionary)


def test_condition_as_factor_travels(dictionary: Dictionary) -> None:
    spec = request("log_rank", dictionary, formula="Surv(AVAL, CNSR == 0) ~ factor(AGE >= 65)")
    message = spec_to_message(spec)
    assert spec_to_message(_bound(spec)) == message


def _bound(spec: Spec) -> Spec:
    from isthmus.v1 import study_pb2

    study = study_pb2.Study(datasets=[study_pb2.Dataset(name=spec.dataset)])
    return spec_from_message(spec_to_message(spec), study)
