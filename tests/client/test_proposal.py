"""A study and a plan as people write them."""

from __future__ import annotations

from pathlib import Path

import pytest
from pooling import HERE, breast_cancer, participants

from isthmus.errors import ConfigError, IsthmusError, UsageError
from isthmus.v1 import study_pb2
from isthmus_client import study_from_toml
from isthmus_client.plan_file import read_plan
from isthmus_client.study import Study
from isthmus_methods.codec import spec_from_message
from isthmus_trust.documents import canonical

SMALL = """
name = "S"
title = "t"
rationale = "why"
recipients = ["we"]

[[dataset]]
name = "D"
subject = "id"

[dataset.variables.id]
type = "text"
roles = ["identifier"]

[dataset.variables.t]
type = "integer"
unit = "days"
minimum = 0
maximum = 100

[dataset.variables.e]
type = "integer"
minimum = 0
maximum = 1

[dataset.variables.arm]
type = "factor"
levels = ["A", "B"]
roles = ["treatment arm"]

[[plan]]
name = "p"
method = "cox"
formula = "Surv(t, e) ~ arm"
"""


def written(folder: Path, text: str) -> study_pb2.Study:
    (folder / "study.toml").write_text(text, encoding="utf-8")
    return study_from_toml(folder / "study.toml", participants())


def test_study_file_becomes_the_document_that_is_signed(tmp_path: Path) -> None:
    study = written(tmp_path, SMALL)
    assert (study.name, study.version, list(study.recipients)) == ("S", 1, ["we"])
    assert [p.node for p in study.participants] == ["nl", "be", "de", "at"]
    dataset = study.datasets[0]
    assert dataset.subject == "id"
    arm = dataset.variables[3]
    assert (arm.type, list(arm.levels), list(arm.roles)) == (
        study_pb2.Variable.FACTOR,
        ["A", "B"],
        [study_pb2.Variable.TREATMENT_ARM],
    )
    assert dataset.variables[1].maximum == 100
    assert not dataset.variables[1].HasField("grid")
    analysis = study.plan[0]
    assert analysis.purpose == study_pb2.TRIAL_ANALYSIS
    assert analysis.missing_country == study_pb2.WAIT
    assert spec_from_message(analysis.spec, study).terms[0].name == "arm"
    assert canonical(study)


def test_participants_stand_in_the_order_of_the_file(tmp_path: Path) -> None:
    study = written(tmp_path, 'participants = ["at", "nl"]\n' + SMALL)
    assert [p.country for p in study.participants] == ["AT", "NL"]


def test_example_study_reads() -> None:
    example = HERE.parents[1] / "examples/breast-cancer/study.toml"
    study = study_from_toml(example, participants())
    assert [a.spec.method for a in study.plan] == ["table_one", "kaplan_meier", "log_rank", "cox", "meta_analysis"]


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (('title = "t"', 'titel = "t"'), "UNKNOWN_KEY", "titel"),
        (('unit = "days"', 'units = "days"'), "UNKNOWN_KEY", "dataset.0.variables.t.units"),
        (
            ('method = "cox"', 'method = "coxx"'),
            "BAD_VALUE",
            "plan.0.method: there is no method 'coxx'; did you mean 'cox'?",
        ),
        (('title = "t"', ""), "KEY_MISSING", "title"),
        (('title = "t"', "title = 3"), "BAD_VALUE", "title"),
        (('title = "t"', "title = "), "NOT_TOML", "study.toml"),
        (('levels = ["A", "B"]', ""), "BAD_VALUE", "arm is a factor without levels"),
        (('levels = ["A", "B"]', 'levels = ["A", "A"]'), "TWICE", "level of arm"),
        (('subject = "id"', 'subject = "nobody"'), "UNKNOWN_VARIABLE", "nobody"),
        (('title = "t"', 'title = "t"\nparticipants = ["fr"]'), "UNKNOWN_PARTICIPANT", "fr"),
        (('title = "t"', 'title = "t"\nparticipants = ["nl", "nl"]'), "TWICE", "participant"),
        (("Surv(t, e) ~ arm", "Surv(t, e) ~ arms"), "UNKNOWN_VARIABLE", "analysis p: "),
        (("Surv(t, e) ~ arm", "Surv(t, e) ~ id"), "FORBIDDEN_VARIABLE", "analysis p: "),
        (('method = "cox"', 'method = "table_one"'), "WRONG_FORMULA", "analysis p: "),
        (('formula = "Surv(t, e) ~ arm"', 'variables = ["arm"]'), "NO_TERMS", "analysis p: "),
        (('[[plan]]\nname = "p"', '[[plan]]\nname = "p"\noptions = { ties = "x" }'), "WRONG_OPTION", "analysis p: "),
    ],
)
def test_bad_study_file_is_refused_with_what_and_where(
    tmp_path: Path, change: tuple[str, str], code: str, said: str
) -> None:
    assert change[0] in SMALL
    with pytest.raises(IsthmusError) as caught:
        written(tmp_path, SMALL.replace(*change))
    assert caught.value.code == code
    assert said in caught.value.message
    assert isinstance(caught.value, ConfigError | UsageError)


def test_unknown_key_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean unit"):
        written(tmp_path, SMALL.replace('unit = "days"', 'units = "days"'))


def test_study_without_nodes_on_the_roster_is_refused(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(SMALL, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        study_from_toml(tmp_path / "study.toml", [])
    assert caught.value.code == "NO_PARTICIPANTS"


def test_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        study_from_toml(tmp_path / "no.toml", participants())
    assert caught.value.code == "FILE_MISSING"


# --------------------------------------------------------------------------- plans


def plan(folder: Path, text: str) -> list[str]:
    (folder / "plan.toml").write_text(text, encoding="utf-8")
    study = Study(None, breast_cancer(), bytes(32))  # type: ignore[arg-type]
    return [
        "+".join(step.planned or step.analysis.spec.method for step in p.steps)
        for p in read_plan(folder / "plan.toml").plans(study)
    ]


def test_plan_lists_planned_analyses_and_formulas(tmp_path: Path) -> None:
    text = """
study = "BREAST-RFS"
planned = ["table-1", "primary"]

[[analysis]]
planned = "km"

[[analysis]]
method = "cox"
formula = "Surv(rfstime, status) ~ hormon"
by = "country"
where = "age >= 50"
missing_country = "go on without"

[[analysis]]
method = "table_one"
variables = ["age"]
arm = "hormon"
"""
    assert plan(tmp_path, text) == ["table-1", "primary", "km", "cox+meta_analysis", "table_one"]


def test_plan_may_ask_for_every_planned_analysis(tmp_path: Path) -> None:
    assert plan(tmp_path, 'study = "BREAST-RFS"\nplanned = "all"\n') == [
        "table-1",
        "km",
        "log-rank",
        "primary",
        "by-country",
    ]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('study = "S"', "NO_ANALYSIS"),
        ('planned = "all"', "KEY_MISSING"),
        ('study = "S"\nplan = "all"', "UNKNOWN_KEY"),
        ('study = "S"\nplanned = ["nope"]', "UNKNOWN_ANALYSIS"),
        ('study = "S"\n[[analysis]]\nformula = "x ~ y"', "NO_METHOD"),
        ('study = "S"\n[[analysis]]\nplanned = "km"\nmethod = "cox"', "BOTH_WAYS"),
        ('study = "S"\n[[analysis]]\nmethod = "cox"\nformula = "Surv(rfstime, status) ~ hormone"', "UNKNOWN_VARIABLE"),
    ],
)
def test_bad_plan_is_refused(tmp_path: Path, text: str, code: str) -> None:
    with pytest.raises(IsthmusError) as caught:
        plan(tmp_path, text)
    assert caught.value.code == code


def test_recipients_are_named_by_the_part_they_play_for_the_study_and_for_one_analysis(tmp_path: Path) -> None:
    text = SMALL.replace('recipients = ["we"]', 'recipients = ["we"]\nrecipient_roles = ["statistician", "sponsor"]')
    text = text.replace('method = "cox"', 'method = "cox"\nrecipient_roles = ["authority"]')
    study = written(tmp_path, text.replace('roles = ["treatment arm"]', 'roles = ["treatment arm", "genomic"]'))
    assert list(study.recipient_roles) == [study_pb2.STATISTICIAN, study_pb2.SPONSOR]
    assert list(study.plan[0].recipients) == [study_pb2.AUTHORITY]
    assert study_pb2.Variable.GENOMIC in study.datasets[0].variables[3].roles
    with pytest.raises(ConfigError, match="recipient_roles"):
        written(tmp_path, text.replace('"sponsor"', '"everybody"'))
    with pytest.raises(ConfigError, match="twice"):
        written(tmp_path, text.replace('"sponsor"', '"statistician"'))
