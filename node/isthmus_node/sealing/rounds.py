"""The rounds of sealed studies that this node is in. Of the working thread; kept in memory and nowhere else.

A node that was started anew has no key and no sum of the rounds before: it says LOST, and the run begins again from
its first round, with new keys. The coordinator can have that at will and learns nothing by it: the countries are the
same, and so are the sums.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from isthmus.v1 import study_pb2
from isthmus_node.admission import Order
from isthmus_node.custodian.contributors import Behind
from isthmus_node.egress.journal import Journal, Journaled
from isthmus_node.egress.wire import Outbound
from isthmus_node.sealing.derived import Derived, check_derived, following
from isthmus_node.sealing.kept import keep
from isthmus_node.sealing.round import Round, Summed
from isthmus_trust.documents import canonical
from isthmus_trust.identity import IdentityKey

# Runs that are remembered.
_RUNS_KEPT = 64


class LostError(Exception):
    """The node does not know what came before in this run."""


@dataclass(slots=True)
class _Run:
    """A run of a sealed study: its present round, or what may come next."""

    attempt: int
    expected: Derived
    order: Order | None = None
    signed: bytes = b""  # the order as the coordinator signed it
    round: Round | None = None
    behind: Behind | None = None
    opened: bool = False  # its mask is in the journal
    before: bytes = b""  # the task of the round before


class Sealing:
    """What this node says in sealed rounds.

    Parameters
    ----------
    identity
        Signs its words.
    journal
        Has each share before it leaves, and each mask before it is revealed.
    folder
        Where the signed summaries are kept that are in the shares: for the custodian.
    """

    def __init__(self, identity: IdentityKey, journal: Journal, folder: Path) -> None:
        self._identity = identity
        self._journal = journal
        self._folder = folder
        self._runs: OrderedDict[bytes, _Run] = OrderedDict()

    def check(self, order: Order) -> None:
        """Whether a task follows from what this node has seen; before a row is looked at for it.

        Raises
        ------
        LostError
            The rounds before are not known here.
        Refused
            ``STATE_NOT_DERIVED``.
        """
        task = order.task
        run = self._runs.get(task.run)
        if task.round == 1:
            check_derived(Derived(1), task)
        elif run is None or run.attempt != task.sealed_attempt or run.expected.number < task.round:
            raise LostError
        else:
            check_derived(run.expected, task)

    def begin(self, order: Order, clear: Outbound, signed: study_pb2.Signed, behind: Behind | None) -> study_pb2.Signed:
        """The first word of a round: this node's key. Errors as `Round`.

        Parameters
        ----------
        clear
            The cleared summary; it does not leave.
        signed
            The order.
        behind
            The persons behind it.
        """
        task = order.task
        participants = [p for p in order.shelved.study.participants if p.node in task.participants]
        begun = Round(clear, order.method.notes, participants, self._identity)
        run = self._runs.get(task.run)
        expected = Derived(1) if task.round == 1 or run is None else run.expected
        before = run.order.digest if run is not None and run.order is not None else b""
        self._runs[task.run] = _Run(
            task.sealed_attempt, expected, order, canonical(signed), begun, behind, before=before
        )
        self._runs.move_to_end(task.run)
        while len(self._runs) > _RUNS_KEPT:
            self._runs.popitem(last=False)
        return begun.opening

    def opening(self, task: bytes) -> study_pb2.Signed | None:
        """The first word of a round that goes on; None of any other."""
        run = self._of(task)
        return run.round.opening if run is not None and run.round is not None else None

    def hear(self, task: bytes, words: Sequence[study_pb2.Signed]) -> study_pb2.Signed | Journaled | None:
        """What everybody said; gives what this node says next, None where nothing.

        Raises
        ------
        LostError
            The round is not known here.
        IsthmusError
            As `Round.hear`; the journal's, where it could not be written.
        """
        run = self._of(task)
        if run is None and any(one.before == task for one in self._runs.values()):
            return None  # told once more what ended the round before
        if run is None or run.round is None or run.order is None:
            raise LostError
        said = run.round.hear(words)
        if isinstance(said, Outbound):
            return self._release(run.round.clear, said, run.signed)
        if isinstance(said, Summed):
            if run.expected.number == run.order.task.round:
                run.expected = following(run.expected, run.order, said)
                receipt = said.receipt.SerializeToString(deterministic=True)
                self._note(
                    run.order, "SUMMED", "what all countries signed, and the digest of their sum", receipt=receipt
                )
            return None
        if run.round.revealed and not run.opened:
            # before it leaves: with it the share is part of a sum that can be read
            self._note(run.order, "UNSEALED", "the seed of this node's own mask", document=canonical(said))
            run.opened = True
        return said

    def about(self, task: bytes) -> tuple[Order, Behind | None]:
        """The order of a round that is known here, and the persons behind its answer; None of open data.

        Raises `LostError` where the round is not known.
        """
        run = self._of(task)
        if run is None or run.order is None:
            raise LostError
        return run.order, run.behind

    def end(self, run: bytes) -> None:
        """The coordinator says that a run is over."""
        self._runs.pop(run, None)

    def _of(self, task: bytes) -> _Run | None:
        return next((run for run in self._runs.values() if run.order is not None and run.order.digest == task), None)

    def _release(self, clear: Outbound, share: Outbound, order: bytes) -> Journaled:
        kept = self._journal.find_release(share.header.task)
        if kept is None:
            keep(self._folder, clear)
        return self._journal.release(share, order)

    def _note(self, order: Order, event: str, words: str, document: bytes = b"", receipt: bytes = b"") -> None:
        record = order.about()
        record.actor, record.event, record.words = "node", event, words
        record.document, record.receipt = document, receipt
        # a mask is on the disk before it leaves; with the receipt nothing leaves
        self._journal.append(record, durable=event == "UNSEALED")
