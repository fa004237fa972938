"""A sealed round summed again from the countries' journals: shares, less the masks that their nodes revealed."""

from __future__ import annotations

from collections.abc import Sequence

from isthmus.errors import IsthmusError
from isthmus.v1 import sealed_pb2, study_pb2
from isthmus_client.replay.evidence import Answered, Sealed
from isthmus_client.replay.faults import fault, forged
from isthmus_methods.contract import Cleared, Method
from isthmus_methods.sealed_codec import cleared_of
from isthmus_trust.documents import SEALED_AGREEMENT, SEALED_LIST, SEALED_REVEAL, digest
from isthmus_trust.ring import from_ring, to_bytes
from isthmus_trust.sealed import list_of, open_word, open_words, unmasked


def summed(answers: Sequence[Answered], method: Method, study: study_pb2.Study) -> Cleared:
    """The sum over the countries of one round, and that all of them saw and signed the same.

    Parameters
    ----------
    answers
        Everybody's share, in the study's order, each with its node's reveal.

    Raises
    ------
    Fault
        ``RECORD_FORGED`` where a reveal, an agreement or a list is not signed by its node, or of another round;
        ``NOT_AS_RECORDED`` where shares, masks and what was signed do not belong together.
    """
    participants = {p.node: p for p in study.participants}
    parts = [(answer, answer.sealed) for answer in answers if answer.sealed is not None]
    if len(parts) != len(answers):
        raise fault("NOT_AS_RECORDED", answers[0].where, "of one round some answers are sealed and others are not")
    task, first = answers[0].task_digest, parts[0][1].share
    made = list_of(first.transcript, [part.signed for _, part in parts])
    reveals = []
    for answer, part in parts:
        if part.reveal is None or part.share.layout != first.layout:
            raise fault("NOT_AS_RECORDED", answer.where, "its numbers are not laid out as the others', or not opened")
        try:
            reveal = open_word(part.reveal, SEALED_REVEAL, sealed_pb2.SealedReveal, participants[answer.node], task)
        except IsthmusError as error:
            raise forged(answer.where, error) from error
        if reveal.list != made:
            raise fault("NOT_AS_RECORDED", answer.where, "its node opened its mask for other shares than these")
        reveals.append(reveal)
    try:
        ring = unmasked([part.share for _, part in parts], reveals, first.transcript)
        cleared = cleared_of(first.layout, from_ring(ring), method, len(parts))
    except IsthmusError as error:
        raise fault("NOT_AS_RECORDED", answers[0].where, f"{error.message} [{error.code}]") from error
    for answer, part in parts:
        _check_receipt(answer, part, study, made, digest(to_bytes(ring)))
    return cleared


def _check_receipt(answer: Answered, part: Sealed, study: study_pb2.Study, made: bytes, total: bytes) -> None:
    """What a node kept of the round: all signed the same keys and the same shares, and it came to the same sum."""
    receipt, transcript = part.receipt, part.share.transcript
    if receipt is None:
        return
    task, everybody = answer.task_digest, study.participants
    try:
        agreements = open_words(receipt.agreements, SEALED_AGREEMENT, sealed_pb2.SealedAgreement, everybody, task)
        lists = open_words(receipt.lists, SEALED_LIST, sealed_pb2.SealedList, everybody, task)
    except IsthmusError as error:
        raise forged(answer.where, error) from error
    same = all(one.transcript == transcript for one in agreements) and all(one.list == made for one in lists)
    if not same or receipt.total != total:
        raise fault("NOT_AS_RECORDED", answer.where, "what its node kept of the round is of other words or another sum")
