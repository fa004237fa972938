"""Between the messages of a round (its task, the countries' summaries) and the plain data that methods read.

The coordinator asks and reads with this, and an inspection asks and reads again with the same.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence

import numpy as np
from google.protobuf.message import DecodeError

from isthmus.delimited import Part, before, length_of, sliced, take_out
from isthmus.errors import Refused, UsageError
from isthmus.v1 import spec_pb2, study_pb2, summary_pb2, values_pb2
from isthmus_methods.codec import (
    NUMBERS,
    array_from_message,
    array_parts,
    state_from_messages,
    state_to_messages,
)
from isthmus_methods.contract import AppMessage, Array, Cleared, Integers, Procedure, State
from isthmus_methods.settings_codec import settings_from_messages, settings_to_messages

# Numbers of fields in the contract, and where the large ones of a summary are.
_ARRAYS, _ARRAY = summary_pb2.State.ARRAYS_FIELD_NUMBER, values_pb2.NamedArray.ARRAY_FIELD_NUMBER
LARGE = ({summary_pb2.Summary.ITEMS_FIELD_NUMBER}, {summary_pb2.Item.VALUE_FIELD_NUMBER}, NUMBERS)

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
    apart: Serialised | None = None,
    sealed_attempt: int = 0,
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
        The state, where it is too large for an order and is fetched; `state` is empty then.
    sealed_attempt
        In a sealed study how often the run has begun, from 1.
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
        state_digest=b"" if apart is None else apart.digest,
        state_bytes=0 if apart is None else apart.size,
        sealed_attempt=sealed_attempt,
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


class Serialised:
    """A state on its own, where it does not come with the task. Holds the arrays of the state, and no copy of them.

    Parameters
    ----------
    state
        Not to be changed afterwards.
    """

    def __init__(self, state: State) -> None:
        self._parts: list[Part] = []
        for name in sorted(state):
            array = array_parts(state[name])
            named = values_pb2.NamedArray(name=name).SerializeToString(deterministic=True)
            inner: list[Part] = [named, before(_ARRAY, length_of(array)), *array]
            self._parts += [before(_ARRAYS, length_of(inner)), *inner]
        self.size = length_of(self._parts)
        whole = hashlib.sha256()
        for part in self._parts:
            whole.update(part)
        self.digest = whole.digest()  # SHA-256, 32 bytes

    def slices(self, most: int) -> Iterator[bytes]:
        """Its bytes, so many at a time; equal states give equal bytes."""
        return sliced(self._parts, most)


def state_to_bytes(state: State) -> bytes:
    """The bytes of `Serialised`, in one piece."""
    return b"".join(Serialised(state).slices(1 << 20))


def state_from_bytes(body: bytes | bytearray) -> dict[str, Array]:
    """The state of such bytes; its arrays are made of these, and not copies.

    Raises `UsageError` where they are none.
    """
    try:
        left, numbers = take_out(memoryview(body), ({_ARRAYS}, {_ARRAY}, NUMBERS))
        message = summary_pb2.State.FromString(left)
    except (DecodeError, ValueError) as error:
        raise UsageError("MALFORMED_STATE", "the bytes are no state", _SAME_RELEASE) from error
    return state_from_messages(message.arrays, numbers)


def memory_to_message(memory: State) -> summary_pb2.Task:
    """What the pooled half keeps from one round to the next, in the contract's one list of named arrays."""
    return summary_pb2.Task(state=state_to_messages(memory))


def as_carried(message: summary_pb2.Task) -> State:
    """State or memory as the next round reads it: through the same bytes, whether or not anybody stopped in between."""
    return state_from_messages(message.state)


def cleared_from_message(
    summary: summary_pb2.Summary, method: Procedure, apart: Sequence[memoryview] | None = None
) -> Cleared:
    """A country's summary, held against what the method declares.

    Parameters
    ----------
    apart
        The numbers of its arrays in order, where they were taken out (`LARGE`): values are made of these.

    Raises
    ------
    Refused
        ``UNDECLARED_FIELD``, ``REQUIRED_FIELD_WITHHELD``, ``NOT_FINITE``.
    UsageError
        ``MALFORMED_SUMMARY``, or what is malformed in an array.
    """
    values: dict[tuple[str, str], Array | Integers] = {}
    withheld: dict[tuple[str, str], str] = {}
    large = None if apart is None else iter(apart)
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
            floating = large is not None and item.value.WhichOneof("values") != "counts"
            values[key] = _finite(item.field, item.value, next(large, None) if large and floating else None)
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


def _finite(field: str, value: values_pb2.Array, apart: memoryview | None) -> Array | Integers:
    array = array_from_message(value, apart)
    # a number that is not finite makes these so
    if array.size and not (np.isfinite(array.min()) and np.isfinite(array.max())):
        raise Refused(
            "NOT_FINITE",
            f"field {field!r} holds a number that is not finite; rule: sums are finite",
            "look for infinite values in the variables of this analysis at the site",
        )
    return array
