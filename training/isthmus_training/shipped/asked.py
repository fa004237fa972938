"""What the two apps read of a message: weights, the strategy's configuration, the source of chance."""

from __future__ import annotations

import numpy as np
from flwr.app import Context, Message
from numpy.typing import NDArray


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
