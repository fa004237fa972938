"""A sealed round as the coordinator sees it: words that it passes on, shares that it adds up, and the sum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from isthmus.errors import AuthenticationError, Refused
from isthmus.untrusted import shown
from isthmus.v1 import sealed_pb2, study_pb2
from isthmus_coordinator.analyses.run import Answer, Request, Run, Sum
from isthmus_coordinator.analyses.submission import Submission
from isthmus_methods.contract import Cleared
from isthmus_methods.sealed_codec import cleared_of
from isthmus_trust.documents import (
    SEALED_AGREEMENT,
    SEALED_KEYS,
    SEALED_LIST,
    SEALED_REVEAL,
    SEALED_SHARE,
    canonical,
    digest,
)
from isthmus_trust.ring import from_ring
from isthmus_trust.sealed import MOST_BYTES, ORDER, open_word, unmasked

# Longest text of a share that is kept.
MAX_WORDS = 1000


class OtherWordError(Exception):
    """A node said another word than before in the same step: it was started anew in between."""


class Gathering:
    """The words of the open task's round, until all have said all of them. In memory: nodes say them again when asked.

    Parameters
    ----------
    task
        Digest of the open task.
    participants
        Those of the study.
    before
        What ended the round before: every participant's reveal.
    """

    def __init__(
        self, task: bytes, participants: Sequence[study_pb2.Participant], before: sealed_pb2.SealedStep | None = None
    ) -> None:
        self.task = task
        self.before = before
        self._participants = {p.node: p for p in participants}
        self._words: dict[str, dict[str, study_pb2.Signed]] = {context: {} for context in ORDER}

    def steps(self) -> list[sealed_pb2.SealedStep]:
        """What is complete, in order: to be passed on to every participant."""
        return [
            sealed_pb2.SealedStep(task=self.task, words=[words[node] for node in self._participants])
            for words in self._words.values()
            if len(words) == len(self._participants)
        ]

    @property
    def complete(self) -> bool:
        """Whether all have said all."""
        return len(self.steps()) == len(ORDER)

    def take(self, node: str, signed: study_pb2.Signed) -> bool:
        """Note a word; whether it completes a step.

        Raises
        ------
        OtherWordError
            The node has said another one.
        AuthenticationError
            As `open_word`; ``SEALED_OUT_OF_ORDER``.
        Refused
            ``SEALED_TOO_LARGE``.
        """
        _open(self._participants[node], self.task, signed)
        said = self._words[signed.context]
        if node in said:
            if said[node] != signed:
                raise OtherWordError
            return False
        step = ORDER.index(signed.context)
        if step and len(self._words[ORDER[step - 1]]) < len(self._participants):
            raise AuthenticationError(
                "SEALED_OUT_OF_ORDER",
                f"node {node} said a word before its time; rule: one step after the other",
                "run the same release of isthmus at the coordinator and at the site",
            )
        if len(signed.body) * len(self._participants) > MOST_BYTES + (1 << 18):
            raise Refused(
                "SEALED_TOO_LARGE",
                f"a share of {len(signed.body)} bytes is too large for {len(self._participants)} countries",
                "use a coarser time grid or fewer terms",
            )
        said[node] = signed
        return len(said) == len(self._participants)

    def answers(self, request: Request, now: int) -> list[Answer]:
        """What the nodes submitted in the round, in the study's order, to be stored."""
        shares, reveals = self._words[SEALED_SHARE], self._words[SEALED_REVEAL]
        found = []
        for node in self._participants:
            kept = canonical(sealed_pb2.SealedAnswer(share=shares[node], reveal=reveals[node]))
            submission = Submission()
            submission.add(kept)
            found.append(replace(read_sealed(request, node, self.task, kept, now), submission=submission))
        return found


def read_sealed(request: Request, node: str, task: bytes, kept: bytes, now: int) -> Answer:
    """A node's part in a round as it is stored; errors as `open_word`."""
    participant = next(p for p in request.study.participants if p.node == node)
    stored = sealed_pb2.SealedAnswer.FromString(kept)
    share = open_word(stored.share, SEALED_SHARE, sealed_pb2.SealedShare, participant, task)
    return Answer(
        node=node,
        # what the node knows it by
        digest=digest(canonical(stored.share)),
        received_at=now,
        cleared=Cleared(participant.country, {}, _withheld(share)),
        policy_digest=share.policy_digest,
        dataset_digest=share.dataset_digest,
        software=shown(share.software, most=MAX_WORDS),
        reference=shown(share.reference, most=MAX_WORDS),
        sealed=stored,
    )


@dataclass(frozen=True, slots=True)
class Opened:
    """The sum of a round, what was signed of it, and what ended it: every participant's reveal."""

    cleared: Cleared
    sum: Sum
    ended: sealed_pb2.SealedStep


def with_sum(run: Run, opened: Opened) -> Run:
    """A run after one more round was summed."""
    return replace(run, sums=(*run.sums, opened.sum), ended_round=opened.ended)


def open_sum(run: Run, task: bytes, answers: Mapping[str, Answer]) -> Opened:
    """The sum over all countries of one round. Nothing else can be had from what was stored.

    Raises
    ------
    AuthenticationError
        As `unmasked`, and ``SEALED_LAYOUTS`` where the shares say that their numbers are not the same.
    UsageError, Refused
        As `cleared_of`.
    """
    stored = [one for node in run.participants if (one := answers[node].sealed) is not None]
    # signatures were checked when these words came
    shares = [sealed_pb2.SealedShare.FromString(one.share.body) for one in stored]
    reveals = [sealed_pb2.SealedReveal.FromString(one.reveal.body) for one in stored]
    first = shares[0]
    if any(share.layout != first.layout for share in shares):
        raise AuthenticationError(
            "SEALED_LAYOUTS",
            "shares of one round say that their numbers are not the same",
            "run the same release of isthmus at the sites",
        )
    ring = unmasked(shares, reveals, first.transcript)
    cleared = cleared_of(first.layout, from_ring(ring), run.request.method, len(shares))
    ended = sealed_pb2.SealedStep(task=task, words=[one.reveal for one in stored])
    return Opened(cleared, Sum(first.transcript, reveals[0].list, cleared.notes), ended)


def _withheld(share: sealed_pb2.SealedShare) -> dict[tuple[str, str], str]:
    return {(field.field, field.label): field.withheld_by for field in share.layout.fields if field.withheld_by}


def _open(participant: study_pb2.Participant, task: bytes, signed: study_pb2.Signed) -> None:
    """Check a word of any kind."""
    if signed.context == SEALED_KEYS:
        open_word(signed, SEALED_KEYS, sealed_pb2.SealedKeys, participant, task)
    elif signed.context == SEALED_AGREEMENT:
        open_word(signed, SEALED_AGREEMENT, sealed_pb2.SealedAgreement, participant, task)
    elif signed.context == SEALED_SHARE:
        open_word(signed, SEALED_SHARE, sealed_pb2.SealedShare, participant, task)
    elif signed.context == SEALED_LIST:
        open_word(signed, SEALED_LIST, sealed_pb2.SealedList, participant, task)
    else:
        open_word(signed, SEALED_REVEAL, sealed_pb2.SealedReveal, participant, task)
