"""Whatever goes wrong at the coordinator, its text goes to nobody: one marker, thrown under every call."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from isthmus.errors import UsageError
from isthmus.event_log import EventLog
from isthmus.v1 import analyst_pb2, exchange_pb2, study_pb2
from isthmus_coordinator.analyses.desk import Desk
from isthmus_coordinator.analyses.rounds import Rounds
from isthmus_coordinator.link import door as door_module
from isthmus_coordinator.link.door import Door
from isthmus_coordinator.link.exchange import ExchangeServicer
from isthmus_coordinator.logs import EVENTS, EventHandler
from isthmus_coordinator.roster.enrolment import Enrolment
from isthmus_coordinator.roster.members import Roster
from isthmus_coordinator.studies.catalogue import Studies

from .conftest import Region

MARKER = "P17 97 years 129.587"


class Panic(BaseException):
    """As libraries in Rust raise: no Exception."""


@pytest.fixture
def said() -> Iterator[io.StringIO]:
    """What the coordinator and gRPC log meanwhile, through the handler that a running one has."""
    stream = io.StringIO()
    ours = logging.getLogger("isthmus_coordinator")
    handler = EventHandler(EventLog(EVENTS, "debug", stream))
    before = ours.handlers[:], ours.propagate
    ours.handlers[:], ours.propagate = [handler], False
    yield stream
    ours.handlers[:], ours.propagate = before


def _chunk() -> Iterator[exchange_pb2.SubmissionChunk]:
    return iter([exchange_pb2.SubmissionChunk(task=bytes(32), total_bytes=1, part=b"x")])


def _hello() -> Iterator[exchange_pb2.NodeMessage]:
    return iter([exchange_pb2.NodeMessage(hello=exchange_pb2.Hello(software="0.1.0"))])


A, E = analyst_pb2, exchange_pb2
# What is thrown in, and the call under which it comes up: whose stub, its name, its request.
PLACES: dict[str, tuple[Any, str, str, str, Callable[[], Any]]] = {
    "the roster": (Roster, "check", "analyst", "ListStudies", A.ListStudiesRequest),
    "the door": (Door, "peer", "analyst", "ListStudies", A.ListStudiesRequest),
    "the list of studies": (Studies, "all", "analyst", "ListStudies", A.ListStudiesRequest),
    "a study": (Studies, "named", "analyst", "GetStudy", lambda: A.GetStudyRequest(name="x")),
    "a proposal": (Studies, "propose", "analyst", "ProposeStudy", A.ProposeStudyRequest),
    "an order": (Desk, "submit", "analyst", "Submit", A.SubmitRequest),
    "a result": (Desk, "result", "analyst", "GetResult", A.GetResultRequest),
    "an explanation": (Desk, "explain", "analyst", "Explain", A.ExplainRequest),
    "a cancellation": (Desk, "cancel", "analyst", "Cancel", A.CancelRequest),
    "progress": (Desk, "follow", "analyst", "Watch", A.WatchRequest),
    "participants": (Roster, "all", "analyst", "ListParticipants", A.ListParticipantsRequest),
    "a submission": (Rounds, "check_task", "exchange", "Submit", _chunk),
    "its chunks": (ExchangeServicer, "_collect", "exchange", "Submit", _chunk),
    "a decision": (Studies, "decide", "exchange", "Decide", lambda: E.DecideRequest(decision=study_pb2.Signed())),
    "a renewal": (Enrolment, "renew", "exchange", "Renew", E.RenewRequest),
    "a stream": (ExchangeServicer, "_hello", "exchange", "Attach", _hello),
    "a stream's studies": (Studies, "awaiting", "exchange", "Attach", _hello),
    "a stream's tasks": (Rounds, "outstanding", "exchange", "Attach", _hello),
}


def _told(region: Region, whose: str, call: str, request: Any, **stub: Any) -> tuple[str, str]:
    """The status and everything that the caller was told."""
    member = region.lead if whose == "analyst" else stub["node"]
    method = getattr(getattr(member, whose), call)
    with pytest.raises(grpc.RpcError) as caught:
        list(method(request, timeout=20)) if call in ("Watch", "Attach") else method(request, timeout=20)
    error: Any = caught.value
    told = f"{error.details()} {error.debug_error_string()} {list(error.trailing_metadata() or ())}"
    return error.code().name, told


@pytest.mark.parametrize("kind", [ValueError, Panic, UnicodeError], ids=lambda k: k.__name__)
def test_text_of_an_error_goes_to_nobody(
    region: Region, said: io.StringIO, kind: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    (node,) = region.nodes("nl")
    for place, (owner, name, whose, call, request) in PLACES.items():
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, _throwing(kind))
            if place == "its chunks":
                patch.setattr(Rounds, "check_task", lambda *_: None)
            status, told = _told(region, whose, call, request(), node=node)
        assert status == "INTERNAL", place
        assert MARKER not in told, place
        assert "97" not in told.replace("isthmus", ""), place
    assert MARKER not in said.getvalue()
    assert said.getvalue().count(f'"kind": "{kind.__name__}"') >= len(PLACES)
    # it still answers
    region.lead.analyst.ListStudies(A.ListStudiesRequest(), timeout=20)


def _throwing(kind: type[BaseException]) -> Callable[..., Any]:
    def thrown(*_: object, **__: object) -> Any:
        raise kind(MARKER)

    return thrown


def test_text_of_an_error_goes_to_the_caller_where_the_door_does_not_catch_it(
    region: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Off: gRPC puts the text of an exception into the caller's hands."""

    def passes_on(_method: str, error: BaseException, _context: Any) -> None:
        raise error

    monkeypatch.setattr(door_module, "_turn_away", passes_on)
    monkeypatch.setattr(Studies, "all", _throwing(ValueError))
    logging.getLogger("grpc._server").disabled = True
    try:
        _, told = _told(region, "analyst", "ListStudies", A.ListStudiesRequest())
    finally:
        logging.getLogger("grpc._server").disabled = False
    assert MARKER in told


def test_error_of_ours_crosses_with_its_own_words(region: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object) -> Any:
        raise UsageError("NOT_SO", "not so", "otherwise")

    monkeypatch.setattr(Studies, "named", refuses)
    status, told = _told(region, "analyst", "GetStudy", A.GetStudyRequest(name="x"))
    assert status == "INVALID_ARGUMENT"
    assert "NOT_SO" in told
