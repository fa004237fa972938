"""A second dataset, of events: joined to the persons inside the node, checked as strictly as the first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from isthmus.errors import Refused, UsageError
from isthmus.v1 import study_pb2
from isthmus_methods import codec, contract as c
from isthmus_methods.registry import find
from isthmus_methods.validate import check_spec
from isthmus_node import compute
from isthmus_node.custodian.reading import spec_words
from isthmus_node.sources import Source, Table, read, typed

V = study_pb2.Variable
PERSONS = "id,arm,days\np3,a,10\np1,b,20\n07,a,30\np9,b,40\n"
EVENTS = "who,class,day,grade\np1,x,5,1\np9,y,3,2\nzz,x,1,3\n07,q,,3\np1,y,2,3\np1,,9,1\n"
METHOD = find("safety")


def study() -> study_pb2.Study:
    identifier = [V.IDENTIFIER]
    return study_pb2.Study(
        name="S",
        datasets=[
            study_pb2.Dataset(
                name="ADSL",
                subject="id",
                variables=[
                    V(name="id", type=V.TEXT, roles=identifier),
                    V(name="arm", type=V.FACTOR, levels=["a", "b"]),
                    V(name="days", type=V.INTEGER, minimum=0, maximum=99),
                ],
            ),
            study_pb2.Dataset(
                name="ADAE",
                subject="who",
                variables=[
                    V(name="who", type=V.TEXT, roles=identifier),
                    V(name="class", type=V.FACTOR, levels=["x", "y"], may_be_missing=True),
                    V(name="day", type=V.INTEGER, minimum=0, maximum=99, may_be_missing=True),
                    V(name="grade", type=V.INTEGER, minimum=1, maximum=5),
                ],
            ),
            study_pb2.Dataset(
                name="NOBODY", one_row_a_subject=True, variables=[V(name="class", type=V.FACTOR, levels=["x"])]
            ),
        ],
    )


def asked(where: c.Predicate | None = None, events_where: c.Predicate | None = None, **changes: object) -> c.Spec:
    severe = c.Indicator(c.Comparison("grade", c.Operator.GREATER_OR_EQUAL, 3.0))
    events = c.Spec(
        "safety",
        "ADAE",
        where=events_where,
        roles={"group_term": (c.Ref("class"),), "day": (c.Ref("day"),), "subsets": (severe,)},
    )
    spec = c.Spec(
        "safety",
        "ADSL",
        where=where,
        roles={"arm": (c.Ref("arm"),), "exposure": (c.Ref("days"),)},
        options={"subsets": ("severe",)},
        events=replace(events, **changes),  # type: ignore[arg-type]
    )
    return codec.spec_from_message(codec.spec_to_message(spec), study())


def tables(folder: Path) -> tuple[Table, Table]:
    made = []
    for text, dataset in zip((PERSONS, EVENTS), study().datasets[:2], strict=True):
        path = folder / f"{dataset.name}.csv"
        path.write_text(text, encoding="utf-8")
        made.append(typed(read(Source(str(path))), dataset, "NL", b"key"))
    return made[0], made[1]


def joined(folder: Path, spec: c.Spec) -> c.EventRows:
    persons, events = tables(folder)
    [block] = compute.blocks(spec, persons, METHOD, events)
    assert block.events is not None
    return block.events


def test_request_with_events_comes_back_from_its_message() -> None:
    spec = asked(events_where=c.Comparison("class", c.Operator.EQUAL, "x"))
    again = codec.spec_from_message(codec.spec_to_message(spec), study())
    assert again == spec
    assert again.events is not None
    assert again.events.subject == "who"


def test_request_without_events_has_the_bytes_it_had() -> None:
    assert not codec.spec_to_message(replace(asked(), events=None)).HasField("events")


def test_events_go_to_their_persons_by_name(tmp_path: Path) -> None:
    events = joined(tmp_path, asked())
    # persons in the order of their table: p3, p1, 07, p9
    assert events.subject.tolist() == [1, 3, 2, 1, 1]
    assert events.columns["group_term"][0].tolist() == [0, 1, -1, 1, -1]
    assert events.columns["subsets"][0].tolist() == [0, 0, 1, 1, 0]


def test_events_of_nobody_are_left_out_and_counted(tmp_path: Path) -> None:
    events = joined(tmp_path, asked())
    assert (events.left_out, events.persons_left_out) == (1, 1)


def test_events_of_persons_whom_the_filter_leaves_out_are_of_nobody(tmp_path: Path) -> None:
    events = joined(tmp_path, asked(where=c.Comparison("arm", c.Operator.EQUAL, "a")))
    assert events.subject.tolist() == [1]
    assert (events.left_out, events.persons_left_out) == (5, 3)


def test_filter_of_events_keeps_events_alone(tmp_path: Path) -> None:
    spec = asked(events_where=c.Comparison("class", c.Operator.EQUAL, "y"))
    assert joined(tmp_path, spec).subject.tolist() == [3, 1]


def test_every_event_is_in_one_block(tmp_path: Path) -> None:
    persons, events = tables(tmp_path)
    prepared = compute.prepare(asked(), persons, METHOD, events, one_block=0, block_rows=1)
    own = [block.events for block in prepared.blocks]
    assert [e.subject.tolist() for e in own if e is not None] == [[], [1, 1, 1], [2], [3]]
    assert sum(e.left_out for e in own if e is not None) == 1


def test_another_table_of_events_is_another_preparation(tmp_path: Path) -> None:
    persons, events = tables(tmp_path)
    path = tmp_path / "ADAE.csv"
    path.write_text(EVENTS.replace("p9,y,3,2", "p3,y,3,2"), encoding="utf-8")
    changed = typed(read(Source(str(path))), study().datasets[1], "NL", b"key")
    cache, spec = compute.Cache(), asked()
    first, second = (cache.prepared(spec, persons, METHOD, table).blocks[0].events for table in (events, changed))
    assert first is not None
    assert second is not None
    assert not np.array_equal(first.subject, second.subject)


def test_time_at_risk_ends_at_the_first_known_day(tmp_path: Path) -> None:
    persons, events = tables(tmp_path)
    items = {(i.field, i.label): i for i in compute.answer(asked(), persons, {}, None, METHOD, events).items}
    # b: p1 from day 2 of 20 and p9 from day 3 of 40; a: 07 has an event whose day is not known
    assert items["lost", "sets"].value[0].tolist() == [0.0, 18.0 + 37.0]
    assert items["persons", "sets"].value.tolist() == [[1, 2], [1, 1]]
    assert items["events", "sets"].value.tolist() == [[1, 4], [1, 1]]
    # what the dictionary does not have, and what is missing, is OTHER
    assert items["events", "groups"].axes[0] == ("class", ("x", "y", "OTHER"))
    assert items["events", "groups"].value.tolist() == [[0, 1], [0, 2], [1, 1]]


def test_no_name_of_a_person_leaves(tmp_path: Path) -> None:
    persons, events = tables(tmp_path)
    summary = compute.answer(asked(), persons, {}, None, METHOD, events)
    told = repr([(item.label, item.axes) for item in summary.items])
    assert not any(name in told for name in ("p1", "p3", "p9", "07", "zz"))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"roles": {"group_term": (c.Ref("who"),)}}, "FORBIDDEN_VARIABLE"),
        ({"roles": {"group_term": (c.Ref("arm"),)}}, "UNKNOWN_VARIABLE"),
        ({"roles": {"group_term": (c.Ref("day"),)}}, "WRONG_COLUMN"),
        ({"roles": {}}, "MISSING_ROLE"),
        ({"roles": {"group_term": (c.Ref("class"),), "weight": (c.Ref("day"),)}}, "UNKNOWN_ROLE"),
        ({"events_where": c.Comparison("who", c.Operator.EQUAL, "p1")}, "FORBIDDEN_VARIABLE"),
        ({"events_where": c.Comparison("class", c.Operator.EQUAL, "q")}, "UNKNOWN_LEVEL"),
        ({"references": {"class": "q"}}, "UNKNOWN_LEVEL"),
        ({"dataset": "NOBODY", "roles": {"group_term": (c.Ref("class"),)}}, "NO_SUBJECT"),
        ({"dataset": "ADSL", "roles": {"group_term": (c.Ref("arm"),)}}, "NO_SUBJECT"),
    ],
)
def test_events_are_checked_like_the_first_dataset(changes: dict[str, object], code: str) -> None:
    spec = asked(**changes)  # type: ignore[arg-type]
    with pytest.raises(UsageError) as caught:
        check_spec(spec, METHOD)
    assert caught.value.code == code


@pytest.mark.parametrize("where", [None, c.Comparison("who", c.Operator.EQUAL, "p1")])
def test_node_refuses_the_name_of_a_person_among_events(where: c.Predicate | None) -> None:
    roles = {"group_term": (c.Ref("class" if where else "who"),)}
    with pytest.raises(Refused) as caught:
        compute.check_request(asked(roles=roles, events_where=where), METHOD)
    assert caught.value.code == "IDENTIFIER_USED"


def test_dataset_of_events_that_the_study_does_not_have_is_named() -> None:
    with pytest.raises(UsageError) as caught:
        asked(dataset="ADCM")
    assert caught.value.code == "UNKNOWN_DATASET"


def test_method_without_events_takes_none_and_one_with_events_needs_them() -> None:
    with pytest.raises(UsageError) as missing:
        check_spec(replace(asked(), events=None), METHOD)
    assert missing.value.code == "MISSING_EVENTS"
    table_one = replace(asked(), method="table_one", roles={"variables": (c.Ref("days"),)}, options={})
    with pytest.raises(UsageError) as taken:
        check_spec(table_one, find("table_one"))
    assert taken.value.code == "NO_EVENTS"
    for spec, method in ((replace(asked(), events=None), METHOD), (table_one, find("table_one"))):
        with pytest.raises(UsageError):
            compute.check_request(spec, method)


def test_custodian_reads_what_is_asked_of_the_events() -> None:
    words = list(spec_words(codec.spec_to_message(asked(events_where=c.Comparison("class", c.Operator.EQUAL, "x")))))
    assert "joined by person to dataset ADAE, events where class = 'x'" in words
    assert "  subsets: [grade >= 3]" in words
