"""Generalised linear and negative binomial models against R on rows with all that goes wrong in practice."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comparing import differences
from reference_cases import Case, Rows, block_of
from test_country_estimates import COUNTRIES, VARIABLES, rows_by_country

from isthmus.errors import MethodError, UsageError
from isthmus.v1 import study_pb2
from isthmus_methods import contract as c
from isthmus_methods.in_process import pool_in_process, summarise
from isthmus_methods.parts.regression.glm_family import negative_binomial
from isthmus_methods.parts.regression.overdispersion import Counts, ascending, overdispersed
from isthmus_methods.registry import find
from isthmus_node.egress.gate import Cleared, judge
from isthmus_node.egress.policy import DEFAULT_FILE, Policy

ANSWERS = json.loads((Path(__file__).parent / "r_answers" / "glm_answers.json").read_text(encoding="utf-8"))
OWN = {name: c.Variable(name, c.VariableType.INTEGER, minimum=0, maximum=1000) for name in ("wet", "even", "no")}
ARM, AGE = "the arm", "base.line age"
LOG_KEPT = c.Transform(c.Function.LOG, c.Ref("kept"))


def request(method: str, outcome: str, terms: str, cluster: str = "", offset: bool = False, **options: Any) -> c.Spec:
    roles: dict[str, tuple[c.Column, ...]] = {"outcome": (c.Ref(outcome),)}
    if cluster:
        roles["cluster"] = (c.Ref(cluster),)
    if offset:
        roles["offset"] = (LOG_KEPT,)
    return c.Spec(
        method,
        "main",
        {**VARIABLES, **OWN},
        roles=roles,
        terms=tuple(c.Term(tuple(c.Ref(name) for name in term.split(":"))) for term in terms.split(" + ") if term),
        options=options,
        countries=COUNTRIES,
    )


REQUESTS: Mapping[str, c.Spec] = {
    "logistic, product, unused level, sites": request(
        "glm", "sick", f"{ARM} + {AGE} + zone + sex + {ARM}:{AGE}", "site", drop1=True, robust=True
    ),
    "logistic, aliased, clusters over countries": request(
        "glm", "sick", f"{AGE} + twice + sex", "sex", drop1=True, robust=True
    ),
    "logistic, no term": request("glm", "sick", "", robust=True),
    "poisson, one term, offset": request(
        "glm", "falls", ARM, "country", True, family="poisson", drop1=True, robust=True
    ),
    "quasipoisson": request("glm", "falls", f"sex + {AGE}", family="quasipoisson", drop1=True, robust=True),
    "gamma, offset": request("glm", "days", f"{ARM} + {AGE}", "site", True, family="gamma", drop1=True, robust=True),
    "gaussian": request(
        "glm", "score", f"{ARM} + sex + {AGE} + {ARM}:sex", "country", family="gaussian", drop1=True, robust=True
    ),
    "negative binomial, one term": request("negative_binomial", "wet", ARM, drop1=True),
    "negative binomial, offset": request(
        "negative_binomial", "wet", f"{ARM} + sex + {AGE} + {ARM}:sex", offset=True, drop1=True
    ),
}


def blocks_of(spec: c.Spec, rows: Mapping[str, Rows] | None = None) -> dict[str, list[c.Block]]:
    method = find(spec.method)
    made = {}
    for country, mine in (rows or rows_by_country()).items():
        mine.columns["wet"] = [str(math.floor(float(x))) for x in mine.columns["days"]]
        mine.columns["even"] = [str(4 + k % 2) for k in range(mine.number)]
        mine.columns["no"] = ["0"] * mine.number
        made[country] = [block_of(country, mine, spec, method)]
    return made


def answer(spec: c.Spec, rows: Mapping[str, Rows] | None = None) -> tuple[Any, tuple[str, ...]]:
    done, _ = pool_in_process(find(spec.method), blocks_of(spec, rows), spec)
    return done.answer, done.caveats


@pytest.mark.parametrize("name", REQUESTS)
def test_answer_equals_r(name: str) -> None:
    mine, said = answer(REQUESTS[name])
    theirs = dict(ANSWERS[name])
    if "aliased" in name:
        # R's is of the model without the aliased column, which the other two would take turns to be
        theirs["lrt_drop1"] = {"sex": theirs["lrt_drop1"]["sex"]}
    assert differences(mine, theirs, lambda _: 1e-8) == []
    assert said == ()


def test_coefficients_beside_one_that_runs_away_are_those_without_it() -> None:
    mine, said = answer(request("glm", "sick", f"{ARM} + {AGE} + country"))
    theirs = ANSWERS["a country without events"]
    # R's standard errors are those of the step before its last
    assert differences(mine["coef"], theirs["coef"], lambda _: 1e-7) == []
    assert mine["deviance"] == pytest.approx(theirs["deviance"], rel=1e-10)
    assert ["country=FF" in s for s in said] == [True]


def test_columns_far_from_zero_lose_nothing() -> None:
    mine, _ = answer(request("glm", "sick", f"shift + {ARM}", drop1=True, robust=True))
    theirs = ANSWERS["logistic, far from zero"]
    # R's intercept is that of the column moved to zero
    for block in (theirs["coef"], *theirs["robust"].values()):
        del block["(Intercept)"]
    assert differences(mine, theirs, lambda _: 1e-8) == []


def test_aliased_column_is_named_and_has_no_estimate() -> None:
    mine, _ = answer(REQUESTS["logistic, aliased, clusters over countries"])
    assert mine["aliased"] == ["twice"]
    assert mine["coef"]["twice"]["estimate"] is None


def test_separation_is_said_and_the_deviance_is_r_s() -> None:
    mine, said = answer(request("glm", "sick", f"sex + {ARM}"), {"BB": rows_by_country()["BB"]})
    assert mine["deviance"] == pytest.approx(ANSWERS["separated"]["deviance"], rel=1e-8)
    assert [s for s in said if "sex=m" in s and "separation" in s] != []
    assert mine["converged"] is False


def test_outcome_without_variation_is_said_not_raised() -> None:
    mine, said = answer(request("glm", "no", "sex", family="poisson"))
    assert mine["deviance"] == pytest.approx(0.0, abs=1e-6)
    assert "may be infinite" in said[0]


def test_counts_without_overdispersion_have_the_poisson_answer() -> None:
    poisson, _ = answer(request("glm", "even", f"sex + {ARM}", family="poisson", drop1=True))
    mine, said = answer(request("negative_binomial", "even", f"sex + {ARM}", drop1=True))
    assert mine["theta"] == math.inf
    assert differences(mine["coef"], poisson["coef"], lambda _: 1e-9) == []
    assert mine["loglik"] == pytest.approx(poisson["loglik"], rel=1e-12)
    assert mine["deviance"] == pytest.approx(poisson["deviance"], rel=1e-9)
    for term in ("sex", ARM):
        smaller = mine["lrt_drop1_theta_reestimated"][term]["statistic"]
        assert smaller == pytest.approx(poisson["lrt_drop1"][term]["statistic"], abs=1e-5)
    assert "theta is infinite" in said[0]


def test_wrong_outcome_is_refused_without_its_value() -> None:
    with pytest.raises(MethodError) as refused:
        answer(request("glm", "days", "sex"))
    assert refused.value.code == "WRONG_OUTCOME"


def test_iterations_out_of_range_are_refused() -> None:
    with pytest.raises(UsageError):
        answer(request("glm", "sick", "sex", iterations=1))


def test_fit_that_ends_early_says_so() -> None:
    _, said = answer(request("glm", "falls", AGE, family="poisson", iterations=2))
    assert "did not converge in 2 rounds" in said[0]


def test_country_that_leaves_in_the_middle_ends_the_fit() -> None:
    spec = request("glm", "sick", "sex")
    method, blocks = find("glm"), blocks_of(spec)
    turn, state, memory = None, {}, {}
    for countries in (blocks, {k: v for k, v in blocks.items() if k != "AA"}):
        given = []
        for country, mine in countries.items():
            local = None
            while not isinstance(local, c.Summary):
                partials = method.release(method.fold(mine[0], spec, state, local), spec, state, local)
                local = partials if isinstance(partials, c.Summary) else partials.local
            given.append(c.Cleared(country, {(i.field, i.label): i.value for i in local.items}))
        if turn is not None:
            with pytest.raises(MethodError, match="left or joined"):
                method.pool(c.Contributions(tuple(given)), spec, state, memory)
            return
        turn = method.pool(c.Contributions(tuple(given)), spec, state, memory)
        assert isinstance(turn, c.Next)
        state, memory = turn.state, turn.memory


@pytest.mark.parametrize("method", ["glm", "negative_binomial"])
def test_gate_of_a_trial_lets_out_all_of_a_model_of_its_size(load_case: Callable[[str], Case], method: str) -> None:
    case = load_case("p13_cox_rotterdam_gbsg")
    step = case.plan[0]
    counts = method == "negative_binomial"
    spec = c.Spec(
        method,
        "main",
        case.variables,
        roles={"outcome": (c.Ref("nodes" if counts else "status"),)},
        terms=tuple(c.Term((c.Ref(name),)) for name in ("age", "hormon", "country")),
        options={"drop1": True} if counts else {"drop1": True, "robust": True},
        countries=tuple(case.tables["main"]),
    )
    own, policy = find(method), Policy.load(DEFAULT_FILE)
    blocks = case.blocks({**step, "where": None, "derive": None}, spec, own)
    state: c.State = {}
    memory: c.State = {}
    for _ in range(own.rounds[1]):
        given = []
        for country, mine in blocks.items():
            summary = summarise(own, mine, spec, state)
            verdict = judge(
                summary, own.leaves, own.notes, study_pb2.TRIAL_ANALYSIS, policy, open_data=False, audit=lambda _: None
            )
            assert isinstance(verdict, Cleared), verdict
            assert [item.field for item in verdict.items if item.value is None] == []
            given.append(c.Cleared(country, {(i.field, i.label): i.value for i in summary.items}))
        turn = own.pool(c.Contributions(tuple(given)), spec, state, memory)
        if isinstance(turn, c.Done):
            return
        state, memory = turn.state, turn.memory
    raise AssertionError("no answer within the method's rounds")


# --------------------------------------------------------------------------- the negative binomial likelihood


def counts_of(y: np.ndarray) -> Counts:
    return Counts.of(c.Block("AA", len(y), {"outcome": (y,)}, {}, np.arange(len(y))))


@pytest.mark.parametrize("alpha", [1e-12, 1e-5, 0.03, 0.7, 5.0])
def test_derivatives_in_log_alpha_are_those_of_the_log_likelihood(alpha: float) -> None:
    y, eta = np.array([0.0, 1.0, 3.0, 40.0, 2.0]), np.array([-2.0, 0.1, 1.0, 3.0, 0.5])
    counts, step = counts_of(y), 1e-4
    low, at, high = (overdispersed(counts, y, eta, alpha * math.exp(k * step)) for k in (-1, 0, 1))
    scale = max(1.0, abs(at.loglik))
    assert at.slope == pytest.approx((high.loglik - low.loglik) / (2 * step), rel=1e-6, abs=1e-10 * scale)
    assert at.bend == pytest.approx(-(high.slope - low.slope) / (2 * step), rel=1e-6, abs=1e-12)
    np.testing.assert_allclose(at.border, -(high.score - low.score) / (2 * step), rtol=1e-6, atol=1e-10)


def test_log_likelihood_is_scipys() -> None:
    from scipy import stats

    y, eta, alpha = np.array([0.0, 1.0, 3.0, 40.0]), np.array([-2.0, 0.1, 1.0, 3.0]), 0.8
    mean = np.exp(eta)
    expected = stats.nbinom.logpmf(y, 1 / alpha, 1 / (1 + alpha * mean)).sum()
    assert overdispersed(counts_of(y), y, eta, alpha).loglik == pytest.approx(expected, rel=1e-12)


def test_family_at_alpha_zero_is_poisson() -> None:
    assert negative_binomial(0.0).name == "poisson"
    y, eta = np.array([0.0, 4.0]), np.array([0.3, 1.0])
    near, there = negative_binomial(1e-9), negative_binomial(0.0)
    np.testing.assert_allclose(near.score(y, eta), there.score(y, eta), rtol=1e-7)
    np.testing.assert_allclose(near.deviance(y, eta), there.deviance(y, eta), rtol=1e-6)


def test_step_in_log_alpha_goes_uphill_where_the_likelihood_is_not_concave() -> None:
    information = np.array([[2.0, 1.0], [1.0, -0.5]])
    tamed = ascending(np.array([0.0, 3.0]), information)
    assert tamed[1, 1] > 0
    assert tamed[0, 1] == 0
    sound = np.array([[2.0, 0.1], [0.1, 3.0]])
    np.testing.assert_array_equal(ascending(np.array([0.0, 1.0]), sound), sound)
