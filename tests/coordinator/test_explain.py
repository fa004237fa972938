"""Sizes of fields, with the numbers of the request put in."""

from __future__ import annotations

import pytest

from isthmus_coordinator.analyses.explain import size_words


@pytest.mark.parametrize(
    ("size", "p", "words"),
    [
        ("p", 4, "4 = p"),
        ("p (p + 1) / 2", 4, "10 = p (p + 1) / 2"),
        ("p + p(p+1)/2", 4, "14 = p + p(p+1)/2"),
        ("2 * p - 1", 3, "5 = 2 * p - 1"),
        ("p times levels", 4, "p times levels, p = 4"),
        ("(p", 4, "(p, p = 4"),
        ("p / 0", 4, "p / 0, p = 4"),
        ("steps of the grid", 4, "steps of the grid"),
        ("1", 4, "1"),
    ],
)
def test_size_has_the_number_of_parameters_put_in(size: str, p: int, words: str) -> None:
    assert size_words(size, p) == words
