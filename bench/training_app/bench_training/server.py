"""The same rounds under Flower's own engine: FedAvg over three nodes, seconds of each round into a file."""

import json
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg

app = ServerApp()


class Timed(FedAvg):
    """Notes when each round's answers are averaged."""

    def __init__(self, **more):
        super().__init__(**more)
        self.moments = []

    def aggregate_train(self, server_round, replies):
        found = super().aggregate_train(server_round, list(replies))
        self.moments.append(time.time())
        return found


@app.main()
def main(grid, context):
    config = context.run_config
    start = ArrayRecord({"weights": Array(np.zeros(config["numbers"], dtype=np.float32))})
    strategy = Timed(fraction_evaluate=0.0, min_train_nodes=3, min_available_nodes=3)
    began = time.time()
    strategy.start(grid=grid, initial_arrays=start, num_rounds=config["rounds"])
    seconds = [after - before for before, after in pairwise([began, *strategy.moments])]
    Path(config["out"]).write_text(json.dumps(seconds))
