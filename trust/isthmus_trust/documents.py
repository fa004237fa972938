"""Documents that are signed: one way to write them as bytes, one way to open them."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from isthmus.delimited import take_out
from isthmus.errors import AuthenticationError
from isthmus.v1 import study_pb2, summary_pb2
from isthmus_trust.identity import IdentityKey, verify, verify_in_place

STUDY = "isthmus/study/1"
TASK = "isthmus/task/1"
SUMMARY = "isthmus/summary/1"
REFUSAL = "isthmus/refusal/1"
DECISION = "isthmus/decision/1"
# A decision about one exploratory request. It stays at the node: the coordinator learns of it by the answer.
REQUEST = "isthmus/request/1"
# A decision about one run, where the site's policy has a person decide on each. It stays at the node too.
RUN = "isthmus/run/1"
# Decisions about numbers that were computed and wait until the custodian has seen them: about exact bytes, and about
# these and the later ones of the same run that are alike. They stay at the node.
RELEASE = "isthmus/release/1"
SERIES = "isthmus/series/1"
# What a node says of its journal, that one such follows from another, and a witness's word that it saw one.
CHECKPOINT = "isthmus/checkpoint/1"
CONSISTENCY = "isthmus/consistency/1"
COSIGNATURE = "isthmus/cosignature/1"
ROSTER = "isthmus/roster/1"
BUNDLE = "isthmus/bundle/1"
POLICY = "isthmus/policy/1"
LIMITS = "isthmus/limits/1"
# What nodes say to each other in a round of a sealed study.
SEALED_KEYS = "isthmus/sealed-keys/1"
SEALED_AGREEMENT = "isthmus/sealed-agreement/1"
SEALED_SHARE = "isthmus/sealed-share/1"
SEALED_LIST = "isthmus/sealed-list/1"
SEALED_REVEAL = "isthmus/sealed-reveal/1"
# Proof, at enrolment and renewal, that the caller has the key it names: over the certificate request.
ENROLMENT = "isthmus/enrolment/1"

M = TypeVar("M", bound=Message)


def canonical(message: Message) -> bytes:
    """The bytes of a message that are signed, hashed and kept: fields in the order of their numbers, nothing unknown.

    Raises
    ------
    AuthenticationError
        ``UNKNOWN_FIELDS`` where the message carries fields that this version does not know, at any depth.
    """
    body: bytes = message.SerializeToString(deterministic=True)
    known = type(message)()
    known.CopyFrom(message)
    _drop_unknown(known)
    # what is dropped makes it shorter, and nothing makes it longer: no second copy of a large one is needed
    if known.ByteSize() != len(body):
        raise AuthenticationError(
            "UNKNOWN_FIELDS",
            f"a {_kind(message)} has fields that this version of isthmus does not know; "
            "rule: nothing unknown is signed",
            "run the same release of isthmus on both sides",
        )
    return body


def read_canonical(body: bytes, message_type: type[M]) -> M:
    """Read a message whose bytes must be canonical: writing it again gives the same bytes.

    Raises
    ------
    AuthenticationError
        ``NOT_A_DOCUMENT`` where the bytes are no such message, ``NOT_CANONICAL`` where the same message has other
        canonical bytes: fields in another order, twice, or unknown.
    """
    message = message_type()
    try:
        message.ParseFromString(body)
    except DecodeError as error:
        raise _no_document(message_type) from error
    _drop_unknown(message)
    if message.SerializeToString(deterministic=True) != body:
        raise AuthenticationError(
            "NOT_CANONICAL",
            f"a {_kind(message)} is not in canonical bytes; rule: one document has one form, without unknown fields",
            "run the same release of isthmus on both sides; if it is the same, report what sent them",
        )
    return message


def open_signed(signed: study_pb2.Signed, context: str, message_type: type[M], key: bytes | None = None) -> M:
    """Check a signed document and read it.

    Parameters
    ----------
    signed
        As received.
    context
        The kind of document that is expected here.
    message_type
        Its message.
    key
        Public key (32 bytes) that must have signed it; None takes any key, and the caller looks at
        ``signed.public_key``.

    Raises
    ------
    AuthenticationError
        ``WRONG_CONTEXT``, ``WRONG_SIGNER``, ``BAD_SIGNATURE``, ``NOT_A_DOCUMENT`` or ``NOT_CANONICAL``. Nothing of the
        body is read before its signature is checked.
    """
    if signed.context != context:
        raise AuthenticationError(
            "WRONG_CONTEXT",
            f"expected a document signed as {context!r}, got one of another kind; "
            "rule: a signature of one kind is never one of another",
            "report what sent it: a correct release never does this",
        )
    if key is not None and signed.public_key != key:
        raise _wrong_signer(message_type)
    verify(signed.public_key, context, signed.body, signed.signature)
    return read_canonical(signed.body, message_type)


def open_in_place(
    signed: bytearray, context: str, message_type: type[M], key: bytes, large: Sequence[Collection[int]]
) -> tuple[M, list[memoryview]]:
    """As `open_signed`, of a document whose large fields are not copied: they are taken out of the message.

    Parameters
    ----------
    signed
        Canonical bytes of the document; they are not to be used otherwise any more.
    large
        As `take_out` has it.

    Returns
    -------
    tuple
        The message, its large fields empty, and their contents in order: places in `signed`.
    """
    body, public = verify_in_place(signed, context)
    if public != key:
        raise _wrong_signer(message_type)
    try:
        left, contents = take_out(body, large)
    except ValueError as error:
        raise _no_document(message_type) from error
    return read_canonical(left, message_type), contents


def prove(key: IdentityKey, request_pem: bytes) -> bytes:
    """Proof, for enrolment and renewal, that the one who asks for a certificate has the identity key: 64 bytes."""
    return key.sign(ENROLMENT, request_pem).signature


def check_proof(public: bytes, request_pem: bytes, proof: bytes) -> None:
    """Check what `prove` gave.

    Raises
    ------
    AuthenticationError
        ``BAD_SIGNATURE`` where the proof is not of this key over this request, ``BAD_PUBLIC_KEY`` where the key is
        none that proves anything.
    """
    verify(public, ENROLMENT, request_pem, proof)


def digest(body: bytes) -> bytes:
    """SHA-256 of a document's bytes, 32 bytes: its name everywhere else."""
    return hashlib.sha256(body).digest()


def request_digest(task: summary_pb2.Task) -> bytes:
    """What a custodian decides on where an analysis is not in the plan: study, request and purpose, for any round."""
    body = summary_pb2.Task(study_digest=task.study_digest, spec=task.spec, purpose=task.purpose)
    return digest(b"isthmus/request/1\0" + canonical(body))


def run_digest(task: summary_pb2.Task) -> bytes:
    """What a custodian decides on where each run is asked about: the request and this run of it, for any round."""
    body = summary_pb2.Task(
        study_digest=task.study_digest, spec=task.spec, purpose=task.purpose, analysis=task.analysis, run=task.run
    )
    return digest(b"isthmus/run/1\0" + canonical(body))


def series_digest(answer: summary_pb2.Summary, study_digest: bytes, run: bytes) -> bytes:
    """What the answers of one run have in common that a custodian releases together: all but the task and the numbers.

    Country, study and run, rows, policy and release, and of each field its name, label, shape and whether it was
    withheld. An answer that has one of them otherwise is not of the series.
    """
    body = summary_pb2.Summary()
    body.CopyFrom(answer)
    body.task = run
    body.ClearField("privacy")
    del body.padding[:]
    for item in body.items:
        whole = item.value.HasField("counts")
        item.value.ClearField("doubles")
        item.value.ClearField("floats")
        item.value.ClearField("counts")
        if whole:
            item.value.counts.SetInParent()
    return digest(b"isthmus/series/1\0" + study_digest + canonical(body))


def _drop_unknown(message: Message) -> None:
    message.DiscardUnknownFields()  # type: ignore[attr-defined]  # the published types leave it out


def _wrong_signer(message_type: type[Message]) -> AuthenticationError:
    return AuthenticationError(
        "WRONG_SIGNER",
        f"a {_kind(message_type())} is signed by another key than the one on record",
        "compare the key's fingerprint with its owner; a new key has to be enrolled before it signs",
    )


def _no_document(message_type: type[Message]) -> AuthenticationError:
    return AuthenticationError(
        "NOT_A_DOCUMENT",
        f"the bytes received are not a {_kind(message_type())}",
        "run the same release of isthmus on both sides; if it is the same, report what sent them",
    )


def _kind(message: Message) -> str:
    return str(message.DESCRIPTOR.name).lower()
