"""Sums over blocks and countries: any split, any order, nobody, one row; covariates that are hard on the numerics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from isthmus.errors import MethodError, UsageError
from isthmus_methods import contract as c
from isthmus_methods.cox import Cox
from isthmus_methods.in_process import pool_in_process, summarise

FACTORS = {"arm": ("control", "low", "high"), "sex": ("f", "m")}
VARIABLES = {
    **{name: c.Variable(name, c.VariableType.FACTOR, levels=levels) for name, levels in FACTORS.items()},
    "time": c.Variable("time", c.VariableType.NUMERIC, minimum=0.0, maximum=60.0, grid=1.0),
    **{name: c.Variable(name, c.VariableType.NUMERIC) for name in ("event", "start", "age", "marker", "unit")},
}
EVERYTHING: Mapping[str, c.Setting] = {"robust": True, "concordance": True, "baseline": True, "zph": "both"}


def request(terms: Sequence[str] = ("arm", "age", "marker"), entry: bool = False, **options: c.Setting) -> c.Spec:
    roles = {"time": ("time",), "event": ("event",), "strata": ("sex",)} | ({"start": ("start",)} if entry else {})
    return c.Spec(
        "cox",
        "main",
        VARIABLES,
        subject="id",
        roles={role: tuple(c.Ref(name) for name in names) for role, names in roles.items()},
        terms=tuple(c.Term((c.Ref(name),)) for name in terms),
        options=options,
        countries=("AA", "BB"),
    )


def made(
    spec: c.Spec, rng: np.random.Generator, n: int, country: str = "AA", fine: bool = False, **given: np.ndarray
) -> c.Block:
    """Rows with ties (or without), several a person where there is delayed entry."""
    values: dict[str, np.ndarray] = {
        "arm": rng.integers(0, 3, n),
        "sex": rng.integers(0, 2, n),
        "age": rng.normal(60, 9, n),
        "marker": np.exp(rng.normal(2, 1, n)),
        "unit": np.ones(n),
    } | given
    risk = 0.4 * (values["arm"] == 2) + 0.03 * (values["age"] - 60) - 0.01 * values["marker"]
    start = rng.integers(0, 10, n).astype(float)
    wait = rng.exponential(12, n) * np.exp(-risk)
    stop = np.minimum(start + np.minimum(wait, rng.uniform(1, 40, n)) + 0.001, 60.0)
    values |= {"start": start, "time": stop if fine else np.ceil(stop), "event": (rng.random(n) < 0.6).astype(float)}
    columns, names = [], []
    for term in spec.terms:
        for name, picked in c.term_columns(spec, term):
            variable = term.columns[0].variable  # type: ignore[union-attr]
            column = values[variable]
            names.append(name)
            columns.append(
                column.astype(float)
                if picked[0] is None
                else (column == spec.levels(c.Ref(variable)).index(picked[0])).astype(float)
            )
    used = {term.columns[0].variable for term in spec.terms}  # type: ignore[union-attr]
    return c.Block(
        country,
        n,
        {role: tuple(values[ref.variable] for ref in refs) for role, refs in spec.roles.items()},  # type: ignore[union-attr]
        {role: tuple(spec.levels(ref) for ref in refs) for role, refs in spec.roles.items()},
        rng.integers(0, max(1, n // 2), n) if "start" in spec.roles else np.arange(n),
        c.Design(np.stack(columns, axis=1), tuple(names), {f: values[f] for f in FACTORS if f in used}),
        n,
        n,
    )


def close(actual: Any, expected: Any, rtol: float, compare: Any) -> None:
    assert compare(actual, expected, rtol, 1e-12) == []
    assert compare(expected, actual, rtol, 1e-12) == []


@pytest.mark.parametrize("entry", [False, True])
@pytest.mark.parametrize("fine", [False, True])
@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_summary_does_not_depend_on_the_blocks(entry: bool, fine: bool, ties: str, in_parts: Any) -> None:
    spec, rng, method = request(entry=entry, **EVERYTHING, ties=ties), np.random.default_rng(4), Cox()
    block = made(spec, rng, 400, fine=fine)
    cuts = np.split(rng.permutation(400), [3, 4, 150, 310])
    last = {"beta": np.array([0.1, 0.3, 0.02, -0.01]), "last": np.ones(1), "km": np.linspace(0, 0.9, 61)}
    for state in ({}, last):
        whole = summarise(method, [block], spec, state)
        parts = summarise(method, in_parts(block, cuts), spec, state)
        assert whole.notes == parts.notes
        assert [(i.field, i.label) for i in whole.items] == [(i.field, i.label) for i in parts.items]
        for one, many in zip(whole.items, parts.items, strict=True):
            if one.field != "excluded":  # the split in the test does not know the rows left out
                size = max(1.0, float(np.abs(one.value).max(initial=0.0)))
                np.testing.assert_allclose(many.value, one.value, rtol=1e-13, atol=3e-13 * size, err_msg=one.field)
            if isinstance(one.support, c.ModelSupport):
                assert isinstance(many.support, c.ModelSupport)
                assert many.support.persons == one.support.persons
                assert many.support.events == one.support.events
                assert many.support.level_persons == one.support.level_persons
                for name in ("effective_persons", "leverage", "predictor"):
                    assert getattr(many.support, name) == pytest.approx(getattr(one.support, name), rel=1e-9)


def test_summary_is_the_same_to_the_bit_for_the_same_blocks(in_parts: Any) -> None:
    spec = request(**EVERYTHING)
    values = []
    for _ in range(2):
        rng = np.random.default_rng(8)
        blocks = in_parts(made(spec, rng, 300), np.split(np.arange(300), [100, 220]))
        summary = summarise(Cox(), blocks, spec, {})
        again = summarise(Cox(), blocks, spec, {})  # what the blocks keep from the first time changes nothing
        values.append([i.value.tobytes() for i in summary.items])
        values.append([i.value.tobytes() for i in again.items])
    assert all(v == values[0] for v in values)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(2, 60), pieces=st.integers(1, 6), entry=st.booleans())
def test_fit_items_add_over_any_split(seed: int, n: int, pieces: int, entry: bool) -> None:
    rng = np.random.default_rng(seed)
    spec = request(("arm", "age"), entry)
    block = made(spec, rng, n, fine=bool(seed % 2))
    design = block.design
    assert design is not None
    owner = rng.integers(0, pieces, n)
    parts = [
        replace(
            block,
            rows=len(part),
            columns={role: tuple(v[part] for v in arrays) for role, arrays in block.columns.items()},
            subject=block.subject[part],
            design=c.Design(design.matrix[part], design.names, {k: v[part] for k, v in design.level_codes.items()}),
            _kept={},
        )
        for part in (np.flatnonzero(owner == k) for k in range(pieces))
    ]
    state = {"beta": np.array([0.2, -0.4, 0.03])}
    whole, many = summarise(Cox(), [block], spec, state), summarise(Cox(), parts, spec, state)
    for a, b in zip(whole.items, many.items, strict=True):
        np.testing.assert_allclose(b.value, a.value, rtol=1e-12, atol=1e-10, err_msg=a.field)


def test_answer_does_not_depend_on_the_order_of_countries_or_rows(in_parts: Any, compare: Any) -> None:
    spec, rng = request(**EVERYTHING), np.random.default_rng(2)
    countries = {"AA": [made(spec, rng, 200)], "BB": [made(spec, rng, 90, "BB")]}
    first = pool_in_process(Cox(), countries, spec)[0].answer
    shuffled = {k: in_parts(v[0], [rng.permutation(v[0].rows)]) for k, v in reversed(countries.items())}
    second = pool_in_process(Cox(), shuffled, spec)[0].answer
    drop = ("gradient_norm", "excluded")
    close(
        {k: v for k, v in second.items() if k not in drop},
        {k: v for k, v in first.items() if k not in drop},
        1e-9,
        compare,
    )


def test_country_without_rows_adds_zeros_and_is_named() -> None:
    spec, rng = request(**EVERYTHING), np.random.default_rng(2)
    alone = pool_in_process(
        Cox(), {"AA": [made(spec, np.random.default_rng(2), 200)]}, replace(spec, countries=("AA",))
    )
    both = pool_in_process(Cox(), {"AA": [made(spec, rng, 200)], "BB": []}, spec)
    assert both[0].answer["coef"] == alone[0].answer["coef"]
    assert both[0].answer["notes"] == ["BB: no complete rows, so nothing of it is in the model"]
    empty = summarise(Cox(), [], spec, {})
    assert all(not item.value.any() for item in empty.items)
    assert empty.notes == {"NO_ROWS"}


def test_nobody_anywhere_is_an_error() -> None:
    with pytest.raises(MethodError, match="no country has a complete row"):
        pool_in_process(Cox(), {"AA": [], "BB": []}, request())


@pytest.mark.parametrize("event", [0.0, 1.0])
def test_one_row_estimates_nothing(event: float) -> None:
    spec = request(("age",))
    block = made(spec, np.random.default_rng(1), 1)
    block.columns = {**block.columns, "event": (np.array([event]),)}
    answer = pool_in_process(Cox(), {"AA": [block], "BB": []}, spec)[0].answer
    assert (answer["n"], answer["n_event"]) == (1, int(event))
    assert answer["coef"]["age"]["estimate"] is None
    assert answer["loglik"] == 0.0
    assert answer["lr_test"] == {"statistic": 0.0, "df": 0, "p": None}


def test_no_event_anywhere_estimates_nothing() -> None:
    spec = request(("arm", "age"), **EVERYTHING)
    blocks = {country: [made(spec, np.random.default_rng(1), 30, country)] for country in ("AA", "BB")}
    for (block,) in blocks.values():
        block.columns = {**block.columns, "event": (np.zeros(30),)}
    answer = pool_in_process(Cox(), blocks, spec)[0].answer
    assert (answer["n"], answer["n_event"], answer["loglik"]) == (60, 0, 0.0)
    assert [row["estimate"] for row in answer["coef"].values()] == [None, None, None]
    assert answer["cox_zph"] is None
    assert answer["concordance"]["c"] is None
    assert answer["notes"] == ["AA, BB: no events, so nothing of it is in the model"]


def test_times_off_the_grid_are_said_where_a_grid_is_used() -> None:
    blocks = {country: [made(request(), np.random.default_rng(1), 60, country, fine=True)] for country in ("AA", "BB")}
    for options, said in (({}, False), ({"zph": "identity"}, False), ({"zph": "km"}, True), ({"baseline": True}, True)):
        done, _ = pool_in_process(Cox(), blocks, request(**options))
        assert any("off the study's time grid" in caveat for caveat in done.caveats) is said


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1e-7), (0.0, 1e6), (1e5, 1.0), (-3e7, 1e3)])
def test_fit_does_not_depend_on_origin_and_unit_of_a_covariate(shift: float, scale: float) -> None:
    spec, rng = request(("arm", "age")), np.random.default_rng(5)
    block = made(spec, rng, 300)
    assert block.design is not None
    plain = pool_in_process(Cox(), {"AA": [block], "BB": []}, spec)[0].answer
    matrix = block.design.matrix.copy()
    matrix[:, 2] = shift + scale * matrix[:, 2]
    moved = replace(block, design=c.Design(matrix, block.design.names, block.design.level_codes), _kept={})
    answer = pool_in_process(Cox(), {"AA": [moved], "BB": []}, spec)[0].answer
    # what the shift itself rounds away of the covariate
    lost = 1e-9 + 1e-14 * abs(shift) / scale
    assert answer["coef"]["age"]["estimate"] * scale == pytest.approx(plain["coef"]["age"]["estimate"], rel=lost)
    assert answer["coef"]["arm=high"]["se"] == pytest.approx(plain["coef"]["arm=high"]["se"], rel=lost)
    assert answer["loglik"] == pytest.approx(plain["loglik"], rel=1e-12)


def test_large_predictors_do_not_overflow(in_parts: Any) -> None:
    spec, rng = request(("age",)), np.random.default_rng(5)
    block = made(spec, rng, 60)
    block_ = in_parts(block, np.split(np.argsort(block.design.matrix[:, 0]), [20, 40]))  # type: ignore[union-attr]
    for parts in ([block], block_):
        values = {i.field: i.value for i in summarise(Cox(), parts, spec, {"beta": np.array([60.0])}).items}
        assert all(np.all(np.isfinite(v)) for v in values.values())
        assert float(values["loglik"][0]) < -1000


def test_intervals_that_are_empty_are_left_out_and_said() -> None:
    spec, rng = request(("age",), entry=True), np.random.default_rng(5)
    block = made(spec, rng, 80)
    starts = block.columns["start"][0].copy()
    starts[:3] = block.columns["time"][0][:3]
    broken = replace(block, columns={**block.columns, "start": (starts,)}, _kept={})
    answer = pool_in_process(Cox(), {"AA": [broken], "BB": []}, spec)[0].answer
    assert answer["n"] == 77
    assert answer["excluded"]["AA"] == 3
    assert any("interval (start, time] is empty" in note for note in answer["notes"])


@pytest.mark.parametrize(
    ("options", "code"),
    [({"iterations": 1}, "WRONG_OPTION"), ({"iterations": 61}, "WRONG_OPTION")],
)
def test_settings_outside_their_range_are_refused(options: dict[str, c.Setting], code: str) -> None:
    with pytest.raises(UsageError) as caught:
        summarise(Cox(), [], request(**options), {})
    assert caught.value.code == code


def test_model_without_terms_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one term"):
        summarise(Cox(), [], request(()), {})


@pytest.mark.parametrize("beta", [np.array([1.0]), np.array([np.nan, 0.0, 0.0, 0.0])])
def test_state_of_another_model_is_refused(beta: np.ndarray) -> None:
    spec = request()
    block = made(spec, np.random.default_rng(1), 20)
    with pytest.raises(MethodError, match="not this model's"):
        summarise(Cox(), [block], spec, {"beta": beta})


def test_country_that_leaves_in_the_middle_stops_the_fit() -> None:
    spec, rng, method = request(), np.random.default_rng(2), Cox()
    blocks = {"AA": [made(spec, rng, 200)], "BB": [made(spec, rng, 90, "BB")]}

    def given(state: c.State, *countries: str) -> c.Contributions:
        return c.Contributions(
            tuple(
                c.Cleared(
                    country,
                    {(i.field, i.label): i.value for i in summarise(method, blocks[country], spec, state).items},
                )
                for country in countries
            )
        )

    turn = method.pool(given({}, "AA", "BB"), spec, {}, {})
    assert isinstance(turn, c.Next)
    with pytest.raises(MethodError) as caught:
        method.pool(given(turn.state, "AA"), spec, turn.state, turn.memory)
    assert caught.value.code == "COUNTRIES_CHANGED"
