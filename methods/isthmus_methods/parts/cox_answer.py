"""The coordinator's half of the Cox model: from the countries' sums to the next beta, and at the end to the answer."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from isthmus.errors import MethodError
from isthmus_methods.contract import Answer, Array, Booleans, Contributions, Done, Next, Spec, State
from isthmus_methods.parts import caveats
from isthmus_methods.parts.concordance import concordance
from isthmus_methods.parts.cox_plan import Plan
from isthmus_methods.parts.first_round import check_same_countries, taking_part
from isthmus_methods.parts.inference import chi_square, chi_square_p, coefficients, matrix
from isthmus_methods.parts.model_terms import level_rows, shown
from isthmus_methods.parts.newton import Accepted, Move, Solved, decide, quadratic, solve
from isthmus_methods.parts.proportionality import left_continuous_survival, proportionality_tests
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
    "pairs": "concordance",
    "pair_squares": "concordance",
}


def pool(
    contributions: Contributions, spec: Spec, plan: Plan, state: State, memory: State, notes: Mapping[str, str]
) -> Next | Done:
    """One round of the fit: the next beta, or the answer."""
    loglik, score = contributions.total("loglik"), contributions.total("score")
    packed_information = contributions.total("information")
    if loglik is None or score is None or packed_information is None:
        raise MethodError("NO_COUNTRY", "no country gave its share of the model", "ask why in each country's refusal")
    info = unpacked(packed_information, plan.p)
    memory = _remembered(contributions, spec, plan, memory, float(loglik[0]), score, info)
    check_same_countries(contributions, spec, memory["countries"])
    beta = state.get("beta", np.zeros(plan.p))
    kept: Booleans = memory["kept"] > 0
    solved = solve(info, kept)
    before = Accepted.unpacked(memory["accepted"]) if "accepted" in memory else None
    decision = decide(beta, float(loglik[0]), score, solved, before)
    number = float(memory["round"][0])
    over = decision.move not in (Move.STEP, Move.HALVE) or number >= plan.iterations
    if "over" in memory:
        return _answer(contributions, plan, memory, beta, float(loglik[0]), score, info, notes)
    memory = {**memory, "accepted": decision.accepted.packed(), "distance": np.array([decision.distance])}
    if over:
        memory |= {"over": np.array([float(decision.move.value)]), "infinite": decision.infinite.astype(np.float64)}
        if "last" in state or not plan.has_extras:
            return _answer(contributions, plan, memory, beta, float(loglik[0]), score, info, notes)
        return Next(_asked(beta, True, memory), memory, "distance", decision.distance)
    return Next(_asked(decision.beta, decision.last and plan.has_extras, memory), memory, "distance", decision.distance)


def _asked(beta: Array, last: bool, memory: State) -> dict[str, Array]:
    state = {"beta": beta}
    if last:
        state["last"] = np.ones(1)
        if "km" in memory:
            state["km"] = memory["km"]
    return state


def _remembered(
    contributions: Contributions, spec: Spec, plan: Plan, memory: State, loglik: float, score: Array, info: Array
) -> dict[str, Array]:
    """What the first round says is kept to the end; later rounds only count themselves."""
    if memory:
        return {**memory, "round": memory["round"] + 1.0}
    outcomes = contributions.total("outcomes")
    if outcomes is None or not outcomes.any():
        raise MethodError("NO_ROWS", "no country has a complete row for this model", "check the filter and the terms")
    kept: dict[str, Array] = {
        "round": np.ones(1),
        "outcomes": outcomes,
        "null_loglik": np.array([loglik]),
        "null_score": score,
        "null_information": info,
        "countries": taking_part(contributions, spec),
    }
    present_rows = level_rows(contributions, plan.model)
    kept |= {f"levels {name}": rows for name, rows in present_rows.items() if rows is not None}
    for country, rows in contributions.by_country("excluded").items():
        kept[f"excluded {country}"] = rows
    for country in contributions.notes().get(ROUNDED, ()):
        kept[f"rounded {country}"] = np.ones(1)
    present = plan.model.columns_present(present_rows)
    kept["present"] = present.astype(np.float64)
    kept["kept"] = solve(info, present).kept.astype(np.float64)
    meat, table = _whole(contributions, "meat"), _whole(contributions, "time_table")
    if meat is not None:
        kept["null_meat"] = unpacked(meat, plan.p)
    if table is not None:
        kept["km"] = left_continuous_survival(table)
    return kept


# --------------------------------------------------------------------------- the answer


def _answer(
    contributions: Contributions,
    plan: Plan,
    memory: State,
    beta: Array,
    loglik: float,
    score: Array,
    info: Array,
    notes: Mapping[str, str],
) -> Done:
    present: Booleans = memory["present"] > 0
    kept: Booleans = memory["kept"] > 0
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
    said = _withheld(contributions)
    said += [s for s in _convergence(plan, memory) if s]
    if plan.robust:
        answer["robust"] = _robust(contributions, plan, memory, beta, solved, names, present)
    if plan.concordance:
        pairs, squares = _whole(contributions, "pairs"), _whole(contributions, "pair_squares")
        answer["concordance"] = None if pairs is None or squares is None else concordance(pairs, squares)
    if plan.baseline:
        answer["baseline_cumulative_hazard_at_x0"] = _baseline(contributions, plan)
    if plan.shapes and not kept.any():
        answer["cox_zph"] = None
    elif plan.shapes:
        answer["cox_zph"] = _proportionality(contributions, plan, score, info, kept, float(memory["outcomes"][0]))
    aliased = [name for name, there, used in zip(plan.names, present, kept, strict=True) if there and not used]
    answer |= {
        "ties": "efron" if plan.efron else "breslow",
        "iterations": round(float(memory["round"][0])),
        "gradient_norm": float(memory["distance"][0]),
        "condition_number": solved.condition,
        "converged": Move(int(memory["over"][0])) is Move.CONVERGED,
        "aliased": list(aliased),
        "excluded": {
            key.removeprefix("excluded "): round(float(memory[key][0])) for key in memory if key.startswith("excluded ")
        },
        "levels": {
            name: {level: round(float(x)) for level, x in zip(levels, memory[f"levels {name}"], strict=True)}
            for name, levels in plan.model.factors
            if f"levels {name}" in memory
        },
        "notes": list(caveats.of_notes(contributions, {k: v for k, v in notes.items() if k != ROUNDED})),
    }
    rounded = [s.country for s in contributions.summaries if ROUNDED in s.notes or f"rounded {s.country}" in memory]
    if rounded:
        said.append(notes[ROUNDED].replace("{countries}", caveats.joined(tuple(rounded))))
    return Done(answer, tuple(said))


def _convergence(plan: Plan, memory: State) -> list[str]:
    move = Move(int(memory["over"][0]))
    if move is Move.INFINITE:
        names = ", ".join(name for name, on in zip(plan.names, memory["infinite"], strict=True) if on)
        return [f"the log-likelihood converged before {names}: the coefficient may be infinite (separation)"]
    if move is not Move.CONVERGED:
        return [
            f"the fit did not converge in {round(float(memory['round'][0]))} rounds: the numbers are its last step's"
        ]
    return []


def _withheld(contributions: Contributions) -> list[str]:
    said: dict[str, None] = {}
    for field, what in EXTRAS.items():
        for label in contributions.labels(field):
            missing = {
                s.country: s.withheld[field, label] for s in contributions.summaries if (field, label) in s.withheld
            }
            covered = tuple(s.country for s in contributions.summaries if (field, label) in s.values)
            if missing:
                said.setdefault(caveats.of_withheld(what, missing, covered))
    return list(said)


def _whole(contributions: Contributions, field: str, label: str = "") -> Array | None:
    """The total, None where a country's gate withheld its share: a part of these is of no use."""
    if any((field, label) in s.withheld for s in contributions.summaries):
        return None
    return contributions.total(field, label)


def _robust(
    contributions: Contributions,
    plan: Plan,
    memory: State,
    beta: Array,
    solved: Solved,
    names: list[str],
    present: Booleans,
) -> Answer:
    """Cluster-robust variance, Wald and score test.

    Source: Lin & Wei (1989), JASA 84, 1074-1078; no small-sample factor.
    """
    upper = _whole(contributions, "meat")
    if upper is None:
        return None
    variance = solved.inverse @ unpacked(upper, plan.p) @ solved.inverse
    kept = solved.kept
    estimates, covariance = shown(beta, variance, kept, present)
    df = int(kept.sum())
    wald = quadratic(np.where(kept, beta, 0.0), variance)
    answer: dict[str, Answer] = {
        "cluster": plan.cluster,
        "coef": coefficients(names, estimates, covariance),
        "vcov": matrix(names, covariance),
        "robust_wald": {"statistic": wald, "p": chi_square_p(wald, df)},
    }
    if "null_meat" in memory:
        score = quadratic(np.where(kept, memory["null_score"], 0.0), memory["null_meat"] * np.outer(kept, kept))
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
            part: _whole(contributions, f"shape_{part}", name)
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
