"""``isthmus replay``: words for people, an envelope for machines, exit codes."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from bundle_kit import Region, entries_of, rewrite

from isthmus.command import main
from isthmus.errors import ConfigError, CountriesMissing, DataError, UsageError
from isthmus.v1 import study_pb2
from isthmus_client.cli import app
from isthmus_trust.documents import digest

ANALYSES = ("cox, efron", "crosstab, exact")


@dataclass(frozen=True)
class Made:
    region: Region
    bundles: list[Path]
    file: Path
    runs: list[str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("region")
    region = Region(folder)
    region.approve()
    results = [region.run(analysis) for analysis in ANALYSES]
    file = region.result_file(folder / "result.json", *results)
    return Made(region, region.export(folder / "out"), file, [r.run.hex() for r in results])


Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    def run(*arguments: object) -> tuple[int, str, str]:
        code = main(app, ["replay", *map(str, arguments)])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def data_of(out: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(out)["data"]
    return found


def test_every_number_of_a_result_is_led_back_to_each_countrys_bytes(call: Call, made: Made) -> None:
    code, out, _ = call(*made.bundles, "--result", made.file, "--number", "arm=high/estimate")
    assert code == 0
    told = json.loads(made.file.read_text())["results"][0]
    assert f"coef/arm=high/estimate = {told['answer']['coef']['arm=high']['estimate']!r}" in out
    assert out.count("PASS") == 2
    assert "equal to result.json to the bit" in out
    for site in made.region.sites.values():
        for record, payload in entries_of(site):
            if payload:
                row = next(line for line in out.splitlines() if digest(payload).hex()[:32] in line)
                assert f" {record.sequence} " in row
                assert f" {len(payload):,} " in row
    assert out.count("the study was approved by its custodian") == 8
    assert out.count("its policy number 1 was signed") == 8


def test_machines_get_all_of_it(call: Call, made: Made) -> None:
    code, out, err = call(*made.bundles, "--result", made.file, "--json")
    assert (code, err) == (0, "")
    data = data_of(out)
    told = json.loads(made.file.read_text())["results"]
    assert [run["answer"] for run in data["runs"]] == [result["answer"] for result in told]
    first = data["runs"][0]
    assert first["equal"] == {"to_the_bit": True, "largest_difference": None, "at": None}
    assert first["numbers"] > 10
    assert [c["dataset_digest"] for c in first["countries"]] == [c["dataset_digest"] for c in told[0]["contributions"]]
    approval = first["countries"][0]["approvals"][0]
    assert (approval["about"], approval["record"], approval["reason"]) == ("study", 2, "test")
    policy = first["countries"][0]["policy"]
    assert (policy["number"], policy["record"], policy["key"]) == (1, 1, approval["key"])
    sent = [digest(payload).hex() for _, payload in entries_of(made.region.sites["CN"]) if payload]
    asked = [a["payload_digest"] for run in data["runs"] for r in run["rounds"] for a in r["answers"][:1]]
    assert asked == sent


def test_without_a_result_every_run_of_the_journals_is_pooled(call: Call, made: Made) -> None:
    code, out, _ = call(*made.bundles, "--json")
    assert code == 0
    assert [(r["run"], r["outcome"]) for r in data_of(out)["runs"]] == [(run, "pooled") for run in made.runs]


def test_one_run_can_be_chosen(call: Call, made: Made) -> None:
    code, out, _ = call(*made.bundles, "--run", made.runs[1][:6].upper(), "--result", made.file, "--json")
    assert (code, [r["run"] for r in data_of(out)["runs"]]) == (0, made.runs[1:])


def test_number_that_no_answer_has_is_said(call: Call, made: Made) -> None:
    code, out, _ = call(*made.bundles, "--number", "hazard of the sea")
    assert (code, "no number of any answer has 'hazard of the sea' in its place" in out) == (0, True)


def test_run_that_is_not_there_is_an_error(call: Call, made: Made) -> None:
    code, out, _ = call(*made.bundles, "--run", "zz", "--json")
    assert (code, json.loads(out)["error"]["code"]) == (UsageError.exit_code, "NO_RUN")


def test_forged_result_ends_with_its_code_and_is_named(call: Call, made: Made, tmp_path: Path) -> None:
    document = json.loads(made.file.read_text())
    document["results"][1]["answer"]["n"] = 1
    forged = tmp_path / "forged.json"
    forged.write_text(json.dumps(document))
    code, out, _ = call(*made.bundles, "--result", forged)
    assert code == DataError.exit_code
    assert "FAIL: forged.json, crosstab, exact: n is 1" in out
    code, out, _ = call(*made.bundles, "--result", forged, "--json")
    envelope = json.loads(out)
    assert (code, envelope["status"]) == (DataError.exit_code, "does_not_hold")
    assert envelope["data"]["runs"][1]["error"]["code"] == "RESULT_DIFFERS"
    assert envelope["data"]["runs"][0]["error"] is None


def test_missing_bundle_has_its_own_code(call: Call, made: Made) -> None:
    code, out, _ = call(*made.bundles[:3])
    assert code == CountriesMissing.exit_code
    assert out.count("INCOMPLETE: the bundle of TW is not among those given") == 2


def test_what_holds_no_results_is_an_error(call: Call, made: Made, tmp_path: Path) -> None:
    for content in ("", "{}", "[]", '{"results": []}', '{"results": [{"run": 5, "answer": 1}]}', "[" * 100_000):
        (tmp_path / "r.json").write_text(content)
        code, out, _ = call(*made.bundles, "--result", tmp_path / "r.json", "--json")
        assert (code, json.loads(out)["error"]["code"]) == (ConfigError.exit_code, "NO_RESULTS")


def test_archive_is_read_as_a_folder_is(call: Call, made: Made, tmp_path: Path) -> None:
    zipped = [Path(shutil.make_archive(str(tmp_path / path.name), "zip", path)) for path in made.bundles]
    code, out, _ = call(*zipped, "--result", made.file, "--exact", "--json")
    assert (code, [r["outcome"] for r in data_of(out)["runs"]]) == (0, ["pooled", "pooled"])


def test_names_of_others_cannot_speak_to_the_terminal(call: Call, made: Made, tmp_path: Path) -> None:
    """A study's author signs a name that clears the screen."""
    region = made.region.moved(tmp_path)

    def change(record: Any, payload: bytes) -> Any:
        record.run = b"\x1b[2J" * 4 if record.run else b""
        record.analysis = "\x1b[2J"
        return record, payload

    rewrite(region.sites["CN"], change)
    code, out, _ = call(region.sites["CN"].export(tmp_path / "out"))
    assert code == DataError.exit_code
    assert "\x1b" not in out


def test_exploratory_request_shows_that_no_decision_of_its_own_is_there(call: Call, tmp_path: Path) -> None:
    region = Region(tmp_path)
    region.study.exploratory_purpose = study_pb2.TRIAL_ANALYSIS
    region.sign_study()
    region.approve()
    result = region.run("crosstab, exact", exploratory=True)
    assert (result.state, result.analysis) == ("done", "")
    code, out, _ = call(*region.export(tmp_path / "out"))
    assert code == 0
    assert "outside the plan (crosstab/" in out
    assert out.count("no decision about this request itself is in the journal") == 4
