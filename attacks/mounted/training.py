"""Attacks by and on the training of models: batches, measures, apps, countries, states that a coordinator chooses."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from attacks import rows
from attacks.attack import Attack, Claims
from attacks.evidence import Answer, Numbers
from attacks.scene import Scene
from isthmus.v1 import spec_pb2, summary_pb2
from isthmus_methods.contract import Setting, State
from isthmus_methods.settings_codec import settings_to_messages
from isthmus_methods.training import state_of
from isthmus_training.apps import find

LAST, SPY = "attack-last", "attack-spy"
APPS = ("apps of an attacker",)
FEW = (
    "update_has_persons",
    "batches_are_large",
    "model_is_small",
    "cells_are_large",
    "complements_are_large",
    "metric_has_persons",
    "auditor",
    "same answer to nobody and to a few",
)
# Above every age but the victim's, so far that a logistic curve is zero at all of them.
CUT, STEEP = 90.0, 5.0


def training(scene: Scene, app: str, formula: str, where: str | None = None, **settings: Setting) -> spec_pb2.Spec:
    """A training of one round by a strategy, on a model's columns."""
    spec = scene.spec("linear_model", formula, where=where)
    found = find(app)
    spec.method, spec.method_version = "training", 1
    del spec.options[:]
    spec.training.app.name, spec.training.app.version, spec.training.app.digest = app, found.version, found.digest
    spec.training.strategy.name, spec.training.rounds = "FedAvg", 1
    spec.training.settings.extend(settings_to_messages({n.replace("_", "-"): v for n, v in settings.items()}))
    return spec


def order(scene: Scene, spec: spec_pb2.Spec, state: State | None = None, **changed: Any) -> Answer | None:
    """Ask an app to train, as a coordinator that writes the task itself."""
    return scene.order(spec, state, message=summary_pb2.AppMessage(type="train"), **changed)


def model(answer: Answer | None) -> tuple[Numbers, float] | None:
    """Weights and intercept that left; None where they did not."""
    if answer is None or ("arrays", "intercept") not in answer.values:
        return None
    return answer.values["arrays", "weights"], float(answer.values["arrays", "intercept"][0])


def one_row(answer: Answer | None) -> Claims:
    """The row behind a step from zero: the gradient of the weights by that of the intercept (Zhu et al. 2019)."""
    found = model(answer)
    if found is None:
        return {}
    row = found[0] / found[1]
    return {"age": float(row[0]), "marker": float(row[1])}


# --------------------------------------------------------------------------- steps on few


def step_on_one_person(scene: Scene) -> Claims:
    """A selection that is one person: the step is that person's row."""
    spec = training(scene, "logistic", "LAB ~ AGE + MARK", "CLASS == 'RARE'")
    return one_row(order(scene, spec))


def batch_of_one(scene: Scene) -> Claims:
    """Sixty persons are selected, and a step is taken on one of them."""
    spec = training(scene, LAST, "LAB ~ AGE + MARK", batch_size=1)
    return one_row(order(scene, spec))


def batch_of_two(scene: Scene) -> Claims:
    """A step on two, by the one of them who knows his own row: the gradient less his own part is the other's."""
    found = model(order(scene, training(scene, LAST, "LAB ~ AGE + MARK", batch_size=2)))
    if found is None:
        return {}
    known = rows.persons("AA", 1, True).sort_values("AGE", kind="stable").iloc[-2]
    own = np.array([known.AGE, known.MARK], dtype=np.float64)
    residual = 2 * found[1] + known.LAB
    row = (2 * found[0] + known.LAB * own) / residual
    return {"lab": -residual, "age": float(row[0]), "marker": float(row[1])}


# --------------------------------------------------------------------------- what an app gives


def measure_with_a_value(scene: Scene) -> Claims:
    """A measure that is declared as a share, and is a person's value."""
    answer = order(scene, training(scene, LAST, "LAB ~ AGE + MARK", tell=True))
    return {"lab": float(answer["metrics"].reshape(-1)[0])} if answer is not None and answer.has("metrics") else {}


def app_with_another_source(scene: Scene) -> Claims:
    """An app that lies at the site, and that nobody there allowed."""
    answer = order(scene, training(scene, SPY, "LAB ~ AGE + MARK"))
    if answer is None or not answer.has("arrays"):
        return {}
    return {"age": float(answer["arrays"][0]), "marker": float(answer["arrays"][1])}


# --------------------------------------------------------------------------- what a coordinator chooses


def one_country(scene: Scene) -> Claims:
    """A strategy that asks one node: the model of the round is that country's own."""
    answer = order(scene, training(scene, "logistic", "LAB ~ X1"), participants=[scene.node])
    return {"answered": 1.0} if model(answer) else {}


def chosen_start(scene: Scene) -> Claims:
    """First states of two runs: everybody is predicted for certain, and everybody but the oldest as before."""
    spec = _of_sex(scene)
    return between(*((order(scene, spec, state), state) for state in (NOBODY, OLDEST)))


def chosen_state(scene: Scene) -> Claims:
    """The same states in later rounds, which no node can know to be made up."""
    spec, run = _of_sex(scene, learning_rate=0.03), os.urandom(16)
    spec.training.rounds = 3
    order(scene, spec, run=run, in_study="publication")
    asked = [
        (order(scene, spec, state, run=run, number=number, in_study="publication"), state)
        for number, state in ((2, NOBODY), (3, OLDEST))
    ]
    return between(*asked)


def between(first: tuple[Answer | None, State], second: tuple[Answer | None, State]) -> Claims:
    """The row of whoever is predicted otherwise at the second of two states: by how much the steps differ."""
    steps = []
    for answer, state in (first, second):
        found = model(answer)
        if found is None:
            return {}
        steps.append((found[0] - state["0000.weights"], found[1] - state["0001.intercept"][0]))
    row = (steps[1][0] - steps[0][0]) / (steps[1][1] - steps[0][1])
    return {"age": float(row[0])}


def _of_sex(scene: Scene, learning_rate: float = 0.5) -> spec_pb2.Spec:
    """A model of an outcome that the oldest has not."""
    spec = training(scene, "logistic", "LAB ~ AGE + X1", learning_rate=learning_rate)
    spec.roles[0].columns[0].CopyFrom(spec_pb2.Column(variable="SEX"))
    return spec


def _state(steep: float, intercept: float) -> State:
    return state_of({"weights": np.array([steep, 0.0]), "intercept": np.array([intercept])})


def more_states_than_rounds(scene: Scene) -> Claims:
    """States of the coordinator's choice in a round that was answered already, until there is one too many."""
    spec, run = training(scene, "logistic", "LAB ~ X1 + X2"), os.urandom(16)
    answers = [
        order(scene, spec, state_of({"weights": np.full(2, 0.1 * k), "intercept": np.zeros(1)}), run=run, number=2)
        # a round and its evaluation, and once more without the third country
        for k in range(1, 2 * 1 * 2 + 2)
    ]
    return {"answered": 1.0} if model(answers[-1]) else {}


# A logistic curve that is zero at every age, and one that is one at the oldest's.
NOBODY, OLDEST = _state(0.0, -STEEP * CUT), _state(STEEP, -STEEP * CUT)


ATTACKS = (
    Attack(
        42,
        "training on one person",
        "coordinator",
        "persons of an update and of its batches",
        FEW,
        frozenset({"FEW_PERSONS"}),
        step_on_one_person,
        "c",
        given=APPS,
    ),
    Attack(
        42,
        "training by batches of one",
        "coordinator",
        "persons in each batch",
        ("batches_are_large",),
        frozenset({"SMALL_BATCH"}),
        batch_of_one,
        "d",
        given=APPS,
    ),
    Attack(
        42,
        "gradient inversion, a batch of two by one of them",
        "coordinator",
        "persons in each batch",
        ("batches_are_large",),
        frozenset({"SMALL_BATCH"}),
        batch_of_two,
        "e",
        given=APPS,
    ),
    Attack(
        54,
        "measure that is a person's value",
        "coordinator",
        "declared measures in their range",
        ("declared measures", "support fits"),
        frozenset({"APP_ANSWER_NOT_TAKEN"}),
        measure_with_a_value,
        given=APPS,
    ),
    Attack(
        55,
        "app with another source",
        "coordinator",
        "apps by name, version and digest",
        ("allowed apps",),
        frozenset({"APP_NOT_ALLOWED"}),
        app_with_another_source,
        given=APPS,
    ),
    Attack(
        56,
        "strategy that asks one node only",
        "coordinator",
        "countries in each round",
        ("countries of a round",),
        frozenset({"FEW_CONTRIBUTORS"}),
        one_country,
        given=APPS,
    ),
    Attack(
        57,
        "first state that singles out a person",
        "coordinator",
        "starting values are the app's own",
        ("own starting values",),
        frozenset({"NOT_THE_START"}),
        chosen_start,
        given=APPS,
    ),
    Attack(
        57,
        "later state that singles out a person, where the policy asks for noise",
        "coordinator",
        "noise, paid for from a budget",
        ("noise",),
        frozenset(),
        chosen_state,
        "b",
        given=APPS,
    ),
    Attack(
        58,
        "more states than rounds",
        "coordinator",
        "rounds of a run are counted",
        ("rounds of a training",),
        frozenset({"TOO_MANY_ROUNDS"}),
        more_states_than_rounds,
        given=APPS,
    ),
)
