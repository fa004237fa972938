"""Trainings from order to model: every strategy, unmodified, through the coordinator's own rounds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from isthmus.v1 import summary_pb2
from isthmus_methods import contract as c
from isthmus_methods.codec import answer_from_message
from isthmus_methods.summary_codec import message_of
from isthmus_trust.documents import digest

from .training_kit import FEDAVG, STEP, TrainingRegion, attached, training_region

pytestmark = pytest.mark.processes


@pytest.fixture
def region(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TrainingRegion]:
    region = training_region(tmp_path, monkeypatch)
    yield region
    region.stop()


def wrapped(name: str, **arguments: c.Setting) -> c.Strategy:
    return c.Strategy(name, arguments, FEDAVG)


FIXED: dict[str, c.Setting] = {"noise_multiplier": 0.1, "clipping_norm": 0.5, "num_sampled_clients": 5}
ADAPTIVE: dict[str, c.Setting] = {"noise_multiplier": 0.0, "num_sampled_clients": 5, "clipped_count_stddev": 0.5}


@pytest.mark.parametrize(
    ("strategy", "config"),
    [
        (FEDAVG, {"server-round"}),
        (c.Strategy("FedProx", {"proximal_mu": 0.5}), {"server-round", "proximal-mu"}),
        (c.Strategy("FedAdam", {"eta": 0.05}), {"server-round"}),
        (c.Strategy("FedMedian"), {"server-round"}),
        (c.Strategy("Krum", {"num_malicious_nodes": 1}), {"server-round"}),
        (wrapped("DifferentialPrivacyServerSideFixedClipping", **FIXED), {"server-round"}),
        (wrapped("DifferentialPrivacyClientSideFixedClipping", **FIXED), {"server-round", "clipping_norm"}),
        (wrapped("DifferentialPrivacyServerSideAdaptiveClipping", **ADAPTIVE), {"server-round"}),
        (wrapped("DifferentialPrivacyClientSideAdaptiveClipping", **ADAPTIVE), {"server-round", "clipping_norm"}),
    ],
    ids=lambda value: value.name if isinstance(value, c.Strategy) else "",
)
def test_strategy_runs_unmodified(region: TrainingRegion, strategy: c.Strategy, config: set[str]) -> None:
    nodes = attached(region, ("nl", "be", "de", "fr", "it"))
    run = region.train(region.approved(nodes), region.plan(strategy, rounds=2))
    result = region.result(run)
    assert (result.state, result.rounds, result.failure.code) == ("done", 4, "")
    model = region.model(run)
    assert {name: array.shape for name, array in model.items()} == {"weights": (2,), "intercept": (1,)}
    assert np.isfinite(model["weights"]).all()
    assert np.any(model["weights"] != 0.0)
    asked = [message_of(task) for task, _ in nodes[0].asked]
    assert [message.type for message in asked if message] == ["train", "evaluate"] * 2
    assert {name for message in asked if message and message.type == "train" for name in message.config} == config


def test_fedavg_is_the_weighted_mean_and_so_central_gradient_descent(region: TrainingRegion) -> None:
    nodes = attached(region)
    run = region.train(region.approved(nodes), region.plan(FEDAVG, rounds=5))
    assert region.result(run).state == "done"
    X, y = np.vstack([node.X for node in nodes]), np.concatenate([node.y for node in nodes])
    weights, intercept = np.zeros(2), 0.0
    for _ in range(5):
        off = X @ weights + intercept - y
        weights, intercept = weights - STEP * X.T @ off / len(y), intercept - STEP * off.mean()
    model = region.model(run)
    # a mean of three numbers near 1, each rounded once
    np.testing.assert_allclose(model["weights"], weights, rtol=0.0, atol=1e-15)
    np.testing.assert_allclose(model["intercept"], [intercept], rtol=0.0, atol=1e-15)


@pytest.mark.parametrize("by_country", [False, True])
def test_answer_has_curves_scores_and_digest(region: TrainingRegion, by_country: bool) -> None:
    nodes = attached(region)
    nodes[1].changes = {("metrics", "norm_bit"): None}
    study_digest = region.approved(nodes, by_country=by_country)
    result = region.result(region.train(study_digest, region.plan(FEDAVG, rounds=2)))
    answer = answer_from_message(result.answer)
    assert isinstance(answer, dict)
    assert (answer["parameters"], len(answer["digest"])) == (3, 64)
    total = float(sum(len(node.y) for node in nodes))
    assert (answer["train"]["round"], answer["train"]["examples"]) == ([1, 2], [total, total])
    first = {name: np.zeros(size) for name, size in (("weights", 2), ("intercept", 1))}
    loss = sum(len(node.y) * node.loss(first) for node in nodes) / total
    assert answer["train"]["loss"][0] == pytest.approx(loss, rel=1e-14)
    assert answer["scores"] == {"first": [0, 50], "last": [50, 100], "outcome": [0, 1], "rows": [9, 6]}
    assert ("by_country" in answer) is by_country
    if by_country:
        assert list(answer["by_country"]) == ["NL", "BE", "DE"]
        assert answer["by_country"]["NL"]["scores"]["rows"] == [3, 2]
    assert not result.exact
    assert "2 rounds by FedAvg" in result.caveats[0]
    assert [one.state for one in result.contributions] == ["contributed"] * 3


def test_progress_shows_a_measure_and_who_is_not_asked(region: TrainingRegion) -> None:
    nodes = attached(region)
    half = c.Strategy("FedAvg", {"fraction_train": 0.7, "fraction_evaluate": 0.0, "min_evaluate_nodes": 0})
    nodes[0].silent_from = nodes[1].silent_from = nodes[2].silent_from = 2
    run = region.train(region.approved(nodes), region.plan(half, rounds=2))
    seen = region.watch(run, lambda p: p.round == 2)
    assert sorted(country.state for country in seen.countries) == ["asked", "asked", "not asked"]
    assert seen.measure == "loss (train)"


def test_a_node_that_is_not_asked_cannot_answer(region: TrainingRegion) -> None:
    nodes = attached(region)
    nodes[0].silent = True
    region.train(region.approved(nodes), region.plan(c.Strategy("odd_strategies:One")))
    task = nodes[0].next("task")
    with pytest.raises(Exception, match="does not take part"):
        nodes[1].submit(nodes[1].answer_to(task), digest(task.body))
    assert nodes[1].tasks == []


def test_a_country_that_was_never_asked_is_named(region: TrainingRegion) -> None:
    nodes = attached(region)
    one = c.Strategy("odd_strategies:One", {"fraction_evaluate": 0.0})
    result = region.result(region.train(region.approved(nodes), region.plan(one, rounds=2)))
    assert [contribution.state for contribution in result.contributions] == ["contributed", "not asked", "not asked"]
    assert "never asked BE and DE" in result.caveats[1]
    assert [list(task.participants) for task, _ in nodes[0].asked] == [["nl"], ["nl"]]


def test_privacy_is_added_up_and_shown(region: TrainingRegion) -> None:
    nodes = attached(region)
    nodes[1].privacy = summary_pb2.PrivacySpent(
        rho=0.5, rho_total=2.0, rho_budget=4.0, epsilon_total=8.0, delta=1e-6, accountant="zCDP, Gaussian"
    )
    plain = c.Strategy("FedAvg", {"fraction_evaluate": 0.0})
    result = region.result(region.train(region.approved(nodes), region.plan(plain, rounds=3)))
    spent = {one.country: one.privacy.rho for one in result.contributions if one.HasField("privacy")}
    assert spent == {"BE": 1.5}
    assert any("BE cut their models" in caveat for caveat in result.caveats)


@pytest.mark.parametrize("rho", [float("nan"), -1.0])
def test_privacy_that_is_no_number_is_not_taken(region: TrainingRegion, rho: float) -> None:
    nodes = attached(region)
    nodes[1].privacy = summary_pb2.PrivacySpent(rho=rho)
    nodes[1].silent = True
    region.watch(region.train(region.approved(nodes), region.plan(FEDAVG)), lambda p: p.round == 1)
    task = nodes[1].next("task")
    with pytest.raises(Exception, match="no number, or negative"):
        nodes[1].submit(nodes[1].answer_to(task), digest(task.body))


# --------------------------------------------------------------------------- large models


def test_a_large_model_is_fetched_in_parts_and_its_parts_do_not_pile_up(region: TrainingRegion) -> None:
    nodes = attached(region)
    run = region.train(region.approved(nodes), region.plan(FEDAVG, rounds=2, more=700_000))
    result = region.result(run)
    assert result.state == "done", result.failure
    task, arrays = nodes[0].asked[-1]
    assert (len(task.state), task.state_bytes > 2_800_000, list(arrays)) == (
        0,
        True,
        ["weights", "intercept", "a-first"],
    )
    assert arrays["a-first"].dtype == np.float32
    model = region.model(run)
    np.testing.assert_array_equal(model["a-first"], np.full(700_000, 1.0, dtype=np.float32))
    with region.coordinator.office.database.read() as connection:
        kept = connection.exec_driver_sql("select count(*) from states").scalar_one()
        answers = connection.exec_driver_sql("select count(*) from submission_parts").scalar_one()
        sizes = connection.exec_driver_sql("select min(size) from submissions where length(signed) = 0").scalar_one()
    assert kept == 3
    assert (answers, sizes > 2_800_000) == (0, True)


def test_a_model_keeps_its_types_whatever_a_strategy_reckons_in(region: TrainingRegion) -> None:
    nodes = attached(region)
    run = region.train(region.approved(nodes), region.plan(c.Strategy("FedAdam", {"eta": 0.05}), rounds=3, more=4))
    assert region.result(run).state == "done"
    types = {"weights": np.float64, "intercept": np.float64, "a-first": np.float32}
    for _, arrays in nodes[0].asked:
        assert {name: array.dtype for name, array in arrays.items()} == types
    assert {name: array.dtype for name, array in region.model(run).items()} == types


def test_a_state_is_given_to_nodes_that_are_asked_it_while_it_is_open(region: TrainingRegion) -> None:
    nodes = attached(region)
    other = region.node("fr")
    nodes[2].silent = True
    run = region.train(region.approved(nodes), region.plan(FEDAVG, rounds=1, more=700_000))
    region.watch(run, lambda p: p.round == 1)
    task = nodes[2].next("task")
    body, name = summary_pb2.Task.FromString(task.body), digest(task.body)
    with pytest.raises(Exception, match="NOT_A_PARTICIPANT"):
        other.model(body, name)
    assert nodes[2].model(body, name)["weights"].shape == (2,)
    region.coordinator.rounds.cancel(region.coordinator.rounds.find(run))
    with pytest.raises(Exception, match="TASK_CLOSED"):
        nodes[2].model(body, name)


def test_a_run_without_a_model_has_none(region: TrainingRegion) -> None:
    nodes = attached(region)
    nodes[0].refuse_from = 1
    run = region.train(region.approved(nodes), region.plan(FEDAVG, rounds=1))
    assert region.result(run).state == "failed"
    with pytest.raises(Exception, match="NO_MODEL"):
        region.model(run)


# --------------------------------------------------------------------------- before anything is asked


def test_explain_says_rounds_fields_and_numbers(region: TrainingRegion) -> None:
    nodes = attached(region)
    answer = region.explain(region.approved(nodes), region.plan(FEDAVG, rounds=7))
    assert (answer.rounds_least, answer.rounds_most) == (7, 14)
    assert {field.field: (field.kind, field.size) for field in answer.fields} == {
        "arrays": ("update", "3 = w"),
        "examples": ("count", "1"),
        "metrics": ("metric", "1"),
        "scores": ("histogram", "2 cells a bin"),
    }
    assert nodes[0].tasks == []


@pytest.mark.parametrize(
    ("strategy", "code", "says"),
    [
        (c.Strategy("FedAvgg"), "UNKNOWN_STRATEGY", "FedAvg"),
        (c.Strategy("os:system"), "UNKNOWN_STRATEGY", "os:system"),
        (c.Strategy("FedAvg", {"fraction_trian": 1.0}), "UNKNOWN_ARGUMENT", "fraction_train"),
        (c.Strategy("QFedAvg"), "MISSING_ARGUMENT", "client_learning_rate"),
        (c.Strategy("FedAvg", wraps=FEDAVG), "WRAPS_NOTHING", "FedAvg"),
        (c.Strategy("DifferentialPrivacyServerSideFixedClipping", FIXED), "NOTHING_TO_WRAP", "Differential"),
        (
            wrapped("DifferentialPrivacyServerSideFixedClipping", **{**FIXED, "clipping_norm": -1.0}),
            "WRONG_ARGUMENTS",
            "Differential",
        ),
    ],
)
def test_a_strategy_that_cannot_be_made_is_refused_at_once(
    region: TrainingRegion, strategy: c.Strategy, code: str, says: str
) -> None:
    study_digest = region.approved(attached(region))
    with pytest.raises(Exception, match=code) as caught:
        region.train(study_digest, region.plan(strategy))
    assert says in str(caught.value)


def test_an_app_that_is_another_at_the_coordinator_is_refused_before_it_runs(region: TrainingRegion) -> None:
    study_digest = region.approved(attached(region))
    plan = region.plan(FEDAVG)
    source = region.site / "trainee/__init__.py"
    source.write_text(source.read_text() + "\nraise SystemExit\n")
    with pytest.raises(Exception, match="OTHER_APP"):
        region.train(study_digest, plan)


def test_settings_an_app_does_not_have_are_refused(region: TrainingRegion) -> None:
    study_digest = region.approved(attached(region))
    with pytest.raises(Exception, match="WRONG_SETTING"):
        region.train(study_digest, region.plan(FEDAVG, mroe=1))


def test_without_flower_a_coordinator_says_so(region: TrainingRegion, monkeypatch: pytest.MonkeyPatch) -> None:
    study_digest = region.approved(attached(region))
    monkeypatch.setattr("isthmus_coordinator.training.half.find_spec", lambda _name: None)
    with pytest.raises(Exception, match="NO_TRAINING_HERE"):
        region.train(study_digest, region.plan(FEDAVG))


def test_trainings_at_one_time_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    region = training_region(tmp_path, monkeypatch, "runs = 1")
    nodes = attached(region)
    for node in nodes:
        node.silent = True
    study_digest = region.approved(nodes)
    region.train(study_digest, region.plan(FEDAVG))
    with pytest.raises(Exception, match="TOO_MANY_TRAININGS"):
        region.train(study_digest, region.plan(FEDAVG))
    region.stop()
