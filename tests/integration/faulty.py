"""Runs one of the commands with a fault in it: it ends, as in a power cut, when it passes a point the n-th time.

    python faulty.py isthmus-node computed 3 run

The fault is put in here, from outside; the product has no switch for it.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

# point -> module, attribute path, and whether the process ends before or after the call
NODE = {
    "received": ("isthmus_node.service", "Service._answer", "before"),
    "computed": ("isthmus_node.service", "Service._release", "before"),
    "journaled": ("isthmus_node.service", "submit", "before"),
    "sent": ("isthmus_node.service", "submit", "after"),
}
COORDINATOR = {
    "arrived": ("isthmus_coordinator.analyses.rounds", "Rounds.take", "before"),
    "turned": ("isthmus_coordinator.analyses.records", "save_turn", "after"),
    "committed": ("isthmus_coordinator.analyses.rounds", "Rounds._tell", "before"),
    "announced": ("isthmus_coordinator.analyses.rounds", "Rounds._tell", "after"),
    "stored": ("isthmus_coordinator.analyses.rounds", "Rounds.take", "after"),
}
# Of sealed rounds.
SEALED_NODE = {
    "key made": ("isthmus_node.sealing.rounds", "Sealing.begin", "after"),
    "share journaled": ("isthmus_node.sealing.rounds", "Sealing._release", "after"),
    "words heard": ("isthmus_node.sealing.talk", "Talk.hear", "after"),
}
SEALED_COORDINATOR = {
    "word taken": ("isthmus_coordinator.analyses.sealed", "Gathering.take", "after"),
    "sum stored": ("isthmus_coordinator.analyses.records", "save_turn", "after"),
}
POINTS = {
    "isthmus-node": {**NODE, **SEALED_NODE},
    "isthmus-coordinator": {**COORDINATOR, **SEALED_COORDINATOR},
}
EXIT = 86


def arm(command: str, point: str, passing: int) -> None:
    """Wrap the function at the point so that its `passing`-th call ends the process."""
    module_name, path, when = POINTS[command][point]
    owner: Any = importlib.import_module(module_name)
    *outer, name = path.split(".")
    for part in outer:
        owner = getattr(owner, part)
    original: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        mine = calls
        if when == "before" and mine == passing:
            os._exit(EXIT)
        result = original(*args, **kwargs)
        if when == "after" and mine == passing:
            os._exit(EXIT)
        return result

    setattr(owner, name, wrapped)


if __name__ == "__main__":
    command, point, passing, *arguments = sys.argv[1:]
    if point != "none":
        arm(command, point, int(passing))
    cli = importlib.import_module(
        {"isthmus-node": "isthmus_node.cli", "isthmus-coordinator": "isthmus_coordinator.cli"}[command]
    )
    sys.argv = [command, *arguments]
    sys.exit(cli.main())
