"""MMRM and random intercepts: two roads to one answer, through the gate, and what real data are like."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from comparing import differences, leaves
from reference_cases import REFERENCE, Case, Rows, block_of

from isthmus.errors import IsthmusError, MethodError, UsageError
from isthmus.v1 import study_pb2
from isthmus_methods import contract as c
from isthmus_methods.in_process import pool_in_process, summarise
from isthmus_methods.registry import find
from isthmus_node.egress.gate import Cleared, judge
from isthmus_node.egress.policy import DEFAULT_FILE, Policy

CASE = REFERENCE / "t30_mixed_pbcseq"
# Fields that a country may keep, by method.
MAY_KEEP = {"mmrm": "products", "lmm": "clusters"}
Blocks = Mapping[str, Sequence[c.Block]]


@pytest.fixture(scope="module")
def case() -> Case:
    return Case.load(CASE)


def refs(*names: str) -> tuple[c.Column, ...]:
    return tuple(c.Ref(name) for name in names)


def mmrm_spec(case: Case, *terms: str, **changed: Any) -> c.Spec:
    spec = case.spec({**case.plan[0], **({"terms": terms} if terms else {})})
    if terms and "TRTP" not in terms:
        spec = replace(spec, roles={role: columns for role, columns in spec.roles.items() if role != "arm"})
    return replace(spec, **changed)


def blocks_of(rows: Mapping[str, Rows], spec: c.Spec) -> dict[str, list[c.Block]]:
    method = find(spec.method)
    return {country: [block_of(country, mine, spec, method)] for country, mine in rows.items()}


def pooled(rows: Mapping[str, Rows], spec: c.Spec) -> c.Done:
    return pool_in_process(find(spec.method), blocks_of(rows, spec), spec)[0]


def through_gate(countries: Blocks, spec: c.Spec, keeping: Collection[str] | None = None) -> tuple[c.Done, int, int]:
    """The answer, its rounds, and how many fields were withheld.

    `keeping`: countries that keep what they may, of open data; None: the default policy decides, of protected data.
    """
    method, policy = find(spec.method), Policy.load(DEFAULT_FILE)
    state: c.State = {}
    memory: c.State = {}
    kept = 0
    for number in range(1, method.rounds[1] + 1):
        received = []
        for country, blocks in countries.items():
            summary = summarise(method, blocks, spec, state)
            verdict = judge(
                summary,
                method.leaves,
                method.notes,
                study_pb2.TRIAL_ANALYSIS,
                policy,
                open_data=keeping is not None,
                audit=lambda _: None,
            )
            assert isinstance(verdict, Cleared), (number, country, verdict)
            withheld = {(i.field, i.label): i.withheld_by for i in verdict.items if i.withheld_by}
            if keeping and country in keeping:
                withheld |= {(i.field, i.label): "ASKED" for i in verdict.items if i.field == MAY_KEEP[method.name]}
            values = {(i.field, i.label): i.value for i in verdict.items if (i.field, i.label) not in withheld}
            kept += len(withheld)
            received.append(c.Cleared(country, values, withheld, summary.notes))
        turn = method.pool(c.Contributions(tuple(received)), spec, state, memory)
        if isinstance(turn, c.Done):
            return turn, number, kept
        state, memory = turn.state, turn.memory
    raise AssertionError("no answer")


def same(one: c.Answer, other: c.Answer, rtol: float = 1e-8, atol: float = 1e-12) -> list[str]:
    return differences(one, other, lambda _: rtol, atol)


# --------------------------------------------------------------------------- two roads


@pytest.mark.parametrize("keeping", [("IS",), ("NO", "SE", "DK", "FI", "IS")])
@pytest.mark.parametrize("step", [0, 2])
def test_country_that_keeps_its_patterns_changes_nothing(case: Case, step: int, keeping: tuple[str, ...]) -> None:
    spec = case.spec(case.plan[step])
    countries = blocks_of(case.rows(case.plan[step]), spec)
    straight, rounds, _ = through_gate(countries, spec, ())
    asked, more, kept = through_gate(countries, spec, keeping)
    assert rounds == 2 < more
    assert kept > 0
    assert same(asked.answer, straight.answer) == []
    assert asked.caveats == straight.caveats == ()


def test_default_policy_keeps_small_patterns_and_the_answer_comes(case: Case) -> None:
    spec = mmrm_spec(case, "TRTP", "AVISIT", "BASE", "country", "TRTP:AVISIT", "AVISIT:BASE")
    countries = blocks_of(case.rows(case.plan[0]), spec)
    done, rounds, kept = through_gate(countries, spec)
    assert kept > 0
    assert rounds > 2
    assert done.caveats == ()
    assert {"products", "records"} <= done.made_up_for
    assert same(done.answer, pool_in_process(find("mmrm"), countries, spec)[0].answer) == []


def test_patterns_leave_together_or_not_at_all(case: Case) -> None:
    spec = mmrm_spec(case, "TRTP", "AVISIT")
    method, policy = find("mmrm"), Policy.load(DEFAULT_FILE)
    blocks = blocks_of(case.rows(case.plan[0]), spec)["NO"]
    state = {"visits": np.ones(4), "centre": np.zeros(0), "middle": np.zeros(1)}
    summary = summarise(method, blocks, spec, state)
    persons = {int(item.value[0, 0]) for item in summary.items if item.label.count(" x ") and item.value[0, 0] > 0}
    assert min(persons) < 5 < max(persons)
    verdict = judge(
        summary, method.leaves, method.notes, study_pb2.TRIAL_ANALYSIS, policy, open_data=False, audit=lambda _: None
    )
    assert isinstance(verdict, Cleared)
    assert all(item.withheld_by for item in verdict.items if item.field == "products")


# --------------------------------------------------------------------------- against the likelihood itself


def dense(
    rows: Mapping[str, Rows], sigma: np.ndarray, visits: Sequence[str], products: bool = False
) -> tuple[np.ndarray, np.ndarray, float]:
    """Coefficients, their covariance and the restricted log-likelihood of CHG ~ AVISIT + BASE, person by person.

    `products`: and of AVISIT:BASE.
    """
    cells = [
        (country + mine.columns["USUBJID"][i], visits.index(mine.columns["AVISIT"][i]), mine.columns["BASE"][i],
         mine.columns["CHG"][i])
        for country, mine in rows.items()
        for i in range(mine.number)
    ]  # fmt: skip
    at = np.array([v for _, v, _, _ in cells])
    x = np.column_stack([np.ones(len(at)), *(at == v for v in range(1, len(visits))), [float(b) for *_, b, _ in cells]])
    if products:
        x = np.column_stack([x, x[:, 1:-1] * x[:, -1:]])
    y = np.array([float(value) for *_, value in cells])
    who = np.unique([name for name, *_ in cells], return_inverse=True)[1]
    v = np.where(who[:, None] == who, sigma[np.ix_(at, at)], 0.0)
    inverse = np.linalg.inv(v)
    information = x.T @ inverse @ x
    beta = np.linalg.solve(information, x.T @ inverse @ y)
    squares = (y - x @ beta) @ inverse @ (y - x @ beta)
    logdet = np.linalg.slogdet(v)[1] + np.linalg.slogdet(information)[1]
    loglik = -0.5 * (logdet + squares + (len(y) - x.shape[1]) * np.log(2 * np.pi))
    return beta, np.linalg.inv(information), float(loglik)


@pytest.mark.parametrize("visits", [("Month 6", "Month 24"), ("Month 6", "Month 12", "Month 36")])
def test_sigma_is_where_the_likelihood_is_flat(case: Case, visits: tuple[str, ...]) -> None:
    step = {**case.plan[0], "where": [{"var": "AVISIT", "op": "in", "value": list(visits)}]}
    rows = case.rows(step)
    answer = pooled(rows, mmrm_spec(case, "AVISIT", "BASE")).answer
    sigma = np.array(answer["sigma_matrix"]["values"])
    beta, spread, loglik = dense(rows, sigma, visits)
    assert [one["estimate"] for one in answer["fixed"].values()] == pytest.approx(beta.tolist(), rel=1e-9)
    assert np.array(answer["vcov_beta"]["values"]) == pytest.approx(spread, rel=1e-8)
    assert answer["loglik_reml"] == pytest.approx(loglik, rel=1e-11)
    for i in range(len(visits)):
        for j in range(i, len(visits)):
            step_ij = np.zeros_like(sigma)
            step_ij[i, j] = step_ij[j, i] = 1e-4 * sigma[i, i]
            up, down = (dense(rows, sigma + sign * step_ij, visits)[2] for sign in (1, -1))
            assert abs(up - down) < 1e-8 + 2e-3 * (2 * loglik - up - down)


# --------------------------------------------------------------------------- numbers


@pytest.mark.parametrize("step", [0, 1, 2])
def test_large_offsets_cost_no_digits(case: Case, step: int) -> None:
    spec = case.spec(case.plan[step])
    rows = case.rows(case.plan[step])
    outcome = case.plan[step]["outcome"]
    far = {country: Rows(dict(mine.columns), mine.number) for country, mine in rows.items()}
    # offsets that doubles hold to the bit, beside numbers with few digits
    for mine in (*rows.values(), *far.values()):
        for name in {outcome, *({"AGE", "BASE"} - {outcome})}:
            mine.columns[name] = [repr(round(float(x) * 64) / 64) for x in mine.columns[name]]
    for mine in far.values():
        mine.columns["AGE"] = [repr(float(x) + 2.0**30) for x in mine.columns["AGE"]]
        mine.columns["BASE"] = [repr(float(x) + 2.0**30) for x in mine.columns["BASE"]]
        mine.columns[outcome] = [repr(float(x) + 2.0**30) for x in mine.columns[outcome]]
    near, moved = pooled(rows, spec).answer, pooled(far, spec).answer

    def slopes(answer: c.Answer) -> dict[str, Any]:
        # what an offset does not move: all but intercepts and what is made of them
        fits = answer if step == 0 else answer["REML"]
        kept = {k: v for k, v in fits["fixed"].items() if k != "(Intercept)" and not (step == 0 and "AVISIT=" in k)}
        shown = (
            {"sigma_matrix": fits["sigma_matrix"]} if step == 0 else {k: fits[k] for k in ("sigma2", "tau2_country")}
        )
        return {"fixed": kept, **shown, "loglik": fits["loglik_reml" if step == 0 else "loglik"]}

    assert same(slopes(moved), slopes(near), 1e-7, 1e-10) == []
    if step == 0:
        pick = "ls_means_proportional_weights"
        for visit, arms in near[pick].items():
            difference = moved[pick][visit]["difference_vs_control"]
            assert same(difference, arms["difference_vs_control"], 1e-7, 1e-10) == []
            mean = moved[pick][visit]["means"]["Placebo"]["estimate"] - 2.0**30
            assert mean == pytest.approx(arms["means"]["Placebo"]["estimate"], abs=1e-6)


def test_scale_of_the_outcome_scales_the_answer(case: Case) -> None:
    spec = case.spec(case.plan[0])
    rows = case.rows(case.plan[0])
    small = {
        country: Rows({**mine.columns, "CHG": [repr(float(x) * 2.0**-40) for x in mine.columns["CHG"]]}, mine.number)
        for country, mine in rows.items()
    }
    big = pooled(rows, spec).answer["fixed"]
    scaled = {
        name: {**test, **{key: test[key] * 2.0**40 for key in test if key.startswith(("estimate", "se", "ci95"))}}
        for name, test in pooled(small, spec).answer["fixed"].items()
    }
    assert same(scaled, big) == []


# --------------------------------------------------------------------------- what data are like


def test_aliased_column_is_na_as_in_r(case: Case) -> None:
    rows = case.rows(case.plan[0])
    for mine in rows.values():
        mine.columns["TWICE"] = [repr(2 * float(x)) for x in mine.columns["BASE"]]
    case.variables["TWICE"] = c.Variable("TWICE", c.VariableType.NUMERIC)
    terms = ("TRTP", "AVISIT", "BASE", "country", "SEX", "AGE", "TRTP:AVISIT", "AVISIT:BASE")
    without = pooled(rows, mmrm_spec(case, *terms)).answer
    answer = pooled(rows, mmrm_spec(case, *terms[:4], "TWICE", *terms[4:])).answer
    assert set(answer["fixed"].pop("TWICE").values()) == {None}
    for key in ("fixed", "sigma_matrix", "loglik_reml", "ls_means_equal_weights"):
        assert same(answer[key], without[key]) == []


def test_levels_and_visits_without_rows_vanish(case: Case) -> None:
    rows = case.rows(case.plan[0])
    wide = dict(case.variables)
    wide["TRTP"] = replace(wide["TRTP"], levels=("Nobody", *wide["TRTP"].levels, "Nor these"))
    wide["AVISIT"] = replace(wide["AVISIT"], levels=("Baseline", *wide["AVISIT"].levels))
    wide["country"] = replace(wide["country"], levels=(*wide["country"].levels, "GL"))
    spec = mmrm_spec(case)
    more = replace(spec, variables=wide, references={k: v for k, v in spec.references.items() if k == "SEX"})
    assert same(pooled(rows, more).answer, pooled(rows, spec).answer) == []


def test_visit_that_a_country_does_not_have_is_no_matter(case: Case) -> None:
    rows = case.rows(case.plan[0])
    keep = [i for i, v in enumerate(rows["IS"].columns["AVISIT"]) if v != "Month 24"]
    rows["IS"] = rows["IS"].pick(keep)
    spec = mmrm_spec(case)
    answer, _, _ = through_gate(blocks_of(rows, spec), spec, ())
    asked, _, _ = through_gate(blocks_of(rows, spec), spec, ("IS",))
    assert same(asked.answer, answer.answer) == []
    assert answer.answer["records_per_visit"]["Month 24"] == 202


def test_second_record_at_a_visit_is_an_error_that_names_the_country(case: Case) -> None:
    rows = case.rows(case.plan[0])
    rows["FI"] = rows["FI"].pick([0, *range(rows["FI"].number)])
    with pytest.raises(MethodError, match="in FI ") as error:
        pooled(rows, mmrm_spec(case))
    assert error.value.code == "VISIT_TWICE"


def test_visits_that_nobody_has_both_of_are_an_error(case: Case) -> None:
    rows = case.rows(case.plan[0])
    for country, mine in rows.items():
        late = {s for s, v in zip(mine.columns["USUBJID"], mine.columns["AVISIT"], strict=True) if v == "Month 36"}
        keep = [
            i
            for i in range(mine.number)
            if not (mine.columns["AVISIT"][i] == "Month 6" and mine.columns["USUBJID"][i] in late)
        ]
        rows[country] = mine.pick(keep)
    with pytest.raises(MethodError, match="both Month 6 and Month 36") as error:
        pooled(rows, mmrm_spec(case))
    assert error.value.code == "COVARIANCE_NOT_IDENTIFIED"


def test_order_of_rows_is_no_matter(case: Case) -> None:
    rows = case.rows(case.plan[0])
    rng = np.random.default_rng(1)
    mixed = {country: mine.pick(rng.permutation(mine.number).tolist()) for country, mine in rows.items()}
    spec = mmrm_spec(case)
    assert same(pooled(mixed, spec).answer, pooled(rows, spec).answer) == []


def test_odd_names_are_names_like_others(case: Case) -> None:
    rows = case.rows(case.plan[0])
    names = {"BASE": "base (g/dl) : x", "AVISIT": "visit / no.", "TRTP": "arm.of trial"}
    for mine in rows.values():
        for old, new in names.items():
            mine.columns[new] = mine.columns[old]
    variables = {**case.variables, **{new: replace(case.variables[old], name=new) for old, new in names.items()}}

    def named(column: c.Column) -> c.Column:
        return c.Ref(names.get(column.variable, column.variable)) if isinstance(column, c.Ref) else column

    spec = mmrm_spec(case)
    odd = replace(
        spec,
        variables=variables,
        roles={role: tuple(map(named, columns)) for role, columns in spec.roles.items()},
        terms=tuple(c.Term(tuple(map(named, term.columns))) for term in spec.terms),
        references={names.get(name, name): level for name, level in spec.references.items()},
    )
    straight, answer = pooled(rows, spec).answer, pooled(rows, odd).answer
    assert [value for _, value in leaves(answer["ls_means_equal_weights"])] == pytest.approx(
        [value for _, value in leaves(straight["ls_means_equal_weights"])], rel=1e-9
    )
    assert "visit / no.=Month 12:base (g/dl) : x" in answer["fixed"]


# --------------------------------------------------------------------------- random intercepts


def test_variance_on_the_boundary_is_zero_and_said(case: Case) -> None:
    # the same outcomes in each country: they differ less than their records do
    rng = np.random.default_rng(2)
    values = rng.normal(size=40)
    rows = {
        country: Rows({"CHG": [repr(float(x)) for x in values], "country": [country] * 40}, 40)
        for country in case.variables["country"].levels
    }
    spec = replace(case.spec({**case.plan[1], "outcome": "CHG", "terms": []}), references={})
    done = pooled(rows, spec)
    assert done.answer["REML"]["tau2_country"] == 0
    assert done.answer["lrt_random_intercept_ML"] == {"statistic": 0.0, "p_half_chi2_1": 0.5}
    assert set(done.answer["REML"]["blup"].values()) == {0.0}
    assert len(done.caveats) == 1
    assert "boundary" in done.caveats[0]


def test_subject_in_two_groups_is_an_error(case: Case) -> None:
    rows = case.rows(case.plan[2])
    spec = case.spec({**case.plan[2], "terms": ["TRTP", "BASE"]})
    spec = replace(spec, roles={**spec.roles, "group": refs("AVISIT")})
    with pytest.raises(IsthmusError) as error:
        pooled(rows, spec)
    assert error.value.code == "SUBJECT_IN_TWO_GROUPS"


def test_groups_may_be_a_factor_of_persons(case: Case) -> None:
    rows = case.rows(case.plan[1])
    spec = case.spec(case.plan[1])
    by_sex = replace(spec, roles={**spec.roles, "group": refs("SEX")}, terms=spec.terms[:2])
    done = pooled(rows, by_sex)
    assert done.answer["groups"] == 2
    assert list(done.answer["REML"]["blup"]) == ["F", "M"]
    assert find("lmm").scope(by_sex) is c.Scope.TOTAL


def test_comparison_can_fail(case: Case, load_case: Callable[[str], Case]) -> None:
    answer = pooled(case.rows(case.plan[0]), mmrm_spec(case)).answer
    other = {**answer, "loglik_reml": answer["loglik_reml"] * (1 + 2e-8)}
    assert len(same(other, answer)) == 1


def test_subjects_that_differ_no_more_than_their_records_have_no_variance(case: Case) -> None:
    rows = case.rows(case.plan[2])
    rng = np.random.default_rng(3)
    for mine in rows.values():
        # a subject's records lie on either side by turns, further apart than those of different subjects
        last: dict[str, float] = {}
        for i, who in enumerate(mine.columns["USUBJID"]):
            last[who] = -last[who] if who in last else float(rng.normal())
            mine.columns["CHG"][i] = repr(last[who] + 0.1 * float(rng.normal()))
    spec = case.spec({**case.plan[2], "terms": ["TRTP"]})
    countries = blocks_of(rows, spec)
    straight, _, _ = through_gate(countries, spec, ())
    asked, _, _ = through_gate(countries, spec, ("NO", "IS"))
    assert straight.answer["REML"]["tau2_subject"] == 0
    assert any("between subjects" in caveat for caveat in straight.caveats)
    assert same(asked.answer, straight.answer) == []


@pytest.mark.parametrize("seed", range(3))
def test_visits_may_differ_much_in_spread(case: Case, seed: int) -> None:
    rows = case.rows(case.plan[0])
    scale = dict(zip(case.variables["AVISIT"].levels, (2.0**-5, 1.0, 2.0**4, 2.0**7), strict=True))
    rng = np.random.default_rng(seed)
    for mine in rows.values():
        spread = [scale[v] for v in mine.columns["AVISIT"]]
        noise = [float(2.0 ** -rng.integers(0, 3)) for _ in spread]
        mine.columns["CHG"] = [
            repr(float(x) * s * z) for x, s, z in zip(mine.columns["CHG"], spread, noise, strict=True)
        ]
    answer = pooled(rows, mmrm_spec(case, "AVISIT", "BASE", "AVISIT:BASE")).answer
    beta, _, loglik = dense(rows, np.array(answer["sigma_matrix"]["values"]), list(scale), products=True)
    assert [one["estimate"] for one in answer["fixed"].values()] == pytest.approx(beta.tolist(), rel=1e-6)
    assert answer["loglik_reml"] == pytest.approx(loglik, rel=1e-9)


def test_factors_made_of_numbers_are_factors_like_others(case: Case) -> None:
    rows = case.rows(case.plan[0])
    visits = case.variables["AVISIT"].levels
    for mine in rows.values():
        mine.columns["AVISITN"] = [str(6 * (visits.index(v) + 1)) for v in mine.columns["AVISIT"]]
    number = c.Variable("AVISITN", c.VariableType.INTEGER, levels=("6", "12", "18", "24"))
    as_factor = c.Transform(c.Function.FACTOR, c.Ref("AVISITN"))
    spec = mmrm_spec(case)
    swapped = replace(
        spec,
        variables={**spec.variables, "AVISITN": number},
        roles={**spec.roles, "visit": (as_factor,)},
        terms=tuple(
            c.Term(tuple(as_factor if column == c.Ref("AVISIT") else column for column in term.columns))
            for term in spec.terms
        ),
    )
    answer, straight = pooled(rows, swapped).answer, pooled(rows, spec).answer
    assert answer["loglik_reml"] == pytest.approx(straight["loglik_reml"], rel=1e-12)
    assert answer["fixed"]["TRTP=D-penicillamine:AVISITN=24"]["se"] == pytest.approx(
        straight["fixed"]["TRTP=D-penicillamine:AVISIT=Month 36"]["se"], rel=1e-9
    )


def test_group_that_is_a_term_or_stands_alone_is_refused(case: Case) -> None:
    rows = case.rows(case.plan[1])
    with pytest.raises(UsageError) as error:
        pooled(rows, case.spec({**case.plan[1], "terms": ["AGE", "country"]}))
    assert error.value.code == "GROUP_IS_A_TERM"
    with pytest.raises(MethodError) as alone:
        pooled({"NO": rows["NO"]}, case.spec(case.plan[1]))
    assert alone.value.code == "ONE_GROUP"


def test_outcome_of_a_size_that_overflows_is_refused(case: Case) -> None:
    rows = case.rows(case.plan[0])
    for mine in rows.values():
        mine.columns["CHG"] = [repr(float(x) * 1e-150) for x in mine.columns["CHG"]]
    with pytest.raises(MethodError) as error:
        pooled(rows, mmrm_spec(case))
    assert error.value.code == "OUTCOME_SCALE"


def test_whose_the_outcomes_sum_is_is_taken_from_the_least_value_of_its_range(case: Case) -> None:
    """About zero an outcome that lies far from it is never one person's, however far from the others he is."""
    spec = mmrm_spec(case)
    name = spec.role("outcome")[0].variable  # type: ignore[union-attr]
    shares = []
    for minimum in (None, 900.0):
        variable = replace(spec.variables[name], minimum=minimum, maximum=10_000.0)
        own = replace(spec, variables={**spec.variables, name: variable})
        (block,) = blocks_of(case.rows(case.plan[0]), own)["NO"]
        y = block.numbers("outcome")
        y[:] = 901.0 + 0.001 * np.arange(len(y))
        y[0] = 9000.0
        sums = next(i for i in summarise(find("mmrm", 1), [block], own, {}).items if i.field == "sums")
        assert isinstance(sums.support, c.ModelSupport)
        assert sums.support.outcome is not None
        shares.append(sums.support.outcome.largest / sums.support.outcome.total)
    assert shares[0] < 0.5 < 0.9 < shares[1]
