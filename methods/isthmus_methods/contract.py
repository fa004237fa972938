"""What a method is: the two halves, what may leave between them, and how the gate judges it.

A method is a class with `fold` and `release` (run inside a country) and `pool` (run at the coordinator). Everything
in this module is plain data, so that a statistician can read a method from its first line to its last and needs
nothing else of isthmus to understand it.

A partial and a summary add: over blocks of rows, hospitals, countries. What does not add (a minimum, an order
statistic) has no kind here and cannot be written.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

# A method reads these from here too: one module to know.
from isthmus_methods.request import (
    All as All,
    AnyOf as AnyOf,
    ClientApp as ClientApp,
    Column as Column,
    Comparison as Comparison,
    Function as Function,
    Indicator as Indicator,
    Membership as Membership,
    Missing as Missing,
    Not as Not,
    Operator as Operator,
    Predicate as Predicate,
    Ref as Ref,
    Setting as Setting,
    Spec as Spec,
    Strategy as Strategy,
    Term as Term,
    TrainingPlan as TrainingPlan,
    Transform as Transform,
    Variable as Variable,
    VariableType as VariableType,
    coefficient_names as coefficient_names,
    column_name as column_name,
    term_columns as term_columns,
)
from isthmus_methods.rows import (
    Array as Array,
    Block as Block,
    Booleans as Booleans,
    Design as Design,
    EventRows as EventRows,
    Integers as Integers,
)
from isthmus_methods.supports import (
    BinSupport as BinSupport,
    CellSupport as CellSupport,
    MetricSupport as MetricSupport,
    ModelSupport as ModelSupport,
    OutcomeSupport as OutcomeSupport,
    RiskSetSupport as RiskSetSupport,
    SumSupport as SumSupport,
    Support as Support,
    TimeSupport as TimeSupport,
    UpdateSupport as UpdateSupport,
)

# A result is a tree of these; the field's terms are its keys.
Answer = None | bool | int | float | str | Sequence["Answer"] | Mapping[str, "Answer"]
# What the coordinator sends to the nodes with a round; empty in the first.
State = Mapping[str, Array]


# --------------------------------------------------------------------------- what leaves


class Kind(Enum):
    """How the gate judges a field. A field of no kind cannot leave."""

    COUNT = "count"  # cells of persons
    SUM = "sum"  # sums over persons
    CROSS_PRODUCT = "cross-product"  # sums of products of model columns over persons or clusters
    SCORE = "score"  # gradient of a log-likelihood, and the log-likelihood
    INFORMATION = "information"  # its curvature
    ESTIMATE = "estimate"  # a country's own converged estimate and its covariance
    EVENTS = "events"  # a time table: events and leavers per step of the grid
    HAZARD = "hazard"  # a baseline hazard on the grid
    RISK_SETS = "risk sets"  # sums over the persons at risk at listed times
    HISTOGRAM = "histogram"  # the cells of a fine grid that anybody is in, each with its place
    UPDATE = "update"  # weights of a model after training on a country's rows
    METRIC = "metric"  # a declared measure of a model, averaged over persons


@dataclass(frozen=True, slots=True)
class Field:
    """A declared field of a method."""

    kind: Kind
    about: str
    unit: str = ""
    # Size in numbers for a given spec, in words: "p", "p (p + 1) / 2".
    size: str = "1"
    # False: the pooled half can do without it, so the gate may withhold it alone.
    required: bool = True
    # The upper triangle of sums of squares and products of columns with themselves: positive semi-definite.
    gram: bool = False
    # A COUNT that sums beside it are divided by, or take their degrees of freedom from: where a policy rounds counts
    # it stays exact beside them.
    divides: bool = False


@dataclass(frozen=True, slots=True)
class Item:
    """One declared field for one label, with what supports it. The support never leaves."""

    field: str
    value: Array | Integers
    support: Support
    label: str = ""  # the variable, group or stratum of the spec
    axes: tuple[tuple[str, tuple[str, ...]], ...] = ()  # (axis name, labels) for people; empty labels: a grid


@dataclass(frozen=True, slots=True)
class Summary:
    """What a country gives to the gate."""

    items: tuple[Item, ...]
    notes: frozenset[str] = frozenset()  # codes of the method's declared notes


@dataclass(frozen=True, slots=True)
class Cleared:
    """A country's summary as the coordinator gets it: values by (field, label), and what the gate withheld."""

    country: str
    values: Mapping[tuple[str, str], Array | Integers]
    withheld: Mapping[tuple[str, str], str] = field(default_factory=dict)  # -> code of the rule
    notes: frozenset[str] = frozenset()
    rounded_to: int = 1  # counts are multiples of this, but for those that sums are over; 1: as they are
    ages_up_to: float = 0.0  # ages above so many years were read as so many; 0: none were
    countries: int = 1  # more in a sealed study, where they were added up before anybody saw them


@dataclass(frozen=True, slots=True)
class Contributions:
    """The summaries of one round, in the study's order of countries."""

    summaries: tuple[Cleared, ...]

    @property
    def countries(self) -> tuple[str, ...]:
        return tuple(s.country for s in self.summaries)

    def labels(self, name: str) -> tuple[str, ...]:
        """Labels for which any country gave or withheld the field, in order of first appearance."""
        seen: dict[str, None] = {}
        for summary in self.summaries:
            for key in (*summary.values, *summary.withheld):
                if key[0] == name:
                    seen.setdefault(key[1])
        return tuple(seen)

    def total(self, name: str, label: str = "") -> Array | None:
        """Sum over countries, in the study's order, of those that gave it; None if none did."""
        total: Array | None = None
        for summary in self.summaries:
            value = summary.values.get((name, label))
            if value is not None:
                total = np.array(value, dtype=np.float64) if total is None else total + value
        return total

    def withheld(self, name: str, label: str = "") -> dict[str, str]:
        """Countries whose gate withheld the field, and the code of the rule."""
        return {s.country: s.withheld[name, label] for s in self.summaries if (name, label) in s.withheld}

    def whole(self, name: str, label: str = "") -> Array | None:
        """The total; None where a country's gate withheld its share, where a part of it is of no use."""
        return None if self.withheld(name, label) else self.total(name, label)

    def cells(self, name: str, label: str = "") -> Integers | None:
        """A HISTOGRAM over countries: cells of all of them, equal places added up, in the order of places."""
        given = [s.values[name, label] for s in self.summaries if (name, label) in s.values]
        return merged_cells([np.asarray(cells, dtype=np.int64) for cells in given]) if given else None

    def by_country(self, name: str, label: str = "") -> dict[str, Array]:
        """Each country's own value. Only for methods whose scope is `by_country`."""
        return {
            s.country: np.asarray(s.values[name, label], dtype=np.float64)
            for s in self.summaries
            if (name, label) in s.values
        }

    def notes(self) -> dict[str, tuple[str, ...]]:
        """Countries for each note."""
        codes = sorted({code for s in self.summaries for code in s.notes})
        return {code: tuple(s.country for s in self.summaries if code in s.notes) for code in codes}


# --------------------------------------------------------------------------- turns


class Partial(Protocol):
    """What `fold` gives for some rows. Adds."""

    def __add__(self, other: Any, /) -> Any: ...


@dataclass(frozen=True, slots=True)
class Again:
    """Another pass over the country's rows before anything is released, with a state that never leaves it."""

    local: Any


@dataclass(frozen=True, slots=True)
class AppMessage:
    """What a client app is asked in a round of training, beside the model's weights, which are the state."""

    type: str  # "train" or "evaluate"
    config: Mapping[str, Setting] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Next:
    """Another round: `state` goes to the nodes, `memory` stays at the coordinator."""

    state: State
    memory: State = field(default_factory=dict)
    measure: str = ""  # what the fit measures itself by, for the progress display
    measured: float = 0.0
    # Only in training: nodes of the round, by name (empty: all of the run), and what they are asked.
    asked: tuple[str, ...] = ()
    message: AppMessage | None = None


@dataclass(frozen=True, slots=True)
class Done:
    answer: Mapping[str, Answer]
    # Sentences: how the answer is not the pooled one. Empty: it is exact.
    caveats: tuple[str, ...] = ()
    # Fields that others made up for: where a gate withheld them, the answer is the same, and that is no caveat.
    made_up_for: frozenset[str] = frozenset()
    # By code of a note, countries that raised it and need not have: a country knows its own rows alone.
    no_news: Mapping[str, frozenset[str]] = field(default_factory=dict)
    # Only after training: the model's weights as a state. They are kept beside the answer, which is to be read.
    model: State = field(default_factory=dict)


class Scope(Enum):
    TOTAL = "total"
    BY_COUNTRY = "by country"


class Missingness(Enum):
    """Which rows a method uses."""

    COMPLETE = "complete cases over all variables of the method"
    PER_VARIABLE = "each variable's own non-missing values"


@dataclass(frozen=True, slots=True)
class Role:
    """A part that columns play in a method."""

    about: str
    required: bool = True
    many: bool = False
    # "number", "event" (0/1), "factor", "unit" (what is counted as one: a person, a cluster; an identifier may be
    # one, and the block has codes), "any"
    holds: str = "any"
    # each of its columns is looked at by itself, never one together with another
    each: bool = False


@dataclass(frozen=True, slots=True)
class OptionRule:
    """A setting of the method: its default and what is allowed."""

    about: str
    default: Setting
    choices: tuple[str, ...] = ()


class Procedure(Protocol):
    """What a request names: what leaves a country for it, what is asked of it, how many rounds it may have.

    A statistical procedure with both its halves is a `Method`; the training of a model is a procedure whose halves are
    an app at the nodes and a strategy at the coordinator.

    A procedure of which some settings need some fields only says which by ``leaving(self, options) ->
    Collection[str]``; the gate refuses the others.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    title: ClassVar[str]
    leaves: ClassVar[Mapping[str, Field]]  # everything that leaves a country, by kind
    roles: ClassVar[Mapping[str, Role]]
    options: ClassVar[Mapping[str, OptionRule]]
    uses_terms: ClassVar[bool]
    missingness: ClassVar[Missingness]
    notes: ClassVar[Mapping[str, str]]  # code -> sentence; "{countries}" is replaced
    rounds: ClassVar[tuple[int, int]]  # fewest and most

    def scope(self, spec: Spec) -> Scope:
        """Whether the pooled half needs each country's own summary."""
        ...


@runtime_checkable
class Method(Procedure, Protocol):
    """One statistical procedure, both halves.

    A method whose fit has each country as a stratum says so by ``stratified_by_country(self, options) -> bool`` as
    well; without it, the country is a factor like any other.

    A method that reads a second dataset, of events of the same persons, has ``event_roles`` as well: the parts that
    columns of that dataset play.
    """

    def fold(self, block: Block, spec: Spec, state: State, local: Any) -> Partial:
        """Inside a country, over one block of rows. `local` is None in the first pass, then what `Again` gave."""
        ...

    def release(self, partial: Any, spec: Spec, state: State, local: Any) -> Summary | Again:
        """Inside a country, once the blocks are added. `partial` is None where the country has no block."""
        ...

    def pool(self, contributions: Contributions, spec: Spec, state: State, memory: State) -> Next | Done:
        """At the coordinator."""
        ...


def merged_cells(tables: Sequence[Integers]) -> Integers:
    """Cells of several histograms as those of one, (m, d + 1): places sorted, counts of equal places added up.

    `tables` : each (m_k, d + 1), place in the first d columns, count in the last.
    """
    every = np.concatenate(list(tables))
    if not len(every):
        return every
    places, which = np.unique(every[:, :-1], axis=0, return_inverse=True)
    counts = np.zeros(len(places), dtype=np.int64)
    np.add.at(counts, which.reshape(-1), every[:, -1])
    return np.column_stack([places, counts])


def stratified_by_country(method: Procedure, options: Mapping[str, object]) -> bool:
    """Whether each country is a stratum of the fit, so that it can be no term of it."""
    says: Callable[[Mapping[str, object]], bool] | None = getattr(method, "stratified_by_country", None)
    return says is not None and says(options)


def event_roles(method: Procedure) -> Mapping[str, Role]:
    """Parts that columns of a second dataset, of events, play in the method; empty where it reads none."""
    roles: Mapping[str, Role] = getattr(method, "event_roles", {})
    return roles


def leaving(method: Procedure, options: Mapping[str, object]) -> Mapping[str, Field]:
    """The fields that a request with these settings may let out: all declared, or those the method names."""
    says: Callable[[Mapping[str, object]], Collection[str]] | None = getattr(method, "leaving", None)
    if says is None:
        return method.leaves
    names = says(options)
    return {name: field for name, field in method.leaves.items() if name in names}


def option(spec: Spec, method: Procedure, name: str) -> Setting:
    """A setting of the spec, or the method's default."""
    return spec.options.get(name, method.options[name].default)
