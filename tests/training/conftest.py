"""Apps of a test's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from app_kit import Shop


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """Where a test's apps are installed."""
    folder = tmp_path / "apps"
    folder.mkdir()
    return Shop(folder, monkeypatch)
