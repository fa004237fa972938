"""What the countries' answers say of a training, round by round, and its answer at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from isthmus_methods.contract import Answer, Array, Cleared, Integers, merged_cells
from isthmus_methods.training import EVALUATE, MESSAGES, TRAIN

_CELLS = ("first", "last", "outcome", "rows")


def examples_of(cleared: Cleared) -> float:
    """Rows that were trained, or evaluated, on."""
    return _number(cleared.values.get(("examples", "")), 0.0)


def metrics_of(cleared: Cleared) -> dict[str, float]:
    """Measures by name, those the gate let out."""
    return {label: _number(value, 0.0) for (name, label), value in cleared.values.items() if name == "metrics"}


@dataclass(slots=True)
class _Curve:
    """Lists side by side, one entry a round; None where a round has no such measure."""

    rounds: list[int] = field(default_factory=list)
    examples: list[float] = field(default_factory=list)
    measures: dict[str, list[float | None]] = field(default_factory=dict)

    def add(self, number: int, examples: float, measures: Mapping[str, float]) -> None:
        for name in measures:
            self.measures.setdefault(name, [None] * len(self.rounds))
        self.rounds.append(number)
        self.examples.append(examples)
        for name, values in self.measures.items():
            values.append(measures.get(name))

    def table(self) -> dict[str, Answer]:
        return {"round": list(self.rounds), "examples": list(self.examples), **self.measures}


class Curves:
    """Grows by one round at a time."""

    def __init__(self) -> None:
        self.trained = 0
        self.evaluated = 0
        self._pooled = {kind: _Curve() for kind in MESSAGES}
        self._own: dict[str, dict[str, _Curve]] = {}
        self._scores: dict[str, Integers] = {}

    def add(self, kind: str, summaries: Sequence[Cleared]) -> None:
        """The countries' answers of one round.

        Parameters
        ----------
        kind
            "train" or "evaluate"; an evaluation has the number of the training before it.
        summaries
            In the study's order.
        """
        if kind == TRAIN:
            self.trained += 1
        else:
            self.evaluated += 1
            self._scores = {
                s.country: np.asarray(s.values["scores", ""], dtype=np.int64)
                for s in summaries
                if ("scores", "") in s.values
            }
        given = [(s.country, examples_of(s), metrics_of(s)) for s in summaries]
        self._pooled[kind].add(self.trained, sum(n for _, n, _ in given), averaged([(n, m) for _, n, m in given]))
        for country, examples, measures in given:
            own = self._own.setdefault(country, {k: _Curve() for k in MESSAGES})
            own[kind].add(self.trained, examples, measures)

    def newest(self) -> tuple[str, float]:
        """A measure by which progress can be seen, of the last round that has any; no name where none has."""
        for kind in (EVALUATE, TRAIN):
            for name, values in self._pooled[kind].measures.items():
                if values and values[-1] is not None:
                    return f"{name} ({kind})", values[-1]
        return "", 0.0

    def answer(self, parameters: int, digest: bytes, *, by_country: bool) -> dict[str, Answer]:
        """As `isthmus_methods.training` describes it."""
        answer: dict[str, Answer] = {
            "parameters": parameters,
            "digest": digest.hex(),
            **self._tables(self._pooled, list(self._scores.values())),
        }
        if by_country:
            answer["by_country"] = {
                country: self._tables(own, [self._scores[country]] if country in self._scores else [])
                for country, own in self._own.items()
            }
        return answer

    @staticmethod
    def _tables(curves: Mapping[str, _Curve], scores: Sequence[Integers]) -> dict[str, Answer]:
        cells: Any = merged_cells(list(scores)) if scores else np.zeros((0, len(_CELLS)), dtype=np.int64)
        table: dict[str, Answer] = {name: [int(v) for v in cells[:, place]] for place, name in enumerate(_CELLS)}
        return {**{kind: curve.table() for kind, curve in curves.items()}, "scores": table}


def averaged(given: Sequence[tuple[float, Mapping[str, float]]]) -> dict[str, float]:
    """Measures averaged over the countries that have them, weighted by their examples."""
    names = dict.fromkeys(name for _, measures in given for name in measures)
    means: dict[str, float] = {}
    for name in names:
        having = [(n, m[name]) for n, m in given if name in m]
        total = sum(n for n, _ in having)
        if total > 0:
            means[name] = sum(n * value for n, value in having) / total
    return means


def _number(value: Array | Integers | None, missing: float) -> float:
    if value is None or np.size(value) != 1:
        return missing
    return float(np.reshape(value, -1)[0])
