"""The training of a model, which no call of R gives the same: what its weights come near to."""

from __future__ import annotations

from isthmus_client.r_code.grammar import r_formula
from isthmus_methods.contract import Spec


def _training(spec: Spec, rows: str) -> list[str]:
    outcome = spec.role("outcome")
    family = "binomial" if outcome and spec.levels(outcome[0]) else "gaussian"
    return [
        "# training by rounds: no call of R gives the same numbers; the model below is the one that a logistic or",
        "# linear app comes near to with more rounds (a network of layers comes near to none)",
        f"glm({r_formula(spec)}, family = {family}, data = {rows})",
    ]


CALLS = {"training": _training}
