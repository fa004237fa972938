"""A network of real processes on loopback, shared by the tests that leave it as they found it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from isthmus_client.connection import Connection
from isthmus_client.sandbox import Sandbox

sys.path.insert(0, str(Path(__file__).parent))

from network_kit import set_up


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Four countries under the default policy, the example's study approved."""
    with Sandbox(tmp_path_factory.mktemp("network")) as box:
        set_up(box)
        yield box


@pytest.fixture
def connection(network: Sandbox) -> Iterator[Connection]:
    with network.connect() as made:
        yield made
