"""A training in the journals: every model that was asked about and every one that left, checked and shown.

Its strategy is not run here. Where it takes the mean of the countries' models, weighted by rows, and nothing else
(FedAvg, FedProx: McMahan et al. 2017, algorithm 1; Li et al. 2020), each round has to ask for that mean, to the bit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import cast

import numpy as np

from isthmus.v1 import study_pb2, summary_pb2
from isthmus_client.replay.compare import Nearness
from isthmus_client.replay.evidence import Answered
from isthmus_client.replay.faults import fault
from isthmus_client.replay.replayed import Ends, LeftOut, Outcome, Replayed, Round
from isthmus_methods.contract import Array, Cleared
from isthmus_methods.registry import find_procedure
from isthmus_methods.summary_codec import cleared_from_message, state_to_bytes

_METHOD, _TRAIN = "training", "train"
# Strategies that take the weighted mean, where these of their arguments are not given.
_MEANS = frozenset({"FedAvg", "FedProx"})
_OTHER_MEANS = frozenset({"weighted_by_key"})


def is_training(task: summary_pb2.Task) -> bool:
    """Whether a task is a part of the training of a model."""
    return task.spec.method == _METHOD


def check_rounds(
    replayed: Replayed, study: study_pb2.Study, answers: Sequence[Answered], given: Collection[str]
) -> Replayed:
    """The run with its rounds, and what can be said of it.

    Parameters
    ----------
    replayed
        So far.
    answers
        All that the bundles have, of one request.
    given
        Nodes whose bundles there are.

    Raises
    ------
    Fault
        ``TWO_TASKS``, ``ROUND_MISSING``, ``TASK_NOT_POOLED``.
    """
    attempts = _attempts(study, answers)
    country = {p.node: p.country for p in study.participants}
    takes_means, rounds = _takes_means(replayed), list[Round]()
    outcome, model = Outcome.TRAINED, b""
    count = sum(len(found) for _, found in attempts[-1])
    why = (
        f"a model was trained: {count} answers to {len(attempts[-1])} rounds are as they were signed and approved; "
        + (
            "every model that was asked about is the mean of the countries' models of the round before"
            if takes_means
            else "what the strategy made of them is not computed again"
        )
    )
    try:
        for task, found in attempts[-1]:
            last = task is attempts[-1][-1][0]
            if model and _state_bytes(task) not in (model, hashlib.sha256(model).digest()):
                what = "the model that was asked about is not the mean of the countries' models of the round before"
                raise fault("TASK_NOT_POOLED", f"round {task.round}", what)
            inside = _round(task, found, country, given, last=last)
            rounds.append(Round(task.round, inside[0].task_digest, Nearness(), inside))
            if takes_means and task.message.type == _TRAIN:
                model = _mean(task, inside)
    except Ends as end:
        outcome, why = end.outcome, end.why
    asked = {node for task, _ in attempts[-1] for node in task.participants}
    never = (p for p in study.participants if p.node not in asked)
    return replace(
        replayed,
        outcome=outcome,
        why=why,
        rounds=tuple(rounds),
        earlier_attempts=len(attempts) - 1,
        left_out=tuple(LeftOut(p.country, p.node, "no round that was answered asked it") for p in never),
        model=hashlib.sha256(model).hexdigest() if model and outcome is Outcome.TRAINED else "",
    )


_Asked = tuple[summary_pb2.Task, dict[str, Answered]]


def _attempts(study: study_pb2.Study, answers: Sequence[Answered]) -> list[list[_Asked]]:
    """Tasks with the answers to each, in the order in which they were asked; begun anew with each first round."""
    tasks: dict[bytes, _Asked] = {}
    for answer in answers:
        found = tasks.setdefault(answer.task_digest, (answer.task, {}))[1]
        if answer.node in found:
            raise fault("TWO_TASKS", answer.where, f"it answers a task that {found[answer.node].where} has answered")
        found[answer.node] = answer
    attempts: list[list[_Asked]] = []
    # each round has the same time, so that deadlines are in the order of rounds
    for task, found in sorted(tasks.values(), key=lambda asked: (asked[0].deadline, asked[0].round)):
        if task.round == 1:
            attempts.append([])
        if not attempts or task.round != len(attempts[-1]) + 1:
            before = len(attempts[-1]) if attempts else 0
            twice = bool(attempts) and task.round <= before
            where = next(iter(found.values())).where
            if twice:
                raise fault("TWO_TASKS", where, f"round {task.round} was asked with another model too")
            raise fault("ROUND_MISSING", f"round {before + 1}", f"it is in no journal, and round {task.round} is")
        attempts[-1].append((task, found))
    analysis = next((a for a in study.plan if a.name == answers[0].task.analysis), None)
    if len(attempts) > 1 and analysis is not None and analysis.missing_country != study_pb2.GO_ON_WITHOUT:
        what = "the run was begun twice, and the approved plan does not let it go on without a country"
        raise fault("TWO_TASKS", next(iter(attempts[-1][0][1].values())).where, what)
    return attempts


def _round(
    task: summary_pb2.Task,
    found: Mapping[str, Answered],
    country: Mapping[str, str],
    given: Collection[str],
    *,
    last: bool,
) -> tuple[Answered, ...]:
    """Answers of a round in the study's order; raises `Ends` where the training ended with it."""
    unseen = [node for node in task.participants if node not in found and node not in given]
    if unseen:
        names = ", ".join(country.get(node, node) for node in unseen)
        raise Ends(Outcome.INCOMPLETE, f"the bundle of {names} is not among those given")
    missing = [country.get(node, node) for node in task.participants if node not in found]
    refused = [answer for answer in found.values() if answer.refusal is not None]
    if missing or refused:
        why = f"the journal of {', '.join(missing)} has no answer to round {task.round}" if missing else ""
        for answer in refused:
            if answer.refusal is not None:
                why = f"{answer.country} refused: {answer.refusal.rule} [{answer.refusal.code}] ({answer.where})"
        if not last:
            raise fault("ROUND_MISSING", f"round {task.round + 1}", f"it was asked although {why}")
        raise Ends(Outcome.NO_ANSWER, why)
    return tuple(found[node] for node in task.participants)


def _takes_means(replayed: Replayed) -> bool:
    if replayed.task is None:
        return False
    strategy = replayed.task.spec.training.strategy
    arguments = {option.name for option in strategy.arguments}
    return strategy.name in _MEANS and not strategy.HasField("wraps") and arguments.isdisjoint(_OTHER_MEANS)


def _mean(task: summary_pb2.Task, answers: Iterable[Answered]) -> bytes:
    """The weighted mean as a state's bytes: in the order, and with the roundings, of the strategy's own sum."""
    procedure = find_procedure(_METHOD)
    summaries = [cleared_from_message(a.summary, procedure) for a in answers if a.summary is not None]
    rows = [_rows(cleared) for cleared in summaries]
    if not sum(rows) > 0.0:
        return b""
    total: dict[str, Array] = {}
    for cleared, one in zip(summaries, rows, strict=True):
        share = one / sum(rows)
        for (field, label), value in cleared.values.items():
            if field == "arrays":
                part = cast(Array, value) * share
                total[label] = part if label not in total else total[label] + part
    # in the order of the model that was asked about; where that was fetched, countries answer in its order
    order = [named.name[5:] for named in task.state] or list(total)
    if set(order) != set(total):
        raise fault("TASK_NOT_POOLED", f"round {task.round}", "the countries answered with arrays the model has not")
    return state_to_bytes({f"{place:04d}.{label}": total[label] for place, label in enumerate(order)})


def _rows(cleared: Cleared) -> float:
    return float(np.sum(cleared.values["examples", ""]))


def _state_bytes(task: summary_pb2.Task) -> bytes:
    """The state that came with a task, or the digest of one that was fetched."""
    return task.state_digest or summary_pb2.State(arrays=task.state).SerializeToString(deterministic=True)
