"""The commands of a node: what they show, and what they end with."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from isthmus.v1 import study_pb2
from isthmus_node.homes import find_home
from isthmus_node.shelf import Shelf
from isthmus_trust.documents import STUDY, canonical
from isthmus_trust.identity import IdentityKey
from isthmus_trust.key_files import write_new


@pytest.fixture
def joined(isthmus_node: Callable[..., Any], token_file: Path) -> Callable[..., Any]:
    """The command, over a node that has joined."""
    assert isthmus_node("join", token_file).code == 0
    return isthmus_node


@pytest.fixture
def home(tmp_path: Path) -> Any:
    return find_home(tmp_path / "home", {})


@pytest.fixture
def csv(tmp_path: Path, make_rows: Callable[[Path], Path]) -> Path:
    return make_rows(tmp_path / "adtte.csv")


@pytest.fixture
def study(joined: Any, home: Any, study_of: Callable[..., study_pb2.Study]) -> study_pb2.Study:
    """A study that has arrived and names the node with its keys."""
    us = study_pb2.Participant(
        node="nl",
        country="NL",
        identity_key=IdentityKey.load(home.identity_key).public,
        custodian_key=IdentityKey.load(home.pki / "custodian.key").public,
    )
    made = study_of([us])
    Shelf(home.studies).put(IdentityKey.generate().sign(STUDY, canonical(made)))
    return made


# --------------------------------------------------------------------------- everywhere


def test_version_is_shown(isthmus_node: Callable[..., Any]) -> None:
    said = isthmus_node("--version")
    assert (said.code, said.out.strip()) == (0, "isthmus-node 0.1.0")


@pytest.mark.parametrize(
    "arguments",
    [["status"], ["studies"], ["approve", "X"], ["data", "list"], ["study", "show", "X"], ["run"]],
)
def test_node_that_has_not_joined_is_told_to(isthmus_node: Callable[..., Any], arguments: list[str]) -> None:
    said = isthmus_node(*arguments)
    assert said.code == 10
    assert "NOT_JOINED" in said.err
    assert "isthmus-node join" in said.err


def test_misspelt_setting_is_named_by_every_command(isthmus_node: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home/node.toml").write_text("nmae = 'nl'\n")
    said = isthmus_node("status", "--json")
    assert (said.code, said.error["code"]) == (10, "UNKNOWN_KEY")
    assert "'name'" in said.error["message"]


def test_json_answer_is_one_envelope(joined: Callable[..., Any]) -> None:
    envelope = json.loads(joined("status", "--json").out)
    assert (envelope["schema_version"], envelope["status"]) == (1, "ok")
    assert envelope["data"]["running"] is False


# --------------------------------------------------------------------------- data


def test_dataset_is_added_and_listed_with_its_count(joined: Callable[..., Any], csv: Path) -> None:
    assert joined("data", "add", csv, "--dataset", "ADTTE", "--json").data["rows"] == 400
    listed = joined("data", "list", "--json").data["datasets"]
    assert [(line["dataset"], line["rows"], line["open_data"]) for line in listed] == [("ADTTE", 400, False)]
    assert "ADTTE" in joined("data", "list").out


def test_open_data_is_said_where_it_is_added(joined: Callable[..., Any], csv: Path) -> None:
    assert "floors do not apply" in " ".join(joined("data", "add", "--help").out.split())
    assert "open data" in joined("data", "add", csv, "--dataset", "ADTTE", "--open-data").out


@pytest.mark.parametrize(
    ("content", "code"),
    [(None, "NO_SUCH_FILE"), (b"", "EMPTY_FILE"), (b"%PDF-1.7\n", "NOT_A_TABLE"), (b"PK\x03\x04zip", "NOT_A_TABLE")],
)
def test_file_that_is_no_table_is_a_data_error(
    joined: Callable[..., Any], tmp_path: Path, content: bytes | None, code: str
) -> None:
    path = tmp_path / "file.csv"
    if content is not None:
        path.write_bytes(content)
    said = joined("data", "add", path, "--dataset", "ADTTE", "--json")
    assert (said.code, said.error["code"]) == (11, code)
    assert joined("data", "list", "--json").data["datasets"] == []


def test_missing_column_is_named_and_the_dataset_not_taken(joined: Callable[..., Any], study: Any, csv: Path) -> None:
    csv.write_text(csv.read_text().replace("AVAL", "Aval", 1))
    said = joined("data", "add", csv, "--dataset", "ADTTE", "--study", "TEST", "--json")
    assert (said.code, said.error["code"]) == (11, "DICTIONARY_MISMATCH")
    assert "AVAL" in said.error["message"]
    assert "'Aval'" in said.error["message"], "the nearest one there is named"
    assert joined("data", "list", "--json").data["datasets"] == []


def test_column_of_another_type_is_named_with_its_count_here(joined: Callable[..., Any], study: Any, csv: Path) -> None:
    text = csv.read_text().splitlines()
    text[1] = text[1].rsplit(",", 2)[0] + ",soon,0"
    csv.write_text("\n".join(text) + "\n")
    said = joined("data", "add", csv, "--dataset", "ADTTE", "--study", "TEST")
    assert said.code == 11
    assert "1 row" in said.err
    assert "soon" not in said.err


def test_unknown_level_is_named_here_and_taken_as_other(joined: Callable[..., Any], study: Any, csv: Path) -> None:
    csv.write_text(csv.read_text().replace(",A,", ",C,", 3))
    said = joined("data", "add", csv, "--dataset", "ADTTE", "--study", "TEST", "--json")
    assert said.code == 0
    assert [(f["code"], f["rows"], f["severity"]) for f in said.data["findings"]] == [("UNKNOWN_LEVEL", 3, "warn")]


def test_dataset_that_fails_leaves_the_one_before_it_in_place(
    joined: Callable[..., Any], study: Any, csv: Path, tmp_path: Path
) -> None:
    joined("data", "add", csv, "--dataset", "ADTTE", "--study", "TEST")
    worse = tmp_path / "worse.csv"
    worse.write_text("USUBJID,ARM\nP1,A\n")
    said = joined("data", "add", worse, "--dataset", "ADTTE", "--study", "TEST", "--replace")
    assert said.code == 11
    assert [line["source"] for line in joined("data", "list", "--json").data["datasets"]] == ["adtte.csv"]


def test_columns_are_mapped_and_the_country_supplied(
    joined: Callable[..., Any], study: Any, csv: Path, tmp_path: Path
) -> None:
    lines = csv.read_text().splitlines()
    header = lines[0].replace("COUNTRY,", "").replace("ARM", "GROUP").replace("AGE", "AGEYRS")
    rows = [line.replace(",NL,", ",").replace(",A,", ",active,").replace(",B,", ",placebo,") for line in lines[1:]]
    csv.write_text("\n".join([header, *rows]) + "\n")
    said = joined(
        *("data", "add", csv, "--dataset", "ADTTE", "--study", "TEST", "--country-constant", "NL"),
        *("--map", "AGE=AGEYRS", "--map", "ARM=GROUP", "--level", "ARM:active=A", "--level", "ARM:placebo=B", "--json"),
    )
    assert said.code == 0, said.err
    assert said.data["findings"] == []


@pytest.mark.parametrize(
    "arguments",
    [["--map", "ARM"], ["--level", "ARM:a=b"], ["--constant", "=x"], ["--map", "ARM=G", "--level", "ARM:a"]],
)
def test_mapping_written_wrongly_is_a_usage_error(joined: Callable[..., Any], csv: Path, arguments: list[str]) -> None:
    assert joined("data", "add", csv, "--dataset", "ADTTE", *arguments).code == 2


def test_dataset_is_forgotten_and_its_file_is_not(joined: Callable[..., Any], csv: Path) -> None:
    joined("data", "add", csv, "--dataset", "ADTTE")
    assert joined("data", "remove", "ADTTE").code == 0
    assert csv.exists()
    assert joined("data", "list", "--json").data["datasets"] == []
    assert joined("data", "remove", "ADTTE").code == 11


# --------------------------------------------------------------------------- studies


def test_study_is_shown_in_words_with_how_the_data_fit(joined: Callable[..., Any], study: Any, csv: Path) -> None:
    joined("data", "add", csv, "--dataset", "ADTTE")
    said = joined("study", "show", "TEST")
    assert said.code == 0
    assert "analysis primary" in said.out
    assert "ADTTE: fits" in said.out
    assert "decision here: waiting" in said.out


def test_study_is_approved_and_refused_again(joined: Callable[..., Any], study: Any) -> None:
    assert joined("studies", "--json").data["studies"][0]["decision"] == "waiting"
    assert joined("status", "--json").data["studies_to_decide"] == ["TEST version 1"]
    approved = joined("approve", "TEST", "--reason", "as agreed", "--json").data
    assert (approved["approved"], approved["node_running"]) == (True, False)
    assert joined("studies", "--json").data["studies"][0]["decision"] == "approved"
    assert joined("refuse", approved["digest"][:10]).code == 0
    assert joined("studies", "--json").data["studies"][0]["decision"] == "refused"


def test_lock_is_shown_and_ended_by_the_custodian(joined: Callable[..., Any], study: Any, home: Any) -> None:
    assert joined("unlock", "TEST", "--json").error["code"] == "NOT_LOCKED"
    at = time.time_ns()
    home.refusals.write_text(json.dumps({"counted": [], "locked": [["TEST", "ana", at], ["TEST", "bo", at]]}))
    assert joined("status", "--json").data["locked"] == ["study TEST, requester ana", "study TEST, requester bo"]
    assert "locked after a run of refusals: study TEST, requester ana" in joined("status").out
    assert joined("unlock", "TEST", "--requester", "ana", "--reason", "looked at", "--json").data["unlocked"] == [
        "study TEST, requester ana"
    ]
    assert joined("status", "--json").data["locked"] == ["study TEST, requester bo"]
    assert joined("unlock", "TEST").code == 0
    assert joined("status", "--json").data["locked"] == []


def test_unknown_study_is_a_usage_error(joined: Callable[..., Any], study: Any) -> None:
    said = joined("approve", "TSET", "--json")
    assert (said.code, said.error["code"]) == (2, "UNKNOWN_STUDY")


def test_study_with_other_keys_is_not_approved(
    joined: Callable[..., Any], home: Any, study_of: Callable[..., study_pb2.Study]
) -> None:
    stranger = study_pb2.Participant(node="nl", country="NL", identity_key=bytes(32), custodian_key=bytes(32))
    Shelf(home.studies).put(IdentityKey.generate().sign(STUDY, canonical(study_of([stranger]))))
    said = joined("approve", "TEST", "--json")
    assert (said.code, said.error["code"]) == (12, "OTHER_KEYS")
    # but anybody may be refused
    assert joined("refuse", "TEST").code == 0


def test_decision_needs_the_custodians_own_key(joined: Callable[..., Any], study: Any, home: Any) -> None:
    (home.pki / "custodian.key").unlink()
    assert joined("approve", "TEST", "--json").error["code"] == "KEY_MISSING"
    IdentityKey.generate().save(home.pki / "custodian.key")
    said = joined("refuse", "TEST", "--json")
    assert (said.code, said.error["code"]) == (15, "NOT_THE_CUSTODIAN")


def test_text_of_a_study_gives_the_terminal_no_orders(
    joined: Callable[..., Any], home: Any, study_of: Callable[..., study_pb2.Study]
) -> None:
    hostile = study_of([], title="\x1b[2Jnothing to see [bold]here[/bold]")
    Shelf(home.studies).put(IdentityKey.generate().sign(STUDY, canonical(hostile)))
    for arguments in (["studies"], ["study", "show", "TEST"]):
        said = joined(*arguments)
        assert "\x1b" not in said.out
        assert "[bold]here" in said.out


# --------------------------------------------------------------------------- journal, policy, settings


def test_journal_is_shown_in_words_numbers_and_bytes(site: Any, isthmus_node: Callable[..., Any]) -> None:
    site.ask(site.task())
    where = ("--home", site.home.config)
    words = isthmus_node("journal", "show", *where).out
    assert "log partial likelihood" in words
    assert "1 releases" in words
    numbers = isthmus_node("journal", "show", "--numbers", *where).out
    assert "signed as isthmus/summary/1" in numbers
    digits = isthmus_node("journal", "show", "--bytes", *where).out.replace(" ", "").replace("\n", "")
    assert site.wire.submitted[0].hex() in digits
    record = [r for r in isthmus_node("journal", "show", "--bytes", "--json", *where).data["records"] if r["payload"]]
    assert bytes.fromhex(record[0]["payload"]) == site.wire.submitted[0]
    assert isthmus_node("journal", "show", "--run", "ff", *where, "--json").data["records"] == []


def test_journal_verifies_and_names_the_record_that_was_changed(site: Any, isthmus_node: Callable[..., Any]) -> None:
    site.ask(site.task())
    where = ("--home", site.home.config, "--json")
    verified = isthmus_node("journal", "verify", *where)
    assert verified.code == 0
    assert verified.data["totals"] == {"releases": 1, "refusals": 0, "bytes": len(site.wire.submitted[0])}
    path = site.home.journal / "journal"
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"TRIAL") if b"TRIAL" in raw else raw.index(b"primary")] ^= 1
    path.write_bytes(bytes(raw))
    said = isthmus_node("journal", "verify", *where)
    assert (said.code, said.error["code"]) == (10, "JOURNAL_DAMAGED")
    assert re.search(r"\b\d+\b", said.error["message"].replace(str(path), "")), "the record is named"


def test_policy_is_shown_rule_by_rule(joined: Callable[..., Any]) -> None:
    said = joined("policy", "show")
    assert said.code == 0
    assert "trial_analysis" in said.out
    assert "persons" in said.out


def test_misspelt_policy_names_the_nearest_key(joined: Callable[..., Any], home: Any) -> None:
    home.policy.write_text(home.policy.read_text().replace("cell_persons", "cell_person", 1))
    said = joined("policy", "show", "--json")
    assert (said.code, said.error["code"]) == (10, "POLICY_UNKNOWN_KEY")
    assert "cell_persons" in said.error["remedy"]


def test_settings_are_shown_with_their_origin(joined: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISTHMUS_LOG_LEVEL", "debug")
    said = joined("config", "show", "--origin")
    assert "ISTHMUS_LOG_LEVEL" in said.out
    shown = joined("config", "show", "--json").data["settings"]
    assert shown["log.level"] == {"value": "debug", "origin": "ISTHMUS_LOG_LEVEL"}
    assert shown["name"]["origin"].endswith("node.toml")


# --------------------------------------------------------------------------- check


def marks(said: Any) -> dict[str, str]:
    return {line["question"]: line["mark"] for line in said.data["checks"]}


def test_check_of_a_good_node_passes(joined: Callable[..., Any], study: Any, csv: Path) -> None:
    joined("data", "add", csv, "--dataset", "ADTTE")
    said = joined("check", "--json")
    assert said.code == 0, said.out
    assert set(marks(said).values()) == {"PASS", "SKIP"}
    assert marks(said)["dry release"] == "PASS"
    assert marks(said)["data ADTTE for TEST version 1"] == "PASS"
    assert "PASS" in joined("check").out


def break_mode(home: Any, coordinator: Any) -> None:
    home.tls_key.chmod(0o644)


def break_policy(home: Any, coordinator: Any) -> None:
    home.policy.write_text("[purpose.trial_analysis]\ncell_persons = 1\n")


def break_link(home: Any, coordinator: Any) -> None:
    coordinator.stop()


def break_settings(home: Any, coordinator: Any) -> None:
    home.settings.write_text(home.settings.read_text() + "\nlgo = 1\n")


def break_custodian(home: Any, coordinator: Any) -> None:
    (home.pki / "custodian.key").unlink()
    IdentityKey.generate().save(home.pki / "custodian.key")


def break_auditor(home: Any, coordinator: Any) -> None:
    write_new(home.auditor / "a.released", b"not what was written")


@pytest.mark.parametrize(
    ("breaks", "question", "exit_code"),
    [
        (break_mode, "file modes", 10),
        (break_policy, "policy", 10),
        (break_link, "coordinator", 14),
        (break_settings, "settings", 10),
        (break_custodian, "keys", 10),
        (break_auditor, "auditor", 10),
    ],
)
def test_check_names_what_is_broken_and_what_to_do(
    joined: Callable[..., Any],
    home: Any,
    coordinator: Any,
    breaks: Callable[[Any, Any], None],
    question: str,
    exit_code: int,
) -> None:
    assert joined("check").code == 0
    breaks(home, coordinator)
    said = joined("check", "--json")
    assert said.code == exit_code
    assert marks(said)[question] == "FAIL"
    failed = next(line for line in said.data["checks"] if line["question"] == question)
    assert failed["remedy"]


def test_check_before_joining_says_what_is_missing(isthmus_node: Callable[..., Any]) -> None:
    said = isthmus_node("check", "--json")
    assert said.code == 10
    assert (marks(said)["joined"], marks(said)["certificate"]) == ("FAIL", "SKIP")


def test_check_counts_what_does_not_fit(joined: Callable[..., Any], study: Any, csv: Path) -> None:
    joined("data", "add", csv, "--dataset", "ADTTE")
    csv.write_text(csv.read_text() + "P0,NL,A,60.0,10,0\n")
    said = joined("check", "--json")
    assert said.code == 11
    found = next(line for line in said.data["checks"] if line["mark"] == "FAIL")
    assert "2 rows" in found["found"]


def test_check_warns_of_a_proxy_that_grpc_would_not_see(
    joined: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.org:3128")
    said = joined("check", "--json")
    assert said.code == 0
    assert marks(said)["proxy"] == "WARN"


def test_check_leaves_nothing_behind(joined: Callable[..., Any], home: Any) -> None:
    before = sorted(path for path in home.config.rglob("*"))
    joined("check")
    assert sorted(path for path in home.config.rglob("*")) == before
