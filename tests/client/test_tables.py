"""Cross-tables, stratified tables and adverse events as a statistician asks for them and reads them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from matplotlib.text import Text
from pooling import breast_cancer, participants, pooled

from isthmus.errors import ConfigError, UsageError
from isthmus.v1 import analyst_pb2, study_pb2
from isthmus_client.formula import Dictionary
from isthmus_client.proposal import dictionary_of, study_from_toml
from isthmus_client.r_code import r_call
from isthmus_client.requests import Events, request
from isthmus_client.results import CmhFit, CrosstabFit, SafetyFit
from isthmus_client.results.fit import fit_of
from isthmus_methods.codec import answer_to_message, spec_from_message, spec_to_message
from isthmus_methods.contract import Comparison, Indicator, Ref, Spec
from isthmus_methods.in_process import pool_in_process
from isthmus_methods.registry import find
from isthmus_node.compute import blocks
from isthmus_node.sources import Source, read, typed

CASE = Path(__file__).parents[1] / "reference" / "t21_safety_cgd" / "data"
COUNTRIES = ("US", "CA", "NL", "CH")
STUDY = """
name = "CGD"
title = "Infections"
rationale = "to test"
recipients = ["testers"]
[[dataset]]
name = "ADSL"
subject = "id"
one_row_a_subject = true
[dataset.variables]
id = { type = "integer", roles = ["identifier"] }
treat = { type = "factor", levels = ["placebo", "rIFN-g"], roles = ["treatment arm"] }
days = { type = "integer", minimum = 0, maximum = 500 }
[[dataset]]
name = "ADAE"
subject = "id"
[dataset.variables]
id = { type = "integer", roles = ["identifier"] }
class = { type = "factor", levels = ["X-linked", "autosomal"] }
term = { type = "factor", levels = ["male with", "male without", "female with"] }
serious = { type = "factor", levels = ["N", "Y"] }
day = { type = "integer", minimum = -30, maximum = 500, may_be_missing = true }
[[plan]]
name = "safety"
method = "safety"
dataset = "ADSL"
roles = { arm = "treat", exposure = "days" }
options = { subsets = ["serious"] }
[plan.events]
dataset = "ADAE"
where = "day > 0 | is.na(day)"
roles = { group_term = "class", term = "term", day = "day", subsets = ["serious == 'Y'"] }
"""


def counted(method: str, roles: dict[str, str | list[str]], **options: object) -> analyst_pb2.Result:
    study = breast_cancer()
    return pooled(request(method, Dictionary.of(study.datasets[0]), roles=roles, options=options), study)


@pytest.fixture(scope="module")
def two_arms() -> CrosstabFit:
    roles: dict[str, str | list[str]] = {"row": "hormon", "column": "status == 1"}
    fit = fit_of(counted("crosstab", roles, treated="1", control="0"), breast_cancer())
    assert isinstance(fit, CrosstabFit)
    return fit


@pytest.fixture(scope="module")
def crossed() -> CrosstabFit:
    fit = fit_of(counted("crosstab", {"row": "grade", "column": "size"}), breast_cancer())
    assert isinstance(fit, CrosstabFit)
    return fit


@pytest.fixture(scope="module")
def stratified() -> CmhFit:
    roles: dict[str, str | list[str]] = {"arm": "hormon", "outcome": "status == 1", "strata": "grade"}
    fit = fit_of(counted("cmh", roles, treated="1", control="0"), breast_cancer())
    assert isinstance(fit, CmhFit)
    return fit


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> study_pb2.Study:
    return written(tmp_path_factory.mktemp("study"), STUDY)


def written(folder: Path, text: str) -> study_pb2.Study:
    path = folder / "study.toml"
    path.write_text(text, encoding="utf-8")
    return study_from_toml(path, participants(COUNTRIES))


@pytest.fixture(scope="module")
def safety(study: study_pb2.Study) -> SafetyFit:
    spec = spec_from_message(study.plan[0].spec, study)
    rows = {
        c: blocks(
            spec,
            typed(read(Source(str(CASE / "subjects" / f"{c}.csv"))), study.datasets[0], c),
            find("safety"),
            typed(read(Source(str(CASE / "events" / f"{c}.csv"))), study.datasets[1], c),
        )
        for c in COUNTRIES
    }
    done, rounds = pool_in_process(find("safety"), rows, spec)
    result = analyst_pb2.Result(
        run=hashlib.sha256(b"safety").digest()[:16],
        study=study.name,
        study_version=study.version,
        analysis="safety",
        spec=study.plan[0].spec,
        purpose=study_pb2.TRIAL_ANALYSIS,
        state="done",
        answer=answer_to_message(done.answer),
        exact=True,
        rounds=rounds,
        caveats=list(done.caveats),
    )
    fit = fit_of(result, study)
    assert isinstance(fit, SafetyFit)
    return fit


# --------------------------------------------------------------------------- tables


def test_two_arms_have_counts_tests_and_effects(two_arms: CrosstabFit) -> None:
    assert list(two_arms.counts().columns) == ["event", "no_event"]
    assert list(two_arms.table().index) == ["risk difference", "risk ratio", "odds ratio", "odds ratio, exact"]
    text = two_arms.text()
    assert "crosstab(hormon, I(status == 1))" in text
    assert "Fisher's exact" in text
    assert two_arms.arms()["n"].sum() == two_arms.counts().to_numpy().sum()


def test_larger_table_shows_its_counts(crossed: CrosstabFit) -> None:
    assert crossed.table().shape == (3, 3)
    assert "likelihood ratio" in crossed.text()
    assert "Fisher's exact" not in crossed.tests().index


def test_strata_have_common_effects_and_a_forest(stratified: CmhFit) -> None:
    assert set(stratified.strata().index) == {"1", "2", "3"}
    assert "Mantel-Haenszel odds ratio" in stratified.text()
    assert "Breslow-Day homogeneity" in stratified.tests().index
    drawn = [text.get_text() for text in stratified.plot.forest().findobj(Text)]
    assert {"1", "2", "3", "Mantel-Haenszel"} <= set(drawn)


def test_general_test_has_no_effect_to_draw() -> None:
    fit = fit_of(counted("cmh", {"arm": "grade", "outcome": "size", "strata": "hormon"}), breast_cancer())
    assert isinstance(fit, CmhFit)
    assert list(fit.table().index) == ["general association"]
    with pytest.raises(UsageError) as caught:
        fit.plot.forest()
    assert caught.value.code == "NO_EFFECT"


def test_r_calls_name_the_tests(two_arms: CrosstabFit, stratified: CmhFit, safety: SafetyFit) -> None:
    assert 'table(factor(hormon, levels = c("1", "0")), factor(status == 1, levels = c(TRUE, FALSE)))' in r_call(
        two_arms.spec
    )
    assert "mantelhaen.test(x, correct = FALSE)" in r_call(stratified.spec)
    assert "subset(events, day > 0 | is.na(day))" in r_call(safety.spec)


# --------------------------------------------------------------------------- events


def test_plan_in_toml_names_the_dataset_of_events(study: study_pb2.Study) -> None:
    spec = spec_from_message(study.plan[0].spec, study)
    assert isinstance(spec.events, Spec)
    assert spec.events.dataset == "ADAE"
    assert spec.events.role("term") == (Ref("term"),)
    [serious] = spec.events.role("subsets")
    assert isinstance(serious, Indicator)
    assert isinstance(serious.predicate, Comparison)
    assert spec_to_message(spec) == study.plan[0].spec


def test_unknown_key_of_events_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        written(tmp_path, STUDY.replace("[plan.events]", "[plan.events]\ndatset = 1"))
    assert caught.value.code == "UNKNOWN_KEY"
    assert "dataset" in caught.value.remedy


def test_column_that_events_do_not_have_is_marked(study: study_pb2.Study) -> None:
    with pytest.raises(UsageError) as caught:
        request(
            "safety",
            dictionary_of(study, "ADSL"),
            roles={"arm": "treat", "exposure": "days"},
            events=(dictionary_of(study, "ADAE"), Events("ADAE", {"group_term": "clas"})),
        )
    assert caught.value.code == "UNKNOWN_VARIABLE"
    assert "class" in caught.value.remedy


def test_adverse_events_have_a_row_a_set_and_class(safety: SafetyFit) -> None:
    assert list(safety.table().index) == ["any event", "serious", "X-linked", "autosomal"]
    assert safety.subjects()["N"].tolist() == [65, 63]
    assert set(safety.rates().index.get_level_values("arm")) == {"placebo", "rIFN-g"}
    # a term that the dictionary does not have is never named
    assert {term for _, term in safety.terms().index} == {"male with", "male without", "female with", "OTHER"}
    text = safety.text()
    assert "placebo (N=65)" in text
    assert "safety(treat, exposure = days, events = ADAE)" in text


def test_risk_differences_are_drawn_for_an_arm_that_is_compared(safety: SafetyFit) -> None:
    figure = safety.plot.risk_differences("rIFN-g")
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == [
        *reversed(["any event", "serious", *_by_difference(safety)])
    ]
    with pytest.raises(UsageError) as caught:
        safety.plot.risk_differences("placebo")
    assert caught.value.code == "UNKNOWN_ARM"


def _by_difference(fit: SafetyFit) -> list[str]:
    column = fit.table()["rIFN-g: risk difference"].drop(["any event", "serious"])
    return list(column.sort_values(ascending=False).index)


def test_report_has_every_table_of_adverse_events(safety: SafetyFit, tmp_path: Path) -> None:
    page = safety.report(tmp_path / "safety.html").read_text(encoding="utf-8")
    assert all(caption in page for caption in ("Subjects", "Events", "Rates", "Terms"))
