"""Who may come in, over real connections: certificates, roles, the roster, and what errors say."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from isthmus.errors import AuthenticationError, IsthmusError
from isthmus.v1 import analyst_pb2, exchange_pb2, exchange_pb2_grpc
from isthmus_coordinator.link.door import WHO_MAY_CALL
from isthmus_coordinator.roster.members import FRESH, Roster
from isthmus_coordinator.store.database import Database
from isthmus_trust.authority import Authority
from isthmus_trust.certificates import Role, certificate_request, new_tls_key, tls_key_pem
from isthmus_trust.documents import prove
from isthmus_trust.tokens import credentials_of

from .conftest import FakeNode, Member, Region, alone, call


def test_every_call_of_the_contract_says_who_may_make_it() -> None:
    calls = {
        f"/{service.full_name}/{method.name}"
        for module in (exchange_pb2, analyst_pb2, health_pb2)
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    # of the health service the two that are old enough to be everywhere
    assert set(WHO_MAY_CALL) == {name for name in calls if not name.endswith("Health/List")}


def test_analyst_calls_are_closed_to_nodes(region: Region) -> None:
    (node,) = region.nodes("nl")
    for name in ("ListStudies", "GetStudy", "ProposeStudy", "ListParticipants", "Submit", "GetResult", "Cancel"):
        request = getattr(analyst_pb2, f"{name}Request")()
        assert alone(getattr(node.analyst, name), request).code == "WRONG_ROLE", name


def test_node_calls_are_closed_to_analysts(region: Region) -> None:
    assert alone(region.lead.exchange.Decide, exchange_pb2.DecideRequest()).code == "WRONG_ROLE"
    assert alone(region.lead.exchange.Submit, iter([exchange_pb2.SubmissionChunk()])).code == "WRONG_ROLE"
    assert alone(region.lead.exchange.SubmitWhole, exchange_pb2.SubmissionChunk()).code == "WRONG_ROLE"
    stream = region.lead.exchange.Attach(iter([exchange_pb2.NodeMessage(hello=exchange_pb2.Hello())]))
    with pytest.raises(grpc.RpcError, match="WRONG_ROLE"):
        next(stream)


def test_enrolled_member_cannot_enrol(region: Region) -> None:
    (node,) = region.nodes("nl")
    assert alone(node.exchange.Enrol, exchange_pb2.EnrolRequest()).code == "WRONG_ROLE"


def test_certificate_of_an_invite_opens_nothing_else(region: Region) -> None:
    office = region.coordinator.office
    token = office.enrolment.invite(office.settings.address, Role.NODE, "nl", "NL")
    given = credentials_of(token)
    with region.channel(given.chain_pem, given.key_pem) as channel:
        exchange = exchange_pb2_grpc.ExchangeStub(channel)
        assert alone(exchange.Decide, exchange_pb2.DecideRequest()).code == "WRONG_ROLE"
        assert alone(exchange.Renew, exchange_pb2.RenewRequest()).code == "WRONG_ROLE"


def test_certificate_of_another_authority_does_not_connect(region: Region, tmp_path: Path) -> None:
    foreign = Authority.create(tmp_path / "foreign", "foreign")
    key = new_tls_key()
    chain = foreign.issue_node(certificate_request(key, "nl"), "nl", "NL")
    with region.channel(chain, tls_key_pem(key)) as channel:
        error = alone(exchange_pb2_grpc.ExchangeStub(channel).Decide, exchange_pb2.DecideRequest())
    assert error.exit_code == 14


def test_connection_without_a_certificate_does_not_open(region: Region) -> None:
    credentials = grpc.ssl_channel_credentials(region.coordinator.office.authority.root_pem)
    with grpc.secure_channel(f"127.0.0.1:{region.port}", credentials) as channel:
        error = alone(exchange_pb2_grpc.ExchangeStub(channel).Decide, exchange_pb2.DecideRequest())
    assert error.exit_code == 14


@pytest.mark.parametrize(("version", "answered"), [(ssl.TLSVersion.TLSv1_2, False), (ssl.TLSVersion.TLSv1_3, True)])
def test_call_over_older_tls_is_refused(
    region: Region, tmp_path: Path, version: ssl.TLSVersion, answered: bool
) -> None:
    (node,) = region.nodes("nl")
    assert _first_status(region, node, tmp_path, version) is answered


def _first_status(region: Region, node: FakeNode, folder: Path, version: ssl.TLSVersion) -> bool:
    """Whether a call over this TLS version passes the door, spoken as bare HTTP/2."""
    chain, key = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(node.chain)
    key.write_bytes(tls_key_pem(node.tls_key))
    context = ssl.create_default_context(cadata=region.coordinator.office.authority.root_pem.decode())
    context.minimum_version = context.maximum_version = version
    context.load_cert_chain(chain, key)
    context.set_alpn_protocols(["h2"])

    def frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
        return len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body

    def literal(name: bytes, value: bytes) -> bytes:
        return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value

    headers = b"".join(
        literal(name, value)
        for name, value in (
            (b":method", b"POST"),
            (b":scheme", b"https"),
            (b":path", b"/grpc.health.v1.Health/Check"),
            (b":authority", b"127.0.0.1"),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
        )
    )
    received = b""
    with (
        socket.create_connection(("127.0.0.1", region.port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secured,
    ):
        secured.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b""))
        secured.sendall(frame(1, 4, 1, headers) + frame(0, 1, 1, bytes(5)))
        while b"OLD_TLS" not in received and b"grpc-status" not in received:
            more = secured.recv(65536)
            if not more:
                break
            received += more
    return b"OLD_TLS" not in received


# --------------------------------------------------------------------------- roster


def test_revoked_node_is_refused_at_its_next_call(region: Region) -> None:
    (node,) = region.nodes("nl")
    node.decide(region.propose(region.study([node])))
    region.coordinator.office.roster.revoke("nl")
    assert alone(node.exchange.Decide, exchange_pb2.DecideRequest()).code == "REVOKED"


def test_revoked_node_is_cut_off_at_its_next_message(region: Region) -> None:
    (node,) = region.nodes("nl")
    node.attach().next("welcome")
    region.coordinator.office.roster.revoke("nl")
    node.heartbeat()
    error = node.ended.get(timeout=20)
    assert error is not None
    assert (error.code, error.exit_code) == ("REVOKED", 15)
    assert "nl" in error.message


def test_revoked_node_gets_no_further_task(region: Region) -> None:
    nl, be = region.nodes("nl", "be")
    nl.attach().next("welcome")
    study_digest = region.approved([nl, be])
    region.coordinator.office.roster.revoke("nl")
    region.submit(study_digest, "wait")
    error = nl.ended.get(timeout=20)
    assert error is not None
    assert error.code == "REVOKED"
    assert nl.tasks == []


def test_revocation_by_another_process_is_seen_at_once(region: Region) -> None:
    (node,) = region.nodes("nl")
    node.decide(region.propose(region.study([node])))
    office = region.coordinator.office
    other = Database(str(office.database.engine.url))
    Roster(other, region.clock).revoke("nl")
    other.close()
    region.clock.forward(FRESH / 1e9)
    assert alone(node.exchange.Decide, exchange_pb2.DecideRequest()).code == "REVOKED"


def test_run_ends_where_a_participant_is_revoked(region: Region) -> None:
    nodes = [node.attach() for node in region.nodes("nl", "be")]
    nodes[0].silent = True
    run = region.submit(region.approved(nodes), "wait")
    nodes[0].next("task")
    region.coordinator.office.roster.revoke("nl")
    nodes[0].heartbeat()
    result = region.result(run)
    assert (result.failure.code, result.failure.exit_code) == ("PARTICIPANT_REVOKED", 15)


def test_expired_certificate_is_refused_on_an_open_connection(region: Region) -> None:
    (node,) = region.nodes("nl")
    node.decide(region.propose(region.study([node])))
    region.clock.forward(31 * 24 * 3600)
    error = alone(node.exchange.Decide, exchange_pb2.DecideRequest())
    assert (error.code, error.exit_code) == ("CERTIFICATE_EXPIRED", 15)


def test_certificate_of_somebody_not_enrolled_is_refused(region: Region) -> None:
    office = region.coordinator.office
    key = new_tls_key()
    chain = office.authority.issue_node(certificate_request(key, "zz"), "zz", "ZZ")
    with region.channel(chain, tls_key_pem(key)) as channel:
        error = alone(exchange_pb2_grpc.ExchangeStub(channel).Decide, exchange_pb2.DecideRequest())
    assert error.code == "NOT_ON_ROSTER"


# --------------------------------------------------------------------------- enrolling


def invited(region: Region, name: str = "nl", role: Role = Role.NODE) -> tuple[Member, object]:
    office = region.coordinator.office
    country = "NL" if role is Role.NODE else ""
    return Member(region, role, name, country), office.enrolment.invite(office.settings.address, role, name, country)


def refused(member: Member, token: object, **changes: object) -> IsthmusError:
    with pytest.raises(IsthmusError) as caught:
        member.enrol(token, **changes)  # type: ignore[arg-type]
    return caught.value


def test_token_is_used_once(region: Region) -> None:
    member, token = invited(region)
    member.enrol(token)
    other = Member(region, Role.NODE, "nl", "NL")
    assert refused(other, token).code == "TOKEN_USED"
    assert region.coordinator.office.roster.get("nl").entry.identity_key == member.identity.public


def test_lost_reply_can_be_fetched_again_by_the_same_caller(region: Region) -> None:
    member, token = invited(region)
    member.enrol(token)
    member.enrol(token)
    # it is let in, and told what is wrong with an empty decision
    assert alone(member.exchange.Decide, exchange_pb2.DecideRequest()).code == "WRONG_CONTEXT"


def test_revoked_member_cannot_come_back_with_its_token(region: Region) -> None:
    member, token = invited(region)
    member.enrol(token)
    region.coordinator.office.roster.revoke("nl")
    assert refused(member, token).code == "TOKEN_USED"


def test_wrong_secret_is_refused(region: Region) -> None:
    member, token = invited(region)
    token.secret = b"x" * 32  # type: ignore[attr-defined]
    assert refused(member, token).code == "WRONG_TOKEN"


def test_expired_token_is_refused(region: Region) -> None:
    member, token = invited(region)
    region.clock.forward(25 * 3600)
    assert refused(member, token).code == "TOKEN_EXPIRED"


def test_token_of_an_unknown_invite_is_refused(region: Region) -> None:
    office = region.coordinator.office
    from isthmus_trust.tokens import new_token

    token = new_token(office.authority, office.settings.address, Role.NODE, "nl", "NL")
    assert refused(Member(region, Role.NODE, "nl", "NL"), token).code == "UNKNOWN_TOKEN"


def test_caller_must_have_the_keys_it_names(region: Region) -> None:
    member, token = invited(region)
    request = member.enrol_request(token.secret)  # type: ignore[attr-defined]
    given = credentials_of(token)  # type: ignore[arg-type]
    with region.channel(given.chain_pem, given.key_pem) as channel:
        exchange = exchange_pb2_grpc.ExchangeStub(channel)
        for field in ("identity_proof", "custodian_proof"):
            forged = exchange_pb2.EnrolRequest()
            forged.CopyFrom(request)
            setattr(forged, field, b"z" * 64)
            assert alone(exchange.Enrol, forged).code == "BAD_SIGNATURE"
        one_key = exchange_pb2.EnrolRequest()
        one_key.CopyFrom(request)
        one_key.custodian_key, one_key.custodian_proof = request.identity_key, request.identity_proof
        assert alone(exchange.Enrol, one_key).code == "ONE_KEY_FOR_TWO"
        # a try that failed did not use the token up
        assert call(exchange.Enrol, request).software


def test_token_is_used_once_by_callers_at_the_same_moment(region: Region) -> None:
    member, token = invited(region)
    callers = [member, *(Member(region, Role.NODE, "nl", "NL") for _ in range(7))]
    start = threading.Barrier(len(callers))

    def enrol(caller: Member) -> str:
        start.wait()
        try:
            caller.enrol(token)
        except IsthmusError as error:
            return error.code
        return "in"

    with ThreadPoolExecutor(len(callers)) as threads:
        codes = list(threads.map(enrol, callers))
    assert sorted(codes) == ["TOKEN_USED"] * 7 + ["in"]
    winner = callers[codes.index("in")]
    assert region.coordinator.office.roster.get("nl").entry.identity_key == winner.identity.public


def test_far_version_cannot_enrol_and_keeps_its_token(region: Region) -> None:
    member, token = invited(region)
    error = refused(member, token, software="2.0.0")
    assert (error.code, error.exit_code) == ("VERSIONS_APART", 16)
    member.enrol(token)


def test_name_belongs_to_one_member(region: Region) -> None:
    region.nodes("nl")
    with pytest.raises(IsthmusError, match="MEMBER_EXISTS"):
        invited(region, "nl")
    region.coordinator.office.roster.revoke("nl")
    member, token = invited(region, "nl")
    member.enrol(token)


def test_member_with_an_expired_certificate_enrols_again_with_its_key(region: Region) -> None:
    (node,) = region.nodes("nl")
    office = region.coordinator.office
    token = office.enrolment.invite(office.settings.address, Role.NODE, "nl", "NL", again=True)
    assert refused(Member(region, Role.NODE, "nl", "NL"), token).code == "MEMBER_EXISTS"
    node.hang_up()
    node.enrol(token)
    node.attach().next("welcome")


# --------------------------------------------------------------------------- renewing


def renew(member: Member) -> None:
    key = new_tls_key()
    request = certificate_request(key, member.name)
    reply = call(
        member.exchange.Renew,
        exchange_pb2.RenewRequest(certificate_request=request, identity_proof=prove(member.identity, request)),
    )
    member.hang_up()
    member.tls_key, member.chain = key, reply.certificate_chain


def test_renewed_certificate_replaces_the_old_one_once_it_is_seen(region: Region) -> None:
    (node,) = region.nodes("nl")
    old = (node.chain, tls_key_pem(node.tls_key))
    study_digest = region.propose(region.study([node]))
    renew(node)
    with region.channel(*old) as channel:
        exchange = exchange_pb2_grpc.ExchangeStub(channel)
        # the reply might have been lost: the old one still opens
        assert alone(exchange.Decide, exchange_pb2.DecideRequest()).code == "WRONG_CONTEXT"
        node.decide(study_digest)
        assert alone(exchange.Decide, exchange_pb2.DecideRequest()).code == "CERTIFICATE_REPLACED"


def test_renewal_needs_the_identity_key(region: Region) -> None:
    nl, be = region.nodes("nl", "be")
    request = certificate_request(new_tls_key(), "nl")
    forged = exchange_pb2.RenewRequest(certificate_request=request, identity_proof=prove(be.identity, request))
    assert alone(nl.exchange.Renew, forged).code == "BAD_SIGNATURE"


# --------------------------------------------------------------------------- what errors say


def test_unforeseen_error_leaks_no_text(
    region: Region, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise KeyError("secret row")

    monkeypatch.setattr(region.coordinator.office.studies, "all", broken)
    with caplog.at_level(logging.CRITICAL), pytest.raises(grpc.RpcError) as caught:
        region.lead.analyst.ListStudies(analyst_pb2.ListStudiesRequest(), timeout=20)
    error = caught.value
    assert error.code() is grpc.StatusCode.INTERNAL
    assert error.details() == "BUG"
    assert "secret" not in repr(error) + repr(error.trailing_metadata())
    assert alone(region.lead.analyst.ListStudies, analyst_pb2.ListStudiesRequest()).exit_code == 1


def test_error_in_a_stream_leaks_no_text(region: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(node: str) -> None:
        raise KeyError("secret row")

    (node,) = region.nodes("nl")
    monkeypatch.setattr(region.coordinator.office.studies, "awaiting", broken)
    node.attach()
    error = node.ended.get(timeout=20)
    assert error is not None
    assert error.code == "BUG"
    assert "secret" not in str(error)
    assert not region.coordinator.hub.attached("nl")


def test_error_keeps_its_class_over_the_wire(region: Region) -> None:
    error = alone(region.lead.analyst.GetStudy, analyst_pb2.GetStudyRequest(name="NONE"))
    assert (error.code, error.exit_code) == ("UNKNOWN_STUDY", 2)
    (node,) = region.nodes("nl")
    assert isinstance(alone(node.analyst.ListStudies, analyst_pb2.ListStudiesRequest()), AuthenticationError)


def test_health_is_known_to_members(region: Region) -> None:
    stub = health_pb2_grpc.HealthStub(region.lead.channel)
    reply = call(stub.Check, health_pb2.HealthCheckRequest(service="isthmus.v1.Exchange"))
    assert reply.status == health_pb2.HealthCheckResponse.SERVING
