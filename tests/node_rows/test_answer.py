"""From a request to a summary: what may be asked, complete cases, design, blocks, passes, and what is kept."""

from __future__ import annotations

import itertools
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from isthmus.errors import IsthmusError, Refused, UsageError
from isthmus_methods import contract as c
from isthmus_methods.variables import used_variables
from isthmus_node import compute
from isthmus_node.compute.answer import prepare
from isthmus_node.sources import Table

R = c.Ref
VARIABLES = {
    "id": c.Variable("id", c.VariableType.TEXT, roles=frozenset({"IDENTIFIER"})),
    "note": c.Variable("note", c.VariableType.TEXT),
    "day": c.Variable("day", c.VariableType.DATE),
    "x": c.Variable("x", c.VariableType.NUMERIC),
    "y": c.Variable("y", c.VariableType.NUMERIC),
    "time": c.Variable("time", c.VariableType.NUMERIC, grid=1.0),
    "status": c.Variable("status", c.VariableType.INTEGER),
    "f": c.Variable("f", c.VariableType.FACTOR, levels=("a", "b", "c")),
    "g": c.Variable("g", c.VariableType.FACTOR, levels=("u", "v")),
}
NAN = float("nan")


def table(
    x: Any = (1, 2, 3, 4),
    f: Any = (0, 1, 2, 1),
    g: Any = (0, 1, 1, 0),
    subject: Any = (0, 0, 1, 2),
    status: Any = (0, 1, 2, NAN),
    digest: bytes = b"1",
) -> Table:
    number = np.array(x, dtype=np.float64)
    rows = len(number)
    persons = np.array(subject, dtype=np.int32)
    return Table(
        dataset="D",
        country="NL",
        rows=rows,
        variables=VARIABLES,
        numbers={
            "x": number,
            "y": number * 10,
            "time": np.arange(rows, dtype=np.float64),
            "status": np.resize(np.array(status, dtype=np.float64), rows),
        },
        codes={"f": np.array(f, dtype=np.int32), "g": np.array(g, dtype=np.int32)},
        identifiers={"id": persons},
        subject=persons,
        persons=int(persons.max(initial=-1)) + 1,
        digest=digest,
    )


def spec(**asked: Any) -> c.Spec:
    return c.Spec("counting", "D", VARIABLES, "id", **asked)


def main_effects(*names: str) -> tuple[c.Term, ...]:
    return tuple(c.Term((R(name),)) for name in names)


# --------------------------------------------------------------------------- the design


def by_hand(request: c.Spec, rows: list[dict[str, Any]]) -> tuple[list[str], list[list[float]]]:
    """Dummy coding written once more, a cell at a time, with levels as texts."""
    names: list[str] = []
    cells: list[list[float]] = [[] for _ in rows]
    for term in request.terms:
        choices = []
        for column in term.columns:
            name = column.variable  # type: ignore[union-attr]
            levels = list(VARIABLES[name].levels)
            reference = request.references.get(name, levels[0] if levels else None)
            choices.append([(name, level) for level in levels if level != reference] or [(name, None)])
        # product with the last varying slowest: reversed, then reversed back
        for picked in itertools.product(*reversed(choices)):
            picked = picked[::-1]
            names.append(":".join(n if level is None else f"{n}={level}" for n, level in picked))
            for row, into in zip(rows, cells, strict=True):
                value = 1.0
                for name, level in picked:
                    value *= row[name] if level is None else float(row[name] == level)
                into.append(value)
    return names, cells


COLUMN = st.sampled_from(["x", "y", "f", "g"])
TERMS = st.lists(st.lists(COLUMN, min_size=1, max_size=3, unique=True), min_size=1, max_size=4)
NUMBER = st.none() | st.sampled_from([-2.0, 0.0, 0.5, 3.0])


@settings(max_examples=200, deadline=None)
@given(
    terms=TERMS,
    cells=st.lists(st.tuples(NUMBER, st.integers(-1, 3), st.integers(-1, 1)), max_size=15),
    reference=st.sampled_from([None, "a", "b", "c"]),
)
def test_design_equals_dummy_coding_by_hand(
    sample_method: Any, terms: list[list[str]], cells: list[tuple[Any, ...]], reference: str | None
) -> None:
    request = spec(
        terms=tuple(c.Term(tuple(R(name) for name in names)) for names in terms),
        references={} if reference is None else {"f": reference},
    )
    x, f, g = (list(column) for column in zip(*cells, strict=True)) if cells else ([], [], [])
    made = table([NAN if value is None else value for value in x], f, g, range(len(x)))
    used = {name for names in terms for name in names}
    rows = []
    for number, code_f, code_g in cells:
        row = {
            "x": number,
            "y": None if number is None else number * 10,
            # code 3 is a level that the dictionary does not have: as missing
            "f": [*VARIABLES["f"].levels, None, None][code_f],
            "g": [*VARIABLES["g"].levels, None][code_g],
        }
        if all(row[name] is not None for name in used):
            rows.append(row)
    names, expected = by_hand(request, rows)
    assert list(c.coefficient_names(request)) == names
    found = compute.blocks(request, made, sample_method)
    if not rows:
        assert found == []
        return
    (block,) = found
    assert block.design is not None
    assert block.design.names == tuple(names)
    np.testing.assert_array_equal(block.design.matrix, np.array(expected).reshape(len(rows), len(names)))
    assert block.design.matrix.flags.c_contiguous
    assert block.design.matrix.dtype == np.float64
    assert set(block.design.level_codes) == used & {"f", "g"}


@pytest.fixture(scope="module")
def sample_method(sample: Any) -> Any:
    return sample.Counting()


def test_design_over_more_rows_than_fit_the_cache_at_once(sample_method: Any) -> None:
    rows = 20_001
    x = np.arange(rows, dtype=np.float64)
    made = table(x, x % 3, x % 2, range(rows))
    (block,) = compute.blocks(spec(terms=(c.Term((R("f"), R("x"))),)), made, sample_method)
    assert block.design is not None
    np.testing.assert_array_equal(block.design.matrix, np.column_stack([(x % 3 == 1) * x, (x % 3 == 2) * x]))


# --------------------------------------------------------------------------- which rows


def test_complete_cases_leave_out_missing_other_and_undefined(sample_method: Any) -> None:
    made = table(x=(1, NAN, -3, 4, 5), f=(0, 1, 2, 3, -1), g=(0, 1, 1, 0, 0), subject=(0, 0, 1, 2, 3))
    (block,) = compute.blocks(spec(terms=main_effects("x", "f")), made, sample_method)
    # missing x; level outside the dictionary; missing f
    assert block.design is not None
    assert block.design.matrix.tolist() == [[1, 0, 0], [-3, 0, 1]]
    assert (block.rows, block.rows_selected, block.persons_selected) == (2, 5, 4)
    logarithm = c.Transform(c.Function.LOG, R("x"))
    prepared = prepare(spec(roles={"variables": (logarithm,)}), made, sample_method)
    assert prepared.used.tolist() == [True, False, False, True, True]
    assert prepared.selected.all()


def test_variables_that_the_method_does_not_use_may_be_missing(sample_method: Any) -> None:
    (block,) = compute.blocks(spec(roles={"variables": (R("f"),)}), table(x=(NAN,) * 4), sample_method)
    assert block.rows == 4


def test_filter_comes_before_complete_cases(sample_method: Any) -> None:
    request = spec(where=c.Comparison("x", c.Operator.GREATER, 1.0), roles={"event": (R("status"),)})
    (block,) = compute.blocks(request, table(), sample_method)
    assert (block.rows_selected, block.persons_selected, block.rows) == (3, 3, 2)
    assert block.subject.tolist() == [0, 1]


def test_per_variable_keeps_rows_with_missing_values(sample: Any) -> None:
    method = sample.Counting(c.Missingness.PER_VARIABLE)
    made = table(x=(1, NAN, 3, 4), f=(0, -1, 3, 2))
    (block,) = compute.blocks(spec(roles={"variables": (R("x"), R("f"))}), made, method)
    np.testing.assert_array_equal(block.numbers("variables", 0), [1, NAN, 3, 4])
    assert block.codes("variables", 1).tolist() == [0, -1, -1, 2]
    assert block.levels["variables"] == ((), ("a", "b", "c"))
    assert (block.rows, block.rows_selected) == (4, 4)


def test_event_is_one_where_it_is_one_and_missing_where_missing(sample: Any) -> None:
    method = sample.Counting(c.Missingness.PER_VARIABLE)
    censored = c.Indicator(c.Comparison("status", c.Operator.EQUAL, 0.0))
    for column, expected in ((R("status"), [0, 1, 0, NAN]), (censored, [1, 0, 0, NAN])):
        (block,) = compute.blocks(spec(roles={"event": (column,)}), table(), method)
        np.testing.assert_array_equal(block.numbers("event"), expected)


@pytest.mark.parametrize("where", [None, c.Comparison("x", c.Operator.LESS, -100.0)])
def test_country_without_rows_has_no_block_and_still_answers(where: c.Predicate | None, sample_method: Any) -> None:
    made = table(x=(), f=(), g=(), subject=()) if where is None else table()
    request = spec(where=where, terms=main_effects("x"))
    assert compute.blocks(request, made, sample_method) == []
    assert compute.answer(request, made, {}, method=sample_method).items[0].value == 0


@settings(max_examples=100, deadline=None)
@given(
    cells=st.lists(st.tuples(NUMBER, st.integers(0, 4), st.booleans()), min_size=1, max_size=30),
    size=st.integers(1, 7),
)
def test_blocks_add_up_to_the_rows_and_persons_of_one_block(
    sample_method: Any, cells: list[tuple[Any, ...]], size: int
) -> None:
    x = [NAN if value is None else value for value, _, _ in cells]
    kept = [int(keep) for _, _, keep in cells]
    _, subject = np.unique([person for _, person, _ in cells], return_inverse=True)
    made = table(x, [0] * len(x), kept, subject)
    request = spec(where=c.Comparison("g", c.Operator.EQUAL, "v"), terms=main_effects("x"))
    whole = prepare(request, made, sample_method)
    split = prepare(request, made, sample_method, one_block=0, block_rows=size)
    complete = [i for i in range(len(x)) if kept[i] and not np.isnan(x[i])]
    if not complete:
        assert whole.blocks == split.blocks == ()
        return
    (one,) = whole.blocks
    assert one.rows_selected == sum(kept)
    assert one.persons_selected == len({int(subject[i]) for i in range(len(x)) if kept[i]})
    assert len(split.blocks) == -(-len(complete) // size)
    for name in ("rows", "rows_selected", "persons_selected"):
        assert sum(getattr(block, name) for block in split.blocks) == getattr(one, name)
    np.testing.assert_array_equal(np.concatenate([b.subject for b in split.blocks]), one.subject)
    # numbered without gaps, the same person the same number
    assert set(one.subject.tolist()) == set(range(len({int(subject[i]) for i in complete})))
    pairs = {(int(subject[i]), int(code)) for i, code in zip(complete, one.subject, strict=True)}
    assert len(pairs) == len({person for person, _ in pairs}) == len({code for _, code in pairs})


# --------------------------------------------------------------------------- what may be asked

BAD: list[tuple[str, dict[str, Any], str]] = [
    ("unknown variable", {"terms": main_effects("z")}, "UNKNOWN_VARIABLE"),
    ("unknown variable in a filter", {"where": c.Missing("z")}, "UNKNOWN_VARIABLE"),
    ("identifier in a filter", {"where": c.Comparison("id", c.Operator.EQUAL, "a")}, "IDENTIFIER_USED"),
    ("identifier missing", {"where": c.Not(c.Missing("id"))}, "IDENTIFIER_USED"),
    ("identifier as a term", {"terms": main_effects("id")}, "IDENTIFIER_USED"),
    ("identifier as a variable", {"roles": {"variables": (R("id"),)}}, "IDENTIFIER_USED"),
    ("identifier as a factor", {"terms": (c.Term((c.Transform(c.Function.FACTOR, R("id")),)),)}, "IDENTIFIER_USED"),
    ("text", {"roles": {"variables": (R("note"),)}}, "FORBIDDEN_TYPE"),
    ("date", {"where": c.Missing("day")}, "FORBIDDEN_TYPE"),
    ("text as cluster", {"roles": {"cluster": (R("note"),)}}, "FORBIDDEN_TYPE"),
    ("level not declared", {"where": c.Comparison("f", c.Operator.EQUAL, "z")}, "UNKNOWN_LEVEL"),
    ("level not declared in a set", {"where": c.All((c.Membership("f", ("a", "z")),))}, "UNKNOWN_LEVEL"),
    ("number not a level", {"where": c.Comparison("f", c.Operator.EQUAL, 1.0)}, "UNKNOWN_LEVEL"),
    ("text against a number", {"where": c.AnyOf((c.Comparison("x", c.Operator.LESS, "1"),))}, "NOT_A_NUMBER"),
    ("against no number", {"where": c.Comparison("x", c.Operator.LESS, NAN)}, "NOT_A_NUMBER"),
    ("reference not declared", {"references": {"f": "z"}}, "UNKNOWN_LEVEL"),
    ("factor as time", {"roles": {"time": (R("f"),)}}, "NOT_A_NUMBER"),
    ("factor as event", {"roles": {"event": (R("g"),)}}, "NOT_A_NUMBER"),
    ("number as group", {"roles": {"by": (R("x"),)}}, "NOT_A_FACTOR"),
    ("two times", {"roles": {"time": (R("x"), R("y"))}}, "ONE_COLUMN"),
    ("unknown role", {"roles": {"weights": (R("x"),)}}, "UNKNOWN_ROLE"),
    ("unknown option", {"options": {"seed": 1}}, "UNKNOWN_OPTION"),
    ("term without columns", {"terms": (c.Term(()),)}, "EMPTY_TERM"),
    ("factor of a number without levels", {"terms": (c.Term((c.Transform(c.Function.FACTOR, R("x")),)),)}, "NO_LEVELS"),
    (
        "factor of something computed",
        {"terms": (c.Term((c.Transform(c.Function.FACTOR, c.Transform(c.Function.SQUARE, R("x"))),)),)},
        "FACTOR_OF_VARIABLE",
    ),
    ("log of a factor", {"terms": (c.Term((c.Transform(c.Function.LOG, R("f")),)),)}, "TRANSFORM_OF_FACTOR"),
    ("scale by nothing", {"terms": (c.Term((c.Transform(c.Function.SCALE, R("x"), (0.0,)),)),)}, "CONSTANTS"),
    ("centre without constant", {"terms": (c.Term((c.Transform(c.Function.CENTRE, R("x")),)),)}, "CONSTANTS"),
    (
        "identifier inside an indicator",
        {"roles": {"event": (c.Indicator(c.Comparison("id", c.Operator.EQUAL, "a")),)}},
        "IDENTIFIER_USED",
    ),
]


@pytest.mark.parametrize(("asked", "code"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_request_that_may_not_be_computed_is_refused_before_rows_are_looked_at(
    asked: dict[str, Any], code: str, sample_method: Any
) -> None:
    messages = set()
    for made in (table(), table(x=(), f=(), g=(), subject=())):
        with pytest.raises((UsageError, Refused)) as caught:
            compute.answer(spec(**asked), made, {}, method=sample_method)
        assert caught.value.code == code
        messages.add(str(caught.value))
    # the same words whatever the rows are
    assert len(messages) == 1


def test_required_role_and_terms_are_asked_for(sample: Any) -> None:
    class Strict(sample.Counting):  # type: ignore[misc,name-defined]
        roles: ClassVar[dict[str, c.Role]] = {"time": c.Role("time")}
        uses_terms: ClassVar[bool] = False

    with pytest.raises(UsageError, match="MISSING_ROLE"):
        compute.check_request(spec(), Strict())
    with pytest.raises(UsageError, match="NO_TERMS"):
        compute.check_request(spec(roles={"time": (R("x"),)}, terms=main_effects("f")), Strict())
    compute.check_request(spec(roles={"time": (R("x"),)}), Strict())


def test_identifier_may_be_a_cluster(sample_method: Any) -> None:
    (block,) = compute.blocks(spec(roles={"cluster": (R("id"),)}), table(), sample_method)
    assert block.codes("cluster").tolist() == [0, 0, 1, 2]


def test_used_variables_are_those_of_filter_roles_and_terms() -> None:
    request = spec(
        where=c.Not(c.AnyOf((c.Missing("g"), c.Membership("f", ("a",))))),
        roles={"event": (c.Indicator(c.Comparison("status", c.Operator.EQUAL, 1.0)),)},
        terms=(c.Term((c.Transform(c.Function.LOG, R("x")),)),),
    )
    assert used_variables(request) == {"g", "f", "status", "x"}


# --------------------------------------------------------------------------- passes and what is kept


def test_method_passes_over_the_same_blocks_as_often_as_it_asks(sample: Any) -> None:
    method = sample.Counting(passes=3)
    summary = compute.answer(spec(terms=main_effects("x")), table(), {}, method=method)
    assert summary.items[0].value == 4
    assert len(method.folded) == 3
    assert len({id(block) for block in method.folded}) == 1


def test_later_rounds_use_the_blocks_of_the_first(sample: Any) -> None:
    method, cache, request = sample.Counting(), compute.Cache(), spec(terms=main_effects("x"))
    for number in range(3):
        compute.answer(request, table(), {"beta": np.array([float(number)])}, cache, method)
    assert len({id(block) for block in method.folded}) == 1
    # without a cache they are made again
    compute.answer(request, table(), {}, None, method)
    assert len({id(block) for block in method.folded}) == 2


def test_other_snapshot_or_other_request_is_prepared_anew(sample: Any) -> None:
    method, cache = sample.Counting(), compute.Cache()
    requests = [spec(terms=main_effects("x")), spec(terms=main_effects("y"))]
    for made, request in itertools.product((table(), table(digest=b"2")), requests):
        compute.answer(request, made, {}, cache, method)
    assert len({id(block) for block in method.folded}) == 4


def test_cache_keeps_the_few_used_last(sample: Any) -> None:
    method, cache = sample.Counting(), compute.Cache(size=2)
    x, y, f = (spec(terms=main_effects(name)) for name in ("x", "y", "f"))
    for request in (x, y, x, f):
        compute.answer(request, table(), {}, cache, method)
    first = method.folded[0]
    assert cache.prepared(x, table(), method).blocks[0] is first
    assert cache.prepared(y, table(), method).blocks[0] is not method.folded[1]
    cache.clear()
    assert cache.prepared(x, table(), method).blocks[0] is not first


def test_method_comes_from_the_index_by_name_and_version() -> None:
    with pytest.raises(IsthmusError) as caught:
        compute.answer(spec(), table(), {})
    assert caught.value.code == "UNKNOWN_METHOD"


def test_columns_are_written_about_a_centre_as_they_are_written_whole() -> None:
    random = np.random.default_rng(5)
    whole = random.normal(1e6, 3.0, (20_000, 3))
    given = c.Design(whole, ("a", "b", "c"), {})
    one_by_one = c.Design(lambda k, some: whole[some, k], ("a", "b", "c"), {}, len(whole))
    for design in (given, one_by_one):
        np.testing.assert_allclose(design.means(), whole.mean(axis=0), rtol=1e-14)
        about = np.empty_like(whole)
        design.write(about, design.means())
        np.testing.assert_array_equal(about, whole - design.means())
        np.testing.assert_array_equal(design.matrix, whole)
    assert one_by_one.matrix is one_by_one.matrix
    assert c.Design(lambda k, some: whole[some, k], ("a",), {}).means().tolist() == [0.0]
