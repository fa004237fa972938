"""Strategies that do what none should, processes that die, coordinators that stop: a training ends or goes on, said."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from isthmus.v1 import study_pb2
from isthmus_coordinator.training.half import Trainings
from isthmus_coordinator.training.process import Bounds, StrategyProcess
from isthmus_methods import contract as c
from isthmus_trust.documents import digest

from .training_kit import FEDAVG, TrainingNode, TrainingRegion, attached, training_region

pytestmark = pytest.mark.processes


@pytest.fixture
def region(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TrainingRegion]:
    region = training_region(tmp_path, monkeypatch)
    yield region
    region.stop()


def odd(name: str, **arguments: c.Setting) -> c.Strategy:
    return c.Strategy(f"odd_strategies:{name}", arguments)


def process_of(region: TrainingRegion, run: bytes) -> StrategyProcess:
    """The strategy's process of a run."""
    trainings: Trainings = region.coordinator.rounds._trainings
    return trainings._standing[run].process


def gone(pid: int) -> bool:
    """Whether a process has ended and was waited for."""
    return not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize(
    ("strategy", "code", "asked"),
    [
        (odd("Raises"), "STRATEGY_FAILED", 1),
        (odd("Nobody"), "NOTHING_TRAINED", 0),
        (odd("Stranger"), "UNKNOWN_NODE", 0),
        (odd("Different"), "NOT_ONE_MODEL", 0),
        (odd("NeverEnds"), "TOO_MANY_ROUNDS", 6),
        (odd("Dies"), "STRATEGY_DIED", 1),
    ],
    ids=lambda value: value.name if isinstance(value, c.Strategy) else "",
)
def test_what_no_strategy_should_do_ends_the_run(
    region: TrainingRegion, strategy: c.Strategy, code: str, asked: int
) -> None:
    nodes = attached(region)
    result = region.result(region.train(region.approved(nodes), region.plan(strategy, rounds=3)))
    assert (result.state, result.failure.code) == ("failed", code)
    assert "secret" not in str(result)
    assert len(nodes[0].asked) == asked


def test_a_strategy_that_asks_one_node_is_refused_by_that_node(region: TrainingRegion) -> None:
    nodes = attached(region)
    nodes[0].refuse_from = 1
    result = region.result(region.train(region.approved(nodes), region.plan(odd("One"))))
    assert (result.state, result.failure.code) == ("failed", "CONTRIBUTORS")


@pytest.mark.parametrize("name", ["Hangs", "Spins"])
def test_a_strategy_that_does_not_come_back_is_ended(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    region = training_region(tmp_path, monkeypatch, "seconds = 4")
    nodes = attached(region)
    arguments: dict[str, c.Setting] = {"pids": "/dev/null"} if name == "Hangs" else {}
    for node in nodes:
        node.silent = True
    run = region.train(region.approved(nodes), region.plan(odd(name, **arguments)))
    region.watch(run, lambda p: p.round == 1)
    pid = process_of(region, run).pid
    for node in nodes:
        task = node.next("task")
        node.silent = False
        node._answer(task)
    result = region.result(run)
    assert (result.failure.code, gone(pid)) == ("STRATEGY_TOO_SLOW", True)
    region.stop()


def test_a_strategy_has_the_memory_that_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    region = training_region(tmp_path, monkeypatch, "memory_mib = 2048")
    nodes = attached(region)
    result = region.result(region.train(region.approved(nodes), region.plan(odd("TakesMemory"))))
    assert result.failure.code == "OUT_OF_MEMORY"
    region.stop()


def test_what_a_strategy_prints_goes_nowhere(
    region: TrainingRegion, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_SECRET", "s3cr3t")
    nodes = attached(region)
    study_digest = region.approved(nodes)
    assert region.result(region.train(study_digest, region.plan(odd("Talks"), rounds=1))).state == "done"
    assert region.result(region.train(study_digest, region.plan(odd("LooksAround"), rounds=1))).state == "done"
    told = capfd.readouterr()
    assert "secret" not in told.out + told.err


# --------------------------------------------------------------------------- its process


def waiting(region: TrainingRegion, rounds: int = 3) -> tuple[bytes, list[TrainingNode], int]:
    """A training in its third round, which nobody answers."""
    nodes = attached(region)
    for node in nodes:
        node.silent_from = 3
    run = region.train(region.approved(nodes), region.plan(FEDAVG, rounds=rounds))
    region.watch(run, lambda p: p.round == 3)
    return run, nodes, process_of(region, run).pid


def answer_all(nodes: list[TrainingNode]) -> None:
    for node in nodes:
        node.silent_from = 10**9
    for node in nodes:
        # attach anew: what waits is sent again
        node.detach()
        node.attach()


def model_of(region: TrainingRegion, rounds: int) -> np.ndarray:
    nodes: list[TrainingNode] = [member for member in region.members if isinstance(member, TrainingNode)]
    for node in nodes:
        node.silent_from = 10**9
    run = region.train(region.approved(nodes, version=2), region.plan(FEDAVG, rounds=rounds))
    assert region.result(run).state == "done"
    return region.model(run)["weights"]


def test_a_process_that_is_killed_is_built_again(region: TrainingRegion) -> None:
    run, nodes, pid = waiting(region)
    os.kill(pid, signal.SIGKILL)
    answer_all(nodes)
    assert region.result(run).state == "done"
    assert len(nodes[0].asked) == 6
    np.testing.assert_array_equal(region.model(run)["weights"], model_of(region, 3))
    assert gone(pid)


@pytest.mark.parametrize(
    "strategy",
    [
        FEDAVG,
        c.Strategy("FedAdam"),
        c.Strategy(
            "DifferentialPrivacyServerSideFixedClipping",
            {"noise_multiplier": 1.0, "clipping_norm": 0.5, "num_sampled_clients": 2},
            c.Strategy("FedAvg", {"fraction_train": 0.7}),
        ),
    ],
    ids=lambda strategy: strategy.name,
)
def test_a_training_goes_on_after_a_restart_as_if_nothing_had_been(
    region: TrainingRegion, strategy: c.Strategy
) -> None:
    """Noise and samples of before are drawn again, for a strategy's chance comes from what the run keeps."""
    nodes = attached(region)
    for node in nodes:
        node.silent_from = 5
    run = region.train(region.approved(nodes), region.plan(strategy, rounds=4))
    region.watch(run, lambda p: p.round == 5)
    before = process_of(region, run).pid
    region.restart()
    assert gone(before)
    for node in nodes:
        node.silent_from = 10**9
        node.attach()
    result = region.result(run)
    assert (result.state, result.failure.message) == ("done", "")
    assert region.model(run)["weights"].shape == (2,)


def test_a_large_model_goes_on_after_a_restart(region: TrainingRegion) -> None:
    nodes = attached(region)
    for node in nodes:
        node.silent_from = 3
    run = region.train(region.approved(nodes), region.plan(FEDAVG, rounds=2, more=300_000))
    region.watch(run, lambda p: p.round == 3)
    with region.coordinator.office.database.read() as connection:
        # what the strategy is told again
        assert connection.exec_driver_sql("select count(*) from submission_parts").scalar_one() > len(nodes)
    region.restart()
    for node in nodes:
        node.silent_from = 10**9
        node.attach()
    assert region.result(run).state == "done"
    np.testing.assert_array_equal(region.model(run)["a-first"], np.ones(300_000, dtype=np.float32))


def test_a_strategy_that_asks_something_else_after_a_restart_ends_the_run(region: TrainingRegion) -> None:
    nodes = attached(region)
    for node in nodes:
        node.silent_from = 3
    run = region.train(region.approved(nodes), region.plan(odd("DrawsElsewhere"), rounds=3))
    region.watch(run, lambda p: p.round == 3)
    region.restart()
    for node in nodes:
        node.silent_from = 10**9
        node.attach()
    assert region.result(run).failure.code == "STRATEGY_NOT_REPEATED"


def test_a_run_whose_answers_were_all_there_when_it_stopped_goes_on(
    region: TrainingRegion, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last answer is stored and acknowledged before the strategy is asked: a stop between the two loses nothing."""
    nodes = attached(region)
    for node in nodes:
        node.silent_from = 2
    run = region.train(region.approved(nodes), region.plan(FEDAVG, rounds=2))
    region.watch(run, lambda p: p.round == 2)
    rounds, reached = region.coordinator.rounds, threading.Event()
    monkeypatch.setattr(rounds, "_ask_strategy", lambda _live, _run: reached.set())
    answer_all(nodes)
    assert reached.wait(20)
    region.restart()
    for node in nodes:
        node.attach()
    assert region.result(run).state == "done"


def test_cancelling_ends_the_process(region: TrainingRegion) -> None:
    run, _, pid = waiting(region)
    live = region.coordinator.rounds.find(run)
    assert live is not None
    region.coordinator.rounds.cancel(live)
    assert (region.result(run).state, gone(pid)) == ("cancelled", True)


def test_cancelling_ends_a_process_that_hangs(region: TrainingRegion, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pids")
    nodes = attached(region)
    run = region.train(region.approved(nodes), region.plan(odd("Hangs", pids=str(tmp_path / "pids"))))
    pid = int((tmp_path / "pids").read_text())
    live = region.coordinator.rounds.find(run)
    assert live is not None
    region.coordinator.rounds.cancel(live)
    assert (region.result(run).state, gone(pid)) == ("cancelled", True)


def test_a_run_that_is_done_leaves_no_process(region: TrainingRegion) -> None:
    nodes = attached(region)
    run = region.train(region.approved(nodes), region.plan(FEDAVG, rounds=1))
    assert region.result(run).state == "done"
    assert region.coordinator.rounds._trainings._standing == {}


def test_a_process_dies_with_its_coordinator(region: TrainingRegion, tmp_path: Path) -> None:
    """The end of a pipe that only the coordinator holds is what tells it, whatever the strategy is at."""
    os.mkfifo(tmp_path / "pids")
    nodes = attached(region)
    run = region.train(region.approved(nodes), region.plan(odd("Hangs", pids=str(tmp_path / "pids"))))
    pid = int((tmp_path / "pids").read_text())
    process = process_of(region, run)
    os.close(process._lifeline)
    process._lifeline = -1
    process._process.wait(20)
    assert process.pid == pid


def test_a_process_that_never_comes_up_is_told_of(monkeypatch: pytest.MonkeyPatch, region: TrainingRegion) -> None:
    monkeypatch.setattr("isthmus_coordinator.training.process.MODULE", "isthmus_coordinator.no_such_module")
    with pytest.raises(Exception, match="STRATEGY_DIED"):
        region.train(region.approved(attached(region)), region.plan(FEDAVG))


def test_without_bounds_no_strategy_runs(region: TrainingRegion) -> None:
    """As where a service's unit does not let it have any; a file of the app's folder stands in for the system."""
    (region.site / "resource.py").write_text(
        "RLIMIT_AS = RLIMIT_CORE = RLIMIT_FSIZE = RLIMIT_CPU = RLIM_INFINITY = RUSAGE_SELF = 0\n"
        "def setrlimit(*_): raise PermissionError\n"
        "def getrusage(_): raise PermissionError\n"
    )
    with pytest.raises(Exception, match="NOT_BOUNDED"):
        region.train(region.approved(attached(region)), region.plan(FEDAVG))


def test_bounds_hold_for_a_model(region: TrainingRegion, monkeypatch: pytest.MonkeyPatch) -> None:
    trainings = region.coordinator.rounds._trainings
    monkeypatch.setattr(trainings, "_bounds", replace(trainings._bounds, most_bytes=1000))
    assert isinstance(trainings._bounds, Bounds)
    nodes = attached(region)
    result = region.result(region.train(region.approved(nodes), region.plan(FEDAVG, more=1000)))
    assert result.failure.code == "MODEL_TOO_LARGE"


# --------------------------------------------------------------------------- countries


def test_a_missing_country_ends_the_training(region: TrainingRegion) -> None:
    run, nodes, pid = waiting(region)
    region.forward(4000)
    result = region.result(run)
    assert (result.state, result.failure.code, gone(pid)) == ("failed", "DEADLINE_PASSED", True)
    assert len(nodes[0].asked) == 2


def test_a_training_starts_again_without_a_country_where_the_study_says_so(region: TrainingRegion) -> None:
    nodes = attached(region)
    nodes[2].refuse_from = 2
    study_digest = region.approved(nodes)
    run = region.train(study_digest, region.plan(FEDAVG, rounds=2), study_pb2.GO_ON_WITHOUT)
    result = region.result(run)
    assert (result.state, [one.state for one in result.contributions]) == (
        "done",
        ["contributed", "contributed", "refused"],
    )
    # two rounds with it, then four of their own
    assert [list(task.participants) for task, _ in nodes[0].asked] == [["nl", "be", "de"]] * 2 + [["nl", "be"]] * 4
    assert any("DE is not in this result" in caveat for caveat in result.caveats)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (("arrays", "weights"), np.zeros(3)),
        (("arrays", "weights"), np.zeros(2, dtype=np.float32)),
        (("arrays", "weights"), None),
        (("arrays", "another"), np.zeros(1)),
    ],
    ids=["another shape", "another type", "missing", "one too many"],
)
def test_weights_that_are_not_the_models_end_the_run(
    region: TrainingRegion, key: tuple[str, str], value: np.ndarray | None
) -> None:
    nodes = attached(region)
    nodes[1].changes = {key: value}
    result = region.result(region.train(region.approved(nodes), region.plan(FEDAVG)))
    assert result.failure.code == "WRONG_ANSWER"


def test_a_reply_is_from_whom_the_certificate_says(region: TrainingRegion) -> None:
    """A node that answers in another's name is turned away, and its words reach no strategy."""
    nodes = attached(region)
    nodes[0].silent = nodes[1].silent = True
    region.train(region.approved(nodes), region.plan(FEDAVG))
    task = nodes[0].next("task")
    nodes[0].name, name = nodes[1].name, nodes[0].name
    forged = nodes[0].answer_to(task)
    nodes[0].name = name
    with pytest.raises(Exception, match="FOREIGN_ANSWER"):
        nodes[0].submit(forged, digest(task.body))
