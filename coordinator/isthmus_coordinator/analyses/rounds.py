"""Where runs are kept going: answers come in, the turn they bring is written down, then the nodes are told."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from isthmus.errors import IsthmusError, LinkError, Refused
from isthmus.v1 import study_pb2
from isthmus_coordinator.analyses import records, turns
from isthmus_coordinator.analyses.alarm import Alarm
from isthmus_coordinator.analyses.answers import not_a_participant, read_answer
from isthmus_coordinator.analyses.run import Answer, Failure, LeftOut, Run
from isthmus_coordinator.analyses.states import State
from isthmus_coordinator.clock import SECOND, Clock
from isthmus_coordinator.roster.members import Roster
from isthmus_coordinator.store.database import Database
from isthmus_coordinator.studies.catalogue import Studies
from isthmus_coordinator.studies.proposals import FindMethod
from isthmus_trust.documents import TASK
from isthmus_trust.identity import IdentityKey

# Seconds that nodes get after a restart of the coordinator, even where the deadline passed meanwhile.
GRACE = 30
# Seconds that an answer waits for those of other countries, to be written in one go with them.
GATHER_SECONDS = 0.05

log = logging.getLogger(__name__)


class Orders(Protocol):
    """The way to the nodes. Never waits, never raises: a node that is away gets its tasks when it attaches."""

    def task(self, node: str, digest: bytes, signed: study_pb2.Signed) -> None: ...

    def withdraw(self, node: str, digest: bytes, reason: str) -> None: ...

    def attached(self, node: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a node hears of its answer."""

    digest: bytes  # of what is stored
    following: study_pb2.Signed | None = None  # the node's task in the round that this answer opened with others


class _Ticket:
    """An answer on its way into the store, and what became of it."""

    __slots__ = ("answer", "error", "receipt", "settled", "task")

    def __init__(self, task: bytes, answer: Answer) -> None:
        self.task = task
        self.answer = answer
        self.settled = threading.Event()
        self.receipt = Receipt(b"")
        self.error: Exception | None = None

    def accept(self, digest: bytes, following: study_pb2.Signed | None = None) -> None:
        self.receipt = Receipt(digest, following)
        self.settled.set()

    def decline(self, error: Exception) -> None:
        self.error = error
        self.settled.set()


class Live:
    """A run that has not ended. `lock` is held for every turn; `changed` wakes those who follow it."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.lock = threading.RLock()
        self.inbox: deque[_Ticket] = deque()
        self.changed = threading.Condition()
        self.version = 0
        # Not before this the deadline counts: after a restart nodes need time to come back.
        self.not_before = 0

    def bump(self) -> None:
        with self.changed:
            self.version += 1
            self.changed.notify_all()


class Rounds:
    """All runs that have not ended. Safe to be called from many threads; `orders` tells the nodes."""

    def __init__(
        self,
        database: Database,
        roster: Roster,
        studies: Studies,
        orders: Orders,
        identity: IdentityKey,
        find_method: FindMethod,
        clock: Clock,
    ) -> None:
        self._database = database
        self._roster = roster
        self._studies = studies
        self._orders = orders
        self._identity = identity
        self._find_method = find_method
        self._clock = clock
        self._lock = threading.Lock()
        self._live: dict[bytes, Live] = {}
        self._by_task: dict[bytes, Live] = {}
        self._alarm = Alarm(clock, self.check_deadlines)
        self._on_ended: Callable[[bytes, Sequence[str], bool], None] = lambda _run, _nodes, _given: None
        self.closed = False

    def on_ended(self, call: Callable[[bytes, Sequence[str], bool], None]) -> None:
        """Have a function called with the number of every run that ends, its nodes, and whether it gave a result.

        It must not wait.
        """
        self._on_ended = call

    def resume(self) -> None:
        """Take up every run that has not ended, and begin to watch deadlines."""
        now = self._clock()
        with self._database.read() as connection:
            numbers = records.open_runs(connection)
        for number in numbers:
            try:
                with self._database.read() as connection:
                    run = records.load_run(connection, number, self._studies.get, self._find_method)
            except LinkError:
                raise
            except IsthmusError as error:
                log.warning("run_not_resumed", extra={"run": number.hex(), "code": error.code})
                with self._database.write() as connection:
                    records.close_unreadable(connection, number, Failure.of(error), now)
                continue
            live = self._enter(run)
            live.not_before = now + GRACE * SECOND
            with live.lock:
                self._begin_if_approved(live)
                self._watch(live)
        self._alarm.start()

    def close(self) -> None:
        """Stop watching; those who follow a run are let go."""
        self.closed = True
        self._alarm.stop()
        for live in self._all_live():
            live.bump()

    # ----------------------------------------------------------------- runs

    def begin(self, run: Run) -> None:
        """Write down a run that was asked for, and open its first round where every participant has approved."""
        with self._database.write() as connection:
            records.insert_run(connection, run)
        live = self._enter(run)
        with live.lock:
            self._begin_if_approved(live)

    def cancel(self, live: Live) -> None:
        """End a run that is not wanted any more; `Refused` ``RUN_CLOSED`` where it has ended."""
        with live.lock:
            self._commit(live, turns.cancel(live.run, self._clock()))

    def find(self, number: bytes) -> Live | None:
        """The run of that number, if it has not ended."""
        with self._lock:
            return self._live.get(number)

    # ----------------------------------------------------------------- nodes

    def take(self, node: str, task: bytes, signed: study_pb2.Signed) -> Receipt:
        """Take in what a node submitted; returns once it is stored durably.

        Answers that arrive while another is being written are written together.

        Raises
        ------
        Refused
            ``UNKNOWN_TASK``, ``TASK_CLOSED``, ``NOT_A_PARTICIPANT``, or what `read_answer` says.
        AuthenticationError, UsageError
            As `read_answer`.
        LinkError
            Where it could not be stored: to be sent again.
        """
        with self._lock:
            live = self._by_task.get(task)
        if live is None:
            return Receipt(self._stored_answer(node, task))
        answer = read_answer(live.run.request, node, task, signed, self._clock())
        ticket = _Ticket(task, answer)
        live.inbox.append(ticket)
        # the last of a round writes for all; the others give it a moment before they write for themselves
        if len(live.inbox) >= len(live.run.unanswered) or not ticket.settled.wait(GATHER_SECONDS):
            with live.lock:
                if not ticket.settled.is_set():
                    self._settle(live)
        if ticket.error is not None:
            raise ticket.error
        return ticket.receipt

    def check_task(self, node: str, task: bytes) -> None:
        """Raise, as `take`, where an answer of the node to this task would not be taken; before its bytes are read."""
        with self._lock:
            live = self._by_task.get(task)
        if live is None:
            self._stored_answer(node, task)
        elif node not in live.run.participants:
            raise not_a_participant(node)

    def outstanding(self, node: str) -> list[tuple[bytes, study_pb2.Signed]]:
        """Tasks that wait for the node, oldest first."""
        found = []
        for live in self._all_live():
            run = live.run
            if run.task is not None and not run.final and node in run.unanswered:
                found.append((run.task.opened_at, run.task.digest, run.task.signed))
        return [(digest, signed) for _, digest, signed in sorted(found, key=lambda f: f[:2])]

    def decided(self, study_digest: bytes) -> None:
        """A custodian decided: runs that waited may start, runs of a study now refused go without that country."""
        standing = self._studies.standing(study_digest)
        for live in self._all_live():
            if live.run.request.study_digest != study_digest:
                continue
            with live.lock:
                run = live.run
                against = {
                    node: turns.not_approved(run.request.country(node), node)
                    for node in run.participants
                    if standing.get(node) is False
                }
                if against:
                    self._leave_out(live, against)
                self._begin_if_approved(live)
                live.bump()

    def waits(self, node: str, task: bytes, code: str) -> None:
        """A node says that an open task waits for a person there. Not stored: after a restart it says so again."""
        with self._lock:
            live = self._by_task.get(task)
        if live is None:
            return
        with live.lock:
            run = live.run
            if run.task is not None and run.task.digest == task and node in run.unanswered:
                live.run = replace(run, waits={**run.waits, node: code[:64]})
                live.bump()

    def node_changed(self, node: str) -> None:
        """A node attached or went away: those who follow its runs see it."""
        for live in self._all_live():
            if node in live.run.participants:
                live.bump()

    def check_deadlines(self) -> None:
        """Deal with every deadline that has passed, and with participants that are no longer on the roster."""
        now = self._clock()
        every = self._all_live()
        revoked = self._roster.revoked({node for live in every for node in live.run.participants}) if every else set()
        for live in every:
            with live.lock:
                run = live.run
                gone = {n: turns.revoked(run.request.country(n), n) for n in run.participants if n in revoked}
                if gone and not run.final:
                    self._leave_out(live, gone)
                run = live.run
                if run.task is not None and not run.final and now >= max(run.task.deadline, live.not_before):
                    self._commit(live, turns.out_of_time(run, self._sign, now))

    # ----------------------------------------------------------------- turns

    def _settle(self, live: Live) -> None:
        """Write all answers that have come in, in one transaction with the turn they bring about."""
        while live.inbox:
            fresh = self._sort_inbox(live)
            if fresh:
                self._write_answers(live, fresh)

    def _sort_inbox(self, live: Live) -> dict[str, _Ticket]:
        """Answers to be written now, one a node; what is late, foreign or known already is settled here."""
        fresh: dict[str, _Ticket] = {}
        run = live.run
        while live.inbox:
            ticket = live.inbox.popleft()
            node = ticket.answer.node
            try:
                if run.task is None or run.final or ticket.task != run.task.digest:
                    ticket.accept(self._stored_answer(node, ticket.task))
                elif node in run.answers:
                    ticket.accept(run.answers[node].digest)
                elif node not in run.participants:
                    ticket.decline(not_a_participant(node))
                elif node in fresh:
                    # the same node twice at once: the second is looked at once the first is written
                    live.inbox.appendleft(ticket)
                    break
                else:
                    fresh[node] = ticket
            except IsthmusError as error:
                ticket.decline(error)
        return fresh

    def _write_answers(self, live: Live, fresh: dict[str, _Ticket]) -> None:
        answers = [ticket.answer for ticket in fresh.values()]
        try:
            turn = turns.take_in(live.run, answers, self._sign, self._clock())
            self._commit(live, turn, answers)
        except Exception as error:
            # nothing was written, nothing is acknowledged: the nodes send it again
            log.exception("answers_not_stored", extra={"run": live.run.request.run.hex()})
            for ticket in fresh.values():
                ticket.decline(error if isinstance(error, IsthmusError) else _not_stored())
            return
        following = None if live.run.final or live.run.task is None else live.run.task
        for node, ticket in fresh.items():
            goes_on = following is not None and following.digest != ticket.task and node in live.run.participants
            ticket.accept(ticket.answer.digest, following.signed if following is not None and goes_on else None)

    def _commit(self, live: Live, turn: turns.Turn, answers: Sequence[Answer] = ()) -> None:
        before, after = live.run, turn.run
        if after is before:
            return
        with self._database.write() as connection:
            records.save_turn(connection, before, after, answers)
        live.run = after
        with self._lock:
            if before.task is not None and (after.task is not before.task or after.final):
                self._by_task.pop(before.task.digest, None)
            if after.final:
                self._live.pop(after.request.run, None)
            elif after.task is not None:
                self._by_task[after.task.digest] = live
        for gone in turn.withdrawn:
            self._orders.withdraw(gone.node, gone.task, gone.reason)
        if after.task is not None and after.task is not before.task and not after.final:
            # those whose answers were just written hear of the next task with their receipt
            self._tell(after, {answer.node for answer in answers})
            self._watch(live)
        live.bump()
        if after.final:
            self._on_ended(after.request.run, before.participants, after.state is State.DONE)

    def _tell(self, run: Run, told: Collection[str]) -> None:
        if run.task is not None:
            for node in run.unanswered:
                if node not in told:
                    self._orders.task(node, run.task.digest, run.task.signed)

    def _watch(self, live: Live) -> None:
        run = live.run
        if run.task is not None and run.request.missing_country != study_pb2.WAIT:
            self._alarm.set(max(run.task.deadline, live.not_before))

    def _leave_out(self, live: Live, gone: dict[str, LeftOut]) -> None:
        self._commit(live, turns.leave_out(live.run, gone, "FAILED", self._sign, self._clock()))

    def _begin_if_approved(self, live: Live) -> None:
        run = live.run
        if run.state is not State.WAITING:
            return
        standing = self._studies.standing(run.request.study_digest)
        refused = [node for node in run.participants if standing.get(node) is False]
        if refused:
            self._leave_out(live, {n: turns.not_approved(run.request.country(n), n) for n in refused})
            run = live.run
        if run.state is State.WAITING and all(standing.get(node, False) for node in run.participants):
            self._commit(live, turns.begin(run, self._sign, self._clock()))

    def _sign(self, body: bytes) -> study_pb2.Signed:
        return self._identity.sign(TASK, body)

    # ----------------------------------------------------------------- looking up

    def _enter(self, run: Run) -> Live:
        live = Live(run)
        with self._lock:
            self._live[run.request.run] = live
            if run.task is not None:
                self._by_task[run.task.digest] = live
        return live

    def _all_live(self) -> list[Live]:
        with self._lock:
            return list(self._live.values())

    def _stored_answer(self, node: str, task: bytes) -> bytes:
        with self._database.read() as connection:
            stored = records.find_submission(connection, task, node)
            if stored is not None:
                return stored
            asked = records.find_participants(connection, task)
        if asked is None:
            raise Refused(
                "UNKNOWN_TASK",
                "this coordinator never asked such a task",
                "drop this answer; nothing else is to be done",
            )
        if node not in asked:
            raise not_a_participant(node)
        raise Refused(
            "TASK_CLOSED",
            "the task was closed before this answer came: its deadline passed, or the run was ended",
            "drop this answer; nothing else is to be done",
        )


def _not_stored() -> LinkError:
    return LinkError("NOT_STORED", "the answer could not be stored at the coordinator", "it is sent again by itself")
