"""The training of a model by rounds: what is asked, and everything that leaves a country for it.

Its halves are not here: inside a country an app that is installed there trains (a Flower client app), at the
coordinator a strategy makes one model of the countries' (a Flower strategy). Neither travels.

**Scores.** A row of ``scores``, (m, 4), is a cell: first and last step of the predicted probability, outcome (0: the
reference level, 1: the other), held-out rows in it. Step k of `SCORE_STEPS` is from ``k / SCORE_STEPS`` up to the
next; a country joins neighbouring steps, the same for both outcomes, until each cell has the persons that its policy
asks for.

**The answer** of a training, as a tree:

- ``parameters``: numbers of the model; ``digest``: SHA-256 of its serialised `State`, in hexadecimal digits;
- ``train``, ``evaluate``: lists side by side, one entry a round: ``round``, ``examples``, and each measure by its name,
  averaged over the countries' examples;
- ``scores``: lists side by side, one entry a cell of the last evaluation: ``first``, ``last``, ``outcome``, ``rows``,
  the same cells of several countries added;
- ``by_country``, only where the study says that results by country may be shown: by country a table with ``train``,
  ``evaluate`` and ``scores`` of the same form.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from isthmus.errors import UsageError
from isthmus_methods.contract import (
    Array,
    Field,
    Indicator,
    Kind,
    Missingness,
    OptionRule,
    Role,
    Scope,
    Spec,
    State,
    Strategy,
)
from isthmus_methods.request import CONDITION_LEVELS

TRAIN, EVALUATE = "train", "evaluate"
# What an app can be asked.
MESSAGES = (TRAIN, EVALUATE)
# Rounds of training; each may be followed by one of evaluation.
MOST_ROUNDS = 500
# Largest share of persons kept out of training.
MOST_HELD_OUT = 0.5
# Strategies in strategies.
MOST_WRAPS = 5
# Steps of a predicted probability; what is reckoned from scores is known no closer than the cells made of them.
SCORE_STEPS = 100
# Arrays of a model: their places are written with four digits.
MOST_ARRAYS = 2_000


class Training:
    """The training of a model; `spec.training` says of which, how and how long."""

    name: ClassVar[str] = "training"
    version: ClassVar[int] = 1
    title: ClassVar[str] = "Training of a model"
    leaves: ClassVar[Mapping[str, Field]] = {
        "arrays": Field(
            Kind.UPDATE, "the model's weights after training here, cut and with noise where the policy asks", size="w"
        ),
        "examples": Field(Kind.COUNT, "rows that were trained, or evaluated, on", "rows"),
        "metrics": Field(Kind.METRIC, "the app's declared measures, averaged over persons", required=False),
        "scores": Field(
            Kind.HISTOGRAM, "held-out rows by predicted value and outcome", "persons", "2 cells a bin", required=False
        ),
    }
    roles: ClassVar[Mapping[str, Role]] = {"outcome": Role("what the model predicts: a number, or a factor")}
    options: ClassVar[Mapping[str, OptionRule]] = {}
    uses_terms: ClassVar[bool] = True
    missingness: ClassVar[Missingness] = Missingness.COMPLETE
    notes: ClassVar[Mapping[str, str]] = {}
    rounds: ClassVar[tuple[int, int]] = (1, 2 * MOST_ROUNDS)

    def scope(self, spec: Spec) -> Scope:
        """The model needs no country's own numbers shown; what is shown by country follows the study."""
        return Scope.TOTAL


def check_training(spec: Spec) -> None:
    """Raise unless the request's training plan is one that could be carried out somewhere.

    Raises
    ------
    UsageError
        ``NO_TRAINING_PLAN``, ``WRONG_TRAINING_PLAN``; each says what is wrong.
    """
    plan = spec.training
    if plan is None:
        raise UsageError(
            "NO_TRAINING_PLAN", "the request trains a model and does not say which", "name app, strategy and rounds"
        )
    if not plan.app.name or not plan.app.version or len(plan.app.digest) != 32:
        raise _wrong("the app is not named with its version and the 32 bytes of its digest", "isthmus-node apps list")
    if not 1 <= plan.rounds <= MOST_ROUNDS:
        raise _wrong(f"{plan.rounds} rounds; rule: 1 to {MOST_ROUNDS}", "ask for fewer rounds")
    if not 0 <= plan.held_out <= MOST_HELD_OUT:
        raise _wrong(f"held out {plan.held_out:g} of persons; rule: 0 to {MOST_HELD_OUT}", "hold out a smaller share")
    strategy: Strategy | None = plan.strategy
    for _ in range(MOST_WRAPS):
        if strategy is None:
            return
        if not strategy.name:
            raise _wrong("a strategy without a name", "name one")
        strategy = strategy.wraps
    if strategy is not None:
        raise _wrong(f"more than {MOST_WRAPS} strategies in one another", "wrap fewer")


def outcome_levels(spec: Spec) -> tuple[str, ...]:
    """Levels of what is predicted, the reference first; of a condition, that it fails and holds; none of a number."""
    columns = spec.role("outcome")
    if not columns:
        return ()
    return CONDITION_LEVELS if isinstance(columns[0], Indicator) else spec.levels(columns[0])


def state_of(arrays: Mapping[str, Array]) -> State:
    """A model's arrays as the state of a round: their order, which a state does not keep, is in the names.

    >>> list(state_of({"weight": np.zeros(2), "bias": np.zeros(1)}))
    ['0000.weight', '0001.bias']
    """
    return {f"{place:04d}.{name}": array for place, (name, array) in enumerate(arrays.items())}


def arrays_of(state: State) -> dict[str, Array]:
    """The arrays of a state by their own names, in order. Raises `UsageError` where the state is not a model's."""
    arrays = {name[5:]: state[name] for name in sorted(state)}
    if list(state_of(arrays)) != sorted(state):
        raise UsageError(
            "MALFORMED_STATE", "the state is not the arrays of a model", "run the same release of isthmus on both sides"
        )
    return arrays


def parameters_of(arrays: Mapping[str, Array]) -> int:
    """How many numbers a model has."""
    return int(sum(np.size(array) for array in arrays.values()))


def _wrong(what: str, remedy: str) -> UsageError:
    return UsageError("WRONG_TRAINING_PLAN", f"the training plan cannot be carried out: {what}", remedy)
