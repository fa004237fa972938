"""Setting up a whole network of real processes on loopback, and looking at what it did."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from isthmus_client.demo import COUNTRIES, DATASET, example_folder
from isthmus_client.proposal import study_from_toml
from isthmus_client.results.fit import Fit
from isthmus_client.sandbox import Process, Sandbox

ROOT = Path(__file__).resolve().parents[2]
FAULTY = Path(__file__).with_name("faulty.py")
FULL_MODEL = "Surv(rfstime, status) ~ hormon + age + meno + size + grade + nodes + pgr + er"


def set_up(box: Sandbox, *more: str, study: Path | None = None) -> str:
    """Coordinator, four countries with their rows, the study approved; the study's name."""
    example = example_folder()
    box.init_coordinator()
    box.start_coordinator()
    box.join(COUNTRIES)
    box.login("statistician")
    box.at_each_node(
        {
            node: ("data", "add", str(example / "data" / f"{country}.csv"), "--dataset", DATASET, *more)
            for node, country in COUNTRIES.items()
        }
    )
    box.start_nodes(COUNTRIES)
    with box.connect() as connection:
        connection.propose(study_from_toml(study or example / "study.toml", connection.participants()))
        name = connection.study_lines()[0].name
    box.approve(name, COUNTRIES, "test")
    return name


def start_faulty(box: Sandbox, command: str, point: str, passing: int) -> Process:
    """Start the coordinator or a node (``isthmus-node:nl``) with a fault in it."""
    program, _, node = command.partition(":")
    name = node or "coordinator"
    arguments = ["run", "--home", str(box.node_home(node) if node else box.coordinator_home)]
    process = Process.start(
        name,
        [sys.executable, str(FAULTY), program, point, str(passing), *arguments],
        box.home / "logs" / f"{name}.log",
        {},
    )
    box.processes[name] = process
    return process


def answer_bytes(fit: Fit) -> bytes:
    """The statistical answer, to the bit."""
    return fit.result.answer.SerializeToString(deterministic=True)


def listeners(pids: list[int]) -> list[int]:
    """Those of the processes that still run."""
    return [pid for pid in pids if Path(f"/proc/{pid}").exists() and "Z" not in _state(pid)]


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return "Z"


def case(name: str) -> dict[str, object]:
    """Expected answers of a vendored reference case."""
    loaded: dict[str, object] = json.loads((ROOT / "tests/reference" / name / "expected.json").read_text())
    return loaded


def released(box: Sandbox, node: str) -> int:
    """How many releases a node's journal holds."""
    verified = box.node(node, "journal", "verify")
    return int(verified["totals"]["releases"])  # type: ignore[index]


def run_program(program: str, *arguments: str, env: Mapping[str, str] | None = None) -> Ended:
    """One of the three commands as people start it, whatever comes of it."""
    return _ended([str(Path(sys.executable).with_name(program)), *arguments], env or {})


def run_script(script: str, *arguments: str, env: Mapping[str, str] | None = None) -> Ended:
    """A command under one of the wrappers of this folder."""
    return _ended([sys.executable, str(Path(__file__).with_name(script)), *arguments], env or {})


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command left behind."""

    code: int
    stdout: str
    stderr: str

    @property
    def error(self) -> dict[str, str]:
        """The error of its envelope (with ``--json``)."""
        found: dict[str, str] = json.loads(self.stdout)["error"]
        return found

    @property
    def everything(self) -> str:
        return self.stdout + self.stderr


def _ended(command: Sequence[str], env: Mapping[str, str]) -> Ended:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("ISTHMUS_") and not k.lower().endswith("_proxy")}
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
        env={**kept, "NO_COLOR": "1", **env},
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def wait_until(holds: Callable[[], bool]) -> None:
    """Ask until it holds; the test's own limit ends it where it never does."""
    while not holds():
        time.sleep(0.05)
