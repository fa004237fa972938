"""What an app answered, held against what was sent; who is held out, and their scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from isthmus.errors import MethodError
from isthmus_node.egress.form import bins_fit
from isthmus_node.training.held_out import HeldOut, scores_item
from isthmus_node.training.update import check_arrays, check_scores, measures_of

SENT = {"a": np.zeros((2, 3)), "b": np.zeros(2, dtype=np.float32)}


def given(**changes: object) -> dict[str, np.ndarray]:
    return {**{name: array.copy() for name, array in SENT.items()}, **changes}  # type: ignore[dict-item]


def test_model_as_it_was_sent_is_taken() -> None:
    check_arrays(given(), SENT)


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"a": np.zeros((2, 3))},
        {"b": SENT["b"], "a": SENT["a"]},
        given(c=np.zeros(1)),
        given(a=np.zeros((3, 2))),
        given(a=np.zeros((2, 3), dtype=np.float32)),
        given(b=np.zeros(2)),
        given(a=np.full((2, 3), np.nan)),
        given(b=np.array([0, np.inf], dtype=np.float32)),
    ],
    ids=["nothing", "fewer", "order", "more", "shape", "single", "double", "nan", "infinite"],
)
def test_anything_else_is_not_taken_and_why_is_not_told(answer: dict[str, np.ndarray]) -> None:
    with pytest.raises(MethodError) as refused:
        check_arrays(answer, SENT)
    assert refused.value.code == "APP_ANSWER_NOT_TAKEN"


def test_measures_are_the_declared_ones_and_examples_are_not_the_apps_to_say() -> None:
    assert measures_of({"num-examples": 3.0, "loss": 0.5}, {"loss": (0.0, 1.0)}) == {"loss": 0.5}


@pytest.mark.parametrize(
    "wrong", [{"age": 0.5}, {"loss": 1.5}, {"loss": float("nan")}, {"loss": "0.5"}, {"loss": True}]
)
def test_measure_that_is_not_declared_or_not_in_its_range_is_not_taken(wrong: dict[str, object]) -> None:
    with pytest.raises(MethodError):
        measures_of(wrong, {"loss": (0.0, 1.0)})


@pytest.mark.parametrize(
    "scores", [np.zeros(3), np.array([0.5, 2.0]), np.array([0.5, np.nan]), np.zeros(2, dtype=np.float32)]
)
def test_scores_that_are_no_probability_of_each_row_are_not_taken(scores: np.ndarray) -> None:
    with pytest.raises(MethodError):
        check_scores(scores, 2)


NAMES = [f"subject {number}" for number in range(4000)]


def test_held_out_are_a_share_of_persons_the_same_ones_for_a_seed(tmp_path: Path) -> None:
    held = HeldOut(tmp_path / "held-out.key")
    one = held.persons("ADSL", NAMES, 0.25, 1)
    assert 0.2 < one.mean() < 0.3
    assert np.array_equal(one, HeldOut(tmp_path / "held-out.key").persons("ADSL", NAMES, 0.25, 1))
    assert not np.array_equal(one, held.persons("ADSL", NAMES, 0.25, 2))
    # known by name: in a later snapshot with another order
    assert np.array_equal(one[::-1], held.persons("ADSL", NAMES[::-1], 0.25, 1))
    assert (tmp_path / "held-out.key").stat().st_mode & 0o077 == 0


def test_who_chooses_the_seed_does_not_choose_the_persons(tmp_path: Path) -> None:
    """Without the node's key the draw could be made elsewhere, until one person stands alone."""
    one, other = (HeldOut(tmp_path / name).persons("ADSL", NAMES, 0.25, 1) for name in ("one", "other"))
    assert not np.array_equal(one, other)


def test_nobody_is_held_out_without_a_share(tmp_path: Path) -> None:
    assert not HeldOut(tmp_path / "held-out.key").persons("ADSL", NAMES, 0.0, 1).any()
    assert not (tmp_path / "held-out.key").exists()


def scored(n: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    predicted = generator.random(n)
    return predicted, (generator.random(n) < predicted).astype(float), np.arange(n)


@pytest.mark.parametrize("fewest", [1, 5, 20])
def test_cells_of_scores_hold_every_row_once_and_enough_persons(fewest: int) -> None:
    predicted, outcome, persons = scored(500)
    item = scores_item(predicted, outcome, persons, fewest)
    assert item is not None
    assert bins_fit(item.value, item.support)  # type: ignore[arg-type]
    cells = item.value
    assert cells[:, 3].sum() == 500
    assert cells[cells[:, 2] == 1, 3].sum() == outcome.sum()
    assert item.support.persons.min() >= fewest  # type: ignore[union-attr]
    for first, last, event, rows in cells.tolist():
        inside = (predicted >= first / 100) & (predicted < (last + 1) / 100) & (outcome == event)
        assert inside.sum() == rows


def test_cells_of_scores_count_persons_once() -> None:
    predicted, outcome, _ = scored(500)
    item = scores_item(predicted, outcome, np.arange(500) // 10, 20)
    assert item is not None
    assert item.support.persons.min() >= 20  # type: ignore[union-attr]


def test_scores_of_too_few_persons_are_no_cells() -> None:
    assert scores_item(*scored(20), 20) is None


def test_probability_of_one_is_in_the_last_step() -> None:
    item = scores_item(np.array([1.0, 0.0]), np.array([1.0, 0.0]), np.arange(2), 1)
    assert item is not None
    assert item.value.tolist() == [[0, 0, 0, 1], [99, 99, 1, 1]]
