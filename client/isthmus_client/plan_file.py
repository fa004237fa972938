"""Reads a plan: a TOML file that names a study and lists analyses, of its plan or written out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from isthmus.errors import ConfigError, UsageError
from isthmus_client.plan import Plan
from isthmus_client.proposal import MethodWord, MissingWord, Name, Setting, Written, read_toml
from isthmus_client.study import DEADLINE_SECONDS, Study


class WrittenStep(Written):
    """One analysis: `planned`, or a method with what it takes. `by = "country"` sets countries beside a Cox model."""

    planned: str = ""
    method: MethodWord | Literal[""] = ""
    formula: str = ""
    variables: list[str] = Field(default_factory=list)
    arm: str = ""
    by: Literal["", "country"] = ""
    where: str = ""
    dataset: str = ""
    references: dict[str, str] = Field(default_factory=dict)
    options: dict[str, Setting] = Field(default_factory=dict)
    missing_country: MissingWord = "wait"
    deadline_seconds: Annotated[int, Field(gt=0, le=7 * 24 * 3600)] = DEADLINE_SECONDS


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
        if step.method or step.formula or step.variables:
            raise UsageError("BOTH_WAYS", "it is both planned and written out", "keep one of the two")
        return study.planned(step.planned)
    where, dataset = step.where or None, step.dataset or None
    if step.method == "table_one":
        return study.table_one(
            step.variables,
            arm=step.arm or None,
            by=step.by or None,
            where=where,
            dataset=dataset,
            missing_country=step.missing_country,
            deadline=step.deadline_seconds,
            **step.options,
        )
    if not step.method:
        raise UsageError("NO_METHOD", "it names no method", 'write planned = "...", or method = "cox" and a formula')
    return study.by_formula(
        step.method,
        step.formula,
        by=step.by or None,
        where=where,
        references=step.references or None,
        dataset=dataset,
        missing_country=step.missing_country,
        deadline=step.deadline_seconds,
        options=step.options,
    )
