"""Attacks by what is asked: transforms, identifiers, dates, levels, filters, errors, logs."""

from __future__ import annotations

from attacks.attack import Attack, Claims
from attacks.mounted.cells import first
from attacks.mounted.cohorts import ALONE, ASKED
from attacks.rows import NUMBER, RARE_DIAGNOSIS
from attacks.scene import Scene
from isthmus.v1 import spec_pb2

REQUEST = frozenset({"NOT_IN_DICTIONARY", "FORBIDDEN_VARIABLE", "FORBIDDEN_ROLE", "FORBIDDEN_TYPE", "WRONG_COMPARISON"})


def compared(name: str, operator: spec_pb2.Comparison.Operator, value: float | str) -> spec_pb2.Predicate:
    literal = spec_pb2.Literal(text=value) if isinstance(value, str) else spec_pb2.Literal(number=value)
    return spec_pb2.Predicate(comparison=spec_pb2.Comparison(variable=name, operator=operator, value=literal))


def sum_of(scene: Scene, name: str, where: spec_pb2.Predicate | None = None) -> float:
    """The sum of a variable, asked by a coordinator that writes the request itself; NaN where it did not leave."""
    spec = scene.spec("table_one", roles={"variables": ["LAB"]})
    spec.roles[0].columns[0].variable = name
    if where is not None:
        spec.where.CopyFrom(where)
    answer = scene.order(spec)
    return float("nan") if answer is None or not answer.has("sum") else float(answer["sum"][0])


def listed_transform(scene: Scene) -> Claims:
    """1 / (x - c) next to a guess of the victim's value: the sum is the victim's share."""
    guess = 96.99
    spec = scene.spec("linear_model", "LAB ~ I(AGE - 50)")
    spec.terms[0].columns[0].transform.function = 99  # type: ignore[assignment]  # not on the contract's list
    spec.terms[0].columns[0].transform.constants[0] = guess
    answer = scene.order(spec)
    return {"age": guess + 1.0 / float(answer["sums"][1])} if answer is not None and answer.has("sums") else {}


def steep_power(scene: Scene) -> Claims:
    """Squares of squares: the eighth power of a distance is the victim's alone."""
    spec = scene.spec("linear_model", "LAB ~ I(AGE - 57)")
    for _ in range(3):
        inner = spec_pb2.Column()
        inner.CopyFrom(spec.terms[0].columns[0])
        spec.terms[0].columns[0].transform.CopyFrom(
            spec_pb2.Transform(function=spec_pb2.Transform.SQUARE, argument=inner)
        )
    answer = scene.order(spec)
    return {"age": 57 + float(answer["sums"][1]) ** 0.125} if answer is not None and answer.has("sums") else {}


def arithmetic_on_identifier(scene: Scene) -> Claims:
    """The running number of the person with the greatest age: all less all the others."""
    others = compared("CLASS", spec_pb2.Comparison.NOT_EQUAL, "RARE")
    return {"number": sum_of(scene, "NUM") - sum_of(scene, "NUM", others)}


def filter_on_identifier(scene: Scene) -> Claims:
    others = compared("NUM", spec_pb2.Comparison.NOT_EQUAL, float(NUMBER))
    return {"lab": sum_of(scene, "LAB") - sum_of(scene, "LAB", others)}


def calendar_date(scene: Scene) -> Claims:
    others = compared("CLASS", spec_pb2.Comparison.NOT_EQUAL, "RARE")
    return {"visit date": sum_of(scene, "VISITDT") - sum_of(scene, "VISITDT", others)}


def conjunction(scene: Scene) -> Claims:
    where = "AGE >= 90 & SEX == 'F' & SITE == 'S1'"
    found = first(scene, "table_one", roles={"variables": ["LAB"]}, where=where, **ALONE).get("sum[LAB]")
    return {} if found is None else {"lab": float(found[0])}


def rare_level(scene: Scene) -> Claims:
    first(scene, "table_one", roles={"variables": ["DX"]})
    return {}  # the oracle reads for the level's name


def unknown_or_suppressed(scene: Scene) -> Claims:
    """A level that one row has and the dictionary has not, and one that nobody has: are they told apart?"""
    sum_of(scene, "LAB")  # so that the rows were read
    said = []
    for level in (RARE_DIAGNOSIS, "Nowhere"):
        spec = scene.spec("table_one", roles={"variables": ["LAB"]})
        spec.where.CopyFrom(compared("DX", spec_pb2.Comparison.EQUAL, level))
        answer = scene.order(spec)
        said.append(None if answer is None else (answer.code, sorted(answer.values), sorted(answer.withheld.items())))
    return {"present": 1.0} if said[0] != said[1] else {}


def value_in_an_error(scene: Scene) -> Claims:
    scene.ask("table_one", roles={"variables": ["LAB"]}, dataset="BROKEN")
    return {}


def row_in_a_log(scene: Scene) -> Claims:
    scene.ask("table_one", roles={"variables": ["LAB"]})
    return {}


SUMS = ("sums_have_persons", "sums_are_not_dominated", "sums_leave_a_remainder", "sums_vary")

ATTACKS = (
    Attack(
        31,
        "a transform that is not on the list",
        "coordinator",
        "closed list of transforms",
        ("listed transforms", "leverage_is_bounded"),
        frozenset({"MALFORMED_REQUEST"}),
        listed_transform,
    ),
    Attack(
        31,
        "listed transforms, one in the other",
        "coordinator",
        "leverage",
        ("leverage_is_bounded",),
        frozenset({"HIGH_LEVERAGE"}),
        steep_power,
        "b",
    ),
    Attack(
        32,
        "arithmetic on an identifier",
        "coordinator",
        "roles of the dictionary",
        ("roles and types", "auditor"),
        REQUEST,
        arithmetic_on_identifier,
    ),
    Attack(
        33,
        "conjunction of filters",
        "analyst",
        "k persons of a cohort",
        ("cells_are_large", *SUMS, "auditor", *ASKED),
        frozenset({"FEW_PERSONS", "CUT_POINT_OFF_GRID"}),
        conjunction,
    ),
    Attack(
        34,
        "filter on an identifier",
        "coordinator",
        "roles of the dictionary",
        ("roles and types", "auditor", *ASKED),
        REQUEST,
        filter_on_identifier,
        words=(str(NUMBER),),
    ),
    Attack(
        35,
        "a rare level's name",
        "analyst",
        "levels of the dictionary only",
        ("levels of the dictionary",),
        frozenset({"SMALL_CELL"}),
        rare_level,
    ),
    Attack(
        36,
        "unknown and suppressed levels told apart",
        "coordinator",
        "one answer for both",
        ("same answer to unknown levels",),
        frozenset({"NOT_IN_DICTIONARY"}),
        unknown_or_suppressed,
        words=(RARE_DIAGNOSIS,),
    ),
    Attack(
        37,
        "calendar dates",
        "coordinator",
        "dates are never read",
        ("roles and types", "auditor"),
        REQUEST,
        calendar_date,
    ),
    Attack(
        39,
        "a value in an error's text",
        "analyst",
        "fixed codes",
        ("errors without text",),
        frozenset({"BUG"}),
        value_in_an_error,
        "",
        ("an error that quotes a cell",),
    ),
    Attack(
        49,
        "a row on standard error",
        "analyst",
        "a running node says nothing beside its log",
        ("only the log speaks",),
        frozenset(),
        row_in_a_log,
        "b",
        ("a library that prints a row",),
    ),
    Attack(
        49,
        "a row in a log",
        "analyst",
        "log by a closed list",
        ("log by list",),
        frozenset(),
        row_in_a_log,
        "",
        ("a log line with a row",),
    ),
)
