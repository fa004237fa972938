"""How anything is changed in a node's process, and from nowhere else than a test."""

from __future__ import annotations

import importlib
import inspect
import sys


def put(owner: object, name: str, value: object) -> None:
    """The one way in which anything is changed here."""
    setattr(owner, name, value)


def everywhere(name: str, original: object, changed: object) -> None:
    """Replace a function in each module of ours that took its name."""
    # whoever takes the name later finds the changed one where it comes from
    importlib.import_module("isthmus_node.cli")
    importlib.import_module("isthmus_node.service")
    importlib.import_module("isthmus_node.running")
    owner = inspect.getmodule(original)
    for module in [owner, *list(sys.modules.values())]:
        ours = module is not None and getattr(module, "__name__", "").startswith("isthmus")
        if ours and getattr(module, name, None) is original:
            put(module, name, changed)
