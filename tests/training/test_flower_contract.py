"""What the adapter relies on in Flower, name by name: a release that changes one of these is seen here first."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, strategy as strategies
from flwr.serverapp.strategy import FedAvg, Result, Strategy
from flwr.supercore.task_identity import TaskIdentity

from isthmus_training import flower
from isthmus_training.exchange import EXAMPLES, Ask, Carried, NotCarried, Reply
from isthmus_training.shipped import asked

ROOT = Path(__file__).resolve().parents[2]
ADAPTER = ROOT / "training/isthmus_training/flower.py"
# Promised by Flower's documentation; all else is for the adapter alone.
DOCUMENTED = {"flwr.app", "flwr.clientapp", "flwr.serverapp", "flwr.serverapp.strategy"}
# what apps use besides
MODS = "flwr.clientapp.mod"


def _flower_imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] == "flwr"}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "flwr":
            found.add(str(node.module))
    return found


def test_only_the_adapter_imports_what_flower_does_not_promise() -> None:
    folders = ("training/isthmus_training", "node/isthmus_node", "coordinator/isthmus_coordinator", "client")
    modules = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    found = {str(path.relative_to(ROOT)) for path in modules if _flower_imports(path) - DOCUMENTED - {MODS}}
    assert found == {"training/isthmus_training/flower.py"}


def test_the_adapter_relies_on_these_names_and_no_others() -> None:
    assert _flower_imports(ADAPTER) == DOCUMENTED | {"flwr.supercore.task_identity"}


def test_names_by_which_flowers_wrappers_and_mods_speak_of_clipping_are_the_apps() -> None:
    from flwr.supercore import differential_privacy

    assert differential_privacy.KEY_CLIPPING_NORM == asked.CLIPPING_NORM
    assert differential_privacy.KEY_NORM_BIT == asked.NORM_BIT


def test_telemetry_and_update_checks_are_off_before_the_import() -> None:
    script = (
        "import sys\n"
        "class Watch:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'flwr':\n"
        "            import os\n"
        "            print(os.environ.get('FLWR_TELEMETRY_ENABLED'), os.environ.get('FLWR_DISABLE_UPDATE_CHECK'))\n"
        "sys.meta_path.insert(0, Watch())\n"
        "import isthmus_training.flower\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "1"]


def test_a_coordinator_does_not_load_flower_itself() -> None:
    script = (
        "import sys, isthmus_coordinator.cli, isthmus_coordinator.service, isthmus_coordinator.training.half\n"
        "import isthmus_coordinator.link.port, isthmus_coordinator.training.process\n"
        "print([name for name in sys.modules if name.split('.')[0] == 'flwr'])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "name", ["FedAvg", "FedProx", "FedAdam", "FedMedian", "Krum", "DifferentialPrivacyServerSideFixedClipping"]
)
def test_strategies_stand_under_their_names(name: str) -> None:
    assert issubclass(getattr(strategies, name), Strategy)


def test_a_strategy_is_started_with_these_arguments() -> None:
    assert {"grid", "initial_arrays", "num_rounds"} <= set(inspect.signature(Strategy.start).parameters)
    assert "arrays" in Result.__dataclass_fields__


def test_a_grid_has_these_methods_to_be_given() -> None:
    assert Grid.__abstractmethods__ == {
        "set_run",
        "run",
        "create_message",
        "get_node_ids",
        "push_messages",
        "pull_messages",
        "send_and_receive",
    }


def test_a_task_has_an_identity_for_the_whole_process(identity: None) -> None:
    assert (TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id) == (7, 0, 7)


@pytest.fixture
def identity() -> None:
    flower.identify(7, 0)


def _record(**changes: object) -> RecordDict:
    record = RecordDict({"arrays": ArrayRecord({"w": Array(np.array([1.0, 2.0]))}), "config": ConfigRecord({"k": 1})})
    record.update(changes)  # type: ignore[arg-type]
    return record


def _grid(replies: dict[int, Reply]) -> tuple[flower.CarriedGrid, list[tuple[Ask, tuple[int, ...]]]]:
    carried: list[tuple[Ask, tuple[int, ...]]] = []

    def carry(ask: Ask, nodes: tuple[int, ...]) -> Carried:
        carried.append((ask, nodes))
        return Carried(replies)

    return flower.CarriedGrid((1, 2), carry), carried


def test_a_round_goes_out_once_and_comes_back_by_node(identity: None) -> None:
    given = {n: Reply({"w": np.array([float(n), 0.0])}, {EXAMPLES: 10.0 * n, "loss": 0.5}) for n in (1, 2)}
    grid, carried = _grid(given)
    record = _record()
    replies = grid.send_and_receive([Message(record, node, "train") for node in (2, 1)])
    (ask, nodes) = carried[0]
    assert (ask.type, dict(ask.config), nodes) == ("train", {"k": 1}, (1, 2))
    np.testing.assert_array_equal(ask.arrays["w"], [1.0, 2.0])
    assert [reply.metadata.src_node_id for reply in replies] == [1, 2]
    assert [reply.content["metrics"][EXAMPLES] for reply in replies] == [10.0, 20.0]
    np.testing.assert_array_equal(replies[1].content["arrays"]["w"].numpy(), [2.0, 0.0])


def _changed_on_the_way() -> object:
    record = _record()
    for node in (1, 2):
        record["config"] = ConfigRecord({"k": node})
        yield Message(record, node, "train")


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        (lambda: [Message(_record(), 3, "train")], "UNKNOWN_NODE"),
        (lambda: [Message(_record(), 1, "train")] * 2, "ASKED_TWICE"),
        (
            lambda: [
                Message(_record(), 1, "train"),
                Message(_record(arrays=ArrayRecord({"w": Array(np.array([1.0, 2.5]))})), 2, "train"),
            ],
            "NOT_ONE_MODEL",
        ),
        (lambda: [Message(_record(), 1, "train"), Message(_record(), 2, "evaluate")], "NOT_ONE_MODEL"),
        (_changed_on_the_way, "NOT_ONE_MODEL"),
        (lambda: [Message(_record(), 1, "query")], "UNSUPPORTED_MESSAGE"),
        (lambda: [Message(_record(), 1, "train.other")], "UNSUPPORTED_MESSAGE"),
        (lambda: [Message(_record(more=ArrayRecord()), 1, "train")], "UNSUPPORTED_MESSAGE"),
        (lambda: [Message(_record(m=MetricRecord({"a": 1.0})), 1, "train")], "UNSUPPORTED_MESSAGE"),
        (lambda: [Message(_record(config=ConfigRecord({"k": b"code"})), 1, "train")], "UNSUPPORTED_CONFIG"),
        (
            lambda: [Message(_record(arrays=ArrayRecord({"w": Array(np.array([1], dtype=np.int32))})), 1, "train")],
            "UNSUPPORTED_ARRAY",
        ),
        (
            lambda: [Message(_record(arrays=ArrayRecord({"w": Array("x", (1,), "pickle", b"c")})), 1, "train")],
            "UNSUPPORTED_ARRAY",
        ),
    ],
)
def test_what_is_not_one_model_for_all_is_not_carried(messages: object, code: str, identity: None) -> None:
    grid, carried = _grid({})
    with pytest.raises(NotCarried) as caught:
        grid.send_and_receive(messages())  # type: ignore[operator]
    assert (caught.value.code, carried) == (code, [])


def test_equal_messages_made_one_by_one_are_one_model(identity: None) -> None:
    grid, carried = _grid({n: Reply({}, {EXAMPLES: 1.0}) for n in (1, 2)})
    grid.send_and_receive([Message(_record(), node, "evaluate") for node in (1, 2)])
    assert len(carried) == 1


def test_a_strategy_that_waits_for_nodes_that_never_come_is_ended(identity: None, monkeypatch: object) -> None:
    grid, _ = _grid({})
    monkeypatch.setattr("flwr.serverapp.strategy.strategy_utils.sleep", lambda _seconds: None)  # type: ignore[attr-defined]
    strategy = FedAvg(min_available_nodes=3)
    with pytest.raises(NotCarried) as caught:
        flower.run_strategy(strategy, grid, {"w": np.zeros(2)}, 1)
    assert caught.value.code == "TOO_FEW_NODES"


def test_an_app_answers_through_the_adapter(identity: None) -> None:
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        step = float(context.run_config["learning-rate"]) * float(message.content["config"]["scale"])
        weights = message.content["arrays"]["w"].numpy() + step
        content = RecordDict(
            {"arrays": ArrayRecord({"w": Array(weights)}), "metrics": MetricRecord({EXAMPLES: 3, "loss": 0.25})}
        )
        return Message(content, reply_to=message)

    context = flower.context_of(7, 2, {"learning-rate": 0.5})
    reply = flower.call_app(app, Ask("train", {"w": np.array([1.0, 2.0])}, {"scale": 2.0}), context)
    np.testing.assert_array_equal(reply.arrays["w"], [2.0, 3.0])
    assert dict(reply.metrics) == {EXAMPLES: 3.0, "loss": 0.25}


@pytest.mark.parametrize(
    ("metrics", "code"), [({"list": [1.0, 2.0]}, "UNSUPPORTED_METRIC"), (None, "NO_REPLY")], ids=["a list", "nothing"]
)
def test_an_app_returns_single_measures_or_nothing(metrics: object, code: str, identity: None) -> None:
    app = ClientApp()

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message | None:
        if metrics is None:
            return None
        return Message(RecordDict({"metrics": MetricRecord(metrics)}), reply_to=message)  # type: ignore[arg-type]

    with pytest.raises(NotCarried) as caught:
        flower.call_app(app, Ask("evaluate", {"w": np.zeros(1)}), flower.context_of(7, 1, {}))
    assert caught.value.code == code
