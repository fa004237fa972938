"""Apps made for a test: packages of their own, found as installed ones are, in the test's process and in an app's."""

from __future__ import annotations

import importlib
import textwrap
from pathlib import Path

import numpy as np
import pytest

from isthmus_node.training import runner
from isthmus_node.training.runner import Given
from isthmus_training.apps import Installed, find

# What every app has around its `train` and `evaluate`.
FRAME = """
import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, Message, RecordDict
from flwr.clientapp import ClientApp
from isthmus_training.rows import report_scores, rows

version = "1"
settings = {"batch-size": 0}
batch_setting = "batch-size"
metrics = {"got": (0.0, 10.0)}
app = ClientApp()

def start(columns, outcome_levels, settings, seed):
    return {"w": np.zeros(2)}

def reply(message, metrics=None, arrays=None, **more):
    kept = {n: a.numpy() for n, a in message.content["arrays"].items()} if arrays is None else arrays
    records = {"arrays": ArrayRecord({n: Array(a) for n, a in kept.items()})} if kept else {}
    return Message(RecordDict({**records, "metrics": MetricRecord({**(metrics or {}), "num-examples": 1}), **more}),
        reply_to=message)
"""
# The app's process, with the folder of the test's apps on its path; `{first}` runs before.
_COMMAND = (
    "import sys; sys.path.append({folder!r}); "
    "from isthmus_node.training import child, confinement; {first}; child.main()"
)


class Shop:
    """A folder of apps."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._monkeypatch = monkeypatch
        monkeypatch.syspath_prepend(str(folder))
        self.child()

    def child(self, first: str = "pass") -> None:
        """How the processes of apps begin from now on: with a guard left out, where `first` does that."""
        command = _COMMAND.format(folder=str(self.folder), first=first)
        self._monkeypatch.setattr(runner, "_CHILD", ("-I", "-c", command))

    def bring(self, name: str, code: str, whole: bool = False) -> Installed:
        """An app by its code: what stands below `FRAME`, or all of it."""
        package = self.folder / f"{name}_package"
        package.mkdir(exist_ok=True)
        text = textwrap.dedent(code)
        (package / "__init__.py").write_text(text if whole else FRAME + text)
        described = self.folder / f"{name}_package-1.dist-info"
        described.mkdir(exist_ok=True)
        (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-package\nVersion: 1\n")
        (described / "entry_points.txt").write_text(f"[isthmus.client_apps]\n{name} = {name}_package\n")
        importlib.invalidate_caches()
        return find(name)


def some_rows(n: int = 60, seed: int = 1) -> Given:
    """Rows of n persons, of whom a quarter is held out; two columns, an outcome of two levels."""
    generator = np.random.default_rng(seed)
    X = generator.standard_normal((n, 2))
    y = (X[:, 0] + generator.standard_normal(n) > 0).astype(np.float64)
    return Given(X, y, np.arange(n), np.arange(n) % 4 == 0, ("a", "b"), ("no", "yes"))
