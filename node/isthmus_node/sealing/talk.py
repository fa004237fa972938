"""What a node hears and says in sealed rounds, between its service, its rounds and the link. Of the working thread."""

from __future__ import annotations

from collections.abc import Callable

from isthmus.errors import AuthenticationError, DataError, Refused, UsageError, WaitingForApproval
from isthmus.v1 import sealed_pb2, study_pb2
from isthmus_node.admission import Order
from isthmus_node.custodian.contributors import Behind
from isthmus_node.egress.journal import Journaled
from isthmus_node.egress.wire import Outbound
from isthmus_node.link.channel import Session
from isthmus_node.parts import Parts
from isthmus_node.sealing.rounds import LostError
from isthmus_trust.documents import SEALED_SHARE, canonical
from isthmus_trust.sealed import LOST


class Talk:
    """This node's part in the sealed rounds of all runs.

    Parameters
    ----------
    parts
        What the service works with.
    session
        The connection that stands; None: there is none. What is not said is asked for again on the next one.
    holds
        Whether a task's answer has to wait for its slot.
    send
        Sends what the journal holds.
    count
        Counts the persons behind what left, by study.
    clock
        Monotonic seconds, for the log.
    """

    def __init__(
        self,
        parts: Parts,
        session: Callable[[], Session | None],
        holds: Callable[[bytes], bool],
        send: Callable[[Journaled], bool],
        count: Callable[[str, Behind], None],
        clock: Callable[[], float],
    ) -> None:
        self._parts = parts
        self._session = session
        self._holds = holds
        self._send = send
        self._count = count
        self._clock = clock

    def is_under_way(self, task: bytes) -> bool:
        """Whether a task is a sealed round that goes on; then its first word is said again."""
        opening = self._parts.sealing.opening(task)
        if opening is None:
            return False
        self._open(task, opening)
        return True

    def is_lost(self, kept: Journaled) -> bool:
        """Whether a journaled answer is a share whose masks went with the process that made them; then that is said."""
        if study_pb2.Signed.FromString(kept.payload).context != SEALED_SHARE:
            return False
        self._lose(kept.task)
        return True

    def may_go_on(self, order: Order) -> bool:
        """Whether the rounds before are known here, where there have to be any; otherwise that is said.

        Raises `Refused` ``STATE_NOT_DERIVED`` where the task does not follow from them.
        """
        if not order.task.sealed_attempt:
            return True
        try:
            self._parts.sealing.check(order)
        except LostError:
            self._lose(order.digest)
            return False
        return True

    def takes(self, order: Order, clear: Outbound, signed: study_pb2.Signed, seen: bytes) -> bool:
        """Whether an answer is to be sealed; then it stays here, and the first word of its round is said.

        Raises
        ------
        WaitingForApproval
            ``OUTPUT_HELD`` where a person sees it before.
        IsthmusError
            As `Round`, where it cannot be sealed.
        """
        if not order.task.sealed_attempt or clear.event != "RELEASED":
            return False
        try:
            self._parts.journal.see(clear, canonical(signed), seen)
        except WaitingForApproval:
            self._parts.held.put(clear, signed)
            raise
        behind = self._parts.answering.behind(order.digest)
        self._open(order.digest, self._parts.sealing.begin(order, clear, signed, behind))
        return True

    def hear(self, step: sealed_pb2.SealedStep) -> bool:
        """What everybody said in a round; what this node says to it leaves. Whether that was a share, for once."""
        began, first = self._clock(), self._parts.journal.find_release(step.task) is None
        try:
            said = self._parts.sealing.hear(step.task, step.words)
        except LostError:
            self._lose(step.task)
        except (Refused, UsageError, AuthenticationError, DataError) as error:
            self._parts.log.failure("sealed-round-ended", error, task=step.task.hex())
            self._say(step.task, None, error.code)
        else:
            if isinstance(said, Journaled):
                self._send(said)
                if first:
                    self._note(said, began)
                return first
            if said is not None:
                self._say(step.task, said)
        return False

    def _note(self, share: Journaled, began: float) -> None:
        order, behind = self._parts.sealing.about(share.task)
        if behind is not None:
            self._count(order.shelved.study.name, behind)
        milliseconds = round((self._clock() - began) * 1000, 1)
        self._parts.log.event(
            "released",
            task=share.task.hex(),
            run=order.task.run.hex(),
            round=order.task.round,
            bytes=len(share.payload),
            milliseconds=milliseconds,
        )

    def _open(self, task: bytes, opening: study_pb2.Signed) -> None:
        # how long the rows took ends here: how long the other words take says nothing of them
        if not self._holds(task):
            self._say(task, opening)

    def _lose(self, task: bytes) -> None:
        self._parts.log.event("sealed-round-lost", task=task.hex())
        self._say(task, None, LOST)

    def _say(self, task: bytes, word: study_pb2.Signed | None, code: str = "") -> None:
        session = self._session()
        if session is not None:
            session.say(task, word, code)
