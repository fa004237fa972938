"""The apps that come with isthmus: their mathematics, and that a step in every country is one over the pooled rows."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus_training import flower
from isthmus_training.apps import Loaded, load, settings_of, starting_values
from isthmus_training.exchange import Ask, Reply
from isthmus_training.rows import AtHand, Rows, at_hand
from isthmus_training.shipped import logistic


def some(n: int, levels: tuple[str, ...], seed: int = 1) -> Rows:
    generator = np.random.default_rng(seed)
    X = generator.standard_normal((n, 3))
    eta = X @ [1.0, -0.5, 0.0] + 0.3
    y = (generator.random(n) < 1 / (1 + np.exp(-eta))).astype(float) if levels else eta + generator.standard_normal(n)
    return Rows(X, ("a", "b", "c"), y, levels, np.arange(n))


def asked(loaded: Loaded, ask: Ask, here: Rows, settings: dict[str, object] | None = None) -> tuple[Reply, AtHand]:
    flower.identify(1, 1)
    chosen = settings_of(loaded.offered, settings or {})  # type: ignore[arg-type]
    context = flower.context_of(1, 1, {**chosen, "seed": 7})
    with at_hand(context, here) as kept:
        return flower.call_app(loaded.app, ask, context), kept


def start(loaded: Loaded, here: Rows, settings: dict[str, object] | None = None) -> dict[str, np.ndarray]:
    chosen = settings_of(loaded.offered, settings or {})  # type: ignore[arg-type]
    return starting_values(loaded, here.columns, here.outcome_levels, chosen, 7)


LOGISTIC = "isthmus_training.shipped.logistic"
BOTH = [("no", "yes"), ()]


def loss(here: Rows, at: np.ndarray) -> float:
    eta = here.X @ at[:-1] + at[-1]
    each = np.logaddexp(0, eta) - here.y * eta if here.outcome_levels else (here.y - eta) ** 2 / 2
    return float(each.mean())


@pytest.mark.parametrize("levels", BOTH, ids=["logistic", "linear"])
def test_gradient_is_that_of_the_loss(levels: tuple[str, ...]) -> None:
    here, at, step = some(50, levels), np.array([0.2, -0.1, 0.4, 0.1]), 1e-6
    by_hand = [(loss(here, at + step * e) - loss(here, at - step * e)) / (2 * step) for e in np.eye(4)]
    # central differences of step 1e-6: about 1e-10 of rounding
    np.testing.assert_allclose(logistic.gradient(here, at), by_hand, atol=1e-8)


@pytest.mark.parametrize("levels", BOTH, ids=["logistic", "linear"])
def test_one_full_step_in_every_country_averaged_is_one_step_over_all(levels: tuple[str, ...]) -> None:
    loaded, whole = load(LOGISTIC), some(90, levels)
    edges = [(0, 20), (20, 55), (55, 90)]
    arrays = central = start(loaded, whole)
    for number in range(1, 6):
        replies = []
        for low, high in edges:
            part = Rows(whole.X[low:high], whole.columns, whole.y[low:high], levels, np.arange(high - low))
            reply, _ = asked(loaded, Ask("train", arrays, {"server-round": number}), part)
            replies.append((high - low, reply.arrays))
        arrays = {name: sum(n * each[name] for n, each in replies) / 90 for name in arrays}
        at = np.append(central["weights"], central["intercept"])
        at = at - 0.5 * logistic.gradient(whole, at)
        central = {"weights": at[:-1], "intercept": at[-1:]}
        for name in arrays:
            # sums in another order
            np.testing.assert_allclose(arrays[name], central[name], rtol=0, atol=1e-14)


def test_proximal_term_and_ridge_pull_as_they_should() -> None:
    loaded, here = load(LOGISTIC), some(60, ("no", "yes"))
    came = {"weights": np.array([1.0, 1.0, 1.0]), "intercept": np.zeros(1)}
    settings = {"local-epochs": 2000, "learning-rate": 0.2}
    far, near, ridge = (
        asked(loaded, Ask("train", came, config), here, {**settings, **more})[0].arrays["weights"]
        for config, more in (({}, {}), ({"proximal-mu": 50.0}, {"learning-rate": 0.01}), ({}, {"l2": 5.0}))
    )
    assert np.linalg.norm(near - came["weights"]) < 0.05 < np.linalg.norm(far - came["weights"])
    assert np.linalg.norm(ridge) < np.linalg.norm(far)


def test_many_steps_end_at_the_maximum_likelihood() -> None:
    loaded, here = load(LOGISTIC), some(200, ("no", "yes"))
    reply, _ = asked(loaded, Ask("train", start(loaded, here)), here, {"local-epochs": 4000, "learning-rate": 1.0})
    at = np.append(reply.arrays["weights"], reply.arrays["intercept"])
    assert np.abs(logistic.gradient(here, at)).max() < 1e-12


def test_batches_come_from_seed_and_round() -> None:
    loaded, here = load(LOGISTIC), some(60, ("no", "yes"))
    one, same, other = (
        asked(loaded, Ask("train", start(loaded, here), {"server-round": n}), here, {"batch-size": 10})[0].arrays
        for n in (1, 1, 2)
    )
    assert np.array_equal(one["weights"], same["weights"])
    assert not np.array_equal(one["weights"], other["weights"])


@pytest.mark.parametrize("levels", BOTH, ids=["logistic", "linear"])
def test_evaluation_gives_declared_measures_and_scores_and_no_model(levels: tuple[str, ...]) -> None:
    loaded, here = load(LOGISTIC), some(60, levels)
    reply, kept = asked(loaded, Ask("evaluate", start(loaded, here)), here)
    assert not reply.arrays
    assert (kept.scores is not None) == bool(levels)
    for name, value in reply.metrics.items():
        if name != "num-examples":
            low, high = loaded.offered.metrics[name]
            assert low <= value <= high
    if levels:
        assert reply.metrics["loss"] == pytest.approx(np.log(2), rel=1e-12)


def test_measures_stay_in_their_range_however_wrong_the_model_is() -> None:
    loaded, here = load(LOGISTIC), some(60, ())
    far = {"weights": np.full(3, 1e6), "intercept": np.zeros(1)}
    assert asked(loaded, Ask("evaluate", far), here)[0].metrics["squared-error"] <= 1e9


# --------------------------------------------------------------------------- PyTorch

MLP = "isthmus_training.shipped.mlp"


def test_starting_values_of_the_perceptron_need_no_torch_and_come_from_the_seed() -> None:
    loaded = load(MLP)
    settings = settings_of(loaded.offered, {"hidden-sizes": "5 4"})
    one, same, other = (starting_values(loaded, ("a", "b"), ("no", "yes"), settings, seed) for seed in (1, 1, 2))
    assert {name: array.shape for name, array in one.items()} == {
        "0.weight": (5, 2),
        "0.bias": (5,),
        "1.weight": (4, 5),
        "1.bias": (4,),
        "2.weight": (1, 4),
        "2.bias": (1,),
    }
    assert all(array.dtype == np.float32 for array in one.values())
    assert np.array_equal(one["0.weight"], same["0.weight"])
    assert not np.array_equal(one["0.weight"], other["0.weight"])


@pytest.mark.torch
@pytest.mark.parametrize("levels", BOTH, ids=["two levels", "number"])
def test_perceptron_learns_and_gives_declared_measures(levels: tuple[str, ...]) -> None:
    pytest.importorskip("torch")
    loaded, here = load(MLP), some(300, levels)
    settings: dict[str, object] = {"local-epochs": 150, "learning-rate": 0.1, "batch-size": 50, "momentum": 0.5}
    begin = start(loaded, here, settings)
    reply, _ = asked(loaded, Ask("train", begin, {"server-round": 1}), here, settings)
    assert list(reply.arrays) == list(begin)
    assert all(array.dtype == np.float32 and array.shape == begin[n].shape for n, array in reply.arrays.items())
    before, _ = asked(loaded, Ask("evaluate", begin), here, settings)
    after, kept = asked(loaded, Ask("evaluate", reply.arrays), here, settings)
    name = "loss" if levels else "squared-error"
    assert after.metrics[name] < 0.9 * before.metrics[name]
    assert (kept.scores is not None) == bool(levels)


@pytest.mark.torch
def test_perceptron_without_hidden_layer_takes_the_step_of_the_logistic_model() -> None:
    pytest.importorskip("torch")
    here = some(100, ("no", "yes"))
    loaded, other = load(MLP), load(LOGISTIC)
    begin = {"0.weight": np.array([[0.1, 0.2, -0.1]], dtype=np.float32), "0.bias": np.zeros(1, dtype=np.float32)}
    same = {"weights": begin["0.weight"][0].astype(float), "intercept": np.zeros(1)}
    settings: dict[str, object] = {"learning-rate": 0.5}
    config = {"proximal-mu": 0.1, "server-round": 1}
    reply, _ = asked(loaded, Ask("train", begin, config), here, {**settings, "hidden-sizes": ""})
    wanted, _ = asked(other, Ask("train", same, config), here, settings)
    # single precision
    np.testing.assert_allclose(reply.arrays["0.weight"][0], wanted.arrays["weights"], atol=1e-6)
    np.testing.assert_allclose(reply.arrays["0.bias"], wanted.arrays["intercept"], atol=1e-6)
