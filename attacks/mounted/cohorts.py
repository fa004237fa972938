"""Attacks by several requests, each of which is harmless: differences, trackers, bisection."""

from __future__ import annotations

import numpy as np

from attacks import rows
from attacks.attack import Attack, Claims
from attacks.mounted.cells import first
from attacks.scene import Scene

AUDITED = frozenset({"DIFFERENCING", "CUT_POINTS", "TOO_MANY_COHORTS"})


def total(scene: Scene, where: str | None = None) -> float:
    found = first(scene, "table_one", roles={"variables": ["LAB"]}, where=where).get("sum[LAB]")
    return float("nan") if found is None else float(found[0])


def two_cohorts(scene: Scene) -> Claims:
    return {"lab": total(scene) - total(scene, "AGE < 96")}


def tracker(scene: Scene) -> Claims:
    """V is the victim and T a half: all, V or T, and V or not T are large, and no two of them differ by one."""
    halves = [total(scene, f"AGE > 96 | ARM == '{arm}'") for arm in ("T", "C")]
    return {"lab": sum(halves) - total(scene)}


def count_then_model(scene: Scene) -> Claims:
    """No filter at all: the model leaves the victim out because of a missing value."""
    answers = scene.ask("linear_model", "LAB ~ M")
    if not answers or not answers[0].has("outcome_sum"):
        return {}
    return {"lab": total(scene) - float(answers[0]["outcome_sum"][0])}


def row_added(scene: Scene) -> Claims:
    """The same question before and after the victim came to the data."""
    file = scene.network.box.home / "rows" / f"PERSONS-{scene.node.upper()}.csv"
    before = file.with_name(f"before-{file.name}")
    rows.persons("AA", 1, True).drop(index=rows.PLACE).to_csv(before, index=False)
    try:
        scene.network.register(scene.node, "PERSONS", before)
        without = total(scene)
    finally:
        scene.network.register(scene.node, "PERSONS", file)
    return {"lab": total(scene) - without}


def bisection(scene: Scene) -> Claims:
    """The least cut point below which everybody is; a refusal says that it is less."""
    total(scene)  # everybody is a cohort that was released: the same again is always answered
    low, high = 18, 110
    while low < high:
        middle = (low + high) // 2
        arms = first(scene, "table_one", roles={"variables": ["LAB"]}, where=f"AGE <= {middle}").get("arms[]")
        if arms is not None and arms[0] == 60:
            high = middle
        else:
            low = middle + 1
    return {"age": float(high)}


def told_by_refusals(scene: Scene, name: str, low: float, high: float, steps: int) -> float:
    """A value of whoever is beyond 96, by halving: is anybody refused, or is nobody there?"""
    for _ in range(steps):
        middle = round((low + high) / 2, 3)
        where = f"AGE > 96 & {name} > {middle}"
        answers = scene.ask("table_one", roles={"variables": ["DX"]}, where=where)
        if answers and answers[0].code == "LOCKED":
            return float("nan")
        # nobody leaves as zeros, and a single person is refused
        low, high = (low, middle) if answers and answers[0].values else (middle, high)
    return (low + high) / 2


def one_value_by_refusals(scene: Scene) -> Claims:
    return {"lab": told_by_refusals(scene, "LAB", 0.0, 300.0, 9)}


def many_values_by_refusals(scene: Scene) -> Claims:
    """All that the victim has, one variable after the other: what is asked last is not reached."""
    for k in range(1, 10):
        if np.isnan(told_by_refusals(scene, f"X{k}", -10.0, 10.0, 10)):
            return {}
    return one_value_by_refusals(scene)


ATTACKS = (
    Attack(
        38,
        "refusals as an oracle, over all that somebody has",
        "analyst",
        "refusals are counted, and lock",
        ("lock", "auditor"),
        frozenset({"LOCKED"}),
        many_values_by_refusals,
    ),
    Attack(
        38,
        "refusals as an oracle, of one value",
        "analyst",
        "the same answer to nobody and to a few",
        ("same answer to nobody and to a few",),
        frozenset({"FEW_PERSONS"}),
        one_value_by_refusals,
        "b",
    ),
    Attack(6, "two cohorts that differ by one person", "analyst", "auditor", ("auditor",), AUDITED, two_cohorts),
    Attack(7, "general tracker with three large cohorts", "analyst", "linear auditing", ("auditor",), AUDITED, tracker),
    Attack(
        8,
        "a sum, then a model on one person fewer",
        "analyst",
        "one auditor over all methods",
        ("auditor",),
        AUDITED,
        count_then_model,
    ),
    Attack(
        9,
        "the same question after one row was added",
        "analyst",
        "snapshots, minimum change",
        ("auditor",),
        AUDITED,
        row_added,
    ),
    Attack(
        18,
        "bisection on a filter's cut point",
        "analyst",
        "cut points on a grid, and a cap",
        ("auditor",),
        AUDITED,
        bisection,
    ),
)
