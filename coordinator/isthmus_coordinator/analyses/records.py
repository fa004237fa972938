"""Runs in the store: a turn is written whole, in one transaction, before anybody hears of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Row, delete, func, insert, select, update
from sqlalchemy.engine import Connection

from isthmus.errors import Refused
from isthmus.v1 import analyst_pb2, spec_pb2, study_pb2, summary_pb2
from isthmus.version import __version__
from isthmus_coordinator.analyses.answers import not_a_participant, read_answer
from isthmus_coordinator.analyses.results import failure_message
from isthmus_coordinator.analyses.run import (
    SUMMARY,
    Answer,
    Failure,
    Given,
    LeftOut,
    OpenTask,
    Request,
    Run,
    given_with,
)
from isthmus_coordinator.analyses.sealed import open_sum, read_sealed, with_sum
from isthmus_coordinator.analyses.states import FINAL, State
from isthmus_coordinator.analyses.submission import PART, Submission, is_large
from isthmus_coordinator.store.database import Database
from isthmus_coordinator.store.tables import analyses, left_out, rounds, states, submission_parts, submissions
from isthmus_coordinator.studies.catalogue import StoredStudy
from isthmus_coordinator.studies.proposals import FindMethod
from isthmus_methods import codec
from isthmus_methods.contract import Cleared
from isthmus_methods.summary_codec import Serialised, as_carried

GetStudy = Callable[[bytes], StoredStudy]

# Made once: these two are in the path of every round.
_INSERT_ROUND = insert(rounds)
_INSERT_SUBMISSION = insert(submissions)


def insert_run(connection: Connection, run: Run) -> None:
    """A run that was just asked for."""
    request = run.request
    connection.execute(
        insert(analyses).values(
            run=request.run,
            study_digest=request.study_digest,
            name=request.analysis,
            spec=request.spec_message.SerializeToString(deterministic=True),
            purpose=int(request.purpose),
            missing_country=int(request.missing_country),
            deadline_seconds=request.deadline_seconds,
            requested_by=request.requested_by,
            submitted_at=request.submitted_at,
            **_standing(run),
        )
    )


def save_turn(
    connection: Connection, before: Run, after: Run, answers: Sequence[Answer], apart: Serialised | None = None
) -> None:
    """What changed between two moments of a run, the answers that came between them, and what is kept in parts."""
    request = after.request
    given = [(a, a.submission) for a in answers if a.submission is not None]
    if given and before.task is not None:
        connection.execute(
            _INSERT_SUBMISSION,
            [
                {
                    "task": before.task.digest,
                    "node": a.node,
                    "kind": a.kind,
                    "digest": a.digest,
                    "signed": b"" if is_large(submission) else bytes(submission.whole()),
                    "size": submission.size,
                    "received_at": a.received_at,
                }
                for a, submission in given
            ],
        )
        for a, submission in given:
            if is_large(submission):
                _keep_parts(connection, before.task.digest, a.node, submission)
    if after.task is not None and after.task is not before.task:
        connection.execute(
            _INSERT_ROUND,
            {
                "task": after.task.digest,
                "run": request.run,
                "attempt": after.attempt,
                "round": after.task.round,
                "signed": after.task.signed.SerializeToString(deterministic=True),
                "memory": after.task.memory_bytes,
                "measure": after.measure[:128],
                "measured": after.measured,
                "opened_at": after.task.opened_at,
            },
        )
    if after.request.trains and (after.task is not before.task or after.final):
        _keep_apart(connection, before, after, apart)
    if after.request.trains and (after.final or after.attempt != before.attempt):
        _forget_parts(connection, request.run)
    newly = [(node, left) for node, left in after.left_out.items() if node not in before.left_out]
    if newly:
        connection.execute(insert(left_out), [_left_row(request.run, node, left) for node, left in newly])
    if _standing(before) != _standing(after):
        connection.execute(update(analyses).where(analyses.c.run == request.run).values(**_standing(after)))


def _keep_parts(connection: Connection, task: bytes, node: str, submission: Submission) -> None:
    for place, part in enumerate(submission.parts()):
        row = {"task": task, "node": node, "place": place, "part": part}
        connection.execute(insert(submission_parts), row)


def _forget_parts(connection: Connection, run: bytes) -> None:
    """Let go of models that no strategy is told again: their digests stay here, their bytes in the sites' journals."""
    tasks = select(rounds.c.task).where(rounds.c.run == run)
    connection.execute(delete(submission_parts).where(submission_parts.c.task.in_(tasks)))


def _keep_apart(connection: Connection, before: Run, after: Run, apart: Serialised | None) -> None:
    """Put the new state, or the model, in the place of the state before: a model that is asked twice stays."""
    old = b"" if before.task is None else before.task.state_digest
    new = b"" if after.task is None or after.final else after.task.state_digest
    if old and old == new:
        return
    if old:
        connection.execute(delete(states).where(states.c.run == after.request.run))
    for place, part in enumerate(() if apart is None else apart.slices(PART)):
        connection.execute(insert(states), {"run": after.request.run, "place": place, "part": part})


def read_parts(database: Database, run: bytes) -> Iterator[bytes]:
    """The state or the model that is kept of a run, a part of it in memory at a time; nothing where none is."""
    with database.read() as connection:
        places = list(
            connection.execute(select(states.c.place).where(states.c.run == run).order_by(states.c.place)).scalars()
        )
    for place in places:
        # a connection for each: how fast parts are taken is the reader's to say
        with database.read() as connection:
            query = select(states.c.part).where(states.c.run == run, states.c.place == place)
            part: bytes | None = connection.execute(query).scalar_one_or_none()
        if part is None:
            return
        yield part


class Answered:
    """What the nodes answered in the present attempt of a training, read again: one round, one node at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def tasks_before(self, run: Run) -> Iterator[tuple[bytes, summary_pb2.Task]]:
        """Tasks before the open one, in order: digest and task."""
        with self._database.read() as connection:
            tasks = _tasks_of(connection, run.request.run, run.attempt)[: run.round - 1]
        for task in tasks:
            with self._database.read() as connection:
                signed = connection.execute(select(rounds.c.signed).where(rounds.c.task == task)).scalar_one()
            yield task, summary_pb2.Task.FromString(study_pb2.Signed.FromString(signed).body)

    def of(self, request: Request, task: bytes, node: str) -> Cleared | None:
        """What a node gave for a task, whole; None where that was a refusal."""
        with self._database.read() as connection:
            return _read_answer(connection, request, task, node, whole=True).cleared


@dataclass(frozen=True, slots=True)
class _Stored:
    """What a node submitted, in the store."""

    connection: Connection
    task: bytes
    node: str
    size: int
    digest: bytes
    signed: bytes  # empty where it is in parts

    def whole(self) -> bytearray:
        body = bytearray(self.signed)
        if not body:
            table = submission_parts.c
            query = select(table.part).where(table.task == self.task, table.node == self.node).order_by(table.place)
            for part in self.connection.execute(query.execution_options(yield_per=1)).scalars():
                body += part
        return body


def _read_answer(connection: Connection, request: Request, task: bytes, node: str, *, whole: bool = False) -> Answer:
    column = submissions.c
    query = select(column.kind, column.signed, column.size, column.digest, column.received_at)
    s = connection.execute(query.where(column.task == task, column.node == node)).one()
    stored = _Stored(connection, task, node, s.size, s.digest, s.signed)
    if request.sealed and s.kind == SUMMARY:
        return read_sealed(request, node, task, bytes(stored.whole()), s.received_at)
    return read_answer(request, node, task, stored, s.received_at, whole=whole)


def _tasks_of(connection: Connection, run: bytes, attempt: int) -> list[bytes]:
    asked = select(rounds.c.task).where(rounds.c.run == run, rounds.c.attempt == attempt).order_by(rounds.c.round)
    return list(connection.execute(asked).scalars())


def _read_answers(connection: Connection, request: Request, task: bytes) -> dict[str, Answer]:
    """What was submitted for a task, by node; without weights."""
    nodes = connection.execute(select(submissions.c.node).where(submissions.c.task == task)).scalars().all()
    return {node: _read_answer(connection, request, task, node) for node in nodes}


def open_runs(connection: Connection) -> list[bytes]:
    """Numbers of the runs that have not ended, oldest first."""
    final = [state.value for state in FINAL]
    query = select(analyses.c.run).where(analyses.c.state.not_in(final)).order_by(analyses.c.submitted_at)
    return list(connection.execute(query).scalars())


def load_run(connection: Connection, number: bytes, get_study: GetStudy, find_method: FindMethod) -> Run:
    """A run as it stood when its last turn was written; `UsageError` where its method is not here any more."""
    row = connection.execute(select(analyses).where(analyses.c.run == number)).one()
    request = _request(row, get_study(row.study_digest), find_method)
    gone = connection.execute(select(left_out).where(left_out.c.run == number)).all()
    left = {g.node: LeftOut(g.how, Failure(g.code, g.message, g.remedy, g.exit_code)) for g in gone}
    run = Run(
        request=request,
        participants=tuple(p.node for p in request.study.participants if p.node not in left),
        state=State(row.state),
        attempt=row.attempt,
        left_out=left,
        traffic=_traffic(connection, number),
        started_at=row.started_at,
        ended_at=row.ended_at,
        result=row.result,
    )
    answers: dict[str, Answer] = {}
    given: dict[str, Given] = {}
    tasks = _tasks_of(connection, number, row.attempt)
    for task in tasks:
        # one round's at a time: those of a training are large
        answers = _read_answers(connection, request, task)
        if request.sealed and len(answers) == len(run.participants):
            run = with_sum(run, open_sum(run, task, answers))
        for node, answer in answers.items():
            if answer.cleared is not None:
                given[node] = given_with(given.get(node), answer, answer.cleared)
    if tasks:
        opened = connection.execute(select(rounds).where(rounds.c.task == tasks[-1])).one()
        run = replace(run, task=_open_task(opened), measure=opened.measure, measured=opened.measured)
    return replace(run, answers=answers, given=given)


def close_unreadable(connection: Connection, number: bytes, failure: Failure, now: int) -> None:
    """End a run that this release cannot go on with."""
    row = connection.execute(select(analyses).where(analyses.c.run == number)).one()
    result = analyst_pb2.Result(
        run=number,
        study_digest=row.study_digest,
        analysis=row.name,
        spec=spec_pb2.Spec.FromString(row.spec),
        purpose=row.purpose,
        state=State.FAILED.value,
        failure=failure_message(failure),
        software=__version__,
        started_at=row.started_at,
        ended_at=now,
    )
    connection.execute(
        update(analyses)
        .where(analyses.c.run == number)
        .values(state=State.FAILED.value, ended_at=now, result=result.SerializeToString(deterministic=True))
    )


def count_runs(connection: Connection) -> dict[str, int]:
    """Number of runs in each state that any is in."""
    counted = connection.execute(select(analyses.c.state, func.count()).group_by(analyses.c.state)).all()
    found = {state: int(n) for state, n in counted}
    return {state.value: found[state.value] for state in State if state.value in found}


def find_result(connection: Connection, run: bytes) -> tuple[State, bytes | None] | None:
    """State and result of a run; None where there is none of that number."""
    row = connection.execute(select(analyses.c.state, analyses.c.result).where(analyses.c.run == run)).first()
    return None if row is None else (State(row.state), row.result)


def stored_answer(database: Database, node: str, task: bytes) -> bytes:
    """Digest of what a node submitted for a task that is not open any more.

    Raises `Refused` ``UNKNOWN_TASK``, ``NOT_A_PARTICIPANT``, ``TASK_CLOSED`` where there is no such answer.
    """
    with database.read() as connection:
        stored = _find_submission(connection, task, node)
        if stored is not None:
            return stored
        asked = _find_participants(connection, task)
    if asked is None:
        raise Refused(
            "UNKNOWN_TASK",
            "this coordinator never asked such a task",
            "drop this answer; nothing else is to be done",
        )
    if node not in asked:
        raise not_a_participant(node)
    raise Refused(
        "TASK_CLOSED",
        "the task was closed before this answer came: its deadline passed, or the run was ended",
        "drop this answer; nothing else is to be done",
    )


def _find_submission(connection: Connection, task: bytes, node: str) -> bytes | None:
    digest: bytes | None = connection.execute(
        select(submissions.c.digest).where(submissions.c.task == task, submissions.c.node == node)
    ).scalar_one_or_none()
    return digest


def _find_participants(connection: Connection, task: bytes) -> tuple[str, ...] | None:
    """Nodes that were asked a task, open or closed; None where there never was such a task."""
    signed = connection.execute(select(rounds.c.signed).where(rounds.c.task == task)).scalar_one_or_none()
    if signed is None:
        return None
    return tuple(summary_pb2.Task.FromString(study_pb2.Signed.FromString(signed).body).participants)


# --------------------------------------------------------------------------- one run


def _request(row: Row[tuple[object, ...]], stored: StoredStudy, find_method: FindMethod) -> Request:
    message = spec_pb2.Spec.FromString(row.spec)
    spec = codec.spec_from_message(message, stored.study)
    return Request(
        run=row.run,
        study_digest=stored.digest,
        study=stored.study,
        analysis=row.name,
        spec_message=message,
        spec=spec,
        method=find_method(spec.method, spec.version),
        purpose=row.purpose,
        missing_country=row.missing_country,
        deadline_seconds=row.deadline_seconds,
        requested_by=row.requested_by,
        submitted_at=row.submitted_at,
    )


def _open_task(row: Row[tuple[object, ...]]) -> OpenTask:
    signed = study_pb2.Signed.FromString(row.signed)
    task = summary_pb2.Task.FromString(signed.body)
    return OpenTask(
        digest=row.task,
        signed=signed,
        round=row.round,
        asked=tuple(task.participants),
        opened_at=row.opened_at,
        deadline=task.deadline,
        state=as_carried(task),
        memory=as_carried(summary_pb2.Task.FromString(row.memory)),
        memory_bytes=row.memory,
        state_digest=task.state_digest,
    )


def _traffic(connection: Connection, number: bytes) -> dict[str, tuple[int, int]]:
    query = (
        select(submissions.c.node, func.count().label("releases"), func.sum(submissions.c.size).label("bytes"))
        .join(rounds, rounds.c.task == submissions.c.task)
        .where(rounds.c.run == number)
        .group_by(submissions.c.node)
    )
    return {row.node: (int(row.releases), int(row.bytes)) for row in connection.execute(query)}


def _standing(run: Run) -> dict[str, object]:
    return {
        "state": run.state.value,
        "attempt": run.attempt,
        "result": run.result,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
    }


def _left_row(run: bytes, node: str, left: LeftOut) -> dict[str, object]:
    failure = left.failure
    return {
        "run": run,
        "node": node,
        "how": left.how,
        "code": failure.code,
        "message": failure.message,
        "remedy": failure.remedy,
        "exit_code": failure.exit_code,
    }
