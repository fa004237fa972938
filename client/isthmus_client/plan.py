"""An analysis before and while it runs: what would leave, who must approve, progress by country, the result."""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from isthmus.errors import IsthmusError, LinkError, Refused, UsageError, WaitingForApproval, from_exit_code
from isthmus.untrusted import shown
from isthmus.v1 import analyst_pb2, study_pb2
from isthmus_methods.codec import spec_from_message

if TYPE_CHECKING:
    from isthmus_client.connection import Connection
    from isthmus_client.results.fit import Fit
    from isthmus_client.study import Study

# Seconds between attempts to go on watching after the link broke; afterwards the run is left to itself.
RETRIES = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 30.0)
_ENDED = ("done", "failed", "cancelled")
_APPROVAL = "waiting for approval"


class Shows(Protocol):
    """Somebody who looks at progress."""

    def begin(self, titles: Sequence[str]) -> None: ...
    def update(self, position: int, progress: analyst_pb2.Progress) -> None: ...
    def end(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Step:
    """One run of one method: an analysis of the study's plan, or one that is not in it."""

    analysis: study_pb2.Analysis
    planned: str = ""
    formula: str = ""


@dataclass(frozen=True, slots=True)
class StepExplanation:
    """What one step asks of the countries."""

    title: str
    reads: str
    answer: analyst_pb2.Explanation
    # More lines about what it asks: of a training, which app and strategy, and how many numbers leave.
    more: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PlanExplanation:
    """What would leave each country, round by round, and who must approve. Print it, or show it in a notebook."""

    study: str
    steps: tuple[StepExplanation, ...]

    @property
    def approved(self) -> bool:
        """Every step is in the plan of the study, and no country's decision is outstanding."""
        return all(step.answer.in_plan and not step.answer.outstanding for step in self.steps)

    def __str__(self) -> str:
        from isthmus_client.words import explanation_text

        return shown(explanation_text(self), "\n")

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        from isthmus_client.words import as_html

        return as_html(str(self))


@dataclass(slots=True)
class Plan:
    """An analysis that can be explained, run, attached to again and cancelled."""

    study: Study
    steps: tuple[Step, ...]
    runs: tuple[bytes, ...] = ()
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)

    def __repr__(self) -> str:
        titles = " and ".join(_title(step) for step in self.steps)
        return f"<Plan: {titles} in study {self.study.name}; .explain() says what would leave, .run() runs it>"

    @property
    def trains(self) -> bool:
        """Whether a model is trained."""
        return any(step.analysis.spec.HasField("training") for step in self.steps)

    def explain(self) -> PlanExplanation:
        """What would leave each country and who must approve. Asks no node."""
        connection = self.study.connection
        return PlanExplanation(
            self.study.name,
            tuple(
                StepExplanation(
                    _title(step),
                    _reads(step),
                    connection.explain(self.study.digest, step.analysis),
                    _more(step, self.study.message),
                )
                for step in self.steps
            ),
        )

    def start(self) -> tuple[str, ...]:
        """Order the runs and return at once with their names, for `Study.attach`."""
        if not self.runs:
            self.runs = tuple(
                self.study.connection.submit(self.study.digest, step.planned, None if step.planned else step.analysis)
                for step in self.steps
            )
        return tuple(run.hex() for run in self.runs)

    def run(self, progress: bool | Shows = True, wait: bool = True, *, outlives: bool = True) -> Fit:
        """Run the analysis and wait for its result.

        Parameters
        ----------
        progress
            True: a live display where stderr is a terminal, silence otherwise.
        wait
            False: `WaitingForApproval` as soon as a person at a site has to decide first; the run stays ordered.
        outlives
            False: the coordinator ends together with this program, so Ctrl-C says nothing of coming back.

        Returns
        -------
        Fit
            The method's own: `CoxFit`, `KmFit`, `LogRankFit`, `TableOneFit`, `MetaFit`.

        Raises
        ------
        IsthmusError
            Of the kind the coordinator or a country reported.
        KeyboardInterrupt
            On Ctrl-C. It detaches: the run goes on, and what to call to attach again is printed.
        """
        self.start()
        return follow(
            self.study,
            self.runs,
            [_title(s) for s in self.steps],
            progress,
            wait,
            self.sleep,
            self.steps,
            outlives=outlives,
        )

    def cancel(self) -> None:
        """End the runs; `UsageError` ``NOT_STARTED`` where there are none."""
        if not self.runs:
            raise UsageError("NOT_STARTED", "this plan has not been run", "call run() first")
        for run in self.runs:
            self.study.connection.cancel(run)


def _reads(step: Step) -> str:
    spec = step.analysis.spec
    return f"{spec.dataset}, joined by person to {spec.events.dataset}" if spec.HasField("events") else spec.dataset


def _more(step: Step, study: study_pb2.Study) -> tuple[str, ...]:
    if not step.analysis.spec.HasField("training"):
        return ()
    from isthmus_client.training.explaining import training_lines

    return training_lines(spec_from_message(step.analysis.spec, study))


def _title(step: Step) -> str:
    from isthmus_methods.registry import find_procedure

    return step.analysis.title or step.analysis.name or find_procedure(step.analysis.spec.method).title


def follow(
    study: Study,
    runs: Sequence[bytes],
    titles: Sequence[str],
    progress: bool | Shows,
    wait: bool,
    sleep: Callable[[float], None],
    steps: Sequence[Step] = (),
    *,
    outlives: bool = True,
) -> Fit:
    """Watch runs until they end and give the first one's result, the others beside it.

    `outlives`: the network goes on after Ctrl-C, so whoever pressed it is told how to come back to the runs.
    """
    from isthmus_client.results.fit import beside, fit_of
    from isthmus_client.results.training import TrainingFit

    shows = _display(progress)
    shows.begin(titles)
    try:
        for position, run in enumerate(runs):
            _watch(study.connection, run, functools.partial(shows.update, position), wait, sleep)
    except WaitingForApproval as error:
        names = " ".join(run.hex() for run in runs)
        raise WaitingForApproval(
            error.code,
            error.message,
            f"once they have decided: isthmus attach {study.name} {names}, or Study.attach with the same names",
        ) from error
    except KeyboardInterrupt:
        if outlives:
            _say_how_to_resume(study.name, runs)
        raise
    finally:
        shows.end()
    formulas = [step.formula for step in steps] or [""] * len(runs)
    fits = [
        fit_of(finished(study.connection.result(run)), study, formula)
        for run, formula in zip(runs, formulas, strict=True)
    ]
    for run, fit in zip(runs, fits, strict=True):
        if isinstance(fit, TrainingFit):
            fit.take(study.connection.model(run, fit))
    return beside(fits[0], fits[1:])


def _display(progress: bool | Shows) -> Shows:
    if not isinstance(progress, bool):
        return progress
    from isthmus_client.progress import Live, Silent

    return Live() if progress and sys.stderr.isatty() else Silent()


def _say_how_to_resume(study: str, runs: Sequence[bytes]) -> None:
    names = ", ".join(f'"{run.hex()}"' for run in runs)
    words = " ".join(run.hex() for run in runs)
    print(  # noqa: T201 - whoever pressed Ctrl-C has to be told
        "\ndetached: the analysis goes on.\n"
        f"  its result   study.attach({names})  or  isthmus attach {study} {words}\n"
        f"  to end it    study.cancel({names})  or  isthmus cancel {study} {words}",
        file=sys.stderr,
    )


def _watch(
    connection: Connection,
    run: bytes,
    show: Callable[[analyst_pb2.Progress], None],
    wait: bool,
    sleep: Callable[[float], None],
) -> None:
    """Until the run has ended; a broken link is dialled again, the run goes on meanwhile."""
    attempts = iter(RETRIES)
    while True:
        try:
            if _ended(connection.watch(run), show, wait):
                return
            broken = LinkError(
                "STREAM_ENDED", "the coordinator ended the progress stream before the run", "attach to the run again"
            )
        except LinkError as error:
            broken = error
        pause = next(attempts, None)
        if pause is None:
            raise LinkError(
                broken.code,
                f"{broken.message}; the run goes on without us",
                f'attach to it later: study.attach("{run.hex()}"); {broken.remedy}',
            ) from broken
        sleep(pause)


def _ended(stream: Iterable[analyst_pb2.Progress], show: Callable[[analyst_pb2.Progress], None], wait: bool) -> bool:
    for progress in stream:
        show(progress)
        if progress.state in _ENDED:
            return True
        waiting = [c.country for c in progress.countries if c.state == _APPROVAL]
        if waiting and not wait:
            raise WaitingForApproval(
                "WAITING_FOR_APPROVAL",
                f"a person has to decide first in: {', '.join(waiting)}",
                "attach to the run once they have decided",
            )
    return False


def finished(result: analyst_pb2.Result) -> analyst_pb2.Result:
    """The result, if the run gave one; otherwise the error that ended it, with what each country said."""
    if result.state == "done":
        return result
    if result.state == "cancelled":
        raise Refused("CANCELLED", f"the run of {result.analysis or 'the analysis'} was cancelled", "run it again")
    failure = result.failure
    said = [
        f"\n  {c.country}: {c.failure.message or c.state} [{c.failure.code}]\n    -> {c.failure.remedy}"
        for c in result.contributions
        if c.failure.code
    ]
    error: IsthmusError = from_exit_code(
        failure.exit_code,
        failure.code or "FAILED",
        (failure.message or f"the run ended as {result.state!r}") + "".join(said),
        failure.remedy or "ask the team that runs the coordinator",
    )
    raise error
