"""Attacks on sealed rounds by the coordinator that passes on their words, and by countries that are its own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from attacks.attack import Attack, Claims
from attacks.mounted.models import CENTRE, largest_exponent, state
from attacks.scene import Scene
from attacks.sealed_play import Played, identities, method_of, numbers, play
from isthmus.v1 import spec_pb2, summary_pb2
from isthmus_trust.identity import IdentityKey
from isthmus_trust.ring import subtracted

OTHERS = ("bb", "cc")


def task_of(scene: Scene, spec: spec_pb2.Spec, **changed: Any) -> summary_pb2.Task:
    study = scene.study("sealed").message
    return scene.network.hostile.task(study, spec, sealed_attempt=1, **changed)


def table(scene: Scene, variable: str) -> spec_pb2.Spec:
    return scene.spec("table_one", roles={"variables": [variable]})


def own_sum(played: Played | None) -> Claims:
    """The sum of the variable in the victim's country, where the sum over all is that."""
    if played is None:
        return {}
    return {"own country": float(sum(np.sum(v) for (name, _), v in played.total.items() if name == "sum"))}


def round_of_two(scene: Scene) -> Claims:
    """Two countries, of which one is the coordinator's: the other's numbers are the sum less its own."""
    one = OTHERS[0]
    task = task_of(scene, table(scene, "LAB"), participants=[scene.node, one])
    return own_sum(play(scene, task, identities(scene, one)))


def keys_of_its_own(scene: Scene) -> Claims:
    """The coordinator says the other countries' words itself, and knows their masks: they sum to the victim's."""
    strangers: Mapping[str, IdentityKey] = {other: IdentityKey.generate() for other in OTHERS}
    return own_sum(play(scene, task_of(scene, table(scene, "LAB")), strangers))


def masks_used_twice(scene: Scene) -> Claims:
    """Two shares under the same masks: their difference is that of the summaries, whatever the masks are."""
    opened = []
    for variable in ("LAB", "AGE"):
        task = task_of(scene, table(scene, variable))
        played = play(scene, task, identities(scene, *OTHERS))
        if played is None:
            raise RuntimeError("the node did not take part, so that nothing is shown of its masks")
        opened.append((played, method_of(scene, task)))
    (lab, method), (age, _) = opened
    # nothing that the other countries know is used
    difference = subtracted(lab.opened, age.opened)
    return {"two sums": numbers(difference, lab.share.layout, method, "sum")}


def chosen_states(scene: Scene) -> Claims:
    """Sums of exp(b x) at evenly spaced b, in rounds of one run; each state is mild enough for every rule."""
    spec, run = scene.spec("glm", "EPISODES ~ AGE", options={"family": "poisson"}), os.urandom(16)
    others = identities(scene, *OTHERS)
    steps, width = 24, 0.01
    if play(scene, task_of(scene, spec, run=run), others) is None:
        return {}
    sums = []
    for k in range(-1, steps):
        chosen = state(0.0, width * (max(k, 0) - steps + 1) + 0.03)
        task = task_of(scene, spec, run=run, number=3 + k, state=chosen)
        played = play(scene, task, others)
        if played is None:
            return {}
        if k >= 0:
            sums.append(float(next(v for (name, _), v in played.total.items() if name == "information")[0]))
    return {"age": CENTRE + largest_exponent(sums, width)}


ATTACKS = (
    Attack(
        28,
        "many states as chosen functionals",
        "coordinator",
        "derived state: a node works out what a sealed round is asked with",
        ("derived state",),
        frozenset({"STATE_NOT_DERIVED"}),
        chosen_states,
    ),
    Attack(
        43,
        "sealed round of two, of which one is the coordinator's",
        "coordinator",
        "three countries or more, all of the study's",
        ("three countries", "same countries again"),
        frozenset({"SEALED_FEW"}),
        round_of_two,
    ),
    Attack(
        44,
        "a coordinator that relays keys of its own",
        "coordinator",
        "words signed with the keys of the approved study",
        ("words of the study's nodes",),
        frozenset({"WRONG_SIGNER"}),
        keys_of_its_own,
    ),
    Attack(
        47,
        "a mask used twice",
        "coordinator",
        "a key for each round, and masks bound to it",
        ("keys of one use",),
        frozenset(),
        masks_used_twice,
    ),
)
