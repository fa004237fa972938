"""A node's checkpoints and what it says to those of others: after the results, never in their way."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import grpc
import pytest
from mutating import mutated

from isthmus.errors import AuthenticationError, ConfigError
from isthmus.v1 import exchange_pb2, journal_pb2, study_pb2
from isthmus_node.egress.journal import Journal
from isthmus_node.egress.journal_read import verify
from isthmus_node.witness import work
from isthmus_node.witness.known import COORDINATOR, RosterFile, known_keys
from isthmus_node.witness.own import Checkpoints
from isthmus_node.witness.seen import Seen, stands_refused
from isthmus_node.witness.work import ASKS, Pace, Witnessing
from isthmus_trust import checkpoints
from isthmus_trust.checkpoints import Verdict, read_checkpoint, read_cosignature
from isthmus_trust.documents import ROSTER, canonical, digest
from isthmus_trust.identity import IdentityKey
from isthmus_trust.merkle import Tree

NL, BE, DE, COORD = (IdentityKey.generate() for _ in range(4))
RECORDS = [f"record {k}".encode() for k in range(12)]
OTHER = [*RECORDS[:3], b"other", *RECORDS[4:]]


class Line:
    """Stands where the connection stands: a coordinator that co-signs, or does as it is told."""

    def __init__(self) -> None:
        self.asked: list[exchange_pb2.WitnessRequest] = []
        self.said: list[exchange_pb2.WitnessSaid] = []
        self.cosigners: list[tuple[str, IdentityKey]] = [("test", COORD), ("be", BE), ("de", DE)]
        self.wanted: list[int] = []
        self.failures: list[Exception] = []
        self.words: list[exchange_pb2.WitnessSaid] = []
        self.stub = self
        self.timing = Timing()

    def Witness(self, request: exchange_pb2.WitnessRequest, timeout: float) -> exchange_pb2.WitnessReply:
        self.asked.append(request)
        if self.failures:
            raise self.failures.pop(0)
        signed = request.checkpoint
        said = [
            exchange_pb2.WitnessSaid(
                checkpoint=digest(signed.body), witness=name, cosignature=checkpoints.cosign(key, name, signed, 0, 1)
            )
            for name, key in self.cosigners
        ]
        roster = COORD.sign(ROSTER, canonical(journal_pb2.Roster(coordinator="test")))
        return exchange_pb2.WitnessReply(said=[*said, *self.words], wanted=self.wanted, roster=roster)

    def Cosign(self, request: exchange_pb2.CosignRequest, timeout: float) -> exchange_pb2.Acknowledgement:
        if self.failures:
            raise self.failures.pop(0)
        self.said.append(request.said)
        return exchange_pb2.Acknowledgement(digest=request.said.checkpoint)


class Timing:
    call = 5.0


class Bench:
    """A node's witnessing over a folder of its own, with a clock that is moved by hand."""

    def __init__(self, folder: Path, lines: Any) -> None:
        self.folder, self.lines = folder, lines
        self.journal = Journal.open(folder / "journal")
        self.own = Checkpoints(folder / "journal/checkpoints", "nl", NL.public)
        self.seen = Seen(folder / "witnessed")
        self.roster = RosterFile(folder / "roster.pb", COORD.public)
        self.clock, self.now = 0.0, 1_700_000_000_000_000_000
        self.participants = [
            study_pb2.Participant(node=name, identity_key=key.public)
            for name, key in (("nl", NL), ("be", BE), ("de", DE))
        ]
        self.line = Line()
        self.work = Witnessing(
            "nl",
            NL,
            self.journal,
            self.own,
            self.seen,
            self.roster,
            lambda: {COORD.public: COORDINATOR, BE.public: "be", DE.public: "de"},
            lambda: self.participants,
            lines.log,
            Pace(),
            lambda: self.clock,
            lambda: self.now,
        )

    def grow(self, by: int = 1) -> None:
        for _ in range(by):
            self.journal.append(journal_pb2.Record(actor="node", event="STARTED", words="x"))
        self.now += 10**9

    def attach(self) -> None:
        self.work.attached(self.line)  # type: ignore[arg-type]
        self.work.work_off()

    def tell(self, **message: Any) -> None:
        self.work.told(exchange_pb2.CoordinatorMessage(**message))
        self.work.work_off()

    def show(self) -> None:
        self.work.work_on(self.work.show)


@pytest.fixture
def bench(tmp_path: Path, lines: Any) -> Iterator[Bench]:
    made = Bench(tmp_path, lines)
    made.grow(3)
    made.attach()
    yield made
    made.journal.close()


def names(bench: Bench, size: int) -> list[str]:
    kept = bench.own.get(size)
    return [journal_pb2.Cosignature.FromString(signed.body).witness for signed in kept.cosignatures]


# --------------------------------------------------------------------------- its own journal


def test_checkpoint_is_shown_with_proofs_and_kept_with_its_cosignatures(bench: Bench) -> None:
    bench.show()
    bench.grow(2)
    bench.show()
    last = bench.line.asked[-1]
    checkpoint = read_checkpoint(last.checkpoint, NL.public)
    assert (checkpoint.node, checkpoint.tree_size) == ("nl", 5)
    assert checkpoint.root == verify(bench.folder / "journal").tree.root()
    proofs = {p.from_size: p for p in (checkpoints.read_consistency(s, last.checkpoint) for s in last.proofs)}
    assert checkpoints.judge(read_checkpoint(bench.own.get(3).checkpoint), checkpoint, proofs) is Verdict.AGREED
    assert names(bench, 5) == ["test", "be", "de"]
    assert bench.roster.read() is not None
    assert last.roster == digest(bench.roster.read()[0].body)  # type: ignore[index]


def test_journal_that_has_not_grown_gets_no_other_checkpoint(bench: Bench) -> None:
    bench.show()
    bench.now += 10**9
    bench.show()
    assert bench.line.asked[0].checkpoint == bench.line.asked[1].checkpoint
    assert bench.own.sizes() == [3]


def test_clock_set_back_makes_no_checkpoint_that_looks_older(bench: Bench) -> None:
    bench.show()
    bench.grow()
    bench.now -= 10**15
    bench.show()
    times = [read_checkpoint(asked.checkpoint).made_at for asked in bench.line.asked]
    assert times == sorted(set(times))


def test_nothing_is_pending_once_enough_have_seen_it(bench: Bench) -> None:
    bench.show()
    assert bench.work._due is None
    bench.line.cosigners = [("test", COORD), ("be", BE)]
    bench.grow()
    bench.show()
    assert bench.work._due == bench.clock + Pace().again
    bench.clock += Pace().again
    bench.show()
    # missing ones are asked for again, ever more seldom
    assert bench.work._due == bench.clock + 2 * Pace().again
    bench.line.cosigners.append(("de", DE))
    bench.show()
    assert bench.work._due is None


def test_two_nodes_without_the_coordinator_are_not_enough(bench: Bench) -> None:
    bench.line.cosigners = [("be", BE), ("de", DE)]
    bench.show()
    assert bench.work._due is not None


def test_wanted_proofs_are_sent_and_no_more_than_a_few_times(bench: Bench) -> None:
    bench.show()
    bench.grow(20)
    bench.line.wanted = [2]
    bench.show()
    sent = [
        {checkpoints.read_consistency(s, asked.checkpoint).from_size for s in asked.proofs}
        for asked in bench.line.asked[1:]
    ]
    assert sent == [{3}, {2}]

    class Greedy(list[int]):
        """A coordinator that always wants another."""

        def __iter__(self) -> Iterator[int]:
            return iter([len(bench.line.asked)])

    bench.grow()
    before = len(bench.line.asked)
    bench.line.wanted = Greedy()
    bench.show()
    assert len(bench.line.asked) - before <= ASKS
    # sizes that this journal never had are not proven, and nothing breaks
    bench.line.wanted = [10**6]
    bench.grow()
    bench.show()
    assert bench.lines.named("fault") == []


def test_word_of_a_stranger_or_about_another_journal_is_not_kept(bench: Bench) -> None:
    stranger = IdentityKey.generate()
    bench.line.cosigners = [("stranger", stranger)]
    bench.show()
    assert names(bench, 3) == []
    assert bench.lines.named("cosignature-not-taken")
    other = checkpoints.sign_checkpoint(NL, "nl", 9, bytes(32), 1)
    said = exchange_pb2.WitnessSaid(
        checkpoint=digest(bench.own.get(3).checkpoint.body),
        witness="be",
        cosignature=checkpoints.cosign(BE, "be", other, 0, 1),
    )
    bench.tell(witness_said=said)
    assert names(bench, 3) == []
    assert bench.lines.named("not-witnessed")[-1]["code"] == "WRONG_CHECKPOINT"


def test_late_word_is_kept_with_its_checkpoint_once(bench: Bench) -> None:
    bench.line.cosigners = []
    bench.show()
    signed = bench.own.get(3).checkpoint
    said = exchange_pb2.WitnessSaid(
        checkpoint=digest(signed.body), witness="be", cosignature=checkpoints.cosign(BE, "be", signed, 0, 1)
    )
    bench.tell(witness_said=said)
    bench.tell(witness_said=said)
    assert names(bench, 3) == ["be"]


def test_refusal_is_kept_until_the_witness_agrees_again(bench: Bench) -> None:
    bench.show()
    signed = bench.own.get(3).checkpoint
    seen = checkpoints.sign_checkpoint(NL, "nl", 9, bytes(32), 1)
    said = exchange_pb2.WitnessSaid(checkpoint=digest(signed.body), witness="be", code="JOURNAL_CUT_BACK", seen=seen)
    bench.tell(witness_said=said)
    assert [kept.witness for kept in bench.own.refusals()] == ["be"]
    # nobody can accuse this node of what it has not signed
    forged = exchange_pb2.WitnessSaid(
        checkpoint=digest(signed.body),
        witness="de",
        code="JOURNAL_CUT_BACK",
        seen=checkpoints.sign_checkpoint(DE, "nl", 9, bytes(32), 1),
    )
    bench.tell(witness_said=forged)
    assert [kept.witness for kept in bench.own.refusals()] == ["be"]
    bench.grow()
    bench.show()
    assert bench.own.refusals() == []


def test_coordinator_that_knows_no_witnesses_is_asked_once_a_connection(bench: Bench, failing: type) -> None:
    bench.line.failures = [failing(grpc.StatusCode.UNIMPLEMENTED)]
    bench.show()
    assert bench.lines.named("not-witnessed")[-1]["code"] == "UNKNOWN_CALL"
    assert bench.work._due is None
    bench.show()
    assert len(bench.line.asked) == 1
    bench.attach()
    bench.show()
    assert names(bench, 3) == ["test", "be", "de"]


def test_coordinator_that_is_away_is_asked_again_later(bench: Bench, failing: type) -> None:
    bench.line.failures = [failing(grpc.StatusCode.UNAVAILABLE)]
    bench.show()
    assert bench.work._due == bench.clock + Pace().again
    bench.work.detached()
    bench.show()
    assert len(bench.line.asked) == 1


def test_journal_is_shown_when_it_is_quiet_and_not_later_than_said(bench: Bench) -> None:
    bench.tell(run_ended=exchange_pb2.RunEnded(run=b"r"))
    for _ in range(100):
        # rounds of the next run go on all the while
        bench.grow()
        bench.clock = bench.work._due or 0.0
        bench.tell(run_ended=exchange_pb2.RunEnded(run=b"r"))
        bench.work.work_on(bench.work._show_if_quiet)
        if bench.line.asked:
            break
    assert Pace().longest <= bench.clock <= Pace().longest + Pace().quiet
    bench.line.asked.clear()
    bench.tell(run_ended=exchange_pb2.RunEnded(run=b"r"))
    began = bench.clock
    while not bench.line.asked:
        bench.clock = bench.work._due or 0.0
        bench.work.work_on(bench.work._show_if_quiet)
    assert bench.clock - began <= 2 * Pace().quiet


def test_thread_goes_on_whatever_fails_and_ends_when_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("a row")

    monkeypatch.setattr(bench.own, "make", broken)
    bench.show()
    assert bench.lines.named("fault")[-1]["kind"] == "KeyError"
    assert "a row" not in bench.lines.stream.getvalue()
    thread = threading.Thread(target=bench.work.run, daemon=True)
    thread.start()
    bench.work.stop()
    thread.join(20)
    assert not thread.is_alive()


# --------------------------------------------------------------------------- what is kept


def test_checkpoint_file_that_was_changed_is_an_error(bench: Bench) -> None:
    bench.show()
    path = next((bench.folder / "journal/checkpoints").glob("*.checkpoint"))
    before = path.read_bytes()
    for content in (b"", b"\xff", before[:-1], before.replace(b"nl", b"de")):
        path.write_bytes(content)
        with pytest.raises(ConfigError) as caught:
            list(bench.own.everything())
        assert caught.value.code == "CHECKPOINT_DAMAGED"
    path.write_bytes(before)
    path.rename(path.with_name(f"{4:012}.checkpoint"))
    with pytest.raises(ConfigError):
        bench.own.newest()


@pytest.mark.parametrize(("kept", "code"), [(2, "JOURNAL_CUT_BACK"), (0, "JOURNAL_CUT_BACK")])
def test_journal_shorter_than_its_own_checkpoint_is_found(bench: Bench, kept: int, code: str) -> None:
    bench.show()
    tree = Tree.of(RECORDS[:kept])
    for check in (bench.own.check, bench.own.check_newest):
        with pytest.raises(ConfigError) as caught:
            check(kept, tree)
        assert caught.value.code == code
    with pytest.raises(ConfigError) as caught:
        bench.own.check_newest(5, Tree.of(RECORDS[:5]))
    assert caught.value.code == "JOURNAL_REPLACED"
    bench.own.check(3, verify(bench.folder / "journal").tree)


def test_known_keys_are_those_of_coordinator_studies_and_roster(bench: Bench) -> None:
    named = (("de", DE), (COORDINATOR, BE))
    roster = journal_pb2.Roster(
        nodes=[journal_pb2.RosterNode(name=name, identity_key=key.public) for name, key in named]
    )
    assert known_keys(COORD.public, [], roster) == {COORD.public: COORDINATOR, DE.public: "de"}
    with pytest.raises(AuthenticationError):
        bench.roster.write(BE.sign(ROSTER, canonical(roster)))
    assert bench.roster.read() is None


# --------------------------------------------------------------------------- as a witness


def shown(records: list[bytes], at: int, key: IdentityKey = BE, name: str = "be") -> study_pb2.Signed:
    return checkpoints.sign_checkpoint(key, name, len(records), Tree.of(records).root(), at)


def passed(records: list[bytes], at: int, proof_from: int = 0, key: IdentityKey = BE) -> exchange_pb2.ForWitness:
    message = exchange_pb2.ForWitness(checkpoint=shown(records, at, key))
    if proof_from:
        hashes = Tree.of(records).consistency(proof_from)
        message.proof.CopyFrom(checkpoints.sign_consistency(key, message.checkpoint, proof_from, hashes))
    return message


def test_what_follows_is_co_signed_and_remembered_first(bench: Bench, failing: type) -> None:
    bench.tell(for_witness=passed(RECORDS[:5], 1))
    bench.line.failures = [failing(grpc.StatusCode.UNAVAILABLE)]
    bench.tell(for_witness=passed(RECORDS, 2, proof_from=5))
    assert len(bench.line.said) == 1
    kept = bench.seen.get(BE.public)
    assert kept is not None
    assert read_checkpoint(kept.checkpoint).tree_size == len(RECORDS)
    # asked again, it gives the same word
    bench.tell(for_witness=passed(RECORDS, 2, proof_from=5))
    said = bench.line.said[-1]
    assert said.cosignature == kept.cosignatures[0]
    word = read_cosignature(said.cosignature, shown(RECORDS, 2))
    assert (word.witness, word.follows, said.code) == ("nl", 5, "")


REFUSED = [
    (passed(RECORDS[:4], 9), "JOURNAL_CUT_BACK"),
    (passed(OTHER[:5], 9), "JOURNAL_REPLACED"),
    (passed(OTHER, 9, proof_from=5), "JOURNAL_REPLACED"),
]


@pytest.mark.parametrize(("message", "code"), REFUSED, ids=["cut", "as long", "longer"])
def test_what_does_not_follow_is_refused_with_both_signed_words(
    bench: Bench, message: exchange_pb2.ForWitness, code: str
) -> None:
    bench.tell(for_witness=passed(RECORDS[:5], 1))
    bench.tell(for_witness=message)
    said = bench.line.said[-1]
    assert (said.code, said.HasField("cosignature"), said.seen) == (code, False, shown(RECORDS[:5], 1))
    kept = bench.seen.get(BE.public)
    assert kept is not None
    assert (kept.checkpoint, kept.refused, kept.refused_code) == (shown(RECORDS[:5], 1), message.checkpoint, code)
    assert stands_refused(kept)
    assert bench.lines.named("journal-not-followed")[-1]["node"] == "be"
    # the true journal still follows, and the refusal stays on record
    bench.now += 10**9
    bench.tell(for_witness=passed(RECORDS, 10, proof_from=5))
    kept = bench.seen.get(BE.public)
    assert kept is not None
    assert (stands_refused(kept), kept.refused_code) == (False, code)


@pytest.mark.parametrize("message", [message for message, _ in REFUSED], ids=["cut", "as long", "longer"])
def test_without_the_rule_it_is_co_signed(
    bench: Bench, message: exchange_pb2.ForWitness, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.tell(for_witness=passed(RECORDS[:5], 1))
    monkeypatch.setattr(work, "judge", lambda seen, new, proofs: Verdict.AGREED)
    bench.tell(for_witness=message)
    read_cosignature(bench.line.said[-1].cosignature, message.checkpoint)


@pytest.mark.parametrize(
    ("message", "code"), [(passed(RECORDS, 9), "WANTED"), (passed(RECORDS[:4], 0), "STALE")], ids=["wanted", "stale"]
)
def test_what_cannot_be_judged_is_neither_co_signed_nor_an_accusation(
    bench: Bench, message: exchange_pb2.ForWitness, code: str
) -> None:
    bench.tell(for_witness=passed(RECORDS[:5], 1))
    before = bench.seen.get(BE.public)
    bench.tell(for_witness=message)
    assert (bench.line.said[-1].code, bench.line.said[-1].seen) == (code, shown(RECORDS[:5], 1))
    assert bench.seen.get(BE.public) == before


def test_only_nodes_of_a_shared_study_are_seen(bench: Bench) -> None:
    stranger = IdentityKey.generate()
    for message in (
        exchange_pb2.ForWitness(checkpoint=shown(RECORDS, 1, stranger, "be")),
        exchange_pb2.ForWitness(checkpoint=shown(RECORDS, 1, BE, "de")),
        exchange_pb2.ForWitness(checkpoint=shown(RECORDS, 1, NL, "nl")),
    ):
        bench.tell(for_witness=message)
        assert bench.line.said[-1].code == "UNKNOWN_NODE"
    assert list(bench.seen.everything()) == []


def test_proof_that_was_changed_on_the_way_accuses_nobody(bench: Bench) -> None:
    """The coordinator carries it, and could have it look as if be had lied."""
    bench.tell(for_witness=passed(RECORDS[:5], 1))
    message = passed(RECORDS, 2, proof_from=5)
    forged = checkpoints.sign_consistency(COORD, message.checkpoint, 5, (bytes(32),))
    message.proof.CopyFrom(forged)
    bench.tell(for_witness=message)
    assert len(bench.line.said) == 1
    kept = bench.seen.get(BE.public)
    assert kept is not None
    assert not kept.refused_code


def test_what_a_witness_keeps_is_checked_when_it_is_read(bench: Bench) -> None:
    bench.tell(for_witness=passed(RECORDS[:5], 1))
    path = next((bench.folder / "witnessed").glob("*.seen"))
    path.write_bytes(path.read_bytes()[:-1])
    bench.tell(for_witness=passed(RECORDS[:4], 9))
    assert len(bench.line.said) == 1
    assert bench.lines.named("not-witnessed")[-1]["code"] == "WITNESS_DAMAGED"
    path.rename(path.with_name("no-key.seen"))
    with pytest.raises(ConfigError):
        list(bench.seen.everything())


def test_one_message_can_wake_this_node_once(bench: Bench) -> None:
    bench.show()
    said = exchange_pb2.WitnessSaid(checkpoint=digest(bench.own.get(3).checkpoint.body), code="WANTED")
    bench.tell(witness_said=said)
    assert bench.work._due is not None
    bench.work._due = None
    bench.tell(witness_said=said)
    assert bench.work._due is None


# --------------------------------------------------------------------------- told anything


def resigned(signed: study_pb2.Signed, kind: type, key: IdentityKey, chance: Random) -> study_pb2.Signed:
    """The document changed, and signed for by its own node."""
    return key.sign(signed.context, mutated(kind.FromString(signed.body), chance).SerializeToString())


def test_messages_with_anything_in_them_are_judged_and_nothing_else(
    bench: Bench, tries: Callable[[int], Iterator[Random]]
) -> None:
    bench.show()
    bench.tell(for_witness=passed(RECORDS[:5], 1))
    own = bench.own.get(3).checkpoint
    for chance in tries(250):
        another = passed(RECORDS, 2, proof_from=5)
        if chance.random() < 0.6:
            changed = resigned(another.checkpoint, journal_pb2.Checkpoint, BE, chance)
            another.checkpoint.CopyFrom(changed)
        if chance.random() < 0.6:
            another.proof.CopyFrom(resigned(another.proof, journal_pb2.Consistency, BE, chance))
        said = exchange_pb2.WitnessSaid(
            checkpoint=digest(own.body),
            witness="be",
            cosignature=resigned(checkpoints.cosign(BE, "be", own, 0, 1), journal_pb2.Cosignature, BE, chance),
        )
        whole: tuple[dict[str, Any], ...] = (
            {"for_witness": another},
            {"for_witness": mutated(another, chance)},
            {"witness_said": said},
            {"witness_said": mutated(said, chance)},
        )
        bench.tell(**chance.choice(whole))
    assert bench.lines.named("fault") == []
    # none of it let be's journal go back, and this node's own is as it was
    kept = bench.seen.get(BE.public)
    assert kept is not None
    assert read_checkpoint(kept.checkpoint).tree_size >= 5
    assert len(bench.own.get(3).cosignatures) == 3


def test_flood_of_messages_is_dropped_and_not_kept(bench: Bench) -> None:
    for _ in range(3 * work.WAITING):
        bench.work.told(exchange_pb2.CoordinatorMessage(for_witness=passed(RECORDS[:5], 1)))
    assert bench.work._work.qsize() == work.WAITING
