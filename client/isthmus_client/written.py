"""What a person writes of one analysis in TOML: method, formula, columns, events, the training of a model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from isthmus.errors import UsageError
from isthmus_client.requests import Events, Written as WrittenColumns
from isthmus_client.training.asked import HELD_OUT, ROUNDS, App, training_plan
from isthmus_methods.contract import Strategy, TrainingPlan
from isthmus_methods.registry import find_procedure

Name = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?$")]
MissingWord = Literal["wait", "fail", "go on without"]
Setting = bool | int | float | str | list[float] | list[str]


class Written(BaseModel):
    """Something a person wrote: an unknown key is an error, never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def _registered(name: str) -> str:
    try:
        return find_procedure(name).name
    except UsageError as error:
        raise ValueError(f"{error.message}; {error.remedy}") from error


MethodName = Annotated[str, AfterValidator(_registered)]


class WrittenEvents(Written):
    """The second dataset of a request, of events of the same persons: which, and its columns by the role they play."""

    dataset: Name
    where: str = ""
    roles: dict[str, str | list[str]] = {}
    references: dict[str, str] = {}

    def asked(self) -> Events:
        """As the builder of requests takes it."""
        return Events(self.dataset, self.roles, self.where or None, self.references)


class WrittenStrategy(Written):
    """A strategy by name, with its arguments, and the one it wraps."""

    name: str
    arguments: dict[str, bool | int | float | str] = {}
    wraps: WrittenStrategy | None = None

    def described(self) -> Strategy:
        """As a request has it; its arguments are held against what it takes later."""
        return Strategy(self.name, self.arguments, None if self.wraps is None else self.wraps.described())


class WrittenTraining(Written):
    """The training of a model: app, strategy, rounds.

    `version` and `digest` say which app of that name is meant where it is not installed here.
    """

    app: str = "logistic"
    version: str = ""
    digest: str = ""
    strategy: WrittenStrategy = WrittenStrategy(name="FedAvg")
    rounds: int = ROUNDS
    held_out: float = HELD_OUT
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    settings: dict[str, bool | int | float | str | list[int] | list[float]] = {}

    def plan(self, countries: int) -> TrainingPlan:
        """As a request has it, in a study of so many countries."""
        app = App(self.app, self.version, self.digest) if self.version or self.digest else self.app
        return training_plan(
            countries,
            app=app,
            strategy=self.strategy.described(),
            rounds=self.rounds,
            held_out=self.held_out,
            seed=self.seed,
            settings=self.settings,
        )


class WrittenAsked(Written):
    """What a method is asked: a formula, or columns by the role they play.

    `variables` and `arm` are roles that have a key of their own; `by = "country"` asks for each country's own too.
    """

    dataset: str = ""
    formula: str = ""
    roles: dict[str, str | list[str]] = {}
    variables: list[str] = []
    arm: str = ""
    by: Literal["", "country"] = ""
    where: str = ""
    references: dict[str, str] = {}
    options: dict[str, Setting] = {}
    events: WrittenEvents | None = None
    training: WrittenTraining | None = None
    missing_country: MissingWord = "wait"
    deadline_seconds: Annotated[int, Field(gt=0, le=7 * 24 * 3600)] = 600

    def all_roles(self) -> dict[str, WrittenColumns]:
        """The columns by role, those of the keys `variables` and `arm` with them."""
        own: dict[str, WrittenColumns] = {
            **({"variables": self.variables} if self.variables else {}),
            **({"arm": self.arm} if self.arm else {}),
        }
        twice = own.keys() & self.roles.keys()
        if twice:
            raise UsageError("ROLE_TWICE", f"{min(twice)} stands twice", "write it once, as a key or among the roles")
        return {**own, **self.roles}
