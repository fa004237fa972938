"""The coordinator as a witness of the nodes' journals, over a real port: what it co-signs, refuses and passes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from mutating import mutated

from isthmus.command import main
from isthmus.errors import AuthenticationError, IsthmusError, UsageError
from isthmus.v1 import exchange_pb2, journal_pb2, study_pb2
from isthmus_coordinator.cli import app
from isthmus_coordinator.witnesses import desk
from isthmus_coordinator.witnesses.report import line_of, standings
from isthmus_trust import checkpoints
from isthmus_trust.checkpoints import Verdict, from_line, read_cosignature
from isthmus_trust.documents import CHECKPOINT, CONSISTENCY, ROSTER, digest, open_signed
from isthmus_trust.identity import IdentityKey
from isthmus_trust.merkle import Tree

from .conftest import FakeNode, Region, call

RECORDS = [f"record {k}".encode() for k in range(12)]
OTHER = [*RECORDS[:3], b"other", *RECORDS[4:]]


class Journal:
    """A node's journal as far as witnesses see it."""

    def __init__(self, node: FakeNode) -> None:
        self.node = node

    def checkpoint(self, records: list[bytes], at: int, name: str = "") -> study_pb2.Signed:
        root = Tree.of(records).root()
        return checkpoints.sign_checkpoint(self.node.identity, name or self.node.name, len(records), root, at)

    def show(
        self, records: list[bytes], at: int, proofs: tuple[int, ...] = (), roster: bytes = b""
    ) -> exchange_pb2.WitnessReply:
        signed = self.checkpoint(records, at)
        tree = Tree.of(records)
        made = [
            checkpoints.sign_consistency(self.node.identity, signed, size, tree.consistency(size)) for size in proofs
        ]
        reply: exchange_pb2.WitnessReply = call(
            self.node.exchange.Witness,
            exchange_pb2.WitnessRequest(checkpoint=signed, proofs=made, roster=roster),
        )
        return reply


def cosign(witness: FakeNode, about: study_pb2.Signed, key: IdentityKey | None = None) -> None:
    signed = checkpoints.cosign(key or witness.identity, witness.name, about, 0, 1)
    say(witness, exchange_pb2.WitnessSaid(checkpoint=digest(about.body), witness=witness.name, cosignature=signed))


def say(witness: FakeNode, said: exchange_pb2.WitnessSaid) -> None:
    call(witness.exchange.Cosign, exchange_pb2.CosignRequest(said=said))


@pytest.fixture
def nodes(region: Region) -> list[FakeNode]:
    """Three nodes of one study that are here and witness, and one that shares none with them."""
    made = [node.attach(witnesses=True) for node in region.nodes("be", "de", "nl")]
    region.approved(made)
    made.append(region.node("xx").attach(witnesses=True))
    for node in made:
        node.next("welcome")
    return made


def code_of(call_it: Callable[[], Any]) -> tuple[type[IsthmusError], str]:
    with pytest.raises(IsthmusError) as caught:
        call_it()
    return type(caught.value), caught.value.code


def test_end_of_a_run_is_told_to_its_nodes(region: Region) -> None:
    nodes = [node.attach() for node in region.nodes("nl", "be")]
    run = region.submit(region.approved(nodes), "fail")
    region.result(run)
    for node in nodes:
        assert node.next("run_ended").run == run


def test_checkpoint_is_co_signed_and_passed_to_those_who_share_a_study(region: Region, nodes: list[FakeNode]) -> None:
    be, de, nl, xx = nodes
    reply = Journal(nl).show(RECORDS[:5], 1)
    (said,) = reply.said
    signed = Journal(nl).checkpoint(RECORDS[:5], 1)
    assert read_cosignature(said.cosignature, signed).witness == region.coordinator.office.settings.name
    assert said.cosignature.public_key == region.coordinator.office.identity.public
    for witness in (be, de):
        passed = witness.next("for_witness")
        assert passed.checkpoint == signed
        assert not passed.HasField("proof")
    # be speaks, and nl hears of it; xx got nothing all the while
    cosign(be, signed)
    assert nl.next("witness_said").witness == "be"
    assert [word.witness for word in Journal(nl).show(RECORDS[:5], 1).said] == ["coordinator", "be"]
    assert not [message for message in list(xx.messages.queue) if message.HasField("for_witness")]


def test_node_of_an_older_release_is_no_witness_and_one_is_left_out_that_does_not_say_it_is(region: Region) -> None:
    nodes = region.nodes("be", "de", "nl")
    region.approved(nodes)
    be = nodes[0].attach()
    de = nodes[1].attach(witnesses=True)
    de.next("welcome")
    Journal(nodes[2]).show(RECORDS[:5], 1)
    de.next("for_witness")
    assert not [message for message in list(be.messages.queue) if message.HasField("for_witness")]


def test_four_witnesses_are_asked_and_the_same_ones_each_time(region: Region) -> None:
    names = ("a", "b", "c", "d", "e", "f", "g")
    nodes = {name: region.node(name).attach(witnesses=True) for name in names}
    region.approved(list(nodes.values()))
    for node in nodes.values():
        node.next("welcome")
    Journal(nodes["e"]).show(RECORDS[:5], 1)
    for name in ("f", "g", "a", "b"):
        assert nodes[name].next("for_witness").checkpoint.public_key == nodes["e"].identity.public
    assert not any(m.HasField("for_witness") for n in ("c", "d", "e") for m in list(nodes[n].messages.queue))


def test_later_checkpoint_needs_a_proof_from_what_each_has_seen(region: Region, nodes: list[FakeNode]) -> None:
    be, de, nl, _ = nodes
    journal = Journal(nl)
    journal.show(RECORDS[:3], 1)
    cosign(be, journal.checkpoint(RECORDS[:3], 1))
    journal.show(RECORDS[:5], 2, proofs=(3,))
    cosign(de, journal.checkpoint(RECORDS[:5], 2))
    reply = journal.show(RECORDS, 3)
    # be has seen 3 records, de and the coordinator 5
    assert (list(reply.wanted), list(reply.said)) == ([3, 5], [])
    reply = journal.show(RECORDS, 3, proofs=(3, 5))
    assert list(reply.wanted) == []
    assert reply.said[0].HasField("cosignature")
    sizes = {}
    for witness in (be, de):
        while (passed := witness.next("for_witness")).checkpoint != journal.checkpoint(RECORDS, 3):
            pass
        sizes[witness.name] = journal_pb2.Consistency.FromString(passed.proof.body).from_size
    assert sizes == {"be": 3, "de": 5}


def test_witness_that_has_seen_more_than_was_thought_gets_its_proof(region: Region, nodes: list[FakeNode]) -> None:
    """Its cosignature was lost on the way: it says what it has seen, and the node is told to come again."""
    be, _, nl, _ = nodes
    journal = Journal(nl)
    journal.show(RECORDS[:5], 1)
    seen = journal.checkpoint(RECORDS[:4], 0)
    latest = journal.checkpoint(RECORDS[:5], 1)
    say(be, exchange_pb2.WitnessSaid(checkpoint=digest(latest.body), code="WANTED", seen=seen))
    assert nl.next("witness_said").code == "WANTED"
    assert list(journal.show(RECORDS[:5], 1).wanted) == [4]
    assert list(journal.show(RECORDS[:5], 1, proofs=(4,)).wanted) == []


@pytest.mark.parametrize(
    ("records", "proofs", "code"),
    [
        (RECORDS[:4], (), "JOURNAL_CUT_BACK"),
        (OTHER[:8], (), "JOURNAL_REPLACED"),
        (OTHER, (8,), "JOURNAL_REPLACED"),
    ],
)
def test_older_or_other_journal_is_refused_and_shown(
    region: Region, nodes: list[FakeNode], records: list[bytes], proofs: tuple[int, ...], code: str
) -> None:
    be, _, nl, _ = nodes
    journal = Journal(nl)
    journal.show(RECORDS[:8], 1)
    be.next("for_witness")
    reply = journal.show(records, 2, proofs)
    (said,) = reply.said
    assert (said.code, said.HasField("cosignature")) == (code, False)
    assert said.seen == journal.checkpoint(RECORDS[:8], 1)
    # the others judge for themselves
    assert be.next("for_witness").checkpoint == journal.checkpoint(records, 2)
    (standing,) = standings(region.coordinator.office.database)
    assert (standing.records, [(r.witness, r.code) for r in standing.refusals]) == (8, [("coordinator", code)])
    assert "REFUSED" in standing.words()
    kept = from_line(line_of(region.coordinator.office.database, standing))
    assert kept.checkpoint == journal.checkpoint(RECORDS[:8], 1)
    # once the true journal is back, it follows again
    journal.show(RECORDS, 3, proofs=(8,))
    (standing,) = standings(region.coordinator.office.database)
    assert (standing.records, standing.refusals) == (len(RECORDS), ())


def test_without_the_rule_an_older_journal_is_co_signed(nodes: list[FakeNode], monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(nodes[2])
    journal.show(RECORDS[:8], 1)
    monkeypatch.setattr(desk, "judge", lambda seen, new, proofs: Verdict.AGREED)
    (said,) = journal.show(OTHER[:5], 2).said
    read_cosignature(said.cosignature, journal.checkpoint(OTHER[:5], 2))


def test_message_that_comes_again_late_is_no_accusation(region: Region, nodes: list[FakeNode]) -> None:
    journal = Journal(nodes[2])
    journal.show(RECORDS[:5], 1)
    journal.show(RECORDS, 2, proofs=(5,))
    assert journal.show(RECORDS[:5], 1).said[0].HasField("cosignature")
    assert [said.code for said in journal.show(RECORDS[:4], 0).said] == ["STALE"]
    (standing,) = standings(region.coordinator.office.database)
    assert standing.refusals == ()


def test_refusal_of_another_witness_is_shown_with_what_it_had_seen(region: Region, nodes: list[FakeNode]) -> None:
    be, _, nl, _ = nodes
    journal = Journal(nl)
    journal.show(RECORDS[:4], 5)
    seen, latest = journal.checkpoint(RECORDS[:8], 1), journal.checkpoint(RECORDS[:4], 5)
    say(be, exchange_pb2.WitnessSaid(checkpoint=digest(latest.body), code="JOURNAL_CUT_BACK", seen=seen))
    told = nl.next("witness_said")
    assert (told.witness, told.code, told.seen) == ("be", "JOURNAL_CUT_BACK", seen)
    (standing,) = standings(region.coordinator.office.database)
    assert [(r.witness, r.code) for r in standing.refusals] == [("be", "JOURNAL_CUT_BACK")]


def test_nobody_speaks_for_another(nodes: list[FakeNode]) -> None:
    be, de, nl, xx = nodes
    journal = Journal(nl)
    shown = journal.checkpoint(RECORDS[:5], 1)
    as_be = exchange_pb2.WitnessRequest(checkpoint=shown)
    assert code_of(lambda: call(be.exchange.Witness, as_be)) == (AuthenticationError, "WRONG_SIGNER")
    foreign = exchange_pb2.WitnessRequest(checkpoint=journal.checkpoint(RECORDS[:5], 1, name="be"))
    assert code_of(lambda: call(nl.exchange.Witness, foreign)) == (AuthenticationError, "FOREIGN_CHECKPOINT")
    forged = checkpoints.sign_consistency(be.identity, shown, 3, ())
    request = exchange_pb2.WitnessRequest(checkpoint=shown, proofs=[forged])
    assert code_of(lambda: call(nl.exchange.Witness, request)) == (AuthenticationError, "WRONG_SIGNER")
    assert code_of(lambda: cosign(be, shown)) == (UsageError, "UNKNOWN_CHECKPOINT")
    journal.show(RECORDS[:5], 1)
    assert code_of(lambda: cosign(be, shown, de.identity)) == (AuthenticationError, "WRONG_SIGNER")
    assert code_of(lambda: cosign(nl, shown)) == (AuthenticationError, "WRONG_CHECKPOINT")
    assert code_of(lambda: cosign(be, shown, nl.identity)) == (AuthenticationError, "WRONG_CHECKPOINT")
    word = exchange_pb2.WitnessSaid(checkpoint=digest(shown.body), code="JOURNAL_CUT_BACK")
    assert code_of(lambda: say(be, word)) == (UsageError, "NO_EVIDENCE")
    # what a witness claims to have seen is not its own invention
    word.seen.CopyFrom(checkpoints.sign_checkpoint(be.identity, "nl", 9, bytes(32), 0))
    assert code_of(lambda: say(be, word)) == (AuthenticationError, "WRONG_SIGNER")
    word = exchange_pb2.WitnessSaid(checkpoint=digest(shown.body), code="ANYTHING")
    assert code_of(lambda: say(be, word)) == (UsageError, "UNKNOWN_WORD")
    assert [said.witness for said in journal.show(RECORDS[:5], 1).said] == ["coordinator"]
    assert xx.name == "xx"


def test_proofs_are_counted_before_they_are_read(nodes: list[FakeNode]) -> None:
    nl = nodes[2]
    request = exchange_pb2.WitnessRequest(
        checkpoint=Journal(nl).checkpoint(RECORDS[:5], 1), proofs=[study_pb2.Signed()] * (desk.MOST_PROOFS + 1)
    )
    assert code_of(lambda: call(nl.exchange.Witness, request)) == (UsageError, "TOO_MANY_PROOFS")


def test_roster_is_given_signed_and_once(region: Region, nodes: list[FakeNode]) -> None:
    nl = nodes[2]
    reply = Journal(nl).show(RECORDS[:5], 1)
    roster = open_signed(reply.roster, ROSTER, journal_pb2.Roster, region.coordinator.office.identity.public)
    assert [(node.name, node.country, node.revoked) for node in roster.nodes] == [
        ("be", "BE", False),
        ("de", "DE", False),
        ("nl", "NL", False),
        ("xx", "XX", False),
    ]
    assert roster.nodes[2].identity_key == nl.identity.public
    known = digest(reply.roster.body)
    assert not Journal(nl).show(RECORDS[:5], 1, roster=known).HasField("roster")
    region.coordinator.office.roster.revoke("xx")
    again = Journal(nl).show(RECORDS[:5], 1, roster=known)
    assert open_signed(again.roster, ROSTER, journal_pb2.Roster).nodes[3].revoked


def test_what_was_seen_is_known_after_a_restart(region: Region, nodes: list[FakeNode]) -> None:
    nl = nodes[2]
    Journal(nl).show(RECORDS[:8], 1)
    region.restart()
    assert Journal(nl).show(RECORDS[:4], 2).said[0].code == "JOURNAL_CUT_BACK"


def test_commands_show_journals_and_give_out_what_was_seen(
    region: Region, nodes: list[FakeNode], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = ("--home", str(region.home.path))
    assert main(app, ["checkpoints", *home]) == 0
    assert "no journal has been seen here yet" in capsys.readouterr().out
    nl, de = nodes[2], nodes[1]
    Journal(nl).show(RECORDS[:8], 1)
    Journal(de).show(RECORDS[:3], 1)
    Journal(nl).show(RECORDS[:4], 2)
    assert main(app, ["status", *home]) == 0
    said = capsys.readouterr().out
    assert "nl: 8 records" in said
    assert "coordinator REFUSED 4 records" in said
    path = tmp_path / "nl.checkpoint"
    assert main(app, ["checkpoints", "nl", "-o", str(path), *home]) == 0
    assert from_line(path.read_text()).checkpoint == Journal(nl).checkpoint(RECORDS[:8], 1)
    capsys.readouterr()
    assert main(app, ["checkpoints", "-o", str(tmp_path / "two"), "--json", *home]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "AMBIGUOUS"


def test_checkpoints_with_anything_in_them_signed_by_their_node_are_judged_and_nothing_else(
    nodes: list[FakeNode], tries: Callable[[int], Iterator[Random]]
) -> None:
    nl = nodes[2]
    journal = Journal(nl)
    journal.show(RECORDS[:5], 1)
    whole = journal_pb2.Checkpoint.FromString(journal.checkpoint(RECORDS, 2).body)
    seen = set()
    for chance in tries(60):
        signed = nl.identity.sign(CHECKPOINT, mutated(whole, chance).SerializeToString())
        proof = journal_pb2.Consistency(
            checkpoint=digest(signed.body), from_size=5, hashes=Tree.of(RECORDS).consistency(5)
        )
        proofs = [nl.identity.sign(CONSISTENCY, mutated(proof, chance).SerializeToString())]
        try:
            call(nl.exchange.Witness, exchange_pb2.WitnessRequest(checkpoint=signed, proofs=proofs))
        except IsthmusError as error:
            seen.add(type(error))
    assert seen <= {AuthenticationError, UsageError}
    assert seen
    # whatever was claimed, what follows is still seen
    assert journal.show(RECORDS[:5], 1).said[0].HasField("cosignature")
