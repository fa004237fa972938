"""Every run of the bundles pooled again, round by round, with the code the coordinator pools with.

The coordinator is believed nothing: a round's task has to follow from the sums of the round before it, and the answer
is what comes out at the end.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import NoReturn

from isthmus.errors import IsthmusError
from isthmus.v1 import study_pb2, summary_pb2
from isthmus_client.replay.bundle import Bundle, Entry
from isthmus_client.replay.compare import Nearness
from isthmus_client.replay.evidence import Answered, find_study, open_answer
from isthmus_client.replay.faults import Fault, at, fault
from isthmus_client.replay.replayed import Ends, LeftOut, Outcome, Replayed, Round
from isthmus_client.replay.summed import summed
from isthmus_client.replay.trained import check_rounds, is_training
from isthmus_methods.codec import spec_from_message
from isthmus_methods.contract import Cleared, Done, Method, State
from isthmus_methods.pooling import pool_round
from isthmus_methods.registry import find
from isthmus_methods.summary_codec import as_carried, cleared_from_message, memory_to_message, task_to_message
from isthmus_trust.documents import DECISION, canonical

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Attempt:
    """The rounds of a run over one set of participants: answers by round and node."""

    participants: tuple[str, ...]
    number: int = 0  # of a sealed run's beginning, from 1
    rounds: dict[int, dict[str, Answered]] = field(default_factory=dict)


def runs_of(bundles: Sequence[Bundle]) -> dict[bytes, list[tuple[Bundle, Entry]]]:
    """Every run that any bundle has an answer to, in the order in which the first of them has it."""
    found: dict[bytes, list[tuple[Bundle, Entry]]] = {}
    for bundle in bundles:
        for entry in bundle.answers:
            found.setdefault(entry.record.run, []).append((bundle, entry))
    return found


def replay_run(run: bytes, entries: Sequence[tuple[Bundle, Entry]], bundles: Sequence[Bundle]) -> Replayed:
    """Check and pool one run again. Never raises: what does not hold is its outcome.

    Parameters
    ----------
    run
        Its number, 16 bytes.
    entries
        Every answer to it, of every bundle.
    bundles
        All that were given.
    """
    replayed = Replayed(run, Outcome.FAILED)
    given = {bundle.node for bundle in bundles}
    try:
        bundle, entry = entries[0]
        study = find_study(entry.record.study_digest, bundles, at(bundle.name, entry.record.sequence))
        replayed = replace(replayed, study=study, study_digest=entry.record.study_digest)
        answers = [open_answer(bundle, entry, study) for bundle, entry in entries]
        _check_one_request(answers)
        if is_training(answers[0].task):
            return check_rounds(replace(replayed, task=answers[0].task), study, answers, given)
        attempts = _attempts(answers)
        _check_left_out(study, attempts)
        replayed = replace(
            replayed,
            task=answers[0].task,
            earlier_attempts=len(attempts) - 1,
            left_out=_left_out(study, attempts, bundles),
        )
        for attempt in attempts:
            pooling = _Pooling(study, attempt, given)
            outcome, why, error, done = Outcome.POOLED, "", None, None
            try:
                done = pooling.run()
            except Ends as end:
                outcome, why, error = end.outcome, end.why, end.error
            finally:
                replayed = replace(replayed, rounds=tuple(pooling.rounds))
            replayed = replace(replayed, outcome=outcome, why=why, error=error, done=done)
        return replayed
    except Fault as error:
        return replace(replayed, outcome=Outcome.FAILED, why=error.message, error=error, done=None)
    except IsthmusError as error:
        # a request or a state that no coordinator of ours makes, signed all the same
        odd = fault("NOT_AS_RECORDED", f"run {run.hex()}", f"what was asked cannot be read: {error.message}")
        return replace(replayed, outcome=Outcome.FAILED, why=odd.message, error=odd, done=None)


def _check_one_request(answers: Sequence[Answered]) -> None:
    first = answers[0]
    for answer in answers:
        task = answer.task
        if (task.study_digest, task.analysis, task.purpose) != (
            first.task.study_digest, first.task.analysis, first.task.purpose
        ) or task.spec != first.task.spec:  # fmt: skip
            raise fault("TWO_TASKS", answer.where, f"the run asks for something else than in {first.where}")
        if answer.coordinator != first.coordinator:
            raise fault("TWO_TASKS", answer.where, f"the task is signed by another coordinator than in {first.where}")


def _attempts(answers: Sequence[Answered]) -> list[_Attempt]:
    """Answers by attempt, round and node. Each attempt is over fewer countries than the one before, of a sealed run
    over the same."""
    by_attempt: dict[tuple[tuple[str, ...], int], _Attempt] = {}
    for answer in answers:
        task = answer.task
        names = tuple(task.participants)
        attempt = _Attempt(names, task.sealed_attempt)
        given = by_attempt.setdefault((names, attempt.number), attempt).rounds.setdefault(task.round, {})
        other = next(iter(given.values()), None)
        if other is not None and other.task_digest != answer.task_digest:
            raise fault(
                "TWO_TASKS",
                f"round {task.round}",
                f"{answer.where} answers another task than {other.where}; rule: a round asks all the same",
            )
        if answer.node in given:
            raise fault("TWO_TASKS", answer.where, f"it answers a task that {given[answer.node].where} has answered")
        given[answer.node] = answer
    attempts = sorted(by_attempt.values(), key=lambda a: (-len(a.participants), a.number))
    for before, after in pairwise(attempts):
        if before.participants == after.participants and 0 < before.number < after.number:
            continue
        if after.number or not set(after.participants) < set(before.participants):
            raise fault(
                "TWO_TASKS",
                next(iter(next(iter(after.rounds.values())).values())).where,
                "the run was asked of other countries than before; rule: it starts again only without some",
            )
    return attempts


def _check_left_out(study: study_pb2.Study, attempts: Sequence[_Attempt]) -> None:
    """A planned analysis goes on without a country only where the approved study says so."""
    task = next(iter(next(iter(attempts[-1].rounds.values())).values()))
    planned = next((a for a in study.plan if a.name == task.task.analysis), None)
    gone = [p.country for p in study.participants if p.node not in attempts[-1].participants]
    if gone and planned is not None and planned.missing_country != study_pb2.GO_ON_WITHOUT:
        raise fault(
            "NOT_AS_RECORDED",
            task.where,
            f"it goes on without {', '.join(gone)}, and the approved plan does not let it",
        )


def _left_out(study: study_pb2.Study, attempts: Sequence[_Attempt], bundles: Sequence[Bundle]) -> tuple[LeftOut, ...]:
    """Countries of the study that the final attempt goes without, and what their journals say of it."""
    final = set(attempts[-1].participants)
    return tuple(
        LeftOut(p.country, p.node, _reason(p, attempts, bundles)) for p in study.participants if p.node not in final
    )


def _reason(participant: study_pb2.Participant, attempts: Sequence[_Attempt], bundles: Sequence[Bundle]) -> str:
    asked = [a for a in attempts if participant.node in a.participants]
    answers = [found[participant.node] for a in asked for found in a.rounds.values() if participant.node in found]
    refused = next((a for a in answers if a.refusal is not None), None)
    if refused is not None and refused.refusal is not None:
        return f"it refused: {refused.refusal.rule} [{refused.refusal.code}] ({refused.where})"
    bundle = next((b for b in bundles if b.node == participant.node), None)
    if bundle is None:
        return "its bundle is not among those given"
    if not asked:
        study = next(iter(attempts[-1].rounds[min(attempts[-1].rounds)].values())).task.study_digest
        about = [n for n in bundle.decisions if n.context == DECISION and n.decision.study_digest == study]
        if about and not about[-1].decision.approved:
            return f"its custodian declined the study (record {about[-1].sequence} of {bundle.name})"
        return "it was not asked in any round that was answered"
    last = max((number for a in asked for number in a.rounds), default=0)
    if answers and answers[-1].task.round == last:
        return f"its answer to round {last} ({answers[-1].where}) was not used: it came too late, or was not delivered"
    return f"its journal has no answer to round {last}"


# --------------------------------------------------------------------------- one attempt


class _Pooling:
    """One attempt of a run, from its first round as far as it goes."""

    def __init__(self, study: study_pb2.Study, attempt: _Attempt, given: Collection[str]) -> None:
        self._study = study
        self._attempt = attempt
        self._given = given
        self._country = {p.node: p.country for p in study.participants}
        self._last = max(attempt.rounds)
        self._datasets: dict[str, bytes] = {}
        self.rounds: list[Round] = []

    def run(self) -> Done:
        """The answer; raises `Ends` where there is none, a `Fault` where something does not hold."""
        first = next(iter(next(iter(self._attempt.rounds.values())).values())).task
        method = _method(first)
        countries = tuple(self._country[node] for node in self._attempt.participants)
        spec = replace(spec_from_message(first.spec, self._study), countries=countries)
        state: State = {}
        memory: State = {}
        for number in range(1, self._last + 1):
            answers = self._answers(number)
            asked = answers[0].task
            near = check_task(asked, number, state, f"round {number}, {answers[0].where}")
            self.rounds.append(Round(number, answers[0].task_digest, near, answers))
            try:
                given = _cleared(answers, method, self._study)
                turn = pool_round(method, given, spec, as_carried(asked), memory, number)
            except Fault:
                raise
            except IsthmusError as error:
                self._may_end_here(number, error.message, error)
            except Exception as error:  # noqa: BLE001 - hostile sums may break a method in ways nobody foresaw
                log.warning("pool_failed", extra={"method": method.name, "kind": type(error).__name__})
                self._may_end_here(number, f"an unforeseen fault in the pooled half of {method.name}")
            if isinstance(turn, Done):
                if number < self._last:
                    raise fault("TASK_NOT_POOLED", f"round {number + 1}", f"the method was done after round {number}")
                return turn
            state = turn.state
            # through the contract's bytes, as the coordinator keeps it
            memory = as_carried(memory_to_message(turn.memory))
        raise Ends(
            Outcome.NO_ANSWER,
            f"round {self._last + 1} is in no journal: the run was ended, or nobody answered it",
        )

    def _answers(self, number: int) -> tuple[Answered, ...]:
        """The summaries of a round, one of each participant, in the study's order."""
        found = self._attempt.rounds.get(number, {})
        if not found:
            raise fault("ROUND_MISSING", f"round {number}", f"it is in no journal, and round {self._last} is")
        refused = [a for node in self._attempt.participants if (a := found.get(node)) and a.refusal is not None]
        for answer in refused:
            if answer.refusal is not None:
                why = f"{answer.country} refused: {answer.refusal.rule} [{answer.refusal.code}] ({answer.where})"
                self._may_end_here(number, why)
        missing = [node for node in self._attempt.participants if node not in found]
        unseen = [self._country[node] for node in missing if node not in self._given]
        if unseen:
            raise Ends(Outcome.INCOMPLETE, f"the bundle of {', '.join(unseen)} is not among those given")
        if missing:
            names = ", ".join(self._country[node] for node in missing)
            if number < self._last:
                raise fault(
                    "ROUND_MISSING",
                    f"round {number}",
                    f"the journal of {names} has no answer to it, and round {self._last} was answered",
                )
            raise Ends(Outcome.NO_ANSWER, f"the journal of {names} has no answer to round {number}")
        unopened = [self._country[node] for node, a in found.items() if a.sealed and a.sealed.reveal is None]
        if unopened:
            self._may_end_here(number, f"{', '.join(unopened)} did not open its mask: nothing was summed")
        for node, answer in found.items():
            before = self._datasets.setdefault(node, answer.dataset_digest)
            if answer.dataset_digest != before:
                self._may_end_here(number, f"the rows of {answer.country} changed between two rounds ({answer.where})")
        return tuple(found[node] for node in self._attempt.participants)

    def _may_end_here(self, number: int, why: str, error: IsthmusError | None = None) -> NoReturn:
        """The run ends in this round; that another round was asked all the same does not hold."""
        if number < self._last:
            raise fault("TASK_NOT_POOLED", f"round {number + 1}", f"it was asked although, in round {number}, {why}")
        raise Ends(Outcome.NO_ANSWER, why, error)


def _method(task: summary_pb2.Task) -> Method:
    try:
        return find(task.spec.method, task.spec.method_version)
    except IsthmusError as error:
        raise Ends(Outcome.OTHER_RELEASE, error.message, error) from error


def _cleared(answers: Sequence[Answered], method: Method, study: study_pb2.Study) -> list[Cleared]:
    if any(answer.sealed is not None for answer in answers):
        return [summed(answers, method, study)]
    return [cleared_from_message(a.summary, method) for a in answers if a.summary is not None]


def check_task(asked: summary_pb2.Task, number: int, state: State, where: str) -> Nearness:
    """Hold what a round was asked with against what the sums of the round before it give.

    Parameters
    ----------
    asked
        As the coordinator signed it. Study, plan and run have been looked at.
    number
        Of the round, from 1.
    state
        What the pooled half gave for this round; empty for the first.

    Raises
    ------
    Fault
        ``TASK_NOT_POOLED``, naming the part of the state, where they are not equal to 1e-12.
    """
    expected = task_to_message(
        study_digest=asked.study_digest,
        analysis=asked.analysis,
        run=asked.run,
        number=number,
        spec=asked.spec,
        purpose=asked.purpose,
        state=state,
        participants=asked.participants,
        deadline=asked.deadline,
        requester=asked.requester,
        sealed_attempt=asked.sealed_attempt,
    )
    if canonical(expected) == canonical(asked):
        return Nearness()
    given, wanted = as_carried(asked), as_carried(expected)
    if set(given) != set(wanted):
        odd = sorted(set(given) ^ set(wanted))[0]
        raise fault("TASK_NOT_POOLED", where, f"the state that was sent, and the one pooled, differ in having {odd!r}")
    near = Nearness()
    for name in sorted(wanted):
        one, other = given[name], wanted[name]
        if one.shape != other.shape:
            raise fault("TASK_NOT_POOLED", where, f"the state {name!r} that was sent has another shape than pooled")
        for k, (sent, pooled) in enumerate(zip(one.ravel().tolist(), other.ravel().tolist(), strict=True)):
            near = near.widened(f"{name}[{k}]", sent, pooled)
            if not near.holds:
                raise fault(
                    "TASK_NOT_POOLED",
                    where,
                    f"the state {name}[{k}] that was sent is {sent!r}, the countries' sums give {pooled!r}",
                )
    return near
