"""The nodes' calls: enrol, renew, attach, submit, decide, and checkpoints of their journals."""

# ruff: noqa: N802 - the contract names the calls

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc

from isthmus.errors import IsthmusError, UsageError
from isthmus.v1 import exchange_pb2, exchange_pb2_grpc
from isthmus.version import __version__, check_compatible
from isthmus_coordinator.analyses.rounds import Rounds
from isthmus_coordinator.analyses.submission import Submission
from isthmus_coordinator.link.door import Door
from isthmus_coordinator.link.hub import HEARTBEAT_SECONDS, Hub, Line
from isthmus_coordinator.roster.enrolment import Enrolment
from isthmus_coordinator.roster.limits import PolicyLimits
from isthmus_coordinator.roster.members import Roster
from isthmus_coordinator.studies.catalogue import Studies
from isthmus_coordinator.witnesses.desk import Witnesses
from isthmus_trust.certificates import Peer
from isthmus_trust.documents import digest

MAX_CHUNK = 1 << 20
# A submission larger than this is not read; the configuration may set another.
MAX_SUBMISSION = 256 << 20

log = logging.getLogger(__name__)


class ExchangeServicer(exchange_pb2_grpc.ExchangeServicer):
    """Answers nodes. Who they are was checked at the door; their names are taken from there and nowhere else."""

    def __init__(
        self,
        name: str,
        door: Door,
        hub: Hub,
        roster: Roster,
        enrolment: Enrolment,
        studies: Studies,
        rounds: Rounds,
        limits: PolicyLimits,
        witnesses: Witnesses,
        folder: Path,
        *,
        max_submission: int = MAX_SUBMISSION,
        heartbeat: float = HEARTBEAT_SECONDS,
    ) -> None:
        self._name = name
        self._door = door
        self._hub = hub
        self._roster = roster
        self._enrolment = enrolment
        self._studies = studies
        self._rounds = rounds
        self._limits = limits
        self._witnesses = witnesses
        self._folder = folder
        self._max_submission = max_submission
        self._heartbeat = heartbeat

    def Enrol(self, request: exchange_pb2.EnrolRequest, context: Any) -> exchange_pb2.EnrolReply:
        """A token for a place on the roster."""
        return self._enrolment.enrol(self._door.peer(context), request)

    def Renew(self, request: exchange_pb2.RenewRequest, context: Any) -> exchange_pb2.EnrolReply:
        """A fresh certificate."""
        return self._enrolment.renew(self._door.peer(context), request)

    def Decide(self, request: exchange_pb2.DecideRequest, context: Any) -> exchange_pb2.Acknowledgement:
        """A custodian's decision, stored and acted on."""
        stored = self._studies.decide(self._door.peer(context), request.decision)
        self._rounds.decided(stored.digest)
        return exchange_pb2.Acknowledgement(digest=digest(request.decision.SerializeToString(deterministic=True)))

    def Witness(self, request: exchange_pb2.WitnessRequest, context: Any) -> exchange_pb2.WitnessReply:
        """A node's checkpoint, seen here and passed on."""
        return self._witnesses.show(self._door.peer(context).name, request)

    def Cosign(self, request: exchange_pb2.CosignRequest, context: Any) -> exchange_pb2.Acknowledgement:
        """A witness's word about another node's checkpoint."""
        self._witnesses.take(self._door.peer(context).name, request.said)
        return exchange_pb2.Acknowledgement(digest=request.said.checkpoint)

    def FetchState(self, request: exchange_pb2.FetchStateRequest, context: Any) -> Iterator[exchange_pb2.StatePart]:
        """The state of a task that the node was asked, where it is too large to come with it."""
        peer = self._door.peer(context)
        for part in self._rounds.state_of(peer.name, request.task):
            self._door.check(peer)
            yield exchange_pb2.StatePart(part=part)

    # ----------------------------------------------------------------- submit

    def Submit(self, chunks: Iterator[exchange_pb2.SubmissionChunk], context: Any) -> exchange_pb2.Acknowledgement:
        """An answer to a task, acknowledged once it is on disk."""
        return self._store(self._door.peer(context), next(chunks, None), chunks)

    def SubmitWhole(self, chunk: exchange_pb2.SubmissionChunk, context: Any) -> exchange_pb2.Acknowledgement:
        """An answer of one chunk."""
        return self._store(self._door.peer(context), chunk, iter(()))

    def _store(
        self, peer: Peer, first: exchange_pb2.SubmissionChunk | None, rest: Iterator[exchange_pb2.SubmissionChunk]
    ) -> exchange_pb2.Acknowledgement:
        if first is None or len(first.task) != 32:
            raise _malformed("it names no task")
        if not 0 < first.total_bytes <= self._max_submission:
            raise UsageError(
                "SUBMISSION_TOO_LARGE",
                f"a submission of {first.total_bytes} bytes is not taken; "
                f"rule: between 1 and {self._max_submission} bytes",
                "ask for less at once: fewer terms, a coarser time grid",
            )
        self._rounds.check_task(peer.name, first.task)
        with contextlib.closing(Submission(self._folder)) as submission:
            self._collect(submission, peer, first, rest)
            receipt = self._rounds.take(peer.name, first.task, submission)
        return exchange_pb2.Acknowledgement(digest=receipt.digest, task=receipt.following)

    def _collect(
        self,
        submission: Submission,
        peer: Peer,
        first: exchange_pb2.SubmissionChunk,
        chunks: Iterator[exchange_pb2.SubmissionChunk],
    ) -> None:
        # grows as bytes come: what was announced costs nothing until it is there
        chunk: exchange_pb2.SubmissionChunk | None = first
        while chunk is not None:
            if len(chunk.part) > MAX_CHUNK:
                raise _malformed(f"a chunk holds more than {MAX_CHUNK} bytes")
            submission.add(chunk.part)
            if submission.size > first.total_bytes:
                raise _malformed("it holds more bytes than it announced")
            chunk = next(chunks, None)
            if chunk is not None:
                self._door.check(peer)
        if submission.size != first.total_bytes:
            raise _malformed("it ended before all its bytes had come")

    # ----------------------------------------------------------------- attach

    def Attach(
        self, messages: Iterator[exchange_pb2.NodeMessage], context: Any
    ) -> Iterator[exchange_pb2.CoordinatorMessage]:
        """Orders to a node for as long as it stays; its certificate is looked at before each of them."""
        peer = self._door.peer(context)
        hello = self._hello(peer, messages)
        self._limits.take(self._roster.get(peer.name).entry, hello.limits if hello.HasField("limits") else None)
        self._roster.seen(peer.name, hello.software, hello.datasets)
        line = self._hub.attach(peer.name, hello)
        stopped: list[IsthmusError] = []
        threading.Thread(
            target=self._listen, args=(peer, line, messages, stopped), name=f"from-{peer.name}", daemon=True
        ).start()
        log.info("attached", extra={"node": peer.name, "software": hello.software})
        try:
            yield exchange_pb2.CoordinatorMessage(
                welcome=exchange_pb2.Welcome(software=__version__, coordinator=self._name)
            )
            for stored in self._studies.awaiting(peer.name):
                yield exchange_pb2.CoordinatorMessage(study=stored.signed)
            self._tell_outstanding(line)
            while (order := line.next(self._heartbeat)) is not None:
                self._door.check(peer)
                if order.HasField("heartbeat"):
                    # a task that went out with a receipt may have been lost with it
                    self._tell_outstanding(line)
                yield order
            if stopped:
                raise stopped[0]
            if line.replaced:
                raise UsageError(
                    "REPLACED",
                    f"node {peer.name} attached a second time; rule: the newer connection counts",
                    "run one node of this name; if only one runs, nothing is to be done",
                )
        finally:
            self._hub.detach(line)
            log.info("detached", extra={"node": peer.name})

    def _tell_outstanding(self, line: Line) -> None:
        steps, outstanding = self._rounds.sealed_steps(line.node), self._rounds.outstanding(line.node)
        named = {task for task, _ in outstanding}
        # what ended a round comes before the task that follows from it, and what is said in one after its task
        for step in (step for step in steps if step.task not in named):
            self._hub.sealed_on(line, step)
        for task, signed in outstanding:
            self._hub.task_on(line, task, signed)
        for step in (step for step in steps if step.task in named):
            self._hub.sealed_on(line, step)

    def _hello(self, peer: Peer, messages: Iterator[exchange_pb2.NodeMessage]) -> exchange_pb2.Hello:
        first = next(messages, None)
        if first is None or not first.HasField("hello"):
            raise UsageError("NO_HELLO", "the stream did not begin with a hello", "use a node of this release")
        check_compatible(__version__, first.hello.software, f"node {peer.name}")
        return first.hello

    def _listen(
        self,
        peer: Peer,
        line: Line,
        messages: Iterator[exchange_pb2.NodeMessage],
        stopped: list[IsthmusError],
    ) -> None:
        """Read what the node says until it goes or may not speak any more; then have its stream end."""
        try:
            # the caller going away ends the stream like any other end of it
            with contextlib.suppress(grpc.RpcError):
                for message in messages:
                    self._door.check(peer)
                    if message.HasField("waits"):
                        self._rounds.waits(peer.name, message.waits.task, message.waits.code)
                    elif message.HasField("sealed"):
                        self._rounds.said(peer.name, message.sealed)
                    self._roster.seen(peer.name)
                    line.last_contact = self._hub.now()
        except IsthmusError as error:
            stopped.append(error)
        except Exception:
            log.exception("listening_failed", extra={"node": peer.name})
        finally:
            line.orders.put(None)


def _malformed(what: str) -> UsageError:
    return UsageError("MALFORMED_SUBMISSION", f"the submission is not taken: {what}", "use a node of this release")
