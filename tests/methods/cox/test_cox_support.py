"""What leaves a country with a Cox model, and that the counts it is judged by are what they claim to be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from isthmus.errors import MethodError
from isthmus_methods import contract as c
from isthmus_methods.cox import Cox
from isthmus_methods.in_process import summarise
from isthmus_methods.parts.time_table import grid_of

LUNG = {"time": "time", "event": "status", "terms": ["age", "sex", "ph.ecog", "wt.loss"]}
CGD = {"start": "tstart", "time": "tstop", "event": "status", "terms": ["treat", "age", "inherit", "steroids"]}
LAST: dict[str, np.ndarray] = {"last": np.ones(1)}


def by_field(summary: c.Summary) -> dict[str, list[c.Item]]:
    found: dict[str, list[c.Item]] = {}
    for item in summary.items:
        found.setdefault(item.field, []).append(item)
    return found


def test_a_plain_fit_lets_out_counts_then_score_and_information_only(reference: Any) -> None:
    table = reference("p12_cox_lung")
    spec = table.spec(**LUNG)
    block = table.blocks(spec)["NO"]
    first, later = summarise(Cox(), block, spec, {}), summarise(Cox(), block, spec, {"beta": np.full(4, 0.01)})
    sizes = {name: [item.value.size for item in items] for name, items in by_field(first).items()}
    assert sizes == {"outcomes": [2], "excluded": [1], "levels": [2], "loglik": [1], "score": [4], "information": [10]}
    assert set(by_field(later)) == {"loglik", "score", "information"}


def test_extras_leave_only_when_asked_and_only_in_the_last_round(reference: Any) -> None:
    table = reference("p12_cox_lung")
    spec = table.spec(**LUNG, options={"concordance": True, "baseline": True, "zph": "both", "robust": True})
    block = table.blocks(spec)["NO"]
    beta = np.full(4, 0.01)
    plain = {"loglik", "score", "information"}
    assert set(by_field(summarise(Cox(), block, spec, {"beta": beta}))) == plain
    size = round(table.variables["time"].maximum) + 1
    last = by_field(summarise(Cox(), block, spec, {"beta": beta, "km": np.zeros(size), **LAST}))
    shapes = {"shape_events", "shape_score", "shape_information", "shape_information_squared"}
    assert set(last) == plain | shapes | {"meat", "hazard", "pairs", "pair_squares"}
    assert [item.label for item in last["shape_score"]] == ["km", "identity"]
    assert last["hazard"][0].value.shape == (size,)
    first = by_field(summarise(Cox(), block, spec, {}))
    assert set(first) == plain | {"outcomes", "excluded", "levels", "meat", "time_table"}


def test_every_item_is_declared_with_the_support_of_its_kind(reference: Any) -> None:
    table = reference("p14_cox_ag_cgd", "id")
    spec = table.spec(**CGD, options={"concordance": True, "baseline": True, "zph": "both", "robust": True})
    kinds = {c.Kind.COUNT: c.CellSupport, c.Kind.EVENTS: c.TimeSupport, c.Kind.HAZARD: c.TimeSupport}
    size = round(table.variables["tstop"].maximum) + 1
    for state in ({}, {"beta": np.full(4, 0.01), "km": np.zeros(size), **LAST}):
        for blocks in (*table.blocks(spec).values(), []):
            for item in summarise(Cox(), blocks, spec, state).items:
                declared = Cox.leaves[item.field]
                assert type(item.support) is kinds.get(declared.kind, c.ModelSupport), item.field
                assert item.value.dtype == (np.int64 if declared.kind in (c.Kind.COUNT, c.Kind.EVENTS) else np.float64)
                if isinstance(item.support, c.ModelSupport):
                    assert item.value.size <= (item.support.parameters + 1) ** 2
                if isinstance(item.support, c.TimeSupport):
                    assert np.all(item.support.leavers <= item.support.at_risk)
                    assert np.all(item.support.at_risk <= item.support.persons)


def risk_weights(block: c.Block, beta: np.ndarray) -> np.ndarray:
    """exp(x beta) times the Breslow hazard gathered, row by row, the slow way."""
    assert block.design is not None
    time, event = block.numbers("time"), block.numbers("event")
    start = block.numbers("start") if "start" in block.columns else np.full(block.rows, -1.0)
    eta = block.design.matrix @ beta
    weights = np.exp(eta - eta.mean())
    gathered = np.zeros(block.rows)
    for t in np.unique(time[event == 1]):
        at_risk = (start < t) & (time >= t)
        gathered[at_risk] += np.sum((time == t) & (event == 1)) / weights[at_risk].sum()
    return weights * gathered


def model_support(summary: c.Summary) -> c.ModelSupport:
    support = next(item.support for item in summary.items if item.field == "score")
    assert isinstance(support, c.ModelSupport)
    return support


def whitened(block: c.Block, v: np.ndarray) -> np.ndarray:
    assert block.design is not None
    x = block.design.matrix - np.average(block.design.matrix, axis=0, weights=v)
    q = np.linalg.qr(np.sqrt(v)[:, None] * x)[0]
    return np.einsum("ij,ij->i", q, q)


def test_support_of_one_row_a_person_is_as_defined(reference: Any) -> None:
    table = reference("p12_cox_lung")
    spec = table.spec(**LUNG, options={"ties": "breslow"})
    (block,) = table.blocks(spec)["NO"]
    assert block.design is not None
    # the second and third state are judged through the bound that the first one leaves behind
    for beta in (np.zeros(4), np.array([0.3, -0.5, 0.6, -0.1]), np.array([-0.2, 3.0, 1.0, 0.2]), np.zeros(4)):
        support = model_support(summarise(Cox(), [block], spec, {"beta": beta}))
        v = risk_weights(block, beta)
        eta = block.design.matrix @ beta
        assert support.persons == block.rows
        assert support.parameters == 4
        assert support.events == int(block.numbers("event").sum())
        assert support.effective_persons == pytest.approx(v.sum() ** 2 / (v @ v), rel=1e-9)
        assert support.leverage == pytest.approx(whitened(block, v).max(), rel=1e-9)
        assert support.predictor == pytest.approx(np.abs(eta - eta.mean()).max(), rel=1e-9, abs=1e-12)
        women = int(block.design.matrix[:, 1].sum())
        assert support.level_persons == {"sex=male": block.rows - women, "sex=female": women}


def test_support_counts_persons_where_they_have_several_rows(reference: Any) -> None:
    table = reference("p14_cox_ag_cgd", "id")
    spec = table.spec(**CGD, options={"ties": "breslow"})
    (block,) = table.blocks(spec)["CA"]
    beta = np.array([-1.0, -0.03, 0.4, 1.0])
    support = model_support(summarise(Cox(), [block], spec, {"beta": beta}))
    v = risk_weights(block, beta)
    by_person = np.bincount(block.subject, weights=v)
    assert support.persons == len(np.unique(block.subject)) < block.rows
    assert support.events == len(np.unique(block.subject[block.numbers("event") == 1]))
    assert support.effective_persons == pytest.approx(by_person.sum() ** 2 / (by_person @ by_person), rel=1e-9)
    assert support.leverage == pytest.approx(np.bincount(block.subject, weights=whitened(block, v)).max(), rel=1e-9)
    assert support.level_persons["steroids=1"] == len(np.unique(block.subject[block.design.matrix[:, 3] == 1]))


def test_one_outlying_row_shows_in_the_leverage(reference: Any) -> None:
    table = reference("p12_cox_lung")
    spec = table.spec(**LUNG)
    (block,) = table.blocks(spec)["NO"]
    assert block.design is not None
    before = model_support(summarise(Cox(), [block], spec, {})).leverage
    matrix = block.design.matrix.copy()
    matrix[10, 3] = 1e6
    block.design = c.Design(matrix, block.design.names, block.design.level_codes)
    (fresh,) = table.blocks(spec)["NO"]
    fresh.design = block.design
    after = model_support(summarise(Cox(), [fresh], spec, {})).leverage
    assert before < 0.5 < 0.95 < after <= 1.0


def test_weight_of_one_row_shows_in_the_effective_persons(reference: Any) -> None:
    table = reference("p12_cox_lung")
    spec = table.spec(**LUNG)
    (block,) = table.blocks(spec)["NO"]
    hostile = model_support(summarise(Cox(), [block], spec, {"beta": np.array([0.0, 0.0, 0.0, 2.0])}))
    assert hostile.effective_persons < 5
    assert hostile.predictor > 30


def scaled(block: c.Block, spec: c.Spec, scale: np.ndarray) -> c.Summary:
    state = {"beta": np.zeros(4), "last": np.ones(1), "km": scale}
    return summarise(Cox(), [block], spec, state)


def test_scale_of_time_is_supported_by_what_each_person_has_of_it(reference: Any) -> None:
    table = reference("p12_cox_lung")
    spec = table.spec(**LUNG, options={"zph": "km"})
    (block,) = table.blocks(spec)["NO"]
    times, died = block.numbers("time"), block.numbers("event") == 1.0
    first = np.sort(times[died])[0]
    assert np.count_nonzero(times[died] == first) == 1
    grid = np.arange(2000.0)

    def outcome(scale: np.ndarray) -> c.OutcomeSupport:
        items = [i for i in scaled(block, spec, scale).items if i.field.startswith("shape_")]
        (support,) = {id(i.support): i.support for i in items}.values()
        assert len(items) == 4
        assert isinstance(support, c.ModelSupport)
        assert support.outcome is not None
        return support.outcome

    size = grid_of(spec, spec.role("time")[0]).size
    honest = outcome(np.minimum(grid[:size] / size, 1.0))
    assert honest.persons > 20
    assert honest.largest + honest.second < 0.3 * honest.total
    # all events but the first are at 0.5: about the median the first has it all, whatever the others are at
    for low, high in ((0.0, 0.5), (0.5 - 1e-9, 0.5)):
        alone = outcome(np.where(grid[:size] > first, high, low))
        assert (alone.persons, alone.rest) == (1, None)
        assert alone.largest == pytest.approx(alone.total)


@pytest.mark.parametrize("spoilt", [-0.1, 1.1, np.nan, 0.2])
def test_scale_that_falls_or_leaves_its_range_is_no_state(spoilt: float, reference: Any) -> None:
    table = reference("p12_cox_lung")
    spec = table.spec(**LUNG, options={"zph": "km"})
    (block,) = table.blocks(spec)["NO"]
    scale = np.linspace(0.0, 1.0, grid_of(spec, spec.role("time")[0]).size)
    scale[len(scale) // 2] = spoilt
    with pytest.raises(MethodError, match="WRONG_STATE"):
        scaled(block, spec, scale)


def test_time_table_and_hazard_count_persons_by_step(reference: Any) -> None:
    table = reference("p12_cox_lung")
    spec = table.spec(**LUNG, options={"baseline": True, "zph": "km"})
    (block,) = table.blocks(spec)["NO"]
    time, event = block.numbers("time"), block.numbers("event")
    (item,) = by_field(summarise(Cox(), [block], spec, {}))["time_table"]
    assert isinstance(item.support, c.TimeSupport)
    days = np.unique(time)
    assert item.support.leavers.tolist() == [int(np.sum(time == t)) for t in days]
    assert item.support.at_risk.tolist() == [int(np.sum(time >= t)) for t in days]
    assert item.value[0].sum() == event.sum()
    state = {"beta": np.zeros(4), "km": np.zeros(item.value.shape[1]), **LAST}
    (hazard,) = by_field(summarise(Cox(), [block], spec, state))["hazard"]
    assert isinstance(hazard.support, c.TimeSupport)
    days = np.unique(time[event == 1])
    assert hazard.support.leavers.tolist() == [int(np.sum((time == t) & (event == 1))) for t in days]
    assert hazard.support.at_risk.tolist() == [int(np.sum(time >= t)) for t in days]


def test_what_a_gate_withholds_is_said_and_left_out(reference: Any) -> None:
    table = reference("p12_cox_lung")
    spec = table.spec(**LUNG, options={"concordance": True, "zph": "identity", "robust": True, "baseline": True})
    method, blocks = Cox(), table.blocks(spec)
    state, memory = {}, {}
    while True:
        summaries = {k: summarise(method, b, spec, state) for k, b in blocks.items()}
        hidden = {("pairs", ""), ("shape_score", "identity"), ("meat", ""), ("hazard", "")}
        cleared = [
            c.Cleared(
                country,
                {(i.field, i.label): i.value for i in s.items if country != "IS" or (i.field, i.label) not in hidden},
                {key: "SMALL" for key in hidden if country == "IS"},
                s.notes,
            )
            for country, s in summaries.items()
        ]
        turn = method.pool(c.Contributions(tuple(cleared)), spec, state, memory)
        if isinstance(turn, c.Done):
            break
        state, memory = turn.state, turn.memory
    assert turn.answer["robust"] is None
    assert turn.answer["concordance"] is None
    assert turn.answer["cox_zph"] == {"identity": None}
    assert set(turn.answer["baseline_cumulative_hazard_at_x0"]) == {"DK", "NO", "FI", "SE"}
    assert turn.answer["coef"]["age"]["estimate"] is not None
    for what in ("robust variance", "concordance", "proportional hazards test", "baseline hazard"):
        assert any(said.startswith(f"{what}: IS withheld (SMALL)") for said in turn.caveats), what
