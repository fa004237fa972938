"""The coordinator's half of the Cox model stratified by country, and the answer of every Cox model.

From the countries' sums to the next beta, and at the end to the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from isthmus.errors import MethodError
from isthmus_methods.contract import Answer, Array, Booleans, Contributions, Done, Next, Spec, State
from isthmus_methods.parts import caveats
from isthmus_methods.parts.first_round import (
    NO_ROWS,
    check_same_countries,
    no_news,
    remember_notes,
    remember_rows,
    taking_part,
    told_notes,
    told_rows,
)
from isthmus_methods.parts.gathered import needed
from isthmus_methods.parts.inference import chi_square, chi_square_p, coefficients, matrix
from isthmus_methods.parts.model_terms import level_rows, shown
from isthmus_methods.parts.newton import Accepted, Decision, Move, Solved, decide, quadratic, solve
from isthmus_methods.parts.survival.concordance import concordance
from isthmus_methods.parts.survival.cox_plan import EACH_COUNTRY, EACH_ROW, Plan
from isthmus_methods.parts.survival.proportionality import left_continuous_survival, proportionality_tests
from isthmus_methods.parts.symmetric import unpacked
from isthmus_methods.parts.time_table import ROUNDED

# Of the fields only asked for in some fits: what each is for.
EXTRAS = {
    "meat": "robust variance",
    "time_table": "proportional hazards test on the Kaplan-Meier scale",
    "hazard": "baseline hazard",
    "shape_events": "proportional hazards test",
    "shape_score": "proportional hazards test",
    "shape_information": "proportional hazards test",
    "shape_information_squared": "proportional hazards test",
    "shape_cross_product": "proportional hazards test",
    "pairs": "concordance",
    "pair_squares": "concordance",
    "ranks": "concordance",
}


@dataclass(frozen=True, slots=True)
class Fitted:
    """What is known at one beta, over all countries."""

    beta: Array  # (p,)
    loglik: float
    score: Array  # (p,)
    info: Array  # (p, p)


def pool(
    contributions: Contributions, spec: Spec, plan: Plan, state: State, memory: State, notes: Mapping[str, str]
) -> Next | Done:
    """One round of the fit: the next beta, or the answer."""
    loglik, score, information = (needed(contributions, field) for field in ("loglik", "score", "information"))
    beta = state.get("beta", np.zeros(plan.p))
    fitted = Fitted(beta, float(loglik[0]), score, unpacked(information, plan.p))
    if memory:
        memory = {**memory, "round": memory["round"] + 1.0}
    else:
        rows = remembered_rows(contributions, spec, plan)
        memory = rows | remembered_null(contributions, plan, rows, fitted)
        table = contributions.whole("time_table")
        if table is not None:
            memory["km"] = left_continuous_survival(table)
    check_same_countries(contributions, spec, memory["countries"])
    if "over" in memory:
        return _answer(contributions, spec, plan, memory, fitted, notes)
    decision, memory, over = decided(plan, memory, fitted)
    if over and ("last" in state or not plan.has_extras):
        return _answer(contributions, spec, plan, memory, fitted, notes)
    beta, last = (beta, True) if over else (decision.beta, decision.last and plan.has_extras)
    state = {"beta": beta}
    if last:
        state["last"] = np.ones(1)
        if "km" in memory:
            state["km"] = memory["km"]
    return Next(state, memory, "distance", decision.distance)


def decided(plan: Plan, memory: State, fitted: Fitted) -> tuple[Decision, dict[str, Array], bool]:
    """What to do next, the memory with it, and whether the fit is over."""
    solved = solve(fitted.info, memory["kept"] > 0)
    before = Accepted.unpacked(memory["accepted"]) if "accepted" in memory else None
    decision = decide(fitted.beta, fitted.loglik, fitted.score, solved, before)
    over = decision.move not in (Move.STEP, Move.HALVE) or float(memory["round"][0]) >= plan.iterations
    kept = {**memory, "accepted": decision.accepted.packed(), "distance": np.array([decision.distance])}
    if over:
        kept |= {"over": np.array([float(decision.move.value)]), "infinite": decision.infinite.astype(np.float64)}
    return decision, kept, over


def remembered_rows(contributions: Contributions, spec: Spec, plan: Plan) -> dict[str, Array]:
    """What the first round says of the rows is kept to the end."""
    outcomes = contributions.total("outcomes")
    if outcomes is None or not outcomes.any():
        raise MethodError("NO_ROWS", "no country has a complete row for this model", "check the filter and the terms")
    without = set(contributions.notes().get(NO_ROWS, ()))
    kept: dict[str, Array] = {
        "round": np.ones(1),
        "outcomes": outcomes,
        "countries": taking_part(contributions, spec),
        "with_rows": np.array([float(sum(country not in without for country in contributions.countries))]),
    }
    kept["present"] = plan.model.columns_present(level_rows(contributions, plan.model)).astype(np.float64)
    return {**kept, **remember_rows(contributions, spec, plan.model)}


def remembered_null(contributions: Contributions, plan: Plan, rows: State, fitted: Fitted) -> dict[str, Array]:
    """What is known at beta 0 is kept to the end: tests against it, and which columns the model can tell apart."""
    kept = {
        "null_loglik": np.array([fitted.loglik]),
        "null_score": fitted.score,
        "null_information": fitted.info,
        "kept": solve(fitted.info, rows["present"] > 0).kept.astype(np.float64),
    }
    for label in plan.robust:
        meat = contributions.whole("meat", label)
        if meat is not None:
            kept[f"null_meat {label}"] = unpacked(meat, plan.p)
    return kept


# --------------------------------------------------------------------------- the answer


def _answer(
    contributions: Contributions, spec: Spec, plan: Plan, memory: State, fitted: Fitted, notes: Mapping[str, str]
) -> Done:
    extras: dict[str, Answer] = {}
    if plan.concordance:
        pairs, squares = contributions.whole("pairs"), contributions.whole("pair_squares")
        extras["concordance"] = None if pairs is None or squares is None else concordance(pairs, squares)
    if plan.baseline:
        extras["baseline_cumulative_hazard_at_x0"] = _baseline(contributions, plan)
    kept: Booleans = memory["kept"] > 0
    if plan.shapes and not kept.any():
        extras["cox_zph"] = None
    elif plan.shapes:
        number = float(memory["outcomes"][0])
        extras["cox_zph"] = _proportionality(contributions, plan, fitted.score, fitted.info, kept, number)
    return told(contributions, spec, plan, memory, fitted, extras, notes)


def told(
    contributions: Contributions,
    spec: Spec,
    plan: Plan,
    memory: State,
    fitted: Fitted,
    extras: Mapping[str, Answer],
    notes: Mapping[str, str],
) -> Done:
    """The answer of a fit that is over, stratified by country or not; `extras` beside what every fit has."""
    present: Booleans = memory["present"] > 0
    kept: Booleans = memory["kept"] > 0
    beta, info, loglik = fitted.beta, fitted.info, fitted.loglik
    solved = solve(info, kept)
    df = int(kept.sum())
    names = [name for name, there in zip(plan.names, present, strict=True) if there]
    null_loglik = float(memory["null_loglik"][0])
    estimates, covariance = shown(beta, solved.inverse, kept, present)
    null = solve(memory["null_information"], kept)
    answer: dict[str, Answer] = {
        "n": round(float(memory["outcomes"].sum())),
        "n_event": round(float(memory["outcomes"][0])),
        "coef": coefficients(names, estimates, covariance),
        "vcov": matrix(names, covariance),
        "loglik_null": null_loglik,
        "loglik": loglik,
        "aic": -2.0 * loglik + 2.0 * df,
        "lr_test": chi_square(2.0 * (loglik - null_loglik), df),
        "wald_test": chi_square(float(beta[kept] @ info[np.ix_(kept, kept)] @ beta[kept]), df),
        "score_test": chi_square(float(memory["null_score"] @ null.inverse @ memory["null_score"]), df),
    }
    over, noted = Move(int(memory["over"][0])), {**memory, **remember_notes(contributions)}
    said = caveats.of_fields(contributions, EXTRAS)
    said += caveats.of_fit(over, plan.names, memory["infinite"], float(memory["round"][0]))
    for label in plan.robust:
        answer[ROBUST[label]] = _robust(contributions, plan, memory, beta, solved, names, present, label)
    answer |= extras
    aliased = [name for name, there, used in zip(plan.names, present, kept, strict=True) if there and not used]
    answer |= {
        "ties": "efron" if plan.efron else "breslow",
        "iterations": round(float(memory["round"][0])),
        "gradient_norm": float(memory["distance"][0]),
        "condition_number": solved.condition,
        "converged": over is Move.CONVERGED,
        "aliased": list(aliased),
        **told_rows(memory, plan.model),
        "notes": told_notes(noted, spec, notes, [code for code in notes if code != ROUNDED]),
    }
    return Done(answer, (*said, *told_notes(noted, spec, notes, (ROUNDED,))), no_news=no_news(memory))


# A robust variance in the answer, by the label of its sums.
ROBUST = {"": "robust", EACH_ROW: "robust_each_row", EACH_COUNTRY: "robust_cluster_country"}


def _robust(
    contributions: Contributions,
    plan: Plan,
    memory: State,
    beta: Array,
    solved: Solved,
    names: list[str],
    present: Booleans,
    label: str,
) -> Answer:
    """Cluster-robust variance, Wald and score test.

    With G clusters the scores at the estimate, which sum to zero, span G - 1 dimensions: where these are fewer than the
    coefficients the Wald test is of the first G - 1, and the score test, a sum of G independent directions, is G.

    Source: Lin & Wei (1989), JASA 84, 1074-1078; no small-sample factor.
    """
    upper = contributions.whole("meat", label)
    if upper is None:
        return None
    variance = solved.inverse @ unpacked(upper, plan.p) @ solved.inverse
    kept = solved.kept
    estimates, covariance = shown(beta, variance, kept, present)
    df = int(kept.sum())
    most = None
    if label == EACH_ROW:
        most = round(float(memory["outcomes"].sum()))
    elif label == EACH_COUNTRY or plan.cluster_is_country:
        most = round(float(memory["with_rows"][0]))
    wald = quadratic(np.where(kept, beta, 0.0), variance, None if most is None else most - 1)
    answer: dict[str, Answer] = {
        "cluster": {"": plan.cluster, EACH_ROW: "each row"}.get(label, "each country"),
        "coef": coefficients(names, estimates, covariance),
        "vcov": matrix(names, covariance),
        "robust_wald": {"statistic": wald, "p": chi_square_p(wald, df)},
    }
    if f"null_meat {label}" in memory:
        meat = memory[f"null_meat {label}"] * np.outer(kept, kept)
        score = quadratic(np.where(kept, memory["null_score"], 0.0), meat, most)
        if most is not None and most <= df and int(solve(meat, most=most).kept.sum()) == most:
            score = float(most)
        answer["robust_score_test"] = {"statistic": score, "p": chi_square_p(score, df)}
    return answer


def _baseline(contributions: Contributions, plan: Plan) -> Answer:
    """By country, and by stratum within it where there are further strata."""
    if plan.steps is None:
        return None
    answer: dict[str, dict[str, Answer]] = {}
    for label in contributions.labels("hazard"):
        for country, hazard in contributions.by_country("hazard", label).items():
            shown = np.arange(len(hazard))
            if plan.steps.grid is not None:
                shown = np.flatnonzero(np.diff(hazard, prepend=0.0) > 0)
            curve: dict[str, Answer] = {
                "time": plan.steps.times[shown].tolist(),
                "cumhaz": hazard[shown].tolist(),
            }
            if label:
                answer.setdefault(country, {})[label] = curve
            else:
                answer[country] = curve
    return answer


def _proportionality(
    contributions: Contributions, plan: Plan, score: Array, info: Array, kept: Booleans, n_event: float
) -> Answer:
    answer: dict[str, Answer] = {}
    for name in plan.shapes:
        fields = {
            part: contributions.whole(f"shape_{part}", name)
            for part in ("events", "score", "information", "information_squared")
        }
        given = {part: value for part, value in fields.items() if value is not None}
        if len(given) < len(fields):
            answer[name] = None
            continue
        for part in ("information", "information_squared"):
            given[part] = unpacked(given[part], plan.p)
        answer[name] = proportionality_tests(plan.model.terms, score, info, given, n_event, kept)
    return answer
