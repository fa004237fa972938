"""Calls to the coordinator over mutual TLS; what goes wrong comes back as the same errors as everywhere else."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import grpc

from isthmus.errors import AuthenticationError, IsthmusError, LinkError
from isthmus_trust.wire_errors import error_of

R = TypeVar("R")

# Seconds a call may take; a stream of progress has no limit.
CALL_TIMEOUT = 60.0
CONNECT_TIMEOUT = 10.0
# Curves with many steps make a result of some megabytes; more than this is no result.
MAX_RESULT = 64 * 1024 * 1024
KEEPALIVE_MS = 30_000


def open_channel(address: str, authority: bytes, chain: bytes, key: bytes) -> grpc.Channel:
    """A channel to the coordinator; nothing is dialled before the first call."""
    options: list[tuple[str, int]] = [
        ("grpc.keepalive_time_ms", KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.max_receive_message_length", MAX_RESULT),
    ]
    if _is_loopback(address):
        options.append(("grpc.enable_http_proxy", 0))
    credentials = grpc.ssl_channel_credentials(authority, key, chain)
    return grpc.secure_channel(address, credentials, options=options)


def call(
    rpc: Callable[..., R], request: object, *, timeout: float = CALL_TIMEOUT, address: str = "", authority: bytes = b""
) -> R:
    """One call and its reply; `IsthmusError` of the kind that the other side meant."""
    try:
        return rpc(request, timeout=timeout)
    except grpc.RpcError as error:
        raise rebuilt(error, address, authority) from error


def stream(
    rpc: Callable[..., Iterator[R]], request: object, *, address: str = "", authority: bytes = b""
) -> Iterator[R]:
    """The replies of a stream; ends the call where the reader stops early."""
    replies: Any = rpc(request)
    try:
        yield from replies
    except grpc.RpcError as error:
        raise rebuilt(error, address, authority) from error
    finally:
        replies.cancel()


def rebuilt(error: grpc.RpcError, address: str, authority: bytes) -> IsthmusError:
    """The error the other side meant, or why it could not be reached."""
    # What a call raises is the call itself; a bare RpcError has none of these.
    status = error.code().name if hasattr(error, "code") else "UNKNOWN"
    details = error.details() or "" if hasattr(error, "details") else ""
    metadata = error.trailing_metadata() or () if hasattr(error, "trailing_metadata") else ()
    found = error_of(status, details, [(str(key), value) for key, value in metadata])
    if isinstance(found, LinkError) and found.code == "UNREACHABLE" and address:
        return why_unreachable(address, authority) or found
    return found


# OpenSSL's numbers of what is wrong with a certificate.
_EXPIRED, _NOT_YET_VALID, _WRONG_HOST, _WRONG_ADDRESS = 10, 9, 62, 64


def why_unreachable(address: str, authority: bytes) -> IsthmusError | None:
    """What stands in the way, found by dialling once with plain sockets; None where nothing does.

    gRPC says UNAVAILABLE for a closed port, a foreign certificate and a refused one alike.
    """
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=authority.decode("ascii"))
    try:
        with (
            socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT) as plain,
            context.wrap_socket(plain, server_hostname=host),
        ):
            return None
    except ssl.SSLCertVerificationError as error:
        return _bad_certificate(error.verify_code, host)
    except ssl.SSLError:
        return LinkError(
            "NOT_TLS",
            f"what answers at {address} does not speak TLS as a coordinator does",
            "check host and port with the team that runs the coordinator",
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no answer"
        return LinkError(
            "UNREACHABLE",
            f"nothing answers at {address} ({reason})",
            "see whether the coordinator runs and whether a firewall or proxy lets this machine reach it",
        )


def _bad_certificate(verify_code: int, host: str) -> IsthmusError:
    if verify_code in (_EXPIRED, _NOT_YET_VALID):
        return AuthenticationError(
            "CERTIFICATE_EXPIRED",
            "the coordinator's certificate is not valid today, by the clock of this machine",
            "set the clock, or tell the team that runs the coordinator",
        )
    if verify_code in (_WRONG_HOST, _WRONG_ADDRESS):
        return AuthenticationError(
            "WRONG_HOST",
            f"the coordinator's certificate is not for {host}",
            "use the address of the join token",
        )
    return AuthenticationError(
        "UNKNOWN_AUTHORITY",
        "the certificate of the other side was not issued by the authority of the join token; rule: only that one is"
        " trusted",
        "check the address, and whether a proxy on the way replaces certificates (TLS inspection): it has to let this"
        " connection through untouched",
    )


def _is_loopback(address: str) -> bool:
    host = address.rpartition(":")[0].removeprefix("[").removesuffix("]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
