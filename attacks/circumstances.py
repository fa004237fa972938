"""Circumstances that an attack finds: put into a node's process both times, with the guard and without it."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from attacks.patching import everywhere, put

# Packages of client apps, as installed ones lie in a folder of Python's.
APPS = Path(__file__).parent / "apps"


def put_in(names: Iterable[str]) -> None:
    """Put circumstances into this process."""
    for name in names:
        GIVEN[name]()


def _error_that_quotes() -> None:
    """A library's error quotes the cell that it could not read."""
    typed = importlib.import_module("isthmus_node.sources.typed")
    original = typed.convert

    def convert(rows: Any, dictionary: Any, country: str) -> Any:
        if dictionary.name == "BROKEN":
            raise ValueError("could not convert string to float: '129.587 mg/l of ZZ-7731'")
        return original(rows, dictionary, country)

    everywhere("convert", original, convert)


def _logs_a_row() -> None:
    """Somebody put a row into a log event."""
    from isthmus.event_log import EventLog

    event = EventLog.event
    put(EventLog, "event", lambda self, name, **keys: event(self, name, **keys, row="ZZ-7731, 129.587"))


def _prints_a_row() -> None:
    """A library in C prints what it does not like, past every log."""
    from isthmus_node.egress.journal import Journal

    put(Journal, "release", _before(Journal.release, lambda *_: os.write(2, b"bad row: ZZ-7731, 129.587\n")))


def _a_hundredfold() -> None:
    """The node signs a hundred times each sum of values that the gate let through."""
    from isthmus_node.egress import wire

    original = wire.encode

    def encode(cleared: Any, *rest: Any) -> Any:
        for item in cleared.items:
            if item.field in ("sum", "deviations"):
                object.__setattr__(item, "value", item.value * 100)
        return original(cleared, *rest)

    everywhere("encode", original, encode)


def _gradient_of_one() -> None:
    """A method of the installation that gives the gradient of one record as the update of a model's weights."""
    from isthmus_methods.contract import Field, Item
    from isthmus_node import answering

    unknown: Any = "update"
    field = Field(unknown, "weights after one record", required=True)
    leaving, answer = vars(answering)["leaving"], vars(answering)["answer"]

    def answer_with(spec: Any, table: Any, *rest: Any) -> Any:
        summary = answer(spec, table, *rest)
        row = np.array([table.numbers["AGE"].max(), table.numbers["MARK"].max()])
        nothing: Any = None
        return replace(summary, items=(*summary.items, Item("update", row, nothing)))

    put(answering, "leaving", lambda method, options: {**leaving(method, options), "update": field})
    put(answering, "answer", answer_with)


def _apps_of_an_attacker() -> None:
    """Apps that an attacker wrote lie on the node's machine, where site IT put them."""
    from isthmus_node.training import runner

    folder = str(APPS)
    sys.path.append(folder)
    begin = f"import sys; sys.path.append({folder!r}); from isthmus_node.training import child; child.main()"
    put(runner, "_CHILD", ("-I", "-c", begin))


def _before(original: Callable[..., Any], extra: Callable[..., Any]) -> Callable[..., Any]:
    def both(*arguments: Any, **more: Any) -> Any:
        extra(*arguments)
        return original(*arguments, **more)

    return both


GIVEN: Mapping[str, Callable[[], None]] = {
    "an error that quotes a cell": _error_that_quotes,
    "a log line with a row": _logs_a_row,
    "a library that prints a row": _prints_a_row,
    "a hundredfold": _a_hundredfold,
    "a gradient of one record": _gradient_of_one,
    "apps of an attacker": _apps_of_an_attacker,
}
