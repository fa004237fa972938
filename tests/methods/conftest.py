"""What the tests of methods share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from reference_cases import REFERENCE, Case


@pytest.fixture(scope="session")
def load_case() -> Callable[[str], Case]:
    """A vendored case by name, read once."""
    loaded: dict[str, Case] = {}

    def load(name: str) -> Case:
        if name not in loaded:
            loaded[name] = Case.load(REFERENCE / name)
        return loaded[name]

    return load
