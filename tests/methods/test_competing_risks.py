"""Competing risks equal R on the pooled rows, and say how they do not where that cannot be."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comparing import differences
from reference_cases import Case

from isthmus.errors import MethodError, UsageError
from isthmus.v1 import study_pb2
from isthmus_methods import contract as c
from isthmus_methods.in_process import pool_in_process, summarise
from isthmus_methods.parts.survival.gray import gray_test
from isthmus_methods.registry import find
from isthmus_node.egress.gate import Cleared, Refusal, judge
from isthmus_node.egress.policy import DEFAULT_FILE, Policy

CAUSES = {"0": "censored", "1": "pcm", "2": "death"}


@pytest.fixture(scope="module")
def case(load_case: Callable[[str], Case]) -> Case:
    return load_case("p26_cif_mgus2")


def complete(case: Case) -> Case:
    """The rows that have a value of every variable of the step, the causes as a factor with words."""
    names = ("etime", "event", "age", "sex", "hgb", "mspike")
    tables: dict[str, Any] = {}
    for country, rows in case.tables["main"].items():
        kept = rows.pick([i for i in range(rows.number) if all(rows.columns[name][i] for name in names)])
        kept.columns["event"] = [CAUSES[code] for code in kept.columns["event"]]
        tables[country] = kept
    variables = dict(case.variables)
    variables["event"] = c.Variable("event", c.VariableType.FACTOR, levels=tuple(CAUSES.values()))
    return replace(case, tables={"main": tables}, variables=variables)


def asked(case: Case, method: str, roles: Mapping[str, str], terms: tuple[str, ...] = (), **options: c.Setting) -> Any:
    spec = c.Spec(
        method,
        "main",
        case.variables,
        roles={role: (c.Ref(name),) for role, name in {"time": "etime", "cause": "event", **roles}.items()},
        terms=tuple(c.Term((c.Ref(term),)) for term in terms),
        options=options,
        countries=tuple(case.tables["main"]),
    )
    ours = find(method)
    return ours, spec, case.blocks({"table": "main"}, spec, ours)


def pooled(case: Case, method: str, roles: Mapping[str, str], terms: tuple[str, ...] = (), **options: Any) -> Any:
    ours, spec, blocks = asked(case, method, roles, terms, **options)
    done, _ = pool_in_process(ours, blocks, spec)
    assert done.caveats == ()
    return done.answer


@pytest.mark.parametrize("by", ["sex", "country"])
def test_curves_equal_survfit(case: Case, by: str) -> None:
    answer = pooled(complete(case), "cumulative_incidence", {"by": by}, times=(60.0, 120.0, 180.0, 240.0, 300.0))
    expected = {k: v for k, v in case.expected["competing"]["aalen_johansen"].items() if k.startswith(("overall", by))}
    assert differences(answer["aalen_johansen"], expected, case.tolerance) == []


def test_cuminc_and_gray_equal_cmprsk(case: Case) -> None:
    times = (60.0, 120.0, 180.0, 240.0, 300.0)
    answer = pooled(complete(case), "cumulative_incidence", {"arm": "sex", "strata": "country"}, times=times)
    expected = case.expected["competing"]
    code = {"pcm": 1, "death": 2}
    cuminc = {f"{arm} {code[cause]}": x for arm, causes in answer["cuminc"].items() for cause, x in causes.items()}
    assert differences(cuminc, expected["cmprsk_cuminc"], case.tolerance) == []
    assert differences(answer["gray_test"], expected["gray_test"], case.tolerance) == []
    stratified = expected["gray_test_stratified_by_country"]
    assert differences(answer["gray_test_stratified"], stratified, case.tolerance) == []


@pytest.mark.parametrize("cause", ["pcm", "death"])
def test_fine_gray_equals_crr(case: Case, cause: str) -> None:
    answer = pooled(complete(case), "fine_gray", {}, ("age", "sex", "hgb", "mspike"), of=cause)
    assert differences(answer, case.expected["competing"]["fine_gray_crr"][cause], case.tolerance) == []
    assert answer["converged"]
    assert answer["gradient_norm"] < 1e-9


def test_times_of_0_equal_crr(case: Case) -> None:
    """Who is censored at time 0 counts there as gone before, as in `crr`: the weights of those who ended at 0 tell."""
    early = complete(case)
    tables: dict[str, Any] = {}
    for country, rows in early.tables["main"].items():
        moved = rows.pick(range(rows.number))
        moved.columns["etime"] = [str(max(int(time) - 20, 0)) for time in moved.columns["etime"]]
        tables[country] = moved
    etime = replace(case.variables["etime"], minimum=0.0)
    early = replace(early, tables={"main": tables}, variables={**early.variables, "etime": etime})
    answer = pooled(early, "fine_gray", {}, ("age", "sex"), of="pcm")
    expected = json.loads((Path(__file__).parent / "r_answers" / "fine_gray_answers.json").read_text(encoding="utf-8"))
    assert differences(answer, expected, case.tolerance) == []


def test_daily_risk_sets_are_refused_but_for_open_data(case: Case) -> None:
    """Sums at single months of some thousand persons tell of single persons: the default policy says so."""
    ours, spec, blocks = asked(complete(case), "fine_gray", {}, ("age", "sex"), of="pcm")
    first = summarise(ours, blocks["DK"], spec, {})
    contributions = c.Contributions((c.Cleared("DK", {(item.field, item.label): item.value for item in first.items}),))
    turn = ours.pool(contributions, spec, {}, {})
    assert isinstance(turn, c.Next)
    second = summarise(ours, blocks["DK"], spec, turn.state)
    policy = Policy.load(DEFAULT_FILE)

    def verdict(open_data: bool) -> Cleared | Refusal:
        return judge(
            second, ours.leaves, ours.notes, study_pb2.TRIAL_ANALYSIS, policy, open_data=open_data, audit=lambda _: None
        )

    refused = verdict(open_data=False)
    assert isinstance(refused, Refusal)
    assert refused.code == "SMALL_STEP"
    assert "coarser time grid" in refused.remedy
    assert isinstance(verdict(open_data=True), Cleared)


def test_who_is_censored_before_the_first_event_is_left_of_the_sums_over_everybody(case: Case) -> None:
    ours, spec, blocks = asked(complete(case), "fine_gray", {}, ("age", "sex"), of="pcm")
    (block,) = blocks["DK"]
    early = block.numbers("time") <= np.sort(block.numbers("time"))[4]
    block.codes("cause")[early] = 0  # censored
    first = {item.field: item.value for item in summarise(ours, [block], spec, {}).items}
    contributions = c.Contributions((c.Cleared("DK", {(name, ""): value for name, value in first.items()}),))
    turn = ours.pool(contributions, spec, {}, {})
    assert isinstance(turn, c.Next)
    item = next(i for i in summarise(ours, [block], spec, turn.state).items if i.field == "at_risk")
    assert isinstance(item.support, c.RiskSetSupport)
    time, cause = block.numbers("time"), block.codes("cause")
    first_event = time[cause == spec.levels(spec.role("cause")[0]).index("pcm")].min()
    gone = np.count_nonzero((cause == 0) & (time < first_event))
    assert item.support.beside == (gone,)
    assert gone >= 5


def test_single_group_has_no_test() -> None:
    counts = np.array([[[3.0, 0.0], [1.0, 2.0], [0.0, 1.0]], np.zeros((3, 2))])
    assert gray_test([counts], 0, 1) == {"statistic": None, "p": None, "df": 0}


def test_cause_that_is_no_level_is_refused(case: Case) -> None:
    ours, spec, blocks = asked(complete(case), "fine_gray", {}, ("age",), of="relapse")
    with pytest.raises(UsageError, match="has no level 'relapse'"):
        pool_in_process(ours, blocks, spec)


def test_cause_without_an_event_is_refused(case: Case) -> None:
    one = complete(case)
    only = one.tables["main"]["DK"]
    kept = only.pick([i for i in range(only.number) if only.columns["event"][i] != "pcm"])
    few = replace(one, tables={"main": {"DK": kept}})
    ours, spec, blocks = asked(few, "fine_gray", {}, ("age",), of="pcm")
    with pytest.raises(MethodError, match="no row has the cause"):
        pool_in_process(ours, blocks, spec)
