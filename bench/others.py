"""What a user would pick instead, on the pooled rows, each in a process of its own with one BLAS thread."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bench.rows import Rows

# What the libraries under numpy and R read; one each, as a node has.
ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"), "1")
HERE = Path(__file__).parent
LIMIT = 600.0


def hand_over(rows: Rows, folder: Path) -> None:
    """The pooled rows as both languages read them fastest: doubles, a file a column; factors as codes and levels."""
    folder.mkdir(parents=True, exist_ok=True)
    levels: dict[str, list[str]] = {}
    for name, values in rows.items():
        if values.dtype.kind in "UO":
            found, codes = np.unique(values.astype(str), return_inverse=True)
            levels[name], values = found.tolist(), codes
        np.ascontiguousarray(values, dtype="<f8").tofile(folder / f"{name}.f8")
    (folder / "columns.txt").write_text("\n".join(rows) + "\n", encoding="utf-8")
    for name, names in levels.items():
        (folder / f"{name}.levels").write_text("\n".join(names) + "\n", encoding="utf-8")


def hand_over_extra(folder: Path, extra: Mapping[str, object]) -> None:
    """Numbers of the exchange's answer, at which R evaluates what it maximises."""
    for name, value in extra.items():
        np.asarray(value, dtype="<f8").tofile(folder / f"{name}.extra")


def by_r(part: str, folder: Path) -> dict[str, Any] | str:
    """What R says, by tool; or why it says nothing."""
    if shutil.which("Rscript") is None:
        return "R is not installed"
    return _run(["Rscript", str(HERE / "pooled.R"), part, str(folder)], folder / "r.json")


def by_python(part: str, folder: Path) -> dict[str, Any] | str:
    """What lifelines and statsmodels say, by tool; or why they say nothing."""
    return _run([sys.executable, str(HERE / "pooled.py"), part, str(folder)], folder / "python.json")


def _run(command: list[str], answer: Path) -> dict[str, Any] | str:
    done = subprocess.run(
        [*command, str(answer)],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        env={**os.environ, **ONE_THREAD},
        check=False,
    )
    if done.returncode != 0:
        return f"failed: {done.stderr.strip()[-300:]}"
    said: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
    return said
