"""What tests of trainings share: an app and odd strategies in a folder of packages, and nodes that train on numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isthmus.v1 import analyst_pb2, exchange_pb2, study_pb2, summary_pb2
from isthmus.version import __version__
from isthmus_methods import codec, contract as c
from isthmus_methods.registry import find_procedure
from isthmus_methods.summary_codec import message_of, state_from_bytes
from isthmus_methods.training import arrays_of
from isthmus_training.apps import digest_of
from isthmus_trust.documents import REFUSAL, SUMMARY, canonical, digest

from .conftest import PATIENCE, FakeNode, Region, call

STEP = 0.1
FEDAVG = c.Strategy("FedAvg")
APP = '''
"""A linear model, of which the coordinator needs the starting values alone."""
version = "1"
settings = {"more": 0}
batch_setting = None
full_batch = True
metrics = {"loss": (0.0, 100.0), "norm_bit": (0.0, 1.0)}


def app(message, context):
    raise NotImplementedError


def start(columns, outcome_levels, settings, seed):
    import numpy as np

    arrays = {"weights": np.full(len(columns), float(seed)), "intercept": np.zeros(1)}
    if settings["more"]:
        arrays["a-first"] = np.zeros(settings["more"], dtype=np.float32)
    return arrays
'''
ODD = '''
"""Strategies that do what no strategy should."""
import os
import signal
import sys
import time

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp.strategy import FedAvg


class Raises(FedAvg):
    def aggregate_train(self, server_round, replies):
        raise RuntimeError("secret row 42")


class Hangs(FedAvg):
    def __init__(self, pids: str, **named):
        super().__init__(**named)
        self.pids = pids

    def aggregate_train(self, server_round, replies):
        # written through a pipe that the test made: this process may write no file
        with open(self.pids, "w") as told:
            told.write(str(os.getpid()))
        while True:
            time.sleep(1)


class Spins(FedAvg):
    def aggregate_train(self, server_round, replies):
        while True:
            pass


class Nobody(FedAvg):
    def configure_train(self, server_round, arrays, config, grid):
        return []

    configure_evaluate = configure_train


class One(FedAvg):
    def configure_train(self, server_round, arrays, config, grid):
        return self._construct_messages(
            RecordDict({"arrays": arrays, "config": config}), list(grid.get_node_ids())[:1], "train"
        )


class Stranger(FedAvg):
    def configure_train(self, server_round, arrays, config, grid):
        return self._construct_messages(RecordDict({"arrays": arrays, "config": config}), [1, 2, 99], "train")


class Different(FedAvg):
    def configure_train(self, server_round, arrays, config, grid):
        for node in grid.get_node_ids():
            yield Message(RecordDict({"arrays": arrays, "config": ConfigRecord({"for": node})}), node, "train")


class NeverEnds(FedAvg):
    def start(self, grid, initial_arrays, num_rounds=3, **named):
        while True:
            super().start(grid, initial_arrays, 1, **named)


class Talks(FedAvg):
    def aggregate_train(self, server_round, replies):
        print("secret", flush=True)
        os.write(1, b"secret")
        os.write(2, b"secret")
        return super().aggregate_train(server_round, replies)


class Dies(FedAvg):
    def aggregate_train(self, server_round, replies):
        os.kill(os.getpid(), signal.SIGKILL)


class DrawsElsewhere(FedAvg):
    def configure_train(self, server_round, arrays, config, grid):
        config["chance"] = int.from_bytes(os.urandom(6), "big")
        return super().configure_train(server_round, arrays, config, grid)


class TakesMemory(FedAvg):
    def aggregate_train(self, server_round, replies):
        self.kept = bytearray(4 << 30)


class LooksAround(FedAvg):
    """Fails unless it sees none of the coordinator's secrets."""

    def configure_train(self, server_round, arrays, config, grid):
        seen = {k for k in os.environ if "SECRET" in k} | {a for a in sys.argv if len(a) > 8 and "/" not in a}
        if seen:
            raise RuntimeError
        return super().configure_train(server_round, arrays, config, grid)
'''


class TrainingNode(FakeNode):
    """A node without a gate that trains a linear model on numbers of its own: one step of gradient descent a round."""

    def __init__(self, region: Region, name: str, country: str, rows: int = 50) -> None:
        super().__init__(region, name, country, rows)
        chance = np.random.default_rng(len(name) + sum(name.encode()))
        n = 20 + 10 * (sum(name.encode()) % 7)
        self.X = chance.normal(size=(n, 2))
        self.y = self.X @ np.array([0.5, -1.0]) + 0.3 + chance.normal(size=n)
        self.asked: list[tuple[summary_pb2.Task, dict[str, np.ndarray]]] = []
        self.changes: dict[str, Any] = {}
        self.privacy: summary_pb2.PrivacySpent | None = None
        # Answers from this round on are refused.
        self.refuse_from = 10**9

    def model(self, task: summary_pb2.Task, task_digest: bytes) -> dict[str, np.ndarray]:
        if not task.state_digest:
            return arrays_of(codec.state_from_messages(task.state))
        request = exchange_pb2.FetchStateRequest(task=task_digest)
        body = b"".join(part.part for part in self.exchange.FetchState(request, timeout=PATIENCE))
        assert (digest(body), len(body)) == (task.state_digest, task.state_bytes)
        return arrays_of(state_from_bytes(body))

    def answer_to(self, signed: study_pb2.Signed) -> study_pb2.Signed:
        task, task_digest = summary_pb2.Task.FromString(signed.body), digest(signed.body)
        if task.round >= self.refuse_from:
            refusal = summary_pb2.Refusal(
                task=task_digest, node=self.name, country=self.country, code="CONTRIBUTORS", rule="r", remedy="m"
            )
            return self.identity.sign(REFUSAL, canonical(refusal))
        arrays = self.model(task, task_digest)
        self.asked.append((task, arrays))
        message = message_of(task)
        assert message is not None
        items = self.items(message.type, arrays)
        summary = summary_pb2.Summary(
            task=task_digest,
            node=self.name,
            country=self.country,
            items=items,
            policy_digest=b"p" * 32,
            dataset_digest=self.dataset_digest,
            software=__version__,
            privacy=self.privacy,
        )
        return self.identity.sign(SUMMARY, canonical(summary))

    def items(self, kind: str, arrays: dict[str, np.ndarray]) -> list[summary_pb2.Item]:
        found = {("arrays", name): values for name, values in self.trained(arrays).items()} if kind == "train" else {}
        found["examples", ""] = np.array([float(len(self.y))])
        found["metrics", "loss"] = np.array([self.loss(arrays)])
        found["metrics", "norm_bit"] = np.array([1.0])
        if kind == "evaluate":
            found["scores", ""] = np.array([[0, 50, 0, 3], [50, 100, 1, len(self.name)]])
        found.update(self.changes)
        return [
            summary_pb2.Item(field=name, label=label, value=codec.array_to_message(np.asarray(value)))
            for (name, label), value in found.items()
            if value is not None
        ]

    def residuals(self, arrays: dict[str, np.ndarray]) -> np.ndarray:
        return self.X @ arrays["weights"] + arrays["intercept"][0] - self.y

    def loss(self, arrays: dict[str, np.ndarray]) -> float:
        return float(np.mean(self.residuals(arrays) ** 2))

    def trained(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        off = self.residuals(arrays)
        steps = {"weights": self.X.T @ off / len(off), "intercept": np.array([off.mean()])}
        return {
            name: (values - STEP * steps[name] if name in steps else values + np.float32(0.5)).astype(values.dtype)
            for name, values in arrays.items()
        }


class TrainingRegion(Region):
    def find(self, name: str, version: int | None) -> c.Procedure:
        return find_procedure(name, version)

    def __init__(self, path: Path, settings: str = "", database: str = "") -> None:
        self.site = make_site(path / "site")
        odd = ", ".join(f'"odd_strategies:{name}"' for name in odd_names())
        super().__init__(path, database, f"\n[training]\nstrategies = [{odd}]\n{settings}\n")

    def node(self, name: str, country: str | None = None) -> TrainingNode:
        node = TrainingNode(self, name, country or name.upper())
        node.join()
        self.members.append(node)
        return node

    def study(self, nodes: list[FakeNode], **changes: Any) -> study_pb2.Study:
        """Without a plan: trainings are asked for as they come."""
        study = super().study(nodes, **changes)
        del study.plan[:]
        return study

    def plan(self, strategy: c.Strategy, rounds: int = 3, **settings: c.Setting) -> c.Spec:
        app = c.ClientApp("trainee", "1", digest_of(self.site / "trainee"))
        return c.Spec(
            "training",
            "ADTTE",
            roles={"outcome": (c.Ref("AVAL"),)},
            terms=(c.Term((c.Ref("AGE"),)), c.Term((c.Ref("TRT01P"),))),
            training=c.TrainingPlan(app, strategy, rounds, 0.2, 0, settings),
        )

    def train(
        self, study_digest: bytes, plan: c.Spec, missing: study_pb2.MissingCountry = study_pb2.FAIL, seconds: int = 3600
    ) -> bytes:
        analysis = study_pb2.Analysis(
            name="x", spec=codec.spec_to_message(plan), missing_country=missing, deadline_seconds=seconds
        )
        return self.submit(study_digest, exploratory=analysis)

    def model(self, run: bytes) -> dict[str, np.ndarray]:
        parts = self.lead.analyst.GetModel(analyst_pb2.GetModelRequest(run=run), timeout=PATIENCE)
        return arrays_of(state_from_bytes(b"".join(part.part for part in parts)))

    def explain(self, study_digest: bytes, plan: c.Spec) -> analyst_pb2.Explanation:
        analysis = study_pb2.Analysis(name="x", spec=codec.spec_to_message(plan), missing_country=study_pb2.FAIL)
        request = analyst_pb2.ExplainRequest(study_digest=study_digest, analysis=analysis)
        reply: analyst_pb2.Explanation = call(self.lead.analyst.Explain, request)
        return reply


def attached(region: TrainingRegion, names: tuple[str, ...] = ("nl", "be", "de")) -> list[TrainingNode]:
    """Nodes of these names that are there."""
    nodes = [region.node(name) for name in names]
    for node in nodes:
        node.attach()
    return nodes


def odd_names() -> list[str]:
    return [line.split()[1].split("(")[0] for line in ODD.splitlines() if line.startswith("class ")]


def make_site(path: Path) -> Path:
    (path / "trainee").mkdir(parents=True)
    (path / "trainee/__init__.py").write_text(APP)
    (path / "odd_strategies.py").write_text(ODD)
    about = path / "trainee-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: trainee\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[isthmus.client_apps]\ntrainee = trainee\n")
    return path


def training_region(path: Path, monkeypatch: pytest.MonkeyPatch, settings: str = "") -> TrainingRegion:
    monkeypatch.setenv("PYTHONPATH", str(path / "site"))
    return TrainingRegion(path, settings)
