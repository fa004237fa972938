"""A training as a statistician writes it, reads it and keeps the model."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pooling import COUNTRIES, ROWS, breast_cancer

from isthmus.errors import ConfigError, DataError, UsageError, VersionError
from isthmus.v1 import analyst_pb2, study_pb2, summary_pb2
from isthmus_client.formula import Dictionary
from isthmus_client.r_code import r_call
from isthmus_client.report import report_html
from isthmus_client.requests import request
from isthmus_client.results import TrainingFit
from isthmus_client.results.fit import fit_of
from isthmus_client.training import (
    App,
    DifferentialPrivacyServerSideFixedClipping,
    FedAvg,
    FedMedian,
    FedProx,
    Krum,
    load,
    own_strategy,
)
from isthmus_client.training.asked import training_plan
from isthmus_client.training.explaining import training_lines
from isthmus_client.training.strategies import written
from isthmus_methods.codec import answer_to_message, spec_to_message
from isthmus_methods.contract import Spec, Strategy

LOGISTIC = App("logistic", "1", "ab" * 32)
FORMULA = "status == 1 ~ I((age - 50)/10) + size + hormon:log(nodes) + hormon + log(nodes) + I(pgr >= 20)"
SCORES = {"first": [10, 10, 40, 40], "last": [39, 39, 90, 90], "outcome": [0, 1, 0, 1], "rows": [60, 20, 20, 50]}


def asked(formula: str = FORMULA, strategy: object = FedAvg, **more: object) -> Spec:
    study = breast_cancer()
    plan = training_plan(len(study.participants), app=LOGISTIC, strategy=strategy, **more)  # type: ignore[arg-type]
    return request("training", Dictionary.of(study.datasets[0]), formula=formula, training=plan)


def curve(rounds: int, level: float) -> dict[str, list[float]]:
    falling = [level / (k + 1) for k in range(rounds)]
    return {
        "round": list(range(1, rounds + 1)),
        "examples": [100] * rounds,
        "loss": falling,
        "accuracy": [0.8] * rounds,
    }


def result(spec: Spec, own: bool = True, private: bool = False) -> analyst_pb2.Result:
    """The result that a coordinator would send."""
    study = breast_cancer()
    answer: dict[str, object] = {
        "parameters": 8,
        "digest": "",
        "train": curve(4, 0.7),
        "evaluate": curve(4, 0.8),
        "scores": SCORES,
    }
    if own:
        part = {"train": curve(4, 0.6), "evaluate": curve(4, 0.9), "scores": SCORES}
        answer["by_country"] = dict.fromkeys(COUNTRIES, part)
    message = analyst_pb2.Result(
        run=bytes(16),
        study=study.name,
        study_version=1,
        study_digest=bytes(32),
        spec=spec_to_message(spec),
        purpose=study_pb2.TRIAL_ANALYSIS,
        state="done",
        answer=answer_to_message(answer),  # type: ignore[arg-type]
        caveats=["NL: one field withheld"],
        rounds=8,
        software="0.1.0",
        ended_at=1_795_000_002_500_000_000,
    )
    for c in COUNTRIES:
        given = message.contributions.add(node=c.lower(), country=c, state="contributed", releases=8, bytes=4_000)
        given.dataset_digest = hashlib.sha256(c.encode()).digest()
        if private:
            given.privacy.CopyFrom(
                summary_pb2.PrivacySpent(
                    rho=0.5, rho_total=0.75, rho_budget=2, epsilon_total=7.2, delta=1e-6, accountant="zCDP, Gaussian"
                )
            )
    return message


def fitted(**more: bool) -> TrainingFit:
    fit = fit_of(result(asked(), **more), breast_cancer(), FORMULA)
    assert isinstance(fit, TrainingFit)
    fit.take({"weights": np.linspace(-1, 1, 7), "intercept": np.array([0.25])})
    return fit


# ------------------------------------------------------------------ strategies


def test_a_strategy_is_its_name_and_arguments_and_no_code() -> None:
    assert FedAvg(fraction_train=1) == Strategy("FedAvg", {"fraction_train": 1.0})
    wrapped = DifferentialPrivacyServerSideFixedClipping(FedProx(proximal_mu=0.1), noise_multiplier=0, clipping_norm=2)
    assert wrapped.wraps == Strategy("FedProx", {"proximal_mu": 0.1})
    shown = (
        "DifferentialPrivacyServerSideFixedClipping(FedProx(proximal_mu=0.1), clipping_norm=2.0, noise_multiplier=0.0)"
    )
    assert written(wrapped) == shown
    assert eval(written(wrapped)) == wrapped


def test_a_wrapper_learns_from_the_study_how_many_countries_answer() -> None:
    plan = asked(
        strategy=DifferentialPrivacyServerSideFixedClipping(Krum(), noise_multiplier=1, clipping_norm=1)
    ).training
    assert plan is not None
    assert plan.strategy.arguments["num_sampled_clients"] == 4
    assert plan.strategy.wraps == Krum()


@pytest.mark.parametrize(
    ("strategy", "code", "says"),
    [
        (lambda: FedAvg(fraction_trian=0.5), "UNKNOWN_ARGUMENT", "did you mean 'fraction_train'"),
        (lambda: FedAvg(train_metrics_aggr_fn=print), "UNKNOWN_ARGUMENT", "train_metrics_aggr_fn"),  # type: ignore[arg-type]
        (lambda: FedAvg(fraction_train=True), "WRONG_ARGUMENT", "is a number, not True"),
        (lambda: FedAvg(fraction_train=float("nan")), "WRONG_ARGUMENT", "is a number"),
        (lambda: FedAvg(min_train_nodes=2.5), "WRONG_ARGUMENT", "a whole number, not 2.5"),
        (lambda: FedAvg(FedMedian()), "UNKNOWN_ARGUMENT", "wraps no strategy"),
        (
            lambda: DifferentialPrivacyServerSideFixedClipping(noise_multiplier=1, clipping_norm=1),
            "MISSING_ARGUMENT",
            "wraps",
        ),
        (lambda: DifferentialPrivacyServerSideFixedClipping(FedAvg), "MISSING_ARGUMENT", "noise_multiplier"),  # type: ignore[arg-type]
        (lambda: asked(strategy="FedAvgg"), "UNKNOWN_STRATEGY", "did you mean 'FedAvg'"),
        (lambda: asked(strategy=7), "UNKNOWN_STRATEGY", "int is no strategy"),
        (lambda: own_strategy("Mine"), "UNKNOWN_STRATEGY", "Mine"),
    ],
)
def test_what_is_no_strategy_is_said_clearly(strategy: object, code: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as raised:
        strategy()  # type: ignore[operator]
    assert raised.value.code == code


def test_flowers_own_object_is_answered_with_what_to_write() -> None:
    inner = type("FedProx", (), {"__module__": "flwr.serverapp.strategy"})()
    inner.fraction_train, inner.proximal_mu, inner.min_train_nodes = 1.0, 0.5, 3
    kind = type("DifferentialPrivacyServerSideFixedClipping", (), {"__module__": "flwr.serverapp.strategy"})
    outer = kind()
    outer.strategy, outer.noise_multiplier, outer.clipping_norm, outer.num_sampled_clients = inner, 1.0, 2.0, 4
    with pytest.raises(UsageError, match="never as code") as raised:
        asked(strategy=outer)
    assert raised.value.code == "STRATEGY_OBJECT"
    told = raised.value.remedy.partition("strategy=")[2]
    assert eval(told) == DifferentialPrivacyServerSideFixedClipping(
        FedProx(min_train_nodes=3, proximal_mu=0.5), noise_multiplier=1, clipping_norm=2, num_sampled_clients=4
    )


def test_a_strategy_of_the_coordinating_teams_own_is_passed_on() -> None:
    plan = asked(strategy=own_strategy("ours.strategies:Slow", pace=3)).training
    assert plan is not None
    assert plan.strategy == Strategy("ours.strategies:Slow", {"pace": 3})


# ------------------------------------------------------------------ the request


def test_a_condition_as_outcome_has_two_levels() -> None:
    spec = asked()
    assert spec.levels(spec.role("outcome")[0]) == ("0", "1")


@pytest.mark.parametrize("wrong", [{"rounds": 0}, {"rounds": 501}, {"held_out": 0.7}])
def test_a_plan_that_nobody_could_follow_is_refused_before_it_is_sent(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError) as raised:
        asked(**wrong)
    assert raised.value.code == "WRONG_TRAINING_PLAN"


def test_a_digest_that_is_none_is_said_so() -> None:
    with pytest.raises(UsageError, match="64 hexadecimal digits"):
        App("mine", "1", "abc")


def test_explanation_says_what_is_trained_and_that_its_size_is_not_known_here() -> None:
    lines = "\n".join(training_lines(asked(rounds=7, held_out=0.25)))
    assert "the probability that status == 1; 25 % of each country's persons are held out" in lines
    assert "FedAvg(), 7 rounds of training, each followed by an evaluation" in lines
    assert "cannot be loaded here" in lines


# ------------------------------------------------------------------ the result


def test_curves_have_a_row_a_round_phase_and_country() -> None:
    curves = fitted().curves()
    assert len(curves) == (1 + len(COUNTRIES)) * 2 * 4
    assert list(curves.columns) == ["round", "phase", "country", "examples", "loss", "accuracy"]
    assert fitted(own=False).curves()["country"].unique().tolist() == ["all countries"]
    assert fitted().rounds().loc[2, "evaluate: loss"] == pytest.approx(0.4)


def test_evaluation_is_by_country_where_the_study_shows_it() -> None:
    table = fitted().evaluation()
    assert list(table.index) == ["all countries", *COUNTRIES]
    row = table.loc["all countries"]
    # of 70 * 80 pairs, 50 * 60 are in the right order, 20 * 20 in the wrong one, the others within a cell
    assert row["auc"] == pytest.approx((3000 + (5600 - 3400) / 2) / 5600)
    assert (row["auc_least"], row["auc_most"]) == pytest.approx((3000 / 5600, 5200 / 5600))
    assert list(fitted(own=False).evaluation().index) == ["all countries"]


def test_summary_and_page_say_how_close_it_is_and_what_was_spent(tmp_path: Path) -> None:
    fit = fitted(private=True)
    text = fit.text()
    assert "train(status == 1 ~ I((age - 50)/10)" in text
    assert "NL: one field withheld" in text
    page = report_html([fit])
    for said in ("Evaluation on persons held out", "Privacy spent", "zCDP, Gaussian", "training by rounds"):
        assert said in page, said
    assert page.count("data:image/svg+xml") == 2
    assert json.loads(fit.to_json(tmp_path / "r.json").read_text())["privacy"][0]["rho_total"] == 0.75


@pytest.mark.parametrize("rounds", [["Inf", 2], [1.5, 2], [None, 2], [1]])
def test_rounds_that_are_none_are_said_to_be_of_another_release(rounds: list[object]) -> None:
    message = result(asked())
    answer = {"parameters": 8, "digest": "", "train": {"round": rounds, "examples": [1, 1]}}
    message.answer.CopyFrom(answer_to_message(answer))  # type: ignore[arg-type]
    fit = fit_of(message, breast_cancer())
    with pytest.raises(VersionError):
        fit.text()


def test_r_call_says_that_r_has_none_and_gives_the_model_it_comes_near_to() -> None:
    assert "family = binomial" in r_call(asked())
    assert "no call" in r_call(asked())


# ------------------------------------------------------------------ the model


def test_a_model_is_the_same_after_it_was_saved(tmp_path: Path) -> None:
    fit = fitted(private=True)
    folder = fit.save(tmp_path / "model")
    again = load(folder)
    assert list(again.weights) == ["weights", "intercept"]
    assert all(np.array_equal(again.weights[name], fit.model.weights[name]) for name in again.weights)
    assert again.columns == fit.model.columns
    with np.load(folder / "weights.npz", allow_pickle=False) as others:
        assert set(others.files) == {"weights", "intercept"}
    first = (folder / "weights.npz").read_bytes()
    assert fit.save(tmp_path / "model").joinpath("weights.npz").read_bytes() == first
    card = json.loads((folder / "model-card.json").read_text())
    assert card["privacy"][0]["country"] == "NL"
    assert card["evaluation"][0]["held out in"] == "all countries"
    words = (folder / "model-card.md").read_text()
    for said in ("## Limits", "NL: one field withheld", hashlib.sha256(first).hexdigest(), "FedAvg()", "zCDP"):
        assert said in words, said


def test_a_cell_from_nothing_leaves_the_ratio_open_above_and_the_card_readable(tmp_path: Path) -> None:
    answer = {
        "parameters": 8,
        "digest": "",
        "scores": {"first": [0, 0], "last": [99, 99], "outcome": [0, 1], "rows": [40, 40]},
    }
    message = result(asked())
    message.answer.CopyFrom(answer_to_message(answer))  # type: ignore[arg-type]
    fit = fit_of(message, breast_cancer())
    assert isinstance(fit, TrainingFit)
    fit.take({"weights": np.zeros(7), "intercept": np.zeros(1)})
    row = load(fit.save(tmp_path)).card["evaluation"][0]
    assert (row["observed/expected"], row["observed/expected_most"]) == (1.0, None)


def test_arrays_may_have_any_name(tmp_path: Path) -> None:
    fit = fitted()
    fit.take({"file": np.ones(2, dtype=np.float32), "args": np.zeros((2, 3)), "layers.0/weight": np.ones(1)})
    assert list(load(fit.save(tmp_path)).weights) == ["file", "args", "layers.0/weight"]


def test_weights_that_are_not_those_of_the_card_are_refused(tmp_path: Path) -> None:
    folder = fitted().save(tmp_path)
    raw = bytearray((folder / "weights.npz").read_bytes())
    raw[-100] ^= 1
    (folder / "weights.npz").write_bytes(raw)
    with pytest.raises(ConfigError, match="not the file") as raised:
        load(folder)
    assert raised.value.code == "WEIGHTS_CHANGED"


@pytest.mark.parametrize("card", ["[]", "{", '{"schema_version": 1}', '{"schema_version": 99}'])
def test_a_damaged_card_is_no_model(tmp_path: Path, card: str) -> None:
    folder = fitted().save(tmp_path)
    (folder / "model-card.json").write_text(card)
    with pytest.raises(ConfigError) as raised:
        load(folder)
    assert raised.value.code == "NOT_A_MODEL"
    with pytest.raises(ConfigError, match="holds no model"):
        load(tmp_path / "elsewhere")


def rows() -> pd.DataFrame:
    return pd.concat([pd.read_csv(ROWS / f"{c}.csv") for c in COUNTRIES], ignore_index=True)


def test_columns_over_ones_own_rows_are_those_of_a_node() -> None:
    from isthmus_methods.registry import find
    from isthmus_node.compute import blocks
    from isthmus_node.sources import Source, read, typed

    study = breast_cancer()
    frame = rows()
    frame = frame[frame["nodes"] > 0]
    linear = request("linear_model", Dictionary.of(study.datasets[0]), formula=FORMULA.replace("status == 1", "age"))
    node = np.concatenate(
        [
            block.design.matrix
            for c in COUNTRIES
            for block in blocks(
                linear, typed(read(Source(str(ROWS / f"{c}.csv"))), study.datasets[0], c), find(linear.method)
            )
        ]
    )
    mine = fitted().model.design(rows())
    complete = ~np.isnan(mine).any(axis=1)
    assert complete.sum() == len(frame)
    assert np.array_equal(mine[complete], node)


def test_prediction_is_that_of_the_weights() -> None:
    model = fitted().model
    columns = model.design(rows())
    eta = columns @ model.weights["weights"] + 0.25
    predicted = model.predict(rows())
    assert np.allclose(predicted, 1 / (1 + np.exp(-eta)), rtol=1e-14, equal_nan=True)
    assert np.isnan(predicted).any(), "a logarithm of no nodes is missing"


def test_prediction_says_what_it_cannot_do() -> None:
    model = fitted().model
    with pytest.raises(DataError, match="no column age"):
        model.predict(rows().drop(columns="age"))
    with pytest.raises(DataError, match="holds text"):
        model.predict(rows().assign(age="old"))
    theirs = replace(model, card={**model.card, "app": {"name": "ours", "version": "1", "digest": ""}})
    with pytest.raises(UsageError, match="does not know how ours predicts"):
        theirs.predict(rows())


def test_a_result_without_weights_says_where_they_are() -> None:
    fit = fit_of(result(asked()), breast_cancer())
    assert isinstance(fit, TrainingFit)
    with pytest.raises(UsageError, match="not beside this result"):
        fit.save("nowhere")
