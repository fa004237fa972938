"""The coordinator's half of the linear model: where the nodes look from in each round, and at the end the answer."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from isthmus.errors import MethodError
from isthmus_methods.contract import Answer, Array, Booleans, Contributions, Done, Next, Spec, State
from isthmus_methods.parts import caveats, persons
from isthmus_methods.parts.clusters import pooled_meat
from isthmus_methods.parts.first_round import (
    check_same_countries,
    no_news,
    remember_notes,
    remember_rows,
    taking_part,
    told_notes,
    told_rows,
)
from isthmus_methods.parts.gathered import needed
from isthmus_methods.parts.inference import f_p, matrix, number, t_tests
from isthmus_methods.parts.model_terms import level_rows
from isthmus_methods.parts.moments import zero_of
from isthmus_methods.parts.newton import Solved, solve
from isthmus_methods.parts.regression.linear_fit import Fit, Solution, projection, sandwich, start
from isthmus_methods.parts.regression.linear_means import put_means
from isthmus_methods.parts.regression.linear_plan import MOST_ROUNDS, Plan
from isthmus_methods.parts.regression.term_tests import type_three, type_two
from isthmus_methods.parts.symmetric import unpacked

# Another round where the cross-product in the model's own coordinates is further than this from the identity, or
# where the columns still explain more than this of the residuals' length.
SETTLED = 1e-9
ORTHOGONAL = 1e-10
NAMED = {
    "meat": "HC0, HC1",
    "meat_hc3": "HC3",
    "cluster_scores": "cluster-robust variance",
    "cluster_meat": "cluster-robust variance",
    "excluded": "rows left out",
    "levels": "rows by level",
}


def pool(
    contributions: Contributions, spec: Spec, plan: Plan, state: State, memory: State, notes: Mapping[str, str]
) -> Next | Done:
    """One round: where to look from next, or the answer."""
    if not state:
        return _after_sums(contributions, spec, plan)
    check_same_countries(contributions, spec, memory["countries"])
    upper, products = needed(contributions, "cross"), needed(contributions, "products")
    width = state["map"].shape[1]
    cross = np.zeros((width, width))
    cross[:-1, :-1] = unpacked(upper, width - 1)
    cross[-1] = cross[:, -1] = products
    present: Booleans = memory["present"] > 0
    if "last" not in state:
        fit = start(state["centre"], cross, present)
        return Next(fit.state(), {**memory, **fit.remember(), "round": np.array([2.0])})
    fit = Fit.recall(state, memory)
    moved = fit.moved(cross)
    number_of_rounds = float(memory["round"][0]) + 1.0
    away = float(np.abs(cross[:-1, :-1] - np.eye(width - 1)).max())
    explained = float(np.linalg.norm(cross[:-1, -1])) / math.sqrt(cross[-1, -1]) if cross[-1, -1] > 0 else 0.0
    if (away > SETTLED or explained > ORTHOGONAL) and number_of_rounds < MOST_ROUNDS:
        return Next(moved.state(), {**memory, "round": np.array([number_of_rounds])}, "residual", explained)
    memory = {**memory, **remember_notes(contributions), "round": np.array([number_of_rounds])}
    return _answer(contributions, spec, plan, memory, fit, moved, cross, notes)


def _after_sums(contributions: Contributions, spec: Spec, plan: Plan) -> Next:
    sums, outcome = needed(contributions, "sums"), needed(contributions, "outcome_sum")
    if not sums[0] > 0:
        raise MethodError("NO_ROWS", "no country has a complete row for this model", "check the filter and the terms")
    rows = level_rows(contributions, plan.model)
    memory = {
        "n": sums[:1],
        "countries": taking_part(contributions, spec),
        "present": plan.model.columns_present(rows).astype(np.float64),
    }
    memory |= remember_rows(contributions, spec, plan.model)
    for sentence in caveats.of_fields(contributions, NAMED, labelled=True):
        memory[f"caveat {sentence}"] = np.zeros(0)
    mean = zero_of(spec, spec.role("outcome")[0]) + outcome / sums[0]
    return Next({"centre": np.append(sums[1:] / sums[0], mean), "map": np.eye(plan.model.p + 1)}, memory)


# --------------------------------------------------------------------------- the answer


def _answer(
    contributions: Contributions,
    spec: Spec,
    plan: Plan,
    memory: State,
    fit: Fit,
    moved: Fit,
    cross: Array,
    notes: Mapping[str, str],
) -> Done:
    model, q = plan.model, plan.model.p
    back = np.eye(q)
    back[0, 1:] = -fit.centre[:-1]
    estimates = moved.estimates.copy()
    estimates[0] += fit.centre[-1]
    step = np.linalg.solve(cross[:-1, :-1], cross[:-1, -1])
    rss = max(float(cross[-1, -1] - cross[:-1, -1] @ step), 0.0)
    end = Solution(
        plan,
        fit.kept,
        memory["present"] > 0,
        estimates,
        moved.white @ moved.white.T,
        back,
        round(float(memory["n"][0])),
        rss,
    )
    named, covariance = end.coefficients(end.inverse * end.variance)
    rows = {name: memory[f"levels {name}"] for name, _ in model.factors if f"levels {name}" in memory}
    space = projection(end, moved)
    every = [int(j) for j in np.flatnonzero(end.present)]
    answer: dict[str, Answer] = {
        "n": end.n,
        "coef": t_tests(end.names, named, covariance, end.df),
        "vcov": matrix(end.names, covariance),
        **_fit_statistics(end, *space.added([0], every[1:])),
        "type2": type_two(model, end.present, space, rss, end.df),
        "type3": None,
    }
    noted = told_notes(memory, spec, notes, [code for code in notes if code != persons.REPEATED])
    said = [key.removeprefix("caveat ") for key in memory if key.startswith("caveat ")]
    said += caveats.of_fields(contributions, NAMED, labelled=True)
    present_levels = model.levels_present({name: rows.get(name) for name, _ in model.factors})
    if space.independent:
        where = np.ix_(end.present, end.present)
        answer["type3"] = type_three(
            model,
            end.present,
            present_levels,
            back[where],
            estimates[end.present],
            end.inverse[where],
            rss,
            end.df,
        )
        if answer["type3"] is None:
            noted.append("type III tests: a product stands in the model without the lower terms it contains")
    else:
        noted.append("type III tests: not given, as some coefficients are aliased")
    if plan.robust:
        answer["robust"] = _robust(contributions, end, fit, moved)
    if plan.cluster:
        answer["robust_cluster"] = _cluster(contributions, spec, end, fit, moved)
    if plan.arm:
        said += put_means(answer, end, fit, rows, present_levels)
    solved: Solved = solve(fit.product, end.present)
    answer |= {
        "aliased": [name for name, used in zip(model.names, end.kept, strict=True) if name in end.names and not used],
        "rounds": round(float(memory["round"][0])),
        "condition_number": solved.condition,
        **told_rows(memory, model),
        "notes": noted,
    }
    said += told_notes(memory, spec, notes, [persons.REPEATED])
    return Done(answer, tuple(dict.fromkeys(said)), no_news=no_news(memory))


def _fit_statistics(end: Solution, explained: float, terms: int) -> dict[str, Answer]:
    """As R's `summary.lm`, `logLik`, `AIC` and `BIC`; `explained` : sum of squares beyond the intercept, by `terms`."""
    n, df, rss = end.n, end.df, end.rss
    total = explained + rss
    squared = explained / total if total > 0 else math.nan
    adjusted = 1.0 - (1.0 - squared) * (n - 1) / df if df > 0 else math.nan
    f = explained / terms / end.variance if terms > 0 and end.variance > 0 else math.nan
    loglik = -n / 2.0 * (math.log(2.0 * math.pi * rss / n) + 1.0) if rss > 0 else math.nan
    return {
        "sigma": number(math.sqrt(end.variance)),
        "df_residual": df,
        "r_squared": number(squared),
        "adj_r_squared": number(adjusted),
        "f_overall": {
            "F": number(f),
            "df1": terms,
            "df2": df,
            "p": None if math.isnan(f) else f_p(f, terms, df),
        },
        "rss": rss,
        "loglik": number(loglik),
        "aic": number(-2.0 * loglik + 2.0 * (end.rank + 1)),
        "bic": number(-2.0 * loglik + math.log(n) * (end.rank + 1)),
    }


def _robust(contributions: Contributions, end: Solution, fit: Fit, moved: Fit) -> dict[str, Answer]:
    """Sandwich variances. `fit` : the coordinates that the meats are in.

    Source: White (1980); HC1 and HC3 after MacKinnon & White (1985).
    """
    first, third = (contributions.whole(field) for field in ("meat", "meat_hc3"))
    answer: dict[str, Answer] = {"HC0": None, "HC1": None, "HC3": None}
    r = fit.white.shape[1]
    if first is not None:
        covariance = sandwich(unpacked(first, r), fit, moved)
        answer["HC0"] = end.block(covariance)
        answer["HC1"] = end.block(covariance * end.n / end.df) if end.df > 0 else None
    if third is not None and "FITTED_BY_ITSELF" not in contributions.notes():
        answer["HC3"] = end.block(sandwich(unpacked(third, r), fit, moved))
    return answer


def _cluster(contributions: Contributions, spec: Spec, end: Solution, fit: Fit, moved: Fit) -> dict[str, Answer]:
    """Cluster-robust variances without and with the small-sample factor.

    Source: Liang & Zeger (1986); CR1 as Stata's `vce(cluster)`.
    """
    answer: dict[str, Answer] = {"cluster": end.plan.cluster, "clusters": None, "CR0": None, "CR1": None}
    found = pooled_meat(contributions, spec, fit.white.shape[1])
    if found is None:
        return answer
    meat, clusters = found
    covariance = sandwich(meat, fit, moved)
    answer |= {"clusters": clusters, "CR0": end.block(covariance)}
    if clusters > 1 and end.df > 0:
        answer["CR1"] = end.block(covariance * clusters / (clusters - 1) * (end.n - 1) / end.df)
    return answer
