"""What guards a training; each can be left out, as in `guards.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from attacks.patching import everywhere, put


def _any_measures() -> None:
    """Whatever an app calls a measure is one."""
    from isthmus_node.training.update import measures_of

    def all_of_them(given: Mapping[str, Any], declared: object) -> dict[str, float]:
        return {name: float(value) for name, value in given.items() if name != "num-examples"}

    everywhere("measures_of", measures_of, all_of_them)


def _any_app() -> None:
    """Whatever lies on the machine may train."""
    from isthmus_node.training.installed import check_plan

    everywhere("check_plan", check_plan, lambda plan, policy: None)


def _any_number_of_countries() -> None:
    from isthmus_node.answering import Answering

    put(Answering, "_check_contributors", lambda self, order: None)


def _any_start() -> None:
    """A model begins wherever the coordinator says."""
    from isthmus_node.training.runs import Run

    put(Run, "model", lambda self, task, arrays: arrays or self.start)


def _no_noise() -> None:
    """Noise is paid for and not drawn."""
    from isthmus_node.egress import updates

    put(updates, "_normal", lambda seed, number, size: np.zeros(size))
    put(updates, "_PARTS", 2.0**50)


def _any_number_of_rounds() -> None:
    """A run is asked as often as somebody likes."""
    from isthmus_node.admission import Admission

    put(Admission, "_check_answers", lambda self, task, study, spec: None)


TRAINING: Mapping[str, tuple[tuple[str, ...], Callable[[], None]]] = {
    "declared measures": (("isthmus_node.training.update:measures_of",), _any_measures),
    "allowed apps": (("isthmus_node.training.installed:check_plan",), _any_app),
    "countries of a round": (("isthmus_node.answering:Answering._check_contributors",), _any_number_of_countries),
    "own starting values": (("isthmus_node.training.runs:Run.model",), _any_start),
    "noise": (("isthmus_node.egress.updates:_normal",), _no_noise),
    "rounds of a training": (("isthmus_node.admission:Admission._check_answers",), _any_number_of_rounds),
}
