"""Where runs are kept going: answers come in, the turn they bring is written down, then the nodes are told."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace

from isthmus.errors import IsthmusError, LinkError, Refused
from isthmus.memory import give_back
from isthmus.v1 import sealed_pb2, study_pb2
from isthmus_coordinator.analyses import records, turns
from isthmus_coordinator.analyses.alarm import Alarm
from isthmus_coordinator.analyses.answers import not_a_participant, read_answer
from isthmus_coordinator.analyses.live import Live, Orders, Receipt, Ticket
from isthmus_coordinator.analyses.run import Answer, Failure, LeftOut, Run
from isthmus_coordinator.analyses.sealing import Sealing, gathering_of
from isthmus_coordinator.analyses.states import State
from isthmus_coordinator.analyses.submission import Submission, not_stored
from isthmus_coordinator.clock import SECOND, Clock
from isthmus_coordinator.roster.members import Roster
from isthmus_coordinator.store.database import Database
from isthmus_coordinator.studies.catalogue import Studies
from isthmus_coordinator.studies.proposals import FindMethod
from isthmus_coordinator.training.half import Trainings
from isthmus_trust.documents import TASK
from isthmus_trust.identity import IdentityKey

# Seconds that nodes get after a restart of the coordinator, even where the deadline passed meanwhile.
GRACE = 30
# Seconds that an answer waits for those of other countries, to be written in one go with them.
GATHER_SECONDS = 0.05
# Seconds until a turn that the store did not take is written again.
STORE_SECONDS = 2.0

log = logging.getLogger(__name__)


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
        trainings: Trainings,
    ) -> None:
        self._database = database
        self._roster = roster
        self._studies = studies
        self._orders = orders
        self._identity = identity
        self._find_method = find_method
        self._clock = clock
        self._trainings = trainings
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._live: dict[bytes, Live] = {}
        self._by_task: dict[bytes, Live] = {}
        self._alarm = Alarm(clock, self.check_deadlines)
        self._sealing = Sealing(
            self._commit, orders, self._sign, clock, lambda *of: records.stored_answer(database, *of)
        )
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
                self._go_on(live)
        self._alarm.start()

    def close(self) -> None:
        """Stop watching; those who follow a run are let go."""
        self.closed = True
        self._stopped.set()
        self._alarm.stop()
        self._trainings.close()
        for live in self._all_live():
            live.bump()
            with live.asking:
                # nobody reads the store for a strategy when this returns
                pass

    # ----------------------------------------------------------------- runs

    def begin(self, run: Run) -> None:
        """Write down a run that was asked for, and open its first round where every participant has approved."""
        with self._database.write() as connection:
            records.insert_run(connection, run)
        live = self._enter(run)
        with live.lock:
            self._begin_if_approved(live)

    def trainings(self) -> int:
        """How many trainings go on."""
        return sum(live.run.request.trains for live in self._all_live())

    def cancel(self, live: Live) -> None:
        """End a run that is not wanted any more; `Refused` ``RUN_CLOSED`` where it has ended."""
        with live.lock:
            self._commit(live, turns.cancel(live.run, self._clock()))

    def find(self, number: bytes) -> Live | None:
        """The run of that number, if it has not ended."""
        with self._lock:
            return self._live.get(number)

    # ----------------------------------------------------------------- nodes

    def take(self, node: str, task: bytes, submission: Submission) -> Receipt:
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
            return Receipt(records.stored_answer(self._database, node, task))
        if live.run.request.sealed:
            with live.lock:
                taken = self._sealing.take_share(live, node, task, submission)
            if taken is not None:
                return taken
        answer = read_answer(live.run.request, node, task, submission, self._clock())
        ticket = Ticket(task, replace(answer, submission=submission))
        live.inbox.append(ticket)
        # the last of a round writes for all; the others give it a moment before they write for themselves
        if len(live.inbox) >= len(live.run.unanswered) or not ticket.settled.wait(GATHER_SECONDS):
            with live.lock:
                if not ticket.settled.is_set():
                    self._settle(live)
        if ticket.error is not None:
            raise ticket.error
        return ticket.receipt

    def said(self, node: str, word: sealed_pb2.SealedWord) -> None:
        """What a node said in a sealed round, on its stream."""
        with self._lock:
            live = self._by_task.get(word.task)
        if live is not None:
            with live.lock:
                self._sealing.take_word(live, node, word)

    def sealed_steps(self, node: str) -> list[sealed_pb2.SealedStep]:
        """What was said so far in the node's sealed rounds: what ended the ones before, then that of the open ones."""
        found = [live.gathering for live in self._all_live() if node in live.run.participants]
        return [one.before for one in found if one and one.before] + [s for one in found if one for s in one.steps()]

    def check_task(self, node: str, task: bytes) -> None:
        """Raise, as `take`, where an answer of the node to this task would not be taken; before its bytes are read."""
        with self._lock:
            live = self._by_task.get(task)
        if live is None:
            records.stored_answer(self._database, node, task)
        elif node not in live.run.asked:
            raise not_a_participant(node)

    def state_of(self, node: str, task: bytes) -> Iterator[bytes]:
        """The state of an open task in parts, where it does not come with it; errors as `take`."""
        self.check_task(node, task)
        with self._lock:
            live = self._by_task.get(task)
        if live is None or live.run.task is None or not live.run.task.state_digest:
            raise Refused(
                "TASK_CLOSED",
                "the task is closed, or its state came with it",
                "drop this task; nothing else is to be done",
            )
        return records.read_parts(self._database, live.run.request.run)

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

    def _sort_inbox(self, live: Live) -> dict[str, Ticket]:
        """Answers to be written now, one a node; what is late, foreign or known already is settled here."""
        fresh: dict[str, Ticket] = {}
        run = live.run
        while live.inbox:
            ticket = live.inbox.popleft()
            node = ticket.answer.node
            try:
                if run.task is None or run.final or ticket.task != run.task.digest:
                    ticket.accept(records.stored_answer(self._database, node, ticket.task))
                elif node in run.answers:
                    ticket.accept(run.answers[node].digest)
                elif node not in run.asked:
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

    def _write_answers(self, live: Live, fresh: dict[str, Ticket]) -> None:
        answers = [ticket.answer for ticket in fresh.values()]
        try:
            turn = turns.take_in(live.run, answers, self._sign, self._clock())
            self._commit(live, turn, answers)
        except Exception as error:
            # nothing was written, nothing is acknowledged: the nodes send it again
            log.exception("answers_not_stored", extra={"run": live.run.request.run.hex()})
            for ticket in fresh.values():
                ticket.decline(error if isinstance(error, IsthmusError) else not_stored())
            return
        following = None if live.run.final or live.run.task is None else live.run.task
        for node, ticket in fresh.items():
            goes_on = following is not None and following.digest != ticket.task and node in following.asked
            ticket.accept(ticket.answer.digest, following.signed if following is not None and goes_on else None)

    def _commit(self, live: Live, turn: turns.Turn, answers: Sequence[Answer] = ()) -> None:
        before, after = live.run, turn.run
        if after is before:
            return
        with self._database.write() as connection:
            records.save_turn(connection, before, after, answers, turn.apart)
        live.run = after
        if after.task is not before.task or after.final:
            live.gathering = gathering_of(after)
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
            self._tell(after, () if after.request.sealed else {answer.node for answer in answers})
            self._watch(live)
        live.bump()
        if after.final:
            self._on_ended(after.request.run, before.participants, after.state is State.DONE)
        self._go_on(live)

    def _go_on(self, live: Live) -> None:
        """Of a training: have its strategy asked, on a thread of its own, or ended where it is not needed any more."""
        run = live.run
        if not run.request.trains:
            return
        if run.final or (run.task is None and run.attempt > 1):
            self._trainings.end(run.request.run)
        if turns.due(run) and live.asked_about is not run:
            live.asked_about = run
            name = f"strategy-{run.request.run.hex()[:8]}"
            threading.Thread(target=self._ask_strategy, args=(live, run), name=name, daemon=True).start()

    def _ask_strategy(self, live: Live, run: Run) -> None:
        """What the strategy says of the run as it stood; of no use where the run has gone on without it."""
        with live.asking:
            if self.closed or live.run is not run:
                return
            outcome = self._trainings.turn(run)
            if live.run.final:
                # it ended meanwhile, maybe before there was a process to be ended
                self._trainings.end(run.request.run)
        while not self.closed:
            with live.lock:
                if self.closed or live.run is not run:
                    return
                try:
                    turn = turns.follow(run, outcome, self._sign, self._clock())
                    self._commit(live, turn)
                    if turn.apart is not None:
                        del turn, outcome
                        give_back()
                    return
                except LinkError:
                    # what came of it is written once the store takes it again
                    log.warning("turn_not_stored", extra={"run": run.request.run.hex()})
                except Exception:
                    log.exception("turn_failed", extra={"run": run.request.run.hex()})
                    return
            self._stopped.wait(STORE_SECONDS)

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
        live.gathering = gathering_of(run)
        with self._lock:
            self._live[run.request.run] = live
            if run.task is not None:
                self._by_task[run.task.digest] = live
        return live

    def _all_live(self) -> list[Live]:
        with self._lock:
            return list(self._live.values())
