"""A request makes only those of a method's fields leave that it needs; every run in one process is held to that."""

from __future__ import annotations

import pytest
from made_up_trial import EXAMPLES, by_country, example_spec, trial_rows

from isthmus.errors import MethodError
from isthmus_methods.in_process import pool_in_process
from isthmus_methods.registry import METHODS


class Narrow:
    """Kaplan-Meier curves, of which a request is said to need nothing."""

    def __getattr__(self, name: str) -> object:
        return getattr(METHODS["kaplan_meier"], name)

    def leaving(self, options: object) -> frozenset[str]:
        return frozenset()


def test_field_that_was_not_asked_for_does_not_leave() -> None:
    spec = example_spec("kaplan_meier", next(iter(EXAMPLES["kaplan_meier"].values())))
    countries = by_country(trial_rows(1, 60), spec, METHODS["kaplan_meier"])
    with pytest.raises(MethodError) as told:
        pool_in_process(Narrow(), countries, spec)  # type: ignore[arg-type]
    assert told.value.code == "UNDECLARED_FIELD"
