"""What the whole suite is started with, and the chance that tests with mutated messages draw from."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest

Tries = Callable[[int], Iterator[random.Random]]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fuzz",
        type=int,
        default=1,
        metavar="TIMES",
        help="so many times as many mutated messages in the tests named *fuzz*; 1 is what every run of the suite tries",
    )


@pytest.fixture
def tries(request: pytest.FixtureRequest) -> Tries:
    """So many sources of chance, each with a seed of its own that names the case."""
    times = request.config.getoption("--fuzz")

    def made(number: int) -> Iterator[random.Random]:
        for seed in range(number * times):
            yield random.Random(f"{request.node.name} {seed}")

    return made
