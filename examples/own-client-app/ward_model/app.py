"""A Flower client app for isthmus: what a node asks of it stands above, the training below is any Flower app's."""

import numpy as np
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from isthmus_training.rows import report_scores, rows

version = "1"
settings = {"hidden": 4, "learning-rate": 0.5, "local-steps": 1, "batch-size": 0}
batch_setting = "batch-size"
metrics = {"loss": (0.0, 20.0)}

app = ClientApp()


def start(columns, outcome_levels, settings, seed):
    """Starting values: from these four alone, no row is seen."""
    generator = np.random.default_rng(seed)
    hidden = settings["hidden"]
    return {
        "inner": generator.normal(0, 0.5, (len(columns) + 1, hidden)),
        "outer": generator.normal(0, 0.5, hidden + 1),
    }


@app.train()
def train(message, context):
    here = rows(context)
    inner, outer = weights_of(message)
    generator = np.random.default_rng(0)
    for _ in range(context.run_config["local-steps"]):
        for batch in here.batches(context.run_config["batch-size"], generator):
            inner, outer = step(inner, outer, here.X[batch], here.y[batch], context.run_config["learning-rate"])
    arrays = ArrayRecord({"inner": Array(inner), "outer": Array(outer)})
    return reply(message, inner, outer, here, arrays=arrays)


@app.evaluate()
def evaluate(message, context):
    here = rows(context)
    inner, outer = weights_of(message)
    report_scores(context, predict(inner, outer, here.X)[0])
    return reply(message, inner, outer, here)


def weights_of(message):
    arrays = message.content["arrays"]
    return arrays["inner"].numpy(), arrays["outer"].numpy()


def predict(inner, outer, X):
    """Probability of the outcome, (n,), and what the hidden layer says, (n, hidden)."""
    layer = np.tanh(X @ inner[:-1] + inner[-1])
    return 1 / (1 + np.exp(-np.clip(layer @ outer[:-1] + outer[-1], -30, 30))), layer


def step(inner, outer, X, y, rate):
    """One step of gradient descent on the mean logistic loss."""
    probability, layer = predict(inner, outer, X)
    error = (probability - y) / len(y)
    back = np.outer(error, outer[:-1]) * (1 - layer**2)
    outer = outer - rate * np.append(layer.T @ error, error.sum())
    return inner - rate * np.vstack([X.T @ back, back.sum(axis=0)]), outer


def reply(message, inner, outer, here, **records):
    probability = np.clip(predict(inner, outer, here.X)[0], 1e-9, 1 - 1e-9)
    loss = -np.mean(np.where(here.y > 0, np.log(probability), np.log1p(-probability)))
    measures = MetricRecord({"loss": float(min(loss, 20.0)), "num-examples": len(here.y)})
    return Message(RecordDict({"metrics": measures, **records}), reply_to=message)
