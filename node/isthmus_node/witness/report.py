"""Where witnessing stands, for `status`, `check` and the journal's commands: of this node's journal and of others'."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from isthmus.v1 import journal_pb2
from isthmus_node.config import NodeConfig
from isthmus_node.public_keys import read_public
from isthmus_node.shelf import Shelf
from isthmus_node.witness.known import COORDINATOR, RosterFile, known_keys
from isthmus_node.witness.own import Checkpoints, cosigners
from isthmus_node.witness.seen import Seen, stands_refused
from isthmus_node.witness.work import ENOUGH
from isthmus_trust.checkpoints import read_checkpoint
from isthmus_trust.identity import IdentityKey


@dataclass(frozen=True, slots=True)
class Own:
    """This node's newest checkpoint: how many records, when, who co-signed it, and who refused."""

    records: int  # 0: no checkpoint yet
    made_at: str
    witnesses: tuple[str, ...]
    refused: tuple[str, ...]  # in words

    @property
    def missing(self) -> str:
        """Who has still to see it, in words; empty where nobody has."""
        others = len([name for name in self.witnesses if name != COORDINATOR])
        parts = [] if COORDINATOR in self.witnesses else [COORDINATOR]
        if others < ENOUGH:
            parts.append(f"{ENOUGH - others} other node{'s' if ENOUGH - others > 1 else ''}")
        return " and ".join(parts)

    def words(self) -> str:
        """One line."""
        if not self.records:
            return "journal: no checkpoint yet; one is signed and co-signed by others at the end of each run"
        seen = ", ".join(self.witnesses) or "nobody"
        later = f"; still to see it: {self.missing}" if self.missing else ""
        return f"journal: checkpoint of {self.records} records of {self.made_at}, seen by {seen}{later}"

    def as_json(self) -> dict[str, object]:
        return {
            "records": self.records,
            "made_at": self.made_at,
            "witnesses": list(self.witnesses),
            "missing": self.missing,
            "refused": list(self.refused),
        }


@dataclass(frozen=True, slots=True)
class Other:
    """What this node has seen of another's journal, and what it refused."""

    node: str
    key: bytes
    records: int
    seen_at: str
    code: str  # why a later checkpoint was refused; empty where none was
    refused_at: str
    stands: bool  # nothing has followed since

    def words(self) -> str:
        """One line."""
        line = f"witness of {self.node}: {self.records} records, seen {self.seen_at}"
        if self.code:
            line += (
                f"; {'REFUSED' if self.stands else 'refused once, and it follows again'} {self.refused_at}: {self.code}"
            )
        return line

    def as_json(self) -> dict[str, object]:
        return {
            "node": self.node,
            "key": self.key.hex(),
            "records": self.records,
            "seen_at": self.seen_at,
            "refused": self.code,
            "refused_at": self.refused_at,
            "stands_refused": self.stands,
        }


def own_of(config: NodeConfig) -> Own:
    """How far this node's own journal has been seen. Raises `ConfigError` where what it keeps is damaged."""
    home = config.home
    coordinator = read_public(home.coordinator_key)
    own = Checkpoints(home.checkpoints, config.name, IdentityKey.load(home.identity_key).public)
    roster = RosterFile(home.roster, coordinator).read()
    names = known_keys(coordinator, Shelf(home.studies).everything(), roster[1] if roster else None)
    refused = tuple(
        f"{said.witness} has seen {read_checkpoint(said.seen).tree_size} records, and this journal does not begin with "
        f"them: {said.code}"
        for said in own.refusals()
    )
    newest = own.newest()
    if newest is None:
        return Own(0, "", (), refused)
    checkpoint = read_checkpoint(newest.checkpoint)
    return Own(checkpoint.tree_size, _when(checkpoint.made_at), tuple(cosigners(newest, names)), refused)


def others_of(config: NodeConfig) -> list[Other]:
    """What this node has seen of others. Raises `ConfigError` where what it keeps is damaged."""
    return [_other(witnessed) for witnessed in Seen(config.home.witnessed).everything()]


def seen_of(config: NodeConfig, other: Other) -> journal_pb2.Witnessed:
    """The checkpoint itself, with this node's cosignature."""
    return Seen(config.home.witnessed).get(other.key) or journal_pb2.Witnessed()


def _other(witnessed: journal_pb2.Witnessed) -> Other:
    checkpoint = read_checkpoint(witnessed.checkpoint)
    seen_at = max((journal_pb2.Cosignature.FromString(s.body).seen_at for s in witnessed.cosignatures), default=0)
    return Other(
        checkpoint.node,
        witnessed.checkpoint.public_key,
        checkpoint.tree_size,
        _when(seen_at),
        witnessed.refused_code,
        _when(witnessed.refused_at),
        stands_refused(witnessed),
    )


def _when(nanoseconds: int) -> str:
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S") if nanoseconds else ""
