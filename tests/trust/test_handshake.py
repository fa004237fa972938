"""The certificates in gRPC's own TLS, both ways, over loopback."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from isthmus_trust.authority import Authority
from isthmus_trust.certificates import (
    Peer,
    Role,
    certificate_request,
    new_tls_key,
    peer_of,
    read_chain,
    tls_key_pem,
)
from isthmus_trust.tokens import credentials_of, new_token, read_token, write_token


@dataclass
class Coordinator:
    """A gRPC service that remembers who called."""

    port: int = 0
    peers: list[Peer] = field(default_factory=list)
    versions: list[bytes] = field(default_factory=list)

    def answer(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        seen = context.auth_context()
        self.peers.append(peer_of(seen["x509_pem_cert"][0]))
        self.versions += seen.get("ssl_tls_version", [b""])
        return request


@pytest.fixture(scope="module")
def current(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """TLS judges by the real clock, so this authority lives in the present."""
    return Authority.create(tmp_path_factory.mktemp("current"), "coordinator")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.create(tmp_path_factory.mktemp("stranger"), "coordinator")


@contextmanager
def serving(key: bytes, chain: bytes, authority: bytes) -> Iterator[Coordinator]:
    coordinator = Coordinator()
    server = grpc.server(ThreadPoolExecutor(2), options=[("grpc.so_reuseport", 0)])
    handler = grpc.method_handlers_generic_handler(
        "test.Echo", {"Call": grpc.unary_unary_rpc_method_handler(coordinator.answer)}
    )
    server.add_generic_rpc_handlers((handler,))
    credentials = grpc.ssl_server_credentials([(key, chain)], root_certificates=authority, require_client_auth=True)
    coordinator.port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    try:
        yield coordinator
    finally:
        server.stop(None).wait()


@pytest.fixture(scope="module")
def coordinator(current: Authority) -> Iterator[Coordinator]:
    key = new_tls_key()
    chain = current.issue_coordinator(key, ["localhost", "127.0.0.1"])
    with serving(tls_key_pem(key), chain, current.root_pem) as found:
        yield found


def call(port: int, authority: bytes, key: bytes | None, chain: bytes | None, host: str = "127.0.0.1") -> bytes:
    credentials = grpc.ssl_channel_credentials(authority, key, chain)
    with grpc.secure_channel(f"{host}:{port}", credentials, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        answer: bytes = channel.unary_unary("/test.Echo/Call")(b"here", timeout=20)
        return answer


def refused(port: int, authority: bytes, key: bytes | None, chain: bytes | None) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as caught:
        call(port, authority, key, chain)
    return caught.value.code()


def node(authority: Authority) -> tuple[bytes, bytes]:
    key = new_tls_key()
    return tls_key_pem(key), authority.issue_node(certificate_request(key, "nl"), "nl", "NL")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_node_and_coordinator_shake_hands_with_the_root_alone_as_anchor(
    coordinator: Coordinator, current: Authority, host: str
) -> None:
    assert call(coordinator.port, current.root_pem, *node(current), host=host) == b"here"
    assert (coordinator.peers[-1].role, coordinator.peers[-1].name) == (Role.NODE, "nl")
    assert coordinator.versions[-1] == b"TLSv1.3"


def test_analyst_shakes_hands(coordinator: Coordinator, current: Authority) -> None:
    key = new_tls_key()
    chain = current.issue_analyst(certificate_request(key, "ada"), "ada")
    assert call(coordinator.port, current.root_pem, tls_key_pem(key), chain) == b"here"
    assert coordinator.peers[-1].role is Role.ANALYST


def test_token_alone_is_enough_to_shake_hands(coordinator: Coordinator, current: Authority) -> None:
    text = write_token(new_token(current, f"127.0.0.1:{coordinator.port}", Role.NODE, "nl", "NL"))
    found = credentials_of(read_token(text))
    assert call(coordinator.port, found.authority_pem, found.key_pem, found.chain_pem) == b"here"
    assert coordinator.peers[-1].role is Role.INVITE


def test_caller_without_certificate_is_refused(coordinator: Coordinator, current: Authority) -> None:
    assert refused(coordinator.port, current.root_pem, None, None) is grpc.StatusCode.UNAVAILABLE


def test_caller_with_a_foreign_certificate_is_refused(coordinator: Coordinator, current: Authority) -> None:
    foreign = trustme.CA().issue_cert("nl")
    chain = b"".join(part.bytes() for part in foreign.cert_chain_pems)
    before = len(coordinator.peers)
    refused(coordinator.port, current.root_pem, foreign.private_key_pem.bytes(), chain)
    assert len(coordinator.peers) == before


def test_caller_of_an_authority_of_the_same_name_is_refused(
    coordinator: Coordinator, current: Authority, stranger: Authority
) -> None:
    before = len(coordinator.peers)
    refused(coordinator.port, current.root_pem, *node(stranger))
    assert len(coordinator.peers) == before


def test_caller_with_an_expired_certificate_is_refused(
    coordinator: Coordinator, tmp_path: Path, current: Authority
) -> None:
    # an authority that was there a month ago, so that what it issued then has ended now
    then = datetime.now(UTC) - timedelta(days=31)
    old = Authority.create(tmp_path, "coordinator", lambda: then)
    key = new_tls_key()
    server_key = tls_key_pem(key), old.issue_coordinator(key, ["127.0.0.1"])
    with serving(*server_key, old.root_pem) as found:
        refused(found.port, old.root_pem, *node(old))
        assert found.peers == []
        # the same authority, a fresh certificate: it was the date and nothing else
        assert call(found.port, old.root_pem, *node(Authority.open(tmp_path))) == b"here"


def test_caller_without_its_issuer_in_the_chain_is_refused(coordinator: Coordinator, current: Authority) -> None:
    key, chain = node(current)
    alone = read_chain(chain)[0].public_bytes(serialization.Encoding.PEM)
    refused(coordinator.port, current.root_pem, key, alone)


def test_node_refuses_a_coordinator_of_another_authority(
    coordinator: Coordinator, current: Authority, stranger: Authority
) -> None:
    before = len(coordinator.peers)
    assert refused(coordinator.port, stranger.root_pem, *node(current)) is grpc.StatusCode.UNAVAILABLE
    assert len(coordinator.peers) == before


def test_node_refuses_a_coordinator_of_another_name(current: Authority) -> None:
    key = new_tls_key()
    with serving(tls_key_pem(key), current.issue_coordinator(key, ["elsewhere.example"]), current.root_pem) as found:
        assert refused(found.port, current.root_pem, *node(current)) is grpc.StatusCode.UNAVAILABLE
        assert found.peers == []


@pytest.mark.parametrize("role", ["node", "invite"])
def test_node_refuses_another_node_in_the_coordinators_place(current: Authority, role: str) -> None:
    """A certificate of a caller never serves, even from the same authority."""
    if role == "node":
        key, chain = node(current)
    else:
        found = credentials_of(new_token(current, "127.0.0.1:1", Role.NODE, "nl", "NL"))
        key, chain = found.key_pem, found.chain_pem
    with serving(key, chain, current.root_pem) as impostor:
        assert refused(impostor.port, current.root_pem, *node(current)) is grpc.StatusCode.UNAVAILABLE
        assert impostor.peers == []
