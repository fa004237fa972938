"""Trainings over real node processes: the numbers of Flower's strategies, what is refused, what is kept."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from flwr.serverapp import strategy as flower

from isthmus.errors import IsthmusError
from isthmus_client.results import TrainingFit
from isthmus_client.sandbox import Process, Sandbox
from isthmus_client.study import Study
from isthmus_client.training import (
    App,
    DifferentialPrivacyClientSideAdaptiveClipping,
    DifferentialPrivacyClientSideFixedClipping,
    DifferentialPrivacyServerSideAdaptiveClipping,
    DifferentialPrivacyServerSideFixedClipping,
    FedAdam,
    FedAvg,
    FedMedian,
    FedProx,
    Krum,
    load,
)
from isthmus_methods.contract import Strategy

sys.path.insert(0, str(Path(__file__).parent))

from training_network import COUNTRIES, FORMULA, GUARDED, OPEN, STUDY, here, rows_of, set_up, trained

pytestmark = [pytest.mark.processes, pytest.mark.timeout(300)]

FIXED = {"noise_multiplier": 0.0, "clipping_norm": 0.05, "num_sampled_clients": 3}
ADAPTIVE = {"noise_multiplier": 0.0, "num_sampled_clients": 3, "clipped_count_stddev": 0.0}
NO_EVALUATION = {"fraction_evaluate": 0.0}
LISTING = Path(__file__).with_name("listing.py")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Three countries with the app allowed, the study approved."""
    with Sandbox(tmp_path_factory.mktemp("training")) as box:
        set_up(box)
        yield box


@pytest.fixture
def study(network: Sandbox) -> Iterator[Study]:
    with network.connect() as connection:
        yield connection.study(STUDY)


def weights(fit: TrainingFit) -> np.ndarray:
    return np.concatenate([array.ravel() for array in fit.model.weights.values()])


# ------------------------------------------------------------------ numbers


def test_one_full_batch_step_a_round_is_gradient_descent_on_the_pooled_rows(study: Study) -> None:
    fit = trained(study, FedAvg(), rounds=4, settings={"learning-rate": 0.7})
    rows = rows_of(fit.model).values()
    X = np.vstack([np.column_stack([r.X, np.ones(len(r.y))]) for r in rows])
    y = np.concatenate([r.y for r in rows])
    central = np.zeros(X.shape[1])
    for _ in range(4):
        central -= 0.7 * X.T @ (1 / (1 + np.exp(-X @ central)) - y) / len(y)
    # sums over countries and over all rows differ in their order: some last bits of numbers about one
    assert np.max(np.abs(weights(fit) - central)) < 1e-12
    assert np.max(np.abs(central)) > 0.1, "it went somewhere"


@pytest.mark.parametrize(
    ("asked", "theirs"),
    [
        (FedProx(proximal_mu=0.5), lambda: flower.FedProx(proximal_mu=0.5, **NO_EVALUATION)),
        (FedAdam(eta=0.05), lambda: flower.FedAdam(eta=0.05, **NO_EVALUATION)),
        (FedMedian(), lambda: flower.FedMedian(**NO_EVALUATION)),
        (Krum(num_malicious_nodes=0), lambda: flower.Krum(num_malicious_nodes=0, **NO_EVALUATION)),
        (
            DifferentialPrivacyServerSideFixedClipping(FedAvg(), **FIXED),
            lambda: flower.DifferentialPrivacyServerSideFixedClipping(flower.FedAvg(**NO_EVALUATION), **FIXED),
        ),
        (
            DifferentialPrivacyServerSideAdaptiveClipping(FedAvg(), **ADAPTIVE),
            lambda: flower.DifferentialPrivacyServerSideAdaptiveClipping(flower.FedAvg(**NO_EVALUATION), **ADAPTIVE),
        ),
        (
            DifferentialPrivacyClientSideFixedClipping(FedAvg(), **FIXED),
            lambda: flower.DifferentialPrivacyClientSideFixedClipping(flower.FedAvg(**NO_EVALUATION), **FIXED),
        ),
        (
            DifferentialPrivacyClientSideAdaptiveClipping(FedAvg(), **ADAPTIVE),
            lambda: flower.DifferentialPrivacyClientSideAdaptiveClipping(flower.FedAvg(**NO_EVALUATION), **ADAPTIVE),
        ),
    ],
    ids=[
        "FedProx",
        "FedAdam",
        "FedMedian",
        "Krum",
        "fixed clipping",
        "adaptive clipping",
        "fixed clipping at the sites",
        "adaptive clipping at the sites",
    ],
)
def test_a_strategy_over_nodes_gives_what_flowers_own_object_gives(
    study: Study, asked: Strategy, theirs: object
) -> None:
    fit = trained(study, asked, settings={"local-epochs": 3})
    same = here(fit.model, theirs())  # type: ignore[operator]
    assert list(fit.model.weights) == list(same.arrays)
    for name, array in same.arrays.items():
        assert np.max(np.abs(fit.model.weights[name] - array)) < 1e-12
    plain = here(fit.model, flower.FedAvg(**NO_EVALUATION))
    assert any(np.max(np.abs(fit.model.weights[name] - plain.arrays[name])) > 1e-6 for name in plain.arrays)


def test_noise_of_the_wrapper_is_in_the_model(study: Study) -> None:
    noisy = {**FIXED, "noise_multiplier": 2.0}
    one, other = (trained(study, DifferentialPrivacyServerSideFixedClipping(FedAvg(), **noisy)) for _ in range(2))
    assert np.all(np.isfinite(weights(one)))
    assert np.max(np.abs(weights(one) - weights(other))) > 1e-4


# ------------------------------------------------------------------ what a statistician gets


def test_a_training_under_the_default_policy_is_explained_evaluated_and_kept(
    network: Sandbox, study: Study, tmp_path: Path
) -> None:
    # two factors, the outcome among them: of three the auditor would find cells of a few persons
    formula = "status == 1 ~ I((age - 55)/10) + meno + I(nodes/10)"
    plan = study.train(formula, strategy=FedAvg(), rounds=3, held_out=0.3, dataset=GUARDED, seed=5)
    said = str(plan.explain())
    assert "app: logistic, version 1" in said
    assert "4 numbers leave each country in each round of training, 12 in all" in said
    fit = plan.run(progress=False)
    assert isinstance(fit, TrainingFit)
    curves = fit.curves()
    assert curves.groupby("phase")["round"].unique().map(list).to_dict() == {"train": [1, 2, 3], "evaluate": [1, 2, 3]}
    assert set(curves["country"]) == {"all countries", *COUNTRIES.values()}
    everybody = curves[(curves["country"] == "all countries") & (curves["round"] == 3)]
    assert everybody["examples"].sum() == 597 + 575 + 111, "each person either trains or is held out"
    table = fit.evaluation()
    assert table.loc["all countries", "auc_least"] <= table.loc["all countries", "auc"]
    assert table["rows"]["BE"] >= 22, "cells of eleven persons of each outcome"
    again = load(fit.save(tmp_path / "model"))
    assert all(np.array_equal(again.weights[name], fit.model.weights[name]) for name in again.weights)
    assert {c["country"] for c in again.card["countries"]} == set(COUNTRIES.values())
    assert all(c["dataset_digest"] and c["policy_digest"] for c in again.card["countries"])


def test_the_command_trains_and_writes_model_card_and_report(network: Sandbox, tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(
        f'study = "{STUDY}"\n[[analysis]]\ndataset = "{OPEN}"\nformula = "{FORMULA}"\n[analysis.training]\nrounds = 2\n'
        'held_out = 0.25\nsettings = { learning-rate = 0.5 }\n[analysis.training.strategy]\nname = "FedProx"\n'
        "arguments = { proximal_mu = 0.1 }\n"
    )
    from isthmus_client.sandbox import run_command

    said = run_command(
        ["isthmus", "train", str(plan), "--out", str(tmp_path / "out"), "--profile", str(network.profile)]
    )
    written = {Path(path).name for path in said["files"]}  # type: ignore[index]
    assert {"result.json", "report.html", "01-training-model"} <= written
    card = json.loads((tmp_path / "out/01-training-model/model-card.json").read_text())
    assert card["strategy"] == "FedProx(proximal_mu=0.1)"
    assert load(tmp_path / "out/01-training-model").weights["weights"].shape == (6,)


# ------------------------------------------------------------------ what is refused


def refused(study: Study, **asked: object) -> IsthmusError:
    given: dict[str, object] = {"strategy": FedAvg(), "rounds": 2, "held_out": 0.0, "dataset": GUARDED, **asked}
    with pytest.raises(IsthmusError) as raised:
        study.train(FORMULA, **given).run(progress=False)  # type: ignore[arg-type]
    return raised.value


def test_an_app_with_another_source_trains_nowhere(study: Study) -> None:
    error = refused(study, app=App("logistic", "1", "ab" * 32))
    assert error.code in ("APP_NOT_ALLOWED", "OTHER_APP")


def test_a_batch_of_few_persons_is_refused_by_each_gate(study: Study) -> None:
    error = refused(study, settings={"batch-size": 2})
    assert error.code == "SMALL_BATCH"
    assert "each step of a training is taken on 20 or more persons at once" in error.message


def test_more_rounds_than_a_policy_has_are_refused(study: Study) -> None:
    assert refused(study, rounds=101).code == "TOO_MANY_ROUNDS"


@pytest.mark.skipif(find_spec("torch") is not None, reason="PyTorch is installed here")
def test_an_app_that_a_site_did_not_allow_is_refused_by_name(study: Study) -> None:
    error = refused(study, app="mlp")
    assert error.code == "APP_NOT_ALLOWED"
    assert "mlp" in error.message


# ------------------------------------------------------------------ a country that is away


def test_a_missing_country_fails_the_run_or_the_result_says_that_it_is_missing(network: Sandbox, study: Study) -> None:
    network.processes["at"].stop()
    try:
        error = refused(study, dataset=OPEN, missing_country="fail", deadline=2)
        assert "AT" in error.message
        fit = trained(study, FedAvg(), missing_country="go on without", deadline=2)
        assert fit.missing_countries == ("AT",)
        assert not fit.exact
        two = here(fit.model, flower.FedAvg(**NO_EVALUATION)).arrays
        assert any(np.max(np.abs(fit.model.weights[name] - two[name])) > 1e-6 for name in two), (
            "AT's rows are not in it"
        )
    finally:
        network.start_nodes(["at"])


@pytest.mark.parametrize("trains", [False, True], ids=["trains nothing", "trains"])
def test_a_node_never_loads_flower_itself(network: Sandbox, study: Study, tmp_path: Path, trains: bool) -> None:
    """Who trains nothing needs none of it; where a model is trained, apps have it in their own process."""
    network.processes["at"].stop()
    listed = tmp_path / "modules"
    command = [sys.executable, str(LISTING), str(listed), "run", "--home", str(network.node_home("at"))]
    network.processes["at"] = Process.start("at", command, network.home / "logs" / "at.log", {})
    network.processes["at"].wait_ready()
    try:
        if trains:
            assert trained(study, FedAvg()).missing_countries == ()
        else:
            study.table_one(["age"], dataset=OPEN).run(progress=False)
    finally:
        network.processes["at"].stop()
        network.start_nodes(["at"])
    loaded = listed.read_text().splitlines()
    assert "isthmus_node.service" in loaded
    assert {"flwr", "torch"}.isdisjoint(loaded)


def test_the_client_needs_no_flower(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "sys.modules['flwr'] = None\n"
        "from isthmus_client.training import FedAvg, load\n"
        "from isthmus_client.training.asked import training_plan\n"
        "plan = training_plan(3, app='logistic', strategy=FedAvg(fraction_train=1.0), settings={'l2': 0.1})\n"
        "assert plan.app.version == '1'\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_journal_with_trainings_is_replayed_and_says_what_is_not_repeated(
    network: Sandbox, study: Study, tmp_path: Path
) -> None:
    from isthmus_client.replay import exit_code_of, read_bundles, replay
    from isthmus_client.report import write_results

    fit = trained(study, FedAvg())
    for node in COUNTRIES:
        network.node(node, "journal", "export", "-o", str(tmp_path / node))
    bundles = read_bundles([tmp_path / node for node in COUNTRIES])
    (judged,) = replay(bundles, run=fit.provenance().run)
    assert (judged.replayed.outcome.value, exit_code_of([judged])) == ("trained", 0)
    assert "6 answers to 2 rounds are as they were signed" in judged.replayed.why
    held = replay(bundles, write_results([fit], tmp_path / "result.json"))
    assert exit_code_of(held) == 0
    assert "is the mean of the countries' models" in held[0].replayed.why
    assert len(held[0].replayed.model) == 64


def test_noise_that_policies_ask_for_is_in_the_result_until_the_budget_is_spent(network: Sandbox, study: Study) -> None:
    """The last in this network: its policies ask for noise from here on. A round costs rho 2 / 4^2 = 1/8 of 1."""
    for node in COUNTRIES:
        policy = network.node_home(node) / "policy.toml"
        text = policy.read_text(encoding="utf-8")
        asked = re.sub(r"(?m)^update_noise = \S+", "update_noise = 4.0", text)
        asked = re.sub(r"(?m)^update_norm = \S+", "update_norm = 1.0", asked)
        assert asked != text
        policy.write_text(asked, encoding="utf-8")
    network.at_each_node(dict.fromkeys(COUNTRIES, ("policy", "adopt", "--reason", "models leave with noise")))
    formula = "status == 1 ~ I((age - 55)/10) + meno"

    def train(rounds: int) -> TrainingFit:
        fit = study.train(formula, strategy=FedAvg(), rounds=rounds, held_out=0.0, dataset=GUARDED).run(progress=False)
        assert isinstance(fit, TrainingFit)
        return fit

    spent = train(3).privacy()
    assert list(spent.index) == list(COUNTRIES.values())
    assert spent["rho"].tolist() == spent["rho_total"].tolist() == pytest.approx([3 / 8] * 3)
    assert set(spent["accountant"]) == {"zCDP, Gaussian"}
    assert train(5).privacy()["rho_total"].tolist() == pytest.approx([1.0] * 3)
    with pytest.raises(IsthmusError, match="spend") as raised:
        train(1)
    assert "together" in raised.value.message
    for node in COUNTRIES:
        assert "rho" in str(network.node(node, "privacy"))
