"""Table 1: who is in the study, by arm."""

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
    Method,
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


class TableOne(Method):
    name: ClassVar[str] = "table_one"
    version: ClassVar[int] = 1
    title: ClassVar[str] = "Table 1"
    leaves: ClassVar[Mapping[str, Field]] = {}
    roles: ClassVar[Mapping[str, Role]] = {}
    options: ClassVar[Mapping[str, OptionRule]] = {}
    uses_terms: ClassVar[bool] = False
    missingness: ClassVar[Missingness] = Missingness.COMPLETE
    notes: ClassVar[Mapping[str, str]] = {}
    rounds: ClassVar[tuple[int, int]] = (1, 1)

    def scope(self, spec: Spec) -> Scope:
        return Scope.TOTAL

    def fold(self, block: Block, spec: Spec, state: State, local: Any) -> Partial:
        raise MethodError("NOT_READY", "table_one computes nothing yet", "use the next release")

    def release(self, partial: Any, spec: Spec, state: State, local: Any) -> Summary | Again:
        raise MethodError("NOT_READY", "table_one computes nothing yet", "use the next release")

    def pool(self, contributions: Contributions, spec: Spec, state: State, memory: State) -> Next | Done:
        raise MethodError("NOT_READY", "table_one computes nothing yet", "use the next release")
