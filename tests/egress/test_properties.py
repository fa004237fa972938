"""What holds for every summary, not only for those somebody thought of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import linprog

from isthmus.v1 import study_pb2, summary_pb2
from isthmus_methods.codec import array_from_message
from isthmus_methods.contract import CellSupport, Field, Item, Kind, ModelSupport, Summary, SumSupport, TimeSupport
from isthmus_node.egress.gate import Cleared, Refusal, judge
from isthmus_node.egress.policy import Policy
from isthmus_node.egress.wire import Header, encode
from isthmus_trust.documents import read_canonical
from isthmus_trust.identity import IdentityKey

TRIAL = study_pb2.TRIAL_ANALYSIS
PURPOSES = st.sampled_from([study_pb2.FEASIBILITY, study_pb2.PUBLICATION, TRIAL])
# Near the thresholds, where mistakes live.
PERSONS = st.one_of(st.integers(0, 14), st.integers(0, 200))


@st.composite
def count_items(draw: st.DrawFn) -> Item:
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=1, max_side=4))
    persons = draw(hnp.arrays(np.int64, shape, elements=PERSONS))
    rows = draw(hnp.arrays(np.int64, shape, elements=st.integers(0, 3)))
    axis = draw(st.one_of(st.none(), st.integers(0, len(shape) - 1))) if shape else None
    within = np.asarray(persons + draw(hnp.arrays(np.int64, shape, elements=PERSONS))) if draw(st.booleans()) else None
    return Item("f", np.asarray(persons + rows * (persons > 0)), CellSupport(persons, axis, within))


@settings(max_examples=500, deadline=None)
@given(item=count_items(), purpose=PURPOSES, required=st.booleans())
def test_no_cleared_count_has_a_small_cell_or_a_small_rest(
    item: Item, purpose: int, required: bool, policy: Policy
) -> None:
    verdict = judge(
        Summary((item,)),
        {"f": Field(Kind.COUNT, "", required=required)},
        (),
        purpose,
        policy,
        open_data=False,
        audit=lambda _: None,
    )
    if isinstance(verdict, Refusal):
        assert required
        return
    limits = policy.limits[purpose]
    value = verdict.items[0].value
    if value is None:
        assert not required
        return
    step = limits.count_rounding
    assert verdict.rounded_to == step == (1 if purpose == TRIAL else 5)
    assert not np.any(value % step)
    assert np.all(np.abs(value - item.value) <= step // 2)
    support = item.support
    assert isinstance(support, CellSupport)
    # written out cell by cell, from the definition
    known = [int(n) for n in support.persons.ravel()]
    lines = [support.persons.ravel()]
    if support.axis is not None:
        lines = list(np.moveaxis(support.persons, support.axis, -1).reshape(-1, support.persons.shape[support.axis]))
    if support.within is not None:
        known += [int(n - m) for n, m in zip(support.within.ravel(), support.persons.ravel(), strict=True)]
    else:
        known += [int(line.sum() - n) for line in lines if len(line) > 1 for n in line]
    assert all(n >= limits.cell_persons or (n == 0 and limits.zeros_shown) for n in known)


@settings(max_examples=300, deadline=None)
@given(
    amounts=st.lists(st.floats(-1e6, 1e6).filter(lambda x: abs(x) > 1e-3), min_size=0, max_size=30), purpose=PURPOSES
)
def test_no_cleared_sum_tells_its_largest_contribution(amounts: list[float], purpose: int, policy: Policy) -> None:
    x = np.array(amounts)
    sizes = np.sort(np.abs(np.append(x, [0.0, 0.0])))[::-1]
    support = SumSupport(
        np.array([len(x)]), sizes[:1].copy(), sizes[1:2].copy(), np.array([sizes.sum()]), np.array([len(set(x)) > 1])
    )
    item = Item("f", np.array([x.sum()]), support)
    verdict = judge(
        Summary((item,)), {"f": Field(Kind.SUM, "")}, (), purpose, policy, open_data=False, audit=lambda _: None
    )
    if isinstance(verdict, Refusal) or not amounts:
        return
    limits = policy.limits[purpose]
    assert len(x) >= limits.sum_persons
    assert len(set(x)) > 1
    # the second largest contributor takes his own from the total, and is left with the largest to 10 % at best
    others = sizes[2:].sum()
    assert others >= 0.1 * sizes[0] * (1 - 1e-9)
    assert sizes[0] + sizes[1] <= 0.9 * sizes.sum() * (1 + 1e-9)


SIZES = st.one_of(st.floats(0, 1), st.floats(0, 100), st.sampled_from([np.nan, np.inf, -1.0]))
MODELS = st.builds(
    ModelSupport,
    persons=st.integers(-1, 120),
    parameters=st.integers(0, 40),
    events=st.one_of(st.none(), st.integers(0, 120)),
    level_persons=st.dictionaries(st.sampled_from(["a=1", "a=2", "b=1"]), st.integers(-1, 120), max_size=3),
    effective_persons=SIZES,
    leverage=SIZES,
    predictor=SIZES,
)


@settings(max_examples=500, deadline=None)
@given(support=MODELS, purpose=PURPOSES, value=hnp.arrays(np.float64, st.integers(0, 8)))
def test_no_cleared_model_breaks_a_threshold(
    support: ModelSupport, purpose: int, value: np.ndarray, policy: Policy
) -> None:
    item = Item("f", value, support)
    verdict = judge(
        Summary((item,)), {"f": Field(Kind.SCORE, "")}, (), purpose, policy, open_data=False, audit=lambda _: None
    )
    if isinstance(verdict, Refusal) or not value.any():
        return
    limits = policy.limits[purpose]
    least, n = limits.level_persons, support.persons
    levels = list(support.level_persons.values())
    assert np.all(np.abs(value) < 1e300)
    assert n >= limits.sum_persons
    assert n - support.parameters >= limits.residual_df
    if support.events is None:
        assert support.parameters <= limits.parameters_per_person * n
    else:
        assert support.parameters <= 0.33 * support.events
    assert all(m >= least or (m == 0 and limits.zeros_shown) for k in levels for m in (k, n - k))
    assert limits.effective_persons <= support.effective_persons <= n * (1 + 1e-9)
    assert 0 <= support.leverage <= 0.5
    assert 0 <= support.predictor <= 30


@settings(max_examples=300, deadline=None)
@given(
    steps=st.lists(st.integers(0, 20), max_size=8),
    persons=st.integers(0, 120),
    purpose=PURPOSES,
    kind=st.sampled_from([Kind.EVENTS, Kind.HAZARD]),
)
def test_no_cleared_time_table_breaks_a_threshold(
    steps: list[int], persons: int, purpose: int, kind: Kind, policy: Policy
) -> None:
    leavers = np.array(steps, dtype=np.int64)
    at_risk = persons - np.cumsum(np.append(0, leavers))[:-1]
    item = Item("f", leavers.copy(), TimeSupport(persons, leavers, at_risk))
    verdict = judge(
        Summary((item,)), {"f": Field(kind, "")}, (), purpose, policy, open_data=False, audit=lambda _: None
    )
    if isinstance(verdict, Refusal) or not leavers.any():
        return
    limits = policy.limits[purpose]
    least = limits.at_risk if kind is Kind.EVENTS else limits.hazard_at_risk
    assert persons >= limits.table_persons
    assert min(steps) >= limits.leavers_per_step
    assert at_risk.min() >= least


# --------------------------------------------------------------------------- what follows from several tables


@st.composite
def crossed(draw: st.DrawFn) -> np.ndarray:
    """Persons by two factors, cells near the thresholds, of which some are empty."""
    shape = draw(st.tuples(st.integers(2, 4), st.integers(2, 4)))
    cells = st.one_of(st.just(0), st.integers(0, 14), st.integers(0, 60))
    return np.asarray(draw(hnp.arrays(np.int64, shape, elements=cells)))


def ranges(shape: tuple[int, int], known: list[tuple[np.ndarray, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Least and largest value of each cell that agrees with the sums that are known, by linear programming."""
    size = shape[0] * shape[1]
    least, most = np.zeros(size), np.full(size, np.inf)
    if not known:
        return least, most
    sums, totals = np.array([mask for mask, _ in known]), np.array([total for _, total in known])
    for cell in range(size):
        aim = np.zeros(size)
        aim[cell] = 1.0
        least[cell] = linprog(aim, A_eq=sums, b_eq=totals).fun
        found = linprog(-aim, A_eq=sums, b_eq=totals)
        # a cell of which no sum is known has no bound
        most[cell] = -found.fun if found.status == 0 else np.inf
    return least, most


@settings(max_examples=60, deadline=None)
@given(table=crossed(), purpose=PURPOSES, inner=st.booleans())
def test_no_cell_follows_from_a_block_and_its_margins_to_less_than_k(
    table: np.ndarray, purpose: int, inner: bool, policy: Policy
) -> None:
    """Cells, margins and what they leave open: a small cell is never told to less than k persons."""
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    items = [
        Item("rows", rows, CellSupport(rows)),
        Item("columns", columns, CellSupport(columns)),
        *([Item("cells", table, CellSupport(table, axis=1))] if inner else []),
    ]
    leaves = {name: Field(Kind.COUNT, "", required=False) for name in ("rows", "columns", "cells")}
    # rounding on top of it tells less
    exact = replace(policy, limits={p: replace(limits, count_rounding=1) for p, limits in policy.limits.items()})
    verdict = judge(Summary(tuple(items)), leaves, (), purpose, exact, open_data=False, audit=lambda _: None)
    assert isinstance(verdict, Cleared)
    given_ = {item.field: item.value for item in verdict.items if item.value is not None}
    places = np.arange(table.size).reshape(table.shape)
    known = [(np.isin(np.arange(table.size), places[k]), int(n)) for k, n in enumerate(given_.get("rows", ()))]
    known += [(np.isin(np.arange(table.size), places[:, k]), int(n)) for k, n in enumerate(given_.get("columns", ()))]
    known += [(np.arange(table.size) == k, int(n)) for k, n in enumerate(np.ravel(given_.get("cells", ())))]
    least, most = ranges(table.shape, [(mask.astype(float), total) for mask, total in known])
    k = policy.limits[purpose].cell_persons
    for n, low, high in zip(table.ravel(), least, most, strict=True):
        if 0 < n < k:
            # it may be any of k numbers and more; secondary suppression asks for no less
            assert high - low >= k - 1e-6, (n, low, high)
        if n == 0 and not policy.limits[purpose].zeros_shown:
            assert high - low >= k - 1e-6, (n, low, high)


@settings(max_examples=40, deadline=None)
@given(table=crossed())
def test_masking_single_cells_would_be_seen_by_the_same_program(table: np.ndarray) -> None:
    """The check can fail: where small cells alone are masked, one that is alone in its row is told exactly."""
    small = (table > 0) & (table < 5)
    alone = small & (small.sum(axis=1, keepdims=True) == 1)
    if not alone.any():
        return
    places = np.arange(table.size).reshape(table.shape)
    known = [(np.isin(np.arange(table.size), places[k]).astype(float), int(n)) for k, n in enumerate(table.sum(axis=1))]
    known += [
        ((np.arange(table.size) == k).astype(float), int(n)) for k, n in enumerate(table.ravel()) if not small.flat[k]
    ]
    least, most = ranges(table.shape, known)
    assert np.allclose(least[alone.ravel()], table[alone])
    assert np.allclose(most[alone.ravel()], table[alone])


ANYTHING = st.one_of(
    hnp.arrays(
        st.one_of(hnp.integer_dtypes(), hnp.floating_dtypes(), hnp.boolean_dtypes(), hnp.complex_number_dtypes()),
        hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3),
    ),
    st.none(),
    st.floats(),
    st.lists(st.integers()),
)
SUPPORTS = st.one_of(
    st.none(),
    MODELS,
    st.builds(CellSupport, ANYTHING, st.one_of(st.none(), st.integers(-3, 3)), ANYTHING),
    st.builds(SumSupport, ANYTHING, ANYTHING, ANYTHING, ANYTHING, ANYTHING),
    st.builds(TimeSupport, st.one_of(st.integers(-1, 50), st.floats()), ANYTHING, ANYTHING),
)


@settings(max_examples=600, deadline=None)
@pytest.mark.filterwarnings("error")
@given(value=ANYTHING, support=SUPPORTS, kind=st.sampled_from(list(Kind)), open_data=st.booleans())
def test_gate_answers_whatever_it_is_given(
    value: object, support: object, kind: Kind, open_data: bool, policy: Policy
) -> None:
    item = Item("f", value, support)  # type: ignore[arg-type]
    verdict = judge(Summary((item,)), {"f": Field(kind, "")}, (), TRIAL, policy, open_data, audit=lambda _: None)
    assert isinstance(verdict, Cleared | Refusal)


@settings(max_examples=200, deadline=None)
@given(
    value=st.one_of(
        hnp.arrays(
            np.float64,
            hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5),
            elements=st.floats(-1e299, 1e299),
        ),
        hnp.arrays(np.int64, st.integers(0, 9), elements=st.integers(-(2**53), 2**53)),
    ),
    label=st.text(max_size=12),
)
def test_bytes_say_exactly_what_was_cleared(
    value: np.ndarray,
    label: str,
    policy: Policy,
    header: Callable[[str], Header],
    key: IdentityKey,
) -> None:
    support = ModelSupport(60, 10, effective_persons=60.0, leverage=0.4)
    leaves = {"f": Field(Kind.SCORE, "score")}
    verdict = judge(
        Summary((Item("f", value, support, label),)), leaves, (), TRIAL, policy, open_data=False, audit=lambda _: None
    )
    assert isinstance(verdict, Cleared)
    signed = read_canonical(encode(verdict, header("t"), key).payload, study_pb2.Signed)
    (item,) = read_canonical(signed.body, summary_pb2.Summary).items
    got = array_from_message(item.value)
    assert (item.label, got.shape, got.dtype) == (label, value.shape, value.dtype)
    assert got.tobytes() == value.tobytes()
