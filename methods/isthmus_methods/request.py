"""What is asked of a method: the dictionary's variables, and a request as a tree of declared nodes.

Formulas and filters are parsed where they are written; what travels, and what a node evaluates, is this tree.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum


class VariableType(Enum):
    NUMERIC = "numeric"
    INTEGER = "integer"
    FACTOR = "factor"
    TEXT = "text"
    DATE = "date"


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of the study's dictionary."""

    name: str
    type: VariableType
    label: str = ""
    unit: str = ""
    levels: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    # IDENTIFIER, QUASI_IDENTIFIER, TREATMENT_ARM, UNBLINDING, COUNTRY, GENOMIC, AGE
    roles: frozenset[str] = frozenset()
    grid: float | None = None
    may_be_missing: bool = False

    @property
    def grid_step(self) -> float | None:
        """Width of the time grid in `unit`; None where the dictionary fixes none."""
        return self.grid if self.grid is not None else (1.0 if self.type is VariableType.INTEGER else None)


class Operator(Enum):
    EQUAL = "=="
    NOT_EQUAL = "!="
    LESS = "<"
    LESS_OR_EQUAL = "<="
    GREATER = ">"
    GREATER_OR_EQUAL = ">="


@dataclass(frozen=True, slots=True)
class Comparison:
    variable: str
    operator: Operator
    value: float | str


@dataclass(frozen=True, slots=True)
class Membership:
    variable: str
    values: tuple[float | str, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Missing:
    variable: str
    negated: bool = False


@dataclass(frozen=True, slots=True)
class All:
    predicates: tuple[Predicate, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    predicates: tuple[Predicate, ...]


@dataclass(frozen=True, slots=True)
class Not:
    predicate: Predicate


Predicate = Comparison | Membership | Missing | All | AnyOf | Not


class Function(Enum):
    LOG = "log"
    SQUARE_ROOT = "sqrt"
    SQUARE = "square"
    CENTRE = "centre"
    SCALE = "scale"
    FACTOR = "factor"


@dataclass(frozen=True, slots=True)
class Transform:
    function: Function
    argument: Column
    constants: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Indicator:
    predicate: Predicate


@dataclass(frozen=True, slots=True)
class Ref:
    """A variable by its name."""

    variable: str


Column = Ref | Transform | Indicator


@dataclass(frozen=True, slots=True)
class Term:
    """One column is a main effect, several are their product."""

    columns: tuple[Column, ...]

    @property
    def name(self) -> str:
        return ":".join(column_name(c) for c in self.columns)


# A condition taken as a factor: whether it fails or holds.
CONDITION_LEVELS = ("0", "1")

Setting = bool | int | float | str | tuple[float, ...] | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ClientApp:
    """An app as it is installed at the nodes, which train with it."""

    name: str
    version: str
    digest: bytes  # SHA-256 of its source


@dataclass(frozen=True, slots=True)
class Strategy:
    """A strategy by its name at the coordinator, and the one it wraps."""

    name: str
    arguments: Mapping[str, Setting] = field(default_factory=dict)
    wraps: Strategy | None = None


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """The part of a request that is about the training of a model."""

    app: ClientApp
    strategy: Strategy
    rounds: int
    held_out: float = 0.0  # share of each country's persons that no round trains on
    seed: int = 0
    settings: Mapping[str, Setting] = field(default_factory=dict)  # of the app


@dataclass(frozen=True, slots=True)
class Spec:
    """A whole request to one method over one dataset, with the variables it names.

    `events` is the part of it that is about a second dataset of the same persons, one row an event: its dataset,
    variables, subject, filter, roles and references; of method, version and countries it repeats the whole's.
    """

    method: str
    dataset: str
    variables: Mapping[str, Variable] = field(default_factory=dict)
    subject: str = ""
    where: Predicate | None = None
    roles: Mapping[str, tuple[Column, ...]] = field(default_factory=dict)
    terms: tuple[Term, ...] = ()
    references: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Setting] = field(default_factory=dict)
    countries: tuple[str, ...] = ()  # of the participants, in the study's order
    version: int = 1
    events: Spec | None = None
    training: TrainingPlan | None = None

    def is_country(self, name: str) -> bool:
        """Whether this is the variable that says the country of a row."""
        return name in self.variables and "COUNTRY" in self.variables[name].roles

    def role(self, name: str) -> tuple[Column, ...]:
        return self.roles.get(name, ())

    def levels(self, column: Column) -> tuple[str, ...]:
        """Levels of a column taken as a factor, the reference first; empty for a numeric column."""
        if isinstance(column, Transform):
            if column.function is not Function.FACTOR or isinstance(column.argument, Transform):
                return ()
            if isinstance(column.argument, Indicator):
                return CONDITION_LEVELS
            name = column.argument.variable
        elif isinstance(column, Ref):
            name = column.variable
            if self.variables[name].type is not VariableType.FACTOR:
                return ()
        else:
            return ()
        levels = self.variables[name].levels
        first = self.references.get(name)
        return levels if first is None else (first, *(x for x in levels if x != first))


def column_name(column: Column) -> str:
    """The name R would print for the column."""
    if isinstance(column, Ref):
        return column.variable
    if isinstance(column, Indicator):
        return f"I({written_predicate(column.predicate)})"
    inner = column_name(column.argument)
    if column.function is Function.FACTOR:
        return inner
    return f"{column.function.value}({', '.join([inner, *(repr(c) for c in column.constants)])})"


def coefficient_names(spec: Spec) -> tuple[str, ...]:
    """Names of the design's columns without intercept, e.g. ``age``, ``sex=female``, ``arm=B:sex=female``.

    Factors have treatment coding; in a product the first factor runs fastest.
    """
    return tuple(name for term in spec.terms for name, _ in term_columns(spec, term))


def term_columns(spec: Spec, term: Term) -> Iterator[tuple[str, tuple[str | None, ...]]]:
    """The design columns of a term: name, and for each of its factors the level it indicates (None if numeric)."""
    parts: list[tuple[str, tuple[str | None, ...]]] = [("", ())]
    for column in term.columns:
        name, levels = column_name(column), spec.levels(column)
        own = [(f"{name}={level}", level) for level in levels[1:]] if levels else [(name, None)]
        # the first factor runs fastest: earlier parts are the inner loop
        parts = [
            (f"{left}:{mine}" if left else mine, (*picked, level)) for mine, level in own for left, picked in parts
        ]
    return iter(parts)


# --------------------------------------------------------------------------- as R writes it

_RESERVED = {"if", "else", "repeat", "while", "function", "for", "next", "break", "TRUE", "FALSE", "NULL", "Inf", "NaN"}
_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def written_name(name: str) -> str:
    """A variable's name, in backticks where R needs them."""
    plain = re.fullmatch(r"(?:[^\W\d_]|\.(?![0-9]))[\w.]*", name) and name not in _RESERVED
    return name if plain else _quoted(name, "`")


def written_text(text: str) -> str:
    """A text in quotes."""
    return _quoted(text, '"')


def _quoted(text: str, mark: str) -> str:
    return mark + "".join(_ESCAPES.get(c, f"\\{c}" if c == mark else c) for c in text) + mark


def written_number(value: float) -> str:
    """The shortest number that reads back as the same."""
    short = f"{value:.15g}"
    return short if float(short) == value else repr(float(value))


def _literal(value: float | str) -> str:
    return written_text(value) if isinstance(value, str) else written_number(value)


def written_predicate(predicate: Predicate) -> str:
    """A filter as R writes it; a missing value keeps a row only where the filter asks for it."""
    match predicate:
        case Comparison(variable, operator, value):
            return f"{written_name(variable)} {operator.value} {_literal(value)}"
        case Membership(variable, values, negated):
            chosen = f"{written_name(variable)} %in% c({', '.join(_literal(v) for v in values)})"
            return f"!({chosen}) & !is.na({written_name(variable)})" if negated else chosen
        case Missing(variable, negated):
            return f"{'!' if negated else ''}is.na({written_name(variable)})"
        case All(predicates):
            return " & ".join(_grouped(p) for p in predicates)
        case AnyOf(predicates):
            return " | ".join(_grouped(p) for p in predicates)
        case Not(inner):
            return f"!({written_predicate(inner)})"


def _grouped(predicate: Predicate) -> str:
    text = written_predicate(predicate)
    compound = isinstance(predicate, All | AnyOf) or (isinstance(predicate, Membership) and predicate.negated)
    return f"({text})" if compound else text
