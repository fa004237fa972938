"""Attacks on and by a whole country: what is its own where only sums over countries are shown."""

from __future__ import annotations

from attacks import rows
from attacks.attack import Attack, Claims
from attacks.network import COUNTRIES, SEEDS
from attacks.scene import DEADLINE, Scene
from isthmus.errors import IsthmusError
from isthmus_client.results import Fit
from isthmus_client.results.tree import number, tree

# Seconds after which a country that is away is left out.
_SOON = 5
DROPPED = "bb"
OTHERS = (DROPPED, "cc")


def pooled(scene: Scene, deadline: int = DEADLINE) -> Fit | None:
    """A table of one variable over the countries that answer, as an analyst gets it."""
    plan = scene.study("pooled").ask(
        "table_one",
        dataset="PERSONS",
        roles={"variables": ["LAB"]},
        missing_country="go on without",
        deadline=deadline,
    )
    try:
        fit = plan.run(progress=False)
    except IsthmusError as error:
        scene.told.append(f"{error.code}: {error.message} {error.remedy}")
        fit = None
    scene.answers_to(plan.runs[0])
    return fit


def total(fit: Fit) -> float:
    """The sum of the variable over all countries of a result."""
    found = number(tree(fit.answer, "rows", "LAB"), "overall", "sum")
    return float("nan") if found is None else found


def drop_a_country(scene: Scene) -> Claims:
    """Wait until a country's node is down, and ask again."""
    everybody = pooled(scene)
    scene.network.box.processes[DROPPED].stop()
    try:
        others = pooled(scene, _SOON)
    finally:
        scene.network.box.start_nodes([DROPPED])
    if everybody is None or others is None:
        return {}
    return {"country": total(everybody) - total(others)}


def poisoned_sums(scene: Scene) -> Claims:
    """Another country's node sends a hundred times what its rows give, past its own gate and signed with its key."""
    honest = sum(
        rows.persons(COUNTRIES[node], SEEDS[node], node == scene.node).LAB.sum() for node in (scene.node, *OTHERS)
    )
    scene.network.run_as(DROPPED, given="a hundredfold")
    try:
        fit = pooled(scene)
    finally:
        scene.network.run_as(DROPPED)
    return {} if fit is None else {"poisoned": float(abs(total(fit) / honest - 1) > 1)}


ATTACKS = (
    Attack(
        51,
        "one country's sums are poisoned",
        "node",
        "plausibility bounds, signed and attributable",
        ("plausible sums",),
        frozenset({"IMPLAUSIBLE"}),
        poisoned_sums,
        of_coordinator=True,
    ),
    Attack(
        46,
        "drop a country and run again",
        "analyst",
        "the same analysis is answered with the same countries",
        ("same countries again",),
        frozenset({"OTHER_COUNTRIES"}),
        drop_a_country,
        also=("cc",),
    ),
)
