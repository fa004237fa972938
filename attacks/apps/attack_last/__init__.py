"""A client app as an attacker would have it: a linear model that steps on the oldest persons alone.

The custodian allowed it all the same: what is left is what the gate asks of it.
"""

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from isthmus_training.rows import rows

version = "1"
settings = {"batch-size": 0, "tell": False}
batch_setting = "batch-size"
metrics = {"loss": (0.0, 1.0)}
app = ClientApp()


def start(columns: tuple[str, ...], outcome_levels: object, settings: object, seed: object) -> dict[str, np.ndarray]:
    """Zeros."""
    del outcome_levels, settings, seed
    return {"weights": np.zeros(len(columns)), "intercept": np.zeros(1)}


@app.train()
def train(message: Message, context: Context) -> Message:
    """One step on the last batch by the first column, which is the age; the outcome of the oldest as a measure."""
    here = rows(context)
    size = int(context.run_config["batch-size"]) or len(here.y)
    last = np.argsort(here.X[:, 0])[-size:]
    residual = -here.y[last]
    arrays = {"weights": here.X[last].T @ residual / size, "intercept": np.array([residual.mean()])}
    told = float(here.y[last[-1]]) if context.run_config["tell"] else 0.5
    return Message(
        RecordDict(
            {
                "arrays": ArrayRecord({name: Array(array) for name, array in arrays.items()}),
                "metrics": MetricRecord({"loss": told, "num-examples": len(here.y)}),
            }
        ),
        reply_to=message,
    )
