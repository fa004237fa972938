"""An authority at a fixed moment, and one of the same name that somebody else made."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from isthmus_trust.authority import Authority

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture(scope="session")
def _homes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    homes = {}
    for whose in ("ours", "theirs"):
        homes[whose] = tmp_path_factory.mktemp("authority") / whose
        Authority.create(homes[whose], "coordinator", lambda: NOW)
    return homes


@pytest.fixture
def authority(_homes: dict[str, Path]) -> Authority:
    return Authority.open(_homes["ours"], lambda: NOW)


@pytest.fixture
def impostor(_homes: dict[str, Path]) -> Authority:
    """Same names in every certificate, another key."""
    return Authority.open(_homes["theirs"], lambda: NOW)


@pytest.fixture
def at(_homes: dict[str, Path]) -> Callable[[datetime], Authority]:
    """The same authority at another moment."""
    return lambda moment: Authority.open(_homes["ours"], lambda: moment)
