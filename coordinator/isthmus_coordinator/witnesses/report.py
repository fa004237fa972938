"""What was seen of each node's journal, by whom, and what was refused: for the commands of the coordinating team."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import inspect

from isthmus.v1 import journal_pb2
from isthmus_coordinator.clock import words
from isthmus_coordinator.store.database import Database
from isthmus_coordinator.witnesses import records
from isthmus_trust.checkpoints import to_line


@dataclass(frozen=True, slots=True)
class Refusal:
    """A witness's refusal of a checkpoint; nothing has followed since."""

    witness: str
    code: str
    records: int  # of the checkpoint that was refused
    at: int  # UTC, nanoseconds since 1970


@dataclass(frozen=True, slots=True)
class Standing:
    """One node's journal, by the key that signs for it."""

    node: str
    key: bytes
    digest: bytes  # of the last checkpoint that the coordinator agreed to; empty where there is none
    records: int
    seen_at: int  # UTC, nanoseconds since 1970
    witnesses: tuple[str, ...]
    refusals: tuple[Refusal, ...]

    def words(self) -> str:
        """One line."""
        seen = ", ".join(self.witnesses) or "nobody"
        line = f"{self.node}: {self.records} records, seen {words(self.seen_at)} by {seen}"
        said = (f"{r.witness} REFUSED {r.records} records {words(r.at)}: {r.code}" for r in self.refusals)
        return "; ".join((line, *said))

    def as_json(self) -> dict[str, object]:
        return {
            "node": self.node,
            "key": self.key.hex(),
            "records": self.records,
            "seen_at": words(self.seen_at),
            "witnesses": list(self.witnesses),
            "refusals": [
                {"witness": r.witness, "code": r.code, "records": r.records, "at": words(r.at)} for r in self.refusals
            ],
        }


def standings(database: Database) -> list[Standing]:
    """Every journal that was shown here, by the node's name; none where the store is of a release without witnesses."""
    with database.read() as connection:
        if not inspect(connection).has_table("checkpoints"):
            return []
        found = []
        for newest in records.newest_of_each(connection):
            agreed = records.agreed_last(connection, newest.identity_key)
            said = records.words_about(connection, agreed.digest) if agreed else []
            since = agreed.received_at if agreed else 0
            refused = records.refusals_since(connection, newest.identity_key, since)
            found.append(
                Standing(
                    newest.node,
                    newest.identity_key,
                    agreed.digest if agreed else b"",
                    agreed.tree_size if agreed else 0,
                    since,
                    tuple(word.witness for word in said if not word.code),
                    tuple(Refusal(word.witness, word.code, size, word.received_at) for size, word in refused),
                )
            )
        return found


def line_of(database: Database, standing: Standing) -> str:
    """The last checkpoint that the coordinator agreed to, with all cosignatures, as text for people."""
    with database.read() as connection:
        shown = records.find_checkpoint(connection, standing.digest)
        said = records.words_about(connection, standing.digest)
    witnessed = journal_pb2.Witnessed(cosignatures=[word.said.cosignature for word in said if not word.code])
    if shown is not None:
        witnessed.checkpoint.CopyFrom(shown.signed)
    return to_line(witnessed)
