"""One answer of one country with everything that it hangs on, each link held against its signature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from isthmus.errors import IsthmusError
from isthmus.v1 import journal_pb2, sealed_pb2, study_pb2, summary_pb2
from isthmus_client.replay.bundle import Bundle, Entry, Noted
from isthmus_client.replay.faults import at, fault, forged
from isthmus_methods.summary_codec import check_padding
from isthmus_trust.documents import (
    DECISION,
    REFUSAL,
    RELEASE,
    REQUEST,
    RUN,
    SEALED_SHARE,
    SERIES,
    SUMMARY,
    TASK,
    digest,
    open_signed,
    read_canonical,
    request_digest,
    run_digest,
    series_digest,
)
from isthmus_trust.identity import fingerprint

# What a node answers with.
Left = summary_pb2.Summary | summary_pb2.Refusal | sealed_pb2.SealedShare
_WORDS = {
    DECISION: "study",
    REQUEST: "request",
    RUN: "run",
    RELEASE: "numbers",
    SERIES: "numbers of the run",
}


@dataclass(frozen=True, slots=True)
class Approval:
    """A custodian's signed decision that was in force when an answer left."""

    about: str  # "study", "request", "run", "numbers", or "numbers of the run"
    decided_at: int  # UTC, nanoseconds since 1970
    reason: str
    key: str  # fingerprint of the custodian's key
    sequence: int  # of the record in the site's journal


@dataclass(frozen=True, slots=True)
class InForce:
    """The policy that an answer left under, as the custodian signed it."""

    number: int  # of the site's policies, from 1
    adopted_at: int  # UTC, nanoseconds since 1970
    reason: str
    key: str  # fingerprint of the custodian's key
    sequence: int  # of the record with which it came in force


@dataclass(frozen=True, slots=True)
class Sealed:
    """A node's part in a sealed round, as its journal has it."""

    share: sealed_pb2.SealedShare
    signed: study_pb2.Signed  # the share as it left
    reveal: study_pb2.Signed | None  # None where the round ended before
    receipt: sealed_pb2.SealedReceipt | None  # None where this node did not see the end of it


@dataclass(frozen=True, slots=True)
class Answered:
    """A country's answer to one task: the task, the exact bytes, and who let them go."""

    bundle: str
    node: str
    country: str
    sequence: int
    recorded_at: int
    task_digest: bytes
    task: summary_pb2.Task = field(repr=False)
    coordinator: str  # fingerprint of the key that signed the task
    identity: str  # fingerprint of the key that signed the answer
    payload_digest: bytes
    payload_bytes: int
    policy_digest: bytes
    dataset_digest: bytes
    approvals: tuple[Approval, ...]
    policy: InForce | None = None  # None for a refusal, and where the journal has no signed policy
    summary: summary_pb2.Summary | None = field(repr=False, default=None)
    sealed: Sealed | None = field(repr=False, default=None)
    refusal: summary_pb2.Refusal | None = field(repr=False, default=None)

    @property
    def where(self) -> str:
        return at(self.bundle, self.sequence)

    @property
    def software(self) -> str | None:
        """Version of isthmus at the node; None of a refusal."""
        if self.sealed is not None:
            return self.sealed.share.software
        return None if self.summary is None else self.summary.software

    def withheld(self) -> list[tuple[str, str, str]]:
        """Fields that were withheld: field, label, and the rule's code."""
        if self.sealed is not None:
            return [(f.field, f.label, f.withheld_by) for f in self.sealed.share.layout.fields if f.withheld_by]
        items = self.summary.items if self.summary is not None else ()
        return [(item.field, item.label, item.withheld_by) for item in items if item.withheld_by]


def find_study(digest_of_study: bytes, bundles: Sequence[Bundle], where: str) -> study_pb2.Study:
    """The study of that digest, whichever bundle has it; a `Fault` where none has."""
    for bundle in bundles:
        if digest_of_study in bundle.studies:
            return bundle.studies[digest_of_study]
    raise fault("NOT_AS_RECORDED", where, f"study {digest_of_study.hex()} is in no bundle")


def open_answer(bundle: Bundle, entry: Entry, study: study_pb2.Study) -> Answered:
    """Check one answer against its task, its signature, the study's keys and the custodian's decisions.

    Raises
    ------
    Fault
        ``RECORD_FORGED`` where a signature or a document is not what it must be, ``NOT_AS_RECORDED`` where record,
        task and answer do not say the same, ``NOT_APPROVED``.
    """
    record, where = entry.record, at(bundle.name, entry.record.sequence)
    participant = next((p for p in study.participants if p.node == bundle.node), None)
    if participant is None:
        raise fault("NOT_AS_RECORDED", where, f"node {bundle.node!r} does not take part in study {study.name}")
    if bundle.identity != participant.identity_key:
        raise fault("RECORD_FORGED", bundle.name, f"it is sealed by another key than {participant.node}'s in the study")
    enrolled = bundle.roster.get(participant.node)
    keys = (participant.identity_key, participant.custodian_key)
    if enrolled is not None and (enrolled.identity_key, enrolled.custodian_key) != keys:
        raise fault("RECORD_FORGED", where, f"study {study.name} names other keys for {bundle.node!r} than the roster")
    try:
        order = read_canonical(record.document, study_pb2.Signed)
        task = open_signed(order, TASK, summary_pb2.Task)
        signed = read_canonical(entry.payload, study_pb2.Signed)
        answer = _answer(signed, record.event, participant.identity_key)
        if not isinstance(answer, sealed_pb2.SealedShare):
            check_padding(answer.padding)
    except IsthmusError as error:
        raise forged(where, error) from error
    _check_record(record, digest(order.body), task, answer, participant, where)
    gave = not isinstance(answer, summary_pb2.Refusal)
    if gave:
        _check_plan(task, study, where)
    return Answered(
        bundle=bundle.name,
        node=participant.node,
        country=participant.country,
        sequence=record.sequence,
        recorded_at=record.recorded_at,
        task_digest=record.task,
        task=task,
        coordinator=fingerprint(order.public_key),
        identity=fingerprint(participant.identity_key),
        payload_digest=record.payload_digest,
        payload_bytes=record.payload_bytes,
        policy_digest=record.policy_digest,
        dataset_digest=record.dataset_digest,
        approvals=_approvals(bundle, entry, task, answer, participant)
        if not isinstance(answer, summary_pb2.Refusal)
        else (),
        policy=_policy(bundle, record, participant) if gave else None,
        summary=answer if isinstance(answer, summary_pb2.Summary) else None,
        sealed=Sealed(answer, signed, bundle.reveals.get(record.task), bundle.receipts.get(record.task))
        if isinstance(answer, sealed_pb2.SealedShare)
        else None,
        refusal=answer if isinstance(answer, summary_pb2.Refusal) else None,
    )


def _check_record(
    record: journal_pb2.Record,
    task_digest: bytes,
    task: summary_pb2.Task,
    answer: Left,
    participant: study_pb2.Participant,
    where: str,
) -> None:
    """Record, signed task and signed answer say the same."""
    told: dict[str, tuple[object, object]] = {
        "task": (record.task, task_digest),
        "task that is answered": (record.task, answer.task),
        "run": (record.run, task.run),
        "round": (record.round, task.round),
        "analysis": (record.analysis, task.analysis),
        "study": (record.study_digest, task.study_digest),
        "node": (participant.node, answer.node),
        "country": (participant.country, answer.country),
    }
    if not isinstance(answer, summary_pb2.Refusal):
        told["policy"] = (record.policy_digest, answer.policy_digest)
        told["dataset"] = (record.dataset_digest, answer.dataset_digest)
    wrong = next((what for what, (one, other) in told.items() if one != other), None)
    if wrong is not None:
        raise fault("NOT_AS_RECORDED", where, f"the record and what was signed name another {wrong}")


def _answer(signed: study_pb2.Signed, event: str, key: bytes) -> Left:
    if event == "RELEASED" and signed.context == SEALED_SHARE:
        return open_signed(signed, SEALED_SHARE, sealed_pb2.SealedShare, key)
    if event == "RELEASED":
        return open_signed(signed, SUMMARY, summary_pb2.Summary, key)
    return open_signed(signed, REFUSAL, summary_pb2.Refusal, key)


def _check_plan(task: summary_pb2.Task, study: study_pb2.Study, where: str) -> None:
    """What was answered is the study's planned analysis to the byte, among its participants in its order."""
    names = [p.node for p in study.participants if p.node in set(task.participants)]
    if names != list(task.participants):
        raise fault("NOT_AS_RECORDED", where, "the task's participants are not the study's, each once, in its order")
    if not task.analysis:
        return
    planned = next((a for a in study.plan if a.name == task.analysis), None)
    if planned is None or planned.spec != task.spec or planned.purpose != task.purpose:
        raise fault("NOT_AS_RECORDED", where, f"what was asked is not analysis {task.analysis!r} of study {study.name}")


def _approvals(
    bundle: Bundle,
    entry: Entry,
    task: summary_pb2.Task,
    answer: summary_pb2.Summary | sealed_pb2.SealedShare,
    participant: study_pb2.Participant,
) -> tuple[Approval, ...]:
    """The decisions this answer hangs on. An answer outside the plan may have one of its own, or the site's policy."""
    where = at(bundle.name, entry.record.sequence)
    approval = _in_force(bundle, entry, DECISION, task.study_digest, participant)
    if approval is None:
        raise fault("NOT_APPROVED", where, "no decision of the custodian about the study was in force when it left")
    # a site's policy may let the others pass, so they need not be there
    about_request = _in_force(bundle, entry, REQUEST, request_digest(task), participant) if not task.analysis else None
    about_run = _in_force(bundle, entry, RUN, run_digest(task), participant)
    # of a share the custodian saw the summary that is in it
    seen = entry.record.clear_digest or entry.record.payload_digest
    about_bytes = _in_force(bundle, entry, RELEASE, seen, participant)
    about_series = None
    if isinstance(answer, summary_pb2.Summary):
        series = series_digest(answer, task.study_digest, task.run)
        about_series = _in_force(bundle, entry, SERIES, series, participant)
    # which series the summary in a share is of cannot be said without it: any that was released before counts
    in_series = about_series is not None or (
        isinstance(answer, sealed_pb2.SealedShare)
        and any(n.context == SERIES and n.decision.approved for n in bundle.decisions)
    )
    if seen in bundle.held and about_bytes is None and not in_series:
        raise fault("NOT_APPROVED", where, "it was held for inspection, and left without the custodian's release")
    found = (approval, about_request, about_run, about_bytes, about_series)
    return tuple(one for one in found if one is not None)


def _policy(bundle: Bundle, record: journal_pb2.Record, participant: study_pb2.Participant) -> InForce | None:
    """The newest policy before an answer left; a fault where it left under another, or another key signed it."""
    newest = next((p for p in reversed(bundle.policies) if p.sequence < record.sequence), None)
    if newest is None:
        return None
    where = at(bundle.name, record.sequence)
    if newest.policy.digest != record.policy_digest:
        raise fault(
            "NOT_AS_RECORDED", where, f"it left under another policy than record {newest.sequence} put in force"
        )
    if newest.key != participant.custodian_key or newest.policy.node != participant.node:
        raise fault("RECORD_FORGED", at(bundle.name, newest.sequence), "the policy is not signed by the custodian")
    return InForce(
        number=newest.policy.serial,
        adopted_at=newest.policy.adopted_at,
        reason=newest.policy.reason,
        key=fingerprint(newest.key),
        sequence=newest.sequence,
    )


def _in_force(
    bundle: Bundle, entry: Entry, context: str, about: bytes, participant: study_pb2.Participant
) -> Approval | None:
    """The newest decision about something before an answer left; None where there is none, a fault where it was no.

    A decision may be journaled a moment after the first answer that it let out: what counts is when it was signed.
    """
    where = at(bundle.name, entry.record.sequence)
    newest: Noted | None = None
    for noted in bundle.decisions:
        decision = noted.decision
        if (noted.context, decision.study_digest, decision.node) != (context, about, participant.node):
            continue
        if noted.key != participant.custodian_key:
            raise fault(
                "RECORD_FORGED",
                at(bundle.name, noted.sequence),
                "the decision is signed by another key than the custodian's in the study",
            )
        before = noted.sequence < entry.record.sequence or decision.decided_at <= entry.record.recorded_at
        if before and (newest is None or decision.decided_at >= newest.decision.decided_at):
            newest = noted
    if newest is None:
        return None
    if not newest.decision.approved:
        raise fault("NOT_APPROVED", where, f"the custodian had declined it (record {newest.sequence}) before it left")
    return Approval(
        about=_WORDS[context],
        decided_at=newest.decision.decided_at,
        reason=newest.decision.reason,
        key=fingerprint(newest.key),
        sequence=newest.sequence,
    )
