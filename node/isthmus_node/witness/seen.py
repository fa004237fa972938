"""What this node, as a witness, has seen of other nodes' journals: the last checkpoint of each that it agreed to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from google.protobuf.message import DecodeError

from isthmus.errors import AuthenticationError, ConfigError
from isthmus.v1 import journal_pb2, study_pb2
from isthmus_trust.checkpoints import Verdict, read_checkpoint, read_cosignature
from isthmus_trust.documents import canonical
from isthmus_trust.key_files import replace

_SUFFIX = ".seen"


class Seen:
    """One file for each identity key: a node that comes with a new key begins anew, and its old file stays."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, key: bytes) -> journal_pb2.Witnessed | None:
        """What was seen of the node with that key (32 bytes); None where nothing was.

        Raises
        ------
        ConfigError
            ``WITNESS_DAMAGED`` where the file is not as it was written: nothing is co-signed on its word.
        """
        path = self._path(key)
        witnessed = journal_pb2.Witnessed()
        try:
            witnessed.ParseFromString(path.read_bytes())
            read_checkpoint(witnessed.checkpoint, key)
            for signed in witnessed.cosignatures:
                read_cosignature(signed, witnessed.checkpoint)
        except FileNotFoundError:
            return None
        except (OSError, DecodeError, AuthenticationError) as error:
            raise _damaged(path) from error
        return witnessed

    def everything(self) -> Iterator[journal_pb2.Witnessed]:
        """What was seen of every node, by the file's name. Raises as `get`."""
        for path in sorted(self._folder.glob(f"*{_SUFFIX}")):
            try:
                key = bytes.fromhex(path.name.removesuffix(_SUFFIX))
            except ValueError as error:
                raise _damaged(path) from error
            found = self.get(key)
            if found is not None:
                yield found

    def agree(self, checkpoint: study_pb2.Signed, cosignature: study_pb2.Signed) -> None:
        """Remember a checkpoint that follows; on the disk when this returns, so before the cosignature is given."""
        kept = self.get(checkpoint.public_key) or journal_pb2.Witnessed()
        kept.checkpoint.CopyFrom(checkpoint)
        del kept.cosignatures[:]
        kept.cosignatures.append(cosignature)
        replace(self._path(checkpoint.public_key), canonical(kept))

    def refuse(
        self,
        kept: journal_pb2.Witnessed,
        checkpoint: study_pb2.Signed,
        proof: study_pb2.Signed | None,
        verdict: Verdict,
        at: int,
    ) -> None:
        """Keep a checkpoint that does not follow beside the one it does not follow from, both signed by the node."""
        noted = journal_pb2.Witnessed()
        noted.CopyFrom(kept)
        noted.refused.CopyFrom(checkpoint)
        noted.ClearField("refused_proof")
        if proof is not None:
            noted.refused_proof.CopyFrom(proof)
        noted.refused_code = verdict.value
        noted.refused_at = at
        replace(self._path(checkpoint.public_key), canonical(noted))

    def _path(self, key: bytes) -> Path:
        return self._folder / f"{key.hex()}{_SUFFIX}"


def stands_refused(witnessed: journal_pb2.Witnessed) -> bool:
    """Whether the last word about a node's journal was a refusal; False once a later checkpoint followed again."""
    agreed = [journal_pb2.Cosignature.FromString(signed.body).seen_at for signed in witnessed.cosignatures]
    return bool(witnessed.refused_code) and witnessed.refused_at >= max(agreed, default=0)


def _damaged(path: Path) -> ConfigError:
    return ConfigError(
        "WITNESS_DAMAGED",
        f"{path} is not what this node has seen of another's journal",
        "restore it from the backup; without it, remove it: this node then begins anew as a witness of that journal",
    )
