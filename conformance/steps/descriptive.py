"""Who is in the study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from conformance.case import Step
from conformance.step import Context, Way
from isthmus_client.plan import Plan
from isthmus_client.results.fit import Fit

_NAMES = {"missing": "n_missing", "percent": "percent_of_nonmissing"}


def _describe(step: Step, context: Context) -> Sequence[Plan]:
    """One table for each `by` that is no country; the country's own come with the first."""
    columns, country = context.columns(step), context.case.country
    as_written = columns.factor if step["method"] == "frequency" else columns.column
    variables = [as_written(name) for name in step["variables"]]
    arms: list[str | None] = [columns.factor(name) for name in step["by"] if name != country]
    common = context.common(step, references=False)
    by_country = country in step["by"]
    ask = context.study.table_one if step["method"] == "frequency" else context.study.describe
    return [
        ask(variables, arm=arm, by="country" if by_country and k == 0 else None, **common)
        for k, arm in enumerate(arms or [None])
    ]


def _described(step: Step, fits: Sequence[Fit], context: Context) -> Mapping[str, Any]:
    return described(step, [fit.answer for fit in fits], context.case.country)


def described(step: Step, answers: Sequence[Any], country: str) -> dict[str, dict[str, Any]]:
    """Tables of a step, one for each of its `by` that is no country, as one: by variable and subgroup."""
    by = [name for name in step["by"] if name != country]
    shaped: dict[str, dict[str, Any]] = {}
    for k, answer in enumerate(answers):
        for variable, row in answer["rows"].items():
            groups = {"overall": row["overall"]}
            if by:
                groups.update({f"{by[k]}={arm}": row[arm] for arm in answer["arms"]})
            own = answer.get("countries") or {}
            groups.update({f"{country}={name}": rows[variable]["overall"] for name, rows in own.items()})
            shaped.setdefault(variable, {}).update({group: _renamed(cell) for group, cell in groups.items()})
    return shaped


def _renamed(cell: Mapping[str, Any]) -> dict[str, Any]:
    return {_NAMES.get(key, key): value for key, value in cell.items()}


STEPS: Mapping[str, Way] = {"descriptive": Way(_describe, _described), "frequency": Way(_describe, _described)}
