"""Power cuts in the middle of a fit: the fit goes on, and its answer is the same to the bit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty import COORDINATOR, EXIT, NODE
from network_kit import answer_bytes, start_faulty

from isthmus_client.connection import Connection
from isthmus_client.sandbox import Sandbox

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("network"), pytest.mark.timeout(300)]

STUDY = "BREAST-RFS"


@pytest.fixture(scope="module")
def undisturbed(network: Sandbox) -> bytes:
    """The answer of a fit that nothing happened to."""
    with network.connect() as connection:
        return answer_bytes(connection.study(STUDY).planned("primary").run(progress=False))


def releases(box: Sandbox, node: str) -> int:
    verified = box.node(node, "journal", "verify")
    return int(verified["totals"]["releases"])  # type: ignore[index]


@pytest.fixture
def mended(network: Sandbox) -> Iterator[Sandbox]:
    """The network, whole again afterwards."""
    yield network
    if not network.processes["coordinator"].running:
        network.start_coordinator()
    if not network.processes["be"].running:
        network.start_nodes(["be"])


@pytest.mark.parametrize("passing", [1, 3])
@pytest.mark.parametrize("point", NODE)
def test_node_killed_in_a_fit_goes_on_to_the_same_bit(
    mended: Sandbox, undisturbed: bytes, point: str, passing: int
) -> None:
    mended.processes["be"].stop()
    before = releases(mended, "be")
    faulty = start_faulty(mended, "isthmus-node:be", point, passing)
    faulty.wait_ready()
    with mended.connect() as connection:
        plan = connection.study(STUDY).planned("primary")
        plan.start()
        assert faulty.popen.wait(60) == EXIT, "the fault did not happen: the test proves nothing"
        mended.start_nodes(["be"])
        fit = plan.run(progress=False)
    assert answer_bytes(fit) == undisturbed
    # one journal entry a round, however often it was sent
    assert releases(mended, "be") - before == fit.result.rounds


@pytest.mark.parametrize("passing", [2])
@pytest.mark.parametrize("point", COORDINATOR)
def test_coordinator_killed_in_a_fit_goes_on_to_the_same_bit(
    mended: Sandbox, undisturbed: bytes, point: str, passing: int
) -> None:
    mended.processes["coordinator"].stop()
    before = releases(mended, "at")
    faulty = start_faulty(mended, "isthmus-coordinator", point, passing)
    faulty.wait_ready()
    run = _start_when_reachable(mended)
    assert faulty.popen.wait(60) == EXIT, "the fault did not happen: the test proves nothing"
    mended.start_coordinator()
    with mended.connect() as connection:
        fit = _attach(connection, run, mended)
    assert answer_bytes(fit) == undisturbed
    assert releases(mended, "at") - before == fit.result.rounds


def _start_when_reachable(box: Sandbox) -> list[bytes]:
    """Order the run; the coordinator may end before it answers, but not before it wrote the run down."""
    from isthmus.errors import LinkError

    with box.connect() as connection:
        plan = connection.study(STUDY).planned("primary")
        try:
            plan.start()
        except LinkError:
            return []
        return list(plan.runs)


def _attach(connection: Connection, runs: list[bytes], box: Sandbox):  # type: ignore[no-untyped-def]
    study = connection.study(STUDY)
    if runs:
        return study.attach(*[run.hex() for run in runs], progress=False)
    plan = study.planned("primary")
    return plan.run(progress=False)


def test_journals_verify_after_all_that(network: Sandbox, undisturbed: bytes) -> None:
    for node in ("nl", "be", "de", "at"):
        network.node(node, "journal", "verify")
    assert Path(network.node_home("be")).exists()
