"""What every analysis takes besides what it is about."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, TypedDict

if TYPE_CHECKING:
    from typing import Unpack

    from isthmus_client.plan import Plan
    from isthmus_client.requests import Events, Written
    from isthmus_methods.contract import TrainingPlan

MissingCountry = Literal["wait", "fail", "go on without"]
DEADLINE_SECONDS = 600


class Common(TypedDict, total=False):
    """Keyword arguments of every analysis.

    where
        Which rows, e.g. ``"AGE >= 18 & SEX == 'F'"``.
    references
        Reference level of a factor where it is not the dictionary's first.
    dataset
        Its name, where the study has several.
    missing_country
        What to do about a country that does not answer within `deadline` (seconds a round).
    """

    where: str | None
    references: Mapping[str, str] | None
    dataset: str | None
    missing_country: MissingCountry
    deadline: int


class Asks(ABC):
    """Something that can be asked for any method by its name: the study."""

    @property
    @abstractmethod
    def countries(self) -> int:
        """How many take part."""

    @abstractmethod
    def ask(
        self,
        method: str,
        formula: str | None = None,
        *,
        roles: Mapping[str, Written] | None = None,
        by: str | None = None,
        options: Mapping[str, object] | None = None,
        events: Events | None = None,
        training: TrainingPlan | None = None,
        **common: Unpack[Common],
    ) -> Plan: ...
