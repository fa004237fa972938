"""Every call and every plan on the page about asking works as it stands there."""

from __future__ import annotations

import ast
import hashlib
import re
from pathlib import Path

import pytest

from isthmus.v1 import study_pb2
from isthmus_client.plan import Plan
from isthmus_client.plan_file import read_plan
from isthmus_client.proposal import study_from_toml
from isthmus_client.study import Study

PAGE = (Path(__file__).resolve().parents[2] / "docs/analyses.md").read_text(encoding="utf-8")
CALLS = [
    ast.unparse(statement)
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    for statement in ast.parse(block).body
]
STUDY = """
name = "TRIAL"
title = "A trial"
rationale = "the page's examples"
recipients = ["its readers"]
by_country = true

[[dataset]]
name = "ADSL"
subject = "USUBJID"

[dataset.variables]
USUBJID = { type = "text", roles = ["identifier"] }
TRT01P = { type = "factor", levels = ["Placebo", "High"], roles = ["treatment arm"] }
SEX = { type = "factor", levels = ["F", "M"] }
DERM = { type = "factor", levels = ["N", "Y"] }
COUNTRY = { type = "factor", levels = ["NL", "BE"], roles = ["country"] }
AGE = { type = "integer", minimum = 18, maximum = 99, may_be_missing = true }
CRP = { type = "numeric", minimum = 0, maximum = 500 }
"BMI (kg/m2)" = { type = "numeric", minimum = 10, maximum = 80 }
AVAL = { type = "integer", minimum = 0, maximum = 2000 }
CNSR = { type = "integer", minimum = 0, maximum = 1 }
"""


@pytest.fixture
def study(tmp_path: Path) -> Study:
    (tmp_path / "study.toml").write_text(STUDY, encoding="utf-8")
    nodes = [
        study_pb2.Participant(
            node=c.lower(),
            country=c,
            identity_key=hashlib.sha256(c.encode()).digest(),
            custodian_key=hashlib.sha256(c.lower().encode()).digest(),
        )
        for c in ("NL", "BE")
    ]
    return Study(None, study_from_toml(tmp_path / "study.toml", nodes), bytes(32))  # type: ignore[arg-type]


@pytest.mark.parametrize("call", CALLS)
def test_call_on_the_page_is_a_plan(call: str, study: Study) -> None:
    assert isinstance(eval(call, {"study": study}), Plan)


def test_plan_on_the_page_is_read(study: Study, tmp_path: Path) -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "plan.toml").write_text(text, encoding="utf-8")
    plans = read_plan(tmp_path / "plan.toml").plans(study)
    assert [step.analysis.spec.method for plan in plans for step in plan.steps] == ["cox", "crosstab", "table_one"]


def test_calls_of_the_page_stand_in_the_page() -> None:
    assert len(CALLS) >= 4
