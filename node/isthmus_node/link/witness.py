"""Checkpoints on the network: sizes and hashes of journals, signed; nothing that is in them."""

from __future__ import annotations

from collections.abc import Sequence

import grpc

from isthmus.v1 import exchange_pb2, study_pb2
from isthmus_node.link.channel import Session, error_from


def ask_witnesses(
    session: Session, checkpoint: study_pb2.Signed, proofs: Sequence[study_pb2.Signed], roster: bytes
) -> exchange_pb2.WitnessReply:
    """Have the coordinator see a checkpoint and pass it on; what was said to it so far.

    Parameters
    ----------
    roster
        SHA-256 of the roster this node has; empty where it has none.

    Raises
    ------
    IsthmusError
        `VersionError` ``UNKNOWN_CALL`` where the coordinator's release knows no witnesses; `LinkError` where it is to
        be tried again.
    """
    request = exchange_pb2.WitnessRequest(checkpoint=checkpoint, proofs=proofs, roster=roster)
    try:
        reply: exchange_pb2.WitnessReply = session.stub.Witness(request, timeout=session.timing.call)
    except grpc.RpcError as error:
        raise error_from(error) from error
    return reply


def say_as_witness(session: Session, said: exchange_pb2.WitnessSaid) -> None:
    """Tell what this node says to another's checkpoint. Raises as `ask_witnesses`."""
    try:
        session.stub.Cosign(exchange_pb2.CosignRequest(said=said), timeout=session.timing.call)
    except grpc.RpcError as error:
        raise error_from(error) from error
