"""Every byte that a node hands to the network: declared fields only, signed, in the journal first, no row's value."""

from __future__ import annotations

import csv
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import wire_reading as wire
from network_kit import ROOT
from recording import FAULTS, STOWAWAY

from isthmus.v1 import exchange_pb2, study_pb2
from isthmus_client.demo import COUNTRIES
from isthmus_client.sandbox import Process, Sandbox
from isthmus_methods.registry import METHODS
from isthmus_node.egress.journal_read import Entry, read
from isthmus_trust.checkpoints import sign_checkpoint
from isthmus_trust.identity import IdentityKey

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("network"), pytest.mark.timeout(300)]

STUDY = "BREAST-RFS"
RECORDING = Path(__file__).with_name("recording.py")


def start_recorded(box: Sandbox, node: str, record: Path, fault: str = "none") -> Process:
    command = [sys.executable, str(RECORDING), str(record), fault, "run", "--home", str(box.node_home(node))]
    box.processes[node].stop()
    process = Process.start(f"node {node}", command, box.home / "logs" / f"node-{node}.log", {"PYTHONPATH": str(ROOT)})
    box.processes[node] = process
    return process


def journal_of(box: Sandbox, node: str) -> list[Entry]:
    return list(read(box.node_home(node) / "state" / "journal"))


class Recorded:
    """All analyses of the plan, run over four nodes whose every message was written down."""

    def __init__(self, box: Sandbox, folder: Path, studies: Mapping[bytes, study_pb2.Study]) -> None:
        self.box = box
        self.studies = studies
        self.study = next(study for study in studies.values() if study.name == STUDY)
        self.sent = {node: wire.read_record(folder / node) for node in COUNTRIES}
        self.entries = {node: journal_of(box, node) for node in COUNTRIES}

    def payloads(self, node: str, *methods: str) -> list[bytes]:
        """What left a node for analyses of these methods."""
        names = {a.name for a in self.study.plan if not methods or a.spec.method in methods}
        by_task = {entry.record.task: entry.record.analysis for entry in self.entries[node] if entry.payload}
        return [s.payload for s in wire.submissions(self.sent[node]) if by_task[s.task] in names]


@pytest.fixture(scope="module")
def recorded(network: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    folder = tmp_path_factory.mktemp("recorded")
    started = [start_recorded(network, node, folder / node) for node in COUNTRIES]
    for process in started:
        process.wait_ready()
    with network.connect() as connection:
        study = connection.study(STUDY)
        for name in study.plan():
            study.planned(name).run(progress=False)
        # tests before these may have left answers that a node sends once more
        studies = {line.digest: connection.study(line.name).message for line in connection.study_lines()}
    yield Recorded(network, folder, studies)
    for node in COUNTRIES:
        network.processes[node].stop()
    network.start_nodes(COUNTRIES)


# The study's methods: what they send is read byte by byte here. Every method is held to its declared fields by the gate
# (tests/egress) and to those of its request in `pool_in_process` (tests/methods).
MAIN_JOB = {"table_one", "kaplan_meier", "log_rank", "cox", "meta_analysis"}


@pytest.mark.parametrize("node", COUNTRIES)
def test_only_declared_fields_leave_a_node_and_each_was_journaled_first(recorded: Recorded, node: str) -> None:
    sent = recorded.sent[node]
    assert wire.complaints_about(sent, recorded.entries[node], recorded.studies, node, METHODS) == []
    calls = {m.call for m in sent}
    # checkpoints go when there is time
    assert calls - {"Witness", "Cosign"} == {"Attach", "Decide", "SubmitWhole"}
    answered = {entry.record.analysis for entry in recorded.entries[node] if entry.payload}
    assert answered >= {analysis.name for analysis in recorded.study.plan}
    assert {analysis.spec.method for analysis in recorded.study.plan} == MAIN_JOB
    assert len(wire.submissions(sent)) >= len(recorded.study.plan)


@pytest.mark.parametrize("node", COUNTRIES)
def test_bytes_that_left_are_those_the_command_shows(recorded: Recorded, node: str) -> None:
    shown = recorded.box.node(node, "journal", "show", "--bytes")
    held = {record["task"]: record["payload"] for record in shown["records"] if record.get("payload")}  # type: ignore[index]
    left = wire.submissions(recorded.sent[node])
    assert [held[s.task.hex()] for s in left] == [s.payload.hex() for s in left]


# --------------------------------------------------------------------------- no row's own value


def rare_values(country: str) -> dict[str, list[float]]:
    """Values of a country that one woman alone has, and that are no common number: 100 and more."""
    with (ROOT / "examples/breast-cancer/data" / f"{country}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        name: [float(text) for text, n in Counter(row[name] for row in rows).items() if n == 1 and float(text) >= 100]
        for name in ("pgr", "er", "rfstime")
    }


def test_rare_values_are_those_of_the_file() -> None:
    assert 5004.0 in rare_values("NL")["pgr"]
    assert 2380.0 in rare_values("AT")["pgr"]
    assert 972.0 in rare_values("AT")["er"]


@pytest.mark.parametrize(("node", "country"), COUNTRIES.items())
def test_no_value_of_a_single_row_is_among_the_sums(recorded: Recorded, node: str, country: str) -> None:
    rare = rare_values(country)
    payloads = recorded.payloads(node, "table_one", "cox")
    assert payloads
    assert [found for payload in payloads for found in wire.row_values_in(payload, rare)] == []


# --------------------------------------------------------------------------- the checks can fail


@pytest.fixture(scope="module")
def spoilt(recorded: Recorded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, list[str]]]:
    """What the checks say of a node that leaks, for each way to leak."""
    box, folder = recorded.box, tmp_path_factory.mktemp("spoilt")
    said = {}
    for fault in FAULTS[1:]:
        before = len(journal_of(box, "at"))
        process = start_recorded(box, "at", folder / fault, fault)
        process.wait_ready()
        with box.connect() as connection:
            plan = connection.study(STUDY).planned("table-1")
            plan.start()
            if fault in ("not synced", "another way"):
                plan.run(progress=False)
            else:
                wait_until_turned_down(box, plan.runs[0])
                plan.cancel()
        entries = journal_of(box, "at")
        sent = wire.read_record(folder / fault)
        said[fault] = wire.complaints_about(sent, entries, recorded.studies, "at", METHODS)
        rare = rare_values("AT")
        said[fault] += [f for s in wire.submissions(sent) for f in oracle(s.payload, rare)]
        assert len(entries) > before
    yield said
    start_recorded(box, "at", folder / "afterwards").wait_ready()


def oracle(payload: bytes, rare: Mapping[str, list[float]]) -> list[str]:
    try:
        return wire.row_values_in(payload, rare)
    except Exception:  # noqa: BLE001 - bytes that are no summary hold no number to look for
        return []


def wait_until_turned_down(box: Sandbox, run: bytes) -> None:
    """Until the coordinator did not take the answer to a run; the test's own limit ends it where it took it."""
    log = box.home / "logs" / "node-at.log"
    while True:
        tasks = {e.record.task.hex() for e in journal_of(box, "at") if e.payload and e.record.run == run}
        if any("not-wanted" in line and task in line for line in log.read_text().splitlines() for task in tasks):
            return
        time.sleep(0.05)


def test_an_undeclared_field_past_the_gate_is_seen(spoilt: Mapping[str, list[str]]) -> None:
    assert "undeclared field rows" in spoilt["undeclared field"]
    assert "rows[] holds pgr of one row" in spoilt["undeclared field"]


def test_a_field_number_outside_the_contract_is_seen(spoilt: Mapping[str, list[str]]) -> None:
    assert "Signed: field number 100" in spoilt["unknown number"]
    assert STOWAWAY[2:] == b"\x03row"


def test_bytes_that_are_not_in_the_journal_are_seen(spoilt: Mapping[str, list[str]]) -> None:
    assert "bytes left that are not in the journal" in spoilt["other bytes"]


def test_bytes_that_left_before_they_were_on_disk_are_seen(spoilt: Mapping[str, list[str]]) -> None:
    assert [s for s in spoilt["not synced"] if "was not on the disk when its bytes left" in s]


def test_what_goes_by_another_way_than_the_link_is_seen(spoilt: Mapping[str, list[str]]) -> None:
    assert "a call socket.sendto" in spoilt["another way"]


def test_anything_but_hashes_and_numbers_in_a_word_about_a_journal_is_seen() -> None:
    key = IdentityKey.generate()

    def said(checkpoint: study_pb2.Signed) -> list[str]:
        request = exchange_pb2.WitnessRequest(checkpoint=checkpoint).SerializeToString()
        return wire.complaints_about([wire.Sent("Witness", request, 0)], [], {}, "nl", METHODS)

    assert said(sign_checkpoint(key, "nl", 5, bytes(32), 1)) == []
    assert said(sign_checkpoint(key, "age 97", 5, bytes(32), 1)) == ["node names somebody else"]
    assert said(sign_checkpoint(key, "nl", 5, b"age 97", 1)) == ["root is no hash"]
    assert said(key.sign("isthmus/summary/1", b"row"))
    spoilt = sign_checkpoint(key, "nl", 5, bytes(32), 1)
    spoilt.body += STOWAWAY
    assert said(spoilt) == ["Checkpoint: field number 100"]


def test_numbers_below_the_contract_are_found_at_any_depth() -> None:
    inner = study_pb2.Signed(context="c", body=b"b").SerializeToString()
    assert list(wire.unknown_numbers(inner, study_pb2.Signed.DESCRIPTOR)) == []
    study = study_pb2.Study(name="S", participants=[study_pb2.Participant(node="nl")]).SerializeToString()
    assert list(wire.unknown_numbers(study, study_pb2.Study.DESCRIPTOR)) == []
    participant = study_pb2.Participant(node="nl").SerializeToString() + STOWAWAY
    spoilt = b"\x3a" + bytes([len(participant)]) + participant
    assert list(wire.unknown_numbers(spoilt, study_pb2.Study.DESCRIPTOR)) == ["Study.participants: field number 100"]
