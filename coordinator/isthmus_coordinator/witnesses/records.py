"""Checkpoints and what witnesses said to them, as the store has them."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, Row, delete, func, insert, select

from isthmus.v1 import exchange_pb2, study_pb2
from isthmus_coordinator.store.tables import checkpoints, witness_sizes, witness_words
from isthmus_trust.checkpoints import Verdict


@dataclass(frozen=True, slots=True)
class Shown:
    """A checkpoint that was shown here. `code` is empty where it was agreed to."""

    digest: bytes
    node: str
    identity_key: bytes
    tree_size: int
    signed: study_pb2.Signed
    code: str
    received_at: int  # UTC, nanoseconds since 1970


@dataclass(frozen=True, slots=True)
class Word:
    """What a witness said to a checkpoint. `code` is empty where it co-signed."""

    witness: str
    witness_key: bytes
    code: str
    said: exchange_pb2.WitnessSaid
    received_at: int  # UTC, nanoseconds since 1970


def find_checkpoint(connection: Connection, digest: bytes) -> Shown | None:
    """The checkpoint of that digest."""
    row = connection.execute(select(checkpoints).where(checkpoints.c.digest == digest)).first()
    return None if row is None else _shown(row)


def agreed_last(connection: Connection, identity_key: bytes) -> Shown | None:
    """The largest checkpoint of a key that was agreed to."""
    query = select(checkpoints).where(checkpoints.c.identity_key == identity_key, checkpoints.c.code == "")
    row = connection.execute(query.order_by(checkpoints.c.tree_size.desc()).limit(1)).first()
    return None if row is None else _shown(row)


def newest_of_each(connection: Connection) -> list[Shown]:
    """For each key the checkpoint that was shown last, agreed to or not, by the node's name."""
    last = select(checkpoints.c.identity_key, func.max(checkpoints.c.received_at).label("at"))
    each = last.group_by(checkpoints.c.identity_key).subquery()
    query = select(checkpoints).join(
        each, (checkpoints.c.identity_key == each.c.identity_key) & (checkpoints.c.received_at == each.c.at)
    )
    newest = {row.identity_key: _shown(row) for row in connection.execute(query)}
    return sorted(newest.values(), key=lambda shown: (shown.node, shown.received_at))


def insert_checkpoint(connection: Connection, shown: Shown, signed: bytes) -> None:
    """Keep a checkpoint."""
    connection.execute(
        insert(checkpoints).values(
            digest=shown.digest,
            node=shown.node,
            identity_key=shown.identity_key,
            tree_size=shown.tree_size,
            signed=signed,
            code=shown.code,
            received_at=shown.received_at,
        )
    )


def words_about(connection: Connection, digest: bytes) -> list[Word]:
    """What was said to a checkpoint, in the order in which it came."""
    query = select(witness_words).where(witness_words.c.checkpoint == digest).order_by(witness_words.c.received_at)
    return [_word(row) for row in connection.execute(query)]


def refusals_since(connection: Connection, identity_key: bytes, since: int) -> list[tuple[int, Word]]:
    """Refusals of checkpoints of a key that were shown at that time or later, each with the checkpoint's size."""
    query = (
        select(witness_words, checkpoints.c.tree_size)
        .join(checkpoints, witness_words.c.checkpoint == checkpoints.c.digest)
        .where(
            checkpoints.c.identity_key == identity_key,
            checkpoints.c.received_at >= since,
            witness_words.c.code.in_([Verdict.CUT_BACK.value, Verdict.REPLACED.value]),
        )
        .order_by(witness_words.c.received_at)
    )
    return [(row.tree_size, _word(row)) for row in connection.execute(query)]


def save_word(connection: Connection, digest: bytes, word: Word, said: bytes) -> None:
    """Keep what a witness said; its later word takes the place of its earlier one."""
    where = (witness_words.c.checkpoint == digest, witness_words.c.witness_key == word.witness_key)
    connection.execute(delete(witness_words).where(*where))
    connection.execute(
        insert(witness_words).values(
            checkpoint=digest,
            witness_key=word.witness_key,
            witness=word.witness,
            code=word.code,
            said=said,
            received_at=word.received_at,
        )
    )


def sizes_seen(connection: Connection, identity_key: bytes) -> dict[bytes, int]:
    """Number of records of a journal that each witness, by its key, had seen when it last spoke."""
    rows = connection.execute(select(witness_sizes).where(witness_sizes.c.identity_key == identity_key))
    return {row.witness_key: row.tree_size for row in rows}


def save_size(connection: Connection, identity_key: bytes, witness_key: bytes, size: int) -> None:
    """Note how much a witness has seen."""
    where = (witness_sizes.c.identity_key == identity_key, witness_sizes.c.witness_key == witness_key)
    connection.execute(delete(witness_sizes).where(*where))
    connection.execute(insert(witness_sizes).values(identity_key=identity_key, witness_key=witness_key, tree_size=size))


def _word(row: Row[tuple[object, ...]]) -> Word:
    said = exchange_pb2.WitnessSaid.FromString(row.said)
    return Word(row.witness, row.witness_key, row.code, said, row.received_at)


def _shown(row: Row[tuple[object, ...]]) -> Shown:
    return Shown(
        row.digest,
        row.node,
        row.identity_key,
        row.tree_size,
        study_pb2.Signed.FromString(row.signed),
        row.code,
        row.received_at,
    )
