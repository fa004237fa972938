"""Ages above what the policy says are read as that, but for open data and for what no dictionary calls an age."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from isthmus.v1 import spec_pb2, study_pb2, summary_pb2
from isthmus_methods.codec import array_from_message
from isthmus_methods.contract import Cleared, Comparison, Operator, Ref, Spec, Variable, VariableType
from isthmus_methods.pooling import pool_round
from isthmus_methods.registry import find
from isthmus_methods.summary_codec import cleared_from_message
from isthmus_node.catalogue import Datasets
from isthmus_node.catalogue.findings import check_conversion
from isthmus_node.compute.ages import Ages, in_its_unit, told_of
from isthmus_node.sources import Source, convert, read, typed
from isthmus_trust.documents import canonical, digest

AGE = 97.0
TRIALS = "[purpose.trial_analysis]\n"
ROLE = study_pb2.Variable.AGE


@pytest.fixture
def others(site: Any) -> float:
    """One person is 97 years old; the sum of all other ages, which a colleague in the country knows."""
    lines = site.source.read_text().splitlines()
    cells = lines[1].split(",")
    cells[3] = str(AGE)
    site.source.write_text("\n".join([lines[0], ",".join(cells), *lines[2:]]) + "\n")
    return sum(float(line.split(",")[3]) - 18 for line in lines[2:])


def ask(site: Any, *roles: int, **more: Any) -> summary_pb2.Summary | summary_pb2.Refusal:
    """Age in a Table 1, of a study whose dictionary gives the variable these roles."""
    study = study_pb2.Study()
    study.CopyFrom(site.study)
    study.version += 1
    age = next(v for v in study.datasets[0].variables if v.name == "AGE")
    age.roles[:] = roles
    columns = [spec_pb2.Column(variable=more.pop("variable", "AGE"))]
    study.plan[0].spec.CopyFrom(
        spec_pb2.Spec(
            method="table_one", method_version=2, dataset="ADTTE",
            roles=[spec_pb2.Role(name="variables", columns=columns)],
        )
    )  # fmt: skip
    site.study = study
    site.decide(site.announce(study))
    site.ask(site.task(study_digest=digest(canonical(study)), spec=study.plan[0].spec, **more))
    return site.answers()[-1]


def oldest(answer: summary_pb2.Summary, others: float) -> float:
    """The age that is left of the sum once all others' are taken off it."""
    (total,) = [array_from_message(i.value) for i in answer.items if i.field == "sum"]
    return float(total[0]) - others + 18


def test_without_the_guard_a_sum_less_all_others_tells_the_oldest_age(
    site: Any, others: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ages, "up_to", lambda _self, table, _years: table)
    assert oldest(ask(site, ROLE), others) == pytest.approx(AGE)


def test_sum_less_all_others_tells_no_age_above_ninety(site: Any, others: float) -> None:
    found = ask(site, ROLE)
    assert oldest(found, others) == pytest.approx(90.0)
    assert found.ages_up_to == 90.0


def test_answer_that_names_no_age_says_nothing_of_ages(site: Any, others: float) -> None:
    assert ask(site, ROLE, variable="AVAL").ages_up_to == 0.0


def test_what_no_dictionary_calls_an_age_is_read_as_it_is(site: Any, others: float) -> None:
    found = ask(site)
    assert (oldest(found, others), found.ages_up_to) == (pytest.approx(AGE), 0.0)


def test_open_data_are_read_as_they_are(site: Any, others: float) -> None:
    Datasets(site.home.state, "NL").add("ADTTE", Source(str(site.source)), open_data=True, replacing=True)
    found = ask(site, ROLE)
    assert (oldest(found, others), found.ages_up_to) == (pytest.approx(AGE), 0.0)


@pytest.mark.parametrize(("top", "read_as", "told"), [(75, 75.0, 75.0), (100, AGE, 100.0), (150, AGE, 0.0)])
def test_trials_policy_may_say_another_age(site: Any, others: float, top: int, read_as: float, told: float) -> None:
    site.adopt(f"{TRIALS}age_top = {top}")
    found = ask(site, ROLE)
    columns = np.loadtxt(site.source, delimiter=",", skiprows=1, usecols=3)
    (total,) = [array_from_message(i.value) for i in found.items if i.field == "sum"]
    assert float(total[0]) == pytest.approx(float((np.minimum(columns, min(top, 200)) - 18).sum()))
    assert (max(np.minimum(columns, top)), found.ages_up_to) == (read_as, told)


def test_other_top_over_the_same_persons_is_a_change_of_few_values(site: Any, others: float) -> None:
    """Two sums under two tops differ by what the oldest have above the lower one."""
    assert isinstance(ask(site, ROLE), summary_pb2.Summary)
    site.adopt(f"{TRIALS}age_top = 150")
    refused = ask(site, ROLE, run=bytes(15) + b"1")
    assert (refused.code, type(refused).__name__) == ("DIFFERENCING", "Refusal")


def test_result_names_the_countries(site: Any, others: float) -> None:
    method = find("table_one", 2)
    variable = Variable("AGE", VariableType.NUMERIC, minimum=18, maximum=110, roles=frozenset({"AGE"}))
    spec = Spec("table_one", "ADTTE", {"AGE": variable}, roles={"variables": (Ref("AGE"),)}, version=2)
    cleared = cleared_from_message(ask(site, ROLE), method)
    two = [cleared, Cleared("DE", cleared.values)]
    turn = pool_round(method, two, spec, {}, {}, 1)
    squares = {("deviations", "AGE"): np.zeros(1), ("squares", "AGE"): np.ones(1)}
    last = [Cleared(s.country, squares, ages_up_to=s.ages_up_to) for s in two]
    done = pool_round(method, last, spec, turn.state, turn.memory, 2)
    assert done.caveats == ("Ages above 90 years are taken as 90 in NL, as the policy asks.",)


def a_table(site: Any, unit: str = "years", *roles: int) -> Any:
    dictionary = study_pb2.Dataset()
    dictionary.CopyFrom(site.study.datasets[0])
    age = next(v for v in dictionary.variables if v.name == "AGE")
    age.unit = unit
    age.roles[:] = roles
    return typed(read(Source(str(site.source))), dictionary, "NL")


def test_table_is_topped_once_and_is_another_snapshot(site: Any, others: float) -> None:
    table, ages = a_table(site, "years", ROLE), Ages()
    topped = ages.up_to(table, 90)
    assert topped is ages.up_to(table, 90)
    assert topped.digest != table.digest != ages.up_to(table, 91).digest
    assert topped.named_digest() != table.named_digest()
    assert (table.numbers["AGE"].max(), topped.numbers["AGE"].max()) == (AGE, 90.0)
    assert not topped.numbers["AGE"].flags.writeable
    assert ages.up_to(a_table(site), 90).numbers["AGE"].max() == AGE


@pytest.mark.parametrize(
    ("unit", "top"), [("years", 90.0), ("Months", 1080.0), ("d", 32872.5), ("wk", 32872.5 / 7), ("", 90.0)]
)
def test_age_is_topped_in_its_unit(unit: str, top: float) -> None:
    assert in_its_unit(Variable("AGE", VariableType.NUMERIC, unit=unit), 90) == pytest.approx(top)


@pytest.mark.parametrize(("maximum", "told"), [(110.0, 90.0), (None, 90.0), (90.0, 0.0)])
def test_nothing_is_said_where_the_dictionary_has_no_such_age(maximum: float | None, told: float) -> None:
    age = Variable("AGE", VariableType.NUMERIC, maximum=maximum, roles=frozenset({"AGE"}))
    old = Comparison("AGE", Operator.GREATER, 60.0)
    events = Spec("safety", "ADAE", {"AGE": age}, where=old)
    assert told_of(Spec("safety", "ADSL", {}, events=events), 90) == told


@pytest.mark.parametrize(("roles", "found"), [((), True), ((ROLE,), False)])
def test_check_at_the_site_asks_about_ages_that_are_not_declared(site: Any, roles: tuple[int], found: bool) -> None:
    dictionary = study_pb2.Dataset()
    dictionary.CopyFrom(site.study.datasets[0])
    next(v for v in dictionary.variables if v.name == "AGE").roles[:] = roles
    codes = {f.code for f in check_conversion(convert(read(Source(str(site.source))), dictionary, "NL"))}
    assert ("AGE_UNDECLARED" in codes) == found
