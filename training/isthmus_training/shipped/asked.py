"""What the two apps read of a message: weights, the strategy's configuration, the source of chance."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from flwr.app import Context, Message
from flwr.clientapp.mod import adaptiveclipping_mod
from numpy.typing import NDArray

# What Flower's wrappers for clipping at the sites send, and what the adaptive one wants to hear: whether the change was
# within the norm (1) or was cut (0).
CLIPPING_NORM, NORM_BIT = "clipping_norm", "norm_bit"


def cut_where_asked(message: Message, context: Context, train: Callable[[Message, Context], Message]) -> Message:
    """Flower's own clipping at the site, where the strategy asks for it; both its wrappers send the norm alike."""
    if CLIPPING_NORM not in message.content.config_records["config"]:
        return train(message, context)
    cut: Message = adaptiveclipping_mod(message, context, train)
    return cut


def weights_of(message: Message) -> dict[str, NDArray[np.floating]]:
    """The weights that came, by name, in order."""
    return {name: array.numpy() for name, array in message.content.array_records["arrays"].items()}


def proximal_of(message: Message) -> float:
    """Weight of the proximal term, as FedProx sends it; 0 where no strategy asks for it."""
    return _number(message, "proximal-mu")


def generator_of(message: Message, context: Context) -> np.random.Generator:
    """Chance that is the same for the same run, seed and round."""
    return np.random.default_rng([int(context.run_config["seed"]), int(_number(message, "server-round"))])


def _number(message: Message, name: str) -> float:
    value = message.content.config_records["config"].get(name, 0.0)
    return float(value) if isinstance(value, int | float) else 0.0
