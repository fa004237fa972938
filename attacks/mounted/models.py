"""Attacks on models: dummies, saturation, leverage, selectors, hostile coefficients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from attacks import rows
from attacks.attack import Attack, Claims
from attacks.evidence import Answer, Numbers
from attacks.mounted.cohorts import ALONE, ASKED
from attacks.scene import Scene
from isthmus_methods.parts.symmetric import unpacked

MODEL = ("levels_are_large", "leverage_is_bounded")
WEIGHTS = ("weights_are_spread", "leverage_is_bounded", "predictor_is_bounded")
# After the first round, whichever rule it was.
LATE = frozenset({"NOT_ESTIMABLE"})
CENTRE = 57.0  # of age, about


def pooled(scene: Scene, own: Answer, field: str) -> Numbers:
    """A field of a round summed over the countries, as the coordinator has it."""
    return own[field] + sum(answer[field] for answer in scene.others(own.run, own.round))


def outcome_of_one(scene: Scene, answers: Sequence[Answer], column: int) -> Claims:
    """The outcome of whoever alone has a one in a column of a linear model; the others have zeros."""
    if len(answers) < 2 or not answers[1].has("products"):
        return {}
    sums, outcome = pooled(scene, answers[0], "sums"), pooled(scene, answers[0], "outcome_sum")
    mean, share = float(outcome[0] / sums[0]), float(sums[column] / sums[0])
    products = answers[1]["products"]
    return {"lab": mean + float(products[column] + share * products[0])}


def singleton_level(scene: Scene) -> Claims:
    return outcome_of_one(scene, scene.ask("linear_model", "LAB ~ CLASS"), 2)


def singleton_by_interaction(scene: Scene) -> Claims:
    asked = scene.ask("linear_model", "LAB ~ SEX*GRADE", references={"SEX": "M", "GRADE": "2"})
    return outcome_of_one(scene, asked, 4)


def singleton_after_missing(scene: Scene) -> Claims:
    asked = scene.ask("linear_model", "LAB ~ GRADE + K", references={"GRADE": "2"})
    return outcome_of_one(scene, asked, 1)


def saturated(scene: Scene) -> Claims:
    """As many parameters as persons: the fit is everybody's own value; the attacker knows the victim's covariates."""
    names = [f"X{j}" for j in range(1, 9)]
    answers = scene.ask("linear_model", f"LAB ~ {' + '.join(names)}", where="SITE == 'S1'")
    if len(answers) < 2 or not answers[1].has("products"):
        return {}
    sums, outcome = pooled(scene, answers[0], "sums"), pooled(scene, answers[0], "outcome_sum")
    cross, products = unpacked(answers[1]["cross"], 9), answers[1]["products"][:9]
    beta = np.linalg.solve(cross, products)
    victim = rows.persons("AA", 1, True).loc[rows.PLACE, names].to_numpy(dtype=np.float64)
    return {"lab": float(outcome[0] / sums[0] + beta[0] + (victim - sums[1:] / sums[0]) @ beta[1:])}


def one_large_value(scene: Scene) -> Claims:
    answers = scene.ask("linear_model", "LAB ~ MARK")
    return {"marker": float(answers[0]["sums"][1])} if answers and answers[0].has("sums") else {}


def indicator_of_one(scene: Scene) -> Claims:
    return outcome_of_one(scene, scene.ask("linear_model", "LAB ~ I(CLASS == 'RARE')", **ALONE), 1)


def two_indicators(scene: Scene) -> Claims:
    """Two columns, each of many persons, that differ by the victim."""
    claims = [
        products_of(scene, scene.ask("linear_model", f"LAB ~ I({condition})"))
        for condition in ("SEX == 'F'", "SEX == 'F' & CLASS != 'RARE'")
    ]
    return {"lab": claims[0] - claims[1]} if all(np.isfinite(claims)) else {}


def products_of(scene: Scene, answers: Sequence[Answer]) -> float:
    """The sum of the outcome over those who have a one in the only column."""
    if len(answers) < 2 or not answers[1].has("products"):
        return float("nan")
    sums, outcome = pooled(scene, answers[0], "sums"), pooled(scene, answers[0], "outcome_sum")
    mean, share = float(outcome[0] / sums[0]), float(sums[1] / sums[0])
    products = answers[1]["products"]
    return float(products[1] + share * products[0] + mean * answers[0]["sums"][1])


# --------------------------------------------------------------------------- states that nobody fitted


def state(*beta: float) -> dict[str, Numbers]:
    """Coefficients of a model of one covariate, as a round brings them."""
    return {"centre": np.array([CENTRE]), "which": np.zeros(1), "beta": np.array([beta])}


def heaviest(answer: Answer | None, name: str, centre: float = CENTRE) -> Claims:
    """The covariate of whoever has all the weight in an information matrix."""
    if answer is None or not answer.has("information"):
        return {}
    information = answer["information"]
    return {name: centre + float(information[1] / information[0])}


def hostile_logistic(scene: Scene) -> Claims:
    return heaviest(scene.order(scene.spec("glm", "RESP ~ AGE"), state(-60.0, 1.5), number=3), "age")


def hostile_inverse(scene: Scene) -> Claims:
    """What should be the inverse of the information makes the victim's leverage one, almost: HC3 divides by the rest.

    Nothing else of the state is out of the ordinary, and every weight of the model itself is the same.
    """
    spec = scene.spec("glm", "RESP ~ AGE", options={"robust": True})
    inverse = np.diag([0.0, (1.0 - 1e-6) / (0.25 * 40.0**2)])
    asked = {"centre": np.array([CENTRE]), "end": np.zeros(2), "inverse": inverse}
    answer = scene.order(spec, asked, number=4)
    meat = None if answer is None else answer.values.get(("meat", "HC3"))
    return {} if meat is None else {"age": CENTRE + float(meat[1] / meat[0])}


def scale_of_time(scene: Scene) -> Claims:
    """A scale of time that is 0 up to the victim's event and 1 from there on, in the test of proportional hazards.

    With it and without it the score differs by the victim's age about the mean of all, which is told elsewhere.
    """
    counted = scene.order(scene.spec("table_one", roles={"variables": ["AGE"]}))
    spec = scene.spec("cox", "Surv(DAY, EVENT) ~ AGE", options={"zph": "km"})
    after = (np.arange(421) > 33).astype(np.float64)
    answer = scene.order(spec, {"beta": np.zeros(1), "last": np.ones(1), "km": after}, number=2)
    shaped = None if answer is None else answer.values.get(("shape_score", "km"))
    if counted is None or answer is None or shaped is None:
        return {}
    return {"age": 18 + float(counted["sum"][0]) / rows.PERSONS + float(answer["score"][0] - shaped[0])}


def hostile_exponential(scene: Scene) -> Claims:
    spec = scene.spec("glm", "EPISODES ~ AGE", options={"family": "poisson"})
    return heaviest(scene.order(spec, state(0.0, 1.0), number=3), "age")


def largest_exponent(sums: Sequence[float], width: float) -> float:
    """The largest x of sums over persons of exp(b x) at evenly spaced b: the persons are the exponents (Prony 1795).

    It is found first, because it lies apart.
    """
    half = len(sums) // 2
    hankel = np.array([[sums[i + j] for j in range(half)] for i in range(half)])
    moved = np.array([[sums[i + j + 1] for j in range(half)] for i in range(half)])
    u, size, v = np.linalg.svd(hankel)
    # as many exponents as doubles tell apart
    kept = int(np.sum(size > 1e-13 * size[0]))
    roots = np.linalg.eigvals((u[:, :kept].T @ moved @ v[:kept].T) / size[:kept])
    return float(np.log(np.abs(roots).max()) / width)


def offset_as_selector(scene: Scene) -> Claims:
    answers = scene.ask("glm", "EPISODES ~ LAB + offset(OFFS)", options={"family": "poisson"})
    if len(answers) < 3 or not answers[2].has("information"):
        return {}
    columns = pooled(scene, answers[0], "columns")
    return heaviest(answers[2], "lab", float(columns[2] / columns[0]))


def weights_as_selector(scene: Scene) -> Claims:
    """With weights of the victim alone, a weighted mean at risk is the victim's value."""
    asked = scene.ask(
        "cox", "Surv(DAY, EVENT) ~ AGE", roles={"weights": "MARK"}, options={"stratify_by_country": False}
    )
    found = [answer for answer in asked if answer.has("at_risk") and len(answer["at_risk"])]
    if not found:
        return {}
    whole = pooled(scene, asked[0], "whole")[0]
    first = found[0]["at_risk"][0]
    return {"age": float(whole[1] / whole[0] + first[1] / first[0])}


def gradient_of_one(scene: Scene) -> Claims:
    """A logistic score over one row is that row, times its residual."""
    answers = scene.ask("glm", "RESP ~ LAB", where="CLASS == 'RARE'")
    return {"lab": float(answers[0]["columns"][2])} if answers and answers[0].has("columns") else {}


def update_of_a_model(scene: Scene) -> Claims:
    answers = scene.ask("linear_model", "LAB ~ X1")
    return {"marker": float(answers[0]["update"][1])} if answers and answers[0].has("update") else {}


EVERY = (
    ASKED[1],
    "auditor",
    "outcome_is_of_many",
    "model_has_persons",
    "model_is_not_saturated",
    *MODEL,
    "weights_are_spread",
)

ATTACKS = (
    Attack(
        12,
        "level of one person",
        "analyst",
        "k persons a level, on the rows used",
        MODEL,
        frozenset({"SMALL_LEVEL"}),
        singleton_level,
    ),
    Attack(
        12,
        "level of one person, by interaction",
        "analyst",
        "leverage",
        ("leverage_is_bounded",),
        frozenset({"HIGH_LEVERAGE"}),
        singleton_by_interaction,
        "b",
    ),
    Attack(
        12,
        "level of one person, after missing rows are dropped",
        "analyst",
        "k persons a level, on the rows used",
        MODEL,
        frozenset({"SMALL_LEVEL"}),
        singleton_after_missing,
        "c",
    ),
    Attack(
        13,
        "saturated model",
        "analyst",
        "parameters against persons",
        ("model_is_not_saturated", "leverage_is_bounded"),
        frozenset({"SATURATED_MODEL"}),
        saturated,
    ),
    Attack(
        14,
        "one value with leverage near 1",
        "analyst",
        "leverage",
        ("leverage_is_bounded",),
        frozenset({"HIGH_LEVERAGE"}),
        one_large_value,
    ),
    Attack(
        15,
        "row from covariances and an indicator",
        "analyst",
        "leverage, auditor",
        ("leverage_is_bounded", "auditor"),
        frozenset({"HIGH_LEVERAGE"}),
        indicator_of_one,
    ),
    Attack(
        15,
        "row from two indicators of many persons",
        "analyst",
        "auditor over columns of models",
        ("auditor",),
        frozenset({"DIFFERENCING"}),
        two_indicators,
        "b",
    ),
    Attack(
        26,
        "hostile coefficients, logistic",
        "coordinator",
        "effective persons, leverage",
        WEIGHTS,
        LATE,
        hostile_logistic,
    ),
    Attack(
        26,
        "hostile inverse of the information",
        "coordinator",
        "effective persons and leverage with squared residuals as weights",
        ("weights_are_spread", "leverage_is_bounded"),
        LATE,
        hostile_inverse,
        "b",
    ),
    Attack(
        27,
        "hostile coefficients, exponential link",
        "coordinator",
        "effective persons, bounded predictor",
        WEIGHTS,
        LATE,
        hostile_exponential,
    ),
    Attack(
        28,
        "a scale of time that singles out an event",
        "coordinator",
        "dominance of the scale among the events",
        ("outcome_is_of_many",),
        LATE,
        scale_of_time,
        "c",
    ),
    Attack(
        29,
        "weight column as a selector",
        "analyst",
        "effective persons",
        (
            "weights_are_spread",
            "risk_sets_have_sound_weights",
            "risk_steps_have_leavers",
            "risk_sets_have_persons",
            "risk_sets_are_apart",
        ),
        LATE,
        weights_as_selector,
    ),
    Attack(30, "offset as a selector", "analyst", "effective persons, leverage", WEIGHTS, LATE, offset_as_selector),
    Attack(
        42,
        "gradient of a batch of one",
        "analyst",
        "persons and parameters of a model",
        EVERY,
        frozenset({"FEW_PERSONS"}),
        gradient_of_one,
    ),
    Attack(
        42,
        "update of a model's weights",
        "analyst",
        "a kind without a rule does not leave",
        ("known kinds",),
        frozenset({"UNKNOWN_KIND"}),
        update_of_a_model,
        "b",
        ("a gradient of one record",),
    ),
)
