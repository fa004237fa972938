"""A coordinator on loopback in this process, with small nodes and analysts that speak to it over mutual TLS."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import grpc
import numpy as np
import pytest

from isthmus.errors import IsthmusError, UsageError
from isthmus.v1 import (
    analyst_pb2,
    analyst_pb2_grpc,
    exchange_pb2,
    exchange_pb2_grpc,
    spec_pb2,
    study_pb2,
    summary_pb2,
)
from isthmus.version import __version__
from isthmus_coordinator.config import Home
from isthmus_coordinator.service import Coordinator, create, open_office
from isthmus_methods import codec, contract as c
from isthmus_trust.certificates import Role, certificate_request, new_tls_key, tls_key_pem
from isthmus_trust.documents import DECISION, REFUSAL, STUDY, SUMMARY, canonical, digest, prove
from isthmus_trust.identity import IdentityKey
from isthmus_trust.tokens import credentials_of
from isthmus_trust.wire_errors import error_of

PATIENCE = 20.0


class Climb:
    """A method for tests: walks a number uphill for a set number of rounds; order and bits of every sum matter."""

    name: ClassVar[str] = "climb"
    version: ClassVar[int] = 1
    title: ClassVar[str] = "Climb"
    leaves: ClassVar[Mapping[str, c.Field]] = {
        "score": c.Field(c.Kind.SCORE, "sum of slopes", size="p (p + 1) / 2"),
        "cells": c.Field(c.Kind.COUNT, "persons by arm", size="levels", required=False),
    }
    roles: ClassVar[Mapping[str, c.Role]] = {
        "outcome": c.Role("what is measured", holds="number"),
        "by": c.Role("groups", required=False, many=True, holds="factor"),
        "event": c.Role("event", required=False, holds="event"),
        "cluster": c.Role("who is counted", required=False, holds="unit"),
    }
    options: ClassVar[Mapping[str, c.OptionRule]] = {
        "rounds": c.OptionRule("rounds to walk", 4),
        "step": c.OptionRule("length of a step", 0.1),
        "ties": c.OptionRule("ties", "efron", ("efron", "breslow")),
        "each": c.OptionRule("show each country", False),
        "fault": c.OptionRule("what goes wrong in pool", ""),
        "times": c.OptionRule("landmarks", (1.0,)),
    }
    uses_terms: ClassVar[bool] = True
    missingness: ClassVar[c.Missingness] = c.Missingness.COMPLETE
    notes: ClassVar[Mapping[str, str]] = {"FLAT": "{countries} did not slope."}
    made_up_for: ClassVar[frozenset[str]] = frozenset()
    no_news: ClassVar[Mapping[str, frozenset[str]]] = {}
    rounds: ClassVar[tuple[int, int]] = (1, 40)

    def scope(self, spec: c.Spec) -> c.Scope:
        return c.Scope.BY_COUNTRY if c.option(spec, self, "each") else c.Scope.TOTAL

    def fold(self, block: c.Block, spec: c.Spec, state: c.State, local: Any) -> Any:
        raise NotImplementedError

    def release(self, partial: Any, spec: c.Spec, state: c.State, local: Any) -> Any:
        raise NotImplementedError

    def pool(self, contributions: c.Contributions, spec: c.Spec, state: c.State, memory: c.State) -> c.Next | c.Done:
        fault = c.option(spec, self, "fault")
        if fault == "method":
            from isthmus.errors import MethodError

            raise MethodError("SEPARATION", "the arms are separated", "merge levels")
        if fault == "bug":
            raise KeyError("secret row")
        total = contributions.total("score")
        assert total is not None
        beta = np.asarray(state.get("beta", np.zeros_like(total))) + float(c.option(spec, self, "step")) * total / 3.0
        path = np.append(np.asarray(memory.get("path", np.zeros(0))), beta.sum())
        if len(path) >= int(c.option(spec, self, "rounds")):
            answer = {"beta": float(beta[0]), "path": list(path), "countries": list(contributions.countries)}
            return c.Done(answer, made_up_for=self.made_up_for, no_news=self.no_news)
        return c.Next({"beta": beta}, {"path": path}, "slope", float(np.abs(total).max()))


def find_climb(name: str, version: int | None) -> c.Method:
    if name != "climb" or version not in (None, 1):
        raise UsageError("UNKNOWN_METHOD", f"there is no method {name!r}", "use climb")
    return Climb()


def score_of(rows: np.ndarray, state: Mapping[str, np.ndarray], size: int = 1) -> np.ndarray:
    beta = float(state["beta"][0]) if "beta" in state else 0.0
    return np.full(size, np.sin(rows * 0.7 + beta).sum() / len(rows))


class Member:
    """Keys, certificate and channel of somebody on the roster."""

    def __init__(self, region: Region, role: Role, name: str, country: str = "") -> None:
        self.region = region
        self.role = role
        self.name = name
        self.country = country
        self.identity = IdentityKey.generate()
        self.custodian = IdentityKey.generate()
        self.tls_key = new_tls_key()
        self.chain = b""
        self._channel: grpc.Channel | None = None

    def enrol_request(self, secret: bytes, software: str = __version__) -> exchange_pb2.EnrolRequest:
        request = certificate_request(self.tls_key, self.name)
        return exchange_pb2.EnrolRequest(
            software=software,
            secret=secret,
            certificate_request=request,
            identity_key=self.identity.public,
            identity_proof=prove(self.identity, request),
            custodian_key=self.custodian.public if self.role is Role.NODE else b"",
            custodian_proof=prove(self.custodian, request) if self.role is Role.NODE else b"",
        )

    def enrol(self, token: Any, software: str = __version__) -> exchange_pb2.EnrolReply:
        given = credentials_of(token)
        channel = self.region.channel(given.chain_pem, given.key_pem)
        with channel:
            reply = call(exchange_pb2_grpc.ExchangeStub(channel).Enrol, self.enrol_request(token.secret, software))
        self.chain = reply.certificate_chain
        return reply

    def join(self) -> Member:
        office = self.region.coordinator.office
        self.enrol(office.enrolment.invite(office.settings.address, self.role, self.name, self.country))
        return self

    @property
    def channel(self) -> grpc.Channel:
        if self._channel is None:
            self._channel = self.region.channel(self.chain, tls_key_pem(self.tls_key))
        return self._channel

    def hang_up(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    @property
    def exchange(self) -> Any:
        return exchange_pb2_grpc.ExchangeStub(self.channel)

    @property
    def analyst(self) -> Any:
        return analyst_pb2_grpc.AnalystStub(self.channel)

    def participant(self) -> study_pb2.Participant:
        return study_pb2.Participant(
            node=self.name,
            country=self.country,
            identity_key=self.identity.public,
            custodian_key=self.custodian.public,
        )

    def decide(self, study_digest: bytes, approved: bool = True, at: int | None = None) -> None:
        decision = study_pb2.Decision(
            study_digest=study_digest, node=self.name, approved=approved, decided_at=at or time.time_ns()
        )
        signed = self.custodian.sign(DECISION, canonical(decision))
        call(self.exchange.Decide, exchange_pb2.DecideRequest(decision=signed))


class FakeNode(Member):
    """A node without a gate: answers tasks from a row of numbers."""

    def __init__(self, region: Region, name: str, country: str, rows: int = 50) -> None:
        super().__init__(region, Role.NODE, name, country)
        self.rows = np.random.default_rng(zlib.crc32(name.encode())).normal(size=rows)
        self.refuse: tuple[str, str, str] | None = None
        self.silent = False
        # Rounds from this one on are not answered.
        self.silent_from = 10**9
        # Does not read the task that comes with a receipt, as where the receipt was lost on its way.
        self.loses_receipts = False
        self.withhold = False
        self.notes: tuple[str, ...] = ()
        self.dataset_digest = b"d" * 32
        self.size = 1
        self.messages: queue.Queue[Any] = queue.Queue()
        self.tasks: list[summary_pb2.Task] = []
        self.withdrawn: list[exchange_pb2.Withdrawal] = []
        self.answered: list[int] = []
        self.ended: queue.Queue[IsthmusError | None] = queue.Queue()
        self._outbox: queue.Queue[Any] = queue.Queue()
        self._call: Any = None
        self._thread: threading.Thread | None = None

    # ------------------------------------------------------------- stream

    def attach(
        self, software: str = __version__, limits: study_pb2.Signed | None = None, witnesses: bool = False
    ) -> FakeNode:
        self._outbox = queue.Queue()
        hello = exchange_pb2.Hello(
            software=software, methods=["climb/1"], datasets=["ADTTE"], limits=limits, witnesses=witnesses
        )
        self._outbox.put(exchange_pb2.NodeMessage(hello=hello))
        self._call = self.exchange.Attach(iter(self._outbox.get, None))
        self._thread = threading.Thread(target=self._listen, args=(self._call,), daemon=True)
        self._thread.start()
        return self

    def heartbeat(self) -> None:
        self._outbox.put(exchange_pb2.NodeMessage(heartbeat=exchange_pb2.Heartbeat()))

    def says_it_waits(self, task: bytes, code: str) -> None:
        self._outbox.put(exchange_pb2.NodeMessage(waits=exchange_pb2.Waits(task=task, code=code)))

    def detach(self) -> None:
        self._outbox.put(None)
        if self._thread is not None:
            self._thread.join(PATIENCE)

    def _listen(self, stream: Any) -> None:
        try:
            for message in stream:
                self.messages.put(message)
                if message.HasField("task"):
                    self._answer(message.task)
                elif message.HasField("withdrawal"):
                    self.withdrawn.append(message.withdrawal)
            self.ended.put(None)
        except grpc.RpcError as error:
            self.ended.put(to_error(error))

    def next(self, field: str) -> Any:
        """The next message of a kind on the stream."""
        while True:
            message = self.messages.get(timeout=PATIENCE)
            if message.HasField(field):
                return getattr(message, field)

    # ------------------------------------------------------------- answers

    def _answer(self, signed: study_pb2.Signed) -> None:
        task = summary_pb2.Task.FromString(signed.body)
        self.tasks.append(task)
        if self.silent or task.round >= self.silent_from:
            return
        with contextlib.suppress(IsthmusError):
            # a run that was ended meanwhile does not take it any more
            self.submit(self.answer_to(signed), digest(signed.body))
            self.answered.append(task.round)

    def answer_to(self, signed: study_pb2.Signed) -> study_pb2.Signed:
        task = summary_pb2.Task.FromString(signed.body)
        if self.refuse is not None:
            code, rule, remedy = self.refuse
            refusal = summary_pb2.Refusal(
                task=digest(signed.body), node=self.name, country=self.country, code=code, rule=rule, remedy=remedy
            )
            return self.identity.sign(REFUSAL, canonical(refusal))
        state = codec.state_from_messages(task.state)
        return self.identity.sign(SUMMARY, canonical(self.summary(digest(signed.body), state)))

    def summary(self, task: bytes, state: Mapping[str, np.ndarray]) -> summary_pb2.Summary:
        items = [summary_pb2.Item(field="score", value=codec.array_to_message(score_of(self.rows, state, self.size)))]
        if self.withhold:
            items.append(summary_pb2.Item(field="cells", label="arm", withheld_by="SMALL_CELL"))
        return summary_pb2.Summary(
            task=task,
            node=self.name,
            country=self.country,
            items=items,
            notes=self.notes,
            policy_digest=b"p" * 32,
            dataset_digest=self.dataset_digest,
            software=__version__,
        )

    def submit(self, signed: study_pb2.Signed, task: bytes) -> bytes:
        body = signed.SerializeToString(deterministic=True)
        return self.submit_bytes(body, task)

    def submit_bytes(self, body: bytes, task: bytes, total: int | None = None, part: int = 1 << 20) -> bytes:
        chunks = [
            exchange_pb2.SubmissionChunk(
                task=task, total_bytes=(len(body) if total is None else total) if k == 0 else 0, part=body[k : k + part]
            )
            for k in range(0, max(len(body), 1), part)
        ]
        whole = len(chunks) == 1 and len(body) <= part
        reply: exchange_pb2.Acknowledgement = (
            call(self.exchange.SubmitWhole, chunks[0]) if whole else call(self.exchange.Submit, iter(chunks))
        )
        if reply.HasField("task") and not self.loses_receipts:
            self._answer(reply.task)
        return reply.digest


class Clock:
    """The machine's clock, some time ahead."""

    def __init__(self) -> None:
        self.ahead = 0

    def __call__(self) -> int:
        return time.time_ns() + self.ahead

    def forward(self, seconds: float) -> None:
        self.ahead += int(seconds * 1e9)


class Region:
    """A coordinator and those who joined it."""

    def find(self, name: str, version: int | None) -> c.Procedure:
        return find_climb(name, version)

    def __init__(self, path: Path, database: str = "", settings: str = "") -> None:
        self.home = Home(path / "coordinator")
        create(self.home, "coordinator", ("127.0.0.1",), 8443)
        if database:
            with self.home.config.open("a") as file:
                file.write(f'database = "{database}"\n')
        with self.home.config.open("a") as file:
            file.write(settings)
        self.members: list[Member] = []
        self.clock = Clock()
        self.port = 0
        self.heartbeat = 15.0
        self.coordinator = self._start()
        self.lead = self.analyst("lead")

    def _start(self) -> Coordinator:
        coordinator = Coordinator(open_office(self.home, find=self.find, clock=self.clock), heartbeat=self.heartbeat)
        self.port = coordinator.start(0)
        return coordinator

    def restart(self) -> None:
        """Stop and start on another port: everybody dials again."""
        self.stop()
        self.coordinator = self._start()

    def forward(self, seconds: float) -> None:
        """Let time pass, and deadlines with it."""
        self.clock.forward(seconds)
        self.coordinator.rounds.check_deadlines()

    def stop(self) -> None:
        self.coordinator.stop(0.2)
        for member in self.members:
            member.hang_up()

    def channel(self, chain: bytes, key: bytes) -> grpc.Channel:
        root = self.coordinator.office.authority.root_pem
        credentials = grpc.ssl_channel_credentials(root, key, chain)
        return grpc.secure_channel(
            f"127.0.0.1:{self.port}", credentials, options=[("grpc.use_local_subchannel_pool", 1)]
        )

    def analyst(self, name: str) -> Member:
        member = Member(self, Role.ANALYST, name).join()
        self.members.append(member)
        return member

    def node(self, name: str, country: str | None = None) -> FakeNode:
        node = FakeNode(self, name, country or name.upper())
        node.join()
        self.members.append(node)
        return node

    def nodes(self, *names: str) -> list[FakeNode]:
        return [self.node(name) for name in names]

    # ------------------------------------------------------------- studies and runs

    def study(self, nodes: list[FakeNode], **changes: Any) -> study_pb2.Study:
        """A study among the nodes with one analysis for each policy: wait, fail, go-on."""
        analyses = {"wait": study_pb2.WAIT, "fail": study_pb2.FAIL, "go-on": study_pb2.GO_ON_WITHOUT}
        study = study_pb2.Study(
            name="TRIAL",
            version=1,
            title="A trial",
            participants=[node.participant() for node in nodes],
            datasets=[dataset()],
            plan=[
                study_pb2.Analysis(
                    name=name,
                    spec=spec(),
                    purpose=study_pb2.TRIAL_ANALYSIS,
                    missing_country=policy,
                    deadline_seconds=3600,
                )
                for name, policy in analyses.items()
            ],
            exploratory_purpose=study_pb2.TRIAL_ANALYSIS,
        )
        for name, value in changes.items():
            setattr(study, name, value)
        return study

    def propose(self, study: study_pb2.Study, author: Member | None = None) -> bytes:
        author = author or self.lead
        signed = author.identity.sign(STUDY, canonical(study))
        reply = call(author.analyst.ProposeStudy, analyst_pb2.ProposeStudyRequest(study=signed))
        found: bytes = reply.digest
        return found

    def approved(self, nodes: list[FakeNode], **changes: Any) -> bytes:
        study_digest = self.propose(self.study(nodes, **changes))
        for node in nodes:
            node.decide(study_digest)
        return study_digest

    def submit(self, study_digest: bytes, planned: str = "", exploratory: study_pb2.Analysis | None = None) -> bytes:
        request = analyst_pb2.SubmitRequest(study_digest=study_digest, planned=planned, exploratory=exploratory)
        reply = call(self.lead.analyst.Submit, request)
        found: bytes = reply.run
        return found

    def watch(self, run: bytes, until: Callable[[analyst_pb2.Progress], bool]) -> analyst_pb2.Progress:
        """Follow a run until a progress fits."""
        stream = self.lead.analyst.Watch(analyst_pb2.WatchRequest(run=run), timeout=PATIENCE)
        try:
            for progress in stream:
                if until(progress):
                    stream.cancel()
                    return progress
        except grpc.RpcError as error:
            raise to_error(error) from error
        raise AssertionError("the run ended before that")

    def result(self, run: bytes) -> analyst_pb2.Result:
        """The result, once the run has ended."""
        self.watch(run, lambda p: p.state in ("done", "failed", "cancelled"))
        reply: analyst_pb2.Result = call(self.lead.analyst.GetResult, analyst_pb2.GetResultRequest(run=run))
        return reply


def dataset() -> study_pb2.Dataset:
    variable = study_pb2.Variable
    return study_pb2.Dataset(
        name="ADTTE",
        subject="USUBJID",
        variables=[
            variable(name="USUBJID", type=variable.TEXT, roles=[variable.IDENTIFIER]),
            variable(name="AVAL", type=variable.NUMERIC, unit="days", minimum=0.0, maximum=5000.0, grid=1.0),
            variable(name="CNSR", type=variable.INTEGER),
            variable(name="AGE", type=variable.NUMERIC, unit="years"),
            variable(name="TRT01P", type=variable.FACTOR, levels=["placebo", "active"]),
            variable(name="GRADE", type=variable.INTEGER, levels=["1", "2", "3"]),
            variable(name="COMMENT", type=variable.TEXT),
            variable(name="RANDDT", type=variable.DATE),
        ],
    )


def spec(**options: c.Setting) -> spec_pb2.Spec:
    return codec.spec_to_message(
        c.Spec("climb", "ADTTE", roles={"outcome": (c.Ref("AVAL"),)}, terms=(c.Term((c.Ref("AGE"),)),), options=options)
    )


def call(method: Any, request: Any) -> Any:
    """Make a call; its error as one of ours."""
    try:
        return method(request, timeout=PATIENCE)
    except grpc.RpcError as error:
        raise to_error(error) from error


def to_error(error: Any) -> IsthmusError:
    return error_of(error.code().name, error.details() or "", error.trailing_metadata())


def alone(method: Any, request: Any) -> IsthmusError:
    """The error that a call gives."""
    with pytest.raises(IsthmusError) as caught:
        call(method, request)
    return caught.value


@pytest.fixture
def region(tmp_path: Path) -> Iterator[Region]:
    region = Region(tmp_path)
    yield region
    region.stop()
