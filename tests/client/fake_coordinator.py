"""A coordinator's analyst side in the test's own process: real mutual TLS, answers that a test lays down."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
from pooling import breast_cancer, participants, planned

from isthmus.errors import IsthmusError, UsageError
from isthmus.v1 import analyst_pb2, analyst_pb2_grpc, exchange_pb2, exchange_pb2_grpc, study_pb2
from isthmus_trust.authority import Authority
from isthmus_trust.certificates import Role, certificate_request, new_tls_key, tls_key_pem
from isthmus_trust.documents import STUDY, canonical, digest
from isthmus_trust.identity import IdentityKey
from isthmus_trust.tokens import new_token, write_token
from isthmus_trust.wire_errors import metadata_of

CODES = {code.name: code for code in grpc.StatusCode}


def abort(context: grpc.ServicerContext, error: IsthmusError) -> None:
    context.set_trailing_metadata(metadata_of(error))
    context.abort(CODES[error.grpc_status], error.code)


def progress(state: str, round_: int = 0, **countries: str) -> analyst_pb2.Progress:
    return analyst_pb2.Progress(
        state=state,
        round=round_,
        countries=[
            analyst_pb2.CountryProgress(node=c.lower(), country=c, state=s, bytes=100) for c, s in countries.items()
        ],
    )


@dataclass
class FakeCoordinator(analyst_pb2_grpc.AnalystServicer, exchange_pb2_grpc.ExchangeServicer):
    """Answers from what a test laid down; writes down what it was asked."""

    author: IdentityKey
    authority: Authority
    study: study_pb2.Study = field(default_factory=breast_cancer)
    results: dict[bytes, analyst_pb2.Result] = field(default_factory=dict)
    # Each call of Watch takes the next list; an exception in it breaks the stream.
    streams: list[list[analyst_pb2.Progress | IsthmusError]] = field(default_factory=list)
    answer: Callable[[analyst_pb2.SubmitRequest], analyst_pb2.Result] | None = None
    fails_with: IsthmusError | None = None
    asked: list[object] = field(default_factory=list)
    software: str = "0.1.0"
    # What a dishonest coordinator would do to the study it sends.
    tampers: Callable[[analyst_pb2.GetStudyReply], None] | None = None
    port: int = 0

    # ------------------------------------------------------------------ Analyst

    def _note(self, request: object, context: grpc.ServicerContext) -> None:
        self.asked.append(request)
        if self.fails_with is not None:
            abort(context, self.fails_with)

    def ListStudies(self, request, context):
        self._note(request, context)
        study = self.study
        line = analyst_pb2.StudyLine(
            name=study.name, version=study.version, title=study.title, digest=self.digest, approved=3, participants=4
        )
        return analyst_pb2.ListStudiesReply(studies=[line])

    @property
    def digest(self) -> bytes:
        return digest(canonical(self.study))

    def GetStudy(self, request, context):
        self._note(request, context)
        if request.name != self.study.name:
            abort(context, UsageError("UNKNOWN_STUDY", f"there is no study {request.name}", "see isthmus studies"))
        signed = self.author.sign(STUDY, canonical(self.study))
        sites = [
            analyst_pb2.Site(
                node=p.node,
                country=p.country,
                attached=p.country != "AT",
                decision="approved" if p.country != "AT" else "waiting",
                last_contact=1_795_000_000_000_000_000 if p.country != "AT" else 0,
                software="0.1.0",
                datasets=["RFS"],
            )
            for p in self.study.participants
        ]
        reply = analyst_pb2.GetStudyReply(study=signed, digest=self.digest, sites=sites)
        if self.tampers is not None:
            self.tampers(reply)
        return reply

    def ProposeStudy(self, request, context):
        self._note(request, context)
        return analyst_pb2.ProposeStudyReply(digest=digest(request.study.body))

    def ListParticipants(self, request, context):
        self._note(request, context)
        return analyst_pb2.ListParticipantsReply(participants=participants())

    def Submit(self, request, context):
        self._note(request, context)
        result = self.answer(request) if self.answer is not None else planned(request.planned)
        run = hashlib.sha256(request.SerializeToString(deterministic=True)).digest()[:16]
        self.results[run] = result
        return analyst_pb2.SubmitReply(run=run)

    def Watch(self, request, context) -> Iterator[analyst_pb2.Progress]:
        self._note(request, context)
        stream = self.streams.pop(0) if self.streams else [progress("running", 1, NL="asked"), progress("done", 2)]
        for turn in stream:
            if isinstance(turn, IsthmusError):
                abort(context, turn)
            yield turn

    def GetResult(self, request, context):
        self._note(request, context)
        return self.results[request.run]

    def Explain(self, request, context):
        self._note(request, context)
        return analyst_pb2.Explanation(
            rounds_least=2,
            rounds_most=62,
            fields=[
                analyst_pb2.ExplainedField(field="score", kind="score", about="its gradient", size="6 = p"),
                analyst_pb2.ExplainedField(field="outcomes", kind="count", unit="rows", about="rows", size="2"),
            ],
            in_plan=bool(request.analysis.name),
            outstanding=["AT"],
        )

    def Cancel(self, request, context):
        self._note(request, context)
        return analyst_pb2.CancelReply()

    # ------------------------------------------------------------------ Exchange

    def Enrol(self, request, context):
        self._note(request, context)
        chain = self.authority.issue_analyst(request.certificate_request, "ana")
        return exchange_pb2.EnrolReply(
            certificate_chain=chain, authority=self.authority.root_pem, software=self.software
        )

    def Renew(self, request, context):
        self._note(request, context)
        chain = self.authority.issue_analyst(request.certificate_request, "ana")
        return exchange_pb2.EnrolReply(certificate_chain=chain, software=self.software)

    # ------------------------------------------------------------------ around it

    @property
    def address(self) -> str:
        return f"localhost:{self.port}"

    def requests(self, kind: type) -> list[object]:
        return [r for r in self.asked if isinstance(r, kind)]


def serve(
    folder: Path, hosts: tuple[str, ...] = ("localhost",), authority: Authority | None = None
) -> tuple[FakeCoordinator, grpc.Server]:
    """The fake on a free port of loopback."""
    authority = authority or Authority.create(folder / "authority", "test")
    fake = FakeCoordinator(IdentityKey.generate(), authority)
    key = new_tls_key()
    chain = authority.issue_coordinator(key, hosts)
    server = grpc.server(ThreadPoolExecutor(4))
    analyst_pb2_grpc.add_AnalystServicer_to_server(fake, server)
    exchange_pb2_grpc.add_ExchangeServicer_to_server(fake, server)
    credentials = grpc.ssl_server_credentials([(tls_key_pem(key), chain)], authority.root_pem, True)
    fake.port = server.add_secure_port("localhost:0", credentials)
    server.start()
    return fake, server


def write_profile(
    fake: FakeCoordinator, folder: Path, authority: Authority | None = None, now: datetime | None = None
) -> Path:
    """A profile as a login leaves it, of the fake's authority or another, issued now or at another time."""
    folder.mkdir(parents=True)
    issuing = authority or fake.authority
    if now is not None:
        issuing = Authority.open(folder.parent / "authority", clock=lambda: now)
    key = new_tls_key()
    (folder / "certificate.pem").write_bytes(issuing.issue_analyst(certificate_request(key, "ana"), "ana"))
    (folder / "key.pem").write_bytes(tls_key_pem(key))
    (folder / "key.pem").chmod(0o600)
    (folder / "authority.pem").write_bytes(fake.authority.root_pem)
    IdentityKey.generate().save(folder / "identity.key")
    (folder / "profile.toml").write_text(f'address = "{fake.address}"\nanalyst = "ana"\n', encoding="utf-8")
    return folder


def write_join_token(fake: FakeCoordinator, path: Path, role: Role = Role.ANALYST) -> Path:
    path.write_text(write_token(new_token(fake.authority, fake.address, role, "ana", "")), encoding="ascii")
    return path


def days_ago(days: float) -> datetime:
    return datetime.now(UTC) - timedelta(days=days)
