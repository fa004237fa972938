"""The runner's lines, figures and exit code; the network itself is followed in tests/integration/test_pooled.py."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

import conformance.run
from conformance.__main__ import main
from conformance.step import Way, nothing

STEP = {"method": "made up", "table": None}


@pytest.fixture
def cases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two cases without rows: one whose only step goes right, one with a step that goes wrong beside it."""
    plans = {
        "c1_right": [{"at": ["a", "b"], **STEP, "keep": ["x"]}],
        "c2_wrong": [{"at": ["a"], **STEP}, {"at": ["broken"], **STEP}, {"at": ["c"], "method": "sorcery"}],
    }
    for name, plan in plans.items():
        (tmp_path / name).mkdir()
        document = {"title": name, "countries": [], "variables": {}, "plan": plan, "tolerances": []}
        (tmp_path / name / "case.json").write_text(json.dumps(document), encoding="utf-8")
    (tmp_path / "c1_right/expected.json").write_text('{"a": {"b": {"x": 1.0}}}', encoding="utf-8")
    (tmp_path / "c2_wrong/expected.json").write_text('{"a": {"x": 1.0, "y": 3.0}, "broken": {"x": 1.0}}')

    def answer(step: Mapping[str, object], fits: object, context: object) -> dict[str, float]:
        if step["at"] == ["broken"]:
            raise ValueError("no such thing")
        return {"x": 1.0, "y": 2.0}

    monkeypatch.setattr(conformance.run, "ways", lambda: {"made up": Way(nothing, answer)})
    return tmp_path


def test_every_key_right_gives_zero_and_figures(cases: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = cases / "out/figures.json"
    assert main([str(cases), "--only", "c1", "--out", str(out), "--answers", str(cases / "answers")]) == 0
    assert capsys.readouterr().out.startswith("ok   c1_right: max rel 0 at /a/b/x; 1 keys, 0 missing, 0 failed;")
    figures = json.loads(out.read_text())["c1_right"]
    assert {k: figures[k] for k in ("max_rel_error", "worst_key", "keys", "missing", "failed", "bytes_out")} == {
        "max_rel_error": 0.0,
        "worst_key": "/a/b/x",
        "keys": 1,
        "missing": 0,
        "failed": 0,
        "bytes_out": 0,
    }
    assert json.loads((cases / "answers/c1_right.json").read_text()) == {"a": {"b": {"x": 1.0}}}


def test_step_that_goes_wrong_is_said_and_the_others_go_on(cases: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = cases / "figures.json"
    assert main([str(cases), "--out", str(out)]) == 1
    said = capsys.readouterr().out
    assert "error    broken: ValueError: no such thing" in said
    assert "error    c: no way to follow sorcery yet" in said
    assert "off      0.33  /a/y: 2.0, expected 3.0" in said
    figures = json.loads(out.read_text())
    assert (figures["c2_wrong"]["keys"], figures["c2_wrong"]["missing"], figures["c2_wrong"]["failed"]) == (3, 1, 2)
    assert figures["c1_right"]["failed"] == 0


def test_no_case_is_an_error(cases: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        main([str(cases), "--only", "nothing like it"])
    assert caught.value.code == 2
