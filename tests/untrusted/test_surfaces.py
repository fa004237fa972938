"""Everything that shows a study or a result, given hostile texts: screen, page, notebook, table, file names, log."""

from __future__ import annotations

import ast
import csv
import io
import json
import re
import unicodedata
from pathlib import Path

import pytest
from hostile import HOSTILE, poisoned_result, poisoned_study
from rich.table import Table

from isthmus.command import console, main, say
from isthmus.errors import DataError, IsthmusError, UsageError
from isthmus.v1 import analyst_pb2
from isthmus_client import progress, terminal
from isthmus_client.cli import _table
from isthmus_client.delivery import write_results_to
from isthmus_client.report import report_html
from isthmus_client.results.fit import Fit, fit_of
from isthmus_node.commands.common import show_table
from isthmus_node.custodian.reading import study_words
from isthmus_trust.wire_errors import CODE, MAX_TEXT_BYTES, error_of, metadata_of

NAMES = ("table-1", "km", "primary", "log-rank")


def _fits(text: str) -> list[Fit]:
    study = poisoned_study(text)
    fits = [fit_of(poisoned_result(name, text), study) for name in NAMES]
    for fit in fits:
        fit.result.study_digest = fits[0].result.study_digest
    return fits


def _check_quiet(text: str, keep: str = "\n\t") -> None:
    wrong = {c for c in text if not (c.isprintable() or c in keep or unicodedata.category(c) == "Zs")}
    assert not wrong, wrong


@pytest.fixture(params=HOSTILE, ids=range(len(HOSTILE)))
def text(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_terminal_shows_results_and_obeys_nothing(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    terminal.show(console(), _fits(text))
    said = capsys.readouterr().out
    _check_quiet(said)
    # markup is text: the brackets are all there
    if "[bold red]" in text:
        assert "[/nothing]" in said.replace("\n", "")


def test_tables_and_lines_of_every_command_obey_nothing(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    show_table(text, [text], [[text]], "none")
    _table((text, "b"), [(text, text)])
    table = Table("a", box=None)
    table.add_row(text)
    console().print(table, text)
    say(text, *study_words(poisoned_study(text)))
    say(text, err=True)
    captured = capsys.readouterr()
    _check_quiet(captured.out)
    _check_quiet(captured.err)


def test_rich_alone_would_obey(capsys: pytest.CaptureFixture[str]) -> None:
    """The guard off: what the filter behind our console stands against."""
    from rich.console import Console

    Console().print(HOSTILE[0])
    assert "\x1b[2J" in capsys.readouterr().out


def test_line_cannot_make_another_line_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    say("study x\nsigned by the custodian")
    assert capsys.readouterr().out == "study x\\u000asigned by the custodian\n"


def test_error_of_a_command_obeys_nothing(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    import typer

    app = typer.Typer()

    @app.command()
    def fail() -> None:
        raise UsageError(text, text, text)

    for arguments in ([], ["--json"]):
        main(app, arguments)
        captured = capsys.readouterr()
        _check_quiet(captured.out)
        _check_quiet(captured.err)
        # an end of line in a message cannot begin a line that looks like one of ours
        assert len(re.findall(r"^error", captured.err, re.MULTILINE)) == 1


def test_live_progress_obeys_nothing(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    live = progress.Live()
    live.begin([text])
    live.update(
        0,
        analyst_pb2.Progress(
            state=text,
            round=1,
            countries=[analyst_pb2.CountryProgress(node=text, country=text, state=text)],
            measure=text,
        ),
    )
    live.end()
    _check_quiet(capsys.readouterr().err)


def test_results_as_text_and_for_notebooks_hold_no_markup(text: str) -> None:
    for fit in _fits(text):
        _check_quiet(str(fit) + repr(fit))
        html = fit._repr_html_()
        _check_quiet(html)
        assert "<script" not in html
        assert "<img" not in html


def test_page_holds_no_markup_of_others_and_nothing_unseen() -> None:
    html = report_html(_fits(" ".join(HOSTILE)))
    outside = re.sub(r"base64,[A-Za-z0-9+/=]+", "", html)
    _check_quiet(outside)
    assert "<script" not in outside
    assert "onerror=alert(1)>" not in outside.replace("&gt;", "")


@pytest.mark.parametrize("text", [HOSTILE[0], HOSTILE[7], HOSTILE[10]], ids=("escape", "formula", "path"))
def test_files_stay_in_their_folder_and_tables_hold_no_formula(text: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for path in write_results_to(_fits(text), out):
        assert path.parent == out
        assert path.resolve().parent == out.resolve()
        written = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            _check_quiet(written)
            json.loads(written)
        if path.suffix == ".csv":
            for line in csv.reader(io.StringIO(written)):
                for cell in line:
                    if cell.startswith(("=", "+", "-", "@", "\t", "\r")):
                        float(cell)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out"]


def test_error_from_the_other_side_is_read_as_text(text: str) -> None:
    error = error_of("INTERNAL", "", metadata_of(DataError(text, text, text * 1000)))
    assert isinstance(error, IsthmusError)
    _check_quiet(error.message + error.remedy, "\n")
    assert re.fullmatch(r"[A-Z][A-Z0-9_]*", error.code)
    assert len(error.remedy) <= MAX_TEXT_BYTES
    _check_quiet(error_of("UNAVAILABLE", text * 1000, None).message, "")
    long = error_of("UNKNOWN", "", [(CODE, "A" * 10_000), ("isthmus-exit", "9" * 5000)])
    assert (long.code, long.exit_code) == ("UNREADABLE", 1)


# Who prints without the helpers, and why that holds nothing of others.
PRINTS = {
    "proto/isthmus/command.py": "the helpers themselves",
    "client/isthmus_client/results/fit.py": "`summary` prints `str`, which is filtered",
    "client/isthmus_client/plan.py": "how to attach again: runs in hexadecimal",
    "node/isthmus_node/running.py": "that the node is ready: names of its own settings",
    "node/isthmus_node/cli.py": "its own version",
}


def test_no_command_prints_around_the_helpers() -> None:
    root = Path(__file__).resolve().parents[2]
    found = {
        str(path.relative_to(root))
        for folder in ("proto", "trust", "methods", "node", "coordinator", "client")
        for path in (root / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "typer.echo", "typer.secho", "Console")
    }
    assert found == set(PRINTS)
