"""The coordinator's half of negative binomial regression: Poisson first, then coefficients and log alpha together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from isthmus_methods.contract import Answer, Array, Booleans, Contributions, Done, Next, Spec, State
from isthmus_methods.parts.first_round import (
    LEVEL_ABSENT,
    NO_ROWS,
    check_same_countries,
    no_news,
    told_notes,
    told_rows,
)
from isthmus_methods.parts.gathered import needed
from isthmus_methods.parts.inference import chi_square, coefficients, matrix, number
from isthmus_methods.parts.kept import kept_by_request
from isthmus_methods.parts.model_terms import ModelTerms, model_terms
from isthmus_methods.parts.nested_fits import ModelFit, furthest, looking_at, recall, remember
from isthmus_methods.parts.newton import Move, solve
from isthmus_methods.parts.regression.glm_answer import FITS, Shown, asked_next, begun, convergence
from isthmus_methods.parts.regression.glm_plan import iterations_of
from isthmus_methods.parts.regression.glm_sums import BEYOND, WHOLE, WITHOUT
from isthmus_methods.parts.regression.overdispersion import ascending
from isthmus_methods.parts.symmetric import unpacked

# The Poisson model beside the negative binomial ones; it comes first.
COUNTS = "poisson"
# log alpha that stands for alpha = 0, and bounds of a first guess at alpha.
NO_OVERDISPERSION = -1e3
GUESSES = (1e-4, 20.0)
INFINITE_THETA = (
    "the counts vary no more than a Poisson model says: theta is infinite, and the coefficients are the Poisson model's"
)


@dataclass(frozen=True, slots=True)
class NegativePlan:
    terms: ModelTerms
    models: Mapping[str, Booleans]  # label -> its columns (p,)
    drop1: bool
    iterations: int


@kept_by_request
def plan_of(spec: Spec) -> NegativePlan:
    """What a request asks for. Raises `UsageError` where it cannot be carried out."""
    terms = model_terms(spec, intercept=True)
    drop1 = spec.options.get("drop1") is True
    every = np.ones(terms.p, dtype=np.bool_)
    smaller = {WITHOUT + term: terms.columns_without(term) for term in (terms.droppable() if drop1 else ())}
    return NegativePlan(terms, {COUNTS: every, WHOLE: every, **smaller}, drop1, iterations_of(spec))


def alpha_of(parameters: Array) -> float:
    """alpha = 1/theta from the coefficients and log alpha."""
    return math.exp(float(parameters[-1])) if parameters[-1] > NO_OVERDISPERSION else 0.0


def pool(
    contributions: Contributions, spec: Spec, plan: NegativePlan, state: State, memory: State, notes: Mapping[str, str]
) -> Next | Done:
    """One round: the next parameters of each model, or the answer."""
    if not state:
        kept = begun(contributions, spec, plan.terms)
        return Next({"centre": kept["centre"]}, kept, "distance", 1.0)
    check_same_countries(contributions, spec, memory["countries"])
    kept = {k: v for k, v in memory.items() if not k.startswith(FITS)}
    if "which" not in state and "end" not in state:
        return _ask([_started(contributions, plan, kept)], kept)
    fits = _advanced(contributions, plan, memory, kept)
    if "end" in state:
        kept |= {
            "at": state["end"],
            "expected": unpacked(needed(contributions, "expected"), plan.terms.p),
            "pearson": needed(contributions, "pearson"),
            "deviance": needed(contributions, "deviance"),
        }
    if len(fits) == 1 and fits[0].over is not None:
        fits += _overdispersed(plan, fits[0], kept)
    return _ask(fits, kept) if _goes_on(fits, kept) else _answer(spec, plan, fits, kept, notes)


def _goes_on(fits: list[ModelFit], kept: State) -> bool:
    return bool(looking_at(fits)) or "at" not in kept or not np.array_equal(kept["at"], fits[1].beta)


def _ask(fits: list[ModelFit], kept: dict[str, Array]) -> Next:
    state = {"centre": kept["centre"], **asked_next(fits)}
    if len(fits) > 1:
        whole = fits[1]
        known = "at" in kept and np.array_equal(kept["at"], whole.beta)
        if (whole.over is not None and not known) or (whole.over is None and whole.last):
            state["end"] = whole.beta
    return Next(state, {**kept, **remember(fits)}, "distance", furthest(fits))


def _started(contributions: Contributions, plan: NegativePlan, kept: dict[str, Array]) -> ModelFit:
    """The Poisson model where least squares on R's starting values puts it."""
    p = plan.terms.p
    there: Booleans = kept["present"] > 0
    score, information = (
        needed(contributions, "score", "start"),
        unpacked(needed(contributions, "information", "start"), p),
    )
    solved, empty = solve(information, there), np.zeros(p, dtype=np.bool_)
    empty[0] = True
    kept["flat"] = np.append(solve(information, empty).inverse @ score, NO_OVERDISPERSION)
    return ModelFit(
        COUNTS,
        np.append(there, False),
        np.append(solved.inverse @ score, NO_OVERDISPERSION),
        kept=np.append(solved.kept, False),
    )


def _advanced(
    contributions: Contributions, plan: NegativePlan, memory: State, kept: dict[str, Array]
) -> list[ModelFit]:
    """The fits once they know this round's sums."""
    fits = list(recall(memory))
    for k in looking_at(fits):
        fit = fits[k]
        its = np.append(plan.models[fit.name], fit.name != COUNTS)
        loglik = float(needed(contributions, "loglik", fit.name)[0])
        if fit.accepted is None and not loglik > -BEYOND and fit.rounds + 1 < plan.iterations:
            fits[k] = replace(fit, beta=(fit.beta + memory["flat"]) / 2.0, rounds=fit.rounds + 1)
            continue
        score, information = np.zeros(len(its)), np.zeros((len(its), len(its)))
        score[its] = needed(contributions, "score", fit.name)
        information[np.ix_(its, its)] = unpacked(needed(contributions, "information", fit.name), int(its.sum()))
        if fit.name != COUNTS:
            information = ascending(score, information)
        else:
            kept["direction"] = needed(contributions, "overdispersion", COUNTS)
        fits[k] = fit.after(loglik, score, information, plan.iterations)
    return fits


def _overdispersed(plan: NegativePlan, counts: ModelFit, kept: dict[str, Array]) -> list[ModelFit]:
    """The negative binomial models: one step in alpha from the Poisson model, coefficients nearest to its own."""
    slope, information = (float(x) for x in kept["direction"])
    guess = math.log(min(max(slope / information if information > 0 else 0.0, GUESSES[0]), GUESSES[1]))
    fits = []
    for label, columns in plan.models.items():
        if label == COUNTS:
            continue
        allowed = counts.allowed & np.append(columns, False)
        beta = counts.beta
        own = solve(counts.information, allowed)
        if label != WHOLE:
            # the smaller model's best approximation where the log-likelihood is a parabola
            beta = own.inverse @ (counts.information @ np.append(counts.beta[:-1], 0.0))
        beta = np.append(beta[:-1], guess)
        fit = ModelFit(label, np.append(allowed[:-1], True), beta, kept=np.append(own.kept[:-1], True))
        if label == WHOLE and not slope > 0:
            # alpha = 0 is the maximum: the Poisson model is the answer
            fit = replace(
                counts, name=WHOLE, beta=np.append(counts.beta[:-1], NO_OVERDISPERSION), kept=own.kept, rounds=0
            )
        fits.append(fit)
    return fits


# --------------------------------------------------------------------------- the answer


def _answer(
    spec: Spec, plan: NegativePlan, fits: list[ModelFit], kept: dict[str, Array], notes: Mapping[str, str]
) -> Done:
    counts, fit = fits[0], fits[1]
    there: Booleans = kept["present"] > 0
    n, theta, se_theta = float(kept["rows"][0]), math.inf, math.nan
    alpha = alpha_of(fit.beta)
    finite = alpha > 0 and fit.over is not Move.INFINITE
    if alpha > 0:
        theta = 1.0 / alpha
        own = float(fit.information[-1, -1])
        # of theta at the coefficients found; in log alpha the slope is zero there
        se_theta = theta / math.sqrt(own) if own > 0 else math.nan
    rank = fit.df - (1 if alpha > 0 else 0)
    solved = solve(kept["expected"], None if fit.kept is None else fit.kept[:-1])
    shown = Shown(plan.terms.names, fit, there, kept["centre"])
    estimates, covariance = shown.estimates(), shown.covariance(solved.inverse)
    better = 2.0 * (fit.loglik - counts.loglik)
    answer: dict[str, Answer] = {
        "n": round(n),
        "coef": coefficients(shown.names, estimates, covariance, hazard_ratio=False),
        "vcov_beta_given_theta": matrix(shown.names, covariance),
        "theta": theta,
        "se_theta": number(se_theta),
        "alpha_dispersion_1_over_theta": alpha,
        "loglik": fit.loglik,
        "aic": -2.0 * fit.loglik + 2.0 * (rank + 1),
        "bic": -2.0 * fit.loglik + math.log(n) * (rank + 1),
        "deviance": float(kept["deviance"][0]),
        "pearson_chi2": float(kept["pearson"][0]),
        "df_residual": round(n) - rank,
        "lrt_vs_poisson": {
            "statistic": max(better, 0.0),
            "p_half_chi2_1": 0.5 * float(special.chdtrc(1, max(better, 0.0))),
        },
    }
    if plan.drop1:
        named = {f.name.removeprefix(WITHOUT): f for f in fits[2:]}
        answer["lrt_drop1_theta_reestimated"] = {
            term: chi_square(2.0 * (fit.loglik - f.loglik), rank - _slopes(f)) for term, f in named.items()
        }
    answer |= {
        "iterations": counts.rounds + max(f.rounds for f in fits[1:]),
        "gradient_norm": fit.distance,
        "condition_number": solved.condition,
        "converged": all(f.converged for f in fits),
        "aliased": shown.aliased,
        **told_rows(kept, plan.terms),
        "notes": list(told_notes(kept, spec, notes, (NO_ROWS, LEVEL_ABSENT))),
    }
    said = [] if finite else [INFINITE_THETA]
    said += [s for f in fits[1:] for s in _convergence(f, plan.terms.names)]
    said += told_notes(kept, spec, notes, ("REPEATED_SUBJECTS",))
    return Done(answer, tuple(said), no_news=no_news(kept))


def _slopes(fit: ModelFit) -> int:
    """Coefficients of a model, without its dispersion."""
    return 0 if fit.kept is None else int(fit.kept[:-1].sum())


def _convergence(fit: ModelFit, names: tuple[str, ...]) -> list[str]:
    if fit.over is Move.INFINITE and not fit.infinite[:-1].any():
        # on the way to alpha = 0 the log-likelihood is that of the Poisson model
        return [] if fit.name == WHOLE else [f"theta is infinite (the model {fit.name})"]
    return convergence(fit, (*names, "log alpha"))
