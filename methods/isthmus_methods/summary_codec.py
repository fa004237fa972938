"""Between the messages of a round (its task, the countries' summaries) and the plain data that methods read.

The coordinator asks and reads with this, and an inspection asks and reads again with the same.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np
from google.protobuf.message import DecodeError

from isthmus.errors import Refused, UsageError
from isthmus.v1 import spec_pb2, study_pb2, summary_pb2, values_pb2
from isthmus_methods.codec import array_from_message, state_from_messages, state_to_messages
from isthmus_methods.contract import AppMessage, Array, Cleared, Integers, Procedure, State
from isthmus_methods.settings_codec import settings_from_messages, settings_to_messages

_SAME_RELEASE = "run the same release of isthmus at the coordinator and at the site"


def task_to_message(
    *,
    study_digest: bytes,
    analysis: str,
    run: bytes,
    number: int,
    spec: spec_pb2.Spec,
    purpose: study_pb2.Purpose,
    state: State,
    participants: Sequence[str],
    deadline: int,
    requester: str,
    message: AppMessage | None = None,
    apart: bytes = b"",
) -> summary_pb2.Task:
    """What every participant is asked in a round; equal parts give equal canonical bytes.

    Parameters
    ----------
    analysis
        Name in the plan; empty for an exploratory one.
    number
        Of the round, from 1.
    state
        What the pooled half sends to the nodes; empty in the first round.
    participants
        Names of nodes, in the study's order.
    deadline
        UTC, nanoseconds since 1970.
    requester
        Name of the analyst who ordered the run.
    message
        Only in training.
    apart
        The state as bytes, where it is too large for an order and is fetched; `state` is empty then.
    """
    task = summary_pb2.Task(
        study_digest=study_digest,
        analysis=analysis,
        run=run,
        round=number,
        spec=spec,
        purpose=purpose,
        state=state_to_messages(state),
        participants=participants,
        deadline=deadline,
        requester=requester,
        state_digest=hashlib.sha256(apart).digest() if apart else b"",
        state_bytes=len(apart),
    )
    if message is not None:
        asked = summary_pb2.AppMessage(type=message.type, config=settings_to_messages(message.config))
        task.message.CopyFrom(asked)
    return task


def message_of(task: summary_pb2.Task) -> AppMessage | None:
    """What a client app is asked; None where the task is no part of a training."""
    if not task.HasField("message"):
        return None
    return AppMessage(task.message.type, settings_from_messages(task.message.config))


def state_to_bytes(state: State) -> bytes:
    """A state on its own, where it does not come with the task; equal states give equal bytes."""
    return summary_pb2.State(arrays=state_to_messages(state)).SerializeToString(deterministic=True)


def state_from_bytes(body: bytes) -> State:
    """The state of such bytes. Raises `UsageError` where they are none."""
    try:
        message = summary_pb2.State.FromString(body)
    except DecodeError as error:
        raise UsageError("MALFORMED_STATE", "the bytes are no state", _SAME_RELEASE) from error
    return state_from_messages(message.arrays)


def memory_to_message(memory: State) -> summary_pb2.Task:
    """What the pooled half keeps from one round to the next, in the contract's one list of named arrays."""
    return summary_pb2.Task(state=state_to_messages(memory))


def as_carried(message: summary_pb2.Task) -> State:
    """State or memory as the next round reads it: through the same bytes, whether or not anybody stopped in between."""
    return state_from_messages(message.state)


def cleared_from_message(summary: summary_pb2.Summary, method: Procedure) -> Cleared:
    """A country's summary, held against what the method declares.

    Raises
    ------
    Refused
        ``UNDECLARED_FIELD``, ``REQUIRED_FIELD_WITHHELD``, ``NOT_FINITE``.
    UsageError
        ``MALFORMED_SUMMARY``, or what is malformed in an array.
    """
    values: dict[tuple[str, str], Array | Integers] = {}
    withheld: dict[tuple[str, str], str] = {}
    for item in summary.items:
        declared = method.leaves.get(item.field)
        if declared is None:
            raise Refused(
                "UNDECLARED_FIELD",
                f"the summary holds a field {item.field[:80]!r} that method {method.name} does not declare",
                _SAME_RELEASE,
            )
        key = (item.field, item.label)
        if key in values or key in withheld or item.HasField("value") == bool(item.withheld_by):
            raise UsageError(
                "MALFORMED_SUMMARY",
                f"field {item.field!r} stands twice in the summary, or is neither given nor withheld",
                _SAME_RELEASE,
            )
        if item.withheld_by:
            if declared.required:
                raise Refused(
                    "REQUIRED_FIELD_WITHHELD",
                    f"field {item.field!r} is withheld, and method {method.name} cannot do without it; "
                    "rule: then the whole request is refused",
                    _SAME_RELEASE,
                )
            withheld[key] = item.withheld_by
        else:
            values[key] = _finite(item.field, item.value)
    if not 0.0 <= summary.ages_up_to < math.inf:
        raise UsageError("MALFORMED_SUMMARY", "ages are said to be read up to what is no age", _SAME_RELEASE)
    if set(summary.notes) - set(method.notes):
        raise UsageError(
            "MALFORMED_SUMMARY",
            f"the summary holds a note that method {method.name} does not declare",
            _SAME_RELEASE,
        )
    return Cleared(
        summary.country,
        values,
        withheld,
        frozenset(summary.notes),
        max(summary.counts_rounded_to, 1),
        summary.ages_up_to,
    )


def check_padding(padding: Sequence[bytes]) -> None:
    """Bytes that say nothing must not say something all the same: `UsageError` ``MALFORMED_SUMMARY``."""
    if any(part.strip(b"\0") for part in padding):
        raise UsageError(
            "MALFORMED_SUMMARY", "the padding of an answer holds something; rule: it is zeros", _SAME_RELEASE
        )


def _finite(field: str, value: values_pb2.Array) -> Array | Integers:
    array = array_from_message(value)
    if not np.isfinite(array).all():
        raise Refused(
            "NOT_FINITE",
            f"field {field!r} holds a number that is not finite; rule: sums are finite",
            "look for infinite values in the variables of this analysis at the site",
        )
    return array
