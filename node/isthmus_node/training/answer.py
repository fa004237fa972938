"""From a message to an app to what the gate judges: the app's answer, held against what was asked, cut, with noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from isthmus.errors import MethodError
from isthmus.v1 import summary_pb2
from isthmus_methods.contract import Array, CellSupport, Item, MetricSupport, Summary
from isthmus_methods.settings_codec import settings_from_messages
from isthmus_methods.training import EVALUATE, TRAIN, arrays_of
from isthmus_node.egress.privacy import Debit
from isthmus_node.egress.thresholds import Limits
from isthmus_node.egress.update_rules import Trained
from isthmus_node.egress.updates import ready
from isthmus_node.training.held_out import scores_item
from isthmus_node.training.runs import Run
from isthmus_node.training.update import check_arrays, check_scores, measures_of
from isthmus_training.exchange import Ask


def answer_message(
    run: Run, task: summary_pb2.Task, state: dict[str, Array], limits: Limits | None, pay: Callable[[], Debit]
) -> tuple[Summary, Trained]:
    """What this country's rows make of the model in one round, and what the gate holds it against.

    Parameters
    ----------
    state
        The model's arrays as a state; empty in a first round: the app's own starting values. Nothing is in it any more
        afterwards: a model is large, and the answer to it is made while this one is in memory.
    limits
        Thresholds that hold; None for open data, of which nothing is cut.
    pay
        Writes down what noise spends, before it is drawn.

    Raises
    ------
    Refused, UsageError
        What the request or the policy does not allow.
    MethodError
        Whatever goes wrong in the app, or is wrong with its answer.
    """
    sent = run.model(task, arrays_of(state))
    state.clear()
    trains = task.message.type == TRAIN
    mine = ~run.held if trains else run.held
    persons = len(np.unique(run.persons[mine]))
    if not persons:
        raise MethodError("NO_ROWS", "nobody's rows are there for this round", "select more rows")
    answered = run.trainer.ask(Ask(task.message.type, sent, settings_from_messages(task.message.config)))
    declared, rows = run.trainer.offered.metrics, int(np.count_nonzero(mine))
    measures = measures_of(answered.metrics, declared)
    check_scores(answered.scores, rows)
    items: list[Item] = []
    trained = Trained({name: array.shape for name, array in sent.items()}, declared)
    if trains:
        check_arrays(answered.arrays, sent)
        update = ready(answered.arrays, sent, persons, min(run.batch, persons), limits, pay)
        items = [Item("arrays", array, update.support, name) for name, array in update.arrays.items()]
        trained = replace(trained, privacy=update.privacy)
    elif answered.arrays:
        raise MethodError("APP_ANSWER_NOT_TAKEN", "an evaluation gave a model", "tell the app's author")
    items.append(Item("examples", np.array([rows]), CellSupport(np.array([persons]))))
    items += [
        Item("metrics", np.array([value]), MetricSupport(persons, *declared[name]), name)
        for name, value in measures.items()
    ]
    if task.message.type == EVALUATE and answered.scores is not None and len(run.levels) == 2:
        fewest = 1 if limits is None else max(1, limits.bin_persons)
        cells = scores_item(answered.scores, run.outcome[mine], run.persons[mine], fewest)
        items += [] if cells is None else [cells]
    return Summary(tuple(items)), trained
