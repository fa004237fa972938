"""AUC, calibration and Brier score from rows counted by predicted probability and outcome."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus.errors import VersionError
from isthmus_client.results.scores import Scores
from isthmus_methods.training import SCORE_STEPS


def cells(predicted: np.ndarray, outcome: np.ndarray, width: int = 1) -> dict[str, list[int]]:
    """Rows as a country counts them, `width` steps joined."""
    first = np.minimum((predicted * SCORE_STEPS).astype(int), SCORE_STEPS - 1) // width * width
    found: dict[tuple[int, int], int] = {}
    for place, event in zip(first.tolist(), outcome.tolist(), strict=True):
        found[place, int(event)] = found.get((place, int(event)), 0) + 1
    keys = sorted(found)
    return {
        "first": [place for place, _ in keys],
        "last": [min(place + width, SCORE_STEPS) - 1 for place, _ in keys],
        "outcome": [event for _, event in keys],
        "rows": [found[key] for key in keys],
    }


def scores(*countries: dict[str, list[int]]) -> Scores:
    joined = {key: [value for country in countries for value in country[key]] for key in countries[0]}
    found = Scores.of({"scores": joined})
    assert found is not None
    return found


def exact_auc(predicted: np.ndarray, outcome: np.ndarray) -> float:
    yes, no = predicted[outcome], predicted[~outcome]
    pairs = yes[:, None] - no[None, :]
    return float(((pairs > 0).sum() + (pairs == 0).sum() / 2) / pairs.size)


def drawn(seed: int, n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    predicted = generator.beta(2, 3, n)
    return predicted, generator.random(n) < predicted


def test_auc_is_exact_where_predictions_lie_on_the_steps() -> None:
    predicted, outcome = drawn(1)
    on_step = np.floor(predicted * SCORE_STEPS) / SCORE_STEPS
    auc = scores(cells(predicted, outcome)).auc()
    assert auc is not None
    assert auc.estimate == pytest.approx(exact_auc(on_step, outcome), abs=1e-14)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("widths", [(1, 1), (5, 5), (5, 7), (10, 3)])
def test_what_the_rows_would_give_lies_within_what_the_cells_allow(seed: int, widths: tuple[int, int]) -> None:
    countries = [drawn(seed), drawn(seed + 100)]
    predicted, outcome = (np.concatenate([c[k] for c in countries]) for k in (0, 1))
    found = scores(*(cells(*country, width) for country, width in zip(countries, widths, strict=True)))
    auc, brier, ratio = found.auc(), found.brier(), found.observed_to_expected()
    assert auc is not None
    assert brier is not None
    assert ratio is not None
    assert auc.least <= exact_auc(predicted, outcome) <= auc.most
    assert auc.most - auc.least < 0.02 * max(widths)
    assert brier.least <= float(np.mean((predicted - outcome) ** 2)) <= brier.most
    assert ratio.least <= outcome.sum() / predicted.sum() <= ratio.most
    assert found.n == 800


def test_standard_error_is_that_of_hanley_and_mcneil() -> None:
    # Hanley and McNeil 1982, tables I and II: 58 normal and 51 abnormal images in five ratings; W 0.893, SE 0.032
    normal, abnormal = [33, 6, 6, 11, 2], [3, 2, 2, 11, 33]
    places = [0, 20, 40, 60, 80]
    ratings = {
        "first": places * 2,
        "last": places * 2,
        "outcome": [0] * 5 + [1] * 5,
        "rows": normal + abnormal,
    }
    auc = scores(ratings).auc()
    assert auc is not None
    assert (round(auc.estimate, 3), round(auc.se or 0, 3)) == (0.893, 0.032)
    assert auc.limits == pytest.approx((0.893 - 1.96 * 0.032, 0.893 + 1.96 * 0.032), abs=1e-3)


def test_calibration_counts_each_row_once_and_has_wilsons_limits() -> None:
    found = scores(cells(*drawn(3)))
    bands = found.calibration()
    assert sum(band.rows for band in bands) == 400
    for band in bands:
        assert band.lower <= band.predicted <= band.upper
        assert band.observed_lower <= band.observed <= band.observed_upper
    # 8 of 10: Wilson's limits 0.4902 and 0.9433
    ten = scores({"first": [50, 50], "last": [50, 50], "outcome": [0, 1], "rows": [2, 8]}).calibration()[0]
    assert (ten.observed_lower, ten.observed_upper) == pytest.approx((0.4902, 0.9433), abs=1e-4)


def test_one_outcome_alone_has_no_auc_and_no_cells_no_scores() -> None:
    alone = scores({"first": [3], "last": [3], "outcome": [1], "rows": [40]})
    assert alone.auc() is None
    assert alone.brier() is not None
    assert Scores.of({"scores": {}}) is None
    assert Scores.of({}) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"first": [5], "last": [4], "outcome": [1], "rows": [1]},
        {"first": [5], "last": [SCORE_STEPS], "outcome": [1], "rows": [1]},
        {"first": [5], "last": [5], "outcome": [1], "rows": [-1]},
        {"first": [5], "last": [5], "outcome": [1], "rows": [0.5]},
        {"first": [5, 6], "last": [5], "outcome": [1], "rows": [1]},
        {"first": [5], "last": [5], "outcome": [1], "rows": ["many"]},
    ],
)
def test_what_is_no_cell_is_refused(wrong: dict[str, list[object]]) -> None:
    with pytest.raises(VersionError):
        Scores.of({"scores": wrong})
