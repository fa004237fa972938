"""Has this node's journal seen by others at the end of each run, and sees theirs.

On a thread of its own, after the results: no round and no answer waits for it. What could not be done now is done
later, and `status` says what is missing.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from isthmus.errors import VersionError
from isthmus.v1 import exchange_pb2, journal_pb2, study_pb2
from isthmus_node.egress.journal import Journal
from isthmus_node.link.channel import Session
from isthmus_node.link.witness import ask_witnesses, say_as_witness
from isthmus_node.ops.logs import Log
from isthmus_node.witness.known import COORDINATOR, RosterFile
from isthmus_node.witness.own import Checkpoints, cosigners
from isthmus_node.witness.seen import Seen
from isthmus_trust import checkpoints
from isthmus_trust.checkpoints import Verdict, judge, read_checkpoint, read_consistency
from isthmus_trust.documents import digest
from isthmus_trust.identity import IdentityKey

# Other nodes that are to see a checkpoint, besides the coordinator.
ENOUGH = 2
# Earlier checkpoints from which a proof is sent without being asked for.
PROOFS = 8
# Messages that wait to be looked at; a flood of them must not fill memory.
WAITING = 1024
# Times a checkpoint is sent again because proofs were wanted.
ASKS = 3


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds: how long the journal has to be quiet before it is shown, at most how long, and between tries."""

    quiet: float = 1.0
    longest: float = 15.0
    again: float = 60.0
    seldom: float = 3600.0


class Witnessing:
    """This node's checkpoints and what it says to those of others.

    Parameters
    ----------
    node, key
        Name and identity key of this node.
    journal
        Its journal.
    own, seen, roster
        What it keeps.
    keys
        Names by identity key of everybody whose cosignature counts here.
    participants
        Names by identity key of the nodes this node shares a study with: whose journals it sees.
    pace, clock, now
        How soon, monotonic seconds, and UTC in nanoseconds.
    """

    def __init__(
        self,
        node: str,
        key: IdentityKey,
        journal: Journal,
        own: Checkpoints,
        seen: Seen,
        roster: RosterFile,
        keys: Callable[[], dict[bytes, str]],
        participants: Callable[[], Iterable[study_pb2.Participant]],
        log: Log,
        pace: Pace | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        self._node, self._key = node, key
        self._journal, self._own, self._seen, self._roster = journal, own, seen, roster
        self._keys, self._participants = keys, participants
        self._log, self._pace, self._clock, self._now = log, pace or Pace(), clock, now
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._session: Session | None = None
        # when the journal is to be shown next, and not later than when; None: nothing is pending
        self._due: float | None = None
        self._latest = 0.0
        self._grown = -1
        self._wait = self._pace.again
        self._wanted = b""
        # the coordinator's release knows no witnesses: until the next connection
        self._in_vain = False

    # ------------------------------------------------------------------ told by the link, on its thread

    def attached(self, session: Session) -> None:
        self._session = session
        self._work.put(self._begin)

    def detached(self) -> None:
        self._session = None

    def told(self, message: exchange_pb2.CoordinatorMessage) -> None:
        """What arrives on the stream: a run's end, another's checkpoint, a witness's word about ours."""
        if self._work.qsize() >= WAITING:
            # what is dropped is told again with the next checkpoint
            return
        which = message.WhichOneof("message")
        if which == "run_ended":
            self._work.put(self._soon)
        elif which == "for_witness":
            self._work.put(lambda: self.see(message.for_witness))
        elif which == "witness_said":
            self._work.put(lambda: self._take(message.witness_said))

    def stop(self) -> None:
        """End `run` after the work under way."""
        self._work.put(None)

    # ------------------------------------------------------------------ on the thread of its own

    def run(self) -> None:
        """Work until `stop`. Whatever fails is logged and tried again: it never ends the node."""
        while True:
            wait = None if self._due is None else max(0.0, self._due - self._clock())
            try:
                work = self._work.get(timeout=wait)
            except queue.Empty:
                work = self._show_if_quiet
            if work is None:
                return
            self.work_on(work)

    def work_on(self, work: Callable[[], None]) -> None:
        """One piece of work; what it raises is logged."""
        try:
            work()
        except Exception as error:  # noqa: BLE001 - nothing that happens here may end the node
            self._log.failure("not-witnessed", error)

    def work_off(self) -> None:
        """Do what is queued now and return: for tests."""
        while not self._work.empty():
            work = self._work.get_nowait()
            if work is not None:
                self.work_on(work)

    def _begin(self) -> None:
        self._in_vain = False
        self._wait = self._pace.again
        self._soon()

    def _soon(self) -> None:
        now = self._clock()
        longest = now + self._pace.longest
        self._latest = longest if self._due is None else min(self._latest, longest)
        self._due = min(now + self._pace.quiet, self._latest)
        self._grown = -1

    def _show_if_quiet(self) -> None:
        """Show the journal unless something is being answered now: then a little later."""
        now, records = self._clock(), self._journal.records
        if records != self._grown and now < self._latest:
            self._grown, self._due = records, now + self._pace.quiet
            return
        self._due = None
        self.show()

    def show(self) -> None:
        """Sign a checkpoint of the journal as it stands and have it seen."""
        session = self._session
        if session is None or self._in_vain or self._journal.records == 0:
            return
        # again after a while, unless enough have seen it by then
        self._due = self._latest = self._clock() + self._wait
        self._wait = min(2 * self._wait, self._pace.seldom)
        size, root = self._journal.head()
        kept = self._own.make(self._key, size, root, self._now())
        try:
            self._ask(session, size, kept.checkpoint)
        except VersionError:
            # an older coordinator: its answers are as good as ever, and nobody sees the journal
            self._in_vain, self._due = True, None
            raise
        if self._has_enough(size):
            self._due, self._wait = None, self._pace.again

    def _ask(self, session: Session, size: int, checkpoint: study_pb2.Signed) -> None:
        sizes = [earlier for earlier in self._own.sizes() if earlier < size][-PROOFS:]
        given: set[int] = set()
        for _ in range(ASKS):
            proofs = [
                checkpoints.sign_consistency(self._key, checkpoint, earlier, self._journal.consistency(earlier, size))
                for earlier in sizes
            ]
            given.update(sizes)
            known = self._roster.read()
            reply = ask_witnesses(session, checkpoint, proofs, digest(known[0].body) if known else b"")
            if reply.HasField("roster"):
                self._roster.write(reply.roster)
            for said in reply.said:
                self._take(said)
            sizes = [earlier for earlier in reply.wanted if 0 < earlier < size and earlier not in given]
            if not sizes:
                break
        self._log.event("checkpoint", records=size, said=len(reply.said))

    def _has_enough(self, size: int) -> bool:
        found = set(cosigners(self._own.get(size), self._keys()))
        return COORDINATOR in found and len(found) > ENOUGH

    def _take(self, said: exchange_pb2.WitnessSaid) -> None:
        """Keep what a witness said to a checkpoint of ours, if it is the word of somebody known."""
        if said.HasField("cosignature"):
            if said.cosignature.public_key not in self._keys():
                self._log.event("cosignature-not-taken", witness=said.witness)
                return
            if self._own.add(said.checkpoint, said.cosignature):
                self._log.event("co-signed", witness=said.witness)
        elif said.code in (Verdict.CUT_BACK, Verdict.REPLACED):
            # both are ours: what was seen, and what does not follow from it
            seen = read_checkpoint(said.seen, self._key.public)
            self._own.note_refusal(said)
            self._log.event("journal-refused", witness=said.witness, code=said.code, seen=seen.tree_size)
        elif said.code == Verdict.WANTED and said.checkpoint != self._wanted:
            # once for each checkpoint: a witness cannot keep this node busy
            self._wanted = said.checkpoint
            self._soon()

    # ------------------------------------------------------------------ as a witness

    def see(self, message: exchange_pb2.ForWitness) -> None:
        """Judge another node's checkpoint by what was seen of it before, and say so."""
        said = self._judged(message)
        session = self._session
        if session is not None:
            say_as_witness(session, said)

    def _judged(self, message: exchange_pb2.ForWitness) -> exchange_pb2.WitnessSaid:
        signed = message.checkpoint
        new = read_checkpoint(signed)
        said = exchange_pb2.WitnessSaid(checkpoint=digest(signed.body), witness=self._node)
        if signed.public_key == self._key.public or not any(
            (p.identity_key, p.node) == (signed.public_key, new.node) for p in self._participants()
        ):
            said.code = "UNKNOWN_NODE"
            return said
        proofs: dict[int, journal_pb2.Consistency] = {}
        if message.HasField("proof"):
            proof = read_consistency(message.proof, signed)
            proofs[proof.from_size] = proof
        kept = self._seen.get(signed.public_key)
        before = read_checkpoint(kept.checkpoint) if kept is not None else None
        verdict = judge(before, new, proofs)
        if verdict is Verdict.AGREED:
            if kept is None or kept.checkpoint != signed:
                follows = before.tree_size if before is not None else 0
                cosignature = checkpoints.cosign(self._key, self._node, signed, follows, self._now())
                self._seen.agree(signed, cosignature)
                said.cosignature.CopyFrom(cosignature)
            else:
                said.cosignature.CopyFrom(kept.cosignatures[0])
            return said
        said.code = verdict.value
        if kept is not None:
            said.seen.CopyFrom(kept.checkpoint)
            if verdict.refused:
                proof_given = message.proof if message.HasField("proof") else None
                self._seen.refuse(kept, signed, proof_given, verdict, self._now())
                self._log.event("journal-not-followed", node=new.node, code=verdict.value, records=new.tree_size)
        return said
