"""Interaction: what lies between two models, separation, and several analyses in the same rounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from made_up_trial import BY_COUNTRY, SURVIVAL, TERMS, TRIAL, by_country, refs, split, trial_rows

from isthmus.errors import UsageError
from isthmus_methods import contract as c
from isthmus_methods.in_process import pool_in_process, summarise
from isthmus_methods.interaction import Interaction
from isthmus_methods.linear_model import LinearModel
from isthmus_methods.parts import several
from isthmus_methods.parts.several import Part

METHOD = Interaction()


def request(model: str, terms: tuple[c.Term, ...], roles: Mapping[str, tuple[c.Column, ...]]) -> c.Spec:
    return c.Spec(
        "interaction",
        "trial",
        TRIAL,
        roles=roles,
        terms=terms,
        options={"model": model},
        countries=TRIAL["country"].levels,
    )


LINEAR = request("linear", (TERMS[2], *BY_COUNTRY), {"outcome": refs("age")})


def answer(spec: c.Spec, seed: int = 1) -> tuple[Any, tuple[str, ...]]:
    done, _ = pool_in_process(METHOD, by_country(trial_rows(seed, 240), spec, METHOD), spec)
    return done.answer, done.caveats


def test_tests_of_a_linear_model_agree_with_each_other() -> None:
    found, _ = answer(LINEAR)
    f, wald, lrt = (found[key] for key in ("f_test_interaction", "wald_interaction", "lrt_interaction"))
    assert f["df1"] == wald["df"] == lrt["df"] == 6
    assert wald["statistic"] == pytest.approx(f["F"] * f["df1"], rel=1e-10)
    assert lrt["statistic"] == pytest.approx(found["n"] * np.log1p(f["F"] * f["df1"] / f["df2"]), rel=1e-10)


def test_models_are_those_of_the_method_alone() -> None:
    found, _ = answer(LINEAR)
    alone = c.Spec("linear_model", "trial", TRIAL, roles=LINEAR.roles, terms=LINEAR.terms, countries=LINEAR.countries)
    done, _ = pool_in_process(LinearModel(), by_country(trial_rows(1, 240), alone, LinearModel()), alone)
    assert found["interaction_model"]["coef"] == done.answer["coef"]
    assert found["interaction_model"]["loglik"] == done.answer["loglik"]


def test_interaction_of_two_factors_has_no_effects_by_country() -> None:
    spec = request("linear", (TERMS[0], TERMS[2], c.Term(refs("arm", "sex"))), {"outcome": refs("age")})
    found, _ = answer(spec)
    assert "by_country" not in found
    assert METHOD.scope(spec) is c.Scope.TOTAL
    assert METHOD.scope(LINEAR) is c.Scope.BY_COUNTRY


def test_cox_has_the_stratified_test_too() -> None:
    found, _ = answer(request("cox", (TERMS[1], *BY_COUNTRY), SURVIVAL))
    assert found["stratified_lrt_interaction"]["df"] == found["lrt_interaction"]["df"] == 6
    assert found["stratified_lrt_interaction"]["statistic"] != found["lrt_interaction"]["statistic"]
    assert not any(key.startswith("hr") for own in found["interaction_model"]["coef"].values() for key in own)


def separated(spec: c.Spec) -> dict[str, list[c.Block]]:
    """The made-up trial, where in TW nobody of the high arm has an event."""
    rows = trial_rows(3, 400)
    countries = by_country(rows, spec, METHOD)
    (block,) = countries["TW"]
    arm = block.design.level_codes["arm"] if block.design is not None else np.zeros(0)
    event = block.columns["outcome"][0].copy()
    event[arm == 2] = 0.0
    block.columns["outcome"] = (event,)  # type: ignore[index]
    return countries


def test_separation_in_one_country_leaves_the_others_and_is_said() -> None:
    spec = request("logistic", BY_COUNTRY, {"outcome": refs("event")})
    found, _ = pool_in_process(METHOD, separated(spec), spec)
    own: Any = found.answer["by_country"]
    full: Any = found.answer["interaction_model"]
    assert own["TW"]["coef"]["arm=high"]["estimate"] is None
    assert own["TW"]["coef"]["arm=low"]["estimate"] is not None
    assert any("country=TW:arm=high" in said and "separation" in said for said in found.caveats)
    assert any(said.startswith("TW:") for said in found.caveats)
    # the model is each country's own: so are log-likelihood and effects
    assert full["loglik"] == pytest.approx(sum(fit["loglik"] for fit in own.values()), rel=1e-8)
    differs = full["coef"]["arm=high"]["estimate"] + full["coef"]["country=JP:arm=high"]["estimate"]
    assert differs == pytest.approx(own["JP"]["coef"]["arm=high"]["estimate"], rel=1e-7)


def test_level_that_nobody_has_is_no_effect_of_a_country() -> None:
    spec = LINEAR
    countries = by_country(trial_rows(1, 240), spec, METHOD)
    kept = {}
    for country, (block,) in countries.items():
        assert block.design is not None
        kept[country] = split(block, [np.flatnonzero(block.design.level_codes["arm"] != 1)])
    done, _ = pool_in_process(METHOD, kept, spec)
    own: Any = done.answer["by_country"]
    assert list(own["CN"]["coef"]) == ["arm=high"]
    assert not any("cannot be estimated" in said for said in done.caveats)


def test_counts_that_models_share_leave_once() -> None:
    [block] = by_country(trial_rows(1, 240), LINEAR, METHOD)["CN"]
    items = [(item.field, item.label) for item in summarise(METHOD, [block], LINEAR, {}).items]
    assert len(set(items)) == len(items)
    assert [key for key in items if key[0] in ("rows", "levels", "excluded")] == [
        ("rows", ""),
        ("excluded", ""),
        ("levels", "sex"),
        ("levels", "country"),
        ("levels", "arm"),
    ]
    assert ("sums", "main_effects_model/") in items
    assert ("sums", "interaction_model/") in items


def test_part_that_is_done_waits_for_the_others() -> None:
    class Rounds:
        """Done after some rounds."""

        def __init__(self, number: int) -> None:
            self.number = number

        def pool(self, contributions: c.Contributions, spec: c.Spec, state: c.State, memory: c.State) -> Any:
            at = float(memory["at"][0]) + 1 if "at" in memory else 1.0
            if at >= self.number:
                return c.Done({"rounds": at, "name": "é", "none": None, "far": float("inf")}, ("said",))
            return c.Next({"at": np.array([at])}, {"at": np.array([at])}, "distance", at)

    parts = [Part(str(n), Rounds(n), LINEAR) for n in (1, 3)]  # type: ignore[arg-type]
    state: c.State = {}
    memory: c.State = {}
    for _ in range(2):
        turn = several.pool(parts, c.Contributions(()), state, memory)
        assert isinstance(turn, c.Next)
        state, memory = turn.state, turn.memory
        assert [part.name for part in several.going_on(parts, state)] == ["3"]
    done = several.pool(parts, c.Contributions(()), state, memory)
    assert isinstance(done, Mapping)
    assert done["1"] == c.Done({"rounds": 1.0, "name": "é", "none": None, "far": float("inf")}, ("said",))
    assert done["3"].answer["rounds"] == 3.0


@pytest.mark.parametrize(
    ("terms", "roles", "code"),
    [
        (BY_COUNTRY[:2], {"outcome": refs("age")}, "NO_INTERACTION"),
        ((TERMS[0], c.Term(refs("country", "arm"))), {"outcome": refs("age")}, "NO_INTERACTION"),
        (BY_COUNTRY, SURVIVAL, "MISSING_ROLE"),
    ],
)
def test_requests_without_an_interaction_are_refused(
    terms: tuple[c.Term, ...], roles: Mapping[str, tuple[c.Column, ...]], code: str
) -> None:
    with pytest.raises(UsageError) as caught:
        METHOD.scope(request("linear", terms, roles))
    assert caught.value.code == code
