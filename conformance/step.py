"""How a step of a plan is asked for, and how its answer takes the shape of the expected one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from conformance.case import Case, Step
from conformance.columns import Columns, as_text
from isthmus_client.analyses.common import Common
from isthmus_client.formula import Dictionary
from isthmus_client.plan import Plan
from isthmus_client.proposal import dictionary_of
from isthmus_client.results.fit import Fit
from isthmus_client.study import Study


@dataclass(frozen=True, slots=True)
class Context:
    """What a step is asked in: the case, the study as its statistician has it, and the fits of earlier steps."""

    case: Case
    study: Study
    fits: dict[tuple[str, ...], tuple[Fit, ...]] = field(default_factory=dict)
    form: str = ""  # ending of the datasets' names, where the same rows are registered in another form

    def dataset(self, table: str) -> str:
        """The name of the dataset that a table of the case is."""
        return self.case.dataset(table) + self.form

    def columns(self, step: Step) -> Columns:
        return Columns(self.case, step)

    def common(self, step: Step, references: bool = True) -> Common:
        """Rows, dataset and, of a model, reference levels."""
        common = Common(where=self.columns(step).where(), dataset=self.dataset(step["table"]))
        if references:
            common["references"] = self.references(step)
        return common

    def names(self, step: Step) -> dict[str, str]:
        """The name that an answer gives each derived column of a step -> the plan's own name of it."""
        if not step.get("derive"):
            return {}
        dictionary: Dictionary = dictionary_of(self.study.message, self.dataset(step["table"]))
        return self.columns(step).names(dictionary)

    def coefficient(self, step: Step, name: str) -> str:
        """A coefficient of the plan by the name that the answer has: a derived column is its condition."""
        ours = {theirs: mine for mine, theirs in self.names(step).items()}
        parts = [part.partition("=") for part in name.split(":")]
        return ":".join(f"{ours.get(variable, variable)}{sign}{level}" for variable, sign, level in parts)

    def references(self, step: Step) -> dict[str, str]:
        """Reference levels of the step, those of derived columns left out: of 0 and 1 it is 0."""
        known = {**self.case.variables, self.case.country: None}
        return {n: as_text(level) for n, level in (step.get("reference") or {}).items() if n in known}

    def formula(
        self, step: Step, left: str, terms: Sequence[str] | None = None, *, factors: Sequence[str] = (), more: str = ""
    ) -> str:
        """A model's formula.

        Parameters
        ----------
        left
            The left side as text: `surv`, or ``columns(step).column(outcome)``.
        terms
            The plan's terms; None: those of the step.
        factors
            Variables that are factors in the model, whatever their type; those with a reference level always are.
        more
            What else stands on the right, e.g. ``offset(log(n))``.
        """
        columns = self.columns(step)
        as_factors = {*factors, *(step.get("reference") or {})}
        right = [columns.term(term, tuple(as_factors)) for term in (step["terms"] if terms is None else terms)]
        return f"{left} ~ {' + '.join([*right, *([more] if more else [])]) or '1'}"

    def surv(self, step: Step) -> str:
        """``Surv(...)`` of a step's start, time and event."""
        columns = self.columns(step)
        times = [columns.column(step[role]) for role in ("start", "time") if step.get(role)]
        return f"Surv({', '.join([*times, columns.is_event(step['event'], 1)])})"


Asks = Callable[[Step, Context], Sequence[Plan]]
Answers = Callable[[Step, Sequence[Fit], Context], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Way:
    """A way to follow steps of one method.

    `asks` gives the analyses of a step (none where it needs no rows), `answer` what they say in the expected shape.
    """

    asks: Asks
    answer: Answers


def as_it_is(step: Step, fits: Sequence[Fit], context: Context) -> Mapping[str, Any]:
    """The answer of the only analysis, which has the expected shape already."""
    return fits[0].answer


def nothing(step: Step, context: Context) -> Sequence[Plan]:
    """The analyses of a step without rows of its own."""
    return ()
