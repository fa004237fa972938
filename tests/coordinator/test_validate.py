"""Requests against dictionary and method: what is refused, and that the nearest name is said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from isthmus.errors import UsageError
from isthmus_methods import codec, contract as c
from isthmus_methods.validate import check_spec, nearest

from .conftest import Climb, dataset

VARIABLES = {v.name: codec.variable_from_message(v) for v in dataset().variables}
GOOD = c.Spec(
    "climb",
    "ADTTE",
    variables=VARIABLES,
    subject="USUBJID",
    where=c.All((c.Comparison("AGE", c.Operator.GREATER, 18.0), c.Membership("TRT01P", ("active",)))),
    roles={
        "outcome": (c.Ref("AVAL"),),
        "event": (c.Indicator(c.Comparison("CNSR", c.Operator.EQUAL, 0.0)),),
        "by": (c.Ref("TRT01P"), c.Transform(c.Function.FACTOR, c.Ref("GRADE"))),
        "cluster": (c.Ref("USUBJID"),),
    },
    terms=(
        c.Term((c.Ref("TRT01P"),)),
        c.Term((c.Transform(c.Function.LOG, c.Ref("AGE")), c.Ref("TRT01P"))),
        c.Term((c.Transform(c.Function.SCALE, c.Ref("AGE"), (10.0,)),)),
    ),
    references={"TRT01P": "active"},
    options={"rounds": 3, "step": 1, "ties": "breslow", "each": True, "times": (1.0, 2.0)},
)


def test_good_request_passes() -> None:
    check_spec(GOOD, Climb())


def roles(**changed: tuple[c.Column, ...]) -> c.Spec:
    return replace(GOOD, roles={**GOOD.roles, **changed})


def terms(*columns: c.Column) -> c.Spec:
    return replace(GOOD, terms=(c.Term(columns),))


def where(predicate: c.Predicate) -> c.Spec:
    return replace(GOOD, where=predicate)


def options(**values: c.Setting) -> c.Spec:
    return replace(GOOD, options=values)


EQUAL, LESS = c.Operator.EQUAL, c.Operator.LESS
TRANSFORM, FUNCTION = c.Transform, c.Function


@pytest.mark.parametrize(
    ("spec", "code", "said"),
    [
        (roles(outcome=(c.Ref("AVL"),)), "UNKNOWN_VARIABLE", "did you mean 'AVAL'?"),
        (terms(c.Ref("aeg")), "UNKNOWN_VARIABLE", "did you mean 'AGE'?"),
        (where(c.Missing("NOPE")), "UNKNOWN_VARIABLE", "'NOPE'"),
        (terms(c.Indicator(c.Missing("NOPE"))), "UNKNOWN_VARIABLE", "'NOPE'"),
        (terms(c.Ref("USUBJID")), "FORBIDDEN_VARIABLE", "names persons"),
        (roles(by=(c.Ref("USUBJID"),)), "FORBIDDEN_VARIABLE", "names persons"),
        (where(c.Comparison("USUBJID", EQUAL, "01")), "FORBIDDEN_VARIABLE", "names persons"),
        (terms(c.Ref("COMMENT")), "FORBIDDEN_VARIABLE", "free text"),
        (roles(cluster=(c.Ref("COMMENT"),)), "FORBIDDEN_VARIABLE", "free text"),
        (where(c.Missing("RANDDT")), "FORBIDDEN_VARIABLE", "calendar date"),
        (where(c.Not(c.AnyOf((c.Missing("RANDDT"),)))), "FORBIDDEN_VARIABLE", "calendar date"),
        (roles(outcom=(c.Ref("AVAL"),)), "UNKNOWN_ROLE", "did you mean 'outcome'?"),
        (roles(outcome=()), "MISSING_ROLE", "what is measured"),
        (roles(outcome=(c.Ref("AVAL"), c.Ref("AGE"))), "ROLE_TAKES_ONE", "2 were given"),
        (roles(outcome=(c.Ref("TRT01P"),)), "WRONG_COLUMN", "a number"),
        (roles(event=(c.Ref("TRT01P"),)), "WRONG_COLUMN", "CNSR == 0"),
        (roles(by=(c.Ref("AGE"),)), "WRONG_COLUMN", "levels"),
        (terms(TRANSFORM(FUNCTION.FACTOR, c.Ref("AGE"))), "WRONG_COLUMN", "declares none"),
        (terms(TRANSFORM(FUNCTION.LOG, c.Ref("TRT01P"))), "WRONG_COLUMN", "has levels"),
        (terms(TRANSFORM(FUNCTION.SCALE, c.Ref("AGE"), (0.0,))), "WRONG_COLUMN", "constant"),
        (terms(TRANSFORM(FUNCTION.CENTRE, c.Ref("AGE"), (float("nan"),))), "WRONG_COLUMN", "constant"),
        (terms(), "WRONG_COLUMN", "without a column"),
        (terms(c.Ref("AGE"), c.Ref("AGE")), "TERM_TWICE", "AGE:AGE"),
        (replace(GOOD, terms=(c.Term((c.Ref("AGE"),)),) * 2), "TERM_TWICE", "AGE"),
        (where(c.Comparison("TRT01P", EQUAL, "actve")), "UNKNOWN_LEVEL", "did you mean 'active'?"),
        (where(c.Membership("TRT01P", ("other",))), "UNKNOWN_LEVEL", "'other'"),
        (where(c.Comparison("TRT01P", LESS, "active")), "WRONG_COMPARISON", "as if it were a number"),
        (where(c.Comparison("TRT01P", EQUAL, 1.0)), "WRONG_COMPARISON", "as if it were a number"),
        (where(c.Comparison("AGE", EQUAL, "old")), "WRONG_COMPARISON", "with the text"),
        (where(c.Comparison("AGE", EQUAL, float("inf"))), "WRONG_COMPARISON", "not finite"),
        (where(c.Membership("AGE", ())), "WRONG_COMPARISON", "with nothing"),
        (where(c.All(())), "WRONG_COMPARISON", "no conditions"),
        (replace(GOOD, references={"TRT01P": "none"}), "UNKNOWN_LEVEL", "'none'"),
        (replace(GOOD, references={"AGE": "1"}), "UNKNOWN_LEVEL", "has no levels"),
        (options(round=3), "UNKNOWN_OPTION", "did you mean 'rounds'?"),
        (options(rounds=3.5), "WRONG_OPTION", "a whole number"),
        (options(rounds=True), "WRONG_OPTION", "a whole number"),
        (options(each=1), "WRONG_OPTION", "true or false"),
        (options(ties="efrn"), "WRONG_OPTION", "did you mean 'efron'?"),
        (options(times=("a",)), "WRONG_OPTION", "a list of numbers"),
        (options(step=float("inf")), "WRONG_OPTION", "not a finite number"),
    ],
)
def test_request_that_does_not_fit_is_refused(spec: c.Spec, code: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_spec(spec, Climb())
    assert caught.value.code == code
    assert said in caught.value.message


def test_terms_are_refused_where_the_method_has_none() -> None:
    class Plain(Climb):
        uses_terms = False

    with pytest.raises(UsageError, match="NO_TERMS"):
        check_spec(GOOD, Plain())


def test_nearest_name_ignores_case_and_stays_silent_when_nothing_is_near() -> None:
    assert nearest("aval", ["AVAL"]) == "; did you mean 'AVAL'?"
    assert nearest("zzz", ["AVAL"]) == ""
