"""The pooled half of trainings: one strategy's process a run, built anew from stored answers where it is gone."""

from __future__ import annotations

import hashlib
import logging
import secrets
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import Any

import numpy as np

from isthmus.errors import ConfigError, IsthmusError
from isthmus.v1 import summary_pb2
from isthmus_coordinator.analyses.answers import WEIGHTS
from isthmus_coordinator.analyses.records import Answered
from isthmus_coordinator.analyses.run import Failure, Run
from isthmus_coordinator.training.curves import Curves, examples_of, metrics_of
from isthmus_coordinator.training.failures import ending
from isthmus_coordinator.training.process import Bounds, Died, StrategyProcess
from isthmus_methods.contract import (
    AppMessage,
    Array,
    Cleared,
    Done,
    Next,
    Setting,
    Spec,
    Strategy,
    TrainingPlan,
    coefficient_names,
)
from isthmus_methods.summary_codec import Serialised, message_of
from isthmus_methods.training import MESSAGES, TRAIN, outcome_levels, parameters_of, state_of
from isthmus_training.exchange import EXAMPLES
from isthmus_training.frames import Words

# Bytes of chance that a run keeps to itself: the strategy's generators start from them, after a restart too.
_SEED = 16

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Standing:
    """A strategy that has asked something and waits for the answers to it."""

    process: StrategyProcess
    seed: bytes
    attempt: int
    round: int = 0  # that it has asked
    kind: str = ""
    shapes: dict[str, tuple[tuple[int, ...], str]] = field(default_factory=dict)  # name -> shape, type
    curves: Curves = field(default_factory=Curves)


class Trainings:
    """All trainings of this coordinator. Safe to be called from many threads, for one run from one at a time.

    Parameters
    ----------
    bounds
        Of each strategy's process.
    strategies
        Those beside Flower's own, as ``package.module:Class``.
    answered
        Reads what the nodes answered.
    """

    def __init__(self, bounds: Bounds, strategies: tuple[str, ...], answered: Answered) -> None:
        self._bounds = bounds
        self._strategies = strategies
        self._answered = answered
        self._lock = threading.Lock()
        self._standing: dict[bytes, _Standing] = {}
        self._closed = False

    def check(self, spec: Spec) -> int:
        """Numbers of the model that a request trains, if it can be trained here.

        Raises
        ------
        ConfigError
            ``NO_TRAINING_HERE`` where Flower is not installed.
        UsageError, MethodError
            What stands against the plan.
        """
        if find_spec("flwr") is None:
            raise ConfigError(
                "NO_TRAINING_HERE",
                "this coordinator does not train models: Flower is not installed with it",
                "install isthmus with its extra: pip install 'isthmus[train]'",
            )
        process = StrategyProcess(self._bounds)
        try:
            said, _ = process.say({"kind": "check", "seed": secrets.token_hex(_SEED), **self._plan(spec)})
            return int(said["parameters"])
        except Died as error:
            raise ending("STRATEGY_DIED") from error
        finally:
            process.end()

    def turn(self, run: Run) -> Next | Done | Failure:
        """How a training goes on: its first round where none was asked, otherwise what follows from the answers.

        A process that is gone is built again and told what was answered; one that goes twice at the same place ends
        the run.
        """
        try:
            for _ in range(2):
                try:
                    return self._turn(run)
                except Died:
                    self.end(run.request.run)
            raise ending("STRATEGY_DIED")
        except IsthmusError as error:
            self.end(run.request.run)
            return Failure.of(error)
        except Exception:
            self.end(run.request.run)
            log.exception("training_failed", extra={"run": run.request.run.hex()})
            message = "an unforeseen fault in the pooled half of a training"
            remedy = "report it with the run's number; the coordinator's log has the details"
            return Failure("BUG", message, remedy, IsthmusError.exit_code)

    def end(self, run: bytes) -> None:
        """The run needs its strategy no more, or not as it stands."""
        with self._lock:
            standing = self._standing.pop(run, None)
        if standing is not None:
            standing.process.end()

    def close(self) -> None:
        """End all of them, and begin none any more: what they know is in the store."""
        with self._lock:
            self._closed = True
            runs = list(self._standing)
        for run in runs:
            self.end(run)

    # ----------------------------------------------------------------- one run

    def _turn(self, run: Run) -> Next | Done:
        with self._lock:
            standing = self._standing.get(run.request.run)
        if standing is not None and (standing.attempt, standing.round) != (run.attempt, run.round):
            self.end(run.request.run)
            standing = None
        if standing is None:
            standing, said = self._built(run)
            if run.task is None:
                return self._next(run, standing, *said)
        task = b"" if run.task is None else run.task.digest
        return self._next(run, standing, *self._told(run, standing, task, run.asked))

    def _built(self, run: Run) -> tuple[_Standing, tuple[Words, dict[str, Array]]]:
        """A strategy that stands where the run does, and what it said last."""
        memory = {} if run.task is None else run.task.memory
        seed = bytes(np.asarray(memory["seed"], dtype=np.uint8)) if memory else secrets.token_bytes(_SEED)
        with self._lock:
            if self._closed:
                raise Died
            standing = _Standing(StrategyProcess(self._bounds), seed, run.attempt)
            self._standing[run.request.run] = standing
        said = standing.process.say(
            {
                "kind": "train",
                "run": int.from_bytes(run.request.run[:8], "big") >> 1,
                "nodes": [_number_of(run, node) for node in run.participants],
                "seed": seed.hex(),
                **self._plan(run.request.spec),
            }
        )
        if run.task is None:
            return standing, said
        for name, task in self._answered.tasks_before(run):
            self._check_repeated(run, standing, task, *said)
            said = self._told(run, standing, name, task.participants)
        self._check_repeated(run, standing, summary_pb2.Task.FromString(run.task.signed.body), *said)
        return standing, said

    def _told(self, run: Run, standing: _Standing, task: bytes, nodes: Sequence[str]) -> tuple[Words, dict[str, Array]]:
        """Tell the answers of the round that the strategy waits for; what it says next."""
        metrics: dict[int, dict[str, float]] = {}
        given: list[Cleared] = []
        for node in nodes:
            cleared = self._answered.of(run.request, task, node)
            if cleared is None:
                continue
            number = _number_of(run, node)
            # one country's weights in memory at a time
            standing.process.give(number, _weights(cleared, standing))
            metrics[number] = {EXAMPLES: examples_of(cleared), **metrics_of(cleared)}
            given.append(replace(cleared, values={k: v for k, v in cleared.values.items() if k[0] != WEIGHTS}))
            del cleared
        standing.curves.add(standing.kind, given)
        # a strategy averages what all have: a measure that one gate withheld is nobody's in this round
        shared = set.intersection(*map(set, metrics.values())) if metrics else set()
        replies = [(number, {name: m[name] for name in m if name in shared}) for number, m in metrics.items()]
        return standing.process.say({"kind": "replies", "replies": replies})

    def _next(self, run: Run, standing: _Standing, said: Words, arrays: dict[str, Array]) -> Next | Done:
        if said["kind"] == "done":
            return self._done(run, standing, arrays)
        kind = self._asks(run, standing, said, arrays)
        by_number = {_number_of(run, node): node for node in run.participants}
        measure, measured = standing.curves.newest()
        return Next(
            state_of(arrays),
            {"seed": np.frombuffer(standing.seed, dtype=np.uint8).astype(np.float64)},
            measure,
            measured,
            asked=tuple(by_number[number] for number in said["nodes"]),
            message=AppMessage(kind, _config_of(said)),
        )

    def _asks(self, run: Run, standing: _Standing, said: Words, arrays: Mapping[str, Array]) -> str:
        """Take down what the strategy asks; "train" or "evaluate"."""
        kind, most = str(said["type"]), _plan_of(run.request.spec).rounds
        asked = standing.curves.trained if kind == TRAIN else standing.curves.evaluated
        if kind not in MESSAGES or asked >= most:
            raise ending("TOO_MANY_ROUNDS")
        standing.kind, standing.round = kind, standing.round + 1
        standing.shapes = {name: (array.shape, array.dtype.str) for name, array in arrays.items()}
        return kind

    def _check_repeated(
        self, run: Run, standing: _Standing, task: summary_pb2.Task, said: Words, arrays: dict[str, Array]
    ) -> None:
        """The strategy asks again what was asked before it was gone, bit by bit; otherwise the run ends."""
        by_number = {_number_of(run, node): node for node in run.participants}
        asks = said["kind"] == "ask" and AppMessage(self._asks(run, standing, said, arrays), _config_of(said))
        if not asks or asks != message_of(task) or [by_number[n] for n in said["nodes"]] != list(task.participants):
            raise ending("STRATEGY_NOT_REPEATED")
        before = task.state_digest
        if not before:
            inline = summary_pb2.State(arrays=task.state).SerializeToString(deterministic=True)
            before = hashlib.sha256(inline).digest()
        if Serialised(state_of(arrays)).digest != before:
            raise ending("STRATEGY_NOT_REPEATED")

    def _done(self, run: Run, standing: _Standing, arrays: dict[str, Array]) -> Done:
        if not arrays:
            raise ending("NOTHING_TRAINED")
        model, curves = state_of(arrays), standing.curves
        answer = curves.answer(
            parameters_of(arrays),
            Serialised(model).digest,
            by_country=run.request.study.by_country,
        )
        plan = _plan_of(run.request.spec)
        caveat = (
            f"The model was trained in {curves.trained} rounds by {_named(plan.strategy)}: it is made of the "
            "countries' models, and is not the one that training on their pooled rows would give."
        )
        return Done(answer, (caveat,), model=model)

    def _plan(self, spec: Spec) -> dict[str, Any]:
        """What a strategy's process is told of a request."""
        plan = _plan_of(spec)
        return {
            "strategy": _strategy_words(plan.strategy),
            "strategies": list(self._strategies),
            "rounds": plan.rounds,
            "app": {
                "name": plan.app.name,
                "version": plan.app.version,
                "digest": plan.app.digest.hex(),
                "settings": dict(plan.settings),
                "seed": plan.seed,
                "columns": coefficient_names(spec),
                "levels": outcome_levels(spec),
            },
        }


def _plan_of(spec: Spec) -> TrainingPlan:
    if spec.training is None:
        raise ending("NOTHING_TRAINED")
    return spec.training


def _number_of(run: Run, node: str) -> int:
    """A node's number for the strategy: its place in the study from 1, whoever else takes part."""
    return next(k for k, p in enumerate(run.request.study.participants, start=1) if p.node == node)


def _strategy_words(strategy: Strategy) -> dict[str, Any]:
    wraps = None if strategy.wraps is None else _strategy_words(strategy.wraps)
    return {"name": strategy.name, "arguments": dict(strategy.arguments), "wraps": wraps}


def _named(strategy: Strategy) -> str:
    return strategy.name if strategy.wraps is None else f"{strategy.name} around {_named(strategy.wraps)}"


def _config_of(said: Words) -> dict[str, Setting]:
    return {name: tuple(v) if isinstance(v, list) else v for name, v in said["config"].items()}


def _weights(cleared: Cleared, standing: _Standing) -> dict[str, Array]:
    """A country's weights in the model's order; `MethodError` ``WRONG_ANSWER`` where they are not those asked for."""
    given: dict[str, Array] = {
        label: np.asarray(value) for (name, label), value in cleared.values.items() if name == "arrays"
    }
    if standing.kind != TRAIN:
        if given:
            raise ending("WRONG_ANSWER")
        return {}
    if {name: (array.shape, array.dtype.str) for name, array in given.items()} != standing.shapes:
        raise ending("WRONG_ANSWER")
    return {name: given[name] for name in standing.shapes}
