"""What an app gets of a node: rows, batches of whole persons, a place for its predictions."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus.errors import MethodError
from isthmus_training.rows import Rows, at_hand, report_scores, rows


def some(persons: list[int]) -> Rows:
    n = len(persons)
    return Rows(np.zeros((n, 1)), ("a",), np.zeros(n), ("no", "yes"), np.array(persons))


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 7, 9, 10, 11, 100])
@pytest.mark.parametrize("persons", [list(range(10)), [0, 0, 0, 1, 2, 2, 3, 4, 5, 6, 7, 8, 9, 9], [5, 3, 3, 9, 1]])
def test_batches_are_of_whole_persons_and_none_is_smaller(size: int, persons: list[int]) -> None:
    given = some(persons)
    batches = list(given.batches(size, np.random.default_rng(1)))
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(persons)))
    inside = [set(given.persons[batch].tolist()) for batch in batches]
    assert sum(map(len, inside)) == len(set(persons)), "a person is in one batch"
    everybody = len(set(persons))
    assert min(map(len, inside)) >= (min(size, everybody) if size else everybody)


def test_batches_of_another_epoch_are_others() -> None:
    generator, given = np.random.default_rng(1), some(list(range(40)))
    one, other = (list(given.batches(10, generator)) for _ in range(2))
    assert any(a.tolist() != b.tolist() for a, b in zip(one, other, strict=True))


def test_rows_are_there_while_a_message_is_answered_and_not_after() -> None:
    context, given = object(), some([0, 1])
    with at_hand(context, given) as here:
        assert rows(context) is given
        report_scores(context, [0.5, 1.0])
    assert here.scores is not None
    assert here.scores.tolist() == [0.5, 1.0]
    with pytest.raises(MethodError):
        rows(context)


@pytest.mark.parametrize("scores", [[0.5], [0.5, 1.1], [0.5, float("nan")], [[0.5], [0.5]], [-0.1, 0]])
def test_scores_that_are_no_probability_of_each_row_are_refused(scores: object) -> None:
    context = object()
    with at_hand(context, some([0, 1])), pytest.raises(MethodError):
        report_scores(context, scores)  # type: ignore[arg-type]
