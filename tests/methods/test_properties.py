"""What is true of every method: it adds over any split, in any order, and survives countries with little or nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from comparing import differences, leaves
from made_up_trial import EXAMPLES, TRIAL, Example, by_country, example_spec, split, trial_rows

from isthmus.errors import IsthmusError, MethodError
from isthmus.v1 import study_pb2
from isthmus_methods import codec, contract as c
from isthmus_methods.in_process import pool_in_process, summarise
from isthmus_methods.registry import find
from isthmus_node.egress.gate import Cleared, judge
from isthmus_node.egress.policy import DEFAULT_FILE, Policy

REQUESTS = [(name, key) for name, examples in EXAMPLES.items() for key in examples]
IDS = [f"{name}: {key}" for name, key in REQUESTS]
every_request = pytest.mark.parametrize(("name", "key"), REQUESTS, ids=IDS)


def asked(name: str, key: str) -> tuple[c.Method, c.Spec, Example]:
    example = EXAMPLES[name][key]
    return find(name), example_spec(name, example), example


def same(actual: c.Answer, expected: c.Answer, example: Example) -> list[str]:
    """Differences: whole numbers and texts exactly, other numbers to the method's own tolerance."""
    mine = dict(leaves(actual))
    whole = [
        f"{path}: {mine.get(path)!r}, expected {value!r}"
        for path, value in leaves(expected)
        if not isinstance(value, float) and mine.get(path) != value
    ]
    one_way, other_way = (
        differences(x, y, lambda _: example.rtol) for x, y in ((actual, expected), (expected, actual))
    )
    return whole + one_way + other_way


def parts_of(block: c.Block, seed: int) -> list[c.Block]:
    """The block's rows shuffled into up to five blocks, some of them empty."""
    rng = np.random.default_rng(seed)
    where = rng.integers(0, 5, block.rows)
    where[where == 3] = 4
    return split(block, [rng.permutation(np.flatnonzero(where == k)) for k in range(5)])


def over_all(answer: c.Answer) -> c.Answer:
    """An answer without what it tells of single countries: rows left out, and remarks that name them."""
    if not isinstance(answer, Mapping):
        return answer
    return {key: value for key, value in answer.items() if key not in ("excluded", "notes")}


@every_request
@pytest.mark.parametrize("seed", range(4))
def test_method_adds_over_any_split_of_rows(name: str, key: str, seed: int) -> None:
    method, spec, example = asked(name, key)
    countries = by_country(trial_rows(seed, 240), spec, method)
    one, _ = pool_in_process(method, countries, spec)
    in_parts = {country: parts_of(blocks[0], seed) for country, blocks in countries.items()}
    many, _ = pool_in_process(method, in_parts, spec)
    assert same(many.answer, one.answer, example) == []
    assert many.caveats == one.caveats


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("name", "key"), [(n, k) for n, k in REQUESTS if EXAMPLES[n][k].over_countries], ids=lambda x: str(x)
)
def test_method_adds_over_any_split_into_countries(name: str, key: str, seed: int) -> None:
    method, spec, example = asked(name, key)
    rows = trial_rows(seed, 240)
    together, _ = pool_in_process(method, by_country(rows, spec, method, sizes=(1.0,)), spec)
    apart, _ = pool_in_process(method, by_country(rows, spec, method, seed), spec)
    assert same(over_all(apart.answer), over_all(together.answer), example) == []


@every_request
def test_order_of_countries_does_not_matter(name: str, key: str) -> None:
    method, spec, example = asked(name, key)
    countries = by_country(trial_rows(1, 240), spec, method)
    forward, _ = pool_in_process(method, countries, spec)
    backward, _ = pool_in_process(method, dict(reversed(countries.items())), spec)
    assert same(backward.answer, forward.answer, example) == []


@every_request
@pytest.mark.parametrize("blocks", ["none", "empty"])
def test_country_without_rows_changes_nothing(name: str, key: str, blocks: str) -> None:
    method, spec, example = asked(name, key)
    countries = by_country(trial_rows(2, 240), spec, method, sizes=(0.5, 0.3, 0.2))
    without, _ = pool_in_process(method, countries, spec)
    nobody = by_country(trial_rows(2, 0), spec, method, sizes=(1.0,))["CN"] if blocks == "empty" else []
    beside, _ = pool_in_process(method, {**countries, "TW": nobody}, spec)
    # that it has no rows may be said of it, and nothing else
    said = differences(
        beside.answer, without.answer, lambda path: None if "#len" in path or "/notes" in path else example.rtol
    )
    assert said == []
    counts = {path: value for path, value in leaves(without.answer) if type(value) is int and "#len" not in path}
    assert {path: value for path, value in leaves(beside.answer) if path in counts} == counts


@every_request
def test_country_with_one_row_adds_to_the_others(name: str, key: str) -> None:
    method, spec, example = asked(name, key)
    rows = trial_rows(3, 200)
    countries = by_country(rows, spec, method, sizes=(0.5, 0.3, 0.2))
    first = countries["CN"][0]
    countries["CN"] = split(first, [np.arange(1, first.rows)])
    countries["TW"] = split(first, [np.arange(1)])
    done, _ = pool_in_process(method, countries, spec)
    if example.over_countries:
        together, _ = pool_in_process(method, by_country(rows, spec, method, sizes=(0.5, 0.3, 0.2)), spec)
        assert same(over_all(done.answer), over_all(together.answer), example) == []
    else:
        assert done.answer


def answer_or_reason(
    method: c.Method, countries: Mapping[str, Sequence[c.Block]], spec: c.Spec
) -> c.Done | IsthmusError:
    try:
        return pool_in_process(method, countries, spec)[0]
    except IsthmusError as error:
        return error


def is_clean(outcome: c.Done | IsthmusError) -> bool:
    """An answer without NaN (not estimable is None), or an error that says what to do."""
    if isinstance(outcome, IsthmusError):
        return isinstance(outcome, MethodError) and bool(outcome.remedy)
    return all(x == x for _, x in leaves(outcome.answer))


@every_request
def test_single_row_in_all_is_answered_or_refused_with_a_reason(name: str, key: str) -> None:
    method, spec, _ = asked(name, key)
    whole = by_country(trial_rows(4, 30), spec, method, sizes=(1.0,))["CN"][0]
    assert is_clean(answer_or_reason(method, {"CN": split(whole, [np.arange(1)])}, spec))


@every_request
def test_nobody_anywhere_is_answered_or_refused_with_a_reason(name: str, key: str) -> None:
    method, spec, _ = asked(name, key)
    assert is_clean(answer_or_reason(method, {"CN": [], "JP": []}, spec))


@every_request
def test_same_rows_give_the_same_bytes(name: str, key: str) -> None:
    method, spec, _ = asked(name, key)
    answers = []
    for _ in range(2):
        done, _ = pool_in_process(method, by_country(trial_rows(5, 240), spec, method), spec)
        answers.append(codec.answer_to_message(done.answer).SerializeToString(deterministic=True))
    assert answers[0] == answers[1]


def over_the_wire(method: c.Method, countries: Mapping[str, Sequence[c.Block]], spec: c.Spec) -> c.Done:
    """The rounds as between processes: every value, state, memory and the answer go through messages."""
    state: c.State = {}
    memory: c.State = {}
    policy = Policy.load(DEFAULT_FILE)
    for _ in range(method.rounds[1]):
        received = []
        for country, blocks in countries.items():
            summary = summarise(method, blocks, spec, state)
            verdict = judge(summary, method.leaves, method.notes, study_pb2.TRIAL_ANALYSIS, policy, open_data=True)
            assert isinstance(verdict, Cleared), verdict
            received.append(
                c.Cleared(
                    country,
                    {
                        (item.field, item.label): codec.array_from_message(codec.array_to_message(item.value))
                        for item in verdict.items
                    },
                    notes=frozenset(verdict.notes),
                )
            )
        turn = method.pool(c.Contributions(tuple(received)), spec, state, memory)
        if isinstance(turn, c.Done):
            answer = codec.answer_from_message(codec.answer_to_message(turn.answer))
            assert isinstance(answer, Mapping)
            return c.Done(answer, turn.caveats)
        state, memory = (
            codec.state_from_messages(codec.state_to_messages(turned)) for turned in (turn.state, turn.memory)
        )
    raise AssertionError("no answer within the method's rounds")


@every_request
def test_rounds_through_gate_and_messages_give_the_same_answer(name: str, key: str) -> None:
    method, spec, example = asked(name, key)
    countries = by_country(trial_rows(6, 240), spec, method)
    straight, _ = pool_in_process(method, countries, spec)
    assert same(over_the_wire(method, countries, spec).answer, straight.answer, example) == []


@every_request
def test_repeated_persons_are_counted_once_in_the_support(name: str, key: str) -> None:
    method, spec, _ = asked(name, key)
    [block] = by_country(trial_rows(7, 60), spec, method, sizes=(1.0,))["CN"]
    twice = split(block, [np.repeat(np.arange(block.rows), 2)])
    once = summarise(method, [block], spec, {})
    doubled = summarise(method, twice, spec, {})
    halves = summarise(method, parts_of(twice[0], 8), spec, {})
    for one, two, half in zip(once.items, doubled.items, halves.items, strict=True):
        assert (one.field, one.label) == (two.field, two.label) == (half.field, half.label)
        for other in (two.support, half.support):
            assert same_persons(one.support, other), (one.field, one.label)


def same_persons(one: c.Support, other: c.Support) -> bool:
    """Whether two supports count the same persons."""
    if isinstance(one, c.RiskSetSupport) and isinstance(other, c.RiskSetSupport):
        return same_persons(one.time, other.time) and same_persons(one.model, other.model)
    assert not isinstance(one, c.RiskSetSupport)
    assert not isinstance(other, c.RiskSetSupport)
    same = np.array_equal(one.persons, other.persons)
    if isinstance(one, c.TimeSupport) and isinstance(other, c.TimeSupport):
        same &= np.array_equal(one.leavers, other.leavers) and np.array_equal(one.at_risk, other.at_risk)
    if isinstance(one, c.ModelSupport) and isinstance(other, c.ModelSupport):
        same &= one.level_persons == other.level_persons
    return same


@every_request
def test_scope_names_a_country_only_where_declared(name: str, key: str) -> None:
    method, spec, _ = asked(name, key)
    done, _ = pool_in_process(method, by_country(trial_rows(1, 240), spec, method), spec)
    # how many rows were left out is always told by country, and a country may be a term of the model
    told = ("/excluded/", "/levels/country/")
    paths = [path for path, _ in leaves(done.answer) if not path.startswith(told)]
    named = any(
        f"/{country}" in path or f"/country={country}/n" in path
        for path in paths
        for country in TRIAL["country"].levels
    )
    assert named == (method.scope(spec) is c.Scope.BY_COUNTRY)
