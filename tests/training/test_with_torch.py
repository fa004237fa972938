"""The perceptron over real nodes, in the environment that has PyTorch: ``make test-torch``."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from isthmus_client.results import TrainingFit
from isthmus_client.sandbox import Sandbox
from isthmus_client.training import FedAdam, load

sys.path.insert(0, str(Path(__file__).parent))

from training_network import GUARDED, STUDY, file_of, rows_of, set_up

pytestmark = [
    pytest.mark.torch,
    pytest.mark.processes,
    pytest.mark.timeout(600),
    pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch is not installed here: make test-torch"),
]


def test_a_perceptron_is_trained_evaluated_and_predicts_as_its_app_does(tmp_path: Path) -> None:
    import torch

    with Sandbox(tmp_path / "network") as box:
        set_up(box, "mlp")
        with box.connect() as connection:
            study = connection.study(STUDY)
            fit = study.train(
                "status == 1 ~ I((age - 55)/10) + hormon + I(nodes/10)",
                app="mlp",
                strategy=FedAdam(eta=0.05),
                rounds=4,
                held_out=0.3,
                dataset=GUARDED,
                seed=2,
                settings={"hidden-sizes": [5, 3], "local-epochs": 3},
            ).run(progress=False)
    assert isinstance(fit, TrainingFit)
    assert fit.parameters == 3 * 5 + 5 + 5 * 3 + 3 + 3 + 1
    loss = fit.rounds()["train: loss"]
    assert loss.iloc[-1] < loss.iloc[0]
    assert fit.evaluation().loc["all countries", "rows"] > 300
    model = load(fit.save(tmp_path / "model"))
    assert all(array.dtype == np.float32 for array in model.weights.values())
    inputs = torch.tensor(rows_of(model)["BE"].X, dtype=torch.float32)
    for layer in range(3):
        weight, bias = (torch.tensor(model.weights[f"{layer}.{part}"]) for part in ("weight", "bias"))
        inputs = inputs @ weight.T + bias
        inputs = torch.relu(inputs) if layer < 2 else torch.sigmoid(inputs)
    # float32 there, float64 here
    assert np.allclose(model.predict(pd.read_csv(file_of("BE"))), inputs[:, 0].numpy(), atol=1e-5)
    assert sum(model.card["countries"][k]["state"] == "contributed" for k in range(3)) == 3
