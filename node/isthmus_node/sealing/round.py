"""A node's part in one round of a sealed study: its key, its masks, and every word of the others before its own next.

Nothing here believes the coordinator. It passes on what the nodes signed; each word is held against the keys that the
approved study has, all must be there, and a second version of what was said is refused.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from numpy.typing import NDArray

from isthmus.errors import AuthenticationError, Refused
from isthmus.v1 import sealed_pb2, study_pb2, summary_pb2
from isthmus_methods.sealed_codec import layout_of, numbers_of
from isthmus_node.egress.wire import Masked, Outbound, encode_share
from isthmus_trust import sealed
from isthmus_trust.documents import (
    SEALED_AGREEMENT,
    SEALED_KEYS,
    SEALED_LIST,
    SEALED_REVEAL,
    SEALED_SHARE,
    SUMMARY,
    canonical,
    digest,
    open_signed,
    read_canonical,
)
from isthmus_trust.identity import IdentityKey
from isthmus_trust.ring import added, from_ring, mask, to_bytes, to_ring

_AGAIN = "run the analysis again with a coordinator of this release; if it goes on, ask the coordinating team"


def new_key() -> X25519PrivateKey:
    """A key for one round: used twice, the difference of two shares would be the difference of two summaries."""
    return X25519PrivateKey.generate()


@dataclass(frozen=True, slots=True)
class Summed:
    """The sum over all countries, as each of them worked it out for itself."""

    layout: sealed_pb2.SealedLayout
    numbers: NDArray[np.float64] = field(repr=False)  # (n,)
    receipt: sealed_pb2.SealedReceipt = field(repr=False)


class Round:
    """One round from the key to the sum. Each step is taken once, in order.

    Parameters
    ----------
    clear
        The cleared summary as it would leave in open mode; it stays here.
    notes
        All that the method declares.
    participants
        Those of the study, in its order.
    key
        The node's identity.
    """

    def __init__(
        self, clear: Outbound, notes: Collection[str], participants: Sequence[study_pb2.Participant], key: IdentityKey
    ) -> None:
        signed = read_canonical(clear.payload, study_pb2.Signed)
        summary = open_signed(signed, SUMMARY, summary_pb2.Summary, key.public)
        self.clear = clear
        self._participants = participants
        self._names = [p.node for p in participants]
        self._task, self._node = clear.header.task, clear.header.node
        self._place = self._names.index(self._node)
        self._identity = key
        self._layout = layout_of(summary, notes)
        self._numbers = to_ring(numbers_of(summary, notes), len(participants))
        self._check_size()
        self._own: X25519PrivateKey | None = new_key()
        self._seed = secrets.token_bytes(sealed.SEED_BYTES)
        self._transcript = self._list = b""
        self._keys: list[bytes] = []
        self._shares: list[sealed_pb2.SealedShare] = []
        self._receipt = sealed_pb2.SealedReceipt()
        self._heard: list[bytes] = []  # digests of what was heard, step by step
        self._said: list[study_pb2.Signed | Outbound | Summed] = []  # what was said to it
        word = sealed_pb2.SealedKeys(
            key=self._own.public_key().public_bytes_raw(),
            layout=digest(canonical(self._layout)),
            task=self._task,
            node=self._node,
        )
        self.opening = self._sign(SEALED_KEYS, word)  # the first word

    @property
    def revealed(self) -> bool:
        """Whether the node's own mask is known."""
        return len(self._said) >= sealed.ORDER.index(SEALED_REVEAL)

    def hear(self, words: Sequence[study_pb2.Signed]) -> study_pb2.Signed | Outbound | Summed:
        """What everybody said in a step; gives this node's next word. The same words again give the same answer.

        Returns
        -------
        Signed
            The agreement, the list, or the reveal of the node's own mask.
        Outbound
            The share, which goes into the journal before it leaves.
        Summed
            After everybody's reveal.

        Raises
        ------
        AuthenticationError
            ``SEALED_OUT_OF_ORDER``, ``SEALED_TWO_VERSIONS``, ``SEALED_OWN_WORD``, and what `isthmus_trust.sealed` says.
        Refused
            ``SEALED_LAYOUTS``.
        """
        context = words[0].context if words else ""
        step = sealed.ORDER.index(context) if context in sealed.ORDER else len(sealed.ORDER)
        told = digest(b"".join(digest(canonical(word)) for word in words))
        if step < len(self._heard):
            if self._heard[step] != told:
                raise AuthenticationError(
                    "SEALED_TWO_VERSIONS", "the coordinator passed on two versions of what was said in a round", _AGAIN
                )
            return self._said[step]
        if step > len(self._heard) or step == len(sealed.ORDER):
            raise AuthenticationError(
                "SEALED_OUT_OF_ORDER", "a step of a sealed round was left out; rule: one after the other", _AGAIN
            )
        answers = (self._agree, self._share, self._confirm, self._reveal, self._sum)
        said = answers[step](words)
        self._heard.append(told)
        self._said.append(said)
        return said

    def _agree(self, words: Sequence[study_pb2.Signed]) -> study_pb2.Signed:
        heard = self._open(words, SEALED_KEYS, sealed_pb2.SealedKeys, self.opening)
        if any(word.layout != heard[self._place].layout for word in heard):
            raise Refused(
                "SEALED_LAYOUTS",
                "the countries' answers have not the same fields in the same shapes, so that they cannot be added; "
                "rule: a sealed answer has what the request says, whatever the rows",
                "ask for something whose shape does not depend on rows, with nodes of one release",
            )
        self._keys = [word.key for word in heard]
        if len(set(self._keys)) < len(self._keys):
            raise AuthenticationError("SEALED_BAD_KEY", "two participants gave one key; rule: each has its own", _AGAIN)
        self._transcript = sealed.transcript_of(self._task, words)
        word = sealed_pb2.SealedAgreement(transcript=self._transcript, task=self._task, node=self._node)
        return self._sign(SEALED_AGREEMENT, word)

    def _share(self, words: Sequence[study_pb2.Signed]) -> Outbound:
        heard = self._open(words, SEALED_AGREEMENT, sealed_pb2.SealedAgreement)
        self._all_said([word.transcript for word in heard], self._transcript)
        self._receipt.agreements.extend(words)
        if self._own is None:
            raise AuthenticationError("SEALED_KEY_USED", "the key of this round is used; rule: once", _AGAIN)
        count = len(self._numbers)
        masks = sealed.masks_of(self._own, self._place, self._keys, self._names, self._transcript, count)
        self._own = None
        masked = added(added(self._numbers, masks), mask(self._seed, count))
        commitment = sealed.commitment_of(self._transcript, self._node, self._seed)
        share = Masked(to_bytes(masked), self._layout, self._transcript, commitment, len(self._names))
        return encode_share(self.clear, share, self._identity)

    def _confirm(self, words: Sequence[study_pb2.Signed]) -> study_pb2.Signed:
        own = self._said[-1]
        mine = study_pb2.Signed.FromString(own.payload) if isinstance(own, Outbound) else None
        self._shares = self._open(words, SEALED_SHARE, sealed_pb2.SealedShare, mine)
        self._all_said([share.transcript for share in self._shares], self._transcript)
        self._list = sealed.list_of(self._transcript, words)
        return self._sign(SEALED_LIST, sealed_pb2.SealedList(list=self._list, task=self._task, node=self._node))

    def _reveal(self, words: Sequence[study_pb2.Signed]) -> study_pb2.Signed:
        heard = self._open(words, SEALED_LIST, sealed_pb2.SealedList)
        self._all_said([word.list for word in heard], self._list)
        self._receipt.lists.extend(words)
        return self._sign(
            SEALED_REVEAL, sealed_pb2.SealedReveal(list=self._list, seed=self._seed, task=self._task, node=self._node)
        )

    def _sum(self, words: Sequence[study_pb2.Signed]) -> Summed:
        heard = self._open(words, SEALED_REVEAL, sealed_pb2.SealedReveal)
        self._all_said([word.list for word in heard], self._list)
        ring = sealed.unmasked(self._shares, heard, self._transcript)
        self._receipt.reveals.extend(words)
        self._receipt.total = digest(to_bytes(ring))
        return Summed(self._layout, from_ring(ring), self._receipt)

    def _open(
        self,
        words: Sequence[study_pb2.Signed],
        context: str,
        kind: type[sealed.Word],
        own: study_pb2.Signed | None = None,
    ) -> list[sealed.Word]:
        heard = sealed.open_words(words, context, kind, self._participants, self._task)
        said = self._said[-1] if own is None and self._said else own
        if isinstance(said, study_pb2.Signed) and words[self._place] != said:
            raise AuthenticationError(
                "SEALED_OWN_WORD", "the coordinator passed on another word of this node than it said", _AGAIN
            )
        return heard

    def _all_said(self, said: Sequence[bytes], wanted: bytes) -> None:
        if any(one != wanted for one in said):
            raise AuthenticationError(
                "SEALED_NO_AGREEMENT",
                "the participants of a round did not see the same; rule: all sign the same, or nothing goes on",
                _AGAIN,
            )

    def _check_size(self) -> None:
        size = 16 * len(self._numbers) * len(self._names)
        if size > sealed.MOST_BYTES:
            raise Refused(
                "SEALED_TOO_LARGE",
                f"a sealed round of {len(self._numbers)} numbers over {len(self._names)} countries is too large; "
                f"rule: {sealed.MOST_BYTES} bytes over all of them",
                "use a coarser time grid or fewer terms",
            )

    def _sign(self, context: str, word: sealed.Word) -> study_pb2.Signed:
        return self._identity.sign(context, canonical(word))
