"""The statistician's command: words on stderr, results on stdout, the exit codes of the table of errors."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from fake_coordinator import FakeCoordinator, progress, write_join_token
from pooling import HERE, asked, planned

from isthmus.command import main as run_command
from isthmus.errors import Refused
from isthmus.v1 import analyst_pb2
from isthmus.version import __version__
from isthmus_client.cli import app

HORMON = "Surv(rfstime, status) ~ hormon"


@pytest.fixture
def logged_in(profile: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ISTHMUS_PROFILE_DIR", str(profile))
    return profile


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "plan.toml"
    path.write_text('study = "BREAST-RFS"\nplanned = "all"\n', encoding="utf-8")
    return path


def isthmus(*arguments: str) -> int:
    return run_command(app, arguments)


def envelope(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    document = json.loads(capsys.readouterr().out)
    assert document["schema_version"] == 1
    return document


def test_version_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert isthmus("--version") == 0
    assert capsys.readouterr().out == f"isthmus {__version__}\n"


def test_login_keeps_a_profile_and_names_it(
    fake: FakeCoordinator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("ISTHMUS_PROFILE_DIR", raising=False)
    token = str(write_join_token(fake, tmp_path / "token"))
    assert isthmus("login", token, "--json") == 0
    data = envelope(capsys)["data"]
    assert data["analyst"] == "ana"  # type: ignore[index, call-overload]
    assert isthmus("studies") == 0
    assert "BREAST-RFS" in capsys.readouterr().out
    assert isthmus("login", token) == 10  # the profile is there already


def test_login_never_takes_the_token_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert isthmus("login", "isthmus-join-1.abc") == 2
    assert "TOKEN_FILE" in capsys.readouterr().err


def test_without_a_profile_the_remedy_is_to_log_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("ISTHMUS_PROFILE_DIR", raising=False)
    assert isthmus("studies", "--json") == 10
    error = envelope(capsys)["error"]
    assert error["code"] == "NO_PROFILE"  # type: ignore[index, call-overload]
    assert "isthmus login" in error["remedy"]  # type: ignore[index, call-overload]


def test_study_is_proposed_shown_and_its_sites_listed(
    fake: FakeCoordinator, logged_in: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert isthmus("study", "propose", str(HERE / "breast-cancer.toml")) == 0
    assert "proposed to NL, BE, DE, AT" in capsys.readouterr().out
    assert isthmus("study", "show", "BREAST-RFS") == 0
    shown = capsys.readouterr().out
    assert re.search(r"primary\s+cox", shown)
    assert re.search(r"RFS\s+age\s+numeric\s+years", shown)
    assert isthmus("sites", "BREAST-RFS") == 0
    assert re.search(r"AT\s+at\s+waiting\s+no\s+never", capsys.readouterr().out)
    assert isthmus("sites", "BREAST-RFS", "--json") == 0
    assert envelope(capsys)["data"]["sites"][3]["last_contact"] is None  # type: ignore[index, call-overload]


def test_explain_asks_no_node(
    fake: FakeCoordinator, logged_in: Path, plan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert isthmus("explain", str(plan)) == 0
    assert "what would leave each country" in capsys.readouterr().out
    assert isthmus("explain", str(plan), "--json") == 0
    first = envelope(capsys)["data"]["analyses"][0][0]  # type: ignore[index, call-overload]
    assert first["fields"][0]["size"] == "6 = p"
    assert not fake.requests(analyst_pb2.SubmitRequest)


def test_run_shows_every_result_and_writes_the_files(
    fake: FakeCoordinator, logged_in: Path, plan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert isthmus("run", str(plan), "-o", str(out)) == 0
    said = capsys.readouterr()
    for part in ("Age (years), mean (sd)", "median (days)", "log-rank, stratified", "hormon=1", "meta-analysis, fixed"):
        assert part in said.out
    assert "done, round 2" not in said.out  # progress is on stderr
    assert sorted(p.name for p in out.iterdir()) == [
        "01-table-1.csv",
        "02-km.csv",
        "03-log-rank.csv",
        "04-primary.csv",
        "05-by-country.csv",
        "report.html",
        "result.json",
    ]
    assert len(json.loads((out / "result.json").read_text(encoding="utf-8"))["results"]) == 5


def test_run_as_json_is_one_envelope_on_stdout(
    fake: FakeCoordinator, logged_in: Path, plan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert isthmus("run", str(plan), "--json") == 0
    document = envelope(capsys)
    assert document["status"] == "ok"
    assert [r["method"] for r in document["data"]["results"]] == [  # type: ignore[index, call-overload]
        "table_one",
        "kaplan_meier",
        "log_rank",
        "cox",
        "meta_analysis",
    ]


@pytest.mark.parametrize("as_json", [True, False])
def test_missing_country_is_exit_code_17_with_the_result(
    fake: FakeCoordinator, logged_in: Path, plan: Path, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    fake.answer = lambda request: asked("cox", HORMON, without=("BE",))
    plan.write_text('study = "BREAST-RFS"\nplanned = ["primary"]\n', encoding="utf-8")
    assert isthmus("run", str(plan), *(["--json"] if as_json else [])) == 17
    said = capsys.readouterr()
    if as_json:
        document = json.loads(said.out)
        assert document["status"] == "countries_missing"
        assert document["data"]["results"][0]["missing_countries"] == ["BE"]
    else:
        assert "n = 3,071†" in said.out
        assert "not in every result: BE" in said.err


def test_no_wait_ends_with_13_where_a_person_has_to_decide(
    fake: FakeCoordinator, logged_in: Path, plan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.streams = [[progress("waiting", AT="waiting for approval")]]
    assert isthmus("run", str(plan), "--no-wait") == 13
    assert "AT" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('study = "BREAST-RFS"\nplaned = "all"\n', 10),
        ('study = "NOPE"\nplanned = "all"\n', 2),
        (f'study = "BREAST-RFS"\n[[analysis]]\nmethod = "cox"\nformula = "{HORMON}e"\n', 2),
    ],
)
def test_bad_plan_has_its_exit_code_and_asks_no_node(
    fake: FakeCoordinator, logged_in: Path, plan: Path, text: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    plan.write_text(text, encoding="utf-8")
    assert isthmus("run", str(plan)) == code
    assert "->" in capsys.readouterr().err
    assert not fake.requests(analyst_pb2.SubmitRequest)


def test_error_of_a_formula_marks_the_place_on_stderr(
    fake: FakeCoordinator, logged_in: Path, plan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan.write_text(
        'study = "BREAST-RFS"\n[[analysis]]\nmethod = "cox"\nformula = "Surv(rfstime, status) ~ hormn"\n',
        encoding="utf-8",
    )
    assert isthmus("run", str(plan)) == 2
    said = capsys.readouterr().err
    lines = said.splitlines()
    marks = next(line for line in lines if "^" in line)
    formula = lines[lines.index(marks) - 1]
    assert formula[marks.index("^") : marks.rindex("^") + 1] == "hormn"
    assert "did you mean hormon?" in said


def test_refusal_of_the_coordinator_is_exit_code_12(
    fake: FakeCoordinator, logged_in: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.fails_with = Refused("NOT_YOURS", "not open to you", "ask")
    assert isthmus("studies") == 12
    assert "not open to you [NOT_YOURS]" in capsys.readouterr().err


def test_run_can_be_attached_to_and_cancelled(
    fake: FakeCoordinator, logged_in: Path, plan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.streams = [[progress("waiting", AT="waiting for approval")]]
    plan.write_text('study = "BREAST-RFS"\nplanned = ["primary"]\n', encoding="utf-8")
    assert isthmus("run", str(plan), "--no-wait") == 13
    (run,) = fake.results
    capsys.readouterr()
    assert isthmus("attach", "BREAST-RFS", run.hex()) == 0
    assert "hazard ratio" in capsys.readouterr().out
    assert isthmus("cancel", "BREAST-RFS", run.hex()) == 0
    assert fake.requests(analyst_pb2.CancelRequest)[0].run == run  # type: ignore[attr-defined]
    assert isthmus("attach", "BREAST-RFS", "zz") == 2


def test_names_with_markup_are_text_in_the_terminal(
    fake: FakeCoordinator, logged_in: Path, plan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = analyst_pb2.Result()
    result.CopyFrom(planned("primary"))
    result.caveats.append("[red]not red[/red] [/]")
    fake.answer = lambda request: result
    plan.write_text('study = "BREAST-RFS"\nplanned = ["primary"]\n', encoding="utf-8")
    assert isthmus("run", str(plan)) == 0
    assert "[red]not red[/red] [/]" in capsys.readouterr().out


def test_profile_that_is_incomplete_says_which_file(logged_in: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (logged_in / "authority.pem").unlink()
    assert isthmus("studies") == 10
    assert "authority.pem" in capsys.readouterr().err
    shutil.rmtree(logged_in)
    assert isthmus("studies") == 10
