"""The runs that are at work here: for each a process with its app, the rows it has, and the model it began with."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from isthmus.errors import MethodError, Refused, UsageError
from isthmus.v1 import summary_pb2
from isthmus_methods.contract import Array, Booleans, Integers, Spec, Summary, TrainingPlan, coefficient_names
from isthmus_methods.training import outcome_levels
from isthmus_node.compute.answer import Prepared
from isthmus_node.egress.update_rules import Trained
from isthmus_node.sources.table import Table
from isthmus_node.training.held_out import HeldOut
from isthmus_node.training.installed import installed
from isthmus_node.training.runner import Bounds, Given, Trainer, rows_of_blocks
from isthmus_training.apps import batch_of, settings_of
from isthmus_trust.bounds import MODEL
from isthmus_trust.documents import canonical, digest

# Runs whose process is kept between rounds; with one more the one asked longest ago is ended, and begun anew if asked.
KEPT = 2
# Seconds after which a process that is asked nothing is ended.
IDLE = 900.0
# Starting values that were computed on another platform differ in their last bits.
_SAME = {np.dtype(np.float64): 1e-12, np.dtype(np.float32): 1e-6}
# Numbers that are compared at a time.
_NUMBERS = 1 << 18
# Name under which an app finds the run's seed among its settings.
SEED = "seed"
_RELEASE = "run the training again with a coordinator of this release that has the same app"


def plan_of(spec: Spec) -> TrainingPlan:
    """The request's training plan; `UsageError` where it has none."""
    if spec.training is None:
        raise UsageError("NO_TRAINING_PLAN", "the request does not say what is trained", "name app and strategy")
    return spec.training


@dataclass(slots=True, eq=False)
class Run:
    """A run at work."""

    spec: Spec
    snapshot: bytes
    trainer: Trainer
    levels: tuple[str, ...]  # of the outcome
    batch: int  # persons in the smallest batch
    outcome: Array  # (n,)
    persons: Integers  # (n,)
    held: Booleans  # (n,), rows of persons held out
    shapes: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]  # of the model's arrays, and their types
    start: dict[str, Array]  # the app's own starting values; none once a round was asked: a model may be large
    # Of the task answered last, where a person sees the answer before it leaves: made again it must be the same.
    kept: tuple[bytes, Summary, Trained] | None = None

    def goes_on(self, task: summary_pb2.Task, spec: Spec, table: Table) -> bool:
        """Whether a task is one of this run as it is at work; a run whose first round is asked again begins anew."""
        is_first = task.round == 1 and not self.start and (self.kept is None or self.kept[0] != digest(canonical(task)))
        same = self.snapshot == table.digest and self.spec == spec
        return same and not self.trainer.ended and not is_first

    def model(self, task: summary_pb2.Task, arrays: Mapping[str, Array]) -> Mapping[str, Array]:
        """The model that a round asks with: of the app's own shapes, and in a first round with its own values.

        Parameters
        ----------
        arrays
            As they came; empty in a first round: the starting values.

        Raises
        ------
        Refused
            ``NOT_THE_MODEL``, ``NOT_THE_START``.
        """
        start, self.start = self.start, {}
        if not arrays and task.round == 1:
            return start
        if list(arrays) != list(self.shapes) or {n: (a.shape, a.dtype) for n, a in arrays.items()} != self.shapes:
            raise Refused(
                "NOT_THE_MODEL",
                "the round's model is not one of this app with these settings; rule: names, shapes and types are the "
                "app's own",
                _RELEASE,
            )
        if task.round == 1 and not all(_close(array, start[name]) for name, array in arrays.items()):
            raise Refused(
                "NOT_THE_START",
                "the first round brings values of its own; rule: starting values are the app's",
                _RELEASE,
            )
        return arrays


def _close(one: Array, other: Array) -> bool:
    """Whether no number is another one than rounding makes it; part by part, for a model may be large."""
    if one.size == 0:
        return True
    parts = zip(
        np.array_split(one.reshape(-1), _parts(one)), np.array_split(other.reshape(-1), _parts(one)), strict=True
    )
    return all(bool(np.allclose(a, b, rtol=0.0, atol=_SAME[one.dtype])) for a, b in parts)


def _parts(array: Array) -> int:
    return 1 + array.size // _NUMBERS


class Runs:
    """The runs at work. A run that is begun anew between two rounds has lost what its app kept for itself.

    Parameters
    ----------
    node
        Name of this one.
    held_out
        Who is held out.
    bounds
        What a process may take.
    check
        Raises where apps must not run here.
    """

    def __init__(
        self,
        node: str,
        held_out: HeldOut,
        bounds: Bounds,
        check: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._node = node
        self._held_out = held_out
        self._bounds = bounds
        self._check = check
        self._clock = clock
        self._runs: OrderedDict[bytes, Run] = OrderedDict()

    def held_rows(self, spec: Spec, table: Table) -> Booleans:
        """Rows of the persons that a request holds out, (rows,), over all rows of its table."""
        plan = plan_of(spec)
        persons = self._held_out.persons(spec.dataset, table.persons_by_name(), plan.held_out, plan.seed)
        held: Booleans = persons[table.subject]
        return held

    def run(self, task: summary_pb2.Task, spec: Spec, table: Table, prepared: Prepared) -> Run:
        """The run of a task, begun where it is not at work, or not over these rows.

        Raises
        ------
        Refused, UsageError, ConfigError
            What the request or the machine does not allow: before there are rows in the process.
        MethodError
            ``NO_ROWS``.
        """
        found = self._runs.get(task.run)
        if found is not None and not found.goes_on(task, spec, table):
            self.end(task.run)
            found = None
        if found is None:
            while len(self._runs) >= KEPT:
                self.end(next(iter(self._runs)))
            found = self._runs[task.run] = self._begin(task, spec, table, prepared)
        self._runs.move_to_end(task.run)
        return found

    def end(self, run: bytes) -> None:
        """A run is over: its process ends, with the rows in it."""
        found = self._runs.pop(run, None)
        if found is not None:
            found.trainer.close()

    def tidy(self) -> None:
        """End processes that were asked nothing for long."""
        now = self._clock()
        for name in [name for name, run in self._runs.items() if now - run.trainer.used > IDLE]:
            self.end(name)

    def close(self) -> None:
        """End all processes."""
        for name in list(self._runs):
            self.end(name)

    def _begin(self, task: summary_pb2.Task, spec: Spec, table: Table, prepared: Prepared) -> Run:
        plan = plan_of(spec)
        if not spec.terms:
            raise UsageError("NO_TERMS", "a model without predictors is not trained", "name some in the formula")
        if not prepared.blocks:
            raise MethodError("NO_ROWS", "nobody's rows are there for this request", "select more rows")
        self._check()
        trainer = Trainer(installed(plan.app), self._bounds, self._clock)
        try:
            settings = settings_of(trainer.offered, plan.settings)
            columns, levels = coefficient_names(spec), outcome_levels(spec)
            start = trainer.start(columns, levels, settings, plan.seed, MODEL)
            X, y, persons = rows_of_blocks(prepared.blocks)
            held = self.held_rows(spec, table)[prepared.used]
            number = 1 + list(task.participants).index(self._node)
            given = Given(X, y, persons, held, columns, levels)
            trainer.give(int.from_bytes(task.run[:7]), number, {**settings, SEED: plan.seed}, given)
        except BaseException:
            trainer.close()
            raise
        batch = batch_of(trainer.offered, settings, len(np.unique(persons[~held])))
        shapes = {name: (array.shape, array.dtype) for name, array in start.items()}
        return Run(spec, table.digest, trainer, levels, batch, y, persons, held, shapes, start)
