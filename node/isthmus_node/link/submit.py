"""Sends what the journal holds, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import grpc

from isthmus.errors import LinkError
from isthmus.v1 import exchange_pb2, study_pb2
from isthmus_node.egress.journal import Journaled
from isthmus_node.link.channel import Session, error_from
from isthmus_trust.documents import canonical, digest

CHUNK = 1024 * 1024
# What a slow line still has to manage, in bytes a second: a large answer gets more time.
SLOWEST = 100_000


def submit(session: Session, journaled: Journaled) -> study_pb2.Signed | None:
    """Send an answer and wait until the coordinator says that it is stored. Sending it again does no harm.

    Returns the task of the next round where the coordinator had one ready.

    Parameters
    ----------
    session
        The connection that stands.
    journaled
        Bytes that are in the journal; there is no way to send others.

    Raises
    ------
    IsthmusError
        `LinkError` where it should be sent again later; what the coordinator said otherwise.
    """
    if not isinstance(journaled, Journaled):
        raise TypeError("only what the journal holds is sent")
    seconds = session.timing.call + len(journaled.payload) / SLOWEST
    try:
        stored = _sent(session, journaled, seconds)
    except grpc.RpcError as error:
        raise error_from(error) from error
    _check_stored(stored, journaled.digest)
    return stored.task if stored.HasField("task") else None


def decide(session: Session, decision: study_pb2.Signed) -> None:
    """Send a custodian's signed decision. Raises as `submit` does."""
    try:
        stored: exchange_pb2.Acknowledgement = session.stub.Decide(
            exchange_pb2.DecideRequest(decision=decision), timeout=session.timing.call
        )
    except grpc.RpcError as error:
        raise error_from(error) from error
    _check_stored(stored, digest(canonical(decision)))


def _sent(session: Session, journaled: Journaled, seconds: float) -> exchange_pb2.Acknowledgement:
    if len(journaled.payload) <= CHUNK:
        # most rounds: without a stream it costs less on both sides
        stored: exchange_pb2.Acknowledgement = session.stub.SubmitWhole(next(_chunks(journaled)), timeout=seconds)
        return stored
    stored = session.stub.Submit(_chunks(journaled), timeout=seconds)
    return stored


def _chunks(journaled: Journaled) -> Iterator[exchange_pb2.SubmissionChunk]:
    payload = journaled.payload
    yield exchange_pb2.SubmissionChunk(task=journaled.task, total_bytes=len(payload), part=payload[:CHUNK])
    for start in range(CHUNK, len(payload), CHUNK):
        yield exchange_pb2.SubmissionChunk(part=payload[start : start + CHUNK])


def _check_stored(stored: exchange_pb2.Acknowledgement, expected: bytes) -> None:
    if stored.digest != expected:
        raise LinkError(
            "STORED_OTHERWISE",
            "the coordinator acknowledged other bytes than were sent",
            "none needed: they are sent again; if it goes on, tell the coordinating team",
        )
