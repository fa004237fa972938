"""Meta-analysis of an effect estimated in each country on its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from isthmus.errors import MethodError
from isthmus_methods.contract import (
    Again,
    Block,
    Contributions,
    Done,
    Field,
    Missingness,
    Next,
    OptionRule,
    Partial,
    Role,
    Scope,
    Spec,
    State,
    Summary,
)


class MetaAnalysis:
    name: ClassVar[str] = "meta_analysis"
    version: ClassVar[int] = 1
    title: ClassVar[str] = "Meta-analysis of per-country estimates"
    leaves: ClassVar[Mapping[str, Field]] = {}
    roles: ClassVar[Mapping[str, Role]] = {
        "time": Role("time to event or censoring", holds="number"),
        "event": Role("1 = event, 0 = censored", holds="event"),
    }
    options: ClassVar[Mapping[str, OptionRule]] = {}
    uses_terms: ClassVar[bool] = True
    missingness: ClassVar[Missingness] = Missingness.COMPLETE
    notes: ClassVar[Mapping[str, str]] = {}
    rounds: ClassVar[tuple[int, int]] = (1, 2)

    def scope(self, spec: Spec) -> Scope:
        return Scope.BY_COUNTRY

    def fold(self, block: Block, spec: Spec, state: State, local: Any) -> Partial:
        raise MethodError("NOT_READY", "not ready", "wait")

    def release(self, partial: Any, spec: Spec, state: State, local: Any) -> Summary | Again:
        raise MethodError("NOT_READY", "not ready", "wait")

    def pool(self, contributions: Contributions, spec: Spec, state: State, memory: State) -> Next | Done:
        raise MethodError("NOT_READY", "not ready", "wait")
