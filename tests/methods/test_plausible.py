"""Sums that no rows can have are found, by kind and between fields; those that rows gave are not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest

from isthmus.errors import MethodError
from isthmus_methods import pooling
from isthmus_methods.contract import Cleared, Field, Kind, Ref, Spec, Term, Variable, VariableType
from isthmus_methods.parts.symmetric import packed
from isthmus_methods.plausible import (
    Implausible,
    check_plausible,
    events_among_leavers,
    is_gram,
    outcome_squares_cover,
    parts_within,
    remembered,
    squares_cover,
    sums_within_range,
)
from isthmus_methods.registry import METHODS, find

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
        "inner": Field(Kind.CROSS_PRODUCT, "", gram=True),
        "products": Field(Kind.SUM, ""),
        "sum": Field(Kind.SUM, ""),
        "deviations": Field(Kind.SUM, ""),
        "squares": Field(Kind.SUM, ""),
    }
    bounds = (
        parts_within("cells", "rows"),
        sums_within_range("sum", "rows", lambda spec, _: spec.roles["outcome"][0]),
        squares_cover("deviations", "squares", "rows", lambda spec, _: spec.roles["outcome"][0]),
        outcome_squares_cover("inner", "products"),
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
    # two of them are 3 above and 1 below
    {"rows": [2], "deviations": [2.0], "squares": [10.0]},
    {"inner": [4.0, 1.0, 9.0], "products": [2.0, 3.0, 2.5]},
    {"products": [2.0, 3.0, 0.1]},
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
    # Cauchy-Schwarz, and the range of 82 years squared
    ("squares", {"rows": [2], "deviations": [5.0], "squares": [10.0]}),
    ("squares", {"rows": [2], "deviations": [0.0], "squares": [2 * 83.0**2]}),
    ("squares", {"rows": [0], "deviations": [0.0], "squares": [4.0]}),
    ("products", {"inner": [4.0, 1.0, 9.0], "products": [2.0, 3.0, 0.1]}),
    ("products", {"inner": [4.0, 1.0, 9.0], "products": [2.0, 2.5]}),
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


def test_counts_of_an_earlier_round_are_held_against_squares_of_a_later_one() -> None:
    first, second = given(rows=[2]), given(deviations=[5.0], squares=[10.0])
    check_plausible(Sums(), [second], SPEC)  # type: ignore[arg-type]
    kept = remembered(Sums(), [first], {})  # type: ignore[arg-type]
    assert list(kept) == ["KR/rows/AGE"]
    with pytest.raises(Implausible, match="squares"):
        check_plausible(Sums(), [second], SPEC, kept)  # type: ignore[arg-type]
    # another country's counts are not its own
    check_plausible(Sums(), [replace(second, country="JP")], SPEC, kept)  # type: ignore[arg-type]


# --------------------------------------------------------------------------- along time

ARM = Variable("ARM", VariableType.FACTOR, levels=("A", "B"))
LOG = Variable("LOG", VariableType.NUMERIC)
HAZARD = Spec(
    "cox", "D", {"AGE": AGE, "ARM": ARM, "LOG": LOG}, terms=tuple(Term((Ref(n),)) for n in ("AGE", "ARM", "LOG"))
)
# weight, and age about 50, arm B about a half, and something of which no range is known
RISK = [[10.0, 20.0, 1.0, 1e6], [7.0, 5.0, 0.5, 0.0], [2.0, 1.0, 0.2, 0.0]]
DYING = [[1.0, 2.0, 0.1, 0.0], [1.0, 1.0, 0.5, 0.0], [0.0, 0.0, 0.0, 0.0]]


def along(**values: object) -> dict[tuple[str, str], np.ndarray]:
    return {(name, ""): np.asarray(value) for name, value in values.items()}


def put(table: list[list[float]], row: int, column: int, value: float) -> list[list[float]]:
    changed = [list(line) for line in table]
    changed[row][column] = value
    return changed


@pytest.mark.parametrize(
    ("values", "roles"),
    [
        (along(at_risk=RISK, dying=DYING), ()),
        (along(at_risk=RISK), ()),
        # somebody comes late, or another stratum begins
        (along(at_risk=put(RISK, 2, 0, 9.0)), ("start",)),
        (along(at_risk=put(RISK, 2, 0, 9.0)), ("strata",)),
        (along(whole=[[10.0, 420.0, 10.0, 1e9]]), ()),
        (along(outcomes=[3, 7], time_table=[[1, 2], [4, 6], [0, 0]]), ()),
        (along(outcomes=[3, 7], time_table=[[1, 2], [4, 6], [2, 0]]), ("start",)),
        (along(time_table=[[1, 2], [4, 6], [0, 0]]), ()),
    ],
)
def test_sums_along_time_that_rows_can_have_pass(values: Any, roles: tuple[str, ...]) -> None:
    spec = replace(HAZARD, roles=dict.fromkeys(roles, (Ref("AGE"),)))
    check_plausible(find("cox", 1), [Cleared("KR", values)], spec)


@pytest.mark.parametrize(
    ("place", "values"),
    [
        ("at_risk", along(at_risk=put(RISK, 2, 0, 9.0))),  # somebody comes back
        ("at_risk", along(at_risk=RISK, dying=put(DYING, 0, 0, 4.0))),  # who dies is still there
        ("at_risk", along(at_risk=RISK, dying=put(DYING, 2, 0, 3.0))),  # more die than are there
        ("at_risk", along(at_risk=RISK, dying=put(DYING, 2, 0, -1.0))),
        ("at_risk", along(at_risk=put(RISK, 2, 0, -1.0))),
        ("at_risk", along(at_risk=put(RISK, 2, 1, 200.0))),  # two of them a hundred years from somebody
        ("at_risk", along(at_risk=put(RISK, 2, 2, 2.5))),
        ("at_risk", along(at_risk=[line[:3] for line in RISK])),
        ("whole", along(whole=[[10.0, 4200.0, 5.0, 0.0]])),
        ("whole", along(whole=[[10.0, 170.0, 5.0, 0.0]])),
        ("whole", along(whole=[[10.0, 420.0, 11.0, 0.0]])),
        ("whole", along(whole=[[10.0, 420.0, 5.0]])),
        ("time_table", along(outcomes=[2, 7], time_table=[[1, 2], [4, 6], [0, 0]])),
        ("time_table", along(outcomes=[3, 6], time_table=[[1, 2], [4, 6], [0, 0]])),
        ("time_table", along(time_table=[[1, 2], [4, 6], [1, 0]])),
        ("time_table", along(time_table=[[1, 2], [4, 6]])),
    ],
)
def test_sums_along_time_that_no_rows_can_have_are_found(place: str, values: Any) -> None:
    with pytest.raises(Implausible, match=rf"at {place}; rule"):
        check_plausible(find("cox", 1), [Cleared("KR", values)], HAZARD)


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
