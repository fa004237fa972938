"""A training in a study's plan and in a plan file."""

from __future__ import annotations

from pathlib import Path

import pytest
from pooling import HERE, participants

from isthmus.errors import ConfigError, UsageError
from isthmus.v1 import study_pb2
from isthmus_client.connection import Connection
from isthmus_client.plan_file import read_plan
from isthmus_client.proposal import study_from_toml
from isthmus_client.study import Study
from isthmus_client.training import App, DifferentialPrivacyServerSideFixedClipping, FedProx
from isthmus_methods.codec import spec_from_message
from isthmus_methods.contract import Strategy

FORMULA = "status == 1 ~ I((age - 50)/10) + size"
TRAINING = f"""
app = "ours"
version = "3"
digest = "{"cd" * 32}"
rounds = 7
held_out = 0.25
seed = 11
settings = {{ learning-rate = 0.1, hidden = [8, 4], fast = true }}
"""
STRATEGY = """
name = "DifferentialPrivacyServerSideFixedClipping"
arguments = { noise_multiplier = 1, clipping_norm = 0.5 }
wraps = { name = "FedProx", arguments = { proximal_mu = 0.1 } }
"""


def planned(tmp_path: Path, training: str = TRAINING) -> study_pb2.Study:
    path = tmp_path / "study.toml"
    written = (HERE / "breast-cancer.toml").read_text(encoding="utf-8")
    path.write_text(
        f'{written}\n[[plan]]\nname = "model"\nmethod = "training"\nformula = "{FORMULA}"\n[plan.training]\n{training}'
        f"\n[plan.training.strategy]\n{STRATEGY}",
        encoding="utf-8",
    )
    return study_from_toml(path, participants())


def test_a_training_in_a_studys_plan_is_the_one_that_the_call_asks(tmp_path: Path, connection: Connection) -> None:
    message = planned(tmp_path)
    plan = spec_from_message(message.plan[-1].spec, message).training
    assert plan is not None
    assert (plan.app.name, plan.app.version, plan.app.digest) == ("ours", "3", b"\xcd" * 32)
    assert (plan.rounds, plan.held_out, plan.seed) == (7, 0.25, 11)
    assert plan.settings == {"learning-rate": 0.1, "hidden": "8 4", "fast": True}
    assert plan.strategy.wraps == Strategy("FedProx", {"proximal_mu": 0.1})
    assert plan.strategy.arguments["num_sampled_clients"] == 4
    asked = Study(connection, message, b"").train(
        FORMULA,
        app=App("ours", "3", "cd" * 32),
        strategy=DifferentialPrivacyServerSideFixedClipping(
            FedProx(proximal_mu=0.1), noise_multiplier=1, clipping_norm=0.5
        ),
        rounds=7,
        held_out=0.25,
        seed=11,
        settings={"learning-rate": 0.1, "hidden": [8, 4], "fast": True},
    )
    assert asked.steps[0].planned == "model"
    assert asked.trains


@pytest.mark.parametrize(
    ("training", "says"),
    [
        ("held_ot = 0.2", "did you mean held_out"),
        ("rounds = 2.5", "training.rounds"),
        ("seed = -1", "training.seed"),
        ('strategy = "FedAvg"', "training.strategy"),
    ],
)
def test_a_wrong_key_or_value_is_named(tmp_path: Path, training: str, says: str) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(f'study = "X"\n[[analysis]]\nformula = "a ~ b"\n[analysis.training]\n{training}\n')
    with pytest.raises(ConfigError) as raised:
        read_plan(path)
    assert says in f"{raised.value.message} {raised.value.remedy}"


def test_a_plan_file_gives_its_trainings_and_says_where_there_is_none(tmp_path: Path, connection: Connection) -> None:
    path = tmp_path / "plan.toml"
    head = 'study = "BREAST-RFS"\n[[analysis]]\nmethod = "table_one"\nvariables = ["age"]\n'
    study = connection.study("BREAST-RFS")
    path.write_text(f'{head}[[analysis]]\nformula = "{FORMULA}"\n[analysis.training]\n{TRAINING}')
    (plan,) = read_plan(path).trainings(study)
    assert plan.trains
    assert plan.steps[0].analysis.spec.training.strategy.name == "FedAvg"
    path.write_text(head)
    with pytest.raises(UsageError, match="trains no model") as raised:
        read_plan(path).trainings(study)
    assert raised.value.code == "NO_TRAINING"


def test_nothing_is_evaluated_where_nobody_is_held_out(connection: Connection) -> None:
    study = connection.study("BREAST-RFS")
    app = App("ours", "3", "cd" * 32)
    plan = study.train(FORMULA, app=app, strategy=FedProx(proximal_mu=1), held_out=0)
    (argument,) = [a for a in plan.steps[0].analysis.spec.training.strategy.arguments if a.name == "fraction_evaluate"]
    assert argument.number == 0.0
    with pytest.raises(UsageError, match="nobody is held out") as raised:
        study.train(FORMULA, app=app, strategy=FedProx(fraction_evaluate=0.5), held_out=0)
    assert raised.value.code == "NOTHING_HELD_OUT"
