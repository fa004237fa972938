"""Logistic regression, or a linear model where the outcome is a number, trained by gradient descent.

The loss is the mean over rows of ``log(1 + exp(eta)) - y eta`` (logistic) or ``(y - eta)^2 / 2`` (linear), with ``eta =
intercept + X weights``, plus ``l2 / 2 |weights|^2``, plus ``proximal-mu / 2`` times the squared distance from the
weights that came (of weights and intercept), where the strategy asks for that.

One full-batch step in every country, averaged by rows, is one step over the pooled rows: the mean of means, weighted by
rows, is the mean.

Source: McMahan et al. 2017, algorithm 1 (FedSGD, FedAvg); Li et al. 2020, equation 2 (the proximal term).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from flwr.app import Array as FlowerArray, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from isthmus_methods.contract import Array, Setting
from isthmus_training.rows import Rows, report_scores, rows
from isthmus_training.shipped.asked import NORM_BIT, cut_where_asked, generator_of, proximal_of, weights_of

version = "1"
settings: Mapping[str, Setting] = {
    "learning-rate": 0.5,
    "local-epochs": 1,
    "batch-size": 0,  # persons in a step; 0: all of them
    "l2": 0.0,
}
batch_setting = "batch-size"
# A row's loss is cut where its range ends: a measure without a range cannot be judged.
MOST_LOSS, MOST_SQUARE = 20.0, 1e9
metrics = {"loss": (0.0, MOST_LOSS), "accuracy": (0.0, 1.0), "squared-error": (0.0, MOST_SQUARE), NORM_BIT: (0.0, 1.0)}

app = ClientApp()


def start(
    columns: Sequence[str], outcome_levels: Sequence[str], settings: Mapping[str, Setting], seed: int
) -> dict[str, Array]:
    """Zeros: "weights" (p,) and "intercept" (1,), float64."""
    del outcome_levels, settings, seed
    return {"weights": np.zeros(len(columns)), "intercept": np.zeros(1)}


@app.train(mods=[cut_where_asked])
def train(message: Message, context: Context) -> Message:
    """Some epochs of gradient descent from the weights that came."""
    here = rows(context)
    came = _weights(message)
    chosen = context.run_config
    learned = descend(
        here,
        came,
        rate=float(chosen["learning-rate"]),
        epochs=int(chosen["local-epochs"]),
        batch=int(chosen["batch-size"]),
        l2=float(chosen["l2"]),
        proximal=proximal_of(message),
        generator=generator_of(message, context),
    )
    arrays = ArrayRecord({"weights": FlowerArray(learned[:-1]), "intercept": FlowerArray(learned[-1:])})
    return Message(RecordDict({"arrays": arrays, "metrics": _measures(here, learned)}), reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """How well the weights that came predict the persons held out."""
    here = rows(context)
    came = _weights(message)
    if here.outcome_levels:
        report_scores(context, probabilities(here, came))
    return Message(RecordDict({"metrics": _measures(here, came)}), reply_to=message)


def descend(
    here: Rows,
    came: Array,
    rate: float,
    epochs: int,
    batch: int,
    l2: float,
    proximal: float,
    generator: np.random.Generator,
) -> Array:
    """Weights and, last, the intercept after some epochs, (p + 1,).

    Parameters
    ----------
    came : (p + 1,), what the first step is taken from.
    """
    learned = came.copy()
    decay = np.append(np.full(len(came) - 1, l2), 0.0)
    for _ in range(epochs):
        for some in here.batches(batch, generator):
            part = Rows(here.X[some], here.columns, here.y[some], here.outcome_levels, here.persons[some])
            slope = gradient(part, learned) + decay * learned + proximal * (learned - came)
            learned = learned - rate * slope
    return learned


def gradient(here: Rows, at: Array) -> Array:
    """Gradient of the mean loss over the rows, (p + 1,), the intercept's last."""
    residual = (probabilities(here, at) if here.outcome_levels else _predictor(here, at)) - here.y
    return np.append(here.X.T @ residual, residual.sum()) / len(here.y)


def probabilities(here: Rows, at: Array) -> Array:
    """Predicted probability of the outcome's second level, (n,)."""
    eta = _predictor(here, at)
    # of a negative number only, so that nothing overflows
    small = np.exp(-np.abs(eta))
    return np.where(eta >= 0, 1.0, small) / (1.0 + small)


def _predictor(here: Rows, at: Array) -> Array:
    eta: Array = here.X @ at[:-1] + at[-1]
    return eta


def _weights(message: Message) -> Array:
    came = weights_of(message)
    return np.append(came["weights"], came["intercept"])


def _measures(here: Rows, at: Array) -> MetricRecord:
    eta = _predictor(here, at)
    if not here.outcome_levels:
        square = np.minimum((here.y - eta) ** 2, MOST_SQUARE)
        return MetricRecord({"squared-error": float(square.mean()), "num-examples": len(eta)})
    loss = np.minimum(np.logaddexp(0.0, eta) - here.y * eta, MOST_LOSS)
    right = (eta >= 0) == (here.y > 0)
    return MetricRecord({"loss": float(loss.mean()), "accuracy": float(right.mean()), "num-examples": len(eta)})
