"""Power cuts in the middle of sealed rounds: the fit goes on, or begins again with new keys; its answer is the same."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from faulty import EXIT, SEALED_COORDINATOR, SEALED_NODE
from network_kit import answer_bytes, start_faulty
from sealed_kit import propose

from isthmus.errors import IsthmusError
from isthmus_client.demo import COUNTRIES
from isthmus_client.plan import Plan
from isthmus_client.sandbox import Sandbox
from isthmus_node.egress.journal_read import read

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("network"), pytest.mark.timeout(300)]
STUDY = "SEALED-FAULTS"


@pytest.fixture(scope="module")
def undisturbed(network: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The answer of a fit that nothing happened to."""
    propose(network, tmp_path_factory.mktemp("faults"), STUDY, "sealed")
    with network.connect() as connection:
        return answer_bytes(connection.study(STUDY).planned("cox").run(progress=False))


@pytest.fixture
def mended(network: Sandbox) -> Iterator[Sandbox]:
    yield network
    if not network.processes["coordinator"].running:
        network.start_coordinator()
    if not network.processes["be"].running:
        network.start_nodes(["be"])


def attempts(box: Sandbox, run: bytes) -> list[tuple[int, bytes]]:
    """Round and task of every share of a run that left a country."""
    entries = read(box.node_home("at") / "state/journal")
    return [(e.record.round, e.record.task) for e in entries if e.payload and e.record.run == run]


@pytest.mark.parametrize(("point", "passing"), [("key made", 1), ("share journaled", 2), ("words heard", 8)])
def test_node_killed_in_a_sealed_fit(mended: Sandbox, undisturbed: bytes, point: str, passing: int) -> None:
    assert point in SEALED_NODE
    mended.processes["be"].stop()
    faulty = start_faulty(mended, "isthmus-node:be", point, passing)
    faulty.wait_ready()
    with mended.connect() as connection:
        plan = connection.study(STUDY).planned("cox")
        plan.start()
        assert faulty.popen.wait(60) == EXIT, "the fault did not happen: the test proves nothing"
        mended.start_nodes(["be"])
        fit = plan.run(progress=False)
    assert answer_bytes(fit) == undisturbed
    # no share was made twice for one task, and a round that was begun again is another task
    left = attempts(mended, fit.result.run)
    assert len(set(left)) == len(left)


@pytest.mark.parametrize(("point", "passing"), [("word taken", 30), ("sum stored", 3)])
def test_coordinator_killed_in_a_sealed_fit(mended: Sandbox, undisturbed: bytes, point: str, passing: int) -> None:
    assert point in SEALED_COORDINATOR
    mended.processes["coordinator"].stop()
    faulty = start_faulty(mended, "isthmus-coordinator", point, passing)
    faulty.wait_ready()
    plan = _start(mended)
    assert faulty.popen.wait(60) == EXIT, "the fault did not happen: the test proves nothing"
    mended.start_coordinator()
    with mended.connect() as connection:
        fit = connection.study(STUDY).attach(plan.runs[0].hex(), progress=False)
    assert answer_bytes(fit) == undisturbed
    left = attempts(mended, fit.result.run)
    # nodes that went on say what they said: every round once
    assert [number for number, _ in left] == list(range(1, fit.result.rounds + 1))


def _start(box: Sandbox) -> Plan:
    """Order the fit; the coordinator may go while it answers."""
    with box.connect() as connection:
        plan = connection.study(STUDY).planned("cox")
        plan.start()
        return plan


def test_country_that_is_away_ends_the_run_and_is_named(mended: Sandbox, undisturbed: bytes) -> None:
    mended.processes["be"].stop()
    with mended.connect() as connection:
        study = connection.study(STUDY)
        plan = study.ask("linear_model", "pgr ~ age", missing_country="fail", deadline=2)
        with pytest.raises(IsthmusError) as caught:
            plan.run(progress=False)
    assert caught.value.code in ("DEADLINE_PASSED", "REQUEST_NOT_DECIDED")
    assert "BE" in caught.value.message
    assert set(COUNTRIES) >= {"be"}
