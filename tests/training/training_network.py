"""Three countries that train: real processes, rows of the example, the app allowed by each custodian's policy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from flwr.serverapp import strategy as flower

from conformance.training import allow
from isthmus_client.demo import example_folder
from isthmus_client.proposal import study_from_toml
from isthmus_client.results import TrainingFit
from isthmus_client.sandbox import Sandbox
from isthmus_client.study import Study
from isthmus_client.training import Model
from isthmus_methods.contract import Strategy
from isthmus_training.in_process import Country, Tried, train_in_process
from isthmus_training.rows import Rows

COUNTRIES = {"be": "BE", "de": "DE", "at": "AT"}
STUDY = "TRAINED"
# The same rows twice: as open data, of which a gate asks nothing, and under the default policy.
OPEN, GUARDED = "OPEN", "RFS"
FORMULA = "status == 1 ~ I((age - 55)/10) + meno + size + hormon + I(nodes/10)"


def set_up(box: Sandbox, app: str = "logistic") -> None:
    """Coordinator, three nodes with both datasets and an app allowed, running, the study approved.

    Exploratory analyses are let through.
    """
    box.init_coordinator()
    box.start_coordinator()
    box.join(COUNTRIES)
    box.login("statistician")
    for dataset, *more in ((OPEN, "--open-data"), (GUARDED,)):
        box.at_each_node(
            {
                node: ("data", "add", str(file_of(country)), "--dataset", dataset, *more)
                for node, country in COUNTRIES.items()
            }
        )
    for node in COUNTRIES:
        policy = box.node_home(node) / "policy.toml"
        policy.write_text(policy.read_text().replace('analyses = "ask"', 'analyses = "allow"'))
    allow(box, app)
    box.start_nodes(COUNTRIES)
    path = box.home / "study.toml"
    path.write_text(_study(), encoding="utf-8")
    with box.connect() as connection:
        connection.propose(study_from_toml(path, connection.participants()))
    box.approve(STUDY, COUNTRIES, "test")


def file_of(country: str) -> Path:
    """A country's rows."""
    return example_folder() / "data" / f"{country}.csv"


def _study() -> str:
    written = (example_folder() / "study.toml").read_text(encoding="utf-8")
    dataset = written[written.index("[[dataset]]") : written.index("[[plan]]")]
    return "\n".join(
        [
            f'name = "{STUDY}"',
            'title = "Training"',
            'rationale = "Does a training over nodes give what one over the pooled rows gives?"',
            'recipients = ["the tests"]',
            "by_country = true",
            f"participants = {list(COUNTRIES)}".replace("'", '"'),
            dataset,
            dataset.replace('name = "RFS"', f'name = "{OPEN}"'),
        ]
    )


def trained(study: Study, strategy: Strategy, **more: object) -> TrainingFit:
    """A training over the open rows."""
    given: dict[str, object] = {"dataset": OPEN, "rounds": 2, "held_out": 0.0, "seed": 3, **more}
    fit = study.train(FORMULA, strategy=strategy, **given).run(progress=False)  # type: ignore[arg-type]
    assert isinstance(fit, TrainingFit)
    return fit


def rows_of(model: Model) -> dict[str, Rows]:
    """What the nodes have, by country, as the model's request takes it."""
    found = {}
    for country in COUNTRIES.values():
        frame = pd.read_csv(file_of(country))
        outcome = (frame["status"] == 1).to_numpy(dtype=np.float64)
        found[country] = Rows(model.design(frame), model.columns, outcome, ("0", "1"), np.arange(len(frame)))
    return found


def here(model: Model, strategy: flower.Strategy) -> Tried:
    """The same training in this process, by Flower's own strategy object."""
    plan = model.spec.training
    assert plan is not None
    countries = {country: Country(rows, rows) for country, rows in rows_of(model).items()}
    return train_in_process(
        "isthmus_training.shipped.logistic", countries, strategy, plan.rounds, plan.settings, plan.seed
    )
