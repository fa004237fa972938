"""A coordinator that is told anything, over real connections and both services: a defined status, and no fault."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Iterator
from random import Random

import grpc
import numpy as np
import pytest
from google.protobuf.message import Message
from mutating import mutated, mutated_bytes

from isthmus.errors import IsthmusError
from isthmus.event_log import EventLog
from isthmus.v1 import analyst_pb2, exchange_pb2, study_pb2, summary_pb2
from isthmus_coordinator.analyses.answers import read_answer
from isthmus_coordinator.analyses.run import Request
from isthmus_coordinator.analyses.submission import Submission
from isthmus_coordinator.logs import EVENTS, EventHandler
from isthmus_trust.documents import DECISION, STUDY, SUMMARY, canonical

from .conftest import FakeNode, Region, spec

Tries = Callable[[int], Iterator[Random]]
# What a call may end with. INTERNAL and UNKNOWN are faults, UNAVAILABLE a connection that broke.
DEFINED = {"INVALID_ARGUMENT", "FAILED_PRECONDITION", "PERMISSION_DENIED", "UNAUTHENTICATED", "ABORTED"}
# Calls that are answered by a stream.
STREAMED = ("Watch", "GetModel", "FetchState")
# gRPC's own word for bytes that are no message of the call.
NO_MESSAGE = "Exception deserializing request!"


@pytest.fixture
def faults() -> Iterator[io.StringIO]:
    """What the coordinator logs as a fault of its own."""
    stream = io.StringIO()
    ours = logging.getLogger("isthmus_coordinator")
    before = ours.handlers[:], ours.propagate
    ours.handlers[:], ours.propagate = [EventHandler(EventLog(EVENTS, "error", stream))], False
    # what is no message is logged by gRPC with its trace: that is its way of saying so
    logging.getLogger("grpc._server").disabled = True
    yield stream
    logging.getLogger("grpc._server").disabled = False
    ours.handlers[:], ours.propagate = before


def _tell(channel: grpc.Channel, service: str, name: str, bodies: list[bytes]) -> str:
    """Say these bytes; the status, "OK" where they were taken."""
    method = f"/isthmus.v1.{service}/{name}"
    shape = {"Submit": channel.stream_unary, "Attach": channel.stream_stream} if service == "Exchange" else {}
    make = shape.get(name, channel.unary_stream if name in STREAMED else channel.unary_unary)
    call = make(method, request_serializer=bytes, response_deserializer=bytes)
    try:
        found = call(iter(bodies) if name in shape else bodies[0], timeout=20)
        if name in (*STREAMED, "Attach"):
            next(found, None)
            found.cancel()
    except grpc.RpcError as error:
        if error.details() == NO_MESSAGE:
            return "NO_MESSAGE"
        return str(error.code().name)
    return "OK"


def _analysts(region: Region, study: bytes, run: bytes) -> dict[str, Message]:
    analysis = study_pb2.Analysis(name="x", spec=spec(), purpose=study_pb2.TRIAL_ANALYSIS)
    a = analyst_pb2
    return {
        "ListStudies": a.ListStudiesRequest(),
        "GetStudy": a.GetStudyRequest(name="TEST", version=1),
        "ProposeStudy": a.ProposeStudyRequest(study=region.coordinator.office.studies.get(study).signed),
        "ListParticipants": a.ListParticipantsRequest(),
        "Submit": a.SubmitRequest(study_digest=study, exploratory=analysis),
        "Explain": a.ExplainRequest(study_digest=study, analysis=analysis),
        "Watch": a.WatchRequest(run=run),
        "GetResult": a.GetResultRequest(run=run),
        "GetModel": a.GetModelRequest(run=run),
        "Cancel": a.CancelRequest(run=run),
    }


def _nodes(node: FakeNode, study: bytes) -> dict[str, list[Message]]:
    e = exchange_pb2
    decision = study_pb2.Decision(study_digest=study, node=node.name, approved=True, decided_at=1)
    signed = node.custodian.sign(DECISION, canonical(decision))
    return {
        "Renew": [e.RenewRequest(certificate_request=b"-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n-----END")],
        "Decide": [e.DecideRequest(decision=signed)],
        "Submit": [
            e.SubmissionChunk(task=bytes(32), total_bytes=6, part=b"abc"),
            e.SubmissionChunk(part=b"def"),
        ],
        "SubmitWhole": [e.SubmissionChunk(task=bytes(32), total_bytes=3, part=b"abc")],
        "FetchState": [e.FetchStateRequest(task=bytes(32))],
        "Witness": [e.WitnessRequest()],
        "Cosign": [e.CosignRequest()],
        "Attach": [e.NodeMessage(hello=e.Hello(software="0.1.0", methods=["climb/1"], datasets=["ADTTE"]))],
        "Enrol": [e.EnrolRequest(secret=bytes(32), identity_key=bytes(32), software="0.1.0")],
    }


def test_every_call_of_both_services_ends_with_a_defined_status(
    region: Region, faults: io.StringIO, tries: Tries
) -> None:
    (node,) = region.nodes("nl")
    study = region.approved([node])
    run = region.submit(study, "fail")
    analysts, nodes = _analysts(region, study, run), _nodes(node, study)
    services = (analyst_pb2, analysts, "Analyst"), (exchange_pb2, nodes, "Exchange")
    for module, known, service in services:
        assert set(known) == {m.name for m in module.DESCRIPTOR.services_by_name[service].methods}
    seen = set()
    for chance in tries(25):
        for name, message in analysts.items():
            body = mutated(message, chance).SerializeToString()
            said = mutated_bytes(body, chance) if chance.random() < 0.3 else body
            seen.add(_tell(region.lead.channel, "Analyst", name, [said]))
        for name, messages in nodes.items():
            bodies = [mutated(message, chance).SerializeToString() for message in messages]
            bodies[-1] = mutated_bytes(bodies[-1], chance) if chance.random() < 0.3 else bodies[-1]
            seen.add(_tell(node.channel, "Exchange", name, bodies))
        assert seen <= DEFINED | {"OK", "NO_MESSAGE"}, (seen, faults.getvalue())
    assert faults.getvalue() == ""
    assert "INVALID_ARGUMENT" in seen
    # it still works
    assert region.lead.analyst.ListStudies(analyst_pb2.ListStudiesRequest(), timeout=20).studies


def test_studies_signed_by_their_author_are_taken_or_refused(region: Region, faults: io.StringIO, tries: Tries) -> None:
    nodes = region.nodes("nl", "be")
    whole = region.study(nodes)
    for number, chance in enumerate(tries(60)):
        study = mutated(whole, chance)
        study.version = max(study.version % 1000, number + 2) if chance.random() < 0.9 else study.version
        try:
            signed = region.lead.identity.sign(STUDY, canonical(study))
        except IsthmusError:
            continue
        status = _tell(
            region.lead.channel,
            "Analyst",
            "ProposeStudy",
            [analyst_pb2.ProposeStudyRequest(study=signed).SerializeToString()],
        )
        assert status in DEFINED | {"OK"}, (status, faults.getvalue())
    assert faults.getvalue() == ""


def read(request: Request, task: bytes, signed: study_pb2.Signed) -> None:
    with contextlib.closing(Submission()) as submission:
        submission.add(canonical(signed))
        read_answer(request, "nl", task, submission, 1)


def test_answers_signed_by_their_node_are_taken_or_refused(region: Region, faults: io.StringIO, tries: Tries) -> None:
    (node,) = region.nodes("nl")
    run = region.submit(region.approved([node]), "wait")
    live = region.coordinator.rounds.find(run)
    assert live is not None
    request, task = live.run.request, bytes(32)
    whole = node.summary(task, {"x": np.zeros(1)})
    taken = 0
    for chance in tries(300):
        try:
            signed = node.identity.sign(SUMMARY, canonical(mutated(whole, chance)))
            read(request, task, signed)
            taken += 1
        except IsthmusError:
            continue
    assert taken > 20
    assert faults.getvalue() == ""
    padded = summary_pb2.Summary()
    padded.CopyFrom(whole)
    padded.padding.append(b"\0\0x")
    with pytest.raises(IsthmusError, match="padding"):
        read(request, task, node.identity.sign(SUMMARY, canonical(padded)))


def test_submission_that_lies_about_its_length_is_not_collected(region: Region, faults: io.StringIO) -> None:
    (node,) = region.nodes("nl")
    chunk = exchange_pb2.SubmissionChunk
    for chunks in (
        [],
        [chunk()],
        [chunk(task=bytes(32), total_bytes=1 << 60)],
        [chunk(task=bytes(32), total_bytes=0)],
        [chunk(task=bytes(31), total_bytes=5)],
        [chunk(task=bytes(32), total_bytes=5, part=bytes(1 << 21))],
    ):
        status = _tell(node.channel, "Exchange", "Submit", [c.SerializeToString() for c in chunks])
        assert status in DEFINED, status
    assert faults.getvalue() == ""
