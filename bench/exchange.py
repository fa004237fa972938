"""What the exchange itself costs: a round, a node's start, the memory of processes that wait."""

from __future__ import annotations

import statistics
import time
from itertools import pairwise
from pathlib import Path

from bench.network import STUDY, network, seconds_of, spread
from bench.rows import Planned, subjects_dataset
from isthmus_node.egress.journal_read import read


def cox(covariates: int) -> Planned:
    model = " + ".join(f"X{k + 1}" for k in range(covariates))
    return Planned("cox", "cox", "TTE", f"Surv(DAY, EVENT) ~ {model}")


def measure_sealed(folder: Path) -> dict[str, object]:
    """Milliseconds from one round to the next of a sealed Cox fit over five countries, about 100 numbers each."""
    found = measure_rounds(folder, fits=20, nodes=5, covariates=12, mode="sealed")
    return {**found, "target_milliseconds": 60}


def measure_rounds(
    folder: Path, fits: int = 60, nodes: int = 3, covariates: int = 48, mode: str = "open"
) -> dict[str, object]:
    """Milliseconds from one round to the next of a Cox fit that sends 10 kB from each node, with 48 covariates.

    Taken from a node's journal: the time between the releases of two rounds that follow each other. All of a round is
    in it: pooling, the store, the order, the fold, the gate, the journal on the disk, the way back.
    """
    countries = {f"n{k:02d}": f"C{k:02d}" for k in range(nodes)}
    rows = subjects_dataset(400, covariates, list(countries.values()), open_data=True)
    with network(folder, countries, [rows], [cox(covariates)], mode) as box, box.connect() as connection:
        study = connection.study(STUDY)
        whole, sizes = [], []
        for _ in range(fits + 1):
            _, fit = seconds_of(lambda: study.planned("cox").run(progress=False))
            whole.append((fit.result.ended_at - fit.result.started_at) / 1e6 / fit.result.rounds)
            sizes += [c.bytes / c.releases for c in fit.result.contributions]
        journal = box.node_home("n00") / "state" / "journal"
    released = [entry.record for entry in read(journal) if entry.record.event == "RELEASED"]
    rounds = [
        (after.recorded_at - before.recorded_at) / 1e6
        for before, after in pairwise(released)
        if after.run == before.run and after.round == before.round + 1
    ]
    return {
        "nodes": len(countries),
        "bytes_a_node_and_round": round(statistics.median(sizes)),
        "rounds": len(rounds),
        "milliseconds_a_round": spread(rounds),
        "milliseconds_a_round_with_start_and_result": spread(whole[1:]),
        "target_milliseconds": 10,
    }


def measure_start(folder: Path) -> dict[str, object]:
    """Seconds from a node's start until it is attached, and what processes weigh when nothing is asked of them."""
    rows = subjects_dataset(400, 4, ["AA"], open_data=True)
    with network(folder, {"aa": "AA"}, [rows], [cox(4)]) as box:
        each = []
        for _ in range(5):
            box.processes["aa"].stop()
            began = time.perf_counter()
            box.start_nodes(["aa"])
            each.append(time.perf_counter() - began)
        weights = {name: _resident(process.pid) for name, process in box.processes.items()}
    return {
        "node_start_to_ready_seconds": spread(each),
        "node_idle_megabytes": weights["aa"],
        "coordinator_idle_megabytes": weights["coordinator"],
        "targets": {"node_start_to_ready_seconds": 3, "node_idle_megabytes": 150, "coordinator_idle_megabytes": 200},
    }


def _resident(pid: int) -> float:
    """Resident memory in MB."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return round(next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024, 1)
