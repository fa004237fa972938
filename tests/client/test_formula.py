from __future__ import annotations

import pytest

from isthmus.errors import UsageError
from isthmus_client.formula import Dictionary, Right, parse_filter, parse_model
from isthmus_methods.contract import (
    All,
    AnyOf,
    Comparison,
    Function,
    Indicator,
    Membership,
    Missing,
    Operator,
    Ref,
    Term,
    Transform,
    Variable,
    VariableType,
)
from isthmus_methods.request import written_name, written_predicate

SURV = "Surv(AVAL, CNSR == 0) ~ "


def names(text: str, dictionary: Dictionary) -> list[str]:
    return [term.name for term in parse_model(SURV + text, dictionary).terms]


def test_formula_gives_outcome_terms_strata_and_cluster(dictionary: Dictionary) -> None:
    model = parse_model(SURV + "TRT01P + AGE + strata(LINE, SEX) + cluster(USUBJID)", dictionary)
    assert model.start is None
    assert model.time == Ref("AVAL")
    assert model.event == Indicator(Comparison("CNSR", Operator.EQUAL, 0.0))
    assert model.terms == (Term((Ref("TRT01P"),)), Term((Ref("AGE"),)))
    assert model.strata == (Ref("LINE"), Ref("SEX"))
    assert model.cluster == Ref("USUBJID")


def test_cluster_may_be_a_number_taken_as_a_factor(dictionary: Dictionary) -> None:
    numbered = [name for name, v in dictionary.variables.items() if v.levels and v.type is not VariableType.FACTOR]
    for name in numbered:
        model = parse_model(SURV + f"AGE + cluster(factor({name}))", dictionary)
        assert model.cluster == Transform(Function.FACTOR, Ref(name))
    assert numbered


def test_formula_with_three_arguments_has_a_start(dictionary: Dictionary) -> None:
    model = parse_model("Surv(ASTDY, AVAL, DTH) ~ AGE", dictionary)
    assert (model.start, model.time, model.event) == (Ref("ASTDY"), Ref("AVAL"), Ref("DTH"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # as R's attr(terms(...), "term.labels") gives them
        ("TRT01P * AGE", ["TRT01P", "AGE", "TRT01P:AGE"]),
        ("AGE:CRP + SEX + AGE", ["SEX", "AGE", "AGE:CRP"]),
        ("AGE + CRP:AGE", ["AGE", "AGE:CRP"]),
        ("CRP:AGE + AGE", ["AGE", "CRP:AGE"]),
        ("(AGE + CRP + SEX)^2", ["AGE", "CRP", "SEX", "AGE:CRP", "AGE:SEX", "CRP:SEX"]),
        ("AGE * CRP * SEX", ["AGE", "CRP", "SEX", "AGE:CRP", "AGE:SEX", "CRP:SEX", "AGE:CRP:SEX"]),
        ("(AGE + CRP + SEX)^2 - AGE:CRP", ["AGE", "CRP", "SEX", "AGE:SEX", "CRP:SEX"]),
        ("AGE + AGE + (CRP)", ["AGE", "CRP"]),
        ("AGE / CRP", ["AGE", "AGE:CRP"]),
        ("1 + AGE - 1", ["AGE"]),
        ("AGE:AGE", ["AGE"]),
    ],
)
def test_terms_stand_in_the_order_of_r(text: str, expected: list[str], dictionary: Dictionary) -> None:
    assert names(text, dictionary) == expected


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("log(CRP)", Transform(Function.LOG, Ref("CRP"))),
        ("sqrt(CRP)", Transform(Function.SQUARE_ROOT, Ref("CRP"))),
        ("I(AGE^2)", Transform(Function.SQUARE, Ref("AGE"))),
        ("I(AGE - 50)", Transform(Function.CENTRE, Ref("AGE"), (50.0,))),
        ("I(AGE / 10)", Transform(Function.SCALE, Ref("AGE"), (10.0,))),
        ("I((AGE - 50)/10)", Transform(Function.SCALE, Transform(Function.CENTRE, Ref("AGE"), (50.0,)), (10.0,))),
        ("centre(AGE, c = -1.5e1)", Transform(Function.CENTRE, Ref("AGE"), (-15.0,))),
        ("scale(log(CRP), 2)", Transform(Function.SCALE, Transform(Function.LOG, Ref("CRP")), (2.0,))),
        ("factor(ECOG)", Transform(Function.FACTOR, Ref("ECOG"))),
        ("C(SEX)", Ref("SEX")),
        ("I(AGE >= 65)", Indicator(Comparison("AGE", Operator.GREATER_OR_EQUAL, 65.0))),
    ],
)
def test_transforms_become_declared_columns(text: str, column: object, dictionary: Dictionary) -> None:
    assert parse_model(SURV + text, dictionary).terms == (Term((column,)),)  # type: ignore[arg-type]


def test_references_come_from_argument_and_from_relevel(dictionary: Dictionary) -> None:
    model = parse_model(SURV + 'relevel(TRT01P, ref = "High") + LINE', dictionary, {"LINE": "2"})
    assert model.references == {"TRT01P": "High", "LINE": "2"}


def test_groups_are_factors_one_at_a_time(dictionary: Dictionary) -> None:
    assert parse_model(SURV + "1", dictionary, right=Right.GROUPS).columns == ()
    model = parse_model(SURV + "TRT01P + ECOG + I(AGE >= 65)", dictionary, right=Right.GROUPS)
    older = Indicator(Comparison("AGE", Operator.GREATER_OR_EQUAL, 65.0))
    assert model.columns == (
        Ref("TRT01P"),
        Transform(Function.FACTOR, Ref("ECOG")),
        Transform(Function.FACTOR, older),
    )
    with pytest.raises(UsageError, match="one at a time"):
        parse_model(SURV + "AGE", dictionary, right=Right.GROUPS)


def test_country_as_stratum_changes_nothing_and_as_term_is_refused(dictionary: Dictionary) -> None:
    assert parse_model(SURV + "AGE + strata(COUNTRY)", dictionary).strata == ()
    with pytest.raises(UsageError) as caught:
        parse_model(SURV + "AGE + COUNTRY", dictionary)
    assert caught.value.code == "COUNTRY_TERM"
    assert names("TRT01P + TRT01P:COUNTRY", dictionary) == ["TRT01P", "TRT01P:COUNTRY"]


def test_country_is_a_term_where_it_is_no_stratum(dictionary: Dictionary) -> None:
    model = parse_model("CRP ~ AGE + COUNTRY", dictionary, stratified=False)
    assert [term.name for term in model.terms] == ["AGE", "COUNTRY"]
    assert parse_model("CRP ~ AGE + strata(COUNTRY)", dictionary, stratified=False).strata == (Ref("COUNTRY"),)
    with pytest.raises(UsageError, match="without its main effect COUNTRY"):
        parse_model("CRP ~ TRT01P + TRT01P:COUNTRY", dictionary, stratified=False)


@pytest.mark.parametrize(
    ("left", "outcome"),
    [
        ("CRP", Ref("CRP")),
        ("log(CRP)", Transform(Function.LOG, Ref("CRP"))),
        ("SEX == 'F'", Indicator(Comparison("SEX", Operator.EQUAL, "F"))),
        ("factor(ECOG)", Transform(Function.FACTOR, Ref("ECOG"))),
        ("", None),
    ],
)
def test_left_side_may_be_any_column_a_condition_or_nothing(left: str, outcome: object, dictionary: Dictionary) -> None:
    model = parse_model(f"{left} ~ AGE + offset(log(CRP))", dictionary)
    assert model.outcome == outcome
    assert model.offset == Transform(Function.LOG, Ref("CRP"))
    assert model.terms == (Term((Ref("AGE"),)),)
    assert model.time is None


@pytest.mark.parametrize(
    ("text", "code", "marked"),
    [
        (SURV + "AGEE + SEX", "UNKNOWN_VARIABLE", "AGEE"),
        (SURV + "AGE + RANDDT", "FORBIDDEN_VARIABLE", "RANDDT"),
        (SURV + "AGE + NOTES", "FORBIDDEN_VARIABLE", "NOTES"),
        (SURV + "USUBJID", "FORBIDDEN_VARIABLE", "USUBJID"),
        (SURV + "AGE + spline(CRP)", "UNKNOWN_FUNCTION", "spline(CRP)"),
        (SURV + "AGE + log(SEX)", "WRONG_TYPE", "SEX"),
        (SURV + "strata(AGE)", "WRONG_TYPE", "AGE"),
        (SURV + "relevel(SEX, ref = 'X')", "UNKNOWN_LEVEL", "'X'"),
        (SURV + "AGE + 0", "FORMULA_SYNTAX", "0"),
        (SURV + "AGE +", "FORMULA_SYNTAX", ""),
        (SURV + "AGE SEX", "FORMULA_SYNTAX", "SEX"),
        (SURV + "AGE ; SEX", "FORMULA_SYNTAX", ";"),
        (SURV + "AGE + SEX == 'F'", "FORMULA_SYNTAX", "AGE + SEX == 'F'"),
        (SURV + "AGE:SEX", "MARGINAL_TERM", "AGE:SEX"),
        (SURV + "I(AGE^3)", "UNKNOWN_FUNCTION", "AGE^3"),
        (SURV + "I(AGE - CRP)", "FORMULA_SYNTAX", "CRP"),
        ("Surv(AVAL, CNSR) ~ AGE", "WRONG_TYPE", "CNSR"),
        ("Surv(AVAL, SEX) ~ AGE", "WRONG_TYPE", "SEX"),
        ("Surv(SEX, DTH) ~ AGE", "WRONG_TYPE", "SEX"),
        ("Surv(log(AVAL), DTH) ~ AGE", "FORMULA_SYNTAX", "log(AVAL)"),
        ("Surv(AVAL) ~ AGE", "FORMULA_SYNTAX", "Surv(AVAL)"),
        ("AGE ~ SEX - 1", "FORMULA_SYNTAX", "SEX - 1"),
        ("AGE ~ 0 + SEX", "FORMULA_SYNTAX", "0"),
        ("AGE ~ SEX + offset(SEX)", "WRONG_TYPE", "SEX"),
        ("AGE ~ CRP:offset(AGE)", "FORMULA_SYNTAX", "CRP:offset(AGE)"),
        ("AGE + SEX", "FORMULA_SYNTAX", "AGE + SEX"),
        ("Surv(AVAL, CNSR == 'a') ~ AGE", "WRONG_TYPE", "'a'"),
    ],
)
def test_bad_formula_is_refused_with_its_place_marked(
    text: str, code: str, marked: str, dictionary: Dictionary
) -> None:
    with pytest.raises(UsageError) as caught:
        parse_model(text, dictionary)
    assert caught.value.code == code
    _, line, marks = caught.value.message.split("\n")
    start, end = marks.index("^"), marks.rindex("^") + 1
    assert line[start:end] == marked
    assert caught.value.remedy


def test_unknown_variable_names_the_nearest_one(dictionary: Dictionary) -> None:
    with pytest.raises(UsageError) as caught:
        parse_model(SURV + "trt01p", dictionary)
    assert "did you mean TRT01P" in caught.value.remedy


def test_unknown_function_lists_the_known_ones(dictionary: Dictionary) -> None:
    with pytest.raises(UsageError) as caught:
        parse_model(SURV + "ns(AGE, 3)", dictionary)
    assert "log(x)" in caught.value.remedy
    assert "strata(x, ...)" in caught.value.remedy


def test_deep_nesting_is_refused_and_does_not_exhaust_the_stack(dictionary: Dictionary) -> None:
    with pytest.raises(UsageError, match="nested too deeply"):
        parse_model(SURV + "(" * 3000 + "AGE" + ")" * 3000, dictionary)


def test_large_power_is_refused_before_it_is_expanded(dictionary: Dictionary) -> None:
    factors = " + ".join(f"I(AGE - {k})" for k in range(60))
    with pytest.raises(UsageError, match="more than 200 terms"):
        parse_model(SURV + f"({factors})^5", dictionary)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("AGE >= 18", Comparison("AGE", Operator.GREATER_OR_EQUAL, 18.0)),
        ("18 < AGE", Comparison("AGE", Operator.GREATER, 18.0)),
        ("AGE > -1.5", Comparison("AGE", Operator.GREATER, -1.5)),
        ("LINE == 1", Comparison("LINE", Operator.EQUAL, "1")),
        ("!is.na(ECOG)", Missing("ECOG", negated=True)),
        ("SITEID %in% c('01', \"02\")", Membership("SITEID", ("01", "02"))),
        ("!SITEID %in% '01'", Membership("SITEID", ("01",), negated=True)),
        (
            "AGE >= 18 & SEX == 'F' & !is.na(ECOG)",
            All(
                (
                    Comparison("AGE", Operator.GREATER_OR_EQUAL, 18.0),
                    Comparison("SEX", Operator.EQUAL, "F"),
                    Missing("ECOG", negated=True),
                )
            ),
        ),
        (
            "AGE < 18 | SEX == 'F' & CRP > 1",
            AnyOf(
                (
                    Comparison("AGE", Operator.LESS, 18.0),
                    All((Comparison("SEX", Operator.EQUAL, "F"), Comparison("CRP", Operator.GREATER, 1.0))),
                )
            ),
        ),
        (
            "!(AGE < 18 | SEX == 'F')",
            All(
                (
                    Comparison("AGE", Operator.GREATER_OR_EQUAL, 18.0),
                    Comparison("SEX", Operator.NOT_EQUAL, "F"),
                )
            ),
        ),
    ],
)
def test_filter_becomes_a_declared_tree(text: str, expected: object, dictionary: Dictionary) -> None:
    assert parse_filter(text, dictionary) == expected


@pytest.mark.parametrize(
    ("text", "code", "marked"),
    [
        ("AGEE > 3", "UNKNOWN_VARIABLE", "AGEE"),
        ("USUBJID == 'x'", "FORBIDDEN_VARIABLE", "USUBJID"),
        ("SEX == 'X'", "UNKNOWN_LEVEL", "'X'"),
        ("SEX > 'F'", "WRONG_TYPE", "SEX > 'F'"),
        ("AGE == 'old'", "WRONG_TYPE", "'old'"),
        ("nchar(SEX) == 1", "FORMULA_SYNTAX", "nchar(SEX)"),
        ("any(SEX)", "UNKNOWN_FUNCTION", "any(SEX)"),
        ("AGE", "FORMULA_SYNTAX", "AGE"),
        ("1 < AGE < 3", "FORMULA_SYNTAX", "<"),
        ("AGE = 3", "FORMULA_SYNTAX", "="),
        ("SEX == F", "FORMULA_SYNTAX", "F"),
        ("SEX %in% AGE", "FORMULA_SYNTAX", "AGE"),
    ],
)
def test_bad_filter_is_refused_with_its_place_marked(text: str, code: str, marked: str, dictionary: Dictionary) -> None:
    with pytest.raises(UsageError) as caught:
        parse_filter(text, dictionary)
    assert caught.value.code == code
    _, line, marks = caught.value.message.split("\n")
    assert line[marks.index("^") : marks.rindex("^") + 1] == marked


def test_odd_names_and_levels_are_written_and_read_back() -> None:
    odd = "a b`c\\d\te"
    level = "x \"y\" \\ 'z'\n\t"
    dictionary = Dictionary("D", {odd: Variable(odd, VariableType.FACTOR, levels=("0", level))})
    wanted = Comparison(odd, Operator.EQUAL, level)
    assert parse_filter(written_predicate(wanted), dictionary) == wanted
    model = parse_model(f"{written_predicate(wanted)} ~ {written_name(odd)}", dictionary)
    assert (model.outcome, model.terms) == (Indicator(wanted), (Term((Ref(odd),)),))


@pytest.mark.parametrize("value", [0.1 + 0.2, 1e-300, -1.5, 12.0, 1e22])
def test_numbers_are_written_and_read_back_to_the_last_bit(value: float, dictionary: Dictionary) -> None:
    wanted = Comparison("AGE", Operator.GREATER, value)
    assert parse_filter(written_predicate(wanted), dictionary) == wanted
