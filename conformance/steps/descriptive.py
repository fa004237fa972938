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
    """A table of everybody, with the countries' own, and one for each `by` that is no country.

    Who has no value of a `by` is left out of that table only.
    """
    columns, country = context.columns(step), context.case.country
    as_written = columns.factor if step["method"] == "frequency" else columns.column
    variables = [as_written(name) for name in step["variables"]]
    arms = [columns.factor(name) for name in step["by"] if name != country]
    common = context.common(step, references=False)
    ask = context.study.table_one if step["method"] == "frequency" else context.study.describe
    return [
        ask(variables, by="country" if country in step["by"] else None, **common),
        *(ask(variables, arm=arm, **common) for arm in arms),
    ]


def _described(step: Step, fits: Sequence[Fit], context: Context) -> Mapping[str, Any]:
    return described(step, [fit.answer for fit in fits], context.case.country)


def described(step: Step, answers: Sequence[Any], country: str) -> dict[str, dict[str, Any]]:
    """Tables of a step as one: by variable and subgroup.

    The first table is of everybody, the others of the levels of each of the step's `by` that is no country.
    """
    whole, *by_level = answers
    shaped: dict[str, dict[str, Any]] = {name: {"overall": row["overall"]} for name, row in whole["rows"].items()}
    for by, answer in zip([name for name in step["by"] if name != country], by_level, strict=True):
        for variable, row in answer["rows"].items():
            shaped[variable].update({f"{by}={level}": row[level] for level in answer["arms"]})
    for name, rows in (whole.get("countries") or {}).items():
        for variable, row in rows.items():
            shaped[variable][f"{country}={name}"] = row["overall"]
    return {name: {group: _renamed(cell) for group, cell in groups.items()} for name, groups in shaped.items()}


def _renamed(cell: Mapping[str, Any]) -> dict[str, Any]:
    return {_NAMES.get(key, key): value for key, value in cell.items()}


STEPS: Mapping[str, Way] = {"descriptive": Way(_describe, _described), "frequency": Way(_describe, _described)}
