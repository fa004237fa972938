"""The checkpoints of this node's own journal, each with the witnesses that saw it, kept beside the journal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from google.protobuf.message import DecodeError

from isthmus.errors import AuthenticationError, ConfigError
from isthmus.untrusted import file_part
from isthmus.v1 import exchange_pb2, journal_pb2, study_pb2
from isthmus_trust.checkpoints import Verdict, read_checkpoint, read_cosignature, sign_checkpoint
from isthmus_trust.documents import canonical, digest
from isthmus_trust.identity import IdentityKey
from isthmus_trust.key_files import replace

_SUFFIX = ".checkpoint"
_REFUSED = ".refused"
# Checkpoints that a late cosignature is looked for among.
_RECENT = 16


class Tree(Protocol):
    """What a journal shows of itself: the root of every size it had."""

    def root(self, size: int) -> bytes: ...


class Checkpoints:
    """One file for each checkpoint, by the number of its records.

    Parameters
    ----------
    folder
        Where they are kept; made with the first.
    node, identity
        Name of the node, and the public key that signs its checkpoints.
    """

    def __init__(self, folder: Path, node: str, identity: bytes) -> None:
        self._folder = folder
        self._node = node
        self._identity = identity

    def sizes(self) -> list[int]:
        """Numbers of records of all checkpoints, ascending."""
        names = [path.name.removesuffix(_SUFFIX) for path in self._folder.glob(f"*{_SUFFIX}")]
        return sorted(int(name) for name in names if name.isascii() and name.isdigit())

    def get(self, size: int) -> journal_pb2.Witnessed:
        """The checkpoint of that many records, every signature in it checked.

        Raises
        ------
        ConfigError
            ``CHECKPOINT_DAMAGED`` where it is not what this node and its witnesses signed.
        """
        path = self._path(size)
        witnessed = journal_pb2.Witnessed()
        try:
            witnessed.ParseFromString(path.read_bytes())
            checkpoint = read_checkpoint(witnessed.checkpoint, self._identity)
            for signed in witnessed.cosignatures:
                read_cosignature(signed, witnessed.checkpoint)
        except (OSError, DecodeError, AuthenticationError) as error:
            raise _damaged(path) from error
        if (checkpoint.tree_size, checkpoint.node) != (size, self._node):
            raise _damaged(path)
        return witnessed

    def everything(self) -> Iterator[journal_pb2.Witnessed]:
        """All checkpoints by their number of records. Raises as `get`."""
        for size in self.sizes():
            yield self.get(size)

    def newest(self) -> journal_pb2.Witnessed | None:
        """The one of most records; None before the first. Raises as `get`."""
        sizes = self.sizes()
        return self.get(sizes[-1]) if sizes else None

    def make(self, key: IdentityKey, size: int, root: bytes, now: int) -> journal_pb2.Witnessed:
        """The checkpoint of the journal as it stands: a new one where it has grown since the last.

        Parameters
        ----------
        size, root
            Of the journal, all of it on the disk.
        now
            UTC, nanoseconds since 1970.
        """
        newest = self.newest()
        made_at = now
        if newest is not None:
            last = read_checkpoint(newest.checkpoint)
            if (last.tree_size, last.root) == (size, root):
                return newest
            # a clock that was set back must not make a true journal look like an older copy
            made_at = max(now, last.made_at + 1)
        made = journal_pb2.Witnessed(checkpoint=sign_checkpoint(key, self._node, size, root, made_at))
        replace(self._path(size), canonical(made))
        return made

    def add(self, checkpoint: bytes, cosignature: study_pb2.Signed) -> bool:
        """Keep a cosignature with the checkpoint of that digest; whether there is one and it is new.

        Raises as `get`, or as `read_cosignature`. A word about a checkpoint that is long superseded is let go.
        """
        for size in reversed(self.sizes()[-_RECENT:]):
            witnessed = self.get(size)
            if digest(witnessed.checkpoint.body) == checkpoint:
                break
        else:
            return False
        read_cosignature(cosignature, witnessed.checkpoint)
        # who refused before agrees now: the journal that was seen is back
        witness = journal_pb2.Cosignature.FromString(cosignature.body).witness
        self._refusal(witness).unlink(missing_ok=True)
        if any(kept.public_key == cosignature.public_key for kept in witnessed.cosignatures):
            return False
        witnessed.cosignatures.append(cosignature)
        replace(self._path(size), canonical(witnessed))
        return True

    def note_refusal(self, said: exchange_pb2.WitnessSaid) -> None:
        """Keep a witness's refusal, until it co-signs again."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace(self._refusal(said.witness), canonical(said))

    def refusals(self) -> list[exchange_pb2.WitnessSaid]:
        """Refusals that stand, each with the checkpoint of this node that its witness has seen.

        Raises
        ------
        ConfigError
            ``CHECKPOINT_DAMAGED``.
        """
        found = []
        for path in sorted(self._folder.glob(f"*{_REFUSED}")):
            said = exchange_pb2.WitnessSaid()
            try:
                said.ParseFromString(path.read_bytes())
                read_checkpoint(said.seen, self._identity)
            except (OSError, DecodeError, AuthenticationError) as error:
                raise _damaged(path) from error
            found.append(said)
        return found

    def _refusal(self, witness: str) -> Path:
        return self._folder / f"{file_part(witness)}{_REFUSED}"

    def check_newest(self, records: int, tree: Tree) -> None:
        """Hold a journal against the newest checkpoint only, which stands for those before it. Raises as `check`."""
        newest = self.newest()
        if newest is not None:
            hold_against(records, tree, read_checkpoint(newest.checkpoint), "this node itself")

    def check(self, records: int, tree: Tree) -> None:
        """Hold a journal against every checkpoint that this node has signed.

        Raises
        ------
        ConfigError
            ``JOURNAL_CUT_BACK``, ``JOURNAL_REPLACED`` or ``CHECKPOINT_DAMAGED``.
        """
        for witnessed in self.everything():
            hold_against(records, tree, read_checkpoint(witnessed.checkpoint), "this node itself")

    def _path(self, size: int) -> Path:
        return self._folder / f"{size:012}{_SUFFIX}"


def hold_against(records: int, tree: Tree, seen: journal_pb2.Checkpoint, whose: str) -> None:
    """Raise `ConfigError` unless a journal of so many records begins with the one that a checkpoint was made of."""
    if seen.tree_size > records:
        raise ConfigError(
            Verdict.CUT_BACK.value,
            f"the journal has {records} records, and {whose} has seen {seen.tree_size}: it was cut back or replaced "
            "by an older copy; rule: a journal only grows",
            _REMEDY,
        )
    if tree.root(seen.tree_size) != seen.root:
        raise ConfigError(
            Verdict.REPLACED.value,
            f"the journal's first {seen.tree_size} records are not those that {whose} has seen; "
            "rule: a journal is never changed",
            _REMEDY,
        )


_REMEDY = (
    "keep this file as it is for the inquiry, and put the newest journal back from where it was moved to; "
    "if it is lost, tell the custodian, the coordinating team and the witnesses"
)


def _damaged(path: Path) -> ConfigError:
    return ConfigError(
        "CHECKPOINT_DAMAGED",
        f"{path} is not a checkpoint as this node and its witnesses signed it",
        "keep the file for the inquiry, and restore it from the backup; witnesses have theirs",
    )


def cosigners(witnessed: journal_pb2.Witnessed, names: dict[bytes, str]) -> list[str]:
    """Who saw a checkpoint, by name, of those whose keys are known here."""
    return sorted(names[signed.public_key] for signed in witnessed.cosignatures if signed.public_key in names)
