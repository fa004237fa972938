"""The exact bytes that leave. The only place where what the gate said becomes bytes; `Outbound` is made here only."""

from __future__ import annotations

from dataclasses import InitVar, dataclass, field

from isthmus.delimited import Part, length_of
from isthmus.v1 import sealed_pb2, summary_pb2
from isthmus_node.egress.frames import pad
from isthmus_node.egress.gate import Cleared, Refusal
from isthmus_node.egress.summary_parts import around, item_parts, without_numbers
from isthmus_node.egress.words import words_of_cleared, words_of_refusal
from isthmus_trust.documents import REFUSAL, SEALED_SHARE, SUMMARY, canonical, digest, series_digest
from isthmus_trust.identity import IdentityKey

_SEAL = object()


@dataclass(frozen=True, slots=True)
class Header:
    """What a release answers, from whom. Digests are SHA-256, 32 bytes."""

    task: bytes  # digest of the task's bytes
    node: str
    country: str
    study: str = ""
    study_digest: bytes = b""
    analysis: str = ""
    run: bytes = b""
    round: int = 0
    dataset_digest: bytes = b""  # of the snapshot; empty where no rows were read
    software: str = ""
    reference: str = ""  # numbers of permit and dossier
    ages_up_to: float = 0.0  # years; ages above were read as this; 0: as they are


@dataclass(frozen=True, slots=True)
class Outbound:
    """Bytes that may leave once they are in the journal."""

    payload: bytes = field(repr=False)  # canonical bytes of a Signed summary or refusal
    digest: bytes  # SHA-256 of the payload
    event: str  # "RELEASED" or "REFUSED"
    words: str  # what they say, for people at the site
    header: Header
    purpose: int
    policy_digest: bytes
    about_rows: bool  # a refusal that may depend on rows: it is counted before it leaves
    series: bytes  # digest of what it has in common with later answers of its run; empty: it needs no person's word
    seal: InitVar[object]
    clear: bytes = b""  # of a share: digest of the signed summary that is in it, which stays at the site

    def __post_init__(self, seal: object) -> None:
        if seal is not _SEAL:
            raise TypeError("only the wire makes bytes that may leave")


@dataclass(frozen=True, slots=True)
class Masked:
    """A cleared summary's numbers under masks, and what the sum of all countries' is opened with."""

    vector: bytes = field(repr=False)  # 16 bytes a number
    layout: sealed_pb2.SealedLayout
    transcript: bytes  # T
    commitment: bytes
    countries: int


def encode(cleared: Cleared, header: Header, key: IdentityKey) -> Outbound:
    """A cleared summary as the bytes that leave: a `Summary`, signed by the node as ``isthmus/summary/1``."""
    summary = summary_pb2.Summary(
        task=header.task,
        node=header.node,
        country=header.country,
        notes=cleared.notes,
        policy_digest=cleared.policy_digest,
        dataset_digest=header.dataset_digest,
        software=header.software,
        reference=header.reference,
        privacy=cleared.privacy,
        ages_up_to=header.ages_up_to,
        counts_rounded_to=cleared.rounded_to if cleared.rounded_to > 1 else 0,
    )
    parts: list[Part] = []
    for item in cleared.items:
        message = summary.items.add(field=item.field, label=item.label, withheld_by=item.withheld_by)
        if item.value is not None:
            message.value.CopyFrom(without_numbers(item.value))
        parts += item_parts(message, item.value)
    head, tail = around(summary)
    pad(tail, cleared.room + _named(header), len(head) + length_of(parts))
    series = series_digest(summary, header.study_digest, header.run) if cleared.by_hand else b""
    payload = key.sign_parts(SUMMARY, [head, *parts, canonical(tail)])
    words = words_of_cleared(cleared)
    return _outbound(payload, "RELEASED", words, header, cleared.purpose, cleared.policy_digest, series=series)


def encode_refusal(refusal: Refusal, header: Header, key: IdentityKey) -> Outbound:
    """A refusal as the bytes that leave: a `Refusal`, signed by the node as ``isthmus/refusal/1``."""
    message = summary_pb2.Refusal(
        task=header.task,
        node=header.node,
        country=header.country,
        code=refusal.code,
        rule=refusal.rule,
        field=refusal.field,
        remedy=refusal.remedy,
    )
    pad(message, refusal.room + _named(header))
    payload = canonical(key.sign(REFUSAL, canonical(message)))
    words = words_of_refusal(refusal)
    return _outbound(payload, "REFUSED", words, header, refusal.purpose, refusal.policy_digest, refusal.about_rows)


def encode_share(clear: Outbound, masked: Masked, key: IdentityKey) -> Outbound:
    """What leaves in the place of a cleared summary: a `SealedShare`, signed by the node as ``isthmus/sealed-share/1``.

    The digest of the signed summary goes into the journal. It tells nothing of the numbers to whoever has the journal:
    the node's signature is part of what it is over, and nobody else can make that.
    """
    header = clear.header
    share = sealed_pb2.SealedShare(
        task=header.task,
        node=header.node,
        country=header.country,
        transcript=masked.transcript,
        vector=masked.vector,
        policy_digest=clear.policy_digest,
        dataset_digest=header.dataset_digest,
        software=header.software,
        layout=masked.layout,
        commitment=masked.commitment,
        reference=header.reference,
    )
    payload = canonical(key.sign(SEALED_SHARE, canonical(share)))
    words = f"sealed: what can be read of it is the sum over {masked.countries} countries\n{clear.words}"
    made = digest(payload)
    return Outbound(
        payload, made, "RELEASED", words, header, clear.purpose, clear.policy_digest, False, b"", _SEAL, clear.digest
    )


def _named(header: Header) -> int:
    """Bytes of the names in a header, in an answer and in a refusal alike."""
    return sum(len(text.encode()) for text in (header.node, header.country, header.software, header.reference))


def _outbound(
    payload: bytes,
    event: str,
    words: str,
    header: Header,
    purpose: int,
    policy_digest: bytes,
    about_rows: bool = False,
    series: bytes = b"",
) -> Outbound:
    return Outbound(payload, digest(payload), event, words, header, purpose, policy_digest, about_rows, series, _SEAL)
