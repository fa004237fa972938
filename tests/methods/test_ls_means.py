"""Least-squares means are combinations that R's emmeans gives, whatever the model's products."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus_methods import contract as c
from isthmus_methods.parts.ls_means import arm_means, combination, equal_weights, estimable, proportional_weights
from isthmus_methods.parts.model_terms import ModelTerms, model_terms

VARIABLES = {
    "arm": c.Variable("arm", c.VariableType.FACTOR, levels=("placebo", "low", "high")),
    "sex": c.Variable("sex", c.VariableType.FACTOR, levels=("F", "M")),
    "age": c.Variable("age", c.VariableType.NUMERIC),
}


def terms_of(*formula: str) -> ModelTerms:
    terms = tuple(c.Term(tuple(c.Ref(name) for name in term.split(":"))) for term in formula)
    return model_terms(c.Spec("linear_model", "main", VARIABLES, terms=terms), intercept=True)


EQUAL = equal_weights({"arm": ("placebo", "low", "high"), "sex": ("F", "M")})


def test_factor_is_averaged_and_number_stands_at_its_mean() -> None:
    found = combination(terms_of("arm", "sex", "age"), EQUAL, {"age": 40.0}, {"arm": "high"})
    assert found == pytest.approx([1, 0, 1, 0.5, 40])


def test_product_takes_the_product_of_its_parts() -> None:
    found = combination(terms_of("arm", "sex", "age", "arm:sex", "sex:age"), EQUAL, {"age": 40.0}, {"arm": "low"})
    assert found == pytest.approx([1, 1, 0, 0.5, 40, 0.5, 0, 20])


def test_proportional_weights_are_shares_of_rows() -> None:
    weights = proportional_weights({"sex": {"F": 30, "M": 10}})
    found = combination(terms_of("arm", "sex"), weights, {}, {"arm": "placebo"})
    assert found == pytest.approx([1, 0, 0, 0.25])


def test_difference_is_to_the_control_and_only_where_it_has_rows() -> None:
    terms = terms_of("arm", "age")
    found = arm_means(terms, "arm", ("placebo", "low", "high"), "low", EQUAL, {"age": 40.0})
    assert list(found.differences) == ["placebo", "high"]
    assert found.differences["high"] == pytest.approx([0, -1, 1, 0])
    assert arm_means(terms, "arm", ("placebo", "high"), "low", EQUAL, {"age": 40.0}).differences == {}


def test_combination_outside_of_the_rows_is_not_estimable() -> None:
    # the third column is the first less the second
    kept, aliases = np.array([True, True, False]), np.array([[1.0], [-1.0]])
    assert estimable(np.array([1.0, 0.5, 0.5]), kept, aliases)
    assert not estimable(np.array([1.0, 1.0, 1.0]), kept, aliases)
