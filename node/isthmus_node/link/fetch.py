"""Fetches the state of a task that is too large to come with it."""

from __future__ import annotations

import hashlib

import grpc

from isthmus.errors import LinkError, UsageError
from isthmus.memory import give_back
from isthmus.v1 import exchange_pb2, summary_pb2
from isthmus_methods.contract import Array
from isthmus_methods.summary_codec import state_from_bytes
from isthmus_node.link.channel import Session, error_from
from isthmus_node.link.submit import SLOWEST


def fetch_state(session: Session | None, name: bytes, task: summary_pb2.Task) -> dict[str, Array] | None:
    """The state of a task, held against the digest that the coordinator signed; None where it came with the task.

    Parameters
    ----------
    session
        The connection that stands; None: there is none now.
    name
        Digest of the task.

    Raises
    ------
    IsthmusError
        `LinkError` where it should be fetched again later; `UsageError` ``WRONG_STATE`` where it is another; what the
        coordinator said otherwise.
    """
    if not task.state_digest:
        return None
    if session is None:
        raise LinkError("NOT_ATTACHED", "the task's state cannot be fetched now", "none needed: it is tried again")
    # grows as bytes come, and is what the state's arrays are made of: a model is in memory once
    body, missing, digest = bytearray(), task.state_bytes, hashlib.sha256()
    try:
        parts = session.stub.FetchState(
            exchange_pb2.FetchStateRequest(task=name), timeout=session.timing.call + missing / SLOWEST
        )
        for part in parts:
            missing -= len(part.part)
            if missing < 0:
                # no more is taken than was announced and admitted
                parts.cancel()
                break
            body += part.part
            digest.update(part.part)
    except grpc.RpcError as error:
        raise error_from(error) from error
    if missing or digest.digest() != task.state_digest:
        raise _wrong()
    # the pieces it came in
    give_back()
    try:
        return state_from_bytes(body)
    except UsageError as error:
        raise _wrong() from error


def _wrong() -> UsageError:
    return UsageError(
        "WRONG_STATE",
        "the state that was fetched is not the one of the task; rule: it has the digest that the task names",
        "run the analysis again with a coordinator of this release",
    )
