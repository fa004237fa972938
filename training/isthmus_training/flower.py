"""The one adapter to Flower: all that isthmus uses of `flwr` beyond what its documentation promises stands here.

Flower's strategies and client apps run as they are; its engine does not. A strategy speaks with the nodes through
`CarriedGrid`, an app is called with `call_app`; between them go `Ask` and `Reply`, which know nothing of Flower.
`TaskIdentity` holds for a whole process, so there is one process a training run at the coordinator, and one a message
at a node.
"""

from __future__ import annotations

import inspect
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
from isthmus_training.exchange import Ask, NotCarried, Reply

# Keys of the records that an app finds in its message, and a strategy in a reply: those of Flower's own examples.
ARRAYS, CONFIG, METRICS = "arrays", "config", "metrics"
# How often in a row a strategy may ask which nodes there are. Flower's own wait in that way for nodes to come, and
# here none comes that is not there from the start.
MOST_LOOKS = 10
_MESSAGES = ("train", "evaluate")
_WEIGHTS = (np.dtype(np.float64), np.dtype(np.float32))

# Flower's own strategies, by name.
STRATEGIES: dict[str, type[Strategy]] = {
    name: kind
    for name, kind in sorted(vars(flower_strategies).items())
    if inspect.isclass(kind) and issubclass(kind, Strategy) and not inspect.isabstract(kind)
}

# Asks these nodes, and gives what each of them replied.
Carry = Callable[[Ask, tuple[int, ...]], Mapping[int, Reply]]


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
        # a model is large: each country's is held in one form at a time
        replies = dict(self._carry(content.ask(), order))
        return [Message(_reply_record(replies.pop(node)), reply_to=asked[node]) for node in order]

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
        # the bytes never change, so they need no copy
        self.arrays = {
            name: (a.stype, a.dtype, tuple(a.shape), a.data)
            for name, a in next(iter(record.array_records.values())).items()
        }
        self.config = {
            name: _setting(value) for config in record.config_records.values() for name, value in config.items()
        }

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Content):
            return NotImplemented
        return (self.type, self.config, list(self.arrays.items())) == (
            other.type,
            other.config,
            list(other.arrays.items()),
        )

    __hash__ = None  # type: ignore[assignment]

    def ask(self) -> Ask:
        arrays = {
            name: _weights(FlowerArray(dtype, shape, stype, body))
            for name, (stype, dtype, shape, body) in self.arrays.items()
        }
        return Ask(self.type, arrays, self.config)


def run_strategy(strategy: Strategy, grid: Grid, start: Mapping[str, Array], rounds: int) -> dict[str, Array]:
    """Have a strategy train a model; its last weights, empty where nothing was trained."""
    result = strategy.start(grid=grid, initial_arrays=_array_record(start), num_rounds=rounds)
    return {name: _weights(array) for name, array in result.arrays.items()}


# --------------------------------------------------------------------------- node


def call_app(app: FlowerApp, ask: Ask, context: Context) -> Reply:
    """Have a client app answer a message; `identify` was called before. Whatever the app raises comes through.

    Raises
    ------
    NotCarried
        ``NO_REPLY`` where the app gives no reply or an error instead of one, ``UNSUPPORTED_MESSAGE`` where it has more
        than one model and one set of measures, ``UNSUPPORTED_ARRAY`` or ``UNSUPPORTED_METRIC`` where a value is of a
        type that is not carried.
    """
    content = RecordDict({ARRAYS: _array_record(ask.arrays), CONFIG: ConfigRecord(_config_values(ask.config))})
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


def _array_record(arrays: Mapping[str, Array]) -> ArrayRecord:
    return ArrayRecord({name: FlowerArray(np.asarray(array)) for name, array in arrays.items()})


def _reply_record(reply: Reply) -> RecordDict:
    record = RecordDict({METRICS: MetricRecord({name: float(value) for name, value in reply.metrics.items()})})
    if reply.arrays:
        record[ARRAYS] = _array_record(reply.arrays)
    return record


def _weights(array: FlowerArray) -> Array:
    try:
        values = array.numpy()
    except (TypeError, ValueError, EOFError, OSError) as error:
        raise NotCarried("UNSUPPORTED_ARRAY") from error
    if values.dtype not in _WEIGHTS:
        raise NotCarried("UNSUPPORTED_ARRAY")
    weights: Array = np.ascontiguousarray(values)
    return weights


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
