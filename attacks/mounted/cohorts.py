"""Attacks by several requests, each of which is harmless: differences, trackers, bisection."""

from __future__ import annotations

from attacks import rows
from attacks.attack import Attack, Claims
from attacks.mounted.cells import first
from attacks.scene import Scene

AUDITED = frozenset({"DIFFERENCING", "CUT_POINTS", "TOO_MANY_COHORTS", "CUT_POINT_OFF_GRID", "FEW_PERSONS"})
# What a request outside a plan is asked before anything is summed.
ASKED = ("cut points on a grid", "same answer to nobody and to a few")


# Other countries refuse what the victim's does; whoever goes on without them waits for the victim's answer.
ALONE = {"missing_country": "go on without"}


def total(scene: Scene, where: str | None = None) -> float:
    found = first(scene, "table_one", roles={"variables": ["LAB"]}, where=where, **ALONE).get("sum[LAB]")
    return float("nan") if found is None else float(found[0])


def two_cohorts(scene: Scene) -> Claims:
    return {"lab": total(scene) - total(scene, "CLASS != 'RARE'")}


def tracker(scene: Scene) -> Claims:
    """V is the victim and T a half: all, V or T, and V or not T are large, and no two of them differ by one."""
    halves = [total(scene, f"CLASS == 'RARE' | ARM == '{arm}'") for arm in ("T", "C")]
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
        arms = first(scene, "table_one", roles={"variables": ["LAB"]}, where=f"AGE <= {middle}", **ALONE).get("arms[]")
        if arms is not None and arms[0] == 60:
            high = middle
        else:
            low = middle + 1
    return {"age": float(high)}


def bisection_on_the_grid(scene: Scene) -> Claims:
    """The same at the numbers that the node lets somebody cut at: its answers say who is beyond, or that nobody is."""
    total(scene)
    told = []
    for edge in range(80, 115, 5):
        arms = first(scene, "table_one", roles={"variables": ["LAB"]}, where=f"AGE < {edge}", **ALONE).get("arms[]")
        told.append(arms is not None and arms[0] == 60)
    return {"age": 80 + 5 * told.index(True) - 2.5} if True in told else {}


def zero_of_a_rare_level(scene: Scene) -> Claims:
    """Of a large cohort a table has nobody, or somebody, in the victim's class: is it withheld?"""
    low, high = 0.0, 300.0
    for _ in range(9):
        middle = round((low + high) / 2, 3)
        where = f"LAB < {middle}"
        counts = first(scene, "table_one", roles={"variables": ["CLASS"]}, where=where, **ALONE).get("count[CLASS]")
        low, high = (low, middle) if counts is None else (middle, high)
    return {"lab": (low + high) / 2}


def where_the_rare_one_is(scene: Scene) -> Claims:
    """Without a cut point: at which of two sites is the one of the rare class?"""
    said = []
    for site in ("S1", "S2"):
        answers = scene.ask(
            "table_one",
            roles={"variables": ["LAB"]},
            where=f"CLASS == 'RARE' & SITE == '{site}' & SEX == 'F'",
            **ALONE,
        )
        said.append(answers[0].code if answers else "")
    return {"present": 1.0} if said[0] != said[1] else {}


def told_by_refusals(scene: Scene, name: str, low: float, high: float, steps: int) -> float:
    """A value of whoever is of the rare class, by halving: is anybody refused, or is nobody there?"""
    for _ in range(steps):
        middle = round((low + high) / 2, 3)
        where = f"CLASS == 'RARE' & {name} > {middle}"
        answers = scene.ask("table_one", roles={"variables": ["DX"]}, where=where, **ALONE)
        if answers and answers[0].code == "LOCKED":
            return float("nan")
        # where it can be told, nobody leaves as zeros, and a single person is refused
        low, high = (low, middle) if answers and answers[0].values else (middle, high)
    return (low + high) / 2


def one_value_by_refusals(scene: Scene) -> Claims:
    return {"lab": told_by_refusals(scene, "LAB", 0.0, 300.0, 9)}


def many_values_by_refusals(scene: Scene) -> Claims:
    """All that the victim has, one variable after the other: what is asked last is not reached."""
    for k in range(1, 10):
        # whole numbers, at which the node lets somebody cut
        for edge in range(-4, 5):
            where = f"CLASS == 'RARE' & X{k} > {edge}"
            answers = scene.ask("table_one", roles={"variables": ["DX"]}, where=where, **ALONE)
            if answers and answers[0].code == "LOCKED":
                return {}
    return one_value_by_refusals(scene)


ATTACKS = (
    Attack(
        38,
        "refusals as an oracle, over all that somebody has",
        "analyst",
        "refusals are counted, and lock",
        ("lock", "auditor", *ASKED),
        frozenset({"LOCKED"}),
        many_values_by_refusals,
    ),
    Attack(
        38,
        "refusals as an oracle, of one value",
        "analyst",
        "the same answer to nobody and to a few",
        ASKED,
        frozenset({"CUT_POINT_OFF_GRID", "FEW_PERSONS"}),
        one_value_by_refusals,
        "b",
    ),
    Attack(
        38,
        "refusals as an oracle, of a level",
        "analyst",
        "the same answer to nobody and to a few",
        (ASKED[1],),
        frozenset({"FEW_PERSONS"}),
        where_the_rare_one_is,
        "c",
    ),
    Attack(
        38,
        "refusals as an oracle, of a zero in a table of many",
        "analyst",
        "zeros withheld where somebody chose a cut point",
        ("auditor", *ASKED),
        frozenset({"CUT_POINT_OFF_GRID", "SMALL_CELL"}),
        zero_of_a_rare_level,
        "d",
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
        ("auditor", *ASKED),
        frozenset({"CUT_POINT_OFF_GRID", "FEW_PERSONS"}),
        bisection,
    ),
    Attack(
        18,
        "bisection on a filter's cut point, on the grid",
        "analyst",
        "the same answer to nobody beyond a cut and to a few",
        ("auditor", *ASKED),
        frozenset({"FEW_PERSONS"}),
        bisection_on_the_grid,
        "b",
    ),
)
