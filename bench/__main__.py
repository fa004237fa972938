"""`python -m bench`: ratios of what a user waits for, over real processes, with R and lifelines in the same run."""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np

from bench.egress import egress_milliseconds
from bench.rows import study_toml, survival_rows
from isthmus_client.proposal import study_from_toml
from isthmus_client.results.fit import Fit
from isthmus_client.sandbox import Sandbox
from isthmus_node.egress.journal_read import read

OUT = Path("out/bench.json")
STUDY = "BENCH"


def network(folder: Path, countries: Mapping[str, str], rows: int, covariates: int) -> Sandbox:
    """Nodes with generated rows and the bench's study approved; rows marked as open data."""
    box = Sandbox(folder)
    box.init_coordinator()
    box.start_coordinator()
    box.join(countries)
    box.login("bench")
    for seed, country in enumerate(countries.values()):
        survival_rows(folder / f"{country}.csv", rows=rows, covariates=covariates, country=country, seed=seed)
    box.at_each_node(
        {n: ("data", "add", str(folder / f"{c}.csv"), "--dataset", "TTE", "--open-data") for n, c in countries.items()}
    )
    box.start_nodes(countries)
    document = folder / "study.toml"
    document.write_text(study_toml(STUDY, covariates, dict(countries)), encoding="utf-8")
    with box.connect() as connection:
        connection.propose(study_from_toml(document, connection.participants()))
    box.at_each_node(dict.fromkeys(countries, ("approve", STUDY, "--reason", "bench")))
    return box


def seconds_of(run: Callable[[], Fit]) -> tuple[float, Fit]:
    began = time.perf_counter()
    fit = run()
    return time.perf_counter() - began, fit


def measure_rounds(folder: Path, fits: int) -> dict[str, object]:
    """Milliseconds from one round to the next of a Cox fit that sends 10 kB from each of three nodes.

    Taken from a node's journal: the time between the releases of two rounds that follow each other. All of a round is
    in it: pooling, the store, the order, the fold, the gate, the journal on the disk, the way back.
    """
    countries = {"aa": "AA", "bb": "BB", "cc": "CC"}
    with network(folder, countries, rows=400, covariates=48) as box, box.connect() as connection:
        study = connection.study(STUDY)
        whole, sizes = [], []
        for _ in range(fits + 1):
            _, fit = seconds_of(lambda: study.planned("cox").run(progress=False))
            whole.append((fit.result.ended_at - fit.result.started_at) / 1e6 / fit.result.rounds)
            sizes += [c.bytes / c.releases for c in fit.result.contributions]
        journal = box.node_home("aa") / "state" / "journal"
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
        "milliseconds_a_round": _spread(rounds),
        "milliseconds_a_round_with_start_and_result": _spread(whole[1:]),
        "target_milliseconds": 10,
    }


def measure_million(folder: Path, rows: int) -> dict[str, object]:
    """Stratified Cox, Kaplan-Meier and log-rank over five nodes, and the same by R and lifelines on the pooled rows."""
    countries = {f"n{k}": f"C{k}" for k in range(1, 6)}
    found: dict[str, object] = {"rows": rows, "nodes": len(countries), "covariates": 12}
    with network(folder, countries, rows=rows // len(countries), covariates=12) as box, box.connect() as connection:
        study = connection.study(STUDY)
        study.planned("log-rank").run(progress=False)  # reads the rows
        first, fit = seconds_of(lambda: study.planned("cox").run(progress=False))
        again = [seconds_of(lambda: study.planned("cox").run(progress=False))[0] for _ in range(3)]
        curve, _ = seconds_of(lambda: study.planned("km").run(progress=False))
        test, _ = seconds_of(lambda: study.planned("log-rank").run(progress=False))
    ours = np.array([c["estimate"] for c in fit.answer["coef"].values()])
    found["cox"] = {
        "seconds": round(first, 3),
        "seconds_rows_prepared": _spread(again),
        "rounds": fit.result.rounds,
        "loglik": fit.answer["loglik"],
    }
    found["km_and_log_rank"] = {"seconds": round(curve + test, 3)}
    files = [folder / f"{c}.csv" for c in countries.values()]
    for name, other in (("R", _by_r(files, folder)), ("lifelines", _by_lifelines(files))):
        if other is None:
            found[name] = "not installed"
            continue
        difference = float(np.max(np.abs(ours - other["coef"]) / np.abs(other["coef"])))
        found[name] = {
            "cox_seconds": round(float(other["seconds"]), 3),
            "cox_ratio": round(float(other["seconds"]) / first, 2),
            "largest_relative_difference_of_a_coefficient": difference,
            **(
                {
                    "km_and_log_rank_seconds": round(float(other["km_seconds"]), 3),
                    "km_and_log_rank_ratio": round(float(other["km_seconds"]) / (curve + test), 2),
                }
                if "km_seconds" in other
                else {}
            ),
        }
    found["targets"] = {"R cox_ratio": 5, "lifelines cox_ratio": 2, "R km_and_log_rank_ratio": 5}
    return found


def _by_r(files: list[Path], folder: Path) -> dict[str, float] | None:
    if shutil.which("Rscript") is None:
        return None
    script = Path(__file__).with_name("pooled.R")
    answer = folder / "r.json"
    done = subprocess.run(["Rscript", str(script), str(answer), *map(str, files)], capture_output=True, text=True)
    if done.returncode != 0:
        return None
    loaded: dict[str, float] = json.loads(answer.read_text())
    return loaded


def _by_lifelines(files: list[Path]) -> dict[str, object]:
    import pandas as pd
    from lifelines import CoxPHFitter

    rows = pd.concat([pd.read_csv(f) for f in files], ignore_index=True).drop(columns="ARM")
    began = time.perf_counter()
    fitter = CoxPHFitter().fit(rows, "DAY", "EVENT", strata=["COUNTRY"])
    seconds = time.perf_counter() - began
    # its default stops early: once more, tight, to compare the answers
    tight = CoxPHFitter().fit(
        rows, "DAY", "EVENT", strata=["COUNTRY"], fit_options={"precision": 1e-12, "r_precision": 1e-14}
    )
    del fitter
    return {"seconds": seconds, "coef": tight.params_.to_numpy()}


def measure_start(folder: Path) -> dict[str, object]:
    """Seconds from a node's start until it is attached, and what processes weigh when nothing is asked of them."""
    countries = {"aa": "AA"}
    with network(folder, countries, rows=400, covariates=4) as box:
        each = []
        for _ in range(5):
            box.processes["aa"].stop()
            began = time.perf_counter()
            box.start_nodes(["aa"])
            each.append(time.perf_counter() - began)
        weights = {name: _resident(process.pid) for name, process in box.processes.items()}
    return {
        "node_start_to_ready_seconds": _spread(each),
        "node_idle_megabytes": weights["aa"],
        "coordinator_idle_megabytes": weights["coordinator"],
        "targets": {"node_start_to_ready_seconds": 3, "node_idle_megabytes": 150, "coordinator_idle_megabytes": 200},
    }


def _resident(pid: int) -> float:
    """Resident memory in MB."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return round(next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024, 1)


def _spread(values: list[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), 3),
        "least": round(min(values), 3),
        "most": round(max(values), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the large fit, over five nodes")
    parser.add_argument("--only", choices=["rounds", "million", "start", "egress"], help="one of the measurements")
    options = parser.parse_args()
    measurements: dict[str, Callable[[Path], dict[str, object]]] = {
        "egress": egress_milliseconds,
        "start": measure_start,
        "rounds": lambda folder: measure_rounds(folder, fits=20),
        "million": lambda folder: measure_million(folder, options.rows),
    }
    found: dict[str, object] = {
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "cores": _cores(),
            "python": platform.python_version(),
        }
    }
    for name, measure in measurements.items():
        if options.only not in (None, name):
            continue
        with tempfile.TemporaryDirectory(prefix="isthmus-bench-") as folder:
            found[name] = measure(Path(folder))
        print(json.dumps({name: found[name]}, indent=2), flush=True)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(f"written {OUT}")


def _cores() -> int:
    import os

    return len(os.sched_getaffinity(0))


if __name__ == "__main__":
    main()
