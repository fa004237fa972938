"""Studies and decisions in the store: proposing, looking up, deciding, and who is still to decide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Row, func, insert, select
from sqlalchemy.engine import Connection

from isthmus.errors import AuthenticationError, Refused, UsageError
from isthmus.v1 import study_pb2
from isthmus_coordinator.clock import Clock
from isthmus_coordinator.roster.members import Roster
from isthmus_coordinator.store.database import Database
from isthmus_coordinator.store.tables import decisions, studies
from isthmus_coordinator.studies.proposals import FindMethod, check_study
from isthmus_methods.validate import nearest
from isthmus_trust.bounds import check_study as check_bounds
from isthmus_trust.certificates import Peer
from isthmus_trust.documents import DECISION, STUDY, canonical, digest, open_signed


@dataclass(frozen=True, slots=True)
class StoredStudy:
    """A study as its author signed it."""

    digest: bytes
    signed: study_pb2.Signed
    study: study_pb2.Study
    author: str
    proposed_at: int


class Studies:
    """All studies this coordinator was given. Documents are opened once and kept: their bytes never change."""

    def __init__(self, database: Database, roster: Roster, find_method: FindMethod, clock: Clock) -> None:
        self._database = database
        self._roster = roster
        self._find_method = find_method
        self._clock = clock
        self._opened: dict[bytes, StoredStudy] = {}

    def propose(self, author: Peer, signed: study_pb2.Signed) -> StoredStudy:
        """Take in a study, or a new version of one; the same bytes again change nothing.

        Raises
        ------
        AuthenticationError
            Where it is not signed by the identity key of the one who proposes it.
        UsageError
            ``OLD_VERSION`` unless its version is above the newest, or what `check_study` says.
        Refused
            As `check_study`.
        """
        entry = self._roster.check(author)
        study = open_signed(signed, STUDY, study_pb2.Study, entry.identity_key)
        check_bounds(study)
        name = digest(signed.body)
        known = self.find(name)
        if known is not None:
            return known
        check_study(study, self._roster.find, self._find_method)
        with self._database.write() as connection:
            newest = connection.execute(
                select(func.max(studies.c.version)).where(studies.c.name == study.name)
            ).scalar_one()
            if newest is not None and study.version <= newest:
                raise UsageError(
                    "OLD_VERSION",
                    f"study {study.name} is here in version {newest}; rule: an amendment has a higher version",
                    f"propose it as version {newest + 1}",
                )
            connection.execute(
                insert(studies).values(
                    digest=name,
                    name=study.name,
                    version=study.version,
                    author=entry.node,
                    signed=canonical(signed),
                    proposed_at=self._clock(),
                )
            )
        return self.get(name)

    def find(self, study_digest: bytes) -> StoredStudy | None:
        """The study of that digest."""
        if study_digest not in self._opened:
            with self._database.read() as connection:
                row = connection.execute(select(studies).where(studies.c.digest == study_digest)).first()
            if row is None:
                return None
            self._opened[study_digest] = _stored(row)
        return self._opened[study_digest]

    def get(self, study_digest: bytes) -> StoredStudy:
        """The study of that digest; `UsageError` ``UNKNOWN_STUDY`` where there is none."""
        stored = self.find(study_digest)
        if stored is None:
            raise UsageError(
                "UNKNOWN_STUDY",
                "there is no study of this digest at the coordinator",
                "see the studies with: isthmus studies",
            )
        return stored

    def named(self, name: str, version: int = 0) -> StoredStudy:
        """The study of a name, in a version or (0) the newest; `UsageError` ``UNKNOWN_STUDY`` otherwise."""
        query = select(studies).where(studies.c.name == name).order_by(studies.c.version.desc())
        if version:
            query = query.where(studies.c.version == version)
        with self._database.read() as connection:
            row = connection.execute(query.limit(1)).first()
            known = connection.execute(select(studies.c.name).distinct()).scalars().all() if row is None else ()
        if row is None:
            wanted = f"study {name!r} in version {version}" if version else f"study {name!r}"
            raise UsageError(
                "UNKNOWN_STUDY",
                f"there is no {wanted} at the coordinator{nearest(name, (k for k in known if k != name))}",
                "see the studies with: isthmus studies",
            )
        return self._opened.setdefault(row.digest, _stored(row))

    def all(self) -> list[StoredStudy]:
        """Every version of every study, by name and version."""
        with self._database.read() as connection:
            rows = connection.execute(select(studies).order_by(studies.c.name, studies.c.version)).all()
        return [self._opened.setdefault(row.digest, _stored(row)) for row in rows]

    def decide(self, peer: Peer, signed: study_pb2.Signed) -> StoredStudy:
        """Take in a custodian's decision; the newest decision of a site holds.

        Raises
        ------
        AuthenticationError
            Where the custodian's key of the study did not sign it, or it is another node's.
        Refused
            ``NOT_A_PARTICIPANT``, ``OLD_DECISION`` (a newer one is known: a replay changes nothing).
        """
        decision = open_signed(signed, DECISION, study_pb2.Decision)
        if decision.node != peer.name:
            raise AuthenticationError(
                "FOREIGN_DECISION",
                f"node {peer.name} brought a decision of {decision.node!r}; rule: a node speaks for itself only",
                "decide at the site whose decision it is",
            )
        stored = self.get(decision.study_digest)
        participant = next((p for p in stored.study.participants if p.node == peer.name), None)
        if participant is None:
            raise Refused(
                "NOT_A_PARTICIPANT",
                f"node {peer.name} does not take part in study {stored.study.name} version {stored.study.version}",
                "decide on studies this site takes part in",
            )
        open_signed(signed, DECISION, study_pb2.Decision, participant.custodian_key)
        body = canonical(signed)
        with self._database.write() as connection:
            newest = _decisions(connection, stored.digest).get(peer.name)
            if newest is not None and newest.signed == body:
                return stored
            if newest is not None and decision.decided_at <= newest.decided_at:
                raise Refused(
                    "OLD_DECISION",
                    f"a newer decision of node {peer.name} on this study is known here; rule: the newest holds",
                    "decide again at the site",
                )
            connection.execute(
                insert(decisions).values(
                    study_digest=stored.digest,
                    node=peer.name,
                    decided_at=decision.decided_at,
                    approved=decision.approved,
                    signed=body,
                    received_at=self._clock(),
                )
            )
        return stored

    def standing(self, study_digest: bytes) -> dict[str, bool]:
        """For each node that decided: whether it approved."""
        with self._database.read() as connection:
            return {node: row.approved for node, row in _decisions(connection, study_digest).items()}

    def awaiting(self, node: str) -> list[StoredStudy]:
        """Studies in their newest version that the node takes part in and has not decided on."""
        newest: dict[str, StoredStudy] = {}
        for stored in self.all():
            newest[stored.study.name] = stored
        return [
            stored
            for stored in newest.values()
            if any(p.node == node for p in stored.study.participants) and node not in self.standing(stored.digest)
        ]


def decision_words(standing: Mapping[str, bool], node: str) -> str:
    """``approved``, ``refused`` or ``waiting``."""
    if node not in standing:
        return "waiting"
    return "approved" if standing[node] else "refused"


def _decisions(connection: Connection, study_digest: bytes) -> dict[str, Row[tuple[object, ...]]]:
    """The newest decision of each node."""
    rows = connection.execute(
        select(decisions).where(decisions.c.study_digest == study_digest).order_by(decisions.c.decided_at)
    ).all()
    return {row.node: row for row in rows}


def _stored(row: Row[tuple[object, ...]]) -> StoredStudy:
    signed = study_pb2.Signed.FromString(row.signed)
    return StoredStudy(row.digest, signed, study_pb2.Study.FromString(signed.body), row.author, row.proposed_at)
