"""What happens next in a run: pure functions from a run and an event to the run that follows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from isthmus.errors import (
    AuthenticationError,
    CountriesMissing,
    DataError,
    IsthmusError,
    MethodError,
    Refused,
)
from isthmus.v1 import study_pb2
from isthmus_coordinator.analyses.results import result_bytes
from isthmus_coordinator.analyses.run import Answer, Failure, LeftOut, OpenTask, Run, given_with
from isthmus_coordinator.analyses.sealed import open_sum, with_sum
from isthmus_coordinator.analyses.states import Event, State, check_transition
from isthmus_coordinator.clock import SECOND
from isthmus_methods.contract import Done, Method, Next
from isthmus_methods.plausible import Implausible
from isthmus_methods.pooling import pool_round
from isthmus_methods.summary_codec import Serialised, as_carried, memory_to_message, task_to_message
from isthmus_trust.documents import canonical, digest
from isthmus_trust.sealed import MOST_ATTEMPTS

# Signs a task's bytes with the coordinator's identity key.
Sign = Callable[[bytes], study_pb2.Signed]

# Where an analysis waits for its countries, its tasks stay of use for as long as anybody could want.
WAIT_SECONDS = 10 * 365 * 24 * 3600
# The fewest countries a run goes on with where results by country may not be shown.
FEWEST = 2
# A task goes out as one message, and messages end at 4 MiB.
MAX_TASK = 4 * 1024 * 1024 - 64 * 1024
# A larger model is fetched by the nodes, in parts.
MAX_INLINE = 1 << 20

# Where a node said what it waits for and the deadline passed: that, and what to do.
_LONGER = "; or give the analysis a longer deadline_seconds: a day where people decide"
_WAITED = {
    "OUTPUT_HELD": (
        ": the numbers were held for inspection, and nobody at the site released them",
        "ask the site's custodian to look (isthmus-node release list), then run it again" + _LONGER,
    )
}
_DECIDING = (
    ": nobody at the site decided on it",
    "ask the site's custodian to decide (isthmus-node studies), then run it again" + _LONGER,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """A node need not answer a task any more."""

    node: str
    task: bytes
    reason: str  # "CANCELLED", "DEADLINE", "FAILED", "DONE"


@dataclass(frozen=True, slots=True)
class Turn:
    """The run that follows, and the tasks that are no longer wanted. A new `run.task` is still to be announced."""

    run: Run
    withdrawn: tuple[Withdrawn, ...] = ()
    # To be kept in parts: the state of the new task where it is fetched, or the model of a training that is done.
    apart: Serialised | None = None


def begin(run: Run, sign: Sign, now: int) -> Turn:
    """Every participant has approved: the first round opens."""
    started = replace(run, state=check_transition(run.state, Event.APPROVED), started_at=now)
    return Turn(started if run.request.trains else _open(started, Next({}), sign, now))


def take_in(run: Run, answers: Sequence[Answer], sign: Sign, now: int) -> Turn:
    """Countries answered. Once all have, their summaries are pooled and another round opens or the run ends.

    Parameters
    ----------
    run
        The run whose open task was answered.
    answers
        One a node, of participants that had not answered.
    """
    check_transition(run.state, Event.ANSWERED)
    traffic, given = dict(run.traffic), dict(run.given)
    for answer in answers:
        releases, size = traffic.get(answer.node, (0, 0))
        more = 0 if answer.submission is None else answer.submission.size
        traffic[answer.node] = (releases + 1, size + more)
        if answer.cleared is not None:
            changed = answer.node in given and given[answer.node].dataset_digest != answer.dataset_digest
            if changed:
                error = DataError(
                    "DATASET_CHANGED",
                    f"the rows of {run.request.country(answer.node)} changed between two rounds; "
                    "rule: one run reads one snapshot",
                    "run the analysis again",
                )
                return break_off(replace(run, traffic=traffic), Failure.of(error), now)
            given[answer.node] = given_with(given.get(answer.node), answer, answer.cleared)
    kept = {a.node: replace(a, submission=None) for a in answers}  # they are stored with this turn
    run = replace(run, answers={**run.answers, **kept}, given=given, traffic=traffic)
    refused = {a.node: LeftOut("refused", a.refusal) for a in answers if a.refusal is not None}
    if refused:
        return leave_out(run, refused, "FAILED", sign, now)
    return Turn(run) if run.unanswered or run.request.trains else _pool(run, sign, now)


def due(run: Run) -> bool:
    """Whether a training's strategy is to say how it goes on; `follow` takes what it says."""
    return run.request.trains and run.state is State.RUNNING and (run.task is None or not run.unanswered)


def follow(run: Run, outcome: Next | Done | Failure, sign: Sign, now: int) -> Turn:
    """What a training's strategy said when the run was `due`: another round opens, or the run ends."""
    if isinstance(outcome, Failure):
        return break_off(run, outcome, now)
    try:
        return _after_pool(run, outcome, sign, now)
    except IsthmusError as error:
        return break_off(run, Failure.of(error), now)


def out_of_time(run: Run, sign: Sign, now: int) -> Turn:
    """The open task's deadline has passed. Nothing happens where the analysis waits for its countries."""
    late = run.unanswered
    if run.request.missing_country == study_pb2.WAIT or not late:
        return Turn(run)
    missing = {node: LeftOut("missing", Failure.of(_too_late(run, node))) for node in late}
    return leave_out(run, missing, "DEADLINE", sign, now)


def leave_out(run: Run, gone: Mapping[str, LeftOut], reason: str, sign: Sign, now: int) -> Turn:
    """Countries do not take part: the run ends, or starts again without them, as the analysis says.

    Never a partial sum: what the others gave in this attempt is not used.
    """
    gone = {node: gone[node] for node in run.participants if node in gone}
    left = {**run.left_out, **gone}
    remaining = tuple(node for node in run.participants if node not in gone)
    if run.request.missing_country != study_pb2.GO_ON_WITHOUT:
        return break_off(replace(run, left_out=left), _end_of(run, gone), now, reason)
    if not remaining or (len(remaining) < FEWEST and not run.request.study.by_country):
        return break_off(replace(run, left_out=left), Failure.of(_too_few(run, left)), now, reason)
    state = check_transition(run.state, Event.LEFT_OUT)
    following = replace(run, state=state, participants=remaining, left_out=left, answers={}, given={})
    if run.task is None:
        return Turn(following)
    following = replace(following, attempt=run.attempt + 1, task=None, measure="", measured=0.0)
    return Turn(following if run.request.trains else _open(following, Next({}), sign, now), _withdrawals(run, reason))


def again(run: Run, why: Failure, sign: Sign, now: int) -> Turn:
    """A sealed run begins again over the same countries, as often as it may; otherwise it ends, and `why` is said."""
    if run.attempt >= MOST_ATTEMPTS:
        return break_off(run, why, now)
    state = check_transition(run.state, Event.BEGUN_AGAIN)
    following = replace(run, state=state, attempt=run.attempt + 1, task=None, answers={}, given={}, sums=())
    opened = _open(replace(following, ended_round=None, measure="", measured=0.0), Next({}), sign, now)
    return Turn(opened, _withdrawals(run, "FAILED"))


def cancel(run: Run, now: int) -> Turn:
    """An analyst does not want it any more."""
    state = check_transition(run.state, Event.CANCELLED)
    ended = replace(run, state=state, ended_at=now)
    error = IsthmusError("CANCELLED", "the run was cancelled by an analyst", "start a new run")
    failure = Failure(error.code, error.message, error.remedy, Refused.exit_code)
    return Turn(replace(ended, result=result_bytes(ended, failure=failure)), _withdrawals(run, "CANCELLED"))


def break_off(run: Run, failure: Failure, now: int, reason: str = "FAILED") -> Turn:
    """The run ends without an answer."""
    state = check_transition(run.state, Event.BROKE_OFF)
    ended = replace(run, state=state, ended_at=now)
    return Turn(replace(ended, result=result_bytes(ended, failure=failure)), _withdrawals(run, reason))


def revoked(country: str, node: str) -> LeftOut:
    """A participant was taken off the roster."""
    error = AuthenticationError(
        "PARTICIPANT_REVOKED",
        f"{country} (node {node}) was taken off the roster while the analysis ran",
        "propose a version of the study without it, or enrol it again",
    )
    return LeftOut("refused", Failure.of(error))


def not_approved(country: str, node: str) -> LeftOut:
    """A custodian refused the study."""
    error = Refused(
        "STUDY_REFUSED",
        f"the custodian of {country} (node {node}) refused the study",
        "speak with the custodian, and propose a new version of the study",
    )
    return LeftOut("refused", Failure.of(error))


# --------------------------------------------------------------------------- the steps


def _open(run: Run, turn: Next, sign: Sign, now: int, apart: Serialised | None = None) -> Run:
    request, number = run.request, run.round + 1
    waits = request.missing_country == study_pb2.WAIT
    deadline = now + (WAIT_SECONDS if waits else request.deadline_seconds) * SECOND
    task = task_to_message(
        study_digest=request.study_digest,
        analysis=request.analysis,
        run=request.run,
        number=number,
        spec=request.spec_message,
        purpose=request.purpose,
        state={} if apart is not None else turn.state,
        participants=turn.asked or run.participants,
        deadline=deadline,
        requester=request.requested_by,
        message=turn.message,
        apart=apart,
        sealed_attempt=run.attempt if request.sealed else 0,
    )
    kept = memory_to_message(turn.memory)
    body = canonical(task)
    if len(body) > MAX_TASK:
        raise MethodError(
            "STATE_TOO_LARGE",
            f"round {number} would send {len(body)} bytes to every country; rule: at most {MAX_TASK}",
            "use a coarser time grid or fewer terms",
        )
    opened = OpenTask(
        digest=digest(body),
        signed=sign(body),
        round=number,
        asked=tuple(task.participants),
        opened_at=now,
        deadline=deadline,
        # decoded again on purpose: a restart reads these very bytes
        state=as_carried(task),
        memory=as_carried(kept),
        memory_bytes=canonical(kept),
        state_digest=task.state_digest,
    )
    return replace(run, task=opened, answers={}, waits={})


def _pool(run: Run, sign: Sign, now: int) -> Turn:
    request, task = run.request, run.task
    if task is None:
        return Turn(run)
    answers = (run.answers[node].cleared for node in run.participants)
    given = [cleared for cleared in answers if cleared is not None]
    try:
        if request.sealed:
            opened = open_sum(run, task.digest, run.answers)
            run, given = with_sum(run, opened), [opened.cleared]
        spec, method = request.spec_for(run.participants), cast(Method, request.method)  # all but a training are one
        turn = pool_round(method, given, spec, task.state, task.memory, task.round)
        return _after_pool(run, turn, sign, now)
    except Implausible as error:
        return break_off(run, _with_evidence(run, error), now)
    except IsthmusError as error:
        return break_off(run, Failure.of(error), now)
    except Exception:
        log.exception("pool_failed", extra={"run": request.run.hex(), "method": request.method.name})
        message = f"an unforeseen fault in the pooled half of {request.method.name}"
        remedy = "report it with the run's number; the coordinator's log has the details"
        return break_off(run, Failure("BUG", message, remedy, IsthmusError.exit_code), now)


def _with_evidence(run: Run, error: Implausible) -> Failure:
    """The failure with the signed answer that shows it: whoever sent it cannot say that it was somebody else."""
    failure = Failure.of(error)
    found = [answer for node, answer in run.answers.items() if run.request.country(node) == error.country]
    if not found or run.task is None:
        return failure
    task = run.task.digest.hex()[:16]
    kept = f"its signed answer to round {run.round} (task {task}) has SHA-256 {found[0].digest.hex()}"
    return replace(failure, message=f"{failure.message}; {kept}")


def _after_pool(run: Run, turn: Next | Done, sign: Sign, now: int) -> Turn:
    if isinstance(turn, Next):
        state = check_transition(run.state, Event.POOLED)
        measured = replace(run, state=state, measure=turn.measure, measured=float(turn.measured))
        apart = _apart(turn)
        return Turn(_open(measured, turn, sign, now, apart), apart=apart)
    ended = replace(run, state=check_transition(run.state, Event.FINISHED), ended_at=now)
    apart = Serialised(turn.model) if turn.model else None
    return Turn(replace(ended, result=result_bytes(ended, done=turn)), apart=apart)


def _apart(turn: Next) -> Serialised | None:
    """The state, where it is a model's and too large for an order."""
    if turn.message is None or sum(array.nbytes for array in turn.state.values()) <= MAX_INLINE:
        return None
    return Serialised(turn.state)


def _withdrawals(run: Run, reason: str) -> tuple[Withdrawn, ...]:
    if run.task is None:
        return ()
    return tuple(Withdrawn(node, run.task.digest, reason) for node in run.unanswered)


def _too_late(run: Run, node: str) -> CountriesMissing:
    waits = run.waits.get(node, "")
    what, remedy = _WAITED.get(
        waits, _DECIDING if waits else ("", "see whether the site's node runs: isthmus-node status")
    )
    return CountriesMissing(
        "DEADLINE_PASSED",
        f"{run.request.country(node)} (node {node}) did not answer round {run.round} "
        f"within {run.request.deadline_seconds} s{what}",
        remedy,
    )


def _end_of(run: Run, gone: Mapping[str, LeftOut]) -> Failure:
    """Why the run ends: the first country's own reason; where several are missing, all are named."""
    first = next(iter(gone.values())).failure
    if len(gone) == 1:
        return first
    names = ", ".join(run.request.country(node) for node in gone)
    return replace(first, message=f"{first.message}; altogether did not take part: {names}")


def _too_few(run: Run, left: Mapping[str, LeftOut]) -> CountriesMissing:
    names = ", ".join(run.request.country(node) for node in left)
    return CountriesMissing(
        "TOO_FEW_COUNTRIES",
        f"without {names} too few countries remain; rule: at least {FEWEST}, "
        "because this study does not let results by country be shown",
        "see why they did not take part, then run it again",
    )
