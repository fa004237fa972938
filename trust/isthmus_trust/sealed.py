"""A sealed round: masks that vanish in the sum of all, and the signed words that nobody can leave out or put in.

Each node makes a key for the round, sees everybody's, and signs that it saw them (T). Then it gives its numbers under
masks, sees everybody's shares, and signs that it saw those (L). Only then it opens its own mask. Masks between two
nodes, one adding what the other subtracts, vanish in the sum over all of them and in no other.

Source: K. Bonawitz et al., Practical Secure Aggregation for Privacy-Preserving Machine Learning, CCS 2017, section 4
(pairwise masks) and 6.2 (each node's own mask, so that a share that comes late is not opened by the others' masks).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from isthmus.errors import AuthenticationError
from isthmus.v1 import sealed_pb2, study_pb2
from isthmus_trust.documents import (
    SEALED_AGREEMENT,
    SEALED_KEYS,
    SEALED_LIST,
    SEALED_REVEAL,
    SEALED_SHARE,
    canonical,
    digest,
    open_signed,
)
from isthmus_trust.ring import WIDTH, Ring, added, from_bytes, mask, subtracted, total

# The fewest countries whose sum is given: of two, each knows the other's numbers from the sum.
FEWEST = 3
# So often a run begins: a node that was started anew has no key any more, and all begin again with new ones.
MOST_ATTEMPTS = 3
SEED_BYTES = 32
# Shares of all participants go to each of them in one message, and messages end at 4 MiB.
MOST_BYTES = 4 * 1024 * 1024 - 256 * 1024
# The order in which a round's words are said; the share is the only one with numbers in it.
ORDER = (SEALED_KEYS, SEALED_AGREEMENT, SEALED_SHARE, SEALED_LIST, SEALED_REVEAL)
# "LOST" of a `SealedWord`.
LOST = "LOST"

Word = TypeVar(
    "Word",
    sealed_pb2.SealedKeys,
    sealed_pb2.SealedAgreement,
    sealed_pb2.SealedShare,
    sealed_pb2.SealedList,
    sealed_pb2.SealedReveal,
)
Participants = Sequence[study_pb2.Participant]


def open_word(
    signed: study_pb2.Signed, context: str, kind: type[Word], participant: study_pb2.Participant, task: bytes
) -> Word:
    """One participant's word in the round of a task.

    Raises
    ------
    AuthenticationError
        As `open_signed`; ``SEALED_OTHER_ROUND`` where it is about another task, or in another's name.
    """
    word = open_signed(signed, context, kind, participant.identity_key)
    if word.task != task or word.node != participant.node:
        raise AuthenticationError(
            "SEALED_OTHER_ROUND",
            f"a word of {participant.node} is of another round, or in another's name; rule: a word counts once",
            "run the analysis again; if it happens again, somebody between the countries repeats old words",
        )
    return word


def open_words(
    words: Sequence[study_pb2.Signed], context: str, kind: type[Word], participants: Participants, task: bytes
) -> list[Word]:
    """One word of every participant, in the study's order; errors as `open_word`, and ``SEALED_WORDS_MISSING``."""
    if len(words) != len(participants):
        raise AuthenticationError(
            "SEALED_WORDS_MISSING",
            f"there are {len(words)} words of {len(participants)} participants; rule: one of each, or nothing goes on",
            "run the analysis again with a coordinator of this release",
        )
    return [
        open_word(signed, context, kind, participant, task)
        for signed, participant in zip(words, participants, strict=True)
    ]


def transcript_of(task: bytes, keys: Sequence[study_pb2.Signed]) -> bytes:
    """T: what is to be computed, among whom, with which keys; 32 bytes. `keys`: as signed, in the study's order."""
    return _chained(b"isthmus/sealed-transcript/1\0", task, keys)


def list_of(transcript: bytes, shares: Sequence[study_pb2.Signed]) -> bytes:
    """L: which shares are added; 32 bytes."""
    return _chained(b"isthmus/sealed-shares/1\0", transcript, shares)


def commitment_of(transcript: bytes, node: str, seed: bytes) -> bytes:
    """What a node says of the seed of its own mask before it says the seed; 32 bytes."""
    return hashlib.sha256(b"isthmus/sealed-seed/1\0" + transcript + seed + node.encode()).digest()


def masks_of(
    own: X25519PrivateKey, place: int, keys: Sequence[bytes], names: Sequence[str], transcript: bytes, numbers: int
) -> Ring:
    """The masks that one node shares with each of the others, added up, (n, 2).

    Parameters
    ----------
    own
        The node's key of this round.
    place
        The node's place among the participants.
    keys, names
        Everybody's public keys and names, in the study's order.
    transcript
        T, so that keys that were used before would give other masks.

    Raises
    ------
    AuthenticationError
        ``SEALED_BAD_KEY`` where a key is none.
    """
    found = mask(bytes(32), numbers) * 0
    for other, (key, name) in enumerate(zip(keys, names, strict=True)):
        if other == place:
            continue
        pair = sorted((place, other))
        # names have no zero bytes: no two pairs look alike
        info = b"isthmus/sealed-mask/1\0" + b"\0".join(names[k].encode() for k in pair)
        shared = mask(HKDF(SHA256(), 32, transcript, info).derive(_agreed(own, key, name)), numbers)
        found = added(found, shared) if place < other else subtracted(found, shared)
    return found


def unmasked(
    shares: Sequence[sealed_pb2.SealedShare], reveals: Sequence[sealed_pb2.SealedReveal], transcript: bytes
) -> Ring:
    """The sum over all countries, (n, 2): shares less the masks that were revealed.

    Raises
    ------
    AuthenticationError
        ``SEALED_BAD_SHARE`` where shares are not of one length, ``SEALED_BAD_SEED`` where a seed is not the one that
        its node committed itself to.
    """
    size = len(shares[0].vector)
    for share, reveal in zip(shares, reveals, strict=True):
        if len(share.vector) != size or size % WIDTH or share.transcript != transcript:
            raise AuthenticationError(
                "SEALED_BAD_SHARE",
                f"the share of {share.node} is not of this round, or not of the others' length",
                "run the analysis again with nodes of one release",
            )
        if len(reveal.seed) != SEED_BYTES or commitment_of(transcript, share.node, reveal.seed) != share.commitment:
            raise AuthenticationError(
                "SEALED_BAD_SEED",
                f"{share.node} revealed another mask than the one it had committed itself to",
                "ask the site: its software is not what it should be",
            )
    masked = total([from_bytes(share.vector) for share in shares])
    return subtracted(masked, total([mask(reveal.seed, size // WIDTH) for reveal in reveals]))


def _chained(what: bytes, first: bytes, words: Sequence[study_pb2.Signed]) -> bytes:
    return hashlib.sha256(what + first + b"".join(digest(canonical(word)) for word in words)).digest()


def _agreed(own: X25519PrivateKey, key: bytes, name: str) -> bytes:
    try:
        return own.exchange(X25519PublicKey.from_public_bytes(key))
    except ValueError as error:
        raise AuthenticationError(
            "SEALED_BAD_KEY",
            f"{name} gave a key that cannot be one",
            "ask the site: its software is not what it should be",
        ) from error
