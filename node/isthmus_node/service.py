"""The way of a task through a node: order, rows, gate, journal, and only then the link.

The thread that reads the stream takes note and wakes the one thread that works; what is here runs on that thread
unless it says otherwise, so nothing of it needs a lock.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from isthmus.errors import (
    AuthenticationError,
    ConfigError,
    IsthmusError,
    LinkError,
    Refused,
    UsageError,
    VersionError,
    WaitingForApproval as Waiting,
)
from isthmus.memory import give_back
from isthmus.recent import Recent
from isthmus.v1 import exchange_pb2, sealed_pb2, study_pb2, summary_pb2
from isthmus.version import __version__
from isthmus_node.admission import open_task
from isthmus_node.custodian.contributors import Behind
from isthmus_node.egress.journal import Journaled
from isthmus_node.egress.wire import Outbound
from isthmus_node.link.channel import Session
from isthmus_node.link.fetch import fetch_state
from isthmus_node.link.submit import CHUNK, decide, submit
from isthmus_node.parts import Parts
from isthmus_node.sealing.talk import Talk
from isthmus_node.slots import Slots
from isthmus_node.waiting import Waiting as WaitingTasks
from isthmus_trust.documents import canonical, digest as digest_of

# Tasks the coordinator took back, and answers it does not want: remembered so that neither leaves (again).
_KEPT = 1024
# Orders that came and are not looked at yet.
_ORDERS_KEPT = 4096

# What the auditor decides is written before anything leaves; where the disk does not let it, the task waits.
_WHEN_THERE_IS_ROOM = ("JOURNAL_NOT_WRITABLE", "FILE_NOT_WRITTEN")


class Service:
    """Takes orders from the stream and answers them, one after the other.

    Parameters
    ----------
    parts
        What it works with.
    distrust
        Called where a connection that seems to stand does not carry: it is then made anew.
    greet_again
        Called where what `hello` says has changed.
    clock
        Monotonic seconds, for the log.
    """

    def __init__(
        self,
        parts: Parts,
        distrust: Callable[[], None] = lambda: None,
        greet_again: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._parts = parts
        self._distrust = distrust
        self._greet_again = greet_again
        self._clock = clock
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._session: Session | None = None
        self._waiting = WaitingTasks(parts.waiting_room, parts.held, parts.log, self._tell_waiting)
        self._unwritten: dict[bytes, study_pb2.Signed] = {}
        self._withdrawn: Recent[bytes] = Recent(_KEPT)
        self._not_wanted: Recent[bytes] = Recent(_KEPT)
        self._slots = Slots(
            lambda: parts.answering.pace().slot_seconds,
            lambda task: self._work.put(partial(self._leave_again, task)),
            clock,
        )
        self._sealed = Talk(parts, lambda: self._session, self._slots.holds, self._send, self._count, clock)
        self._at_hand: set[bytes] = set()  # tasks in the queue or under way
        self.told = b""  # digest of the policy that the coordinator was told of; empty: that none is in force
        self.welcome: exchange_pb2.Welcome | None = None
        self._figures = dict.fromkeys(("tasks", "releases", "refusals", "bytes_out"), 0)

    # ------------------------------------------------------------------ told by the link, on its thread

    def hello(self) -> exchange_pb2.Hello:
        """What the node says of itself on every stream: no counts."""
        self.told, limits = self._parts.answering.limits()
        return exchange_pb2.Hello(
            software=__version__,
            methods=sorted(f"{method.name}/{method.version}" for method in self._parts.answering.procedures()),
            datasets=sorted(registration.name for registration in self._parts.datasets.list()),
            limits=limits,
        )

    def waiting(self) -> int:
        return len(self._waiting)

    def attached(self, session: Session, welcome: exchange_pb2.Welcome) -> None:
        self._session = session
        self.welcome = welcome
        self._work.put(self._after_attaching)

    def detached(self) -> None:
        self._session = None
        self.welcome = None

    def study(self, signed: study_pb2.Signed) -> None:
        self._check_room()
        self._work.put(lambda: self._take_study(signed))

    def task(self, signed: study_pb2.Signed) -> None:
        name = digest_of(signed.body)
        # told with a receipt and on the stream: once is enough
        if name not in self._at_hand:
            self._check_room()
            self._at_hand.add(name)
            self._slots.came(name)
            self._work.put(lambda: self._take_task(signed))

    def _check_room(self) -> None:
        """Raise `LinkError` where more orders have come than are kept: the session ends, and they are told again."""
        if self._work.qsize() >= _ORDERS_KEPT:
            raise LinkError(
                "TOO_MANY_ORDERS",
                f"more than {_ORDERS_KEPT} orders wait to be looked at; rule: no more are taken",
                "none needed: the node attaches again; if it goes on, ask the coordinating team",
            )

    def sealed(self, step: sealed_pb2.SealedStep) -> None:
        self._check_room()
        self._work.put(lambda: self._hear(step))

    def run_ended(self, ended: exchange_pb2.RunEnded) -> None:
        if self._work.qsize() < _ORDERS_KEPT:  # without that word the run counts as one that gave a result
            self._work.put(lambda: self._parts.reruns.ended(ended.run, ended.given))
            self._work.put(lambda: self._parts.sealing.end(ended.run))
            self._work.put(lambda: self._parts.answering.run_ended(ended.run))

    def withdrawal(self, withdrawal: exchange_pb2.Withdrawal) -> None:
        self._check_room()
        # noted at once, so that work under way on it stops before it leaves
        self._withdrawn.add(withdrawal.task)
        self._work.put(lambda: self._take_back(withdrawal))

    # ------------------------------------------------------------------ told by the main thread

    def figures(self) -> dict[str, int]:
        """How much work was done since the start: of the node, never of a study."""
        return {f"isthmus_node_{name}_total": count for name, count in self._figures.items()}

    def look_again(self) -> None:
        """Something a person did may have changed: decisions, datasets."""
        self._work.put(self._notice)

    def settle_again(self) -> None:
        """Try again what could not be written or sent."""
        self._work.put(self._settle)

    def do(self, job: Callable[[Session | None], None]) -> None:
        """Run a job between two tasks, with the connection that stands then."""
        self._work.put(lambda: job(self._session))

    def stop(self) -> None:
        """End `run` after the work under way."""
        self._work.put(None)

    # ------------------------------------------------------------------ the working thread

    def run(self) -> None:
        """Work until `stop`. A fault in one piece of work is logged, and the next is taken."""
        while True:
            work = self._work.get()
            if work is None:
                self._parts.answering.close()
                return
            self.work_on(work)

    def work_on(self, work: Callable[[], None]) -> None:
        try:
            work()
        except IsthmusError as error:
            name = "journal-fault" if error.code.startswith("JOURNAL") else "not-sent"
            self._log(name, error)
        except Exception as error:  # noqa: BLE001 - the text of an unknown exception may quote a row: it stays here
            self._parts.log.failure("work", error)

    def work_off(self) -> None:
        """Do what is queued now and return: for tests and for the end of a run."""
        while True:
            try:
                work = self._work.get_nowait()
            except queue.Empty:
                return
            if work is not None:
                self.work_on(work)

    def _after_attaching(self) -> None:
        self._waiting.forget()
        self._notice()
        for path, made in self._parts.decisions.everything():
            if isinstance(made, IsthmusError):
                self._log("decision-not-taken", made, file=path.name)
            elif made.about_study:
                self._send_decision(made.signed, made.decision)
        self._settle()

    def _settle(self) -> None:
        """What is in the journal and not acknowledged is sent; what could not be written is answered again."""
        for journaled in self._parts.journal.unacknowledged():
            if journaled.task not in self._not_wanted and not self._leave(journaled, again=True):
                break
        self._parts.answering.tidy()
        unwritten, self._unwritten = self._unwritten, {}
        for signed in unwritten.values():
            self._take_task(signed)

    def _notice(self) -> None:
        """Journal what people did since, then go on with what waited for it."""
        changes = self._parts.noticing.notice()
        if changes.datasets:
            self._parts.answering.forget()
            self._parts.log.event("datasets-changed", datasets=", ".join(changes.datasets))
        told_otherwise = self._session is not None and self._parts.answering.limits()[0] != self.told
        if changes.datasets or told_otherwise:
            # the coordinator learns of both when the stream is opened
            self._greet_again()
        for made in changes.decisions:
            if made.about_study:
                self._send_decision(made.signed, made.decision)
        if changes.decisions:
            self._try_waiting()
        for made in changes.decisions:
            if made.about_study and made.decision.approved:
                self._work.put(partial(self._make_ready, made.decision.study_digest))

    def _make_ready(self, study_digest: bytes) -> None:
        """Hold a newly approved study's dictionary against the rows, and keep them at hand for its first round."""
        shelved = self._parts.shelf.get(study_digest)
        for dictionary in shelved.study.datasets if shelved is not None else ():
            try:
                self._parts.datasets.load(dictionary.name, dictionary)
            except IsthmusError as error:
                self._log("data-unfit", error, dataset=dictionary.name)
            else:
                self._parts.log.event("data-ready", dataset=dictionary.name)

    def _try_waiting(self) -> None:
        for signed in self._waiting.orders():
            self._take_task(signed)

    def _send_decision(self, signed: study_pb2.Signed, decision: study_pb2.Decision) -> None:
        shelved = self._parts.shelf.get(decision.study_digest)
        session = self._session
        if session is None or shelved is None:
            return
        name = decision.study_digest.hex()
        try:
            decide(session, signed)
        except IsthmusError as error:
            self._log("decision-not-sent", error, digest=name)
        else:
            self._parts.log.event("decision-sent", study=shelved.study.name, digest=name, approved=decision.approved)

    def _take_study(self, signed: study_pb2.Signed) -> None:
        try:
            shelved, new = self._parts.shelf.put(signed)
        except IsthmusError as error:
            self._log("study-not-taken", error, digest=digest_of(signed.body).hex())
            return
        if new:
            self._parts.log.event(
                "study-arrived", study=shelved.study.name, version=shelved.study.version, digest=shelved.digest.hex()
            )
        if self._waiting.has_study(shelved.digest):
            self._try_waiting()

    def _hear(self, step: sealed_pb2.SealedStep) -> None:
        if step.task not in self._withdrawn and self._sealed.hear(step):
            self._figures["releases"] += 1

    def _take_back(self, withdrawal: exchange_pb2.Withdrawal) -> None:
        self._waiting.drop(withdrawal.task)
        self._unwritten.pop(withdrawal.task, None)
        self._parts.log.event("task-withdrawn", task=withdrawal.task.hex(), reason=withdrawal.reason)

    def _take_task(self, signed: study_pb2.Signed) -> None:
        try:
            self._answer_task(signed)
        except (ConfigError, LinkError) as error:
            # the journal cannot be written or read, or the task's state not be fetched: nothing leaves, and it is tried
            # again when there may be room, or a connection
            self._unwritten[digest_of(signed.body)] = signed
            self._log("journal-fault" if isinstance(error, ConfigError) else "state-not-fetched", error)
        finally:
            self._at_hand.discard(digest_of(signed.body))

    def _answer_task(self, signed: study_pb2.Signed) -> None:
        began = self._clock()
        if self._parts.noticing.changed():
            self._notice()
        try:
            name, task = open_task(signed, self._parts.ourselves.coordinator)
        except IsthmusError as error:
            # nobody to answer: it is not the coordinator's word
            self._log("task-not-taken", error, task=digest_of(signed.body).hex())
            return
        if self._sealed.is_under_way(name):
            return
        self._figures["tasks"] += 1
        kept = self._parts.journal.find_release(name)
        if kept is not None:
            self._waiting.drop(name)
            if not self._sealed.is_lost(kept):
                self._leave(kept, again=True)
            return
        if name in self._withdrawn:
            self._waiting.drop(name)
            return
        answered = self._answer(name, task, signed)
        if answered is None:
            return
        outbound, seen = answered
        self._waiting.drop(name)
        if name in self._withdrawn:
            return
        if outbound.about_rows:
            # on the disk before the refusal leaves
            pace = self._parts.answering.pace()
            self._parts.locks.count(outbound.header.study, task, outbound.header.dataset_digest, pace)
        try:
            self._release(outbound, signed, began, seen)
        except Waiting as wait:
            self._parts.held.put(outbound, signed)
            self._waiting.keep(name, task, signed, wait)

    def _answer(self, name: bytes, task: summary_pb2.Task, signed: study_pb2.Signed) -> tuple[Outbound, bytes] | None:
        """The answer, a refusal where something stands against it, None where a person has to decide first.

        With it what the custodian saw of it and released, by its digest. None too where the answer is to be sealed: the
        first word of the round is said then.
        """
        try:
            order = self._parts.admission.admit(name, task)
            self._parts.locks.check(order.shelved.study.name, task)
            if not self._sealed.may_go_on(order):
                self._waiting.drop(name)
                return None
            outbound = self._parts.answering.answer(order, fetch_state(self._session, name, task))
            seen = self._parts.held.seen(outbound)
            if self._sealed.takes(order, outbound, signed, seen):
                self._waiting.drop(name)
                return None
            return outbound, seen
        except Waiting as wait:
            self._waiting.keep(name, task, signed, wait)
            return None
        except Exception as error:
            if isinstance(error, LinkError) or (isinstance(error, ConfigError) and error.code in _WHEN_THERE_IS_ROOM):
                raise
            if not isinstance(error, IsthmusError):
                self._parts.log.failure("answer", error)
            elif not isinstance(error, Refused | UsageError):
                self._log("task-not-taken", error, task=name.hex())
            return self._parts.answering.refusal(name, task, self._parts.shelf.known(task.study_digest), error), b""

    # ------------------------------------------------------------------ out

    def _release(self, outbound: Outbound, order: study_pb2.Signed, began: float, seen: bytes) -> None:
        header = outbound.header
        journaled = self._parts.journal.release(outbound, canonical(order), seen)
        self._figures["releases" if outbound.event == "RELEASED" else "refusals"] += 1
        self._leave(journaled)
        if outbound.event == "RELEASED":
            # nobody waits for it
            behind = self._parts.answering.behind(header.task)
            if behind is not None:
                self._count(header.study, behind)
        if len(journaled.payload) > CHUNK:
            give_back()
        milliseconds = round((self._clock() - began) * 1000, 1)
        self._parts.log.event(
            "released" if outbound.event == "RELEASED" else "refused",
            task=header.task.hex(),
            run=header.run.hex(),
            round=header.round,
            bytes=len(journaled.payload),
            milliseconds=milliseconds,
        )

    def _count(self, study: str, behind: Behind) -> None:
        """How many persons are behind what left; those that were counted today cost next to nothing."""
        try:
            self._parts.contributors.count(study, behind, datetime.now(UTC).date())
        except ConfigError as error:
            # the answer is in the journal and has left; the next one counts them
            self._log("not-counted", error)

    def _tell_waiting(self, task: bytes, code: str) -> None:
        session = self._session
        if session is not None:
            session.tell(exchange_pb2.Waits(task=task, code=code))

    def _leave(self, journaled: Journaled, again: bool = False) -> bool:
        """Send what the journal holds once its slot has come; False where the connection did not carry it."""
        if self._slots.holds(journaled.task):
            return True
        if again:
            self._parts.log.event("sent-again", task=journaled.task.hex(), bytes=len(journaled.payload))
        return self._send(journaled)

    def _leave_again(self, task: bytes) -> None:
        if self._sealed.is_under_way(task):
            return
        journaled = self._parts.journal.find_release(task)
        if journaled is not None:
            self._leave(journaled)

    def _send(self, journaled: Journaled) -> bool:
        """Send what the journal holds; whether the connection carried it."""
        session = self._session
        if session is None:
            return False
        try:
            following = submit(session, journaled)
        except (UsageError, Refused, AuthenticationError, VersionError) as error:
            # sent again it would be the same; where it is about the certificate, the stream ends too
            self._not_wanted.add(journaled.task)
            self._log("not-wanted", error, task=journaled.task.hex())
            return True
        except IsthmusError as error:
            self._log("not-sent", error, task=journaled.task.hex())
            if isinstance(error, LinkError) and session is self._session:
                self._distrust()
            return False
        self._figures["bytes_out"] += len(journaled.payload)
        self._parts.journal.acknowledged(journaled.task)
        self._parts.log.event("acknowledged", task=journaled.task.hex())
        if following is not None:
            self.task(following)
        return True

    def _log(self, name: str, error: IsthmusError, **more: str) -> None:
        self._parts.log.failure(name, error, **more)
