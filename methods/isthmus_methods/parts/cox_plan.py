"""What a request to the Cox model asks for, read once from the spec."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from isthmus.errors import UsageError
from isthmus_methods.contract import (
    OptionRule,
    Ref,
    Spec,
    column_name,
)
from isthmus_methods.parts.model_terms import ModelTerms, model_terms
from isthmus_methods.parts.risk_steps import Steps
from isthmus_methods.parts.time_table import Grid, grid_of

OPTIONS: Mapping[str, OptionRule] = {
    "ties": OptionRule("how tied event times are counted", "efron", ("efron", "breslow")),
    "robust": OptionRule(
        "also a cluster-robust variance; clusters are persons unless role `cluster` says otherwise", False
    ),
    "baseline": OptionRule("also each country's baseline cumulative hazard", False),
    "baseline_times": OptionRule("times at which it is given; none: every step of the study's time grid", ()),
    "concordance": OptionRule("also the concordance of the linear predictor", False),
    "zph": OptionRule("also a test of proportional hazards, on this scale of time", "", ("", "km", "identity", "both")),
    "iterations": OptionRule("rounds of Newton's method at most, from 2 to 60", 40),
}
MOST_ITERATIONS = 60


@dataclass(frozen=True, slots=True)
class Plan:
    model: ModelTerms
    efron: bool
    robust: bool
    cluster: str
    baseline: bool
    concordance: bool
    shapes: tuple[str, ...]
    iterations: int
    grid: Grid | None  # where a time table leaves
    steps: Steps | None  # where baseline hazards are given
    strata: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def names(self) -> tuple[str, ...]:
        return self.model.names

    @property
    def p(self) -> int:
        return self.model.p

    @property
    def has_extras(self) -> bool:
        """Whether the last round asks for more than the fit."""
        return self.robust or self.baseline or self.concordance or bool(self.shapes)

    def stratum_label(self, code: int) -> str:
        """``sex=female, arm=B`` for a stratum's number."""
        picked = []
        for name, levels in reversed(self.strata):
            code, k = divmod(code, len(levels))
            picked.append(f"{name}={levels[k]}")
        return ", ".join(reversed(picked))

    def stratum_labels(self) -> tuple[str, ...]:
        sizes = [range(len(levels)) for _, levels in self.strata]
        return tuple(self.stratum_label(code) for code, _ in enumerate(itertools.product(*sizes)))


# Plans of the latest requests: a round asks for its plan in every half and pass.
_KEPT: dict[int, tuple[Spec, Mapping[str, OptionRule], Plan]] = {}
_MOST_KEPT = 16


def plan_of(spec: Spec, options: Mapping[str, OptionRule] = OPTIONS) -> Plan:
    """The plan of a request. Raises `UsageError` where it cannot be carried out."""
    kept = _KEPT.get(id(spec))
    # the request is kept with its plan, so that its number is nobody else's
    if kept is not None and kept[0] is spec and kept[1] is options:
        return kept[2]
    plan = _plan(spec, options)
    if len(_KEPT) >= _MOST_KEPT:
        _KEPT.clear()
    _KEPT[id(spec)] = (spec, options, plan)
    return plan


def _plan(spec: Spec, options: Mapping[str, OptionRule]) -> Plan:
    def setting(name: str) -> object:
        return spec.options.get(name, options[name].default) if name in options else OPTIONS[name].default

    model = model_terms(spec, intercept=False)
    if not model.names:
        raise UsageError("NO_TERMS", "a Cox model needs at least one term", "add a term to the model's formula")
    iterations = setting("iterations")
    if not isinstance(iterations, int) or not 2 <= iterations <= MOST_ITERATIONS:
        raise UsageError("WRONG_OPTION", f"iterations must be from 2 to {MOST_ITERATIONS}", "leave it at its default")
    zph = str(setting("zph"))
    shapes = {"": (), "both": ("km", "identity")}.get(zph, (zph,))
    time = spec.role("time")[0]
    baseline = bool(setting("baseline"))
    steps = _steps(spec, setting("baseline_times")) if baseline else None
    cluster = spec.role("cluster")
    return Plan(
        model=model,
        efron=setting("ties") == "efron",
        robust=bool(setting("robust")) or bool(cluster),
        cluster=column_name(cluster[0]) if cluster else spec.subject,
        baseline=baseline,
        concordance=bool(setting("concordance")),
        shapes=shapes,
        iterations=iterations,
        grid=grid_of(spec, time) if "km" in shapes else None,
        steps=steps,
        strata=tuple((column_name(column), spec.levels(column)) for column in spec.role("strata")),
    )


def _steps(spec: Spec, times: object) -> Steps:
    time = spec.role("time")[0]
    if isinstance(times, tuple) and times:
        wanted = np.unique(np.array([float(t) for t in times]))
        return Steps(column_name(time), None, wanted, True)
    grid = grid_of(spec, Ref(column_name(time)))
    return Steps(column_name(time), grid, grid.times(np.arange(grid.size)), True)
