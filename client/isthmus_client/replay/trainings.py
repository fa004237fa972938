"""The rounds of a training as the journals have them: read and checked one by one, not computed again.

What a strategy makes of the countries' weights is its own code, with chance of its own; a replay repeats the
statistics of methods and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence

from isthmus_client.replay.compare import Nearness
from isthmus_client.replay.driver import Round
from isthmus_client.replay.evidence import Answered
from isthmus_client.replay.faults import fault

# Key of a round: a training that began again without a country has a round 1 over the others too.
_Key = tuple[int, bytes]


def rounds_of(answers: Sequence[Answered]) -> tuple[Round, ...]:
    """Every round that was answered, with its answers; a `Fault` where one run asks for two different trainings.

    Parameters
    ----------
    answers
        To one run, each held against its own signature, task and approvals already.
    """
    first = answers[0]
    found: dict[_Key, list[Answered]] = {}
    for answer in answers:
        if answer.task.spec != first.task.spec or answer.task.study_digest != first.task.study_digest:
            raise fault("TWO_TASKS", answer.where, f"the run asks for something else than in {first.where}")
        if answer.coordinator != first.coordinator:
            raise fault("TWO_TASKS", answer.where, f"the task is signed by another coordinator than in {first.where}")
        found.setdefault((answer.task.round, answer.task_digest), []).append(answer)
    return tuple(Round(number, task, Nearness(), tuple(given)) for (number, task), given in sorted(found.items()))


def why_not_again(rounds: Sequence[Round]) -> str:
    """What was looked at, and what was not."""
    count = sum(len(r.answers) for r in rounds)
    return (
        f"a model was trained: {count} answers to {len(rounds)} rounds are as they were signed and approved; what the"
        " strategy made of them is not computed again"
    )
