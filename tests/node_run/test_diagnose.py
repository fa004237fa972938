"""What a node says when it cannot reach the coordinator: never just "unavailable"."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme

from isthmus.errors import AuthenticationError, IsthmusError, LinkError
from isthmus.v1 import exchange_pb2
from isthmus_node.config import Address, Proxy
from isthmus_node.link import diagnose as diagnosis
from isthmus_node.link.channel import Dial, Session, Timing, open_channel
from isthmus_node.link.diagnose import diagnose

ANSWER = 0.5


@contextmanager
def listener(serve: Callable[[socket.socket], None]) -> Iterator[Address]:
    """Something on loopback that is no coordinator."""
    server = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with suppress(OSError):
                serve(connection)
            connection.close()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield Address("127.0.0.1", server.getsockname()[1])
    finally:
        # closing alone would leave the thread that accepts, and with it the port, behind
        server.shutdown(socket.SHUT_RDWR)
        server.close()


def code_of(found: IsthmusError | None) -> str:
    return found.code if found is not None else "REACHED"


def call(dial: Dial, timing: Timing) -> str:
    """One call over gRPC: "OK", or its status."""
    channel = open_channel(dial, timing)
    try:
        Session(channel, timing).stub.Decide(exchange_pb2.DecideRequest(), timeout=10)
    except grpc.RpcError as error:
        return error.code().name
    finally:
        channel.close()
    return "OK"


def test_coordinator_that_answers_is_reached(dial: Dial, fast: Timing) -> None:
    assert diagnose(dial) is None
    assert call(dial, fast) == "OK"


def test_expired_certificate_of_ours_says_when_it_expired(
    ground: Any, make_dial: Callable[..., Dial], coordinator: Any
):
    dial = make_dial(coordinator.address, at=datetime.now(UTC) - timedelta(days=60))
    found = diagnose(dial)
    assert isinstance(found, AuthenticationError)
    assert found.code == "CERTIFICATE_EXPIRED"
    expired = (datetime.now(UTC) - timedelta(days=30)).strftime("%Y-%m-%d")
    assert expired in found.message
    assert "unavailable" not in found.message.lower()


def test_certificate_of_another_authority_is_turned_down(
    make_dial: Callable[..., Dial], coordinator: Any, foreign_ground: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = make_dial(coordinator.address)
    chain, key = foreign_ground.node()
    stranger = replace(ours, chain=chain, key=key)
    assert code_of(diagnose(stranger)) == "CERTIFICATE_AND_AUTHORITY"
    # and where the own files look right, the coordinator's behaviour tells
    monkeypatch.setattr(diagnosis, "_judge_own", lambda dial, now: None)
    found = diagnose(stranger)
    assert isinstance(found, AuthenticationError)
    assert found.code == "CERTIFICATE_NOT_ACCEPTED"


def test_wrong_authority_is_named_with_both_sides(
    make_dial: Callable[..., Dial], serve_with: Callable[..., Any], foreign_ground: Any
) -> None:
    other = serve_with(foreign_ground)
    found = diagnose(make_dial(other.address))
    assert code_of(found) == "WRONG_ISSUER"
    assert found is not None
    assert "elsewhere" in found.message
    assert "inspects TLS" in found.remedy


def test_inspecting_proxy_is_the_wrong_issuer(make_dial: Callable[..., Dial], tmp_path: Path) -> None:
    authority = trustme.CA(organization_name="Corp Inspection")
    shown = authority.issue_cert("127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    shown.configure_cert(context)

    def serve(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as session:
            session.recv(1)

    with listener(serve) as address:
        found = diagnose(make_dial(address), seconds=ANSWER)
    assert code_of(found) == "WRONG_ISSUER"
    assert found is not None
    assert "Corp Inspection" in found.message


def test_expired_certificate_of_the_coordinator_is_theirs(
    make_dial: Callable[..., Dial], serve_with: Callable[..., Any], ground: Any
) -> None:
    old = serve_with(ground, at=datetime.now(UTC) - timedelta(days=120))
    found = diagnose(make_dial(old.address))
    assert code_of(found) == "COORDINATOR_CERTIFICATE_EXPIRED"


def test_certificate_for_another_host_is_named(
    make_dial: Callable[..., Dial], serve_with: Callable[..., Any], ground: Any
) -> None:
    other = serve_with(ground, hosts=("elsewhere.example.org",))
    found = diagnose(make_dial(other.address))
    assert code_of(found) == "WRONG_HOST"
    assert found is not None
    assert "elsewhere.example.org" in found.message


def test_node_that_poses_as_the_coordinator_is_found_out(
    make_dial: Callable[..., Dial], ground: Any, tmp_path: Path
) -> None:
    chain, key = ground.node("de")
    (tmp_path / "chain").write_bytes(chain)
    (tmp_path / "key").write_bytes(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "chain", tmp_path / "key")

    def serve(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as session:
            session.recv(1)

    with listener(serve) as address:
        assert code_of(diagnose(make_dial(address), seconds=ANSWER)) == "WRONG_ROLE"


def test_nothing_listening_is_refused(make_dial: Callable[..., Dial]) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        # bound, so that nobody else takes it, and not listening
        found = diagnose(make_dial(Address("127.0.0.1", bound.getsockname()[1])))
    assert isinstance(found, LinkError)
    assert found.code == "CONNECTION_REFUSED"


def test_unknown_name_is_named(make_dial: Callable[..., Dial]) -> None:
    found = diagnose(make_dial(Address("coordinator.invalid", 443)))
    assert code_of(found) == "NAME_NOT_FOUND"
    assert found is not None
    assert "coordinator.invalid" in found.message


def test_silence_is_a_timeout_of_tls(make_dial: Callable[..., Dial]) -> None:
    release = threading.Event()
    with listener(lambda connection: (release.wait(20), None)[1]) as address:
        assert code_of(diagnose(make_dial(address), seconds=ANSWER)) == "TLS_TIMEOUT"
        release.set()


def test_dropped_packets_are_a_timeout(make_dial: Callable[..., Dial], monkeypatch: pytest.MonkeyPatch) -> None:
    def never(self: socket.socket, address: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(socket.socket, "connect", never)
    found = diagnose(make_dial(Address("127.0.0.1", 9)))
    assert code_of(found) == "CONNECTION_TIMEOUT"
    assert found is not None
    assert "firewall" in found.remedy


def test_something_else_on_the_port_is_not_tls(make_dial: Callable[..., Dial]) -> None:
    with listener(lambda connection: connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n" * 4)) as address:
        assert code_of(diagnose(make_dial(address), seconds=ANSWER)) in ("NOT_TLS", "TLS_FAILED")


def test_old_tls_is_said_to_be_old(make_dial: Callable[..., Dial]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)

    def serve(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True):
            pass

    with listener(serve) as address:
        assert code_of(diagnose(make_dial(address), seconds=ANSWER)) == "TLS_VERSION"


# --------------------------------------------------------------------------- proxies


@pytest.mark.parametrize(
    ("proxy_settings", "credentials", "code", "status"),
    [
        ({}, ("", ""), "REACHED", "OK"),
        ({"credentials": "ann:p w@:/ü"}, ("ann", "p w@:/ü"), "REACHED", "OK"),
        ({"credentials": "ann:right"}, ("ann", "wrong"), "PROXY_CREDENTIALS", "UNAVAILABLE"),
        ({"credentials": "ann:right"}, ("", ""), "PROXY_WANTS_NAME", "UNAVAILABLE"),
        ({"credentials": "x:y", "scheme": "Negotiate"}, ("", ""), "PROXY_SCHEME_UNSUPPORTED", "UNAVAILABLE"),
        ({"status": 403}, ("", ""), "PROXY_REFUSED", "UNAVAILABLE"),
        ({"status": 504}, ("", ""), "PROXY_CANNOT_REACH", "UNAVAILABLE"),
    ],
)
def test_proxy_is_gone_through_or_named(
    dial: Dial,
    proxy: Callable[..., Any],
    fast: Timing,
    proxy_settings: dict[str, Any],
    credentials: tuple[str, str],
    code: str,
    status: str,
) -> None:
    made = proxy(**proxy_settings)
    behind = replace(dial, proxy=Proxy(made.address, *credentials))
    assert code_of(diagnose(behind)) == code
    assert call(behind, fast) == status
    assert all(str(dial.address) in head for head in made.seen)
    assert len(made.seen) >= 2, "both went through the proxy"


def test_proxy_that_is_none_is_named(dial: Dial) -> None:
    with listener(lambda connection: connection.sendall(b"220 mail.example.org ESMTP\r\n\r\n")) as address:
        assert code_of(diagnose(replace(dial, proxy=Proxy(address)))) == "NOT_A_PROXY"


def test_proxy_in_the_environment_is_not_used_behind_our_back(
    dial: Dial, proxy: Callable[..., Any], fast: Timing, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = proxy()
    monkeypatch.setenv("https_proxy", f"http://{made.address}")
    assert call(dial, fast) == "OK"
    assert made.seen == []


def test_password_of_the_proxy_is_in_no_message(dial: Dial, proxy: Callable[..., Any]) -> None:
    made = proxy(credentials="ann:right")
    found = diagnose(replace(dial, proxy=Proxy(made.address, "ann", "hunter2")))
    assert found is not None
    assert "hunter2" not in str(found)
