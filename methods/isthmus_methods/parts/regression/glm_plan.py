"""What a request to a generalised linear model asks for, read from the spec."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from isthmus.errors import UsageError
from isthmus_methods.contract import Booleans, Spec
from isthmus_methods.parts.kept import kept_by_request
from isthmus_methods.parts.model_terms import ModelTerms, model_terms
from isthmus_methods.parts.regression.glm_family import Family, family_of
from isthmus_methods.parts.regression.glm_sums import models_of

MOST_ROUNDS = 60


@dataclass(frozen=True, slots=True)
class Plan:
    terms: ModelTerms
    family: Family
    models: Mapping[str, Booleans]  # label -> its columns (p,)
    drop1: bool
    robust: bool
    restarted: bool  # also the null model one step from the fitted values
    iterations: int


@kept_by_request
def plan_of(spec: Spec) -> Plan:
    """The plan of a request. Raises `UsageError` where it cannot be carried out."""
    options = spec.options
    terms = model_terms(spec, intercept=True)
    drop1 = options.get("drop1") is True
    return Plan(
        terms=terms,
        family=family_of(str(options.get("family", "binomial")), str(options.get("link", ""))),
        models=models_of(terms, drop1),
        drop1=drop1,
        robust=options.get("robust") is True,
        restarted=options.get("null_restarted") is True and bool(spec.role("offset")),
        iterations=iterations_of(spec),
    )


def iterations_of(spec: Spec) -> int:
    """Rounds of Newton's method at most."""
    number = spec.options.get("iterations", 40)
    if not isinstance(number, int) or not 2 <= number <= MOST_ROUNDS:
        raise UsageError("WRONG_OPTION", f"iterations must be from 2 to {MOST_ROUNDS}", "leave it at its default")
    return number
