"""The client's table of strategies is what the installed Flower takes."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from strategy_table import TABLE, table

from isthmus_client import training
from isthmus_client.training.flower_table import STRATEGIES


def test_the_table_is_flowers() -> None:
    assert TABLE.read_text(encoding="utf-8") == table(), "run: python tests/training/strategy_table.py"


def test_each_strategy_of_the_table_can_be_written() -> None:
    assert {name for name in STRATEGIES if getattr(training, name).name != name} == set()
