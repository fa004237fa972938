"""Witnesses of journals, in a network of real processes: who co-signs after a run, and who finds an older copy."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from network_kit import set_up, wait_until

from isthmus.errors import IsthmusError
from isthmus.v1 import journal_pb2
from isthmus_client.sandbox import Process, Sandbox
from isthmus_coordinator.config import Home, database_url, load_settings
from isthmus_coordinator.store.database import Database
from isthmus_coordinator.witnesses.report import Refusal, standings
from isthmus_node.config import NodeConfig, load
from isthmus_node.egress.journal_read import read
from isthmus_node.homes import find_home
from isthmus_node.witness.report import others_of, own_of
from isthmus_trust import verifier
from isthmus_trust.checkpoints import read_checkpoint, read_file
from isthmus_trust.documents import canonical
from isthmus_trust.merkle import Tree

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("witnesses"), pytest.mark.timeout(300)]

OTHERS = {"be", "de", "at"}


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A network of its own: a journal is put back from a copy here."""
    with Sandbox(tmp_path_factory.mktemp("witnesses")) as made:
        set_up(made)
        yield made


def analyse(box: Sandbox) -> None:
    with box.connect() as connection:
        study = connection.study(connection.study_lines()[0].name)
        assert study.planned("primary").run(progress=False).result.rounds


def verified(box: Sandbox, node: str) -> Any:
    return box.node(node, "journal", "verify")


def config(box: Sandbox, node: str) -> NodeConfig:
    return load(find_home(box.node_home(node)), env={})


def seen_whole(box: Sandbox, node: str) -> set[str]:
    """Who has seen everything that is in a node's journal now. From the files: a command takes longer than the wait."""
    own = own_of(config(box, node))
    records = sum(1 for _ in read(box.node_home(node) / "state/journal"))
    return set(own.witnesses) if own.records == records else set()


def newest(box: Sandbox, node: str) -> journal_pb2.Witnessed:
    path = max((box.node_home(node) / "state/journal/checkpoints").glob("*.checkpoint"))
    return journal_pb2.Witnessed.FromString(path.read_bytes())


def refusals(box: Sandbox, node: str) -> tuple[Refusal, ...]:
    """What the coordinator's store has of refusals of a node's journal."""
    home = Home(box.coordinator_home)
    database = Database(database_url(home, load_settings(home)))
    try:
        return next(found.refusals for found in standings(database) if found.node == node)
    finally:
        database.close()


def journal_of(box: Sandbox, node: str) -> Any:
    """What the coordinator says of a node's journal."""
    status: Any = box.coordinator("status")
    return next(found for found in status["journals"] if found["node"] == node)


def witness_of(box: Sandbox, witness: str, node: str) -> Any:
    status: Any = box.node(witness, "status")
    return next(found for found in status["witness_of"] if found["node"] == node)


def start_careless(box: Sandbox, program: str, node: str = "") -> None:
    """Start the coordinator or a node with the witness's rule left out."""
    name = node or "coordinator"
    home = box.node_home(node) if node else box.coordinator_home
    script = Path(__file__).with_name("careless.py")
    command = [sys.executable, str(script), program, "run", "--home", str(home)]
    box.processes[name] = Process.start(name, command, box.home / "logs" / f"{name}.log", {})
    box.processes[name].wait_ready()


def put_back(box: Sandbox, node: str, copy: Path) -> None:
    """Everything the site keeps is put back from a copy, as from a backup; what it had is thrown away."""
    box.processes[node].stop()
    state = box.node_home(node) / "state"
    shutil.rmtree(state)
    shutil.copytree(copy, state)


@pytest.fixture(scope="module")
def older(box: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what nl kept after one analysis; then another analysis, and all have seen that too."""
    analyse(box)
    wait_until(lambda: seen_whole(box, "nl") >= {"the coordinator", *OTHERS})
    box.processes["nl"].stop()
    copy = Path(shutil.copytree(box.node_home("nl") / "state", tmp_path_factory.mktemp("copies") / "older"))
    box.start_nodes(["nl"])
    analyse(box)
    wait_until(lambda: seen_whole(box, "nl") >= {"the coordinator", *OTHERS})
    return copy


def test_coordinator_and_other_nodes_co_sign_after_an_analysis(box: Sandbox, older: Path) -> None:
    for node in ("nl", "be"):
        wait_until(lambda: len(seen_whole(box, node)) >= 3)  # noqa: B023 - called at once
        kept = newest(box, node)
        checkpoint = read_checkpoint(kept.checkpoint)
        tree = Tree.of(canonical(entry.record) for entry in read(box.node_home(node) / "state/journal"))
        assert checkpoint.root == tree.root(checkpoint.tree_size)
        assert len({signed.public_key for signed in kept.cosignatures}) >= 3
    status: Any = box.node("nl", "status")
    assert (status["journal"]["missing"], status["journal"]["refused"]) == ("", [])
    standing = journal_of(box, "nl")
    assert len(standing["witnesses"]) >= 3
    assert standing["refusals"] == []
    checks: Any = box.node("nl", "check")
    assert [c["mark"] for c in checks["checks"] if c["question"] == "witnesses"] == ["PASS"]


def test_bundle_of_a_running_node_passes_and_is_held_against_what_a_witness_gives_out(
    box: Sandbox, older: Path, tmp_path: Path
) -> None:
    box.node("be", "journal", "witnessed", "nl", "-o", str(tmp_path / "from-be"))
    box.coordinator("checkpoints", "nl", "-o", str(tmp_path / "from-coordinator"))
    box.node("nl", "journal", "export", "-o", str(tmp_path / "nl.zip"))
    files = [str(tmp_path / "from-be"), str(tmp_path / "from-coordinator")]
    command = [sys.executable, "-I", "-S", verifier.__file__, str(tmp_path / "nl.zip")]
    against = [word for file in files for word in ("--against", file)]
    done = subprocess.run([*command, *against], capture_output=True, text=True, cwd=tmp_path, env={})
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "PASS"), done.stdout + done.stderr
    assert "seen by the coordinator" in done.stdout
    said: Any = box.node("nl", "journal", "verify", *against)
    assert len(said["against"]) == 2


def test_older_copy_of_a_journal_is_found_by_every_witness(box: Sandbox, older: Path, tmp_path: Path) -> None:
    box.node("be", "journal", "witnessed", "nl", "-o", str(tmp_path / "from-be"))
    size = read_checkpoint(read_file(tmp_path / "from-be").checkpoint).tree_size
    box.processes["nl"].stop()
    newer = Path(shutil.copytree(box.node_home("nl") / "state", tmp_path / "newer"))
    put_back(box, "nl", older)
    # alone it looks whole
    assert verified(box, "nl")["records"] < size
    box.start_nodes(["nl"])
    wait_until(lambda: {said.witness for said in refusals(box, "nl")} >= {box.name, *OTHERS})
    assert {said["code"] for said in journal_of(box, "nl")["refusals"]} == {"JOURNAL_CUT_BACK"}
    for witness in OTHERS:
        seen = witness_of(box, witness, "nl")
        assert (seen["records"], seen["stands_refused"]) == (size, True)
    # the node says so itself, and answers as before: witnessing never keeps a result back
    wait_until(lambda: len(own_of(config(box, "nl")).refused) == 4)
    assert len(box.node("nl", "status")["journal"]["refused"]) == 4  # type: ignore[index]
    with pytest.raises(IsthmusError):
        box.node("nl", "check")
    analyse(box)
    with pytest.raises(IsthmusError) as caught:
        box.node("nl", "journal", "verify", "--against", str(tmp_path / "from-be"))
    assert caught.value.code in ("JOURNAL_CUT_BACK", "JOURNAL_REPLACED")
    assert newest(box, "nl").cosignatures == []

    put_back(box, "nl", newer)
    box.start_nodes(["nl"])
    wait_until(lambda: seen_whole(box, "nl") >= {"the coordinator", *OTHERS})
    assert journal_of(box, "nl")["refusals"] == []
    assert not witness_of(box, "be", "nl")["stands_refused"]


def test_witness_without_its_rule_co_signs_an_older_copy(box: Sandbox, older: Path, tmp_path: Path) -> None:
    """The rule is what finds it: left out at the coordinator and at be, both co-sign; de and at have it and do not."""
    box.node("de", "journal", "witnessed", "nl", "-o", str(tmp_path / "from-de"))
    seen = read_checkpoint(read_file(tmp_path / "from-de").checkpoint)
    for name in ("coordinator", "be", "nl"):
        box.processes[name].stop()
    start_careless(box, "isthmus-coordinator")
    start_careless(box, "isthmus-node", "be")
    put_back(box, "nl", older)
    before = newest(box, "nl").checkpoint
    box.start_nodes(["nl"])
    wait_until(lambda: newest(box, "nl").checkpoint != before and len(newest(box, "nl").cosignatures) >= 2)
    signed = newest(box, "nl")
    checkpoint = read_checkpoint(signed.checkpoint)
    assert checkpoint.tree_size < seen.tree_size
    words = [journal_pb2.Cosignature.FromString(one.body).witness for one in signed.cosignatures]
    assert set(words) == {box.name, "be"}
    wait_until(
        lambda: all(found.stands for who in ("de", "at") for found in others_of(config(box, who)) if found.node == "nl")
    )
    # what they said is at nl a moment after they know it themselves
    wait_until(lambda: {said.witness for said in refusals(box, "nl")} >= {"de", "at"})
    assert {said.witness for said in refusals(box, "nl")} == {"de", "at"}
