"""What a request to the Cox model asks for, read once from the spec."""

from __future__ import annotations

import itertools
import math
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
from isthmus_methods.parts.kept import kept_by_request
from isthmus_methods.parts.model_terms import ModelTerms, model_terms
from isthmus_methods.parts.survival.risk_steps import Steps
from isthmus_methods.parts.time_table import MAX_CELLS, Grid, grid_of

OPTIONS: Mapping[str, OptionRule] = {
    "ties": OptionRule("how tied event times are counted", "efron", ("efron", "breslow")),
    "robust": OptionRule(
        "also a cluster-robust variance; clusters are persons unless role `cluster` says otherwise", False
    ),
    "robust_each_row": OptionRule("also a robust variance with each row as a cluster of its own", False),
    "robust_country": OptionRule("also a robust variance with each country as a cluster", False),
    "stratify_by_country": OptionRule(
        "each country keeps a baseline hazard of its own; False: all share one, and sums over those at risk at the "
        "event times leave",
        True,
    ),
    "baseline": OptionRule("also the baseline cumulative hazard, by country where each has its own", False),
    "baseline_times": OptionRule("times at which it is given; none: every step of the study's time grid", ()),
    "concordance": OptionRule("also the concordance of the linear predictor", False),
    "zph": OptionRule("also a test of proportional hazards, on this scale of time", "", ("", "km", "identity", "both")),
    "iterations": OptionRule("rounds of Newton's method at most, from 2 to 60", 40),
}
MOST_ITERATIONS = 60
# Notes that a country raises.
NO_EVENTS, EMPTY_INTERVAL, FAR_OFF = "NO_EVENTS", "EMPTY_INTERVAL", "FAR_OFF"
# Robust variances by the label of their sums: "" by cluster, then each row, each country.
EACH_ROW, EACH_COUNTRY = "row", "country"


@dataclass(frozen=True, slots=True)
class Plan:
    model: ModelTerms
    stratified: bool  # by country
    efron: bool
    robust: tuple[str, ...]  # labels of the robust variances
    cluster: str
    cluster_is_country: bool
    weighted: bool
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
        return bool(self.robust) or self.baseline or self.concordance or bool(self.shapes)

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


@kept_by_request
def plan_of(spec: Spec, options: Mapping[str, OptionRule] = OPTIONS) -> Plan:
    """The plan of a request. Raises `UsageError` where it cannot be carried out."""

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
    stratified, weighted = bool(setting("stratify_by_country")), bool(spec.role("weights"))
    wanted = {
        "": bool(setting("robust")) or bool(cluster),
        EACH_ROW: bool(setting("robust_each_row")),
        EACH_COUNTRY: bool(setting("robust_country")),
    }
    strata = tuple((column_name(column), spec.levels(column)) for column in spec.role("strata"))
    if weighted and (setting("concordance") or shapes):
        raise UsageError(
            "NOT_WITH_WEIGHTS",
            "concordance and the proportional hazards test are not given with case weights",
            "ask for them without weights, or leave them out",
        )
    grid = grid_of(spec, time) if "km" in shapes or not stratified else None
    cells = math.prod(len(levels) for _, levels in strata) * 3 * grid.size if grid is not None else 0
    if not stratified and cells > MAX_CELLS:
        raise UsageError(
            "TOO_MANY_STRATA",
            f"the strata's time tables together have more than {MAX_CELLS} cells",
            "stratify by fewer factors, or fix a coarser time grid in the study's dictionary",
        )
    return Plan(
        model=model,
        stratified=stratified,
        efron=setting("ties") == "efron",
        robust=tuple(label for label, on in wanted.items() if on),
        cluster=column_name(cluster[0]) if cluster else spec.subject,
        cluster_is_country=any(spec.is_country(column_name(column)) for column in cluster),
        weighted=weighted,
        baseline=baseline,
        concordance=bool(setting("concordance")),
        shapes=shapes,
        iterations=iterations,
        grid=grid,
        steps=steps,
        strata=strata,
    )


def _steps(spec: Spec, times: object) -> Steps:
    time = spec.role("time")[0]
    if isinstance(times, tuple) and times:
        wanted = np.unique(np.array([float(t) for t in times]))
        return Steps(column_name(time), None, wanted, True)
    grid = grid_of(spec, Ref(column_name(time)))
    return Steps(column_name(time), grid, grid.times(np.arange(grid.size)), True)
