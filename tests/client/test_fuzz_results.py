"""Results of a coordinator that nobody can trust: mutated at any depth, they are shown or refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

import pytest
from mutating import mutated
from pooling import breast_cancer, planned

from isthmus.errors import IsthmusError
from isthmus.v1 import analyst_pb2
from isthmus_client.results.fit import fit_of
from isthmus_methods.codec import answer_from_message

Tries = Callable[[int], Iterator[Random]]


@pytest.mark.parametrize("name", ["primary", "km", "log-rank", "table-1", "by-country"])
def test_results_are_shown_or_refused(name: str, tries: Tries) -> None:
    whole, shown = planned(name), 0
    for chance in tries(60):
        result = mutated(whole, chance)
        try:
            fit = fit_of(result, breast_cancer())
            assert str(fit)
            assert fit.table() is not None
            assert set(result.caveats) <= set(fit.as_dict()["caveats"])
            shown += 1
        except IsthmusError:
            continue
    assert shown


def test_answers_of_any_shape_are_read_or_refused(tries: Tries) -> None:
    whole = planned("primary").answer
    for chance in tries(200):
        try:
            answer_from_message(mutated(whole, chance))
        except IsthmusError:
            continue


def test_result_of_another_time_and_purpose_is_shown() -> None:
    result = analyst_pb2.Result()
    result.CopyFrom(planned("primary"))
    result.purpose = 99  # type: ignore[assignment]
    result.started_at = result.ended_at = -(2**63)
    said = fit_of(result, breast_cancer()).provenance()
    assert said.purpose == "unknown (99)"
    assert said.started_at is None or said.started_at.year < 1970
