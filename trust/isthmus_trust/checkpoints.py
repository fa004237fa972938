"""Checkpoints of a node's journal, and what a witness makes of them: the one rule that nodes and coordinator share.

A witness remembers the last checkpoint of a node that it saw, and co-signs another only where the journal behind it
begins with the one it saw. So two copies of a journal that differ in what both should have cannot both be co-signed.

**Source** RFC 9162 (2021), 2.1.4 for the proofs; the roles of log and witness are those of certificate transparency.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

from isthmus.errors import AuthenticationError, UsageError
from isthmus.v1 import journal_pb2, study_pb2
from isthmus_trust.documents import CHECKPOINT, CONSISTENCY, COSIGNATURE, canonical, digest, open_signed
from isthmus_trust.identity import IdentityKey
from isthmus_trust.merkle import HASH_BYTES, LONGEST_PROOF, extends

# No journal is longer, and no store's whole numbers end before.
LARGEST = 1 << 62
# What a file with one checkpoint may hold, in bytes: a few hundred cosignatures.
MAX_FILE = 1 << 20


class Verdict(StrEnum):
    """What a witness makes of a checkpoint. The last two are the fixed codes of a refusal."""

    AGREED = "AGREED"
    # It is later than what was seen, and the proof from there did not come with it.
    WANTED = "WANTED"
    # It is older than what was seen: a message that came late, or again.
    STALE = "STALE"
    # Signed later than what was seen, and yet of fewer records.
    CUT_BACK = "JOURNAL_CUT_BACK"
    # Its records are not those that were seen, and others behind them.
    REPLACED = "JOURNAL_REPLACED"

    @property
    def refused(self) -> bool:
        return self in (Verdict.CUT_BACK, Verdict.REPLACED)


def sign_checkpoint(key: IdentityKey, node: str, size: int, root: bytes, made_at: int) -> study_pb2.Signed:
    """A node's word about its journal: `size` records with this root (32 bytes) at this time (UTC nanoseconds)."""
    body = journal_pb2.Checkpoint(node=node, tree_size=size, root=root, made_at=made_at)
    return key.sign(CHECKPOINT, canonical(body))


def read_checkpoint(signed: study_pb2.Signed, key: bytes | None = None) -> journal_pb2.Checkpoint:
    """Check a checkpoint and read it; with a key, it must be of that one.

    Raises
    ------
    AuthenticationError
        As `open_signed`; ``BAD_CHECKPOINT`` where it has no possible number of records, or no root of 32 bytes.
    """
    checkpoint = open_signed(signed, CHECKPOINT, journal_pb2.Checkpoint, key)
    if not 1 <= checkpoint.tree_size <= LARGEST or len(checkpoint.root) != HASH_BYTES or not checkpoint.node:
        raise AuthenticationError(
            "BAD_CHECKPOINT",
            "a checkpoint names no node, no number of records that can be, or no root of 32 bytes",
            "report what sent it: a correct release never does this",
        )
    return checkpoint


def sign_consistency(
    key: IdentityKey, checkpoint: study_pb2.Signed, from_size: int, hashes: tuple[bytes, ...]
) -> study_pb2.Signed:
    """A node's proof that the journal of a checkpoint begins with its journal of `from_size` records."""
    body = journal_pb2.Consistency(checkpoint=digest(checkpoint.body), from_size=from_size, hashes=hashes)
    return key.sign(CONSISTENCY, canonical(body))


def read_consistency(signed: study_pb2.Signed, checkpoint: study_pb2.Signed) -> journal_pb2.Consistency:
    """Check that a proof is of the checkpoint's signer and about it, and read it; whether it holds is `judge`'s.

    Raises
    ------
    AuthenticationError
        As `open_signed`; ``WRONG_CHECKPOINT`` where it is about another one, ``BAD_PROOF`` where it is none.
    """
    proof = open_signed(signed, CONSISTENCY, journal_pb2.Consistency, checkpoint.public_key)
    if proof.checkpoint != digest(checkpoint.body):
        raise _other_checkpoint("a proof")
    if len(proof.hashes) > LONGEST_PROOF or any(len(part) != HASH_BYTES for part in proof.hashes):
        raise AuthenticationError(
            "BAD_PROOF",
            f"a proof of consistency has more than {LONGEST_PROOF} hashes, or one that is not 32 bytes",
            "report what sent it: a correct release never does this",
        )
    return proof


def judge(
    seen: journal_pb2.Checkpoint | None,
    new: journal_pb2.Checkpoint,
    proofs: Mapping[int, journal_pb2.Consistency],
) -> Verdict:
    """Whether a checkpoint follows from what a witness saw before; signatures were checked before.

    Parameters
    ----------
    seen
        The last checkpoint of the same key that this witness agreed to; None where there is none.
    new
        The one to judge.
    proofs
        What came with it, by the earlier number of records.
    """
    if seen is None:
        return Verdict.AGREED
    if new.tree_size == seen.tree_size:
        return Verdict.AGREED if new.root == seen.root else Verdict.REPLACED
    if new.tree_size < seen.tree_size:
        return Verdict.CUT_BACK if new.made_at > seen.made_at else Verdict.STALE
    proof = proofs.get(seen.tree_size)
    if proof is None:
        return Verdict.WANTED
    holds = extends(seen.root, seen.tree_size, new.root, new.tree_size, proof.hashes)
    return Verdict.AGREED if holds else Verdict.REPLACED


def cosign(
    key: IdentityKey, witness: str, checkpoint: study_pb2.Signed, follows: int, seen_at: int
) -> study_pb2.Signed:
    """A witness's word that it saw a checkpoint, and that it follows from the one of `follows` records (0: none)."""
    body = journal_pb2.Cosignature(
        checkpoint=digest(checkpoint.body), witness=witness, follows=follows, seen_at=seen_at
    )
    return key.sign(COSIGNATURE, canonical(body))


def read_cosignature(signed: study_pb2.Signed, checkpoint: study_pb2.Signed) -> journal_pb2.Cosignature:
    """Check a cosignature of a checkpoint and read it; whose key it is, the caller looks up.

    Raises
    ------
    AuthenticationError
        As `open_signed`; ``WRONG_CHECKPOINT`` where it is about another one or the node's own.
    """
    cosignature = open_signed(signed, COSIGNATURE, journal_pb2.Cosignature)
    if cosignature.checkpoint != digest(checkpoint.body) or signed.public_key == checkpoint.public_key:
        raise _other_checkpoint("a cosignature")
    return cosignature


# --------------------------------------------------------------------------- as text


def to_line(witnessed: journal_pb2.Witnessed) -> str:
    """A checkpoint and its cosignatures as one line of JSON, for people to keep and to pass on."""
    checkpoint = journal_pb2.Checkpoint.FromString(witnessed.checkpoint.body)
    return json.dumps(
        {
            "node": checkpoint.node,
            "tree_size": checkpoint.tree_size,
            "root": checkpoint.root.hex(),
            "made_at": checkpoint.made_at,
            "checkpoint": _signed_to_json(witnessed.checkpoint),
            "cosignatures": [_signed_to_json(signed) for signed in witnessed.cosignatures],
        },
        sort_keys=True,
    )


def from_line(line: str) -> journal_pb2.Witnessed:
    """What `to_line` wrote, every signature checked; whose the keys are, the caller looks up.

    Raises
    ------
    UsageError
        ``NOT_A_CHECKPOINT`` where the text is none.
    AuthenticationError
        Where a signature does not hold.
    """
    try:
        found = json.loads(line)
        witnessed = journal_pb2.Witnessed(
            checkpoint=_signed_from_json(found["checkpoint"]),
            cosignatures=[_signed_from_json(one) for one in found["cosignatures"]],
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(
            "NOT_A_CHECKPOINT",
            "the text is no checkpoint of a journal; rule: one line of JSON, as isthmus wrote it",
            "give the file as the witness wrote it",
        ) from error
    checkpoint = read_checkpoint(witnessed.checkpoint)
    told = (found.get("node"), found.get("tree_size"), found.get("root"), found.get("made_at"))
    if told != (checkpoint.node, checkpoint.tree_size, checkpoint.root.hex(), checkpoint.made_at):
        raise AuthenticationError(
            "BAD_CHECKPOINT",
            "the text beside a checkpoint says something else than the checkpoint that was signed",
            "ask the witness for the file again",
        )
    for signed in witnessed.cosignatures:
        read_cosignature(signed, witnessed.checkpoint)
    return witnessed


def read_file(path: Path) -> journal_pb2.Witnessed:
    """The checkpoint in a file of one line. Raises as `from_line`, and ``NOT_A_CHECKPOINT`` where it cannot be read."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE + 1).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            "NOT_A_CHECKPOINT", f"{path} cannot be read as text", "give the file that a witness wrote"
        ) from error
    if len(text) > MAX_FILE:
        raise UsageError("NOT_A_CHECKPOINT", f"{path} is too long for a checkpoint", "give a file with one checkpoint")
    return from_line(text)


def _signed_to_json(signed: study_pb2.Signed) -> dict[str, str]:
    return {
        "context": signed.context,
        "body": base64.b64encode(signed.body).decode("ascii"),
        "public_key": signed.public_key.hex(),
        "signature": base64.b64encode(signed.signature).decode("ascii"),
    }


def _signed_from_json(found: Mapping[str, str]) -> study_pb2.Signed:
    return study_pb2.Signed(
        context=found["context"],
        body=base64.b64decode(found["body"], validate=True),
        public_key=bytes.fromhex(found["public_key"]),
        signature=base64.b64decode(found["signature"], validate=True),
    )


def _other_checkpoint(what: str) -> AuthenticationError:
    return AuthenticationError(
        "WRONG_CHECKPOINT",
        f"{what} is about another checkpoint than the one it came with, or of the node itself",
        "report what sent it: a correct release never does this",
    )
