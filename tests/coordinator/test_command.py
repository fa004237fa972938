"""What the three commands share: envelope, exit codes, one way out."""

from __future__ import annotations

import json

import pytest
import typer

from isthmus.command import emit, main
from isthmus.errors import Refused
from isthmus_trust.wire_errors import error_of, metadata_of


def application() -> typer.Typer:
    app = typer.Typer(name="isthmus-test")

    @app.command()
    def show(json: bool = False) -> None:
        emit(json, {"n": 1}, lambda: typer.echo("one"))

    @app.command()
    def refuse(json: bool = False) -> None:
        raise Refused("SMALL_CELL", "a cell is small", "merge categories")

    @app.command()
    def break_down(json: bool = False) -> None:
        raise KeyError("secret row value 97")

    @app.command()
    def interrupt() -> None:
        raise KeyboardInterrupt

    @app.command()
    def partial() -> None:
        raise typer.Exit(17)

    return app


def test_command_prints_one_envelope(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(application(), ["show", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"schema_version": 1, "status": "ok", "data": {"n": 1}}


def test_command_speaks_words_without_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(application(), ["show"]) == 0
    assert capsys.readouterr().out == "one\n"


def test_command_maps_an_error_to_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(application(), ["refuse", "--json"]) == 12
    out, err = capsys.readouterr()
    assert json.loads(out)["error"] == {
        "code": "SMALL_CELL",
        "message": "a cell is small",
        "remedy": "merge categories",
    }
    assert "a cell is small [SMALL_CELL]" in err


def test_command_hides_the_text_of_a_bug(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ISTHMUS_TRACE", raising=False)
    assert main(application(), ["break-down", "--json"]) == 1
    out, err = capsys.readouterr()
    assert "97" not in out + err
    monkeypatch.setenv("ISTHMUS_TRACE", "1")
    assert main(application(), ["break-down"]) == 1
    assert "97" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "exit_code"), [(["interrupt"], 130), (["partial"], 17), (["no-such"], 2), (["show", "--wrong"], 2)]
)
def test_command_returns_exit_code(argv: list[str], exit_code: int) -> None:
    assert main(application(), argv) == exit_code


def test_error_survives_the_wire() -> None:
    error = Refused("SMALL_CELL", "100 % of 東京: at least 5 — rule\nsecond line", "merge")
    metadata = metadata_of(error)
    assert all(value.isascii() and value.isprintable() for _, value in metadata)
    again = error_of("PERMISSION_DENIED", "", metadata)
    assert type(again) is Refused
    assert (again.code, again.message, again.remedy) == (error.code, error.message, error.remedy)


def test_error_too_long_for_the_wire_is_cut() -> None:
    metadata = metadata_of(Refused("LONG", "é" * 20_000, "merge"))
    assert sum(len(key) + len(value) for key, value in metadata) < 8_000
    assert error_of("PERMISSION_DENIED", "", metadata).message.endswith("…")


@pytest.mark.parametrize(
    ("status", "exit_code"),
    [("UNAVAILABLE", 14), ("UNAUTHENTICATED", 15), ("UNIMPLEMENTED", 16), ("UNKNOWN", 14), ("INTERNAL", 14)],
)
def test_error_of_the_transport_is_typed(status: str, exit_code: int) -> None:
    assert error_of(status, "said", None).exit_code == exit_code


def test_exception_at_the_other_side_is_a_bug_without_its_text() -> None:
    error = error_of("INTERNAL", "Exception deserializing request!", None)
    assert (error.code, error.exit_code) == ("BUG", 1)
    assert "deserializing" not in str(error)
