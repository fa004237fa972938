"""Joining and renewal: how the node gets its certificate, and a fresh one before the old one ends."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import grpc

from isthmus.errors import AuthenticationError, UsageError
from isthmus.v1 import exchange_pb2, journal_pb2
from isthmus.version import __version__, check_compatible
from isthmus_node.config import Proxy, parse_address
from isthmus_node.homes import Home
from isthmus_node.link.channel import Dial, Session, Timing, error_from, open_channel
from isthmus_node.link.diagnose import diagnose
from isthmus_node.public_keys import write_public
from isthmus_trust.certificates import (
    Peer,
    Role,
    certificate_request,
    check_valid,
    new_tls_key,
    read_chain,
    read_tls_key,
    tls_key_pem,
)
from isthmus_trust.documents import prove
from isthmus_trust.identity import PUBLIC_BYTES, IdentityKey
from isthmus_trust.key_files import read_secret, replace, write_new
from isthmus_trust.tokens import credentials_of

# A certificate is renewed after this share of its life.
RENEW_AT = 2 / 3


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of a node: what its summaries are signed with, what its custodian signs with, and the one for TLS."""

    identity: IdentityKey
    custodian: IdentityKey
    tls_pem: bytes


def make_keys(home: Home, custodian_key: Path) -> Keys:
    """The node's keys, made where they are not there yet: an enrolment that broke off goes on with the same ones."""
    for path in (home.identity_key, custodian_key):
        if not path.exists():
            IdentityKey.generate().save(path)
    if not home.tls_key.exists():
        write_new(home.tls_key, tls_key_pem(new_tls_key()))
    return Keys(IdentityKey.load(home.identity_key), IdentityKey.load(custodian_key), read_secret(home.tls_key))


def dial_of_token(token: journal_pb2.JoinToken, proxy: Proxy | None) -> Dial:
    """What a token dials with: its own certificate, which may only enrol."""
    credentials = credentials_of(token)
    return Dial(
        parse_address(token.address, "address", "the token"),
        credentials.authority_pem,
        credentials.chain_pem,
        credentials.key_pem,
        proxy,
    )


def enrol(
    dial: Dial, token: journal_pb2.JoinToken, keys: Keys, timing: Timing | None = None
) -> exchange_pb2.EnrolReply:
    """Take the token to the coordinator and come back with a certificate.

    Raises
    ------
    UsageError
        ``TOKEN_FOR_ANALYST`` where the token is not for a node.
    LinkError, AuthenticationError
        Why the coordinator was not reached, or does not take the token.
    VersionError
        Where the two sides are too far apart.
    """
    if token.role != Role.NODE:
        raise UsageError(
            "TOKEN_FOR_ANALYST",
            f"the token is for {token.role} {token.name}, not for a node",
            "a statistician enrols with: isthmus login",
        )
    request_pem = certificate_request(read_tls_key(keys.tls_pem), token.name)
    request = exchange_pb2.EnrolRequest(
        software=__version__,
        secret=token.secret,
        certificate_request=request_pem,
        identity_key=keys.identity.public,
        custodian_key=keys.custodian.public,
        identity_proof=prove(keys.identity, request_pem),
        custodian_proof=prove(keys.custodian, request_pem),
    )
    timing = timing or Timing()
    channel = open_channel(dial, timing)
    try:
        reply: exchange_pb2.EnrolReply = Session(channel, timing).stub.Enrol(request, timeout=timing.call)
    except grpc.RpcError as error:
        said = error_from(error)
        raise (diagnose(dial) if said.code == "UNREACHABLE" else None) or said from error
    finally:
        channel.close()
    check_compatible(__version__, reply.software, "the coordinator")
    _check_reply(reply, dial.authority, token.name, keys.tls_pem)
    return reply


def keep(home: Home, reply: exchange_pb2.EnrolReply, keys: Keys, authority: bytes) -> None:
    """Store what enrolment gave. The certificate comes last: with it the node counts as joined."""
    replace(home.authority, authority)
    write_public(home.coordinator_key, reply.coordinator_key)
    write_public(home.custodian_public, keys.custodian.public)
    replace(home.certificate, reply.certificate_chain)


def renew(session: Session, home: Home, name: str, identity: IdentityKey) -> Peer:
    """A fresh certificate for the same keys, over the connection that stands; stored before it is used.

    Raises
    ------
    IsthmusError
        What the coordinator said; the certificate in use stays as it is.
    """
    tls_pem = read_secret(home.tls_key)
    request_pem = certificate_request(read_tls_key(tls_pem), name)
    request = exchange_pb2.RenewRequest(certificate_request=request_pem, identity_proof=prove(identity, request_pem))
    try:
        reply: exchange_pb2.EnrolReply = session.stub.Renew(request, timeout=session.timing.call)
    except grpc.RpcError as error:
        raise error_from(error) from error
    peer = _check_reply(reply, read_secret(home.authority), name, tls_pem)
    replace(home.certificate, reply.certificate_chain)
    return peer


def renewal_due(chain_pem: bytes, now: datetime) -> bool:
    """Whether two thirds of the certificate's life are over."""
    certificate = read_chain(chain_pem)[0]
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return now >= start + (end - start) * RENEW_AT


def _check_reply(reply: exchange_pb2.EnrolReply, authority: bytes, name: str, tls_pem: bytes) -> Peer:
    """The certificate must be ours: for our name, our key, and from the authority we trust already."""
    peer = check_valid(reply.certificate_chain, datetime.now(UTC), authority_pem=authority, role=Role.NODE)
    ours = read_tls_key(tls_pem).public_key()
    fits = peer.name == name and read_chain(reply.certificate_chain)[0].public_key() == ours
    if not fits or len(reply.coordinator_key or b"") not in (0, PUBLIC_BYTES):
        raise AuthenticationError(
            "CERTIFICATE_OF_ANOTHER",
            "the coordinator sent a certificate that is not for this node's name and key",
            "tell the coordinating team; nothing was stored",
        )
    return peer
