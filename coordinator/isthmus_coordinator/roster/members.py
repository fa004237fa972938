"""The roster as the store has it, and the one check whether a peer may speak now."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Row, select, update
from sqlalchemy.engine import Connection

from isthmus.errors import AuthenticationError, UsageError
from isthmus.untrusted import shown
from isthmus_coordinator.clock import SECOND, Clock, moment, words
from isthmus_coordinator.store.database import Database
from isthmus_coordinator.store.tables import members
from isthmus_trust.certificates import Peer, Role
from isthmus_trust.roster import RosterEntry, State


@dataclass(frozen=True, slots=True)
class Member:
    """An entry of the roster with what the store knows beside it."""

    entry: RosterEntry
    previous_serial: str
    certificate_expires: int  # UTC nanoseconds
    enrolled_at: int
    revoked_at: int  # 0: never
    last_contact: int  # 0: never
    software: str
    datasets: tuple[str, ...]


# How long `check` may go by what it read last, in nanoseconds: another process may take somebody off at any time.
FRESH = SECOND // 5


class Roster:
    """Who is on the roster. What this process changes holds at once, what another changes within `FRESH`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        # name -> when it was read, and what
        self._read: dict[str, tuple[int, Member]] = {}

    def check(self, peer: Peer) -> RosterEntry:
        """The peer's entry, if it may speak now.

        Raises
        ------
        AuthenticationError
            ``CERTIFICATE_EXPIRED``, ``NOT_ON_ROSTER``, or an error of `RosterEntry.check_peer`.
        """
        now = moment(self._clock())
        if now > peer.expires_at:
            raise AuthenticationError(
                "CERTIFICATE_EXPIRED",
                f"the certificate of {peer.role} {peer.name} expired on {peer.expires_at:%Y-%m-%d %H:%M} UTC; "
                f"it is now {now:%Y-%m-%d %H:%M} UTC at the coordinator",
                "enrol again with a new token; if one of the two clocks is wrong, set it",
            )
        member = self._recent(peer.name)
        if member is None or peer.role not in (Role.NODE, Role.ANALYST):
            raise AuthenticationError(
                "NOT_ON_ROSTER",
                f"{peer.role} {peer.name} is not on this coordinator's roster",
                "join with a token of this coordinator",
            )
        entry = member.entry
        if member.previous_serial:
            if peer.serial == member.previous_serial:
                # its newest certificate has not been seen yet: the reply that brought it may have been lost
                entry = RosterEntry(
                    entry.node,
                    entry.country,
                    entry.identity_key,
                    entry.custodian_key,
                    entry.role,
                    peer.serial,
                    entry.state,
                )
            elif peer.serial == entry.serial:
                self._forget_previous(peer.name, peer.serial)
        entry.check_peer(peer)
        return entry

    def _recent(self, name: str) -> Member | None:
        now = self._clock()
        read_at, member = self._read.get(name, (0, None))
        if member is None or not 0 <= now - read_at < FRESH:
            member = self.find(name)
            if member is not None:
                self._read[name] = (now, member)
        return member

    def forget(self, name: str) -> None:
        """A member was changed: the next check reads it anew."""
        self._read.pop(name, None)

    def _forget_previous(self, name: str, serial: str) -> None:
        with self._database.write() as connection:
            connection.execute(
                update(members).where(members.c.name == name, members.c.serial == serial).values(previous_serial="")
            )
        self.forget(name)

    def find(self, name: str) -> Member | None:
        """The member of that name, active or revoked."""
        with self._database.read() as connection:
            return read_member(connection, name)

    def get(self, name: str) -> Member:
        """The member of that name; `UsageError` ``UNKNOWN_MEMBER`` where there is none."""
        member = self.find(name)
        if member is None:
            raise UsageError(
                "UNKNOWN_MEMBER",
                f"there is no {name!r} on the roster",
                "see the names with: isthmus-coordinator roster",
            )
        return member

    def all(self) -> list[Member]:
        """Everybody, by role and name."""
        with self._database.read() as connection:
            rows = connection.execute(select(members).order_by(members.c.role, members.c.name)).all()
        return [_member(row) for row in rows]

    def revoke(self, name: str) -> Member:
        """Take a member off; its next message is refused. Doing it again changes nothing."""
        member = self.get(name)
        if member.entry.state is State.ACTIVE:
            with self._database.write() as connection:
                connection.execute(
                    update(members)
                    .where(members.c.name == name)
                    .values(state=State.REVOKED.value, revoked_at=self._clock())
                )
            self.forget(name)
        return self.get(name)

    def revoked(self, names: Iterable[str]) -> set[str]:
        """Those of the names that are not, or no longer, active."""
        wanted = set(names)
        with self._database.read() as connection:
            active = connection.execute(
                select(members.c.name).where(members.c.name.in_(wanted), members.c.state == State.ACTIVE.value)
            ).scalars()
            return wanted - set(active)

    def seen(self, name: str, software: str | None = None, datasets: Iterable[str] | None = None) -> None:
        """A node is in contact: remember when, and what it said of itself."""
        values: dict[str, object] = {"last_contact": self._clock()}
        if software is not None:
            values["software"] = shown(software, most=64)
        if datasets is not None:
            values["datasets"] = "\n".join(shown(name, most=128) for name in datasets)
        with self._database.write() as connection:
            connection.execute(update(members).where(members.c.name == name).values(**values))


def read_member(connection: Connection, name: str) -> Member | None:
    """The member of that name, within a transaction."""
    row = connection.execute(select(members).where(members.c.name == name)).first()
    return None if row is None else _member(row)


def _member(row: Row[tuple[object, ...]]) -> Member:
    return Member(
        entry=RosterEntry(
            node=row.name,
            country=row.country,
            identity_key=row.identity_key,
            custodian_key=row.custodian_key,
            role=Role(row.role),
            serial=row.serial,
            state=State(row.state),
        ),
        previous_serial=row.previous_serial,
        certificate_expires=row.certificate_expires,
        enrolled_at=row.enrolled_at,
        revoked_at=row.revoked_at,
        last_contact=row.last_contact,
        software=row.software,
        datasets=tuple(row.datasets.split("\n")) if row.datasets else (),
    )


def state_words(member: Member) -> str:
    """Where a member stands, for people."""
    if member.entry.state is State.REVOKED:
        return f"revoked {words(member.revoked_at)}"
    return "active"
