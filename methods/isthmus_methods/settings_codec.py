"""Between the contract's messages and the settings of a request, those of a training among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from isthmus.errors import UsageError
from isthmus.v1 import spec_pb2
from isthmus_methods import contract as c

# Deepest tree of a request: filters, columns, strategies in strategies.
MAX_DEPTH = 40


def malformed(what: str) -> UsageError:
    """What stands against a message that no client of this release sends."""
    return UsageError("MALFORMED_REQUEST", f"the request is malformed: {what}", "send it with a client of this release")


def settings_from_messages(messages: Sequence[spec_pb2.Option]) -> dict[str, c.Setting]:
    """Settings by name. Raises `UsageError` where one has no value or stands twice."""
    settings = {o.name: _setting(o) for o in messages}
    if len(settings) != len(messages):
        raise malformed("an option stands twice")
    return settings


def training_from_message(message: spec_pb2.Training) -> c.TrainingPlan:
    return c.TrainingPlan(
        app=c.ClientApp(message.app.name, message.app.version, message.app.digest),
        strategy=_strategy_from_message(message.strategy),
        rounds=message.rounds,
        held_out=message.held_out,
        seed=message.seed,
        settings=settings_from_messages(message.settings),
    )


def _strategy_from_message(message: spec_pb2.Strategy, depth: int = 0) -> c.Strategy:
    if depth > MAX_DEPTH:
        raise malformed("strategies nested too deeply")
    return c.Strategy(
        message.name,
        settings_from_messages(message.arguments),
        _strategy_from_message(message.wraps, depth + 1) if message.HasField("wraps") else None,
    )


def _setting(message: spec_pb2.Option) -> c.Setting:
    which = message.WhichOneof("value")
    if which is None:
        raise malformed(f"option {message.name!r} without a value")
    if which == "numbers":
        return tuple(message.numbers.values)
    if which == "texts":
        return tuple(message.texts.values)
    value: c.Setting = getattr(message, which)
    return value


def _option_to_message(name: str, value: c.Setting) -> spec_pb2.Option:
    message = spec_pb2.Option(name=name)
    if isinstance(value, bool):
        message.flag = value
    elif isinstance(value, int):
        message.integer = value
    elif isinstance(value, float):
        message.number = value
    elif isinstance(value, str):
        message.text = value
    elif all(isinstance(v, str) for v in value) and value:
        message.texts.values.extend(str(v) for v in value)
    else:
        message.numbers.values.extend(float(v) for v in value)
        message.numbers.SetInParent()
    return message


def settings_to_messages(settings: Mapping[str, c.Setting]) -> list[spec_pb2.Option]:
    """Settings as messages, sorted by name."""
    return [_option_to_message(name, settings[name]) for name in sorted(settings)]


def training_to_message(training: c.TrainingPlan) -> spec_pb2.Training:
    app = training.app
    return spec_pb2.Training(
        app=spec_pb2.ClientApp(name=app.name, version=app.version, digest=app.digest),
        strategy=_strategy_to_message(training.strategy),
        rounds=training.rounds,
        held_out=training.held_out,
        seed=training.seed,
        settings=settings_to_messages(training.settings),
    )


def _strategy_to_message(strategy: c.Strategy) -> spec_pb2.Strategy:
    return spec_pb2.Strategy(
        name=strategy.name,
        arguments=settings_to_messages(strategy.arguments),
        wraps=None if strategy.wraps is None else _strategy_to_message(strategy.wraps),
    )
