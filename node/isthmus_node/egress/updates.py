"""A model that was trained here, made ready to leave: its change cut, what noise costs debited, noise drawn.

The noise is from the system's own source of secrets, through SHAKE256: a generator that others can continue, from the
numbers of a model that they know beforehand, would let them take it off all the others.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from isthmus.v1 import summary_pb2
from isthmus_methods.contract import Array, UpdateSupport
from isthmus_methods.training import parameters_of
from isthmus_node.egress.privacy import Debit
from isthmus_node.egress.thresholds import Limits
from isthmus_node.egress.training_thresholds import NOT_CUT
from isthmus_node.egress.update_rules import FLOORS

# Numbers that are worked on at a time, so that a large model takes little more memory than its own.
_CHUNK = 1 << 18
# What leaves lies on a grid of so many parts of the noise: the last bits of a sum of doubles tell of its terms.
_PARTS = 2.0**20


@dataclass(frozen=True, slots=True)
class Update:
    """A model's arrays as they may leave, what supports each of them, and what their noise cost (None: no noise)."""

    arrays: Mapping[str, Array]
    support: UpdateSupport
    privacy: summary_pb2.PrivacySpent | None


def ready(
    trained: Mapping[str, Array],
    sent: Mapping[str, Array],
    persons: int,
    batch: int,
    limits: Limits | None,
    debit: Callable[[], Debit],
) -> Update:
    """A trained model as the gate is asked about it.

    Parameters
    ----------
    trained, sent
        The model's arrays by name, as the app gave them and as they came with the task. Those the app gave are its
        caller's no more: what leaves takes their place, where they can be written to.
    persons, batch
        Distinct persons trained on, and in the smallest batch that a step was taken on.
    limits
        The policy's; None for open data, which leave as they are.
    debit
        Writes down what the noise costs, before it is drawn; not called where none is, or where the gate will refuse.

    Raises
    ------
    Refused, ConfigError
        What `debit` raises.
    """
    plain = UpdateSupport(persons, batch, parameters_of(sent), norm=0.0, clip=math.inf, noise=0.0)
    shapes = {name: np.shape(array) for name, array in sent.items()}
    if {name: np.shape(array) for name, array in trained.items()} != shapes:
        return Update(trained, plain, None)  # here and below: the gate says what is wrong with it
    with np.errstate(over="ignore", invalid="ignore"):
        norm = math.sqrt(sum(float(change @ change) for _, _, change in _changes(trained, sent)))
    if not math.isfinite(norm):
        return Update(trained, plain, None)
    clip = math.inf if limits is None or limits.update_norm >= NOT_CUT else limits.update_norm
    share = min(1.0, clip / norm) if norm > 0 else 1.0
    sd = 0.0 if limits is None or clip == math.inf else limits.update_noise * clip
    support = UpdateSupport(persons, batch, plain.parameters, min(norm, clip), clip, sd)
    if limits is None or (share == 1.0 and sd == 0.0):
        return Update(trained, support, None)
    if any(rule(support, limits) for rule in FLOORS):
        return Update(trained, plain, None)
    paid = debit() if sd > 0 else None
    arrays = {name: array if _is_ours(array) else np.empty_like(array, order="C") for name, array in trained.items()}
    grid = 2.0 ** math.floor(math.log2(sd / _PARTS)) if sd > 0 else 0.0
    for number, (name, part, change) in enumerate(_changes(trained, sent)):
        value = np.ascontiguousarray(sent[name]).reshape(-1)[part] + share * change
        if paid is not None:
            value += sd * _normal(paid.seed, number, value.size)
            value = np.round(value / grid) * grid
        arrays[name].reshape(-1)[part] = value
    return Update(arrays, support, None if paid is None else paid.privacy)


def _is_ours(array: Array) -> bool:
    """Whether numbers can be put in the place of these, in the order in which they are read."""
    return bool(array.flags.writeable and array.flags.c_contiguous)


def _changes(trained: Mapping[str, Array], sent: Mapping[str, Array]) -> Iterator[tuple[str, slice, Array]]:
    """Array by array and part by part, where it is and how much it was changed."""
    for name, array in trained.items():
        new, old = np.ascontiguousarray(array).reshape(-1), np.ascontiguousarray(sent[name]).reshape(-1)
        for low in range(0, new.size, _CHUNK):
            part = slice(low, low + _CHUNK)
            yield name, part, new[part].astype(np.float64) - old[part]


def _normal(seed: bytes, number: int, size: int) -> Array:
    """Independent standard normal numbers, (size,), of a part of an update.

    Source: Box and Muller 1958. Uniform numbers have 53 bits, so that none is further out than 8.6.
    """
    pairs = (size + 1) // 2
    drawn = hashlib.shake_256(b"isthmus/noise/1\0" + seed + number.to_bytes(8, "little")).digest(16 * pairs)
    uniform = ((np.frombuffer(drawn, dtype="<u8") >> np.uint64(11)) + 0.5) / 2.0**53
    radius, angle = np.sqrt(-2 * np.log(uniform[:pairs])), 2 * np.pi * uniform[pairs:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:size]
