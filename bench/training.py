"""Training: seconds a round over three nodes, memory with a large model, beside Flower's own engine in the same run."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.flower import APP, flower_seconds
from bench.memory import Watched
from bench.network import STUDY, seconds_of, spread
from bench.rows import study_toml, subjects_dataset
from conformance.environment import environment
from conformance.training import allow
from isthmus_client.proposal import study_from_toml
from isthmus_client.sandbox import Sandbox
from isthmus_client.study import Study
from isthmus_client.training import App, FedAvg

NODES = 3
BYTES = 4  # of a float32
SMALL, LARGE = 2_500, 10_000_000
# Rounds of the shorter and of the longer run; what the longer one takes more is rounds alone.
FEW, MANY = 5, 65


def measure_training(folder: Path) -> dict[str, object]:
    """Both sizes over our nodes, then over Flower's; its part says why where it cannot be run."""
    programs = environment(folder / "environment", str(APP))
    countries = {f"n{k:02d}": f"C{k:02d}" for k in range(NODES)}
    with Sandbox(folder / "network", programs=programs) as box:
        _set_up(box, folder, countries)
        with box.connect() as connection:
            study = connection.study(STUDY)
            small = _small(study)
            large = _large(study, box)
    return {
        "nodes": NODES,
        "small": {**small, **_beside(folder / "flower-small", SMALL, 4, small)},
        "large": {**large, **_beside(folder / "flower-large", LARGE, 2, large)},
    }


def _small(study: Study) -> dict[str, Any]:
    seconds = []
    for _ in range(3):
        few, _ = seconds_of(lambda: study.planned(f"small-{FEW}").run(progress=False))
        many, fit = seconds_of(lambda: study.planned(f"small-{MANY}").run(progress=False))
        seconds.append((many - few) / (MANY - FEW))
    sizes = [c.bytes / c.releases for c in fit.result.contributions]
    return {
        "numbers": SMALL,
        "bytes_a_node_and_round": round(statistics.median(sizes)),
        "seconds_a_round": spread(seconds),
        "seconds_of_a_run_of_five_rounds": round(few, 3),
    }


def _large(study: Study, box: Sandbox) -> dict[str, Any]:
    pids = {name: process.pid for name, process in box.processes.items()}
    with Watched(pids) as before:
        study.planned(f"small-{FEW}").run(progress=False)
    one, _ = seconds_of(lambda: study.planned("large-1").run(progress=False))
    with Watched(pids) as watched:
        three, _ = seconds_of(lambda: study.planned("large-3").run(progress=False))
    update = LARGE * BYTES / 1024**2

    def more(name: str, place: int) -> float:
        return round((watched.most[name][place] - before.most[name][place]) / update, 2)

    nodes = [name for name in pids if name != "coordinator"]
    return {
        "numbers": LARGE,
        "update_megabytes": round(update, 1),
        "seconds_a_round": spread([(three - one) / 2]),
        "megabytes_at_most": {name: [round(part) for part in most] for name, most in watched.most.items()},
        # above what the same processes take with the small model
        "times_the_update": {
            "node": max(more(name, 0) for name in nodes),
            "app's process": max(more(name, 1) for name in nodes),
            "coordinator": more("coordinator", 0),
            "strategy's process": more("coordinator", 1),
        },
        "target_times_the_update": 3,
    }


def _beside(folder: Path, numbers: int, rounds: int, ours: Mapping[str, Any]) -> dict[str, Any]:
    try:
        # the first round of its run waits for the nodes
        its = flower_seconds(folder, numbers, rounds, NODES)[1:]
    except (OSError, RuntimeError) as error:
        return {"flower": f"not measured: {error}"}
    median = statistics.median(its)
    return {
        "flower_seconds_a_round": spread(its),
        "flower_over_ours": round(median / ours["seconds_a_round"]["median"], 1),
    }


def _set_up(box: Sandbox, folder: Path, countries: Mapping[str, str]) -> None:
    rows = subjects_dataset(400, 2, list(countries.values()), open_data=True)
    files = rows.write(folder)
    box.init_coordinator()
    box.start_coordinator()
    box.join(countries)
    box.login("bench")
    for node, country in countries.items():
        box.node(node, "data", "add", str(files[country]), "--dataset", rows.name, "--open-data")
    allow(box, "bench")
    box.start_nodes(countries)
    listed: Any = box.node(next(iter(countries)), "apps", "list")
    found = next(a for a in listed["apps"] if a["name"] == "bench")
    app = App("bench", found["version"], found["digest"])
    document = folder / "study.toml"
    document.write_text(study_toml(STUDY, [rows], list(countries), []), encoding="utf-8")
    with box.connect() as connection:
        message = study_from_toml(document, connection.participants())
        asked = Study(connection, message, b"")
        for name, numbers, rounds in (
            (f"small-{FEW}", SMALL, FEW),
            (f"small-{MANY}", SMALL, MANY),
            ("large-1", LARGE, 1),
            ("large-3", LARGE, 3),
        ):
            plan = asked.train(
                "RESP == 1 ~ X1 + X2",
                app=app,
                strategy=FedAvg(fraction_evaluate=0.0),
                rounds=rounds,
                held_out=0.0,
                settings={"numbers": numbers},
            )
            message.plan.append(plan.steps[0].analysis)
            message.plan[-1].name = name
        connection.propose(message)
    box.approve(STUDY, countries, "bench")
