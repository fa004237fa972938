"""A sealed study's methods: the sum over the countries, and nothing else of them, gives the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from comparing import differences, leaves
from made_up_trial import EXAMPLES, TERMS, TRIAL, by_country, example_spec, trial_rows

from isthmus.errors import Refused, UsageError
from isthmus.v1 import sealed_pb2, summary_pb2
from isthmus_methods import contract as c
from isthmus_methods.adding import ADDING, DOES_NOT_ADD, SEALED_METHODS, TOGETHER, check_adds
from isthmus_methods.codec import array_to_message
from isthmus_methods.in_process import summarise
from isthmus_methods.pooling import pool_round
from isthmus_methods.registry import METHODS, find
from isthmus_methods.sealed_codec import cleared_of, layout_of, numbers_of, size_of
from isthmus_trust.ring import from_ring, to_ring, total


def adds(name: str, key: str) -> bool:
    try:
        check_adds(example_spec(name, EXAMPLES[name][key]), find(name))
    except Refused:
        return False
    return True


REQUESTS = [(name, key) for name, examples in EXAMPLES.items() for key in examples if adds(name, key)]


def message_of(method: c.Method, summary: c.Summary) -> summary_pb2.Summary:
    """What a gate that withholds nothing but what does not add makes of a summary."""
    message = summary_pb2.Summary(notes=sorted(summary.notes))
    for item in summary.items:
        made = message.items.add(field=item.field, label=item.label)
        if method.leaves[item.field].kind in ADDING:
            made.value.CopyFrom(array_to_message(item.value))
        else:
            made.withheld_by = DOES_NOT_ADD
    return message


def open_of(country: str, message: summary_pb2.Summary, method: c.Method) -> c.Cleared:
    layout = layout_of(message, method.notes)
    cleared = cleared_of(layout, numbers_of(message, method.notes), method, 1)
    return c.Cleared(country, cleared.values, cleared.withheld, cleared.notes)


def sealed_of(messages: Sequence[summary_pb2.Summary], method: c.Method) -> c.Cleared:
    layouts = [layout_of(message, method.notes) for message in messages]
    assert all(layout == layouts[0] for layout in layouts)
    rings = [to_ring(numbers_of(message, method.notes), len(messages)) for message in messages]
    return cleared_of(layouts[0], from_ring(total(rings)), method, len(messages))


def pooled(method: c.Method, countries: Mapping[str, Sequence[c.Block]], spec: c.Spec, sealed: bool) -> c.Done:
    state: c.State = {}
    memory: c.State = {}
    for number in range(1, method.rounds[1] + 1):
        messages = [message_of(method, summarise(method, blocks, spec, state)) for blocks in countries.values()]
        given = [open_of(*one, method) for one in zip(countries, messages, strict=True)]
        turn = pool_round(method, [sealed_of(messages, method)] if sealed else given, spec, state, memory, number)
        if isinstance(turn, c.Done):
            return turn
        state, memory = turn.state, turn.memory
    raise AssertionError("it does not end")


def numbers(answer: c.Answer) -> c.Answer:
    """An answer without what it tells of single countries."""
    if not isinstance(answer, Mapping):
        return answer
    return {key: value for key, value in answer.items() if key not in ("excluded", "notes")}


@pytest.mark.parametrize(("name", "key"), REQUESTS, ids=[f"{name}: {key}" for name, key in REQUESTS])
def test_sum_of_the_countries_gives_the_answer(name: str, key: str) -> None:
    method, spec = find(name), example_spec(name, EXAMPLES[name][key])
    countries = by_country(trial_rows(5, 400), spec, method, sizes=(0.5, 0.3, 0.2))
    plain, sealed = (pooled(method, countries, spec, how) for how in (False, True))
    assert differences(numbers(sealed.answer), numbers(plain.answer), lambda _: 1e-9) == []
    assert dict(leaves(sealed.answer)).keys() >= dict(leaves(numbers(plain.answer))).keys()


def test_every_sealed_method_is_tested() -> None:
    assert {name for name, _ in REQUESTS} == SEALED_METHODS
    assert set(METHODS) >= SEALED_METHODS


@pytest.mark.parametrize("name", sorted(set(METHODS) - SEALED_METHODS))
def test_other_methods_are_refused(name: str) -> None:
    spec = example_spec(name, next(iter(EXAMPLES[name].values())))
    with pytest.raises(Refused) as caught:
        check_adds(spec, find(name))
    assert caught.value.code == "SEALED_METHOD"


@pytest.mark.parametrize(
    "change",
    [
        {"terms": (*TERMS, c.Term((c.Ref("country"),)))},
        {"where": c.Not(c.Comparison("country", c.Operator.EQUAL, "CN"))},
        {"terms": (*TERMS, c.Term((c.Indicator(c.Membership("country", ("CN", "JP"))),)))},
    ],
)
def test_country_is_in_no_sealed_request(change: Mapping[str, object]) -> None:
    spec = c.Spec("linear_model", "ADSL", TRIAL, roles={"outcome": (c.Ref("marker"),)}, **change)
    with pytest.raises(Refused) as caught:
        check_adds(spec, find("linear_model"))
    assert caught.value.code == "SEALED_COUNTRY"


Field = sealed_pb2.SealedField


@pytest.mark.parametrize(
    ("fields", "numbers", "code"),
    [
        ([Field(field="arms", shape=[2], whole=True)], [1.0, 2.5], "SEALED_LAYOUT"),
        ([Field(field="arms", shape=[2], whole=True)], [1.0], "SEALED_LAYOUT"),
        ([Field(field="arms", whole=True), Field(field="arms", whole=True)], [1.0, 1.0], "SEALED_LAYOUT"),
        ([Field(field="arms", withheld_by="DOES_NOT_ADD")], [], "SEALED_LAYOUT"),
        ([Field(field="persons_by_name", whole=True)], [1.0], "UNDECLARED_FIELD"),
        ([Field(label="NOT_A_NOTE", whole=True)], [1.0], "SEALED_LAYOUT"),
        ([Field(field="arms", shape=[1 << 20, 1 << 20], whole=True)], [], "SEALED_LAYOUT"),
        ([Field(field="arms", shape=[1] * 20, whole=True)], [1.0], "SEALED_LAYOUT"),
    ],
)
def test_layout_that_cannot_be_is_refused(fields: list[Field], numbers: list[float], code: str) -> None:
    with pytest.raises((UsageError, Refused)) as caught:
        cleared_of(sealed_pb2.SealedLayout(fields=fields), np.array(numbers), find("table_one"), 3)
    assert caught.value.code == code


def test_layout_that_is_as_it_must_be_is_read() -> None:
    layout = sealed_pb2.SealedLayout(fields=[Field(field="arms", shape=[2], whole=True)])
    cleared = cleared_of(layout, np.array([3.0, 4.0]), find("table_one"), 3)
    assert cleared.country == TOGETHER
    assert cleared.values["arms", ""].tolist() == [3, 4]
    assert cleared.values["arms", ""].dtype.kind == "i"
    assert size_of(layout) == 2
