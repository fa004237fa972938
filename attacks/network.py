"""The network of an attack: a coordinator, the victim's country twice (once to be left unguarded), two more."""

from __future__ import annotations

import os
import sys
import urllib.request
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from attacks import rows
from attacks.circumstances import APPS
from attacks.hostile import Hostile
from isthmus_client.proposal import study_from_toml
from isthmus_client.sandbox import Process, Sandbox, free_port
from isthmus_node.commands.unlocking import locks_of
from isthmus_node.config import load
from isthmus_node.homes import find_home
from isthmus_training.apps import find

ROOT = Path(__file__).resolve().parents[1]
GUARDED, UNGUARDED = "aa", "ab"
COUNTRIES: Mapping[str, str] = MappingProxyType({"aa": "AA", "ab": "AB", "bb": "BB", "cc": "CC"})
SEEDS: Mapping[str, int] = MappingProxyType({"aa": 1, "ab": 1, "bb": 2, "cc": 3})
PURPOSES: Mapping[str, str] = MappingProxyType(
    # what is told of "pooled" is of all countries together
    {"trial": "trial analysis", "publication": "publication", "pooled": "trial analysis", "sealed": "trial analysis"}
)
HONEST = "honest"
# Seconds that a node may take to start on a machine with much else to do.
START = 180.0


@dataclass(slots=True)
class Network:
    """Real processes on loopback, and how each of the victim's nodes runs now."""

    box: Sandbox
    hostile: Hostile
    health: dict[str, int] = field(default_factory=dict)
    running: dict[str, tuple[str, str, str]] = field(default_factory=dict)  # coordinator, guards out, circumstances
    coordinated: str = "-"  # guards that the coordinator is without

    @classmethod
    def set_up(cls, folder: Path) -> Network:
        """Everybody joined, rows registered, studies approved; the victim's nodes are started when needed."""
        box = Sandbox(folder, name="attacks")
        box.init_coordinator()
        box.start_coordinator()
        box.join(COUNTRIES)
        box.login("attacker")
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda node: _furnish(box, node), COUNTRIES))
        network = cls(box, Hostile(box.coordinator_home))
        box.start_nodes(["bb", "cc"])
        network.health = {node: free_port() for node in COUNTRIES}
        for node in (GUARDED, UNGUARDED):
            network.run_as(node)
        _propose(box)
        return network

    def close(self) -> None:
        self.box.close()
        self.hostile.close()

    def record(self, node: str) -> Path:
        """Where the bytes are written down that a node hands to gRPC."""
        return self.box.home / f"{node}.record"

    def run_as(self, node: str, coordinator: str = HONEST, guards: str = "-", given: str = "-") -> None:
        """Have one of the victim's nodes run with these guards left out; where it does so already it goes on."""
        wanted = (coordinator, guards, given)
        if self.running.get(node) == wanted and self.box.processes[node].running:
            return
        if node in self.box.processes:
            self.box.processes[node].stop()
        self.record(node).touch()
        self.hostile.forget(node)
        address = {} if coordinator == HONEST else {"ISTHMUS_COORDINATOR": self.hostile.address}
        process = Process.start(
            f"node {node}",
            [sys.executable, "-m", "attacks.unguarded", str(self.record(node)), guards, given, "run"],
            self.box.home / "logs" / f"node-{node}.log",
            {
                "ISTHMUS_HOME": str(self.box.node_home(node)),
                "ISTHMUS_HEALTH_PORT": str(self.health[node]),
                **paths(),
                **address,
            },
        )
        self.box.processes[node] = process
        process.wait_ready(START)
        if coordinator != HONEST:
            self.hostile.wait_for(node)
        self.running[node] = wanted

    def coordinate_as(self, guards: str = "-") -> None:
        """Have the honest coordinator run with these guards left out; where it does so already it goes on."""
        if self.coordinated == guards:
            return
        self.box.processes["coordinator"].stop()
        home = str(self.box.coordinator_home)
        process = Process.start(
            "coordinator",
            [sys.executable, "-m", "attacks.unguarded_coordinator", guards, "run", "--home", home],
            self.box.home / "logs" / "coordinator.log",
            paths(),
        )
        self.box.processes["coordinator"] = process
        process.wait_ready(START)
        self.coordinated = guards

    def register(self, node: str, dataset: str, file: Path) -> None:
        """A site's dataset comes from this file now."""
        self.box.node(node, "data", "add", str(file), "--dataset", dataset, "--replace")

    def adopt_policy(self, node: str) -> None:
        """The custodian signs policy.toml as it stands."""
        self.box.node(node, "policy", "adopt", "--reason", "attacks")

    def unlock(self, node: str) -> None:
        """The custodian looks at what a run of refusals has locked, and unlocks it."""
        for study in sorted({lock.study for lock in locks_of(load(find_home(self.box.node_home(node)), env={}))}):
            self.box.node(node, "unlock", study, "--reason", "attacks")

    def metrics(self, node: str) -> str:
        """What the node tells whoever watches the machine."""
        address = f"http://127.0.0.1:{self.health[node]}/metrics"
        with urllib.request.urlopen(address, timeout=10) as answer:
            return str(answer.read().decode("utf-8"))


def paths() -> dict[str, str]:
    """Where a process finds this package."""
    return {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)}


def study_name(node: str, purpose: str) -> str:
    """The study in which the victim's country is this node."""
    return f"{'GUARDED' if node == GUARDED else 'UNGUARDED'}-{purpose.upper()}"


def _furnish(box: Sandbox, node: str) -> None:
    files = rows.write(box.home / "rows", COUNTRIES[node], SEEDS[node], node in (GUARDED, UNGUARDED))
    for dataset, path in files.items():
        box.node(node, "data", "add", str(path), "--dataset", dataset)
    policy = box.node_home(node) / "policy.toml"
    text = policy.read_text(encoding="utf-8")
    # an analyst whom the custodian trusts more than he should: what is left is the gate
    text = text.replace('analyses = "ask"', 'analyses = "allow"', 1)
    # what is published of a model has noise
    head, _, published = text.partition("[purpose.publication]")
    noise = {"update_norm = 1e300": "update_norm = 1.0  ", "update_noise = 0.0": "update_noise = 4.0"}
    for default, own in noise.items():
        published = published.replace(default, own, 1)
    policy.write_text(f"{head}[purpose.publication]{published}\n{_allowed_apps()}", encoding="utf-8")
    box.node(node, "policy", "adopt", "--reason", "attacks")


def _allowed_apps() -> str:
    """The lines of a policy that let a shipped app and one of the attacker's train."""
    if str(APPS) not in sys.path:
        sys.path.append(str(APPS))
    return "\n".join(["[training]", *(find(name).policy_lines for name in ("logistic", "attack-last"))])


def _propose(box: Sandbox) -> None:
    names = {}
    with box.connect() as connection:
        for node in (GUARDED, UNGUARDED):
            for purpose, words in PURPOSES.items():
                path = box.home / f"{study_name(node, purpose)}.toml"
                path.write_text(study_toml(node, purpose, words), encoding="utf-8")
                connection.propose(study_from_toml(path, connection.participants()))
                names[study_name(node, purpose)] = (node, "bb", "cc")
    for name, nodes in names.items():
        box.approve(name, nodes, "attacks")


def study_toml(node: str, purpose: str, words: str) -> str:
    """A study of three countries, one of them the victim's, with nothing in its plan."""
    return (
        f'name = "{study_name(node, purpose)}"\n'
        'title = "A study that lets analyses outside its plan through"\n'
        'rationale = "What can be found out of one person?"\n'
        'recipients = ["those who test isthmus"]\n'
        f"by_country = {str(purpose not in ('pooled', 'sealed')).lower()}\n"
        f'mode = "{"sealed" if purpose == "sealed" else "open"}"\n'
        f'exploratory_purpose = "{words}"\nparticipants = ["{node}", "bb", "cc"]\n\n' + rows.dictionary()
    )
