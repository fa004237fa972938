"""A training in the journals: what left is shown, means are held against what was asked, no more is claimed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from isthmus.v1 import spec_pb2, study_pb2, summary_pb2
from isthmus_client.replay.evidence import Answered
from isthmus_client.replay.faults import Fault
from isthmus_client.replay.held import hold
from isthmus_client.replay.replayed import Outcome, Replayed
from isthmus_client.replay.trained import check_rounds, is_training
from isthmus_methods import codec
from isthmus_methods.summary_codec import state_to_bytes
from isthmus_trust.documents import canonical, digest

NODES = ("nl", "be", "de")
ROWS = {"nl": 20.0, "be": 30.0, "de": 50.0}
STUDY = study_pb2.Study(
    name="TRIAL",
    participants=[study_pb2.Participant(node=n, country=n.upper()) for n in NODES],
    plan=[study_pb2.Analysis(name="a", missing_country=study_pb2.FAIL)],
)
Change = Callable[[summary_pb2.Task], None]


def task_of(
    number: int, model: dict[str, np.ndarray], strategy: str = "FedAvg", apart: bool = False
) -> summary_pb2.Task:
    state = {f"{place:04d}.{name}": array for place, (name, array) in enumerate(model.items())}
    body = state_to_bytes(state)
    training = spec_pb2.Training(strategy=spec_pb2.Strategy(name=strategy), rounds=9)
    return summary_pb2.Task(
        analysis="a",
        round=number,
        spec=spec_pb2.Spec(method="training", training=training),
        state=[] if apart else codec.state_to_messages(state),
        state_digest=hashlib.sha256(body).digest() if apart else b"",
        participants=NODES,
        deadline=1000 + number,
        message=summary_pb2.AppMessage(type="train" if number % 2 else "evaluate"),
    )


def answers_to(task: summary_pb2.Task, models: dict[str, dict[str, np.ndarray]]) -> list[Answered]:
    found = []
    for node in task.participants:
        given = {("arrays", name): array for name, array in models[node].items()} if task.round % 2 else {}
        given["examples", ""] = np.array([ROWS[node]])
        items = [
            summary_pb2.Item(field=field, label=label, value=codec.array_to_message(value))
            for (field, label), value in given.items()
        ]
        summary = summary_pb2.Summary(node=node, country=node.upper(), items=items)
        name = digest(canonical(task))
        found.append(
            Answered(
                f"{node}.zip",
                node,
                node.upper(),
                task.round,
                0,
                name,
                task,
                "key",
                "key",
                b"p",
                1,
                b"",
                b"",
                (),
                None,
                summary,
            )
        )
    return found


def training(
    rounds: int = 4, strategy: str = "FedAvg", change: Change | None = None, apart: bool = False
) -> list[Answered]:
    """Rounds of training and evaluation, as a coordinator that takes means asks them."""
    chance = np.random.default_rng(5)
    model = {"w": np.zeros(3), "b": np.zeros(1, dtype=np.float32)}
    found: list[Answered] = []
    for number in range(1, rounds + 1):
        task = task_of(number, model, strategy, apart)
        if change is not None:
            change(task)
        own = {
            node: {name: (array + chance.normal(size=array.shape)).astype(array.dtype) for name, array in model.items()}
            for node in NODES
        }
        found += answers_to(task, own)
        if number % 2:
            for name in model:
                parts = [own[node][name] * (ROWS[node] / sum(ROWS.values())) for node in NODES]
                model[name] = parts[0] + parts[1] + parts[2]
    return found


def checked(answers: list[Answered], given: tuple[str, ...] = NODES) -> Replayed:
    assert is_training(answers[0].task)
    start = Replayed(b"r" * 16, Outcome.FAILED, task=answers[0].task, study=STUDY)
    return check_rounds(start, STUDY, answers, given)


@pytest.mark.parametrize("apart", [False, True], ids=["in the order", "fetched"])
def test_means_are_followed_from_round_to_round(apart: bool) -> None:
    run = checked(training(apart=apart))
    assert (run.outcome, len(run.rounds), len(run.model)) == (Outcome.TRAINED, 4, 64)
    assert "is the mean of the countries' models" in run.why


@pytest.mark.parametrize("apart", [False, True], ids=["in the order", "fetched"])
def test_a_model_that_is_no_mean_is_found(apart: bool) -> None:
    def change(task: summary_pb2.Task) -> None:
        if task.round == 3 and apart:
            task.state_digest = hashlib.sha256(b"made for one country").digest()
        elif task.round == 3:
            # one bit of one number
            body = bytearray(task.state[0].array.doubles or task.state[0].array.floats)
            body[0] ^= 1
            field = "doubles" if task.state[0].array.HasField("doubles") else "floats"
            setattr(task.state[0].array, field, bytes(body))

    with pytest.raises(Fault, match="round 3: the model that was asked about is not the mean"):
        checked(training(change=change, apart=apart))


def test_of_another_strategy_no_more_is_said_than_holds() -> None:
    def change(task: summary_pb2.Task) -> None:
        task.state[0].array.CopyFrom(codec.array_to_message(np.full(3, float(task.round))))

    run = checked(training(strategy="FedAdam", change=change))
    assert (run.outcome, run.model) == (Outcome.TRAINED, "")
    assert "what the strategy made of them is not computed again" in run.why
    result = {"analysis": "a", "rounds": 4, "answer": {"digest": "0" * 64}}
    assert hold(result, run, "result.json")[0].outcome is Outcome.OTHER_RELEASE


def test_two_models_in_one_round_are_found() -> None:
    answers = training()
    other = summary_pb2.Task()
    other.CopyFrom(answers[-1].task)
    other.message.config.add(name="for", text="one")
    extra = replace(answers[-1], task=other, task_digest=digest(canonical(other)))
    with pytest.raises(Fault, match="asked with another model"):
        checked([*answers, extra])


def test_a_run_begun_twice_where_the_plan_does_not_let_it_is_found() -> None:
    second = training()
    for answer in second:
        answer.task.deadline += 100
    renamed = [replace(a, task_digest=digest(canonical(a.task))) for a in second]
    with pytest.raises(Fault, match="begun twice"):
        checked([*training(), *renamed])


def test_a_round_that_is_in_no_journal_is_missed() -> None:
    with pytest.raises(Fault, match="round 2: it is in no journal"):
        checked([answer for answer in training() if answer.task.round != 2])


def test_a_refusal_ends_it_in_its_last_round_only() -> None:
    answers = training()
    refusal = summary_pb2.Refusal(code="CONTRIBUTORS", rule="too few")
    last = [replace(a, summary=None, refusal=refusal) if a is answers[-1] else a for a in answers]
    run = checked(last)
    assert (run.outcome, "too few" in run.why) == (Outcome.NO_ANSWER, True)
    early = [replace(a, summary=None, refusal=refusal) if a is answers[3] else a for a in answers]
    with pytest.raises(Fault, match="it was asked although NL refused"):
        checked(early)


def test_a_bundle_that_was_not_given_is_named() -> None:
    answers = [answer for answer in training() if answer.node != "be"]
    run = checked(answers, ("nl", "de"))
    assert (run.outcome, run.why) == (Outcome.INCOMPLETE, "the bundle of BE is not among those given")


def test_result_with_another_model_is_told_from_it() -> None:
    run = checked(training())
    result = {"analysis": "a", "rounds": 4, "answer": {"digest": run.model}}
    assert hold(result, run, "result.json")[0].outcome is Outcome.TRAINED
    for change in ({"answer": {"digest": "0" * 64}}, {"rounds": 3}):
        assert hold({**result, **change}, run, "result.json")[0].outcome is Outcome.FAILED
