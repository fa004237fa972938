"""Attacks on the exchange itself: who asks, what an order says, when, in which bytes."""

from __future__ import annotations

import time

import numpy as np

from attacks.attack import Attack, Claims
from attacks.evidence import Answer
from attacks.mounted.cohorts import ASKED
from attacks.mounted.requests import SUMS, compared
from attacks.scene import Scene
from isthmus.v1 import spec_pb2
from isthmus_trust.identity import IdentityKey

# No field of the contract has the number 100.
STOWAWAY = b"\xa2\x06\x03row"


def request(scene: Scene) -> spec_pb2.Spec:
    return scene.spec("table_one", roles={"variables": ["LAB"]})


def answered(answer: Answer | None) -> Claims:
    return {"answered": 1.0} if answer is not None and answer.values else {}


def invented_country(scene: Scene) -> Claims:
    names = [p.node for p in scene.study().message.participants]
    return answered(scene.order(request(scene), participants=[*names, "zz"]))


def strange_signer(scene: Scene) -> Claims:
    return {"answered": 1.0} if scene.order_in_vain(request(scene), key=IdentityKey.generate()) else {}


def old_order(scene: Scene) -> Claims:
    return answered(scene.order(request(scene), deadline=time.time_ns() - 3_600_000_000_000))


def older_policy(scene: Scene) -> Claims:
    """Who has the machine but not the custodian's key puts back a looser policy, with the signature it had."""
    home = scene.network.box.node_home(scene.node)
    policy, signatures = home / "policy.toml", home / "state/policies"
    looser = policy.read_bytes()
    try:
        policy.write_bytes(looser.replace(b'analyses = "allow"', b'analyses = "refuse"', 1))
        scene.network.adopt_policy(scene.node)
        scene.ask("table_one", roles={"variables": ["LAB"]})
        policy.write_bytes(looser)
        max(signatures.glob("*.signed"), key=lambda path: int(path.stem)).unlink()
        answers = scene.ask("table_one", roles={"variables": ["LAB"]})
    finally:
        policy.write_bytes(looser)
        scene.network.adopt_policy(scene.node)
    return answered(answers[0] if answers else None)


def not_as_planned(scene: Scene) -> Claims:
    return answered(scene.order(request(scene), analysis="primary"))


def beyond_the_rounds(scene: Scene) -> Claims:
    return answered(scene.order(request(scene), number=3, state={"LAB": np.array([100.0])}))


def not_finite(scene: Scene) -> Claims:
    """Products of columns looked at from so far away that they leave the range of numbers."""
    state = {"centre": np.array([0.0, 0.0]), "map": np.eye(3) * 1e160}
    answer = scene.order(scene.spec("linear_model", "LAB ~ AGE"), state, number=2)
    if answer is None:
        return {}
    return {"answered": 1.0} if any(not np.isfinite(value).all() for value in answer.values.values()) else {}


def length_of_an_answer(scene: Scene) -> Claims:
    """Two tables of one shape, one with a category of one person: somebody on the network compares lengths."""
    for column in ("STAGE", "CLASS"):
        scene.ask("crosstab", roles={"row": "ARM", "column": column})
    lengths = scene.lengths()
    return {"present": 1.0} if len(lengths) == 2 and lengths[0] != lengths[1] else {}


def resource_bomb(scene: Scene) -> Claims:
    """A filter of twenty thousand conditions, each of which a node would look at for every row."""
    spec = request(scene)
    for k in range(20_000):
        spec.where.any.predicates.append(compared("AGE", spec_pb2.Comparison.GREATER, float(k % 50)))
    return answered(scene.order(spec))


def unknown_fields(scene: Scene) -> Claims:
    return {"answered": 1.0} if scene.order_in_vain(request(scene), more=STOWAWAY) else {}


ATTACKS = (
    Attack(
        28,
        "rounds beyond the method's",
        "coordinator",
        "cap of rounds",
        ("bounds of rounds",),
        frozenset({"ROUND_OUT_OF_BOUNDS"}),
        beyond_the_rounds,
        "b",
    ),
    Attack(
        41,
        "how long an answer is",
        "network",
        "answers and refusals of one shape have one length",
        ("padded answers",),
        frozenset({"SMALL_CELL"}),
        length_of_an_answer,
    ),
    Attack(
        45,
        "an invented country",
        "coordinator",
        "the participants are the study's",
        ("participants of the study",),
        frozenset({"WRONG_PARTICIPANTS"}),
        invented_country,
    ),
    Attack(
        45,
        "an order that another key signed",
        "coordinator",
        "the coordinator's key of the join token",
        ("signed by the coordinator",),
        frozenset({"WRONG_SIGNER"}),
        strange_signer,
        "b",
    ),
    Attack(48, "an old order", "coordinator", "orders expire", ("deadline",), frozenset({"DEADLINE_PAST"}), old_order),
    Attack(
        48,
        "an older policy put back",
        "node",
        "policies are signed, by numbers that only go on",
        ("policies only go on",),
        frozenset({"POLICY_OLDER"}),
        older_policy,
        "b",
    ),
    Attack(
        48,
        "an analysis that the plan has not",
        "coordinator",
        "the same to the byte as approved",
        ("plan",),
        frozenset({"NOT_IN_PLAN"}),
        not_as_planned,
        "c",
    ),
    Attack(
        50,
        "infinity and no number",
        "coordinator",
        "finite and in range",
        ("finite numbers", "support fits", *SUMS),
        frozenset({"NOT_FINITE"}),
        not_finite,
    ),
    Attack(
        52,
        "fields that the contract has not",
        "coordinator",
        "canonical bytes are what is signed",
        ("canonical bytes",),
        frozenset({"NOT_CANONICAL"}),
        unknown_fields,
    ),
    Attack(
        53,
        "a filter of twenty thousand conditions",
        "coordinator",
        "bounds before anything is made of a request",
        ("bounds of requests", "auditor", *ASKED),
        frozenset({"TOO_LARGE"}),
        resource_bomb,
    ),
)
