"""The one adapter to Flower: all that isthmus uses of `flwr` beyond what its documentation promises stands here.

Flower's strategies and client apps run as they are; its engine does not. A strategy speaks with the nodes through
`CarriedGrid`, an app is called with `call_app`; between them go `Ask` and `Reply`, which know nothing of Flower.
`TaskIdentity` holds for a whole process, so there is one process a training run at the coordinator, and one a message
at a node.
"""

from __future__ import annotations

import inspect
import io
import math
import os

# Flower reads these when it is imported
os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
os.environ["FLWR_DISABLE_UPDATE_CHECK"] = "1"

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from flwr.app import Array as FlowerArray, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp as FlowerApp
from flwr.serverapp import Grid, strategy as flower_strategies
from flwr.serverapp.strategy import Strategy as Strategy
from flwr.supercore.task_identity import TaskIdentity

from isthmus_methods.contract import Array, Setting
from isthmus_training.exchange import Ask, Carried, NotCarried, Reply
from isthmus_training.stored import StoredArray, StoredArrays

# Keys of the records that an app finds in its message, and a strategy in a reply: those of Flower's own examples.
ARRAYS, CONFIG, METRICS = "arrays", "config", "metrics"
# How often in a row a strategy may ask which nodes there are. Flower's own wait in that way for nodes to come, and
# here none comes that is not there from the start.
MOST_LOOKS = 10
_MESSAGES = ("train", "evaluate")
# How Flower names arrays that `numpy.save` wrote.
_NUMPY = "numpy.ndarray"
_WEIGHTS = (np.dtype(np.float64), np.dtype(np.float32))

# Flower's own strategies, by name.
STRATEGIES: dict[str, type[Strategy]] = {
    name: kind
    for name, kind in sorted(vars(flower_strategies).items())
    if inspect.isclass(kind) and issubclass(kind, Strategy) and not inspect.isabstract(kind)
}

# Asks these nodes, and gives what each of them replied.
Carry = Callable[[Ask, tuple[int, ...]], Carried]


def identify(run: int, node: int) -> None:
    """Say, once for this process, on whose behalf messages are made; `node` is 0 at the coordinator."""
    TaskIdentity.run_id = run
    TaskIdentity.node_id = node
    TaskIdentity.task_id = run


# --------------------------------------------------------------------------- coordinator


class CarriedGrid(Grid):
    """A strategy's way to the nodes.

    Parameters
    ----------
    nodes
        Their numbers, in the study's order.
    carry
        Called once for each round that asks anybody.
    """

    def __init__(self, nodes: Sequence[int], carry: Carry) -> None:
        self._nodes = tuple(nodes)
        self._carry = carry
        self._looks = 0

    def get_node_ids(self) -> list[int]:
        """All nodes of the run."""
        self._looks += 1
        if self._looks > MOST_LOOKS:
            raise NotCarried("TOO_FEW_NODES")
        return list(self._nodes)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:  # noqa: ARG002
        """Ask nodes and wait for all of them; `timeout` is not looked at: deadlines are the study's.

        Raises
        ------
        NotCarried
            ``NOT_ONE_MODEL``: nodes of one round were to get different things; ``UNKNOWN_NODE``, ``ASKED_TWICE``,
            or what `_Content` says of a message.
        """
        asked: dict[int, Message] = {}
        content: _Content | None = None
        for message in messages:
            node = message.metadata.dst_node_id
            if node not in self._nodes:
                raise NotCarried("UNKNOWN_NODE")
            if node in asked:
                raise NotCarried("ASKED_TWICE")
            # a generator may change what it has yielded: what counts is what stands there when it is given
            given = _Content(message)
            if content is not None and given != content:
                raise NotCarried("NOT_ONE_MODEL")
            content = content or given
            asked[node] = message
        if content is None:
            return []
        self._looks = 0
        order = tuple(node for node in self._nodes if node in asked)
        carried = self._carry(content.ask(), order)
        if carried.asked is not None:
            for message in asked.values():
                content.put_away(message, carried.asked)
        return [Message(_reply_record(carried.replies[node]), reply_to=asked[node]) for node in order]

    def set_run(self, run: Any) -> None:
        """The run is that of the process."""

    @property
    def run(self) -> Any:
        """Not told: a strategy needs it for nothing."""
        raise NotCarried("NOT_SUPPORTED")

    def create_message(self, *_arguments: Any, **_named: Any) -> Message:
        """Not here: `Message` makes them."""
        raise NotCarried("NOT_SUPPORTED")

    def push_messages(self, messages: Iterable[Message]) -> list[str]:  # noqa: ARG002
        """Not here: a round is asked and answered whole."""
        raise NotCarried("NOT_SUPPORTED")

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:  # noqa: ARG002
        """Not here: a round is asked and answered whole."""
        raise NotCarried("NOT_SUPPORTED")


class _Content:
    """What a message holds at this moment; two are equal where a node could not tell them apart.

    Raises `NotCarried` ``UNSUPPORTED_MESSAGE`` where it is not one model with at most one configuration,
    ``UNSUPPORTED_ARRAY`` or ``UNSUPPORTED_CONFIG`` where a value is of a type that is not carried.
    """

    def __init__(self, message: Message) -> None:
        self.type = message.metadata.message_type
        record = message.content
        if self.type not in _MESSAGES or len(record.array_records) != 1 or len(record.config_records) > 1:
            raise NotCarried("UNSUPPORTED_MESSAGE")
        if record.metric_records:
            raise NotCarried("UNSUPPORTED_MESSAGE")
        # what an array holds never changes, so it needs no copy
        self.arrays = {
            name: (a.stype, a.dtype, tuple(a.shape), a if isinstance(a, _Stored) else a.data)
            for name, a in next(iter(record.array_records.values())).items()
        }
        self.config = {
            name: _setting(value) for config in record.config_records.values() for name, value in config.items()
        }

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Content):
            return NotImplemented
        return (self.type, self.config, list(self.arrays)) == (other.type, other.config, list(other.arrays)) and all(
            one[:3] == another[:3] and (one[3] is another[3] or _bytes(one[3]) == _bytes(another[3]))
            for one, another in zip(self.arrays.values(), other.arrays.values(), strict=True)
        )

    __hash__ = None  # type: ignore[assignment]

    def ask(self) -> Ask:
        arrays = {
            name: _weights(body if isinstance(body, _Stored) else FlowerArray(dtype, shape, stype, body))
            for name, (stype, dtype, shape, body) in self.arrays.items()
        }
        return Ask(self.type, arrays, self.config)

    def put_away(self, message: Message, stored: StoredArrays) -> None:
        """Have the arrays that were sent with a message read from a file from now on, where they are its own still."""
        record = next(iter(message.content.array_records.values()))
        for name, (_, dtype, _, body) in self.arrays.items():
            # as it was sent it may have another type than the strategy's
            same = name in stored.parts and stored.parts[name].type == np.dtype(dtype)
            if same and name in record and record[name].__dict__.get("data") is body:
                record[name] = _Stored(stored.parts[name])


class _Stored(FlowerArray):
    """An array of Flower's whose numbers are in a file until somebody asks for them."""

    def __init__(self, part: StoredArray) -> None:
        self.dtype, self.shape, self.stype = str(part.type), part.shape, _NUMPY
        self.part = part

    @property
    def data(self) -> bytes:  # type: ignore[override]
        """As Flower's own arrays have it."""
        whole: bytes = FlowerArray(self.numpy()).data
        return whole

    def numpy(self) -> Any:
        """Its numbers; what is written to them is not in the file."""
        return self.part.read()


def _bytes(body: bytes | _Stored) -> bytes:
    return body.data if isinstance(body, _Stored) else body


def run_strategy(
    strategy: Strategy, grid: Grid, start: dict[str, Array], rounds: int, *, keep_input: bool = True
) -> dict[str, Array]:
    """Have a strategy train a model; its last weights, empty where nothing was trained.

    Without `keep_input` the starting values are taken out of `start`: a model is large.
    """
    result = strategy.start(grid=grid, initial_arrays=_array_record(start, keep_input), num_rounds=rounds)
    return {name: _weights(array) for name, array in result.arrays.items()}


# --------------------------------------------------------------------------- node


def call_app(app: FlowerApp, ask: Ask, context: Context, *, keep_input: bool = True) -> Reply:
    """Have a client app answer a message; `identify` was called before. Whatever the app raises comes through.

    Without `keep_input` the model is taken out of the ask, whose arrays are a dict then: a model is large.

    Raises
    ------
    NotCarried
        ``NO_REPLY`` where the app gives no reply or an error instead of one, ``UNSUPPORTED_MESSAGE`` where it has more
        than one model and one set of measures, ``UNSUPPORTED_ARRAY`` or ``UNSUPPORTED_METRIC`` where a value is of a
        type that is not carried.
    """
    content = RecordDict(
        {ARRAYS: _array_record(ask.arrays, keep_input), CONFIG: ConfigRecord(_config_values(ask.config))}
    )
    message = Message(content, context.node_id, ask.type)
    # Flower's engine numbers messages; there is no setter
    message.metadata.__dict__["_message_id"] = f"{TaskIdentity.run_id}-{context.node_id}"
    reply = app(message, context)
    if not isinstance(reply, Message) or not reply.has_content():
        raise NotCarried("NO_REPLY")
    record = reply.content
    if len(record.array_records) > 1 or len(record.metric_records) > 1 or record.config_records:
        raise NotCarried("UNSUPPORTED_MESSAGE")
    arrays = {name: _weights(a) for held in record.array_records.values() for name, a in held.items()}
    return Reply(arrays, {k: v for held in record.metric_records.values() for k, v in _measures(held).items()})


def context_of(run: int, node: int, settings: Mapping[str, Setting]) -> Context:
    """What an app gets beside its message: the settings as `run_config`, nothing of the node, no state of before."""
    return Context(
        run_id=run, node_id=node, node_config={}, state=RecordDict(), run_config={**_config_values(settings)}
    )


# --------------------------------------------------------------------------- records


def _array_record(arrays: Mapping[str, Array], keep_input: bool = True) -> ArrayRecord:
    record = ArrayRecord()
    for name in list(arrays):
        if isinstance(arrays, StoredArrays):
            record[name] = _Stored(arrays.parts[name])
        elif keep_input or not isinstance(arrays, dict):
            record[name] = FlowerArray(np.asarray(arrays[name]))
        else:
            record[name] = FlowerArray(np.asarray(arrays.pop(name)))
    return record


def _reply_record(reply: Reply) -> RecordDict:
    record = RecordDict({METRICS: MetricRecord({name: float(value) for name, value in reply.metrics.items()})})
    if reply.arrays:
        record[ARRAYS] = _array_record(reply.arrays)
    return record


def _weights(array: FlowerArray) -> Array:
    """An array's numbers: those that it holds, not a copy, where they are as `numpy.save` writes them."""
    try:
        values = array.numpy() if isinstance(array, _Stored) or array.stype != _NUMPY else _saved(array.data)
    except (TypeError, ValueError, EOFError, OSError) as error:
        raise NotCarried("UNSUPPORTED_ARRAY") from error
    if values.dtype not in _WEIGHTS:
        raise NotCarried("UNSUPPORTED_ARRAY")
    weights: Array = np.ascontiguousarray(values)
    return weights


def _saved(body: bytes) -> Any:
    """The array that `numpy.save` wrote, read where it stands."""
    head = io.BytesIO(body)
    major = np.lib.format.read_magic(head)[0]
    # other versions are for names of columns, which no weights have
    read = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
    if major not in read:
        raise ValueError("an array written in another way")
    shape, by_columns, kind = read[major](head)
    if kind.hasobject:
        raise ValueError("an array of objects")
    values = np.frombuffer(body, dtype=kind, count=math.prod(shape), offset=head.tell())
    return values.reshape(shape, order="F" if by_columns else "C")


def _setting(value: object) -> Setting:
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list) and all(isinstance(v, str) for v in value) and value:
        return tuple(str(v) for v in value)
    if isinstance(value, list) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in value):
        return tuple(float(v) for v in value)
    raise NotCarried("UNSUPPORTED_CONFIG")


def _config_values(settings: Mapping[str, Setting]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}


def _measures(record: MetricRecord) -> dict[str, float]:
    measures: dict[str, float] = {}
    for name, value in record.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise NotCarried("UNSUPPORTED_METRIC")
        measures[name] = float(value)
    return measures
