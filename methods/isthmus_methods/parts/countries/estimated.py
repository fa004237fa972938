"""A model fitted within one country: what every kind of it is, and what it gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from isthmus_methods.contract import (
    Again,
    Array,
    Block,
    Booleans,
    ModelSupport,
    Partial,
    Spec,
    column_name,
    term_columns,
)
from isthmus_methods.parts.model_support import Used, level_slices

# Passes over a country's rows that take a step at most: a separated model has stopped long before.
STEPS = 60


@dataclass(frozen=True, slots=True)
class Fitted:
    """A model fitted in one country, p coefficients; and the counts behind it. Never leaves as a whole."""

    names: tuple[str, ...]  # (p,)
    beta: Array  # (p,)
    covariance: Array  # (p, p)
    able: Booleans  # (p,) coefficients that the country's rows tell
    infinite: Booleans  # (p,) that run away
    loglik: float | None  # None where there is none, or the fit did not come to an end
    used: Used
    support: ModelSupport

    def estimate(self, spec: Spec, name: str) -> tuple[float, float] | None:
        """A coefficient and its variance; None where the country's rows do not say."""
        j = self.names.index(name)
        variance = float(self.covariance[j, j])
        if not (self.able[j] and variance > 0 and compared_with_reference(self.used, spec, name)):
            return None
        return float(self.beta[j]), variance

    @classmethod
    def nothing(cls, names: tuple[str, ...], used: Used, support: ModelSupport) -> Fitted:
        """A fit that tells nothing."""
        p, none = len(names), np.zeros(len(names), dtype=np.bool_)
        return cls(names, np.zeros(p), np.zeros((p, p)), none, none, None, used, support)


class CountryEstimate(Protocol):
    """How a model is fitted to one country's rows alone: the two halves of a method that run there."""

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

    def release(self, partial: Any, spec: Spec, local: Any) -> Again | Fitted: ...


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
