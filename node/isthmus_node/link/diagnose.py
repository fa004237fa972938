"""Why the coordinator cannot be reached: one step after the other by hand, and the first that fails has a name.

gRPC reports a wrong, expired or unknown certificate, a proxy that refuses and a cable that is out all as
"unavailable". Here the same way is gone with plain sockets, so that the message at the node can say which it is.
"""

from __future__ import annotations

import base64
import os
import socket
import ssl
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from isthmus.errors import AuthenticationError, IsthmusError, LinkError
from isthmus_node.config import Address
from isthmus_node.link.channel import Dial
from isthmus_trust.certificates import Role, check_valid, read_chain
from isthmus_trust.identity import fingerprint

# Seconds a step may take.
STEP_SECONDS = 5.0
# What OpenSSL calls the alert with which the coordinator turns our certificate down.
_NOT_OURS = ("UNKNOWN_CA", "CERTIFICATE_UNKNOWN", "BAD_CERTIFICATE", "ACCESS_DENIED", "DECRYPT_ERROR", "REQUIRED")
_OLD_TLS = ("PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL", "WRONG_SSL_VERSION")


def diagnose(dial: Dial, now: datetime | None = None, seconds: float = STEP_SECONDS) -> IsthmusError | None:
    """Go the way to the coordinator step by step; what stops it, or None where nothing does.

    Parameters
    ----------
    dial
        As the node would dial.
    now
        The time here (UTC, aware), against which certificates are judged.
    seconds
        Longest time for one step.

    Returns
    -------
    IsthmusError or None
        `LinkError` for names, routes and proxies; `AuthenticationError` for certificates.
    """
    now = now or datetime.now(UTC)
    try:
        _judge_own(dial, now)
        with _connect(dial, seconds) as connection:
            _shake_hands(connection, dial, now, seconds)
    except IsthmusError as error:
        return error
    return None


def _judge_own(dial: Dial, now: datetime) -> None:
    try:
        check_valid(dial.chain, now, authority_pem=dial.authority)
    except AuthenticationError as error:
        if error.code == "UNKNOWN_AUTHORITY":
            raise AuthenticationError(
                "CERTIFICATE_AND_AUTHORITY",
                "this side's own certificate was not issued by the authority it trusts for the coordinator",
                "restore pki/ from one backup, or enrol again with a new token",
            ) from error
        raise AuthenticationError(error.code, f"this side's own: {error.message}", error.remedy) from error


def _connect(dial: Dial, seconds: float) -> socket.socket:
    if dial.proxy is None:
        return _reach(dial.address, "the coordinator", seconds)
    connection = _reach(dial.proxy.address, "the proxy", seconds)
    try:
        _ask_proxy(connection, dial, seconds)
    except BaseException:
        connection.close()
        raise
    return connection


def _reach(address: Address, who: str, seconds: float) -> socket.socket:
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise LinkError(
            "NAME_NOT_FOUND",
            f"the name of {who}, {address.host!r}, is not known to this machine's name service",
            "correct the address, or have the site's DNS know the name",
        ) from error
    last: OSError | None = None
    for family, kind, protocol, _, target in found:
        connection = socket.socket(family, kind, protocol)
        connection.settimeout(seconds)
        try:
            connection.connect(target)
        except OSError as error:
            connection.close()
            last = error
        else:
            return connection
    raise _not_reached(address, who, last, seconds) from last


def _not_reached(address: Address, who: str, error: OSError | None, seconds: float) -> LinkError:
    if isinstance(error, ConnectionRefusedError):
        return LinkError(
            "CONNECTION_REFUSED",
            f"{address} refuses connections: nothing listens there",
            f"see whether {who} runs, and whether the port is right",
        )
    if isinstance(error, TimeoutError):
        return LinkError(
            "CONNECTION_TIMEOUT",
            f"{address} did not answer within {seconds:.0f} s; a firewall drops the packets, or the machine is down",
            f"have the firewall let this machine out to {address} (TCP), or set the site's proxy as proxy.url",
        )
    return LinkError(
        "NO_ROUTE",
        f"{address} cannot be reached: {error.strerror if error and error.strerror else 'no address to try'}",
        "see the network of this machine; behind a proxy, set proxy.url",
    )


def _ask_proxy(connection: socket.socket, dial: Dial, seconds: float) -> None:
    proxy = dial.proxy
    if proxy is None:
        return
    lines = [f"CONNECT {dial.address} HTTP/1.1", f"Host: {dial.address}"]
    if proxy.username:
        pair = base64.b64encode(f"{proxy.username}:{proxy.password}".encode()).decode("ascii")
        lines.append(f"Proxy-Authorization: Basic {pair}")
    try:
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("ascii"))
        head = _read_head(connection)
    except OSError as error:
        raise LinkError(
            "PROXY_SILENT",
            f"the proxy {proxy.address} took the request to connect to {dial.address} and then broke off or said "
            f"nothing for {seconds:.0f} s",
            "ask the proxy's administrator whether CONNECT to this host and port is allowed",
        ) from error
    words = head.split(b"\r\n", 1)[0].split(b" ", 2)
    if not words[0].startswith(b"HTTP/") or len(words) < 2 or not words[1].isdigit():
        raise LinkError(
            "NOT_A_PROXY", f"{proxy.address} does not answer as an HTTP proxy", "correct proxy.url: host and port"
        )
    status = int(words[1])
    if status != 200:
        raise _proxy_said(status, head, dial)


def _read_head(connection: socket.socket) -> bytes:
    # one byte at a time: what follows the blank line belongs to TLS
    head = b""
    while not head.endswith(b"\r\n\r\n") and len(head) < 16_384:
        byte = connection.recv(1)
        if not byte:
            break
        head += byte
    return head


def _proxy_said(status: int, head: bytes, dial: Dial) -> LinkError:
    proxy = dial.proxy.address if dial.proxy else dial.address
    if status == 407:
        if dial.proxy and dial.proxy.username:
            return LinkError(
                "PROXY_CREDENTIALS",
                f"the proxy {proxy} does not accept the name and password it was given",
                "correct proxy.username and the file proxy.password_file names",
            )
        schemes = sorted(
            line.split(b":", 1)[1].split()[0].decode("ascii", "replace").lower()
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"proxy-authenticate:") and line.split(b":", 1)[1].split()
        )
        if schemes and "basic" not in schemes:
            return LinkError(
                "PROXY_SCHEME_UNSUPPORTED",
                f"the proxy {proxy} asks for {', '.join(schemes)}; only Basic is spoken here",
                "run a local helper such as cntlm or px and name it as proxy.url",
            )
        return LinkError(
            "PROXY_WANTS_NAME",
            f"the proxy {proxy} asks for a name and password",
            "set proxy.username, and proxy.password_file to a file with mode 0600",
        )
    if status in (502, 503, 504):
        return LinkError(
            "PROXY_CANNOT_REACH",
            f"the proxy {proxy} cannot reach {dial.address} (status {status})",
            "see whether the coordinator runs and whether its address is right",
        )
    return LinkError(
        "PROXY_REFUSED",
        f"the proxy {proxy} does not let this machine connect to {dial.address} (status {status})",
        f"ask the proxy's administrator to allow CONNECT to {dial.address}",
    )


def _shake_hands(connection: socket.socket, dial: Dial, now: datetime, seconds: float) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["h2"])
    # what the other side shows is judged by `check_valid` below, which finds better words than a failed handshake
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    _present_ours(context, dial)
    connection.settimeout(seconds)
    try:
        with context.wrap_socket(connection, server_hostname=dial.address.host) as session:
            shown = session.getpeercert(binary_form=True) or b""
            _judge_peer(shown, session, dial, now)
            # in TLS 1.3 our certificate is judged after the handshake: the verdict comes with the first bytes
            if not session.recv(1):
                raise _turned_down(dial, "hung up as soon as it saw this side's certificate")
    except ssl.SSLError as error:
        raise _from_tls(error, dial) from error
    except TimeoutError as error:
        raise LinkError(
            "TLS_TIMEOUT",
            f"{dial.address} accepted the connection and then said nothing for {seconds:.0f} s",
            "see whether the coordinator is overloaded, or a middle box holds TLS back",
        ) from error
    except OSError as error:
        raise LinkError(
            "CONNECTION_CUT",
            f"the connection to {dial.address} was cut during the TLS handshake",
            "see whether a firewall or proxy on the way cuts TLS, and whether the coordinator runs",
        ) from error


def _present_ours(context: ssl.SSLContext, dial: Dial) -> None:
    # the library reads keys from files only; the folder is ours alone (0700) and gone right after
    with tempfile.TemporaryDirectory(prefix="isthmus-") as folder:
        chain, key = Path(folder, "chain.pem"), Path(folder, "key.pem")
        chain.write_bytes(dial.chain)
        descriptor = os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(dial.key)
        try:
            context.load_cert_chain(chain, key)
        except (ssl.SSLError, OSError) as error:
            raise AuthenticationError(
                "KEY_AND_CERTIFICATE",
                "this node's TLS key and certificate do not belong together or are damaged",
                "restore pki/ from the backup, or enrol again with a new token",
            ) from error


def _judge_peer(shown: bytes, session: ssl.SSLSocket, dial: Dial, now: datetime) -> None:
    chain = _pem(shown) + _more_of(session)
    try:
        check_valid(chain, now, authority_pem=dial.authority, host=dial.address.host, role=Role.COORDINATOR)
    except AuthenticationError as error:
        raise _about_coordinator(error, dial) from error


def _more_of(session: ssl.SSLSocket) -> bytes:
    """Certificates between the peer's and its authority, as PEM; Python has a public name for it from 3.13 on."""
    public = getattr(session, "get_unverified_chain", None)
    if public is not None:
        return b"".join(_pem(der) for der in public()[1:])
    inner = getattr(getattr(session, "_sslobj", None), "get_unverified_chain", None)
    found = inner() if inner is not None else None
    return b"".join(str(link.public_bytes()).encode("ascii") for link in (found or [])[1:])


def _pem(der: bytes) -> bytes:
    return ssl.DER_cert_to_PEM_cert(der).encode("ascii") if der else b""


def _about_coordinator(error: AuthenticationError, dial: Dial) -> AuthenticationError:
    if error.code == "UNKNOWN_AUTHORITY":
        ours = fingerprint(read_chain(dial.authority)[0].public_bytes(Encoding.DER))
        return AuthenticationError(
            "WRONG_ISSUER",
            f"what answers at {dial.address} is not the coordinator that this node joined: {error.message}",
            "if the site's proxy inspects TLS, have it let this host through untouched; otherwise compare the "
            f"authority's fingerprint with the coordinating team: {ours}",
        )
    if error.code == "CERTIFICATE_EXPIRED":
        return AuthenticationError(
            "COORDINATOR_CERTIFICATE_EXPIRED",
            f"at {dial.address}: {error.message}",
            "tell the coordinating team; if the date here is wrong, set the clock",
        )
    return AuthenticationError(error.code, f"at {dial.address}: {error.message}", error.remedy)


def _from_tls(error: ssl.SSLError, dial: Dial) -> IsthmusError:
    reason = error.reason or ""
    if "CERTIFICATE_EXPIRED" in reason:
        return AuthenticationError(
            "CERTIFICATE_EXPIRED",
            f"the coordinator says that this node's certificate has expired; here it is valid until {_until(dial)}",
            "set the clock of this machine (NTP); if it is right, enrol again with a new token",
        )
    if "CERTIFICATE_REVOKED" in reason or any(word in reason for word in _NOT_OURS):
        return _turned_down(dial, f"turned this side's certificate down ({reason.lower().replace('_', ' ')})")
    if any(word in reason for word in _OLD_TLS):
        return LinkError(
            "TLS_VERSION",
            f"what answers at {dial.address} does not speak TLS 1.3, which is the rule here",
            "have the proxy or middle box on the way let TLS 1.3 through untouched",
        )
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"):
        return LinkError(
            "NOT_TLS",
            f"what answers at {dial.address} does not speak TLS",
            "correct the address: host and port of the coordinator",
        )
    return LinkError(
        "TLS_FAILED",
        f"the TLS handshake with {dial.address} failed ({reason.lower().replace('_', ' ') or 'cut off'})",
        "see whether the coordinator runs at this address and whether a middle box on the way changes TLS",
    )


def _turned_down(dial: Dial, how: str) -> AuthenticationError:
    return AuthenticationError(
        "CERTIFICATE_NOT_ACCEPTED",
        f"the coordinator at {dial.address} {how}; the certificate here is valid until {_until(dial)}",
        "ask the coordinating team whether this node is still on the roster; if its authority was made anew, "
        "enrol again with a new token",
    )


def _until(dial: Dial) -> str:
    return read_chain(dial.chain)[0].not_valid_after_utc.strftime("%Y-%m-%d %H:%M UTC")
