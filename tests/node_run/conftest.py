"""A certificate authority, a coordinator's end of the wire and proxies, all inside the test's own process."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import numpy as np
import pytest

from isthmus import command
from isthmus.errors import IsthmusError
from isthmus.v1 import exchange_pb2, exchange_pb2_grpc, spec_pb2, study_pb2, summary_pb2
from isthmus_node.admission import Admission, Ourselves
from isthmus_node.answering import Answering
from isthmus_node.catalogue import Datasets
from isthmus_node.cli import app
from isthmus_node.config import Address, Proxy
from isthmus_node.custodian.adoption import Adopted, Adoptions, record_of
from isthmus_node.custodian.contributors import Contributors
from isthmus_node.custodian.decisions import Decisions
from isthmus_node.custodian.held import HeldAnswers
from isthmus_node.custodian.locks import Locks
from isthmus_node.custodian.policy_in_force import PolicyInForce
from isthmus_node.custodian.reruns import Reruns
from isthmus_node.egress.auditor import Auditor
from isthmus_node.egress.journal import Journal
from isthmus_node.egress.policy import DEFAULT_FILE, Policy
from isthmus_node.egress.privacy import Accountant
from isthmus_node.homes import find_home
from isthmus_node.link.channel import Dial, Timing
from isthmus_node.noticing import Noticing
from isthmus_node.ops.logs import Log
from isthmus_node.parts import Parts
from isthmus_node.sealing.rounds import Sealing
from isthmus_node.service import Service
from isthmus_node.shelf import Shelf
from isthmus_node.sources import Source
from isthmus_node.training.held_out import HeldOut
from isthmus_node.training.runner import Bounds
from isthmus_node.training.runs import Runs
from isthmus_node.waiting_room import WaitingRoom
from isthmus_training.apps import find
from isthmus_trust.authority import Authority
from isthmus_trust.certificates import Role, certificate_request, new_tls_key, tls_key_pem
from isthmus_trust.documents import (
    DECISION,
    STUDY,
    SUMMARY,
    TASK,
    canonical,
    check_proof,
    digest,
    open_signed,
    read_canonical,
)
from isthmus_trust.identity import IdentityKey
from isthmus_trust.tokens import new_token, write_token
from isthmus_trust.wire_errors import metadata_of

FAST = Timing(ping=1.0, pong=1.0, heartbeat=0.1, connect=3.0, call=10.0)


@dataclass
class Ground:
    """An authority and what it issued."""

    authority: Authority
    folder: Path

    def node(self, name: str = "nl", *, at: datetime | None = None) -> tuple[bytes, bytes]:
        """A node's chain and key, PEM; `at` is the moment of issue."""
        key = new_tls_key()
        authority = self.authority if at is None else Authority.open(self.folder, lambda: at)
        return authority.issue_node(certificate_request(key, name), name, "NL"), tls_key_pem(key)

    def coordinator(self, hosts: tuple[str, ...] = ("127.0.0.1", "localhost"), *, at: datetime | None = None):
        key = new_tls_key()
        authority = self.authority if at is None else Authority.open(self.folder, lambda: at)
        return authority.issue_coordinator(key, hosts), tls_key_pem(key)


def make_ground(folder: Path, name: str = "test", age: timedelta = timedelta(days=200)) -> Ground:
    begun = datetime.now(UTC) - age
    Authority.create(folder, name, lambda: begun)
    return Ground(Authority.open(folder), folder)


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return make_ground(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def foreign_ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return make_ground(tmp_path_factory.mktemp("foreign"), "elsewhere")


class FakeExchange(exchange_pb2_grpc.ExchangeServicer):
    """The coordinator's end, as simple as can be: says welcome, hands out what it is given, keeps what it gets."""

    def __init__(self) -> None:
        self.software = "0.1.0"
        self.hellos: list[exchange_pb2.Hello] = []
        self.beats = threading.Semaphore(0)
        self.submissions: list[bytes] = []
        self.decisions: list[exchange_pb2.DecideRequest] = []
        self.orders: list[exchange_pb2.CoordinatorMessage] = []
        self.attached = threading.Semaphore(0)
        self.chunk_sizes: list[int] = []
        self.ending = threading.Event()
        self.on_submit: Callable[[bytes], None] = lambda _payload: None
        self.got = threading.Semaphore(0)
        self.refusal: IsthmusError | None = None
        self.enrolments: list[exchange_pb2.EnrolRequest] = []
        self.renewals: list[exchange_pb2.RenewRequest] = []
        self.enrol_error: IsthmusError | None = None
        self.issues_to = "nl"
        self.coordinator_key = IdentityKey.generate()
        self.ground: Ground | None = None
        self.refused = threading.Semaphore(0)

    def Enrol(self, request, context):
        self.enrolments.append(request)
        error = self.enrol_error
        if error is not None:
            context.set_trailing_metadata(metadata_of(error))
            context.abort(grpc.StatusCode[error.grpc_status], "refused")
        check_proof(request.identity_key, request.certificate_request, request.identity_proof)
        check_proof(request.custodian_key, request.certificate_request, request.custodian_proof)
        return self._certificate(request.certificate_request)

    def Renew(self, request, context):
        self.renewals.append(request)
        return self._certificate(request.certificate_request)

    def _certificate(self, request_pem):
        return exchange_pb2.EnrolReply(
            certificate_chain=self.ground.authority.issue_node(request_pem, self.issues_to, "NL"),
            authority=self.ground.authority.root_pem,
            coordinator_key=self.coordinator_key.public,
            software=self.software,
        )

    def Attach(self, requests, context):
        refusal = self.refusal
        if refusal is not None:
            context.set_trailing_metadata(metadata_of(refusal))
            self.refused.release()
            context.abort(grpc.StatusCode[refusal.grpc_status], "refused")
        self.hellos.append(next(requests).hello)
        yield exchange_pb2.CoordinatorMessage(welcome=exchange_pb2.Welcome(software=self.software, coordinator="test"))
        self.attached.release()
        yield from self.orders

        def listen() -> None:
            try:
                for _ in requests:
                    self.beats.release()
            except grpc.RpcError:
                return

        threading.Thread(target=listen, daemon=True).start()
        while not self.ending.wait(0.02):
            if not context.is_active():
                return

    def Submit(self, requests, context):
        payload = b""
        for chunk in requests:
            self.chunk_sizes.append(len(chunk.part))
            payload += chunk.part
        self.on_submit(payload)
        self.submissions.append(payload)
        self.got.release()
        return exchange_pb2.Acknowledgement(digest=digest(payload))

    def SubmitWhole(self, chunk, context):
        return self.Submit([chunk], context)

    def Decide(self, request, context):
        self.decisions.append(request)
        self.got.release()
        return exchange_pb2.Acknowledgement(digest=digest(request.decision.SerializeToString(deterministic=True)))


@dataclass
class Coordinator:
    """A gRPC server with mutual TLS on loopback."""

    server: grpc.Server
    port: int
    exchange: FakeExchange

    @property
    def address(self) -> Address:
        return Address("127.0.0.1", self.port)

    def stop(self) -> None:
        self.exchange.ending.set()
        self.server.stop(0.2).wait()


def serve(
    ground: Ground,
    exchange: FakeExchange | None = None,
    *,
    port: int = 0,
    at: datetime | None = None,
    hosts: tuple[str, ...] = ("127.0.0.1", "localhost"),
) -> Coordinator:
    exchange = exchange or FakeExchange()
    exchange.ground = ground
    chain, key = ground.coordinator(hosts, at=at)
    server = grpc.server(ThreadPoolExecutor(max_workers=8))
    exchange_pb2_grpc.add_ExchangeServicer_to_server(exchange, server)
    credentials = grpc.ssl_server_credentials(
        [(key, chain)], root_certificates=ground.authority.root_pem, require_client_auth=True
    )
    bound = server.add_secure_port(f"127.0.0.1:{port}", credentials)
    server.start()
    return Coordinator(server, bound, exchange)


@pytest.fixture
def coordinator(ground: Ground) -> Iterator[Coordinator]:
    running = serve(ground)
    yield running
    running.stop()


def dial_to(ground: Ground, address: Address, *, at: datetime | None = None, proxy: Proxy | None = None) -> Dial:
    chain, key = ground.node(at=at)
    return Dial(address, ground.authority.root_pem, chain, key, proxy)


@pytest.fixture
def dial(ground: Ground, coordinator: Coordinator) -> Dial:
    return dial_to(ground, coordinator.address)


@pytest.fixture
def make_dial(ground: Ground) -> Callable[..., Dial]:
    """`dial_to` with this test's authority."""
    return lambda address, **more: dial_to(ground, address, **more)


@pytest.fixture
def serve_with() -> Iterator[Callable[..., Coordinator]]:
    """`serve`, and the end of it."""
    running: list[Coordinator] = []

    def start(*arguments, **more) -> Coordinator:
        running.append(serve(*arguments, **more))
        return running[-1]

    yield start
    for one in running:
        one.stop()


@pytest.fixture
def fast() -> Timing:
    return FAST


@pytest.fixture
def exchange() -> FakeExchange:
    return FakeExchange()


@dataclass
class ConnectProxy:
    """An HTTP proxy that knows CONNECT and nothing else."""

    credentials: str = ""  # "name:password"; empty: none asked
    status: int = 200  # answered instead of connecting, where it is not 200
    scheme: str = "Basic"
    seen: list[str] = field(default_factory=list)
    tunnels: list[socket.socket] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._carries = threading.Event()
        self._carries.set()
        self._generation = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = Address("127.0.0.1", self.listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                inner, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(inner,), daemon=True).start()

    def _serve(self, inner: socket.socket) -> None:
        self.tunnels.append(inner)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = inner.recv(1)
            if not byte:
                return
            head += byte
        text = head.decode("ascii")
        self.seen.append(text)
        expected = "Basic " + base64.b64encode(self.credentials.encode()).decode()
        if self.credentials and f"proxy-authorization: {expected}".lower() not in text.lower():
            inner.sendall(
                f"HTTP/1.1 407 No\r\nProxy-Authenticate: {self.scheme} realm=x\r\nContent-Length: 0\r\n\r\n".encode()
            )
            inner.close()
            return
        if self.status != 200:
            inner.sendall(f"HTTP/1.1 {self.status} No\r\nContent-Length: 0\r\n\r\n".encode())
            inner.close()
            return
        host, port = text.split()[1].rsplit(":", 1)
        try:
            outer = socket.create_connection((host, int(port)))
        except OSError:
            inner.sendall(b"HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n")
            inner.close()
            return
        self.tunnels.append(outer)
        inner.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
        threading.Thread(target=self._pump, args=(inner, outer), daemon=True).start()
        self._pump(outer, inner)

    def swallow(self) -> None:
        """Close nothing, carry nothing: as a firewall that forgot the connection does."""
        self._carries.clear()

    def carry(self) -> None:
        """Carry what comes over new connections again; the old ones stay forgotten."""
        self._generation += 1
        self._carries.set()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        generation = self._generation
        try:
            while part := source.recv(65536):
                if self._carries.is_set() and generation == self._generation:
                    sink.sendall(part)
        except OSError:
            pass
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for tunnel in self.tunnels:
            tunnel.close()


@pytest.fixture
def proxy() -> Iterator[Callable[..., ConnectProxy]]:
    made: list[ConnectProxy] = []

    def make(**settings) -> ConnectProxy:
        made.append(ConnectProxy(**settings))
        return made[-1]

    yield make
    for one in made:
        one.close()


class Lines:
    """A log whose events can be looked at."""

    def __init__(self) -> None:
        self.stream = io.StringIO()
        self.log = Log("debug", self.stream)

    @property
    def events(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    def named(self, event: str) -> list[dict[str, object]]:
        return [line for line in self.events if line["event"] == event]


@pytest.fixture
def lines() -> Lines:
    return Lines()


# --------------------------------------------------------------------------- a site


def rows_csv(path: Path, rows: int = 400, seed: int = 1) -> Path:
    """Made-up patients: enough of each kind that the default policy lets a Cox model through."""
    random = np.random.default_rng(seed)
    lines = ["USUBJID,COUNTRY,ARM,AGE,AVAL,CNSR"]
    for k in range(rows):
        arm = "A" if random.random() < 0.5 else "B"
        days, censored = 1 + int(random.exponential(300)), int(random.random() < 0.4)
        lines.append(f"P{k},NL,{arm},{random.normal(60, 9):.1f},{days},{censored}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def variable(name: str, kind: int, **more) -> study_pb2.Variable:
    return study_pb2.Variable(name=name, type=kind, **more)


def make_study(participants: Sequence[study_pb2.Participant], **more) -> study_pb2.Study:
    kinds = study_pb2.Variable
    dataset = study_pb2.Dataset(
        name="ADTTE",
        subject="USUBJID",
        one_row_a_subject=True,
        variables=[
            variable("USUBJID", kinds.TEXT, roles=[kinds.IDENTIFIER]),
            variable("COUNTRY", kinds.FACTOR, levels=["NL", "DE"], roles=[kinds.COUNTRY]),
            variable("ARM", kinds.FACTOR, levels=["A", "B"], roles=[kinds.TREATMENT_ARM]),
            variable("AGE", kinds.NUMERIC, unit="years", minimum=18, maximum=110, roles=[kinds.AGE]),
            variable("AVAL", kinds.INTEGER, unit="days", minimum=0, maximum=9000),
            variable("CNSR", kinds.INTEGER, levels=["0", "1"]),
        ],
    )
    event = spec_pb2.Column(
        indicator=spec_pb2.Predicate(
            comparison=spec_pb2.Comparison(
                variable="CNSR", operator=spec_pb2.Comparison.EQUAL, value=spec_pb2.Literal(number=0)
            )
        )
    )
    cox = spec_pb2.Spec(
        method="cox",
        method_version=1,
        dataset="ADTTE",
        roles=[
            spec_pb2.Role(name="event", columns=[event]),
            spec_pb2.Role(name="time", columns=[spec_pb2.Column(variable="AVAL")]),
        ],
        terms=[spec_pb2.Term(columns=[spec_pb2.Column(variable=name)]) for name in ("ARM", "AGE")],
    )
    settings = {"name": "TEST", "version": 1, "title": "a test", "exploratory_purpose": study_pb2.TRIAL_ANALYSIS}
    return study_pb2.Study(
        **{**settings, **more},
        datasets=[dataset],
        participants=participants,
        plan=[
            study_pb2.Analysis(
                name="primary", title="primary", spec=cox, purpose=study_pb2.TRIAL_ANALYSIS, deadline_seconds=60
            )
        ],
    )


class Wire:
    """Stands where the connection stands: takes what is submitted, or fails as it is told."""

    timing = FAST

    def __init__(self) -> None:
        self.submitted: list[bytes] = []
        self.decided: list[study_pb2.Signed] = []
        self.failures: list[Exception] = []
        self.following: study_pb2.Signed | None = None
        self.waits: list[exchange_pb2.Waits] = []
        self.said: list[tuple[bytes, study_pb2.Signed | None, str]] = []  # in sealed rounds
        self.stub = self

    def tell(self, waits):
        self.waits.append(waits)

    def say(self, task, word, code=""):
        self.said.append((task, word, code))

    def Submit(self, chunks, timeout=None):
        payload = b"".join(chunk.part for chunk in chunks)
        if self.failures:
            raise self.failures.pop(0)
        self.submitted.append(payload)
        return exchange_pb2.Acknowledgement(digest=digest(payload), task=self.following)

    def SubmitWhole(self, chunk, timeout=None):
        return self.Submit([chunk], timeout)

    def Decide(self, request, timeout=None):
        self.decided.append(request.decision)
        return exchange_pb2.Acknowledgement(digest=digest(canonical(request.decision)))


class Failing(grpc.RpcError):
    """A call that failed, as gRPC reports it."""

    def __init__(self, status: grpc.StatusCode, error: IsthmusError | None = None) -> None:
        self._status = status
        self._error = error

    def code(self):
        return self._status

    def details(self):
        return "no"

    def trailing_metadata(self):
        return metadata_of(self._error) if self._error else ()


class Site:
    """A node's parts over a home of its own; `open` starts them (again, as after a restart)."""

    def __init__(self, folder: Path, log: Log, *, rows: int = 400) -> None:
        self.home = find_home(folder / "node", {})
        self.home.make()
        self.log = log
        self.identity, self.custodian, self.coordinator = (IdentityKey.generate() for _ in range(3))
        self.author = IdentityKey.generate()
        self.us = Ourselves("nl", "NL", self.identity.public, self.custodian.public, self.coordinator.public)
        self.adopt(DEFAULT_FILE.read_text())
        self.source = rows_csv(folder / "adtte.csv", rows)
        Datasets(self.home.state, "NL").add("ADTTE", Source(str(self.source)))
        other = IdentityKey.generate()
        self.study = make_study(
            [
                study_pb2.Participant(
                    node="nl", country="NL", identity_key=self.identity.public, custodian_key=self.custodian.public
                ),
                study_pb2.Participant(node="de", country="DE", identity_key=other.public, custodian_key=other.public),
            ]
        )
        self.now = time.time_ns
        self.wire = Wire()
        self.distrusted = 0
        self.journal: Journal | None = None

    @property
    def adoptions(self) -> Adoptions:
        return Adoptions(self.home.policies, "nl", self.custodian.public)

    def adopt(self, text: str) -> None:
        """The custodian signs a policy."""
        self.adoptions.sign(self.custodian, text.encode(), Policy.read(text))
        self.home.policy.write_text(text)

    def open(self) -> Service:
        """Start: as a process would, from what is on the disk."""
        self.close()
        self.journal = Journal.open(self.home.journal)
        self.shelf = Shelf(self.home.studies)
        self.decisions = Decisions(self.home.decisions, "nl", self.custodian.public)
        self.datasets = Datasets(self.home.state, "NL")
        journal = self.journal

        def in_force(_policy: Policy, adopted: Adopted) -> None:
            journal.append(record_of(adopted))

        self.policy = PolicyInForce(self.home.policy, self.adoptions, lambda: journal.policy, in_force)
        self.policy()
        self.admission = Admission(
            self.us, self.shelf, self.decisions, self.policy, self.now, self.datasets.are_open, self.journal.answers
        )
        reruns = Reruns(self.home.reruns, self.decisions)
        self.runs = Runs("nl", HeldOut(self.home.held_out_key), Bounds())
        self.answering = Answering(
            self.us,
            self.identity,
            self.datasets,
            self.policy,
            Auditor(self.home.auditor, self.journal),
            reruns,
            self.runs,
            Accountant(self.home.auditor, self.journal),
        )
        self.noticing = Noticing(
            self.home.state / "noticed.json", self.decisions, self.datasets, self.shelf, self.journal, self.log
        )
        parts = Parts(
            self.us,
            self.shelf,
            self.decisions,
            self.datasets,
            self.journal,
            self.admission,
            self.answering,
            self.noticing,
            self.log,
            WaitingRoom(self.home.waiting),
            HeldAnswers(self.home.held, self.decisions),
            reruns,
            Contributors(self.home.contributors),
            Locks(self.home.refusals, self.decisions, self.journal, self.now),
            Sealing(self.identity, self.journal, self.home.sealed),
        )

        def distrust() -> None:
            self.distrusted += 1

        self.service = Service(parts, distrust=distrust)
        return self.service

    def attach(self) -> None:
        self.service.hello()
        self.service.attached(self.wire, exchange_pb2.Welcome(software="0.1.0", coordinator="test"))
        self.service.work_off()

    def close(self) -> None:
        if self.journal is not None:
            self.runs.close()
            self.journal.close()
            self.journal = None

    def announce(self, study: study_pb2.Study | None = None) -> bytes:
        """The study arrives; its digest."""
        body = canonical(study or self.study)
        self.service.study(self.author.sign(STUDY, body))
        self.service.work_off()
        return digest(body)

    def decide(self, name: bytes, approved: bool = True, context: str = DECISION) -> None:
        """The custodian decides, and the node looks."""
        self.decisions.make(self.custodian, name, approved=approved, context=context)
        self.service.look_again()
        self.service.work_off()

    def task(self, **changes) -> study_pb2.Signed:
        """A task of the planned analysis, signed by the coordinator."""
        planned = self.study.plan[0]
        fields = {
            "study_digest": digest(canonical(self.study)),
            "analysis": planned.name,
            "run": bytes(16),
            "round": 1,
            "spec": planned.spec,
            "purpose": planned.purpose,
            "participants": ["nl", "de"],
            "deadline": time.time_ns() + 10**12,
        }
        return self.coordinator.sign(TASK, canonical(summary_pb2.Task(**{**fields, **changes})))

    def ask(self, signed: study_pb2.Signed) -> None:
        self.service.task(signed)
        self.service.work_off()

    def answers(self) -> list[summary_pb2.Summary | summary_pb2.Refusal]:
        """What was sent, opened and checked."""
        return [self.opened(payload) for payload in self.wire.submitted]

    def opened(self, payload: bytes) -> summary_pb2.Summary | summary_pb2.Refusal:
        signed = read_canonical(payload, study_pb2.Signed)
        kind = summary_pb2.Summary if signed.context == SUMMARY else summary_pb2.Refusal
        return open_signed(signed, signed.context, kind, self.identity.public)


@pytest.fixture
def site(tmp_path: Path, lines: Lines) -> Iterator[Site]:
    """A node that is attached, over an approved study."""
    made = Site(tmp_path, lines.log)
    made.open()
    made.noticing.notice()
    made.attach()
    made.decide(made.announce())
    yield made
    made.close()


@pytest.fixture
def trains(site: Site) -> Site:
    """A node whose custodian lets the logistic model train, and analyses outside the plan through."""
    text = site.home.policy.read_text().replace('analyses = "ask"', 'analyses = "allow"')
    site.adopt(f"{text}\n[training]\nrounds = 10\n{find('logistic').policy_lines}\n")
    return site


@pytest.fixture
def make_site() -> Iterator[Callable[..., Site]]:
    """A site that is not started yet, and the end of it."""
    made: list[Site] = []

    def make(folder: Path, log: Log, **more) -> Site:
        made.append(Site(folder, log, **more))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def failing() -> type[Failing]:
    return Failing


@pytest.fixture
def token_file(ground: Ground, coordinator: Coordinator, tmp_path: Path) -> Path:
    """A join token for node nl of the running coordinator."""
    path = tmp_path / "nl.token"
    token = new_token(ground.authority, str(coordinator.address), Role.NODE, "nl", "NL")
    path.write_text(write_token(token) + "\n")
    return path


@dataclass
class Said:
    """What a command said and ended with."""

    code: int
    out: str
    err: str

    @property
    def data(self):
        return json.loads(self.out)["data"]

    @property
    def error(self):
        return json.loads(self.out)["error"]


@pytest.fixture
def isthmus_node(tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Said]:
    """Runs the command in this process, over a home of the test's own."""
    for name in [*os.environ]:
        if name.startswith("ISTHMUS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ISTHMUS_HOME", str(tmp_path / "home"))

    def run(*arguments: object, stdin: str | None = None) -> Said:
        if stdin is not None:
            monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        capsys.readouterr()
        code = command.main(app, [str(argument) for argument in arguments])
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    return run


@pytest.fixture
def make_rows() -> Callable[[Path], Path]:
    return rows_csv


@pytest.fixture
def study_of() -> Callable[..., study_pb2.Study]:
    return make_study
