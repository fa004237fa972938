"""Sums that no rows can have are found, by kind and between fields; those that rows gave are not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import pytest

from isthmus.errors import MethodError
from isthmus_methods import pooling
from isthmus_methods.contract import Cleared, Field, Kind, Ref, Spec, Variable, VariableType
from isthmus_methods.parts.symmetric import packed
from isthmus_methods.plausible import (
    Implausible,
    check_plausible,
    events_among_leavers,
    is_gram,
    parts_within,
    squares_cover,
    sums_within_range,
)
from isthmus_methods.registry import METHODS

AGE = Variable("AGE", VariableType.NUMERIC, minimum=18.0, maximum=100.0)
SPEC = Spec("m", "D", roles={"outcome": (Ref("AGE"),)}, variables={"AGE": AGE})


class Sums:
    """A method as far as its rules go."""

    name = "m"
    rounds = (1, 1)
    leaves: ClassVar[Mapping[str, Field]] = {
        "rows": Field(Kind.COUNT, ""),
        "cells": Field(Kind.COUNT, ""),
        "table": Field(Kind.EVENTS, ""),
        "hazard": Field(Kind.HAZARD, ""),
        "values": Field(Kind.HISTOGRAM, ""),
        "gram": Field(Kind.CROSS_PRODUCT, "", gram=True),
        "sum": Field(Kind.SUM, ""),
        "deviations": Field(Kind.SUM, ""),
        "squares": Field(Kind.SUM, ""),
    }
    bounds = (
        parts_within("cells", "rows"),
        sums_within_range("sum", "rows", lambda spec, _: spec.roles["outcome"][0]),
        squares_cover("deviations", "squares"),
        events_among_leavers("table"),
    )

    def pool(self, *_: object) -> None:
        raise MethodError("POOLED", "it was pooled", "")


def given(**values: object) -> Cleared:
    return Cleared("KR", {(name, "AGE"): np.asarray(value) for name, value in values.items()})


def check(**values: object) -> None:
    check_plausible(Sums(), [given(**values)], SPEC)  # type: ignore[arg-type]


HONEST = [
    {"rows": [10], "cells": [4, 6], "sum": [420.0]},
    {"rows": [10, 0], "sum": [0.0, 0.0]},
    {"table": [[0, 1, 2], [3, 1, 2]]},
    {"hazard": [0.0, 0.1, 0.1]},
    {"values": [[18, 2], [19, 1]]},
    {"deviations": [1.0, 0.0], "squares": [5.0, 0.0]},
    {"gram": packed(np.zeros((3, 3)))},
]
FALSE = [
    ("rows", {"rows": [-1]}),
    ("rows", {"rows": [10.5]}),
    ("rows", {"rows": [2**60]}),
    ("cells", {"rows": [10], "cells": [4, 7]}),
    ("sum", {"rows": [10], "sum": [4200.0]}),
    ("sum", {"rows": [10], "sum": [-1.0]}),
    ("sum", {"rows": [0], "sum": [30.0]}),
    ("table", {"table": [[0, 2], [3, 1]]}),
    ("table", {"table": [[0, -1], [3, 1]]}),
    ("hazard", {"hazard": [0.2, 0.1]}),
    ("hazard", {"hazard": [-0.1, 0.1]}),
    ("values", {"values": [[18, 0]]}),
    ("values", {"values": [[18, 2], [18, 1]]}),
    ("squares", {"deviations": [1.0], "squares": [-5.0]}),
    ("squares", {"deviations": [9.0], "squares": [0.0]}),
    ("squares", {"deviations": [1.0, 2.0], "squares": [5.0]}),
    ("gram", {"gram": [1.0, 2.0, 1.0]}),
    ("gram", {"gram": [-1.0, 0.0, 1.0]}),
    ("gram", {"gram": [1.0, 2.0]}),
]


@pytest.mark.parametrize("values", HONEST)
def test_sums_that_rows_can_have_pass(values: dict[str, object]) -> None:
    check(**values)


@pytest.mark.parametrize(("field", "values"), FALSE)
def test_sums_that_no_rows_can_have_are_found_and_country_and_rule_named(field: str, values: dict[str, object]) -> None:
    with pytest.raises(Implausible) as caught:
        check(**values)
    assert (caught.value.code, caught.value.country) == ("IMPLAUSIBLE", "KR")
    assert f"KR sent sums that no rows can have, at {field}[AGE]; rule: " in caught.value.message


@pytest.mark.parametrize(("field", "values"), FALSE[:1])
def test_false_sums_are_pooled_where_the_guard_is_left_out(
    field: str, values: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def pooled() -> str:
        with pytest.raises((MethodError, Implausible)) as caught:
            pooling.pool_round(Sums(), [given(**values)], SPEC, {}, {}, 1)  # type: ignore[arg-type]
        return caught.value.code

    assert pooled() == "IMPLAUSIBLE"
    monkeypatch.setattr(pooling, "check_plausible", lambda *_: None)
    assert pooled() == "POOLED"


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_products_of_real_columns_are_positive_semi_definite_in_any_unit_and_rank(scale: float) -> None:
    random = np.random.default_rng(5)
    for rows, p in ((2, 5), (40, 5), (200, 20)):
        x = random.normal(size=(rows, p)) * np.geomspace(1, 1e4, p) * scale
        x[:, -1] = x[:, 0]
        assert is_gram(packed(x.T @ x))
        x = x - x.mean(axis=0)
        assert is_gram(packed(x.T @ x))
        spoilt = x.T @ x
        spoilt[0, 1] = spoilt[1, 0] = 3 * np.sqrt(spoilt[0, 0] * spoilt[1, 1])
        assert not is_gram(packed(spoilt))


def test_what_a_gate_withheld_and_a_variable_without_a_range_are_not_judged() -> None:
    check(cells=[4, 7])
    check(sum=[1e9])
    bare = Spec("m", "D", roles={"outcome": (Ref("X"),)}, variables={"X": Variable("X", VariableType.NUMERIC)})
    check_plausible(Sums(), [given(rows=[10], sum=[1e9])], bare)  # type: ignore[arg-type]


def test_rules_of_the_methods_name_fields_that_they_have() -> None:
    ruled = {name for name, method in METHODS.items() if getattr(method, "bounds", ())}
    assert {"table_one", "linear_model", "kaplan_meier", "cox", "glm"} <= ruled
    marked = {f"{name}.{field}" for name, m in METHODS.items() for field, f in m.leaves.items() if f.gram}
    assert {"linear_model.cross", "cox.information", "glm.meat", "gee.information"} <= marked
