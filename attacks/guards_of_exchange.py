"""What stands between a site and whoever speaks with it: who may ask what, and what is said and how long it is."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from attacks.patching import everywhere, put


def _answers_anybody() -> None:
    from isthmus_node.admission import Admission

    put(Admission, "_check_participants", lambda self, task, study: None)


def _answers_anything_planned_or_not() -> None:
    from isthmus_node.admission import Admission

    put(Admission, "_check_plan", lambda self, task, study, policy: None)


def _no_bounds_of_rounds() -> None:
    from isthmus_node import admission

    put(admission, "_check_round", lambda task, study, method, spec: None)


def _no_lock() -> None:
    """Refusals are not counted."""
    from isthmus_node.custodian.locks import Locks

    put(Locks, "check", lambda self, study, task: None)
    put(Locks, "count", lambda self, *about: None)


def _of_any_size() -> None:
    """Requests are as large as somebody likes."""
    from isthmus_node import admission

    put(admission, "check_bounds", lambda spec: None)


def _any_signed_policy() -> None:
    """What the custodian signed once is as good as what was signed last."""
    from isthmus_node.custodian.adoption import Adoptions

    check = Adoptions.check
    put(Adoptions, "check", lambda self, text, policy, journaled: check(self, text, policy, (0, b"")))


def _no_deadline() -> None:
    from isthmus_node.admission import Admission

    original = Admission.admit

    def admit(self: Any, name: bytes, task: Any) -> Any:
        open_ended = type(task)()
        open_ended.CopyFrom(task)
        open_ended.deadline = 0
        return original(self, name, open_ended)

    put(Admission, "admit", admit)


def _any_bytes() -> None:
    """Signed documents may carry what the contract does not have."""
    from isthmus_trust import documents

    original = documents.read_canonical

    def read(body: bytes, message_type: Any) -> Any:
        message = message_type()
        message.ParseFromString(body)
        documents._drop_unknown(message)
        return message

    everywhere("read_canonical", original, read)


def _any_signer() -> None:
    """Whoever signed a task: it is taken."""
    from isthmus_node import service

    original = vars(service)["open_task"]

    def open_task(signed: Any, coordinator: bytes) -> Any:
        return original(signed, signed.public_key)

    put(service, "open_task", open_task)


def _logs_anything() -> None:
    """The log writes whatever it is given."""
    from isthmus.event_log import EventLog

    def event(self: Any, name: str, **keys: Any) -> None:
        with self._lock:
            self._stream.write(f"{name} {keys}\n")
            self._stream.flush()

    put(EventLog, "event", event)


def _anything_speaks() -> None:
    """Standard error is everybody's."""
    from isthmus import confined

    @contextlib.contextmanager
    def everybody() -> Iterator[Any]:
        yield sys.stderr

    everywhere("only_the_log_speaks", confined.only_the_log_speaks, everybody)


def _as_long_as_it_is() -> None:
    """An answer has the length that its numbers take."""
    from isthmus_node.egress import frames

    everywhere("pad", frames.pad, lambda *_: None)


EXCHANGE: Mapping[str, tuple[tuple[str, ...], Callable[[], None]]] = {
    "participants of the study": (("isthmus_node.admission:Admission._check_participants",), _answers_anybody),
    "plan": (("isthmus_node.admission:Admission._check_plan",), _answers_anything_planned_or_not),
    "bounds of rounds": (("isthmus_node.admission:_check_round",), _no_bounds_of_rounds),
    "policies only go on": (("isthmus_node.custodian.adoption:Adoptions.check",), _any_signed_policy),
    "lock": (("isthmus_node.custodian.locks:Locks.check",), _no_lock),
    "bounds of requests": (("isthmus_trust.bounds:check_spec",), _of_any_size),
    "deadline": (("isthmus_node.admission:Admission.admit",), _no_deadline),
    "canonical bytes": (("isthmus_trust.documents:read_canonical",), _any_bytes),
    "signed by the coordinator": (("isthmus_node.service:open_task",), _any_signer),
    "log by list": (("isthmus.event_log:EventLog.event",), _logs_anything),
    "only the log speaks": (("isthmus.confined:only_the_log_speaks",), _anything_speaks),
    "padded answers": (("isthmus_node.egress.frames:pad",), _as_long_as_it_is),
}
