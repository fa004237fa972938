"""A small multilayer perceptron for tabular data, in PyTorch: ReLU between the layers, one output.

Its loss is the mean over rows of the logistic loss of the output (an outcome of two levels) or half its squared error
(an outcome that is a number), plus ``proximal-mu / 2`` times the squared distance from the weights that came, where the
strategy asks for that. Stochastic gradient descent with momentum; weights are float32.

PyTorch is imported only when a message is answered; the starting values are numpy's.

Source: He et al. 2015, section 2.2 (starting values); Li et al. 2020, equation 2 (the proximal term).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from flwr.app import Array as FlowerArray, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from numpy.typing import NDArray

from isthmus.errors import UsageError
from isthmus_methods.contract import Array, Setting
from isthmus_training.rows import Rows, report_scores, rows
from isthmus_training.shipped.asked import NORM_BIT, cut_where_asked, generator_of, proximal_of, weights_of

if TYPE_CHECKING:
    import torch

version = "1"
settings: Mapping[str, Setting] = {
    "hidden-sizes": "16",  # units of each hidden layer, e.g. "32 16"; empty: none
    "learning-rate": 0.1,
    "momentum": 0.0,
    "weight-decay": 0.0,
    "local-epochs": 1,
    "batch-size": 0,  # persons in a step; 0: all of them
}
batch_setting = "batch-size"
# A row's loss is cut where its range ends: a measure without a range cannot be judged.
MOST_LOSS, MOST_SQUARE = 20.0, 1e9
metrics = {"loss": (0.0, MOST_LOSS), "accuracy": (0.0, 1.0), "squared-error": (0.0, MOST_SQUARE), NORM_BIT: (0.0, 1.0)}
MOST_LAYERS, MOST_UNITS = 8, 16_384

app = ClientApp()


def start(
    columns: Sequence[str], outcome_levels: Sequence[str], settings: Mapping[str, Setting], seed: int
) -> dict[str, NDArray[np.float32]]:
    """By layer k, "k.weight" (out, in), normal with variance 2 / in, and "k.bias" (out,), zeros.

    Raises
    ------
    UsageError
        ``WRONG_SETTING``: hidden sizes that are none.
    """
    del outcome_levels
    generator = np.random.default_rng(seed)
    sizes = (len(columns), *_hidden(str(settings["hidden-sizes"])), 1)
    values: dict[str, NDArray[np.float32]] = {}
    for layer, (before, after) in enumerate(itertools.pairwise(sizes)):
        spread = np.sqrt(2.0 / max(1, before))
        values[f"{layer}.weight"] = (generator.standard_normal((after, before)) * spread).astype(np.float32)
        values[f"{layer}.bias"] = np.zeros(after, dtype=np.float32)
    return values


def _hidden(written: str) -> tuple[int, ...]:
    sizes = written.replace(",", " ").split()
    if len(sizes) > MOST_LAYERS or not all(s.isdecimal() and 1 <= int(s) <= MOST_UNITS for s in sizes):
        raise UsageError(
            "WRONG_SETTING",
            f"hidden-sizes are at most {MOST_LAYERS} whole numbers from 1 to {MOST_UNITS}, e.g. '32 16'",
            "give the number of units of each hidden layer",
        )
    return tuple(int(size) for size in sizes)


@app.train(mods=[cut_where_asked])
def train(message: Message, context: Context) -> Message:
    """Some epochs of stochastic gradient descent from the weights that came."""
    import torch

    here = rows(context)
    chosen = context.run_config
    weights = _weights(message, torch)
    came = {name: value.detach().clone() for name, value in weights.items()}
    proximal = proximal_of(message)
    steps = torch.optim.SGD(
        weights.values(),
        lr=float(chosen["learning-rate"]),
        momentum=float(chosen["momentum"]),
        weight_decay=float(chosen["weight-decay"]),
    )
    generator = generator_of(message, context)
    inputs, outcome = _tensors(here, torch)
    for _ in range(int(chosen["local-epochs"])):
        for some in here.batches(int(chosen["batch-size"]), generator):
            steps.zero_grad()
            loss = _loss(_output(weights, inputs[some], torch), outcome[some], here, torch).mean()
            if proximal:
                loss = loss + proximal / 2 * sum(((weights[name] - came[name]) ** 2).sum() for name in weights)
            loss.backward()
            steps.step()
    arrays = ArrayRecord({name: FlowerArray(value.detach().numpy()) for name, value in weights.items()})
    with torch.no_grad():
        output = _output(weights, inputs, torch)
        measures = _measures(output, outcome, here, torch)
    return Message(RecordDict({"arrays": arrays, "metrics": measures}), reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """How well the weights that came predict the persons held out."""
    import torch

    here = rows(context)
    with torch.no_grad():
        inputs, outcome = _tensors(here, torch)
        output = _output(_weights(message, torch), inputs, torch)
        if here.outcome_levels:
            predicted: Array = torch.sigmoid(output).double().numpy()
            report_scores(context, predicted)
        measures = _measures(output, outcome, here, torch)
    return Message(RecordDict({"metrics": measures}), reply_to=message)


def _weights(message: Message, torch: Any) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(array, requires_grad=True) for name, array in weights_of(message).items()}


def _tensors(here: Rows, torch: Any) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(here.X, dtype=torch.float32), torch.tensor(here.y, dtype=torch.float32)


def _output(weights: Mapping[str, torch.Tensor], inputs: torch.Tensor, torch: Any) -> torch.Tensor:
    """The last layer's output, (n,)."""
    layers = len(weights) // 2
    for layer in range(layers):
        inputs = inputs @ weights[f"{layer}.weight"].T + weights[f"{layer}.bias"]
        if layer < layers - 1:
            inputs = torch.relu(inputs)
    return inputs[:, 0]


def _loss(output: torch.Tensor, outcome: torch.Tensor, here: Rows, torch: Any) -> torch.Tensor:
    """Of each row, (n,)."""
    loss: torch.Tensor
    if here.outcome_levels:
        loss = torch.nn.functional.binary_cross_entropy_with_logits(output, outcome, reduction="none")
    else:
        loss = (output - outcome) ** 2 / 2
    return loss


def _measures(output: torch.Tensor, outcome: torch.Tensor, here: Rows, torch: Any) -> MetricRecord:
    loss = _loss(output, outcome, here, torch)
    if not here.outcome_levels:
        square = torch.clamp(2 * loss, max=MOST_SQUARE).double().mean()
        return MetricRecord({"squared-error": float(square), "num-examples": len(output)})
    right = ((output >= 0) == (outcome > 0)).double().mean()
    cut = torch.clamp(loss, max=MOST_LOSS).double().mean()
    return MetricRecord({"loss": float(cut), "accuracy": float(right), "num-examples": len(output)})
