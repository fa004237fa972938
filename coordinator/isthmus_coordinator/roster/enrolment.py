"""Joining: a token is given out once, used once, and becomes an entry of the roster with a certificate."""

from __future__ import annotations

import hashlib
import hmac

from sqlalchemy import insert, select, update
from sqlalchemy.engine import Connection, Row

from isthmus.errors import AuthenticationError, UsageError
from isthmus.untrusted import shown
from isthmus.v1 import exchange_pb2, journal_pb2
from isthmus.version import __version__, check_compatible
from isthmus_coordinator.clock import Clock, nanoseconds, words
from isthmus_coordinator.roster.members import Member, Roster, read_member
from isthmus_coordinator.store.database import Database
from isthmus_coordinator.store.tables import invites, members
from isthmus_trust.authority import Authority
from isthmus_trust.certificates import Peer, Role, peer_of
from isthmus_trust.documents import check_proof
from isthmus_trust.roster import State
from isthmus_trust.tokens import credentials_of, new_token

MAX_COUNTRY = 32


class Enrolment:
    """Gives out tokens, takes them back for certificates, and renews certificates.

    Parameters
    ----------
    coordinator_key
        Public key with which the coordinator signs its tasks, 32 bytes; every new member gets it.
    """

    def __init__(
        self, database: Database, roster: Roster, authority: Authority, coordinator_key: bytes, clock: Clock
    ) -> None:
        self._database = database
        self._roster = roster
        self._authority = authority
        self._coordinator_key = coordinator_key
        self._clock = clock

    def invite(
        self, address: str, role: Role, name: str, country: str, *, again: bool = False
    ) -> journal_pb2.JoinToken:
        """A join token for one new member, valid once and for 24 hours.

        Parameters
        ----------
        address
            ``host:port`` that it will dial.
        role, name, country
            As they will stand in the roster; an analyst's country may be empty.
        again
            For a member whose certificate has expired: it keeps its name, and must still have its identity key.

        Raises
        ------
        UsageError
            ``MEMBER_EXISTS`` where the name is taken by an active member, ``BAD_COUNTRY``, or an error of
            `isthmus_trust.tokens.new_token`.
        """
        if not (0 < len(country) <= MAX_COUNTRY and country.isprintable()) and (role is Role.NODE or country):
            raise UsageError(
                "BAD_COUNTRY",
                f"a node needs a country code of at most {MAX_COUNTRY} characters",
                "give an ISO 3166 code such as NL with --country",
            )
        if not again:
            with self._database.read() as connection:
                _check_name_free(read_member(connection, name), name, b"")
        token = new_token(self._authority, address, role, name, country)
        invite_id = peer_of(credentials_of(token).chain_pem).name
        with self._database.write() as connection:
            connection.execute(
                insert(invites).values(
                    id=invite_id,
                    secret_digest=hashlib.sha256(token.secret).digest(),
                    role=role.value,
                    name=name,
                    country=country,
                    created_at=self._clock(),
                    expires_at=token.expires_at,
                )
            )
        return token

    def enrol(self, peer: Peer, request: exchange_pb2.EnrolRequest) -> exchange_pb2.EnrolReply:
        """Take a token back for a place on the roster and a certificate.

        The same caller, proven by its identity key, may ask again: a reply can be lost on the way.

        Raises
        ------
        AuthenticationError
            ``UNKNOWN_TOKEN``, ``TOKEN_USED``, ``TOKEN_EXPIRED``, ``WRONG_TOKEN``, or where a proof does not hold.
        VersionError
            ``VERSIONS_APART``.
        """
        now = self._clock()
        with self._database.write() as connection:
            invite = connection.execute(select(invites).where(invites.c.id == peer.name)).first()
            invite = _checked_invite(invite, request, now)
            role = Role(invite.role)
            check_compatible(__version__, request.software, f"{role} {invite.name}")
            _check_proofs(role, request)
            again = _spend(connection, invite, request.identity_key, now)
            member = read_member(connection, invite.name)
            if again and (member is None or member.entry.state is State.REVOKED):
                # a lost reply may be fetched again, a place on the roster that was taken away may not
                raise _token_used()
            _check_name_free(member, invite.name, request.identity_key)
            chain = self._issue(role, request.certificate_request, invite.name, invite.country)
            issued = peer_of(chain)
            values = {
                "role": role.value,
                "country": invite.country,
                "identity_key": request.identity_key,
                "custodian_key": request.custodian_key,
                "serial": issued.serial,
                "previous_serial": "",
                "certificate_expires": nanoseconds(issued.expires_at),
                "state": State.ACTIVE.value,
                "enrolled_at": now,
                "revoked_at": 0,
                "last_contact": 0,
                "software": shown(request.software, most=64),
                "datasets": "",
            }
            if member is None:
                connection.execute(insert(members).values(name=invite.name, **values))
            else:
                connection.execute(update(members).where(members.c.name == invite.name).values(**values))
        self._roster.forget(invite.name)
        return self._reply(chain)

    def renew(self, peer: Peer, request: exchange_pb2.RenewRequest) -> exchange_pb2.EnrolReply:
        """A fresh certificate for a member; the one in use is accepted until the fresh one has been seen.

        Raises
        ------
        AuthenticationError
            Where the proof does not hold or the peer may not speak.
        """
        entry = self._roster.check(peer)
        check_proof(entry.identity_key, request.certificate_request, request.identity_proof)
        chain = self._issue(entry.role, request.certificate_request, entry.node, entry.country)
        issued = peer_of(chain)
        with self._database.write() as connection:
            connection.execute(
                update(members)
                .where(members.c.name == entry.node)
                .values(
                    serial=issued.serial,
                    previous_serial=peer.serial,
                    certificate_expires=nanoseconds(issued.expires_at),
                )
            )
        self._roster.forget(entry.node)
        return self._reply(chain)

    def _issue(self, role: Role, request_pem: bytes, name: str, country: str) -> bytes:
        if role is Role.NODE:
            return self._authority.issue_node(request_pem, name, country)
        return self._authority.issue_analyst(request_pem, name, country)

    def _reply(self, chain: bytes) -> exchange_pb2.EnrolReply:
        return exchange_pb2.EnrolReply(
            certificate_chain=chain,
            authority=self._authority.root_pem,
            coordinator_key=self._coordinator_key,
            software=__version__,
        )


def _checked_invite(
    invite: Row[tuple[object, ...]] | None, request: exchange_pb2.EnrolRequest, now: int
) -> Row[tuple[object, ...]]:
    if invite is None:
        raise AuthenticationError(
            "UNKNOWN_TOKEN",
            "the join token is not one that this coordinator gave out",
            "ask the team that runs the coordinator for a new one",
        )
    if not hmac.compare_digest(hashlib.sha256(request.secret).digest(), invite.secret_digest):
        raise AuthenticationError(
            "WRONG_TOKEN",
            "the join token's secret is not the one that was given out with it",
            "use the whole token as it was given, or ask for a new one",
        )
    if now > invite.expires_at:
        raise AuthenticationError(
            "TOKEN_EXPIRED",
            f"the join token was valid until {words(invite.expires_at)}; rule: a token is valid for 24 hours",
            "ask the team that runs the coordinator for a new one",
        )
    return invite


def _check_proofs(role: Role, request: exchange_pb2.EnrolRequest) -> None:
    check_proof(request.identity_key, request.certificate_request, request.identity_proof)
    if role is Role.NODE:
        check_proof(request.custodian_key, request.certificate_request, request.custodian_proof)
        if request.custodian_key == request.identity_key:
            raise AuthenticationError(
                "ONE_KEY_FOR_TWO",
                "identity key and custodian's key are the same; rule: a node and its custodian sign apart",
                "make the keys with: isthmus-node join",
            )


def _spend(connection: Connection, invite: Row[tuple[object, ...]], identity_key: bytes, now: int) -> bool:
    """Use the token up, at once for everybody; True where the same caller had done so before."""
    spent = connection.execute(
        update(invites)
        .where(invites.c.id == invite.id, invites.c.used_at.is_(None))
        .values(used_at=now, used_by=identity_key)
    )
    if spent.rowcount == 1:
        return False
    used_by = connection.execute(select(invites.c.used_by).where(invites.c.id == invite.id)).scalar_one()
    if used_by is None or not hmac.compare_digest(used_by, identity_key):
        raise _token_used()
    return True


def _token_used() -> AuthenticationError:
    return AuthenticationError(
        "TOKEN_USED",
        "the join token has been used; rule: a token is used once",
        "ask the team that runs the coordinator for a new one; if nobody here used it, tell them so",
    )


def _check_name_free(member: Member | None, name: str, identity_key: bytes) -> None:
    if member is not None and member.entry.state is State.ACTIVE and member.entry.identity_key != identity_key:
        raise UsageError(
            "MEMBER_EXISTS",
            f"{name!r} is on the roster already; rule: a name belongs to one member at a time",
            f"choose another name, or first: isthmus-coordinator revoke {name}; "
            "for a member that kept its keys and whose certificate expired: invite with --again",
        )
