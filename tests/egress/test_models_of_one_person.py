"""What a model's sums tell of one person by other roads than its terms: its outcome, and a state that nobody fitted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isthmus.v1 import study_pb2, summary_pb2
from isthmus_methods.codec import array_from_message
from isthmus_node.egress import gate, rules
from isthmus_node.egress.judges import JUDGES
from isthmus_trust.documents import REFUSAL
from tests.transcripts.kit import Asked, Country

MARKER, AGE = 8412.643, 97.0


@pytest.fixture
def country(tmp_path: Path) -> Country:
    return Country(tmp_path)


def answered(country: Country, asked: Asked, state: dict[str, Any] | None = None) -> dict[tuple[str, str], np.ndarray]:
    """Values that leave for one round; empty for a refusal."""
    payload = country.round(country.spec(asked), state or {}, study_pb2.TRIAL_ANALYSIS)
    signed = study_pb2.Signed.FromString(payload)
    if signed.context == REFUSAL:
        return {}
    items = summary_pb2.Summary.FromString(signed.body).items
    return {(i.field, i.label): array_from_message(i.value) for i in items if i.HasField("value")}


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def leave_out(*left: Callable[..., object]) -> None:
        kept = {
            kind: replace(judge, floors=tuple(r for r in judge.floors if r not in left))  # type: ignore[type-var]
            for kind, judge in JUDGES.items()
        }
        monkeypatch.setattr(gate, "JUDGES", kept)

    return leave_out


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (Asked("", "glm", "MARK ~ X1", options={"family": "gaussian"}), MARKER),
        (Asked("", "glm", "MARK ~ X1", options={"family": "gamma"}), MARKER),
        (Asked("", "gee", "MARK ~ X1", roles={"cluster": "SUBJ"}, options={"family": "gaussian"}), MARKER),
        (Asked("", "lmm", "MARK ~ X1", roles={"group": "ARM"}), MARKER),
        (Asked("", "glm", "SAE ~ X1"), 1.0),
    ],
    ids=["gaussian", "gamma", "gee", "mixed", "one event"],
)
def test_outcome_of_one_person_does_not_leave_in_a_models_sums(
    country: Country, without: Callable[..., None], asked: Asked, told: float
) -> None:
    assert answered(country, asked) == {}
    without(rules.outcome_is_of_many)
    columns = next(value for (name, _), value in answered(country, asked).items() if name in ("columns", "sums"))
    assert np.min(np.abs(columns - told)) <= 0.01 * told


def test_middle_of_a_robust_variance_is_judged_by_the_weights_it_has(
    country: Country, without: Callable[..., None]
) -> None:
    """HC3 divides by 1 - leverage, and a coordinator may send any matrix to take the leverage with."""
    asked = Asked("", "glm", "RESP ~ AGE", options={"robust": True})
    inverse = np.diag([0.0, (1.0 - 1e-6) / (0.25 * (AGE - 57.0) ** 2)])
    state = {"centre": np.array([57.0]), "end": np.zeros(2), "inverse": inverse}
    left = answered(country, asked, state)
    assert ("expected", "") in left
    assert ("meat", "HC0") in left
    assert ("meat", "HC3") not in left
    without(rules.weights_are_spread, rules.leverage_is_bounded)
    meat = answered(country, asked, state)["meat", "HC3"]
    assert 57.0 + meat[1] / meat[0] == pytest.approx(AGE, rel=1e-3)
