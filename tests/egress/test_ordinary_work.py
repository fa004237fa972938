"""The auditor does not stand in the way of ordinary work: a whole analysis plan, and a day's exploring."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isthmus.v1 import journal_pb2
from isthmus_methods import contract as c
from isthmus_methods.rows import Cohorts
from isthmus_node.egress.auditor import Audit, Auditor
from isthmus_node.egress.policy import Policy
from isthmus_node.egress.thresholds import Limits, compiled_in
from isthmus_node.sources.table import Table
from tests.egress.country import FACTOR, NUMERIC, Country, Journal, is_, spec, table

PERSONS = 300
SCORES = ("pain", "sleep", "mood")
VARIABLES = {
    **{name: c.Variable(name, NUMERIC, may_be_missing=True) for name in (*SCORES, "baseline", "bmi")},
    "age": c.Variable("age", NUMERIC, roles=frozenset({"QUASI_IDENTIFIER"})),
    "days": c.Variable("days", NUMERIC, minimum=0.0, maximum=5000.0, grid=1.0),
    "died": c.Variable("died", NUMERIC),
    "arm": c.Variable("arm", FACTOR, levels=("control", "active"), roles=frozenset({"TREATMENT_ARM"})),
    "sex": c.Variable("sex", FACTOR, levels=("F", "M"), roles=frozenset({"QUASI_IDENTIFIER"})),
    "ecog": c.Variable("ecog", FACTOR, levels=("0", "1", "2")),
    "response": c.Variable("response", FACTOR, levels=("no", "yes"), may_be_missing=True),
}
SUBGROUPS = {
    "women": is_("sex", "==", "F"),
    "men": is_("sex", "==", "M"),
    "below 65": is_("age", "<", 65.0),
    "65 and older": is_("age", ">=", 65.0),
    "able": c.Membership("ecog", ("0", "1")),
}
ARM, RESPONSE = c.Ref("arm"), c.Indicator(is_("response", "==", "yes"))


def trial(seed: int) -> Table:
    """Three hundred persons; each variable lacks its own few values, so that no two analyses use the same rows."""
    draw = np.random.default_rng(seed)
    columns: dict[str, Any] = {
        **{name: draw.normal(50, 10, PERSONS) for name in (*SCORES, "baseline", "bmi")},
        "age": np.round(draw.normal(64, 9, PERSONS)),
        "days": np.ceil(draw.exponential(300, PERSONS)),
        "died": draw.integers(0, 2, PERSONS).astype(float),
        "arm": draw.integers(0, 2, PERSONS),
        "sex": draw.integers(0, 2, PERSONS),
        "ecog": draw.choice(3, PERSONS, p=[0.4, 0.4, 0.2]),
        "response": draw.integers(0, 2, PERSONS),
        "name": [f"P{n}" for n in range(PERSONS)],
    }
    for name, missing in zip((*SCORES, "baseline", "bmi"), (1, 3, 9, 2, 17), strict=True):
        columns[name][draw.choice(PERSONS, missing, replace=False)] = np.nan
    columns["response"][draw.choice(PERSONS, 4, replace=False)] = -1
    return table(columns, variables=VARIABLES)


def terms(*columns: c.Column) -> tuple[c.Term, ...]:
    return tuple(c.Term((column,)) for column in columns)


def analyses(where: c.Predicate | None) -> list[c.Spec]:
    """Ten tables and models of one population."""
    time = {"time": (c.Ref("days"),), "event": (c.Ref("died"),)}
    asked: list[tuple[str, dict[str, Any]]] = [
        ("table_one", {"roles": {"variables": tuple(map(c.Ref, ("age", "bmi", "sex", "ecog"))), "arm": (ARM,)}}),
        *(
            ("linear_model", {"roles": {"outcome": (c.Ref(score),)}, "terms": terms(ARM, c.Ref("baseline"))})
            for score in SCORES
        ),
        ("linear_model", {"roles": {"outcome": (c.Ref("pain"),)}, "terms": terms(ARM, c.Ref("bmi"), c.Ref("age"))}),
        ("glm", {"roles": {"outcome": (RESPONSE,)}, "terms": terms(ARM, c.Ref("baseline"))}),
        ("crosstab", {"roles": {"row": (ARM,), "column": (c.Ref("response"),)}}),
        ("kaplan_meier", {"roles": {**time, "by": (ARM,)}}),
        ("cox", {"roles": time, "terms": terms(ARM, c.Ref("age"))}),
        ("log_rank", {"roles": {**time, "arm": (ARM,)}}),
    ]  # fmt: skip
    return [spec(method, where, variables=VARIABLES, **more) for method, more in asked]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_plan_of_sixty_analyses_on_five_subgroups_passes(seed: int, policy: Policy, tmp_path: Path) -> None:
    asked = [one for where in (None, *SUBGROUPS.values()) for one in analyses(where)]
    assert len(asked) == 60
    country = Country(policy, tmp_path, trial(seed), planned=True)
    assert country.codes(*asked) == [""] * 60
    # run once more, after a restart, it is the same plan
    country.restart()
    recorded = len(country.journal.records)
    assert country.codes(*reversed(asked)) == [""] * 60
    assert len(country.journal.records) == recorded


def test_exploring_passes_where_analyses_use_the_same_rows(policy: Policy, tmp_path: Path) -> None:
    country = Country(policy, tmp_path, trial(1))
    complete = [c.Missing(name, negated=True) for name in (*SCORES, "baseline", "bmi", "response")]
    asked = [one for where in SUBGROUPS.values() for one in analyses(c.All((*complete, where)))]
    assert country.codes(*asked) == [""] * 50


def test_exploring_beside_a_plan_is_held_to_the_rows_really_used(policy: Policy, tmp_path: Path) -> None:
    country = Country(policy, tmp_path, trial(1), planned=True)
    whole = analyses(None)
    assert country.codes(*whole) == [""] * 10
    country.planned = False
    # what a plan has used already says nothing new; what differs by a few persons does
    pain_and_sleep = spec(
        "linear_model", variables=VARIABLES, roles={"outcome": (c.Ref("pain"),)}, terms=terms(ARM, c.Ref("sleep"))
    )
    assert country.codes(whole[0], pain_and_sleep) == ["", "DIFFERENCING"]


def test_cost_does_not_grow_with_what_was_released(tmp_path: Path) -> None:
    """What is kept of ten cohorts stays as large as it is, however often they are asked about."""
    limits: Limits = compiled_in(3)[0]
    auditor = Auditor(tmp_path, Journal())
    draw = np.random.default_rng(5)
    subject = np.arange(1000, dtype=np.int64)
    names = [str(n) for n in range(1000)]
    groups = [draw.random(1000) < 0.5 for _ in range(10)]
    file = 0
    for number in range(400):
        of = groups[number % 10]
        one = Cohorts("D", "id", subject, lambda: names, b"d", b"s", lambda: np.ones(1000, dtype=np.uint64), of, of)
        audit = Audit(auditor, number.to_bytes(4, "big"), lambda one=one: (one,), True, journal_pb2.Record())  # type: ignore[misc]
        assert audit.violation(limits) is None
        if number == 10:
            file = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) == file
