"""`python -m bench`: ratios of what a user waits for, over real processes, with R, lifelines and statsmodels."""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

# one thread here, as in the processes that are measured: said before numpy is there
os.environ["OPENBLAS_NUM_THREADS"] = "1"

from bench.compared import AGREES, PARTS, measure_compared
from bench.egress import egress_milliseconds
from bench.exchange import measure_rounds, measure_sealed, measure_start
from bench.growth import measure_growth
from bench.training import measure_training

OUT = Path("out/bench.json")
COMPARED = tuple(part.name for part in PARTS)
EVERY = ("egress", "start", "rounds", "sealed", *COMPARED, "growth", "training")

Found = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of cox, glm and km, over five nodes")
    parser.add_argument("--only", default="", help=f"some of the parts, with commas between: {', '.join(EVERY)}")
    parser.add_argument("--large", action="store_true", help="growth up to 20 countries")
    options = parser.parse_args()
    chosen = set(options.only.replace(",", " ").split()) or set(EVERY)
    if chosen - set(EVERY):
        parser.error(f"there is no part {', '.join(sorted(chosen - set(EVERY)))}; the parts are: {', '.join(EVERY)}")
    found: Found = {"machine": _machine()}
    print(", ".join(f"{name} {value}" for name, value in found["machine"].items()), flush=True)
    for names, measure in _measurements(options.rows, options.large):
        wanted = [name for name in names if name in chosen]
        if wanted:
            _run(found, wanted, measure)
    found["machine"]["load_at_end"] = _load()
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print("\n".join(_summary(found)))
    print(f"written {OUT}")


def _measurements(
    rows: int, large: bool
) -> list[tuple[Sequence[str], Callable[[Path, Sequence[str]], Mapping[str, object]]]]:
    return [
        (("egress",), lambda folder, _: {"egress": egress_milliseconds(folder)}),
        (("start",), lambda folder, _: {"start": measure_start(folder)}),
        (("rounds",), lambda folder, _: {"rounds": measure_rounds(folder)}),
        (("sealed",), lambda folder, _: {"sealed": measure_sealed(folder)}),
        (COMPARED, lambda folder, names: measure_compared(folder, rows, names)),
        (("growth",), lambda folder, _: {"growth": measure_growth(folder, large)}),
        (("training",), lambda folder, _: {"training": measure_training(folder)}),
    ]


def _run(found: Found, names: Sequence[str], measure: Callable[[Path, Sequence[str]], Mapping[str, object]]) -> None:
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="isthmus-bench-") as folder:
        new = measure(Path(folder), names)
    found |= new
    print(json.dumps(new, indent=2), flush=True)
    print(f"({', '.join(names)}: {time.perf_counter() - began:.0f} s, load {_load()})", flush=True)


def _summary(found: Found) -> list[str]:
    """A line for every comparison."""
    columns = (("ours s", 8), ("its s", 8), ("times", 7), ("target", 8), ("cpu s", 8), ("its cpu", 8))
    head = f"{'analysis':<8} {'against':<58}" + "".join(f"{c:>{w}}" for c, w in columns) + "  largest difference"
    lines = ["", head] if any(name in found for name in COMPARED) else [""]
    for name in COMPARED:
        part = found.get(name, {})
        for tool, one in part.get("against", {}).items():
            if isinstance(one, str):
                lines.append(f"{name:<8} {tool}: {one.splitlines()[-1]}")
                continue
            differences = one["largest_relative_difference"]
            shown = ", ".join(f"{what} {value:.1g}" for what, value in differences.items())
            lines.append(
                f"{name:<8} {tool + ' ' + one['version']:<58}{part['seconds']['median']:>8.2f}{one['seconds']:>8.2f}"
                f"{one['ratio']:>7.1f}{one['target'] or '-':>8}"
                f"{part['processor_seconds']:>8.2f}{one['processor_seconds']:>8.2f}  {shown}"
                + ("" if one["counts"] else f" (does not count: not within {AGREES:g})")
            )
    for what, grown in found.get("growth", {}).items():
        for name, values in grown.items():
            if isinstance(values, Mapping):
                lines.append(f"growth {what} {name}: exponent {values['exponent']}, target {grown['target_exponent']}")
    return lines


def _machine() -> Found:
    import lifelines
    import numpy
    import scipy
    import statsmodels

    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "scipy": scipy.__version__,
        "lifelines": lifelines.__version__,
        "statsmodels": statsmodels.__version__,
        "blas_threads_a_process": 1,
        "load_at_start": _load(),
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _load() -> float:
    return round(os.getloadavg()[0], 1)


if __name__ == "__main__":
    main()
