"""The commands about the journal as evidence, over a node that has joined: verify, witnessed, export, status, check."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from isthmus.v1 import exchange_pb2, journal_pb2
from isthmus.v1.study_pb2 import TRIAL_ANALYSIS as TRIAL
from isthmus_node.egress.auditor import Auditor
from isthmus_node.egress.journal import Journal
from isthmus_node.egress.policy import Policy
from isthmus_node.egress.privacy import Accountant, Persons
from isthmus_node.homes import Home, find_home
from isthmus_node.public_keys import write_public
from isthmus_node.witness.own import Checkpoints
from isthmus_node.witness.seen import Seen
from isthmus_trust import verifier
from isthmus_trust.checkpoints import Verdict, cosign, sign_checkpoint, to_line
from isthmus_trust.documents import digest
from isthmus_trust.identity import IdentityKey
from isthmus_trust.merkle import Tree

COORD, BE = IdentityKey.generate(), IdentityKey.generate()


class Joined:
    """A node that has joined, with a journal of five records and a checkpoint of them."""

    def __init__(self, command: Callable[..., Any], home: Home) -> None:
        self.command, self.home = command, home
        home.make()
        write_public(home.coordinator_key, COORD.public)
        self.key = IdentityKey.load(home.identity_key)
        self.own = Checkpoints(home.checkpoints, "nl", self.key.public)
        with Journal.open(home.journal) as journal:
            for _ in range(5):
                journal.append(journal_pb2.Record(actor="node", event="STARTED", words="x"))
            self.kept = self.own.make(self.key, *journal.head(), 10**18)

    def cosigned(self) -> None:
        self.own.add(digest(self.kept.checkpoint.body), cosign(COORD, "test", self.kept.checkpoint, 0, 1))

    def refused(self) -> None:
        seen = sign_checkpoint(self.key, "nl", 9, bytes(32), 10**18)
        said = exchange_pb2.WitnessSaid(
            checkpoint=digest(self.kept.checkpoint.body), witness="be", code="JOURNAL_CUT_BACK", seen=seen
        )
        self.own.note_refusal(said)

    def saw(self, refused: bool = False) -> None:
        """This node saw three records of be's journal, and later two."""
        seen = Seen(self.home.witnessed)
        tree = Tree.of([b"a", b"b", b"c"])
        signed = sign_checkpoint(BE, "be", 3, tree.root(), 1)
        seen.agree(signed, cosign(self.key, "nl", signed, 0, 10))
        if refused:
            kept = seen.get(BE.public)
            assert kept is not None
            seen.refuse(kept, sign_checkpoint(BE, "be", 2, tree.root(2), 2), None, Verdict.CUT_BACK, 20)


@pytest.fixture
def node(isthmus_node: Callable[..., Any], token_file: Path, tmp_path: Path) -> Joined:
    assert isthmus_node("join", token_file).code == 0
    return Joined(isthmus_node, find_home(tmp_path / "home", {}))


def test_verify_says_who_has_seen_how_much(node: Joined) -> None:
    said = node.command("journal", "verify").out
    assert "1 checkpoints of up to 5 records hold" in said
    assert "no witness has co-signed" in said
    node.cosigned()
    data = node.command("journal", "verify", "--json").data
    assert (data["records"], data["seen_by"]) == (5, {"the coordinator": 5})
    assert data["checkpoints"][0]["root"] == data["root"]
    assert "the coordinator has seen 5 of 5 records" in node.command("journal", "verify").out


def test_verify_holds_the_journal_against_a_checkpoint_from_elsewhere(node: Joined, tmp_path: Path) -> None:
    files = {
        "same": node.kept,
        "longer": journal_pb2.Witnessed(checkpoint=sign_checkpoint(node.key, "nl", 6, bytes(32), 1)),
        "other": journal_pb2.Witnessed(checkpoint=sign_checkpoint(node.key, "nl", 4, bytes(32), 1)),
        "foreign": journal_pb2.Witnessed(checkpoint=sign_checkpoint(BE, "be", 4, bytes(32), 1)),
    }
    codes = {}
    for name, witnessed in files.items():
        (tmp_path / name).write_text(to_line(witnessed))
        said = node.command("journal", "verify", "--against", tmp_path / name, "--json")
        codes[name] = said.error["code"] if said.code else said.data["against"][0]["tree_size"]
    assert codes == {"same": 5, "longer": "JOURNAL_CUT_BACK", "other": "JOURNAL_REPLACED", "foreign": "WRONG_SIGNER"}


def test_verify_finds_a_journal_shorter_than_what_the_node_signed_for(node: Joined) -> None:
    path = node.home.journal / "journal"
    path.write_bytes(path.read_bytes()[: len(b"isthmus journal 1\n")])
    said = node.command("journal", "verify", "--json")
    assert (said.code, said.error["code"]) == (10, "JOURNAL_CUT_BACK")


def test_witnessed_lists_what_was_seen_and_writes_it_for_others(node: Joined, tmp_path: Path) -> None:
    assert "no other node's journal" in node.command("journal", "witnessed").out
    assert node.command("journal", "witnessed", "be", "-o", tmp_path / "f", "--json").error["code"] == "UNKNOWN_NODE"
    node.saw(refused=True)
    (found,) = node.command("journal", "witnessed", "be", "-o", tmp_path / "f", "--json").data["witnessed"]
    assert (found["node"], found["records"], found["refused"], found["stands_refused"]) == (
        "be",
        3,
        "JOURNAL_CUT_BACK",
        True,
    )
    assert verifier.checkpoint_of((tmp_path / "f").read_bytes(), "f")[0].public_key == BE.public
    assert "REFUSED" in node.command("journal", "witnessed").out
    assert node.command("journal", "witnessed", "be", "-o", tmp_path / "f", "--json").code != 0


def marks(said: Any) -> list[tuple[str, str]]:
    return [(line["mark"], line["found"]) for line in said.data["checks"] if line["question"] == "witnesses"]


def test_check_and_status_say_who_is_missing_and_who_refused(node: Joined) -> None:
    node.cosigned()
    ((mark, found),) = marks(node.command("check", "--json"))
    assert (mark, found.split(";")[1].strip()) == ("WARN", "still to see it: 2 other nodes")
    status = node.command("status", "--json").data
    assert status["journal"]["missing"] == "2 other nodes"
    node.refused()
    node.saw(refused=True)
    said = node.command("check", "--json")
    assert [mark for mark, _ in marks(said)] == ["FAIL", "WARN", "WARN"]
    assert said.code == 10
    words = node.command("status").out
    assert "JOURNAL REFUSED: be has seen 9 records" in words
    assert "witness of be: 3 records" in words


def test_export_says_what_to_do_next_and_the_bundle_passes(node: Joined, tmp_path: Path) -> None:
    node.cosigned()
    said = node.command("journal", "export", "-o", tmp_path / "nl.zip")
    assert said.code == 0
    assert f"python verifier.py {tmp_path / 'nl.zip'}" in said.out
    assert any("seen by the coordinator" in line and "5 of 5" in line for line in verifier.verify(tmp_path / "nl.zip"))
    assert node.command("journal", "export", "-o", tmp_path / "nl.zip", "--json").error["code"] == "FILE_EXISTS"


def test_privacy_says_what_was_spent_of_each_dataset(node: Joined) -> None:
    assert "nothing is spent" in node.command("privacy").out
    limits = Policy.read("[purpose.trial_analysis]\nupdate_norm = 0.5\nupdate_noise = 4.0").limits[TRIAL]
    with Journal.open(node.home.journal) as journal:
        Auditor(node.home.auditor, journal)
        accountant = Accountant(node.home.auditor, journal)
        for number, (dataset, names) in enumerate((("ADSL", "ab"), ("ADSL2", "bc"), ("OTHER", "xy"))):
            persons = Persons(dataset, "USUBJID", lambda names=names: names, names.encode())  # type: ignore[misc]
            accountant.debit(persons, limits, journal_pb2.Record(study="S", task=bytes([number]), run=b"r"))
    found = {one["dataset"]: one for one in node.command("privacy", "--json").data["datasets"]}
    # the second has one of the first one's persons
    assert {name: one["rho"] for name, one in found.items()} == {"ADSL": 0.25, "ADSL2": 0.25, "OTHER": 0.125}
    assert found["ADSL"]["budget"] == 1.0
    assert found["ADSL"]["models"] == 1
    shown = node.command("privacy").out
    assert "ADSL2" in shown
    assert "zCDP, Gaussian" in shown
    assert "rho 0.125" in node.command("journal", "show").out
