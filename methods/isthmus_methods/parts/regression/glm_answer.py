"""The coordinator's half of generalised linear models: from sums to the next coefficients, then to the answer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from scipy import special

from isthmus.errors import MethodError
from isthmus_methods.contract import Answer, Array, Booleans, Contributions, Done, Next, Spec, State, column_name
from isthmus_methods.parts import caveats
from isthmus_methods.parts.clusters import pooled_meat
from isthmus_methods.parts.cross_product import recentring
from isthmus_methods.parts.first_round import (
    LEVEL_ABSENT,
    NO_ROWS,
    check_same_countries,
    no_news,
    remember_rows,
    taking_part,
    told_notes,
    told_rows,
)
from isthmus_methods.parts.gathered import needed
from isthmus_methods.parts.inference import chi_square, coefficients, matrix, number, t_tests
from isthmus_methods.parts.model_terms import ModelTerms, level_rows
from isthmus_methods.parts.nested_fits import (
    ModelFit,
    by_name,
    furthest,
    looking_at,
    recall,
    remember,
)
from isthmus_methods.parts.newton import Solved, solve
from isthmus_methods.parts.regression.glm_plan import Plan
from isthmus_methods.parts.regression.glm_sums import ASIDE, BEYOND, EMPTY, WHOLE, WITHOUT
from isthmus_methods.parts.symmetric import unpacked

SHAPE_NOTE = "dispersion = Pearson chi2 / df_residual (summary.glm); aic/loglik use deviance/n as R's Gamma()$aic does"
# Relative change of a log-likelihood at which coefficients that still move are infinite: the others then are where they
# would be without the rows that these take to 0 or 1.
SAME = 1e-11
# Keys of the memory that are the fits'.
FITS = ("fit ", "kept ", "accepted ", "end ")


def pool(
    contributions: Contributions, spec: Spec, plan: Plan, state: State, memory: State, notes: Mapping[str, str]
) -> Next | Done:
    """One round: the next coefficients of each model, or the answer."""
    fits, kept, turn = turned(contributions, spec, plan, state, memory)
    return answer_of(plan, spec, fits, kept, notes) if turn is None else turn


def turned(
    contributions: Contributions, spec: Spec, plan: Plan, state: State, memory: State
) -> tuple[list[ModelFit], dict[str, Array], Next | None]:
    """The fits, what is known beside them, and what to ask next; None where all is known."""
    if not state:
        kept = begun(contributions, spec, plan.terms)
        return [], kept, Next({"centre": kept["centre"]}, kept, "distance", 1.0)
    check_same_countries(contributions, spec, memory["countries"])
    kept = {k: v for k, v in memory.items() if not k.startswith(FITS)}
    if not {"which", "end", "aside"} & set(state):
        fits = started(contributions, plan, kept, bool(spec.role("offset")))
    else:
        fits = advanced(contributions, plan, memory, plan.iterations)
    if "end" in state:
        kept |= ended(contributions, spec, plan, state)
    if "aside" in state:
        kept["aside"] = needed(contributions, "deviance", ASIDE)
    return fits, kept, _next(fits, plan, kept)


# --------------------------------------------------------------------------- rounds


def begun(contributions: Contributions, spec: Spec, terms: ModelTerms) -> dict[str, Array]:
    """What the first round says, kept to the end."""
    columns, saturated = contributions.total("columns"), contributions.total("saturated")
    if columns is None or saturated is None or not columns[0] > 0:
        raise MethodError("NO_ROWS", "no country has a complete row for this model", "check the filter and the terms")
    outcomes = contributions.whole("outcomes")
    kept = {
        "rows": columns[:1],
        "outcome": columns[1:2] / columns[0],
        "centre": columns[2:] / columns[0],
        "saturated": saturated,
        "present": terms.columns_present(level_rows(contributions, terms)).astype(np.float64),
        "countries": taking_part(contributions, spec),
        **remember_rows(contributions, spec, terms),
    }
    return kept if outcomes is None else {**kept, "outcomes": outcomes}


def started(contributions: Contributions, plan: Plan, kept: dict[str, Array], offset: bool) -> list[ModelFit]:
    """Each model where least squares on R's starting values puts it."""
    p, there = plan.terms.p, columns_there(kept)
    score = needed(contributions, "score", "start")
    information = unpacked(needed(contributions, "information", "start"), p)
    fits, mean = [], float(kept["outcome"][0])
    varied = plan.family.link == "identity" or (mean > 0 and not (plan.family.link == "logit" and mean >= 1))
    for label, columns in plan.models.items():
        solved = solve(information, columns & there)
        beta = solved.inverse @ score
        if label == EMPTY and varied and not offset:
            # the intercept alone has the mean of the outcome
            beta = np.where(columns, plan.family.predictor_of(mean), 0.0)
        fits.append(ModelFit(label, columns & there, beta, kept=solved.kept))
    kept["flat"] = by_name(fits)[EMPTY].beta
    return fits


def advanced(contributions: Contributions, plan: Plan, memory: State, most: int) -> list[ModelFit]:
    """The fits once they know this round's sums."""
    fits = list(recall(memory))
    for k in looking_at(fits):
        fit = fits[k]
        columns = plan.models[fit.name]
        deviance = float(needed(contributions, "deviance", fit.name)[0])
        score, information = spread(contributions, fit.name, columns)
        if fit.accepted is None and not deviance < BEYOND and fit.rounds + 1 < most:
            # the start is beyond what numbers hold: back towards a model without effects
            fits[k] = replace(fit, beta=(fit.beta + memory["flat"]) / 2.0, rounds=fit.rounds + 1)
            continue
        fits[k] = fit.after(-deviance / 2.0, score, information, most, SAME)
    return fits


def spread(contributions: Contributions, label: str, columns: Booleans) -> tuple[Array, Array]:
    """A model's score (p,) and information (p, p), zero outside its columns."""
    p, size = len(columns), int(columns.sum())
    score, information = np.zeros(p), np.zeros((p, p))
    score[columns] = needed(contributions, "score", label)
    information[np.ix_(columns, columns)] = unpacked(needed(contributions, "information", label), size)
    return score, information


def ended(contributions: Contributions, spec: Spec, plan: Plan, state: State) -> dict[str, Array]:
    """The pieces of the answer beside the fit, and the coefficients that they are at."""
    p = plan.terms.p
    kept = {
        "at": state["end"],
        "expected": unpacked(needed(contributions, "expected"), p),
        "pearson": needed(contributions, "pearson"),
    }
    if "inverse" in state:
        kept["robust at"] = state["end"]
        for kind in ("HC0", "HC3"):
            upper = contributions.whole("meat", kind)
            if upper is not None:
                kept[f"meat {kind}"] = unpacked(upper, p)
        kept |= _withheld(contributions)
        if "FULL_LEVERAGE" in contributions.notes():
            kept |= {f"note FULL_LEVERAGE {country}": np.ones(1) for country in contributions.notes()["FULL_LEVERAGE"]}
    clustered = pooled_meat(contributions, spec, p)
    if clustered is not None:
        kept["cluster meat"], kept["clusters"] = clustered[0], np.array([float(clustered[1])])
    return kept


def _withheld(contributions: Contributions) -> dict[str, Array]:
    """Sentences on what the gates kept back, as keys of the memory."""
    said: dict[str, Array] = {}
    for summary in contributions.summaries:
        for (field, _), code in summary.withheld.items():
            said[f"withheld {field} {summary.country} {code}"] = np.ones(1)
    return said


def columns_there(kept: State) -> Booleans:
    there: Booleans = kept["present"] > 0
    return there


def _next(fits: list[ModelFit], plan: Plan, kept: dict[str, Array]) -> Next | None:
    """What to ask next: models that go on, and the pieces of the answer once the whole model is there."""
    state: dict[str, Array] = {"centre": kept["centre"]}
    state |= asked_next(fits)
    whole_fit = fits[0]
    at, beta = kept.get("at"), whole_fit.beta
    known = at is not None and np.array_equal(at, beta)
    if whole_fit.over is None:
        # the pieces are asked together with what is expected to be the last step
        if whole_fit.last and not plan.robust:
            state["end"] = beta
    elif not known:
        state["end"] = beta
    if plan.robust and whole_fit.over is not None and not _same(kept.get("robust at"), beta):
        state["end"] = beta
        information = kept["expected"] if known else whole_fit.information
        if known or plan.family.canonical:
            state["inverse"] = solve(information, whole_fit.kept).inverse
    if plan.restarted and known and whole_fit.over is not None and "aside" not in kept:
        state["aside"] = _one_step(kept["expected"], beta)
    if len(state) == 1:
        return None
    return Next(state, {**kept, **remember(fits)}, "distance", furthest(fits))


def _one_step(expected: Array, beta: Array) -> Array:
    """The intercept alone after one scoring step from the fitted values of the whole model, (p,).

    The working outcome there is x beta plus residuals that add up to zero, so the step is the mean of x beta with the
    weights of the expected information.
    """
    step = np.zeros(len(beta))
    step[0] = float(expected[0] @ beta) / float(expected[0, 0])
    return step


def asked_next(fits: Sequence[ModelFit]) -> dict[str, Array]:
    """Which of the models go on, and where to look; nothing where all have ended."""
    going = looking_at(fits)
    if not going:
        return {}
    return {"which": np.array(going, dtype=np.float64), "beta": np.stack([fits[k].beta for k in going])}


def _same(one: Array | None, other: Array) -> bool:
    return one is not None and np.array_equal(one, other)


# --------------------------------------------------------------------------- the answer


def answer_of(plan: Plan, spec: Spec, fits: Sequence[ModelFit], kept: State, notes: Mapping[str, str]) -> Done:
    """The answer of a fit that is over."""
    family, fit, named = plan.family, fits[0], by_name(fits)
    there, n = columns_there(kept), float(kept["rows"][0])
    rank = fit.df
    df = round(n) - rank
    deviance, pearson = -2.0 * fit.loglik, float(kept["pearson"][0])
    dispersion = (pearson / df if df > 0 else math.nan) if family.dispersion else 1.0
    solved = solve(kept["expected"], fit.kept)
    shown = Shown(plan.terms.names, fit, there, kept["centre"])
    names, estimates = shown.names, shown.estimates()
    covariance = shown.covariance(solved.inverse) * dispersion
    loglik = family.loglik(deviance, float(kept["saturated"][0]), n)
    parameters = rank + family.parameters
    coef = (
        t_tests(names, estimates, covariance, df)
        if family.dispersion
        else coefficients(names, estimates, covariance, hazard_ratio=False)
    )
    answer: dict[str, Answer] = {
        "n": round(n),
        "family": family.name,
        "link": family.link,
        "coef": coef,
        "dispersion": number(dispersion),
        "deviance": deviance,
        "null_deviance": -2.0 * named[EMPTY].loglik,
        "df_residual": df,
        "df_null": round(n) - 1,
        "aic": None if loglik is None else -2.0 * loglik + 2.0 * parameters,
        "loglik": loglik,
        "bic": None if loglik is None else -2.0 * loglik + math.log(n) * parameters,
        "pearson_chi2": pearson,
        "vcov": matrix(names, covariance),
    }
    if "aside" in kept:
        answer["null_deviance_restarted"] = float(kept["aside"][0])
    if plan.drop1:
        answer["lrt_drop1"] = _drop1(plan, fits, deviance, df)
    if family.name == "binomial":
        answer["lrt_overall"] = chi_square(-2.0 * named[EMPTY].loglik - deviance, rank - named[EMPTY].df)
        if "outcomes" in kept:
            answer["n_event"] = round(float(kept["outcomes"][0]))
    if family.name == "gamma":
        answer["shape_note"] = SHAPE_NOTE
    if plan.robust:
        answer["robust"] = _robust(shown, solved, kept, n, rank)
    if spec.role("cluster"):
        answer["robust_cluster"] = _clustered(shown, solved, kept, n, rank, spec)
    answer |= {
        "iterations": max(f.rounds for f in fits),
        "gradient_norm": fit.distance,
        "condition_number": solved.condition,
        "converged": all(f.converged for f in fits),
        "aliased": shown.aliased,
        **told_rows(kept, plan.terms),
        "notes": list(told_notes(kept, spec, notes, (NO_ROWS, LEVEL_ABSENT))),
    }
    said = [s for f in fits for s in convergence(f, plan.terms.names)]
    said += told_notes(kept, spec, notes, ("FULL_LEVERAGE", "REPEATED_SUBJECTS")) + _said_withheld(kept)
    return Done(answer, tuple(said), no_news=no_news(kept))


class Shown:
    """A fit on the columns as they are: about zero, not about their pooled means."""

    def __init__(self, names: tuple[str, ...], fit: ModelFit, there: Booleans, centre: Array) -> None:
        self._fit, self._there = fit, there
        kept = fit.allowed if fit.kept is None else fit.kept
        self._kept: Booleans = kept[: len(there)]
        self._back = recentring(np.zeros(len(centre)), centre)
        self.names = [name for name, on in zip(names, there, strict=True) if on]
        self.aliased = [name for name, on in zip(self.names, self._kept[there], strict=True) if not on]

    def estimates(self) -> Array:
        """Coefficients, NaN where aliased."""
        beta = self._fit.beta[: len(self._there)]
        values: Array = np.where(self._kept, self._back @ beta, np.nan)[self._there]
        return values

    def covariance(self, matrix_: Array) -> Array:
        """A covariance (p, p) of the centred coefficients as one of those shown."""
        moved = self._back @ matrix_ @ self._back.T
        # nothing is left of the information on a coefficient that ran away
        known = self._kept & (np.diag(moved) > 0)
        values: Array = np.where(np.outer(known, known), moved, np.nan)[np.ix_(self._there, self._there)]
        return values

    def block(self, matrix_: Array) -> dict[str, Answer]:
        """Coefficients with that covariance of the centred ones, normal tests."""
        return coefficients(self.names, self.estimates(), self.covariance(matrix_), hazard_ratio=False)


def _drop1(plan: Plan, fits: Sequence[ModelFit], deviance: float, df: int) -> dict[str, Answer]:
    """Each term that no other contains: likelihood-ratio test, or F test where the dispersion is estimated."""
    named = by_name(fits)
    tests: dict[str, Answer] = {}
    for term in plan.terms.droppable():
        smaller = named.get(WITHOUT + term, named[EMPTY])
        lost, more = fits[0].df - smaller.df, -2.0 * smaller.loglik - deviance
        if not plan.family.dispersion:
            tests[term] = {**chi_square(more, lost), "statistic_name": "LRT"}
            continue
        statistic = (more / lost) / (deviance / df) if lost > 0 and df > 0 and deviance > 0 else math.nan
        p = float(special.fdtrc(lost, df, statistic)) if not math.isnan(statistic) else math.nan
        tests[term] = {"statistic": number(statistic), "statistic_name": "F value", "df": lost, "p": number(p)}
    return tests


def _robust(shown: Shown, solved: Solved, kept: State, n: float, rank: int) -> Answer:
    """Heteroscedasticity-consistent variances.

    Source: White (1980), Econometrica 48, 817-838; MacKinnon & White (1985), J. Econometrics 29, 305-325.
    """
    plain = "meat HC0" in kept
    variance = solved.inverse @ kept["meat HC0"] @ solved.inverse if plain else None
    sharp = "meat HC3" in kept and not any(key.startswith("note FULL_LEVERAGE") for key in kept)
    return {
        "HC0": shown.block(variance) if variance is not None else None,
        "HC1": shown.block(variance * n / (n - rank)) if variance is not None and n > rank else None,
        "HC3": shown.block(solved.inverse @ kept["meat HC3"] @ solved.inverse) if sharp else None,
    }


def _clustered(shown: Shown, solved: Solved, kept: State, n: float, rank: int, spec: Spec) -> Answer:
    """Cluster-robust variances; CR1 has the small-sample factors of `sandwich::vcovCL`."""
    if "cluster meat" not in kept:
        return None
    variance, groups = solved.inverse @ kept["cluster meat"] @ solved.inverse, float(kept["clusters"][0])
    able = groups > 1 and n > rank
    factor = groups / (groups - 1.0) * (n - 1.0) / (n - rank) if able else math.nan
    return {
        "cluster": column_name(spec.role("cluster")[0]),
        "clusters": round(groups),
        "CR0": shown.block(variance),
        "CR1": shown.block(variance * factor) if able else None,
    }


def convergence(fit: ModelFit, names: Sequence[str]) -> list[str]:
    """How a fit did not end at a maximum; nothing where it did."""
    # about the means the intercept moves with every slope
    far = fit.infinite.copy()
    if far[1:].any():
        far[0] = False
    which = "" if fit.name == WHOLE else f" (in the {fit.name} model)"
    return caveats.of_fit(fit.over, names, far, fit.rounds, which)


_WHAT: Mapping[str, str] = {
    "meat": "robust variance",
    "cluster_meat": "cluster-robust variance",
    "cluster_scores": "cluster-robust variance",
}


def _said_withheld(kept: State) -> list[str]:
    said: dict[str, None] = {}
    for key in kept:
        if key.startswith("withheld "):
            _, field, country, code = key.split(" ", 3)
            said[f"{_WHAT.get(field, field)}: not given, {country} withheld its share ({code})"] = None
    return list(said)
