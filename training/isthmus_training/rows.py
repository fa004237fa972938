"""What an app uses inside a node: the rows of the message at hand, batches of whole persons, its predictions.

The node gives the rows to the context for as long as an app answers one message; whoever tests an app does the same
with `at_hand`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from isthmus.errors import MethodError
from isthmus_methods.contract import Array, Integers


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """A country's rows of one message: to train on, those of persons who are not held out; to evaluate, the others.

    Parameters
    ----------
    X : (n, p), float64: the model's columns as the formula says, treatment coding, without an intercept.
    columns : (p,), their names.
    y : (n,), float64: the outcome; of a factor the number of the level, 0 being the reference.
    outcome_levels : of the outcome, the reference first; empty where it is a number.
    persons : (n,), int64, from 0: rows with the same number are one person's.
    """

    X: Array
    columns: tuple[str, ...]
    y: Array
    outcome_levels: tuple[str, ...]
    persons: Integers

    def batches(self, size: int, generator: np.random.Generator) -> Iterator[Integers]:
        """Row numbers of one epoch's batches, in a drawn order: each of whole persons, none of fewer than `size`.

        Those that are left over go into the last batch. 0, or a size that fewer than two batches have, gives one batch
        of all rows, in their own order.
        """
        everybody = np.unique(self.persons)
        count = len(everybody) // size if size > 0 else 1
        if count < 2:
            yield np.arange(len(self.y))
            return
        place = np.empty(int(everybody[-1]) + 1, dtype=np.int64)
        place[everybody] = generator.permutation(len(everybody))
        # which batch a row is in; those left over are in the last one
        which = np.minimum(place[self.persons] // size, count - 1)
        order = np.argsort(which, kind="stable")
        yield from np.split(order, np.cumsum(np.bincount(which))[:-1])


@dataclass(slots=True)
class AtHand:
    """The rows of a message, and what the app predicted of them."""

    rows: Rows
    scores: Array | None = field(default=None, repr=False)


# By context: more than one where an app's test has more than one.
_AT_HAND: dict[int, AtHand] = {}


@contextmanager
def at_hand(context: object, given: Rows) -> Iterator[AtHand]:
    """For as long as it lasts, `rows(context)` are these."""
    kept = _AT_HAND[id(context)] = AtHand(given)
    try:
        yield kept
    finally:
        del _AT_HAND[id(context)]


def rows(context: object) -> Rows:
    """The country's rows for the message that is being answered.

    Parameters
    ----------
    context
        As the app got it.

    Raises
    ------
    MethodError
        ``NO_ROWS`` outside of a message.
    """
    return _at_hand(context).rows


def report_scores(context: object, predicted: ArrayLike) -> None:
    """Tell the node what the model predicts for each row of the message at hand.

    The predictions stay in the node, which counts rows by prediction and outcome.

    Parameters
    ----------
    predicted : (n,), the probability of the outcome's second level.

    Raises
    ------
    MethodError
        ``WRONG_SCORES`` where there is not one number from 0 to 1 a row, ``NO_ROWS`` outside of a message.
    """
    kept = _at_hand(context)
    scores = np.array(predicted, dtype=np.float64)
    # written so that NaN does not pass
    if scores.shape != kept.rows.y.shape or not bool(np.all((scores >= 0) & (scores <= 1))):
        raise MethodError(
            "WRONG_SCORES", "scores are one probability for each row of the message", "give them in the order of rows"
        )
    kept.scores = scores


def _at_hand(context: object) -> AtHand:
    kept = _AT_HAND.get(id(context))
    if kept is None:
        raise MethodError(
            "NO_ROWS", "there are rows only while a message is answered", "call rows(context) in train or evaluate"
        )
    return kept
