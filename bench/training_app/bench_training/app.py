"""A client app of so many float32 numbers: as a node of isthmus loads it, and as Flower's engine does."""

import numpy as np
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

version = "1"
settings = {"numbers": 2500}
batch_setting = None
full_batch = True
metrics = {}

app = ClientApp()


def start(columns, outcome_levels, settings, seed):
    return {"weights": np.zeros(settings["numbers"], dtype=np.float32)}


@app.train()
def train(message, context):
    # out of the message: it need not be in memory twice
    weights = message.content["arrays"].pop("weights").numpy()
    weights += np.float32(0.001)
    records = {"arrays": ArrayRecord({"weights": Array(weights)}), "metrics": MetricRecord({"num-examples": 100})}
    return Message(RecordDict(records), reply_to=message)
