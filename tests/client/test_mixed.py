"""MMRM and random intercepts as a statistician asks for and reads them."""

from __future__ import annotations

from pathlib import Path

import pytest
from pooling import participants

from conformance.case import Case, read_case
from conformance.study import study_toml
from isthmus.errors import UsageError
from isthmus.v1 import analyst_pb2, study_pb2
from isthmus_client.formula.random import Correlated, correlated
from isthmus_client.plan import Plan
from isthmus_client.proposal import study_from_toml
from isthmus_client.r_code import r_call
from isthmus_client.results import LmmFit, MmrmFit
from isthmus_client.results.fit import fit_of
from isthmus_client.study import Study
from isthmus_methods.codec import answer_to_message, spec_from_message, spec_to_message
from isthmus_methods.in_process import pool_in_process
from isthmus_methods.registry import find
from isthmus_node.compute import blocks
from isthmus_node.sources import Source, read, typed

CASE = Path(__file__).parents[1] / "reference" / "t30_mixed_pbcseq"
FORMULA = "CHG ~ TRTP * AVISIT + BASE * AVISIT + country"


def written(folder: Path) -> tuple[Case, study_pb2.Study]:
    """The study that the case's author would write."""
    case = read_case(CASE)
    path = folder / "study.toml"
    path.write_text(study_toml(case, "PBC", {c: c.lower() for c in case.countries}), encoding="utf-8")
    return case, study_from_toml(path, participants(case.countries))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> study_pb2.Study:
    return written(tmp_path_factory.mktemp("study"))[1]


def asking(study: study_pb2.Study) -> Study:
    return Study(None, study, bytes(32))  # type: ignore[arg-type]


def result_of(plan: Plan, study: study_pb2.Study) -> analyst_pb2.Result:
    """The result of a plan over the case's files, read as a node reads them."""
    case = read_case(CASE)
    spec = spec_from_message(plan.steps[0].analysis.spec, study)
    method = find(spec.method)
    [table] = case.tables.values()
    rows = {
        country: blocks(spec, typed(read(Source(str(file))), study.datasets[0], country), method)
        for country, file in table.files.items()
    }
    done, rounds = pool_in_process(method, rows, spec)
    result = analyst_pb2.Result(
        run=bytes(16), study=study.name, study_version=1, study_digest=bytes(32), spec=spec_to_message(spec),
        purpose=study_pb2.TRIAL_ANALYSIS, state="done", answer=answer_to_message(done.answer),
        exact=not done.caveats, caveats=list(done.caveats), rounds=rounds, software="0.1.0",
    )  # fmt: skip
    for country in rows:
        result.contributions.add(node=country.lower(), country=country, software="0.1.0", state="contributed")
    return result


@pytest.fixture(scope="module")
def fit(study: study_pb2.Study) -> MmrmFit:
    plan = asking(study).mmrm(FORMULA + " + us(AVISIT | USUBJID)", arm="TRTP")
    found = fit_of(result_of(plan, study), study, FORMULA)
    assert isinstance(found, MmrmFit)
    return found


@pytest.fixture(scope="module")
def nested(study: study_pb2.Study) -> LmmFit:
    found = fit_of(result_of(asking(study).lmm("CHG ~ TRTP + BASE + (1 | country/USUBJID)"), study), study)
    assert isinstance(found, LmmFit)
    return found


@pytest.fixture(scope="module")
def intercepts(study: study_pb2.Study) -> LmmFit:
    found = fit_of(result_of(asking(study).lmm("BILI ~ TRTP + AGE + (1 | country)"), study), study)
    assert isinstance(found, LmmFit)
    return found


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("y ~ x + (1 | country)", Correlated("y ~ x", group="country")),
        ("y ~ (1|country) + x", Correlated("y ~ x", group="country")),
        ("y ~ (1 | country)", Correlated("y ~ 1", group="country")),
        ("y ~ x + (1 | country/USUBJID)", Correlated("y ~ x", group="country", subject="USUBJID")),
        ("y ~ x + (1 | country) + (1 | USUBJID) + z", Correlated("y ~ x + z", group="country", subject="USUBJID")),
        ("y ~ x + us(`visit no.` | id)", Correlated("y ~ x", visit="visit no.", subject="id")),
        ("y ~ x * (a + b)", Correlated("y ~ x * (a + b)")),
    ],
)
def test_formula_says_what_is_correlated(formula: str, expected: Correlated) -> None:
    assert correlated(formula) == expected


@pytest.mark.parametrize("formula", ["y ~ (1 | a/b) + (1 | c)", "y ~ us(v | s) + us(w | s)", "y ~ us(v | s) + (1 | a)"])
def test_formula_that_says_too_much_is_refused(formula: str) -> None:
    with pytest.raises(UsageError, match="more is random"):
        correlated(formula)


def test_formula_and_keywords_ask_for_the_same(study: study_pb2.Study) -> None:
    ask = asking(study)
    one = ask.mmrm(FORMULA, visit="AVISIT", subject="USUBJID", arm="TRTP")
    assert (
        one.steps[0].analysis.spec == ask.mmrm(FORMULA + " + us(AVISIT | USUBJID)", arm="TRTP").steps[0].analysis.spec
    )
    assert (
        ask.lmm("BILI ~ AGE", group="country").steps[0].analysis.spec
        == ask.lmm("BILI ~ AGE + (1 | country)").steps[0].analysis.spec
    )


def test_mmrm_without_a_visit_is_told_what_it_lacks(study: study_pb2.Study) -> None:
    with pytest.raises(UsageError, match="visit"):
        asking(study).mmrm(FORMULA)


def test_mmrm_summary_is_as_r_prints_it(fit: MmrmFit) -> None:
    text = fit.text()
    for words in (
        "900 records of 285 subjects at up to 4 visits",
        "unstructured (10 variance parameters)",
        "Pr(>|t|)",
        "Covariance estimate:",
        "Least-squares means (other factors weighted equally):",
        "Month 36: D-penicillamine",
    ):
        assert words in text
    assert fit.call() == f"mmrm({FORMULA} + us(AVISIT | USUBJID))"


def test_mmrm_tables_hold_the_answer(fit: MmrmFit) -> None:
    means = fit.ls_means()
    assert means.loc[("Month 6", "Placebo"), "df"] > 100
    assert fit.differences("proportional").index.get_level_values("arm").unique().tolist() == ["D-penicillamine"]
    assert fit.sigma().shape == (4, 4)
    assert fit.correlation().to_numpy().diagonal().tolist() == [1.0] * 4
    assert fit.table().loc["BASE", "se"] < fit.table("kenward-roger").loc["BASE", "se"]


def test_mmrm_figure_has_an_arm_a_line(fit: MmrmFit) -> None:
    [(figure, words)] = fit.figures()
    assert "over visits" in words
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["Placebo", "D-penicillamine"]


def test_lmm_summary_is_as_r_prints_it(intercepts: LmmFit, nested: LmmFit) -> None:
    assert "lmer(BILI ~ TRTP + AGE + (1 | country))" in intercepts.call()
    for words in ("Random effects:", "Residual", "groups: country, 5", "Random intercept, by ML: LRT = "):
        assert words in intercepts.text()
    assert "USUBJID, 285" in nested.text()
    assert list(nested.variances().index) == ["USUBJID", "country", "Residual"]
    assert sorted(intercepts.random_effects().index) == ["DK", "FI", "IS", "NO", "SE"]
    assert intercepts.figures()


def test_r_calls_are_what_one_would_write(fit: MmrmFit, intercepts: LmmFit, nested: LmmFit) -> None:
    assert "corSymm(form = ~ visit.number | USUBJID)" in r_call(fit.spec)
    assert "+ us(AVISIT | USUBJID)" in r_call(fit.spec)
    assert "lmer(BILI ~ TRTP + AGE + (1 | country), data = d, REML = TRUE)" in r_call(intercepts.spec)
    assert "(1 | country/USUBJID)" in r_call(nested.spec)
