"""Where sealed rounds are kept going: a word comes in, and once all have said theirs, all hear of it."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence

from isthmus.errors import IsthmusError, LinkError, Refused
from isthmus.v1 import sealed_pb2, study_pb2
from isthmus_coordinator.analyses import turns
from isthmus_coordinator.analyses.live import Live, Orders, Receipt
from isthmus_coordinator.analyses.run import Answer, Failure, Run
from isthmus_coordinator.analyses.sealed import Gathering, OtherWordError
from isthmus_coordinator.analyses.submission import Submission
from isthmus_coordinator.clock import Clock
from isthmus_trust.documents import SEALED_SHARE, read_canonical
from isthmus_trust.sealed import LOST

_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")

log = logging.getLogger(__name__)


class Sealing:
    """The words of all sealed rounds that go on. Called with a run's lock held.

    Parameters
    ----------
    commit
        Writes a turn, and the answers that brought it about.
    orders
        The way to the nodes.
    sign
        Signs tasks.
    clock
        The time.
    stored
        Digest of what a node submitted for a task that is closed; raises where there is no such answer.
    """

    def __init__(
        self,
        commit: Callable[[Live, turns.Turn, Sequence[Answer]], None],
        orders: Orders,
        sign: turns.Sign,
        clock: Clock,
        stored: Callable[[str, bytes], bytes],
    ) -> None:
        self._stored = stored
        self._commit = commit
        self._orders = orders
        self._sign = sign
        self._clock = clock

    def take_share(self, live: Live, node: str, task: bytes, submission: Submission) -> Receipt | None:
        """Note a share that was submitted; None of another answer.

        Errors as `read_canonical` and `Gathering.take`; where the task is not open any more, as `stored`.
        """
        signed = read_canonical(bytes(submission.whole()), study_pb2.Signed)
        if signed.context != SEALED_SHARE:
            return None
        if not _is_open(live, node, task):
            return Receipt(self._stored(node, task))
        self._take(live, node, signed)
        return Receipt(submission.digest)

    def take_word(self, live: Live, node: str, said: sealed_pb2.SealedWord) -> None:
        """What a node said on its stream. A word that is none ends the run, with the node's name."""
        if not _is_open(live, node, said.task):
            return
        if said.code == LOST:
            self._again(live, node)
        elif said.code or not said.HasField("word"):
            self._end(live, node, said.code)
        else:
            try:
                self._take(live, node, said.word)
            except LinkError:
                # it was not stored: what is complete is passed on again, and said again, at the next heartbeat
                log.warning("turn_not_stored", extra={"run": live.run.request.run.hex()})
            except IsthmusError as error:
                self._end(live, node, error.code)

    def _take(self, live: Live, node: str, signed: study_pb2.Signed) -> None:
        gathering = live.gathering
        if gathering is None:
            return
        try:
            fresh = gathering.take(node, signed)
        except OtherWordError:
            self._again(live, node)
            return
        if fresh:
            step = gathering.steps()[-1]
            for other in live.run.participants:
                self._orders.sealed(other, step)
        if gathering.complete:
            now = self._clock()
            answers = gathering.answers(live.run.request, now)
            try:
                self._commit(live, turns.take_in(live.run, answers, self._sign, now), answers)
            finally:
                for answer in answers:
                    if answer.submission is not None:
                        answer.submission.close()

    def _again(self, live: Live, node: str) -> None:
        country = live.run.request.country(node)
        log.info("sealed_round_lost", extra={"run": live.run.request.run.hex(), "node": node})
        error = LinkError(
            "SEALED_ROUND_LOST",
            f"{country} (node {node}) lost its part in a sealed round, and the run had begun {live.run.attempt} times",
            "see whether the site's node holds (isthmus-node status), then run the analysis again",
        )
        self._commit(live, turns.again(live.run, Failure.of(error), self._sign, self._clock()), ())

    def _end(self, live: Live, node: str, code: str) -> None:
        country = live.run.request.country(node)
        told = code if _CODE.fullmatch(code) else "SEALED_WORD_MISSING"
        error = Refused(
            told,
            f"{country} (node {node}) did not go on with a sealed round; rule: all see and sign the same, or nothing "
            "is summed",
            "ask the site's custodian: the node's log says what it was (sealed-round-ended)",
        )
        self._commit(live, turns.break_off(live.run, Failure.of(error), self._clock()), ())


def gathering_of(run: Run) -> Gathering | None:
    """What is to be gathered for a run's open task; None where nothing is."""
    if run.task is None or run.final or not run.request.sealed:
        return None
    return Gathering(run.task.digest, run.request.study.participants, run.ended_round)


def _is_open(live: Live, node: str, task: bytes) -> bool:
    run = live.run
    return run.task is not None and not run.final and run.task.digest == task and node in run.participants
