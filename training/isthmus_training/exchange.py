"""What passes between a strategy and an app in one round, as plain data that knows nothing of Flower."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from isthmus_methods.contract import Array, Setting
from isthmus_training.stored import StoredArrays

# Under this name a reply's measures hold the number of rows that were trained, or evaluated, on: Flower's own.
EXAMPLES = "num-examples"


@dataclass(frozen=True, slots=True)
class Ask:
    """What the nodes of a round are asked, all of them the same.

    Parameters
    ----------
    type
        "train" or "evaluate".
    arrays
        The model's weights by name, in the model's order; float64 or float32.
    config
        The strategy's own configuration of this round.
    """

    type: str
    arrays: Mapping[str, Array]
    config: Mapping[str, Setting] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reply:
    """What one node answers.

    Parameters
    ----------
    arrays
        The weights after training there, in the order they were asked in; empty after an evaluation.
    metrics
        Measures by name, `EXAMPLES` among them.
    """

    arrays: Mapping[str, Array]
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Carried:
    """What came of a round.

    Parameters
    ----------
    replies
        By node's number.
    asked
        The model that was asked with, where it need not be in memory any more; None: it stays where it is.
    """

    replies: Mapping[int, Reply]
    asked: StoredArrays | None = None


class NotCarried(Exception):
    """A strategy or an app wants to send what is not carried; `code` says what, in a fixed word."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code
