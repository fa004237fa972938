"""Reads a plan: a TOML file that names a study and lists analyses, of its plan or written out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from isthmus.errors import ConfigError, UsageError
from isthmus_client.analyses.common import Common
from isthmus_client.plan import Plan
from isthmus_client.proposal import read_toml
from isthmus_client.study import Study
from isthmus_client.written import MethodName, Name, Written, WrittenAsked
from isthmus_methods.training import Training


class WrittenStep(WrittenAsked):
    """One analysis: `planned`, or a method with what it takes. `by = "country"` sets countries beside a Cox model.

    A table `training` makes it the training of a model, which needs no `method`.
    """

    planned: str = ""
    method: MethodName | Literal[""] = ""


class WrittenPlan(Written):
    study: Name
    # 0: the newest.
    version: Annotated[int, Field(ge=0)] = 0
    # Names of analyses of the study's plan, run first; "all" for every one.
    planned: list[str] | Literal["all"] = Field(default_factory=list)
    analysis: list[WrittenStep] = Field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PlanFile:
    """A plan as read; `plans` binds it to the study."""

    path: Path
    written: WrittenPlan

    def plans(self, study: Study) -> list[Plan]:
        """The analyses in the order of the file.

        Raises
        ------
        UsageError
            Where one of them is wrong; the message names it.
        """
        names = study.plan() if self.written.planned == "all" else list(self.written.planned)
        found = [study.planned(name) for name in names]
        for number, step in enumerate(self.written.analysis, start=1):
            try:
                found.append(_plan(study, step))
            except UsageError as error:
                raise UsageError(
                    error.code, f"{self.path}, analysis {number}: {error.message}", error.remedy
                ) from error
        return found

    def trainings(self, study: Study) -> list[Plan]:
        """Those of the analyses that train a model; `UsageError` ``NO_TRAINING`` where there is none."""
        found = [plan for plan in self.plans(study) if plan.trains]
        if not found:
            raise UsageError(
                "NO_TRAINING",
                f"{self.path} trains no model",
                "give an [[analysis]] a table [analysis.training], or use isthmus run",
            )
        return found


def read_plan(path: Path) -> PlanFile:
    """A plan from its file.

    Raises
    ------
    ConfigError
        Where the file is not as it must be, or lists no analysis.
    """
    written = read_toml(path, WrittenPlan)
    if not written.planned and not written.analysis:
        raise ConfigError(
            "NO_ANALYSIS", f"{path} lists no analysis", 'write planned = ["primary"], planned = "all", or [[analysis]]'
        )
    return PlanFile(path, written)


def _plan(study: Study, step: WrittenStep) -> Plan:
    if step.planned:
        if step.method or step.formula or step.variables or step.roles or step.training:
            raise UsageError("BOTH_WAYS", "it is both planned and written out", "keep one of the two")
        return study.planned(step.planned)
    method = step.method or (Training.name if step.training is not None else "")
    if not method:
        raise UsageError("NO_METHOD", "it names no method", 'write planned = "...", or method = "cox" and a formula')
    common = Common(
        where=step.where or None,
        references=step.references or None,
        dataset=step.dataset or None,
        missing_country=step.missing_country,
        deadline=step.deadline_seconds,
    )
    if step.method == "cox" and step.by:
        settings = dict(step.options)
        chosen = settings.pop("coefficient", None)
        coefficient = str(chosen) if chosen else None
        return study.cox(step.formula, by=step.by, coefficient=coefficient, options=settings, **common)
    return study.ask(
        method,
        step.formula or None,
        roles=step.all_roles(),
        by=step.by or None,
        options=step.options,
        events=step.events.asked() if step.events is not None else None,
        training=step.training.plan(study.countries) if step.training is not None else None,
        **common,
    )
