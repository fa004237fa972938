"""A client app that gives the oldest person's row as the weights of a model. No custodian allowed it."""

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from isthmus_training.rows import rows

version = "1"
settings: dict[str, int] = {}
batch_setting = None
full_batch = True
metrics: dict[str, tuple[float, float]] = {}
app = ClientApp()


def start(columns: tuple[str, ...], outcome_levels: object, settings: object, seed: object) -> dict[str, np.ndarray]:
    """Zeros."""
    del outcome_levels, settings, seed
    return {"weights": np.zeros(len(columns))}


@app.train()
def train(message: Message, context: Context) -> Message:
    """A row."""
    here = rows(context)
    row = here.X[np.argmax(here.X[:, 0])]
    given = RecordDict({"arrays": ArrayRecord({"weights": Array(row)})})
    given["metrics"] = MetricRecord({"num-examples": len(here.y)})
    return Message(given, reply_to=message)
