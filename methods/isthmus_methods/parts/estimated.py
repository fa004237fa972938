"""An effect estimated within one country: what every kind of estimate is, and what it gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from isthmus_methods.contract import Again, Block, ModelSupport, Partial, Spec, column_name, term_columns
from isthmus_methods.parts.model_support import Used, level_slices

# Passes over a country's rows that take a step at most: a separated model has stopped long before.
STEPS = 60


@dataclass(frozen=True, slots=True)
class Estimated:
    """One coefficient and its variance, None where the country's rows do not say; and the counts behind it."""

    value: float | None
    variance: float | None
    others_infinite: bool
    used: Used
    support: ModelSupport


class CountryEstimate(Protocol):
    """How a coefficient is estimated from one country's rows alone: the two halves of a method that run there."""

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]]  # roles
    takes: ClassVar[tuple[str, ...]]  # further roles
    settings: ClassVar[tuple[str, ...]]  # options of its own
    uses_terms: ClassVar[bool]

    def coefficients(self, spec: Spec) -> tuple[str, ...]:
        """The coefficients that its model has."""
        ...

    def has_events(self, spec: Spec) -> bool:
        """Whether the outcome is one that a row has or has not: then these are counted, otherwise rows."""
        ...

    def fold(self, block: Block, spec: Spec, local: Any) -> Partial: ...

    def release(self, partial: Any, spec: Spec, coefficient: str, local: Any) -> Again | Estimated: ...


def compared_with_reference(used: Used, spec: Spec, coefficient: str) -> bool:
    """Whether every level that the coefficient compares with has rows here: otherwise it is another comparison.

    These are the reference levels of its own factors, and of those it interacts with: its effect is at their
    reference.
    """
    own = {
        column
        for term in spec.terms
        for name, _ in term_columns(spec, term)
        if name == coefficient
        for column in term.columns
    }
    touched = {column for term in spec.terms if own and own <= set(term.columns) for column in term.columns}
    compared = {column_name(column) for column in touched if spec.levels(column)}
    return all(used.rows[where][0] > 0 for name, _, where in level_slices(spec) if name in compared)
