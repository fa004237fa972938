"""TLS certificates: making a request, reading whose it is, and saying in words why one is not accepted."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from isthmus.errors import AuthenticationError, UsageError

SCHEME = "isthmus"
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


class Role(StrEnum):
    """What a certificate lets its owner be."""

    NODE = "node"
    ANALYST = "analyst"
    COORDINATOR = "coordinator"
    INVITE = "invite"


@dataclass(frozen=True, slots=True)
class Peer:
    """Whose certificate it is."""

    role: Role
    name: str
    serial: str  # hexadecimal
    expires_at: datetime  # UTC


def check_name(name: str) -> str:
    """The name itself; `UsageError` ``BAD_NAME`` unless it can stand in certificates, files and tables."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            "BAD_NAME",
            f"{name[:80]!r} cannot be a name here; rule: letters, digits, dot, dash and underscore, at most 63, "
            "a letter or digit first and last",
            "choose a short name such as nl or site-03",
        )
    return name


def new_tls_key() -> ec.EllipticCurvePrivateKey:
    """A new P-256 key for TLS. (gRPC's TLS takes no Ed25519.)"""
    return ec.generate_private_key(ec.SECP256R1())


def tls_key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The key as PKCS #8 PEM, to be written with mode 0600."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def read_tls_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """Read `tls_key_pem`; `AuthenticationError` ``TLS_KEY_DAMAGED`` where it holds no P-256 key."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise _key_damaged() from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise _key_damaged()
    return key


def certificate_request(key: ec.EllipticCurvePrivateKey, name: str) -> bytes:
    """A PKCS #10 request for the key, PEM. The authority takes nothing from it but the key."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, check_name(name))])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


# What the library raises for a certificate or request that is none: none of it is an error of ours.
_UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion, x509.UnsupportedGeneralNameType)


def read_chain(pem: bytes) -> list[x509.Certificate]:
    """Certificates of a PEM chain, the owner's first; `AuthenticationError` ``NOT_A_CERTIFICATE`` otherwise."""
    try:
        chain = x509.load_pem_x509_certificates(pem)
        for certificate in chain:
            # the library reads these when they are first asked for: whoever asks later shall not meet its errors
            _ = certificate.subject, certificate.issuer, certificate.public_key(), certificate.not_valid_after_utc
    except _UNREADABLE as error:
        raise AuthenticationError(
            "NOT_A_CERTIFICATE",
            "the other side presented no readable certificate",
            "check that the certificate file is a PEM chain and not damaged",
        ) from error
    return chain


def peer_of(pem: bytes) -> Peer:
    """Whose certificate it is, from the one ``isthmus://role/name`` in its alternative names.

    Reads only: that the certificate is valid is for TLS, or `check_valid`, to say.

    Raises
    ------
    AuthenticationError
        ``NOT_A_CERTIFICATE``, or ``FOREIGN_CERTIFICATE`` where it names no peer of ours, or more than one.
    """
    return _peer(read_chain(pem)[0])


def serial_of(certificate: x509.Certificate) -> str:
    """Serial number in hexadecimal, as the roster has it."""
    return format(certificate.serial_number, "x")


def check_valid(
    chain_pem: bytes,
    now: datetime,
    *,
    authority_pem: bytes | None = None,
    host: str | None = None,
    role: Role | None = None,
) -> Peer:
    """Whose certificate it is, if it is valid; otherwise an error that says why not.

    Parameters
    ----------
    chain_pem
        The certificate, then those that lead to the authority.
    now
        Moment to judge at (UTC, aware).
    authority_pem
        The authority to trust; None leaves that question out.
    host
        DNS name or IP address that the certificate must be for.
    role
        Role that it must have.

    Raises
    ------
    AuthenticationError
        ``CERTIFICATE_EXPIRED``, ``CERTIFICATE_NOT_YET_VALID``, ``UNKNOWN_AUTHORITY``, ``WRONG_HOST``, ``WRONG_ROLE``,
        ``FOREIGN_CERTIFICATE``, ``NOT_A_CERTIFICATE``.
    """
    chain = read_chain(chain_pem)
    authorities = read_chain(authority_pem) if authority_pem is not None else []
    # before the names: a TLS-inspecting proxy's certificate is best explained by who issued it
    if authorities and not _leads_to(chain, authorities):
        raise _unknown_authority(chain[-1], authorities[0])
    peer = _peer(chain[0])
    for certificate in (*chain, *authorities):
        _check_time(certificate, now)
    if role is not None and peer.role is not role:
        raise AuthenticationError(
            "WRONG_ROLE",
            f"the certificate is of {peer.role} {peer.name}; rule: a {role} is expected here",
            f"use the certificate that was issued to the {role}",
        )
    if host is not None:
        _check_host(chain[0], host)
    if authorities:
        _check_policy(chain, authorities, peer, now)
    return peer


def general_name(host: str) -> x509.GeneralName:
    """A host as it stands in a certificate; `UsageError` ``BAD_HOST`` where it is no DNS name or IP address."""
    try:
        return x509.IPAddress(ipaddress.ip_address(host.removeprefix("[").removesuffix("]")))
    except ValueError:
        pass
    try:
        ascii_host = host.encode("idna").decode("ascii").lower()
    except UnicodeError:
        ascii_host = ""
    label = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
    # a last label of digits is a mistyped IP address, never a name
    if not re.fullmatch(rf"{label}(?:\.{label})*", ascii_host) or ascii_host.rsplit(".", 1)[-1].isdigit():
        raise UsageError(
            "BAD_HOST",
            f"{host[:80]!r} is neither a host name nor an IP address (no port, no scheme, no wildcard)",
            "give the name by which the nodes reach the coordinator, e.g. coordinator.example.org",
        )
    return x509.DNSName(ascii_host)


def _peer(certificate: x509.Certificate) -> Peer:
    peers = []
    for uri in _alternative_names(certificate).get_values_for_type(x509.UniformResourceIdentifier):
        try:
            parts = urlsplit(uri)
            role, name = Role(parts.netloc), parts.path.removeprefix("/")
        except ValueError:
            continue
        # written back, so that two spellings are never one peer
        if _NAME.fullmatch(name) and uri == peer_uri(role, name):
            peers.append((role, name))
    if len(peers) != 1:
        raise AuthenticationError(
            "FOREIGN_CERTIFICATE",
            f"a certificate issued by {_issuer(certificate)} names no node, analyst or coordinator of isthmus; "
            "rule: exactly one isthmus:// name",
            "check the address, and whether a proxy on the way replaces certificates (TLS inspection)",
        )
    return Peer(*peers[0], serial_of(certificate), certificate.not_valid_after_utc)


def peer_uri(role: Role, name: str) -> str:
    """The name of a peer in its certificate, ``isthmus://role/name``."""
    return f"{SCHEME}://{role}/{name}"


def _alternative_names(certificate: x509.Certificate) -> x509.SubjectAlternativeName:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, *_UNREADABLE):
        return x509.SubjectAlternativeName([])


def _check_time(certificate: x509.Certificate, now: datetime) -> None:
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now > end:
        raise AuthenticationError(
            "CERTIFICATE_EXPIRED",
            f"the certificate of {_subject(certificate)} expired on {_moment(end)}; it is now {_moment(now)} here",
            "renew it, or enrol again with a new token; if the date here is wrong, set the clock",
        )
    if now < start:
        raise AuthenticationError(
            "CERTIFICATE_NOT_YET_VALID",
            f"the certificate of {_subject(certificate)} is valid from {_moment(start)}, and it is only "
            f"{_moment(now)} here",
            "set the clock of this machine (NTP); if it is right, the clock of the coordinator is ahead",
        )


def _leads_to(chain: list[x509.Certificate], authorities: list[x509.Certificate]) -> bool:
    """Whether some certificate of the chain is, or is signed by, one of the authorities."""
    return any(link == root or _issued_by(link, root) for link in chain for root in authorities)


def _issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, *_UNREADABLE):
        return False
    return True


def _check_host(certificate: x509.Certificate, host: str) -> None:
    names = _alternative_names(certificate)
    if general_name(host) in names:
        return
    known = [
        *names.get_values_for_type(x509.DNSName),
        *(str(address) for address in names.get_values_for_type(x509.IPAddress)),
    ]
    raise AuthenticationError(
        "WRONG_HOST",
        f"the certificate is not for {host}; it is for {', '.join(known) or 'no host'}",
        "use one of these names as the address, or have the coordinator issue a certificate for this one",
    )


def _check_policy(
    chain: list[x509.Certificate], authorities: list[x509.Certificate], peer: Peer, now: datetime
) -> None:
    """The whole path as RFC 5280 has it, by the verifier of `cryptography`; what is above only finds the words."""
    builder = PolicyBuilder().store(Store(authorities)).time(now)
    try:
        if peer.role is Role.COORDINATOR:
            builder.build_server_verifier(_first_host(chain[0])).verify(chain[0], chain[1:])
        else:
            builder.build_client_verifier().verify(chain[0], chain[1:])
    except (VerificationError, *_UNREADABLE) as error:
        raise _unknown_authority(chain[-1], authorities[0]) from error


def _first_host(certificate: x509.Certificate) -> x509.DNSName | x509.IPAddress:
    for name in _alternative_names(certificate):
        if isinstance(name, x509.DNSName | x509.IPAddress):
            return name
    raise AuthenticationError(
        "WRONG_HOST",
        "the coordinator's certificate is for no host",
        "have the coordinator issue a certificate for the address the nodes use",
    )


def _unknown_authority(certificate: x509.Certificate, authority: x509.Certificate) -> AuthenticationError:
    return AuthenticationError(
        "UNKNOWN_AUTHORITY",
        f"the certificate was issued by {_issuer(certificate)}, which {_subject(authority)} does not stand behind; "
        "rule: only the authority of the join token is trusted",
        "check the address, and whether a proxy on the way replaces certificates (TLS inspection): "
        "it has to let this connection through untouched",
    )


def _subject(certificate: x509.Certificate) -> str:
    return _printable(certificate.subject)


def _issuer(certificate: x509.Certificate) -> str:
    return _printable(certificate.issuer)


def _printable(name: x509.Name) -> str:
    """A name from a stranger's certificate: short, and (by `repr`) nothing in it that a terminal would obey."""
    return repr(name.rfc4514_string()[:120] or "nobody")


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _key_damaged() -> AuthenticationError:
    return AuthenticationError(
        "TLS_KEY_DAMAGED",
        "the TLS key is no P-256 key in PEM",
        "restore it from the backup, or enrol again with a new token",
    )
