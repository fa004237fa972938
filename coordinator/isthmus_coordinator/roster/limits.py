"""What the nodes told of their policies, as they signed it: for planning. Each enforces its own, whatever it told."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import delete, insert, select

from isthmus.errors import AuthenticationError, UsageError
from isthmus.v1 import study_pb2
from isthmus_coordinator.clock import Clock
from isthmus_coordinator.store.database import Database
from isthmus_coordinator.store.tables import stated_limits
from isthmus_trust.documents import LIMITS, canonical, open_signed, read_canonical
from isthmus_trust.roster import RosterEntry

# Bytes that a node may tell: every purpose to every recipient is less than half of it.
MAX_BYTES = 256 << 10


class PolicyLimits:
    """The newest that each node told."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def take(self, entry: RosterEntry, signed: study_pb2.Signed | None) -> None:
        """Keep what a node told as it attached; None: no policy is in force there.

        Raises
        ------
        AuthenticationError
            Where it is not signed with the node's key, or is of another node.
        UsageError
            ``LIMITS_TOO_LARGE``.
        """
        if signed is not None:
            if len(signed.body) > MAX_BYTES:
                raise UsageError(
                    "LIMITS_TOO_LARGE",
                    f"node {entry.node} told more of its policy than is taken; rule: at most {MAX_BYTES} bytes",
                    "use a node of this release",
                )
            stated = open_signed(signed, LIMITS, study_pb2.StatedLimits, entry.identity_key)
            if stated.node != entry.node:
                raise AuthenticationError(
                    "LIMITS_OF_ANOTHER",
                    f"node {entry.node} told what another node's policy asks for",
                    "use a node of this release",
                )
        with self._database.write() as connection:
            connection.execute(delete(stated_limits).where(stated_limits.c.node == entry.node))
            if signed is not None:
                connection.execute(
                    insert(stated_limits).values(node=entry.node, signed=canonical(signed), told_at=self._clock())
                )

    def find(self, nodes: Iterable[str]) -> dict[str, study_pb2.StatedLimits]:
        """What these nodes told, by their names; those that told nothing are left out."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(stated_limits.c.node, stated_limits.c.signed).where(stated_limits.c.node.in_(list(nodes)))
            ).all()
        return {
            row.node: read_canonical(read_canonical(row.signed, study_pb2.Signed).body, study_pb2.StatedLimits)
            for row in rows
        }
