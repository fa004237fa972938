"""Inverse probability weighting at the coordinator: from the propensity model to balance, hazard ratios and curves."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from isthmus.errors import MethodError
from isthmus_methods.contract import Answer, Array, Contributions, Done, Integers, Next, State
from isthmus_methods.cox import Cox
from isthmus_methods.glm import Glm
from isthmus_methods.parts.inference import Z95, number
from isthmus_methods.parts.nested_fits import ModelFit, recall, remember
from isthmus_methods.parts.newton import solve
from isthmus_methods.parts.regression import glm_answer
from isthmus_methods.parts.several import as_part, contributed, part_of
from isthmus_methods.parts.survival.pooled_risk_sets import Listed
from isthmus_methods.parts.time_table import TIE
from isthmus_methods.parts.weighting.iptw_plan import ARMS, BALANCE, CURVES, PROPENSITY, UNWEIGHTED, Plan
from isthmus_methods.parts.weighting.iptw_rows import FINENESS, centres

# `glm.control(epsilon)` of the fits that answers are held against.
EPSILON = 1e-15


def pool(contributions: Contributions, plan: Plan, state: State, memory: State) -> Next | Done:
    """One round of whatever is asked."""
    if "beta" not in state:
        return _propensity(contributions, plan, state, memory)
    memory = dict(memory)
    asked = {key: value for key, value in state.items() if "/" not in key and not key.startswith("ask ")}
    if "ask balance" in state:
        memory |= _balanced(contributed(contributions, BALANCE), plan)
    if "ask curves" in state:
        curves = contributed(contributions, CURVES)
        if part_of(state, CURVES):
            memory |= _weighted_tables(curves)
        else:
            _list_times(curves, plan, memory, asked)
    for name, _, _, _ in plan.cox:
        if f"ask {name}" in state:
            _take(name, contributions, plan, state, memory, asked)
    if "ask balance" in state and not plan.stratified:
        # the time table is the same for every weighting: the others start from the first's
        first = plan.cox[0][0]
        for name, _, _, _ in plan.cox[1:]:
            _take(name, contributions, plan, {}, memory, asked, given=first)
    if any(key.startswith("ask ") for key in asked):
        return Next(asked, memory, "distance", float(memory["distance"][0]) if "distance" in memory else 1.0)
    return _answer(plan, memory)


def _propensity(contributions: Contributions, plan: Plan, state: State, memory: State) -> Next:
    own, kept = part_of(state, PROPENSITY), part_of(memory, PROPENSITY)
    given = contributed(contributions, PROPENSITY)
    fits, known, turn = glm_answer.turned(given, plan.propensity, plan.glm, own, kept)
    if turn is not None:
        memory = {**turn.memory, **_step_before(fits)}
        return Next(as_part(turn.state, PROPENSITY), as_part(memory, PROPENSITY), turn.measure, turn.measured)
    outcomes = known.get("outcomes")
    if outcomes is None or not (outcomes > 0).all():
        raise MethodError(
            "ONE_ARM", "only one of the two arms has complete rows", "check the filter, and which level is `treated`"
        )
    asked = {
        "beta": fits[0].beta,
        "centre": known["centre"],
        "share": np.array([float(outcomes[0] / outcomes.sum())]),
        "ask balance": np.ones(1),
        "ask curves": np.ones(1),
        # with one baseline hazard the first round is the same for all of them
        **{f"ask {name}": np.ones(1) for name, _, _, _ in (plan.cox if plan.stratified else plan.cox[:1])},
    }
    ended = {**known, **remember(fits), "share": asked["share"]}
    return Next(asked, as_part(ended, PROPENSITY), "distance", fits[0].distance)


def _step_before(fits: list[ModelFit]) -> dict[str, Array]:
    """Deviance and information of a propensity model that goes on: of the step before its last, in the end."""
    if not fits or fits[0].over is not None or fits[0].accepted is None:
        return {}
    return {"deviance before": np.array([-2.0 * fits[0].accepted.loglik]), "information before": fits[0].information}


def _as_glm_has_it(fit: ModelFit, known: State) -> Array:
    """The information that standard errors are from: of the step that led to the estimate, as R's `glm` has it.

    It ends once a step changes the deviance by less than its `epsilon`; where the last step changed it by more, it
    takes another, and the information is that at the estimate.
    """
    deviance = -2.0 * fit.loglik
    if "deviance before" in known and fit.converged:
        change = abs(deviance - float(known["deviance before"][0])) / (abs(deviance) + 0.1)
        if change < EPSILON:
            return known["information before"]
    return known["expected"]


def _take(
    name: str,
    contributions: Contributions,
    plan: Plan,
    state: State,
    memory: dict[str, Array],
    asked: dict[str, Array],
    given: str = "",
) -> None:
    """One turn of one Cox model: what it asks next goes to `asked`, what it knows to `memory`."""
    request = next(spec for own, _, _, spec in plan.cox if own == name)
    turn = Cox().pool(contributed(contributions, given or name), request, part_of(state, name), part_of(memory, name))
    for key in [key for key in memory if key.startswith(f"{name}/")]:
        del memory[key]
    if isinstance(turn, Next):
        memory |= as_part(turn.memory, name)
        memory["distance"] = np.array([turn.measured])
        asked |= {f"ask {name}": np.ones(1), **as_part(turn.state, name)}
        return
    memory[f"{name}/answer"] = _numbers(turn.answer)
    for sentence in turn.caveats:
        memory[f"said {_worded(name)}: {sentence}"] = np.zeros(0)


def _worded(name: str) -> str:
    return name.replace("cox", "Cox model,", 1)


def _numbers(answer: Mapping[str, Answer]) -> Array:
    """What is kept of a Cox model of treatment alone; NaN where there is none."""

    def at(*keys: str) -> float:
        here: Answer = answer
        for key in keys:
            here = here.get(key) if isinstance(here, Mapping) else None
        return float(here) if isinstance(here, int | float) else math.nan

    coef = answer["coef"]
    name = next(iter(coef), "") if isinstance(coef, Mapping) else ""
    return np.array(
        [
            at("coef", name, "estimate"),
            at("coef", name, "se"),
            at("robust_each_row", "coef", name, "se"),
            at("robust_cluster_country", "coef", name, "se"),
            at("loglik_null"),
            at("loglik"),
        ]
    )


def _list_times(contributions: Contributions, plan: Plan, memory: dict[str, Array], asked: dict[str, Array]) -> None:
    """The event times, and the first steps at or after the times asked for, are where curves are asked next."""
    table = contributions.whole("time_table")
    if table is None:
        memory["said weighted curves: not given, a country's time table was withheld"] = np.zeros(0)
        return
    events = Listed.from_tables({0: table[0]})
    times = np.array(plan.times)
    wanted = np.ceil((times - plan.grid.start) / plan.grid.step - TIE * np.maximum(1.0, np.abs(times)))
    wanted = np.clip(wanted, 0, plan.grid.size).astype(np.int64)
    steps: Integers = np.union1d(events.step, wanted).astype(np.int64)
    numbers = np.zeros(len(steps), dtype=np.int64)
    numbers[np.searchsorted(steps, events.step)] = events.number
    listed = Listed(np.zeros(len(steps), dtype=np.int64), steps, numbers)
    memory["listed"] = steps.astype(np.float64)
    asked |= {"ask curves": np.ones(1), **as_part(listed.state(), CURVES)}


def _balanced(contributions: Contributions, plan: Plan) -> dict[str, Array]:
    kept: dict[str, Array] = {}
    for arm in ARMS:
        fields = {"plain": ("balance", arm)}
        fields |= {f"weighted {name}": ("weighted_balance", f"{name} {arm}") for name in plan.weightings}
        for key, (field, label) in fields.items():
            total = contributions.whole(field, label)
            if total is not None:
                kept[f"{key} {arm}"] = total
            else:
                kept["said balance and weights: not given in full, a country's share was withheld"] = np.zeros(0)
        cells = None if contributions.withheld("propensity", arm) else contributions.cells("propensity", arm)
        if cells is not None and len(cells):
            kept[f"range {arm}"] = np.array([cells[0, 0], cells[-1, 0]]) * FINENESS
    if any("propensity" in key for s in contributions.summaries for key in s.withheld):
        kept["said least and greatest propensity and weight: a country's rows at each propensity were withheld"] = (
            np.zeros(0)
        )
    return kept


def _weighted_tables(contributions: Contributions) -> dict[str, Array]:
    kept = {}
    for arm in ARMS:
        table = contributions.whole("weighted_table", arm)
        if table is not None:
            kept[f"table {arm}"] = table
    if len(kept) < len(ARMS):
        kept["said weighted curves: a country's share was withheld"] = np.zeros(0)
    return kept


# --------------------------------------------------------------------------- the answer


def _answer(plan: Plan, memory: State) -> Done:
    known = part_of(memory, PROPENSITY)
    model = glm_answer.answer_of(plan.glm, plan.propensity, recall(known), known, Glm.notes)
    tree, share = model.answer, float(known["share"][0])
    fit = recall(known)[0]
    shown = glm_answer.Shown(plan.glm.terms.names, fit, glm_answer.columns_there(known), known["centre"])
    q = plan.glm.terms.p - 1
    nothing = np.full(2 + 2 * q, np.nan)
    plain = [memory.get(f"plain {arm}", nothing) for arm in ARMS]
    n = [float(x[0]) for x in plain]
    least_greatest = [memory.get(f"range {arm}") for arm in ARMS]
    answer: dict[str, Answer] = {
        "n": tree["n"],
        "n_treated": round(float(known["outcomes"][0])),
        "p_treated": share,
        "propensity": {
            "coef": shown.block(solve(_as_glm_has_it(fit, known), fit.kept).inverse),
            "deviance": tree["deviance"],
            "loglik": tree["loglik"],
            "min": _extreme(least_greatest, 0, min),
            "max": _extreme(least_greatest, 1, max),
            "mean_treated": _over(plain[1][1], n[1]),
            "mean_control": _over(plain[0][1], n[0]),
            "converged": tree["converged"],
            "condition_number": tree["condition_number"],
            "aliased": tree["aliased"],
        },
    }
    if plan.trim != (0.0, 1.0):
        answer["n_within_bounds"] = round(sum(n)) if not math.isnan(sum(n)) else None
    names, before, after = _differences(plan, memory, known)
    for name in plan.weightings:
        answer[f"weights_{name}"] = _weights(plan, memory, name, share, n, least_greatest)
    answer["smd_before"] = dict(zip(names, before, strict=True))
    for name in plan.weightings:
        answer[f"smd_after_{name}"] = dict(zip(names, after[name], strict=True))
    for weighting in (UNWEIGHTED, *plan.weightings):
        answer[f"cox_{weighting}"] = {
            ties: _hazard(memory[f"{name}/answer"]) for name, own, ties, _ in plan.cox if own == weighting
        }
    answer[f"km_{plan.last}"] = _curves(plan, memory)
    answer |= {
        "estimand": plan.weightings[0],
        "excluded": tree["excluded"],
        "levels": tree["levels"],
        "notes": tree["notes"],
    }
    said = [f"propensity model: {s}" for s in model.caveats]
    said += [key.removeprefix("said ") for key in memory if key.startswith("said ")]
    return Done(answer, tuple(said))


def _over(total: float, n: float) -> float | None:
    return number(float(total) / n) if n > 0 else None


def _extreme(ranges: list[Array | None], k: int, which: object) -> float | None:
    values = [float(r[k]) for r in ranges if r is not None]
    if len(values) < len(ranges) or not values:
        return None
    return min(values) if which is min else max(values)


def _weights(
    plan: Plan, memory: State, name: str, share: float, n: list[float], ranges: list[Array | None]
) -> dict[str, Answer]:
    """Sum, mean, standard deviation, extremes and effective number of the weights, by arm and of all."""
    about = centres(name, share)
    sums = [memory.get(f"weighted {name} {arm}", np.full(2, np.nan))[:2] for arm in ARMS]
    extremes = [_weight_range(plan, name, share, k, r) for k, r in enumerate(ranges)]
    told: dict[str, Answer] = {}
    for label, arms in (("treated", (1,)), ("control", (0,)), ("all", (0, 1))):
        count = sum(n[k] for k in arms)
        total = sum(float(sums[k][0]) + n[k] * about[k] for k in arms)
        if not count > 0 or math.isnan(total):
            told[label] = None
            continue
        mean = total / count
        # squares about the mean of these arms, from those about each arm's centre
        off = sum(
            float(sums[k][1]) + 2.0 * (about[k] - mean) * float(sums[k][0]) + n[k] * (about[k] - mean) ** 2
            for k in arms
        )
        squares = max(off, 0.0) + count * mean * mean
        known = [extremes[k] for k in arms]
        told[label] = {
            "sum": total,
            "mean": mean,
            "sd": math.sqrt(max(off, 0.0) / (count - 1.0)) if count > 1 else None,
            "min": None if None in known else min(x[0] for x in known if x is not None),
            "max": None if None in known else max(x[1] for x in known if x is not None),
            "ess": total * total / squares,
        }
    return told


def _weight_range(plan: Plan, name: str, share: float, k: int, e: Array | None) -> tuple[float, float] | None:
    """Least and greatest weight of an arm from its least and greatest propensity."""
    if e is None:
        return None
    low, high = float(e[0]), float(e[1])
    p, q = (share, 1.0 - share) if name == "stabilised" else (1.0, 1.0)
    if name == "att":
        found = (1.0, 1.0) if k else (low / (1.0 - low), high / (1.0 - high))
    else:
        found = (p / high, p / low) if k else (q / (1.0 - low), q / (1.0 - high))
    return (min(found[0], plan.truncate), min(found[1], plan.truncate)) if plan.truncate > 0 else found


def _differences(
    plan: Plan, memory: State, known: State
) -> tuple[list[str], list[float | None], dict[str, list[float | None]]]:
    """Standardised mean differences of the model's columns, before and after weighting.

    Source: Austin (2009), Statistics in Medicine 28, 3083-3107; both over the unweighted standard deviation.
    """
    q = plan.glm.terms.p - 1
    there = glm_answer.columns_there(known)[1:]
    names = [name for name, on in zip(plan.glm.terms.names[1:], there, strict=True) if on]
    means, variances = [], []
    for arm in ARMS:
        plain = memory.get(f"plain {arm}", np.full(2 + 2 * q, np.nan))
        n, z, square = float(np.maximum(plain[0], 1.0)), plain[2 : 2 + q], plain[2 + q :]
        means.append(z / n)
        variances.append(np.maximum(square - z * z / n, 0.0) / (n - 1.0) if n > 1 else np.full(q, np.nan))
    spread = np.sqrt((variances[0] + variances[1]) / 2.0)

    def over(difference: Array) -> list[float | None]:
        with np.errstate(divide="ignore", invalid="ignore"):
            return [
                number(float(x)) if s > 0 else None
                for x, s in zip((difference / spread)[there], spread[there], strict=True)
            ]

    after = {}
    for name in plan.weightings:
        weighted = []
        for k, arm in enumerate(ARMS):
            sums = memory.get(f"weighted {name} {arm}", np.full(2 + q, np.nan))
            rows = float(memory.get(f"plain {arm}", np.full(1, np.nan))[0])
            total = float(sums[0]) + rows * centres(name, float(known["share"][0]))[k]
            weighted.append(sums[2:] / total if total > 0 else np.full(q, np.nan))
        after[name] = over(weighted[1] - weighted[0])
    return names, over(means[1] - means[0]), after


def _hazard(kept: Array) -> dict[str, Answer]:
    coef, naive, row, country, null, loglik = (float(x) for x in kept)
    z = coef / row if row > 0 else math.nan
    return {
        "coef": number(coef),
        "hr": number(math.exp(coef)) if coef < 700.0 else math.inf,
        "se_naive": number(naive),
        "se_robust_id": number(row),
        "z_robust": number(z),
        "p_robust": number(math.erfc(abs(z) / math.sqrt(2.0))),
        "hr_ci95_robust": {
            "lower": number(math.exp(coef - Z95 * row)) if row == row else None,
            "upper": number(math.exp(coef + Z95 * row)) if row == row else None,
        },
        "se_robust_cluster_country": number(country),
        "loglik_null": number(null),
        "loglik": number(loglik),
    }


def _curves(plan: Plan, memory: State) -> Answer:
    """Weighted Kaplan-Meier curves at the times asked for, and their areas up to tau.

    Source: Xie & Liu (2005), Statistics in Medicine 24, 3089-3110.
    """
    if any(f"table {arm}" not in memory for arm in ARMS):
        return None
    steps = memory["listed"].astype(np.int64)
    at = plan.grid.times(steps)
    curves: dict[str, Answer] = {}
    for arm in ARMS:
        at_risk, events = memory[f"table {arm}"].T
        with np.errstate(divide="ignore", invalid="ignore"):
            survival = np.cumprod(np.where(events > 0, 1.0 - events / at_risk, 1.0))
        times = np.array(plan.times)
        upto = np.searchsorted(at, times + TIE * np.maximum(1.0, np.abs(times)), side="right")
        from_here = np.searchsorted(at, times - TIE * np.maximum(1.0, np.abs(times)), side="left")
        curve: dict[str, Answer] = {
            "time": list(plan.times),
            "surv": np.concatenate([[1.0], survival])[upto].tolist(),
            "weighted_n_risk": np.append(at_risk, 0.0)[from_here].tolist(),
        }
        if plan.tau > 0:
            before = at < plan.tau
            edges = np.concatenate([[0.0], at[before], [plan.tau]])
            curve["rmst"] = float(np.diff(edges) @ np.concatenate([[1.0], survival[before]]))
        curves[arm] = curve
    return curves
