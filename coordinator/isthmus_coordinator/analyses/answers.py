"""A submission, opened and held against the task it answers: signed by the right node, declared, finite."""

from __future__ import annotations

import contextlib
import math
import threading
from dataclasses import replace

from isthmus.errors import AuthenticationError, Refused, UsageError
from isthmus.memory import give_back
from isthmus.untrusted import shown
from isthmus.v1 import study_pb2, summary_pb2
from isthmus_coordinator.analyses.run import Answer, Failure, Request
from isthmus_coordinator.analyses.submission import Given, is_large
from isthmus_methods.summary_codec import LARGE, check_padding, cleared_from_message
from isthmus_trust.bounds import check_summary
from isthmus_trust.documents import REFUSAL, SUMMARY, open_in_place, open_signed, read_canonical

# Longest rule or remedy of a refusal that is kept.
MAX_WORDS = 1000
# The field of a training that is large.
WEIGHTS = "arrays"
# Held while an answer with weights is taken apart: several at once would be several times the memory.
_ONE_LARGE = threading.Lock()


def read_answer(request: Request, node: str, task: bytes, given: Given, now: int, *, whole: bool = False) -> Answer:
    """What a node submitted, checked.

    Of a training the weights are checked and not kept: they are read again when they are pooled, one country's at a
    time, for they may be as large as memory lets them. `whole` keeps them.

    Parameters
    ----------
    request
        What was asked.
    node
        Name in the certificate of the connection on which it came.
    task
        Digest of the task it says it answers.
    given
        As received.
    now
        UTC nanoseconds.

    Raises
    ------
    AuthenticationError
        Where the signature, the node or the task is another's.
    Refused
        ``NOT_A_PARTICIPANT``, ``SEALED_MODE``, ``UNDECLARED_FIELD``, ``REQUIRED_FIELD_WITHHELD``, ``NOT_FINITE``.
    UsageError
        Where it is malformed.
    """
    participant = next((p for p in request.study.participants if p.node == node), None)
    if participant is None:
        raise not_a_participant(node)
    with _ONE_LARGE if is_large(given) else contextlib.nullcontext():
        if is_large(given):
            # what it came in, in small pieces to many threads
            give_back()
        return _read(request, participant, task, given, now, whole or not request.trains)


def _read(
    request: Request,
    participant: study_pb2.Participant,
    task: bytes,
    given: Given,
    now: int,
    whole: bool,
) -> Answer:
    node, key = participant.node, participant.identity_key
    numbers: list[memoryview] | None = None
    if is_large(given) and not request.sealed:
        # no refusal is
        summary, numbers = open_in_place(given.whole(), SUMMARY, summary_pb2.Summary, key, LARGE)
    else:
        signed = read_canonical(bytes(given.whole()), study_pb2.Signed)
        if signed.context == REFUSAL:
            refusal = open_signed(signed, REFUSAL, summary_pb2.Refusal, key)
            _check_from(refusal.task, refusal.node, refusal.country, task, participant)
            check_padding(refusal.padding)
            return Answer(node, given.digest, now, refusal=_failure(refusal))
        if request.sealed:
            raise Refused(
                "SEALED_MODE",
                "the answer is a country's own summary; rule: in a sealed study what is taken is a share, or a refusal",
                "run the same release of isthmus at the coordinator and at the site",
            )
        summary = open_signed(signed, SUMMARY, summary_pb2.Summary, key)
    check_summary(summary)
    _check_from(summary.task, summary.node, summary.country, task, participant)
    check_padding(summary.padding)
    cleared = cleared_from_message(summary, request.method, numbers)
    if not whole:
        cleared = replace(cleared, values={k: v for k, v in cleared.values.items() if k[0] != WEIGHTS})
    reference = shown(summary.reference, most=MAX_WORDS)
    words = (summary.policy_digest, summary.dataset_digest, summary.software, reference, _privacy(summary))
    return Answer(node, given.digest, now, cleared, None, *words)


def not_a_participant(node: str) -> Refused:
    """A node answered what it was not asked."""
    return Refused(
        "NOT_A_PARTICIPANT",
        f"node {node} does not take part in this analysis, or no longer does",
        "drop this answer; nothing else is to be done",
    )


def _privacy(summary: summary_pb2.Summary) -> summary_pb2.PrivacySpent | None:
    if not summary.HasField("privacy"):
        return None
    spent = summary.privacy
    numbers = (spent.rho, spent.rho_total, spent.rho_budget, spent.epsilon_total, spent.delta)
    # a budget may be without end
    if any(math.isnan(number) or number < 0.0 for number in numbers) or len(spent.accountant) > MAX_WORDS:
        raise UsageError(
            "MALFORMED_SUMMARY",
            "what the summary says of the privacy it cost is no number, or negative",
            "run the same release of isthmus at the coordinator and at the site",
        )
    copy = summary_pb2.PrivacySpent()
    copy.CopyFrom(spent)
    return copy


def _check_from(answered: bytes, node: str, country: str, task: bytes, participant: study_pb2.Participant) -> None:
    if (node, country) != (participant.node, participant.country):
        raise AuthenticationError(
            "FOREIGN_ANSWER",
            f"node {participant.node} sent an answer in the name of {node!r}; rule: a node speaks for itself only",
            "send it from the node whose answer it is",
        )
    if answered != task:
        raise AuthenticationError(
            "WRONG_TASK",
            "the signed answer is for another task than the one it was sent for",
            "send it for the task that it answers",
        )


def _failure(refusal: summary_pb2.Refusal) -> Failure:
    field = f", field {shown(refusal.field, most=128)}" if refusal.field else ""
    return Failure(
        shown(refusal.code, most=64) or "REFUSED",
        f"{refusal.country} refused: {shown(refusal.rule, most=MAX_WORDS) or 'no rule was given'}{field}",
        shown(refusal.remedy, most=MAX_WORDS) or "ask the site's custodian",
        Refused.exit_code,
    )
