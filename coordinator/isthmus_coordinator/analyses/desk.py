"""Where analysts come with their analyses: asking, following, cancelling, results, and what would leave."""

from __future__ import annotations

import itertools
import math
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from isthmus.errors import Refused, UsageError, WaitingForApproval
from isthmus.v1 import analyst_pb2, study_pb2
from isthmus_coordinator.analyses import records
from isthmus_coordinator.analyses.explain import explanation
from isthmus_coordinator.analyses.progress import progress_of
from isthmus_coordinator.analyses.rounds import Rounds
from isthmus_coordinator.analyses.run import Request, Run
from isthmus_coordinator.analyses.states import State
from isthmus_coordinator.analyses.strictest import Asked, Told, ruled_out, strictest, variables_of
from isthmus_coordinator.clock import Clock
from isthmus_coordinator.store.database import Database
from isthmus_coordinator.studies.catalogue import StoredStudy, Studies
from isthmus_coordinator.studies.proposals import FindMethod, check_analysis
from isthmus_coordinator.training.half import Trainings
from isthmus_methods.validate import nearest
from isthmus_trust.documents import canonical

# Seconds a round may take where the analysis does not say.
DEFAULT_DEADLINE = 600
# How often somebody who follows a run is asked whether he is still there, in seconds.
STILL_THERE = 5.0
# Seconds between two reports of a run that goes on.
PACE = 0.1


class Desk:
    """The analysts' side of the runs.

    Parameters
    ----------
    attached
        Whether a node is attached now.
    deadline_seconds
        Seconds a round may take where the analysis does not say.
    limits
        What the nodes of these names told of their policies.
    """

    def __init__(
        self,
        database: Database,
        studies: Studies,
        rounds: Rounds,
        trainings: Trainings,
        find_method: FindMethod,
        attached: Callable[[str], bool],
        clock: Clock,
        deadline_seconds: int = DEFAULT_DEADLINE,
        most_trainings: int = 8,
        limits: Callable[[Iterable[str]], Mapping[str, study_pb2.StatedLimits]] = lambda _nodes: {},
    ) -> None:
        self._database = database
        self._studies = studies
        self._rounds = rounds
        self._trainings = trainings
        self._find_method = find_method
        self._attached = attached
        self._clock = clock
        self._deadline_seconds = deadline_seconds
        self._most_trainings = most_trainings
        self._limits = limits

    def submit(self, requested_by: str, message: analyst_pb2.SubmitRequest) -> bytes:
        """Start a run; its number, 16 bytes. It waits where a custodian has still to approve the study.

        Raises
        ------
        UsageError
            ``UNKNOWN_ANALYSIS``, or what the checks of study, dictionary and method say.
        Refused
            ``BY_COUNTRY_NOT_ALLOWED``, ``EXPLORATORY_NOT_ALLOWED``; what a country would refuse for certain, with the
            code that it would give, before any is asked.
        """
        stored = self._studies.get(message.study_digest)
        analysis, planned = self._analysis(stored, message)
        run = self._new_run(stored, analysis, planned, requested_by)
        if run.request.trains:
            self._check_training(run.request)
        if analysis.missing_country != study_pb2.GO_ON_WITHOUT:
            self._check_ruled_out(stored.study, analysis, planned)
        self._rounds.begin(run)
        return run.request.run

    def cancel(self, number: bytes) -> None:
        """End a run that is not wanted any more; `Refused` ``RUN_CLOSED`` where it has ended."""
        live = self._rounds.find(number)
        if live is None:
            state, _ = self._stored_result(number)
            raise Refused("RUN_CLOSED", f"the run is {state} already", "look at its result")
        self._rounds.cancel(live)

    def follow(self, number: bytes, alive: Callable[[], bool]) -> Iterator[analyst_pb2.Progress]:
        """Progress at once and at every change until the run ends, or `alive` says that nobody listens."""
        live = self._rounds.find(number)
        if live is None:
            yield progress_of(self._load(number), self._attached, {})
            return
        seen, told = -1, -math.inf
        while alive() and not self._rounds.closed:
            with live.changed:
                if live.version == seen and not live.changed.wait(STILL_THERE):
                    continue
                # rounds are faster than anybody reads: report the latest, and the end at once
                while not live.run.final and not self._rounds.closed and (left := told + PACE - time.monotonic()) > 0:
                    live.changed.wait(left)
                seen = live.version
            told = time.monotonic()
            run = live.run
            standing = self._studies.standing(run.request.study_digest) if run.state is State.WAITING else {}
            yield progress_of(run, self._attached, standing)
            if run.final:
                return

    def result(self, number: bytes) -> bytes:
        """The result as stored; `WaitingForApproval` or `UsageError` ``NOT_FINISHED`` while there is none."""
        state, result = self._stored_result(number)
        if result is not None:
            return result
        if state is State.WAITING:
            live = self._rounds.find(number)
            names = ", ".join(self._outstanding_countries(live.run)) if live else ""
            raise WaitingForApproval(
                "WAITING_FOR_APPROVAL",
                f"the study has still to be approved by: {names}",
                "ask the custodians; the run starts by itself once all have approved",
            )
        raise UsageError("NOT_FINISHED", "the run has not ended", "watch it until it ends, then ask again")

    def model(self, number: bytes) -> Iterator[bytes]:
        """The model of a training that is done, in parts of its serialised `State`.

        Raises `UsageError` ``NO_MODEL`` where the run trained none, or has not ended.
        """
        state, _ = self._stored_result(number)
        parts = records.read_parts(self._database, number) if state is State.DONE else iter(())
        first = next(parts, None)
        if first is None:
            raise UsageError("NO_MODEL", "the run has no model", "ask for the model of a training that is done")
        return itertools.chain([first], parts)

    def explain(self, message: analyst_pb2.ExplainRequest) -> analyst_pb2.Explanation:
        """What would leave each country; errors as `submit`."""
        stored = self._studies.get(message.study_digest)
        wanted = message.analysis
        if not wanted.HasField("spec"):
            wanted = self._planned(stored, wanted.name)
        body = canonical(wanted.spec)
        in_plan = any(canonical(a.spec) == body for a in stored.study.plan)
        if not in_plan:
            wanted = _with_missing_policy(wanted)
        spec, method = check_analysis(wanted, stored.study, self._find_method, planned=in_plan)
        standing = self._studies.standing(stored.digest)
        outstanding = [p.country for p in stored.study.participants if not standing.get(p.node, False)]
        numbers = self._trainings.check(spec) if spec.training is not None else 0
        sealed = stored.study.mode == study_pb2.SEALED
        answer = explanation(spec, method, in_plan=in_plan, outstanding=outstanding, numbers=numbers, sealed=sealed)
        self._strictest(stored.study, wanted, in_plan, answer)
        return answer

    def _check_training(self, request: Request) -> None:
        if self._rounds.trainings() >= self._most_trainings:
            raise Refused(
                "TOO_MANY_TRAININGS",
                f"{self._most_trainings} trainings go on at this coordinator; rule: no more at one time",
                "wait until one has ended, or raise `runs` under [training] in coordinator.toml",
            )
        self._trainings.check(request.spec)

    def _strictest(
        self, study: study_pb2.Study, wanted: study_pb2.Analysis, in_plan: bool, answer: analyst_pb2.Explanation
    ) -> None:
        """What the countries' policies ask for of this analysis, the strictest of each threshold."""
        known = self._limits([p.node for p in study.participants])
        planned = next((a for a in study.plan if canonical(a.spec) == canonical(wanted.spec)), wanted)
        asked = _asked(study, planned, in_plan, frozenset(field.kind for field in answer.fields))
        strictest([Told(p.country, known.get(p.node)) for p in study.participants], asked, answer)

    def _check_ruled_out(self, study: study_pb2.Study, analysis: study_pb2.Analysis, in_plan: bool) -> None:
        """Raise what the first attached country would refuse for certain, by what it told of its policy."""
        known = self._limits([p.node for p in study.participants])
        asked, spec = _asked(study, analysis, in_plan, frozenset()), analysis.spec
        datasets = {spec.dataset, *([spec.events.dataset] if spec.HasField("events") else [])}
        for p in study.participants:
            error = ruled_out(Told(p.country, known.get(p.node)), asked, datasets) if self._attached(p.node) else None
            if error is not None:
                raise error

    def _load(self, number: bytes) -> Run:
        self._stored_result(number)
        with self._database.read() as connection:
            return records.load_run(connection, number, self._studies.get, self._find_method)

    def _stored_result(self, number: bytes) -> tuple[State, bytes | None]:
        with self._database.read() as connection:
            found = records.find_result(connection, number)
        if found is None:
            raise UsageError("UNKNOWN_RUN", "there is no run of this number", "use the number that submit gave")
        return found

    def _outstanding_countries(self, run: Run) -> list[str]:
        standing = self._studies.standing(run.request.study_digest)
        return [run.request.country(node) for node in run.participants if not standing.get(node, False)]

    def _planned(self, stored: StoredStudy, name: str) -> study_pb2.Analysis:
        found = next((a for a in stored.study.plan if a.name == name), None)
        if found is None:
            names = [a.name for a in stored.study.plan]
            raise UsageError(
                "UNKNOWN_ANALYSIS",
                f"study {stored.study.name} has no analysis {name!r}{nearest(name, names)}",
                f"use one of its plan: {', '.join(names) or 'the plan is empty'}",
            )
        return found

    def _analysis(self, stored: StoredStudy, message: analyst_pb2.SubmitRequest) -> tuple[study_pb2.Analysis, bool]:
        if message.planned:
            return self._planned(stored, message.planned), True
        if not message.HasField("exploratory"):
            raise UsageError("NO_ANALYSIS", "the request names no analysis", "name one of the plan, or give one")
        return _with_missing_policy(message.exploratory), False

    def _new_run(self, stored: StoredStudy, analysis: study_pb2.Analysis, planned: bool, requested_by: str) -> Run:
        study = stored.study
        spec, method = check_analysis(analysis, study, self._find_method, planned=planned)
        request = Request(
            run=secrets.token_bytes(16),
            study_digest=stored.digest,
            study=study,
            analysis=analysis.name if planned else "",
            spec_message=analysis.spec,
            spec=spec,
            method=method,
            purpose=analysis.purpose if planned else study.exploratory_purpose,
            missing_country=analysis.missing_country,
            deadline_seconds=analysis.deadline_seconds or self._deadline_seconds,
            requested_by=requested_by,
            submitted_at=self._clock(),
        )
        return Run(request=request, participants=tuple(p.node for p in study.participants))


def _asked(study: study_pb2.Study, analysis: study_pb2.Analysis, in_plan: bool, kinds: frozenset[str]) -> Asked:
    return Asked(
        purpose=analysis.purpose if in_plan else study.exploratory_purpose,
        recipients=tuple((analysis.recipients if in_plan else ()) or study.recipient_roles),
        kinds=kinds,
        variables=variables_of(analysis.spec, study.datasets),
        in_plan=in_plan,
        countries=len(study.participants),
    )


def _with_missing_policy(analysis: study_pb2.Analysis) -> study_pb2.Analysis:
    """An exploratory analysis that says nothing about missing countries ends where one is missing."""
    if analysis.missing_country != study_pb2.MISSING_COUNTRY_UNSPECIFIED:
        return analysis
    copy = study_pb2.Analysis()
    copy.CopyFrom(analysis)
    copy.missing_country = study_pb2.FAIL
    return copy
