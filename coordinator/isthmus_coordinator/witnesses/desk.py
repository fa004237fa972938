"""Where checkpoints of journals are seen: judged by what was seen before, co-signed, and passed to other nodes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Protocol

from isthmus.errors import AuthenticationError, UsageError
from isthmus.v1 import exchange_pb2, journal_pb2, study_pb2
from isthmus_coordinator.clock import Clock
from isthmus_coordinator.roster.members import Roster
from isthmus_coordinator.store.database import Database
from isthmus_coordinator.studies.catalogue import Studies
from isthmus_coordinator.witnesses import records
from isthmus_coordinator.witnesses.records import Shown, Word
from isthmus_trust import checkpoints
from isthmus_trust.certificates import Role
from isthmus_trust.checkpoints import Verdict, judge, read_checkpoint, read_consistency, read_cosignature
from isthmus_trust.documents import ROSTER, canonical, digest
from isthmus_trust.identity import IdentityKey
from isthmus_trust.roster import State

# Nodes that a checkpoint is passed to: two are enough, and two may be away.
WITNESSES = 4
# Proofs that are read with one checkpoint.
MOST_PROOFS = 64

log = logging.getLogger(__name__)

_NO_WORD = ("WANTED", "STALE", "UNKNOWN_NODE")


class Lines(Protocol):
    """The way to the nodes. Never waits, never raises."""

    def witnesses(self) -> set[str]: ...

    def tell(self, node: str, message: exchange_pb2.CoordinatorMessage) -> None: ...


class Witnesses:
    """Sees checkpoints for the coordinator, and has other nodes see them.

    Parameters
    ----------
    name, identity
        Of the coordinator; its key co-signs.
    lines
        The streams to the nodes.
    """

    def __init__(
        self,
        name: str,
        identity: IdentityKey,
        database: Database,
        roster: Roster,
        studies: Studies,
        lines: Lines,
        clock: Clock,
    ) -> None:
        self._name = name
        self._identity = identity
        self._database = database
        self._roster = roster
        self._studies = studies
        self._lines = lines
        self._clock = clock
        # two checkpoints of one node are judged one after the other
        self._judging = threading.Lock()

    def run_ended(self, run: bytes, nodes: Sequence[str], given: bool) -> None:
        """Have the nodes of a run show their journals when they have time, and know whether it gave a result."""
        for node in nodes:
            ended = exchange_pb2.RunEnded(run=run, given=given)
            self._lines.tell(node, exchange_pb2.CoordinatorMessage(run_ended=ended))

    def show(self, node: str, request: exchange_pb2.WitnessRequest) -> exchange_pb2.WitnessReply:
        """See a node's checkpoint, and pass it on.

        Raises
        ------
        AuthenticationError
            Where it, or a proof, is not signed by the key on the roster, or names another node.
        UsageError
            ``TOO_MANY_PROOFS``.
        """
        key = self._roster.get(node).entry.identity_key
        signed = request.checkpoint
        new = read_checkpoint(signed, key)
        if new.node != node:
            raise AuthenticationError(
                "FOREIGN_CHECKPOINT",
                f"node {node} brought a checkpoint of {new.node!r}; rule: a node speaks for itself only",
                "use one node for one home",
            )
        proofs = _read_proofs(request)
        with self._judging:
            seen = self._judge(signed, new, {size: proof for size, (proof, _) in proofs.items()})
        wanted = {seen} if seen else set()
        wanted |= self._pass_on(signed, new, {size: proof for size, (_, proof) in proofs.items()})
        with self._database.read() as connection:
            words = records.words_about(connection, digest(signed.body))
        reply = exchange_pb2.WitnessReply(said=[word.said for word in words], wanted=sorted(wanted))
        roster = self._signed_roster()
        if digest(roster.body) != request.roster:
            reply.roster.CopyFrom(roster)
        return reply

    def take(self, node: str, said: exchange_pb2.WitnessSaid) -> None:
        """Take in what a node said, as a witness, to another's checkpoint, and pass it to that one.

        Raises
        ------
        UsageError
            ``UNKNOWN_CHECKPOINT`` where it was never shown here.
        AuthenticationError
            Where the cosignature is not of the node's key on the roster, or not about this checkpoint.
        """
        with self._database.read() as connection:
            shown = records.find_checkpoint(connection, said.checkpoint)
        if shown is None:
            raise UsageError(
                "UNKNOWN_CHECKPOINT",
                "that checkpoint was never shown at this coordinator",
                "use a node of this release",
            )
        key = self._roster.get(node).entry.identity_key
        word = self._checked(node, key, shown, said)
        size = (
            shown.tree_size if not word.code else read_checkpoint(said.seen).tree_size if said.HasField("seen") else 0
        )
        with self._database.write() as connection:
            if size:
                records.save_size(connection, shown.identity_key, key, size)
            if word.code not in _NO_WORD:
                records.save_word(connection, shown.digest, word, canonical(word.said))
        if word.code in _REFUSALS:
            log.warning("journal_not_followed", extra={"node": shown.node, "witness": node, "code": word.code})
        self._lines.tell(shown.node, exchange_pb2.CoordinatorMessage(witness_said=word.said))

    # ----------------------------------------------------------------- judging

    def _judge(
        self, signed: study_pb2.Signed, new: journal_pb2.Checkpoint, proofs: dict[int, journal_pb2.Consistency]
    ) -> int:
        """See a checkpoint for the coordinator itself; the size from which a proof is still wanted, 0 where none is."""
        name, key = digest(signed.body), signed.public_key
        with self._database.read() as connection:
            before = records.agreed_last(connection, key)
            known = records.find_checkpoint(connection, name)
        if known is not None and not known.code:
            return 0
        verdict = judge(read_checkpoint(before.signed) if before else None, new, proofs)
        if verdict is Verdict.WANTED and before is not None:
            return before.tree_size
        now = self._clock()
        said = exchange_pb2.WitnessSaid(checkpoint=name, witness=self._name)
        if verdict is Verdict.AGREED:
            follows = before.tree_size if before else 0
            said.cosignature.CopyFrom(checkpoints.cosign(self._identity, self._name, signed, follows, now))
        elif before is not None:
            said.code = verdict.value
            said.seen.CopyFrom(before.signed)
        if verdict.refused:
            log.warning("journal_not_followed", extra={"node": new.node, "witness": self._name, "code": verdict.value})
        with self._database.write() as connection:
            if known is None:
                shown = Shown(name, new.node, key, new.tree_size, signed, said.code, now)
                records.insert_checkpoint(connection, shown, canonical(signed))
            records.save_word(
                connection, name, Word(self._name, self._identity.public, said.code, said, now), canonical(said)
            )
        return 0

    def _checked(self, node: str, key: bytes, shown: Shown, said: exchange_pb2.WitnessSaid) -> Word:
        """A witness's word, with nothing in it that somebody else could have put there."""
        if said.HasField("cosignature"):
            read_cosignature(said.cosignature, shown.signed)
            if said.cosignature.public_key != key:
                raise AuthenticationError(
                    "WRONG_SIGNER",
                    f"node {node} brought a cosignature of another key than the one on the roster",
                    "compare the key's fingerprint with its owner; a new key has to be enrolled before it signs",
                )
            word = exchange_pb2.WitnessSaid(checkpoint=shown.digest, witness=node, cosignature=said.cosignature)
        else:
            word = exchange_pb2.WitnessSaid(checkpoint=shown.digest, witness=node, code=said.code)
            if said.code not in (*_NO_WORD, *_REFUSALS):
                raise UsageError("UNKNOWN_WORD", "a witness said what no witness says", "use a node of this release")
            if said.HasField("seen"):
                # what it was judged by is the other node's own word too
                read_checkpoint(said.seen, shown.identity_key)
                word.seen.CopyFrom(said.seen)
            elif said.code in _REFUSALS:
                raise UsageError(
                    "NO_EVIDENCE", "a witness refused without what it had seen", "use a node of this release"
                )
        return Word(node, key, word.code, word, self._clock())

    # ----------------------------------------------------------------- passing on

    def _pass_on(
        self, signed: study_pb2.Signed, new: journal_pb2.Checkpoint, proofs: dict[int, study_pb2.Signed]
    ) -> set[int]:
        """Put a checkpoint before witnesses that have not spoken on it; sizes from which they need a proof."""
        with self._database.read() as connection:
            sizes = records.sizes_seen(connection, signed.public_key)
            spoken = {word.witness_key for word in records.words_about(connection, digest(signed.body))}
        wanted: set[int] = set()
        for witness, key in self._chosen(new.node):
            if key in spoken:
                continue
            size = sizes.get(key, 0)
            if 0 < size < new.tree_size and size not in proofs:
                wanted.add(size)
                continue
            passed = exchange_pb2.ForWitness(checkpoint=signed, proof=proofs.get(size))
            self._lines.tell(witness, exchange_pb2.CoordinatorMessage(for_witness=passed))
        return wanted

    def _chosen(self, node: str) -> list[tuple[str, bytes]]:
        """Witnesses of a node, name and identity key: those that share a study with it, in a ring by name.

        The same ones each time as far as they are there: a witness that changes has seen nothing before.
        """
        partners: dict[str, bytes] = {}
        for stored in self._studies.all():
            names = {p.node: p.identity_key for p in stored.study.participants}
            if node in names:
                partners.update(names)
        able = self._lines.witnesses()
        ring = sorted(partners, key=lambda name: (name <= node, name))
        found = []
        for name in ring:
            member = self._roster.find(name) if name != node and name in able else None
            if member is not None and member.entry.identity_key == partners[name]:
                found.append((name, member.entry.identity_key))
        return found[:WITNESSES]

    def _signed_roster(self) -> study_pb2.Signed:
        nodes = [m.entry for m in self._roster.all() if m.entry.role is Role.NODE]
        roster = journal_pb2.Roster(
            coordinator=self._name,
            nodes=[
                journal_pb2.RosterNode(
                    name=entry.node,
                    country=entry.country,
                    identity_key=entry.identity_key,
                    custodian_key=entry.custodian_key,
                    revoked=entry.state is not State.ACTIVE,
                )
                for entry in sorted(nodes, key=lambda entry: entry.node)
            ],
        )
        return self._identity.sign(ROSTER, canonical(roster))


_REFUSALS = (Verdict.CUT_BACK.value, Verdict.REPLACED.value)


def _read_proofs(
    request: exchange_pb2.WitnessRequest,
) -> dict[int, tuple[journal_pb2.Consistency, study_pb2.Signed]]:
    if len(request.proofs) > MOST_PROOFS:
        raise UsageError(
            "TOO_MANY_PROOFS",
            f"{len(request.proofs)} proofs came with a checkpoint; rule: at most {MOST_PROOFS}",
            "use a node of this release",
        )
    found = {}
    for signed in request.proofs:
        proof = read_consistency(signed, request.checkpoint)
        found[proof.from_size] = (proof, signed)
    return found
