"""Who is held out of training, by person and for good; and what is counted of the predictions for them."""

from __future__ import annotations

import hmac
import secrets
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from isthmus_methods.contract import Array, BinSupport, Booleans, Integers, Item
from isthmus_methods.training import SCORE_STEPS
from isthmus_trust.key_files import read_secret, write_new

_KEY_BYTES = 32


class HeldOut:
    """Draws persons by a key of the node's own: whoever chooses the seed cannot choose them.

    Parameters
    ----------
    key_file
        Made when it is first needed, mode 0600. Without it others are held out from then on.
    """

    def __init__(self, key_file: Path) -> None:
        self._key_file = key_file

    def persons(self, dataset: str, names: Sequence[str], share: float, seed: int) -> Booleans:
        """Who is held out, (persons,): each with chance `share`, the same ones for the same seed, in any snapshot.

        Parameters
        ----------
        names : of the persons, by number.
        """
        if share <= 0:
            return np.zeros(len(names), dtype=np.bool_)
        key = self._key()
        drawn = [hmac.digest(key, f"{seed}\0{dataset}\0{name}".encode(), "sha256")[:8] for name in names]
        uniform = np.array([struct.unpack(">Q", eight)[0] for eight in drawn], dtype=np.float64) / 2.0**64
        held: Booleans = uniform < share
        return held

    def _key(self) -> bytes:
        if not self._key_file.exists():
            write_new(self._key_file, secrets.token_bytes(_KEY_BYTES))
        return read_secret(self._key_file)


def scores_item(predicted: Array, outcome: Array, persons: Integers, fewest: int) -> Item | None:
    """Held-out rows counted by predicted probability and outcome; None where the persons are too few for one cell.

    Neighbouring steps of the probability are joined, from the lowest, the same for both outcomes, until each of the two
    cells has `fewest` persons; what is left at the end joins the last.

    Parameters
    ----------
    predicted : (n,), from 0 to 1.
    outcome : (n,), 0 or 1.
    persons : (n,), rows with the same number are one person's.
    """
    step = np.minimum((predicted * SCORE_STEPS).astype(np.int64), SCORE_STEPS - 1)
    event = outcome.astype(np.int64)
    starts = _starts(step, event, persons, fewest) if fewest > 1 else list(range(SCORE_STEPS))
    if not starts:
        return None
    edges = [*starts, SCORE_STEPS]
    cell = 2 * (np.searchsorted(starts, step, side="right") - 1) + event
    rows = np.bincount(cell, minlength=2 * len(starts))
    # each person once a cell
    pairs = np.unique(np.column_stack([cell, persons]), axis=0)
    distinct = np.bincount(pairs[:, 0], minlength=2 * len(starts))
    listed = np.flatnonzero(rows)
    cells = np.column_stack(
        [
            np.array(edges)[listed // 2],
            np.array(edges)[listed // 2 + 1] - 1,
            listed % 2,
            rows[listed],
        ]
    ).astype(np.int64)
    support = BinSupport(distinct[listed].astype(np.int64), len(np.unique(persons)), gaps=len(listed) < len(rows))
    return Item("scores", cells, support)


def _starts(step: Integers, event: Integers, persons: Integers, fewest: int) -> list[int]:
    """First steps of the joined ones, ascending from 0; empty where all together are too few."""
    starts, low = [], 0
    for high in range(SCORE_STEPS):
        inside = (step >= low) & (step <= high)
        if all(len(np.unique(persons[inside & (event == kind)])) >= fewest for kind in (0, 1)):
            starts.append(low)
            low = high + 1
    return starts
