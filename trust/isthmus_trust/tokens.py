"""Join tokens: one line of text with all that a new node or analyst needs to enrol once."""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from isthmus.errors import AuthenticationError, UsageError
from isthmus.v1 import journal_pb2
from isthmus_trust.authority import Authority
from isthmus_trust.certificates import Role, check_name, check_valid, general_name, new_tls_key, read_chain, tls_key_pem
from isthmus_trust.documents import canonical, read_canonical
from isthmus_trust.identity import fingerprint

PREFIX = "isthmus-join-1."
SECRET_BYTES = 32
_CHECK_DIGITS = 8
# Far above any real token; what is larger is not read at all.
_MOST_CHARACTERS = 64 * 1024


@dataclass(frozen=True, slots=True)
class TokenCredentials:
    """What a token gives TLS: all PEM, ready for `grpc.ssl_channel_credentials`."""

    authority_pem: bytes
    chain_pem: bytes
    key_pem: bytes
    # Of the authority, as people compare it.
    fingerprint: str


def new_token(authority: Authority, address: str, role: Role, name: str, country: str) -> journal_pb2.JoinToken:
    """A token for one new node or analyst, with a certificate of its own that may only enrol.

    Parameters
    ----------
    authority
        The coordinator's.
    address
        ``host:port`` that the new one dials.
    role
        `Role.NODE` or `Role.ANALYST`.
    name, country
        As they will stand in the roster.

    Raises
    ------
    UsageError
        ``BAD_NAME``, ``BAD_ADDRESS``, ``BAD_HOST`` or ``BAD_ROLE``.
    """
    if role not in (Role.NODE, Role.ANALYST):
        raise UsageError("BAD_ROLE", f"nobody joins as {role}", "invite a node or an analyst")
    split_address(address)
    key = new_tls_key()
    # a name of its own for each token, so that the roster of invites can be kept by it
    chain = read_chain(authority.issue_invite(secrets.token_hex(8), key))
    return journal_pb2.JoinToken(
        address=address,
        authority=authority.root_der,
        certificate=b"".join(link.public_bytes(serialization.Encoding.DER) for link in chain),
        key=key.private_numbers().private_value.to_bytes(32, "big"),
        secret=secrets.token_bytes(SECRET_BYTES),
        role=role,
        name=check_name(name),
        country=country,
        expires_at=_nanoseconds(chain[0].not_valid_after_utc),
    )


def write_token(token: journal_pb2.JoinToken) -> str:
    """The token as one line of text, without a line end."""
    text = base64.urlsafe_b64encode(canonical(token)).decode("ascii").rstrip("=")
    return f"{PREFIX}{text}.{_check_digits(text)}"


def read_token(text: str, now: datetime | None = None) -> journal_pb2.JoinToken:
    """Read a token; blanks and line ends anywhere in it, as mail programs make them, do no harm.

    Parameters
    ----------
    text
        As `write_token` gave it.
    now
        Moment to judge its expiry at (UTC, aware); this machine's clock where None.

    Raises
    ------
    AuthenticationError
        ``NO_TOKEN`` (no isthmus token), ``TOKEN_VERSION`` (of another release), ``TOKEN_DAMAGED``,
        ``TOKEN_EXPIRED``, ``TOKEN_NOT_YET_VALID`` (the clock). The messages never hold a part of the token.
    """
    joined = "".join(text.split()) if len(text) <= _MOST_CHARACTERS else ""
    if not joined.startswith(PREFIX):
        if joined.startswith("isthmus-join-"):
            raise AuthenticationError(
                "TOKEN_VERSION",
                "the join token was written by a release of isthmus whose tokens this one does not read",
                "install the release that the coordinator runs",
            )
        raise AuthenticationError(
            "NO_TOKEN",
            f"the text given is no join token; rule: it begins with {PREFIX}",
            "give the whole token, as a file or on standard input",
        )
    token = _decode(joined.removeprefix(PREFIX))
    credentials = credentials_of(token)
    now = now or datetime.now(UTC)
    end = datetime.fromtimestamp(token.expires_at / 1e9, UTC)
    if now > end:
        raise AuthenticationError(
            "TOKEN_EXPIRED",
            f"the join token was valid until {end:%Y-%m-%d %H:%M} UTC, it is now {now:%Y-%m-%d %H:%M} UTC; "
            "rule: a token is valid for 24 hours",
            "ask the team that runs the coordinator for a new one; if the date here is wrong, set the clock",
        )
    try:
        check_valid(credentials.chain_pem, now, authority_pem=credentials.authority_pem, role=Role.INVITE)
    except AuthenticationError as error:
        if error.code == "CERTIFICATE_NOT_YET_VALID":
            raise AuthenticationError("TOKEN_NOT_YET_VALID", error.message, error.remedy) from error
        raise _damaged() from error
    return token


def credentials_of(token: journal_pb2.JoinToken) -> TokenCredentials:
    """What the token gives TLS; `AuthenticationError` ``TOKEN_DAMAGED`` where its parts do not belong together."""
    try:
        chain = [x509.load_der_x509_certificate(part) for part in _split_der(token.certificate)]
        key = ec.derive_private_key(int.from_bytes(token.key, "big"), ec.SECP256R1())
        root = x509.load_der_x509_certificate(token.authority)
        fits = bool(chain) and chain[0].public_key() == key.public_key() and len(token.key) == 32
    except ValueError as error:
        raise _damaged() from error
    if not fits:
        raise _damaged()
    return TokenCredentials(
        authority_pem=root.public_bytes(serialization.Encoding.PEM),
        chain_pem=b"".join(link.public_bytes(serialization.Encoding.PEM) for link in chain),
        key_pem=tls_key_pem(key),
        fingerprint=fingerprint(token.authority),
    )


def split_address(address: str) -> tuple[str, int]:
    """Host and port of ``host:port``; an IPv6 host is written in brackets.

    Raises
    ------
    UsageError
        ``BAD_ADDRESS`` or ``BAD_HOST``.
    """
    host, colon, port = address.rpartition(":")
    bare_ipv6 = ":" in host and not (host.startswith("[") and host.endswith("]"))
    if not colon or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536 or bare_ipv6:
        raise UsageError(
            "BAD_ADDRESS",
            f"{address[:80]!r} is no address; rule: host:port with a port from 1 to 65535, IPv6 in brackets",
            "write it as coordinator.example.org:8443",
        )
    general_name(host)
    return host.removeprefix("[").removesuffix("]"), int(port)


def _decode(text: str) -> journal_pb2.JoinToken:
    body, _, digits = text.rpartition(".")
    if digits != _check_digits(body):
        raise _damaged()
    try:
        raw = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
        token = read_canonical(raw, journal_pb2.JoinToken)
        split_address(token.address)
        check_name(token.name)
        role = Role(token.role)
    except (binascii.Error, ValueError, AuthenticationError, UsageError) as error:
        raise _damaged() from error
    if role not in (Role.NODE, Role.ANALYST) or len(token.secret) != SECRET_BYTES:
        raise _damaged()
    return token


def _split_der(joined: bytes) -> list[bytes]:
    """DER values that stand one after the other; each says its own length. What is cut off, its reader notices."""
    parts = []
    while joined:
        size = _der_size(joined)
        parts.append(joined[:size])
        joined = joined[size:]
    return parts


def _der_size(text: bytes) -> int:
    if len(text) < 2 or text[0] != 0x30:
        raise ValueError("no DER sequence")
    if text[1] < 0x80:
        size = 2 + text[1]
    else:
        more = text[1] & 0x7F
        size = 2 + more + int.from_bytes(text[2 : 2 + more], "big")
    return size


def _check_digits(body: str) -> str:
    return hashlib.sha256(body.encode("utf-8")).hexdigest()[:_CHECK_DIGITS]


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000_000


def _damaged() -> AuthenticationError:
    return AuthenticationError(
        "TOKEN_DAMAGED",
        "the join token is damaged: some of it is missing or changed",
        "copy the whole token again, or pass the file itself; if it stays so, ask for a new one",
    )
